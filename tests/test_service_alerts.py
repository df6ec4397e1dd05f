"""Alerts, records and the audit as lists: filtered, sorted, exported; alerts changed many at once."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from service_example import RECORDS, hot, is_problem, simulated
from starlette.testclient import TestClient

from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.service.http import workbook
from anomaly_detection.service.processes.service import Service


def new_alerts(client: TestClient, first: int, count: int, **fields: Any) -> list[int]:
    sent = [{**hot(number), **fields} for number in range(first, first + count)]
    return [each["alert_id"] for each in client.post(RECORDS, json=sent).json()["alerts"]]


def listed(client: TestClient, **query: Any) -> list[int]:
    answer = client.get("/v1/alerts", params={"limit": 500, **query})
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["alerts"]]


def test_many_are_changed_in_one_transaction_and_changed_back(client: TestClient) -> None:
    ids = new_alerts(client, 200, 3)
    done = client.patch("/v1/alerts", json={"ids": ids, "state": "resolved", "verdict": "expected", "assignee": "Ann"})
    assert done.json() == {"alerts": 3, "effects": []}
    assert set(listed(client, state="resolved", verdict="expected", assignee="Ann")) == set(ids)
    # One that is not there keeps all as they are.
    assert is_problem(client.patch("/v1/alerts", json={"ids": [*ids, 10**9], "state": "open"}), 404)
    assert set(listed(client, verdict="expected")) == set(ids)
    assert client.patch("/v1/alerts", json={"ids": ids, "undo": True, "comment": "too soon"}).json()["alerts"] == 3
    assert listed(client, verdict="expected") == []
    assert set(ids) <= set(listed(client, state="open", assignee=""))
    history = client.get(f"/v1/alerts/{ids[0]}").json()["history"]
    assert [each["what"] for each in history] == ["raise", "change", "undo"]


def test_changes_of_many_are_taken_back_as_they_are_one_by_one(client: TestClient, service: Service) -> None:
    together, singly = new_alerts(client, 240, 5), new_alerts(client, 245, 5)
    for ids in (together, singly):
        client.patch("/v1/alerts", json={"ids": ids[:4], "state": "resolved", "verdict": "expected"})
        client.patch("/v1/alerts", json={"ids": ids[2:], "assignee": "Ann"})
    assert client.patch("/v1/alerts", json={"ids": together, "undo": True}).json()["alerts"] == 5
    for number in singly:
        assert client.patch(f"/v1/alerts/{number}", json={"undo": True}).status_code == 200
    for one, other in zip(together, singly, strict=True):
        mine, plain = (client.get(f"/v1/alerts/{number}").json() for number in (one, other))
        for told in ("state", "verdict", "assignee"):
            assert mine[told] == plain[told]
        for told in ("what", "who", "before", "after", "comment", "part_of"):
            assert [line[told] for line in mine["history"]] == [line[told] for line in plain["history"]]
        places = [{line["id"]: place for place, line in enumerate(each["history"])} for each in (mine, plain)]
        undone = [
            [place.get(line["undoes"]) for line in each["history"]]
            for each, place in zip((mine, plain), places, strict=True)
        ]
        assert undone[0] == undone[1]
    # The last has nothing left to undo, so that nothing of the others is undone.
    assert is_problem(client.patch("/v1/alerts", json={"ids": together, "undo": True}), 409)
    assert listed(client, assignee="Ann") == []
    assert set(listed(client, verdict="expected")) >= {together[2], singly[2]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": "open"}, "The body has no ids."),
        ({"ids": [1, 1], "state": "open"}, "ids names something twice."),
        ({"ids": ["1"], "state": "open"}, "Item 1 of ids is a whole number."),
    ],
)
def test_what_is_wrong_with_ids_is_said(client: TestClient, change: Any, told: str) -> None:
    assert client.patch("/v1/alerts", json=change).json()["detail"] == told


@pytest.mark.parametrize(
    "change",
    [
        {"state": "open"},
        {"ids": [], "state": "open"},
        {"ids": [1, 1], "state": "open"},
        {"ids": ["1"], "state": "open"},
        {"ids": [0], "state": "open"},
        {"ids": [True], "state": "open"},
        {"ids": list(range(1, 1002)), "state": "open"},
        {"ids": [1], "assignee": 3},
        {"ids": [1], "assignee": "a" * 256},
        {"ids": [1]},
        [1],
    ],
)
def test_odd_changes_of_many_are_refused(client: TestClient, change: Any) -> None:
    assert is_problem(client.patch("/v1/alerts", json=change), 400)


def test_each_filter_leaves_out_what_it_says(client: TestClient) -> None:
    (one,) = new_alerts(client, 210, 1, supplier="Sïlly 100% & Söns")
    others = new_alerts(client, 211, 2)
    alert = client.get(f"/v1/alerts/{one}").json()
    assert alert["column"]
    assert alert["column"] in alert["about"]
    assert alert["amount"] == hot(210)["total_cost"]
    assert listed(client, text="sïlly 100% &") == listed(client, text="100% & SÖNS".lower()) == [one]
    assert listed(client, text="100_") == []
    assert listed(client, text="HOT-210") == [one]
    assert one in listed(client, column=alert["column"])
    assert listed(client, column="no such") == []
    assert {one, *others} <= set(listed(client, since="2020-01-01", until="2120-01-01T00:00:00+01:00"))
    assert listed(client, since="2120-01-01") == listed(client, until="2020-01-01T10:00Z") == []
    assert listed(client, min_severity=alert["severity"])
    assert listed(client, assignee="nobody") == []
    client.patch(f"/v1/alerts/{one}", json={"assignee": "Böb"})
    assert listed(client, assignee="Böb") == [one]
    assert listed(client, sort="oldest") == sorted(listed(client))
    for sort in ("severity", "last_seen", "count"):
        values = [each[sort] for each in client.get("/v1/alerts", params={"sort": sort}).json()["alerts"]]
        assert values == sorted(values, reverse=True)


ODD_QUERIES = [
    *("since=yesterday", "since=2026-13-01", "since=2026-01-01T25:00:00Z", "since=0001-01-01T00:00:00%2B23:00"),
    *("limit=1&limit=2", "limit=501", "limit=1.5", "limit=0", "limit=x", "min_severity=101", "min_severity=nan"),
    *("case=0", f"case={2**63}", "hidden=yes", "text=", f"text={'a' * 201}", "verdict=error", "state=odd", "odd=1"),
    *("format=pdf", "sort=odd", "after=zzz", "after=W10=", "after=WyJhIiwxXQ==", "after=WzEsMS41XQ=="),
    *("sort=severity&after=WyIxIiwxXQ==", "sort=last_seen&after=WzEsMV0=", "before=zzz"),
    *("after=WzEsMV0=&before=WzEsMV0=", "after=WzEsMV0=&before=WzEsMV0=&format=csv"),
]


def test_odd_queries_are_refused(client: TestClient) -> None:
    for query in ODD_QUERIES:
        assert is_problem(client.get(f"/v1/alerts?{query}"), 400), query


FORMULA = {
    "supplier": "=cmd|'/C calc'!A0",
    "location": "+1",
    "product": "-x",
    "productId": "@y",
    "batch_id": "\uff1d1+1",
}


def exported(client: TestClient, path: str, kind: str, tmp_path: Path, **query: Any) -> Any:
    answer = client.get(path, params={"format": kind, **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Disposition"].endswith(f'.{kind}"')
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(answer.text)))
    if kind == "parquet":
        return pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    file = tmp_path / "list.xlsx"
    file.write_bytes(answer.content)
    return read_table(file).to_dict("records")


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
def test_a_list_is_exported_whole_and_without_formulas(
    client: TestClient, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_alerts(client, 220, 3)
    (odd,) = new_alerts(client, 229, 1, **FORMULA, later={"a": 1}, tall=2**70)
    monkeypatch.setattr("anomaly_detection.service.http.listing._EXPORTED_AT_ONCE", 2)
    rows = exported(client, "/v1/alerts", kind, tmp_path, limit=1, sort="oldest")
    # All, in the order that was asked for, whatever the page.
    assert [int(row["id"]) for row in rows] == listed(client, sort="oldest")
    (row,) = (row for row in rows if int(row["id"]) == odd)
    alert = client.get(f"/v1/alerts/{odd}").json()
    assert alert["record"]["supplier"] == FORMULA["supplier"]
    assert float(row["severity"]) == alert["severity"]
    assert row["reason"] == alert["reason"]
    assert float(row["record.temperature"]) == 95.0
    for name, value in FORMULA.items():
        assert row[f"record.{name}"] == (value if kind == "parquet" else f"'{value}")
    # The header is written before this record is read.
    assert '"later":{"a":1}' in row["more"]


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
@pytest.mark.parametrize("path", ["/v1/records", "/v1/audit", "/v1/jobs", "/v1/rules", "/v1/cases"])
def test_every_list_is_exported(client: TestClient, path: str, kind: str, tmp_path: Path) -> None:
    new_alerts(client, 230, 2)
    name = path.rpartition("/")[2]
    if name in ("jobs", "rules"):
        # Of none there is the header.
        assert len(client.get(path, params={"format": kind}).content) > 20
        return
    rows = exported(client, path, kind, tmp_path)
    pages = client.get(path, params={"limit": 500}).json()
    assert pages["next"] is None
    assert [int(row["id"]) for row in rows] == [each["id"] for each in pages[name]]


def test_a_workbook_goes_on_on_a_further_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    book = workbook.Workbook(["a", "b"])
    rows: list[list[Any]] = [[1, "x"], [2.5, None], [True, "<&>\x01"], [2**60, "\ud800" * 40_000], [float("inf"), "=1"]]
    for row in rows:
        book.add(row)
    book.close()
    file = tmp_path / "book.xlsx"
    file.write_bytes(book.taken())
    assert book.taken() == b""
    sheets = [read_table(file, layout=Layout(sheet=f"Sheet{number}")).to_numpy().tolist() for number in (1, 2, 3)]
    assert [len(sheet) for sheet in sheets] == [2, 2, 1]
    assert sheets[0][0] == [1, "x"]
    assert sheets[1][0][1] == "<&>\ufffd"
    # A number that no spreadsheet can hold, and a text that none takes, are told as they can be.
    assert sheets[1][1] == [str(2**60), "\ufffd" * 32_767]
    assert sheets[2][0] == ["inf", "=1"]


def test_rows_are_counted_for_whoever_asks(client: TestClient) -> None:
    new_alerts(client, 235, 2)
    page = client.get("/v1/alerts?total=true&limit=1&column=temperature").json()
    assert page["total"] == len(listed(client, column="temperature"))
    assert "total" not in client.get("/v1/alerts").json()


def test_an_export_that_cannot_be_is_a_problem(client: TestClient) -> None:
    assert is_problem(client.get("/v1/alerts?format=csv&after=odd"), 400)


def test_records_are_found_by_their_fate(client: TestClient) -> None:
    answer = client.post(RECORDS, json=[*simulated(3, seed=71), {"odd": 1}, hot(240)]).json()
    first, last = answer["first_record_id"], answer["last_record_id"]
    mine = set(range(first, last + 1))

    def found(**query: Any) -> set[int]:
        answer = client.get("/v1/records", params={"limit": 500, **query})
        assert answer.status_code == 200, answer.text
        return mine & {each["id"] for each in answer.json()["records"]}

    assert found() == found(stream="default") == found(since="2020-01-01", until="2120-01-01") == mine
    assert found(stream="nowhere") == found(since="2120-01-01") == found(until="2020-01-01") == set()
    assert found(state="refused") == {first + 3}
    assert found(state="judged") == mine - {first + 3}
    assert found(state="waiting") == set()
    assert found(is_alert="true") == {last}
    assert found(is_alert="false") == mine - {last}
    assert found(sent_id="HOT-240") == {last}
    moment = client.get(f"/v1/records/{last}").json()["received"]
    assert found(since=moment) == mine
    assert found(until=moment) == set()
    record = client.get(f"/v1/records/{last}").json()
    assert (record["model_version"], record["record"]) == (1, hot(240))


def test_rows_are_found_by_the_fields_of_their_records(client: TestClient) -> None:
    odd = {"supplier": 'S_1% "x"', "quantity": 77, "note": "a=b", "flag": True}
    (one,) = new_alerts(client, 260, 1, **odd)
    new_alerts(client, 261, 1, supplier="S_1", quantity=771, note="a")
    assert listed(client, has='supplier=S_1% "x"') == [one]
    assert (
        listed(client, has="quantity=77") == listed(client, has="flag=true") == listed(client, has="note=a=b") == [one]
    )
    assert listed(client, has=["quantity=77", "note=a=b"]) == [one]
    assert listed(client, has=["quantity=77", "note=a"]) == listed(client, has="uantity=77") == []
    assert listed(client, has='supplier=s_1% "x"') == []
    (record,) = client.get("/v1/records", params={"has": ["quantity=77", "flag=true"]}).json()["records"]
    assert record["alert_id"] == one
    for wrong in ("quantity", "=77", "a" * 501 + "=1"):
        assert is_problem(client.get("/v1/alerts", params={"has": wrong}), 400)
    assert is_problem(client.get("/v1/alerts", params={"has": ["a=b"] * 11}), 400)


def test_why_a_record_is_an_alert_and_why_not(client: TestClient) -> None:
    answer = client.post(RECORDS, json=[*simulated(1, seed=72), {"odd": 1}, hot(241)]).json()
    first = answer["first_record_id"]
    usual = client.get(f"/v1/records/{first}/explanation").json()
    assert usual["is_alert"] is False
    assert usual["decision"] == pytest.approx(usual["score"] - usual["threshold"])
    assert usual["decision"] >= 0
    assert usual["summary"]
    odd = client.get(f"/v1/records/{first + 2}/explanation").json()
    assert odd["is_alert"] is True
    assert odd["reasons"][0]["share"] > 0
    assert odd["severity"] == client.get(f"/v1/records/{first + 2}").json()["severity"]
    assert is_problem(client.get(f"/v1/records/{first + 1}/explanation"), 409)
    assert is_problem(client.get("/v1/records/999999999/explanation"), 404)


def test_the_audit_is_found_by_who_what_and_whom(client: TestClient) -> None:
    (number,) = new_alerts(client, 250, 1)
    client.patch(f"/v1/alerts/{number}", json={"state": "acknowledged", "comment": "seen 100%"})
    query = {"subject": "alert", "subject_id": number}
    lines = client.get("/v1/audit", params=query).json()["audit"]
    assert [each["what"] for each in lines] == ["change", "raise"]
    assert [each["id"] for each in client.get("/v1/audit", params={**query, "what": "raise"}).json()["audit"]] == [
        lines[1]["id"]
    ]
    assert lines[0]["who"] == "local"
    assert lines[0]["before"] == {"state": "open"}
    assert len(client.get("/v1/audit", params={**query, "text": "100%"}).json()["audit"]) == 1
    assert client.get("/v1/audit", params={**query, "since": "2120-01-01"}).json()["audit"] == []
    assert client.get("/v1/audit", params={"who": "nobody"}).json()["audit"] == []


def test_a_line_of_the_audit_is_undone_once_and_only_the_last(client: TestClient) -> None:
    (number,) = new_alerts(client, 251, 1)
    client.patch(f"/v1/alerts/{number}", json={"state": "acknowledged"})
    client.patch(f"/v1/alerts/{number}", json={"state": "resolved", "verdict": "duplicate"})
    raised, first, second = (each["id"] for each in client.get(f"/v1/alerts/{number}").json()["history"])
    assert is_problem(client.post(f"/v1/audit/{first}/undo"), 409)
    done = client.post(f"/v1/audit/{second}/undo", json={"comment": "no"})
    assert done.json() == {"subject": "alert", "subject_id": number}
    assert is_problem(client.post(f"/v1/audit/{second}/undo"), 409)
    assert client.post(f"/v1/audit/{first}/undo").status_code == 200
    assert client.get(f"/v1/alerts/{number}").json()["state"] == "open"
    assert is_problem(client.post(f"/v1/audit/{raised}/undo"), 409)
    assert is_problem(client.post("/v1/audit/999999999/undo"), 404)
