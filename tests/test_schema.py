"""What columns are, and how their text is read."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.data.cells.date_forms import DAY_FIRST, MONTH_FIRST
from anomaly_detection.data.cells.date_orders import Orders
from anomaly_detection.data.cells.date_texts import parse_dates
from anomaly_detection.data.cells.distinct_texts import DistinctTexts
from anomaly_detection.data.cells.missing import missing_mask
from anomaly_detection.data.cells.number_texts import parse_numbers
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.data.columns.schema import Role, infer_schema, reason_column
from anomaly_detection.errors import DataError


def texts(*values: str) -> pd.Series[Any]:
    return pd.Series(list(values), dtype=str)


def learned(*values: str) -> tuple[str, ...]:
    orders = Orders()
    cells = DistinctTexts.of(texts(*values))
    orders.add_distinct(cells.levels, cells.times[:-1])
    return orders.learned(texts(*values))[0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        (" 1.5 ", 1.5),
        ("1,234.5", 1234.5),
        ("1,234", 1234),
        ("12,34,567", 1234567),
        ("$1,200", 1200),
        ("USD 7", 7),
        ("€3.50", 3.5),
        ("-$4", -4),
        ("95 %", 95),
        ("(120)", -120),
        ("120-", -120),
        ("\u22123", -3),
        ("1'234'567", 1234567),
        ("1 234", 1234),
        ("12 kg", 12),
        ("1e3", 1000),
        (".5", 0.5),
    ],
)
def test_numbers_in_text(text: str, number: float) -> None:
    assert parse_numbers(texts(text, "0"))[0] == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "abc", "12 apples", "1,23", "(12", "1.2.3", "300mg", "1/2", "--", "12-05"])
def test_what_is_no_number(text: str) -> None:
    assert np.isnan(parse_numbers(texts(text, "0"))[0])


def test_decimal_comma() -> None:
    assert parse_numbers(texts("1.234,5", "0,25", "7"), decimal_comma=True).tolist() == [1234.5, 0.25, 7]
    schema = infer_schema({"price": ["1.234,50", "0,25", "7,1"], "n": [1.5, 2.5, 4]})
    assert schema["price"].decimal_comma
    assert schema.clean({"price": ["2,5"], "n": [1]})[0]["price"].tolist() == [2.5]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-03-05", "2024-03-05"),
        ("2024-03-05T06:07:08Z", "2024-03-05 06:07:08"),
        ("2024-03-05 06:07:08+02:00", "2024-03-05 04:07:08"),
        ("2024/3/5", "2024-03-05"),
        ("02-Jun-06", "2006-06-02"),
        ("2 June 2006", "2006-06-02"),
        ("June 2, 2006", "2006-06-02"),
        ("Tue, 2 Jan 2024", "2024-01-02"),
        ("3/4/99", "1999-03-04"),
        ("12/31/2024 11:30 PM", "2024-12-31 23:30"),
        ("2024-03", "2024-03-01"),
    ],
)
def test_dates_in_text(text: str, date: str) -> None:
    assert parse_dates(texts(text))[0] == np.datetime64(date, "ns")


@pytest.mark.parametrize("text", ["", "soon", "31/31/2024", "2024-13-01", "Foo 3, 2024", "12:30", "2024-02-30"])
def test_what_is_no_date(text: str) -> None:
    assert np.isnat(parse_dates(texts(text))[0])


def test_order_of_day_and_month_is_decided_by_the_column() -> None:
    assert learned("03/04/2024", "31/12/2024") == ("d/m/y",)
    assert learned("03/04/2024", "12/31/2024") == ("m/d/y",)
    assert parse_dates(texts("03/04/2024"), DAY_FIRST)[0] == np.datetime64("2024-04-03")
    # Both readings fit; only one is in order.
    assert learned("01/02/2024", "02/02/2024", "03/02/2024", "01/03/2024", "02/03/2024") == ("d/m/y",)


@settings(max_examples=60, deadline=None)
@given(st.dates(datetime.date(1970, 1, 1), datetime.date(2068, 12, 31)), st.sampled_from(["-", "/", "."]))
def test_written_dates_read_back(date: datetime.date, separator: str) -> None:
    for forms, form in ((DAY_FIRST, "%d{0}%m{0}%Y"), (MONTH_FIRST, "%m{0}%d{0}%y"), (MONTH_FIRST, "%Y{0}%m{0}%d")):
        read = parse_dates(texts(date.strftime(form.format(separator))), forms)[0]
        assert read == np.datetime64(date)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e12, 1e12, allow_nan=False).map(lambda x: round(x, 2)))
def test_written_numbers_read_back(number: float) -> None:
    for text in (f"{number}", f"{number:,.2f}", f"$ {number:,.2f}", f"{number:,.2f} %"):
        assert parse_numbers(texts(text))[0] == pytest.approx(number, abs=0.006)


def test_missing_words() -> None:
    assert missing_mask(texts("", " N/A ", "null", "-", "x", "N/A - From RDC")).tolist() == [True] * 4 + [False] * 2


def test_words_of_a_name() -> None:
    assert name_tokens("leadTime_Days #2") == {"lead", "time", "days", "#", "2"}
    assert name_tokens("PO / SO #") == {"po", "so", "#"}


def shipments(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "ID": np.arange(n) * 7 + 3,
            "PO #": [f"PO-{i}" for i in range(n)],
            "zip": [f"0{1000 + i % 5}" for i in range(n)],
            "supplier_id": rng.integers(0, 4, n),
            "mode": rng.choice(["Air", "Sea"], n),
            "urgent": rng.choice([True, False], n),
            "sent": pd.date_range("2024-01-01", periods=n, freq="D").strftime("%d/%m/%Y"),
            "epoch_time": 1_700_000_000 + 3600 * np.arange(n),
            "freight": ["Invoiced Separately" if i % 3 == 0 else f"{i * 10:,.1f}" for i in range(n)],
            "delivered": [f"See DN-{i}" if i % 3 == 1 else f"{1 + i % 28:02d}-Jun-06" for i in range(n)],
            "note": [f"please deliver to the {i}. door" for i in range(n)],
            "currency": "USD",
            "nothing": None,
        }
    )


def test_roles_are_inferred() -> None:
    schema = infer_schema(shipments())
    roles = {column.name: column.role for column in schema.columns}
    assert roles == {
        "ID": Role.IDENTIFIER,
        "PO #": Role.IDENTIFIER,
        "zip": Role.CATEGORICAL,
        "supplier_id": Role.CATEGORICAL,
        "mode": Role.CATEGORICAL,
        "urgent": Role.CATEGORICAL,
        "sent": Role.TIMESTAMP,
        "epoch_time": Role.TIMESTAMP,
        "freight": Role.NUMERIC,
        "delivered": Role.TIMESTAMP,
        "note": Role.TEXT,
        "currency": Role.CONSTANT,
        "nothing": Role.CONSTANT,
    }
    assert schema["sent"].dates == ("d/m/y",)
    assert all(column.reason for column in schema.columns)
    assert schema["nothing"].reason == "every value is missing"
    assert schema["freight"].texts == ("Invoiced Separately",)
    assert schema["delivered"].texts == ("See DN-#",)


def test_cleaning_reads_counts_and_keeps_how_values_are_missing() -> None:
    frame = shipments()
    schema = infer_schema(frame)
    clean, report = schema.clean(frame)
    assert clean["freight"].iloc[1] == 10.0
    assert clean["freight"].isna().sum() == 20
    assert clean["sent"].iloc[1] == pd.Timestamp("2024-01-02")
    assert clean["epoch_time"].iloc[0] == pd.Timestamp(1_700_000_000, unit="s")
    assert clean["urgent"].cat.categories.tolist() == ["False", "True"]
    assert clean[reason_column("freight")].value_counts().to_dict() == {"Invoiced Separately": 20}
    assert report.rows == 60
    assert report.columns["freight"].from_text == 40
    assert report.columns["freight"].unread == {"Invoiced Separately": 20}
    assert report.columns["delivered"].unread == {"See DN-#": 20}
    json.dumps(report.to_dict())


def test_order_of_columns_and_new_ones_do_not_matter() -> None:
    frame = shipments()
    schema = infer_schema(frame)
    shuffled = frame[frame.columns[::-1]].assign(extra=1).drop(columns=["note", "ID", "currency"])
    left, right = schema.clean(frame)[0], schema.clean(shuffled)[0]
    pd.testing.assert_frame_equal(left[right.columns], right)


def test_missing_column_gets_a_hint() -> None:
    schema = infer_schema({"lead_time": [1.5, 2.5], "cost": [3.0, 4.5]})
    with pytest.raises(DataError, match=r"Missing column\(s\) 'lead_time' \(did you mean 'Lead Time'\?\)"):
        schema.clean({"Lead Time": 1, "cost": 2})


def test_infinite_values_are_named_by_column_and_row() -> None:
    schema = infer_schema({"a": [1.0, 2.0, 4.0]})
    for value in (np.inf, "inf", "-inf"):
        with pytest.raises(DataError, match="'a' holds an infinite value in row 2"):
            schema.clean({"a": [1.0, value]})


def test_a_wrong_type_is_refused_but_one_bad_cell_among_many_is_missing() -> None:
    schema = infer_schema({"a": [1.0, 2.0, 4.0], "when": ["2024-01-01", "2024-01-02", "2024-01-04"]})
    with pytest.raises(DataError, match="'a' holds 'abc' in row 1, which is no number"):
        schema.clean({"a": "abc", "when": "2024-01-01"})
    with pytest.raises(DataError, match="'when' holds 'soon' in row 1, which is no date"):
        schema.clean({"a": 1, "when": "soon"})
    clean, report = schema.clean({"a": ["abc", "2"], "when": ["2024-01-01", "soon"]})
    assert np.isnan(clean["a"].iloc[0])
    assert report.columns["a"].unread == {"abc": 1}
    assert report.columns["when"].unread == {"soon": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": 1}, "one row"),
        ({"a": [1, 1], "b": ["x", "x"]}, "Every column is constant"),
        ({"a": ["x", "y", "x", "y"]}, "No numeric column"),
    ],
)
def test_tables_that_teach_nothing_are_refused(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer_schema(data)


def test_roles_can_be_given() -> None:
    frame = {"code": [10, 20, 10, 30], "x": [1.5, 2.5, 3.5, 9.0], "day": [20240131, 20240229, 20240301, 20240401]}
    schema = infer_schema(frame, {"code": "categorical", "day": Role.TIMESTAMP})
    assert schema["code"].role is Role.CATEGORICAL
    assert schema["code"].reason == "given"
    assert schema.clean(frame)[0]["day"].iloc[1] == pd.Timestamp("2024-02-29")
    with pytest.raises(DataError, match=r"Unknown column 'cod' .did you mean 'code'"):
        infer_schema(frame, {"cod": "numeric"})
    with pytest.raises(DataError, match=r"Unknown role 'numerical'.*did you mean 'numeric'"):
        infer_schema(frame, {"x": "numerical"})
    with pytest.raises(DataError, match="Unknown column 'y'"):
        schema["y"]


def test_types_of_frames() -> None:
    frame = pd.DataFrame(
        {
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "zoned": pd.to_datetime(["2024-01-01 01:00", "2024-01-02 00:00", None]).tz_localize("Europe/Paris"),
            "object_date": [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2), None],
            "waited": pd.to_timedelta([1.5, 2, 3], unit="D"),
            "mixed": ["1", 2, 3.5],
            "kind": pd.Categorical(["a", "b", "a"]),
        }
    )
    schema = infer_schema(frame)
    clean = schema.clean(frame)[0]
    assert clean["nullable"].tolist()[::2] == [1.0, 3.0]
    assert clean["zoned"].iloc[0] == pd.Timestamp("2024-01-01")
    assert clean["object_date"].iloc[1] == pd.Timestamp("2024-01-02")
    assert clean["waited"].tolist() == [1.5, 2.0, 3.0]
    assert clean["mixed"].tolist() == [1.0, 2.0, 3.5]
    assert clean["kind"].tolist() == ["a", "b", "a"]


def test_whole_numbers_keep_their_category_when_missing_values_make_them_floats() -> None:
    schema = infer_schema({"supplier_id": [1, 2, 1, 2], "x": [1.5, 2.5, 4, 8]})
    clean = schema.clean({"supplier_id": [1.0, np.nan], "x": [1, 2]})[0]
    assert clean["supplier_id"].iloc[0] == "1"
    assert pd.isna(clean["supplier_id"].iloc[1])


def test_lists_and_what_is_missing_or_constant_are_not_judged() -> None:
    schema = infer_schema({"x": [1.5, 2.5, 4.0], "lists": [[1], None, [2]], "none": [None] * 3, "one": ["a"] * 3})
    assert [column.name for column in schema.columns if column.role is not Role.CONSTANT] == ["x"]
    json.dumps(schema.to_dict())


def test_sellers_are_a_category_though_many_sell_once() -> None:
    """Two thirds of the rows belong to sellers with three or more, the rest to ones of their own."""
    sellers = [f"Seller {i % 20}" for i in range(400)] + [f"Shop {i}" for i in range(200)]
    frame = pd.DataFrame({"seller": sellers, "price": np.arange(600.0) % 37})
    assert infer_schema(frame)["seller"].role is Role.CATEGORICAL
    frame["seller"] = [f"Seller {i % 250}" for i in range(500)] + [f"Seller {i}" for i in range(250, 350)]
    assert infer_schema(frame)["seller"].role is not Role.CATEGORICAL
