"""A forest that follows a stream: the same whatever the blocks, threads, backends and files in between."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.base import clone

from benchmarks import streaming as benchmark
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends import available_backends
from mlx_iforest.backends.numba.backend import NumbaBackend
from mlx_iforest.moving import CHUNK
from mlx_iforest.state import StateError, from_state, to_state
from mlx_iforest.stream import GROUPS, Stream

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1400, 4)).astype(np.float32)
X[700:] += 1
X[RNG.random(X.shape) < 0.02] = np.nan
FIRST, REST = X[:200], X[200:]
KINDS: dict[str, dict[str, Any]] = {
    "depth": {},
    "density": {"scoring": "density"},
    "oblique": {"extension_level": 2},
    "evidence": {"evidence": 1},
    "bootstrap": {"bootstrap": True, "max_features": 2},
    "few trees": {"n_estimators": 7},
}


def begun(**how: Any) -> MLXIsolationForest:
    given = {"n_estimators": 23, "max_samples": 64, "window": 300, "random_state": 0, "backend": "numba", **how}
    return MLXIsolationForest(**given).fit(FIRST)


@pytest.fixture(scope="module", params=KINDS)
def followed(request: pytest.FixtureRequest) -> tuple[Callable[..., MLXIsolationForest], Any, Any]:
    """What begins a model, and one that followed all rows at once, with its scores."""

    def begin(**how: Any) -> MLXIsolationForest:
        return begun(**KINDS[request.param], **how)

    model = begin()
    return begin, model, model.score_update(REST)


def same(one: Any, other: Any) -> bool:
    return bool(one.forest_.equals(other.forest_) and np.array_equal(one.score_samples(X), other.score_samples(X)))


def test_the_groups_are_scored_as_the_whole_forests_are(followed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, model, scores = followed
    monkeypatch.delattr(NumbaBackend, "leaf_sums")  # the plain way
    other = begin()
    assert np.array_equal(other.score_update(REST), scores)
    assert same(other, model)


def test_every_tree_is_what_one_fit_grows_on_the_window() -> None:
    """By hand: the last renewals, each group by its number among all trees ever grown, on the rows before it."""
    model = begun().update(REST)
    seen, renewals, stream = 64, [], Stream.begin(300, 64, 4)
    while seen <= len(REST):
        renewals.append(seen)
        seen += max(1, min(seen, stream.window) // GROUPS)
    edges = [group * 23 // GROUPS for group in range(GROUPS + 1)]
    for k, seen in list(enumerate(renewals))[-GROUPS:]:
        generation, group = divmod(k, GROUPS)
        rows = REST[max(0, seen - 300) : seen]
        alone = begun(n_estimators=23 * (generation + 2))
        alone.fit(rows)
        trees = slice(23 * (generation + 1) + edges[group], 23 * (generation + 1) + edges[group + 1])
        grown = alone.forest_.trees(trees.start, trees.stop)
        assert grown.equals(model.forest_.trees(edges[group], edges[group + 1]))


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(1, len(REST) - 1), max_size=6))
def test_blocks_of_any_size_are_one(cuts: list[int]) -> None:
    whole, parts = begun(), begun()
    scores = whole.score_update(REST)
    pieces = [piece for piece in np.split(REST, sorted(cuts)) if len(piece)]
    assert np.array_equal(np.concatenate([parts.score_update(piece) for piece in pieces]), scores)
    assert same(whole, parts)


def test_a_row_at_a_time_is_all_at_once(followed: Any) -> None:
    begin, _, scores = followed
    rows, whole = begin(), begin()
    assert np.array_equal(np.concatenate([rows.score_update(row[None]) for row in REST[:150]]), scores[:150])
    assert same(rows, whole.update(REST[:150]))


def test_update_and_threads_and_sparse_rows_change_nothing(followed: Any) -> None:
    begin, model, scores = followed
    assert same(begin().update(REST), model)
    threaded = begin(n_jobs=3)
    assert np.array_equal(threaded.score_update(REST), scores)
    assert same(threaded, model)
    zeros = np.nan_to_num(REST)
    assert np.array_equal(begin().score_update(csr_matrix(zeros)), begin().score_update(zeros))


@pytest.mark.skipif(available_backends()["mlx"] is not None, reason="MLX is not installed")
def test_mlx_gives_the_same_bits() -> None:
    ours, theirs = begun(n_estimators=10), begun(n_estimators=10, backend="mlx")
    assert np.array_equal(ours.score_update(REST[:250]), theirs.score_update(REST[:250]))
    assert same(ours, theirs)


def test_without_numba_rows_are_scored_by_the_trees_before_them() -> None:
    whole, parts = begun(n_estimators=10, backend="sklearn"), begun(n_estimators=10, backend="sklearn")
    scores = whole.score_update(REST[:200])
    assert np.array_equal(np.concatenate([parts.score_update(REST[:90]), parts.score_update(REST[90:200])]), scores)
    assert same(whole, parts)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = begun()
    scores = whole.score_update(REST)
    assert len(REST) < CHUNK
    monkeypatch.setattr("mlx_iforest.moving.CHUNK", 100)
    parts = begun()
    assert np.array_equal(parts.score_update(REST), scores)
    assert same(whole, parts)


@pytest.mark.parametrize("keep", [lambda it: from_state(*to_state(it)), lambda it: pickle.loads(pickle.dumps(it))])
def test_a_file_in_the_middle_goes_on_equal(followed: Any, keep: Any) -> None:
    begin, model, scores = followed
    half = begin()
    half.score_update(REST[:517])
    again = keep(half)
    assert np.array_equal(again.score_update(REST[517:]), scores[517:])
    assert same(again, model)


def test_it_follows_and_memory_is_bounded() -> None:
    model = begun()
    size, before = len(pickle.dumps(model)), model.score_samples([[9.0] * 4])
    for _ in range(3):
        model.update(RNG.normal(9, 1, size=(500, 4)))
    assert model.score_samples([[9.0] * 4]) > before + 0.1
    assert model._model.stream is not None
    assert model._model.stream.rows.shape == (300, 4)
    assert len(pickle.dumps(model)) < size + 300 * 4 * 4 + 10_000
    assert model.offset_ == -0.5


def test_a_fit_begins_anew_and_a_clone_has_no_stream() -> None:
    model = begun().update(REST)
    assert clone(model).get_params()["window"] == 300
    assert same(model.fit(FIRST), begun())
    assert model._model.stream is None


def test_partial_fit_fits_first() -> None:
    one = clone(begun()).partial_fit(FIRST).partial_fit(REST[:100]).partial_fit(REST[100:])
    assert same(one, begun().update(FIRST).update(REST))


def test_verdicts_are_given_to_the_newest_trees_and_end_the_updates() -> None:
    model = begun().update(REST)
    before = model.forest_
    model.feedback(REST[:2], [1, -1])
    with pytest.raises(ValueError, match=r"forget\(\)"):
        model.update(REST)
    assert from_state(*to_state(model)).feedback_.tolist() == [1, -1]
    assert model.forget().forest_.equals(before)
    assert same(model.update(FIRST), begun().update(REST).update(FIRST))


def test_what_cannot_follow_says_so() -> None:
    model = begun().update(REST)
    with pytest.raises(ValueError, match="was quantised"):
        model.quantize().update(REST)
    with pytest.raises(ValueError, match="was pruned"):
        model.prune().update(REST)
    with pytest.raises(ValueError, match="window=20 holds fewer rows than the 64"):
        begun(window=20).update(REST)
    with pytest.raises(ValueError, match="infinity"):
        model.update(np.full((1, 4), np.inf))
    with pytest.raises(ValueError, match="features"):
        model.update(REST[:, :3])
    assert same(model, begun().update(REST))
    with pytest.raises(ValueError, match="moved with a stream"):
        model.set_params(warm_start=True, n_estimators=30).fit(FIRST)
    assert not hasattr(BlendedIsolationForest(), "update")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_stream", np.array([300, 1200, 3]), "four numbers"),
        ("_stream", np.array([10, 1200, 3, 1210]), "64 to"),
        ("_stream", np.array([300, 1200, 3, 1200]), "counts"),
        ("_stream_rows", np.zeros((2, 4), np.float32), "300 rows of 4 features"),
        ("_stream_rows", np.full((300, 4), np.inf, np.float32), "numbers in"),
    ],
)
def test_files_with_an_impossible_stream_are_refused(name: str, value: Any, message: str) -> None:
    arrays, values = to_state(begun().update(REST))
    with pytest.raises(StateError, match=message):
        from_state({**arrays, next(key for key in arrays if key.endswith(name)): value}, values)


def test_the_benchmark_measures() -> None:
    y = np.arange(len(X)) % 9 == 0
    auc, rate = benchmark.follow(benchmark.Ours(0), benchmark.drifted(X, "shift"), y.astype(np.int64))
    assert 0 < auc < 1
    assert rate > 0
    turned = benchmark.drifted(np.nan_to_num(X), "rotation")
    assert np.array_equal(turned[:700], np.nan_to_num(X)[:700])
    assert not np.allclose(turned[700:], np.nan_to_num(X)[700:])
