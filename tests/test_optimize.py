"""The search, on a problem whose best settings are known: only one of two feature sets tells anomalies."""

from dataclasses import replace

import numpy as np
import optuna
import pytest

from anomaly_detection.settings import FORESTS, FeatureSet, Settings, make_forest
from anomaly_detection.training.optimize import MAX_TRIALS, search_accuracy

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


def _forest(settings):
    return make_forest(replace(settings, n_estimators=20), seed=3, backend="numba", rows=300)


def _search(**options):
    matrices, labels = _problem()
    options = {"seed": 3, "time_budget": 60.0, "max_trials": 12, **options}
    return search_accuracy(matrices.__getitem__, labels, _forest, [BLIND, TELLING], START, **options)


def test_search_finds_the_features_that_tell():
    found = _search()
    assert found.settings.features == TELLING
    assert found.accuracy == 1.0
    assert found.to_dict()["ran"] is True
    assert found.to_dict()["best_validation_accuracy"] == 1.0


def test_same_seed_same_search_unless_time_ends_it():
    one, two = _search(), _search()
    assert (one.settings, one.trials, one.accuracy) == (two.settings, two.trials, two.accuracy)
    assert one.ended_by == "trials"
    assert one.to_dict()["reproducible"] is True


def test_search_ends_when_it_no_longer_helps(monkeypatch):
    monkeypatch.setattr("anomaly_detection.training.optimize.PATIENCE", 4)
    found = _search(max_trials=MAX_TRIALS)
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

    def forest(settings):
        assert settings.forest == "blended" or settings.max_samples == 12
        return make_forest(replace(settings, n_estimators=6), seed=0, backend="numba")

    start = Settings(BLIND, max_samples=12)
    found = search_accuracy(matrices.__getitem__, labels, forest, [BLIND], start, seed=0, time_budget=9, max_trials=4)
    assert found.trials == 4


def test_every_kind_of_forest_is_tried():
    seen = set()

    def forest(settings):
        seen.add((settings.forest, settings.features))
        return _forest(settings)

    matrices, labels = _problem()
    search_accuracy(matrices.__getitem__, labels, forest, [BLIND, TELLING], START, seed=3, time_budget=60, max_trials=7)
    assert seen == {(kind, features) for kind in FORESTS for features in (BLIND, TELLING)}
