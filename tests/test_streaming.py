"""Records that come in parts, and files that are scored in chunks: as all at once, but one chunk held at a time."""

from __future__ import annotations

import gzip
import io
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection import anomaly_detection_api as api_module
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration import drift
from anomaly_detection.calibration.drift import DriftWarning, ScoreSample
from anomaly_detection.calibration.thresholds import Conformal
from anomaly_detection.cli import main
from anomaly_detection.data.chunks import CHUNK_CELLS, Chunks, read_chunks, read_table
from anomaly_detection.data.formats.csv_files import BLOCK
from anomaly_detection.data.table_writer import table_writer, write_table
from anomaly_detection.errors import DataError, NotFittedError
from anomaly_detection.settings import RECIPE
from anomaly_detection.synthetic import generate

pytestmark = pytest.mark.usefixtures("few_folds")

ROOT = Path(__file__).parent.parent
FOUND = ["anomaly_score", "severity", "p_value", "is_anomaly", "reason"]


COLUMNS = ["timestamp", "order_quantity", "lead_time", "inventory_level", "demand_forecast", "supplier", "month"]
"""Fewer than there are: most of a model's time goes into pairs of columns."""


def classic(rows: int, seed: int, anomaly_ratio: float = 0.05) -> pd.DataFrame:
    return generate("classic", rows, anomaly_ratio=anomaly_ratio, seed=seed).frame[COLUMNS].copy()


def records(rows: int = 500, seed: int = 5) -> pd.DataFrame:
    """Text as a CSV file holds it: missing values, 40 rows without any lead time, words, a new supplier."""
    frame = classic(rows, seed).astype(str)
    frame.insert(0, "order_no", [f"PO-{i:05}" for i in range(rows)])
    frame.loc[frame.index % 7 == 0, "demand_forecast"] = ""
    frame.loc[200:239, "lead_time"] = ""
    frame.loc[240:250, "lead_time"] = "to be agreed"
    frame.loc[300, "supplier"] = "Never Seen & Sons"
    frame.loc[17, "order_quantity"] = "1,250.5"
    frame.loc[18, "supplier"] = 'quoted "name",\nof two lines'
    return frame


