"""A judged record: one `Alert`, and renderings of it that say to the byte what they said when each was made by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main
from anomaly_detection.data.frames import read_table
from anomaly_detection.reports.report import write_report
from anomaly_detection.synthetic import generate
from anomaly_detection.training.train import train

GOLDEN = Path(__file__).parent / "golden"
MODEL, RECORDS, OLD = GOLDEN / "native-v1.safetensors", GOLDEN / "records.csv", GOLDEN / "alerts"


def without_last_digits(text: str) -> str:
    """Numbers of ten decimals and more rounded to nine: processors differ in the last digits of a logarithm."""
    return re.sub(r"-?\d+\.\d{10,}(e-?\d+)?", lambda found: f"{float(found[0]):.9g}", text)


def rendered(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command or a call of the API says of the golden records by the golden model; the report of a training."""
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
    if name == "report.html":
        result = train(generate("classic", 300, seed=2).frame, time_budget=0, seed=3)
        write_report(folder, result.report, result.curves, result.top_alerts)
        page = (folder / "report.html").read_text("utf-8")
        return page[page.index('<table id="alerts">') : page.index("</section>", page.index('<table id="alerts">'))]
    api, records = AnomalyDetectionAPI(MODEL), read_table(RECORDS)
    if name == "explain_anomalies.json":
        # By a threshold of the caller's own too, which makes alerts of records that are none by the model's.
        found = [api.explain_anomalies(records, *api.predict(records, own)) for own in (0.0, 0.05)]
        return json.dumps(found, indent=1)
    return json.dumps([api.detect_anomaly(records.iloc[[row]]) for row in range(0, len(records), 5)], indent=1)


NAMES = [
    *("score.txt", "score.csv", "score_top.csv", "score_chunks.csv", "explain.txt", "explain.json"),
    *("explain_anomalies.json", "detect_anomaly.json", "report.html"),
]


@pytest.mark.parametrize("name", NAMES)
def test_each_rendering_says_what_it_said(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = rendered(name, tmp_path, capsys)
    assert without_last_digits(made) == without_last_digits((OLD / name).read_text("utf-8"))
