"""Values, names and types that tables really hold, in training, scoring and explaining, by the API and the commands."""

from __future__ import annotations

import datetime
import decimal
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main
from anomaly_detection.data.cells.cells import as_dates, as_numbers, as_texts
from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.schema import Role, infer_schema
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.json_values import plain
from anomaly_detection.errors import DataError, NotFittedError
from anomaly_detection.explain.wording import number
from anomaly_detection.features.dates.derived import Product, Ratio
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.numbers.numeric_values import NumericValues, choose_scale
from anomaly_detection.synthetic import generate

pytestmark = pytest.mark.usefixtures("few_folds")

ROWS = 150
COLUMNS = ["timestamp", "lead_time", "order_quantity", "inventory_level", "demand_forecast", "supplier"]
FRAME = generate("classic", ROWS, seed=3).frame[COLUMNS]
RECORD = FRAME.iloc[0].to_dict()


@pytest.fixture(scope="module")
def api() -> AnomalyDetectionAPI:
    return AnomalyDetectionAPI().fit(FRAME)


def run(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


# Numbers.


@pytest.mark.parametrize("value", [1e30, 1e39, 1e308, -1e39, -1e308])
def test_a_huge_number_is_an_alert_that_says_so(api: AnomalyDetectionAPI, value: float) -> None:
    found = api.detect_anomaly({**RECORD, "lead_time": value})
    assert found["is_anomaly"]
    assert np.isfinite(found["anomaly_score"])
    (told,) = api.explain_anomalies({**RECORD, "lead_time": value}, [-1], [found["anomaly_score"]])
    assert told["contributions"][0]["columns"][0] == "lead_time"
    assert f"lead_time {value:.3g} is" in told["explanation"]
    json.dumps(told, allow_nan=False)


def test_training_on_huge_and_tiny_numbers() -> None:
    frame = FRAME.copy()
    frame.loc[[3, 5, 7], "lead_time"] = [1e39, -1e308, 1e308]
    frame.loc[[3, 5, 7], "order_quantity"] = [1e308, 1e-320, 1e39]
    frame["inventory_level"] *= 1e300
    frame["demand_forecast"] *= 1e-310
    api = AnomalyDetectionAPI().fit(frame)
    predictions, scores = api.predict(frame)
    assert np.isfinite(scores).all()
    assert (predictions[[3, 5, 7]] == -1).all()
    told = api.explain_anomalies(frame, predictions, scores)
    assert "lead_time" in next(one for one in told if one["index"] == 3)["explanation"]


def test_columns_beyond_float32_still_tell_their_values_apart() -> None:
    usual = np.random.default_rng(0).normal(10.0, 1.0, 50)
    for size in (1e39, 1e300, 1e-39):
        column = pd.DataFrame({"x": usual * size})
        found = NumericValues().fit(column).transform(column)
        assert np.isfinite(found).all()
        assert len(np.unique(found)) == 50
    tiny = choose_scale(np.array([5e-324] * 9 + [1.5e-323]))
    assert np.isfinite(tiny.apply([1e308, -1e308, 0.0])).all()


def test_quotients_of_huge_numbers_are_there() -> None:
    frame = pd.DataFrame({"a": [1e308, 1e308, 1.0, 1e-320], "b": [1e-308, -1e-308, 0.0, 1e308], "c": [1e308] * 4})
    np.testing.assert_array_equal(Ratio("a", "b").values(frame), [1e100, -1e100, np.nan, 0.0])
    assert np.isfinite(Product("c", ("a", "a")).values(frame)).all()


def test_numbers_in_words() -> None:
    assert number(10**30) == "1e+30"
    assert number(1e39) == "1e+39"


# Dates.


@pytest.mark.parametrize(
    "dates",
    [
        pd.Series(["2024-01-01", "9999-12-31"]),
        pd.Series(np.array(["2024-01-01", "9999-12-31"], dtype="datetime64[s]")),
        pd.Series([datetime.date(2024, 1, 1), datetime.date(9999, 12, 31)]),
        pd.Series([datetime.date(2024, 1, 1), datetime.date(9999, 12, 31)], dtype="date32[pyarrow]"),
    ],
    ids=["text", "numpy", "python", "arrow"],
)
def test_dates_beyond_nanoseconds_are_no_dates(dates: pd.Series[Any]) -> None:
    schema = infer_schema(pd.DataFrame({"at": dates, "x": [1.0, 2.0]}), {"at": "timestamp"})
    cleaned, _ = schema.clean(pd.DataFrame({"at": dates, "x": [1.0, 2.0]}))
    np.testing.assert_array_equal(cleaned["at"].to_numpy(), np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]"))


# Types.

DAY = datetime.date(2024, 1, 2)


@pytest.mark.parametrize(
    ("kind", "values", "read", "expected"),
    [
        (pa.decimal128(10, 2), [decimal.Decimal("1.5"), None], as_texts, ["1.50", None]),
        (pa.list_(pa.int64()), [[1], None], as_texts, ["(list)", None]),
        (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None], as_texts, ["(list)", None]),
        (pa.struct([("a", pa.int64())]), [{"a": 1}, None], as_texts, ["(dict)", None]),
        (pa.binary(), [b"a\xff", None], as_texts, ["a\\xff", None]),
        (pa.time64("us"), [datetime.time(1), None], as_texts, ["01:00:00", None]),
        (pa.duration("ns"), [86_400 * 10**9, None], as_numbers, [1.0, np.nan]),
        (pa.int8(), [1, None], as_numbers, [1.0, np.nan]),
        (pa.date32(), [DAY, None], as_dates, np.array([DAY, "NaT"], dtype="datetime64[ns]")),
        (pa.timestamp("us", "UTC"), [DAY, None], as_dates, np.array([DAY, "NaT"], dtype="datetime64[ns]")),
    ],
)
def test_arrow_columns(kind: Any, values: list[Any], read: Any, expected: Any) -> None:
    found = read(pd.Series(pd.array(values, dtype=pd.ArrowDtype(kind))))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def odd_columns() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    days = [DAY + datetime.timedelta(int(i)) for i in rng.integers(0, 99, ROWS)]
    return {
        "tags": [[1, 2]] * ROWS,
        "parts": [{"a": 1, "b": [2]}] * ROWS,
        "pairs": pd.array([[("a", 1)]] * ROWS, dtype=pd.ArrowDtype(pa.map_(pa.string(), pa.int64()))),
        "raw": [b"\xff", b"a"] * (ROWS // 2),
        "price": [decimal.Decimal(int(i)) / 4 for i in rng.integers(0, 99, ROWS)],
        "day": pd.array(days, dtype="date32[pyarrow]"),
        "clock": [datetime.time(int(i)) for i in rng.integers(0, 3, ROWS)],
        "span": pd.to_timedelta(rng.integers(0, 99, ROWS), unit="h"),
        "whole": pd.array(rng.integers(0, 9, ROWS), dtype="Int64"),
        "kind": pd.Categorical(rng.choice(["a", "b"], ROWS)),
    }


def test_parquet_of_all_types_by_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, model = tmp_path / "data.parquet", tmp_path / "model.safetensors"
    frame = FRAME.assign(**odd_columns())
    frame.to_parquet(data)
    roles = {column.name: column.role for column in infer_schema(read_table(data)).columns}
    assert [roles[name] for name in ("tags", "parts", "pairs", "raw")] == [Role.CONSTANT] * 4
    assert [roles[name] for name in ("price", "span", "whole")] == [Role.NUMERIC] * 3
    assert [roles[name] for name in ("clock", "kind")] == [Role.CATEGORICAL] * 2
    assert roles["day"] is Role.TIMESTAMP
    AnomalyDetectionAPI().fit(read_table(data)).save_model(model)
    for name in ("out.csv", "out.parquet"):
        run(["score", model, data, "--output", tmp_path / name, "--chunk-rows", "60"], capsys)
    written = read_table(tmp_path / "out.parquet")
    assert plain(written["pairs"][0]) == [["a", 1]]
    shown = run(["explain", model, data, "--row", "2"], capsys)
    assert "[1 2]" in shown
    assert json.loads(run(["explain", model, data, "--row", "2", "--json"], capsys))[0]["record"]["tags"] == [1, 2]


def test_what_cannot_be_judged_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = FRAME.assign(tags=[[1]] * ROWS)
    # All that a training does has to take these too, scikit-learn's forest and the report.
    frame.loc[[3, 5], "lead_time"] = [1e39, -1e308]
    frame.to_parquet(tmp_path / "data.parquet")
    assert main(["train", "--data", str(tmp_path / "data.parquet"), "--output", str(tmp_path / "new")]) == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tags ")]
    assert " ".join(told.split()) == "tags constant (list) values that cannot be judged (list)"


def test_plain_values_of_odd_kinds() -> None:
    assert plain(np.longdouble(1.5)) == 1.5
    assert plain({"b", "a"}) == ["a", "b"]
    assert plain(["\ud800", {"\ud801": 1}]) == ["\\ud800", {"\\ud801": 1}]


# Names.


def test_columns_named_like_derived_ones(tmp_path: Path) -> None:
    frame = generate("realistic", ROWS, seed=1).frame
    frame["lead_time"] = frame["lead_time"].astype(object)
    frame.loc[::7, "lead_time"] = "see invoice"
    features = SupplyChainFeatures().fit(frame)
    names = [part.name for part in features.derived_]
    assert "days from order_date to ship_date" in names
    rng = np.random.default_rng(0)
    taken = {name: rng.normal(size=ROWS) if i % 2 else rng.choice(["u", "v"], ROWS) for i, name in enumerate(names)}
    taken["lead_time (how missing)"] = rng.choice(["x", "y", "z"], ROWS)
    api = AnomalyDetectionAPI().fit(frame.assign(**taken))
    extended, _ = api.preprocessor.extend(frame.assign(**taken))
    assert extended.columns.is_unique
    api.save_model(tmp_path / "model.safetensors")
    again = AnomalyDetectionAPI(tmp_path / "model.safetensors")
    predictions, scores = again.predict(frame.assign(**taken))
    np.testing.assert_array_equal(scores, api.predict(frame.assign(**taken))[1])
    assert len(again.explain_anomalies(frame.assign(**taken), predictions, scores)) == (predictions == -1).sum()
    assert set(extended["lead_time (how missing)"]) == {"x", "y", "z"}
    assert extended["lead_time given'"].value_counts()["see invoice"] == len(frame.loc[::7])
    before = features.extend(frame)[0]["days from order_date to ship_date"]
    pd.testing.assert_series_equal(extended["days from order_date to ship_date'"], before, check_names=False)


def test_columns_named_by_numbers() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)))
    assert AnomalyDetectionAPI().fit(frame, numerical_features=[0, 1]).preprocessor.numerical_features == ["0", "1"]


