"""Everything compiled, on arrays at the edge of pages that nothing may touch: run by `test_guard_pages`.

    LD_PRELOAD=guard.so python -m tests.guard_pages.scenarios behind | forests | others

Each scenario runs three times: unguarded, which compiles what it needs, then with arrays at the end of pages, then at
their start. All must give the same bits. An access outside an array ends the process with a segmentation fault, and
`faulthandler` says where; ``behind`` makes one on purpose.
"""

from __future__ import annotations

import ctypes
import faulthandler
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numba.core.runtime import _nrt_python

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.features.compiled.choice import only
from anomaly_detection.features.compiled.groups import shares_of_variance
from anomaly_detection.features.compiled.largest import largest
from anomaly_detection.features.compiled.moves import go_along
from anomaly_detection.features.compiled.neighbours import distances_from_neighbours, distances_in_windows
from anomaly_detection.features.compiled.neighbours import windows as around
from anomaly_detection.features.compiled.pairs import bound, counted_pairs, lent_shares
from anomaly_detection.features.evidence.evidence import Evidence, FeatureScale, learn_tails
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.numbers.history import learn_history, likelihood
from anomaly_detection.features.numbers.moves import RULES
from anomaly_detection.features.numbers.ordered import CodedColumns, Ordered
from anomaly_detection.features.series.course import Course
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends import available_backends, get_backend
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.numba import answers
from mlx_iforest.backends.numba.answers import AnsweredForest
from mlx_iforest.backends.numba.codes import CodedForest
from mlx_iforest.backends.numba.oblique_scoring import ObliqueBlocks
from mlx_iforest.backends.numba.walks import WalkedForest
from mlx_iforest.growth import GrowthPlan
from tests.test_records import history

PAGE = 4096
AT = {"end": 1, "start": 2}
NUMBA_HEADER = 48
"""Bytes of the header that Numba puts before an array's data; `check_guard` fails if it is another number."""

WIDTHS = (1, 2, 8, 15, 16, 17, 65)
ROWS = (1, 15, 16, 65, 255, 256, 257)
SAMPLES = (2, 4, 60, 90, 128, 160, 200, 256, 400)
"""Of a tree: tables of its leaves have every width, with codes of 8 and of 16 bits."""


def matrix(n_rows: int, n_features: int, dtype: Any = np.float32, missing: bool = False) -> Any:
    rng = np.random.default_rng(n_rows * 1000 + n_features)
    X = np.round(rng.normal(size=(n_rows, n_features)) * 8, 1)
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    return X.astype(dtype)


def model(kind: str = "depth", samples: int = 128, n_trees: int = 6, **parameters: Any) -> Any:
    if kind == "blended":
        return BlendedIsolationForest(2 * n_trees, random_state=0, n_jobs=1, **parameters)
    if kind == "oblique":
        parameters = {"extension_level": 1, **parameters}
    scoring = "density" if kind == "density" else "depth"
    return MLXIsolationForest(
        n_trees, max_samples=samples, scoring=scoring, random_state=0, n_jobs=1,
        **{"backend": "numba", **parameters},
    )  # fmt: skip


KINDS = ("depth", "density", "oblique", "blended")


def widths() -> Iterator[Any]:
    """Growing and scoring tables of every width, in every kind, with whole and partial blocks of rows."""
    for kind in KINDS:
        for n_features in WIDTHS[1:] if kind == "oblique" else WIDTHS:
            fitted = model(kind).fit(matrix(300, n_features, missing=n_features % 2 == 0))
            for n_rows in ROWS:
                yield fitted.score_samples(matrix(n_rows, n_features, missing=n_rows % 2 == 1))


