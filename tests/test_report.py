"""The files of a report, read back: strict JSON, and a page that shows the numbers and runs nothing."""

from __future__ import annotations

import base64
import datetime
import enum
import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_example import NO_SEARCH, ORACLE, alert, changed, example, overview

from anomaly_detection.alerts.overview import MOST_LISTED
from anomaly_detection.data.columns.cleaning import CleaningReport, ColumnCleaning
from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.data.json_values import plain
from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.metrics import METRICS
from anomaly_detection.evaluation.model_scores import CurveData, ModelScores
from anomaly_detection.reports import plots
from anomaly_detection.reports.report import strict_json, write_report
from anomaly_detection.settings import Settings

PICTURES = ["confusion_matrices", "curves", "score_histograms", "recall_by_type"]
VOID = {"meta", "img", "br", "link", "input", "hr"}
ALERTS = [
    alert(7, -0.21, {"cost is 9 times the usual": 0.62}, {"order": "PO-7", "cost": 912.5, "note": None}),
    alert(12, -0.125, {}, {"order": "PO-12"}),
]
FOUND = overview(ALERTS)


@pytest.fixture(autouse=True)
def _coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few pixels: these tests look at the files around the pictures."""
    monkeypatch.setattr(plots, "_DPI", 20)


class Page(HTMLParser):
    """A page's tags with their attributes, its tables as text, and all its text; insists on closed tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self.open: list[str] = []
        self._table: list[list[str]] | None = None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(dict(attrs)["id"] or "", [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("th", "td") and self._table is not None:
            self._table[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            return
        self.text += data.replace("\u00a0", " ")
        if self._table and self._table[-1] and {"th", "td"} & set(self.open):
            self._table[-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_what_is_written(tmp_path: Path) -> None:
    report, curves = example()
    files = write_report(tmp_path / "new" / "folder", report, curves, FOUND)
    names = [path.name for path in files]
    assert names == ["report.json", *(f"{name}.png" for name in PICTURES), "report.html"]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(names)
    assert json.loads(files[0].read_text(encoding="utf-8")) == plain(report.to_dict())
    for path in files[1:-1]:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_what_the_values_are_called_in_json(tmp_path: Path) -> None:
    report, curves = example(labelled=False)
    report = changed(report, "optimized", refit=True, search=NO_SEARCH)
    report = changed(report, oracle=ORACLE, files={"base": {"native": "a.safetensors"}})
    found = json.loads(write_report(tmp_path, report, curves)[0].read_text(encoding="utf-8"))
    assert found["created"] == "2026-11-23T10:58:12+00:00"
    assert found["backend"] == {"name": "numba", "reason": "MLX has no GPU here"}
    assert found["data"]["schema"][1]["role"] == "numeric"
    assert found["data"]["cleaning"]["columns"]["cost"]["unread"] == {"see invoice": 20, "tbd": 11}
    sizes = {"train": 984, "validation": 240, "test": 10}
    assert found["split"] == {"method": "time", **sizes, "time_column": "when", "note": "", "shift": None}
    assert found["files"] == {"base": {"native": "a.safetensors"}}
    assert set(found["oracle"]) == {*METRICS} - {"confusion_matrix", "recall_by_type"}
    costs = {"fit_seconds", "forest_fit_seconds", "score_rows_per_second", "forest_rows_per_second"}
    costs |= {"peak_memory_bytes", "mlx_peak_memory_bytes", "model_bytes", "threshold", "alerts", "parameters"}
    ours = costs | {*METRICS, "agreement", "refit"}
    assert found["sklearn"].keys() == costs | {*METRICS}
    assert found["base"].keys() == ours
    assert found["optimized"].keys() == ours | {"search", "same_as_base"}
    assert [found["base"][name] for name in METRICS] == [None] * len(METRICS)
    assert found["base"]["parameters"] == {
        "forest": "classic isolation forest",
        "feature_groups": list(Settings().features.groups),
        "surprises_only": None,
        "n_estimators": 100,
        "max_samples": 256,
        "max_features": 1.0,
        "contamination": 0.4,
        "features": 7,
        "threshold_rule": "so that 40 % of the records alert, by the validation part",
        "trained_on": "training part",
        "saved_model": "the measured model",
    }
    assert found["optimized"]["parameters"]["saved_model"].startswith("refit on all records after")
    assert found["optimized"]["search"] == {
        "ran": False,
        "reason": "The base is good enough.",
        "trials": 0,
        "seconds": 0.0,
        "best_validation_accuracy": 0.99,
    }


def test_the_page_shows_the_numbers(tmp_path: Path) -> None:
    report, curves = example()
    page = Page(write_report(tmp_path, changed(report, oracle=ORACLE), curves, FOUND)[-1])
    comparison = {row[0]: row[1:] for row in page.tables["comparison"]}
    assert comparison["On the test records"] == ["base", "optimised", "scikit-learn", "oracle"]
    assert comparison["Recall"] == ["75.00 %", "100.00 %", "50.00 %", "94.80 %"]
    assert comparison["Training time"] == ["12.3 ms", "12.3 ms", "12.3 ms", "-"]
    for sentence in (
        "4 against 2 anomalies found, 0 against 2 false alarms, 100.00 % against 60.00 % accuracy",
        "Optimising raised accuracy from 80.00 % to 100.00 % and recall from 75.00 % to 100.00 %.",
        "is 99.70 % accuracy and 94.80 % recall; this model has 100.00 % and 100.00 %.",
        "always saying 'normal' would give 60.00 %",
        "40.00 % of 10 test records",
        "Measured on 10 records that were kept for it. All figures are of the\noptimised model.",
        "4 of 4 (recall)",
        "984 records to train, 240 to choose settings, 10 to judge; by time (when)",
        "23 November 2026, 10:58 UTC",
        "numba: MLX has no GPU here",
        "Optimisation ran 40 trials in 31.2 s; best accuracy on the validation part 99.00 % (The base is below 99 %).",
        "n_estimators = 100, max_samples = 256",
        "anomaly-detection score optimized_anomaly_detection_model.safetensors new_records.csv",
    ):
        assert sentence in page.text


def test_the_page_lists_the_worst_records(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, *example(), FOUND)[-1])
    head, first, second = page.tables["alerts"]
    assert head == ["Row", "order", "when", "cost Air", "Severity", "Score", "Why it stands out"]
    assert first[:6] == ["7", "PO-7", "2024-05-01", "912.5", "50", "-0.21"]
    assert first[6] == (
        "62\u00a0%cost is 9 times the usualcost of Air: 1 to Air, logarithmic scale; the mark is this record, Air"
        "all its valuesorderPO-7cost912.5note-"
    )
    assert second[5:] == ["-0.125", "Nothing in this record stands out.all its valuesorderPO-12"]
    assert "below 0 is an alert, and the lower, the worse" in page.text
    assert "Severity runs from 0 to 100; the higher, the rarer" in page.text
    assert [tag["class"] for tag in page.all("svg")] == ["spread", "periods"]
    assert page.all("svg")[0]["aria-label"] == "Air among 5 records: cost of Air"


def test_the_page_has_one_entry_for_a_cause_and_totals_of_all_alerts(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, *example(), FOUND)[-1])
    assert page.tables["causes-table"][1] == [
        "2",
        "2 records: cost is high for Air, 1,825 in allsuch as cost is 9 times the usual",
        "50",
        "7,12",
    ]
    assert page.tables["totals-1"] == [["By leading column", "Alerts"], ["cost Air", "2"]]
    assert page.tables["totals-2"] == [
        ["By supplier", "Alerts", "Records", "cost Air in alerts"],
        ["Air", "2", "of 5", "1,825"],
    ]
    assert page.tables["by-time"][1:] == [["2024-04", "0", "of 3", "0"], ["2024-05", "2", "of 9", "1,825"]]
    assert page.tables["money"][1] == ["cost Air", "1,825", "20,000"]
    for key_figure in ("2records look wrong5 % of all", "40records read", "1,825cost Air in alerts9 % of 20,000"):
        assert key_figure in page.text.replace("\n", "")
    assert "and 3 others" in page.text


def test_the_page_says_where_optimising_made_it_worse(tmp_path: Path) -> None:
    report, curves = example()
    assert "worse than the base" not in Page(write_report(tmp_path, report, curves)[-1]).text
    report = changed(report, "base", "metrics", roc_auc=1.0)
    report = changed(report, "optimized", "metrics", roc_auc=0.974)
    page = Page(write_report(tmp_path, report, curves)[-1])
    assert page.text.count("The optimised model is worse than the base in ROC AUC (0.9740 against 1.0000).") == 1


def test_the_page_says_without_labels_what_optimising_costs(tmp_path: Path) -> None:
    report, curves = example(labelled=False)
    report = changed(report, "optimized", fit_seconds=report.base.fit_seconds + 9)
    page = Page(write_report(tmp_path, report, curves)[-1])
    assert page.text.count("The optimised model costs more than the base in Training time") == 1


def test_a_cause_goes_out_with_all_its_rows(tmp_path: Path) -> None:
    cause = FOUND.causes[0]
    alerts = tuple(replace(cause.alerts[0], row=row) for row in range(1, 31))
    found = replace(FOUND, causes=[replace(cause, alerts=alerts)])
    page = write_report(tmp_path, *example(), found)[-1].read_text("utf-8")
    assert "and 18 more" in page
    assert f'data-value="{", ".join(map(str, range(1, 31)))}"' in page


def test_what_is_said_of_running_code_in_model_files(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, *example())[-1])
    assert "reads it as numbers and texts and runs nothing that is in it" in page.text
    assert "such a file can run code" not in page.text


def test_a_page_of_many_records_is_small(tmp_path: Path) -> None:
    record = {f"column {i}": "x" * 40 for i in range(40)}
    many = [alert(i, -0.2, {f"reason {i}": 0.5}, {"order": i, **record}) for i in range(MOST_LISTED)]
    page = write_report(tmp_path, *example(), overview(many))[-1]
    assert page.stat().st_size < 2_500_000


def test_the_page_tells_how_columns_were_understood(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, *example())[-1])
    assert page.tables["columns"] == [
        ["Column", "Taken for", "Because", "Missing", "Cleaning"],
        ["when", "timestamp", "dates", "0.00 %", ""],
        [
            "cost",
            "numeric",
            "numbers kept as text",
            "25.00 %",
            "1,200 read out of text, 3 blank, 31 not readable, such as 'see invoice'",
        ],
        ["supplier", "categorical", "4 distinct values", "0.00 %", ""],
    ]


