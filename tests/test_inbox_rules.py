"""Rules made on a page, with what they would hide before that; cases merged and split by hand."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import orjson
import pytest
from service_example import PRODUCTS, a_service, case_number, emptied, raised
from sqlalchemy import update
from starlette.testclient import TestClient

from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.tables import alerts, cases, records, rules

SCRIPT = "<script>alert(1)</script>"


service = a_service()


@pytest.fixture
def client(service: Service) -> TestClient:
    return emptied(service, records, alerts, cases, rules)


def post(client: TestClient, path: str, where: str = "/", **form: Any) -> Any:
    return client.post(path, data=form, headers={"HX-Request": "true", "HX-Current-URL": f"http://127.0.0.1{where}"})


def form_of(text: str) -> dict[str, Any]:
    """What the form of a rule would send."""
    form = text[text.index('<form id="rule"') : text.index("</form>")]
    found: dict[str, Any] = {"how": re.findall(r'<option value="(\w+)" selected>is', form)}
    for tag in re.findall(r"<input[^>]*>", form):
        said = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if said.get("type") != "checkbox" or "checked" in tag:
            found.setdefault(said["name"], []).append(said["value"])
    (found["days"],) = re.findall(r'<option value="(\d*)" selected>for', form)
    return found


def test_two_keys_hide_what_is_like_an_alert(client: TestClient) -> None:
    first, second = raised(client, 1, 2, supplier=SCRIPT)
    case = case_number(client, first)
    went = post(client, "/cases", "/?stream=default", ids=case, do="hide")
    where = went.headers["HX-Push-Url"]
    worst = client.get(f"/v1/cases/{case}").json()["alerts_shown"][0]["id"]
    assert where == f"/alerts/{worst}/rule?back=stream%3Ddefault"
    text = client.get(where).text
    assert SCRIPT not in text
    suggested = client.get(f"/v1/alerts/{worst}/rule").json()
    told = client.post("/v1/rules/preview", json=suggested).json()
    assert f"<strong>{told['hidden']}</strong> of {told['alerts']} alerts" in text
    assert "<button" not in text[text.index("autofocus") : text.index('class="chief"') - len("<button ")]
    # As the second key, Enter, sends it.
    made = post(client, "/rules", where, **form_of(text))
    assert made.headers["HX-Push-Url"] == "/?stream=default"
    (rule,) = client.get("/v1/rules").json()["rules"]
    assert {"column": rule["column"], "where": rule["where"]} == {
        "column": suggested["column"],
        "where": suggested["where"],
    }
    assert rule["hidden"] == told["open"] >= 1
    assert rule["until"] > rule["created"]
    assert rule["reason"].startswith("Known: ")
    assert client.get(f"/v1/alerts/{worst}").json()["hidden_by"] == rule["id"]
    assert f'id="case-{case}"' not in made.text or told["open"] < len((first, second))
    # And one more key takes it back.
    (undo,) = re.findall(r'id="undo-last"[^>]*hx-post="/rules" hx-vals="([^"]+)"', made.text)
    assert unescape(undo) == f'{{"do": "revoke", "number": {rule["id"]}}}'
    assert f'id="case-{case}"' in post(client, "/rules", do="revoke", number=rule["id"]).text
    listed = client.get("/streams/default").text
    assert "revoked" in listed[listed.index('id="rules"') :]


def test_conditions_are_narrowed_and_widened_before(client: TestClient) -> None:
    alert, _ = raised(client, 1, 2, supplier="Till", lot=7, note=None, fine=True)
    path = f"/alerts/{alert}/rule"
    fields: dict[str, Any] = {"asked": "1", "name": ["temperature"], "how": ["max"], "value": ["1,000"]}
    assert "<strong>2</strong> of 2" in client.get(path, params=fields).text
    wider = client.get(path, params={**fields, "add": "transaction_id", "reason": SCRIPT}).text
    assert "<strong>1</strong> of 2" in wider
    assert SCRIPT in unescape(wider)
    assert 'name="value" value="HOT-1"' in wider
    assert "<strong>2</strong> of 2" in client.get(path, params={**fields, "how": ["off"], "about": "yes"}).text
    nothing = client.get(path, params={**fields, "how": ["off"]}).text
    assert "a rule needs a condition" in nothing
    assert 'class="chief" disabled' in nothing
    # A value of the record is itself, whatever kind it has.
    exact = {"name": ["lot", "note", "fine"], "how": ["is"] * 3, "value": ["7", "", "True"]}
    made = post(client, "/rules", path, do="make", alert=alert, reason="known", days="", **exact)
    assert made.headers["HX-Push-Url"] == "/"
    (rule,) = client.get("/v1/rules").json()["rules"]
    assert rule["where"] == {"lot": 7, "note": None, "fine": True}
    assert rule["until"] is None
    assert rule["hidden"] == 2


def test_odd_rules_are_refused(client: TestClient) -> None:
    (alert,) = raised(client, 1)
    path = f"/alerts/{alert}/rule"
    fields = {"name": ["temperature"], "how": ["max"], "value": ["warm"]}
    assert "compared with a number" in client.get(path, params={"asked": "1", **fields}).text
    sent = {"do": "make", "alert": alert, "reason": "known", "days": "30"}
    for wrong in (
        fields,
        {**fields, "how": ["like"]},
        {**fields, "how": []},
        {**fields, "value": ["1"], "days": "7"},
        {**fields, "value": ["1"], "reason": " "},
        {"about": ""},
    ):
        assert post(client, "/rules", path, **{**sent, **wrong}).status_code == 400, wrong
    assert post(client, "/rules", path, do="burn").status_code == 400
    assert post(client, "/rules", path, do="revoke", number="999999").status_code == 404
    assert client.get("/alerts/999999/rule").status_code == 404
    assert client.get("/v1/rules").json()["rules"] == []


def test_a_rule_is_made_from_one_case_that_is_seen(client: TestClient) -> None:
    one, other = (
        raised(client, i, product=name, productId=number)[0] for i, (number, name, *_) in enumerate(PRODUCTS[:2])
    )
    both = [case_number(client, one), case_number(client, other)]
    assert "choose no more" in post(client, "/cases", ids=both, do="hide").text
    client.post("/v1/rules", json={"stream": "default", "where": {"product": PRODUCTS[0][1]}, "reason": "known"})
    assert post(client, "/cases", ids=both[0], do="hide").status_code == 409


def test_cases_are_merged_and_put_back(client: TestClient) -> None:
    found = [
        case_number(client, raised(client, i, product=name, productId=number)[0])
        for i, (number, name, *_) in enumerate(PRODUCTS)
    ]
    assert "two cases or more" in post(client, "/cases", ids=found[0], do="merge").text
    text = post(client, "/cases", ids=found, do="merge").text
    assert f"3 cases are case {min(found)} now." in text
    assert re.findall(r'id="case-(\d+)"', text) == [str(min(found))]
    (undo,) = re.findall(r'id="undo-last"[^>]*hx-vals="([^"]+)"', text)
    others = re.findall(r"\d+", unescape(undo))
    assert set(map(int, others)) == set(found) - {min(found)}
    back = post(client, "/cases", ids=",".join(others), do="undo").text
    assert set(map(int, re.findall(r'id="case-(\d+)"', back))) == set(found)
    assert [client.get(f"/v1/cases/{each}").json()["alerts"] for each in found] == [1, 1, 1]


def test_a_case_is_split(client: TestClient) -> None:
    first, second = raised(client, 1, 2)
    case = case_number(client, first)
    assert f'href="/cases/{case}/split"' in client.get(f"/cases/{case}").text
    text = client.get(f"/cases/{case}/split").text
    assert set(re.findall(r'name="alerts" value="(\d+)"', text)) == {str(first), str(second)}
    assert "No alert is chosen" in post(client, f"/cases/{case}/split").text
    assert post(client, f"/cases/{case}/split", alerts=[first, second]).status_code == 409
    went = post(client, f"/cases/{case}/split", alerts=second)
    assert went.headers["HX-Redirect"] == f"/cases/{case_number(client, second)}"
    assert case_number(client, second) != case_number(client, first) == case


def test_a_case_is_given_to_somebody(client: TestClient) -> None:
    case = case_number(client, raised(client, 1)[0])
    post(client, "/cases", ids=case, do="give", assignee=" Ann ")
    assert client.get(f"/v1/cases/{case}").json()["assignee"] == "Ann"
    post(client, "/cases", ids=case, do="give", assignee="")
    assert client.get(f"/v1/cases/{case}").json()["assignee"] is None


def test_a_rule_about_a_date_does_not_pin_the_day(client: TestClient, service: Service) -> None:
    (alert,) = raised(client, 1)
    reason = {"columns": ["timestamp"], "share": 1.0, "text": "late", "direction": "high"}
    judge = service.judge_of("default")
    assert judge is not None
    grouped, alone = (
        next(name for name in judge._sources if bool(judge.group_of(name)) is is_grouped)
        for is_grouped in (True, False)
    )
    found = []
    for feature in (grouped, alone):
        contributions = orjson.dumps([{**reason, "feature": feature}]).decode()
        with service.database.writing() as connection:
            connection.execute(update(alerts).where(alerts.c.id == alert).values(contributions=contributions))
        found.append(client.get(f"/v1/alerts/{alert}/rule").json()["where"])
    assert set(found[0]) == set(judge.group_of(grouped))
    # Where nothing else is known of it, the day is what a rule can name.
    assert set(found[1]) == {"timestamp"}
