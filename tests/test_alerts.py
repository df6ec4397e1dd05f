"""A judged record: one `Alert`, and renderings of it that say to the byte what they said when each was made by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly_detection.alerts.renderings import as_anomaly, assess
from anomaly_detection.alerts.scoring import score_parts, score_table
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main
from anomaly_detection.data.chunks import read_table
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.explain import explanations
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.model_files.persistence import load_detector, save_detector

GOLDEN = Path(__file__).parent / "golden"
MODEL, RECORDS, OLD = GOLDEN / "native-v1.safetensors", GOLDEN / "records.csv", GOLDEN / "alerts"


def without_last_digits(text: str) -> str:
    """Numbers of ten decimals and more rounded to nine: processors differ in the last digits of a logarithm."""
    return re.sub(r"-?\d+\.\d{10,}(e-?\d+)?", lambda found: f"{float(found[0]):.9g}", text)


def rendered(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command or a call of the API says of the golden records by the golden model."""
    commands = {
        "score.txt": ["score", "--top", "8"],
        "explain.txt": ["explain", "--row", "2", "40", "17", "1"],
        "explain.json": ["explain", "--row", "2", "40", "17", "1", "--json"],
        "score.csv": ["score", "--output", str(folder / "score.csv")],
        "score_top.csv": ["score", "--top", "8", "--output", str(folder / "score.csv")],
        "score_chunks.csv": ["score", "--chunk-rows", "7", "--output", str(folder / "score.csv")],
    }
    if name in commands:
        command, *options = commands[name]
        assert main([command, str(MODEL), str(RECORDS), *options]) == 0
        out = capsys.readouterr().out
        return out if not name.endswith(".csv") else (folder / "score.csv").read_text("utf-8")
    api, records = AnomalyDetectionAPI(MODEL), read_table(RECORDS)
    if name == "explain_anomalies.json":
        # By a threshold of the caller's own too, which makes alerts of records that are none by the model's.
        found = [api.explain_anomalies(records, *api.predict(records, own)) for own in (0.0, 0.05)]
        return json.dumps(found, indent=1)
    return json.dumps([api.detect_anomaly(records.iloc[[row]]) for row in range(0, len(records), 5)], indent=1)


NAMES = [
    *("score.txt", "score.csv", "score_top.csv", "score_chunks.csv", "explain.txt", "explain.json"),
    *("explain_anomalies.json", "detect_anomaly.json"),
]


@pytest.mark.parametrize("name", NAMES)
def test_each_rendering_says_what_it_said(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = rendered(name, tmp_path, capsys)
    assert without_last_digits(made) == without_last_digits((OLD / name).read_text("utf-8"))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(MODEL)


def test_an_alert_has_what_its_docstring_says(detector: Detector) -> None:
    records = read_table(RECORDS)
    batch = score_table(detector, records)
    scores = detector.score_samples(records)
    everyone = batch.at(np.arange(len(records)))
    assert [alert.row for alert in everyone] == list(range(1, 41))
    assert [alert.score for alert in everyone] == scores.tolist()
    assert [alert.p_value for alert in everyone] == detector.p_values(scores).tolist()
    for alert in everyone:
        assert alert.threshold == detector.model.offset_
        assert alert.decision == alert.score - detector.model.offset_
        assert alert.is_alert is (alert.decision < 0)
        assert alert.record == records.iloc[alert.row - 1].to_dict()
        assert alert.identifiers == {"order_id": records["order_id"].iloc[alert.row - 1]}
        assert alert.explanation is not None
        effects = sum(reason.effect for reason in alert.reasons)
        assert alert.explanation.base + effects + alert.explanation.rest == pytest.approx(alert.score)
        assert alert.sentence.startswith(("Not an alert.", "Nothing")) or alert.is_alert
    assert min(everyone, key=lambda alert: alert.decision).risk_level == "medium"


def test_alerts_are_the_worst_first_and_ties_in_their_order(detector: Detector) -> None:
    batch = score_table(detector, read_table(RECORDS))
    alerts = batch.alerts()
    assert [alert.row for alert in alerts] == [24, 8, 21, 12, 32]
    assert batch.alerts(top=2) == alerts[:2]
    assert batch.alerts(top=0) == []
    assert AnomalyDetectionAPI(MODEL).alerts(read_table(RECORDS), top=3) == alerts[:3]
    even = replace(batch, decisions=np.zeros(40), is_alert=np.ones(40, dtype=bool))
    assert [alert.row for alert in even.alerts(top=3)] == [1, 2, 3]


@pytest.mark.parametrize("top", [-1, 1.5, True, "3"])
def test_a_number_of_alerts_that_is_none(top: object) -> None:
    with pytest.raises(DataError, match=r"top is .*; give a whole number of 0 or more"):
        AnomalyDetectionAPI(MODEL).alerts(read_table(RECORDS), top=top)  # type: ignore[arg-type]


def test_parts_count_rows_on_and_say_the_same(detector: Detector) -> None:
    records = read_table(RECORDS)
    parts = [records[:15], records[15:16], records[16:]]
    found = [alert for batch in score_parts(detector, parts) for alert in batch.alerts()]
    whole = score_table(detector, records).alerts()
    # Copies are looked for within a part, so only those that hang on none are compared.
    assert {alert.row for alert in found} == {alert.row for alert in whole}
    assert [alert.decision for alert in sorted(found, key=lambda one: one.decision)] == [one.decision for one in whole]


def test_reasons_and_features_are_made_once_and_for_what_is_asked(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, explained = [], []
    features_of, attribute = SupplyChainFeatures.features_of, explanations.attribute
    monkeypatch.setattr(SupplyChainFeatures, "features_of", lambda own, x: made.append(len(x)) or features_of(own, x))
    monkeypatch.setattr(explanations, "attribute", lambda own, x: explained.append(len(x)) or attribute(own, x))
    batch = score_table(detector, read_table(RECORDS))
    assert batch.at(np.arange(40), reasons=0)[0].reasons == ()
    assert (made, explained) == ([40], [])
    batch.alerts(top=3)
    assert (made, explained) == ([40], [3])


def test_a_caller_who_judges_has_the_say(detector: Detector) -> None:
    batch = score_table(detector, read_table(RECORDS))
    judged = batch.judged_by(~batch.is_alert, np.arange(40.0))
    first, *_ = judged.alerts()
    assert first.row == 1
    assert first.decision == 0.0
    assert (first.threshold, first.confidence) == (None, None)
    assert not first.sentence.startswith("Not an alert.")
    assert as_anomaly(first)["index"] == 0


def test_a_model_without_calibration_explains_but_does_not_rate(detector: Detector) -> None:
    bare = Detector(detector.preprocessor, detector.scaler, detector.model)
    alert, *_ = score_table(bare, read_table(RECORDS)).alerts()
    assert alert.row == 24
    assert alert.p_value is alert.severity is alert.risk_level is alert.confidence is None
    assert alert.model_id == ""
    assert alert.reasons
    with pytest.raises(DataError, match="without the scores that it was calibrated on"):
        assess(score_table(bare, read_table(RECORDS)), 23)


def test_the_models_name_goes_with_its_file_and_its_threshold(detector: Detector, tmp_path: Path) -> None:
    records = read_table(RECORDS).head(3)
    own = score_table(detector, records).model_id
    assert re.fullmatch("[0-9a-f]{16}", own)
    save_detector(detector, tmp_path / "again.joblib")
    again = load_detector(tmp_path / "again.joblib")
    assert score_table(again, records).model_id == own
    again.model.offset_ -= 0.01
    assert score_table(again, records).model_id != own
