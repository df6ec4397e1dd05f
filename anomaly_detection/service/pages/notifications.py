"""Who is told of cases, and what could not be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from anomaly_detection.service.http.shapes import number_of
from anomaly_detection.service.pages.done import Done, done_by
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.channels import (
    list_channels,
    list_messages,
    make_a_channel,
    remove_a_channel,
    send_again,
    test_channel,
)
from anomaly_detection.service.routes.settings import change_settings, get_settings
from anomaly_detection.service.routes.streams import list_streams
from anomaly_detection.texts.viewer import gettext

__all__ = ["change_notifications", "notifications_page"]

_LISTED = "20"


def notifications_page(visit: Visit, said: Done | None = None) -> Response:
    """``GET /notifications``."""
    return html(
        "notifications",
        visit=visit,
        said=said,
        here="notifications",
        channels=visit.get(list_channels)["channels"],
        streams=visit.get(list_streams)["streams"],
        unsent=visit.get(list_messages, [("limit", _LISTED), ("state", "failed")])["messages"],
        messages=visit.get(list_messages, [("limit", _LISTED)])["messages"],
        address=visit.get(get_settings)["address"],
    )


def change_notifications(visit: Visit) -> Response:
    """``POST /notifications``: do one thing, and show the page again."""
    return notifications_page(visit, done_by(visit, _DOING))


def _add(visit: Visit) -> str:
    said: dict[str, Any] = {"name": visit.said("name").strip(), "url": visit.said("url").strip()}
    if severity := visit.said("min_severity").strip():
        said["min_severity"] = number_of(severity, "min_severity", whole=False)
    if visit.said("digest_hour"):
        said["digest_hour"] = visit.whole("digest_hour")
    said |= {name: value for name in ("zone", "stream") if (value := visit.said(name).strip())}
    name = visit.change(make_a_channel, said)["name"]
    return gettext("%(name)s is told from now on. Send a test to see whether it arrives.", name=name)


def _test(visit: Visit) -> str:
    visit.get(test_channel, id=visit.whole("number"))
    return gettext("The test was sent.")


def _remove(visit: Visit) -> str:
    return gettext("%(name)s is told no more.", name=visit.get(remove_a_channel, id=visit.whole("number"))["name"])


def _again(visit: Visit) -> str:
    return gettext("Message %(number)s is tried again.", number=visit.get(send_again, id=visit.whole("number"))["id"])


def _address(visit: Visit) -> str:
    visit.change(change_settings, {"address": visit.said("address").strip().rstrip("/")})
    has_links = bool(visit.said("address").strip())
    return gettext("Messages have links to that address.") if has_links else gettext("Messages have no links.")


_DOING: dict[str, Callable[[Visit], str]] = {
    "add": _add,
    "test": _test,
    "remove": _remove,
    "send again": _again,
    "address": _address,
}
"""By the button's value: what is told of it."""