def test_the_page_needs_nothing_from_outside_and_runs_its_own_script_only(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, *example(), FOUND)[-1])
    assert not {"link", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all(
            link.startswith(("data:image/png;base64,", "#"))
            for name, link in attributes.items()
            if name in ("src", "href")
        )
    policies = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policies
    assert policies[0].startswith("default-src 'none'")
    assert page.all("script") == [{}]
    script = (tmp_path / "report.html").read_text("utf-8").partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policies[0]
    assert not re.search(r"url\(|@import", (tmp_path / "report.html").read_text(encoding="utf-8"))


def test_pictures_are_embedded_and_described(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, *example())[-1])
    images = page.all("img")
    assert len(images) == 4
    for image, name in zip(images, PICTURES, strict=True):
        assert base64.b64decode(image["src"].split(",")[1]) == (tmp_path / f"{name}.png").read_bytes()
    assert "base: 3 anomalies alerted, 1 missed, 1 normal records alerted, 5 left alone" in images[0]["alt"]
    assert "base: ROC AUC 0.8958" in images[1]["alt"]
    assert "base: 4 of 10 records below the threshold" in images[2]["alt"]
    assert "base: cost spike 50.00 %, delay 100.00 %" in images[3]["alt"]
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {link["href"][1:] for link in page.all("a")} <= set(identifiers)
    assert {tag["aria-labelledby"] for tag in page.all("section")} <= set(identifiers)


