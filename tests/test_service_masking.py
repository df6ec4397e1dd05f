"""Personal columns: whoever has not the right to see them sees them nowhere."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_example import client_of, hot, resting, work_off
from starlette.responses import Response
from starlette.testclient import TestClient

from anomaly_detection.service.access import keys
from anomaly_detection.service.access.masking import HIDDEN, MASK, Mask, masked
from anomaly_detection.service.access.rights import OPEN
from anomaly_detection.service.http import contract
from anomaly_detection.service.http.app import make_app
from anomaly_detection.service.http.openapi import OPERATIONS
from anomaly_detection.service.processes.configuration import database_url
from anomaly_detection.service.storage.database import Database

DRIVER = {**hot(1), "location": "Mavis Beacon 17", "notes": {"Location": "Mavis Beacon 17", "kept": "yes"}}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("service")
    database = Database(database_url(folder))
    database.migrate()
    with database.writing() as connection:
        made = {role: keys.add_key(connection, role, role) for role in ("viewer", "analyst")}
    database.close()
    settings: dict[str, Any] = {"host": "0.0.0.0", "personal": ("location", "cost_per_unit")}
    with resting(folder, **settings, open_to=("10.0.0.0/8",)) as service:
        found: dict[str, Any] = {role: client_of(service) for role in made}
        for role, client in found.items():
            client.headers["X-API-Key"] = made[role]
        found["listed"] = TestClient(client_of(service).app, "http://service.example", client=("10.0.0.1", 5000))
        found["service"] = service
        yield found


@pytest.fixture(scope="module")
def alert(clients: dict[str, Any]) -> dict[str, Any]:
    return dict(clients["analyst"].post("/detect", json={"data": DRIVER}).json())


def test_who_has_the_right_sees_all(clients: dict[str, Any], alert: dict[str, Any]) -> None:
    assert "cost_per_unit 900" in alert["explanation"]
    found = clients["analyst"].get(f"/v1/alerts/{alert['alert_id']}").json()
    assert found["record"] == DRIVER


def test_who_has_not_sees_it_nowhere(clients: dict[str, Any], alert: dict[str, Any]) -> None:
    viewer = clients["viewer"]
    for path in (
        "/v1/alerts",
        f"/v1/alerts/{alert['alert_id']}",
        f"/v1/records/{alert['record_id']}",
        f"/explain/{alert['alert_id']}",
        "/explain",
    ):
        answer = viewer.get(path)
        assert answer.status_code == 200
        assert "Mavis" not in answer.text, path
        assert "900" not in answer.text, path
    found = viewer.get(f"/v1/alerts/{alert['alert_id']}").json()
    assert found["record"]["location"] == found["record"]["cost_per_unit"] == HIDDEN
    assert found["record"]["notes"] == {"Location": HIDDEN, "kept": "yes"}
    assert found["record"]["temperature"] == 95.0
    assert found["reason"] == HIDDEN
    # Which columns they are about, and how much each bears, is told.
    told = {tuple(reason["columns"]): reason for reason in found["reasons"]}
    assert told[("cost_per_unit",)]["text"] == HIDDEN
    assert told[("cost_per_unit",)]["share"] > 0


def test_a_listed_network_learns_nothing_of_others(clients: dict[str, Any]) -> None:
    answer = clients["listed"].post("/detect", json={"data": DRIVER})
    assert answer.status_code == 200
    assert "usual" not in " ".join(reason["text"] for reason in answer.json()["reasons"] if "cost" in reason["text"])
    refused = clients["listed"].post("/detect", json={"data": {**DRIVER, "cost_per_unit": "secret"}})
    assert "secret" not in refused.text


def test_what_no_mask_has_seen_is_refused(clients: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, say: whoever writes one has to ask the mask first."""
    row = {"location": "Mavis Beacon 17"}

    def asked(role: str, explain: Any) -> Any:
        monkeypatch.setattr(contract, "explain", explain)
        return TestClient(make_app(clients["service"]), headers=clients[role].headers).get("/explain")

    def export(*_: Any) -> Response:
        return Response(f"location\n{row['location']}\n", media_type="text/csv")

    assert asked("analyst", export).status_code == 200
    refused = asked("viewer", export)
    assert refused.status_code == 403
    assert "Mavis" not in refused.text

    def careful(*_: Any) -> Response:
        return Response(f"location\n{masked(row)['location']}\n", media_type="text/csv")

    page = asked("viewer", lambda *_: Response(f"<p>{row['location']}", media_type="text/html"))
    assert page.status_code == 403
    assert asked("viewer", careful).text == f"location\n{HIDDEN}\n"
    assert asked("analyst", careful).text == "location\nMavis Beacon 17\n"
    assert MASK.get() is None