def tables() -> Iterator[Any]:
    """Blocks of forests of each kind whose trees have any number of leaf values, however few the rows are."""
    for samples in SAMPLES:
        X = matrix(500, 5)
        for kind in (CodedForest, AnsweredForest, WalkedForest, ObliqueBlocks):
            oblique = kind is ObliqueBlocks
            plan = GrowthPlan(
                0, 0, n_trees=6, n_samples=len(X), n_features=5, subsample_size=samples, features_per_tree=5,
                extension_level=int(oblique),
            )  # fmt: skip
            forest = get_backend("numba").grow(X, plan, n_threads=1)
            for names in (["path_length"], ["log_density"], ["path_length", "log_density"]):
                values = np.stack([getattr(forest, name) for name in names], axis=1)
                blocks = kind.of(forest, whole_numbers(values)[1])
                for n_rows in ROWS:
                    total = np.zeros((n_rows, len(names)))
                    blocks.add_leaf_values(matrix(n_rows, 5, missing=n_rows % 2 == 1), total)
                    yield total


def wide() -> Iterator[Any]:
    """Answers about whole and partial tiles of features, some of which nobody asks for, in one group and several."""
    for n_features in (*WIDTHS, 31, 32, 80):
        X = matrix(400, n_features, missing=n_features % 2 == 0)
        X[:, 16 : max(17, n_features // 2)] = 1
        for most in (40, 8192):
            answers.LARGEST_GROUP = most
            forest = model(n_trees=9).fit(X).forest_
            values = whole_numbers(np.stack([forest.path_length, forest.log_density], axis=1))[1]
            blocks = AnsweredForest.of(forest, values)
            for n_rows in ROWS:
                total = np.zeros((n_rows, 2))
                blocks.add_leaf_values(matrix(n_rows, n_features, missing=n_rows % 2 == 1), total)
                yield total


def types() -> Iterator[Any]:
    """Every type and order of memory that a table can have, in growing and scoring."""
    for dtype in (np.float32, np.float64, np.float16, np.int64, np.int8, np.bool_):
        X = matrix(300, 9, dtype)
        for given in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], np.repeat(X, 2, axis=1)[:, ::2]):
            fitted = model(samples=90).fit(given)
            yield fitted.score_samples(given)
            yield fitted.predict(given[:17])


def parameters() -> Iterator[Any]:
    """Bootstraps, few features a tree, weights, constant columns, one row, sizes of batches, several threads."""
    X = matrix(300, 17)
    constant = X.copy()
    constant[:, 3:] = 1
    for changes in (
        {"bootstrap": True}, {"max_features": 3}, {"max_features": 1}, {"contamination": 0.1}, {"batch_size": 1},
        {"batch_size": 77}, {"n_jobs": 2},
    ):  # fmt: skip
        fitted = model().set_params(**changes).fit(X)
        yield fitted.score_samples(X)
    for data in (constant, X[:1], X[:2], np.zeros((20, 3), np.float32)):
        for kind in KINDS:
            yield model(kind).fit(data).score_samples(data)
    weights = np.arange(300) % 3
    yield model().fit(X, sample_weight=weights).score_samples(X)


def smaller() -> Iterator[Any]:
    """Quantised and pruned forests."""
    for kind in ("depth", "density", "blended"):
        X = matrix(300, 8, missing=True)
        fitted = model(kind, 256).fit(X)
        for bits in (8, 16):
            yield fitted.quantize(bits).score_samples(X)
        pruned = fitted.prune(0.01, X)
        yield pruned.score_samples(X)
        yield pruned.quantize(8).score_samples(X[:65])


def one_row() -> Iterator[Any]:
    """A scorer, row by row and in small batches."""
    for kind in KINDS:
        for n_features in (2, 8, 33):
            X = matrix(120, n_features, missing=True)
            scorer = model(kind).fit(X).scorer()
            for n_rows in (1, 2, 3, 16, 65):
                yield scorer.score(X[:n_rows])


