"""An odd value is blamed itself, and not what is expected from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.detector import Detector
from anomaly_detection.features.evidence.excuses import Excuses
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.settings import RECIPE, make_detector, make_forest

SOURCES = [
    FeatureSource("lead_time beside its mode", "contexts", ("lead_time",), ("mode",)),
    FeatureSource("distance beside its mode", "contexts", ("distance",), ("mode",)),
    FeatureSource("distance as expected", "expectations", ("distance",), ("lead_time",)),
    FeatureSource("lead_time as expected", "expectations", ("lead_time",), ("distance",)),
    FeatureSource("cost for each lead_time", "contexts", ("cost", "lead_time"), ()),
]
EXCUSES = Excuses(SOURCES, {}, ["lead_time", "distance", "cost"], [])


@pytest.mark.parametrize(
    ("evidence", "left"),
    [
        # The lead time is odd without the distance: what is expected from it is evidence against it.
        ([8, 1, 12, 6, 9], [12, 1, 0, 6, 0]),
        # Both are odd without each other: the distance is no odder than so, and comes second.
        ([8, 6, 12, 6, 0], [12, 6, 0, 6, 0]),
        # Each is usual without the other, together they are odd: nobody knows which is wrong.
        ([3, 1, 12, 12, 0], [3, 1, 12, 12, 0]),
        # The distance is odd without the lead time.
        ([3, 6, 12, 12, 0], [3, 12, 12, 0, 0]),
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    ],
)
def test_what_is_expected_from_an_odd_value_is_no_evidence(evidence: list[float], left: list[float]) -> None:
    rows = np.tile(np.array([evidence], dtype=np.float32), (3, 1))
    assert EXCUSES.apply(rows).tolist() == [left] * 3


def test_days_between_dates_are_a_value() -> None:
    days = ("delivered", "shipped")
    sources = [
        FeatureSource("days beside mode", "contexts", days, ("mode",)),
        FeatureSource("lead_time beside mode", "contexts", ("lead_time",), ("mode",)),
        FeatureSource("lead_time as expected", "expectations", ("lead_time",), ("days from shipped to delivered",)),
    ]
    excuses = Excuses(sources, {"days from shipped to delivered": days}, ["lead_time", *days], [days])
    assert excuses.apply(np.array([[7, 2, 9]], dtype=np.float32)).tolist() == [[9, 2, 0]]


@pytest.fixture(scope="module")
def shipments() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    distance = rng.uniform(4000, 12000, 800)
    return pd.DataFrame(
        {
            "mode": rng.choice(["Sea", "Rail"], 800),
            "distance_km": distance.round(),
            "lead_time": (distance / 200 * rng.normal(1, 0.05, 800)).round(1),
            "transportation_cost": (distance * 0.08 * rng.normal(1, 0.1, 800)).round(2),
        }
    )


@pytest.fixture(scope="module")
def detector(shipments: pd.DataFrame) -> Detector:
    return make_detector(RECIPE, None, make_forest(RECIPE, seed=0, backend="numba")).fit(shipments)


def _told(detector: Any, shipments: pd.DataFrame) -> list[str]:
    wrong = shipments.iloc[[5]].assign(lead_time=213.0)
    (alert,) = score_table(detector, wrong).alerts()
    return [reason.text for reason in alert.reasons]


def test_the_odd_value_comes_first(
    detector: Detector, shipments: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = _told(detector, shipments)
    assert told[0].startswith("lead_time 213 is ")
    assert not any(text.startswith("distance_km") for text in told)
    # Without the rule the distance is told.
    monkeypatch.setattr(Excuses, "apply", lambda self, evidence: evidence)
    assert any("distance_km" in text.split(" is ")[0] for text in _told(detector, shipments))


def test_blame_goes_to_a_feature_that_has_something_to_tell() -> None:
    sources = [
        FeatureSource("when quoted", "dates", ("quoted",)),
        FeatureSource("ordered after quoted", "rules", ("ordered", "quoted")),
        FeatureSource("delivered after quoted", "rules", ("delivered", "quoted")),
    ]
    excuses = Excuses(sources, {}, ["quoted", "ordered", "delivered"], [])
    # The date is usual by itself, so its own feature says nothing.
    found = excuses.apply(np.array([[0, 12, 8]], dtype=np.float32))
    assert found[0, 0] == 0.0
    assert found.max() == 12.0
