"""Codes for missing, forms that training did not have, dates beyond the calendar, money, units, truths and codes."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from anomaly_detection.alerts.scoring import as_written
from anomaly_detection.data.cells.conventions import Evidence
from anomaly_detection.data.cells.date_forms import DAY_FIRST, MONTH_FIRST
from anomaly_detection.data.cells.date_texts import _read_any, parse_dates, read_dates
from anomaly_detection.data.cells.known_dates import KnownForms
from anomaly_detection.data.cells.missing import number_codes
from anomaly_detection.data.cells.number_texts import parse_numbers
from anomaly_detection.data.columns.cleaning import ColumnCleaning, FormWarning, Unreadable, warn_of_forms
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.declarations import Declaration
from anomaly_detection.data.columns.names import names_code, split_unit, unit_in_name
from anomaly_detection.data.columns.reading import read_values
from anomaly_detection.data.columns.schema import infer_schema

ROWS = 300
RNG = np.random.default_rng(0)
USUAL = RNG.normal(20, 3, ROWS)
DAYS = pd.date_range("2024-01-01", periods=ROWS)


def table(cells: Any, name: str = "c") -> pd.DataFrame:
    return pd.DataFrame({"x": np.linspace(0.5, 9.5, len(cells)), name: cells})


def inferred(cells: Any, name: str = "c") -> Column:
    return infer_schema(table(cells, name))[name]


def cleaned(training: Any, batch: Any, name: str = "c") -> tuple[list[Any], ColumnCleaning]:
    """A batch's cells as a table of training cells has them read, and what was done."""
    clean, report = infer_schema(table(training, name)).clean(table(batch, name))
    return clean[name].tolist(), report.columns.get(name, ColumnCleaning())


def every(nth: int, code: Any, cells: Any) -> list[Any]:
    return [code if i % nth == nth - 1 else cell for i, cell in enumerate(cells)]


# Codes for missing.


@pytest.mark.parametrize("code", [-200.0, -999.0, 9999.0, 99999.0, -9999.0, 999.9, -32768.0])
def test_a_repeated_code_far_outside_is_missing(code: float) -> None:
    for cells in (every(20, code, USUAL.round(2)), [f"{cell:.10g}" for cell in every(20, code, USUAL)]):
        column = inferred(cells)
        assert column.codes == (f"{code:.10g}",)
        assert f"{code:.10g} for missing" in column.reason
        assert column.missing == pytest.approx(0.05)
        read, done = cleaned(cells, [cells[19], cells[0]])
        assert np.isnan(read[0])
        assert read[1] == pytest.approx(float(cells[0]))
        assert done.coded == {f"{code:.10g}": 1}


def test_an_isolated_code_is_an_error_that_stays() -> None:
    cells = USUAL.copy()
    cells[7] = -999.0
    assert inferred(cells).codes == ()
    assert cleaned(cells, cells)[0][7] == -999.0


def test_values_that_only_look_like_codes_stay() -> None:
    assert number_codes(RNG.normal(0, 200, ROWS).round(-2)) == ()  # losses in hundreds
    assert number_codes(RNG.integers(0, 1500, ROWS).astype(float)) == ()  # 999 among them
    assert number_codes(np.array([0.0, 99.0] * 50)) == ()  # nothing that it could lie outside of
    assert number_codes(np.array(every(20, 23.5, USUAL))) == ()


def test_a_code_of_one_column_counts_in_others_where_it_lies_outside() -> None:
    wide = np.array(every(20, -200.0, RNG.uniform(2, 1500, ROWS)))
    mixed = np.array(every(20, -200.0, RNG.normal(0, 400, ROWS)))
    assert number_codes(wide[wide > 0]) == ()
    schema = infer_schema({"a": every(20, -200.0, USUAL), "b": wide, "c": mixed})
    assert [schema[name].codes for name in "abc"] == [("-200",), ("-200",), ()]


