"""The detector: its parts as one, its threshold, and what it sees."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import RobustScaler

from anomaly_detection.calibration.thresholds import AlertBudget, BestAccuracy, Contamination
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError, NotFittedError
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.settings import SUMMARY_FEATURES, FeatureSet, Settings, make_detector, make_forest
from mlx_iforest import MLXIsolationForest


def _frame(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "lead_time": rng.normal(14, 2, rows),
            "cost": rng.normal(1000, 100, rows),
            "mode": rng.choice(["air", "sea", "road"], rows),
        }
    )
    frame.loc[3, "cost"] = np.nan
    return frame


def _forest():
    return MLXIsolationForest(30, random_state=0, backend="numba")


@pytest.fixture(scope="module")
def fitted():
    return Detector(model=_forest(), threshold_rule=Contamination(0.1)).fit(_frame())


def test_parts_used_alone_give_the_same_score(fitted):
    frame = _frame(seed=1)
    features = fitted.scaler.transform(fitted.preprocessor.transform(frame))
    assert features.dtype == np.float32
    assert fitted.transform(frame).dtype == np.float32
    np.testing.assert_array_equal(fitted.model.decision_function(features), fitted.decision_function(frame))
    np.testing.assert_array_equal(fitted.model.predict(features), fitted.predict(frame))
    np.testing.assert_allclose(
        fitted.decision_function(frame), fitted.score_samples(frame) - fitted.model.offset_, rtol=0, atol=0
    )


def test_threshold_lives_in_the_model(fitted):
    frame = _frame()
    assert fitted.model.offset_ == fitted.threshold_rule.offset_
    assert (fitted.predict(frame) == -1).sum() == 30
    decision = fitted.decision_function(frame)
    cut = float(np.median(decision))
    np.testing.assert_array_equal(fitted.predict(frame, threshold=cut) == -1, decision < cut)
    assert set(fitted.predict(frame)) == {-1, 1}


def test_missing_values_reach_the_model(fitted):
    column = fitted.feature_names.index("cost")
    assert np.isnan(fitted.transform(_frame())[3, column])


def test_records_come_in_any_form_and_column_order(fitted):
    frame = _frame(seed=1)
    expected = fitted.decision_function(frame)
    np.testing.assert_array_equal(
        fitted.decision_function(frame[["mode", "cost", "lead_time"]].assign(new=1)), expected
    )
    np.testing.assert_array_equal(fitted.decision_function(frame.to_dict("records")), expected)
    np.testing.assert_allclose(fitted.decision_function(frame.iloc[7].to_dict()), expected[7:8])


def test_labels_move_the_threshold_and_nothing_else():
    frame = _frame()
    labels = np.where(frame["cost"] > 1150, -1, 1)
    plain = Detector(model=_forest()).fit(frame)
    judged = Detector(model=_forest(), threshold_rule=BestAccuracy()).fit(X=frame, y=labels)
    np.testing.assert_array_equal(plain.score_samples(frame), judged.score_samples(frame))
    assert plain.model.offset_ == -0.5
    assert judged.model.offset_ == judged.threshold_rule.offset_ != -0.5
    with pytest.raises(DataError, match="needs labels"):
        Detector(model=_forest(), threshold_rule=BestAccuracy()).fit(frame)


def test_forests_of_the_system_use_all_cores():
    for settings in (Settings(forest="classic"), Settings(forest="density"), Settings(forest="blended")):
        assert make_forest(settings, seed=0).n_jobs == -1
    assert Detector().model.n_jobs == -1


def test_set_threshold_afterwards():
    detector = Detector(model=_forest()).fit(_frame())
    scores = detector.score_samples(_frame())
    detector.set_threshold(AlertBudget.count(7, len(scores)), scores)
    assert (detector.predict(_frame()) == -1).sum() == 7


def test_parts_fitted_elsewhere_need_no_fit(fitted):
    again = Detector(fitted.preprocessor, fitted.scaler, fitted.model)
    assert again.is_fitted
    np.testing.assert_array_equal(again.score_samples(_frame()), fitted.score_samples(_frame()))


def test_pickled_and_back(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(_frame(seed=2)), fitted.decision_function(_frame(seed=2)))
    assert again.feature_names == fitted.feature_names


def test_other_scalers_do():
    detector = Detector(SupplyChainFeatures(groups=("num",)), RobustScaler(), _forest()).fit(_frame())
    assert detector.transform(_frame()).dtype == np.float32
    assert detector.feature_names == ["lead_time", "cost"]


def test_unfitted_says_so():
    detector = Detector()
    assert not detector.is_fitted
    with pytest.raises(NotFittedError, match="not trained yet"):
        detector.predict(_frame())


@pytest.mark.parametrize("shown", [1, 2, SUMMARY_FEATURES])
def test_a_detector_that_sees_surprises_only(shown):
    frame = _frame()
    settings = Settings(FeatureSet(("num", "tails"), shown))
    detector = make_detector(settings, None, _forest()).fit(frame)
    names = [str(name) for name in detector.preprocessor.get_feature_names_out()]
    sources = detector.preprocessor.feature_sources_
    assert [source.kind for source in sources[-SUMMARY_FEATURES:]] == ["tails"] * SUMMARY_FEATURES
    assert all(source.kind != "tails" for source in sources[:-SUMMARY_FEATURES])
    assert detector.feature_names == names[len(names) - SUMMARY_FEATURES :][:shown]
    assert detector.model.n_features_in_ == shown
    assert detector.transform(frame).shape == (300, shown)
    odd = frame.copy()
    odd.loc[0, "cost"] = 5000.0
    assert detector.score_samples(odd)[0] < detector.score_samples(frame)[0] - 0.1
    assert detector.score_samples(odd)[0] < np.quantile(detector.score_samples(odd), 0.02)
