"""Errors in single records: each kind does what it says, in text and in typed columns, and touches nothing else."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.data.cells.number_texts import parse_numbers
from anomaly_detection.data.columns.schema import infer_schema
from anomaly_detection.evaluation.cell_styles import DateStyles, number_like
from anomaly_detection.evaluation.injection import ERROR_KINDS, INJECTED_KINDS, Injected, inject
from anomaly_detection.evaluation.record_errors import RECORD_ERRORS
from anomaly_detection.evaluation.record_table import RecordTable, with_cells

ROWS = 600


def orders(text: bool) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    placed = pd.Timestamp("2023-01-02") + pd.to_timedelta(np.sort(rng.integers(0, 700, ROWS)), unit="D")
    frame = pd.DataFrame(
        {
            "order": [f"PO-{i:05d}" for i in range(ROWS)],
            "placed": placed,
            "shipped": placed + pd.to_timedelta(rng.integers(1, 20, ROWS), unit="D"),
            "carrier": rng.choice(["Northern Road", "Blue Ocean", "Skyline Air"], ROWS),
            "units": rng.integers(1, 900, ROWS),
            "price": np.round(rng.lognormal(6, 1.5, ROWS), 2),
            "stock": np.round(500 + np.cumsum(rng.normal(0, 5, ROWS)), 3),
        }
    )
    if text:
        frame["placed"] = [f"{day.month}/{day.day}/{day.year}" for day in placed]
        frame["shipped"] = frame["shipped"].dt.strftime("%d-%b-%y")
        frame["units"] = frame["units"].astype(str)
        frame["price"] = [f"{price:,.2f} USD" for price in frame["price"]]
        frame["stock"] = [f"{stock:.3f}" for stock in frame["stock"]]
    return frame


FRAMES = {"text": orders(True), "typed": orders(False)}
SCHEMAS = {name: infer_schema(frame) for name, frame in FRAMES.items()}
FORMATS = {
    "placed": r"\d{1,2}/\d{1,2}/\d{4}",
    "shipped": r"\d\d-[A-Z][a-z]{2}-\d\d",
    "units": r"-?\d+(\.\d)?",
    "price": r"-?\d{1,3}(,\d{3})*\.\d{2,3} USD",
    "stock": r"-?\d+\.\d{3}",
}


def changed(made: Injected, before: pd.DataFrame) -> dict[int, list[str]]:
    """The columns that differ, by row."""
    differs = made.frame.astype(object).ne(before.astype(object)) & ~(made.frame.isna() & before.isna())
    return {row: list(before.columns[cells]) for row, cells in enumerate(differs.to_numpy()) if cells.any()}


def pairs(kind: str, form: str, share: float = 0.1) -> list[tuple[str, Any, Any]]:
    """Column, old and new value as the schema reads them, of every changed cell; checks what all kinds keep to."""
    frame, schema = FRAMES[form], SCHEMAS[form]
    made, again = (inject(frame, schema, kinds=[kind], share=share, seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(made.frame, again.frame)
    cells = changed(made, frame)
    assert (
        list(cells) == np.flatnonzero(made.labels == -1).tolist() == np.flatnonzero(made.anomaly_types == kind).tolist()
    )
    assert len(cells) == share * ROWS
    assert all(made.columns[row] in names for row, names in cells.items())
    old, new = (schema.clean(table)[0] for table in (frame, made.frame))
    found = [(name, old[name].iat[row], new[name].iat[row]) for row, names in cells.items() for name in names]
    if form == "text" and not kind.startswith("record"):
        for row, names in cells.items():
            for name in set(names) & set(FORMATS):
                assert pd.Series([made.frame[name].iat[row]]).str.fullmatch(FORMATS[name]).all()
    return found


both = pytest.mark.parametrize("form", ["text", "typed"])


@both
@pytest.mark.parametrize(
    ("kind", "factor"),
    [("number_times_10", 10.0), ("number_times_1000", 1000.0), ("number_a_tenth", 0.1), ("sign_flipped", -1.0)],
)
def test_numbers_are_off_by_a_factor(kind: str, factor: float, form: str) -> None:
    found = pairs(kind, form)
    assert {name for name, _, _ in found} == {"units", "price", "stock"}
    for _, old, new in found:
        exact = old / 10.0 if factor == 0.1 else old * factor
        assert new == (exact if form == "typed" else pytest.approx(exact, rel=0.01))


@both
def test_sentinels_lie_outside_what_a_column_holds(form: str) -> None:
    held = SCHEMAS[form].clean(FRAMES[form])[0]
    for name, old, new in pairs("sentinel_code", form):
        values = held[name]
        assert new in (-999.0, -9999.0, 9999.0, 99999.0)
        assert old != new
        assert not values.min() <= new <= values.max()


@both
@pytest.mark.parametrize(
    ("kind", "columns"),
    [("number_of_another_row", {"units", "price", "stock"}), ("category_of_another_row", {"carrier"})],
)
def test_values_of_other_rows(kind: str, columns: set[str], form: str) -> None:
    found = pairs(kind, form)
    assert {name for name, _, _ in found} == columns
    held = SCHEMAS[form].clean(FRAMES[form])[0]
    assert all(old != new and new in set(held[name]) for name, old, new in found)


@both
@pytest.mark.parametrize(("kind", "years"), [("date_a_year_later", 1), ("date_far_in_the_future", 40)])
def test_dates_in_other_years(kind: str, years: int, form: str) -> None:
    found = pairs(kind, form)
    assert {name for name, _, _ in found} == {"placed", "shipped"}
    assert all(new == old + pd.DateOffset(years=years) for _, old, new in found)


@both
def test_day_and_month_change_places(form: str) -> None:
    for _, old, new in pairs("day_and_month_swapped", form):
        assert (old.day, old.month, old.year) == (new.month, new.day, new.year)
        assert old != new


@both
def test_two_dates_change_places(form: str) -> None:
    found = iter(pairs("dates_swapped", form))
    for (first, one, other), (second, now_other, now_one) in zip(found, found, strict=True):
        assert (first, second) == ("placed", "shipped")
        assert (one, other) == (now_one, now_other)


@both
def test_typos_are_one_slip_from_the_word_and_no_other_word(form: str) -> None:
    carriers = set(FRAMES[form]["carrier"])
    for name, old, new in pairs("typo_in_a_category", form):
        assert name == "carrier"
        assert new not in carriers
        assert abs(len(old) - len(new)) <= 1
        assert sorted(new) == sorted(old) if len(old) == len(new) else set(new) <= set(old)


@both
def test_copies_are_of_another_record_under_a_number_of_their_own(form: str) -> None:
    frame = FRAMES[form]
    made = inject(frame, SCHEMAS[form], kinds=["record_copied"], share=0.1, seed=4)
    assert made.frame["order"].equals(frame["order"])
    rest = [name for name in frame.columns if name != "order"]
    kept = set(made.frame.loc[made.labels == 1, rest].itertuples(index=False, name=None))
    copies = list(made.frame.loc[made.labels == -1, rest].itertuples(index=False, name=None))
    assert len(copies) == 60
    assert all(copy in kept for copy in copies)
    assert (made.frame.dtypes == frame.dtypes).all()
    pairs("record_copied", form)


def test_shifted_text_stands_a_column_too_far_left() -> None:
    frame = FRAMES["text"]
    made = inject(frame, SCHEMAS["text"], kinds=["record_shifted_by_a_column"], share=0.1, seed=4)
    for row, names in changed(made, frame).items():
        first = frame.columns.get_loc(names[0])
        old, new = list(frame.iloc[row]), list(made.frame.iloc[row])
        assert new == [*old[:first], *old[first + 1 :], ""]
        assert made.columns[row] == names[0]


def test_shifted_typed_columns_stay_what_they_are() -> None:
    frame = FRAMES["typed"]
    made = inject(frame, SCHEMAS["typed"], kinds=["record_shifted_by_a_column"], share=0.1, seed=4)
    kinds = [dtype.kind for dtype in made.frame.drop(columns="units").dtypes]
    assert kinds == [dtype.kind for dtype in frame.drop(columns="units").dtypes]
    assert made.frame["units"].dtype == np.float64
    for row, names in changed(made, frame).items():
        assert len(names) > 1
        if "units" in names:
            assert made.frame["units"].iat[row] == frame["price"].iat[row]
        if names[0] in ("order", "placed", "shipped"):
            assert pd.isna(made.frame["shipped"].iat[row])
            assert made.frame["carrier"].iat[row] == str(frame["units"].iat[row])


@both
def test_stuck_readings_hold_the_value_of_the_row_before(form: str) -> None:
    frame = FRAMES[form]
    made = inject(frame, SCHEMAS[form], kinds=["reading_stuck"], share=0.05, seed=4)
    rows = np.flatnonzero(made.labels == -1)
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    assert len(rows) == 30
    assert min(map(len, runs)) >= 3
    for run in runs:
        held = made.frame["stock"].iloc[run]
        assert held.nunique() == 1
        assert held.iat[0] == frame["stock"].iat[run[0] - 1] == made.frame["stock"].iat[run[0] - 1]
    assert set(map(tuple, changed(made, frame).values())) == {("stock",)}
    pairs("reading_stuck", form)


@both
def test_readings_jump_by_half_their_range(form: str) -> None:
    values = SCHEMAS[form].clean(FRAMES[form])[0]["stock"]
    step = 0.5 * (values.quantile(0.98) - values.quantile(0.02))
    for name, old, new in pairs("reading_jumps", form):
        assert name == "stock"
        assert abs(new - old) == pytest.approx(step, rel=0.01)


def test_what_the_table_lacks_is_left_out_and_said() -> None:
    frame = orders(False)[["units", "price"]].sample(frac=1, random_state=0, ignore_index=True)
    made = inject(frame, share=0.1)
    numbers = {kind for kind in INJECTED_KINDS if ERROR_KINDS[kind].needs == "a column of numbers"}
    done = set(made.anomaly_types) - {"normal"}
    assert done == {*numbers, "ten_times_off", "record_copied"}
    assert set(made.left_out) == set(INJECTED_KINDS) - done
    assert made.left_out["dates_swapped"] == "two columns of dates"


def test_a_share_too_small_for_all_kinds_is_said() -> None:
    made = inject(FRAMES["typed"], SCHEMAS["typed"], share=0.01)
    assert (made.labels == -1).sum() <= 6
    assert made.left_out["record_copied"] == "more rows that allow it, or a larger share"


@both
def test_all_kinds_at_once_share_the_rows(form: str) -> None:
    frame = FRAMES[form]
    made = inject(frame, SCHEMAS[form], share=0.4, seed=1)
    counts = pd.Series(made.anomaly_types[made.labels == -1]).value_counts()
    assert set(RECORD_ERRORS) <= set(counts.index)
    assert counts.max() - counts.min() <= 1
    assert sorted(changed(made, frame)) == np.flatnonzero(made.labels == -1).tolist()
    # What was copied stays as it was, so that the copy is one.
    copied = made.frame.drop(columns="order").astype(str).duplicated(keep=False)
    assert copied[made.anomaly_types == "record_copied"].all()
    assert len(SCHEMAS[form].clean(made.frame)[0]) == ROWS


def test_the_pages_list_every_kind() -> None:
    root = Path(__file__).parent.parent
    page = (root / "docs" / "command_line.md").read_text("utf-8")
    for name, kind in ERROR_KINDS.items():
        assert f"| `{name}` | {kind.about} | {kind.needs} |" in page
    assert f"of {len(ERROR_KINDS)} kinds" in (root / "README.md").read_text("utf-8")


def test_columns_are_told_apart_by_rules() -> None:
    table = RecordTable(FRAMES["text"], SCHEMAS["text"])
    assert (table.numbers, table.dates) == (["units", "price", "stock"], ["placed", "shipped"])
    assert (table.categories, table.names, table.readings) == (["carrier"], ["order"], ["stock"])


@pytest.mark.parametrize(
    ("cell", "value", "comma", "expected"),
    [
        ("780.34", 7803.4, False, "7803.40"),
        ("1,234.50 USD", 12345.0, False, "12,345.00 USD"),
        ("1.234,5", 12345.0, True, "12.345,0"),
        ("13,6", 1.36, True, "1,36"),
        ("13", 1.3, False, "1.3"),
        ("0.04", 0.004, False, "0.004"),
        ("(12.50)", -125.0, False, "(125.00)"),
        ("(12.50)", 12.5, False, "12.50"),
        ("12-", 12.0, False, "12"),
        ("$ 12.5", -12.5, False, "$ -12.5"),
        ("+5 kg", -5.0, False, "-5 kg"),
        ("5 000 kg", 50000.0, False, "50 000 kg"),
        ("95 %", 950.0, False, "950 %"),
        ("0.00", -999.0, False, "-999.00"),
        ("1.5e5", 1.5e6, False, None),
        ("n/a", 3.0, False, None),
    ],
)
def test_numbers_are_written_as_their_cell_writes_its_own(
    cell: str, value: float, comma: bool, expected: str | None
) -> None:
    made = number_like(cell, value, comma)
    assert number_like("780.34", 7803.4, False, ",") == "7,803.40"
    assert made == expected
    if made is not None:
        assert parse_numbers(pd.Series([made]), comma)[0] == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize(
    ("column", "day_first", "expected"),
    [
        (["2023-03-04", "2023-11-12"], False, "2024-02-07"),
        (["3/4/2023", "11/12/2023"], False, "2/7/2024"),
        (["04/03/2023", "12/11/2023"], True, "07/02/2024"),
        (["4.3.23", "12.11.23"], True, "7.2.24"),
        (["04-Mar-23", "12-Nov-23"], False, "07-Feb-24"),
        (["Mar 04, 2023", "Nov 12, 2023"], False, "Feb 07, 2024"),
        (["3/4/2023 7:05", "11/12/2023 17:00"], False, "2/7/2024 8:09"),
        (["2023-03-04T07:05:00Z", "2023-11-12T17:00:00Z"], False, "2024-02-07T08:09:00Z"),
        (["3/4/2023 7:05 AM", "11/12/2023 5:00 PM"], False, "2/7/2024 8:09 AM"),
    ],
)
def test_dates_are_written_as_their_column_writes_its_own(column: list[str], day_first: bool, expected: str) -> None:
    time = ":" in expected
    owns = [datetime(2023, 3, 4, 7 * time, 5 * time), datetime(2023, 11, 12, 17 * time)]
    styles = DateStyles(zip(column, owns, strict=True), day_first)
    # The second cell has no zeros to drop; the column says whether it would.
    assert styles.write(column[1], owns[1], datetime(2024, 2, 7, 8 * time, 9 * time)) == expected


def test_a_date_that_its_form_cannot_tell_is_not_written() -> None:
    own = datetime(2023, 3, 4)
    styles = DateStyles([("04-Mar-23", own)], False)
    assert styles.write("04-Mar-23", own, datetime(2091, 3, 4)) is None
    assert styles.write("the fourth", own, datetime(2024, 3, 4)) is None


@pytest.mark.parametrize(
    ("column", "cell", "dtype"),
    [
        (pd.Series([1, 2, 3]), 40, "int64"),
        (pd.Series([1, 2, 3]), 0.1, "float64"),
        (pd.Series([1, 2, 3]), None, "float64"),
        (pd.Series([1, 2, 3], dtype="Int64"), 0.1, "Float64"),
        (pd.Series([1, 2], dtype="float32"), 0.1, "float64"),
        (pd.Series([1, 2]), "x", "object"),
        (pd.Series(["a", "b"], dtype="category"), "c", "category"),
        (pd.Series([True, False]), 10, "object"),
        (pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02"])), "2024-05-05", "object"),
    ],
)
def test_a_column_keeps_the_narrowest_type_that_holds_its_cells(column: pd.Series[Any], cell: Any, dtype: str) -> None:
    made = with_cells(column, {1: cell})
    assert str(made.dtype) == dtype
    assert pd.isna(made.iat[1]) if cell is None else made.iat[1] == cell
    assert made.drop(1).tolist() == column.drop(1).tolist()


def test_dates_beyond_what_can_be_counted_are_left_alone() -> None:
    frame = orders(False)
    frame["shipped"] = pd.Timestamp("2240-03-01") + (frame["shipped"] - frame["shipped"].min()) / 10
    made = inject(frame, kinds=["date_far_in_the_future"], share=0.1)
    assert set(made.columns) == {"", "placed"}


def test_time_zones_plain_dates_and_counts_of_days_stay() -> None:
    frame = orders(False)
    frame["placed"] = frame["placed"].dt.tz_localize("Europe/Berlin")
    frame["shipped"] = frame["shipped"].dt.date
    frame["due_date"] = frame["placed"].dt.strftime("%Y%m%d").astype(int)
    schema = infer_schema(frame)
    made = inject(frame, schema, kinds=["date_a_year_later"], share=0.1)
    assert set(made.columns) == {"", "placed", "shipped", "due_date"}
    assert made.frame["placed"].dtype == frame["placed"].dtype
    for row, (name,) in changed(made, frame).items():
        old, new = frame[name].iat[row], made.frame[name].iat[row]
        assert type(old) is type(new)
        assert str(new)[:4] == str(int(str(old)[:4]) + 1)