def test_codes_among_dates() -> None:
    for code in ("1900-01-01", "2099-12-31"):
        column = inferred(every(20, code, DAYS.strftime("%Y-%m-%d")))
        assert column.codes == (code,)
        assert inferred(pd.to_datetime(every(20, code, DAYS.strftime("%Y-%m-%d")))).codes == (code,)
    read, done = cleaned(every(20, "1900-01-01", DAYS.strftime("%Y-%m-%d")), ["1900-01-01", "1900-01-02"])
    assert pd.isna(read[0])
    assert read[1] == pd.Timestamp("1900-01-02")
    assert done.coded == {"1900-01-01": 1}
    assert inferred([str(day.date()) for day in DAYS]).codes == ()


# Forms that training did not have.


def test_a_new_order_of_dates_is_read_where_the_batch_tells_it() -> None:
    iso, new = DAYS.strftime("%Y-%m-%d"), DAYS.strftime("%d.%m.%Y")
    read, done = cleaned(iso, new)
    assert read == list(DAYS)
    assert "day.month.year" in done.note
    read, done = cleaned(DAYS.strftime("%m/%d/%Y"), DAYS.strftime("%d/%m/%Y"))
    assert read == list(DAYS)
    assert "day/month/year" in done.note


def test_a_new_order_of_dates_is_undecided_where_the_batch_does_not_tell_it() -> None:
    read, done = cleaned(DAYS.strftime("%Y-%m-%d"), ["01.02.2024", "03.04.2024", "2024-05-06", "soon"])
    assert [pd.isna(cell) for cell in read] == [True, True, False, True]
    assert done.undecided == 2
    assert done.unread == {"soon": 1}
    # Of another mark than that of the training too.
    assert cleaned(DAYS.strftime("%m/%d/%Y"), ["01.02.2024", "2024-05-06"])[1].undecided == 1
    # A few slips do not turn an order that is known.
    slips = [*DAYS.strftime("%m/%d/%Y")[:100], "13/01/2024"]
    assert cleaned(DAYS.strftime("%m/%d/%Y"), slips)[0][3] == pd.Timestamp("2024-01-04")


def test_new_commas_are_read_where_the_batch_tells_them() -> None:
    points = [f"{cell:.3f}" for cell in USUAL]
    read, done = cleaned(points, ["1,250", "0,125", "12,5"])
    assert read == [1.25, 0.125, 12.5]
    assert "decimal" in done.note
    assert cleaned(points, ["1,250", "1,250.5"])[0] == [1250.0, 1250.5]
    read, done = cleaned(points, ["1,250", "3,125", "25"])
    assert np.isnan(read[:2]).all()
    assert done.undecided == 2
    german = [f"{cell:.2f}".replace(".", ",") for cell in USUAL]
    assert cleaned(german, ["1.250,50", "2.125"])[0] == [1250.5, 2125.0]
    assert cleaned(german, ["12.5", "0.25"])[0] == [12.5, 0.25]


