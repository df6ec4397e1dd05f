"""Any table in, one pandas frame out."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.data.chunks import read_chunks, read_table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.table_writer import write_table
from anomaly_detection.errors import DataError


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}).lazy(),
        pa.table({"a": [1, 2], "b": ["x", "y"]}),
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        {"a": [1, 2], "b": ["x", "y"]},
        {"a": np.array([1, 2]), "b": pd.Series(["x", "y"])},
    ],
    ids=["pandas", "polars", "lazy", "pyarrow", "dicts", "columns", "arrays"],
)
def test_every_kind_of_table_gives_the_same_frame(data: object) -> None:
    frame = to_frame(data)
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].tolist() == ["x", "y"]


def test_one_dict_and_one_series_are_one_row() -> None:
    assert to_frame({"a": 1, "b": "x"}).shape == (1, 2)
    assert to_frame(pd.Series({"a": 1, "b": "x"})).iloc[0].tolist() == [1, "x"]


def test_array_columns_get_names_and_other_names_become_text() -> None:
    assert list(to_frame(np.zeros((3, 2))).columns) == ["x0", "x1"]
    assert list(to_frame(pd.DataFrame({1: [0], 2: [0]})).columns) == ["1", "2"]


def test_dicts_with_different_keys_leave_gaps() -> None:
    frame = to_frame([{"a": 1}, {"b": 2}])
    assert frame.isna().to_numpy().tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pd.DataFrame(), "no columns"),
        (pd.DataFrame({"a": []}), "no rows"),
        ([], "no columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicated column name.*'a'"),
        ("text", "Expected a table, got a str"),
        (3, "Expected a table, got a int"),
        ([1, 2], "list of dicts.*holds a int"),
        (np.zeros(3), "2-D"),
        ({"a": [1, 2], "b": [1]}, "lists of one length"),
    ],
)
def test_what_is_no_table_is_refused(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_frame(data)


def test_plain_pandas_does_not_pay_for_other_libraries() -> None:
    code = (
        "import sys, pandas as pd; from anomaly_detection.data.frames import to_frame;"
        "to_frame(pd.DataFrame({'a': [1]}));"
        "sys.exit('narwhals' in sys.modules or 'polars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_csv_keeps_every_character(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,name,x\n007,"N/A, sort of",1.50\n008,,NaN\n', encoding="utf-8")
    assert read_table(path).to_numpy().tolist() == [["007", "N/A, sort of", "1.50"], ["008", "", "NaN"]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(delimiter.join(row) for row in [["a", "b", "c"], ["1,5", "x", "y"], ["2,5", "z", "w"]]))
    if delimiter == ",":
        path.write_text("a,b,c\n1;5,x,y\n2;5,z,w\n")
    assert list(read_table(path).columns) == ["a", "b", "c"]


def test_single_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n2\n")
    assert read_table(path).to_numpy().tolist() == [["1"], ["2"]]


@pytest.mark.parametrize(
    "raw",
    [
        "país,x\nCôte d'Ivoire,1\n".encode(),
        b"\xef\xbb\xbf" + "país,x\nCôte d'Ivoire,1\n".encode(),
        b"\xef\xbb\xbf" + "país,x\nCôte d'Ivoire,1\n".encode("cp1252"),
        "país,x\nCôte d'Ivoire,1\n".encode("cp1252"),
        "país,x\nCôte d'Ivoire,1\n".encode("utf-16"),
        gzip.compress("país,x\nCôte d'Ivoire,1\n".encode()),
    ],
    ids=["utf-8", "mark", "mark before cp1252", "cp1252", "utf-16", "gzip"],
)
def test_encodings(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / ("a.csv.gz" if raw[:2] == b"\x1f\x8b" else "a.csv")
    path.write_bytes(raw)
    frame = read_table(path)
    assert list(frame.columns) == ["país", "x"]
    assert frame.iloc[0, 0] == "Côte d'Ivoire"


def test_lines_of_two_encodings_are_read_as_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("país,x\n".encode() + "Côte d'Ivoire,1\n".encode("cp1252"))
    with pytest.warns(UserWarning, match="some text is UTF-8, some Windows-1252"):
        frame = read_table(path)
    assert [*frame.columns, frame.iloc[0, 0]] == ["país", "x", "Côte d'Ivoire"]


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n\n", "is empty"),
        ("a.csv", b"\xef\xbb\xbf", "is empty"),
        ("a.csv", b"a,b\n", "no records"),
        ("a.csv", b"a,a\n1,2\n", "Duplicated"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "not a table"),
        ("a.csv", b"a,b\n1,\x002\n", "binary"),
        ("a.csv", "a,b\n1,2\n".encode("utf-32"), "UTF-32"),
        ("a.csv.gz", b"not gzip at all", "gzip"),
        ("a.parquet", b"", "is empty"),
        ("a.parquet", b"PAR1 but no more", "not a Parquet"),
        ("a.doc", b"x", "unknown extension"),
        ("a.xlsx", b"x", "no workbook|python-calamine"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for name in ("no.csv", "no.parquet"):
        with pytest.raises(DataError, match="does not exist"):
            read_table(tmp_path / name)
    with pytest.raises(DataError, match="folder"):
        read_table(tmp_path)
    (tmp_path / "odd.csv").mkdir()
    with pytest.raises(DataError, match="folder"):
        read_table(tmp_path / "odd.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.parquet"])
def test_written_tables_read_back(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"a": ["1", "2"], "b": ["x, y", 'quo"te']})
    write_table(frame, tmp_path / "new" / name)
    assert read_table(tmp_path / "new" / name).to_numpy().tolist() == frame.to_numpy().tolist()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")

    class Unwritable:
        columns = ("a",)
        shape = (1, 1)

        def to_csv(self, target: IO[str], **_: object) -> None:
            target.write("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"(?i)no space left"):
        write_table(Unwritable(), path)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["a.csv"]


def test_unwritable_targets_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]})
    (tmp_path / "file").write_text("")
    for target, message in (
        (tmp_path / "a.doc", "unknown extension"),
        (tmp_path / "file" / "a.csv", "file"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(DataError, match=message):
            write_table(frame, target)


def test_what_parquet_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not fit into Parquet"):
        write_table(pd.DataFrame({"a": ["x", 1.5]}, dtype=object), tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


CHARACTERS = st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufeff") | st.sampled_from("\r\n")
CELLS = st.text(CHARACTERS, max_size=8)
FILLED = CELLS.filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(FILLED, CELLS), min_size=1, max_size=6))
def test_csv_loses_nothing(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    frame = pd.DataFrame(rows, columns=["one", "two"])
    write_table(frame, path)
    assert read_table(path).to_numpy().tolist() == frame.to_numpy().tolist()


NO_UTF8 = pa.Array.from_buffers(
    pa.string(), 3, [None, pa.py_buffer(struct.pack("4i", 0, 1, 2, 3)), pa.py_buffer(b"\xffa\xfe")]
)
UNION = pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["x", "y", "z"])])
ESCAPED = ["\\xff", "a", "\\xfe"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (NO_UTF8, ESCAPED),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), NO_UTF8), ESCAPED),
        (UNION, ["1", "y", "3"]),
        (pa.array([1, 3_600_000_000_000, 0], pa.time64("ns")), ["00:00:00.000000001", "01:00:00.000000000"]),
        (pa.array([0, 10**9, 1], pa.timestamp("ns", "Mars/X")), ["1970-01-01 00:00:00+00:00"]),
        (pa.array([2**31 - 1, 0, 1], pa.date32()), ["5881580-07-11 00:00:00"]),
    ],
    ids=["no UTF-8", "categories", "union", "nanoseconds", "unknown zone", "far date"],
)
def test_columns_that_pandas_cannot_take(tmp_path: Path, cells: pa.Array, expected: list[str]) -> None:
    table = pa.table({"n": [1, 2, 3], "odd": cells})
    frame = to_frame(table)
    assert frame["n"].tolist() == [1, 2, 3]
    assert [str(cell) for cell in frame["odd"]][: len(expected)] == expected
    if not pa.types.is_union(cells.type) and not pa.types.is_dictionary(cells.type):
        pq.write_table(table, tmp_path / "a.parquet")
        pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet"), frame)
        assert [len(chunk) for chunk in read_chunks(tmp_path / "a.parquet", 2)] == [2, 1]


def test_wide_integers_of_polars() -> None:
    frame = to_frame(pl.DataFrame({"a": pl.Series([1, 2**100], dtype=pl.Int128), "b": ["x", "y"]}))
    assert frame["a"].tolist() == [1, 2**100]
    assert frame["b"].tolist() == ["x", "y"]


def test_whole_numbers_stay_whole_beside_a_column_that_pandas_lacks() -> None:
    frame = to_frame(pl.DataFrame({"a": pl.Series([1, 2**100], dtype=pl.Int128), "n": [None, 3]}))
    assert str(frame["n"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pa.Table.from_arrays([pa.array([1]), pa.array([1])], names=["a", "a"]), "Duplicated column name"),
        (pa.table({"n": pa.ListArray.from_arrays(pa.array([0, 1]), NO_UTF8)}), "Column 'n' of type list"),
        (pl.DataFrame({"a": ["x"]}).lazy().select(pl.col("a").cast(pl.Int64)), "cannot be computed: conversion"),
        (pl.DataFrame({"a": ["x"]}).lazy().select("q"), "cannot be computed: unable to find"),
        (pa.table({"n": [1]}, metadata={b"pandas": b'{"columns":[' + b"[" * 100_000}), "recursion"),
    ],
    ids=["twice", "nested", "cast", "no column", "deep notes"],
)
def test_tables_of_other_libraries_that_cannot_be_read(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        to_frame(data)
    assert "\n" not in str(caught.value)
    if isinstance(data, pa.Table) and message == "recursion":
        pq.write_table(data, tmp_path / "a.parquet")
        with pytest.raises(DataError, match="not a Parquet table"):
            read_table(tmp_path / "a.parquet")


def damaged(cells: pa.Array, whole: bytes, broken: bytes) -> pa.Table:
    """A table as it is sent, of which some bytes are others."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, pa.schema([("odd", cells.type)])) as writer:
        writer.write_table(pa.table({"odd": cells}))
    sent = out.getvalue()
    assert whole in sent
    return pa.ipc.open_stream(sent.replace(whole, broken)).read_all()


