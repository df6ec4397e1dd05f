"""What the inbox can be narrowed by, saved views, news, and the lists as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from service_example import BOTH, PRODUCTS, RECORDS, client_of, hot, is_problem, on, resting
from starlette.testclient import TestClient

from anomaly_detection.service.alerts.case_facets import categories_of
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.routes import views

FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture(scope="module", params=BOTH)
def service(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
    with on(request.param, resting, tmp_path_factory.mktemp("service")) as made:
        client = client_of(made)
        for i, (number, name, *_) in enumerate(PRODUCTS):
            odd = {"product": name, "productId": number, "supplier": f"Supplier {i}", "location": FORMULA}
            client.post(RECORDS, json=[{**hot(i), **odd}])
        yield made


def listed(client: TestClient, *query: tuple[str, str]) -> list[int]:
    answer = client.get("/v1/cases", params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["cases"]]


def shown(client: TestClient, query: str) -> list[int]:
    answer = client.get(f"/?{query}")
    assert answer.status_code == 200, answer.text
    return [int(each) for each in re.findall(r'id="case-(\d+)"', answer.text)]


def options(text: str, name: str) -> dict[str, str]:
    """Of the selects of a name, what each value says."""
    found = "".join(re.findall(rf'<select[^>]* name="{name}".*?</select>', text, re.DOTALL))
    pairs = re.findall(r'<option value="([^"]*)"[^>]*>([^<]*)</option>', found)
    return {unescape(value): unescape(told) for value, told in pairs}


def test_cases_are_found_by_what_their_records_hold(client: TestClient) -> None:
    every = listed(client)
    assert len(every) == len(PRODUCTS)
    fish = listed(client, ("has", "product=Fish"))
    assert len(fish) == 1
    assert listed(client, ("has", "product=Fish"), ("has", "supplier=Supplier 2")) == fish
    assert listed(client, ("has", "product=Fish"), ("has", "supplier=Supplier 0")) == []
    assert shown(client, urlencode([("has", "product=Fish"), ("has", "supplier=")])) == fish
    assert is_problem(client.get("/v1/cases", params={"has": "product"}), 400)


def test_what_there_is_to_narrow_by_is_counted(client: TestClient) -> None:
    found = client.get("/v1/cases/facets", params={"stream": "default"}).json()
    assert {each["column"] for each in found["columns"]} == {each["column"] for each in cases(client)}
    assert sum(each["cases"] for each in found["columns"]) == len(PRODUCTS)
    products = next(each["values"] for each in found["fields"] if each["name"] == "product")
    assert sorted((each["value"], each["alerts"]) for each in products) == sorted((name, 1) for _, name, *_ in PRODUCTS)
    for step in found["severities"]:
        least = step["min_severity"]
        assert step["cases"] == len(listed(client, ("min_severity", str(least)), ("snoozed", "too")))
        assert step["a_day"] == step["cases"] / found["days"]
    # Without a stream nobody knows what its categories are.
    assert client.get("/v1/cases/facets").json()["fields"] == []
    nothing = client.get("/v1/cases/facets", params={"stream": "other"}).json()
    assert (nothing["columns"], nothing["severities"][0]["cases"]) == ([], 0)


def cases(client: TestClient) -> list[dict[str, Any]]:
    return list(client.get("/v1/cases").json()["cases"])


def test_the_categories_that_matter_come_first(service: Service) -> None:
    judge = service.judge_of("default")
    assert judge is not None
    assert categories_of(judge.detector.preprocessor.schema_)[:3] == ["supplier", "product", "location"]


def test_the_filters_offer_what_there_is_and_keep_what_was_chosen(client: TestClient) -> None:
    column = cases(client)[0]["column"]
    asked = urlencode([("has", "product=Fish"), ("min_severity", "20"), ("column", column), ("whose", "nobody")])
    page = client.get(f"/?{asked}").text
    (where,) = re.findall(r'hx-get="(/facets[^"]+)"', page)
    part = client.get(unescape(where)).text
    for text in (page, part):
        chosen = re.findall(r'<option value="([^"]*)" selected', text)
        assert {"product=Fish", column, "nobody"} <= set(chosen)
        assert 'value="20"' in text
    assert options(part, "has")["product=Chips"] == "Chips (1)"
    assert options(part, "column")[column].startswith(f"{column} (")
    (told,) = re.findall(r'data-words="([^"]+)"', part)
    assert f'"0": "any: {len(PRODUCTS)} new"' in unescape(told)
    assert "hx-get" not in part
    # A value that nobody offers any more is still there.
    assert "product=Gone" in options(client.get("/facets?has=product%3DGone").text, "has")
    assert client.get("/facets?min_severity=much").status_code == 200


def test_whose_cases(client: TestClient) -> None:
    first, second, *_ = listed(client)
    client.patch(f"/v1/cases/{first}", json={"assignee": "local"})
    client.patch(f"/v1/cases/{second}", json={"assignee": "Ann <b>"})
    assert shown(client, "whose=me") == [first]
    assert shown(client, urlencode({"whose": "Ann <b>"})) == [second]
    assert set(shown(client, "whose=nobody")) == set(listed(client)) - {first, second}
    people = client.get("/facets").text
    assert "Ann <b>" in options(people, "whose")
    assert "<b>" not in people
    for each in (first, second):
        client.patch(f"/v1/cases/{each}", json={"assignee": None})


def test_a_view_is_saved_for_oneself(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    query = urlencode([("stream", "default"), ("has", "product=Fish")])
    here = {"HX-Request": "true", "HX-Current-URL": "http://127.0.0.1/?min_severity=much"}
    # What cannot be shown is not saved.
    assert client.post("/views", data={"do": "save", "name": "a"}, headers=here).status_code == 400
    here["HX-Current-URL"] = f"http://127.0.0.1/?{query}&after=x&text="
    text = client.post("/views", data={"do": "save", "name": " Fish <i> "}, headers=here).text
    assert "Saved as Fish &lt;i&gt;." in text
    assert f'<a href="/?{query.replace("&", "&amp;")}" aria-current="true">' in text
    (view,) = client.get("/v1/views").json()["views"]
    assert (view["name"], view["query"]) == ("Fish <i>", query)
    assert len(shown(client, view["query"])) == 1
    # The same name is the same view.
    client.post("/v1/views", json={"name": "Fish <i>", "query": "state=all"})
    (view,) = client.get("/v1/views").json()["views"]
    assert view["query"] == "state=all"
    monkeypatch.setattr(views, "_MOST", 1)
    assert is_problem(client.post("/v1/views", json={"name": "more", "query": ""}), 409)
    assert is_problem(client.delete("/v1/views/999999"), 404)
    assert client.post("/views", data={"do": "burn"}, headers=here).status_code == 400
    gone = client.post("/views", data={"do": "remove", "number": view["id"]}, headers={"HX-Request": "true"})
    assert "is removed" in gone.text
    assert client.get("/v1/views").json()["views"] == []


def test_what_came_since_is_told(client: TestClient) -> None:
    (newest,) = re.findall(r'name="newest" value="(\d+)"', client.get("/").text)
    assert int(newest) == max(listed(client))
    told = client.get("/news", params={"newest": newest}).text
    assert f">{len(PRODUCTS)}<" in told
    assert "new</button>" not in told
    assert "2 new</button>" in client.get("/news", params={"newest": str(int(newest) - 2)}).text
    assert "new</button>" not in client.get("/news", params={"newest": "0"}).text
    assert client.get("/news", params={"newest": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "lists"),
    [
        ("/?state=all&whose=nobody", ["cases"]),
        ("/records", ["records"]),
        ("/audit?subject=alert", ["audit"]),
        ("/streams", ["streams"]),
        ("/streams/default", ["models", "columns"]),
        ("/sources", ["sources", "files", "letters"]),
        ("/notifications", ["channels", "messages"]),
        ("/users", ["users", "keys"]),
        ("/overview?by=location", ["days", "by_column", *["by_field"] * 3, "weeks"]),
    ],
)
def test_every_list_is_a_file_too(client: TestClient, path: str, lists: list[str]) -> None:
    text = client.get(path, headers={"Accept": "text/html"}).text
    found = re.findall(r'<a href="(/v1/[^"]+)" download="(\w+).(csv|xlsx)"', text)
    assert [(name, kind) for _, name, kind in found] == [(name, kind) for name in lists for kind in ("csv", "xlsx")]
    whole = ""
    for where, _, kind in found:
        answer = client.get(unescape(where))
        assert answer.status_code == 200, answer.text
        if kind == "csv":
            whole += answer.text
        else:
            assert answer.content.startswith(b"PK")
    assert not re.search(r"(^|,)=cmd", whole, re.MULTILINE)
    assert (f"'{FORMULA}" in whole) is (path in ("/records", "/overview?by=location"))
