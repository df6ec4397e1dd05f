"""Small Parquet and Arrow files whose rows share large cells are refused before their cells are made."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from anomaly_detection.data.chunks import read_chunks, read_table
from anomaly_detection.data.formats import packed_columns, unpacked_size
from anomaly_detection.data.formats.unpacked_size import laid_out
from anomaly_detection.service.http.bodies import parts_of
from anomaly_detection.service.http.problems import Problem

MB = 1024 * 1024
LARGE = "x" * (MB // 8)
CODES = pa.array([0] * 600, pa.int32())
CODED = pa.DictionaryArray.from_arrays(CODES, [LARGE])


def written(column: Any, **options: Any) -> Callable[[Path], None]:
    """Writes a Parquet file of a column."""
    return lambda path: pq.write_table(pa.table({"a": column}), path, compression="zstd", **options)


def sent(column: Any) -> Callable[[Path], None]:
    """Writes an Arrow stream of a column."""

    def write(path: Path) -> None:
        out = io.BytesIO()
        table = pa.table({"a": column})
        with pyarrow.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        path.write_bytes(out.getvalue())

    return write


BOMBS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "texts": ("parquet", written(CODED, store_schema=False)),
    "levels": ("parquet", written(CODED)),
    "bytes": ("parquet", written(CODED.cast(pa.dictionary(pa.int32(), pa.binary())), store_schema=False)),
    "a list": ("parquet", written(pa.ListArray.from_arrays([0, 600], CODED), store_schema=False)),
    "objects": ("parquet", written(pa.StructArray.from_arrays([CODED], ["b"]), store_schema=False)),
    "groups of one row": ("parquet", written(CODED.take(pa.array(range(300))), store_schema=False, row_group_size=1)),
    "beginnings": (
        "parquet",
        written(pa.array([LARGE] * 300), use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"}),
    ),
    "one cell": ("parquet", written(pa.array(["x" * (40 * MB)]), write_statistics=False)),
    "fixed widths": ("parquet", written(pa.array([LARGE.encode()] * 300, pa.binary(MB // 8)))),
    "a list of runs": ("parquet", written(pa.ListArray.from_arrays([0, 5 * MB], pa.repeat(1, 5 * MB)))),
    "levels in Arrow": ("arrow", sent(CODED)),
    "runs in Arrow": ("arrow", sent(pa.RunEndEncodedArray.from_arrays(pa.array([600], pa.int32()), [LARGE]))),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, write = BOMBS[name]
    path = tmp_path / f"a.{kind}"
    write(path)
    assert path.stat().st_size < MB
    for module in (packed_columns, unpacked_size):
        monkeypatch.setattr(module, "USUAL", 8 * MB)
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(Problem, match=r"Column 'a' unpacks from [\d,]+ to [\d,]+ bytes"):
            list(parts_of(path, kind))
    finally:
        pa.set_memory_pool(usual)
    # The last batch of those that were read had as much as all before it; whole they have more than 36.
    assert pool.max_memory() < 20 * MB


def bytes_of(value: Any) -> int:
    """What `laid_out` counts, of a plain value."""
    if isinstance(value, (list, tuple)):
        return sum(map(bytes_of, value))
    if isinstance(value, dict):
        return sum(map(bytes_of, value.values()))
    return len(value.encode()) if isinstance(value, str) else 8 if isinstance(value, int) else 0


TEXTS = ["a", "bcd", None, "a", "", "\u00e4\u00f6", "bcd", "bcd"]
ARRAYS = {
    "texts": pa.array(TEXTS),
    "large texts": pa.array(TEXTS, pa.large_string()),
    "views": pa.array(TEXTS, pa.string_view()),
    "levels": pa.array(TEXTS).dictionary_encode(),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 8], pa.int32()), ["ab", None, "cde"]),
    "lists": pa.array([["a", "bb"], [], None, ["ccc"], ["d"], ["e"], ["ff"], []]),
    "maps": pa.array(
        [[("a", "bb")], [], None, [("c", None)], [("d", "eee")], [], [], []], pa.map_(pa.string(), pa.string())
    ),
    "objects": pa.array([{"a": "b", "c": ["dd", "e"]}] * 7 + [{"a": None, "c": []}]),
    "levels of lists": pa.DictionaryArray.from_arrays(
        pa.array([1, 0, 1, None, 1, 0, 0, 1]), pa.array([["a"], ["bb", "cc"]])
    ),
    "numbers": pa.array(range(8)),
}


@pytest.mark.parametrize("name", list(ARRAYS))
@pytest.mark.parametrize("first", [0, 1, 3])
def test_the_size_is_that_of_all_cells(name: str, first: int) -> None:
    array = ARRAYS[name].slice(first, 4)
    assert laid_out(array) == sum(map(bytes_of, array.to_pylist()))


def test_what_is_read_as_codes_comes_in_the_types_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ARRAYS.keys() - {"runs", "levels of lists"}  # Parquet has none
    table = pa.table({name: pa.concat_arrays([ARRAYS[name]] * 5) for name in sorted(names)})
    for options in ({}, {"column_encoding": {"texts": "DELTA_BYTE_ARRAY"}, "use_dictionary": ["lists"]}):
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=15, **options)
        monkeypatch.setattr(packed_columns, "USUAL", -1)
        whole = read_table(tmp_path / "a.parquet")
        parts = list(read_chunks(tmp_path / "a.parquet", 17))
        assert [len(each) for each in parts] == [17, 17, 6]
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True).astype(object), whole.astype(object))
        assert all((part.dtypes == whole.dtypes).all() for part in parts)


def test_a_large_column_that_is_large_in_its_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked_size, "USUAL", 1000)
    texts = [f"{number} " * 50 for number in range(500)]
    pq.write_table(pa.table({"a": texts}), tmp_path / "a.parquet")
    assert [each["a"].tolist() for each in read_chunks(tmp_path / "a.parquet", 500)] == [texts]