# Lone surrogates.


def test_lone_surrogates_become_escapes() -> None:
    rows = [{"\ud800": "\udfff", "b": ["\ud800"]}, {"\ud800": "x", "b": []}]
    columns = {"\ud800": ["\udfff", "x"]}
    odd = pd.DataFrame({"a": pd.Series(["\udfff", "x", None], dtype=object)})
    assert to_frame(rows)["\\ud800"].tolist() == ["\\udfff", "x"]
    assert to_frame(columns)["\\ud800"].tolist() == ["\\udfff", "x"]
    assert to_frame(odd)["a"].tolist()[:2] == ["\\udfff", "x"]
    assert to_frame(FRAME) is FRAME


def test_a_record_with_lone_surrogates(api: AnomalyDetectionAPI) -> None:
    record = {**RECORD, "supplier": "\ud800", "\ud801": "\ud802"}
    score = api.detect_anomaly(record)["anomaly_score"]
    (told,) = api.explain_anomalies(record, [-1], [score])
    json.dumps(told, ensure_ascii=False).encode()
    assert told["data_point"]["\\ud801"] == "\\ud802"


def test_lone_surrogates_in_a_file(
    api: AnomalyDetectionAPI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = tmp_path / "data.csv", tmp_path / "model.safetensors"
    odd = FRAME.assign(**{"n@te": "x"}).replace({"supplier": {RECORD["supplier"]: "S@"}})
    odd.to_csv(data, index=False)
    data.write_bytes(data.read_bytes().replace(b"@", b"\xed\xa0\x80"))
    api.save_model(model)
    run(["score", model, data, "--output", tmp_path / "out.csv"], capsys)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("timestamp,")
    for options in ([], ["--json"]):
        run(["explain", model, data, "--row", "1", *options], capsys).encode()


# The API.


@pytest.mark.parametrize("value", [["x", "y"], [], {"a": 1}, None, np.nan, "", b"x", {1}, np.zeros(2)], ids=repr)
def test_an_unrelated_field_may_hold_anything(api: AnomalyDetectionAPI, value: Any) -> None:
    assert api.detect_anomaly({"other": value, **RECORD}) == api.detect_anomaly(RECORD)


def test_fields_of_another_type_than_in_training(api: AnomalyDetectionAPI) -> None:
    assert np.isfinite(api.detect_anomaly(dict.fromkeys(RECORD))["anomaly_score"])
    assert np.isfinite(api.detect_anomaly({**RECORD, "supplier": [1]})["anomaly_score"])
    with pytest.raises(DataError, match=r"'lead_time' holds '\(list\)' in row 1, which is no number"):
        api.detect_anomaly({**RECORD, "lead_time": [1]})


SCORES = np.full(ROWS, -0.1)
ALERTS = np.full(ROWS, -1)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda api: api.explain_anomalies(FRAME, SCORES, ALERTS), "data, predictions, scores"),
        (lambda api: api.explain_anomalies(FRAME, "x", SCORES), "predictions is a str"),
        (lambda api: api.explain_anomalies(FRAME, ALERTS, SCORES * np.nan), "scores hold a missing value"),
        (lambda api: api.predict(FRAME, "x"), "threshold is 'x'"),
        (lambda api: api.predict(0.1, FRAME), "threshold is a DataFrame"),
        (lambda api: api.predict([{}, None]), "holds a NoneType"),
        (lambda api: list(api.predict_batches(5)), "iterable of tables"),
        (lambda api: list(api.predict_batches([FRAME], progress=5)), "progress is 5"),
        (lambda api: api.evaluate(FRAME, [1]), "150 records but 1 labels"),
        (lambda api: api.evaluate(FRAME, [{}] * ROWS), "plain values, found a dict"),
        (lambda api: api.evaluate(ALERTS, FRAME), "one column"),
        (lambda api: api.save_model(5), "model_path is 5"),
        (lambda api: api.load_model(FRAME), "model_path is a DataFrame"),
        (lambda api: api.fit(FRAME, "lead_time"), "numerical_features is 'lead_time'"),
        (lambda api: api.fit(FRAME, None, [None]), "categorical_features holds None"),
        (lambda api: api.fit(FRAME, timestamp_col=["timestamp"]), "timestamp_col is a list"),
        (lambda api: AnomalyDetectionAPI(anomaly_ratio="x"), "anomaly_ratio is 'x'"),
        (lambda api: AnomalyDetectionAPI(seed=-1), "seed is -1"),
        (lambda api: AnomalyDetectionAPI(threshold=0.5), "threshold is 0.5"),
        (lambda api: AnomalyDetectionAPI().explain_anomalies(FRAME, ALERTS, SCORES), "not trained yet"),
    ],
)
def test_arguments_of_another_kind_or_order(api: AnomalyDetectionAPI, call: Any, expected: str) -> None:
    with pytest.raises((DataError, NotFittedError)) as raised:
        call(api)
    assert expected in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


