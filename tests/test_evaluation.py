"""Labels read into one convention, and metrics checked against numbers worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_detection.data.labels import check_labels
from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.metrics import agreement, evaluate

# Ten records, three anomalies. Alerts: records 0, 1 (right) and 3 (wrong); record 2 is missed.
LABELS = [-1, -1, -1, 1, 1, 1, 1, 1, 1, 1]
GUESSES = [-1, -1, 1, -1, 1, 1, 1, 1, 1, 1]
SCORES = [-0.9, -0.8, -0.3, -0.7, -0.2, -0.2, -0.1, 0.0, 0.1, 0.2]
TYPES = ["delay", "cost", "cost", "", "", "", "", "", "", ""]


def test_metrics_by_hand() -> None:
    found = evaluate(LABELS, GUESSES, SCORES, TYPES)
    assert found.confusion_matrix == {
        "true_positive": 2,
        "false_positive": 1,
        "false_negative": 1,
        "true_negative": 6,
    }
    assert found.accuracy == pytest.approx(0.8)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.false_positive_rate == pytest.approx(1 / 7)
    # Of 3 x 7 pairs, only (record 2, record 3) is in the wrong order.
    assert found.roc_auc == pytest.approx(20 / 21)
    # Ranks of the anomalies 1, 2 and 4: (1/1 + 2/2 + 3/4) / 3.
    assert found.average_precision == pytest.approx((1 + 1 + 0.75) / 3)
    assert found.recall_by_type == {"cost": 0.5, "delay": 1.0}
    assert (found.alerts, found.n) == (3, 10)


def test_the_dict_is_strict_json() -> None:
    values = evaluate(np.array(LABELS), np.array(GUESSES), np.array(SCORES, dtype=np.float32), TYPES).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["confusion_matrix"]["true_negative"] == 6


def test_no_types_no_recall_by_type() -> None:
    assert evaluate(LABELS, GUESSES, SCORES).recall_by_type is None


def test_a_type_without_a_name_is_not_lost() -> None:
    found = evaluate([-1, -1, -1, 1], [-1, 1, 1, 1], [0, 1, 2, 3], ["", None, "delay", "ignored"])
    assert found.recall_by_type == {"delay": 0.0, "unnamed": 0.5}


@pytest.mark.parametrize("label", [1, -1])
@pytest.mark.parametrize("guess", [1, -1])
def test_one_class_has_no_ranking_and_zero_for_empty_ratios(label: int, guess: int) -> None:
    found = evaluate([label] * 4, [guess] * 4, [0.1, 0.2, 0.3, 0.4])
    assert found.roc_auc is None
    assert found.average_precision is None
    assert found.accuracy == (1.0 if label == guess else 0.0)
    assert found.recall == found.precision == found.f1 == (1.0 if label == guess == -1 else 0.0)
    assert found.false_positive_rate == (1.0 if (label, guess) == (1, -1) else 0.0)


def test_no_alert_gives_zero_precision() -> None:
    found = evaluate(LABELS, [1] * 10, SCORES)
    assert (found.precision, found.recall, found.f1, found.alerts) == (0.0, 0.0, 0.0, 0)
    assert found.accuracy == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("labels", "guesses", "scores", "message"),
    [
        ([], [], [], "no record to evaluate"),
        ([1, -1], [1], [0.1, 0.2], "equally long"),
        ([1, -1], [1, 1], [[0.1], [0.2]], "one-dimensional"),
        ([1, 0], [1, 1], [0.1, 0.2], "Labels must be 1 .* found 0; convert labels with check_labels"),
        ([1, -1], [1, 7], [0.1, 0.2], "Predictions must be 1 .* found 7"),
        ([1, -1], [1, 1], [0.1, np.nan], "1 of 2 scores are NaN or infinite"),
        ([[1], [-1]], [1, 1], [0.1, 0.2], "Labels must be one-dimensional"),
    ],
)
def test_what_cannot_be_evaluated(labels: Any, guesses: Any, scores: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        evaluate(labels, guesses, scores)
    assert "\n" not in str(caught.value)


def test_types_of_another_length() -> None:
    with pytest.raises(DataError, match="2 anomaly types for 10 records"):
        evaluate(LABELS, GUESSES, SCORES, ["a", "b"])


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(-50, 50)), min_size=1, max_size=60))
def test_counts_and_ratios_belong_together(rows: list[tuple[bool, bool, int]]) -> None:
    labels, guesses = ([-1 if row[k] else 1 for row in rows] for k in (0, 1))
    found = evaluate(labels, guesses, [row[2] for row in rows], ["x"] * len(rows))
    table = found.confusion_matrix
    assert sum(table.values()) == found.n == len(rows)
    assert found.alerts == table["true_positive"] + table["false_positive"] == sum(row[1] for row in rows)
    assert found.accuracy == pytest.approx((table["true_positive"] + table["true_negative"]) / found.n)
    assert (found.recall_by_type or {}).get("x", 0.0) == pytest.approx(found.recall)
    assert bool(found.recall_by_type) == (-1 in labels)
    assert (found.roc_auc is None) == (len(set(labels)) == 1)


@pytest.mark.parametrize(
    "values",
    [
        [1, -1, 1],
        [1.0, -1.0, 1.0],
        ["1", "-1", "+1.0"],
        [0, 1, 0],
        ["0", " 1 ", "0.0"],
        [False, True, False],
        ["False", "TRUE", "false"],
        ["normal", "Anomaly", " NORMAL "],
        ["inlier", "outlier", "ok"],
        ["no", "yes", "No"],
        np.array([0, 1, 0], dtype=np.uint8),
        np.array([False, True, False]),
        np.array(["n", "y", "n"]),
        pd.Series([1, -1, 1], index=[7, 7, 9]),
        pd.Series(["normal", "anomaly", "normal"], dtype="category"),
        pd.Series([False, True, False], dtype="boolean"),
        pd.Series([0, 1, 0], dtype="Int64"),
        pl.Series([0, 1, 0]),
        iter([1, -1, 1]),
    ],
)
def test_the_usual_labels(values: Any) -> None:
    labels = check_labels(values)
    assert labels.tolist() == [1, -1, 1]
    assert labels.dtype == np.int8


def test_the_meaning_of_one_depends_on_its_partner() -> None:
    assert check_labels([1, 1, -1]).tolist() == [1, 1, -1]
    assert check_labels([1, 1, 0]).tolist() == [-1, -1, 1]


def test_one_value_alone() -> None:
    assert check_labels([0, 0]).tolist() == [1, 1]
    assert check_labels([-1, -1]).tolist() == [-1, -1]
    assert check_labels([True, True]).tolist() == [-1, -1]
    assert check_labels(["normal"]).tolist() == [1]


def test_only_ones_are_normal_unless_said_otherwise() -> None:
    assert check_labels([1, 1]).tolist() == [1, 1]
    assert check_labels(["1", "1"]).tolist() == [1, 1]
    with pytest.raises(DataError, match="hold only normal records"):
        check_labels([1, 1], both_classes=True)
    assert check_labels([1, 1], convention="signed").tolist() == [1, 1]
    assert check_labels([1, 1], convention="binary").tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 2], "not two classes: found 0, 1, 2; expected"),
        ([0, 1, -1], "not two classes: found 0, 1, -1"),
        ([3, 4], "not two classes: found 3, 4"),
        (np.array([0, 1, 2]), "found 0, 1, 2"),
        ([1, None, -1, None], "2 of 4 labels are missing"),
        ([1.0, np.nan], "1 of 2 labels are missing"),
        (["normal", None], "1 of 2 labels are missing"),
        (["normal", "anomoly"], r"'anomoly'\) \(did you mean 'anomaly'\?\)"),
        (["normal", 1], "mix words and numbers"),
        (["red", "green"], "no classes .*'red', 'green'"),
        ([float("inf"), 1], "found inf, 1"),
        (list(range(10)), "found 0, 1, 2, 3, 4, 5 and 4 more"),
        (["x" * 500], r"xxx\.\.\."),
        (np.ones((3, 1)), "one column, got 2 dimensions"),
        ("normal", "list or an array, got str"),
        (5, "list or an array, got int"),
    ],
)
def test_labels_that_are_none(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        check_labels(values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_wrong_convention_is_named() -> None:
    with pytest.raises(DataError, match="The convention is 'minus'"):
        check_labels([1, -1], convention="minus")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not two classes"):
        check_labels([1, -1], convention="binary")


@pytest.mark.parametrize(("values", "what"), [([0, 0], "only normal"), (["bad"], "only anomalies"), ([], "nothing")])
def test_both_classes_on_demand(values: list[Any], what: str) -> None:
    assert len(check_labels(values)) == len(values)
    with pytest.raises(DataError, match=f"hold {what}"):
        check_labels(values, both_classes=True)


@given(st.lists(st.booleans(), min_size=1))
def test_reading_labels_twice_changes_nothing(flags: list[bool]) -> None:
    once = check_labels(flags)
    assert once.tolist() == [-1 if flag else 1 for flag in flags]
    assert check_labels(once, convention="signed").tolist() == once.tolist()


def test_agreement_counts_alerts_only() -> None:
    assert agreement([-1, -1, 1, 1], [-1, 1, -1, 1]) == pytest.approx(1 / 3)
    assert agreement([1, 1], [1, 1]) == 1.0
    assert agreement([-1, 1], [1, -1]) == 0.0
    with pytest.raises(DataError, match="Cannot compare 2 predictions with 1"):
        agreement([1, 1], [1])
