"""People who log in, keys of certain streams, and what each role may do on each route."""

from __future__ import annotations

import io
import logging
import runpy
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from service_example import PASSWORD, client_of, hot, resting, started, with_users
from sqlalchemy import Connection, func, select, text, update
from starlette.routing import Route
from starlette.testclient import TestClient

from anomaly_detection.cli import main
from anomaly_detection.errors import DataError
from anomaly_detection.service.access import keys, passwords, users
from anomaly_detection.service.access.allowed import Allowed
from anomaly_detection.service.access.logins import Logins
from anomaly_detection.service.access.rights import LISTED, MANY, OPEN, ROLES, ROWS, Need
from anomaly_detection.service.access.sessions import COOKIE, DEVICE, Signatures, begin_session, caller_of, end_session
from anomaly_detection.service.http.app import make_app
from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.rates import Rates
from anomaly_detection.service.pages.rendering import STATIC
from anomaly_detection.service.processes.configuration import Configuration, database_url
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.retention import Retention, queue_forgetting
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import audit, sessions


def command(*words: str, folder: Path) -> int:
    return main([*words, "--data-dir", str(folder)])


def add_user(name: str, role: str, folder: Path, monkeypatch: pytest.MonkeyPatch, password: str = PASSWORD) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    assert command("users", "add", name, "--role", role, folder=folder) == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that others can reach, with a user of each role, and a key of each role and one of a stream."""
    folder = with_users(tmp_path_factory.mktemp("service"))
    given: dict[str, Any] = {"host": "0.0.0.0", "open_to": ("10.1.0.0/16", "fd00::/8")}
    with resting(folder, **given, limits=Limits(logins=1000, rate=1e9)) as made:
        made.writer.run(lambda connection: keys.add_key(connection, "removed", "admin"))
        yield made


def key(service: Service, name: str, role: str, *streams: str) -> dict[str, str]:
    made = service.writer.run(lambda connection: keys.add_key(connection, name, role, streams))
    return {"X-API-Key": made}


def test_a_stream_names_what_is_personal(service: Service) -> None:
    client = client_of(service)
    admin, viewer = (key(service, f"sees.{role}", role) for role in ("admin", "viewer"))
    number = client.post("/detect", json={"data": hot(900)}, headers=admin).json()["record_id"]

    def seen(headers: dict[str, str]) -> Any:
        return client.get(f"/v1/records/{number}", headers=headers).json()["record"]["location"]

    changed = client.patch("/v1/streams/default", json={"personal": ["location"]}, headers=admin)
    line = changed.json()["history"][-1]
    assert (line["before"]["settings"].get("personal", []), line["after"]["settings"]["personal"]) == ([], ["location"])
    assert (seen(viewer), seen(admin)) == ("(hidden)", hot(900)["location"])
    client.post(f"/v1/audit/{line['id']}/undo", headers=admin)
    service.reload()
    assert seen(viewer) == hot(900)["location"]


def logged_in(service: Service, name: str) -> tuple[TestClient, str]:
    """A client with a cookie, and its token."""
    client = client_of(service)
    answer = client.post("/login", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client, answer.json()["token"]


# Passwords


def test_a_password_is_right_or_not_and_its_hash_is_salted() -> None:
    first, second = passwords.hashed(PASSWORD), passwords.hashed(PASSWORD)
    assert first != second
    assert PASSWORD not in first
    assert passwords.is_right(PASSWORD, first)
    assert not passwords.is_right(PASSWORD + " ", first)
    assert not passwords.is_right(PASSWORD, None)
    # As it is for users, and not for tests.
    dear = runpy.run_path(passwords.__file__)
    assert dear["hashed"](PASSWORD).startswith("scrypt$32768$8$3$")
    assert dear["_NOBODYS"].startswith("scrypt$32768$8$3$")
    assert passwords.is_right(PASSWORD, dear["hashed"](PASSWORD))
    # Two ways to write an accented letter are one.
    assert passwords.is_right("cafe\u0301 au lait", passwords.hashed("caf\u00e9 au lait"))


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_passwords_that_are_too_short_or_too_long(password: str) -> None:
    with pytest.raises(DataError, match="10 to 1,000 characters"):
        passwords.hashed(password)


def test_a_password_of_a_megabyte_costs_nothing() -> None:
    assert not passwords.is_right("x" * 1_000_000, passwords.hashed(PASSWORD))


# The command


def test_the_command_for_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("users", "list", folder=tmp_path) == 0
    assert capsys.readouterr().out == "no users\n"
    add_user("ann", "analyst", tmp_path, monkeypatch)
    for words, told in (
        (("add", "bob"), "takes a --role"),
        (("add", "--role", "viewer"), "takes a name"),
        (("list", "ann"), "takes no name"),
        (("remove", "ann", "--role", "viewer"), "takes no --role"),
        (("remove", "bob"), "no user 'bob'"),
        (("logout", "bob"), "no user 'bob'"),
    ):
        assert command("users", *words, folder=tmp_path) == 2
        assert told in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert command("users", "add", "bob", "--role", "viewer", folder=tmp_path) == 2
    assert "this one has 5" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert command("users", "add", "ann", "--role", "viewer", folder=tmp_path) == 2
    assert "already" in capsys.readouterr().err
    command("users", "list", folder=tmp_path)
    assert "analyst" in capsys.readouterr().out
    # The password is nowhere in the folder.
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes()
    assert command("users", "remove", "ann", folder=tmp_path) == 0
    command("users", "list", folder=tmp_path)
    assert "no users" in capsys.readouterr().out


def test_a_password_asked_for_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    typed = iter([PASSWORD, PASSWORD, PASSWORD, "another one altogether"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    assert command("users", "add", "ann", "--role", "admin", folder=tmp_path) == 0
    assert command("users", "password", "ann", folder=tmp_path) == 2
    assert "differ" in capsys.readouterr().err


def test_what_is_done_to_users_and_keys_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_user("ann", "analyst", tmp_path, monkeypatch)
    command("keys", "add", "backend", "--stream", "a", "b", folder=tmp_path)
    command("keys", "remove", "backend", folder=tmp_path)
    command("users", "remove", "ann", folder=tmp_path)
    database = Database(database_url(tmp_path))
    with database.reading() as connection:
        lines = connection.execute(select(audit.c.what, audit.c.subject, audit.c.after).order_by(audit.c.id)).all()
    database.close()
    assert [(what, subject) for what, subject, _ in lines] == [
        ("add", "user"),
        ("add", "key"),
        ("remove", "key"),
        ("remove", "user"),
    ]
    assert lines[1].after == '{"name":"backend","role":"analyst","streams":"a,b"}'


def test_odd_keys_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("keys", "add", "backend", "--stream", "odd name", folder=tmp_path) == 2
    assert "'odd name' is no name of a stream" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command("keys", "add", "backend", "--role", "king", folder=tmp_path)
    with pytest.raises(DataError, match="'king'"):
        keys.add_key(None, "backend", "king")  # type: ignore[arg-type]


# Logging in


def test_logging_in_and_out(service: Service) -> None:
    client, token = logged_in(service, "analysts")
    cookie = client.cookies[COOKIE]
    told = client.get("/v1/session").json()
    assert (told["name"], told["role"], told["token"]) == ("analysts", "analyst", token)
    assert client.get("/v1/alerts").status_code == 200
    changed = client.post("/detect", json={"data": hot(1)})
    assert changed.status_code == 403
    assert "X-CSRF-Token" in changed.json()["error"]
    assert client.post("/detect", json={"data": hot(1)}, headers={"X-CSRF-Token": "wrong"}).status_code == 403
    number = client.post("/detect", json={"data": hot(1)}, headers={"X-CSRF-Token": token}).json()["alert_id"]
    alert = client.patch(f"/v1/alerts/{number}", json={"comment": "seen"}, headers={"X-CSRF-Token": token}).json()
    assert alert["history"][-1]["who"] == "analysts"
    other, others = logged_in(service, "analysts")
    # A token is one session's alone.
    assert client.post("/logout", headers={"X-CSRF-Token": others}).status_code == 403
    assert client.post("/logout", headers={"X-CSRF-Token": token}).status_code == 200
    assert COOKIE not in client.cookies
    client.cookies[COOKIE] = cookie
    assert client.get("/v1/alerts").status_code == 401
    assert other.get("/v1/alerts").status_code == 200


def test_the_cookie(service: Service) -> None:
    client = client_of(service)
    answer = client.post("/login", data={"name": "viewers", "password": PASSWORD}, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    value = client.cookies[COOKIE]
    # Not the last letter, of which some bits mean nothing.
    other = "a" if value[-5] != "a" else "b"
    for forged in (f"{value[:-5]}{other}{value[-4:]}", value.split(".")[0], "", "x"):
        client.cookies.clear()
        client.cookies[COOKIE] = forged
        assert client.get("/v1/alerts").status_code == 401


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"json": {"name": "analysts", "password": "something else"}}, 401),
        ({"json": {"name": "nobody", "password": PASSWORD}}, 401),
        ({"json": {"name": "analysts"}}, 400),
        ({"json": ["analysts"]}, 400),
        ({"json": {"name": 1, "password": PASSWORD}}, 400),
        ({"content": b"{"}, 400),
        ({"data": {"name": "analysts"}}, 400),
        ({"data": {"name": ["a", "b"], "password": "x"}}, 400),
    ],
)
def test_logins_that_fail(service: Service, given: dict[str, Any], status: int, caplog: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = client_of(service).post("/login", **given)
    assert answer.status_code == status
    assert "Set-Cookie" not in answer.headers
    # Neither the answer nor the log has a password.
    assert PASSWORD not in answer.text + caplog.text
    assert "something else" not in answer.text + caplog.text


@pytest.mark.slow
def test_what_a_service_writes_holds_no_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys, passwords, cookies and records stay out of its output, also where something goes wrong."""
    command("keys", "add", "backend", folder=tmp_path)
    made = capsys.readouterr().out.strip()
    database = Database(database_url(tmp_path))
    with database.writing() as connection:
        users.add_user(connection, "ann", "admin", PASSWORD)
    database.close()
    with started(tmp_path, "--host", "0.0.0.0", "--learn-from", "10") as (process, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        session = requests.Session()
        answer = session.post(f"{url}/login", json={"name": "ann", "password": PASSWORD}, timeout=20)
        token = answer.json()["token"]
        session.post(f"{url}/login", json={"name": "ann", "password": "something else"}, timeout=20)
        # A stream whose table is gone, for an error that is logged.
        with closing(sqlite3.connect(tmp_path / "service.sqlite")) as other:
            other.execute("DROP TABLE records")
            other.commit()
        failed = session.post(
            f"{url}/detect", json={"data": {"a": "Mavis Beacon 17"}}, headers={"X-API-Key": made}, timeout=20
        )
        assert failed.status_code == 500
        process.terminate()
        assert process.stderr is not None
        written = process.stderr.read()
    assert "Traceback" in written
    assert "A login as 'ann' was refused" in written
    for secret in (made, PASSWORD, "something else", token, session.cookies[COOKIE], "Mavis"):
        assert secret not in written


def test_guesses_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_user("ann", "admin", tmp_path, monkeypatch)
    with resting(tmp_path, model=None, host="0.0.0.0", limits=Limits(logins=2)) as service:
        client = client_of(service)
        found = [client.post("/login", json={"name": "ann", "password": "guess"}) for _ in range(3)]
        assert [answer.status_code for answer in found] == [401, 401, 429]
        assert int(found[-1].headers["Retry-After"]) <= 31


def test_who_knows_a_name_locks_nobody_out(tmp_path: Path) -> None:
    right, wrong = ({"name": "admins", "password": each} for each in (PASSWORD, "guess"))
    with resting(with_users(tmp_path), model=None, host="0.0.0.0") as service:
        service.logins = Logins(1, lambda: 0.0)

        def at(address: str) -> TestClient:
            return TestClient(make_app(service), "http://service.example", client=(address, 5000))

        hers = at("10.0.0.1")
        assert hers.post("/login", json=right).status_code == 200
        # Ten places use up what all strangers have together, and those of one network are one place.
        for number in range(2, 11):
            assert at(f"10.0.0.{number}").post("/login", json=wrong).status_code == 401
        assert at("fd00::1").post("/login", json=right).status_code == 429
        assert at("10.0.0.2").post("/login", json={**wrong, "name": "viewers"}).status_code == 401
        service.logins._near._buckets.clear()
        assert at("10.0.0.13").post("/login", json=right).status_code == 429
        assert hers.post("/login", json=right).status_code == 200
        # Her browser is known for her own name alone, and has few tries too.
        assert hers.post("/login", json=wrong).status_code == 429
        stolen = at("10.0.0.11")
        stolen.cookies.set(DEVICE, hers.cookies[DEVICE])
        assert stolen.post("/login", json=wrong).status_code == 429
        other = at("10.0.0.12")
        other.cookies.set(DEVICE, service.signatures.device_cookie("viewers"))
        assert other.post("/login", json=right).status_code == 429
        other.cookies.set(DEVICE, hers.cookies[DEVICE][:-1])
        assert other.post("/login", json=right).status_code == 429


def test_addresses_of_one_place() -> None:
    logins = Logins(1, lambda: 0.0)
    logins.take("ann", "fd00::1", None)
    for address in ("fd00::1", "fd00::ffff:1", "fd00:0:0:0:5::"):
        with pytest.raises(Problem):
            logins.take("ann", address, None)
    for address in ("fd00:1::1", "::ffff:10.0.0.1", "::ffff:10.0.0.2", "10.0.0.3", "a proxy's name"):
        logins.take("ann", address, None)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A transaction on a database of each kind, with a user."""
    with database.writing() as made:
        users.add_user(made, "ann", "viewer", PASSWORD)
        yield made
        made.rollback()


def test_sessions_end(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    number, _ = users.password_of(connection, "ann")
    assert number is not None
    first, second, third = (begin_session(connection, number) for _ in range(3))
    found = caller_of(connection, first)
    assert found is not None
    assert (found.name, found.role, found.rights) == ("ann", "viewer", ROLES["viewer"])
    end_session(connection, first)
    assert caller_of(connection, first) is None
    assert caller_of(connection, second) is not None
    # The role is that of this moment.
    connection.execute(update(users.users).values(role="admin"))
    found = caller_of(connection, second)
    assert found is not None
    assert found.role == "admin"
    # All at once, by another password too.
    assert users.end_sessions(connection, "ann") == 2
    assert caller_of(connection, third) is None
    fourth = begin_session(connection, number)
    users.set_password(connection, "ann", "another one altogether")
    assert caller_of(connection, fourth) is None
    # By themselves.
    fifth = begin_session(connection, number)
    later = time.time() + 13 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert caller_of(connection, fifth) is None
    begin_session(connection, number)
    assert len(connection.execute(select(sessions)).all()) == 1
    users.remove_user(connection, "ann")
    assert connection.execute(select(sessions)).all() == []


def test_keys_from_before_there_were_roles_may_do_all_that_they_could(tmp_path: Path) -> None:
    database = Database(database_url(tmp_path))
    database.migrate("0001")
    with database.writing() as connection:
        connection.execute(text("INSERT INTO keys (name, digest, created) VALUES ('old', 'd', '2026')"))
    database.migrate()
    with database.reading() as connection:
        assert keys.list_keys(connection) == [{"name": "old", "role": "admin", "streams": "all", "made": "2026"}]
    database.close()


def test_the_secret_of_cookies_stays_and_is_its_owners_alone(tmp_path: Path) -> None:
    first = Signatures(tmp_path)
    assert Signatures(tmp_path).session(first.cookie("abc")) == "abc"
    assert stat.S_IMODE((tmp_path / "cookie.key").stat().st_mode) == 0o600
    (other := tmp_path / "other").mkdir()
    assert Signatures(other).session(first.cookie("abc")) is None
    assert not Signatures(other).is_token("abc", first.token("abc"))
    assert not first.is_token("abc", "é")


# What the roles may do


def lines(service: Service) -> list[tuple[str, str, Need]]:
    """Method and path of each route, and what it needs."""
    found = []
    for route in make_app(service).routes:
        assert isinstance(route, Route)
        # No route but by this.
        assert isinstance(route.app, Allowed)
        assert route.methods is not None
        assert set(route.app.needs) == route.methods - {"HEAD"}
        found += [(method, route.path, need) for method, need in route.app.needs.items()]
    return found


def test_what_routes_need_is_a_right_of_somebody(service: Service) -> None:
    found = lines(service)
    assert {need.right for _, _, need in found} <= set().union(*ROLES.values())
    ways = {"none", "all", "default", "path", "query", "body", *ROWS, *MANY}
    for _, path, need in found:
        assert need.stream in ways
        assert ("{name}" in path) is (need.stream == "path") or path == "/explain/{name}"
        assert need.stream not in ROWS or "{id:int}" in path
    # What everybody may is this, and nothing else.
    static = {("GET", f"/static/{name}") for name in STATIC}
    assert {(method, path) for method, path, need in found if need.right == OPEN} - static == {
        ("GET", "/login"),
        ("GET", "/health"),
        ("GET", "/ready"),
        ("POST", "/login"),
        ("POST", "/logout"),
        ("GET", "/v1/session"),
    }


def ask(client: TestClient, method: str, path: str, headers: dict[str, str]) -> int:
    url = path.replace("{name}", "default")
    for part in ("{id:int}", "{version:int}"):
        url = url.replace(part, "999999")
    content = "{" if method in ("POST", "PUT", "PATCH") else None
    return client.request(method, url, content=content, headers=headers).status_code


def test_each_role_on_each_route(service: Service) -> None:
    """What it may not do is 403, and nothing else is; who is nobody gets no further than 401."""
    client = client_of(service)
    for role, rights in ROLES.items():
        headers = key(service, f"walk-{role}", role)
        for method, path, need in lines(service):
            is_allowed = need.right in rights
            assert (ask(client, method, path, headers) == 403) is not is_allowed, (role, method, path)
    for method, path, need in lines(service):
        is_open = need.right == OPEN
        assert (ask(client, method, path, {}) == 401) is not is_open or path == "/login", (method, path)
    assert ROLES["viewer"] < ROLES["analyst"] < ROLES["admin"]


def test_a_key_of_a_stream_reaches_nothing_else(service: Service) -> None:
    client = client_of(service)
    all_streams, mine = key(service, "everything", "admin"), key(service, "mine", "admin", "mine")
    record = hot(7)
    theirs = client.post("/detect", json={"data": record}, headers=all_streams).json()
    job = client.post("/train", headers=all_streams).json().get("job_id", 1)
    assert client.post("/v1/streams/mine/records", json=[record], headers=mine).status_code == 200
    own = client.post("/v1/streams/mine/records", json=[record], headers=mine).json()["first_record_id"]
    assert client.get(f"/v1/records/{own}", headers=mine).status_code == 200
    assert client.get("/v1/alerts?stream=mine", headers=mine).status_code == 200
    for path in (
        "/status",
        "/metrics",
        "/explain",
        "/explain/1",
        "/v1/alerts",
        "/v1/alerts?stream=default",
        "/v1/alerts?stream=mine&stream=default",
        "/v1/alerts?stream=",
        f"/v1/alerts/{theirs['alert_id']}",
        f"/v1/records/{theirs['record_id']}",
        f"/v1/jobs/{job}",
    ):
        answer = client.get(path, headers=mine)
        assert answer.status_code == 403, path
    for path in ("/detect", "/predict", "/train", "/v1/streams/default/records", "/v1/streams/other/records"):
        assert client.post(path, json=[record], headers=mine).status_code == 403, path
    default = key(service, "backend", "analyst", "default")
    assert client.post("/detect", json={"data": record}, headers=default).status_code == 200


def test_a_key_of_a_stream_changes_nothing_else(service: Service) -> None:
    """By the path, by a row, by the body and by the rows that the body numbers."""
    client = client_of(service)
    everything, mine = key(service, "everything-too", "admin"), key(service, "own", "admin", "own")
    client.post("/v1/streams/own/records", json=[hot(21)], headers=mine)
    theirs = client.post("/detect", json={"data": hot(21)}, headers=everything).json()["alert_id"]
    case = client.get(f"/v1/alerts/{theirs}", headers=everything).json()["case_id"]
    rule = {"column": "temperature", "reason": "a test"}
    made = client.post("/v1/rules", json={"stream": "default", **rule}, headers=everything).json()["id"]
    for method, path, content in (
        ("PATCH", f"/v1/alerts/{theirs}", {"state": "resolved"}),
        ("PATCH", "/v1/alerts", {"ids": [theirs], "state": "resolved"}),
        ("PATCH", "/v1/alerts", {"ids": [theirs, 10**9], "state": "resolved"}),
        ("PATCH", "/v1/alerts", {"ids": [2**63 - 1], "state": "resolved"}),
        ("PATCH", f"/v1/cases/{case}", {"state": "resolved"}),
        ("PATCH", "/v1/cases", {"ids": [case], "state": "resolved"}),
        ("POST", "/v1/cases/merge", {"ids": [case, 10**9]}),
        ("POST", f"/v1/cases/{case}/split", {"alerts": [theirs]}),
        ("GET", f"/v1/cases/{case}", None),
        ("GET", "/v1/cases?stream=default", None),
        ("GET", f"/v1/alerts/{theirs}/rule", None),
        ("POST", "/v1/rules", {"stream": "default", **rule}),
        ("POST", "/v1/rules/preview", {"stream": "default", **rule}),
        ("PATCH", f"/v1/rules/{made}", {"reason": "mine"}),
        ("DELETE", f"/v1/rules/{made}", None),
        ("PATCH", "/v1/streams/default", {"anomaly_ratio": 0.5}),
        ("POST", "/v1/streams", {"name": "another"}),
        ("GET", "/v1/streams", None),
        ("POST", "/v1/streams/default/rollback", None),
        ("GET", "/v1/streams/default/models/1/file", None),
        ("GET", "/v1/jobs", None),
        ("GET", "/v1/audit", None),
        ("POST", "/v1/audit/1/undo", None),
        ("PATCH", "/v1/settings", {"case_days": 3}),
        ("GET", "/v1/records?stream=default&format=csv", None),
    ):
        answer = client.request(method, path, json=content, headers=mine)
        assert answer.status_code == 403, (method, path, answer.text)
    assert client.get(f"/v1/alerts/{theirs}", headers=everything).json()["state"] == "open"
    own = client.post("/v1/rules", json={"stream": "own", **rule}, headers=mine)
    assert own.status_code == 201
    assert own.json()["who"] == "own"
    assert client.get(f"/v1/rules/{own.json()['id']}", headers=mine).status_code == 200
    # What is no such body is told as to anybody.
    assert client.post("/v1/rules", content="{", headers=mine).status_code == 400
    assert client.patch("/v1/alerts", json={"ids": ["1"], "state": "open"}, headers=mine).status_code == 400
    assert client.request("DELETE", f"/v1/rules/{made}", headers=everything).status_code == 200


def test_a_key_of_streams_changes_many_rows_of_these(tmp_path: Path) -> None:
    database = Database(database_url(tmp_path))
    database.migrate()
    with database.writing() as connection:
        headers = {"X-API-Key": keys.add_key(connection, "backend", "analyst", ["default"])}
    database.close()
    with resting(tmp_path, host="0.0.0.0") as service:
        client = client_of(service)
        client.post("/detect", json={"data": [hot(1), hot(2)]}, headers=headers)
        listed = client.get("/v1/alerts?stream=default", headers=headers).json()["alerts"]
        ids = [each["id"] for each in listed]
        answer = client.patch("/v1/alerts", json={"ids": ids, "state": "acknowledged"}, headers=headers)
        assert answer.json() == {"alerts": 2, "effects": []}
        history = client.get(f"/v1/alerts/{ids[0]}", headers=headers).json()["history"]
        assert history[-1]["who"] == "backend"


def test_every_change_is_written_down_by_the_name_of_its_caller(service: Service) -> None:
    client, token = logged_in(service, "admins")
    client.headers["X-CSRF-Token"] = token
    with service.database.reading() as connection:
        before = connection.execute(select(func.max(audit.c.id))).scalar() or 0
    alert = client.post("/detect", json={"data": hot(31)}).json()["alert_id"]
    case = client.get(f"/v1/alerts/{alert}").json()["case_id"]
    rule = {"stream": "default", "where": {"transaction_id": "nobody"}, "reason": "a test"}
    number = client.post("/v1/rules", json=rule).json()["id"]
    client.post("/v1/streams", json={"name": "told"})
    client.post("/v1/streams/told/records", json=[{"a": 1}, {"a": 2}])
    job = client.post("/v1/streams/told/train").json()["job_id"]
    for method, path, content in (
        ("PATCH", f"/v1/alerts/{alert}", {"comment": "seen"}),
        ("PATCH", f"/v1/cases/{case}", {"state": "resolved"}),
        ("PATCH", f"/v1/cases/{case}", {"undo": True}),
        ("PATCH", f"/v1/rules/{number}", {"reason": "another"}),
        ("DELETE", f"/v1/rules/{number}", None),
        ("PATCH", "/v1/streams/told", {"anomaly_ratio": 0.2}),
        ("PATCH", "/v1/settings", {"case_days": 8}),
        ("PATCH", "/v1/settings", {"case_days": 7}),
        ("DELETE", f"/v1/jobs/{job}", None),
        ("DELETE", "/v1/streams/told?confirm=told", None),
    ):
        assert client.request(method, path, json=content).status_code in (200, 202, 409), path
    with service.database.reading() as connection:
        query = select(audit.c.what, audit.c.who, audit.c.subject).where(audit.c.id > before)
        lines = set(map(tuple, connection.execute(query)))
    assert {who for what, who, _ in lines if what != "raise"} <= {"admins"}
    assert {subject for _, _, subject in lines} >= {"alert", "case", "rule", "stream", "setting"}
    assert {who for what, who, _ in lines if what == "raise"} == {"service"}


# Listed networks


def at(service: Service, address: str) -> TestClient:
    return TestClient(make_app(service), "http://service.example", client=(address, 5000))


def test_networks_that_need_no_key(service: Service) -> None:
    for address in ("10.1.2.3", "fd12::1", "::ffff:10.1.2.3"):
        client = at(service, address)
        answer = client.post("/detect", json={"data": hot(2)})
        assert answer.status_code == 200
        assert client.get("/health").status_code == 200
        assert client.get("/v1/alerts").status_code == 401
        assert client.post("/train").status_code == 401
        assert client.get(f"/v1/records/{answer.json()['record_id']}").status_code == 401
    for address in ("10.2.0.1", "192.168.1.1", "testclient", "::1"):
        # What somebody says of himself counts for nothing where no proxy is.
        forged = {"X-Forwarded-For": "10.1.2.3"}
        assert at(service, address).post("/detect", json={"data": hot(2)}, headers=forged).status_code == 401
    assert sorted(LISTED) == [OPEN, "send"]


def test_an_open_network_does_not_take_the_place_of_keys(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no API key and no user"):
        Service(Configuration(tmp_path, host="0.0.0.0", open_to=("0.0.0.0/0",)))


@pytest.mark.parametrize("network", ["10.0.0.1/8", "everyone", "10.0.0.0/33"])
def test_odd_networks(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--open-to", network])
    assert "is no network" in capsys.readouterr().err


# Behind a proxy


def test_behind_a_proxy_loopback_logs_in_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="by a proxy"):
        Service(Configuration(tmp_path, behind_proxy=True))
    add_user("ann", "admin", tmp_path, monkeypatch)
    settings: dict[str, Any] = {"behind_proxy": True, "open_to": ("10.1.0.0/16",)}
    with resting(tmp_path, model=None, **settings) as service:
        client = TestClient(make_app(service), "https://shop.example", client=("127.0.0.1", 5000))
        assert client.get("/v1/alerts").status_code == 401
        answer = client.post("/login", json={"name": "ann", "password": PASSWORD})
        assert "Secure" in answer.headers["Set-Cookie"]
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert client.get("/v1/alerts").status_code == 200
        client.cookies.clear()
        for told, status in (("10.1.0.9", 200), ("10.1.0.9, 10.2.0.1", 401), ("10.2.0.1, 10.1.0.9", 200), ("", 401)):
            headers = {"X-Forwarded-For": told}
            assert client.post("/detect", json={"data": hot()}, headers=headers).status_code == status, told


# Pages of other sites


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_where_a_change_comes_from(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    with resting(tmp_path, model=None, origins=("https://shop.example",)) as service:
        assert client_of(service).post("/detect", json={"data": hot()}, headers=headers).status_code == status
        # A login too: else another's page could log somebody in as somebody else.
        assert (client_of(service).post("/login", content="{", headers=headers).status_code == 403) is (status == 403)


# How often


def test_a_bucket() -> None:
    moment = [0.0]
    rates = Rates(2, 3, lambda: moment[0])
    for _ in range(3):
        rates.take("a")
    with pytest.raises(Problem, match="Too many requests") as told:
        rates.take("a")
    assert (told.value.status, told.value.headers) == (429, {"Retry-After": "1"})
    rates.take("b")
    moment[0] = 0.5
    rates.take("a")
    with pytest.raises(Problem):
        rates.take("a")
    moment[0] = 100.0
    for _ in range(3):
        rates.take("a")
    with pytest.raises(Problem):
        rates.take("a")


def test_buckets_do_not_grow_without_end() -> None:
    rates = Rates(1, 1, lambda: 0.0)
    for i in range(20_000):
        rates.take(str(i))
    assert len(rates._buckets) == 10_000


def test_callers_that_ask_too_often(tmp_path: Path) -> None:
    database = Database(database_url(tmp_path))
    database.migrate()
    with database.writing() as connection:
        made = [{"X-API-Key": keys.add_key(connection, name)} for name in ("a", "b")]
    database.close()
    with resting(tmp_path, model=None, host="0.0.0.0", limits=Limits(rate=0.001)) as service:
        # A bucket of less than one token would never let anybody through.
        client = client_of(service)
        assert [client.get("/status", headers=made[0]).status_code for _ in range(2)] == [200, 429]
        assert client.get("/status", headers=made[1]).status_code == 200
        # Guesses at keys are counted by where they come from.
        assert [client.get("/status", headers={"X-API-Key": "ad_x"}).status_code for _ in range(2)] == [401, 429]


def test_jobs_that_wait_are_limited(tmp_path: Path) -> None:
    with resting(tmp_path, model=None, limits=Limits(jobs=0)) as service:
        client = client_of(service)
        client.post("/detect", json={"data": [hot(i) for i in range(3)]})
        answer = client.post("/train")
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "60"
        later = {"Prefer": "respond-async"}
        assert client.post("/v1/streams/default/records", json=[hot(1)], headers=later).status_code == 429
        assert list(service.uploads_dir.iterdir()) == []


def test_jobs_that_nobody_asked_for_take_no_room(tmp_path: Path) -> None:
    with resting(tmp_path, limits=Limits(jobs=1)) as service:
        client = client_of(service)
        client.post("/detect", json={"data": [hot(i) for i in range(3)]})
        with service.database.writing() as connection:
            queue_forgetting(connection, Retention(days=1))
        assert client.get("/v1/jobs").json()["jobs"][0]["kind"] == "forget"
        assert client.post("/train").status_code == 202
        assert client.post("/v1/streams/other/train", json=[{"a": 1}]).status_code == 429