def test_a_table_in_parts_is_read_as_one() -> None:
    schema = infer_schema(table(DAYS.strftime("%Y-%m-%d")).assign(n=[f"{cell:.3f}" for cell in USUAL]))
    batch = table(DAYS.strftime("%d.%m.%Y")).assign(n=[f"{cell:.3f}".replace(".", ",") for cell in USUAL])
    batch.loc[7, "n"] = "0,125"
    parts = [batch.iloc[first : first + 7] for first in range(0, ROWS, 7)]
    settled = schema.settled(parts)
    joined = pd.concat([settled.clean(part, 0)[0] for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(joined, schema.clean(batch)[0])
    assert schema.settled([table(DAYS.strftime("%Y-%m-%d")).assign(n="1.5")]) is schema
    assert settled["c"].dates == ("d.m.y",)


def test_a_file_without_text_is_not_gone_through_before() -> None:
    class Detector:
        class preprocessor:  # noqa: N801
            schema_ = infer_schema(table(DAYS))

        def require_fitted(self) -> None: ...

    class Parts:
        types = pa.schema([("x", pa.float64()), ("c", pa.timestamp("us"))])

        def __iter__(self) -> Any:
            yield pytest.fail("read")

    detector: Any = Detector()
    assert as_written(detector, Parts()) is detector


def test_what_could_not_be_read_is_told_in_a_sentence() -> None:
    schema = infer_schema(table(DAYS.strftime("%Y-%m-%d")).assign(n=every(3, "see invoice", USUAL)))
    told = Unreadable()
    for cells in (["01.02.2024", "2024-01-01"], ["03.04.2024", "2024-01-01"]):
        report = schema.clean(table(cells).assign(n=["see invoice", "odd"]), 0)[1]
        told.add(report, schema.known_words())
    assert told.sentence() == (
        "4 cells count as missing, for they could not be read: 2 in 'c' (a form that the training records did not have,"
        " and that may mean two things: write them as those), 2 in 'n' (such as 'odd')."
    )
    assert Unreadable().sentence() == ""


def test_programs_are_warned_of_forms() -> None:
    schema = infer_schema(table(DAYS.strftime("%Y-%m-%d")).assign(n=USUAL))
    with pytest.warns(FormWarning, match="2 cells count as missing"):
        warn_of_forms(schema.clean(table(["01.02.2024", "03.02.2024"]).assign(n=1.5))[1])
    with pytest.warns(FormWarning, match=r"read as day\.month\.year"):
        warn_of_forms(schema.clean(table(["01.02.2024", "13.02.2024"]).assign(n=1.5))[1])
    warn_of_forms(schema.clean(table(["2024-01-01", "soon"]).assign(n=1.5))[1])


# Dates beyond the calendar.


FAR = every(3, datetime.date(9999, 12, 31), [day.date() for day in DAYS])
FAR[1] = datetime.date(1, 1, 1)


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series(FAR),
        pd.Series(FAR, dtype=pd.ArrowDtype(pa.date32())),
        pd.Series(np.array(FAR, dtype="datetime64[s]")),
        pd.Series([day.isoformat() for day in FAR]),
        pd.Series([f"{day.day:02d}.{day.month:02d}.{day.year:04d}" for day in FAR]),
        pd.Series([f"{day.year:04d}{day.month:02d}{day.day:02d}T000000Z" for day in FAR]),
        pd.Series([day.year * 10_000 + day.month * 100 + day.day for day in FAR]),
    ],
    ids=["dates", "arrow", "seconds", "iso", "day first", "compact", "yyyymmdd"],
)
def test_dates_that_cannot_be_counted_are_missing_and_counted(cells: pd.Series[Any]) -> None:
    clean, report = infer_schema(table(cells, "date")).clean(table(cells, "date"))
    assert sum(report.columns["date"].coded.values()) == 101
    assert clean["date"].notna().sum() == ROWS - 101
    assert clean["date"].min() == pd.Timestamp("2024-01-01")
    assert clean["date"].max().year == 2024


def test_clocks_that_were_never_set_and_empty_dates_of_databases_are_missing() -> None:
    seconds = every(4, 0, 1_700_000_000 + 3600 * np.arange(ROWS))
    read, done = cleaned(seconds, seconds, "event_time")
    assert read[0] == pd.Timestamp(1_700_000_000, unit="s")
    assert done.coded == {"0": 75}
    assert pd.isna(cleaned(DAYS.strftime("%Y-%m-%d"), ["0000-00-00", "2024-01-01"])[0][0])


def test_odd_but_possible_dates_stay() -> None:
    cells = ["2091-05-21", "1916-02-03", *DAYS.strftime("%Y-%m-%d")]
    read, done = cleaned(cells, cells)
    assert read[:2] == [pd.Timestamp("2091-05-21"), pd.Timestamp("1916-02-03")]
    assert done.coded == {}


