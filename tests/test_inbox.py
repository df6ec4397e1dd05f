"""The inbox: what each page says, that what is done there is done by the API, and that data is never markup."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from service_example import (
    PRODUCTS,
    RECORDS,
    a_service,
    case_number,
    client_of,
    emptied,
    hot,
    raised,
    resting,
    simulated,
    work_off,
)
from starlette.testclient import TestClient

from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.pages.acting import DOING
from anomaly_detection.service.pages.rendering import STATIC, age, figure, lasting, number, static_file
from anomaly_detection.service.pages.start import LATEST
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.tables import alerts, cases, records

SCRIPT = "<script>alert(1)</script>"
ON_STREAM = {"HX-Request": "true", "HX-Current-URL": "http://127.0.0.1/streams/default"}
BROWSER = {"Accept": "text/html,application/xhtml+xml"}


service = a_service()


@pytest.fixture
def client(service: Service) -> TestClient:
    return emptied(service, records, alerts, cases)


def page(client: TestClient, path: str, status: int = 200, **query: Any) -> str:
    answer = client.get(path, params=query or None, headers=BROWSER)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    # What such a policy refuses is not there.
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)|<[a-z][^>]*\s(style|on[a-z]+)=", answer.text)
    return answer.text


def different(client: TestClient) -> list[int]:
    """Cases of different causes: the same is odd of different products."""
    found = [
        case_number(client, each)
        for i, (number, name, *_) in enumerate(PRODUCTS)
        for each in raised(client, i, product=name, productId=number)
    ]
    assert len(set(found)) == len(PRODUCTS)
    return found


def act(client: TestClient, where: str = "/", **form: Any) -> Any:
    return client.post(
        "/cases", data=form, headers={"HX-Request": "true", "HX-Current-URL": f"http://127.0.0.1{where}"}
    )


def test_the_inbox_lists_cases_the_worst_first(client: TestClient) -> None:
    (alert,) = raised(client, 1)
    raised(client, 2, cost_per_unit=8.0, temperature=20.0)
    found = client.get("/v1/cases").json()["cases"]
    text = page(client, "/")
    shown = [int(each) for each in re.findall(r'id="case-(\d+)"', text)]
    assert shown == [each["id"] for each in found]
    said = client.get(f"/v1/alerts/{alert}").json()
    for told in (said["reason"], said["about"], "HOT-1", "2026-01-01 00:07", number(said["amount"])):
        assert told.replace(" %", "\N{NO-BREAK SPACE}%") in unescape(text)
    assert "unresolved</option>" in text


def test_the_filters_are_those_of_the_api(client: TestClient) -> None:
    number_of = case_number(client, raised(client, 1)[0])
    assert f"case-{number_of}" in page(
        client, "/", stream="default", min_severity="25", text="hot-1", since="2020-01-01"
    )
    assert "No case is like this" in page(client, "/", text="HOT-2")
    assert "No case is like this" in page(client, "/", state="resolved")
    assert f"case-{number_of}" in page(client, "/", state="all", text="")
    assert "min_severity is" in unescape(page(client, "/", 400, min_severity="much"))
    assert "Unknown parameter" in page(client, "/", 400, sorted="yes")


def test_pages_go_on_where_the_last_one_ended(client: TestClient) -> None:
    different(client)
    everything = re.findall(r'id="case-(\d+)"', page(client, "/"))
    assert len(everything) > 1
    first = page(client, "/", limit=1)
    (following,) = re.findall(r'href="([^"]+)" rel="next"', first)
    second = page(client, unescape(following))
    assert re.findall(r'id="case-(\d+)"', first + second) == everything[:2]
    assert "From the first" in second


@pytest.mark.parametrize(
    ("do", "state", "verdict"),
    [
        ("expected", "resolved", "expected"),
        ("false alarm", "resolved", "false alarm"),
        ("real", "resolved", "real: fixed"),
        ("accepted", "resolved", "real: accepted"),
        ("duplicate", "resolved", "duplicate"),
        ("acknowledge", "acknowledged", None),
    ],
)
def test_a_verdict_is_a_change_of_the_api_and_can_be_undone(
    client: TestClient, do: str, state: str, verdict: str | None
) -> None:
    alert = raised(client, 1)[0]
    case = case_number(client, alert)
    text = act(client, ids=case, do=do).text
    assert "1 case with 1 alert" in text
    assert f'id="case-{case}"' not in text or state != "resolved"
    for path in (f"/v1/cases/{case}", f"/v1/alerts/{alert}"):
        now = client.get(path).json()
        assert (now["state"], now["verdict"]) == (state, verdict)
    (undo,) = re.findall(r'id="undo-last"[^>]*hx-vals="([^"]+)"', text)
    assert unescape(undo) == f'{{"do": "undo", "ids": "{case}"}}'
    assert f'id="case-{case}"' in act(client, ids=case, do="undo").text
    assert client.get(f"/v1/alerts/{alert}").json()["state"] == "open"
    assert client.get(f"/v1/cases/{case}").json()["history"][-1]["who"] == "local"


def test_many_cases_are_changed_together_or_none(client: TestClient) -> None:
    some = different(client)
    assert f"{len(some)} cases" in act(client, ids=some, do="expected").text
    assert client.get("/v1/cases", params={"state": "unresolved"}).json()["cases"] == []
    assert act(client, ids=",".join(map(str, some)), do="undo").status_code == 200
    assert act(client, ids=[*some, 10**9], do="expected").status_code == 404
    assert len(client.get("/v1/cases", params={"state": "open"}).json()["cases"]) == len(some)


def test_snoozing_taking_and_comments(client: TestClient) -> None:
    case = case_number(client, raised(client, 1)[0])
    path = f"/v1/cases/{case}"
    assert f'id="case-{case}"' not in act(client, ids=case, do="snooze", days="", or_worse="yes", worse_by="5").text
    snoozed = client.get(path).json()
    assert snoozed["snoozed_below"] == pytest.approx(min(snoozed["severity"] + 5, 100))
    assert "snoozed until it gets worse" in page(client, f"/cases/{case}")
    act(client, ids=case, do="snooze", days="7", until="2120-02-03")
    assert client.get(path).json()["snoozed_until"][:10] == "2120-02-03"
    assert "snoozed until 2120-02-03" in page(client, f"/cases/{case}")
    assert f'id="case-{case}"' in page(client, "/", snoozed="only")
    act(client, f"/cases/{case}", ids=case, do="wake")
    assert client.get(path).json()["snoozed_until"] is None
    act(client, ids=case, do="assign")
    assert client.get(path).json()["assignee"] == "local"
    text = act(client, f"/cases/{case}", ids=case, do="comment", comment=f" {SCRIPT} ").text
    assert client.get(path).json()["history"][-1]["comment"] == SCRIPT
    assert "comment added" in text
    assert SCRIPT not in text
    assert SCRIPT in unescape(text)


def test_after_a_verdict_on_its_page_the_next_case_is_there(client: TestClient) -> None:
    different(client)
    left = [each["id"] for each in client.get("/v1/cases", params={"state": "unresolved"}).json()["cases"]]
    assert len(left) > 1
    for case, following in zip(left, [*left[1:], None], strict=True):
        answer = act(client, f"/cases/{case}", ids=case, do="real")
        assert answer.headers["HX-Push-Url"] == ("/" if following is None else f"/cases/{following}")
        assert following is None or f'name="ids" value="{following}"' in answer.text
        # The key takes back what was done, and does nothing with the case that has come since.
        assert answer.text.count('data-key="u"') == 1
        assert f'"ids": "{case}"' in unescape(answer.text)
    assert "HX-Push-Url" not in act(client, f"/cases/{left[0]}", ids=left[0], do="undo").headers


def test_a_case_knows_the_view_that_it_was_opened_from(client: TestClient) -> None:
    different(client)
    view = "stream=default&min_severity=5&sort=newest"
    newest = re.findall(r'class="open" href="/cases/(\d+)\?(.*?)"', page(client, f"/?{view}"))
    assert len(newest) == 3
    assert {unescape(query) for _, query in newest} == {view}
    first, second, third = (int(number) for number, _ in newest)
    text = unescape(page(client, f"/cases/{second}?{view}"))
    assert f'href="/?{view}"' in text
    for where, there in (("after", f"/cases/{third}"), ("before", f"/cases/{first}")):
        assert f'href="/cases/{second}/{where}?{view}"' in text
        answer = client.get(f"/cases/{second}/{where}?{view}", follow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"{there}?{view}")
    # Before the first there is the view itself; behind the last one that got a verdict the first of those left.
    assert client.get(f"/cases/{first}/before?{view}", follow_redirects=False).headers["Location"] == f"/?{view}"
    for case, following in ((third, first), (first, second)):
        answer = act(client, f"/cases/{case}?{view}", ids=case, do="real")
        assert answer.headers["HX-Push-Url"] == f"/cases/{following}?{view}"


def test_what_cannot_be_done_says_so(client: TestClient) -> None:
    case = case_number(client, raised(client, 1)[0])
    assert "No case is chosen" in act(client, do="expected").text
    assert "called by their numbers" in act(client, ids="x", do="expected").text
    assert "not 'burn'" in act(client, ids=case, do="burn").text
    for days in ("0", "366", "9" * 5000):
        assert "1 to 365 days" in act(client, ids=case, do="snooze", days=days).text
    assert "1 to 365 days" in act(client, ids=case, do="snooze", days="").text
    # The page is not found, but the change would be made.
    assert client.post("/cases", data={"ids": case, "do": "real"}, headers={"HX-Current-URL": "http://["}).is_error
    assert act(client, ids=case, do="comment", comment=" ").status_code == 400
    assert act(client, ids=case, do="undo").status_code == 409
    assert act(client, ids=case, do=["expected", "real"]).status_code == 400
    assert client.get(f"/v1/cases/{case}").json()["state"] == "open"


def test_a_change_is_made_on_whatever_page(client: TestClient) -> None:
    case = case_number(client, raised(client, 1)[0])
    assert act(client, f"/cases/{'9' * 5000}", ids=case, do="acknowledge").status_code == 200
    assert client.get(f"/v1/cases/{case}").json()["state"] == "acknowledged"


def test_every_button_is_something_that_can_be_done(client: TestClient) -> None:
    case = case_number(client, raised(client, 1)[0])
    act(client, ids=case, do="snooze", days="1")
    texts = page(client, "/", snoozed="too") + page(client, f"/cases/{case}")
    act(client, ids=case, do="acknowledge")
    texts += page(client, f"/cases/{case}")
    assert set(re.findall(r'name="do" value="([^"]+)"', texts)) == set(DOING)


def test_the_page_of_a_case_says_why_and_what_came_before(client: TestClient) -> None:
    first, second = raised(client, 1, 2)
    case = case_number(client, first)
    text = unescape(page(client, f"/cases/{case}"))
    alert = client.get(f"/v1/alerts/{second}").json()
    assert all(reason["text"] in text for reason in alert["reasons"])
    assert f"{100 * alert['reasons'][0]['share']:.0f} %" in text
    odd = re.findall(r'<div class="odd"><dt><bdi>([^<]+)', text)
    assert set(odd) == {name for reason in alert["reasons"] for name in reason["columns"]}
    for name, value in alert["record"].items():
        assert f"<bdi>{name}</bdi>" in text
        assert str(value) in text or f"{value:g}" in text
    assert "HOT-1" in unescape(page(client, f"/cases/{case}", alert=first))
    act(client, ids=case, do="expected")
    assert "resolved as expected" in page(client, f"/cases/{case}")
    assert f"/cases/{case}?alert={first}" in client.get(f"/alerts/{second}/context").text
    page(client, "/cases/999999", 404)


def test_why_a_record_is_no_alert(client: TestClient) -> None:
    sent = client.post(RECORDS, json=simulated(3, 5)).json()
    for path in (f"/records/{sent['first_record_id']}", f"/v1/records/{sent['first_record_id']}"):
        assert "TX-5-000000" in client.get(path).text
    usual = next(each["id"] for each in client.get("/v1/records").json()["records"] if each["alert_id"] is None)
    assert re.search(r"Why it is (no|an) alert", page(client, f"/records/{usual}"))
    assert f'href="/records/{usual}"' in page(client, "/records")
    assert f'href="/records/{usual}"' in page(client, "/records", id=usual)
    assert f'href="/records/{sent["first_record_id"]}"' in page(client, "/records", id="TX-5-000000")
    assert "No record is called so" in page(client, "/records", id="nobody")
    client.post(RECORDS, json=[{"transaction_id": "EMPTY"}])
    (refused,) = client.get("/v1/records", params={"state": "refused"}).json()["records"]
    assert "cannot be judged" in page(client, f"/records/{refused['id']}")


def test_what_comes_from_data_is_text(client: TestClient) -> None:
    wide = {f"{SCRIPT}{i}": f'"><img src=x onerror=alert({i})>' for i in range(200)}
    hostile = {
        "supplier": SCRIPT,
        "product": "<b>Fish</b>",
        "transaction_id": "\u202e<i>x",
        "location": "ספק",
        "long": "<p>" * 5000,
    }
    sent = client.post(RECORDS, json=[{**hot(1), **wide, **hostile}]).json()
    case = case_number(client, sent["alerts"][0]["alert_id"])
    act(client, ids=case, do="comment", comment=SCRIPT)
    paths = (
        "/",
        f"/?text={SCRIPT}",
        f"/cases/{case}",
        "/records",
        f"/records?id={SCRIPT}",
        f"/records/{sent['first_record_id']}",
    )
    for path in (*paths, f"/alerts/{sent['alerts'][0]['alert_id']}/context"):
        text = client.get(path).text
        assert "<script>" not in text, path
        assert not re.search(r"<(img|b|i)[ >]", text), path
        assert "<p><p>" not in text, path
    whole = page(client, f"/cases/{case}")
    assert whole.count("&lt;script&gt;alert(1)") >= 200
    assert "ספק" in whole
    assert "<script>" not in page(client, f"/cases/{SCRIPT}", 404)


def test_a_browser_gets_problems_as_pages_and_programs_as_json(client: TestClient) -> None:
    assert "There is no case 999" in page(client, "/cases/999", 404)
    assert "There is nothing at" in page(client, "/nothing", 404)
    assert client.get("/nothing").json()["success"] is False
    assert client.get("/v1/cases/999", headers=BROWSER).json()["status"] == 404
    assert client.get("/cases", headers=BROWSER).status_code == 405
    assert client.post("/cases", content=b"\xff", headers=BROWSER).status_code == 400
    assert client.post("/cases", data={"ids": "1"}, headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("name", STATIC)
def test_files_of_pages_are_kept_by_browsers(client: TestClient, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.content == static_file(name)
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Type"] == STATIC[name]


def test_ages_and_numbers() -> None:
    assert [figure(each) for each in ("Sea", None, 3, 0.12345, 65432.1)] == ["Sea", "", "3", "0.1235", "65,432"]
    assert age("2020-01-01T00:00:00.000Z").endswith(" y")
    assert [lasting(each) for each in (7, 106, 7200, 90_000)] == ["7 s", "2 min", "2 h", "1 d"]
    assert age("2999-01-01T00:00:00.000Z") == "now"
    assert [number(each) for each in (None, 0.0, 1234.5, 1e6, -2.25)] == ["", "0", "1,234.50", "1,000,000", "-2.25"]


def test_the_start_goes_from_a_table_to_the_inbox(tmp_path: Path) -> None:
    with resting(tmp_path, model=None) as service:
        client = client_of(service)
        assert "Start with a table" in page(client, "/")
        # A stream of its own, which learns when somebody has looked at its columns.
        assert client.post("/v1/streams", json={"name": "mine", "learn_from": LATEST}).status_code == 201
        assert "cannot be told yet" in page(client, "/start/mine")
        client.post("/v1/streams/mine/records", json=[{**each, SCRIPT: 1} for each in simulated(60)])
        text = page(client, "/start/mine")
        assert "60 records are kept" in text
        assert '<option value="number" selected>number</option>' in text
        assert SCRIPT not in text
        assert '<a href="/start/mine">' in page(client, "/")
        assert client.post("/start/mine", data={"column": "humidity", "was": "number"}).status_code == 400
        asked = {
            "column": ["humidity", "temperature"],
            "was": ["number"] * 2,
            "kind": ["ignore", "number"],
            "had": ["", "-1"],
            "missing": ["", "-999, n/a"],
        }
        went = client.post("/start/mine", data=asked, headers={"HX-Request": "true"})
        assert (went.status_code, went.headers["HX-Redirect"]) == (200, "/start/mine")
        assert client.get("/v1/streams/mine").json()["settings"]["columns"] == {
            "humidity": {"kind": "ignore"},
            "temperature": {"missing": ["-999", "n/a"]},
        }
        assert client.post("/start/mine", data=asked).status_code == 409
        assert "Learning from 60 records" in page(client, "/start/mine")
        work_off(service)
        assert "Judging the records" in page(client, "/start/mine")
        number_of = service.stream_id("mine")
        service.writer.run(lambda connection: jobs.add_job(connection, "judge", number_of))
        work_off(service)
        gone = client.get("/start/mine", follow_redirects=False)
        assert (gone.status_code, gone.headers["Location"]) == (303, "/?stream=mine")
        page(client, "/", stream="mine")
        page(client, "/start/other", 404)


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    with resting(tmp_path, model=None) as service:
        client = client_of(service)
        client.post("/v1/streams", json={"name": "mine", "learn_from": LATEST})
        client.post("/v1/streams/mine/records", json=[{"a": 1}] * 3)
        assert client.post("/start/mine", follow_redirects=False).headers["Location"] == "/start/mine"
        work_off(service)
        (job,) = client.get("/v1/jobs").json()["jobs"]
        assert job["error"]
        assert job["error"] in unescape(page(client, "/start/mine"))


def test_the_sample_is_a_stream_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly_detection.service.pages.start._SAMPLES", 200)
    with resting(tmp_path, model=None) as service:
        client = client_of(service)
        for _ in range(2):
            assert client.post("/sample", follow_redirects=False).headers["Location"] == "/start/sample"
        (stream,) = [each for each in client.get("/v1/streams").json()["streams"] if each["name"] == "sample"]
        assert stream["waiting"] == 200
        assert "Learn from them" in page(client, "/start/sample")


def test_the_overview_shows_what_the_api_counts(client: TestClient) -> None:
    different(client)
    case = case_number(client, raised(client, 7)[0])
    act(client, ids=case, do="false alarm")
    found = client.get("/v1/overview").json()
    text = unescape(page(client, "/overview", days="7"))
    assert f"<strong>{found['alerts']}</strong> alerts" in text
    assert f"<strong>{found['records']}</strong> records" in text
    assert found["by_column"][0]["column"] in text
    assert "100 %" in text[text.index("False alarms by week") :]
    (chart,) = re.findall(r'data-chart="(.*?)"></div>', text)
    values = {each["label"]: each["values"] for each in json.loads(chart)["series"]}
    assert len(values["Alerts"]) == 7
    assert values["Alerts"][-1] == found["alerts"]
    assert "Nothing came" in page(client, "/overview", stream="other")
    assert "days is 7" in page(client, "/overview", 400, days="1000000")


def test_the_page_of_a_stream_changes_its_threshold_and_its_model(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        client = client_of(service)
        client.post(RECORDS, json=[*simulated(30, 3), hot(1)])
        assert 'href="/streams/default"' in page(client, "/streams")
        text = page(client, "/streams/default")
        assert "31 records judged" in text
        assert text.count("judges now") == 1
        then = client.get("/v1/streams/default/threshold", params={"anomaly_ratio": 0.3}).json()["alerts_then"]
        assert f"With 30 %, {then} of them" in page(client, "/streams/default", percent="30")
        page(client, "/streams/default", 400, percent="many")
        page(client, "/streams/other", 404)

        def do(what: str, **form: Any) -> int:
            return client.post("/streams/default", data={"do": what, **form}, follow_redirects=False).status_code

        assert do("threshold", percent="30") == 303
        assert client.get("/v1/streams/default").json()["settings"]["anomaly_ratio"] == 0.3
        assert do("learn") == 303
        work_off(service)
        assert client.get("/v1/streams/default").json()["model"]["version"] == 2
        assert do("roll back") == 303
        assert client.get("/v1/streams/default").json()["model"]["version"] == 1
        assert do("promote", number="2") == 303
        assert client.get("/v1/streams/default").json()["model"]["version"] == 2
        rule = {"stream": "default", "column": None, "where": {"product": "Fish"}, "reason": SCRIPT}
        number = client.post("/v1/rules", json=rule).json()["id"]
        assert SCRIPT in unescape(page(client, "/streams/default"))
        revoked = client.post("/rules", data={"do": "revoke", "number": number}, headers=ON_STREAM)
        assert revoked.headers["HX-Redirect"] == "/streams/default"
        assert client.get(f"/v1/rules/{number}").json()["revoked"]
        assert do("burn") == 400
        # All of it is in the audit.
        text = unescape(page(client, "/audit"))
        assert "anomaly_ratio" in text
        assert "revoke rule" in text
        assert "Nothing was changed" in page(client, "/audit", who="nobody")
        (export, _) = re.findall(r'href="(/v1/audit[^"]+)"', page(client, "/audit", subject="rule"))
        assert client.get(unescape(export)).headers["Content-Type"].startswith("text/csv")
        assert "revoke rule" in page(client, "/audit", text='"revoked"')
        assert 'rel="next"' in page(client, "/audit", limit="1")