def explained() -> Iterator[Any]:
    """Shapley values of all that can be explained."""
    for kind in ("depth", "density", "blended"):
        for n_features in (1, 16, 17):
            X = matrix(300, n_features, missing=n_features % 2 == 0)
            fitted = model(kind).fit(X)
            for of in ("path_length", "score") if kind == "blended" else ("path_length", "log_density", "score"):
                for n_rows in (1, 64, 65):
                    yield fitted.explain(X[:n_rows], of).values
                for n_rows in (1, 65):
                    yield fitted.explain(X[:n_rows], of, interactions=True).values
                    yield fitted.explain(X[:n_rows], of, background=X[:2], interactions=True).values


def mlx() -> Iterator[Any]:
    """The operations of MLX, on the CPU where there is no GPU."""
    if available_backends()["mlx"] is not None:
        return
    for kind in ("density", "oblique"):
        X = matrix(80, 5, missing=True)
        fitted = model(kind, 32, 2, backend="mlx").fit(X)
        for n_rows in (1, 17, 65):
            yield fitted.score_samples(X[:n_rows])


@cache
def detector() -> Any:
    """Fitted on columns of every kind; not to be changed."""
    return AnomalyDetectionAPI(seed=0).fit(history()).detector


def features() -> Iterator[Any]:
    """What the features of records are computed by."""
    for kept in Kept._all:
        # All that compiled code looks into is made anew.
        kept._made.clear()
    with only(True):
        for n_rows in ROWS:
            yield detector().score_samples(history().head(n_rows))
        for record in history().head(9).to_dict("records"):
            yield detector().extract(record)[0]
        for width in (1, 3, 9):
            scales = [FeatureScale(True, i == 2, i == 0, i == 1, False, i // 2) for i in range(width)]
            evidence = Evidence(scales, learn_tails(matrix(300, width, missing=True), scales, [0.1] * width))
            summary = DeviationSummary().fit(matrix(300, width, missing=True))
            for n_rows in ROWS:
                X = matrix(n_rows, width, missing=True)
                found = evidence.of(X)
                yield found
                yield largest(found, min(6, width))
                yield evidence.total(found)
                yield summary.transform(X)


def groups() -> Iterator[Any]:
    """What numbers are compared within: groups of every size, and the rows around."""
    rng = np.random.default_rng(0)
    for n_rows in ROWS:
        for count in (1, 3, n_rows):
            values, codes = np.round(rng.normal(size=n_rows), 1), rng.integers(0, count, n_rows)
            ordered = Ordered(np.where(rng.random(n_rows) < 0.1, np.nan, values))
            grouped = ordered.within(codes, count)
            yield from grouped.by_others()
            yield grouped.spread(grouped.median())
            yield grouped.quantile_of_distances(grouped.median(), 0.9)
            columns = CodedColumns({"a": (codes, count), "b": (codes[::-1], count)})
            yield ordered.explained_shares(columns, np.ones(2, dtype=bool))
            yield ordered.pair_shares(columns, 0, np.array([False, True]), n_rows)
            yield shares_of_variance(values, columns.codes, columns.sizes)
            yield bound(columns.codes, columns.sizes, np.ones(2, dtype=bool), 0.1)
            for apart in (np.zeros(0, dtype=np.int64), codes):
                both, beside = counted_pairs(codes, count, codes[::-1].copy(), count, apart)
                yield lent_shares(both, beside, np.ones(n_rows), np.array([0.1, 5.0]))
            if (learned := learn_history(ordered, codes, count)) is not None:
                yield learned[1]
            yield likelihood(ordered, codes.astype(np.int32), count)
            order = np.argsort(codes, kind="stable")
            yield distances_from_neighbours(values, order, codes[order])
            yield distances_in_windows(values, around(order, codes[order], 2))
            effects, moved = np.ones((2, count)), np.empty((2, n_rows, 1))
            go_along(effects, np.stack([codes] * 4, axis=1)[:, None], values[:, None], np.array([3]), RULES, moved)
            yield from (effects, moved)
    # By the minute, the hour, the day and the month, some of them missing.
    for between in (1.0 / 1440.0, 1.0 / 24.0, 1.0, 30.0):
        times, values = np.arange(400) * between, np.round(rng.normal(size=400), 1)
        values[rng.random(400) < 0.1] = np.nan
        course = Course(between)
        for part in (slice(0, 1), slice(1, 300), slice(300, 400)):
            judged = course.follow(times[part], values[part])
            yield judged.nats
            yield judged.told


SCENARIOS: dict[str, tuple[Callable[[], Iterator[Any]], ...]] = {
    "forests": (widths, tables, wide, types, parameters, smaller, one_row),
    "others": (explained, mlx, features, groups),
}
"""Code that has a form in vectors, and code that has none."""


class Guard:
    """The preloaded library: `malloc` with pages that nothing may touch."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(None)
        if self.library.guard_set_up(*map(ctypes.c_size_t, self._numba()), ctypes.c_size_t(NUMBA_HEADER)):
            raise MemoryError("the guarded addresses cannot be reserved")

    @staticmethod
    def _numba() -> tuple[int, int]:
        """Where the code of Numba's allocator lies."""
        with open("/proc/self/maps") as maps:
            lines = [line.split() for line in maps if _nrt_python.__file__ in line]
        ends = [int(end, 16) for line in lines for end in line[0].split("-")]
        return min(ends), max(ends)

    @contextmanager
    def at(self, edge: str) -> Iterator[None]:
        """Blocks that are made here lie at this edge of their pages."""
        # NumPy keeps some freed blocks of up to 1,024 bytes for the next arrays; held here, they are out of its hands.
        kept = [np.empty(size, np.uint8) for size in range(1024) for _ in range(8)]
        self.library.guard_switch(AT[edge])
        try:
            yield
            del kept
        finally:
            self.library.guard_switch(0)


def made_by_numpy(n: int) -> Any:
    return np.zeros(n, np.float32)


@njit
def made_by_numba(n: int) -> Any:
    return np.zeros(n, np.float32)


def check_guard(guard: Guard) -> None:
    """That arrays lie where they are to, whoever makes them."""
    made_by_numba(8)
    arrays = []
    with guard.at("end"):
        arrays += [(make(n), "end") for make in (made_by_numpy, made_by_numba) for n in (8, 264, 5000)]
    with guard.at("start"):
        arrays += [(made_by_numpy(n), "start") for n in (8, 264, 5000)]
    for array, edge in arrays:
        place = array.ctypes.data + (array.nbytes if edge == "end" else 0)
        if place % PAGE:
            raise AssertionError(f"an array of {array.nbytes} bytes is {place % PAGE} bytes from the {edge} of a page")


@njit
def sum_behind(values: Any, n: int) -> Any:
    """Reads `n` values, however many there are; nothing checks."""
    total = np.float32(0)
    for i in range(n):
        total += values[i]
    return total


def main() -> int:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    (name,) = sys.argv[1:]
    guard = Guard()
    check_guard(guard)
    if name == "behind":
        sum_behind(np.zeros(16, np.float32), 16)
        with guard.at("end"):
            sum_behind(np.zeros(16, np.float32), 17)
        return 0
    for scenario in SCENARIOS[name]:
        results: list[list[Any]] = []
        for how in (nullcontext(), guard.at("end"), guard.at("start")):
            with how:
                results.append(list(scenario()))
        for guarded in results[1:]:
            if len(guarded) != len(results[0]) or not all(map(equal, guarded, results[0])):
                raise AssertionError(f"{scenario.__name__}: guarded arrays give other results")
        sys.stdout.write(
            f"{scenario.__name__}: {len(results[0])} results, {guard.library.guard_count()} blocks so far\n"
        )
        sys.stdout.flush()
    return 0


def equal(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=True)


if __name__ == "__main__":
    sys.exit(main())