# Timestamps of common systems.


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01 06:17:00 UTC",
        "20240101T061700",
        "20240101T061700Z",
        "20240101T071700+0100",
        "20240101061700",
        "Mon, 01 Jan 2024 06:17:00 +0000",
        "Mon, 01 Jan 2024 01:17:00 EST",
        "2024-01-01T07:17:00+01:00[Europe/Paris]",
        "Mon Jan  1 06:17:00 UTC 2024",
        "Mon Jan 01 2024 07:17:00 GMT+0100 (CET)",
        "01/01/2024 06.17.00",
        "01/Jan/2024:06:17:00 +0000",
        "01JAN2024:06:17:00",
        "2024-01-01-06.17.00.000000",
    ],
)
def test_timestamps_of_common_systems(text: str) -> None:
    assert parse_dates(pd.Series([text]))[0] == np.datetime64("2024-01-01T06:17:00")


@pytest.mark.parametrize(
    "text",
    [
        "5. M\u00e4rz 2024",
        "5. M\u00e4r 2024",
        "Dienstag, 5. M\u00e4rz 2024",
        "mardi 5 mars 2024",
        "5 de marzo de 2024",
        "05-mar-2024",
        "5 mar\u00e7o 2024",
        "5. 3. 2024",
        "2024\u5e743\u67085\u65e5",
        "2024\ub144 3\uc6d4 5\uc77c",
    ],
)
def test_dates_of_other_languages(text: str) -> None:
    assert parse_dates(pd.Series([text]), DAY_FIRST)[0] == np.datetime64("2024-03-05")


def test_a_column_of_dates_loses_no_month_that_english_names_otherwise() -> None:
    short = ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"]
    cells = [f"{day.day:02d}. {short[day.month - 1]} {day.year}" for day in DAYS]
    assert cleaned(cells, cells)[0] == list(DAYS)
    czech = [f"{day.day}. {day.month}. {day.year}" for day in DAYS]
    assert cleaned(czech, czech)[0] == list(DAYS)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("W13/2024", "2024-03-25"),
        ("KW13/24", "2024-03-25"),
        ("Q2'24", "2024-04-01"),
        ("003/2024", "2024-03-01"),
        ("P14 2024", "2024-12-01"),
        ("03.2024", "2024-03-01"),
    ],
)
def test_periods_of_erp_systems(text: str, first: str) -> None:
    cells = [text, text.replace("2024", "2023").replace("24", "23")] * 40
    assert cleaned(cells, cells)[0][0] == pd.Timestamp(first)


def test_weeks_and_years_first_are_told_by_the_column() -> None:
    weeks = [f"2024-{1 + i % 52:02d}" for i in range(ROWS)]
    assert inferred(weeks).dates == ("y-w",)
    assert cleaned(weeks, ["2024-13", "2024-W14"])[0] == [pd.Timestamp("2024-03-25"), pd.Timestamp("2024-04-01")]
    assert inferred([f"2024-{1 + i % 12:02d}" for i in range(ROWS)]).dates == ()
    for form, told in (("%y/%m/%d", "y/m/d"), ("%d/%m/%y", "d/m/y"), ("%m/%d/%y", "m/d/y")):
        column = inferred(DAYS.strftime(form))
        assert column.dates == (told,)
        assert cleaned(DAYS.strftime(form), DAYS.strftime(form)[:40])[0] == list(DAYS[:40])
    assert parse_dates(pd.Series(["2024-W53", "2020-W53", "2024-W00"]), DAY_FIRST).astype(str).tolist() == [
        "NaT",
        "2020-12-28T00:00:00.000000000",
        "NaT",
    ]
    stamps = DAYS.strftime("%Y%m%d061700").astype(np.int64)
    assert inferred(stamps).epoch == "yyyymmddhhmmss"
    assert inferred(stamps.astype(str)).role is Role.TIMESTAMP


# Money and units.


@pytest.mark.parametrize(
    "text", ["R$ 261,96", "261,96 kr", "261,96 z\u0142", "261,96 K\u010d", "RM 261,96", "Rs. 261,96", "\u20ba261,96"]
)
def test_money_of_the_world(text: str) -> None:
    assert parse_numbers(pd.Series([text]), decimal_comma=True)[0] == 261.96
    assert inferred([text.replace("261", str(i)) for i in range(ROWS)]).role is Role.NUMERIC