def with_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """As many values missing as in `records`."""
    frame.loc[frame.index % 7 == 0, "demand_forecast"] = np.nan
    frame.loc[frame.index % 10 == 0, "lead_time"] = np.nan
    return frame


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models and the same records in files of several kinds."""
    folder = tmp_path_factory.mktemp("work")
    history = with_gaps(classic(900, seed=4))
    copied = pd.concat([history, history.iloc[:20]])
    clean = with_gaps(classic(1500, seed=3, anomaly_ratio=0.0))
    with pytest.MonkeyPatch.context() as patch:
        # What repeats or leaves its neighbours depends on the records that come together: two models do not look at it,
        # and one only at copies.
        groups = tuple(
            group for group in RECIPE.features.groups if group not in ("neighbours", "runs", "courses", "dates")
        )
        patch.setattr(api_module, "RECIPE", replace(RECIPE, features=replace(RECIPE.features, groups=groups)))
        AnomalyDetectionAPI().fit(copied).save_model(folder / "copies.joblib")
        groups = tuple(group for group in groups if group not in ("copies", "readings"))
        patch.setattr(api_module, "RECIPE", replace(RECIPE, features=replace(RECIPE.features, groups=groups)))
        AnomalyDetectionAPI().fit(history).save_model(folder / "model.joblib")
        AnomalyDetectionAPI(threshold=Conformal(0.3)).fit(clean).save_model(folder / "conformal.joblib")
    for name in ("a.csv", "a.tsv", "a.csv.gz"):
        write_table(records(), folder / name)
    (folder / "utf16.csv").write_bytes((folder / "a.csv").read_bytes().decode().encode("utf-16"))
    read = records().assign(
        lead_time=pd.to_numeric(records()["lead_time"], errors="coerce"),
        order_quantity=pd.to_numeric(records()["order_quantity"].str.replace(",", "")),
        supplier=records()["supplier"].astype("category"),
    )
    pq.write_table(pa.Table.from_pandas(read), folder / "a.parquet", row_group_size=130)
    return folder


def score(work: Path, data: str, target: Path, *options: str, model: str = "model.joblib") -> pd.DataFrame:
    assert main(["score", str(work / model), str(work / data), "--output", str(target), *options]) == 0
    return read_table(target)


@pytest.mark.parametrize("rows", [7, 130, 500, 10_000])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "utf16.csv", "a.parquet"])
def test_chunks_together_are_the_table(work: Path, name: str, rows: int) -> None:
    whole, chunks = read_table(work / name), list(read_chunks(work / name, rows))
    assert [len(chunk) for chunk in chunks] == [min(rows, 500 - first) for first in range(0, 500, rows)]
    joined = pd.concat([chunk.astype(object) for chunk in chunks])
    pd.testing.assert_frame_equal(joined, whole.astype(object), check_index_type=False)
    for chunk in chunks:
        same = [kind for kind in whole.columns if not isinstance(whole[kind].dtype, pd.CategoricalDtype)]
        assert chunk[same].dtypes.equals(whole[same].dtypes)


def test_chunks_can_be_read_again_and_say_how_much_there_is(work: Path) -> None:
    chunks = read_chunks(work / "a.csv.gz", 200)
    assert [len(chunk) for chunk in chunks] == [len(chunk) for chunk in chunks] == [200, 200, 100]
    assert chunks.about_rows == 500  # though one cell holds a line end
    assert chunks.is_small
    assert read_chunks(work / "a.csv").rows == CHUNK_CELLS // (1 + len(COLUMNS))
    assert read_chunks(work / "a.parquet").about_rows == 500


def test_one_late_byte_decides_about_the_encoding(tmp_path: Path) -> None:
    """A file of several blocks that is ASCII but for its end, once with a character cut by the end of a block."""
    lines = "a,b\n" + "x,1\n" * 300_000
    for text, encoding in (("é,1\n", "cp1252"), ("é,1\n", "utf-8"), ("\x81,1\n", "latin-1")):
        (tmp_path / "a.csv").write_bytes((lines + text).encode(encoding))
        last = list(read_chunks(tmp_path / "a.csv", 200_000))[-1]
        assert last["a"].iloc[-1] == text[0]
    cut = "é".encode()
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + b"x" * (BLOCK - 5) + cut + b",1\n")
    assert read_table(tmp_path / "a.csv")["a"].iloc[0].endswith("xé")


def test_numbers_that_are_missing_elsewhere_keep_their_type(tmp_path: Path) -> None:
    columns = {
        "count": pa.array([10**15, 2, None, 4]),
        "flag": pa.array([True, False, None, True]),
        "level": pa.array(["x", "y", None, "z"]).dictionary_encode(),
        "day": pa.array([None, None, 1, 2], pa.date32()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    whole, chunks = read_table(tmp_path / "a.parquet"), read_chunks(tmp_path / "a.parquet", 2)
    assert [chunk["count"].dtype for chunk in chunks] == ["Int64", "Int64"]
    with table_writer(tmp_path / "b.parquet", chunks.types) as write:
        for chunk in chunks:
            write(chunk)
    again = read_table(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(again.astype(object), whole.astype(object))


CHARACTERS = st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufeff") | st.sampled_from("\r\n")
CELLS = st.text(CHARACTERS, max_size=5)
FILLED = CELLS.filter(str.strip)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(FILLED, CELLS), min_size=1, max_size=9), size=st.integers(1, 10))
def test_any_text_in_any_chunks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], size: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with table_writer(path) as write:
        for first in range(0, len(rows), size):
            write(pd.DataFrame(rows[first : first + size], columns=["one", "two"]))
    joined = pd.concat(list(read_chunks(path, size)))
    assert joined.to_numpy().tolist() == read_table(path).to_numpy().tolist() == [list(row) for row in rows]


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,b\n", "no records"),
        ("a.csv", b"a,a\n1,2\n", "Duplicated"),
        ("a.csv", b"a,b\n" + b"1,2\n" * 5 + b"1,2,3\n", "Expected 2 fields in line 7, saw 3"),
        ("a.csv", b"a,b\n" + b"1,2\n1,2,3\n" * 2, "line 3, saw 3; .* Line 5 does not fit either"),
        ("a.csv", b"a,b\n" + b"1,2\n1,2,3\n" * 9, "line 3, .* Lines 5, 7, 9, 11, 13 and further ones do not"),
        ("a.csv", b"a,b\n1,2,3\n4,5,6\n", "Expected 2 fields in line 2, saw 3"),
        ("a.csv", b"a,b\n1,2\n3,4,,\n", "Expected 2 fields in line 3, saw 4"),
        ("a.csv", b"a,b\n1,2,\n4,5,6\n", "Expected 2 fields in line 3, saw 3"),
        ("a.csv", b'a,b\n"1\n",2\n"4,5"\n', "Expected 2 fields in line 4, saw one"),
        ("a.csv", b"a;b\n" + b"1;2\n" * 5 + b"1,2\n" * 9, "Expected 2 fields in line 7, saw one"),
        ("a.csv", b"a;b\n1;2\n" + b"1,2\n" * 9, "Expected 2 fields in line 3, saw one"),
        ("a.csv", b"a,b\n1,\x002\n", "binary"),
        ("a.csv", b"\xff\xfea\x00,", "UTF-16"),
        ("a.csv.gz", b"not gzip at all", "gzip"),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 999, mtime=0)[:-9], "gzip"),
        ("a.parquet", b"PAR1 but no more", "not a Parquet"),
    ],
)
def test_bad_files_are_refused_as_a_whole_and_in_chunks(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(raw)
    for read in (read_table, lambda path: list(read_chunks(path, 2))):
        with pytest.raises(DataError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"a,b\r1,2\r3,4\r",
        b"a,b\r\n1,2\r\n\r\n3,4",
        b"a,b\n1,2,\n3,4,\n",
        b"a,b\n1,2,,\n3,4,,\n",
        b'a;b\n"1";2\n \n3;"4"\n',
    ],
)
def test_line_ends_of_every_kind_and_delimiters_at_the_end(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(raw)
    said: list[str] = []
    chunks = read_chunks(tmp_path / "a.csv", 1, said.append)
    for frame in (chunks.whole(), pd.concat(list(chunks))):
        assert frame.to_dict("list") == {"a": ["1", "3"], "b": ["2", "4"]}
    assert len(said) == raw.count(b"\n1,2,")
    assert all("more empty field" in remark for remark in said)


def test_lines_with_too_few_fields_are_said_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b,c\n1,2,3\n4,5\n6,7,8\n9,\n")
    said: list[str] = []
    chunks = read_chunks(tmp_path / "a.csv", 2, said.append)
    assert pd.concat(list(chunks))["c"].tolist() == ["3", "", "8", ""]
    assert len(said) == 1
    assert "2 lines have fewer fields than the header, the first is line 3" in said[0]
    with pytest.warns(UserWarning, match="2 lines have fewer fields"):
        assert len(read_table(tmp_path / "a.csv")) == 4


def test_a_header_and_cells_of_any_length(tmp_path: Path) -> None:
    names = [f"a column with a long name, number {i}" for i in range(3000)]
    table = pd.DataFrame([[f"{i}" for i in range(3000)]], columns=names)
    table.iloc[0, 1] = "y" * 200_000 + '"'
    table.to_csv(tmp_path / "a.csv", index=False)
    chunks = read_chunks(tmp_path / "a.csv")
    assert chunks.whole().to_numpy().tolist() == table.to_numpy().tolist()


def test_files_that_are_not_there_and_empty_tables(tmp_path: Path) -> None:
    for name in ("no.csv", "no.parquet"):
        with pytest.raises(DataError, match="does not exist"):
            read_chunks(tmp_path / name)
    with pytest.raises(DataError, match="folder"):
        read_chunks(tmp_path)
    with pytest.raises(DataError, match="from 1 up"):
        read_chunks(tmp_path / "a.csv", 0)
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no rows"):
        list(read_chunks(tmp_path / "a.parquet", 2))


def test_frames_that_do_not_fit_together_are_not_written(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(DataError, match="do not fit"), table_writer(tmp_path / name) as write:  # noqa: PT012
            write(pd.DataFrame({"a": [1]}))
            write(pd.DataFrame({"b": ["x"]}))
    with pytest.raises(DataError, match="does not fit"), table_writer(tmp_path / "a.parquet") as write:  # noqa: PT012
        write(pd.DataFrame({"a": [1]}))
        write(pd.DataFrame({"a": ["x"]}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "model"),
    [("a.csv", "conformal.joblib"), ("a.csv.gz", "model.joblib"), ("a.parquet", "model.joblib")],
)
def test_scored_in_chunks_as_at_once(work: Path, tmp_path: Path, name: str, model: str) -> None:
    """Every cell: scores, p-values and reasons, and what was read."""
    whole = score(work, name, tmp_path / "whole.parquet", model=model)
    assert whole["is_anomaly"].any()
    parts = score(work, name, tmp_path / "parts.parquet", "--chunk-rows", "99", model=model)
    pd.testing.assert_frame_equal(parts.astype(object), whole.astype(object))
    text = score(work, name, tmp_path / "whole.csv", model=model)
    for target in ("parts.csv", "parts.csv.gz")[: 2 if name == "a.csv" else 1]:
        pd.testing.assert_frame_equal(score(work, name, tmp_path / target, "--chunk-rows", "137", model=model), text)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_the_worst_are_those_of_the_whole_file(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, size in ((["--top", "31"], "99"), (["--top", "3"], "260"), ([], "99")):
        shown = []
        for chunk in ([], ["--chunk-rows", size]):
            assert main(["score", str(work / "model.joblib"), str(work / "a.csv"), *options, *chunk]) == 0
            shown.append(capsys.readouterr())
        assert shown[0].out == shown[1].out
        assert len(shown[0].out.splitlines()) > 3
        assert shown[1].err.splitlines()[1:] == shown[0].err.splitlines()
    whole = score(work, "a.csv", tmp_path / "whole.csv", "--top", "50")
    pd.testing.assert_frame_equal(score(work, "a.csv", tmp_path / "b.csv", "--top", "50", "--chunk-rows", "60"), whole)
    assert whole["anomaly_score"].astype(float).is_monotonic_increasing


def test_equal_scores_keep_the_order_of_the_file(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same record eight times over: of ties the first rows are listed."""
    rows = pd.concat([records().drop(columns="order_no").iloc[[30]]] * 8)
    rows.to_csv(tmp_path / "same.csv", index=False)
    listed = []
    for chunk in ("8", "1"):
        command = ["score", str(work / "model.joblib"), str(tmp_path / "same.csv"), "--chunk-rows", chunk, "--top", "3"]
        assert main(command) == 0
        listed.append([line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]])
    assert listed == [["1", "2", "3"], ["1", "2", "3"]]


