"""Personal columns: whoever has not the right to see them sees them nowhere."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from service_example import client_of, hot, running
from starlette.testclient import TestClient

from anomaly_detection.service import keys
from anomaly_detection.service.configuration import database_url
from anomaly_detection.service.database import Database
from anomaly_detection.service.masking import HIDDEN, MASK, Mask

DRIVER = {**hot(1), "location": "Mavis Beacon 17", "notes": {"Location": "Mavis Beacon 17", "kept": "yes"}}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TestClient]]:
    folder = tmp_path_factory.mktemp("service")
    database = Database(database_url(folder))
    database.migrate()
    with database.writing() as connection:
        made = {role: keys.add_key(connection, role, role) for role in ("viewer", "analyst")}
    database.close()
    settings: dict[str, Any] = {"host": "0.0.0.0", "personal": ("location", "cost_per_unit")}
    with running(folder, **settings, open_to=("10.0.0.0/8",)) as service:
        found = {role: client_of(service) for role in made}
        for role, client in found.items():
            client.headers["X-API-Key"] = made[role]
        found["listed"] = TestClient(client_of(service).app, "http://service.example", client=("10.0.0.1", 5000))
        yield found


@pytest.fixture(scope="module")
def alert(clients: dict[str, TestClient]) -> dict[str, Any]:
    return dict(clients["analyst"].post("/detect", json={"data": DRIVER}).json())


def test_who_has_the_right_sees_all(clients: dict[str, TestClient], alert: dict[str, Any]) -> None:
    assert "cost_per_unit 900" in alert["explanation"]
    found = clients["analyst"].get(f"/v1/alerts/{alert['alert_id']}").json()
    assert found.get("record") == DRIVER, found


def test_who_has_not_sees_it_nowhere(clients: dict[str, TestClient], alert: dict[str, Any]) -> None:
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


def test_a_listed_network_learns_nothing_of_others(clients: dict[str, TestClient]) -> None:
    answer = clients["listed"].post("/detect", json={"data": DRIVER})
    assert answer.status_code == 200
    assert "usual" not in " ".join(reason["text"] for reason in answer.json()["reasons"] if "cost" in reason["text"])
    refused = clients["listed"].post("/detect", json={"data": {**DRIVER, "cost_per_unit": "secret"}})
    assert "secret" not in refused.text


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_files_are_masked_too(clients: dict[str, TestClient], alert: dict[str, Any], kind: str) -> None:
    for path in ("/v1/alerts", "/v1/records"):
        seen, hidden = (clients[role].get(f"{path}?format={kind}") for role in ("analyst", "viewer"))
        assert (seen.status_code, hidden.status_code) == (200, 200)
        tables = [read(answer.content, kind) for answer in (seen, hidden)]
        assert "Mavis Beacon 17" in tables[0]
        assert "Mavis" not in tables[1]
        assert HIDDEN in tables[1]


def read(content: bytes, kind: str) -> str:
    """All that a file says, as text."""
    if kind == "csv":
        return content.decode()
    if kind == "parquet":
        return str(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist())
    return str(CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python())


def test_what_no_mask_has_seen_is_refused(clients: dict[str, TestClient]) -> None:
    """A model, whose levels are values of records; whoever makes another file has to ask the mask first."""
    path = "/v1/streams/default/models/1/file"
    assert clients["analyst"].get(path).status_code == 200
    refused = clients["viewer"].get(path)
    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "right to see" in refused.json()["detail"]
    assert MASK.get() is None


def test_looking_for_a_text_tells_nothing(clients: dict[str, TestClient], alert: dict[str, Any]) -> None:
    assert len(clients["analyst"].get("/v1/alerts?text=Mavis").json()["alerts"]) == 1
    assert clients["viewer"].get("/v1/alerts?text=Mavis").status_code == 403


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
