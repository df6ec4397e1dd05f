"""One record by itself is read and judged bit for bit as a table of one; what is done at once as one by one."""

from __future__ import annotations

import datetime
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import RobustScaler, StandardScaler

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.columns.levels import Combinations, CombinedLevels, Levels, LevelValues
from anomaly_detection.data.columns.records import RecordReader, is_record
from anomaly_detection.data.columns.schema import infer_schema
from anomaly_detection.data.columns.table import Coded, Table, as_table
from anomaly_detection.errors import DataError
from anomaly_detection.features.categories.spelling import Spelling, _Neighbours
from anomaly_detection.features.dates.restated_columns import PARTS, part_of
from anomaly_detection.features.evidence.evidence import Evidence, FeatureScale, Tails, learn_tails
from anomaly_detection.features.forms import MOST_DECIMALS, Decimals, Gaps, decimals
from anomaly_detection.features.numbers.contexts import Contexts
from anomaly_detection.features.series.readings import Readings
from anomaly_detection.standardising import Standardising
from tests.repeating import sensors

ROWS = 600


@cache
def history() -> pd.DataFrame:
    """A table with a column of every kind, and every way in which a value is missing."""
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 300, ROWS)), "D")
    weight = np.round(rng.lognormal(3, 1, ROWS), 2)
    words = np.where(rng.random(ROWS) < 0.1, "Captured Separately", [f"{w:.2f}" for w in 3.1 * weight])
    return pd.DataFrame(
        {
            "order_id": [f"PO-{i:05d}" for i in range(ROWS)],
            "line": np.arange(ROWS) + 70_000,
            "supplier": rng.choice(["Alpha", "Beta Metals", "Gamma"], ROWS),
            "mode": rng.choice(["Air", "Sea", "N/A", "Road"], ROWS, p=[0.4, 0.4, 0.05, 0.15]),
            "rush": rng.choice(["yes", "no"], ROWS),
            "zip": rng.choice([f"{z}" for z in range(10_000, 99_999, 7_001)], ROWS),
            "quantity": rng.integers(1, 12, ROWS),
            "weight": np.where(rng.random(ROWS) < 0.03, np.nan, weight),
            "freight": words,
            "value": [f"{v:,.2f}" for v in 90.0 * weight],
            "age": np.where(rng.random(ROWS) < 0.05, -999, rng.integers(1, 90, ROWS)),
            "ordered": days.strftime("%d-%b-%y"),
            "shipped": days + pd.to_timedelta(rng.integers(1, 9, ROWS), "D"),
            "delivered": (days + pd.to_timedelta(rng.integers(9, 40, ROWS), "D")).strftime("%Y-%m-%d %H:%M"),
            "invoiced": (days + pd.to_timedelta(rng.integers(0, 60, ROWS), "D")).strftime("%m/%d/%Y"),
            "paid": (days + pd.to_timedelta(rng.integers(0, 60, ROWS), "D")).strftime("%d.%m.%Y"),
            "month": days.month,
            "note": [f"call before {i} and leave at the door {i * 7}" for i in range(ROWS)],
        }
    )


@cache
def api() -> AnomalyDetectionAPI:
    """As fitted on `history`; not to be changed."""
    return AnomalyDetectionAPI(seed=0).fit(history())


