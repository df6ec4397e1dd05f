"""Verdicts of the service: for any record that JSON can hold, and the same in any thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_example import FORM, client_of, hot, model_file, resting, simulated
from starlette.testclient import TestClient

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.service.records.incoming import Incoming, table
from anomaly_detection.service.records.judging import Judge

NAMES = [*simulated(1)[0], "colour", "data", "id", ""]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)
RECORDS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), VALUES, max_size=8)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with resting(tmp_path_factory.mktemp("service")) as service:
        yield client_of(service)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(model_file(), 1, 1)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(RECORDS | VALUES | st.lists(RECORDS, max_size=3))
def test_any_json_is_answered_with_a_verdict_or_a_sentence(client: TestClient, data: Any) -> None:
    try:
        answer = client.post("/detect", json={"data": data})
    except (UnicodeEncodeError, ValueError):
        # Halves of characters cannot be sent.
        return
    content = answer.json()
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert content["error"].endswith(".")
        return
    for result in content.get("results", [content]):
        assert 0 <= result["anomaly_score"] <= 1
        assert result["judged"] is ("error" not in result)


def verdict(judge: Judge, record: dict[str, Any]) -> Any:
    # Nothing of it is remembered: what is usual goes along with what is judged, in its order.
    found = judge.explain(Incoming.of(record))
    return found.verdict, found.alert and found.alert.sentence


def test_threads_judge_as_one_does(judge: Judge) -> None:
    records = [*simulated(24, seed=31), *map(hot, range(8))]
    one = [verdict(judge, record) for record in records]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda record: verdict(judge, record), records)) == one


def test_what_is_judged_of_a_record() -> None:
    record = Incoming.of({"id": 7, "productId": "P1", "data": {**FORM, "injected_anomaly": True}})
    assert record.sent_id == "7"
    assert set(record.judgeable) == {"id", "productId", "product", "dataType", "temperature", "humidity"}
    assert set(record.fields) == {"id", "injected_anomaly", *FORM}
    twice = Incoming.of({"organizationId": "Org1", "data": {"id": 7, "data": FORM}})
    assert twice.fields == {"organizationId": "Org1", "id": 7, **FORM}
    assert Incoming.of([1]).fault
    assert Incoming.of({}).fault
    assert not Incoming.of({"a": 1}).fault


def test_equal_records_have_equal_fingerprints_in_any_order_and_whatever_tells_the_answer() -> None:
    record = simulated(1)[0]
    turned = dict(reversed(record.items()))
    assert Incoming.of(record).fingerprint == Incoming.of(turned).fingerprint
    assert Incoming.of(record).fingerprint == Incoming.of({**record, "injected_anomaly": True}).fingerprint
    assert Incoming.of(record).fingerprint != Incoming.of({**record, "quantity": 1}).fingerprint


def test_records_to_learn_from_all_have_the_same_columns() -> None:
    assert table([{"a": 1}, {"b": 2}]) == [{"a": 1, "b": None}, {"a": None, "b": 2}]


def test_a_copy_is_told_of_by_what_its_sender_calls_the_other(tmp_path: Path) -> None:
    sent = [{"order_no": f"PO-{number:05}", **record} for number, record in enumerate(simulated(420, seed=1))]
    AnomalyDetectionAPI().fit(sent[:400]).save_model(tmp_path / "model.safetensors")
    judge = Judge.load(tmp_path / "model.safetensors", 1, 1)
    new = [*sent[400:], {**sent[403], "order_no": "PO-99999"}]

    def sentences(records: list[dict[str, Any]]) -> list[str]:
        return [
            each.alert.sentence for each in judge.judge(list(map(Incoming.of, records))) if each.alert and each.cause
        ]

    of_one, of_other = sentences(new)
    assert of_one.startswith("The record says exactly what row with order_no PO-99999 says;")
    assert of_other.startswith("The record says exactly what row with order_no PO-00403 says;")
    nameless = [{name: value for name, value in each.items() if name in ("product", "quantity")} for each in new]
    assert judge._label(nameless[3], 3)() == "4 of those judged with it"
