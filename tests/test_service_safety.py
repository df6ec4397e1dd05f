"""Who may ask the service, how much, and what it tells nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from service_example import a_service, client_of, hot, resting
from starlette.requests import Request
from starlette.testclient import TestClient

from anomaly_detection.cli import main
from anomaly_detection.errors import DataError
from anomaly_detection.service.http import contract
from anomaly_detection.service.http.limits import Limits, read_body
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.processes.configuration import Configuration, is_loopback
from anomaly_detection.service.processes.service import Service

LIMITS = Limits(body=2000, body_seconds=0.3, records=3, fields=20, depth=4, streams=2)

service = a_service(model=None, limits=LIMITS)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_which_addresses_are_this_machines_own(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


def keys(folder: Path, *words: str) -> int:
    return main(["keys", *words, "--data-dir", str(folder)])


def test_others_need_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="there is no API key and no user"):
        Service(Configuration(tmp_path, host="0.0.0.0"))
    assert keys(tmp_path, "add", "backend") == 0
    key = capsys.readouterr().out.strip()
    with Path(tmp_path / "service.sqlite").open("rb") as file:
        assert key.encode() not in file.read()
    with resting(tmp_path, model=None, host="0.0.0.0") as service:
        client = client_of(service)
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        for path in ("/status", "/metrics", "/v1/alerts", "/openapi.json", "/nothing"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert client.post("/detect", json={"data": hot()}).status_code == 401
        for wrong in ("", "Bearer ", "Bearer ad_wrong", f"Basic {key}", key):
            assert client.get("/status", headers={"Authorization": wrong}).status_code == 401
        assert client.get("/status", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert client.post("/detect", json={"data": hot()}, headers={"X-API-Key": key}).status_code == 200
        # A key that is removed is worth nothing at once.
        assert keys(tmp_path, "remove", "backend") == 0
        assert client.get("/status", headers={"X-API-Key": key}).status_code == 401


def test_who_changed_an_alert_is_the_name_of_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys(tmp_path, "add", "ann")
    key = capsys.readouterr().out.strip()
    with resting(tmp_path, host="0.0.0.0") as service:
        client = client_of(service)
        client.headers["Authorization"] = f"Bearer {key}"
        number = client.post("/detect", json={"data": hot()}).json()["alert_id"]
        alert = client.patch(f"/v1/alerts/{number}", json={"state": "acknowledged"}).json()
        assert alert["history"][-1]["who"] == "ann"


def test_the_command_for_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(tmp_path, "list") == 0
    assert capsys.readouterr().out == "no keys\n"
    assert keys(tmp_path, "add", "ann") == 0
    made = capsys.readouterr()
    assert made.out.startswith("ad_")
    assert len(made.out.strip()) > 40
    assert "only time" in made.err
    assert keys(tmp_path, "add", "ann") == 2
    assert "already" in capsys.readouterr().err
    assert keys(tmp_path, "add", "odd name") == 2
    assert keys(tmp_path, "add") == 2
    assert keys(tmp_path, "list", "ann") == 2
    assert keys(tmp_path, "remove", "bob") == 2
    capsys.readouterr()
    keys(tmp_path, "list")
    assert "ann" in capsys.readouterr().out


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5002", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_names_that_point_here_do_not_get_through(client: TestClient, host: str) -> None:
    assert client.get("/status", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5002", "[::1]:5002"])
def test_this_machines_names_do(client: TestClient, host: str) -> None:
    assert client.get("/status", headers={"Host": host}).status_code == 200


def test_pages_of_other_sites_change_nothing(client: TestClient) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:81", "http://["):
        answer = client.post("/detect", json={"data": hot()}, headers={"Origin": origin})
        assert answer.status_code == 403
    own = client.post("/detect", json={"data": hot()}, headers={"Origin": "http://127.0.0.1"})
    assert own.status_code == 200


def test_every_answer_carries_the_headers(client: TestClient) -> None:
    for path in ("/health", "/nothing", "/v1/alerts", "/v1/nothing"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["Cache-Control"] == "no-store"


def chunked(size: int) -> Iterator[bytes]:
    for _ in range(size // 100):
        yield b" " * 100


@pytest.mark.parametrize("content", [b" " * 2001, chunked(2100)])
def test_a_body_that_is_too_large(client: TestClient, content: Any) -> None:
    answer = client.post("/detect", content=content)
    assert answer.status_code == 413
    assert "2,000 bytes" in answer.json()["error"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ([{"a": 1}] * 4, "4 records are too many"),
        ({"a": [[[[[1]]]]]}, "nested more than 4"),
        (dict.fromkeys(map(str, range(21)), 1), "21 fields"),
    ],
)
def test_too_many_too_deep_too_wide(client: TestClient, data: Any, word: str) -> None:
    answer = client.post("/detect", json={"data": data})
    assert answer.status_code == 413
    assert word in answer.json()["error"]


def test_json_so_deep_that_a_parser_would_fall(client: TestClient) -> None:
    assert client.post("/detect", content="[" * 1900).status_code == 400
    assert client.post("/detect", content="[" * 950 + "]" * 950).status_code in (400, 413)


@pytest.mark.parametrize("name", [".", "..", "a\n", "a/b", "a" * 65])
def test_no_stream_has_a_name_that_no_address_leads_to(client: TestClient, name: str) -> None:
    answer = client.post("/v1/streams", json={"name": name})
    assert answer.status_code == 400
    assert "is not . or .." in answer.json()["detail"]


def test_too_many_streams(client: TestClient, service: Service) -> None:
    assert client.post("/v1/streams/second/records", json={"a": 1}).status_code == 200
    for headers in ({}, {"Prefer": "respond-async"}):
        answer = client.post("/v1/streams/third/records", json={"a": 1}, headers=headers)
        assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")
    assert list(service.uploads_dir.iterdir()) == []


def test_an_error_of_the_service_itself_tells_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(contract, "parsed", fails)
    answer = client.post("/detect", json={"data": hot()})
    assert answer.status_code == 500
    assert answer.json() == {"success": False, "error": "The service failed at this; its log says how."}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_time_for_a_body_is_limited(service: Service) -> None:
    async def never() -> Any:
        await anyio.sleep(60)

    async def ask() -> None:
        await read_body(Request({"type": "http", "headers": []}, never), service.limits)

    with pytest.raises(Problem, match=r"longer than 0.3 seconds"):
        anyio.run(ask)


def test_a_body_that_breaks_off(service: Service) -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def ask() -> None:
        await read_body(Request({"type": "http", "headers": []}, gone), service.limits)

    with pytest.raises(Problem, match="broke off"):
        anyio.run(ask)
