"""The search, on a problem whose best settings are known: only one of two feature sets tells anomalies."""

import numpy as np
import optuna
import pytest

from anomaly_detection.optimize import MAX_TRIALS, search_accuracy, search_stability
from anomaly_detection.settings import FeatureSet, Settings
from mlx_iforest import MLXIsolationForest

BLIND, TELLING = FeatureSet(("num",)), FeatureSet(("num", "tails"))
START = Settings(BLIND)


def _problem(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(120) < 12, -1, 1)
    noise = rng.normal(size=(300, 3)).astype(np.float32), rng.normal(size=(120, 3)).astype(np.float32)
    telling = rng.normal(size=(300, 1)).astype(np.float32), rng.normal(size=(120, 1)).astype(np.float32)
    telling[1][labels == -1] += 30.0
    telling[0][:15] += 30.0
    return {BLIND: noise, TELLING: telling}, labels


def _forest(settings, seed):
    return MLXIsolationForest(
        min(settings.n_estimators, 20),
        max_samples=min(settings.max_samples, 300),
        max_features=settings.max_features,
        random_state=seed,
        backend="numba",
    )


def _search(**options):
    matrices, labels = _problem()
    options = {"seed": 3, "time_budget": 60.0, "max_trials": 12, **options}
    return search_accuracy(matrices.__getitem__, labels, _forest, [BLIND, TELLING], START, **options)


def test_search_finds_the_features_that_tell():
    found = _search()
    assert found.settings.features == TELLING
    assert found.accuracy == 1.0
    assert found.stability is None
    assert found.to_dict()["ran"] is True
    assert found.to_dict()["best_validation_accuracy"] == 1.0


def test_same_seed_same_search_unless_time_ends_it():
    one, two = _search(), _search()
    assert (one.settings, one.trials, one.accuracy) == (two.settings, two.trials, two.accuracy)
    assert one.ended_by == "trials"
    assert one.to_dict()["reproducible"] is True


def test_search_ends_when_it_no_longer_helps():
    found = _search(max_trials=MAX_TRIALS, patience=4)
    assert found.ended_by == "gain"
    assert "no gain" in found.reason
    assert 6 <= found.trials < MAX_TRIALS


def test_search_ends_with_its_time_and_keeps_the_first_trial():
    found = _search(time_budget=1e-9)
    assert found.ended_by == "time"
    assert found.trials == 1
    assert found.settings == Settings(BLIND, 100, 256, 1.0)
    assert found.to_dict()["reproducible"] is False


def test_result_is_never_worse_than_the_start():
    matrices, labels = _problem()
    matrices[TELLING] = matrices[BLIND]
    found = search_accuracy(
        matrices.__getitem__, labels, _forest, [BLIND], START, seed=1, time_budget=60.0, max_trials=8
    )
    # Calling every row normal is one of the thresholds.
    assert found.accuracy >= 0.9


def test_progress_grows_and_logging_is_left_as_it_was():
    seen = []
    before = optuna.logging.get_verbosity()
    _search(max_trials=5, progress=lambda stage, fraction, message: seen.append((stage, fraction, message)))
    assert [stage for stage, _, _ in seen] == ["search"] * 5
    fractions = [fraction for _, fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert seen[-1][2] == "trial 5: best validation accuracy 1.0000"
    assert optuna.logging.get_verbosity() == before


def test_interrupt_leaves_the_search():
    def interrupt(stage, fraction, message):
        raise KeyboardInterrupt

    before = optuna.logging.get_verbosity()
    with pytest.raises(KeyboardInterrupt):
        _search(progress=interrupt)
    assert optuna.logging.get_verbosity() == before


def test_small_samples_leave_one_choice():
    rng = np.random.default_rng(0)
    matrices = {BLIND: (rng.normal(size=(12, 2)).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32))}
    labels = np.array([-1, 1, 1, 1, 1, 1])

    def forest(settings, seed):
        assert settings.max_samples == 12
        return MLXIsolationForest(5, max_samples=12, random_state=seed, backend="numba")

    start = Settings(BLIND, max_samples=12)
    found = search_accuracy(matrices.__getitem__, labels, forest, [BLIND], start, seed=0, time_budget=9, max_trials=4)
    assert found.trials == 4


def _ranks_stably(forest_of):
    matrices, _ = _problem()
    return search_stability(matrices.__getitem__, forest_of, Settings(TELLING), seed=0, time_budget=60.0)


def test_stability_of_a_forest_grows_with_its_trees():
    matrices, _ = _problem()

    def forest(settings, seed):
        return MLXIsolationForest(settings.n_estimators, max_samples=64, random_state=seed, backend="numba")

    found = search_stability(matrices.__getitem__, forest, START, seed=0, time_budget=60.0)
    assert found.settings.n_estimators > 100
    assert 0.9 < found.stability <= 1.0
    assert found.accuracy is None
    assert found.to_dict()["best_validation_accuracy"] is None
    hurried = search_stability(matrices.__getitem__, forest, START, seed=0, time_budget=0.0)
    assert hurried.trials == 1
    assert hurried.stability <= found.stability
    assert hurried.ended_by == "time"


class _Ranker:
    """Stands for a forest with given scores."""

    def __init__(self, scores):
        self.scores = scores

    def fit(self, features):
        return self

    def score_samples(self, features):
        return self.scores


@pytest.mark.parametrize(
    ("one", "two", "stability", "trials"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 1.0, 1),
        ([1, 1, 1, 1], [1, 2, 3, 4], 1.0, 1),  # nothing to rank
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0, 5),
        ([1, 2, 3, 4], [1, 3, 2, 4], 2 * 0.8 / 1.8, 5),  # Spearman's correlation is 1 - 6 * 2 / (4 * 15) = 0.8
    ],
)
def test_stability_by_hand(one, two, stability, trials):
    halves = {1: np.array(one, float), 2: np.array(two, float)}
    found = _ranks_stably(lambda settings, seed: _Ranker(halves[seed]))
    assert found.stability == pytest.approx(stability)
    assert found.trials == trials
