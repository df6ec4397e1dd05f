"""Users and keys: listed, added, changed and removed, by admins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, select
from starlette.responses import Response

from anomaly_detection.errors import DataError
from anomaly_detection.service.access.keys import add_key, remove_key
from anomaly_detection.service.access.passwords import SHORTEST
from anomaly_detection.service.access.rights import ROLES, Need
from anomaly_detection.service.access.users import add_user, remove_user, set_password, set_role
from anomaly_detection.service.http.exports import FORMAT, KINDS, whole
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import NAME, Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, TEXT, array, choice, maybe, record, text
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.tables import keys, users
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_ROLE = choice(*ROLES)
_CALLED = {"type": "string", "pattern": r"^[A-Za-z0-9_.@-]{1,64}$", "description": "1 to 64 letters, digits or . _ @ -"}
_PASSWORD = text(1000, SHORTEST)
_USER = record({"id": COUNT, "name": TEXT, "role": _ROLE, "created": TEXT})
_KEY = record({"id": COUNT, "name": TEXT, "role": _ROLE, "streams": maybe(array(TEXT)), "created": TEXT})
_GONE = record({"name": TEXT})


def list_users(service: Service, call: Call) -> Response:
    """``GET /v1/users``."""
    return whole(call, "users", _users(service), _USER)


def make_user(service: Service, call: Call) -> Response:
    """``POST /v1/users``."""
    said = call.content

    def work(connection: Connection) -> int:
        return add_user(connection, said["name"], said["role"], said["password"], call.who)

    return answer(_user(service, _done(service, work)), 201)


def change_user(service: Service, call: Call) -> Response:
    """``PATCH /v1/users/{id}``: another role at once; with another password sessions end."""
    said = call.content

    def work(connection: Connection) -> None:
        name = _name_of(connection, users, call.id)
        if "role" in said:
            _refuse_self(call, name)
            set_role(connection, name, said["role"], call.who)
        if "password" in said:
            set_password(connection, name, said["password"], call.who)

    _done(service, work)
    return answer(_user(service, call.id))


def delete_user(service: Service, call: Call) -> Response:
    """``DELETE /v1/users/{id}``."""

    def work(connection: Connection) -> str:
        name = _name_of(connection, users, call.id)
        _refuse_self(call, name)
        remove_user(connection, name, call.who)
        return name

    return answer({"name": _done(service, work)})


def list_keys(service: Service, call: Call) -> Response:
    """``GET /v1/keys``: of the keys themselves nobody knows more than whom they were made for."""
    rows = _rows(service, keys, ("id", "name", "role", "streams", "created"))
    listed = [{**row, "streams": row["streams"] and row["streams"].split(",")} for row in rows]
    return whole(call, "keys", listed, _KEY)


def make_key(service: Service, call: Call) -> Response:
    """``POST /v1/keys``: the answer has the key, this once."""
    said = call.content
    made = _done(
        service, lambda connection: add_key(connection, said["name"], said["role"], said.get("streams", ()), call.who)
    )
    return answer({"name": said["name"], "key": made}, 201)


def delete_key(service: Service, call: Call) -> Response:
    """``DELETE /v1/keys/{id}``."""

    def work(connection: Connection) -> str:
        name = _name_of(connection, keys, call.id)
        remove_key(connection, name, call.who)
        return name

    return answer({"name": _done(service, work)})


def _users(service: Service) -> list[dict[str, Any]]:
    return _rows(service, users, ("id", "name", "role", "created"))


def _user(service: Service, number: int) -> dict[str, Any]:
    return next(each for each in _users(service) if each["id"] == number)


def _rows(service: Service, table: Table, names: tuple[str, ...]) -> list[dict[str, Any]]:
    with service.database.reading() as connection:
        query = select(*(table.c[name] for name in names)).order_by(table.c.id)
        return [{name: row[name] for name in names} for row in connection.execute(query).mappings()]


def _done(service: Service, work: Callable[[Connection], Any]) -> Any:
    try:
        return service.writer.run(work)
    except DataError as error:
        # Names and roles are checked by then: what is left is a name that is taken.
        raise Problem(409, error.args[0]) from error


def _name_of(connection: Connection, table: Table, number: int) -> str:
    name = connection.execute(select(table.c.name).where(table.c.id == number)).scalar()
    if name is None:
        raise Problem(404, say("There is no %(name)s %(number)s.", name=table.name[:-1], number=number))
    return str(name)


def _refuse_self(call: Call, name: str) -> None:
    # So there is always one left who may do this.
    if call.caller.session and call.who == name:
        raise Problem(409, say("Who is logged in keeps the own role and stays; another admin can change that."))


OPERATIONS = (
    Operation(
        "GET",
        "/v1/users",
        list_users,
        "All users, the oldest first.",
        record({"users": array(_USER)}),
        "The users.",
        (FORMAT,),
        kinds=KINDS,
        needs=Need("manage", "all"),
    ),
    Operation(
        "POST",
        "/v1/users",
        make_user,
        "Add a user, who may log in with the password from then on.",
        _USER,
        "The user.",
        body=record({"name": _CALLED, "role": _ROLE, "password": _PASSWORD}),
        good=201,
        statuses=(409,),
        turn="logins",
        needs=Need("manage", "all"),
    ),
    Operation(
        "PATCH",
        "/v1/users/{id}",
        change_user,
        "Give a user another role or password; another password ends all sessions of that user.",
        _USER,
        "The user.",
        body=record({}, {"role": _ROLE, "password": _PASSWORD}),
        statuses=(409,),
        turn="logins",
        needs=Need("manage", "all"),
    ),
    Operation(
        "DELETE",
        "/v1/users/{id}",
        delete_user,
        "Remove a user, whose sessions end at once.",
        _GONE,
        "Who is gone.",
        statuses=(409,),
        needs=Need("manage", "all"),
    ),
    Operation(
        "GET",
        "/v1/keys",
        list_keys,
        "All API keys by their names, the oldest first; the keys themselves are not kept.",
        record({"keys": array(_KEY)}),
        "The keys; streams is null for one that is for all.",
        (FORMAT,),
        kinds=KINDS,
        needs=Need("manage", "all"),
    ),
    Operation(
        "POST",
        "/v1/keys",
        make_key,
        "Make an API key.",
        record({"name": TEXT, "key": TEXT}),
        "The key, which is shown this once.",
        body=record({"name": _CALLED, "role": _ROLE}, {"streams": array(NAME, most=30)}),
        good=201,
        statuses=(409,),
        needs=Need("manage", "all"),
    ),
    Operation(
        "DELETE",
        "/v1/keys/{id}",
        delete_key,
        "Remove an API key, which is worth nothing from then on.",
        _GONE,
        "Whose key is gone.",
        needs=Need("manage", "all"),
    ),
)
