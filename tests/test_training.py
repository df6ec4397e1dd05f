"""The whole run, on small records."""

import json

import numpy as np
import pandas as pd
import pytest
from explained import explain
from sklearn.base import clone

from anomaly_detection.alerts.overview import MOST_LISTED
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.calibration.thresholds import AlertBudget, Conformal, LowestCost
from anomaly_detection.data.columns.schema import CleanRecords, infer_schema
from anomaly_detection.data.fingerprint import fingerprint
from anomaly_detection.data.splitting import split
from anomaly_detection.detector import Detector, Prepared
from anomaly_detection.errors import AnomalyDetectionError, DataError
from anomaly_detection.evaluation.metrics import METRICS, evaluate
from anomaly_detection.model_files.persistence import load_detector, save_detector
from anomaly_detection.reports.report import write_report
from anomaly_detection.reports.tables import comparison_table
from anomaly_detection.settings import (
    FEATURE_SETS,
    FORESTS,
    RECIPE,
    FeatureSet,
    Settings,
    make_detector,
    make_forest,
    settings_of,
)
from anomaly_detection.synthetic import generate
from anomaly_detection.training import train as training
from anomaly_detection.training.parts import Part
from anomaly_detection.training.train import train
from anomaly_detection.training.trial_features import Matrices
from mlx_iforest import MLXIsolationForest

pytestmark = pytest.mark.usefixtures("few_folds")

DATA = generate("classic", 1500, seed=5)
FEW = DATA.frame[["timestamp", "lead_time", "order_quantity", "demand_forecast", "supplier"]]
"""For what any columns show: most of a training's time goes into pairs of them."""
FAST = {"seed": 3, "backend": "numba", "max_trials": 6, "target_accuracy": 0.9999}
MODEL_FIELDS = {
    *METRICS,
    "fit_seconds",
    "forest_fit_seconds",
    "score_rows_per_second",
    "forest_rows_per_second",
    "peak_memory_bytes",
    "model_bytes",
    "threshold",
    "alerts",
    "parameters",
}