@pytest.mark.parametrize(
    "text", ["\u20ac 20,-", "20.-", "20,-- kr", "R 20.00", "S/ 20", "20\u5143", "Rp20.00", "KSh 20"]
)
def test_a_dash_for_no_cents_is_no_minus(text: str) -> None:
    assert parse_numbers(pd.Series([text]), decimal_comma="," in text)[0] == 20.0
    assert parse_numbers(pd.Series(["20.00-"]))[0] == -20.0


@pytest.mark.parametrize(
    ("text", "number"),
    [("~1718", 1718), ("ca. 7", 7), ("12.50*", 12.5), ("12.50 \u00b9", 12.5), ("1,250.00- EUR", -1250), ("10 ST", 10)],
)
def test_marks_beside_a_number_are_left_out(text: str, number: float) -> None:
    assert parse_numbers(pd.Series([text]))[0] == number


def test_a_percent_sign_is_a_hundredth_beside_fractions_alone() -> None:
    rates = RNG.integers(1, 40, ROWS)
    mixed = [f"{rate} %" if i % 3 else str(rate / 100) for i, rate in enumerate(rates)]
    assert cleaned(mixed, mixed)[0] == pytest.approx((rates / 100).tolist())
    assert cleaned([f"{rate} %" for rate in rates], ["5 %", "7"])[0] == [5, 7]
    assert cleaned(every(3, "5 %", rates.astype(str)), ["5 %", "7"])[0] == [5, 7]
    read, done = cleaned(rates / 100, ["5 %", "0.07"])
    assert read == pytest.approx([np.nan, 0.07], nan_ok=True)
    assert done.unread == {"# %": 1}
    assert "5 % may be 5 or 0.05" in done.note


def test_before_a_power_of_ten_a_comma_is_decimal() -> None:
    cells = [f"{cell:.3E}".replace(".", ",") for cell in USUAL]
    assert inferred(cells).decimal_comma is True
    assert cleaned(cells, ["1,799E+02"])[0] == [179.9]


def test_codes_that_begin_like_a_currency_are_codes() -> None:
    for code in ("R12", "R1.2", "S/1234", "MAD12", "FR123", "RM101", "TRY-1", "PEN01", "Rs5", "12MAD"):
        assert np.isnan(parse_numbers(pd.Series([code]))[0]), code
    for money in ("MAD 12", "RM12.00", "Rs.12", "12 TL", "US$12", "12kr", "kr. 12", "CHF12"):
        assert parse_numbers(pd.Series([money]))[0] == 12.0, money


def test_many_texts_are_read_as_each_by_itself() -> None:
    """Of many those that begin otherwise than numbers do are left out before any is read."""
    signs = ("", "~", "(", "-", "\u20ac", "US$", "S/ ", "order ", "SCMS-")
    words = ("ca. ", "approx ", "about -USD ", "Etwa ", "rs. ", "kr. ", "RM", "lei ", "euros ", "FCFA ", "KSh ", "mad ")
    texts = [front + number for front in (*signs, *words) for number in ("12.50", "1,250.00", ".5")]
    numbers = [parse_numbers(pd.Series([text]))[0] for text in texts]
    assert np.isnan(numbers).sum() < len(texts) / 3
    np.testing.assert_array_equal(parse_numbers(pd.Series(texts)), numbers)


def test_a_comma_before_which_a_nought_stands_is_decimal() -> None:
    cells = every(2, "1.250,500", [f"0,{i:03d}" for i in range(ROWS)])
    column = inferred(cells)
    assert column.decimal_comma is True
    assert cleaned(cells, ["0,125", "1.250,500"])[0] == [0.125, 1250.5]


