"""The comparison table: its numbers, its gaps and its width."""

from __future__ import annotations

from typing import Any

import pytest
from report_example import NO_SEARCH, ORACLE, changed, example

from anomaly_detection.reports import tables
from anomaly_detection.reports.tables import always_normal_accuracy, comparison_table, worse_than_base


def cells(text: str) -> dict[str, list[str]]:
    """Read a plain table back: a row's name to its cells."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_every_figure_stands_in_its_row_and_column() -> None:
    report, _ = example()
    found = cells(comparison_table(changed(report, oracle=ORACLE), terminal=False))
    assert found == {
        "test part": ["base", "optimised", "scikit-learn", "oracle"],
        "Training time": ["12.3 ms", "12.3 ms", "12.3 ms", "-"],
        "of it the forest": ["2.3 ms", "2.3 ms", "2.3 ms", "-"],
        "Scoring rate (rows)": ["1.62 M/s", "1.62 M/s", "1.62 M/s", "-"],
        "the forest alone": ["2.62 M/s", "2.62 M/s", "2.62 M/s", "-"],
        "Peak memory": ["5.3 MB", "5.3 MB", "5.3 MB", "-"],
        "Model size": ["431 kB", "431 kB", "431 kB", "-"],
        "Alerts": ["4", "4", "4", "-"],
        "Alert rate": ["40.00 %", "40.00 %", "40.00 %", "-"],
        # Base and scikit-learn alert 5 records between them, 3 of them both; optimised 6 and 2.
        "Agreement with scikit-learn": ["60.00 %", "33.33 %", "-", "-"],
        "Accuracy": ["80.00 %", "100.00 %", "60.00 %", "99.70 %"],
        "Precision": ["75.00 %", "100.00 %", "50.00 %", "98.50 %"],
        "Recall": ["75.00 %", "100.00 %", "50.00 %", "94.80 %"],
        "F1": ["75.00 %", "100.00 %", "50.00 %", "96.60 %"],
        "False-positive rate": ["16.67 %", "0.00 %", "33.33 %", "0.08 %"],
        # Of 4 x 6 pairs: base loses 2 and ties 1; scikit-learn loses 4 and ties 2.
        "ROC AUC": ["0.8958", "1.0000", "0.7917", "0.9981"],
        "Average precision": found["Average precision"],
        "Recall: cost spike": ["50.00 %", "100.00 %", "0.00 %", "-"],
        "Recall: delay": ["100.00 %", "100.00 %", "100.00 %", "-"],
    }
    assert found["Average precision"][1] == "1.0000"


def test_it_says_where_the_optimised_model_is_worse_than_the_base() -> None:
    report, _ = example()
    assert worse_than_base(report) == []
    worse = changed(report, "optimized", "metrics", false_positive_rate=0.2, recall_by_type={"delay": 0.5})
    worse = changed(worse, "optimized", fit_seconds=1.5, score_rows_per_second=1000.0, peak_memory_bytes=5_300_001)
    assert worse_than_base(worse) == [
        "The optimised model is worse than the base in False-positive rate (20.00 % against 16.67 %),"
        " recall of delay (50.00 % against 100.00 %).",
        "The optimised model costs more than the base in Training time (1.50 s against 12.3 ms),"
        " Scoring rate (rows) (1,000 /s against 1.62 M/s).",
    ]
    printed = " ".join(comparison_table(worse, terminal=False).split())
    assert all(sentence in printed for sentence in worse_than_base(worse))
    assert worse_than_base(changed(worse, "optimized", same_as_base=True)) == []


def test_it_says_what_accuracy_is_worth() -> None:
    report, _ = example()
    line = "Always saying 'normal' would give 60.00 % accuracy: accuracy alone means little here."
    assert line in comparison_table(report, terminal=False).splitlines()


def test_without_labels_there_are_costs_alerts_and_agreement_only() -> None:
    report, _ = example(labelled=False)
    text = comparison_table(report, terminal=False)
    found = cells(text)
    assert found["Alerts"] == ["4", "4", "4"]
    assert found["Agreement with scikit-learn"] == ["60.00 %", "33.33 %", "-"]
    assert not {"Accuracy", "Recall", "ROC AUC"} & found.keys()
    assert "accuracy" not in text
    assert "No labels: nothing here says how many alerts are right." in text


def test_why_no_search_ran() -> None:
    report, _ = example()
    assert "No search" not in comparison_table(report, terminal=False)
    text = comparison_table(changed(report, "optimized", search=NO_SEARCH), terminal=False)
    assert "No search for better settings ran: the base is good enough." in text.splitlines()


def test_a_value_that_one_model_lacks_is_a_dash_and_a_row_without_any_is_gone() -> None:
    report, _ = example()
    report = changed(report, "sklearn", "metrics", roc_auc=None, recall_by_type=None)
    for key in tables.MODELS:
        report = changed(report, key, "metrics", average_precision=None)
    found = cells(comparison_table(report, terminal=False))
    assert found["ROC AUC"][2] == "-"
    assert found["Recall: delay"] == ["100.00 %", "100.00 %", "-"]
    assert "Average precision" not in found


@pytest.mark.parametrize("terminal", [False, True])
def test_it_fits_on_a_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    report, _ = example()
    lines = comparison_table(changed(report, oracle=ORACLE), terminal=terminal).splitlines()
    plain = [line for line in lines if "\x1b" not in line]
    assert plain
    assert max(map(len, plain)) <= (80 if terminal else 100)
    assert not any("…" in line for line in lines)


def test_plain_text_is_plain() -> None:
    report, _ = example()
    report = changed(report, "base", "metrics", recall_by_type={"[red]x[/red]": 0.5})
    text = comparison_table(report)  # pytest's standard output is no terminal
    assert text.isascii()
    assert "\x1b" not in text
    assert "[red]x[/red]" in text


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    report, _ = example()
    assert "\x1b[1m" in comparison_table(report, terminal=True)


def test_the_accuracy_of_always_saying_normal() -> None:
    report, _ = example()
    assert always_normal_accuracy(report) == pytest.approx(0.6)
    assert always_normal_accuracy(example(labelled=False)[0]) is None


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (tables.seconds, 0.00042, "0.42 ms"),
        (tables.seconds, 0.9996, "1.00 s"),
        (tables.seconds, 61.5, "61.50 s"),
        (tables.seconds, 1234.5, "1,234 s"),
        (tables.rate, 173_456.7, "173,457 /s"),
        (tables.rate, 999_600, "1.00 M/s"),
        (tables.size, 0, "0 B"),
        (tables.size, 999, "999 B"),
        (tables.size, 1000, "1 kB"),
        (tables.size, 431_233, "431 kB"),
        (tables.size, 999_700, "1 MB"),
        (tables.size, 12_345_678, "12.3 MB"),
        (tables.size, 2_500_000_000_000, "2,500 GB"),
        (tables.percent, 0.9695, "96.95 %"),
        (tables.number, -0.02134, "-0.0213"),
    ],
)
def test_numbers_read_well(show: Any, value: float, text: str) -> None:
    assert show(value) == text