@pytest.fixture(scope="module", autouse=True)
def few_feature_sets():
    """Keep the tests fast: three of the feature sets, of two groups."""
    few = (FeatureSet(), FeatureSet(surprises=1), FeatureSet(("num",)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "FEATURE_SETS", few)
        yield


@pytest.fixture(scope="module")
def labelled():
    seen = []
    result = train(
        DATA.frame,
        labels=DATA.labels,
        anomaly_types=DATA.anomaly_types,
        source="classic",
        progress=lambda *step: seen.append(step),
        **FAST,
    )
    return result, seen


@pytest.fixture(scope="module")
def unlabelled():
    # Without the month, which the later rows of a split by time have never shown.
    return train(DATA.frame.iloc[:800].drop(columns="month"), timestamp="timestamp", **FAST)


def _same_forest(one, two):
    ours, theirs = one.model.forest_, two.model.forest_
    return ours.feature.tobytes() == theirs.feature.tobytes() and ours.threshold.tobytes() == theirs.threshold.tobytes()


def test_report_holds_what_the_design_promises(labelled):
    report = labelled[0].report.to_dict()
    assert {"created", "version", "seed", "backend", "data", "split", "base", "optimized", "sklearn"} <= report.keys()
    for key in ("base", "optimized", "sklearn"):
        assert report[key].keys() >= MODEL_FIELDS
        assert report[key]["fit_seconds"] > 0
        assert report[key]["score_rows_per_second"] > 0
        assert report[key]["model_bytes"] > 1000
        assert sum(report[key]["confusion_matrix"].values()) == report["split"]["test"]
    assert report["data"] | {"schema": 0, "cleaning": 0} == {
        "fingerprint": fingerprint(DATA.frame),
        "source": "classic",
        "rows": 1500,
        "columns": DATA.frame.shape[1],
        "labelled": True,
        "anomaly_ratio": 0.05,
        "schema": 0,
        "cleaning": 0,
        "timestamp": None,
        "identifiers": [],
    }
    assert report["split"] == {
        "method": "random",
        "train": 900,
        "validation": 300,
        "test": 300,
        "time_column": None,
        "note": "",
        "shift": None,
    }
    assert report["backend"]["name"] == "numba"
    assert 0.9 < report["oracle"]["accuracy"] <= 1.0
    assert "IsolationForest on the raw numeric columns" in report["sklearn"]["parameters"]["what"]
    json.dumps(report, allow_nan=False)


def test_figures_are_those_of_the_test_rows(labelled):
    result = labelled[0]
    rows = split(DATA.frame, DATA.labels, seed=3).test
    for key, detector in (("base", result.base), ("optimized", result.optimized)):
        frame = DATA.frame.iloc[rows]
        expected = evaluate(DATA.labels[rows], detector.predict(frame), detector.score_samples(frame)).to_dict()
        for name in ("accuracy", "recall", "roc_auc", "confusion_matrix"):
            assert result.report.to_dict()[key][name] == expected[name]
        np.testing.assert_array_equal(result.curves.models[key].scores, detector.score_samples(frame))
        assert result.curves.models[key].threshold == detector.model.offset_ == result.report.models[key].threshold
    np.testing.assert_array_equal(result.curves.labels, DATA.labels[rows])
    assert set(result.report.base.metrics.recall_by_type) == set(DATA.anomaly_types[rows]) - {"normal"}


def test_base_is_what_it_is_said_to_be(labelled):
    base = labelled[0].base
    assert base.model.n_estimators == 100
    assert base.model.max_samples_ == 256
    assert base.model.contamination == 0.05
    rows = split(DATA.frame, DATA.labels, seed=3).validation
    assert (base.predict(DATA.frame.iloc[rows]) == -1).sum() == 15


def test_search_helps_on_the_validation_part(labelled):
    search = labelled[0].report.optimized.search
    assert search.ended_by == "trials"
    assert search.trials == 6
    assert "below 99.99%" in search.reason
    rows = split(DATA.frame, DATA.labels, seed=3).validation
    frame, labels = DATA.frame.iloc[rows], DATA.labels[rows]
    accuracy = {key: (getattr(labelled[0], key).predict(frame) == labels).mean() for key in ("base", "optimized")}
    assert accuracy["optimized"] == search.accuracy > accuracy["base"]


def test_progress_goes_through_the_stages(labelled):
    stages = list(dict.fromkeys(stage for stage, _, _ in labelled[1]))
    assert stages == ["data", "base", "search", "optimized", "sklearn", "test"]
    assert all(0.0 <= fraction <= 1.0 and message for _, fraction, message in labelled[1])


@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_the_overview_is_of_the_saved_model_and_all_records(kind, labelled, unlabelled, tmp_path):
    result = labelled[0] if kind == "labelled" else unlabelled
    frame = DATA.frame if kind == "labelled" else DATA.frame.iloc[:800].drop(columns="month")
    save_detector(result.optimized, tmp_path / "model.safetensors")
    found = score_table(load_detector(tmp_path / "model.safetensors"), frame)
    overview = result.overview
    assert (overview.records, overview.alerts) == (len(frame), found.is_alert.sum())
    order = found.most_abnormal(len(overview.findings))
    assert [alert.row - 1 for alert in overview.worst] == order.tolist()
    assert [alert.decision for alert in overview.worst] == found.decisions[order].tolist()
    assert len(order) == min(MOST_LISTED, max(overview.alerts, 10))
    assert sum(len(cause.alerts) for cause in overview.causes) == overview.alerts == overview.explained
    assert all(alert.sentence for alert in overview.worst)
    assert overview.worst[0].record["supplier"] == frame["supplier"].iloc[order[0]]


def test_report_can_be_written_and_printed(labelled, unlabelled, tmp_path):
    for name, result in (("with", labelled[0]), ("without", unlabelled)):
        write_report(tmp_path / name, result.report, result.curves, result.overview)
        assert (tmp_path / name / "report.json").exists()
        assert "scikit-learn" in comparison_table(result.report, terminal=False)


def test_detectors_carry_how_they_were_trained(labelled):
    for key in ("base", "optimized"):
        summary = getattr(labelled[0], key).training_
        assert summary["model"] == key
        assert summary["accuracy"] == labelled[0].report.metrics[key].accuracy
        assert summary["data"]["source"] == "classic"
        json.dumps(summary, allow_nan=False)


def test_the_test_part_cannot_touch_the_models(labelled):
    """Neither its labels nor its records."""
    parts = split(DATA.frame, DATA.labels, seed=3)
    turned = DATA.labels.copy()
    turned[parts.test] = np.random.default_rng(0).permutation(-turned[parts.test])
    frame = DATA.frame.copy()
    frame.loc[frame.index[parts.test], "lead_time"] *= 7.0
    other = train(frame, labels=turned, split_method=parts, **FAST)
    for key in ("base", "optimized"):
        ours, theirs = getattr(labelled[0], key), getattr(other, key)
        assert _same_forest(ours, theirs)
        assert ours.model.offset_ == theirs.model.offset_
    assert other.report.optimized.metrics != labelled[0].report.optimized.metrics


def test_labels_of_the_training_part_cannot_touch_the_models(labelled):
    parts = split(DATA.frame, DATA.labels, seed=3)
    turned = DATA.labels.copy()
    turned[parts.train] *= -1
    other = train(DATA.frame, labels=turned, split_method=parts, **FAST)
    for key in ("base", "optimized"):
        assert _same_forest(getattr(labelled[0], key), getattr(other, key))


def test_no_search_where_the_base_is_good_enough():
    result = train(FEW, labels=DATA.labels, **{**FAST, "target_accuracy": 0.5})
    assert result.optimized is result.base
    search = result.report.optimized.search
    assert search.ended_by is None
    assert search.trials == 0
    assert "50.00% is enough" in search.reason
    assert result.report.optimized.threshold == result.report.base.threshold


def test_without_labels_everything_works_and_nothing_is_claimed(unlabelled):
    report = unlabelled.report.to_dict()
    assert report["data"]["labelled"] is False
    assert report["oracle"] is None
    assert unlabelled.curves.labels is None
    for key in ("base", "optimized", "sklearn"):
        assert report[key]["accuracy"] is report[key]["confusion_matrix"] is report[key]["roc_auc"] is None
        assert 0 < report[key]["alerts"] < 40
    search = report["optimized"]["search"]
    assert search["ran"] is False
    assert search["best_validation_accuracy"] is None
    assert search["reason"].startswith("There are no labels to choose by")
    assert report["optimized"]["same_as_base"] is False
    assert report["optimized"]["parameters"]["forest"] == FORESTS[RECIPE.forest]
    assert unlabelled.optimized.model.n_estimators == RECIPE.n_estimators
    json.dumps(report, allow_nan=False)


def test_without_labels_the_saved_models_know_all_records(unlabelled):
    frame = DATA.frame.iloc[:800].drop(columns="month")
    parts = split(frame, method="time", time="timestamp")
    for key in ("base", "optimized"):
        saved, report = getattr(unlabelled, key), unlabelled.report.models[key]
        learned = Prepared.of(saved.preprocessor, frame).learned
        again = clone(saved.model).fit(saved.scaler.transform(learned).astype(np.float32))
        np.testing.assert_allclose(again.forest_.threshold, saved.model.forest_.threshold, rtol=1e-5)
        assert saved.model.offset_ == saved.threshold_rule.offset_
        assert report.refit
        assert report.to_dict()["parameters"]["trained_on"] == "training part"
        assert report.to_dict()["parameters"]["saved_model"].startswith("refit on all records")
        assert "The saved models: refit on all" in comparison_table(unlabelled.report, terminal=False)
        # The report's scores are of a model that has not seen the test part.
        scores = saved.score_samples(frame.iloc[parts.test])
        assert not np.array_equal(scores, unlabelled.curves.models[key].scores)


def test_a_level_that_only_the_test_part_has_is_known_to_the_saved_model():
    frame = FEW.iloc[:400].copy()
    parts = split(frame, seed=3)
    frame.loc[frame.index[parts.test[:10]], "supplier"] = "Newcomer"
    result = train(frame, **FAST)
    sentences = [found.sentence for found in explain(result.optimized, frame, parts.test[:10].tolist(), top=20)]
    assert not any("never seen" in sentence for sentence in sentences)


def test_a_shift_is_said_with_its_columns():
    frame = FEW.iloc[:600].copy()
    later = split(frame, method="time", time="timestamp").test
    frame.loc[frame.index[later], "lead_time"] *= 5.0
    result = train(frame, timestamp="timestamp", **FAST)
    shift = result.report.split.shift
    assert shift.test_alert_rate > 2 * shift.validation_alert_rate
    assert next(iter(shift.columns)) == "lead_time"
    assert shift.columns["lead_time"] > 0.9
    assert "differ from those, most in lead_time" in " ".join(comparison_table(result.report, terminal=False).split())


def test_split_is_by_time_where_a_timestamp_is_given(unlabelled):
    assert unlabelled.report.split.method == "time"
    assert unlabelled.report.split.time_column == "timestamp"


def test_alert_budget_sets_the_threshold():
    frame = FEW.iloc[:500]
    parts = split(frame, method="time", time="timestamp")
    result = train(frame, timestamp="timestamp", alert_budget=AlertBudget(0.02), time_budget=0.0, **FAST)
    assert result.base.threshold_rule.rate == 0.02
    assert result.report.split.validation == len(parts.validation) == 100
    assert result.report.base.parameters.threshold_rule == AlertBudget(0.02)
    assert result.report.base.parameters.rule_in_words == (
        "so that at most 2 % of the records alert, by the validation part"
    )
    a_day = train(frame, timestamp="timestamp", alert_budget=0.1, time_budget=0.0, **FAST)
    days = frame["timestamp"].iloc[parts.train].agg(lambda times: (times.max() - times.min()) / pd.Timedelta("1D"))
    assert a_day.base.threshold_rule.rate == pytest.approx(0.1 * days / len(parts.train))
    assert isinstance(a_day.report.base.parameters.threshold_rule, AlertBudget)


def test_a_rule_that_was_asked_for_sets_both_thresholds():
    result = train(FEW, labels=DATA.labels, threshold=LowestCost(1, 30), time_budget=0.0, **FAST)
    assert result.report.optimized.search.because, "no time for a search"
    rows = split(DATA.frame, DATA.labels, seed=3).validation
    scores, anomaly = result.base.score_samples(FEW.iloc[rows]), DATA.labels[rows] == -1

    def cost(cut):
        return (scores[~anomaly] < cut).sum() + 30 * (scores[anomaly] >= cut).sum()

    assert cost(result.base.model.offset_) == min(cost(cut) for cut in [*scores, 0.0])
    assert result.report.base.parameters.rule_in_words == (
        "where labelled records cost least, a false alarm 1 and a miss 30, by the validation part"
    )
    # The calibration is by the normal records alone.
    assert result.base.calibration_.labelled
    assert result.base.calibration_.scores.size == (~anomaly).sum()
    assert result.base.calibration_.unseen


def test_a_false_discovery_rate_is_that_of_the_batch_and_of_the_measured_model():
    labelled = train(DATA.frame, labels=DATA.labels, threshold=Conformal(0.2), time_budget=0.0, **FAST)
    test = split(DATA.frame, DATA.labels, seed=3).test
    alerts = labelled.base.predict(DATA.frame.iloc[test]) == -1
    assert labelled.report.base.alerts == alerts.sum() > 0
    assert (DATA.labels[test][alerts] == 1).mean() < 0.4
    assert labelled.report.to_dict()["base"]["parameters"]["saved_model"] == "the measured model"


def test_validation_without_anomalies_falls_back_to_the_recipe():
    frame = FEW.iloc[:600]
    parts = split(frame, method="time", time="timestamp")
    labels = np.ones(600, dtype=int)
    labels[parts.train[:20]] = -1
    report = train(frame, labels=labels, split_method=parts, **FAST).report
    assert report.optimized.search.reason.startswith("The validation part has no labels of both kinds")
    assert report.optimized.metrics.recall == 0.0
    assert report.optimized.metrics.roc_auc is None


def test_records_with_few_columns_and_missing_values():
    rng = np.random.default_rng(0)
    records = [{"lead_time": float(value)} for value in rng.normal(14, 2, 60)]
    records[5]["lead_time"] = None
    result = train(records, **FAST)
    assert result.report.data.columns == 1
    assert np.isfinite(result.optimized.score_samples(records)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [1, -1]}, "1500 records but 2 labels"),
        ({"labels": np.ones(1500)}, "only normal records"),
        ({"labels": np.arange(1500)}, "not two classes"),
        ({"anomaly_types": ["a"]}, "1500 records but 1 anomaly types"),
        ({"anomaly_ratio": 0.7}, "at most 0.5"),
        ({"alert_budget": 3.0}, "needs the time column"),
        ({"threshold": LowestCost(1, 2)}, "LowestCost needs labels"),
        ({"threshold": Conformal(0.1), "alert_budget": AlertBudget(0.1)}, "give one of them"),
        ({"timestamp": "timestmp"}, "did you mean 'timestamp'"),
        ({"identifiers": ["orderno"]}, "Unknown column 'orderno'"),
        ({"backend": "abacus"}, "abacus"),
        ({"split_method": "sideways"}, "choose 'random' or 'time'"),
    ],
)
def test_bad_arguments_are_said_before_any_work(options, message):
    with pytest.raises(AnomalyDetectionError, match=message):
        train(DATA.frame, **{**FAST, **options})


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (DATA.frame.iloc[:1], "one row|1 row"),
        (DATA.frame.iloc[:15], "at least 20"),
        (DATA.frame.assign(lead_time=DATA.frame["lead_time"].where(DATA.frame.index != 7, np.inf)), "infinite"),
        (pd.DataFrame({"a": ["x", "y"] * 20}), "numeric"),
        (pd.DataFrame({"a": [1.0] * 40, "b": [2.0] * 40}), "constant"),
    ],
)
def test_records_that_cannot_be_used_are_said(frame, message):
    with pytest.raises(DataError, match=message):
        train(frame, **FAST)


