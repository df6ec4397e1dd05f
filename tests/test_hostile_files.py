"""Files as people keep them: each gives the right reading with a note, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from workbooks import xlsx

from anomaly_detection.cli import main
from anomaly_detection.data.cells.number_texts import parse_numbers
from anomaly_detection.data.chunks import read_chunks, read_table
from anomaly_detection.data.columns.column import Role
from anomaly_detection.data.columns.schema import infer_schema
from anomaly_detection.data.formats.total_lines import said_of_last, totals_below
from anomaly_detection.errors import DataError

ROWS = 240
RNG = np.random.default_rng(0)
QUANTITY, PRICE = RNG.integers(1, 2000, ROWS), np.exp(RNG.normal(4.0, 1.0, ROWS)).round(2)
DAYS = [date(2024, 1, 1) + timedelta(days=i) for i in range(ROWS)]
KINDS = RNG.choice(["pen", "cup", "bag"], ROWS)
ARABIC = str.maketrans("0123456789.", "\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u066b")
WIDE = str.maketrans("0123456789.", "".join(chr(0xFEE0 + ord(sign)) for sign in "0123456789."))
SIGN = np.where(np.arange(ROWS) % 5 == 0, -1.0, 1.0)


def read(name: str, cell: Callable[[int], Any]) -> tuple[Any, Any]:
    """What a column of such cells is taken for, and its values."""
    frame = pd.DataFrame({name: [str(cell(i)) for i in range(ROWS)], "other": PRICE})
    schema = infer_schema(frame)
    table, _ = schema.read(frame)
    return schema[name], table.frame()[name].to_numpy() if name in table.columns else None


def side(i: int) -> str:
    return "CR" if i % 5 == 0 else "DR"


@pytest.mark.parametrize(
    ("cell", "expected", "why"),
    [
        (lambda i: f"{QUANTITY[i] / 1000:.3f}k", QUANTITY, "numbers; k is thousands"),
        (
            lambda i: f"{QUANTITY[i]}.5{'MK'[i % 2]}",
            None,
            "numbers; K is thousands; M is millions",
        ),
        (lambda i: f"{PRICE[i]:.2f} {side(i)}", SIGN * PRICE, "numbers; CR is negative"),
        (lambda i: f"{PRICE[i]:.2f}{'CR' * (i % 5 == 0)}", SIGN * PRICE, "numbers; CR is negative"),
        (lambda i: f"{PRICE[i]:.2f}{'-' * (i % 5 == 0)}", SIGN * PRICE, "numbers"),
        (lambda i: f"{PRICE[i]:.2f}".translate(WIDE), PRICE, "numbers"),
        (lambda i: f"{PRICE[i]:.2f}".translate(ARABIC), PRICE, "numbers"),
        (lambda i: f"{1000 * QUANTITY[i]:,}".replace(",", "\u00a0") + "\u00a0\u20ac", 1000 * QUANTITY, "numbers"),
        (lambda i: f"{1000 * QUANTITY[i]:,}".replace(",", "\u202f"), 1000 * QUANTITY, "numbers"),
        (lambda i: f"{PRICE[i]:.6e}".replace(".", ","), PRICE, "numbers"),
        (lambda i: f"{QUANTITY[i]} ft", QUANTITY, "numbers in ft"),
        (lambda i: f"{QUANTITY[i] % 100}%", QUANTITY % 100, "numbers in %"),
        (lambda i: f"12,{10 + i % 90},567.50", 1200567.5 + 1000.0 * (10 + np.arange(ROWS) % 90), "numbers"),
    ],
)
def test_numbers_of_many_hands(cell: Callable[[int], str], expected: Any, why: str) -> None:
    column, values = read("amount", cell)
    assert (column.role, column.reason) == (Role.NUMERIC, why)
    if expected is None:
        expected = np.where(np.arange(ROWS) % 2, 1e3, 1e6) * (QUANTITY + 0.5)
    np.testing.assert_allclose(values, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[
            ("1.2k", 1200.0),
            ("1.2 k", 1200.0),
            ("$3.4M", 3.4e6),
            ("5 bn", 5e9),
            ("2,5 Mrd.", np.nan),
            ("-1.5K", -1500.0),
        ],
        *[("12 CR", -12.0), ("12 DR", 12.0), ("12 Dr", 12.0), ("(12.00)", -12.0), ("\uff11\uff12", 12.0)],
        # A crore is no credit, a metre no million, and a thing's name no number.
        *[("5 Cr", np.nan), ("12 m", 12.0), ("5 MB", 5.0), ("5 kg", 5.0), ("12kk", np.nan), ("1.2 M5", np.nan)],
    ],
)
def test_a_number(text: str, number: float) -> None:
    np.testing.assert_equal(parse_numbers(pd.Series([text]))[0], number)


def test_sizes_and_names_are_no_thousands() -> None:
    assert read("model", lambda i: f"{QUANTITY[i] % 40}K")[0].role is Role.CATEGORICAL
    assert read("amount", lambda i: f"{QUANTITY[i] % 40}K" if i % 3 else QUANTITY[i])[0].role is Role.NUMERIC


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("booked", lambda i: f"{DAYS[i]:%y%m%d}", DAYS),
        (
            "at",
            lambda i: f"{DAYS[i].month}/{DAYS[i].day}/24 {i % 12 + 1}{'pm' if i % 2 else ' AM'}",
            [pd.Timestamp(DAYS[i]) + pd.Timedelta(hours=(i % 12 + 1) % 12 + 12 * (i % 2)) for i in range(ROWS)],
        ),
        ("ship_date", lambda i: f"{45292 + i}.25", [pd.Timestamp(day) + pd.Timedelta(hours=6) for day in DAYS]),
        ("period", lambda i: f"FY{2020 + i // 60} Q{i // 15 % 4 + 1}", None),
        ("period", lambda i: f"Q{i // 15 % 4 + 1} FY{20 + i // 60}", None),
    ],
)
def test_dates_of_many_hands(name: str, cell: Callable[[int], str], expected: Any) -> None:
    column, values = read(name, cell)
    assert column.role is Role.TIMESTAMP
    if expected is None:
        expected = [date(2020 + i // 60, 3 * (i // 15 % 4) + 1, 1) for i in range(ROWS)]
    assert pd.DatetimeIndex(values).equals(pd.DatetimeIndex(expected))


def test_six_figures_that_are_no_dates_stay_what_they_are() -> None:
    # Of a few months, without a day beyond the twelfth, or with a month 13.
    codes = [100101 + 100 * (i % 2) + i % 12 for i in range(ROWS)]
    for values in (codes, [*codes[:-1], 101301], [110001 + 7 * i for i in range(ROWS)]):
        assert read("item", lambda i, values=values: values[i])[0].role is not Role.TIMESTAMP  # type: ignore[misc]


def written(folder: Path, *below: str, header: str = "id,kind,qty,price", encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    lines = [header, *(f"A{i:04d},{KINDS[i]},{QUANTITY[i]},{PRICE[i]:.2f}" for i in range(ROWS)), *below]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("below", "left_out"),
    [
        (["Total,,9,9"], ["Total"]),
        ([",Grand Total:,9,9"], ["Grand Total:"]),
        (["Subtotal,,9,", "", "Grand total,,9,9"], ["Subtotal", "Grand total"]),
        (["Summe,,9,9"], ["Summe"]),
        (["Total,9"], ["Total"]),
        (["Total (240 lines),,9,9"], ["Total (240 lines)"]),
        # A record of what is called so has all that others have, and one below it is a record.
        (["Total,pen,9,9"], []),
        (["Total,,9,9", "A9,pen,9,9"], []),
        (["Totally other,,9,9"], []),
        (["A9,,9,9"], []),
    ],
)
@pytest.mark.parametrize("rows", [ROWS, 20])
def test_totals_below_a_table_are_no_records(tmp_path: Path, below: list[str], left_out: list[str], rows: int) -> None:
    path = written(tmp_path, *below)
    if rows < ROWS:
        first, *lines = path.read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join([first, *lines[:rows], *lines[ROWS:]]), "utf-8")
    said: list[str] = []
    frame = read_table(path, said.append)
    kept = rows + len([line for line in below if line]) - len(left_out)
    assert len(frame) == kept
    told = [one for one in said if "no record" in one]
    assert len(told) == bool(left_out)
    assert all(repr(name) in told[0] for name in left_out)
    assert not [one for one in said if "fewer fields" in one]
    chunks = read_chunks(path, 7, said.append)
    assert chunks.about_rows == kept
    pd.testing.assert_frame_equal(pd.concat(list(chunks)), frame)


@pytest.mark.parametrize("rows", [ROWS, 20])
def test_totals_among_the_records_are_left_out_and_counted(tmp_path: Path, rows: int) -> None:
    first, *lines = written(tmp_path).read_text("utf-8").splitlines(keepends=True)
    total = len(lines[4:rows:10])
    summed = [line + ",Pen total,9,\n" * (place % 10 == 4) for place, line in enumerate(lines[:rows])]
    path = tmp_path / "summed.csv"
    path.write_text("".join([first, *summed, ",*,9,\n", ",Gesamtergebnis,9,9\n"]), "utf-8")
    said: list[str] = []
    chunks = read_chunks(path, 7, said.append)
    assert "the last line is a total ('Gesamtergebnis') and no record" in said[0]
    assert f"{total + 1} lines are totals among the records, left out; the first is line 7 ('Pen total')." in said[1]
    frame = read_table(path, said.append)
    assert frame["qty"].astype(int).tolist() == list(QUANTITY[:rows])
    pd.testing.assert_frame_equal(pd.concat(list(chunks)), frame)


def test_a_printed_list_of_sap(tmp_path: Path) -> None:
    rule = "-" * 40
    lines = [f"|   | A{i:04d} | {KINDS[i]:9} | {QUANTITY[i]:5} | {PRICE[i]:8.2f} |" for i in range(20)]
    page = ["01.05.2024   Dynamic List Display   1", rule, "|   | id    | kind      | qty   | price    |", rule]
    total = f"| * |       |           | {9:5} | {9:8} |"
    path = tmp_path / "list.txt"
    path.write_text("\n".join([*page, *lines[:10], rule, *page, *lines[10:], total, rule, ""]), "utf-8")
    said: list[str] = []
    frame = read_table(path, said.append)
    assert any("it is a printed list" in one for one in said)
    assert frame.columns.tolist() == ["Unnamed: 0", "id", "kind", "qty", "price"]
    assert frame["price"].astype(float).tolist() == [round(price, 2) for price in PRICE[:20]]
    pd.testing.assert_frame_equal(pd.concat(list(read_chunks(path, 7, said.append))), frame)


def test_a_total_says_what_it_lacks() -> None:
    assert totals_below([["Total", "1"]], [True, True]) == []  # it lacks nothing
    assert totals_below([["Total", ""]], [True, False]) == []  # nor what others have
    assert totals_below([["a", "1"], ["", "Sous-total"], ["", "TOTAL"]], [True, True]) == ["Sous-total", "TOTAL"]
    assert totals_below([["*", "", "9"]], [False, True, True]) == ["*"]
    assert totals_below([["A7", "", "*"]], [True, True, False]) == []  # an order that is marked
    assert totals_below([["A7", "Total Energies", "9", ""]], [True] * 4) == []  # or not shipped
    assert totals_below([["1000", "Total", "9", "", ""]], [True] * 5) == ["Total"]
    assert totals_below([], [True]) == []
    assert said_of_last([["a", "1", "2"], ["Zusammen", "", ""]], [True, True, True], "line") == [
        "the last line ('Zusammen') lacks most of what all others have; if it is a total, delete it."
    ]
    assert not said_of_last([["a", "1", "2"], ["b", "", "9"]], [True, True, False], "line")
    assert not said_of_last([], [], "line")


def test_totals_of_a_workbook(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    rows = [[f"A{i}", str(KINDS[i]), int(QUANTITY[i])] for i in range(20)]
    sheet = [["id", "kind", "qty"], *rows, ["Total", None, int(QUANTITY[:20].sum())]]
    (tmp_path / "table.xlsx").write_bytes(xlsx({"Orders": sheet}))
    said: list[str] = []
    assert len(read_table(tmp_path / "table.xlsx", said.append)) == 20
    assert any("the last row is a total ('Total') and no record; it is left out." in one for one in said)
    sheet.insert(9, [None, "Pen Total", 7])
    (tmp_path / "table.xlsx").write_bytes(xlsx({"Orders": sheet}))
    assert len(read_table(tmp_path / "table.xlsx", said.append)) == 20
    assert any("1 row is a total among the records, left out; the first is 'Pen Total'." in one for one in said)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_wide_text_with_and_without_a_mark(tmp_path: Path, encoding: str) -> None:
    frame = read_table(written(tmp_path, encoding=encoding))
    assert list(frame.columns) == ["id", "kind", "qty", "price"]
    assert len(frame) == ROWS


def test_names_that_come_twice_and_bytes_that_are_no_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Duplicated column name"):
        read_table(written(tmp_path, header="id,kind,qty,qty"))
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n" + bytes(range(256)) * 4)
    with pytest.raises(DataError, match="binary data"):
        read_table(path)


@pytest.mark.slow
def test_the_command_line_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, models = written(tmp_path, "Total,,9,9"), tmp_path / "models"
    assert main(["train", "--data", str(path), "--output", str(models)]) == 0
    assert "the last line is a total ('Total') and no record" in capsys.readouterr().err
    model, out = models / "optimized_anomaly_detection_model.safetensors", tmp_path / "scored.csv"
    assert main(["score", str(model), str(path), "--output", str(out)]) == 0
    said = capsys.readouterr().err
    assert "the last line is a total ('Total') and no record" in said
    assert f"{ROWS} records written" in said
    assert len(read_table(out)) == ROWS


def test_a_batch_of_one_ambiguous_number_is_read_as_training_was() -> None:
    new = pd.DataFrame({"weight": ["4.899"] * 30})
    for cells, number in ((PRICE.astype(str), 4.899), ([f"{q:,}.000".replace(",", ".") for q in QUANTITY], 4899.0)):
        schema = infer_schema(pd.DataFrame({"weight": cells}))
        np.testing.assert_allclose(schema.read(new)[0].numbers("weight"), number)
