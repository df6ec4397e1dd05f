"""Rows of databases, in and out: each type as it is, of one moment, whole or not at all, and no secret told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from service_example import postgresql
from sqlalchemy import create_engine, inspect, text

from anomaly_detection.cli import main
from anomaly_detection.data.chunks import read_chunks, read_table
from anomaly_detection.data.databases import sql_reading
from anomaly_detection.data.databases.sql_location import SqlLocation, is_database, label_of, refuse_same_table
from anomaly_detection.data.databases.sql_reading import copy_rows
from anomaly_detection.data.databases.sql_writing import sql_writer
from anomaly_detection.data.table_writer import table_writer
from anomaly_detection.errors import DataError
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.synthetic import generate

pytestmark = pytest.mark.usefixtures("few_folds")

ODD = (
    "CREATE TABLE odd AS SELECT n, n / 2.0 AS half, (n * 1.25)::numeric AS fixed, 'a' || n AS name, n % 2 = 0 AS even,"
    " DATE '2026-01-01' + n AS day, TIMESTAMP '2026-01-01 10:00:00.5' + n * INTERVAL '1 hour' AS moment,"
    " TIMESTAMPTZ '2026-01-01 10:00:00+02' AS there, CASE WHEN n > 2 THEN n END AS gap, NULL::int AS nothing,"
    " ('00000000-0000-0000-0000-00000000000' || n)::uuid AS id, TIME '10:30' AS clock"
    " FROM generate_series(1, 5) AS numbers(n)"
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL with a table of records and one of odd types."""
    with postgresql() as url:
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        generate("classic", 300, seed=1).frame.to_sql("orders", engine, index=False)
        with engine.begin() as connection:
            connection.execute(text(ODD))
        yield url
        engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The same records in SQLite, and their URL."""
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        generate("classic", 300, seed=1).frame.to_sql("orders", connection, index=False)
    return f"sqlite:///{tmp_path}/a.db"


def arrow(location: str) -> Any:
    """What is read, as Arrow."""
    held = BytesIO()
    copy_rows(SqlLocation.of(location), held)
    return pq.read_table(held)


@pytest.mark.slow
def test_types_are_kept_and_the_same_by_both_ways(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("adbc_driver_postgresql")
    fast = arrow(f"{server}&table=odd" if "?" in server else f"{server}?table=odd")
    expected = {
        "n": pa.int32(),
        "half": pa.float64(),
        "fixed": pa.float64(),
        "name": pa.string(),
        "even": pa.bool_(),
        "day": pa.date32(),
        "moment": pa.timestamp("us"),
        "there": pa.timestamp("us", "UTC"),
        "gap": pa.int32(),
        "nothing": pa.int32(),
        "id": pa.string(),
        "clock": pa.time64("us"),
    }
    assert dict(zip(fast.schema.names, fast.schema.types, strict=True)) == expected
    monkeypatch.setattr(sql_reading, "_has_adbc", lambda: False)
    monkeypatch.setattr(sql_reading, "_CELLS", 2 * len(expected))
    slow = arrow(f"{server}&table=odd" if "?" in server else f"{server}?table=odd")
    # Drivers of Python tell whole numbers of no width.
    assert slow.schema.field("n").type == pa.int64()
    assert slow.schema.field("nothing").type == pa.null()
    assert slow.cast(fast.schema).equals(fast)
    assert fast.column("fixed").to_pylist() == [1.25, 2.5, 3.75, 5.0, 6.25]
    assert fast.column("id")[0].as_py() == "00000000-0000-0000-0000-000000000001"


@pytest.mark.slow
@pytest.mark.parametrize("adbc", [True, False])
def test_pages_of_a_key_are_the_rows_of_one_statement(server: str, monkeypatch: pytest.MonkeyPatch, adbc: bool) -> None:
    pytest.importorskip("adbc_driver_postgresql")
    monkeypatch.setattr(sql_reading, "_has_adbc", lambda: adbc)
    monkeypatch.setattr(sql_reading, "_CELLS", 24)
    mark = "&" if "?" in server else "?"
    whole = arrow(f"{server}{mark}table=odd")
    for key in ("n", "name", "day", "moment"):
        assert arrow(f"{server}{mark}key={key}&query=SELECT * FROM odd -- all").equals(whole)
    for key, told in (("gap", "has no 'gap'"), ("even", "of type bool" if adbc else "Two rows"), ("there", "Two rows")):
        with pytest.raises(DataError, match=told):
            arrow(f"{server}{mark}table=odd&key={key}")


@pytest.mark.parametrize("cells", [7, 500_000])
def test_keys_of_sqlite(file: str, monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    whole = arrow(f"{file}?query=SELECT rowid AS row, * FROM orders ORDER BY rowid")
    monkeypatch.setattr(sql_reading, "_CELLS", cells * len(whole.schema))
    assert arrow(f"{file}?key=row&query=SELECT rowid AS row, * FROM orders").equals(whole)
    for key, told in (("no", "no column 'no' to be a key"), ("supplier", "Two rows have the key")):
        with pytest.raises(DataError, match=told):
            arrow(f"{file}?table=orders&key={key}")
    with pytest.raises(DataError, match="no rows"):
        arrow(f"{file}?key=row&query=SELECT rowid AS row, * FROM orders WHERE 0")
    with pytest.raises(DataError, match="names a key"):
        SqlLocation.of(f"{file}?table=a&key=b", writing=True)


def test_a_column_of_sqlite_gets_the_type_that_all_its_values_have(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "b.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mixed (whole, later, text, bytes, empty, dated TEXT)")
        rows = [(1, 1, 1, None, None, None), (None, 2, 2, b"x", None, "2026-01-01"), (3, 2.5, "z", b"\xff", None, "b")]
        connection.executemany("INSERT INTO mixed VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    monkeypatch.setattr(sql_reading, "_CELLS", 6)
    found = arrow(f"sqlite:///{path}?table=mixed")
    kinds = [pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.null(), pa.string()]
    assert found.schema.types == kinds
    assert found.column("later").to_pylist() == [1.0, 2.0, 2.5]
    assert found.column("text").to_pylist() == ["1", "2", "z"]


def test_a_query_may_hold_what_urls_hold(file: str) -> None:
    query = "SELECT lead_time AS a, supplier FROM orders WHERE supplier LIKE '%a%25' AND 1+1 = 2 -- : ? &"
    assert arrow(f"{file}?query={query.replace('%25', '%')};").column_names == ["a", "supplier"]
    assert SqlLocation.of(f"{file}?query=SELECT '%25' || '100%'").query == "SELECT '%' || '100%'"


def test_chunks_and_the_whole_are_those_of_the_same_table_as_a_file(file: str, tmp_path: Path) -> None:
    generate("classic", 300, seed=1).frame.to_csv(tmp_path / "a.csv", index=False)
    whole = read_table(f"{file}?table=orders")
    assert len(whole) == 300
    chunks = read_chunks(f"{file}?table=orders", 70)
    # It can be gone through again, whatever the database has by then.
    Path(file.removeprefix("sqlite:///")).unlink()
    for _ in range(2):
        pd.testing.assert_frame_equal(pd.concat(list(chunks)), whole)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("sqlite:///{0}/a.db", "no table and no query"),
        ("sqlite:///{0}/a.db?table=a&query=SELECT 1", "a table and a query"),
        ("sqlite:///{0}/a.db?query=SELECT 1; DROP TABLE orders", "without a semicolon"),
        ("sqlite:///{0}/a.db?query=SELECT 1 WHERE 'a' LIKE '%ad%'", "%ad stands for no letter.*as %25"),
        ("sqlite:///{0}/a.db?table=orders&mode=replace", "for a table that is written"),
        ("sqlite:///{0}/a.db?table=a&table=b", "twice"),
        ("sqlite:///{0}/a.db?table=nosuch", "no such table"),
        ("sqlite:///{0}/none.db?table=orders", "cannot be asked: unable to open"),
        ("sqlite:///?table=orders", "is a file"),
        ("sqlite:///{0}/a.db?query=SELECT 1 AS a, 2 AS a", "two columns of one name"),
        ("sqlite:///{0}/a.db?query=SELECT * FROM orders WHERE 0", "gives no rows"),
        ("sqlite:///{0}/a.db?query=DELETE FROM orders", "cannot be asked"),
        ("sqlite:///{0}/a.db?query=SELECT nosuch FROM orders", "no such column"),
        ("postgres://ann:hunter22@127.0.0.1:1/db?table=a", "cannot be asked"),
        ("postgresql://ann:hunter22@127.0.0.1:1/db?table=a", "cannot be asked"),
        ("postgresql://ann:half@hunter22@127.0.0.1:1/db?table=a", "is written %40"),
        ("mssql+pymssql://ann:hunter22@host/name?table=a", "pymssql, which is not installed"),
        ("postgresql://ann:hunter22@host:port/name?table=a", "no URL of a database"),
    ],
)
def test_what_cannot_be_read_is_told_without_secrets(file: str, location: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told) as refused:
        arrow(location.replace("{0}", str(tmp_path)))
    assert "hunter22" not in str(refused.value)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (300,)


@pytest.mark.parametrize(
    ("target", "is_same"),
    [
        ("sqlite:///a.db?table=orders&mode=replace", True),
        ("sqlite:///b.db?table=orders", True),
        ("sqlite+pysqlite:///{0}/a.db?table=ORDERS&mode=append", True),
        ("sqlite:///{0}/./a.db?table=main.orders", True),
        ("sqlite:///a.db?table=others", False),
        ("sqlite:///c.db?table=orders", False),
        ("postgresql://host/a.db?table=orders", False),
    ],
)
def test_the_table_that_is_read_is_known_however_it_is_written(
    file: str, target: str, is_same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.db").symlink_to("a.db")
    target = target.replace("{0}", str(tmp_path))
    refuse_same_table(target, f"{file}?query=SELECT * FROM orders")
    with pytest.raises(DataError, match="would be lost") if is_same else nullcontext():
        refuse_same_table(target, f"{file}?table=orders")


def test_what_a_database_is() -> None:
    assert is_database("postgresql+psycopg://host/a?table=b")
    assert not is_database("s3://bucket/orders")
    assert not is_database(Path("orders.csv"))
    assert label_of("postgresql://ann:hunter22@host/a?table=b") == "postgresql://ann:***@host/a, table b"


def write_all(write: Callable[[pd.DataFrame], None], *frames: pd.DataFrame) -> None:
    for each in frames:
        write(each)


FRAME = pd.DataFrame(
    {
        "name": ["a", None],
        "count": pd.array([1, None], "Int64"),
        "price": [1.5, float("nan")],
        "is_odd": [True, False],
        "at": pd.to_datetime(["2026-01-01 10:00:00.123456789", None]),
        "kind": pd.Categorical(["x", "y"]),
        "tags": [[1, 2], None],
    }
)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_frames_are_written_with_their_types_whole_or_not_at_all(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/out.db" if kind == "sqlite" else request.getfixturevalue("server")
    more = "&" if "?" in url else "?"
    target = f"{url}{more}table=scored"
    with table_writer(target) as write:
        write(FRAME)
        write(FRAME.iloc[:1])
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def rows() -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text("SELECT name, count, price, kind, tags FROM scored"))]

    expected: list[tuple[Any, ...]] = [("a", 1, 1.5, "x", "[1, 2]"), (None, None, None, "y", None)]
    assert rows() == [*expected, expected[0]]
    types = {each["name"]: str(each["type"]) for each in inspect(engine).get_columns("scored")}
    assert (types["count"], types["is_odd"], types["name"]) == ("BIGINT", "BOOLEAN", "TEXT")
    assert types["at"] in ("DATETIME", "TIMESTAMP")
    # One that is there is not written to unless it is said how.
    with pytest.raises(DataError, match="is there already"), table_writer(target) as write:
        write(FRAME)
    with table_writer(f"{target}&mode=append") as write:
        write(FRAME)
    assert len(rows()) == 5
    with pytest.raises(DataError, match="do not fit"), table_writer(f"{target}&mode=replace") as write:
        write_all(write, FRAME, FRAME[["name"]])
    assert len(rows()) == 5
    with table_writer(f"{target}&mode=replace") as write:
        write(FRAME.iloc[:1])
    assert rows() == expected[:1]
    with pytest.raises(DataError, match="no column 'other'"), table_writer(f"{target}&mode=append") as write:
        write(FRAME.assign(other=1))
    with pytest.raises(DataError, match="names a query"):
        SqlLocation.of(f"{url}{more}query=SELECT 1", writing=True)
    with pytest.raises(DataError, match="none; it is one of new, replace, append"):
        SqlLocation.of(f"{target}&mode=drop", writing=True)
    with pytest.raises(DataError, match="cannot be written"), sql_writer(SqlLocation.of("sqlite:////none/a?table=a")):
        pass
    engine.dispose()


@pytest.mark.slow
def test_train_and_score_from_a_database_into_one(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_pictures: None
) -> None:
    more = "&" if "?" in server else "?"
    query = f"{server}{more}query=SELECT * FROM orders WHERE lead_time IS NOT NULL"
    assert main(["train", "--data", query, "--output", str(tmp_path), "--time-budget", "0"]) == 0
    model = str(tmp_path / "optimized_anomaly_detection_model.safetensors")
    assert load_detector(Path(model)).calibration_ is not None
    target = f"{server}{more}table=judged"
    assert main(["score", model, f"{server}{more}table=orders", "--output", target, "--chunk-rows", "100"]) == 0
    read_table(f"{server}{more}table=orders").to_parquet(tmp_path / "same.parquet")
    to = str(tmp_path / "scored.parquet")
    assert main(["score", model, str(tmp_path / "same.parquet"), "--output", to, "--chunk-rows", "100"]) == 0
    # A database gives rows in any order.
    written, expected = (read_table(one).sort_values("timestamp") for one in (target, to))
    assert list(written.columns) == list(expected.columns)
    for name in ("anomaly_score", "severity", "p_value", "is_anomaly"):
        assert written[name].tolist() == expected[name].tolist()
    assert written["reason"].dropna().tolist() == expected["reason"].dropna().tolist()
    capsys.readouterr()
    again = ["score", model, f"{server}{more}table=orders", "--output"]
    assert main([*again, target]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*again, f"{server}{more}table=orders&mode=replace"]) == 2
    assert "which would be lost" in capsys.readouterr().err
    assert main([*again, "out", "--workers", "1"]) == 2
    assert "leave them out for a database" in capsys.readouterr().err
    assert main(["train", "--data", query, "--sample", "9", "--output", str(tmp_path)]) == 2
    assert "by its own query" in capsys.readouterr().err
