"""Table files as people keep them: read right or refused in one line that says what to do, never shifted or cut."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workbooks import XLS, ods, packed, xlsx

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main
from anomaly_detection.data import sources
from anomaly_detection.data.chunks import read_chunks, read_table
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.table_writer import write_table
from anomaly_detection.errors import DataError
from anomaly_detection.synthetic import generate

ROWS = "".join(f"{i},x,{i}\n" for i in range(9))


def read(path: Path, raw: str | bytes, **layout: Any) -> tuple[pd.DataFrame, list[str]]:
    """Write, read whole and in chunks, which must agree; give the table and what was said of it."""
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    said: list[str] = []
    whole = read_table(path, said.append, Layout(**layout))
    for rows in (1, 3):
        chunks = list(read_chunks(path, rows, lambda remark: None, Layout(**layout)))
        assert [len(chunk) for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
        joined = pd.concat([chunk.astype(object) for chunk in chunks])
        pd.testing.assert_frame_equal(joined, whole.astype(object), check_index_type=False)
    return whole, said


def refused(path: Path, raw: str | bytes, **layout: Any) -> str:
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    with pytest.raises(DataError) as caught:
        read_table(path, lambda remark: None, Layout(**layout))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "line", "advice"),
    [
        ('a,b,c,d\n0,"x\ny",1,2\n9,plain \ntext,3,4\n', "4 fields in line 4, saw 2", "with a line end into quotes"),
        ("id,price,qty\n" + "".join(f"{i},1,5,{i}\n" for i in range(9)), "3 fields in line 2, saw 4", "decimal commas"),
        ("id,price,note\n" + ROWS + "9,1,5,\n", "3 fields in line 11, saw 4", "decimal commas"),
        ("a,b\n" + ROWS, "2 fields in line 2, saw 3", "give the header a name for every column"),
        ("a;b;c;d\n" + ROWS.replace(",", ";"), "4 fields, as the header has, saw at most 3", "as many names"),
        ("a,b,c,d\n1,2,3,4\n1,foo\nbar,3,4\n", "4 fields in line 3, saw 2, and the rest in line 4", "quotes"),
        ('a,b,c\n1,"x" y,2\n2,"z, z",3\n', "in line 2 a quote stands within quotes", "doubled"),
        ('id,text,n\n0,"x",1\n9,"abc,4\n' + ROWS.replace("x", '"x"'), "in line 3 a quote", "quotes"),
        ('id,text,n\n0,"x",1\n9,"abc,4\n' + ROWS, "in line 3 a quote opens that is not closed", "quotes"),
        (
            'id,text,n\n0,"x",1\n9,"abc,4\n' + ROWS + '9,d",4\n',
            "in line 3 a quote opens that is closed 10 lines",
            "double",
        ),
    ],
    ids=[
        "two lines",
        "commas",
        "a comma",
        "short header",
        "long header",
        "broken",
        "within",
        "reopened",
        "never closed",
        "swallowed",
    ],
)
def test_lines_that_disagree_with_the_header_are_an_error(tmp_path: Path, raw: str, line: str, advice: str) -> None:
    message = refused(tmp_path / "a.csv", raw)
    assert line in message
    assert advice in message


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            'id,text,n\n1,"5\\" pipe, steel",2\n2,"C:\\temp \\\\ x",3\n',
            [["1", '5" pipe, steel', "2"], ["2", "C:\\temp \\ x", "3"]],
        ),
        ('id,text,n\n1,"ends in \\\\",2\n2,"a \\"b\\"",3\n', [["1", "ends in \\", "2"], ["2", 'a "b"', "3"]]),
        ('id, "text", n\n1, "a, b", 2\n2, "c", 3\n', [["1", "a, b", "2"], ["2", "c", "3"]]),
        ('id\tt\tn\n1\t"hello\t2\n2\t6" pipe\t3\n', [["1", '"hello', "2"], ["2", '6" pipe', "3"]]),
        ('a,b,c\n1,"x\ry",2\n2,"x\r\ny\nz",3\n', [["1", "x\ry", "2"], ["2", "x\r\ny\nz", "3"]]),
        ('a,b,c\r1,"x\ry",2\r2,z,3\r', [["1", "x\ry", "2"], ["2", "z", "3"]]),
        ('a,b,c\n1,"No 5, House B\nCity, ZIP",3\n2,z,3\n', [["1", "No 5, House B\nCity, ZIP", "3"], ["2", "z", "3"]]),
        ("a,b,c,\n1,x,2\n2,z,3\n", [["1", "x", "2"], ["2", "z", "3"]]),
        ("a,b,c\n1,x,2\n2,z,3\n\x1a", [["1", "x", "2"], ["2", "z", "3"]]),
    ],
    ids=["backslash", "two", "blanks", "literal", "CR", "CR only", "several lines", "delimiter", "end of file"],
)
def test_quotes_and_line_ends_of_other_programs(tmp_path: Path, raw: str, expected: list[list[str]]) -> None:
    frame, _ = read(tmp_path / "a.csv", raw)
    assert frame.shape[1] == 3
    assert frame.to_numpy().tolist() == expected


def test_one_spoiled_line_costs_no_other_record(tmp_path: Path) -> None:
    """Whatever is taken out of a line or put into it: an error, or all other records as they were."""
    random, cells = Random(0), ["x", "Street 5, House B", 'say "hi"', "line\nbreak", '5" pipe', "", "3,5", "a;b"]
    refusals = 0
    for _ in range(300):
        width, rows, delimiter = random.randint(2, 6), random.randint(3, 20), random.choice(",;\t")
        records = [[f"PO-{row}", *(random.choice(cells) for _ in range(width - 1))] for row in range(rows)]
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=random.choice((0, 1)))
        ends = []
        for record in [[f"column {place}" for place in range(width)], *records]:
            writer.writerow(record)
            ends.append(file.tell())
        spoiled = random.randrange(rows)
        place = random.randrange(ends[spoiled], ends[spoiled + 1] - 1)
        put, text = random.choice(['"', delimiter, "\n", ""]), file.getvalue()
        path = tmp_path / "a.csv"
        path.write_text(text[:place] + put + text[place + (not put) :], newline="")
        try:
            found = read_table(path, lambda remark: None).to_numpy().tolist()
        except DataError:
            refusals += 1
            continue
        assert [record for row, record in enumerate(records) if row != spoiled and record not in found] == []
    assert 50 < refusals < 250


def test_no_record_vanishes_in_a_quote_that_never_closes(tmp_path: Path) -> None:
    lines = [f"{i},part {i},{i}.5" for i in range(600)]
    lines[5], lines[15] = '5,"part 5,5.5', '15,part 15",15.5'
    frame, said = read(tmp_path / "a.csv", "id,name,price\n" + "\n".join(lines) + "\n")
    assert len(frame) == 600
    assert frame["name"].iloc[[4, 5, 15]].tolist() == ["part 4", '"part 5', 'part 15"']
    assert "read as a part of the text" in said[0]


@pytest.mark.parametrize(
    ("raw", "columns"),
    [
        ("sep=;\na;b\n1,5;2\n", ["a", "b"]),
        ("\ufeffSEP=|\r\na,x|b,y\r\n1,5|2,5\r\n", ["a,x", "b,y"]),
        ('"a, x";"b, y"\n"1, 2";"3, 4"\n"1, 2";"3, 4"\n', ["a, x", "b, y"]),
        ("a;b,c\n1;2,3\n2;4,5\n", ["a", "b,c"]),
        ("id\tCity, State\tn\n1\tReno, NV\t2\n2\tErie, PA\t3\n", ["id", "City, State", "n"]),
        ("Weight (kg, net);Price\n1,5;2,5\n2,5;3,5\n", ["Weight (kg, net)", "Price"]),
    ],
)
def test_delimiters_that_are_told_or_told_apart(tmp_path: Path, raw: str, columns: list[str]) -> None:
    frame, said = read(tmp_path / "a.csv", raw)
    assert list(frame.columns) == columns
    assert said == []


def test_lines_above_the_header_are_found_and_said(tmp_path: Path) -> None:
    table = "id;name;price\n1;x;2,5\n;;\n2;y;3,5\n"
    for titles in ("Monthly report\nCreated 2024-01-05\n\n", "Monthly report;;\nCreated 2024-01-05;;\n;;\n"):
        frame, said = read(tmp_path / "a.csv", titles + table)
        assert frame.to_dict("list") == {"id": ["1", "2"], "name": ["x", "y"], "price": ["2,5", "3,5"]}
        assert "the header is taken to be line 4" in said[0]
        assert "'Monthly report'; 'Created 2024-01-05'" in said[0]
        assert "1 blank line is left out, the first is line 6" in said[1]
        assert read(tmp_path / "a.csv", titles + table, skip_rows=3)[0].equals(frame)
    facts = "Customer:;ACME;\nDate:;2024-01-05;\n\n"
    assert list(read(tmp_path / "a.csv", facts + table)[0].columns) == ["id", "name", "price"]
    assert "nothing below line 99" in refused(tmp_path / "a.csv", table, skip_rows=99)
    frame, _ = read(tmp_path / "a.csv", "Monthly report;;\n" + table, skip_rows=0)
    assert list(frame.columns) == ["Monthly report", "Unnamed: 1", "Unnamed: 2"]
    # A header with few names is none of these, nor is one that is a name short.
    frame, _ = read(tmp_path / "a.csv", "id;;;\n1;2;3;4\n5;6;7;8\n")
    assert list(frame.columns) == ["id", "Unnamed: 1", "Unnamed: 2", "Unnamed: 3"]


def test_a_table_without_a_header(tmp_path: Path) -> None:
    raw = "PO-1,2.5,2024-01-05\nPO-2,3.5,2024-01-06\n"
    frame, said = read(tmp_path / "a.csv", raw, header=False)
    assert frame.to_dict("list") == {"x0": ["PO-1", "PO-2"], "x1": ["2.5", "3.5"], "x2": ["2024-01-05", "2024-01-06"]}
    assert said == []
    frame, _ = read(tmp_path / "a.csv", "Report\n\n" + raw, header=False, skip_rows=1)
    assert frame["x0"].tolist() == ["PO-1", "PO-2"]
    _, said = read(tmp_path / "a.csv", raw)
    assert "line 1 names the columns, and one of them '2.5'" in said[0]
    assert "--no-header" in said[0]
    for years in ("product,2023,2024\nx,1,2\n", "0,1,2\nx,1,2\n"):
        assert read(tmp_path / "a.csv", years)[1] == []


def test_what_only_a_late_line_says(tmp_path: Path) -> None:
    """After some hundred lines of a kind a line is only looked at where it differs."""
    many = "1,x,2\n" * 300
    frame, said = read(tmp_path / "a.csv", "a,b,c,\n" + many + "1,x,2,late\n" + many)
    assert list(frame.columns) == ["a", "b", "c", "Unnamed: 3"]
    assert frame.iloc[300].tolist() == ["1", "x", "2", "late"]
    assert said == []
    frame, said = read(tmp_path / "a.csv", "a,b,c\n" + many + "1,x\n" + many + ",,\n,x,\n")
    assert frame.shape == (602, 3)
    assert "1 blank line is left out, the first is line 603" in said[0]
    assert "1 line has fewer fields than the header, the first is line 302" in said[1]
    assert "in line 302, saw 4" in refused(tmp_path / "a.csv", "a,b,c\n" + many + "1,5,x,2\n" + many)
    assert "in line 302 a quote" in refused(tmp_path / "a.csv", "a,b,c\n" + many + '1,"x"y,2\n' + many + '1,"x",2\n')
    assert read(tmp_path / "a.csv", "a,b,c\n" + many + '1, "x, y", 2\n' + many)[0]["b"].iloc[300] == "x, y"


@pytest.mark.parametrize("later", ["a,b\n1,2\n", "a,b\n" + "1,2,3\n" * 9, 'a,b\n1,2\n"3', "a,b\n1,2\n3,\xe4\n"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, later: str) -> None:
    (tmp_path / "a.csv").write_text("a,b\n" + "1,2\n" * 9)
    chunks = read_chunks(tmp_path / "a.csv", 3)
    (tmp_path / "a.csv").write_text(later, encoding="latin-1")
    with pytest.raises(DataError, match="changed while it was read"):
        list(chunks)


def test_blank_lines_are_counted(tmp_path: Path) -> None:
    frame, said = read(tmp_path / "a.csv", "a;b\n1;2\n;\n\n3;4\n ; \n;;\n")
    assert frame.to_numpy().tolist() == [["1", "2"], ["3", "4"]]
    assert said == [f"{tmp_path / 'a.csv'}: 3 blank lines are left out, the first is line 3."]
    for raw in ("a;b\n;\n;\n", ";;\n;;\n"):
        assert "expected" in refused(tmp_path / "a.csv", raw)


def test_files_put_together_have_their_header_once(tmp_path: Path) -> None:
    one = "\ufeffid;mode\n" + "".join(f"{place};Sea\n" for place in range(300))
    frame, said = read(tmp_path / "a.csv", "\ufeff" + one + one.replace("id;mode", "ID;Mode"))
    assert frame["id"].tolist() == [*map(str, range(300))] * 2
    assert said == [f"{tmp_path / 'a.csv'}: 1 line repeats the header, left out; the first is line 302."]


def test_a_line_of_units_below_the_names_is_left_out(tmp_path: Path) -> None:
    records = "".join(f"{place};{place}.5;Sea\n" for place in range(6))
    frame, said = read(tmp_path / "a.csv", "weight;cost;mode\n[kg];EUR;\n" + records)
    assert frame["weight"].tolist() == [*map(str, range(6))]
    assert said == [
        f"{tmp_path / 'a.csv'}: the line below the names holds units ('[kg]', 'EUR') and no record; it is left out."
    ]
    assert not read(tmp_path / "a.csv", "weight;cost;mode\nkg;7;\n" + records)[1]
    # Other words are told of and kept.
    frame, said = read(tmp_path / "a.csv", "weight;cost;mode\nfree;none;\n" + records)
    assert len(frame) == 7
    assert "if they are units, delete it" in said[0]


def test_whole_numbers_with_gaps_stay_whole(tmp_path: Path) -> None:
    ids = [2**53 + 1, None, 2**60 + 7, 5]
    table = pa.table({"id": ids, "small": pa.array([1, 2, None, 4], pa.uint8()), "full": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    frame, _ = read(tmp_path / "a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert [None if pd.isna(one) else one for one in frame["id"]] == ids
    assert frame.dtypes.astype(str).tolist() == ["Int64", "UInt8", "int64"]
    for name in ("b.csv", "b.parquet"):
        write_table(frame, tmp_path / name)
    assert read_table(tmp_path / "b.csv")["id"].tolist() == ["" if one is None else str(one) for one in ids]
    assert pq.read_table(tmp_path / "b.parquet").to_pydict() == table.to_pydict()
    rows = [{"id": one} for one in ids]
    for data in (table, rows, {"id": ids}, pd.DataFrame({"id": ids}, dtype=object).to_dict("records")):
        assert to_frame(data)["id"].iloc[0] == 2**53 + 1
        assert to_frame(data)["id"].dtype == "Int64"


def test_what_pandas_stored_as_an_index_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.5, 2.5]}, index=pd.Index(["PO-1", "PO-2"], name="order"))
    frame.to_parquet(tmp_path / "a.parquet")
    frame.set_index([[7, 8]], append=True).to_parquet(tmp_path / "b.parquet")
    frame.reset_index(drop=True).to_parquet(tmp_path / "c.parquet")
    for name, columns in (("a", ["x", "order"]), ("b", ["x", "order", "__index_level_1__"]), ("c", ["x"])):
        path = tmp_path / f"{name}.parquet"
        assert list(read(path, path.read_bytes())[0].columns) == columns
    assert to_frame(pq.read_table(tmp_path / "a.parquet"))["order"].tolist() == ["PO-1", "PO-2"]


def test_a_carriage_return_in_a_cell_survives_writing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x\ry", "\r\n", "z"], "b": ["1", "2", "3\n"]})
    for name in ("a.csv", "a.tsv", "a.csv.gz"):
        write_table(frame, tmp_path / name)
        pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)
    write_table(frame.iloc[2:], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b'a,b\nz,"3\n"\n'


# JSON


def test_json_as_pandas_writes_a_frame(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [7, 8], "price": [1.5, None]})
    frame.to_json(tmp_path / "a.json")
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.json"), frame)


def test_json_in_lines_and_as_an_array(tmp_path: Path) -> None:
    records = [{"id": 2**53 + 1, "name": "x", "n": 1}, {"id": None, "n": 2.5, "tags": ["a"]}, {"id": 3, "ok": True}]
    lines = "\n".join(map(json.dumps, records)) + "\n"
    for name, raw in (
        ("a.jsonl", lines.encode()),
        ("a.ndjson", b"\xef\xbb\xbf" + lines.encode()),
        ("a.json", json.dumps(records, indent=1).encode("utf-16")),
        ("a.jsonl.gz", gzip.compress(lines.encode())),
    ):
        frame, _ = read(tmp_path / name, raw)
        assert list(frame.columns) == ["id", "name", "n", "tags", "ok"]
        assert frame["id"].iloc[[0, 2]].tolist() == [2**53 + 1, 3]
        assert frame["n"].dtype == np.float64
        assert frame["tags"].iloc[1] == ["a"]
        assert frame.isna().sum().tolist() == [1, 2, 1, 2, 2]
    frame, _ = read(tmp_path / "a.json", '{"a": [1, 2], "b": ["x", null]}')
    assert frame["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "is empty"),
        ('{"id": 1}\n{"id": 2', "no complete JSON.*line 2 column"),
        ("[1, 2]", "value 1 is of type int; expected objects"),
        ('{"a": 1}\n[{"a": 1}]', "value 2 is of type list"),
        ('{"data": [{"id": 1}]}', "a list of objects as 'data'; give that list"),
        ('{"id": 1, "id": 2}', "names 'id' twice"),
        ("[" * 100_000, "no complete JSON"),
        ("[]", "no columns|no rows"),
        ('{"a": [1, 2], "b": [1]}', "one length"),
    ],
)
def test_json_that_is_no_table(tmp_path: Path, raw: str, message: str) -> None:
    text = refused(tmp_path / "a.json", raw)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(text)


# Workbooks


BOOK: dict[str, list[list[Any]]] = {
    "orders": [
        ["Report of May"],
        [],
        ["id", "price", "day", "ok", "code", "gap"],
        [7, 1.5, datetime.datetime(2024, 1, 5), True, "A1", 1],
        [8, None, datetime.datetime(2024, 1, 6, 12), False, 10234, None],
        [],
        [9, 2, None, True, None, 3],
    ],
    "empty": [],
}


def test_workbooks(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    frame, said = read(tmp_path / "a.xlsx", xlsx(BOOK))
    assert frame["id"].tolist() == [7, 8, 9]
    assert frame.dtypes.astype(str).tolist() == ["int64", "float64", "datetime64[us]", "bool", "object", "Int64"]
    assert frame["day"].tolist()[:2] == [pd.Timestamp(2024, 1, 5), pd.Timestamp(2024, 1, 6, 12)]
    assert frame["code"].tolist()[:2] == ["A1", 10234]
    assert "the header is taken to be row 3" in said[0]
    assert "'Report of May'" in said[0]
    assert "1 blank row is left out" in said[1]
    assert read(tmp_path / "a.xlsx", xlsx(BOOK), skip_rows=2)[0].equals(frame)
    bare = {"a": [[1, "x"], [2, "y"]]}
    assert read(tmp_path / "a.ods", ods(bare), header=False)[0].to_dict("list") == {"x0": [1, 2], "x1": ["x", "y"]}
    old, _ = read(tmp_path / "a.xls", XLS)
    assert old.to_dict("list") == {
        "id": [7, 8],
        "name": ["x", "y"],
        "day": [*map(pd.Timestamp, ["2024-01-05", "2024-01-06"])],
    }
    assert read(tmp_path / "a.xlsx.gz", gzip.compress(xlsx(BOOK)))[0].equals(frame)


def test_several_sheets(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    book = {**BOOK, "2025": [["a"], [1]]}
    message = refused(tmp_path / "a.xlsx", xlsx(book))
    assert "several sheets: 'orders', '2025'; say with --sheet" in message
    assert read(tmp_path / "a.xlsx", xlsx(book), sheet="2025")[0].to_dict("list") == {"a": [1]}
    assert "no sheet '2024'; it has 'orders', 'empty', '2025'" in refused(tmp_path / "a.xlsx", xlsx(book), sheet="2024")


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.xlsx", b"", "no workbook"),
        ("a.xls", b"<html><table>", "a page of the web"),
        ("a.xlsx", xlsx(BOOK)[:-40], "damaged"),
        ("a.xlsx", xlsx({"a": []}), "is empty"),
        ("a.xlsx", xlsx({"a": [["x", "y"]]}), "no records"),
        ("a.xlsx", xlsx({"a": [["x", "x"], [1, 2]]}), "duplicated"),
        ("a.csv", xlsx(BOOK), "name it .gz, .zip, .xlsx"),
    ],
    ids=["nothing", "a page", "damaged", "no sheet", "no records", "a name twice", "another name"],
)
def test_workbooks_that_are_none(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    pytest.importorskip("python_calamine")
    assert message in refused(tmp_path / name, raw)


def test_workbooks_need_a_library_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    assert "run pip install 'mlx-iforest[excel]'" in refused(tmp_path / "a.xlsx", xlsx(BOOK))


def test_options_that_a_format_has_no_use_for(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    for name, raw in (("a.parquet", (tmp_path / "a.parquet").read_bytes()), ("a.json", b'[{"a": 1}]')):
        assert "leave --skip-rows out" in refused(tmp_path / name, raw, skip_rows=1)
        assert "leave --no-header out" in refused(tmp_path / name, raw, header=False)
        assert "leave --sheet out" in refused(tmp_path / name, raw, sheet="x")
    assert "leave --sheet out" in refused(tmp_path / "a.csv", "a\n1\n", sheet="x")
    with pytest.raises(DataError, match="from 0 up"):
        Layout(skip_rows=-1)


# Archives


def test_archives_of_one_table(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet")
    parquet = (tmp_path / "a.parquet").read_bytes()
    droppings = {"__MACOSX/._a.csv": b"\0", "sub/.DS_Store": b"\0", "sub/": b""}
    for name, raw, cell in (
        ("a.zip", packed({"sub/a.csv": "a\n1\n2\n", **droppings}), "1"),
        ("a.csv.zip", packed({"b.json": '[{"a": 1}]'}), 1),
        ("a.ZIP", packed({"a.PARQUET": parquet}), 1),
        ("a.parquet.gz", gzip.compress(parquet), 1),
        ("a.txt.gz", gzip.compress(b"a\n1\n"), "1"),
    ):
        assert read(tmp_path / name, raw)[0]["a"].iloc[0] == cell


def test_archives_of_anything_else(tmp_path: Path) -> None:
    assert "holds 2 files (a.csv, b.csv); expected one" in refused(
        tmp_path / "a.zip", packed({"a.csv": "a", "b.csv": "b"})
    )
    assert "holds no file" in refused(tmp_path / "a.zip", packed({"x/": ""}))
    assert "(a.pdf) has an unknown extension" in refused(tmp_path / "a.zip", packed({"a.pdf": "a"}))
    assert "not a complete zip" in refused(tmp_path / "a.zip", b"PK\x03\x04")
    assert "not a complete gzip" in refused(tmp_path / "a.json.gz", gzip.compress(b"[]")[:-3])
    damaged = bytearray(packed({"a.csv": "a,b\n" + "1,2\n" * 99}))
    damaged[50] ^= 0xFF
    assert "not a complete zip" in refused(tmp_path / "a.zip", bytes(damaged))


def lying(raw: bytes, size: int) -> bytes:
    """An archive that states another size of its only file."""
    changed = bytearray(raw)
    true = zipfile.ZipFile(io.BytesIO(raw)).infolist()[0].file_size.to_bytes(4, "little")
    for place in (raw.find(true), raw.rfind(true)):
        changed[place : place + 4] = size.to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize("kind", ["gz", "zip", "lying zip", "xlsx"])
def test_a_file_that_would_fill_the_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "xlsx":
        pytest.importorskip("python_calamine")
    monkeypatch.setattr(sources, "BOMB_BYTES", 200_000)
    monkeypatch.setattr(sources, "BLOCK", 1 << 12)
    text = "a,b\n" + "1,2\n" * 90_000
    raw = {
        "gz": lambda: gzip.compress(text.encode()),
        "zip": lambda: packed({"a.csv": text}),
        "lying zip": lambda: lying(packed({"a.csv": text}), 1000),
        "xlsx": lambda: packed({"[Content_Types].xml": text}),
    }[kind]()
    name = {"gz": "a.csv.gz", "xlsx": "a.xlsx"}.get(kind, "a.zip")
    assert "grows to more than 0.0002 GB and 100 times its size" in refused(tmp_path / name, raw)
    monkeypatch.setattr(sources, "BOMB_BYTES", 400_000)
    if kind == "gz":
        assert len(read_table(tmp_path / name)) == 90_000


# The commands


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    frame = generate("classic", 200, seed=3).frame[["timestamp", "lead_time", "order_quantity", "supplier"]]
    AnomalyDetectionAPI().fit(frame).save_model(folder / "model.safetensors")
    frame.to_csv(folder / "data.csv", index=False)
    return folder


class Input(io.TextIOWrapper):
    """A standard input that is no file of the system."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw))