# Damaged files.

SWEEP = """
import random, sys, warnings
from pathlib import Path
from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.data.chunks import read_chunks, read_table
warnings.simplefilter("error")
whole, damaged = Path(sys.argv[1]).read_bytes(), Path(sys.argv[1]).with_name("damaged.parquet")
for seed in range(80):
    draw, content = random.Random(seed), bytearray(whole)
    if seed % 4 == 0:
        content = content[: draw.randrange(len(content))]
    for _ in range(draw.choice([1, 3, 20]) if seed % 4 else 0):
        # What is not in the last bytes is mostly values, any of which Parquet can hold.
        content[-1 - draw.randrange(min(len(content), 4000))] = draw.randrange(256)
    damaged.write_bytes(content)
    for read in (lambda: read_table(damaged), lambda: list(read_chunks(damaged, 40))):
        try:
            read()
        except AnomalyDetectionError as error:
            print(len(str(error).splitlines()))
"""


def test_damaged_parquet_files_are_one_line(tmp_path: Path) -> None:
    FRAME.assign(tags=[[1, 2]] * ROWS, kind=pd.Categorical(["a", "b"] * (ROWS // 2))).to_parquet(tmp_path / "a.parquet")
    # In a process of its own, which a crash would end.
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, str(tmp_path / "a.parquet")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split()
    assert len(lines) > 80
    assert set(lines) == {"1"}


class Raising:
    """A path whose text cannot be had."""

    def __fspath__(self) -> str:
        return "a"

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("column", ["unrelated", "lead_time", "supplier", "timestamp"])
def test_a_signalling_nan_is_missing(api: AnomalyDetectionAPI, column: str) -> None:
    odd, blank = ({**RECORD, column: value} for value in (decimal.Decimal("sNaN"), None))
    assert api.detect_anomaly(odd) == api.detect_anomaly(blank)
    api.explain_anomalies(odd, *api.predict(odd))


def test_a_cell_whose_text_cannot_be_had(api: AnomalyDetectionAPI) -> None:
    assert as_texts(pd.Series([Raising(), "a"])).tolist() == ["(Raising)", "a"]
    assert api.detect_anomaly({**RECORD, "unrelated": Raising()}) == api.detect_anomaly(RECORD)
    with pytest.raises(DataError, match=r"'\(Raising\)' in row 1, which is no number"):
        api.detect_anomaly({**RECORD, "lead_time": Raising()})


def test_numbers_beyond_floats_as_arguments(api: AnomalyDetectionAPI) -> None:
    with pytest.raises(DataError, match="threshold is beyond"):
        api.predict(FRAME, threshold=10**400)
    with pytest.raises(DataError, match="anomaly_ratio is beyond"):
        AnomalyDetectionAPI(anomaly_ratio=10**400)


@pytest.mark.parametrize("date", ["9999-05-21", "0001-05-21", "9999-05-21 10:00:00", datetime.date(9999, 5, 21)])
def test_a_date_out_of_range_is_missing(api: AnomalyDetectionAPI, date: Any) -> None:
    found, blank = ({**RECORD, "timestamp": value} for value in (date, None))
    assert api.detect_anomaly(found)["anomaly_score"] == api.detect_anomaly(blank)["anomaly_score"]
    _, report = api.detector.preprocessor.schema_.clean(to_frame([found, RECORD]))
    assert sum(report.columns["timestamp"].coded.values()) == 1


def test_a_column_whose_name_ends_in_a_nul() -> None:
    names = {"lead_time": "lead\0", "supplier": "who\0", "timestamp": "when\0"}
    odd, plain_names = FRAME.rename(columns=names), FRAME.rename(columns={k: v[:-1] for k, v in names.items()})
    scores = [AnomalyDetectionAPI().fit(frame).predict(frame)[1] for frame in (odd, plain_names)]
    assert np.isfinite(scores[0]).all()
    assert len(scores[0]) == len(scores[1])


def test_a_dict_of_columns_of_other_libraries() -> None:
    frame = to_frame(
        {"a": pl.Series([1, 2]), "b": pa.array(["x", "y"]), "c": pa.chunked_array([[1], [2]]), "d": [3, 4]}
    )
    assert frame.to_dict("list") == {"a": [1, 2], "b": ["x", "y"], "c": [1, 2], "d": [3, 4]}
