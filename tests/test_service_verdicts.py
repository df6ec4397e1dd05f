"""Verdicts by columns are those of each record by itself, bit for bit; and rows go into the database the same way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_example import hot, model_file, simulated
from sqlalchemy import select

from anomaly_detection.alerts.causes import cause_of_each, find_causes
from anomaly_detection.calibration.p_values import Calibration
from anomaly_detection.data.frames import to_frame
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.keeping import keep
from anomaly_detection.service.records.verdicts import VERDICT, Verdict, Verdicts
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import records
from anomaly_detection.service.streams.streams import open_stream
from anomaly_detection.texts.viewer import reread


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(model_file(), 1, 1)


MIXED = [
    *simulated(20, seed=3),
    hot(1),
    {},
    {"colour": "red"},
    {**hot(2), "quantity": "inf"},
    {**simulated(1, seed=4)[0], "temperature": {"inside": 4}, "injected_anomaly": True},
    hot(1),
    *simulated(5, seed=5),
    "no record",
]


@pytest.mark.parametrize(
    "sent", [MIXED, MIXED[:20], MIXED[20:21], MIXED[:1], MIXED[21:23], [*MIXED[3:9], *MIXED[20:24]]]
)
def test_columns_say_what_each_verdict_says(judge: Judge, sent: list[object]) -> None:
    found = judge.judge([Incoming.of(each) for each in sent])
    plain = Verdicts.of(list(found))
    assert len(found) == len(sent)
    assert found.columns() == plain.columns()
    assert (found.states, found.counts, dict(found.errors)) == (plain.states, plain.counts, dict(plain.errors))
    assert found.scores == plain.scores
    assert list(found.alerting) == list(plain.alerting) == sorted(found.alerting)
    for place, each in enumerate(found):
        assert each.incoming.fields == Incoming.of(sent[place]).fields
        assert (each.state, each.error) == (found.states[place], found.errors.get(place, ""))
        for name, column in zip(VERDICT, found.columns(), strict=True):
            assert column[place] == (None if each.verdict is None else getattr(each.verdict, name))
        if each.verdict is not None and each.verdict.is_alert:
            assert each.cause is not None
            assert each.alert is not None
            assert each.alert.reasons
            assert Verdict.of(each.alert) == each.verdict
    assert [each.state for each in found[1:3]] == found.states[1:3]
    assert found[-1].incoming is found.incoming[-1]


@pytest.mark.parametrize("sent", [MIXED, MIXED[:20], MIXED[20:23], [*MIXED, "", {"temperature": "warm"}, *MIXED]])
def test_those_that_come_at_the_same_time_are_judged_as_each_alone(sent: list[object]) -> None:
    records = [Incoming.of(each) for each in sent]
    # Two of them, since what was judged moves what is usual for the next.
    judge, other_judge = (Judge.load(model_file(), 1, 1) for _ in range(2))
    found, alone = judge.judge_each(records), Verdicts.joined([other_judge.judge([each]) for each in records])
    assert found.columns() == alone.columns()
    assert (found.states, dict(found.errors)) == (alone.states, dict(alone.errors))
    assert list(found.alerting) == list(alone.alerting)
    for place, each in found.alerting.items():
        other = alone.alerting[place]
        assert (each.verdict, each.cause.text, each.amount) == (other.verdict, other.cause.text, other.amount)
        assert each.alert.sentence == other.alert.sentence


def test_chosen_verdicts_are_those_of_all(judge: Judge) -> None:
    found = judge.judge([Incoming.of(each) for each in MIXED])
    places = [place for place in range(len(found)) if place % 3 != 1]
    chosen, plain = found.at(places), Verdicts.of([found[place] for place in places])
    assert list(chosen) == list(plain)
    assert chosen.columns() == plain.columns()
    assert (chosen.states, chosen.errors, chosen.alerting) == (plain.states, plain.errors, plain.alerting)
    assert list(found.at([])) == []


def test_joined_verdicts_are_those_of_all(judge: Judge) -> None:
    parts = [judge.judge([Incoming.of(each) for each in some]) for some in (MIXED, [{}], [], MIXED[3:5], MIXED[20:21])]
    joined, plain = Verdicts.joined(parts), Verdicts.of([each for part in parts for each in part])
    assert list(joined) == list(plain)
    assert joined.columns() == plain.columns()
    assert (joined.states, joined.errors) == (plain.states, plain.errors)
    assert joined.alerting == plain.alerting
    waiting = Verdicts.joined([Verdicts.unjudged([Incoming.of(each)]) for each in MIXED])
    assert waiting.counts == Verdicts.unjudged([Incoming.of(each) for each in MIXED]).counts


def test_records_without_a_model_wait(judge: Judge) -> None:
    found = Verdicts.unjudged([Incoming.of(each) for each in MIXED])
    assert found.counts == {"waiting": len(MIXED) - 2, "refused": 2}
    assert set(map(tuple, found.columns())) == {(None,) * len(MIXED)}
    assert found.scores == []


def test_the_table_is_that_of_the_records(judge: Judge) -> None:
    """Made of columns, it is what a list of dicts would give."""
    sent = [Incoming.of(each) for each in MIXED if isinstance(each, dict)]
    plain = to_frame([{name: each.judgeable.get(name) for name in judge._columns} for each in sent])
    made = judge.table(sent)
    assert plain.dtypes.to_dict() == made.dtypes.to_dict()
    assert plain.equals(made)


def test_the_cause_of_each_is_that_of_one_by_itself(judge: Judge) -> None:
    odd = (
        {"quantity": -5},
        {"supplier": "Nobody"},
        {"timestamp": "2062-01-01T00:00:00"},
        {"temperature": None},
        {"location": "Gate 12"},
        {"delivery_time_days": 90},
    )
    sent = [Incoming.of({**hot(i), **each}) for i, each in enumerate(odd)]
    sent += [Incoming.of({**record, **each}) for record, each in zip(simulated(6, seed=6), odd, strict=True)]
    batch = judge.judge(sent)
    alerts = [each.alert for each in batch.alerting.values() if each.alert is not None]
    assert len(alerts) >= 6
    sent = [sent[place] for place in batch.alerting]
    clean = judge.detector.extract(judge.table(sent))[1].frame()
    headline = judge.headline
    given_to = (judge._sources, headline.money, headline.amount)
    one = [find_causes([alert], clean.iloc[i : i + 1], *given_to)[0] for i, alert in enumerate(alerts)]
    assert cause_of_each(alerts, clean, *given_to) == one


@given(
    st.lists(st.floats(-1, -0.01), min_size=2, max_size=40),
    st.lists(st.floats(-0.6, 0.6), min_size=1, max_size=20),
    st.floats(-1, 0),
)
def test_confidences_are_the_confidence_of_each(scores: list[float], decisions: list[float], threshold: float) -> None:
    calibration = Calibration.of(scores)
    wanted = [calibration.confidence(decision, threshold) for decision in [*decisions, 0.0]]
    found = calibration.confidences([*decisions, 0.0], threshold)
    np.testing.assert_array_equal(found, wanted)


def test_kept_rows_are_those_of_the_verdicts(database: Database, judge: Judge) -> None:
    sent = [Incoming.of(each) for each in MIXED]
    found = judge.judge(sent)
    with database.writing() as connection:
        stream = open_stream(connection, "default", 1000, 10)
        first = keep(connection, stream, None, Verdicts.unjudged(sent[:3]))
        second = keep(connection, stream, None, found)
    assert [*first.record_ids, *second.record_ids] == list(range(1, 4 + len(MIXED)))
    with database.reading() as connection:
        rows = connection.execute(select(records).order_by(records.c.id)).mappings().all()[3:]
        stream_now = open_stream(connection, "default", 1000, 10)
    for row, each, alert_id in zip(rows, found, second.alert_ids, strict=True):
        assert (row["body"], row["sent_id"]) == (each.incoming.body, each.incoming.sent_id)
        assert (row["state"], reread(row["error"]) or "") == (each.state, each.error)
        assert row["alert_id"] == alert_id
        for name in VERDICT:
            assert row[name] == (None if each.verdict is None else getattr(each.verdict, name))
    # The same record is one alert.
    assert second.alert_ids[20] == second.alert_ids[25] is not None
    assert (stream_now.waiting, stream_now.judged, stream_now.refused) == (
        3,
        found.counts["judged"],
        found.counts["refused"],
    )