def test_standard_input(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    frame = read_table(work / "data.csv").head(50)
    frame.to_csv(tmp_path / "data.csv", index=False)
    raw = (tmp_path / "data.csv").read_bytes()
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "a.parquet")
    for more in ([], ["--chunk-rows", "30"]):
        command = ["score", str(work / "model.safetensors"), *more, "--output"]
        assert main([*command, str(tmp_path / "a.csv"), str(tmp_path / "data.csv")]) == 0
        for given in (
            raw,
            gzip.compress(raw),
            packed({"data.csv": raw}),
            (tmp_path / "a.parquet").read_bytes(),
            frame.to_json(orient="records", lines=True).encode(),
        ):
            monkeypatch.setattr(sys, "stdin", Input(given))
            assert main([*command, str(tmp_path / "b.csv"), "-"]) == 0
            assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    capsys.readouterr()
    for given, said in ((b"", "standard input is empty"), (b"a\n1\n", "Missing column")):
        monkeypatch.setattr(sys, "stdin", Input(given))
        assert main(["explain", str(work / "model.safetensors"), "-", "--row", "1"]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="Standard input cannot be read: it is closed"):
        read_table("-")


def test_a_workbook_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("python_calamine")
    for raw in (xlsx(BOOK), ods({"a": [["id"], [7]]}), XLS):
        monkeypatch.setattr(sys, "stdin", Input(raw))
        assert read_table("-", lambda remark: None)["id"].iloc[0] == 7


