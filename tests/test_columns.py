"""What people can say of columns: by options, in columns.toml, and what the table before training tells."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.cli import main
from anomaly_detection.cli.arguments import add_arguments
from anomaly_detection.cli.columns import columns_table, declarations_of, missing_codes
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.declarations import Declaration, read_declarations, toml_of
from anomaly_detection.data.columns.schema import Schema, infer_schema
from anomaly_detection.errors import DataError
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.training.train import roles_like

NAMES = ["station", "reading", "taken", "no", "note", "a=b"]


def readings(rows: int = 200) -> pd.DataFrame:
    """A table in which codes are numbers, -200 is missing, and dates are ambiguous."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "station": rng.choice([11, 12, 17], rows),
            "reading": np.where(np.arange(rows) % 9 == 4, -200.0, rng.normal(20, 3, rows).round(2)),
            "flow": rng.normal(5, 1, rows).round(2),
            "taken": [f"{1 + i * 7 % 12:02d}/{1 + i * 5 % 11:02d}/2024" for i in range(rows)],
            "no": [f"N{i:04d}" for i in range(rows)],
            "spare": rng.normal(0, 1, rows).round(3),
        }
    )
    return frame.astype(str)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("columns") / "readings.csv"
    readings().to_csv(path, index=False)
    return path


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser, "train")
    return parser.parse_args(["--data", "a.csv", *given])


def test_options_say_what_columns_are() -> None:
    said = declarations_of(
        options("--category", "station", "--number", "reading", "--date", "taken", "--ignore", "note", "--id", "no"),
        NAMES,
    )
    assert {name: one.role for name, one in said.items()} == {
        "station": Role.CATEGORICAL,
        "reading": Role.NUMERIC,
        "taken": Role.TIMESTAMP,
        "note": Role.IGNORED,
        "no": Role.IDENTIFIER,
    }
    repeated = declarations_of(options("--id", "no", "--id", "note", "station"), NAMES)
    assert set(repeated) == {"no", "note", "station"}


