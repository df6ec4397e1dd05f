"""What a model finds in a whole table: the columns that head a record, causes, totals, and a value in its group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_example import alert

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.causes import find_causes, leading_column
from anomaly_detection.alerts.headline import Headline
from anomaly_detection.alerts.overview import Overview
from anomaly_detection.alerts.renderings import shown
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.alerts.spread import spread_of
from anomaly_detection.alerts.totals import by_category, by_money, by_period
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.schema import Schema, infer_schema
from anomaly_detection.detector import Detector
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.synthetic import generate
from mlx_iforest import MLXIsolationForest

SMALL = {"preprocessor": SupplyChainFeatures(groups=("num", "deviations")), "model": MLXIsolationForest(20)}


def of_columns(training: dict[str, Any] | None = None, **roles: Role) -> Detector:
    """A detector that knows columns of these names, "_" for a space."""
    detector = Detector()
    missing = {"never": 0.5}
    detector.preprocessor.schema_ = Schema(
        tuple(Column(name.replace("_", " "), role, "", missing=missing.get(name, 0.0)) for name, role in roles.items())
    )
    detector.training_ = {} if training is None else {"data": training}
    return detector


def told(row: int, column: str, direction: str, feature: str, value: Any = 1.0, columns: Any = None) -> Alert:
    """An alert with one reason."""
    made = alert(row, -0.3 + 0.001 * row, {"a reason": 1.0}, {})
    assert made.explanation is not None
    first = replace(
        made.reasons[0], feature=feature, columns=columns or (column,), direction=direction, value=value, text=feature
    )
    return replace(made, explanation=replace(made.explanation, contributions=(first,)))


def test_a_record_is_headed_by_what_names_it_its_date_and_its_money() -> None:
    numbers = dict.fromkeys(
        ("Unit_Price", "Profit", "Order_Quantity", "Sales", "shipping_days", "total_weight"), Role.NUMERIC
    )
    names = dict.fromkeys(("a", "b", "c"), Role.IDENTIFIER)
    dates = {"never": Role.TIMESTAMP, "ordered": Role.TIMESTAMP, "sent": Role.TIMESTAMP}
    found = Headline.of(of_columns(**names, **dates, **numbers))
    assert found == Headline(("a", "b"), ("a", "b"), "ordered", "Sales", ("Profit", "Sales"))
    assert found.columns == ("a", "b", "ordered", "Sales")
    told = {"identifiers": ["c", "a", "gone"], "timestamp": "sent"}
    named = Headline.of(of_columns(told, **names, **dates, **numbers))
    assert (named.identifiers, named.date) == (("c", "a"), "sent")
    assert Headline.of(of_columns(Unit_Price=Role.NUMERIC, x=Role.NUMERIC)).amount == "Unit Price"
    assert Headline.of(of_columns(x=Role.NUMERIC)) == Headline((), (), None, None, ())
    # A total of anything is no money, and a city tells more of a record than its row.
    fats = of_columns(total_fat=Role.NUMERIC, order_total=Role.NUMERIC, city=Role.CATEGORICAL)
    assert Headline.of(fats) == Headline((), ("city",), None, "order total", ("order total",))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pd.Timestamp("2024-05-01"), "2024-05-01"),
        (pd.Timestamp("2024-05-01 08:19:59"), "2024-05-01 08:19"),
        (pd.NaT, "-"),
        (None, "-"),
        (float("nan"), "-"),
        (264879.5, "264879.5"),
        (1370.7640000001, "1370.76"),
        (0.0123456, "0.0123"),
        (7, "7"),
        ("1,250.00", "1,250.00"),
    ],
)
def test_values_for_people(value: Any, text: str) -> None:
    assert shown(value) == text


def test_alerts_of_one_cause_are_one_entry() -> None:
    """Binders are sold at a loss in three states: one cause, not three."""
    alerts = [
        told(1, "Profit", "low", "profit by product and state"),
        told(2, "Profit", "low", "profit by product and state"),
        told(3, "Profit", "low", "profit by product"),
        told(4, "Profit", "low", "profit by product and state"),
        told(5, "State", "rare", "state", "Ohio"),
        told(6, "Sent", "high", "time", 30.0, ("Sent", "Ordered")),
        told(7, "Sent", "low", "time", -3.0, ("Sent", "Ordered")),
        told(8, "Profit", "repeated", "all", columns=("Profit", "State", "Product", "Sent")),
        alert(9, -0.1, {}, {}),
    ]
    day = pd.Timestamp("2024-01-01")
    clean = pd.DataFrame(
        {
            "Profit": [-10.0, -20.0, -30.5, -1.0, 1, 1, 1, 1, 1],
            "Sales": [100.0, np.nan, 1, 1, 1, 1, 1, 7, 1],
            "Product": ["Binders"] * 3 + ["Phones"] * 6,
            "State": ["Ohio", "Texas", None, "Iowa", "Ohio"] + ["Ohio"] * 4,
            "Sent": [day] * 9,
            "Ordered": [day] * 9,
        }
    )
    group = {"profit by product and state": ("Product", "State", "Sales"), "profit by product": ("Product",)}
    sources = {name: FeatureSource(name, "deviations", ("Profit",), by) for name, by in group.items()}
    sources["time"] = FeatureSource("time", "durations", ("Sent", "Ordered"))
    found = find_causes(alerts, clean, sources, ("Profit", "Sales"), "Sales")
    told_causes = [(len(one.alerts), one.column, one.text, one.amount, one.amount_of) for one in found]
    assert told_causes == [
        (3, "Profit", "Profit is negative for Binders", -60.5, "Profit"),
        (1, "Profit", "Profit is negative for Phones", -1.0, "Profit"),
        (1, "State", "State Ohio is unusual", 1.0, "Sales"),
        (1, "Sent", "the time from Ordered to Sent is long", 1.0, "Sales"),
        (1, "Sent", "Sent is before Ordered", 1.0, "Sales"),
        (1, "the whole record", "the whole record is repeated", 7.0, "Sales"),
        (1, "", "nothing by itself stands out", 1.0, "Sales"),
    ]
    assert [one.row for one in found[0].alerts] == [1, 2, 3]
    assert leading_column(alerts[-1]) == ""


def test_many_without_a_common_group_are_one_cause() -> None:
    alerts = [told(i, "x", "low", "x by hour") for i in range(24)]
    clean = pd.DataFrame({"x": np.full(24, -200.0), "hour": [f"h{i}" for i in range(24)]})
    sources = {"x by hour": FeatureSource("x by hour", "deviations", ("x",), ("hour",))}
    (cause,) = find_causes(alerts, clean, sources, (), None)
    assert (len(cause.alerts), cause.text, cause.amount) == (24, "x is low", None)


@pytest.mark.parametrize(("kind", "direction"), [("missing", "missing"), ("readings", "repeated")])
def test_values_that_are_missing_or_repeated_together_are_not_the_whole_record(kind: str, direction: str) -> None:
    alert = told(0, "a", direction, "all", columns=tuple("abcd"))
    clean = pd.DataFrame({name: [1.0] for name in "abcd"})
    (cause,) = find_causes([alert], clean, {"all": FeatureSource("all", kind, tuple("abcd"))}, (), None)
    assert cause.text == f"several values are {direction}"


def test_totals_tell_of_suppliers_products_and_places_before_others() -> None:
    rows = 4000
    is_alert = np.arange(rows) % 8 == 0
    draws = np.random.default_rng(0)

    def of(strength: float) -> list[str]:
        """Ten levels, of which the first has more of the alerts, the stronger the more."""
        return [f"L{0 if alert and draws.random() < strength else draws.integers(10)}" for alert in is_alert]

    named = {"Vendor": 0.3, "Item": 0.4, "Country": 0.3, "a": 0.9, "b": 0.8, "c": 0.7, "Item Group": 0.35}
    frame = pd.DataFrame({name: of(strength) for name, strength in named.items()} | {"x": np.arange(rows) * 1.5})
    found = by_category(frame, infer_schema(frame), is_alert, None)
    assert {one.columns[0] for one in found} == {"Vendor", "Item", "Country", "a"}


def test_totals_are_by_categories_in_which_alerts_concentrate() -> None:
    rows = 4000
    is_alert = np.arange(rows) % 40 == 0
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "supplier": np.where(is_alert & (np.arange(rows) % 80 == 0), "Bad", rng.choice(["Good", "Fine"], rows)),
            "even": rng.choice(["a", "b", "c"], rows),
            "each": [f"n{i}" for i in range(rows)],
            "origin": np.where(is_alert, "Porto", "Izmir"),
            "code": np.where(is_alert, "PT", "TR"),
            "destination": rng.choice(["Oslo", "Rome"], rows),
        }
    )
    schema = Schema(tuple(Column(name, Role.CATEGORICAL, "") for name in frame))
    found = by_category(frame, schema, is_alert, np.ones(rows))
    assert [one.columns for one in found] == [("origin",), ("origin", "destination"), ("supplier",)]
    assert [(t.name, t.alerts, t.records, t.amount) for t in found[0].totals] == [("Porto", 100, 100, 100.0)]
    assert {total.name for total in found[1].totals} == {"Porto \u2192 Oslo", "Porto \u2192 Rome"}
    assert found[2].totals[0].name == "Bad"
    assert by_category(frame, schema, np.zeros(rows, dtype=bool), None) == []


@pytest.mark.parametrize(
    ("dates", "unit", "names"),
    [
        (["2024-01-31", "2024-02-02"], "day", ["2024-01-31", "2024-02-01", "2024-02-02"]),
        (["2024-01-31", "2024-04-02"], "month", ["2024-01", "2024-02", "2024-03", "2024-04"]),
        (["2004-01-31", "2024-04-02"], "year", [str(year) for year in range(2004, 2025)]),
    ],
)
def test_totals_by_time_have_no_gaps(dates: list[str], unit: str, names: list[str]) -> None:
    frame = pd.DataFrame({"when": pd.to_datetime([dates[0], None, dates[1], dates[1]])})
    found = by_period(frame, "when", np.array([True, True, True, False]), np.array([5.0, 100.0, np.nan, 1.0]))
    assert found is not None
    assert (found.unit, [total.name for total in found.totals]) == (unit, names)
    first, last = found.totals[0], found.totals[-1]
    assert (first.alerts, first.records, first.amount) == (1, 1, 5.0)
    assert (last.alerts, last.records, last.amount) == (1, 2, 0.0)
    assert (
        by_period(pd.DataFrame({"when": pd.to_datetime([None, None])}), "when", np.zeros(2, dtype=bool), None) is None
    )


def test_totals_by_money() -> None:
    frame = pd.DataFrame({"Sales": [5.0, np.nan, 7.0], "Profit": [-1.0, 2.0, 3.0]})
    sales, profit = by_money(frame, ("Sales", "Profit"), np.array([True, True, False]))
    assert (sales.alerts, sales.records) == (5.0, 12.0)
    assert (profit.alerts, profit.records) == (1.0, 4.0)


RECORDS = pd.DataFrame(
    {
        "lead": [10.0, 11.0, 12.0, 13.0, 40.0, 100.0],
        "size": [1.0, 1.0, 2.0, 2.0, 4.0, 4.0],
        "mode": ["Air", "Air", "Air", "Air", "Air", "Sea"],
        "sent": pd.to_datetime(["2024-01-01"] * 6),
        "got": pd.to_datetime(["2024-01-03", "2024-01-03", "2024-01-03", "2024-01-04", "2024-02-10", None]),
    }
)


@pytest.mark.parametrize(
    ("source", "value", "what", "records"),
    [
        (FeatureSource("f", "deviations", ("lead",), ("mode",)), 40.0, "lead of Air", 5),
        (FeatureSource("f", "num", ("lead",)), 40.0, "lead", 6),
        (FeatureSource("f", "expectations", ("lead", "size"), ("size",)), 40.0, "lead", 6),
        (FeatureSource("f", "durations", ("got", "sent"), ("mode",)), 40.0, "days from sent to got of Air", 5),
        (FeatureSource("f", "ratios", ("lead", "size")), 10.0, "lead / size", 6),
    ],
)
def test_a_value_lies_among_those_of_its_own_group(
    source: FeatureSource, value: float, what: str, records: int
) -> None:
    found = spread_of(told(5, source.columns[0], "high", "f", value).reasons[0], RECORDS.iloc[4], source, RECORDS)
    assert found is not None
    assert found.what == what
    assert sum(found.counts) == records
    assert found.counts[min(int(found.place * len(found.counts)), len(found.counts) - 1)] >= 1


def test_a_level_lies_among_the_levels_of_its_column() -> None:
    source = FeatureSource("f", "cat", ("mode",))
    found = spread_of(told(6, "mode", "rare", "f", "Sea").reasons[0], RECORDS.iloc[5], source, RECORDS)
    assert found is not None
    assert (found.counts, found.value, found.ends) == ((5, 1), "Sea", ("Air", "Sea"))
    assert found.place == 0.75


@pytest.mark.parametrize("value", [55.0, None, True, "Rail", ["Rail", "x"]])
def test_what_is_no_quantity_of_the_record_has_no_picture(value: Any) -> None:
    direction = "rare" if isinstance(value, (str, list)) else "high"
    columns = ("mode",) if direction == "rare" else ("lead",)
    source = FeatureSource("f", "deviations", columns)
    assert spread_of(told(5, "lead", direction, "f", value).reasons[0], RECORDS.iloc[4], source, RECORDS) is None


def test_features_that_are_there_already_give_the_same_overview() -> None:
    frame = generate("classic", 300, seed=1).frame
    detector = Detector(**SMALL).fit(frame)
    whole = Overview.of(score_table(detector, frame))
    again = Overview.of(score_table(detector, frame, detector.extract(frame)[0]))
    assert again == whole
    assert whole.headline.date == "timestamp"
    assert sum(total.records for total in whole.by_time.totals) == 300 if whole.by_time else False
    assert len(whole.findings) == max(10, whole.alerts)
