"""Records that say what another says but for one number: which are found, what that proves, and what is told."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.repeats.amended import Amended
from anomaly_detection.features.repeats.recent_twins import RecentTwins
from anomaly_detection.model_files.branch_states import BRANCHES
from anomaly_detection.synthetic import generate
from mlx_iforest.convert.declared import StateError
from tests.repeating import LIMIT, NATS, sensors

NUMBERS = ["temperature", "pressure", "humidity"]
SAID = ["device", *NUMBERS]
SOURCE = FeatureSource("amended record", "amended", tuple(SAID))


def readings(n: int, seed: int = 0, digits: int = 4) -> pd.DataFrame:
    return sensors(n, seed, digits)[SAID]


def test_a_record_with_one_other_number_is_found_here_and_among_the_training_records() -> None:
    frame = readings(400)
    amended = Amended(NUMBERS).fit(frame)
    new = readings(60, 1)
    new.loc[7] = new.loc[3].to_numpy()
    new.loc[7, "pressure"] += 1.0
    new.loc[20] = frame.loc[9].to_numpy()
    new.loc[20, "humidity"] += 1.0
    found = amended.transform(new)[:, 0]
    assert np.flatnonzero(found).tolist() == [3, 7, 20]
    assert (found[[3, 7, 20]] > NATS).all()
    assert amended.transform(new.iloc[[20]])[0, 0] > NATS
    values, usual = amended.in_units(new)
    assert values[[3, 7, 20, 5], 0].tolist() == ["pressure", "pressure", "humidity", None]
    assert usual[[3, 7, 20, 5], 0].tolist() == [7, 3, None, None]
    assert [part.tolist() for part in amended.in_units(new, np.array([7]))] == [[["pressure"]], [[3]]]


def test_the_very_record_a_copy_a_gap_two_other_numbers_and_another_category_are_none() -> None:
    frame = readings(400)
    frame.loc[300:, "humidity"] = np.nan
    amended = Amended(NUMBERS).fit(frame)
    assert not amended.transform(frame.iloc[[7]].assign(humidity=np.nan)).any()
    assert not amended.transform(frame.iloc[[307]].assign(humidity=5.0)).any()
    assert not amended.transform(frame).any()
    assert not amended.transform(frame.iloc[[5]]).any()
    assert not amended.transform(frame.iloc[[5, 5]]).any()
    new = frame.iloc[[5, 6]].copy()
    new[["pressure", "humidity"]] += 1.0
    assert not amended.transform(new).any()
    assert not amended.transform(frame.iloc[[5]].assign(device="another")).any()


def test_a_twin_of_a_record_of_before_is_found_and_told_of_also_when_it_comes_again() -> None:
    amended, before = Amended(NUMBERS).fit(readings(400)), readings(50, 1)
    amended.keep_recent()
    new = readings(30, 2)
    new.loc[4] = before.loc[7].to_numpy()
    new.loc[4, "pressure"] += 1.0
    for frame, twins in ((before, []), (before, []), (new.iloc[[4]], [0]), (new, [4]), (before, [7])):
        assert np.flatnonzero(amended.transform(frame)[:, 0]).tolist() == twins
        values, told = amended.in_units(frame)
        assert values[twins, 0].tolist() == ["pressure"] * len(twins)
        amended.remember(frame, lambda at, frame=frame: lambda: f"{len(frame)}-{at}")
    assert told[7, 0] == "1-0"
    assert len(amended.recent or ()) == 80


def test_of_recent_ones_the_oldest_are_forgotten() -> None:
    recent, rest = RecentTwins(2, 3), np.arange(5, dtype=np.uint64) // 2
    numbers = np.array([[1.0, each] for each in range(5)])
    recent.add(rest, numbers, lambda at: lambda: str(at))
    assert len(recent) == 3
    assert recent.twins(rest, numbers) == {2: (1, "3"), 3: (1, "2")}
    assert recent.twins(rest, numbers + np.array([1.0, 0.0])) == {2: (0, "2"), 3: (0, "3"), 4: (0, "4")}


def test_of_three_the_reason_names_one_that_differs() -> None:
    amended = Amended(NUMBERS).fit(readings(400))
    new = readings(8, 1)
    new.loc[[2, 4]] = new.loc[1].to_numpy()
    new.loc[4, "pressure"] += 1.0
    assert amended.in_units(new)[1][[1, 2, 4], 0].tolist() == [4, 4, 1]


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_clean_records_are_none_whatever_their_number(digits: int) -> None:
    shares: dict[int, list[float]] = {n: [] for n in (100, 1_000, 20_000)}
    for seed in range(4):
        amended = Amended(NUMBERS).fit(readings(1_000, seed, digits))
        for n, found in shares.items():
            found.append(float((amended.transform(readings(n, 100 + seed, digits)) > NATS).mean()))
    assert max(float(np.mean(found)) for found in shares.values()) <= LIMIT


def test_natural_ones_are_learned() -> None:
    frame = readings(400)
    frame.loc[:199] = frame.loc[200:].to_numpy()
    frame.loc[:199, "pressure"] += 1.0
    assert float(Amended(NUMBERS).fit_transform(frame).max()) < 0.1


def test_orders_are_compared_where_others_agree_by_chance() -> None:
    frame = readings(400).assign(order=[f"R{i // 2}" for i in range(400)])
    assert Amended(NUMBERS, ["order"]).fit(frame).names_ == []
    frame.loc[:19, SAID] = frame.loc[100:119, SAID].to_numpy()
    frame.loc[:19, "pressure"] += 1.0
    amended = Amended(NUMBERS, ["order"]).fit(frame)
    assert amended.names_ == ["order"]
    again = frame.iloc[[150]].assign(pressure=1.0)
    assert amended.transform(again)[0, 0] > NATS
    assert not amended.transform(again.assign(order="R9999")).any()
    assert amended.feature_columns_ == [(*SAID, "order")]


def test_of_many_numbers_those_that_agree_least_may_differ() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"n{i}": rng.integers(0, 2 ** (i + 1), 300).astype(float) for i in range(12)})
    assert set(Amended(list(frame)).fit(frame).amended_) == {f"n{i}" for i in range(4, 12)}


@pytest.mark.parametrize(
    ("usual", "clause"),
    [
        (3, "the record says what row 3 says, but for pressure 1,013"),
        (None, "the record says what one of the 400 training records says, but for pressure 1,013"),
    ],
)
def test_the_phrase(usual: Any, clause: str) -> None:
    assert Amended.phrase(SOURCE, "pressure", usual, {"pressure": 1013.0}, 400, None) == clause
    assert Amended.says("pressure")
    assert not Amended.says(None)


def test_an_order_that_was_entered_twice_with_another_amount_is_an_alert_and_told() -> None:
    history = generate("realistic", 1_500, seed=3).frame
    api = AnomalyDetectionAPI(seed=0, anomaly_ratio=0.02).fit(history)
    new = generate("realistic", 1_900, seed=3).frame.iloc[1_500:].reset_index(drop=True)
    twice = new.iloc[[10]].assign(order_id="PO-9999999", order_value=new["order_value"].iloc[10] * 1.1)
    told = {alert.row: alert for alert in api.alerts(pd.concat([new, twice], ignore_index=True))}
    assert "the record says what row 11 says, but for order_value" in told[401].reasons[0].text


def read(amended: Amended) -> Amended:
    arrays: dict[str, Any] = {}
    state = json.loads(json.dumps(BRANCHES["amended"].encode(amended, "amended", arrays)))
    made: Amended = BRANCHES["amended"].decode(state, "amended", arrays)
    assert not arrays
    return made


def test_files_hold_it() -> None:
    amended = Amended(NUMBERS).fit(readings(400))
    new = readings(50, 1)
    new.loc[7] = new.loc[3].to_numpy()
    new.loc[7, "pressure"] += 1.0
    np.testing.assert_array_equal(read(amended).transform(new), amended.transform(new))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("keys_", lambda keys: keys[::-1], "ascending"),
        ("keys_", lambda keys: keys[:0], "a record"),
        ("alike_", lambda keys: np.append(keys, keys[-1:]), "ascending"),
        ("remembered_", lambda count: 401, "records at most"),
        ("amended_", lambda names: ["what", "else"], "among the columns"),
        ("amended_", lambda names: names[:1], "two numbers"),
        ("names_", lambda names: ["device"], "among the other columns"),
    ],
)
def test_broken_state_is_refused(name: str, change: Any, words: str) -> None:
    amended = Amended(NUMBERS).fit(readings(400))
    setattr(amended, name, change(getattr(amended, name)))
    with pytest.raises(StateError, match=words):
        read(amended)
