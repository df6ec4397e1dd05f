"""Copies of records that were judged before: by another request, another process, before a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from service_example import RECORDS, client_of, model_file, resting, simulated

from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.features.repeats.recent_records import RecentRecords
from anomaly_detection.service.records.in_effect import compare_with_recent
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from tests.repeating import sensors

SAID = ["device", "temperature", "pressure", "humidity"]


def orders(n: int, seed: int) -> pd.DataFrame:
    frame = sensors(n, seed, digits=4)[SAID]
    frame["number"] = [f"R{seed}-{i}" for i in range(n)]
    return frame


def learned() -> Copies:
    copies = Copies(["number"]).fit(orders(400, 0))
    copies.keep_recent()
    return copies


def remember(copies: Copies, frame: pd.DataFrame) -> None:
    copies.remember(frame, lambda at: lambda: f"number {frame['number'].iloc[at]}")


def test_a_copy_of_a_record_of_before_is_one_however_many_come_with_it() -> None:
    copies, before = learned(), orders(50, 1)
    remember(copies, before)
    for n in (1, 30):
        new = orders(n, 2)
        new.loc[0, SAID] = before.loc[7, SAID]
        evidence = copies.transform(new)[:, 0]
        assert np.flatnonzero(evidence).tolist() == [0]
        values, told = copies.in_units(new)
        assert (values[0, 0], told[0, 0]) == (1, "number R1-7")
        assert not values[1:].any()


def test_a_record_that_comes_again_is_itself() -> None:
    copies, before = learned(), orders(50, 1)
    remember(copies, before)
    remember(copies, before)
    assert len(copies.recent or ()) == 50
    assert not copies.transform(before).any()
    nameless = before.assign(number=None)
    assert not copies.transform(nameless.iloc[:1]).any()


def test_those_that_come_together_are_counted_once() -> None:
    copies, before = learned(), orders(3, 1)
    before.loc[1, SAID] = before.loc[0, SAID]
    remember(copies, before)
    assert copies.in_units(before)[0][:, 0].tolist() == [1, 1, 0]


def test_the_oldest_are_forgotten() -> None:
    recent = RecentRecords(3)
    keys = np.arange(5, dtype=np.uint64)
    recent.add(keys // 2, keys, lambda at: lambda: str(at))
    assert len(recent) == 3
    assert recent.alike(np.array([0, 1, 2], np.uint64)) == [1, 2]
    assert recent.others(1, [3]) == ["2"]
    assert recent.others(1, [2, 3]) == []


def doubled(record: dict[str, object], number: int = 1) -> dict[str, object]:
    return {**record, "transaction_id": f"TX-9-{number:06d}"}


def test_a_record_that_is_sent_again_under_another_number_is_an_alert() -> None:
    judge = Judge.load(model_file(), 1, 1)
    first, *others = [Incoming.of(record) for record in simulated(40, seed=5, first=5000)]
    for record in (first, *others):
        judge.judge([record])
    (same,), (again,) = judge.judge([first]), judge.judge([Incoming.of(doubled(first.fields))])
    assert same.alert is None
    assert again.alert is not None
    assert f"with transaction_id {first.fields['transaction_id']}" in again.alert.sentence


def test_a_record_that_is_sent_again_with_another_amount_is_an_alert() -> None:
    judge = Judge.load(model_file(), 1, 1)
    first = simulated(1, seed=5, first=5000)[0]
    amended = doubled({**first, "humidity": first["humidity"] + 1.0})
    (one,), (other,), (again,) = (judge.judge([Incoming.of(each)]) for each in (first, amended, amended))
    assert one.alert is None
    for found in (other, again):
        assert found.alert is not None
        assert f"with transaction_id {first['transaction_id']} says, but for humidity" in found.alert.sentence


def test_such_requests_at_the_same_time_are_compared_with_each_other() -> None:
    judge = Judge.load(model_file(), 1, 1)
    first = simulated(1, seed=5, first=5000)[0]
    both = [first, doubled({**first, "humidity": first["humidity"] + 1.0})]
    found = judge.judge_each([Incoming.of(record) for record in both])
    assert [each.alert is not None for each in found] == [False, True]


def test_requests_that_come_at_the_same_time_are_compared_with_each_other() -> None:
    judge = Judge.load(model_file(), 1, 1)
    first, other = [Incoming.of(record) for record in simulated(2, seed=5, first=5000)]
    found = list(judge.judge_each([first, other, Incoming.of(doubled(first.fields))]))
    assert [each.alert is not None for each in found] == [False, False, True]
    assert found[2].alert is not None
    assert f"with transaction_id {first.fields['transaction_id']}" in found[2].alert.sentence


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    first = simulated(1, seed=5, first=5000)[0]
    with resting(tmp_path) as service:
        assert not client_of(service).post("/detect", json={"data": first}).json()["is_anomaly"]
    with resting(tmp_path) as service:
        client = client_of(service)
        assert not client.post("/detect", json={"data": first}).json()["is_anomaly"]
        answer = client.post("/detect", json={"data": doubled(first)}).json()
        assert answer["is_anomaly"]
        assert f"with transaction_id {first['transaction_id']}" in str(answer["reasons"])


def test_what_another_process_kept_is_compared_with(tmp_path: Path) -> None:
    first = simulated(1, seed=5, first=5000)[0]
    with resting(tmp_path) as service:
        client_of(service).post(RECORDS, json=[first])
        judge, stream_id = service.judge("default"), service.stream_id("default")
        assert judge is not None
        with service.database.reading() as connection:
            assert judge.recent.missing(connection, stream_id, judge.model_id) == []
        # Other processes have judges of their own.
        for catches_up in (False, True):
            other = Judge.load(model_file(), judge.model_id, 1)
            if catches_up:
                compare_with_recent(service.database, stream_id, other)
            (found,) = other.judge([Incoming.of(doubled(first))])
            assert (found.alert is not None) is catches_up
