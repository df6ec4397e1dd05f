"""`AnomalyDetectionAPI`: any table in, plain values out, and nothing that is silently half ready."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.drift import DriftWarning
from anomaly_detection.calibration.thresholds import BestF1, Conformal
from anomaly_detection.data.columns.schema import Role
from anomaly_detection.errors import AnomalyDetectionError, DataError, ModelFileError, NotFittedError
from anomaly_detection.synthetic import generate

pytestmark = pytest.mark.usefixtures("few_folds")

DATA = generate("classic", 800, seed=5)
FRAME = DATA.frame
COLUMNS = ["lead_time", "order_quantity"]
FEW = FRAME.head(90)
"""So few that none is left out to see how unseen ones look, which takes most of a training's time."""


@pytest.fixture(scope="module")
def api() -> AnomalyDetectionAPI:
    return AnomalyDetectionAPI().fit(FRAME)


@pytest.fixture(scope="module")
def model_path(api: AnomalyDetectionAPI, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("new") / "folders" / "model.joblib"
    api.save_model(path)
    return path


def test_predictions_and_scores(api: AnomalyDetectionAPI) -> None:
    predictions, scores = api.predict(FRAME)
    assert predictions.dtype.kind == "i"
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(predictions == -1, scores < 0)
    # The stated 5 % of the 160 set aside: 8. Of all 800 as many within what 160 can tell, 1.7 points a deviation.
    assert (predictions == -1).mean() == pytest.approx(0.05, abs=0.035)
    assert predictions[DATA.labels == -1].mean() < predictions[DATA.labels == 1].mean()


def test_a_threshold_moves_the_line_and_not_the_scores(api: AnomalyDetectionAPI) -> None:
    _, scores = api.predict(FRAME)
    line = float(np.median(scores))
    predictions, again = api.predict(FRAME, threshold=line)
    np.testing.assert_array_equal(again, scores)
    np.testing.assert_array_equal(predictions == -1, scores < line)


@pytest.mark.parametrize(
    "convert",
    [pl.from_pandas, pa.Table.from_pandas, lambda frame: frame.to_dict("records"), lambda frame: frame],
    ids=["polars", "pyarrow", "list of dicts", "pandas"],
)
def test_any_table(api: AnomalyDetectionAPI, convert: Any) -> None:
    few = FRAME.head(20)
    np.testing.assert_array_equal(api.predict(convert(few))[1], api.predict(few)[1])


def test_one_dict_is_one_record(api: AnomalyDetectionAPI) -> None:
    predictions, scores = api.predict(FRAME.iloc[3].to_dict())
    assert predictions.shape == scores.shape == (1,)
    assert scores[0] == api.predict(FRAME.iloc[[3]])[1][0]


def test_new_and_reordered_columns_do_not_matter(api: AnomalyDetectionAPI) -> None:
    other = FRAME[FRAME.columns[::-1]].assign(brand_new="x")
    np.testing.assert_array_equal(api.predict(other)[1], api.predict(FRAME)[1])


def test_a_missing_column_is_named(api: AnomalyDetectionAPI) -> None:
    with pytest.raises(DataError, match="lead_time"):
        api.predict(FRAME.drop(columns="lead_time"))


def test_the_same_seed_gives_the_same_scores() -> None:
    frame = FEW[[*COLUMNS, "supplier", "timestamp"]]
    one, same, other = (AnomalyDetectionAPI(seed=seed).fit(frame).predict(frame)[1] for seed in (42, 42, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_the_anomaly_ratio_sets_the_number_of_alerts() -> None:
    predictions, _ = AnomalyDetectionAPI(anomaly_ratio=0.1).fit(FRAME[COLUMNS]).predict(FRAME[COLUMNS])
    assert (predictions == -1).mean() == pytest.approx(0.1, abs=0.05)
    # Too few to leave some out: the threshold is the training records' own.
    few = AnomalyDetectionAPI(anomaly_ratio=0.1).fit(FRAME[COLUMNS].head(90))
    assert (few.predict(FRAME[COLUMNS].head(90))[0] == -1).sum() == 9
    assert few.detector.calibration_ is not None
    assert few.detector.calibration_.unseen is False


def test_given_columns_replace_what_would_be_inferred() -> None:
    schema = AnomalyDetectionAPI().fit(FEW, numerical_features=COLUMNS).preprocessor.schema_
    assert schema.names(Role.NUMERIC) == [name for name in FRAME.columns if name in COLUMNS]
    assert "supplier" in schema.names(Role.CATEGORICAL)
    schema = AnomalyDetectionAPI().fit(FEW, COLUMNS, ["supplier"], value_cols=["quality_rating"]).preprocessor.schema_
    assert set(schema.names(Role.NUMERIC)) == {*COLUMNS, "quality_rating"}
    assert schema.names(Role.CATEGORICAL) == ["supplier"]


def test_a_given_role_is_taken() -> None:
    text = FEW.assign(timestamp=FEW["timestamp"].astype(str))
    schema = AnomalyDetectionAPI().fit(text, timestamp_col="timestamp", categorical_features=["month"])
    assert schema.preprocessor.schema_["timestamp"].role is Role.TIMESTAMP
    assert schema.preprocessor.schema_.names(Role.CATEGORICAL) == ["month"]
    with pytest.raises(DataError, match="did you mean 'lead_time'"):
        AnomalyDetectionAPI().fit(FRAME, numerical_features=["lead_tme"])


def test_a_failed_fit_leaves_the_object_as_it_was(model_path: Path) -> None:
    fitted = AnomalyDetectionAPI(model_path)
    with pytest.raises(DataError):
        fitted.fit(FRAME.head(1))
    assert fitted.predict(FRAME)[1].shape == (800,)


def test_explanations(api: AnomalyDetectionAPI) -> None:
    frame = FRAME.set_axis([f"row {i}" for i in range(len(FRAME))])
    frame.loc["row 7", "lead_time"] = 90.0
    predictions, scores = api.predict(frame)
    explained = api.explain_anomalies(frame, predictions, scores)
    assert [item["index"] for item in explained] == np.flatnonzero(predictions == -1).tolist()
    assert [item["score"] for item in explained] == scores[predictions == -1].tolist()
    seventh = next(item for item in explained if item["index"] == 7)
    assert seventh["data_point"]["lead_time"] == 90.0
    assert set(seventh["data_point"]) == set(FRAME.columns)
    assert "lead_time" in seventh["explanation"].lower()
    assert seventh["explanation"].endswith(".")
    assert any("lead_time" in reason["columns"] for reason in seventh["contributions"])
    # Plain values all the way down, dates and missing values included.
    assert json.loads(json.dumps(explained, allow_nan=False)) == explained


def test_missing_values_are_none_in_a_data_point(api: AnomalyDetectionAPI) -> None:
    frame = FRAME.head(3).astype({"supplier": object})
    frame.loc[0, ["lead_time", "supplier"]] = [np.nan, None]
    frame.loc[0, "timestamp"] = pd.NaT
    point = api.explain_anomalies(frame, [-1, 1, 1], [0.0, 0.0, 0.0])[0]["data_point"]
    assert point["lead_time"] is point["supplier"] is point["timestamp"] is None


def test_nothing_to_explain(api: AnomalyDetectionAPI) -> None:
    assert api.explain_anomalies(FRAME.head(2), [1, 1], [0.1, 0.1]) == []


def test_what_does_not_belong_together(api: AnomalyDetectionAPI) -> None:
    with pytest.raises(DataError, match="800 records"):
        api.explain_anomalies(FRAME, [-1], [0.0])


def test_evaluate(api: AnomalyDetectionAPI) -> None:
    figures = api.evaluate(FRAME, DATA.labels)
    predictions, _ = api.predict(FRAME)
    assert figures["accuracy"] == (predictions == DATA.labels).mean()
    caught = int(((predictions == -1) & (DATA.labels == -1)).sum())
    assert figures["confusion_matrix"]["true_positive"] == caught
    assert figures["recall"] == caught / 40
    assert api.evaluate(FRAME, DATA.labels == -1) == figures
    all_normal = api.evaluate(FRAME, np.ones(len(FRAME), dtype=int))
    assert all_normal["roc_auc"] is None
    assert all_normal["accuracy"] == (predictions == 1).mean()
    json.dumps(figures, allow_nan=False)
    with pytest.raises(DataError):
        api.evaluate(FRAME, DATA.labels[:-1])


def test_one_record_is_rated(api: AnomalyDetectionAPI) -> None:
    _, scores = api.predict(FRAME)
    worst, best = (
        api.detect_anomaly(FRAME.iloc[row].to_dict()) for row in (int(scores.argmin()), int(scores.argmax()))
    )
    assert worst["is_anomaly"] is True
    assert worst["anomaly_score"] == pytest.approx(scores.min())
    # All 800 records were judged by what was learned without them: no p-value is much less.
    assert 1 / 801 <= worst["p_value"] < 0.005
    assert 25 * np.log10(161) < worst["severity"] < 100
    assert worst["risk_level"] in ("high", "critical")
    assert best["is_anomaly"] is False
    assert best["risk_level"] == "low"
    assert worst["confidence"] == pytest.approx(1.0) == best["confidence"]
    json.dumps([worst, best])


def test_confidence_and_risk_follow_the_score(api: AnomalyDetectionAPI) -> None:
    """Along the scores risk only falls; along the distance from the threshold confidence only grows."""
    _, scores = api.predict(FRAME)
    order = np.argsort(scores)[:: len(scores) // 25]
    answers = [api.detect_anomaly(FRAME.iloc[[row]]) for row in order]
    risks = [["critical", "high", "medium", "low"].index(answer["risk_level"]) for answer in answers]
    assert risks == sorted(risks)
    for side in (True, False):
        ours = [answer for answer in answers if answer["is_anomaly"] is side]
        ours.sort(key=lambda answer: abs(answer["anomaly_score"]))
        confidences = [answer["confidence"] for answer in ours]
        assert confidences == sorted(confidences)
    severities = [answer["severity"] for answer in answers]
    assert severities == sorted(severities, reverse=True)
    # What is both rare and high is an alert at the stated 5 %.
    assert all(answer["is_anomaly"] for answer in answers if answer["risk_level"] in ("high", "critical"))


def test_p_values_and_severity(api: AnomalyDetectionAPI) -> None:
    p_values, severities, scores = api.predict_p_values(FRAME), api.severity(FRAME), api.predict(FRAME)[1]
    assert p_values.dtype == severities.dtype == np.float64
    assert (p_values > 0).all()
    assert (p_values <= 1).all()
    order = np.argsort(scores)
    inside = p_values > p_values.min()
    assert (severities[inside] <= 25 * np.log10(1 / p_values[inside]) + 1e-9).all()
    # Unlike p-values they tell records apart.
    assert (np.diff(severities[order][: len(order) // 2]) < 0).all()
    assert (np.diff(p_values[order]) >= 0).all()
    answer = api.detect_anomaly(FRAME.iloc[[order[3]]])
    assert answer["p_value"] == p_values[order[3]]
    assert answer["severity"] == pytest.approx(severities[order[3]])


def test_p_values_hold_for_new_records() -> None:
    """Of records that the model has not seen, a share t has a p-value of at most t."""
    columns = [*COLUMNS, "supplier", "timestamp"]
    api = AnomalyDetectionAPI().fit(generate("classic", 3000, seed=1).frame[columns])
    p_values = api.predict_p_values(generate("classic", 3000, seed=2).frame[columns])
    for level in (0.05, 0.1, 0.5):
        assert (p_values <= level).mean() == pytest.approx(level, abs=0.04)


def test_another_threshold_rule(tmp_path: Path) -> None:
    rule = Conformal(0.2)
    api = AnomalyDetectionAPI(threshold=rule).fit(FRAME[[*COLUMNS, "supplier", "timestamp"]])
    assert rule.calibration_ is None  # the caller's is left alone
    few, odd = FRAME.head(30).copy(), FRAME.head(30).copy()
    odd.loc[:9, "lead_time"] = 500.0
    for frame in (few, odd):
        predictions, scores = api.predict(frame)
        np.testing.assert_array_equal(predictions == -1, scores < 0)
    assert (api.predict(odd)[0][:10] == -1).all()
    assert (api.predict(few)[0] == -1).sum() < 5
    api.save_model(tmp_path / "model.joblib")
    loaded = AnomalyDetectionAPI(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(odd)[1], api.predict(odd)[1])
    assert loaded.detect_anomaly(odd.head(1))["is_anomaly"] is True
    with pytest.raises(DataError, match="needs labels"):
        AnomalyDetectionAPI(threshold=BestF1()).fit(FRAME)


def test_drift_is_warned_of(api: AnomalyDetectionAPI) -> None:
    shifted = FRAME.assign(lead_time=FRAME["lead_time"] * 2 + 20, order_quantity=FRAME["order_quantity"] * 5)
    with pytest.warns(DriftWarning, match="no longer look like"):
        api.predict(shifted)
    with pytest.warns(DriftWarning):
        api.severity(shifted)
    assert api.predict(shifted.head(50))[0].shape == (50,)


def test_one_record_means_one(api: AnomalyDetectionAPI) -> None:
    with pytest.raises(DataError, match="one record but got 2"):
        api.detect_anomaly(FRAME.head(2))


def test_before_fitting() -> None:
    fresh = AnomalyDetectionAPI()
    assert fresh.is_fitted is False
    for call in (fresh.predict, fresh.detect_anomaly):
        with pytest.raises(NotFittedError, match="not trained"):
            call(FRAME.head(1))
    with pytest.raises(NotFittedError):
        fresh.save_model("never-written.joblib")
    assert not Path("never-written.joblib").exists()


def test_a_missing_model_is_an_error_and_not_an_unfitted_object(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no model file .*nowhere\.joblib"):
        AnomalyDetectionAPI(tmp_path / "nowhere.joblib")
    with pytest.raises(AnomalyDetectionError):
        AnomalyDetectionAPI.load_model(tmp_path / "nowhere.joblib")


def test_every_way_to_load_gives_a_usable_object(api: AnomalyDetectionAPI, model_path: Path) -> None:
    _, scores = api.predict(FRAME)
    made = AnomalyDetectionAPI.load_model(model_path)
    filled = AnomalyDetectionAPI()
    returned = filled.load_model(model_path)
    assert returned is filled
    for loaded in (made, filled, AnomalyDetectionAPI(model_path)):
        assert loaded.is_fitted is True
        np.testing.assert_array_equal(loaded.predict(FRAME)[1], scores)
        assert loaded.detect_anomaly(FRAME.iloc[[0]]) == api.detect_anomaly(FRAME.iloc[[0]])
        assert loaded.model.offset_ == api.model.offset_


@pytest.mark.parametrize("name", ["\0", "a\0/b", "half \ud800.joblib", "\ud800/model.joblib"])
def test_names_that_no_file_can_have(name: str, api: AnomalyDetectionAPI, model_path: Path, tmp_path: Path) -> None:
    path = f"{tmp_path}/{name}"
    for load in (
        lambda: AnomalyDetectionAPI(path),
        lambda: AnomalyDetectionAPI.load_model(path),
        lambda: AnomalyDetectionAPI.load_model(model_path, path),
    ):
        with pytest.raises(ModelFileError, match="no file can have this name"):
            load()
    for save in (lambda: api.save_model(path), lambda: api.save_model(tmp_path / "m.joblib", path)):
        with pytest.raises(DataError, match="no file can have this name") as caught:
            save()
        str(caught.value).encode()


def test_a_failed_load_leaves_the_object_as_it_was(model_path: Path, tmp_path: Path) -> None:
    loaded = AnomalyDetectionAPI(model_path)
    with pytest.raises(ModelFileError):
        loaded.load_model(tmp_path / "nowhere.joblib")
    assert loaded.is_fitted