def test_codes_for_missing_are_for_all_columns_or_one() -> None:
    assert missing_codes(["-200"], ["a", "b"]) == {"a": ("-200",), "b": ("-200",)}
    assert missing_codes(["reading=-200", "reading=-999"], NAMES) == {"reading": ("-200", "-999")}
    assert missing_codes(["a=b=-1"], NAMES) == {"a=b": ("-1",)}
    assert options("--missing", "-200", "--missing", "reading=-1").missing == ["-200", "reading=-1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--category", "staton"], "--category: unknown column 'staton' (did you mean 'station'?)."),
        (["--number", "Reading"], "--number: unknown column 'Reading' (did you mean 'reading'?)."),
        (["--date", "zzz"], "--date: unknown column 'zzz'; the columns are station, reading"),
        (["--ignore", "notes"], "--ignore: unknown column 'notes' (did you mean 'note'?)."),
        (["--missing", "readng=-200"], "--missing: unknown column 'readng' (did you mean 'reading'?)."),
        (["--missing", "reading="], "names no code"),
        (["--category", "station", "--number", "station"], "both name the column 'station'"),
    ],
)
def test_what_is_said_wrongly_is_refused_in_a_line(given: list[str], message: str) -> None:
    with pytest.raises(DataError) as raised:
        declarations_of(options(*given), NAMES)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[station", "is no TOML file"),
        ("[staton]\nkind = 'category'", "names an unknown column 'staton' (did you mean 'station'?)"),
        ("[station]\nkind = 'categry'", "unknown kind 'categry' (did you mean 'category'?)"),
        ("[station]\nkinds = 'category'", "unknown setting 'kinds' (did you mean 'kind'?)"),
        ("[taken]\ndates = ['dd/mm/yy']", "unknown form 'dd/mm/yy'"),
        ("[reading]\ndecimal = ';'", "no decimal mark"),
        ("[reading]\nunit = 'stone-ish'", "unknown unit 'stone-ish'"),
        ("[reading]\nmissing = [['-1']]", "is no code"),
        ("station = 'category'", "expected a table of settings"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_columns_that_is_wrong_is_refused_in_a_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "columns.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as raised:
        read_declarations(path, NAMES)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    odd = ['with "quotes" and \\', "Größe\tin\nm", "a.b [c] # d", "", "\U0001f600\x7f"]
    columns = [Column(name, Role.NUMERIC, "numbers\nover lines", codes=("-200",)) for name in odd]
    columns.append(Column("when", Role.TIMESTAMP, "dates", dates=("d.m.y", "y-w"), codes=("1900-01-01",)))
    columns.append(Column("price", Role.NUMERIC, "numbers", decimal_comma=True, unit="kg"))
    columns += [Column(role.value, role, "") for role in Role]
    path = tmp_path / "columns.toml"
    path.write_text(toml_of(columns), encoding="utf-8-sig")
    read = read_declarations(path, [column.name for column in columns])
    assert [(name, one.role) for name, one in read.items()] == [(column.name, column.role) for column in columns]
    assert read["when"] == Declaration(Role.TIMESTAMP, ("1900-01-01",), dates=("d.m.y", "y-w"))
    assert read["price"] == Declaration(Role.NUMERIC, (), decimal_comma=True, unit="kg")
    assert read[odd[0]].codes == ("-200",)


def test_a_schema_given_back_reads_alike() -> None:
    frame = readings()
    schema = infer_schema(frame, {"station": "categorical"})
    again = infer_schema(frame, schema.declarations())
    assert again == schema
    pd.testing.assert_frame_equal(again.clean(frame)[0], schema.clean(frame)[0])


def test_what_is_said_counts_and_the_rest_is_found_out() -> None:
    frame = readings()
    said = Declaration(codes=("17",), reason="given")
    schema = infer_schema(
        frame,
        {
            "station": Declaration(Role.CATEGORICAL, codes=("17",)),
            "flow": said,
            "taken": Declaration(dates=("m/d/y",)),
            "spare": Declaration(Role.IGNORED),
        },
    )
    clean, report = schema.clean(frame)
    assert "17" not in set(clean["station"].dropna())
    assert report.columns["station"].coded == {"17": int((frame["station"] == "17").sum())}
    assert schema["flow"].role is Role.NUMERIC
    assert clean["taken"].iloc[1] == pd.Timestamp("2024-08-06")
    assert schema["spare"].role is Role.IGNORED
    assert infer_schema(frame)["taken"].dates == ("m/d/y",)
    assert "by habit" in infer_schema(frame)["taken"].reason


def test_a_code_added_leaves_the_others_to_be_found() -> None:
    assert infer_schema(readings(), {"reading": Declaration(more_codes=("19",))})["reading"].codes == ("-200", "19")
    assert infer_schema(readings(), {"reading": Declaration(codes=())})["reading"].codes == ()


@pytest.mark.parametrize(("role", "kind"), [("numeric", "numbers"), ("timestamp", "dates")])
def test_a_column_of_words_alone_is_no_column_of_numbers_or_dates(role: str, kind: str) -> None:
    with pytest.raises(DataError, match=f"'no' is said to hold {kind}, but it holds none, only words such as 'N#'"):
        infer_schema(readings(), {"no": role})


@pytest.mark.parametrize("cells", [[218.47, 1006.25, 18.38], ["218.47", "1006.25", "18.38"]])
def test_numbers_that_count_no_time_are_no_dates(cells: list[Any]) -> None:
    frame = readings().head(180).assign(price=cells * 60)
    with pytest.raises(DataError, match=r"said to hold dates, but its numbers, such as 218\.47, count no time"):
        infer_schema(frame, {"price": "timestamp"})


def test_the_codes_of_a_judged_file_are_added() -> None:
    schema = infer_schema(readings()).with_codes({"flow": ["7.77"], "other": ["1"]})
    clean, report = schema.clean(readings().assign(flow="7.77"))
    assert clean["flow"].isna().all()
    assert report.columns["flow"].coded == {"7.77": 200}
    assert schema["reading"].codes == ("-200",)


def test_like_an_earlier_model_means_its_kinds_and_codes_and_no_forms() -> None:
    class Like:
        class preprocessor:  # noqa: N801
            schema_ = infer_schema(readings(), {"station": "categorical"})

    later = readings().assign(taken="25.12.2024")
    later.loc[0, "taken"] = "24.12.2024"
    like: Any = Like()
    schema = infer_schema(later, roles_like(like, later))
    assert schema["station"].role is Role.CATEGORICAL
    assert schema["reading"].codes == ("-200",)
    assert schema["taken"].dates == ("d.m.y",)


def test_the_table_tells_kinds_examples_and_codes() -> None:
    frame = readings()
    shown = columns_table(infer_schema(frame), frame).splitlines()
    assert shown[0].split() == ["column", "kind", "examples", "why"]
    reading = next(line for line in shown if line.startswith("reading"))
    assert "number" in reading
    assert "-200 for missing" in reading
    assert frame["reading"].iloc[0] in reading
    many = Schema(tuple(Column(f"c{i}", Role.CONSTANT, "one value only") for i in range(99)))
    wide = pd.DataFrame({f"c{i}": ["x"] for i in range(99)})
    assert columns_table(many, wide).splitlines()[-1] == "... and 39 more columns, in columns.toml"


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_training_writes_how_it_read_the_columns_and_takes_it_back(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common: list[Any] = ["train", "--data", data, "--time-budget", "0"]
    said = ["--category", "station", "--ignore", "spare", "--missing", "flow=-1", "--output", tmp_path / "a"]
    assert main([str(one) for one in [*common, *said]]) == 0
    told = capsys.readouterr().err
    assert "-200 for missing" in told
    written = (tmp_path / "a" / "columns.toml").read_text(encoding="utf-8")
    assert '["station"]\nkind = "category"' in written
    assert '["reading"]\nkind = "number"' in written
    (tmp_path / "edited.toml").write_text(written.replace('"m/d/y"', '"d/m/y"'), encoding="utf-8")
    again = [*common, "--columns", tmp_path / "edited.toml", "--output", tmp_path / "b"]
    assert main([str(one) for one in again]) == 0
    first, second = (
        load_detector(tmp_path / name / "anomaly_detection_model.safetensors").preprocessor.schema_ for name in "ab"
    )
    assert first["station"].role is Role.CATEGORICAL
    assert first["spare"].role is Role.IGNORED
    assert first["reading"].codes == ("-200",)
    assert first["flow"].codes == ("-1",)
    assert first["taken"].dates == ("m/d/y",)
    assert second["taken"].dates == ("d/m/y",)
    assert second["reading"].codes == ("-200",)
