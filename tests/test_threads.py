"""Many threads, one model or several: everyone gets the scores that they would have got alone."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from joblib import Parallel, cpu_count, delayed, parallel_config

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

X = np.random.default_rng(0).normal(size=(6000, 4)).astype(np.float32)
SIZES = [1, 5, 63, 64, 300, 1025, 2500, 6000]
THREADS = 8


def models() -> list[MLXIsolationForest | BlendedIsolationForest]:
    return [
        MLXIsolationForest(n_estimators=20, random_state=0),
        MLXIsolationForest(n_estimators=20, random_state=1, scoring="density", n_jobs=2),
        MLXIsolationForest(n_estimators=20, random_state=2, extension_level=1),
        BlendedIsolationForest(n_estimators=24, random_state=3),
    ]


@pytest.fixture(autouse=True)
def frequent_switches():
    """Threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def at_once(tasks: list[Callable[[], object]]) -> list[object]:
    """Results of tasks that all begin together; one that hangs fails."""
    barrier = threading.Barrier(len(tasks))

    def begin(task: Callable[[], object]) -> object:
        barrier.wait(10)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [done.result(timeout=60) for done in [pool.submit(begin, task) for task in tasks]]


def test_any_number_of_threads_gives_the_same():
    for model in models():
        expected = model.set_params(n_jobs=1).fit(X).score_samples(X)
        forest = model.forest_
        for n_jobs in (2, 3, 7, -1, None):
            model.set_params(n_jobs=n_jobs).fit(X)
            assert model.forest_.equals(forest)
            assert model.score_samples(X).tobytes() == expected.tobytes()
            assert model.scorer()(X).tobytes() == expected.tobytes()


def test_the_number_of_threads_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr(
        "mlx_iforest.model.run", lambda task, items, n: used.append(n) or [task(item) for item in items]
    )
    for model in (MLXIsolationForest(4, random_state=0), BlendedIsolationForest(6, random_state=0)):
        model.fit(X)
        expected = model.score_samples(X)
        with parallel_config("threading", n_jobs=3):
            assert np.array_equal(model.score_samples(X), expected)
            model.set_params(n_jobs=2).score_samples(X)
        model.set_params(n_jobs=-1).score_samples(X)
        assert used == [1, 3, 2, cpu_count()]
        used.clear()


@pytest.mark.parametrize("shared", [True, False], ids=["one model", "a model each"])
def test_concurrent_scoring(shared):
    for number, model in enumerate(models()):
        expected = model.fit(X).score_samples(X)
        # Fresh ones: caches that fill at the first call are filled by all threads at once.
        fresh = [models()[number].fit(X) for _ in range(1 if shared else THREADS)]

        def task(i: int, fresh: list = fresh, expected: np.ndarray = expected) -> bool:
            mine = fresh[i % len(fresh)]
            same = []
            for k in range(len(SIZES)):
                n = SIZES[(i + k) % len(SIZES)]
                scores = mine.score_samples(X[:n])
                labels = mine.predict(X[:n].astype(np.float64))
                same.append(np.array_equal(scores, expected[:n]))
                same.append(np.array_equal(labels, np.where(expected[:n] < -0.5, -1, 1)))
            return all(same)

        assert all(at_once([lambda i=i: task(i) for i in range(THREADS)]))


def test_concurrent_fits_of_several_models():
    expected = [model.fit(X).score_samples(X) for model in models()]

    def task(i: int) -> bool:
        return np.array_equal(models()[i % 4].fit(X).score_samples(X), expected[i % 4])

    assert all(at_once([lambda i=i: task(i) for i in range(THREADS)]))


