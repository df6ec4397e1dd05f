"""Rows of any kind, batch by batch: the same scores, the same refusals, little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn import config_context
from sklearn.exceptions import NotFittedError

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest, batches
from mlx_iforest.backends.numba.finite_kernels import reaches
from mlx_iforest.batches import as_float32, free_memory, is_plain
from mlx_iforest.finite import CHUNK, COMPILED_CHUNK, OVERFLOW, check_finite, reaches_plainly

MODELS = [
    MLXIsolationForest(n_estimators=12, random_state=0),
    MLXIsolationForest(n_estimators=12, random_state=0, scoring="density"),
    MLXIsolationForest(n_estimators=12, random_state=0, scoring="density"),
    MLXIsolationForest(n_estimators=12, random_state=0, extension_level=1),
    BlendedIsolationForest(n_estimators=12, random_state=0),
]
"""Refitted by tests that want other data."""

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(1499, 4)), 2).astype(np.float32)
X[::7, 1] = np.nan


@pytest.fixture(scope="module", autouse=True)
def fitted() -> None:
    """Not where the file is read: each process reads all files, and each would compile."""
    for model in MODELS:
        model.fit(X)


@settings(max_examples=30, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    batch_size=st.one_of(st.sampled_from([1, 2, 7, 31, 61, 127, 1021, 1498, 1499, 1500, 10**9]), st.integers(1, 2000)),
    n_rows=st.sampled_from([1, 2, 63, 64, 257, 1499]),
)
def test_no_batch_size_changes_a_bit(model, batch_size, n_rows):
    n_rows = min(n_rows, 61 * batch_size)  # no thousand calls of one row
    expected = model.score_samples(X)[:n_rows]
    model.set_params(batch_size=batch_size)
    try:
        scores = model.score_samples(X[:n_rows])
        labels = model.predict(X[:n_rows])
    finally:
        model.set_params(batch_size="auto")
    assert scores.tobytes() == expected.tobytes()
    assert labels.tolist() == np.where(expected < model.offset_, -1, 1).tolist()


def disguises(tmp_path: Path) -> dict[str, object]:
    """The rows of X, which float16 to float64 hold alike, in other clothes."""
    wide = X.astype(np.float64)
    np.save(tmp_path / "rows.npy", wide)
    padded = np.zeros((len(X), 8), np.float32)
    padded[:, ::2] = X
    read_only = X.copy()
    read_only.setflags(write=False)
    return {
        "float64": wide,
        "F": np.asfortranarray(X),
        "float64, F": np.asfortranarray(wide),
        "memory-mapped": np.load(tmp_path / "rows.npy", mmap_mode="r"),
        "column slices": padded[:, ::2],
        "reversed twice": np.ascontiguousarray(X[::-1])[::-1],
        "read-only": read_only,
        "big-endian": X.astype(">f4"),
        "long double": X.astype(np.longdouble),
        "object": X.astype(object),
        "list": X.tolist(),
        "frame": pd.DataFrame(X).to_numpy(),
    }


@pytest.mark.parametrize("model", [MODELS[0], MODELS[-1]], ids=["classic", "blended"])
def test_the_same_rows_in_other_clothes_give_the_same_forest_and_scores(model, tmp_path):
    expected, forest = model.score_samples(X), model.forest_
    for name, rows in disguises(tmp_path).items():
        assert model.score_samples(rows).tobytes() == expected.tobytes(), name
        again = type(model)(**model.get_params()).fit(rows)
        assert again.forest_.equals(forest), name
        assert again.score_samples(X).tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.bool_, np.float16])
def test_whole_numbers_of_any_type(dtype):
    rows = (np.abs(X[:, [0, 2, 3]]) > 1) if dtype == np.bool_ else np.abs(X[:, [0, 2, 3]]).astype(dtype)
    model = MLXIsolationForest(n_estimators=12, random_state=0).fit(rows.astype(np.float32))
    again = MLXIsolationForest(n_estimators=12, random_state=0).fit(rows)
    assert again.forest_.equals(model.forest_)
    assert again.score_samples(rows).tobytes() == model.score_samples(rows.astype(np.float32)).tobytes()


def test_only_drawn_rows_become_float32(monkeypatch):
    converted = []
    monkeypatch.setattr("mlx_iforest.base.as_float32", lambda X: converted.append(len(X)) or as_float32(X))
    few = MLXIsolationForest(n_estimators=5, max_samples=20, random_state=0).fit(X.astype(np.float64))
    assert converted == [100]
    all_of_them = MLXIsolationForest(n_estimators=5, max_samples=1.0, random_state=0).fit(X.astype(np.float64))
    assert converted == [100, len(X)]
    assert few.forest_.equals(MLXIsolationForest(n_estimators=5, max_samples=20, random_state=0).fit(X).forest_)
    assert all_of_them.forest_.equals(
        MLXIsolationForest(n_estimators=5, max_samples=1.0, random_state=0).fit(X).forest_
    )


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e300, -1e300, 3.4028236e38])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
@pytest.mark.parametrize("missing", [0, 0.5])
def test_what_float32_cannot_hold_is_refused_wherever_it_stands(bad, order, missing):
    rows = np.zeros((CHUNK // 4 + 10, 4))
    rows[RNG.random(rows.shape) < missing] = np.nan
    rows = {"C": rows, "F": np.asfortranarray(rows), "strided": np.repeat(rows, 2, axis=1)[:, ::2]}[order]
    check_finite(rows)
    for place in [(0, 0), (CHUNK // 4 + 9, 3), (CHUNK // 4 - 1, 3), (CHUNK // 4, 0)]:
        spoilt = rows.copy(order="K")
        spoilt[place] = bad
        with pytest.raises(ValueError, match=r"X contains infinity or a value too large for dtype\('float32'\)"):
            check_finite(spoilt)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 63, 64, 1000])
def test_compiled_and_plain_checks_agree(dtype, size):
    limit = dtype(np.inf) if dtype is np.float32 else dtype(OVERFLOW)
    values = RNG.normal(size=size).astype(dtype)
    values[RNG.random(size) < 0.3] = np.nan
    for spoilt in (None, limit, -limit):
        for place in (0, size // 2, size - 1):
            given = values.copy()
            given[place] = given[place] if spoilt is None else spoilt
            assert reaches(given, limit) == reaches_plainly(given, limit) == (spoilt is not None)


def test_threads_find_what_is_wrong_at_the_end_of_a_large_table():
    rows = np.zeros((COMPILED_CHUNK // 4 + 1, 8), np.float32)
    check_finite(rows, 2)
    rows[-1, -1] = -np.inf
    with pytest.raises(ValueError, match="infinity"):
        check_finite(rows, 2)


def test_without_numba_the_plain_check_is_used(monkeypatch):
    monkeypatch.setattr("mlx_iforest.finite._compiled", lambda: None)
    rows = np.zeros((3, 2))
    check_finite(rows)
    rows[2, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        check_finite(rows)


def test_the_largest_float32_is_welcome():
    largest = float(np.finfo(np.float32).max)
    check_finite(np.array([[largest, -largest, np.nan]]))
    check_finite(np.array([[np.nan]]))
    # What rounds to the largest is held; half a step above it rounds to infinity.
    below = np.nextafter(OVERFLOW, 0)
    check_finite(np.array([[below]]))
    with np.errstate(over="ignore"):
        assert np.isfinite(np.float32(below))
        assert np.isinf(np.float32(OVERFLOW))
    with pytest.raises(ValueError, match="infinity"):
        check_finite(np.array([[OVERFLOW]]))
    check_finite(np.array([[2**63]], np.uint64))


def test_assume_finite_skips_the_check(monkeypatch):
    spoilt = X.copy()
    spoilt[0, 0] = np.inf
    with config_context(assume_finite=True):
        check_finite(spoilt)
        assert len(MODELS[0].score_samples(spoilt)) == len(X)
    with pytest.raises(ValueError, match="infinity"):
        MODELS[0].score_samples(spoilt)


def test_a_bad_value_in_a_late_batch_is_found():
    spoilt = X.astype(np.float64)
    spoilt[-1, -1] = 1e39
    model = MLXIsolationForest(n_estimators=3, batch_size=100, random_state=0).fit(X)
    with pytest.raises(ValueError, match="infinity or a value too large"):
        model.score_samples(spoilt)


def test_plain_rows_are_not_copied():
    assert is_plain(X)
    assert as_float32(X) is X
    assert as_float32(csr_matrix(np.eye(3))).tolist() == np.eye(3).tolist()
    for other in (X.T, X[:, :2], X.astype(np.float64), X.tolist(), X.astype(">f4")):
        assert not is_plain(other)


@pytest.mark.parametrize("kind", ["plain", "float64", "F", "columns"])
def test_scoring_takes_little_memory(kind, monkeypatch):
    monkeypatch.setattr(batches, "LARGEST_BATCH", 1 << 20)
    rows = np.zeros((200_000, 4), np.float32)
    rows = {
        "plain": rows,
        "float64": rows.astype(np.float64),
        "F": np.asfortranarray(rows),
        "columns": np.zeros((200_000, 9), np.float32)[:, 1:5],
    }[kind]
    model = MLXIsolationForest(n_estimators=2, max_samples=4, n_jobs=1, random_state=0).fit(X)
    model.score_samples(rows[:5000])
    tracemalloc.start()
    try:
        model.score_samples(rows)
        output, peak = 8 * len(rows), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - output < 1.5 * (1 << 20)  # a copy would be 3.2 MB


def sizes(n_rows: int, n_features: int = 8) -> list[int]:
    empty = csr_matrix((n_rows, n_features), dtype=np.float32)
    return [part.stop - part.start for part in batches.batches(empty)]


def test_batches_follow_the_free_memory(monkeypatch):
    row = 4 * 8 + batches.ROW_BYTES
    monkeypatch.setattr(batches, "free_memory", lambda: 1 << 40)
    assert max(sizes(10**6)) == batches.LARGEST_BATCH // row
    monkeypatch.setattr(batches, "free_memory", lambda: 8 * row * 5000)
    assert max(sizes(10**6)) == 5000
    monkeypatch.setattr(batches, "free_memory", lambda: 0)
    assert max(sizes(10**6)) == batches.FEWEST_ROWS
    monkeypatch.setattr(batches, "free_memory", lambda: None)
    assert max(sizes(10**6)) == batches.LARGEST_BATCH // row
    assert sum(sizes(10**6)) == 10**6
    assert sizes(1000) == [1000]
    assert sizes(0) == []
    assert max(sizes(10**5, 10**6)) == batches.FEWEST_ROWS  # rows of 4 MB


def test_free_memory_by_hand(tmp_path):
    (tmp_path / "proc").mkdir()
    assert free_memory(tmp_path) is None
    (tmp_path / "proc/meminfo").write_text("MemTotal: 900 kB\nMemAvailable:     500 kB\n")
    assert free_memory(tmp_path) == 500 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("200000\n")
    (group / "memory.stat").write_text("anon 50000\nactive_file 30000\ninactive_file 20000\n")
    (group / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) == 500 * 1024
    (group / "memory.max").write_text("300000\n")
    assert free_memory(tmp_path) == 300000 - 200000 + 30000 + 20000
    (group / "memory.max").write_text("100000\n")
    assert free_memory(tmp_path) == 0


def test_a_stream_gives_the_scores_of_all_at_once_and_one_part_at_a_time():
    model, taken, told = MODELS[0], [], []

    def parts():
        for number, part in enumerate([X[:3], X[3:1000].astype(np.float64), csr_matrix(np.nan_to_num(X[1000:]))]):
            taken.append(number)
            yield part

    stream = model.score_batches(parts(), progress=told.append)
    assert taken == []
    first = next(stream)
    assert taken == [0]
    rest = list(stream)
    assert told == [3, 1000, 1499]
    whole = model.score_samples(np.concatenate([X[:1000], np.nan_to_num(X[1000:])]))
    assert np.concatenate([first, *rest]).tobytes() == whole.tobytes()


def test_a_stream_of_frames_checks_names():
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MLXIsolationForest(n_estimators=3, random_state=0).fit(frame)
    scores = np.concatenate(list(model.score_batches([frame[:10], frame[10:20]])))
    assert scores.tolist() == model.score_samples(frame[:20]).tolist()
    with pytest.raises(ValueError, match=r"^batch 2: The feature names should match"):
        list(model.score_batches([frame[:10], frame[10:20].rename(columns={"a": "z"})]))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (np.full((2, 4), np.inf), "^batch 3: Input X contains infinity"),
        (np.zeros((2, 5)), "^batch 3: X has 5 features, but MLXIsolationForest is expecting 4"),
        (np.zeros(4), "^batch 3: Expected 2D array"),
        (np.zeros((0, 4)), "^batch 3: Found array with 0 sample"),
        ([["a"] * 4], "^batch 3: could not convert string"),
        (None, "^batch 3: "),
    ],
)
def test_a_bad_part_is_named(part, message):
    stream = MODELS[0].score_batches([X[:2], X[2:4], part])
    next(stream)
    next(stream)
    with pytest.raises(ValueError, match=message):
        next(stream)


def test_one_array_is_no_stream():
    with pytest.raises(TypeError, match="takes an iterable of arrays or frames, got one ndarray"):
        MODELS[0].score_batches(X)
    with pytest.raises(NotFittedError):
        MLXIsolationForest().score_batches([X])
    assert list(MODELS[0].score_batches([])) == []


def test_large_pieces_leave_room_for_those_of_other_threads(monkeypatch):
    row = 4 * 8 + batches.ROW_BYTES
    monkeypatch.setattr(batches, "free_memory", lambda: 8 * row * 800_000)
    assert batches.rows_in_memory(1_000_000, 8, 1) == 800_000
    assert batches.rows_in_memory(1_000_000, 8, 4) == 200_000
    assert batches.rows_in_memory(2048, 8, 1000) == 2048
    monkeypatch.setattr(batches, "free_memory", lambda: 0)
    assert batches.rows_in_memory(1_000_000, 8, 4) == batches.FEWEST_ROWS
    monkeypatch.setattr(batches, "free_memory", lambda: None)
    assert batches.rows_in_memory(1_000_000, 8, 4) == 1_000_000