ATTACK = "<script>alert(1)</script>\"' onmouseover=alert(2) {{ 7 * 7 }} <img src=x onerror=alert(3)>"


def test_what_comes_from_the_data_is_text(tmp_path: Path) -> None:
    report, curves = example()
    first, second, third = report.data.schema.columns
    columns = (replace(first, name=ATTACK), replace(second, reason=ATTACK), third)
    cleaning = CleaningReport(1234, {"cost": ColumnCleaning(unread={ATTACK: 50})})
    report = changed(report, "data", source=ATTACK, schema=Schema(columns), cleaning=cleaning)
    report = changed(report, "split", time_column=ATTACK)
    report = changed(report, "backend", reason=ATTACK)
    report = changed(report, "optimized", "search", because=(ATTACK,))
    report = changed(report, "base", "metrics", recall_by_type={ATTACK: 0.5})
    report = changed(report, "sklearn", "parameters", columns=(ATTACK,))
    report = changed(report, version=ATTACK)
    attack, usual = (alert(7, -0.1, {text: 0.5}, {text: text}) for text in (ATTACK, "cost"))
    clean = Page(write_report(tmp_path / "clean", *example(), overview([usual], identifiers=("cost",)))[-1])
    found = overview([attack], ATTACK, identifiers=(ATTACK,))
    page = Page(write_report(tmp_path / "attacked", report, curves, found)[-1])

    def structure(tags: list[tuple[str, dict[str, str]]]) -> set[tuple[str, frozenset[str]]]:
        return {(tag, frozenset(attributes)) for tag, attributes in tags}

    assert structure(page.tags) <= structure(clean.tags)
    assert page.text.count(ATTACK) >= 10
    assert page.tables["columns"][1][0] == ATTACK
    assert page.tables["alerts"][0][1] == ATTACK
    assert page.tables["alerts"][1][1] == ATTACK
    assert page.tables["alerts"][1][6].count(ATTACK) == 6
    assert page.tables["causes-table"][1][1].count(ATTACK) == 2
    assert page.tables["totals-2"][1][0] == ATTACK
    assert "49" not in page.tables["alerts"][1][6]
    assert ATTACK in page.all("img")[3]["alt"]


