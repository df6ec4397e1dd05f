"""Pipelines, cross-validation, grid search, cloning and pickling, on raw records and with scikit-learn's own tools."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import clone, is_outlier_detector
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.thresholds import BestAccuracy, Contamination
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError, NotFittedError
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.settings import RECIPE, make_detector
from anomaly_detection.synthetic import generate
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

pytestmark = pytest.mark.usefixtures("few_folds")

DATA = generate("classic", 400, seed=1)
RECORDS, LABELS = DATA.frame, np.asarray(DATA.labels)
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
HALVES = StratifiedKFold(2, shuffle=True, random_state=0)


def pipeline(forest: Any = None) -> Pipeline:
    forest = MLXIsolationForest(20, random_state=0) if forest is None else forest
    return make_pipeline(SupplyChainFeatures(groups=("num", "tails")), StandardScaler(), forest)


def detector() -> Detector:
    return Detector(SupplyChainFeatures(groups=("num", "tails")), model=MLXIsolationForest(20, random_state=0))


@pytest.fixture(scope="module", params=[pipeline, detector], ids=["pipeline", "detector"])
def estimator(request: pytest.FixtureRequest) -> Any:
    """Fitted; from raw records to scores, either way."""
    return request.param().fit(RECORDS)


def test_it_clones(estimator: Any) -> None:
    again = clone(estimator)
    assert again.get_params().keys() == estimator.get_params().keys()
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(again)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        again.predict(RECORDS)
    assert_array_equal(again.fit(RECORDS).score_samples(RECORDS), estimator.score_samples(RECORDS))


def test_it_pickles_and_copies(estimator: Any) -> None:
    scores = estimator.score_samples(RECORDS)
    for again in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        check_is_fitted(again)
        assert_array_equal(again.score_samples(RECORDS), scores)


def test_it_is_an_outlier_detector_that_can_be_shown(estimator: Any) -> None:
    assert is_outlier_detector(estimator)
    assert set(estimator.fit_predict(RECORDS)) == {-1, 1}
    assert "MLXIsolationForest" in repr(estimator)
    assert "MLXIsolationForest" in estimator._repr_html_()


def test_nested_parameters() -> None:
    through_pipeline = pipeline().set_params(mlxisolationforest__n_estimators=7, supplychainfeatures__groups=("num",))
    assert through_pipeline[-1].n_estimators == 7
    assert through_pipeline[0].groups == ("num",)
    through_detector = detector().set_params(model__n_estimators=7, preprocessor__groups=("num",))
    assert through_detector.model.n_estimators == 7
    assert through_detector.fit(RECORDS).model.forest_.n_trees == 7
    assert set(through_detector.preprocessor.get_feature_names_out()) <= set(RECORDS)
    with pytest.raises(ValueError, match="Invalid parameter 'trees'"):
        detector().set_params(trees=3)


@pytest.mark.parametrize("make", [pipeline, detector, lambda: pipeline(BlendedIsolationForest(24, random_state=0))])
def test_cross_validation_ranks_by_decision_function(make: Any) -> None:
    """Labels of +1 (normal) and -1 (anomaly): normal records have the larger decision values, so 1 is perfect."""
    scores = cross_val_score(make(), RECORDS, LABELS, scoring="roc_auc", cv=FOLDS)
    by_hand = []
    for train, test in FOLDS.split(RECORDS, LABELS):
        decision = make().fit(RECORDS.iloc[train]).decision_function(RECORDS.iloc[test])
        by_hand.append(roc_auc_score(LABELS[test], decision))
    assert_array_equal(scores, by_hand)
    assert scores.min() > 0.75


def test_cross_validation_of_labels() -> None:
    agreement = cross_val_score(detector(), RECORDS, LABELS, scoring="accuracy", cv=FOLDS)
    fitted = [detector().fit(RECORDS.iloc[train], LABELS[train]) for train, _ in FOLDS.split(RECORDS, LABELS)]
    tests = [test for _, test in FOLDS.split(RECORDS, LABELS)]
    by_hand = [
        (one.predict(RECORDS.iloc[test]) == LABELS[test]).mean() for one, test in zip(fitted, tests, strict=True)
    ]
    assert_array_equal(agreement, by_hand)


def test_cross_validation_takes_records_of_any_kind() -> None:
    expected = cross_val_score(detector(), RECORDS, LABELS, scoring="roc_auc", cv=FOLDS)
    polars = pytest.importorskip("polars")
    for records in (RECORDS.to_dict("records"), polars.from_pandas(RECORDS)):
        assert_array_equal(cross_val_score(detector(), records, LABELS, scoring="roc_auc", cv=FOLDS), expected)


def test_grid_search_over_forest_and_features() -> None:
    grid = {
        "mlxisolationforest__n_estimators": [5, 20],
        "mlxisolationforest__scoring": ["depth", "density"],
        "supplychainfeatures__groups": [("num",), ("num", "tails")],
    }
    search = GridSearchCV(pipeline(), grid, scoring="roc_auc", cv=HALVES).fit(RECORDS, LABELS)
    assert len(search.cv_results_["params"]) == 8
    assert search.best_score_ == max(search.cv_results_["mean_test_score"]) > 0.85
    best = search.best_estimator_
    assert {name: best.get_params()[name] for name in grid} == search.best_params_
    assert_array_equal(search.score_samples(RECORDS), best.score_samples(RECORDS))


def test_grid_search_over_a_detector() -> None:
    grid = {"model": [MLXIsolationForest(9, random_state=0), BlendedIsolationForest(9, random_state=0)],
            "threshold_rule": [Contamination(0.3), BestAccuracy()]}  # fmt: skip
    search = GridSearchCV(detector(), grid, scoring="accuracy", cv=HALVES).fit(RECORDS, LABELS)
    assert search.best_params_["threshold_rule"].uses_labels
    assert search.best_score_ > 0.93
    assert not hasattr(grid["model"][0], "forest_")


def test_a_pipeline_may_end_in_a_detector() -> None:
    whole = make_pipeline("passthrough", detector()).fit(RECORDS)
    assert_array_equal(whole.decision_function(RECORDS), detector().fit(RECORDS).decision_function(RECORDS))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_features_as_a_frame(kind: str, when: str) -> None:
    pytest.importorskip(kind)
    records = RECORDS.set_axis(RECORDS.index + 1000)
    features = SupplyChainFeatures()
    expected = SupplyChainFeatures().fit_transform(records)
    if when == "before":
        first = features.set_output(transform=kind).fit_transform(records)
        assert_array_equal(first.to_numpy(), expected)
    else:
        features.fit(records).set_output(transform=kind)
    found = features.transform(records)
    assert type(found).__module__.startswith(kind)
    assert list(found.columns) == features.get_feature_names_out().tolist()
    assert_array_equal(found.to_numpy(), expected)
    if kind == "pandas":
        assert_array_equal(found.index, records.index)
        assert set(found.dtypes) == {np.dtype(np.float32)}
    assert type(features.features_of(features.prepare(records)[0])) is np.ndarray
    assert type(features.set_output(transform=None).transform(records)) is type(found)
    assert type(features.set_output(transform="default").transform(records)) is np.ndarray


def test_a_pipeline_of_frames_scores_alike() -> None:
    frames = pipeline().set_output(transform="pandas").fit(RECORDS)
    assert_array_equal(frames.score_samples(RECORDS), pipeline().fit(RECORDS).score_samples(RECORDS))
    assert frames[-1].feature_names_in_.tolist() == frames[0].get_feature_names_out().tolist()


def recipe() -> Detector:
    return make_detector(RECIPE, None, MLXIsolationForest(20, scoring="density", random_state=0))


@pytest.mark.parametrize("make", [detector, recipe])
def test_what_scikit_learn_is_set_to_hand_out_changes_no_score(make: Any) -> None:
    plain = make().fit(RECORDS)
    expected = plain.score_samples(RECORDS)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(SupplyChainFeatures().fit_transform(RECORDS), pd.DataFrame)
        assert_array_equal(plain.score_samples(RECORDS), expected)
        fitted_here = make().fit(RECORDS)
    assert_array_equal(fitted_here.score_samples(RECORDS), expected)
    of_frames = make()
    of_frames.preprocessor.set_output(transform="pandas")
    assert_array_equal(of_frames.fit(RECORDS).score_samples(RECORDS), expected)


@pytest.mark.parametrize(
    "labels", [LABELS, (LABELS == -1).astype(int), LABELS == -1, np.where(LABELS == 1, "ok", "bad")]
)
def test_a_detector_reads_labels_of_the_usual_kinds(labels: np.ndarray) -> None:
    expected = detector().fit(RECORDS, LABELS)
    found = detector().fit(RECORDS, labels)
    assert_array_equal(found.calibration_.scores, expected.calibration_.scores)
    with pytest.raises(DataError, match="not two classes"):
        detector().fit(RECORDS, np.arange(len(RECORDS)))


def test_an_unfitted_detector_raises_scikit_learns_error_too() -> None:
    with pytest.raises(sklearn.exceptions.NotFittedError, match="not trained yet") as raised:
        detector().predict(RECORDS)
    assert isinstance(raised.value, NotFittedError)


def test_the_api_pickles_and_copies() -> None:
    api = AnomalyDetectionAPI().fit(RECORDS)
    predictions, scores = api.predict(RECORDS)
    for again in (pickle.loads(pickle.dumps(api)), copy.deepcopy(api)):
        found = again.predict(RECORDS)
        assert_array_equal(found[0], predictions)
        assert_array_equal(found[1], scores)


CHECKS = {
    "parameters_default_constructible", "get_params_invariance", "set_params", "no_attributes_set_in_init",
    "estimator_cloneable", "estimator_repr", "estimator_tags_renamed", "valid_tag_types", "mixin_order",
    "estimators_unfitted", "readonly_memmap_input", "dict_unchanged", "estimators_pickle", "transformers_unfitted",
    "set_output_transform", "fit_score_takes_y", "fit_idempotent", "fit_check_is_fitted", "n_features_in",
    "methods_subset_invariance", "methods_sample_order_invariance", "estimators_overwrite_params",
    "positive_only_tag_during_fit",
}  # fmt: skip
"""scikit-learn's checks that hold for tables. Others ask for sparse matrices, or for errors in its words."""

OF_A_DETECTOR = {
    "get_params_invariance", "set_params", "estimator_cloneable", "estimator_repr", "estimator_tags_renamed",
    "valid_tag_types", "mixin_order", "estimators_unfitted", "estimators_pickle", "fit_check_is_fitted",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::anomaly_detection.calibration.drift.DriftWarning")
@pytest.mark.parametrize(
    ("kind", "check"),
    [(SupplyChainFeatures, check) for check in sorted(CHECKS)] + [(Detector, check) for check in sorted(OF_A_DETECTOR)],
)
def test_scikit_learns_own_checks(kind: Any, check: str) -> None:
    test = getattr(estimator_checks, f"check_{check}", None)
    if test is None:
        pytest.skip(f"scikit-learn {sklearn.__version__} has no check_{check}")
    test(kind.__name__, kind())
