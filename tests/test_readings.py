"""Values that repeat others: stuck sensors and amended copies, against chance and what is natural."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nbinom, poisson

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.numbers.frequency import Frequency, learn_frequency, near_values
from anomaly_detection.features.repeats.agreements import agreeing, few_agreeing, near_others
from anomaly_detection.features.repeats.coincidences import mixed
from anomaly_detection.features.series.readings import Readings, _of_density
from anomaly_detection.model_files.branch_states import BRANCHES
from anomaly_detection.settings import RECIPE, make_detector, make_forest
from anomaly_detection.synthetic import generate
from benchmarks.batches import READINGS, devices
from mlx_iforest.convert.declared import StateError
from tests.repeating import LIMIT, NATS, sensors

NUMBERS = ["temperature", "pressure", "humidity"]
DATED = ["period"]


@cache
def readings(dated: bool = True, digits: int = 2, seed: int = 0, n: int = 2_000) -> Readings:
    """As fitted on sensors; not to be changed."""
    return Readings(NUMBERS, ["period"] if dated else []).fit(table(n, seed, dated, digits))


def table(n: int, seed: int, dated: bool = True, digits: int = 2) -> pd.DataFrame:
    frame = sensors(n, seed, digits)
    return frame if dated else frame.drop(columns=["period", "date"])


def evidence(found: Readings, frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(found.transform(frame), columns=found.get_feature_names_out(), index=frame.index)


def test_few_rows_are_compared_with_all_as_all_are_with_each_other() -> None:
    # Few values, so that rows agree in up to four of five columns, and 0 for what is missing.
    values = np.random.default_rng(0).integers(0, 4, (5, 60), dtype=np.uint64)
    cells = list(np.where(values > 0, mixed(values), np.uint64(0)))
    every, few = agreeing(cells, 60), few_agreeing(cells, 60, 20)
    assert set(every[0][:20].tolist()) == {0, 2, 3, 4}
    for one, own in zip(every, few, strict=True):
        np.testing.assert_array_equal(own[:20], one[:20])
        assert not own[20:].any()


def worst_share(sizes: tuple[int, ...], dated: bool, digits: int, seeds: int) -> float:
    shares = []
    for n in sizes:
        found = [
            readings(dated, digits, seed).transform(table(n, 1_000 + seed, dated, digits)) for seed in range(seeds)
        ]
        shares.append(np.mean([(one > NATS).mean(axis=0) for one in found], axis=0).max())
    return float(max(shares))


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("digits", [1, 2, 4])
def test_clean_batches_have_no_more_evidence_than_chance_gives_whatever_their_size(dated: bool, digits: int) -> None:
    assert worst_share((1_000, 5_000, 20_000), dated, digits, 3) <= LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("dated", [True, False])
def test_a_model_alerts_no_oftener_the_more_clean_records_come(dated: bool) -> None:
    # Counts of repeats gave 6, 6, 35 and 99 % alerts.
    def records(n: int, seed: int) -> pd.DataFrame:
        return sensors(n, seed).drop(columns=["period"] if dated else ["period", "date"])

    forest = make_forest(RECIPE, seed=0, contamination=0.01, backend="numba")
    detector = make_detector(RECIPE, None, forest).fit(records(2_000, 0))
    for n in (100, 1_000, 5_000, 20_000):
        assert float((detector.predict(records(n, n)) == -1).mean()) <= 0.03


@pytest.mark.slow
@pytest.mark.parametrize("dated", [True, False])
def test_clean_batches_of_hundred_thousands(dated: bool) -> None:
    assert worst_share((200_000,), dated, 2, 1) <= LIMIT


def test_training_records_have_no_more_evidence_than_chance_gives() -> None:
    for dated in (True, False):
        frame = table(2_000, 3, dated)
        found = Readings(NUMBERS, ["period"] if dated else []).fit_transform(frame)
        assert float((found > NATS).mean(axis=0).max()) <= LIMIT


@pytest.mark.parametrize("dated", [True, False])
def test_a_stuck_value_is_the_more_evidence_the_oftener_it_comes_and_the_less_among_many(dated: bool) -> None:
    found = readings(dated, 4)
    grown = []
    for n, stuck in ((1_000, 2), (1_000, 5), (1_000, 20), (20_000, 20)):
        new = table(n, 7, dated, 4)
        new.iloc[500 : 500 + stuck, new.columns.get_loc("humidity")] = new["humidity"].iloc[500]
        grown.append(float(evidence(found, new)["repeated humidity"].iloc[500]))
    two, five, twenty, among_many = grown
    assert two == 0  # two alike are chance among so many
    assert five < twenty
    assert NATS < among_many < twenty


def test_what_many_values_of_a_dense_batch_do_is_what_as_many_of_the_training_did_and_what_one_does_is_left() -> None:
    rng = np.random.default_rng(0)
    # Of the training rows one in a hundred had three nats, one in two hundred had four.
    known = Frequency(1.0, np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64), 1_000)
    known.levels, known.nats = np.array([3.0, 4.0]), -np.log([0.01, 0.005])
    many = np.zeros(2_000, dtype=np.int64)
    many[:60] = 1  # thirty values, twice each
    stuck = np.zeros(2_000, dtype=np.int64)
    stuck[:60] = 59
    evidence = np.where(np.arange(2_000) < 60, 8.0 + rng.random(2_000), 0.0)
    left = evidence - _of_density(evidence, many, known)
    assert (left >= 4.0).sum() <= 10
    assert (left >= 3.0).sum() == pytest.approx(20, abs=10)
    assert not left[60:].any()
    np.testing.assert_array_equal(_of_density(evidence, stuck, known), 0.0)
    np.testing.assert_array_equal(_of_density(evidence[:49], many[:49], known), 0.0)


def test_a_number_is_as_common_as_those_beside_it_in_its_span_of_time() -> None:
    values = np.array([20.0, 20.1, 20.1, 20.2, 20.9, 21.1, 19.0, 19.9, 20.0, np.nan, 20.1])
    spans = np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2])
    # Within ten steps of 20.0 lie 20.1 twice, 20.2, 20.9, 19.0 and 19.9 of the same span.
    near = near_values(np.array([20.0, 20.0, 30.0]), np.array([1, 2, 1]), values, spans, 0.1)
    assert near.tolist() == [6 / 20, 0.0, 0.0]


def test_records_that_lie_far_denser_in_time_than_those_of_the_training_alert_no_oftener() -> None:
    frame = generate("realistic", 34_000, seed=2, anomaly_ratio=0.0).frame
    rows = np.random.default_rng(0).permutation(len(frame))
    train, new = (frame.iloc[np.sort(part)].reset_index(drop=True) for part in (rows[:2_000], rows[2_000:12_000]))
    api = AnomalyDetectionAPI(seed=0, anomaly_ratio=0.05).fit(train)
    assert (api.predict(new)[0] == -1).mean() < 0.065


def test_a_value_that_is_common_may_be_repeated() -> None:
    frame = table(2_000, 0, dated=False, digits=4)
    frame.loc[::5, "humidity"] = 0.0
    found = Readings(NUMBERS).fit(frame)
    new = table(1_000, 1, dated=False, digits=4)
    new.loc[::5, "humidity"] = 0.0
    new.loc[1::50, "humidity"] = 47.1234
    told = evidence(found, new)["repeated humidity"]
    assert told[0] < 1
    assert told[1] > NATS


def test_columns_whose_values_are_few_or_common_are_not_looked_at() -> None:
    rng = np.random.default_rng(0)
    assert learn_frequency(rng.normal(size=19)) is None
    assert learn_frequency(rng.integers(0, 20, 1_000).astype(float)) is None
    assert learn_frequency(np.full(100, np.nan)) is None
    found = Readings(["x"]).fit(pd.DataFrame({"x": rng.integers(0, 9, 100) * 1.0}))
    assert found.transform(pd.DataFrame({"x": [1.0, 1.0]})).shape == (2, 0)


def test_natural_repeats_are_learned() -> None:
    # Two customers buy the same paper at the same price, in one record of ten.
    frame = table(2_000, 0, digits=4)
    natural = np.flatnonzero(np.random.default_rng(1).random(1_999) < 0.1)
    for name in NUMBERS:
        frame.loc[natural + 1, name] = frame[name].to_numpy()[natural]
    new = frame.iloc[:300]
    learned = Readings(NUMBERS, DATED).fit(frame)
    assert float(evidence(learned, new.assign(device="other")).max(axis=None)) < NATS
    unlearned = readings(True, 4)
    assert float(evidence(unlearned, new)["values repeated together"].max()) > NATS


def test_an_amended_copy_agrees_in_several_columns_with_one_and_the_same_row() -> None:
    found = readings()
    new = table(1_000, 5)
    new.loc[700, ["pressure", "humidity", "period"]] = new.loc[690, ["pressure", "humidity", "period"]]
    # Two columns that repeat two different rows are no copy's.
    new.loc[300, ["temperature", "period"]] = new.loc[290, ["temperature", "period"]]
    new.loc[300, "pressure"] = new.loc[291, "pressure"]
    told = evidence(found, new)
    assert (told.loc[[690, 700], "values repeated together"] > NATS).all()
    assert told.loc[300, "values repeated together"] == 0
    # What several say together, one does not say again.
    assert (told.loc[700, ["repeated pressure", "repeated humidity"]] == 0).all()
    values, usual = found.in_units(new.set_axis(np.arange(1, 1_001)), np.array([700, 300]))
    assert set(values[0, -1]) == {"pressure", "humidity"}
    assert (values[1, -1], usual[:, -1].tolist()) == ((), [691, None])
    assert values[0, :3].tolist() == found.in_units(new)[0][700, :3].tolist()


def test_rows_agree_by_chance_as_often_as_those_near_them_would() -> None:
    column = np.array([1, 1, 2, 3, 4, 5, 6, 8], dtype=np.uint64)
    wide = np.array([1, 1, 1, 1, 1, 1, 1, 2], dtype=np.uint64)
    apart = np.arange(9, 17, dtype=np.uint64)
    which = np.where(np.arange(8) < 2, 0b011, 0)
    # Beside the two that agree lie five others, of 400 places; any two of three columns may agree.
    found = near_others([column, column, apart], [wide, wide, apart], which, 20)
    np.testing.assert_allclose(found, [3 * 5 / 400] * 2 + [0.0] * 6)
    wide[6] = 2  # four are too few to tell
    assert not near_others([column, column, apart], [wide, wide, apart], which, 20).any()


@pytest.mark.parametrize("seed", range(3))
def test_readings_far_closer_together_than_those_of_the_training_agree_no_more_than_by_chance(seed: int) -> None:
    made = devices(100_000, seed)
    found = Readings([*READINGS]).fit(made.train)
    told = evidence(found, made.others.iloc[40_000:45_000].reset_index(drop=True))["values repeated together"]
    for nats in (3, 4, 5):
        assert float((told > nats).mean()) < np.exp(-nats)


def test_an_amended_copy_of_a_training_record_is_found_and_that_record_again_is_itself() -> None:
    frame = table(2_000, 0)
    found = readings()
    again = frame.tail(50)
    told = evidence(found, again)
    assert float((told > NATS).mean(axis=None)) <= LIMIT
    amended = frame.tail(1).assign(temperature=11.11, device="device 3")
    assert evidence(found, amended)["values repeated together"].iloc[0] > NATS
    values, usual = found.in_units(amended)
    assert (set(values[0, -1]), usual[0, -1]) == ({"pressure", "humidity"}, None)


def test_gaps_repeat_nothing_and_extreme_values_are_taken() -> None:
    frame = table(2_000, 0, digits=4)
    frame.loc[::3, "humidity"] = np.nan
    found = Readings(NUMBERS, DATED).fit(frame)
    new = table(200, 1, digits=4)
    new["humidity"] = np.nan
    new.loc[5:9, "pressure"] = 1.7e308
    new.loc[10:14, "period"] = None
    told = evidence(found, new)
    assert not told["repeated humidity"].any()
    assert (told.loc[5:9, "repeated pressure"] > NATS).all()
    assert np.isfinite(told.to_numpy()).all()
    frame.loc[3, "temperature"] = -1.7e308
    assert np.isfinite(Readings(NUMBERS, DATED).fit(frame).transform(new)).all()


def test_the_result_depends_on_no_order_and_on_no_codes() -> None:
    found = readings()
    new = table(500, 1)
    new.loc[3:9, "humidity"] = 44.44
    order = np.random.default_rng(0).permutation(500)
    other = new[new.columns[::-1]].iloc[order]
    other["period"] = pd.Categorical(other["period"].astype(str), categories=["1", *map(str, range(715, 699, -1))])
    np.testing.assert_array_equal(found.transform(other), found.transform(new)[order])


def test_words_name_the_column_the_count_and_the_row_and_weeks_only_where_there_are_dates() -> None:
    row = {"humidity": 44.44}
    within, apart = (FeatureSource("repeated humidity", "readings", ("humidity",), of) for of in (("period",), ()))
    both = FeatureSource("values repeated together", "readings", ("pressure", "humidity"), ("period",))

    def phrase(source: FeatureSource, value: Any, usual: Any) -> str:
        return Readings.phrase(source, value, usual, row, 2_000, None)

    assert phrase(within, 12, 1) == "12 rows within four weeks have this very humidity, 44.44"
    assert phrase(apart, 1_234, 1) == "1,234 rows have this very humidity, 44.44"
    names = ("pressure", "humidity")
    assert phrase(both, names, 412) == "pressure and humidity are those of row 412, within four weeks of it"
    undated = FeatureSource(both.name, both.kind, both.columns)
    assert phrase(undated, names, None) == "pressure and humidity are those of one of the 2,000 training records"
    assert [Readings.says(value) for value in (1, 2, (), names)] == [False, True, False, True]
    assert readings(False).feature_groups_ == [()] * 4


def test_the_mixture_is_that_of_the_books() -> None:
    knots = np.array([0.0, 1.0])
    none = np.zeros(0)
    made = Frequency(0.1, knots, np.ones(1), none, none.astype(np.int64), 10**6, 1_000.0, rate=2.0, shape=0.5)
    others, expected = np.array([0, 1, 3, 3]), np.array([0.1, 0.2, 0.5, 4.0])
    spread = 2.0 * expected
    usual = np.maximum(poisson.sf(others - 1, expected), nbinom.sf(others - 1, 0.5, 0.5 / (0.5 + spread)))
    told = made.evidence(others, expected, np.full(4, 1_000.0))
    np.testing.assert_allclose(told[1:3], -np.log(usual[1:3]), rtol=1e-9)
    # No more than are expected are no evidence.
    assert told[[0, 3]].tolist() == [0.0, 0.0]
    rng = np.random.default_rng(0)
    mean = np.full(20_000, 0.5)
    for rate, shape in ((1.0, 1_000.0), (4.0, 1.0)):
        made.fit_spread(rng.poisson(mean * rate * rng.gamma(shape, 1 / shape, 20_000)), mean)
        assert (made.rate, made.shape >= 100.0 if shape > 1 else made.shape) == (rate, True if shape > 1 else shape)


def read(found: Readings) -> Readings:
    arrays: dict[str, Any] = {}
    state = json.loads(json.dumps(BRANCHES["readings"].encode(found, "readings", arrays)))
    made: Readings = BRANCHES["readings"].decode(state, "readings", arrays)
    assert not arrays
    return made


@pytest.mark.parametrize("dated", [True, False])
def test_what_is_read_gives_the_same_bits(dated: bool) -> None:
    found, new = readings(dated), table(300, 1, dated)
    new.loc[3:9, "humidity"] = 44.44
    assert read(found).transform(new).tobytes() == found.transform(new).tobytes()
    nothing = Readings(["x"]).fit(pd.DataFrame({"x": [1.0, 1.0, 2.0]}))
    assert read(nothing).transform(pd.DataFrame({"x": [1.0]})).shape == (1, 0)


def of_humidity(name: str, change: Any) -> Any:
    def changed(frequencies: dict[str, Frequency]) -> dict[str, Frequency]:
        made = Frequency(**vars(frequencies["humidity"]))
        made.levels, made.nats = np.array([1.0, 2.0]), np.array([3.0, 4.0])
        setattr(made, name, change(getattr(made, name)))
        return {**frequencies, "humidity": made}

    return changed


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("frequencies_", of_humidity("knots", lambda knots: knots[::-1]), "ascending"),
        ("frequencies_", of_humidity("knots", lambda knots: knots[:0]), "between each two knots"),
        ("frequencies_", of_humidity("heights", lambda heights: heights[1:]), "between each two knots"),
        ("frequencies_", of_humidity("heights", lambda heights: -heights), "expected numbers in"),
        ("frequencies_", of_humidity("heights", lambda heights: heights * np.nan), "finite"),
        ("frequencies_", of_humidity("repeated", lambda values: values[::-1]), "ascending"),
        ("frequencies_", of_humidity("counts", lambda counts: counts[1:]), "a count for each"),
        ("frequencies_", of_humidity("counts", lambda counts: counts * 1_000), "a count for each"),
        ("frequencies_", of_humidity("counts", lambda counts: counts * 0), "expected numbers in"),
        ("frequencies_", of_humidity("levels", lambda levels: levels[::-1]), "ascending"),
        ("frequencies_", of_humidity("nats", lambda nats: nats[1:]), "nats of each level"),
        ("frequencies_", of_humidity("nats", lambda nats: nats[::-1]), "nats of each level"),
        ("frequencies_", of_humidity("step", lambda step: 0.0), "expected a number"),
        ("frequencies_", of_humidity("shape", lambda shape: 0.0), "expected a number"),
        ("frequencies_", of_humidity("apart", lambda apart: 2.0), "expected a number"),
        ("frequencies_", of_humidity("once", lambda once: -1.0), "expected a number"),
        ("frequencies_", lambda found: {"what": found["humidity"]}, "some of the columns"),
        ("together_", lambda chances: chances[1:], "each number of columns"),
        ("last_", lambda values: values[:, 1:], "each record that is remembered"),
        ("last_spans_", lambda spans: spans[1:], "each record that is remembered"),
        ("last_whole_", lambda keys: keys[1:], "each record that is remembered"),
        ("within", lambda within: ["what"], "some of the columns"),
        ("within", lambda within: ["period", "device"], "one span"),
    ],
)
def test_broken_state_is_refused(name: str, change: Any, words: str) -> None:
    found = Readings()
    found.__dict__.update(vars(readings()))
    setattr(found, name, change(getattr(found, name)))
    with pytest.raises(StateError, match=words):
        read(found)


def test_new_models_have_evidence_for_counts_and_take_records_without_names() -> None:
    frame = sensors(600, 0).drop(columns="period").assign(reading=[f"R{i}" for i in range(600)])
    features = SupplyChainFeatures(groups=("num", "copies", "readings")).fit(frame)
    names = list(features.get_feature_names_out())
    assert {"copied record", "values repeated together", "repeated humidity"} <= set(names)
    assert "repeats" not in features.named_transformers_
    assert features.known_share(frame) == features.known_share(frame.drop(columns="reading")) == 1.0
    new = sensors(200, 1).drop(columns="period").assign(reading=[f"N{i}" for i in range(200)])
    new.loc[70, ["device", "temperature", "pressure", "humidity", "date"]] = new.iloc[60]
    extended, _ = features.extend(new)
    at = names.index("copied record")
    assert features.features_of(extended)[[60, 70], at].min() > NATS
    values, usual = features.in_units(extended, np.array([70]))
    assert (values[0, at], usual[0, at]) == (1, 60)
    assert features.known_share(new) == 0.0


def test_a_value_that_a_category_brings_with_it_is_not_looked_at() -> None:
    rng = np.random.default_rng(0)
    lane = rng.integers(0, 400, 2000)
    frame = pd.DataFrame(
        {
            "distance": rng.uniform(100, 9000, 400).round(1)[lane],
            "weight": rng.uniform(1, 900, 2000).round(2),
            "lane": pd.Categorical([f"lane {i}" for i in lane]),
        }
    )
    found = Readings(["distance", "weight"], []).fit(frame)
    assert [str(name) for name in found.get_feature_names_out()] == ["repeated weight"]
    # Without the lane nobody knows why.
    alone = Readings(["distance", "weight"], []).fit(frame.drop(columns="lane"))
    assert "repeated distance" in alone.get_feature_names_out()
