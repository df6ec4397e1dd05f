"""A challenger beside the champion: alerts gained and lost, verdicts agreed with, and planted errors found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.detector import Detector
from anomaly_detection.evaluation.comparison import Comparison, compare


def records(rows: int, seed: int, dearer: float = 1.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    product = random.integers(0, 5, rows)
    price = np.exp(product + random.normal(0.0, 0.05, rows)) * dearer
    quantity = random.integers(1, 40, rows)
    return pd.DataFrame(
        {
            "product": [f"P{number}" for number in product],
            "unit_price": price.round(2),
            "quantity": quantity,
            "value": (price * quantity).round(2),
        }
    )


@pytest.fixture(scope="module")
def models() -> tuple[Detector, Detector]:
    """Of records before prices rose, and after."""
    before, after = (AnomalyDetectionAPI().fit(records(400, 0, dearer)).detector for dearer in (1.0, 1.6))
    return before, after


def test_a_model_is_no_other_than_itself(models: tuple[Detector, Detector]) -> None:
    found = compare(models[0], models[0], records(200, 1), draws=1)
    assert (found.gained, found.lost, found.gained_in_all) == ((), (), 0)
    assert found.alerts[0] == found.alerts[1]
    assert found.found[0] == found.found[1]
    assert found.planted > 0
    assert found.is_not_worse


def test_a_challenger_that_knows_the_new_prices_is_better(models: tuple[Detector, Detector]) -> None:
    frame = records(200, 2, 1.6)
    frame.loc[7, "unit_price"] *= 30.0
    said = {row: row == 7 for row in range(50)}
    found = compare(*models, frame, said, draws=1)
    assert found.alerts[0] > 150
    assert found.alerts[1] < 40
    assert found.lost_in_all > 100 == len(found.lost)
    batches = [score_table(model, frame) for model in models]
    assert all(batches[0].is_alert[row - 1] and not batches[1].is_alert[row - 1] for row in found.lost)
    assert found.verdicts == 50
    assert found.agreed[1] > found.agreed[0]
    assert found.is_not_worse
    assert "of 50 verdicts it agrees with" in str(found)
    assert found.plain["is_not_worse"]
    assert not compare(models[1], models[0], frame, said, draws=1).is_not_worse


@pytest.mark.parametrize(
    ("before", "after", "is_not_worse"),
    [(10, 15, True), (10, 16, False), (10, 30, False), (1, 2, True), (1, 3, False), (0, 1, True), (200, 20, True)],
)
def test_a_challenger_that_alerts_far_more_often_is_worse(before: int, after: int, is_not_worse: bool) -> None:
    found = Comparison(500, (before, after), (), (), 0, 0, 20, (15, 18), 30, (0.5, 0.6))
    assert found.is_not_worse == is_not_worse
    assert not replace(found, planted=300, found=(0.6, 0.5)).is_not_worse
    # Three of 30 are chance.
    assert replace(found, found=(0.6, 0.5)).is_not_worse == is_not_worse
    assert not replace(found, agreed=(18, 15)).is_not_worse
