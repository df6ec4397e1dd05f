"""`anomaly-detection explain`: what it prints, and which rows it means."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main
from anomaly_detection.data.chunks import read_table


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and records, of which one costs ten times too much."""
    folder = tmp_path_factory.mktemp("explain")
    assert main(["generate", "--samples", "700", str(folder / "records.csv")]) == 0
    frame = read_table(folder / "records.csv")
    AnomalyDetectionAPI().fit(frame).save_model(folder / "model.joblib")
    frame = frame.head(60)
    frame.insert(0, "order_no", [f"PO-{i:05}" for i in range(60)])
    frame.loc[40, "transportation_cost"] = "9999"
    # Else it would be a training record but for one number, and told as that.
    frame.loc[40, "lead_time"] = frame.loc[41, "lead_time"]
    frame.to_csv(folder / "new.csv", index=False)
    return folder


def arguments(work: Path, *more: str) -> list[str]:
    return ["explain", str(work / "model.joblib"), str(work / "new.csv"), *more]


def test_rows_are_counted_as_score_prints_them(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = arguments(work)[1:]
    assert main(["score", model, data, "--top", "1"]) == 0
    row, reason = capsys.readouterr().out.splitlines()[1].split(maxsplit=1)
    assert row == "41"
    assert main(arguments(work, "--row", "41")) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "Row 41: an alert"
    assert "below the threshold" in lines[1]
    assert "severity " in lines[1]
    assert "transportation_cost 9,999 is 10 times what is usual" in lines[3]
    assert lines[3] in reason
    assert lines[5].split() == ["share", "effect", "what", "value", "usual", "usual", "range"]
    assert "transportation_cost" in lines[6]
    assert "9,999" in lines[6]
    assert "everything else" in out
    assert "supplier_reliability  0." in out


def test_effects_and_shares_add_up(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(work, "--row", "41", "3", "--row", "41", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["row"] for one in found] == [41, 3]
    for one in found:
        effects = sum(reason["effect"] for reason in one["contributions"]) + one["rest"]
        assert one["usual_score"] + effects == pytest.approx(one["score"], abs=1e-9)
        assert one["anomaly_score"] == pytest.approx(one["score"] - one["threshold"])
        assert one["is_anomaly"] is (one["anomaly_score"] < 0)
        assert sum(reason["share"] for reason in one["contributions"]) <= 1.0 + 1e-9
        assert 0 < one["p_value"] <= 1
        assert 0 <= one["severity"] <= 100
    first = found[0]["contributions"][0]
    assert first["columns"][0] == "transportation_cost"
    assert first["value"] == 9999
    low, high = first["expected_range"]
    assert low < first["expected"] < high < 2000
    assert found[0]["record"]["order_no"] == "PO-00040"
    assert found[1]["is_anomaly"] is False


def test_one_that_is_no_alert_is_called_so(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(work, "--row", "3")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Row 3: no alert"
    assert "above the threshold" in lines[1]
    assert lines[3].startswith(("Not an alert. ", "Nothing in this record stands out."))


def test_chunks_give_the_same_rows(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(arguments(work, "--row", "41", "3", "--json")) == 0
    whole = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("anomaly_detection.data.chunks.SMALL_CELLS", 0)
    monkeypatch.setattr("anomaly_detection.data.chunks.CHUNK_CELLS", 7 * 14)
    assert main(arguments(work, "--row", "41", "3", "--json")) == 0
    assert json.loads(capsys.readouterr().out) == whole
    assert main(arguments(work, "--row", "61")) == 2
    assert "There is no row 61" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--row", "61"], "There is no row 61 in"),
        (["--row", "3", "1000"], "which has 60 records; rows count from 1"),
    ],
)
def test_a_row_that_is_not_there(more: list[str], message: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(work, *more)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


@pytest.mark.parametrize("more", [["--row", "0"], ["--row", "-4"], ["--row", "first"], ["--row"], []])
def test_what_is_no_row(more: list[str], work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments(work, *more))
    assert left.value.code == 2
    assert "--row" in capsys.readouterr().err


def test_a_missing_value_is_an_empty_cell(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(work / "new.csv")
    frame.loc[2, "lead_time"] = None
    frame.to_csv(tmp_path / "gap.csv", index=False)
    model = arguments(work)[1]
    assert main(["explain", model, str(tmp_path / "gap.csv"), "--row", "3"]) == 0
    assert "\nlead_time\n" in capsys.readouterr().out