PATHS = (
    "/v1/alerts?stream=default",
    "/v1/alerts/{alert_id}",
    "/v1/alerts/{alert_id}/context",
    "/v1/alerts/{alert_id}/rule",
    "/v1/records",
    "/v1/records/{record_id}",
    "/v1/records/{record_id}/explanation",
    "/v1/cases",
    "/v1/cases/1",
    "/v1/cases/facets?stream=default",
    "/v1/views",
    "/v1/rules",
    "/v1/rules/1",
    "/v1/jobs",
    "/v1/jobs/{job_id}",
    "/v1/jobs/{job_id}/events",
    "/v1/streams",
    "/v1/streams/default",
    "/v1/streams/default/columns",
    "/v1/streams/default/threshold",
    "/v1/streams/default/learning",
    "/v1/streams/default/questions",
    "/v1/streams/default/drift",
    "/v1/overview",
    "/v1/streams/default/models",
    "/v1/session",
    "/status",
    "/explain",
    "/explain/{alert_id}",
)


def test_every_answer_of_our_own_api_hides_it(clients: dict[str, Any], alert: dict[str, Any]) -> None:
    """Each route that a viewer may read, with something personal in all that has it."""
    analyst, viewer = clients["analyst"], clients["viewer"]
    rule = {"stream": "default", "where": {"location": "Mavis Beacon 17", "cost_per_unit": 12345}, "reason": "known"}
    assert analyst.post("/v1/rules", json=rule).status_code == 201
    odd = {**DRIVER, "cost_per_unit": "Mavis Beacon 17"}
    queued = analyst.post("/v1/streams/default/records", json=[odd], headers={"Prefer": "respond-async"}).json()
    ids = {**alert, "job_id": queued["job_id"]}
    work_off(clients["service"])
    assert analyst.get(queued["status_url"]).json()["state"] == "done"
    seen = "".join(analyst.get(path.format(**ids)).text for path in PATHS)
    assert seen.count("Mavis") > 10
    for path in PATHS:
        answer = viewer.get(path.format(**ids))
        assert answer.status_code == 200, path
        assert "Mavis" not in answer.text, path
        assert "12345" not in answer.text, path
    routes = [each for each in OPERATIONS if each.method == "GET" and each.needs.right in ("read", OPEN)]
    # The model's own file is for admins.
    told = {re.sub(r"{\w+}|\b1\b|\bdefault\b", "*", path.partition("?")[0]) for path in PATHS}
    assert {re.sub(r"{\w+}", "*", each.path) for each in routes} - told == {"/v1/streams/*/models/*"}


@pytest.mark.parametrize("name", ["alerts", "cases", "records", "rules", "jobs"])
@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
def test_files_hide_it(clients: dict[str, Any], alert: dict[str, Any], name: str, kind: str) -> None:
    def read(role: str) -> str:
        answer = clients[role].get(f"/v1/{name}?format={kind}")
        assert answer.status_code == 200
        if kind == "csv":
            return answer.text
        if kind == "parquet":
            return str(pd.read_parquet(io.BytesIO(answer.content)).to_dict("list"))
        with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
            return "".join(book.read(each).decode() for each in book.namelist())

    assert "Mavis" not in read("viewer")
    assert ("Mavis" in read("analyst")) is (name in ("alerts", "records")) or name in ("rules", "jobs")
    if name in ("alerts", "records"):
        assert HIDDEN in read("viewer")