def test_copies_are_looked_for_within_a_chunk(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What does depend on the chunks, and is said: a copy in another chunk than its original is not seen."""
    frame = records().drop(columns="order_no").iloc[:40]
    pd.concat([frame, frame.iloc[:1]]).to_csv(tmp_path / "copied.csv", index=False)
    (tmp_path / "model.joblib").write_bytes((work / "copies.joblib").read_bytes())
    together = score(tmp_path, "copied.csv", tmp_path / "a.csv")["anomaly_score"].astype(float).to_numpy()
    apart = score(tmp_path, "copied.csv", tmp_path / "b.csv", "--chunk-rows", "40")["anomaly_score"].astype(float)
    assert "copies are looked for within a chunk" in capsys.readouterr().err
    assert together[40] == together[0] < apart[40] == apart[0]
    np.testing.assert_array_equal(together[1:40], apart[1:40])


def test_large_files_come_in_chunks_unasked(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = score(work, "a.csv", tmp_path / "a.csv")
    assert "in chunks" not in capsys.readouterr().err
    monkeypatch.setattr("anomaly_detection.data.chunks.SMALL_CELLS", (1 + len(COLUMNS)) * 400)
    monkeypatch.setattr("anomaly_detection.data.chunks.CHUNK_CELLS", (1 + len(COLUMNS)) * 100)
    pd.testing.assert_frame_equal(score(work, "a.csv", tmp_path / "b.csv"), whole)
    first, told, last = capsys.readouterr().err.splitlines()
    assert first.startswith("About 500 records, scored in chunks of 100 (--chunk-rows)")
    assert told.startswith("11 cells count as missing, for they could not be read: 11 in 'lead_time' (such as 'to be")
    assert "500 records written" in last


@pytest.mark.parametrize("options", [["--output", "made.csv"], ["--output", "made.parquet"], ["--top", "12"]])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_no_more_than_two_chunks_are_held(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: list[str]
) -> None:
    """When a chunk is read all but the last one are gone, and none is larger than asked for."""
    held: list[weakref.ref[pd.DataFrame]] = []
    sizes: list[int] = []
    read = Chunks.__iter__

    def counted(chunks: Chunks) -> Iterator[pd.DataFrame]:
        iterator = read(chunks)
        while True:
            assert len([alive for alive in held if alive() is not None]) <= 1
            frame = next(iterator, None)
            if frame is None:
                return
            held.append(weakref.ref(frame))
            sizes.append(len(frame))
            yield frame
            del frame

    monkeypatch.setattr(Chunks, "__iter__", counted)
    monkeypatch.setattr(Chunks, "whole", None)
    monkeypatch.chdir(tmp_path)
    assert main(["score", str(work / "conformal.joblib"), str(work / name), "--chunk-rows", "120", *options]) == 0
    # A false discovery rate takes all scores to set the threshold; before, text is looked through for new forms.
    assert sizes == 3 * ([120] * 4 + [20])


def spoiled(work: Path, tmp_path: Path, change: Callable[[pd.DataFrame], object]) -> list[str]:
    """The command that scores changed records over an earlier output."""
    frame = records()
    change(frame)
    frame.to_csv(tmp_path / "spoiled.csv", index=False)
    (tmp_path / "out.csv").write_text("of an earlier run")
    files = [str(work / "model.joblib"), str(tmp_path / "spoiled.csv"), "--output", str(tmp_path / "out.csv")]
    return ["score", *files, "--chunk-rows", "100"]


def put(row: int, column: str, value: str) -> Callable[[pd.DataFrame], None]:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = value

    return change


def words(frame: pd.DataFrame) -> None:
    frame["inventory_level"] = "plenty"
    frame.loc[:3, "inventory_level"] = ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put(321, "lead_time", "inf"), ["Rows 301 to 400: ", "'lead_time' holds an infinite value in row 322"]),
        (lambda frame: frame.pop("lead_time"), ["Rows 1 to 100: Missing column(s) 'lead_time'"]),
        (words, ["'inventory_level' holds 'plenty' in row 5, which is no number"]),
    ],
)
def test_a_bad_chunk_is_named_and_leaves_the_old_output(
    work: Path,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], object],
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(spoiled(work, tmp_path, change)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in line
    for part in expected:
        assert part in line
    assert (tmp_path / "out.csv").read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "spoiled.csv"]


def test_a_broken_line_far_into_the_file(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = spoiled(work, tmp_path, put(0, "lead_time", ""))
    last = (tmp_path / "spoiled.csv").read_text("utf-8").splitlines()[-1]
    with open(tmp_path / "spoiled.csv", "a", encoding="utf-8") as file:
        file.write(last + "\n" + "one,field,too,many" * 9 + "\n")
    assert main(command) == 2
    # The header and 501 records stand before it, one of them over two lines.
    assert "in line 504" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "spoiled.csv"]


def test_an_interrupt_leaves_the_old_output(work: Path, tmp_path: Path) -> None:
    """A real Ctrl-C while chunks of one record are written: exit 130 and nothing but the old file."""
    command = [*spoiled(work, tmp_path, put(0, "lead_time", ""))[:-1], "1"]
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "anomaly_detection", *command], cwd=ROOT, stderr=-1, text=True
        )
    finally:
        signal.signal(signal.SIGINT, ignored)
    while process.poll() is None and not list(tmp_path.glob(".mlx-iforest-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].endswith("interrupted by SIGINT; every file is as it was before, or complete")
    assert (tmp_path / "out.csv").read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "spoiled.csv"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_only(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        score(work, "a.csv", tmp_path / "a.csv", "--chunk-rows", "250")
        assert ("500 of about 500 records" in stream.getvalue()) is drawn


@pytest.mark.parametrize("model", ["model.joblib", "conformal.joblib"])
def test_the_api_judges_parts_as_the_whole(work: Path, model: str) -> None:
    api = AnomalyDetectionAPI(work / model)
    predictions, scores = api.predict(read_table(work / "a.csv"))
    for size in (170, 500):
        counted: list[int] = []
        parts = list(api.predict_batches(read_chunks(work / "a.csv", size), progress=counted.append))
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), predictions)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), scores)
        assert counted == [*range(size, 500, size), 500]
    lower = np.concatenate([part[0] for part in api.predict_batches(read_chunks(work / "a.csv", 260), -0.05)])
    np.testing.assert_array_equal(lower, api.predict(read_table(work / "a.csv"), -0.05)[0])


def test_one_record_at_a_time(work: Path) -> None:
    api, frame = AnomalyDetectionAPI(work / "model.joblib"), records().iloc[10:30]
    single = [part[1][0] for part in api.predict_batches(frame.iloc[[row]] for row in range(len(frame)))]
    np.testing.assert_array_equal(single, api.predict(frame)[1])


def test_parts_that_cannot_be_judged(work: Path) -> None:
    api, frame = AnomalyDetectionAPI(work / "model.joblib"), records()
    for one in (frame, {"a": [1]}, np.zeros((2, 2))):
        with pytest.raises(DataError, match="in a list"):
            api.predict_batches(one)
    with pytest.raises(NotFittedError):
        AnomalyDetectionAPI().predict_batches([frame])
    with pytest.raises(DataError, match="gone through twice"):
        AnomalyDetectionAPI(work / "conformal.joblib").predict_batches(iter([frame]))
    results = api.predict_batches([frame.iloc[:10], frame.iloc[:0], frame])
    assert len(next(results)[0]) == 10
    with pytest.raises(DataError, match=r"The part from row 11: The table has no rows"):
        next(results)
    assert list(api.predict_batches(iter([]))) == []


def test_the_model_of_the_call_counts(work: Path) -> None:
    api = AnomalyDetectionAPI(work / "model.joblib")
    expected = api.predict(records())[1]
    results = api.predict_batches([records()])
    api.load_model(work / "conformal.joblib")
    np.testing.assert_array_equal(next(results)[1], expected)


def test_a_part_without_any_number_is_fine_where_another_has_some(work: Path) -> None:
    """Words in all rows of a part: an error only where the whole table has nothing else, as for all rows at once."""
    api, frame = AnomalyDetectionAPI(work / "model.joblib"), records()
    parts = [frame.iloc[240:250], frame.iloc[200:240], frame.iloc[:50]]
    scores = [part[1] for part in api.predict_batches(parts)]
    np.testing.assert_array_equal(np.concatenate(scores), api.predict(pd.concat(parts))[1])
    with pytest.raises(DataError, match="'lead_time' holds 'to be agreed' in row 1"):
        list(api.predict_batches(parts[:2]))


def test_drift_is_warned_of_at_the_end(work: Path) -> None:
    api, frame = AnomalyDetectionAPI(work / "model.joblib"), generate("classic", 400, seed=8).frame
    frame[["lead_time", "order_quantity"]] *= 5
    parts = [frame.iloc[:200], frame.iloc[200:]]
    results = api.predict_batches(parts)
    assert len(next(results)) == len(next(results)) == 2
    with pytest.warns(DriftWarning, match="no longer look like"):
        assert next(results, None) is None


def test_a_sample_of_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).normal(size=1000)
    few = ScoreSample()
    few.add(scores)
    np.testing.assert_array_equal(few.scores, scores)
    monkeypatch.setattr(drift, "KEPT", 300)
    samples = []
    for size in (1000, 7, 301):
        sample = ScoreSample()
        for first in range(0, 1000, size):
            sample.add(scores[first : first + size])
        samples.append(np.sort(sample.scores))
    assert len(samples[0]) == len(np.unique(samples[0])) == 300
    for other in samples[1:]:
        np.testing.assert_array_equal(other, samples[0])
    # Each fifth of the scores is as likely to be kept: 60 of 300 on average, with a deviation of 6.
    places = np.searchsorted(np.sort(scores), samples[0])
    assert np.isin(samples[0], scores).all()
    assert np.bincount(places // 200).min() > 35


@settings(max_examples=60, deadline=None)
@given(
    calibration=st.lists(st.integers(-30, -1), min_size=9, max_size=40),
    batch=st.lists(st.integers(-40, -1), min_size=1, max_size=30),
    size=st.integers(1, 30),
)
def test_a_conformal_cut_of_parts(calibration: list[int], batch: list[int], size: int) -> None:
    """Against the procedure word by word: sort the p-values, take the last at or below the line, alert up to it."""
    rule = Conformal(0.25).fit(np.array(calibration) / 40)
    scores = np.array(batch) / 40
    cut = rule.cut_of_parts([scores[first : first + size] for first in range(0, len(scores), size)])
    assert cut == rule.cut(scores)
    reference: Any = rule.calibration_
    p_values = reference.p_values(scores)
    order = np.sort(p_values)
    under = [p for rank, p in enumerate(order, 1) if p <= 0.25 * rank / len(order) + 1e-12]
    np.testing.assert_array_equal(scores < cut, p_values <= (under[-1] if under else -1))