def test_scores_while_the_model_is_fitted_anew_are_of_one_fit_or_the_other():
    # Fits of other sizes and kinds: any mixture of two would have other scores, or read beyond an array.
    kinds = [
        {"n_estimators": 4, "scoring": "depth", "random_state": 0, "max_samples": 256},
        {"n_estimators": 30, "scoring": "density", "random_state": 1, "max_samples": 100},
        {"n_estimators": 9, "scoring": "density", "random_state": 2, "max_samples": 64},
    ]
    possible = {MLXIsolationForest(**kind).fit(X).score_samples(X[:100]).tobytes() for kind in kinds}
    assert len(possible) == 3
    model = MLXIsolationForest(**kinds[0]).fit(X)
    done = threading.Event()
    seen: set[bytes] = set()

    def fit() -> None:
        try:
            for i in range(60):
                # Between the two the parameters are new and the forest is not: scores go by those of its fit.
                model.set_params(**kinds[i % 3]).fit(X)
        finally:
            done.set()

    def score() -> None:
        for _ in count():
            seen.add(model.score_samples(X[:100]).tobytes())
            if done.is_set():
                return

    at_once([fit, *[score] * 4])
    assert seen <= possible


def test_parameters_that_are_set_during_a_fit_stay_and_count_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MLXIsolationForest(n_estimators=5, random_state=0)
    value = MLXIsolationForest._value

    def set_meanwhile(estimator: MLXIsolationForest, *grown: object) -> object:
        model.set_params(scoring="density", n_estimators=7)
        return value(estimator, *grown)

    monkeypatch.setattr(MLXIsolationForest, "_value", set_meanwhile)
    scores = model.fit(X).score_samples(X)
    assert (model.scoring, model.n_estimators, model.forest_.n_trees) == ("density", 7, 5)
    monkeypatch.undo()
    assert np.array_equal(scores, MLXIsolationForest(n_estimators=5, random_state=0).fit(X).score_samples(X))


def test_a_fit_that_fails_leaves_the_fit_before():
    model = MLXIsolationForest(n_estimators=5, random_state=0).fit(X)
    before, forest, attributes = model.score_samples(X), model.forest_, dict(vars(model))
    spoilt = X[:, :2].copy()
    spoilt[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.fit(spoilt)
    assert all(vars(model)[name] is value for name, value in attributes.items())
    assert model.forest_ is forest
    assert model.n_features_in_ == 4
    assert np.array_equal(model.score_samples(X), before)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_joblib_around_it(backend):
    model = MLXIsolationForest(n_estimators=10, random_state=0, n_jobs=-1).fit(X)
    expected = model.score_samples(X)
    parts = Parallel(n_jobs=2, backend=backend, timeout=120)(
        delayed(model.score_samples)(part) for part in np.array_split(X, 4)
    )
    assert np.concatenate(parts).tobytes() == expected.tobytes()
    fitted = Parallel(n_jobs=2, backend=backend, timeout=120)(
        delayed(MLXIsolationForest(n_estimators=10, random_state=0, n_jobs=-1).fit)(X) for _ in range(2)
    )
    assert all(other.forest_.equals(model.forest_) for other in fitted)


def _scores_in_child(model: MLXIsolationForest, results: multiprocessing.Queue) -> None:
    results.put(model.score_samples(X))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_scores_too():
    # A pool of threads kept from before the fork would have none in the child, and wait for ever.
    model = MLXIsolationForest(n_estimators=10, random_state=0, n_jobs=2).fit(X)
    expected = model.score_samples(X)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_scores_in_child, args=(model, results))
    child.start()
    try:
        assert results.get(timeout=60).tobytes() == expected.tobytes()
    finally:
        child.join(10)
        if child.is_alive():
            child.kill()


FORGOTTEN = """
from concurrent.futures import thread
from mlx_iforest import threads
threads.cores = lambda: 2
assert threads.run(lambda item: item + 1, [1, 2], 2) == [2, 3]
# What an interrupt leaves that comes while the pool waits for a thread to begin.
threads._pool()._threads.clear()
thread._threads_queues.clear()
"""


def test_a_thread_that_the_pool_forgot_does_not_keep_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