ODD: dict[str, list[Any]] = {
    "numbers": [
        *(0, -1, 3, 2.5, -0.0, 1e300, 1e-300, np.float64(2.5), np.int64(3), True, None, np.nan, pd.NA, -999, -999.0),
        *(
            "3",
            " 12 ",
            "1,234.50",
            "1.234,50",
            "007",
            "-12.5",
            "+4",
            "1e3",
            "12 kg",
            "12.345678901234567",
            "-999",
            "",
            "-",
        ),
        *("n/a", "Captured Separately", "see invoice 12", "inf", 2**70, float("inf"), "123456789012345678", "5.", ".5"),
    ],
    "dates": [
        *(
            "2024-03-04",
            "2024-03-04 05:06",
            "2024-03-04T05:06:07.123",
            "2024-02-30",
            "04-Mar-24",
            "4/3/2024",
            "31.12.2024",
        ),
        *("13/14/2024", "14/03/2024", "3/4/24", "31.04.2024", "1.2.2024", "04.13.2024", "05 May 2024", "5-Sept-99"),
        *("5-Foo-24", "31-Feb-24", "12/31/1066", "03/04/2024 10:00", "03.04/2024"),
        *("9999-12-31", "0001-01-01", "1500-01-01", "", None, "TBD", "soon", np.nan, pd.NaT, 20240304, 45_000.5, True),
        *(pd.Timestamp("2024-03-04 05:06:07.123456789"), datetime.datetime(2024, 3, 4, 5), datetime.date(2024, 3, 4)),
        *(pd.Timestamp("2024-03-04", tz="Europe/Berlin"), datetime.datetime(9999, 12, 31), "2024-W10", "2024-03-04Z"),
    ],
    "texts": [
        *("Alpha", "Alpah", " Beta Metals ", "never seen", "yes", "No", "true", "Air", "N/A", "", None, np.nan, 3, 3.0),
        *("3.0", -0.0, True, b"Air", datetime.date(2024, 1, 1), "\ud800", ["a"], {"a": 1}, "x" * 300, "10000", 10_000),
    ],
}
KINDS = {
    **dict.fromkeys(["quantity", "weight", "freight", "value", "age", "month"], "numbers"),
    **dict.fromkeys(["ordered", "shipped", "delivered", "invoiced", "paid"], "dates"),
}


def records(count: int, seed: int) -> list[dict[str, Any]]:
    """Records of `history` with some odd cells."""
    rng = np.random.default_rng(seed)
    frame, found = history(), []
    for row in rng.integers(0, ROWS, count):
        record = frame.iloc[row].to_dict()
        for name in record:
            if rng.random() < 0.12:
                odd = ODD[KINDS.get(name, "texts")]
                record[name] = odd[rng.integers(len(odd))]
        found.append(record)
    return found