@pytest.mark.parametrize(
    "path",
    [
        "alerts?text=Mavis",
        "alerts?has=location=x",
        "cases?text=high",
        "cases?has=location=x",
        "records?sent_id=HOT-1",
        "records?has=a=b",
    ],
)
def test_nobody_guesses_at_it_by_a_filter(clients: dict[str, Any], path: str) -> None:
    assert clients["analyst"].get(f"/v1/{path}").status_code == 200
    assert clients["viewer"].get(f"/v1/{path}").status_code == 403
    assert clients["viewer"].get(f"/v1/{path}&format=csv").status_code == 403
    assert clients["viewer"].get(f"/v1/{path}&total=true").status_code == 403


def test_nobody_counts_by_it(clients: dict[str, Any], alert: dict[str, Any]) -> None:
    assert clients["viewer"].get("/v1/overview?by=supplier").status_code == 200
    assert clients["viewer"].get("/v1/overview?by=Location").status_code == 403
    assert "Mavis" in clients["analyst"].get("/v1/overview?by=location").text


def test_what_a_problem_tells_is_masked() -> None:
    mask = Mask(["driver"])
    assert mask.hide({"detail": "driver 'Ann' is odd", "row": 1}) == {"detail": HIDDEN, "row": 1}
    assert mask.hide({"summary": "odd for Ann"}, {"driver": "Ann"}) == {"summary": HIDDEN}
    found = mask.hide([{"name": "Driver", "kind": "text", "reason": "x", "examples": ["Ann"]}, {"name": "driver"}])
    assert found == [{"name": "Driver", "kind": "text", "reason": HIDDEN, "examples": HIDDEN}, {"name": "driver"}]


def test_a_value_is_hidden_in_texts_beside_it_and_not_in_those_of_others() -> None:
    mask = Mask(["Driver"])
    found = mask.hide(
        [
            {"record": {"driver": "Ann", "x": 1}, "text": "never seen: ANN and Oslo", "other": "Annex", "who": "x"},
            {"record": {"driver": ""}, "text": "Ann", "empty": None},
            {"driver": ["Ann"], "driver_name": "kept", "t": "driver is odd"},
            {"columns": ["driver", "x"], "share": 0.5, "value": 7, "text": "x is odd"},
        ]
    )
    assert found == [
        {"record": {"driver": HIDDEN, "x": 1}, "text": HIDDEN, "other": "Annex", "who": "x"},
        {"record": {"driver": ""}, "text": "Ann", "empty": None},
        {"driver": HIDDEN, "driver_name": "kept", "t": HIDDEN},
        {"columns": ["driver", "x"], "share": 0.5, "value": HIDDEN, "text": HIDDEN},
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_only_what_is_personal_changes(value: Any) -> None:
    assert Mask(["nothing here"]).hide(value) == value

    def shape(each: Any, name: str = "") -> Any:
        if name == "a":
            return None
        if isinstance(each, dict):
            return {key: shape(inner, key) for key, inner in each.items()}
        if isinstance(each, list):
            return [shape(inner) for inner in each]
        return type(each)

    hidden = Mask(["a"]).hide(value)
    assert shape(hidden) == shape(value)

    def personal(each: Any) -> Iterator[Any]:
        if isinstance(each, dict):
            for key, inner in each.items():
                if key == "a":
                    yield inner
                else:
                    yield from personal(inner)
        elif isinstance(each, list):
            for inner in each:
                yield from personal(inner)

    assert all(each in (None, "", HIDDEN) for each in personal(hidden))