TWO = pa.array(["ab", "cd"])
CODED = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0], pa.int32()), TWO)


@pytest.mark.parametrize("cells", [TWO, TWO.cast(pa.binary()), CODED, pa.array([{"x": "ab"}, {"x": "cd"}])])
@pytest.mark.parametrize("ends", [(0, 2, 2 * 10**9), (0, 2, 1000), (0, 2, -5), (-(10**9), 2, 4), (0, 3, 2)])
def test_no_cell_is_read_outside_its_column(cells: pa.Array, ends: tuple[int, ...]) -> None:
    table = damaged(cells, struct.pack("3i", 0, 2, 4), struct.pack("3i", *ends))
    with pytest.raises(DataError, match=r"Column 'odd' .* is damaged"):
        to_frame(table)


@pytest.mark.parametrize("code", [2, 10**9, -1])
def test_no_code_is_looked_up_outside_its_categories(code: int) -> None:
    table = damaged(CODED, struct.pack("4i", 0, 1, 1, 0), struct.pack("4i", 0, 1, code, 0))
    with pytest.raises(DataError, match=r"Column 'odd' .* is damaged"):
        to_frame(table)


class Textless:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_names_that_features_cannot_have() -> None:
    assert list(to_frame({"q\0": [1], "a\0b": [2]}).columns) == ["q\\x00", "a\\x00b"]
    with pytest.raises(DataError, match="named by a Textless"):
        to_frame({Textless(): [1]})
