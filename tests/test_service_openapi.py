"""The document of our own API: whole, valid, and what the service does under thousands of made-up requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from anyio import CapacityLimiter
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)
from service_example import hot, resting, simulated
from starlette.routing import Route
from starlette.testclient import TestClient

from anomaly_detection.service.http.app import make_app
from anomaly_detection.service.http.bodies import MEDIA
from anomaly_detection.service.http.contract import ENDPOINTS
from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.http.openapi import DOCUMENT, OPERATIONS
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import check, moment_of
from anomaly_detection.service.pages.routes import page_routes
from anomaly_detection.service.processes.service import Service


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """Where a page goes on only the page before can tell."""
    return {name: value for name, value in query.items() if name not in ("after", "before")} if query else query


@schemathesis.serializer(*(media for media in MEDIA if media != "application/json"), "application/toml")
def as_bytes(context: Any, value: Any) -> bytes:
    """Anything, in bodies that are no JSON."""
    return value if isinstance(value, bytes) else json.dumps(value, default=str).encode()


schema = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT)))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with resting(tmp_path_factory.mktemp("service"), limits=Limits(logins=100_000)) as made:
        client = TestClient(make_app(made), "http://127.0.0.1")
        client.post("/v1/streams/default/records", json=[*simulated(5), *map(hot, range(5))])
        yield made


@pytest.fixture(scope="module")
def app(service: Service) -> Any:
    return make_app(service)


@pytest.mark.slow
@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_service_does_what_its_document_says(case: Any, app: Any) -> None:
    """No status, no answer and no type that is not described; what fits is taken, and what does not is refused."""
    response = case.call(app=app, base_url="http://127.0.0.1")
    unsaid = []
    if case.media_type not in (None, "application/json") or response.status_code == 422:
        # What a table or a model looks like inside JSON Schema cannot say, nor that a key came before.
        unsaid.append(positive_data_acceptance)
    if case.path.endswith(("/records", "/train")):
        # What is no record is refused by itself, beside others that are taken.
        unsaid += [positive_data_acceptance, negative_data_rejection]
    if case.path == "/login":
        # The page that asks for the name and the password is there too.
        unsaid.append(unsupported_method)
    case.validate_response(response, excluded_checks=unsaid)


def test_the_document_has_every_route_and_no_other(app: Any, service: Service) -> None:
    client = TestClient(app, "http://127.0.0.1")
    assert client.get("/openapi.json").json() == json.loads(json.dumps(DOCUMENT))
    routes = {
        (route.path.replace(":int", "").replace(":number", ""), method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path not in (*ENDPOINTS, "/explain/{name}")
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    pages = {
        (path.replace(":int", "").replace(":number", ""), method.lower())
        for path, needs, _ in page_routes(service, CapacityLimiter(1))
        for method in needs
    }
    assert routes == described | pages
    assert not described & pages
    assert len({each.run.__name__ for each in OPERATIONS}) == len(OPERATIONS)
    # Who may not, who is nobody known, and who asks too often, is told so by any of them.
    answers = [set(each["responses"]) for methods in DOCUMENT["paths"].values() for each in methods.values()]
    assert all({"401", "403", "429"} <= each for each in answers)
    everybody = {path for path, methods in DOCUMENT["paths"].items() for each in methods.values() if "security" in each}
    assert everybody == {"/login", "/logout", "/v1/session"}
    for path, methods in DOCUMENT["paths"].items():
        for each in methods.values():
            named = {p["name"] for p in each.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


@pytest.mark.parametrize(
    ("value", "shape", "told"),
    [
        (3, {"type": "string"}, "x is a text."),
        (True, {"type": "integer"}, "x is a whole number."),
        (1.5, {"type": "integer"}, "x is a whole number."),
        (float("nan"), {"type": "number", "minimum": 0}, "x is at least 0."),
        (2, {"type": "number", "exclusiveMinimum": 2, "maximum": 3}, "x is above 2 and at most 3."),
        (1, {"enum": [True]}, "x is one of true."),
        ("c", {"enum": ["a", None]}, "x is one of a, null."),
        ("", {"type": "string", "minLength": 1}, "x is empty."),
        ("ab", {"type": "string", "maxLength": 1}, "x is a text of 0 to 1 characters."),
        ([1, 1], {"type": "array", "uniqueItems": True}, "x names something twice."),
        ([], {"type": "array", "minItems": 1}, "x has 1 or more items."),
        (["a"], {"type": "array", "items": {"type": "null"}}, "Item 1 of x is null."),
        ({}, {"type": "object", "required": ["a"]}, "x has no a."),
        ({"b": 1}, {"properties": {"a": {}}, "additionalProperties": False}, "x has an unknown member 'b'; it may"),
        ({"b": 1}, {"additionalProperties": {"type": "string"}}, "x, 'b', is a text."),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(value: Any, shape: Any, told: str) -> None:
    with pytest.raises(Problem) as problem:
        check(value, shape, "x")
    assert problem.value.detail.startswith(told)
    assert problem.value.detail.endswith(".")


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-02-03", "2026-02-03T00:00:00.000Z"),
        ("2026-02-03T04:05", "2026-02-03T04:05:00.000Z"),
        ("2026-02-03t04:05:06.123456789z", "2026-02-03T04:05:06.123Z"),
        ("2026-02-03T00:30:00+01:00", "2026-02-02T23:30:00.000Z"),
        ("2026-02-03 04:05:06-02:30", "2026-02-03T06:35:06.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
    ],
)
def test_moments_are_read(written: str, moment: str) -> None:
    assert moment_of(written, "x") == moment