def test_points_and_commas_are_what_the_table_has_elsewhere() -> None:
    pieces = RNG.integers(1, 40_000, ROWS)
    written = [f"{count:,}".replace(",", ".") for count in pieces]
    assert cleaned(written, written)[0] == pieces.tolist()
    frame = table([f"{value:.2f}".replace(".", ",") for value in USUAL], "amount")
    frame["kept"] = frame.pop("x").round(2).astype(str)
    frame["tons"] = [f"{count},000" for count in pieces % 90 + 1]
    frame["pieces"] = [["1.250", "2.500"][i % 2] for i in range(ROWS)]
    # A column with points for certain leaves it open.
    assert infer_schema(frame).clean(frame)[0]["tons"].max() >= 1000
    clean = infer_schema(frame.drop(columns="kept")).clean(frame)[0]
    assert clean["tons"].tolist() == (pieces % 90 + 1).tolist()
    assert clean["pieces"].tolist()[:2] == [1250, 2500]


def test_units_of_a_column_are_converted_or_refused_aloud() -> None:
    cells = [f"{kilos:.0f} kg" if kilos < 900 else f"{kilos / 1000:.1f} t" for kilos in RNG.uniform(1, 1500, ROWS)]
    column = inferred(cells)
    assert column.unit == "kg"
    assert "turned from t too" in column.reason
    assert cleaned(cells, ["938 kg", "1.8 t", "500"])[0] == pytest.approx([938.0, 1800.0, 500.0])
    odd = every(4, "3 h", cells)
    assert "h cannot be turned into it" in inferred(odd).reason
    assert cleaned(odd, ["3 h", "2 kg"])[1].unread == {"# h": 1}
    # Training without units, a name that tells the unit, and a batch of several units.
    assert cleaned(RNG.integers(1, 3000, ROWS), ["1.8 t", "5"], "weight_kg")[0] == [1800.0, 5.0]
    read, done = cleaned(RNG.integers(1, 3000, ROWS), ["1.8 t", "938 kg", "940 kg"])
    assert read == [1800.0, 938.0, 940.0]
    assert "units are turned into kg" in done.note
    assert "are not converted" in inferred(every(2, "\u20ac 5.50", [f"$ {cell:.2f}" for cell in USUAL])).reason


# Categories.


def test_na_is_a_region_among_other_codes() -> None:
    assert set(cleaned(["NA", "EU", "APAC"] * 100, ["NA", "EU", "", "n/a"])[0][:2]) == {"NA", "EU"}
    assert pd.isna(cleaned(["NA", "red", "blue"] * 100, ["NA", "red"])[0][0])
    assert pd.isna(cleaned(["NA", "YES", "NO"] * 100, ["NA", "YES"])[0][0])
    assert cleaned(["NA", "EU", "APAC"] * 100, ["NA", "EU", "", "n/a"])[1].blank == 2


@pytest.mark.parametrize(
    "training", [["true", "false"], ["True", "False"], ["ja", "nein"], ["Yes", "No"], ["oui", "non"], [True, False]]
)
def test_yes_and_no_are_one_pair_in_any_spelling(training: list[Any]) -> None:
    yes, no = map(str, training)
    for batch in (["true", "FALSE"], ["1", "0"], [1, 0], [1.0, 0.0], ["Ja", "nein"], ["si", "no"], [True, False]):
        assert cleaned(training * 100, batch)[0] == [yes, no]
    assert cleaned([1, 0] * 100, ["true", "no"])[0] == [1.0, 0.0]
    assert cleaned(["1", "0"] * 100, [True, False])[0] == [1.0, 0.0]


