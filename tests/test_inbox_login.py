"""The inbox for people who log in: the way there, the token, what each role sees, and columns that viewers do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest
from service_example import PASSWORD, client_of, hot, resting, with_users
from starlette.testclient import TestClient

from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.processes.service import Service

BROWSER = {"Accept": "text/html"}
SECRET = "Supplier of secrets"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = with_users(tmp_path_factory.mktemp("service"))
    given = {"host": "0.0.0.0", "personal": ("supplier",), "limits": Limits(logins=1000, rate=1e9)}
    with resting(folder, **given) as made:
        made.stream_id("default")
        yield made


def logged_in(service: Service, role: str) -> tuple[TestClient, str]:
    """A client with a cookie, and the token that the page has."""
    client = client_of(service)
    form = {"name": f"{role}s", "password": PASSWORD}
    went = client.post("/login", data=form, headers=BROWSER, follow_redirects=False)
    assert (went.status_code, went.headers["Location"]) == (303, "/")
    found = re.search(r'hx-headers="([^"]+)"', client.get("/overview", headers=BROWSER).text)
    assert found is not None
    return client, re.findall(r'"X-CSRF-Token": "([^"]+)"', unescape(found[1]))[0]


def test_who_is_not_logged_in_is_sent_to_the_login(service: Service) -> None:
    client = client_of(service)
    for path in ("/", "/cases/1", "/records", "/start"):
        sent = client.get(path, headers=BROWSER, follow_redirects=False)
        assert (sent.status_code, sent.headers["Location"]) == (303, "/login")
        assert client.get(path).status_code == 401
    page = client.get("/login", headers=BROWSER)
    assert 'action="/login"' in page.text
    for name in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
        assert client.get(name).status_code == 200
    wrong = {"name": "<b>", "password": "wrong"}
    refused = client.post("/login", data=wrong, headers=BROWSER)
    assert refused.status_code == 401
    assert "no user with this name" in refused.text
    assert client.post("/login", data=wrong).headers["Content-Type"] == "application/problem+json"


def test_an_action_needs_the_token_of_the_page_and_has_the_name_of_who_did_it(service: Service) -> None:
    client, token = logged_in(service, "analyst")
    sent = client.post(
        "/v1/streams/default/records", json=[{**hot(1), "supplier": SECRET}], headers={"X-CSRF-Token": token}
    )
    case = client.get(f"/v1/alerts/{sent.json()['alerts'][0]['alert_id']}").json()["case_id"]
    assert SECRET in client.get(f"/cases/{case}").text
    form = {"ids": case, "do": "assign"}
    assert client.post("/cases", data=form).status_code == 403
    assert client.post("/cases", data=form, headers={"X-CSRF-Token": token}).status_code == 200
    assert client.get(f"/v1/cases/{case}").json()["assignee"] == "analysts"
    # Streams are made by those who manage.
    assert client.get("/start", headers=BROWSER).status_code == 403
    assert 'href="/start"' not in client.get("/").text
    viewer_sees_no_personal_column_and_no_button(service, case)
    assert client.post("/logout", headers={"X-CSRF-Token": token}).status_code == 200
    assert client.get("/", headers=BROWSER, follow_redirects=False).status_code == 303


def viewer_sees_no_personal_column_and_no_button(service: Service, case: int) -> None:
    viewer, token = logged_in(service, "viewer")
    for path in ("/", f"/cases/{case}", "/records", "/records/1", "/overview", "/alerts/1/context"):
        answer = viewer.get(path, headers=BROWSER)
        assert answer.status_code == 200, path
        assert SECRET not in answer.text, path
        assert 'name="do"' not in answer.text, path
    assert "(hidden)" in viewer.get(f"/cases/{case}").text
    refused = viewer.post("/cases", data={"ids": case, "do": "expected"}, headers={"X-CSRF-Token": token})
    assert refused.status_code == 403
    assert viewer.post("/cases", data={"ids": case, "do": "expected"}, headers=BROWSER).status_code == 403


def test_a_manager_may_start(service: Service) -> None:
    client, _ = logged_in(service, "admin")
    assert "Start with a table" in client.get("/start", headers=BROWSER).text
    assert 'href="/start"' in client.get("/").text