def test_interrupt_goes_through():
    def interrupt(stage, fraction, message):
        if stage == "search":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(DATA.frame, labels=DATA.labels, progress=interrupt, **FAST)


def test_little_time_tries_fewer_features_and_says_so():
    report = train(DATA.frame, labels=DATA.labels, **{**FAST, "time_budget": 1e-6}).report
    search = report.optimized.search
    assert "Time allowed for" in search.reason
    assert search.to_dict()["reproducible"] is False
    assert search.trials == 1


def test_unlabelled_alerts_are_as_many_as_asked_for_among_new_rows():
    frame = generate("classic", 1500, seed=6).frame[FEW.columns]
    parts = split(frame, seed=3)
    result = train(frame, anomaly_ratio=0.1, **FAST)
    # The saved models have been refit since; the threshold is the one that let 30 of these 300 rows through.
    for key in ("base", "optimized"):
        assert result.report.models[key].alerts == pytest.approx(30, abs=15)
        assert (getattr(result, key).predict(frame.iloc[parts.test]) == -1).sum() <= 45


def test_every_feature_set_can_be_searched():
    frame = DATA.frame.iloc[::3]
    schema = infer_schema(frame)
    records = CleanRecords(*schema.read(frame))
    parts = (Part(frame.iloc[rows], records.part(rows), None) for rows in (np.arange(len(frame)), np.arange(50)))
    found, complete = Matrices(schema, *parts).usable(FEATURE_SETS, 600.0)
    assert complete
    # Nothing repeats in these records, so the set with repeats equals another one and is tried once.
    assert set(FEATURE_SETS) - set(found) <= {FEATURE_SETS[-1]}


