"""MLX's plain operations, as they run on a CPU, give the bits of Numba: growing and scoring, whatever the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends import available_backends
from mlx_iforest.base import BaseIsolationForest

pytestmark = pytest.mark.skipif(
    any(available_backends()[name] for name in ("mlx", "numba")), reason=f"a backend is missing: {available_backends()}"
)


def tables() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(150, 4))
    odd = np.array([0.0, -0.0, 1.0, 3.4e38, -3.4e38, np.nan])
    found = {
        "one row": normal[:1],
        "two rows": normal[:2],
        "two rows alike": np.ones((2, 2)),
        "one column": normal[:, :1],
        "continuous": normal,
        "far from zero": normal + 1e6,
        "constant column": np.c_[normal[:, :2], np.ones(150)],
        "constant": np.ones((50, 3)),
        "ties": rng.integers(0, 4, (150, 3)),
        "huge": normal * 1e37,
        "odd": rng.choice(odd, (150, 3)),
        "tiny": normal * 1e-36,
        "subnormal": normal * 1e-41,
        "missing": np.where(rng.random(normal.shape) < 0.3, np.nan, normal),
        "missing column": np.c_[normal[:, :1], np.full(150, np.nan)],
        "all missing": np.full((40, 2), np.nan),
        "wide": rng.normal(size=(30, 150)),
    }
    return {name: table.astype(np.float32) for name, table in found.items()}


TABLES = tables()
KINDS: dict[str, Callable[[str], BaseIsolationForest]] = {
    "depth": lambda backend: MLXIsolationForest(40, random_state=1, backend=backend),
    "density": lambda backend: MLXIsolationForest(12, random_state=1, backend=backend, scoring="density"),
    "oblique": lambda backend: MLXIsolationForest(12, random_state=1, backend=backend, extension_level=1),
    "blended": lambda backend: BlendedIsolationForest(12, random_state=1, backend=backend),
}


def by_mlx(model: BaseIsolationForest) -> BaseIsolationForest:
    by_name = model._model.resources._replace(backend=replace(model.backend_, name="mlx"))
    return model._snapshot(backend="mlx", _model=model._model._replace(resources=by_name))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TABLES)
def test_bit_for_bit(name: str, kind: str) -> None:
    X = TABLES[name]
    rows = np.concatenate([X, np.full_like(X[:1], np.nan), np.clip(X, -1e38, 1e38) * np.float32(2)])
    with np.errstate(over="ignore"):
        ours, theirs = (KINDS[kind](backend).fit(X) for backend in ("numba", "mlx"))
    assert theirs.forest_.equals(ours.forest_)
    assert theirs.score_samples(rows).tobytes() == ours.score_samples(rows).tobytes()
    smaller = [ours.prune(0.01)]
    if kind != "oblique":
        smaller += [ours.quantize(8), smaller[0].quantize(16)]
    for model in smaller:
        assert by_mlx(model).score_samples(rows).tobytes() == model.score_samples(rows).tobytes()


def test_rows_of_more_values_than_32_bits_count_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mlx_ops = pytest.importorskip("mlx_iforest.backends.mlx.ops")
    X = TABLES["continuous"]
    model = KINDS["depth"]("mlx").fit(X)
    expected = model.score_samples(X)
    monkeypatch.setattr(mlx_ops, "LARGEST_INT32", 4 * 7)
    assert model.score_samples(X).tobytes() == expected.tobytes()
