"""Who may come in: users with roles, and keys of programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from anomaly_detection.service.access.passwords import SHORTEST
from anomaly_detection.service.access.rights import ROLES
from anomaly_detection.service.pages.done import Done
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.streams import list_streams
from anomaly_detection.service.routes.users import (
    change_user,
    delete_key,
    delete_user,
    list_keys,
    list_users,
    make_key,
    make_user,
)
from anomaly_detection.texts.viewer import N_, gettext

__all__ = ["change_users", "users_page"]

_MAY = {
    "viewer": N_("reads, but for what is personal"),
    "analyst": N_("gives verdicts, hides alerts by rules, sends records"),
    "admin": N_("does everything"),
}


def users_page(visit: Visit, said: Done | None = None, made: dict[str, Any] | None = None) -> Response:
    """``GET /users``; a key that was just `made` is shown this once."""
    return html(
        "users",
        visit=visit,
        said=said,
        here="users",
        users=visit.get(list_users)["users"],
        keys=visit.get(list_keys)["keys"],
        streams=visit.get(list_streams)["streams"],
        roles={role: _MAY[role] for role in ROLES},
        shortest=SHORTEST,
        made=made,
    )


def change_users(visit: Visit) -> Response:
    """``POST /users``: do one thing, and show the page again."""
    told, made = _DOING[visit.button(_DOING, "This page can")](visit)
    return users_page(visit, Done(told), made)


Told = tuple[str, dict[str, Any] | None]


def _add_user(visit: Visit) -> Told:
    made = visit.change(make_user, {name: visit.said(name) for name in ("name", "role", "password")})
    return gettext("%(name)s may log in.", name=made["name"]), None


def _set_role(visit: Visit) -> Told:
    made = visit.change(change_user, {"role": visit.said("role")}, id=visit.whole("number"))
    return gettext("%(name)s has the role %(role)s now.", name=made["name"], role=gettext(made["role"])), None


def _set_password(visit: Visit) -> Told:
    made = visit.change(change_user, {"password": visit.said("password")}, id=visit.whole("number"))
    return gettext("%(name)s has another password, and logs in anew.", name=made["name"]), None


def _remove_user(visit: Visit) -> Told:
    return gettext("%(name)s is removed.", name=visit.get(delete_user, id=visit.whole("number"))["name"]), None


def _add_key(visit: Visit) -> Told:
    streams = [each for each in visit.form.get("streams", ()) if each]
    wanted = {"name": visit.said("name"), "role": visit.said("role"), **({"streams": streams} if streams else {})}
    return gettext("The key is made. It is shown this once: copy it now."), visit.change(make_key, wanted)


def _remove_key(visit: Visit) -> Told:
    return gettext(
        "The key %(name)s is worth nothing any more.", name=visit.get(delete_key, id=visit.whole("number"))["name"]
    ), None


_DOING: dict[str, Callable[[Visit], Told]] = {
    "add user": _add_user,
    "set role": _set_role,
    "set password": _set_password,
    "remove user": _remove_user,
    "add key": _add_key,
    "remove key": _remove_key,
}
"""By the button's value: what is told of it, and a key that was made."""
