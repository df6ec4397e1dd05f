"""Change one entry of one array of a valid forest, over and over: it is refused, or every backend makes the same of it.

A program of its own, since what it looks for would end the process that tests run in.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from mlx_iforest import Forest, InvalidForestError, MLXIsolationForest
from mlx_iforest.backends import available_backends, get_backend
from mlx_iforest.explain.reference import ReferenceTrees
from mlx_iforest.explain.tables import ExplainedTrees
from mlx_iforest.forest import LEAF_VALUES

ODD = (-2, -1, 0, 1, 20, 2**31 - 2, 2**31 - 1, 3e38, np.nan, np.inf, -np.inf)
TOLERANCE = 1e-6


def forests() -> Iterator[tuple[str, Forest, np.ndarray[Any, Any]]]:
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    gaps = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X).astype(np.float32)
    small: dict[str, Any] = {"n_estimators": 3, "max_samples": 8, "random_state": 0, "backend": "numba"}
    yield "plain", MLXIsolationForest(**small).fit(X).forest_, X
    yield "missing values", MLXIsolationForest(**small).fit(gaps).forest_, gaps
    yield "oblique", MLXIsolationForest(**small, extension_level=1).fit(X).forest_, X
    yield "a leaf alone", MLXIsolationForest(**small, extension_level=1).fit(np.ones_like(X)).forest_, X


def changed(forest: Forest) -> Iterator[tuple[str, Forest]]:
    """The forest with one entry of one array changed, at a root, at another split, at leaves and at the end."""
    splits, leaves = np.flatnonzero(forest.feature >= 0), np.flatnonzero(forest.feature < 0)
    for name, value in product(forest.arrays(), ODD):
        array = forest.arrays()[name]
        whole = array.dtype.kind == "i"
        if whole and not (np.isfinite(value) and abs(value) <= np.iinfo(array.dtype).max):
            continue
        nodes = {0, 1, *splits[1:2].tolist(), *leaves[:2].tolist(), len(array) - 1}
        for node in sorted(node for node in nodes if node < len(array)):
            odd = array.copy()
            if array.dtype == np.bool_:
                # True may be any byte but 0, to whoever writes one.
                odd.view(np.uint8)[node] = int(value) % 256 if np.isfinite(value) else 2
            else:
                odd[(node, -1) if array.ndim == 2 else node] = value
            yield f"{name}[{node}] = {value}", dataclasses.replace(forest, **{name: odd})


def check(forest: Forest, X: np.ndarray[Any, Any]) -> None:
    """All backends, by walks and by blocks of rows, and both ways to explain."""
    names = [name for name, why in available_backends().items() if why is None]
    if forest.direction_feature is not None:
        names.remove("sklearn")
    for name in LEAF_VALUES.keys() & forest.arrays().keys():
        values = forest.arrays()[name][:, None]
        for rows in (X, X[:5]):
            expected = get_backend("numba").leaf_means(forest, values, rows)
            allowed = TOLERANCE * max(1.0, float(np.abs(values).max()))
            for backend in names:
                found = get_backend(backend).leaf_means(forest, values, rows)
                assert np.abs(found - expected).max() <= allowed, backend
                assert backend == "sklearn" or found.tobytes() == expected.tobytes(), backend
    if forest.direction_feature is None:
        parts, factors = [(0, forest.n_trees)], np.ones((1, 5))
        found = [np.zeros((5, forest.n_features)) for _ in range(2)]
        for make, out in zip((ExplainedTrees.of, ReferenceTrees.of), found, strict=True):
            make(forest, forest.path_length).add(X[:5], parts, factors, out, fresh=True, expected=None)
        assert np.abs(found[0] - found[1]).max() <= 1e-4 * max(1.0, float(np.abs(found[1]).max()))


def main() -> None:
    refused = scored = 0
    for kind, forest, X in forests():
        for what, odd in changed(forest):
            sys.stdout.write(f"{kind}: {what}\n")
            sys.stdout.flush()
            try:
                odd.validate()
            except InvalidForestError:
                refused += 1
                continue
            check(odd, X)
            scored += 1
    sys.stdout.write(f"refused {refused}, scored {scored}\n")


if __name__ == "__main__":
    main()
