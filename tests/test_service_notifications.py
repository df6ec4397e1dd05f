"""Notifications: cases that cross a severity, each once, and a daily digest, to receivers on this machine."""

from __future__ import annotations

import email
import email.policy
import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from service_example import PRODUCTS, RECORDS, a_service, emptied, hot, is_problem
from sqlalchemy import update
from starlette.testclient import TestClient

from anomaly_detection.service.notifications import channel_book, notifier, sending
from anomaly_detection.service.notifications.notifier import Notifier
from anomaly_detection.service.notifications.sending import masked_channel, refusal_of, send, without_secrets
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.tables import alerts, audit, cases, channels, messages, records, told

pytest.importorskip("apprise")


class Receiver:
    """An HTTP server that keeps what it gets, and answers with a status."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append({"path": self.path, **json.loads(body)})
                self.send_response(receiver.status)
                self.end_headers()
                # What Slack says.
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"json://ann:hunter22@127.0.0.1:{self.port}/hook/s3cr3t-token"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


service = a_service(personal=("supplier",))


@pytest.fixture
def client(service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    receiver.got.clear()
    receiver.status = 200
    monkeypatch.setattr(notifier, "_BETWEEN", 0.0)
    return emptied(service, told, messages, channels, records, alerts, cases)


def made(client: TestClient, url: str, **said: Any) -> int:
    answer = client.post("/v1/channels", json={"name": "team", "url": url, "min_severity": 0, **said})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def raised(client: TestClient, *numbers: int) -> None:
    """Cases of different causes: the same is odd of different products."""
    for i in numbers:
        number, name, *_ = PRODUCTS[i]
        sent = {**hot(i), "product": name, "productId": number}
        assert client.post(RECORDS, json=[sent]).json()["alerting"] == 1


def test_a_case_is_told_of_once(service: Service, client: TestClient, receiver: Receiver) -> None:
    raised(client, 0)
    made(client, receiver.url)
    looker = Notifier(service.database)
    looker.look()
    # What was there before the channel is on the page.
    assert receiver.got == []
    raised(client, 1)
    client.patch("/v1/settings", json={"address": "https://anomalies.example"})
    looker.look()
    (got,) = receiver.got
    assert got["title"] == "1 case of severity 0 or more"
    (case,) = client.get("/v1/cases", params={"sort": "newest", "limit": 1}).json()["cases"]
    assert got["message"].startswith(f"{case['severity']:.0f} {case['risk_level']}, default, case {case['id']}: ")
    assert got["message"].endswith(f"https://anomalies.example/cases/{case['id']}")
    client.patch("/v1/settings", json={"address": ""})
    # The same again, and another process that looks for the first time.
    raised(client, 1)
    looker.look()
    Notifier(service.database).look()
    assert len(receiver.got) == 1
    (message,) = client.get("/v1/messages").json()["messages"]
    assert (message["state"], message["attempts"], message["channel"]) == ("sent", 1, "team")


def test_only_what_crosses_its_severity_and_is_to_be_seen_is_told(
    service: Service, client: TestClient, receiver: Receiver
) -> None:
    number = made(client, receiver.url, min_severity=100)
    raised(client, 0, 1, 2)
    with service.database.writing() as connection:
        connection.execute(update(channels).values(mark="2020-01-01T00:00:00.000Z"))
    Notifier(service.database).look()
    assert receiver.got == []
    with service.database.reading() as connection:
        # What was looked at is not looked at again and again.
        assert connection.execute(channels.select()).mappings().one()["mark"] > "2026"
    found = client.get("/v1/cases").json()["cases"]
    client.patch(f"/v1/cases/{found[0]['id']}", json={"state": "resolved", "verdict": "expected"})
    client.patch(f"/v1/cases/{found[1]['id']}", json={"snooze_until": "2099-01-01"})
    with service.database.writing() as connection:
        connection.execute(update(cases).values(severity=100.0))
    Notifier(service.database).look()
    assert [got["message"].split(":")[0].split("case ")[1] for got in receiver.got] == [str(found[2]["id"])]
    # One that wakes up when it gets worse is told of then.
    client.patch(f"/v1/cases/{found[1]['id']}", json={"snooze_until": None})
    Notifier(service.database).look()
    assert len(receiver.got) == 2
    assert client.get(f"/v1/channels/{number}").json()["min_severity"] == 100


def test_what_comes_in_a_minute_is_told_together(
    service: Service, client: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "_BETWEEN", 60.0)
    monkeypatch.setattr(notifier, "_LISTED", 1)
    made(client, receiver.url, stream="default")
    looker = Notifier(service.database)
    raised(client, 0)
    looker.look()
    raised(client, 1)
    raised(client, 2)
    looker.look()
    assert len(receiver.got) == 1
    monkeypatch.setattr(notifier, "_BETWEEN", 0.0)
    looker.look()
    assert receiver.got[1]["title"] == "2 cases of severity 0 or more in default"
    assert receiver.got[1]["message"].endswith("\nAnd 1 more.")


@pytest.mark.parametrize("personal", [("supplier",), ()], ids=["by option", "by the stream"])
def test_what_is_personal_is_not_sent(
    service: Service, client: TestClient, receiver: Receiver, personal: tuple[str, ...]
) -> None:
    made(client, receiver.url)
    if not personal:
        assert client.patch("/v1/streams/default", json={"personal": ["supplier"]}).status_code == 200
    sent = {**hot(0), "supplier": "Somebody", "product": PRODUCTS[0][1], "productId": PRODUCTS[0][0]}
    client.post(RECORDS, json=[sent])
    with service.database.writing() as connection:
        connection.execute(update(alerts).values(reason="temperature 95 is high for Somebody"))
    Notifier(service.database, personal).look()
    (got,) = receiver.got
    assert "Somebody" not in got["message"]
    assert got["message"].endswith(": (hidden)")


def test_what_cannot_be_sent_is_tried_again_then_listed(
    service: Service, client: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(client, receiver.url)
    raised(client, 0)
    receiver.status = 500
    moment = [notifier.time.time()]
    monkeypatch.setattr(notifier.time, "time", lambda: moment[0])
    looker, waits = Notifier(service.database), []
    for attempt in range(1, 7):
        looker.look()
        looker.look()
        (message,) = client.get("/v1/messages").json()["messages"]
        assert message["attempts"] == attempt == len(receiver.got)
        with service.database.reading() as connection:
            following = connection.execute(messages.select()).mappings().one()["next_at"]
        waits.append(following - moment[0])
        moment[0] = max(following, moment[0])
    assert waits == [60.0, 300.0, 900.0, 3600.0, 14400.0, 0.0]
    assert message["state"] == "failed"
    assert "500" in message["error"]
    assert "hunter" not in message["error"]
    assert client.get("/v1/messages", params={"state": "failed"}).json()["messages"] == [message]
    receiver.status = 200
    assert client.post(f"/v1/messages/{message['id']}/retry").json()["state"] == "waiting"
    looker.look()
    assert client.get("/v1/messages").json()["messages"][0]["state"] == "sent"
    assert is_problem(client.post(f"/v1/messages/{message['id']}/retry"), 409)
    assert is_problem(client.post("/v1/messages/999/retry"), 404)


class Days:
    """What the clock shows in a zone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime.now(timezone.utc).replace(hour=6, minute=30)
        for module in (notifier, channel_book):
            monkeypatch.setattr(module, "local_now", lambda zone: self.now.astimezone(channel_book.ZoneInfo(zone)))