def outcome(read: Any) -> Any:
    """What a call gives, or the message that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except DataError as error:
            return str(error)


def assert_same_table(found: Table, expected: Table) -> None:
    assert found.columns == expected.columns
    for name in expected:
        one, other = found[name], expected[name]
        assert isinstance(one, Coded) == isinstance(other, Coded), name
        if isinstance(one, Coded):
            assert [str(cell) for cell in one.objects()] == [str(cell) for cell in other.objects()], name
        elif other.dtype.kind in "fM" and one.dtype == other.dtype:
            np.testing.assert_array_equal(one, other, strict=True, err_msg=name)
        else:
            assert str(one[0]) == str(other[0]) or (pd.isna(one[0]) and pd.isna(other[0])), name


def test_a_record_is_read_and_judged_as_a_table_of_one() -> None:
    features, detector = api().preprocessor, api().detector
    told = 0
    for record in records(70, 0):
        assert is_record(record)
        alone = outcome(lambda record=record: features.prepare(record))
        expected = outcome(lambda record=record: features.prepare([record]))
        if isinstance(expected, str) or isinstance(alone, str):
            assert alone == expected
            told += 1
            continue
        assert_same_table(alone[0], expected[0])
        assert alone[1] == expected[1]
        found, wanted = (features.features_of(each[0]) for each in (alone, expected))
        np.testing.assert_array_equal(found, wanted)
        score = outcome(lambda record=record: detector.score_samples(record))
        np.testing.assert_array_equal(score, detector.score_features(wanted))
    assert told < 60


def test_alerts_of_a_record_are_those_of_a_table_of_one() -> None:
    for record in records(25, 9):
        one, other = (outcome(lambda data=data: api().alerts(data)) for data in (record, [record]))
        assert [str(alert) for alert in one] == [str(alert) for alert in other]


def test_what_is_remembered_of_cells_is_bounded_and_tells_equal_ones_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly_detection.data.columns.records._REMEMBERED", 3)
    frame = pd.DataFrame({"n": [1, 5, 2, 2, 7] * 8, "kind": ["1", "True", "1.5", "-0"] * 10})
    reader = RecordReader(infer_schema(frame, {"kind": "categorical"}))
    for cell, said in ((1, "1"), (True, "True"), (1.0, "1"), (0.0, "0"), (-0.0, "-0"), ("1.5", "1.5")) * 2:
        read = reader.read({"n": 1, "kind": cell})
        assert read is not None
        assert read[0].coded("kind").objects().tolist() == [said]


def test_a_record_without_a_column_is_told_of() -> None:
    record = history().iloc[0].to_dict()
    del record["weight"]
    with pytest.raises(DataError, match=r"Missing column.*weight"):
        api().detect_anomaly(record)
    del record["line"]
    record["weight"] = 1.0
    assert api().detect_anomaly(record)["risk_level"]  # what only names a record may be left out


@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_a_few_rows_find_what_they_repeat_as_many_do(size: int) -> None:
    frame = sensors(3_000, 0, 1).assign(humidity=lambda f: f.humidity.where(np.arange(len(f)) % 5 > 0))
    readings = Readings(["temperature", "pressure", "humidity"], ["period"]).fit(frame)
    rng = np.random.default_rng(size)
    new = sensors(3_000, 5, 1)
    for _ in range(25):
        some = pd.concat([new.sample(size, random_state=rng), frame.sample(size, random_state=rng)]).iloc[-size - 1 :]
        some = some.head(size).reset_index(drop=True)
        some.loc[0, "temperature"] = frame["temperature"].iloc[-1]
        X = as_table(some)
        values, spans = X.matrix(list(readings.frequencies_)), readings._spans(X)
        few, every = readings._among_few(X, values, spans), readings._among_all(X, values, spans)
        given = ~np.isnan(values)
        for one, other in zip(few[:2], every[:2], strict=True):
            np.testing.assert_array_equal(one[given], other[given])
        for one, other in zip(few[2:], every[2:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_combinations_at_once_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {name: pd.Categorical(rng.choice(list("abcdefgh")[:size], 200)) for size, name in enumerate("xyz", 3)}
    )
    frame.loc[::9, "x"] = np.nan
    new = pd.DataFrame({name: pd.Categorical(rng.choice([*"abcdefghq"], 300)) for name in "xyz"})
    new.loc[::7, "y"] = np.nan
    combined = [CombinedLevels(frame, names) for names in ((), ("x",), ("x", "y"), ("z", "x"), ("y",), ("y", "z"))]
    for largest in (1 << 16, 20):
        monkeypatch.setattr("anomaly_detection.data.columns.levels._LARGEST_TABLE", largest)
        found = Combinations(combined).codes(as_table(new))
        np.testing.assert_array_equal(found, np.column_stack([one.codes(new) for one in combined]))
    levels = {name: Levels(frame[name]) for name in "xyz"}
    values = [rng.normal(size=len(one) + 1) for one in levels.values()]
    expected = [own[one.codes(new[name])] for own, (name, one) in zip(values, levels.items(), strict=True)]
    np.testing.assert_array_equal(LevelValues([*levels.items()], values).of(as_table(new)), np.column_stack(expected))


def test_standardising_is_what_the_scalers_do() -> None:
    rng = np.random.default_rng(0)
    X = rng.lognormal(size=(500, 6)).astype(np.float32)
    X[::11, 2] = np.nan
    parts = [
        ("a", StandardScaler(), slice(-3, None)),
        ("b", StandardScaler(with_mean=False, with_std=False), slice(0, 2)),
    ]
    for scaler in (StandardScaler(), ColumnTransformer(parts, sparse_threshold=0.0)):
        done = Standardising.of(scaler.fit(X))
        assert done is not None
        np.testing.assert_array_equal(done.apply(X), np.asarray(scaler.transform(X), dtype=np.float32), strict=True)
    assert Standardising.of(RobustScaler().fit(X)) is None


def test_evidence_interpolates_between_knots_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    count = 40
    knots = np.sort(np.round(rng.normal(size=(2, count, 13)), 1), axis=2)
    knots[:, 3] = np.nan
    worth = np.sort(rng.exponential(2.0, (2, count, 13)), axis=2)
    slope = rng.uniform(0.05, 2.0, (2, count))
    scales = [FeatureScale(True, False, True, bool(i % 3), False, i) for i in range(count)]
    X = np.round(rng.normal(size=(300, count)) * 2, 1).astype(np.float32)
    X[::13] = np.nan
    found = Evidence(scales, Tails(np.zeros(count), np.ones((2, count)), knots, worth, slope)).of(X)
    for i in range(count):
        sides = []
        for side, sign in ((0, 1.0), (1, -1.0)):
            x, own = sign * X[:, i].astype(np.float64), knots[side, i]
            within = np.interp(-x, -own[::-1], worth[side, i][::-1])
            beyond = worth[side, i, -1] + (x - own[-1]) / slope[side, i]
            sides.append(np.zeros(len(x)) if np.isnan(own[-1]) else np.where(x > own[-1], beyond, within))
        both = np.maximum(np.maximum(*sides) - np.log(2.0), 0.0)
        expected = np.where(np.isnan(X[:, i]), 0.0, sides[0] if scales[i].one_sided else both)
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-6, atol=1e-12)


def test_a_break_of_a_rule_that_all_keep_is_as_rare_as_it_was() -> None:
    scales = [FeatureScale(True, False, True, False, False, i) for i in range(2)]
    kept = np.zeros((1_000, 2), dtype=np.float32)
    kept[:2, 1] = 3.0  # by two records it was not
    found = Evidence(scales, learn_tails(kept, scales, [0.1] * 2))
    none, slightly, up, down = found.of(np.array([[0, 0], [0.01, 0.01], [1, 1], [-1, -1]], dtype=np.float32))
    assert not none.any()
    assert slightly.max() < 0.1
    assert up + np.log(2.0) == pytest.approx(np.log([1_001 / 0.5, 1_001 / 2.5]), rel=1e-4)
    assert down + np.log(2.0) == pytest.approx(np.log([1_001 / 0.5] * 2), rel=1e-4)


def test_a_row_is_weighed_by_its_two_columns_with_most_evidence_and_a_column_by_its_two_features() -> None:
    rng = np.random.default_rng(0)
    judged = [2, 0, 1, 0, 0, 1, 3]
    scales = [FeatureScale(True, True, False, True, False, column) for column in judged]
    empty = Tails(np.zeros(7), np.ones((2, 7)), np.full((2, 7, 1), np.nan), np.zeros((2, 7, 1)), np.ones((2, 7)))
    evidence = np.round(rng.exponential(3.0, (200, 7)), 0).astype(np.float32)
    weighing = Evidence(scales, empty)
    for weighing.agreeing, weighing.second in ((0.2, 0.05), (0.0, 0.15)):
        expected = []
        for row in evidence.astype(np.float64):
            columns = []
            for column in range(4):
                first, *others = sorted((v for v, own in zip(row, judged, strict=True) if own == column), reverse=True)
                columns.append(first + weighing.agreeing * max(others, default=0.0))
            columns.sort()
            expected.append(columns[-1] + weighing.second * columns[-2])
        np.testing.assert_array_equal(weighing.total(evidence), np.array(expected, dtype=np.float32))


def test_decimals_are_the_fewest_that_say_a_number() -> None:
    values = np.array(
        [0.0, -3.0, 1.5, 0.1 + 0.2, 1 / 3, 1e-12, 1e9 + 0.5, 2.25e8 + 0.25, np.nan, np.inf, 0.001, 123.45]
    )
    expected = [
        -1
        if np.isnan(v)
        else 0
        if abs(v) >= 1e9
        else next(
            (d for d in range(MOST_DECIMALS) if abs(np.round(abs(v), d) - abs(v)) <= 1e-9 * max(abs(v), 1e-3)),
            MOST_DECIMALS,
        )
        for v in values
    ]
    assert decimals(values).tolist() == expected


def test_parts_of_dates_are_those_of_pandas() -> None:
    dates = pd.Series(pd.date_range("1969-12-20", "2028-01-10", freq="31h"))
    at = dates.dt
    expected = {
        "month": at.month,
        "year": at.year,
        "quarter": at.quarter,
        "weekday": at.day_of_week,
        "day": at.day,
        "day of the year": at.day_of_year,
        "week": at.isocalendar().week,
        "hour": at.hour,
        "year and month": 12 * at.year + at.month,
        "year and quarter": 4 * at.year + at.quarter,
    }
    assert expected.keys() == PARTS.keys()
    for part, values in expected.items():
        np.testing.assert_array_equal(part_of(dates.to_numpy(), part), values.astype("float64"))
    assert np.isnan(part_of(np.array(["NaT"], dtype="datetime64[ns]"), "week")).all()


def test_spelling_finds_every_slip_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    names = sorted({"".join(rng.choice([*"abc"], rng.integers(3, 7))) for _ in range(60)})
    column = pd.Series(pd.Categorical(rng.choice(names, 600)), name="c")
    learned = Spelling().fit(pd.DataFrame({"c": column})).learned_["c"]
    asked = sorted({"".join(rng.choice([*"abc"], rng.integers(2, 8))) for _ in range(200)} - set(names))
    judged = Spelling()
    judged.learned_, judged.n_rows_ = {"c": learned}, 600
    alike = [any(one_slip(name, other) for other in learned.names if len(other) >= 4) for name in learned.names]
    assert _Neighbours(learned.names).have(learned.names).tolist() == alike
    near = judged.in_units(pd.DataFrame({"c": pd.Categorical(asked)}))[1][:, 0]
    for text, found in zip(asked, near, strict=True):
        slips = [name for name in learned.names if len(name) >= 4 and len(text) >= 3 and one_slip(text, name)]
        assert found == min(slips, default=None), text


def one_slip(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) == 1:
        short, long = sorted((one, other), key=len)
        return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
    if len(one) != len(other) or one == other:
        return False
    different = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    return len(different) == 1 or (
        len(different) == 2
        and different[1] == different[0] + 1
        and one[different[0]] + one[different[1]] == other[different[1]] + other[different[0]]
    )


def test_a_column_forgets_what_many_models_asked_of_it() -> None:
    column = Coded.of(np.zeros(1), ["Alpha"])
    asked = [lambda one, i=i: np.array([i + len(one.names)]) for i in range(2_500)]
    assert [int(column.made(make)[0]) for make in asked] == list(range(1, 2_501))
    assert len(column._made) <= 1_000


def test_nothing_is_told_of_the_decimals_of_numbers_with_all_digits() -> None:
    rng = np.random.default_rng(0)
    table = as_table(
        pd.DataFrame({"measured": rng.lognormal(size=500), "price": np.round(rng.lognormal(3, 1, 500), 2)})
    )
    found = Decimals().fit(table)
    assert list(found.learned_) == ["price"]
    told = found.transform(as_table(pd.DataFrame({"measured": [0.0022116345], "price": [0.0022]})))
    assert told[0, 0] > 5.0
    # A few discounts that come again have the decimals that they have; one that never was has too many.
    rates = as_table(pd.DataFrame({"rate": [0.2] * 995 + [0.32] * 5}))
    told = Decimals().fit(rates).transform(as_table(pd.DataFrame({"rate": [0.32, 0.325]})))
    assert (told[0, 0], told[1, 0] > 5.0) == (0.0, True)
    none = Decimals().fit(table.only(["measured"]))
    assert none.transform(table.only(["measured"])).shape == (500, 0)


def test_a_gap_that_many_rows_bring_is_worth_less() -> None:
    table = as_table(pd.DataFrame({"x": np.arange(1_000.0)}))
    found = Gaps().fit(table)
    alone, among = (
        found.transform(as_table(pd.DataFrame({"x": [np.nan] * gaps + [1.0] * (100 - gaps)}))) for gaps in (1, 32)
    )
    assert alone[0, 0] > 8.0
    np.testing.assert_allclose(among[:32, 0], alone[0, 0] / 2.0, rtol=1e-5)
    assert not among[32:].any()
    # One in a hundred is no more than one.
    seldom = Gaps().fit(as_table(pd.DataFrame({"x": [np.nan] * 9 + [1.0] * 991})))
    few, usual = (
        seldom.transform(as_table(pd.DataFrame({"x": [np.nan] * gaps + [1.0] * (1_000 - gaps)})))[0, 0]
        for gaps in (1, 9)
    )
    assert few == usual


def test_a_share_of_a_whole_is_not_divided_by_an_amount() -> None:
    rng = np.random.default_rng(0)
    amount = np.exp(rng.normal(5.0, 1.0, 800))
    # Both follow the amount exactly; a tax is a price for each of it, a share is none.
    frame = pd.DataFrame({"amount": amount, "tax": 0.2 * amount, "share": amount / amount.max()})
    found = Contexts(["tax", "share"], [], ["amount"]).fit(as_table(frame.round(6)))
    divided = [name for name in found.get_feature_names_out() if "for each amount" in name]
    assert divided
    assert not any(name.startswith("share") for name in divided)