def test_numbers_that_name_things_are_categories() -> None:
    zips = RNG.choice([11203, 90036, 42420, 33311], ROWS)
    for name in ("zip code", "PostalCode", "customer zipcode", "Product Code", "account", "account_number"):
        assert inferred(zips, name).role is Role.CATEGORICAL, name
    for name in ("WERKS", "Kundennummer", "Vendor No.", "store_nbr", "Plant", "Artikel-Nr.", "Sold-to party"):
        assert inferred(RNG.choice([1100, 1200, 1300], ROWS), name).role is Role.CATEGORICAL, name
    # Numbers of users, which are days of JD Edwards' too.
    assert inferred(RNG.integers(100_101, 100_131, ROWS), "Created By").role is Role.CATEGORICAL
    for name in ("account balance", "zip_count", "number of ids", "code length", "price", "supplier_reliability"):
        assert not names_code(name), name
    for name in ("customers", "week no", "Menge", "freight charge", "no_of_items", "pieces per store", "qty item"):
        assert not names_code(name), name
    assert inferred(RNG.choice([10117, 20354, 33311, 47853, 90036, 60618, 77095], ROWS)).role is Role.CATEGORICAL
    assert inferred(RNG.integers(300, 990, ROWS) * 100, "salary").role is Role.NUMERIC
    assert inferred(RNG.integers(1, 90_000, ROWS)).role is Role.NUMERIC


def test_only_a_known_unit_is_taken_from_a_name() -> None:
    for name in ("T", "temp", "C6H6(GT)", "CO(GT)", "PT08.S1(CO)", "Revenue (M)"):
        assert split_unit(name) == (name, "")
    assert split_unit("Weight (Kilograms)") == ("Weight", "kg")
    assert split_unit("Freight Cost (USD)") == ("Freight Cost", "USD")
    assert [unit_in_name(name) for name in ("weight_kg", "Length (m)", "temp_m", "min")] == ["kg", "m", None, None]


