"""The service as CryptaNet's backend calls it: started as a user starts it, called with requests, 5 s to answer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from service_example import FORM, hot, model_file, simulated, started

TIMEOUT = 5


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    with started(folder, "--model", str(model_file()), "--allow-origin", "https://shop.example") as (_, where):
        yield where


def detect(url: str, content: Any) -> requests.Response:
    """A new connection each time, as their backend has it."""
    return requests.post(f"{url}/detect", json=content, timeout=TIMEOUT)


def test_a_simulators_record(url: str) -> None:
    answer = detect(url, {"data": simulated(1, seed=7)[0]})
    assert answer.status_code == 200
    result = answer.json()
    assert result["success"] is True
    assert result["is_anomaly"] is False
    assert 0 <= result["anomaly_score"] <= 1
    assert result["risk_level"] in ("LOW", "MEDIUM")
    assert {name: value for name, value in result.items() if name not in ("success", "result")} == result["result"]
    # What their backend makes of it.
    assert isinstance(result.get("anomaly_score", 0.0), float)


def test_an_anomaly_of_the_simulators(url: str) -> None:
    result = detect(url, {"data": hot(1)}).json()
    assert result["is_anomaly"] is True
    assert 0.25 < result["anomaly_score"] <= 1
    assert result["risk_level"] in ("MEDIUM", "HIGH", "CRITICAL")
    assert result["result"]["is_anomaly"] is True
    assert result["alert_id"] > 0
    assert result["productId"] == hot(1)["productId"]
    assert "cost_per_unit 900" in " ".join(reason["text"] for reason in result["reasons"])
    assert result["explanation"]


def test_the_fields_that_tell_the_answer_are_not_looked_at(url: str) -> None:
    record = simulated(1, seed=8)[0]
    told = {**record, "injected_anomaly": True, "anomaly_severity": "critical"}
    first, second = (detect(url, {"data": each}).json() for each in (record, told))
    left_out = ("record_id", "result")
    assert {name: first[name] for name in first if name not in left_out} == {
        name: second[name] for name in second if name not in left_out
    }


def test_a_forms_record_of_texts(url: str) -> None:
    result = detect(url, {"data": FORM}).json()
    assert result["is_anomaly"] is True
    assert result["explanation"]
    number = detect(url, {"data": {**FORM, "temperature": 45, "humidity": None}}).json()
    assert (number["anomaly_score"], number["explanation"]) == (result["anomaly_score"], result["explanation"])
    kept = requests.get(f"{url}/v1/records/{result['record_id']}", timeout=TIMEOUT).json()
    assert kept["record"] == FORM


def test_texts_that_are_numbers_are_judged_as_numbers(url: str) -> None:
    record = simulated(1, seed=9)[0]
    texts = {name: str(value) for name, value in record.items()}
    first, second = (detect(url, {"data": each}).json() for each in (record, texts))
    assert first["anomaly_score"] == second["anomaly_score"]


def test_a_list_of_records(url: str) -> None:
    items = [{"id": i, "productId": each["productId"], "data": each} for i, each in enumerate([*simulated(3), hot(2)])]
    answer = detect(url, {"data": items}).json()
    assert answer["success"] is True
    assert answer["count"] == 4
    assert [each["is_anomaly"] for each in answer["results"]][-1] is True
    assert all(each["judged"] for each in answer["results"])


def test_an_empty_list(url: str) -> None:
    answer = detect(url, {"data": []})
    assert (answer.status_code, answer.json()) == (200, {"success": True, "results": [], "count": 0})


def test_the_bare_record(url: str) -> None:
    record = hot(3)
    assert detect(url, record).json()["is_anomaly"] is True


@pytest.mark.parametrize("body", ["{}", "[1", "", "null", '{"data": {}}', '{"data": "text"}', "3", '{"data": NaN}'])
def test_what_is_no_record_is_a_bad_request_with_a_sentence(url: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{url}/detect", data=body, headers=headers, timeout=TIMEOUT)
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"temperature": "warm"}, "'temperature' holds 'warm'"),
        ({"timestamp": "yesterday-ish"}, "'timestamp'"),
        ({"temperature": {"inside": 4}, "quantity": True}, "'quantity'"),
    ],
)
def test_a_record_that_cannot_be_judged_is_kept_and_says_why(url: str, change: dict[str, Any], word: str) -> None:
    record = {**simulated(1, seed=10)[0], **change}
    answer = detect(url, {"data": record})
    result = answer.json()
    assert answer.status_code == 200
    assert (result["is_anomaly"], result["risk_level"], result["judged"]) == (False, "UNKNOWN", False)
    assert word in result["error"]
    kept = requests.get(f"{url}/v1/records/{result['record_id']}", timeout=TIMEOUT).json()
    assert (kept["state"], kept["record"]) == ("refused", record)


def test_a_record_without_any_known_column_cannot_be_judged(url: str) -> None:
    result = detect(url, {"data": {"colour": "red", "note": {"a": 1}}}).json()
    assert result["risk_level"] == "UNKNOWN"
    assert "no value in any column that the model knows" in result["error"]


def test_one_odd_record_of_a_list_does_not_hinder_the_others(url: str) -> None:
    records = [*simulated(3, seed=11), {**hot(4), "quantity": "inf"}, "no record", {}, hot(5)]
    results = detect(url, {"data": records}).json()["results"]
    assert [each["judged"] for each in results] == [True, True, True, False, False, False, True]
    assert "infinite value in row 4" in results[3]["error"]
    assert results[6]["is_anomaly"] is True


def test_the_same_record_twice_is_one_alert_with_a_count_of_two(url: str) -> None:
    first, second = (detect(url, {"data": hot(6)}).json() for _ in range(2))
    assert first["alert_id"] == second["alert_id"]
    assert first["record_id"] != second["record_id"]
    alert = requests.get(f"{url}/v1/alerts/{first['alert_id']}", timeout=TIMEOUT).json()
    assert (alert["count"], alert["state"]) == (2, "open")


def test_health_ready_and_status(url: str) -> None:
    answer = requests.get(f"{url}/health", timeout=TIMEOUT)
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "service": "anomaly-detection", "api_ready": True}
    assert requests.get(f"{url}/ready", timeout=TIMEOUT).json() == {"ready": True}
    status = requests.get(f"{url}/status", timeout=TIMEOUT).json()
    assert (status["status"], status["model_loaded"]) == ("running", True)
    assert {"/health", "/detect", "/predict", "/status", "/explain", "/train"} <= set(status["endpoints"])


def test_explain(url: str) -> None:
    alert = detect(url, {"data": hot(7)}).json()["alert_id"]
    answer = requests.get(f"{url}/explain/{alert}", timeout=TIMEOUT).json()
    assert answer["anomalyId"] == alert
    assert answer["anomalyScore"] > 0.25
    assert "ost_per_unit 900" in answer["summary"]
    assert "cost_per_unit" in [each["name"] for each in answer["featureImportance"]]
    assert all(0 < each["importance"] <= 1 for each in answer["featureImportance"])
    assert answer["explanation"]["anomalyId"] == alert
    assert requests.get(f"{url}/explain/HOT-7", timeout=TIMEOUT).json()["anomalyId"] == alert
    assert requests.get(f"{url}/explain/nobody", timeout=TIMEOUT).status_code == 404
    model = requests.get(f"{url}/explain", timeout=TIMEOUT).json()
    assert model["metrics"]["records_learned"] == 500
    assert model["featureImportance"][0]["importance"] > 0


def test_predict(url: str) -> None:
    answer = requests.post(f"{url}/predict", json={"features": hot(8)}, timeout=TIMEOUT).json()
    assert answer["prediction"]["is_anomaly"] is True
    several = requests.post(f"{url}/predict", json={"features": simulated(2)}, timeout=TIMEOUT).json()
    assert several["count"] == 2
    odd = requests.post(f"{url}/predict", json={"features": [1, 2, 3]}, timeout=TIMEOUT)
    assert odd.status_code == 400


def test_pages_of_stated_origins_may_call(url: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    allowed = requests.options(f"{url}/detect", headers={"Origin": "https://shop.example", **asked}, timeout=TIMEOUT)
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    other = {"Origin": "https://elsewhere.example"}
    refused = requests.options(f"{url}/detect", headers={**other, **asked}, timeout=TIMEOUT)
    assert "Access-Control-Allow-Origin" not in refused.headers
    sent = requests.post(f"{url}/detect", json={"data": hot(9)}, headers=other, timeout=TIMEOUT)
    assert sent.status_code == 403


def test_metrics(url: str) -> None:
    detect(url, {"data": hot(10)})
    answer = requests.get(f"{url}/metrics", timeout=TIMEOUT)
    assert answer.headers["Content-Type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(values['anomalies_detected_total{stream="default"}']) >= 1
    assert float(values['records_total{stream="default",state="judged"}']) >= 1
    assert float(values['request_duration_seconds_count{handler="detect"}']) >= 1
    assert float(values['model_version{stream="default"}']) == 1
    assert float(values["process_resident_memory_bytes"]) > 1e7


def test_training_on_demand_and_the_end_by_a_signal(tmp_path: Path) -> None:
    """Where to look for the job is said; host and port come from the environment; SIGTERM ends it in time, with 0."""
    with started(tmp_path, "--learn-from", "100000", HOST="127.0.0.1") as (process, url):
        assert requests.get(f"{url}/health", timeout=TIMEOUT).json()["api_ready"] is False
        few = requests.post(f"{url}/train", json={}, timeout=TIMEOUT)
        assert few.status_code == 409
        answer = requests.post(f"{url}/train", json={"data": simulated(120)}, timeout=TIMEOUT)
        assert answer.status_code == 202
        where = answer.json()["status_url"]
        assert answer.headers["Location"] == where
        assert requests.get(f"{url}{where}", timeout=TIMEOUT).json()["state"] in ("queued", "running", "done")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_the_port_comes_from_the_environment(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from anomaly_detection.cli import _parser

    monkeypatch.setitem(os.environ, "PORT", "6001")
    monkeypatch.setitem(os.environ, "HOST", "0.0.0.0")
    arguments = _parser().parse_args(["serve"])
    assert (arguments.host, arguments.port) == ("0.0.0.0", 6001)
    monkeypatch.setitem(os.environ, "PORT", "99999")
    with pytest.raises(SystemExit):
        _parser().parse_args(["serve"])
    assert "is no port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "origin", ["*", "evil", "null", "https://shop.example/", "https://a@b", "HTTPS://Shop.example"]
)
def test_what_no_browser_sends_is_no_origin(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    from anomaly_detection.cli import _parser

    with pytest.raises(SystemExit):
        _parser().parse_args(["serve", "--allow-origin", origin])
    assert "is no origin; give scheme and host" in capsys.readouterr().err
    fine = ["https://shop.example", "http://localhost:81", "http://[::1]:81"]
    assert _parser().parse_args(["serve", "--allow-origin", *fine]).allow_origin == fine


def test_numbers_that_nobody_means_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from anomaly_detection.cli import _parser

    for option in ("--keep-days", "--learn-from"):
        with pytest.raises(SystemExit):
            _parser().parse_args(["serve", option, "999999999"])
        assert "is too large; give at most" in capsys.readouterr().err


def test_answers_are_plain_json(url: str) -> None:
    answer = detect(url, {"data": hot(11)})
    json.loads(answer.text, parse_constant=pytest.fail)
