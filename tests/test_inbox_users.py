"""Users and keys, by the API and on their page: made, changed and removed by admins alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from service_example import client_of, is_problem, resting
from starlette.testclient import TestClient

from anomaly_detection.service.access import users
from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.processes.configuration import database_url
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.database import Database

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    database = Database(database_url(folder))
    database.migrate()
    with database.writing() as connection:
        users.add_user(connection, "ann", "admin", PASSWORD)
    database.close()
    with resting(folder, host="0.0.0.0", limits=Limits(logins=1000, rate=1e9)) as made:
        yield made


def logged_in(service: Service, name: str, password: str = PASSWORD) -> TestClient:
    client = client_of(service)
    answer = client.post("/login", json={"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["token"]
    return client


@pytest.fixture
def ann(service: Service) -> TestClient:
    return logged_in(service, "ann")


def number_of(client: TestClient, kind: str, name: str) -> int:
    found = client.get(f"/v1/{kind}").json()[kind]
    return next(int(each["id"]) for each in found if each["name"] == name)


def post(client: TestClient, do: str, status: int = 200, **form: Any) -> str:
    answer = client.post("/users", data={"do": do, **form}, headers={"HX-Request": "true"})
    assert answer.status_code == status, answer.text
    return unescape(answer.text)


def test_a_user_is_added_changed_and_removed(service: Service, ann: TestClient) -> None:
    assert "ben may log in" in post(ann, "add user", name="ben", role="viewer", password=PASSWORD)
    ben = logged_in(service, "ben")
    assert ben.get("/users").status_code == ben.get("/v1/users").status_code == 403
    number = number_of(ann, "users", "ben")
    # The role counts at once, in the sessions that there are.
    assert "has the role admin" in post(ann, "set role", number=number, role="admin")
    assert ben.get("/users").status_code == 200
    other = "another horse battery"
    assert "logs in anew" in post(ann, "set password", number=number, password=other)
    assert ben.get("/v1/users").status_code == 401
    logged_in(service, "ben", other)
    assert "ben is removed" in post(ann, "remove user", number=number)
    refused = client_of(service).post("/login", json={"name": "ben", "password": other})
    assert refused.status_code == 401
    lines = ann.get("/v1/audit", params={"subject": "user", "who": "ann", "sort": "oldest"}).json()["audit"]
    done = [each["what"] for each in lines if each["subject_id"] == number]
    assert done == ["add", "set role", "set password", "remove"]
    assert other not in str(lines)


def test_nobody_locks_themselves_out(ann: TestClient) -> None:
    mine = number_of(ann, "users", "ann")
    assert is_problem(ann.delete(f"/v1/users/{mine}"), 409)
    assert is_problem(ann.patch(f"/v1/users/{mine}", json={"role": "viewer"}), 409)
    text = ann.get("/users").text
    assert re.search(r'aria-label="Role of ann" disabled', text)
    assert 'hx-confirm="Remove ann?"' not in text


def test_a_key_is_shown_once_and_revoked(service: Service, ann: TestClient) -> None:
    text = post(ann, "add key", name="backend", role="analyst", streams="default")
    (key,) = re.findall(r'value="(ad_[^"]+)"', text)
    assert key not in ann.get("/users").text
    assert key not in ann.get("/v1/keys").text
    client = client_of(service)
    headers = {"X-API-Key": key}
    assert client.get("/v1/cases?stream=default", headers=headers).status_code == 200
    assert client.get("/v1/cases", headers=headers).status_code == 403
    (kept,) = ann.get("/v1/keys").json()["keys"]
    assert (kept["name"], kept["role"], kept["streams"]) == ("backend", "analyst", ["default"])
    assert "worth nothing" in post(ann, "remove key", number=kept["id"])
    assert client.get("/v1/cases?stream=default", headers=headers).status_code == 401
    lines = ann.get("/v1/audit", params={"subject": "key"}).json()["audit"]
    assert [(each["who"], each["what"]) for each in lines] == [("ann", "remove"), ("ann", "add")]


@pytest.mark.parametrize(
    ("do", "status", "form"),
    [
        ("add user", 400, {"name": "<b>", "role": "viewer", "password": PASSWORD}),
        ("add user", 400, {"name": "cem", "role": "king", "password": PASSWORD}),
        ("add user", 400, {"name": "cem", "role": "viewer", "password": "short"}),
        ("add user", 409, {"name": "ann", "role": "viewer", "password": PASSWORD}),
        ("set role", 404, {"number": "999", "role": "viewer"}),
        ("remove user", 404, {"number": "999"}),
        ("add key", 400, {"name": "a key", "role": "viewer"}),
        ("add key", 400, {"name": "key", "role": "viewer", "streams": "a/b"}),
        ("remove key", 404, {"number": "999"}),
        ("burn", 400, {}),
    ],
)
def test_what_cannot_be_done_says_so(ann: TestClient, do: str, status: int, form: dict[str, str]) -> None:
    before = ann.get("/v1/users").json(), ann.get("/v1/keys").json()
    post(ann, do, status, **form)
    assert (ann.get("/v1/users").json(), ann.get("/v1/keys").json()) == before
