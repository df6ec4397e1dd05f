"""What is told where no evidence stands out: facts that a pivot of the records shows, and none that it refutes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.data.columns.table import as_table
from anomaly_detection.explain.wording import phrase
from anomaly_detection.features.clauses import beyond, usually
from anomaly_detection.features.dates.derived import Duration, MissingPattern, MissingState
from anomaly_detection.features.features import FeatureSource, SupplyChainFeatures
from anomaly_detection.features.group import Facts
from anomaly_detection.features.kinds import GROUPS
from anomaly_detection.model_files.persistence import load_detector, save_detector
from benchmarks.pivots import Pivots, judged, refuted

ROW: dict[str, Any] = {
    "weight": 9.0,
    "days from sent to got": 55.4,
    "mode": "Sea",
    "product": "TEC-MA-10000864",
    "item": "Xerox 1932",
    "sensor": 4.0,
    "other": 8.0,
    "ah": 0.68264,
}
DAYS = {"days from sent to got": Duration("sent", "got")}
BLANK = {
    "missing values": MissingPattern((MissingState("kg"), MissingState("to, from"), MissingState("n", ("later",))))
}


def order_lines(orders: int = 500) -> pd.DataFrame:
    """Lines of orders: all of one order go by one mode; who knows no order thinks that a customer foretells it."""
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(orders), rng.integers(1, 5, orders))
    customer = rng.integers(0, 80, orders)
    mode = rng.choice(["Standard", "Second", "First", "Same Day"], orders, p=[0.6, 0.2, 0.14, 0.06])
    product, price = rng.integers(0, 40, len(of)), np.exp(rng.normal(3.0, 1.0, 40)).round(2)
    quantity = rng.integers(1, 9, len(of))
    return pd.DataFrame(
        {
            "order": [f"O-{i:04d}" for i in of],
            "customer": [f"C-{customer[i]:03d}" for i in of],
            "mode": mode[of],
            "product": [f"P-{i:02d}" for i in product],
            "quantity": quantity,
            "sales": (price[product] * quantity * rng.choice([1.0, 0.8], len(of))).round(2),
        }
    )


def test_lines_of_one_order_are_no_evidence_about_its_customer() -> None:
    alerts = judged(order_lines()).alerts()
    assert len(alerts) >= 30
    texts = [reason.text for alert in alerts for reason in alert.reasons]
    assert texts
    assert not [text for text in texts if text.startswith("mode ") and " with customer " in text]


def test_an_alert_says_what_made_it_one() -> None:
    frame = order_lines().drop(columns="order")
    batch = judged(frame)
    alerts = batch.alerts()
    assert len(alerts) >= 30
    told = [alert.sentence for alert in alerts if not alert.reasons]
    # What lies at the threshold may have nothing that a pivot shows.
    assert len(told) <= 0.15 * len(alerts)
    assert all(text.startswith("No value stands out by itself; the score comes from sales (") for text in told[:1])
    assert not [alert.sentence for alert in alerts if alert.sentence.startswith("Nothing")]
    texts = [reason.text for alert in alerts for reason in alert.reasons]
    beside = [text for text in texts if text.startswith("mode ") and " with customer " in text]
    # That a customer with few orders had another mode is no evidence, but may be told as a fact.
    assert all(re.search(r" is in [12] of the | is rare with .*: [12] of its ", text) for text in beside)
    # Each of 80 customers is rare with each product, and no person would say so.
    assert not [text for text in texts if text.startswith("customer ") and " with product " in text]
    wrong, asked = refuted(batch)
    assert not wrong
    assert asked["pairs"] + asked["relations"] >= 5
    # What is false is found.
    pivots = Pivots(batch)
    pairs = [
        (alert.row - 1, reason)
        for alert in alerts
        for reason in alert.reasons
        if pivots.sources[reason.feature].kind in ("pairs", "relations")
    ]
    assert pairs
    for row, reason in pairs:
        both, *others = reason.expected
        false = reason.__class__(**{**vars(reason), "expected": (both + 1, *others)})
        assert pivots.check(row, pivots.sources[reason.feature], false)


def test_the_history_of_a_group_is_kept(tmp_path: Any) -> None:
    frame = order_lines()
    features = SupplyChainFeatures(groups=GROUPS).fit(frame)
    branch, columns = next((one, columns) for name, one, columns in features._used() if name == "deviations")
    table = features.prepare(frame)[0].only(columns)
    values_of = frame.assign(**{"sales / quantity": frame["sales"] / frame["quantity"]})
    assert branch.deviations_
    for i, one in enumerate(branch.deviations_):
        values = values_of[one.column].groupby([frame[name] for name in one.group_by], observed=True)
        counts, quantiles = values.transform("count"), [values.transform("quantile", q) for q in (0.5, 0.05, 0.95)]
        for row in range(0, len(frame), 97):
            expected = [counts.iloc[row], *(part.iloc[row] for part in quantiles)]
            np.testing.assert_allclose(branch.facts(table, i, row), expected, rtol=1e-6)
            low, high, own = *expected[2:], values_of[one.column].iloc[row]
            near = np.isclose(own, [low, high], rtol=1e-6).any()
            assert branch.is_fact(table, i, row) is bool(counts.iloc[row] >= 5 and not (near or low <= own <= high))
        new = as_table(features.prepare(frame.head(1).assign(**dict.fromkeys(one.group_by, "new")))[0].only(columns))
        assert branch.facts(new, i) is None
        assert not branch.is_fact(new, i)
    # Contexts have theirs, of all values where a group has no other.
    contexts, own = next((one, columns) for name, one, columns in features._used() if name == "contexts")
    table = features.prepare(frame)[0].only(own)
    for i, one in enumerate(contexts.contexts_):
        found = contexts.facts(table, i, 0)
        if one.per is None and one.group_by:
            given = [frame[name.removesuffix(" as a level")] for name in one.group_by]
            same = np.logical_and.reduce([column == column.iloc[0] for column in given])
            same = same if same.sum() > 1 else np.ones(len(frame), dtype=bool)
            assert found == Facts(
                int(same.sum()),
                *(pytest.approx(values_of.loc[same, one.column].quantile(q)) for q in (0.5, 0.05, 0.95)),
            )
    # A file has it, and one of before says nothing of it.
    batch = judged(frame)
    save_detector(batch.detector, tmp_path / "model.safetensors")
    again = score_table(load_detector(tmp_path / "model.safetensors"), frame)
    assert [alert.sentence for alert in again.alerts()] == [alert.sentence for alert in batch.alerts()]
    deviations = next(one for name, one, _ in again.detector.preprocessor._used() if name == "deviations")
    for one in deviations.deviations_:
        one.told = None
    assert all(reason.text for alert in again.alerts() for reason in alert.reasons)


@pytest.mark.parametrize(
    ("source", "value", "usual", "rows", "between", "text"),
    [
        # A range over orders of magnitude says nothing, and neither does how many times its middle a value is.
        (
            FeatureSource("weight beside its product", "contexts", ("weight",), ("product",)),
            *(241407.0, 91.7, 40, (91.7, 200000.0)),
            "weight 241,407 is above 95 % of 40 values for product TEC-MA-10000864 (91.7 in the middle)",
        ),
        (
            FeatureSource("weight", "num", ("weight",)),
            *(0.1, 91.7, 0, (0.5, 200000.0)),
            "weight 0.1 is below 95 % of all values (91.7 in the middle)",
        ),
        # Of few values one in twenty is not one; then digits are such that the range holds what is usual.
        (
            FeatureSource("weight beside its item", "contexts", ("weight",), ("item",)),
            *(241407.0, 91.7, 12, (91.7, 200000.0)),
            "weight 241,407 is above nearly all of 12 values for Xerox 1932 (91.7 in the middle)",
        ),
        # What may be a loss as well as a gain is not so many times anything.
        (
            FeatureSource("weight", "num", ("weight",)),
            *(1996.0, 8.67, 0, (-53.0, 170.0)),
            "weight 1,996 is above what is usual (8.67, usually -53 to 170)",
        ),
        (
            FeatureSource("weight as expected", "expectations", ("weight",), ("days from sent to got", "mode"), DAYS),
            *(104.0, 60.0, 0, (50.0, 70.0)),
            "weight 104 is above what is expected from 55 days from sent to got and Sea: about 60",
        ),
        # An estimate beyond what nearly all records have was cut there.
        (
            FeatureSource("weight as expected", "expectations", ("weight",), ("mode",)),
            *(4900.0, 8189.0, 0, (7000.0, 8189.0)),
            "weight 4,900 is below what is expected from Sea",
        ),
        (
            FeatureSource("weight as expected", "expectations", ("weight",), ("mode",)),
            *(49.0, 2.0, 0, (2.0, 8.0)),
            "weight 49 is above what is expected from Sea",
        ),
        (
            FeatureSource("weight as expected", "expectations", ("weight",), ("mode",)),
            *(9100.0, 8189.0, 0, (7000.0, 8189.0)),
            "weight 9,100 does not go with Sea",
        ),
        # What is hundreds of times as much as an estimate makes the estimate doubtful.
        (
            FeatureSource("weight as expected", "expectations", ("weight",), ("mode",)),
            *(4900.0, 14.0, 0, (7.0, 28.0)),
            "weight 4,900 is above what is expected from Sea",
        ),
        (
            FeatureSource("sensor / other", "ratios", ("sensor", "other")),
            *(0.5, 0.9, 0, (0.8, 1.0)),
            "sensor 4 for other 8 (a ratio of 0.5) is 56 % of what is usual (0.9, usually 0.8 to 1)",
        ),
        (
            FeatureSource("missing values rarity", "patterns", ("kg", "to, from"), (), BLANK),
            *("kg missing, to, from missing", 4.0, 1000, None),
            "kg and to, from are missing together, as in 4 of 1,000 records",
        ),
        (
            FeatureSource("missing values rarity", "patterns", ("kg", "n"), (), BLANK),
            *("kg missing, n 'later'", 4.0, 1000, None),
            "these values are missing together (kg missing, n 'later'), as in 4 of 1,000 records",
        ),
        (
            FeatureSource("decimals of weight", "decimals", ("weight",)),
            *(0.15, 90.0, 9994, None),
            "weight 0.15 has 2 decimals; 90 of 9,994 records have so many or more",
        ),
        (
            FeatureSource("weight beside the rows around", "neighbours", ("weight",), ("mode",)),
            *(25.4, 30.6, 0, None),
            "weight 25.4 does not follow the rows around it of the same mode (about 30.6)",
        ),
        (
            FeatureSource("item beside mode", "relations", ("item", "mode")),
            *(("Xerox", None), (1, 12), 1000, None),
            "item Xerox is rare with a missing mode: 1 of its 12 records",
        ),
        (
            FeatureSource("item beside id", "relations", ("item", "id")),
            *(("Xerox", "P7"), (1, 12, "Folder", 9), 1000, None),
            "item Xerox is rare with id P7: 1 of its 12 records, 9 have Folder",
        ),
        (
            FeatureSource("weight beside its item", "contexts", ("weight",), ("item",)),
            *(9.0, 3.0, 2, (2.5, 3.5)),
            "weight 9 is 3 times what is usual for Xerox 1932 (3, of 2 records)",
        ),
        (FeatureSource("repeated ah", "readings", ("ah",)), *(4, 1.0, 0, None), "4 rows have this very ah, 0.68264"),
    ],
)
def test_words(source: FeatureSource, value: Any, usual: Any, rows: int, between: Any, text: str) -> None:
    assert phrase(source, value, usual, ROW, rows, between) == text


def test_what_a_range_says_of_a_value() -> None:
    wide = (1.0, 2000.0)
    assert beyond(5.0, wide, 40) is None  # within
    assert beyond(5000.0, (10.0, 2000.0), 40) is None  # narrow
    assert beyond(5000.0, (-10.0, 2000.0), 40) is None
    assert beyond(5000.0, wide, 4) is None  # few
    assert beyond(5000.0, wide, 19) == "above nearly all of 19 values"
    assert beyond(20001.0, wide, 40) is None  # so far that it is told how far
    assert beyond(0.05, wide, 40) is None
    assert beyond(5000.0, None, 40) is None
    assert beyond(5000.0, wide, 1040) == "above 95 % of 1,040 values"
    assert beyond(0.5, wide, None) == "below 95 % of all values"
    # Rounded to 92, the range would lack what is usual.
    assert usually(300.0, 91.7, (91.7, 204.0)) == ", usually 91.7 to 204"
    assert usually(300.0, 150.0, (91.7, 204.0)) == ", usually 92 to 200"
