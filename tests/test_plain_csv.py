"""Arrow's reader gives what Python's own gives, cell for cell, of every file that it is given; the writer likewise."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly_detection.data.formats import csv_lines
from anomaly_detection.data.formats.csv_files import CsvFile
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.data.sources import Source
from anomaly_detection.data.table_writer import write_table
from anomaly_detection.errors import DataError

CELLS = st.one_of(
    st.sampled_from(["", "1.50", " 7", "N/A", "a b", 'say "hi"', "x,y", "x;y", "two\nlines", "two\r\nlines", "é€"]),
    st.text(st.characters(codec="cp1252", exclude_characters="\0\x1a\ufeff"), max_size=6),
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A CSV file as programs write it, or with cells that only some quote."""
    width = draw(st.integers(2, 4))
    rows = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8))
    text = io.StringIO(newline="")
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(text, delimiter=draw(st.sampled_from(",;\t|")), lineterminator=end, quoting=quoting)
    writer.writerows([[f"column {place}" for place in range(width)], *rows])
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]))
    return (text.getvalue() + draw(st.sampled_from(["", end]))).encode(encoding)


def both(path: Path, raw: bytes, rows: int = 3) -> CsvFile | None:
    """Read a file both ways, which must agree; None where it is refused or not for Arrow."""
    path.write_bytes(raw)
    try:
        file = CsvFile(Source(path), Layout())
    except DataError:
        return None
    if not file._is_plain:
        return None
    whole = file.read()
    for size in (1, rows, len(whole) + 1):
        fast, slow = list(file._plain_chunks(size)), list(file._any_chunks(size))
        assert [len(part) for part in fast] == [len(part) for part in slow]
        for one, other in zip(fast, slow, strict=True):
            pd.testing.assert_frame_equal(one, other)
    pd.testing.assert_frame_equal(whole, pd.concat(slow, ignore_index=True))
    return file


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=files())
def test_both_readers_give_the_same_cells(tmp_path: Path, raw: bytes) -> None:
    both(tmp_path / "a.csv", raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'a,b\n1,x"y\n2,"x ""y"""\n3,"two\nlines"\n',
        b"sep=;\na;b\n1;2\n3;4\n",
        b"Report of May\n\na,b,c\n1,2,3\n4,5,6\n7,8,9\n",
        b"a,b\r1,2\r3,4\r",
        b"a,b\n1,2\n\n3,4\n\n\n",
        b'"a\nb",c\n1,2\n3,4\n',
        "\ufeffa;b\n1,5;ü\n2,5;€\n".encode(),
        "a;b\n1,5;ü\n2,5;€\n".encode("cp1252"),
        b"a,b\n1,2",
    ],
)
def test_arrow_reads_what_is_plain(tmp_path: Path, raw: bytes) -> None:
    assert both(tmp_path / "a.csv", raw) is not None


@pytest.mark.parametrize(
    "raw", [b"a,b,c\n1,2,3\n4,5\n", b"a,b\n1,2\n,\n3,4\n", b'a,b\n1, "2,3"\n', b"a,b\n1,2\n  \n3,4\n"]
)
def test_the_rest_is_left_to_pythons_reader(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(raw)
    assert not CsvFile(Source(tmp_path / "a.csv"), Layout())._is_plain


def test_records_longer_than_a_block_are_read(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    assert both(tmp_path / "a.csv", f"a,b\n1,2\n{long},\u20ac{long}\n3,4\n".encode()) is not None


def test_a_file_that_changed_since_it_was_looked_through_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for changed in (b"a,b\n1,2\n3,4,5\n", b"a,b\n1,2\n", b"a,b\n1,2\n3,\xff\n"):
        path.write_bytes(b"a,b\n1,2\n3,4\n")
        file = CsvFile(Source(path), Layout())
        path.write_bytes(changed)
        with pytest.raises(DataError, match="changed while it was read"):
            file.read()


def by_pandas(frame: pd.DataFrame, separator: str) -> bytes:
    """What `DataFrame.to_csv` writes, with the ends of lines that Unix has."""
    written = io.StringIO(newline="")

    class Lines:
        def write(self, line: str) -> None:
            written.write(line.removesuffix("\r\n") + "\n")

    frame.to_csv(Lines(), index=False, sep=separator, lineterminator="\r\n")
    return written.getvalue().encode()


NUMBERS = st.floats(allow_nan=True) | st.sampled_from(
    [0.1, -0.0, 1e-5, 9.9e-5, 1e-4, 12345678901.5, 1e22, 5.0, float("inf")]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(CELLS, NUMBERS, st.integers(-(2**62), 2**62), st.booleans(), CELLS), max_size=8),
    separator=st.sampled_from([",", "\t"]),
    missing=st.booleans(),
)
def test_lines_are_those_that_pandas_writes(tmp_path: Path, cells: list[tuple], separator: str, missing: bool) -> None:
    frame = pd.DataFrame(cells, columns=["a, b", "number", "whole", "yes", 'the "last"'])
    frame = frame.astype({"number": float, "whole": np.int64, "yes": bool, "a, b": str, 'the "last"': object})
    if missing:
        frame["a, b"] = frame["a, b"].where(frame["yes"])
    path = tmp_path / ("a.tsv" if separator == "\t" else "a.csv")
    write_table(frame, path)
    assert path.read_bytes() == by_pandas(frame, separator)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_frames_of_any_kind_are_written(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_lines, "_MOST_BYTES", 10)
    texts = pd.DataFrame({"a": pd.Series(["x", "", "y,z"], dtype=str), "b": [1.5, np.nan, 2.0]})
    dates = pd.DataFrame({"a": pd.date_range("2024-01-01", periods=2), "b": [[1], None]})
    alone = pd.DataFrame({"a": ["", "x"]})
    for frame in (texts, texts.iloc[1:], texts.iloc[:0], dates, alone):
        write_table(frame, tmp_path / name)
        raw = (tmp_path / name).read_bytes()
        assert (gzip.decompress(raw) if name.endswith(".gz") else raw) == by_pandas(frame, ",")
