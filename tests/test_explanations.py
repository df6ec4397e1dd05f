"""Why a row is abnormal: attribution, facts and wording."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explained import explain
from sklearn.preprocessing import StandardScaler
from test_features import orders

from anomaly_detection.alerts.groups import levels_of
from anomaly_detection.data.columns.table import as_table
from anomaly_detection.detector import Detector
from anomaly_detection.explain.wording import number, number_range, percent, phrase, sentence
from anomaly_detection.features.categories.rarity import MissingRarity
from anomaly_detection.features.dates.derived import (
    CalendarPart,
    Duration,
    MissingPattern,
    MissingState,
    NumberLevel,
    Ratio,
)
from anomaly_detection.features.dates.spans import Dates
from anomaly_detection.features.features import FeatureSource, SupplyChainFeatures
from anomaly_detection.features.group import FeatureGroup
from anomaly_detection.features.kinds import GROUPS, KINDS
from anomaly_detection.features.numbers.contexts import Contexts, _off_scale
from anomaly_detection.features.numbers.expectation import Expectation
from anomaly_detection.features.numbers.numeric_values import NumericValues
from anomaly_detection.features.repeats.duplicates import Repeats
from anomaly_detection.settings import RECIPE, make_detector, make_forest
from anomaly_detection.synthetic import generate
from mlx_iforest import MLXIsolationForest


@pytest.fixture(scope="module")
def detector() -> Any:
    preprocessor = SupplyChainFeatures()
    scaler = StandardScaler()
    features = scaler.fit_transform(preprocessor.fit_transform(orders()))
    model = MLXIsolationForest(n_estimators=100, random_state=0, backend="numba").fit(features)
    return Detector(preprocessor, scaler, model)


def changed(**values: Any) -> pd.DataFrame:
    row = orders().iloc[[5]].copy()
    for name, value in values.items():
        row[name] = [value]
    return row


@pytest.mark.parametrize(
    ("values", "column", "direction", "words"),
    [
        ({"order_value": 5e6}, "order_value", "high", "order_value"),
        ({"reliability": 0.2}, "reliability", "low", "Reliability 0.2 is"),
        ({"delivery_date": pd.Timestamp("2023-06-01")}, "delivery_date", "low", "days before order_date"),
    ],
)
def test_the_changed_column_is_the_first_reason(
    detector: Any, values: dict[str, Any], column: str, direction: str, words: str
) -> None:
    row = changed(**values)
    (explanation,) = explain(detector, row)
    first = explanation.contributions[0]
    assert column in first.columns
    assert first.direction == direction
    assert words in explanation.sentence
    assert explanation.sentence.endswith(".")
    assert 0 < first.share <= 1


def test_a_usual_value_in_the_wrong_group_is_named_with_its_group(detector: Any) -> None:
    (explanation,) = explain(detector, changed(product="bolt", unit_price=900.0), top=10)
    texts = " ".join(reason.text for reason in explanation.contributions)
    assert "times what is usual for bolt (2, usually " in texts


def test_rows_are_chosen_by_position(detector: Any) -> None:
    frame = orders().set_index(np.arange(400) + 1000)
    every = explain(detector, frame.head(20))
    some = explain(detector, frame.head(20), rows=[3, 11])
    assert some == [every[3], every[11]]
    assert explain(detector, frame, rows=[]) == []
    assert [explanation.sentence for explanation in every] == [
        explain(detector, frame, [i])[0].sentence for i in range(20)
    ]


def test_scores_are_the_models_and_shares_add_up(detector: Any) -> None:
    frame = orders().head(30)
    expected = detector.model.score_samples(detector.scaler.transform(detector.preprocessor.transform(frame)))
    found = explain(detector, frame, top=1000)
    np.testing.assert_allclose([explanation.score for explanation in found], expected, rtol=1e-6)
    for explanation in found:
        shares = [reason.share for reason in explanation.contributions]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1.0 + 1e-9
        effects = sum(reason.effect for reason in explanation.contributions)
        assert explanation.base + effects + explanation.rest == pytest.approx(explanation.score, abs=1e-12)
        assert explanation.base > np.median(expected)
    some = explain(detector, frame, top=1)
    for explanation, whole in zip(some, found, strict=True):
        # What is not told goes to the rest.
        assert explanation.contributions == whole.contributions[:1]
        effects = sum(reason.effect for reason in whole.contributions[1:])
        assert explanation.rest == pytest.approx(whole.rest + effects, abs=1e-12)


def test_explanations_are_plain_json(detector: Any) -> None:
    frame = orders()
    frame.loc[0, "reliability"] = np.nan
    for explanation in explain(detector, frame.head(5), top=20):
        json.dumps(explanation.to_dict(), allow_nan=False)
        json.dumps([asdict(reason) for reason in explanation.contributions], allow_nan=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0, "0"), (3.0, "3"), (1234.5678, "1,235"), (0.0123456, "0.0123"), (123.45, "123.5"), (-7.25, "-7.25")],
        *[(1e15, "1e+15"), (0.00001, "1.0e-05"), (float("nan"), "missing"), (100.0, "100"), (12, "12")],
    ],
)
def test_numbers_in_words(value: float, text: str) -> None:
    assert number(value) == text


ROW: dict[str, Any] = {
    "lead_time": 41.0,
    "supplier": "SupplierB",
    "mode": "Air",
    "Freight (USD)": 900.0,
    "kg": 3.0,
    "n": 10.0,
    "p": 5.0,
    "value": 5000.0,
    "month of sent": "June",
    "item": "Gloves, large",
    "code": "12",
    "to": None,
    "origin": "Hanoi",
    "destination": "Basel",
    "carrier": np.nan,
    "insurance": 2.0,
}
# What columns follow from others, by their names.
MONTH = {"month of sent": CalendarPart("sent", "month")}
DAYS = {"days from a to b": Duration("a", "b")}
GIVEN = {"kg given": MissingState("kg")}
LEVEL = {"n as a level": NumberLevel("n")}
MISSING = {"missing values": MissingPattern((MissingState("kg"), MissingState("n", ("later, perhaps",))))}


@pytest.mark.parametrize(
    ("source", "value", "usual", "text"),
    [
        (
            FeatureSource("lead_time by supplier and mode", "deviations", ("lead_time",), ("supplier", "mode")),
            41.0,
            13.0,
            "lead_time 41 is 3.2 times what SupplierB by Air takes (13)",
        ),
        (FeatureSource("kg", "num", ("kg",)), 0.0, 7.0, "kg 0 is below what is usual (7)"),
        (FeatureSource("kg", "num", ("kg",)), 0.01, 7.0, "kg 0.01 is less than a hundredth of what is usual (7)"),
        (FeatureSource("kg", "num", ("kg",)), 3.5, 7.0, "kg 3.5 is 50 % of what is usual (7)"),
        (FeatureSource("kg", "num", ("kg",)), float("nan"), 7.0, "kg is missing"),
        (
            FeatureSource("Freight (USD) / kg", "ratios", ("Freight (USD)", "kg")),
            300.0,
            6.0,
            "Freight 900 USD for kg 3 (a ratio of 300) is 50 times what is usual (6)",
        ),
        (
            FeatureSource("insurance / value", "ratios", ("insurance", "value")),
            4e-4,
            8e-4,
            "insurance 2 for value 5,000 (400 for a million) is 50 % of what is usual (800)",
        ),
        (FeatureSource("n", "num", ("n",)), 1931.0, 2003.0, "n 1931 is below what is usual (2003)"),
        (
            FeatureSource("value / (n x p)", "ratios", ("value", "n", "p")),
            100.0,
            1.0,
            "value 5,000 is 100 times n 10 x p 5 (50)",
        ),
        (
            FeatureSource("days from sent to got", "durations", ("got", "sent")),
            -3.0,
            0.0,
            "got is 3 days before sent; usual is the same day",
        ),
        (FeatureSource("mode rarity", "cat", ("mode",)), "Air", 2.0, "mode Air is rare: 2 of 1,000 records"),
        (
            FeatureSource("weekday of got rarity", "calendar", ("got",)),
            "Sunday",
            4.0,
            "got falls on a Sunday, which is rare: 4 of 1,000 records",
        ),
        (
            FeatureSource("mode for supplier", "pairs", ("mode", "supplier")),
            ("Air", "SupplierB"),
            (0, 40),
            "mode Air was never seen with supplier SupplierB (40 records)",
        ),
        (
            FeatureSource("missing values rarity", "missing", ("kg",), (), MISSING),
            "kg missing",
            3.0,
            "kg is missing, as in 3 of 1,000 records",
        ),
        (FeatureSource("repeated record", "repeats", ("kg",)), 2.0, 1.0, "the same record occurs 2 times"),
    ],
)
def test_phrases(source: FeatureSource, value: Any, usual: Any, text: str) -> None:
    assert phrase(source, value, usual, ROW, 1000) == text


def test_every_group_of_features_has_its_words_and_directions() -> None:
    for kind, group in KINDS.items():
        own = "phrase" in {name for base in group.__mro__[: group.__mro__.index(FeatureGroup)] for name in vars(base)}
        assert own == (kind != "tails"), kind
    # Two say more of a value than a number.
    directions = {
        kind: group.direction(2.0, 1.0) for kind, group in KINDS.items() if kind not in ("tails", "dates", "courses")
    }
    seldom = ("levels", "relations", "signs", "decimals", "forms", "spelling", "restated", "zeros", "values")
    seldom += ("names", "ties", "owners", "constants")
    rare = dict.fromkeys(("cat", "pairs", "calendar", *seldom), "rare")
    told = {"missing": "missing", "given": "missing", "patterns": "missing"}
    told |= dict.fromkeys(("repeats", "copies", "amended", "readings", "runs"), "repeated")
    assert directions == {**dict.fromkeys(directions, "high"), **rare, **told}
    assert [Dates.direction(day, (2, 4)) for day in (1, 3, 5)] == ["early", "usual", "late"]
    assert {kind for kind, group in KINDS.items() if group.ordered} == {
        *("num", "durations", "ratios", "deviations", "expectations", "rules", "contexts", "neighbours")
    }
    assert MissingRarity.direction("none", 2.0) == "rare"
    assert [NumericValues.direction(value, 1.0) for value in (np.nan, 0.5, 1.0)] == ["missing", "low", "usual"]
    assert not Repeats.says(("kg", 1))
    assert Repeats.says(2.0)


@pytest.mark.parametrize(
    ("group_by", "text"),
    [((), "the rest of the record"), (("n", "mode", "carrier"), "n 10, Air and a missing carrier")],
)
def test_an_estimate_is_called_one(group_by: tuple[str, ...], text: str) -> None:
    source = FeatureSource("kg as expected", "expectations", ("kg",), group_by)
    assert phrase(source, 41.0, 10.0, ROW, 9) == f"kg 41 is above what is expected from {text}: about 10"


def test_a_range_is_told_where_the_value_is_outside() -> None:
    source = FeatureSource("kg", "num", ("kg",))
    assert phrase(source, 41.0, 13.0, ROW, 9, (9.2, 16.8)) == "kg 41 is 3.2 times what is usual (13, usually 9 to 17)"
    assert phrase(source, 15.0, 13.0, ROW, 9, (9.2, 16.8)) == "kg 15 is 1.2 times what is usual (13)"
    # One that says no more than what is usual.
    assert phrase(source, 15.0, 13.0, ROW, 9, (13.0, 13.0)) == "kg 15 is 1.2 times what is usual (13)"
    freight = FeatureSource("Freight (USD)", "num", ("Freight (USD)",))
    text = "Freight 900.5 USD is 9 times what is usual (100 USD, usually 81 to 119 USD)"
    assert phrase(freight, 900.5, 100.0, ROW, 9, (81.2, 119.3)) == text


@pytest.mark.parametrize(
    ("between", "text"),
    [
        *[((9.23, 16.81), "9.2 to 16.8"), ((382.4, 516.2), "380 to 520"), ((0.9512, 0.9733), "0.951 to 0.973")],
        *[((12.0, 45123.0), "12 to 45,000"), ((0.0, 7.5), "0 to 7.5"), ((-2.04, 9.0), "-2 to 9"), ((5.0, 5.0), "5")],
        *[((1234567.0, 1234600.0), "1,234,567 to 1,234,600"), ((0.0, 0.0), "0"), ((-0.0001, 100.0), "-0.0001 to 100")],
    ],
)
def test_ranges_in_words(between: tuple[float, float], text: str) -> None:
    assert number_range(between) == text


def test_whole_ranges_stay_whole() -> None:
    assert number_range((9.23, 16.81), whole=True) == "9 to 17"
    assert number_range((382.4, 516.2), whole=True) == "380 to 520"


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.999, "over 99 %"), (0.62, "62 %"), (0.004, "under 1 %"), (0.0, "0 %")],
)
def test_shares_in_words(share: float, text: str) -> None:
    assert percent(share) == text


def test_sentences() -> None:
    two = [("lead_time 41 is high", 0.62), ("missing is kg", 0.2)]
    assert sentence(two, alert=True) == (
        "lead_time 41 is high; it accounts for 62 % of the alert. Another 20 %: missing is kg."
    )
    assert sentence(two, alert=False) == (
        "Not an alert. What stands out most (62 %): lead_time 41 is high. Another 20 %: missing is kg."
    )
    # A name such as lead_time is left as it is; a word becomes one that begins a sentence.
    assert sentence(two[1:], alert=True).startswith("Missing is kg; it accounts for 20 % of the alert.")
    assert sentence([], alert=True) == sentence([], alert=False) == "Nothing in this record stands out."


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (FeatureSource("kg by m", "deviations", ("kg",), ("month of sent",), MONTH), "what is usual in June"),
        (FeatureSource("kg by i", "deviations", ("kg",), ("item", "mode")), 'what is usual for "Gloves, large" by Air'),
        (FeatureSource("kg by c", "deviations", ("kg",), ("code", "to")), "what is usual for code 12, no to"),
        (
            FeatureSource("kg by o", "deviations", ("kg",), ("origin", "destination")),
            "what is usual from Hanoi to Basel",
        ),
    ],
)
def test_what_a_value_is_compared_with(source: FeatureSource, text: str) -> None:
    assert phrase(source, 41.0, 10.0, ROW, 9) == f"kg 41 is 4.1 times {text} (10)"


@pytest.mark.parametrize(
    ("source", "value", "usual", "between", "text"),
    [
        (
            FeatureSource("days from a to b", "durations", ("b", "a")),
            *(40.0, 3.0, (1.0, 9.0)),
            "b is 40 days after a; usual is 3 days after (1 to 9)",
        ),
        (
            FeatureSource("days from a to b by mode", "deviations", ("b", "a"), ("mode",), DAYS),
            *(-1.0, 0.0, (-0.4, 9.6)),
            "b is 1 day before a; usual by Air is the same day (0 to 10 days after)",
        ),
        (
            FeatureSource("days from a to b", "durations", ("b", "a")),
            *(9.0, -3.0, (-9.0, -1.0)),
            "b is 9 days after a; usual is 3 days before (1 to 9)",
        ),
        (
            FeatureSource("days from a to b", "durations", ("b", "a")),
            *(9.0, 1.0, (-2.0, 3.0)),
            "b is 9 days after a; usual is 1 day after (2 days before to 3 days after)",
        ),
        (
            FeatureSource("days from a to b", "durations", ("b", "a")),
            *(0.25, 4.92, (4.6, 31.2)),
            "b is 0.25 days after a; usual is 5 days after (5 to 31)",
        ),
        (
            FeatureSource("insurance / value", "ratios", ("insurance", "value")),
            *(0.0004, 0.002, (0.001, 0.004)),
            "insurance 2 for value 5,000 (a ratio of 0.0004) is 20 % of what is usual (0.002, usually 0.001 to 0.004)",
        ),
        (
            FeatureSource("kg as expected", "expectations", ("kg",), ("n",)),
            *(7.0, 7.0, None),
            "kg 7 does not go with n 10",
        ),
        (
            FeatureSource("kg given for mode", "pairs", ("kg", "mode"), (), GIVEN),
            *(("Invoiced Separately", "Air"), (0, 40), None),
            "kg 'Invoiced Separately' was never seen with mode Air (40 records)",
        ),
        (
            FeatureSource("kg given for mode", "pairs", ("kg", "mode"), (), GIVEN),
            *(("blank", None), (1, 40), None),
            "a kg that is blank is in 1 of the 40 records with a missing mode",
        ),
        (
            FeatureSource("missing values rarity", "missing", ("kg", "n"), (), MISSING),
            *("kg missing, n 'later'", 0.0, None),
            "these values are missing together (kg missing, n 'later'), never seen before",
        ),
        (
            FeatureSource("missing values rarity", "missing", ("kg", "n"), (), MISSING),
            *("n 'later, perhaps'", 2.0, None),
            "n is 'later, perhaps', as in 2 of 1,000 records",
        ),
        (
            FeatureSource("missing values rarity", "missing", ("kg",)),
            "none",
            0.0,
            None,
            "no value is missing, never seen before",
        ),
        (FeatureSource("mode rarity", "cat", ("mode",)), "Air", 0.0, None, "mode Air was never seen before"),
        (FeatureSource("mode rarity", "levels", ("mode",)), "Air", 90.0, None, "mode Air is in 90 of 1,000 records"),
        (FeatureSource("mode rarity", "levels", ("mode",)), "Air", 9.0, None, "mode Air is rare: 9 of 1,000 records"),
        (
            FeatureSource("b beside a", "relations", ("b", "a")),
            *(("x", "y"), (1, 2), None),
            "b x is in 1 of the 2 records with a y",
        ),
        (
            FeatureSource("year beside the rows around", "neighbours", ("year",)),
            *(1998.0, 1997.5, None),
            "year 1998 does not follow the rows around it (about 1997.5)",
        ),
        (
            FeatureSource("day beside its n as a level", "contexts", ("day",), ("n as a level",), LEVEL),
            *(31.0, 15.0, (2.0, 29.0)),
            "day 31 is above what is usual for n 10 (15, usually 2 to 29)",
        ),
        (
            FeatureSource("kg", "num", ("kg",)),
            *(4.34, 7.0, (4.35, 8.0)),
            "kg 4.34 is 62 % of what is usual (7, usually 4.35 to 8)",
        ),
    ],
)
def test_more_phrases(source: FeatureSource, value: Any, usual: Any, between: Any, text: str) -> None:
    assert phrase(source, value, usual, ROW | {"n as a level": "10"}, 1000, between) == text


def test_an_estimate_names_what_moves_it() -> None:
    rng = np.random.default_rng(0)
    loss = np.where(rng.random(800) < 0.02, -3000.0, 0.0) + rng.normal(size=800)
    kind = rng.choice(["screw", "saw"], 800)
    frame = pd.DataFrame({"kind": kind, "loss": loss, "price": 20.0 + 30.0 * (kind == "saw") + rng.normal(size=800)})
    frame["price"] += loss.clip(-8.0)
    clean = SupplyChainFeatures(groups=GROUPS).fit(frame).extend(frame)[0]
    model = Expectation(["loss", "price"], ["kind"]).fit(clean)
    place = [target.column for target in model.targets_].index("price")
    named = {row: model.told_beside(as_table(clean.iloc[[row]]), place) for row in range(len(clean))}
    moved = [row for row, names in named.items() if "loss" in names]
    assert np.flatnonzero(loss < -1000.0).tolist() == [row for row in moved if loss[row] < -1000.0]
    assert len(moved) < 0.5 * len(clean)


def test_equal_columns_cannot_disagree() -> None:
    total = np.random.default_rng(0).lognormal(4.0, 1.0, 600).round(2)
    frame = pd.DataFrame({"total": total, "total_again": total})
    detector = make_detector(RECIPE, None, make_forest(RECIPE, seed=0, backend="numba")).fit(frame)
    told = explain(detector, frame, rows=np.argsort(-total)[:20].tolist())
    assert not [reason.text for one in told for reason in one.contributions if "total_again" in reason.text]


def test_the_history_of_a_level_is_what_is_usual_for_it() -> None:
    rng = np.random.default_rng(0)
    prices = {"pen": 2, "cup": 8, "bag": 40, "chair": 120, "laptop": 1500}
    product = np.append(np.repeat("laptop", 6), rng.choice(["pen", "cup", "bag", "chair"], 1994))
    frame = pd.DataFrame({"product": product, "price": [prices[one] for one in product]})
    frame["quantity"] = rng.integers(1, 9, 2000)
    frame["total"] = frame["price"] * frame["quantity"]
    frame["total_again"] = frame["total"]
    detector = make_detector(RECIPE, None, make_forest(RECIPE, seed=0, backend="numba")).fit(frame)
    told = [reason for one in explain(detector, frame, rows=range(6)) for reason in one.contributions]
    assert told
    assert not [reason.text for reason in told if reason.text.startswith("price 1,500")]
    assert not [reason.text for reason in told if "expected from total_again" in reason.text]


def test_a_record_alone_in_its_group_is_told_of_beside_all() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"product": np.repeat([f"p{i}" for i in range(60)], 10)[:591]})
    frame["price"] = 10.0 + rng.integers(0, 60, 60)[frame["product"].str[1:].astype(int)] + rng.normal(size=591) / 10
    frame.loc[590, "price"] = 5000.0
    clean = SupplyChainFeatures(groups=GROUPS).fit(frame).extend(frame)[0]
    model = Contexts(["price"], ["product"]).fit(clean)
    last, new = as_table(clean.iloc[[590]]), as_table(clean.iloc[[590]].assign(product="p99"))
    for record in (last, new):
        assert model.told_beside(record, 0) == ()
        assert model.in_units(record)[1][0, 0] == pytest.approx(frame["price"].median())
    assert model.told_beside(as_table(clean.iloc[[0]]), 0) is None


@pytest.mark.parametrize("told", [True, False])
def test_what_contexts_tell_is_what_each_history_tells(told: bool) -> None:
    frame = orders()
    frame.loc[frame.index[::7], "order_value"] = np.nan
    features = SupplyChainFeatures(groups=GROUPS).fit(frame)
    branch, columns = next((one, columns) for name, one, columns in features._used() if name == "contexts")
    rows = pd.concat([frame, frame.tail(9).assign(supplier="new")])
    table = features.prepare(rows)[0].only(columns)
    for one in branch.contexts_ if not told else ():
        one.history.told = None
    assert {one.per is None for one in branch.contexts_} == {True, False}
    found, (low, high) = branch.in_units(table), branch.ranges_in_units(table, np.empty((2, 0)))
    for i, one in enumerate(branch.contexts_):
        codes, values, history = one.groups.codes(table), one.values(table), one.history
        count, median = history.count[codes], history.median[codes]
        others = (count > 1) | ((count == 1) & ~np.isclose(values, median, rtol=1e-9, atol=0.0))
        assert [branch.told_beside(table, i, row) is None for row in range(len(rows))] == others.tolist()
        off = partial(_off_scale, per=one.per, scale=one.scale)
        if told:
            usual, *ends = history.told[:, np.where(others, codes, -1)]
        else:
            usual = off(np.where(others, median, history.centre))
            ends = [np.where(others, off(edge[codes]), np.nan) for edge in (history.low, history.high)]
        expected = (off(values), usual, *ends)
        for ours, theirs in zip((found[0][:, i], found[1][:, i], low[:, i], high[:, i]), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("kind", "feature", "value", "usual", "ordinary"),
    [
        ("levels", 1.5, "Air", 700.0, True),
        ("levels", 5.0, "Air", 3.0, False),
        ("levels", 1.5, "Air", 0.0, False),
        ("patterns", 1.5, "kg missing", 700.0, False),
        ("relations", 0.0, ("x", "y"), (200, 1400), True),
        ("expectations", -2.0, 0.0, 0.09, True),
        ("expectations", -2.0, 0.0, 3.0, False),
        ("expectations", -2.0, 2.5, 3.0, False),
        ("contexts", -2.0, 0.0, 0.09, False),
    ],
)
def test_what_is_ordinary_is_no_reason(kind: str, feature: float, value: Any, usual: Any, ordinary: bool) -> None:
    assert KINDS[kind].is_ordinary(feature, value, usual) is ordinary


def test_columns_of_the_user_that_are_called_like_derived_ones() -> None:
    rng = np.random.default_rng(0)
    early, days = rng.random(600) < 0.5, rng.uniform(2.0, 40.0, 600)
    frame = pd.DataFrame(
        {
            "month of harvest": np.where(early, "May", "June"),
            "period of storage": np.where(early, "short", "long"),
            "weekday of picking": np.where(rng.random(600) < 0.99, rng.choice(["Monday", "Friday"], 600), "Sunday"),
            "discount given": np.where(early ^ (rng.random(600) < 0.02), "blank", "full"),
            "yield": np.where(early, 10.0, 80.0) + rng.normal(size=600),
            "days from farm to port": days,
            "fee": 3.0 * days * rng.lognormal(sigma=0.02, size=600),
        }
    )
    features = SupplyChainFeatures(groups=GROUPS).fit(frame)
    sources = {(source.kind, source.name): source for source in features._sources()}
    assert {type(part) for source in sources.values() for part in source.derived.values()} == {Ratio}
    row = {**frame.iloc[0].to_dict(), "month of harvest": "May", "days from farm to port": 20.0, "fee": 10.0}
    for kind, name, value, usual, text in (
        ("deviations", "yield by month of harvest", 90.0, 10.0, "yield 90 is 9 times what is usual for May (10)"),
        (
            *("ratios", "days from farm to port / fee", 2.0, 0.33),
            "days from farm to port 20 for fee 10 (a ratio of 2) is 6.1 times what is usual (0.33)",
        ),
        (
            *("levels", "weekday of picking rarity", "Sunday", 5),
            "weekday of picking Sunday is rare: 5 of 600 records",
        ),
        (
            *("pairs", "month of harvest for discount given", ("June", "blank"), (3, 90)),
            "month of harvest June is in 3 of the 90 records with discount given blank",
        ),
    ):
        assert phrase(sources[kind, name], value, usual, row, 600) == text
    # A span of four weeks makes no group of alerts; what a user calls so does.
    grouped = FeatureSource("yield by period of storage", "deviations", ("yield",), ("period of storage",))
    assert levels_of(grouped, frame) == ["period of storage"]
    span = {"period of storage": CalendarPart("storage", "period")}
    assert levels_of(replace(grouped, derived=span), frame) == []
    # Closed, unlike the weekdays of a date: a new level is a slip or worth a look.
    branch = next(branch for kind, branch, _ in features.transformers_ if kind == "levels")
    assert branch.unclosed == []
    assert branch.surprise_["weekday of picking"][-1] > 4.0


def test_alerts_are_called_so(detector: Any) -> None:
    row = changed(order_value=5e6)
    score = explain(detector, row)[0].score
    (alert,), (other,) = (explain(detector, row, threshold=cut) for cut in (score + 0.01, score))
    assert alert.is_alert
    assert "of the alert" in alert.sentence
    assert not other.is_alert
    assert other.sentence.startswith("Not an alert. What stands out most (")
    assert alert.contributions == other.contributions
    assert explain(detector, row)[0].is_alert is (score < detector.model.offset_)


def test_ranges_hold_nine_tenths_of_the_records(detector: Any) -> None:
    preprocessor = detector.preprocessor
    extended, _ = preprocessor.extend(orders())
    values, _ = preprocessor.in_units(extended)
    low, high = preprocessor.ranges_in_units(extended)
    for i, source in enumerate(preprocessor.feature_sources_[: values.shape[1]]):
        if source.kind in ("num", "durations", "ratios", "deviations", "expectations"):
            own = values[:, i].astype(float)
            inside = (own >= low[:, i] - 1e-6 * abs(own)) & (own <= high[:, i] + 1e-6 * abs(own))
            assert 0.88 <= inside[~np.isnan(own)].mean() <= 1.0, source.name
        else:
            assert np.isnan(low[:, i]).all()


def test_a_model_that_does_not_remember_ranges_still_explains(detector: Any) -> None:
    old = copy.deepcopy(detector)
    del old.preprocessor.tails_.bounds_, old.preprocessor.tails_.profile_
    row = changed(order_value=5e6)
    (now,), (before,) = explain(detector, row), explain(old, row)
    assert before.contributions[0].feature == now.contributions[0].feature
    assert before.contributions[0].expected_range == pytest.approx(now.contributions[0].expected_range, rel=0.5)
    assert before.base + sum(one.effect for one in before.contributions) + before.rest == pytest.approx(before.score)


def test_one_cause_is_one_reason(detector: Any) -> None:
    """A date out of order is odd to both dates, and a value to the ratios it is in."""
    (explanation,) = explain(detector, changed(delivery_date=pd.Timestamp("2023-06-01")))
    first = explanation.contributions[0]
    assert set(first.columns) == {"delivery_date", "order_date"}
    assert first.share > 0.4
    features = [reason.feature for reason in explanation.contributions]
    assert len(set(features)) == len(features)


@pytest.mark.slow
def test_a_copy_is_one_reason() -> None:
    data = generate("realistic", 1500, seed=3)
    detector = make_detector(RECIPE, None, make_forest(RECIPE, seed=0, backend="numba")).fit(data.frame)
    rows = np.flatnonzero(data.anomaly_types == "duplicated_order")[:12]
    told = [
        [reason.text for reason in explanation.contributions if reason.direction == "repeated"]
        for explanation in explain(detector, data.frame, rows=rows.tolist(), top=10)
    ]
    assert max(len(texts) for texts in told) == 1
    assert sum(len(texts) for texts in told) >= 6
    assert any(" and unit_price are those of row " in texts[0] for texts in told if texts)