def test_a_model_of_an_earlier_training_gives_its_settings_and_columns(tmp_path):
    settings = Settings(FeatureSet(surprises=2), n_estimators=40, max_samples=64, max_features=0.5, forest="density")
    schema = infer_schema(DATA.frame, {"month": "categorical"})
    earlier = make_detector(settings, schema, make_forest(settings, seed=0)).fit(DATA.frame)
    for name in ("model.joblib", "model.safetensors"):
        save_detector(earlier, tmp_path / name)
        like = load_detector(tmp_path / name)
        assert settings_of(like) == settings
    again = train(DATA.frame, labels=DATA.labels, like=like)
    assert settings_of(again.optimized) == settings
    assert again.optimized.preprocessor.schema_["month"].role == "categorical"
    assert again.report.optimized.search.because == ("the settings are those of the model that was given",)
    with pytest.raises(DataError, match="was trained on 'lead_time', which these records lack"):
        train(DATA.frame.drop(columns="lead_time"), like=like)


@pytest.mark.parametrize("settings", [RECIPE, Settings(), Settings(n_estimators=60, forest="blended")])
def test_settings_are_read_off_a_detector(settings):
    made = make_detector(settings, None, make_forest(settings, seed=0)).fit(DATA.frame)
    assert settings_of(made) == settings


def test_a_detector_of_ones_own_has_no_settings():
    own = Detector(model=MLXIsolationForest(extension_level=1)).fit(DATA.frame)
    with pytest.raises(DataError, match="was not made by train"):
        train(DATA.frame, like=own)