def test_without_labels(tmp_path: Path) -> None:
    report, curves = example(labelled=False)
    files = write_report(tmp_path, report, curves, FOUND)
    assert [path.name for path in files] == ["report.json", "score_histograms.png", "report.html"]
    page = Page(files[-1])
    assert "The records carry no labels" in page.text
    assert "isolation forest flags, both flag 33.33 %" in page.text
    assert "none; 40.00 % were taken to be anomalies" in page.text
    assert "Accuracy" not in {row[0] for row in page.tables["comparison"]}
    assert len(page.all("img")) == 1


def test_pictures_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    write_report(tmp_path, *example())
    (tmp_path / "mine.png").write_bytes(b"kept")
    write_report(tmp_path, *example(labelled=False))
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.json",
        "report.html",
        "score_histograms.png",
        "mine.png",
    }


def test_optimisation_that_did_not_run_does_not_lend_its_name(tmp_path: Path) -> None:
    report, curves = example()
    report = changed(report, "optimized", same_as_base=True, search=NO_SEARCH)
    page = Page(write_report(tmp_path, report, curves)[-1])
    assert "All figures are of the\nbase model." in page.text
    assert "No search for better settings ran: the base is good enough." in page.text
    assert "score anomaly_detection_model.safetensors" in page.text


def test_a_search_that_gained_little_is_not_praised(tmp_path: Path) -> None:
    report, curves = example()
    page = Page(write_report(tmp_path, changed(report, "base", "metrics", recall=1.0), curves)[-1])
    assert "Optimising raised" not in page.text
    assert (
        "Before optimising, accuracy was 80.00 % and recall 100.00 %; now they are 100.00 % and 100.00 %" in page.text
    )


def test_no_alert(tmp_path: Path) -> None:
    report, _ = example(labelled=False)
    curves = CurveData(None, {"base": ModelScores(np.linspace(-0.4, -0.3, 10), -0.5)})
    calm = replace(alert(3, 0.01, {}, {"order": "PO-3"}), is_alert=False)
    found = replace(overview([calm]), alerts=0, causes=(), explained=0)
    page = Page(write_report(tmp_path, changed(report, "optimized", alerts=0), curves, found)[-1])
    assert "No record raised an alert. These are the most abnormal ones all the same." in page.text
    assert "0.00 % of 10 test records" in page.text
    assert page.tables["alerts"][1][-1].startswith("no alert")
    assert "causes-table" not in page.tables


def test_alerts_that_nobody_listed_are_not_denied(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, *example())[-1])
    assert "No record raised an alert." not in page.text
    assert "The records were not looked through for this report." in page.text
    assert "alerts" not in page.tables


def test_halves_of_characters_in_names_are_escaped(tmp_path: Path) -> None:
    report, curves = example()
    column = replace(report.data.schema.columns[0], name="when \ud83d")
    page = Page(write_report(tmp_path, changed(report, "data", schema=Schema((column,))), curves)[-1])
    assert page.tables["columns"][1][0] == "when \\ud83d"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="Cannot write") as caught:
        write_report(tmp_path / "file" / "out", *example())
    assert "\n" not in str(caught.value)


def test_an_interrupt_leaves_the_older_files_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(tmp_path, *example())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    report, curves = example()

    def interrupt(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, changed(report, seed=1), curves)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class Role(str, enum.Enum):
    NUMERIC = "numeric"


def test_json_is_strict() -> None:
    value = {
        "nan": math.nan,
        "infinite": -math.inf,
        "numpy": np.float32(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "array": np.array([[1.0, np.nan]]),
        "tuple": (1, 2),
        "role": Role.NUMERIC,
        "path": Path("a") / "b.csv",
        "when": datetime.datetime(2026, 11, 23, tzinfo=datetime.timezone.utc),
        "timestamp": pd.Timestamp("2026-11-23"),
        "never": pd.NaT,
        "date64": np.datetime64("2026-11-23"),
        3: None,
        "text": "Zürich",
    }

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = strict_json(value)
    assert json.loads(text, parse_constant=refuse) == {
        "nan": None,
        "infinite": None,
        "numpy": 0.5,
        "count": 3,
        "flag": True,
        "array": [[1.0, None]],
        "tuple": [1, 2],
        "role": "numeric",
        "path": str(Path("a") / "b.csv"),
        "when": "2026-11-23T00:00:00+00:00",
        "timestamp": "2026-11-23T00:00:00",
        "never": None,
        "date64": "2026-11-23",
        "3": None,
        "text": "Zürich",
    }
    assert "Zürich" in text