@pytest.mark.parametrize("forms", [DAY_FIRST, MONTH_FIRST, (), ("y/m/d", "d.m.y", "y-w"), ("m/d/y", "d/m/y")])
def test_what_is_read_as_a_known_form_is_what_the_long_way_reads(forms: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    days, months = ["1", "01", "9", "13", "28", "31", "00"], ["1", "06", "12", "13", "Jan", "sept", "MARCH", "Foo"]
    years, times = ["2024", "24", "68", "69", "1600", "1677", "2262", "0001"], ["", " 06:17", "T06:17:09.5", " 24:00"]
    made = {
        mark.join(parts) + time
        for first, second, last, mark, time in zip(
            *(rng.choice(some, 2_000) for some in (days, months, years, list("-/. "), times)), strict=True
        )
        for parts in ((first, second, last), (last, second, first))
    }
    texts, known = pd.Series(sorted({*made, "Pre-PQ Process", "Mon,\t1 Jan 24"}), dtype=object), KnownForms(forms)
    plain, turned = _read_any(texts, forms), [known(text) for text in texts]
    # Among them are days that there are not, which NumPy refuses; without them it reads all that is known.
    for told, long in zip(read_dates(texts, forms), plain, strict=True):
        np.testing.assert_array_equal(told, long)
    is_known = np.array([one is not None for one in turned])
    for one in np.array(turned, dtype=object)[is_known & np.isnat(plain[0])]:
        with pytest.raises(ValueError, match=r"out of range|parsing"):
            np.datetime64(one)
    real = is_known & ~np.isnat(plain[0])
    assert real.sum() > 20
    for told, long in zip(read_dates(texts[real], forms), plain, strict=True):
        np.testing.assert_array_equal(told, long[real])


@pytest.mark.parametrize(
    ("name", "cells", "first"),
    [
        ("BUDAT", ["20240223", "00000000", *["20240417", "20240517"] * 40, "20240231"], "2024-02-23"),
        ("posted", ["20240223", *(f"202405{day}" for day in range(10, 31))], "2024-02-23"),
        ("Lieferdatum", ["45345", "45346", "45400"], "2024-02-23"),
        ("Period", ["202402", "202312", "202401"], "2024-02-01"),
        ("booked in", [*(f"{year}{month:02d}" for year in (2024, 2023) for month in range(1, 13))], "2024-01-01"),
        ("fiscper", ["2024016", "2023002", "2024002"], "2024-12-01"),
        ("KW", ["202413", "202352", "202401"], "2024-03-25"),
        ("order date", ["2024054", "2023365", "2024001"], "2024-02-23"),
        ("jde date", ["124054", "123365", "124001"], "2024-02-23"),
    ],
)
def test_dates_as_numbers_of_erp_systems(name: str, cells: list[str], first: str) -> None:
    read, done = cleaned(cells, cells, name)
    assert inferred(cells, name).role is Role.TIMESTAMP
    assert str(read[0])[:10] == first
    assert not done.unread
    # Codes of twelve groups end as months do.
    assert inferred([*range(200101, 200113)] * 20, "size").role is not Role.TIMESTAMP


def test_days_in_eight_figures_and_in_iso_form_are_the_same() -> None:
    iso, compact = DAYS.strftime("%Y-%m-%d"), DAYS.strftime("%Y%m%d")
    for training, batch in ((iso, compact), (compact, iso), (iso, every(3, "20240131", iso))):
        read, done = cleaned(training, batch)
        assert not done.unread
        assert read[:2] == list(DAYS[:2])
    # A point or a mark leaves open which is the day.
    read, done = cleaned(compact, ["01.02.2024", "2024-02-01"])
    assert (read[1], done.undecided) == (pd.Timestamp("2024-02-01"), 1)


def test_times_of_a_clock_are_their_hours() -> None:
    minutes = RNG.integers(0, 1440, ROWS)
    plain = minutes // 60 * 100 + minutes % 60
    hours = [f"{minute // 60}h" for minute in minutes]
    for cells in (plain, plain.astype(float), [f"{one:04d}" for one in plain], [f"{one:04d}59" for one in plain]):
        column = inferred(cells, "dep_time")
        assert column.reason == "times of a clock, by the hour"
        assert cleaned(cells, cells, "dep_time")[0] == hours
        again = infer_schema(table(cells, "dep_time"), {"dep_time": Declaration.of(column)})
        assert again["dep_time"].unit == column.unit
    assert cleaned(every(300, 7450, plain), [0, 2400, 7450, None], "dep_time")[0][:3] == ["0h", "0h", "7450"]
    assert cleaned(plain, ["09:30", "17:45:10", "late"], "dep_time")[0] == ["9h", "17h", "late"]
    for name, cells in (("dep_time", minutes), ("dep_time", plain // 50 * 50), ("lead time", plain), ("pieces", plain)):
        assert inferred(cells, name).role is Role.NUMERIC


# Read at once, and each distinct text.


def _digits(rng: np.random.Generator) -> str:
    whole, part = ("".join(map(str, rng.integers(0, 10, rng.integers(0, most)))) for most in (9, 12))
    return f"{'-' * (rng.random() < 0.2)}{whole or '0'}{f'.{part}' * (rng.random() < 0.8)}"


@pytest.mark.parametrize("seed", range(6))
def test_texts_as_programs_write_them_are_read_as_all_others_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells: list[Any] = [_digits(rng) for _ in range(60)] + ["-0", "-999", "12345678901234567"]
    days = [str(day)[: rng.choice([10, 16, 19])] for day in DAYS[:60]] + ["1677-12-31 10:00"] * (seed % 3 == 0)
    for texts, more, role in (
        (cells, ["1e300", "1,5", "nan", " 7", "5.", ".5", "inf5"], Role.NUMERIC),
        (days, ["2024-1-1"], Role.TIMESTAMP),
    ):
        texts = [*texts, *rng.choice(["", *more * (seed % 2)], 5), None]
        for code in ((), ("-999", "2024-01-05")):
            column = Column("c", role, "", codes=code, decimal_comma=[False, None][seed % 4 == 3])
            fast, slow = (read_values(pd.Series(texts, dtype=kind), column, 0) for kind in ("string", object))
            assert fast[0].tobytes() == slow[0].tobytes()
            assert fast[1].names == slow[1].names
            assert fast[2] == slow[2]
            told = Evidence(), Evidence()
            for one, kind in zip(told, ("string", object), strict=True):
                one.add(pd.Series(texts, dtype=kind), column)
            assert told[0] == told[1]