def test_a_digest_comes_once_a_day_at_its_hour(
    service: Service, client: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = Days(monkeypatch)
    # Tokyo is nine hours ahead, all year.
    made(client, receiver.url, min_severity=None, digest_hour=17, zone="Asia/Tokyo")
    raised(client, 0, 1)
    looker = Notifier(service.database)
    looker.look()
    assert receiver.got == []
    days.now += timedelta(hours=2)
    looker.look()
    looker.look()
    (got,) = receiver.got
    assert got["title"].startswith("2 cases new in a day: ")
    assert len(got["message"].splitlines()) == 2
    # It was away at that hour on the next day.
    days.now += timedelta(hours=30)
    looker.look()
    assert len(receiver.got) == 2
    # Nobody is told that nothing is new.
    with service.database.writing() as connection:
        connection.execute(update(cases).values(first_seen="2020-01-01T00:00:00.000Z"))
    days.now += timedelta(days=1)
    looker.look()
    assert len(receiver.got) == 2
    # One that is made after its hour begins tomorrow.
    made(client, receiver.url, min_severity=None, digest_hour=1, zone="Asia/Tokyo", name="late")
    looker.look()
    assert len(client.get("/v1/messages").json()["messages"]) == 2


def test_channels_are_made_tested_changed_and_removed_without_showing_secrets(
    service: Service, client: TestClient, receiver: Receiver
) -> None:
    number = made(client, receiver.url)
    assert client.post(f"/v1/channels/{number}/test").json() == {"sent": True}
    assert receiver.got[0]["title"] == "A test"
    receiver.status = 403
    refused = client.post(f"/v1/channels/{number}/test")
    assert is_problem(refused, 502)
    changed = client.patch(f"/v1/channels/{number}", json={"min_severity": None, "digest_hour": 8, "zone": "UTC"})
    assert (changed.json()["digest_hour"], changed.json()["min_severity"]) == (8, None)
    line = changed.json()["history"][-1]["id"]
    assert client.post(f"/v1/audit/{line}/undo").status_code == 200
    assert client.get(f"/v1/channels/{number}").json()["min_severity"] == 0
    assert is_problem(client.patch(f"/v1/channels/{number}", json={"min_severity": None}), 422)
    with service.database.reading() as connection:
        lines = connection.execute(audit.select().where(audit.c.subject == "channel")).mappings()
        everything = "".join(str(dict(line)) for line in lines)
    shown = [client.get(f"/v1/channels/{number}"), client.get("/v1/channels"), refused]
    for text in [everything, *(each.text for each in shown)]:
        assert "hunter" not in text
        assert "s3cr3t" not in text
    assert client.get("/v1/channels").json()["channels"][0]["url"] == "json://127.0.0.1/***"
    raised(client, 0)
    Notifier(service.database).look()
    assert client.delete(f"/v1/channels/{number}").status_code == 200
    assert is_problem(client.get(f"/v1/channels/{number}"), 404)
    assert client.get("/v1/messages").json()["messages"] == []


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"url": "nosuch://host"}, 422),
        ({"url": "json://a,json://b"}, 422),
        ({"url": "syslog://localhost"}, 422),
        ({"url": "dbus://"}, 422),
        ({"min_severity": None}, 422),
        ({"min_severity": 101}, 400),
        ({"digest_hour": 24}, 400),
        ({"zone": "Mars/Base"}, 422),
        ({"stream": "nothing"}, 404),
    ],
)
def test_other_channels_are_refused(client: TestClient, said: dict[str, Any], status: int) -> None:
    wanted = {"name": "a", "url": "json://127.0.0.1/", "min_severity": 50, **said}
    assert is_problem(client.post("/v1/channels", json=wanted), status)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "slack://***"),
        ("mailto://ann:secret@mail.example:25?to=bob@mail.example", "mailto://mail.example/***"),
        ("workflows://host.example/secret/token", "workflows://***"),
    ],
)
def test_urls_are_shown_without_what_may_be_a_secret(url: str, shown: str) -> None:
    assert masked_channel(url) == shown
    assert without_secrets(f"Cannot reach {url}", url) == "Cannot reach ***"