def test_the_file_behind_standard_input_is_not_overwritten(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(raw := (work / "data.csv").read_bytes())
    os.link(path, tmp_path / "hard.csv")
    (tmp_path / "soft.csv").symlink_to(path)
    for name in ("data.csv", "hard.csv", "soft.csv"):
        with path.open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            command = ["score", str(work / "model.safetensors"), "-", "--output", str(tmp_path / name), "--top", "3"]
            assert main(command) == 2
        assert "is the file with the records, which would be lost" in capsys.readouterr().err
        assert path.read_bytes() == raw


def test_every_command_says_where_the_table_lies(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = (work / "data.csv").read_text()
    (tmp_path / "a.csv").write_text("3 lines,of,other,things\n" * 3 + raw)
    model, data = str(work / "model.safetensors"), str(tmp_path / "a.csv")
    for command in (["score", model, data], ["explain", model, data, "--row", "2"], ["judge", model, data]):
        assert main([*command, "--skip-rows", "3"]) == 0
        assert main([*command, "--skip-rows", "2"]) == 2
        capsys.readouterr()
        assert main([*command, "--skip-rows", "4", "--no-header"]) == 2
        assert "Missing column" in capsys.readouterr().err
    assert main(["train", "--data", data, "--skip-rows", "3", "--id", "no such", "--output", str(tmp_path)]) == 2
    assert "the columns are" in capsys.readouterr().err
    assert main(["train", "--skip-rows", "3", "--output", str(tmp_path)]) == 2
    assert "are for your own records" in capsys.readouterr().err


def test_a_type_that_only_later_records_tell(work: Path, tmp_path: Path) -> None:
    frame = read_table(work / "data.csv").head(20).astype(object)
    frame["odd"], frame["flag"] = [None] * 10 + [["x"]] * 10, [None] * 10 + [True] * 10
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    target = tmp_path / "a.parquet"
    command = ["score", str(work / "model.safetensors"), str(tmp_path / "a.jsonl"), "--output", str(target)]
    assert main([*command, "--chunk-rows", "5"]) == 0
    written = pq.read_table(target)
    assert written.column("odd").to_pylist() == frame["odd"].tolist()
    assert written.column("flag").to_pylist() == frame["flag"].tolist()


def test_scoring_adds_to_a_parquet_file_with_gaps(work: Path, tmp_path: Path) -> None:
    order = pd.Series([None, *range(2**53 + 1, 2**53 + 40)], dtype="Int64")
    frame = read_table(work / "data.csv").head(40).assign(order=order)
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "a.parquet")
    for name in ("a.csv", "b.parquet"):
        for more in ([], ["--chunk-rows", "9"]):
            command = ["score", str(work / "model.safetensors"), str(tmp_path / "a.parquet"), "--output"]
            assert main([*command, str(tmp_path / name), *more]) == 0
            written = read_table(tmp_path / name)["order"]
            assert [str(one) for one in written][1:] == [str(2**53 + i) for i in range(1, 40)]