def test_without_apprise_it_is_said_what_to_install(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    answer = client.post("/v1/channels", json={"name": "a", "url": "json://127.0.0.1/", "min_severity": 1})
    assert is_problem(answer, 409)
    assert "mlx-iforest[notifications]" in answer.json()["detail"]


@contextmanager
def mailbox() -> Iterator[tuple[int, list[Any]]]:
    """An SMTP server on this machine, and what it got."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controllers = pytest.importorskip("aiosmtpd.controller")
    got: list[Any] = []

    class Keeps:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            got.append(envelope)
            return "250 OK"

    class Anywhere(controllers.Controller):  # type: ignore[misc,name-defined]
        def _trigger_server(self) -> None:
            self.port = self.server.sockets[0].getsockname()[1]
            super()._trigger_server()

    controller = Anywhere(Keeps(), "127.0.0.1", 0)
    controller.start()
    try:
        yield controller.port, got
    finally:
        controller.stop()


def test_mail_arrives(client: TestClient, service: Service) -> None:
    with mailbox() as (port, got):
        url = f"mailto://127.0.0.1:{port}?to={quote('bob@mail.example')}&from={quote('ann@mail.example')}"
        assert refusal_of(url) == ""
        made(client, url)
        raised(client, 0)
        Notifier(service.database).look()
    (envelope,) = got
    assert envelope.rcpt_tos == ["bob@mail.example"]
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert "1 case of severity 0 or more" in mail["Subject"]
    # Nobody listens any more.
    assert send(url, "a", "b") != ""


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#late", "hooks.slack.com"),
        ("workflows://prod.example/ABCD/SIGNATURE", "prod.example"),
    ],
    ids=["Slack", "Teams"],
)
def test_slack_and_teams_get_a_message(
    client: TestClient, service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, url: str, where: str
) -> None:
    from requests import Session

    asked = Session.request

    # Their own servers are not asked: what would go there comes here.
    def here(session: Session, method: str, url: str, **more: Any) -> Any:
        return asked(session, method, f"http://127.0.0.1:{receiver.port}/{urlsplit(url).hostname}", **more)

    monkeypatch.setattr(Session, "request", here)
    made(client, url)
    raised(client, 0)
    Notifier(service.database).look()
    (got,) = receiver.got
    assert got["path"].partition("?")[0] == f"/{where}"
    assert "1 case of severity 0 or more" in json.dumps(got)
    assert client.get("/v1/messages").json()["messages"][0]["state"] == "sent"


def test_nothing_of_a_channel_is_imported_before_something_is_sent(tmp_path: Path) -> None:
    source = Path(sending.__file__).read_text("utf-8")
    assert not [line for line in source.splitlines() if line.startswith(("import apprise", "from apprise"))]
