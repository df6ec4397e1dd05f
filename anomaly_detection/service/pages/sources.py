"""Where records come from by themselves: watched folders, queries of databases and topics of brokers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from anomaly_detection.service.pages.done import Done, done_by
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.sources import (
    change_source,
    list_files,
    list_letters,
    list_sources,
    make_a_source,
    remove_a_source,
)
from anomaly_detection.service.routes.streams import list_streams
from anomaly_detection.texts.viewer import gettext

__all__ = ["change_sources", "sources_page"]

_LISTED = "20"


def sources_page(visit: Visit, said: Done | None = None) -> Response:
    """``GET /sources``."""
    return html(
        "sources",
        visit=visit,
        said=said,
        here="sources",
        sources=visit.get(list_sources)["sources"],
        streams=visit.get(list_streams)["streams"],
        files=visit.get(list_files, [("limit", _LISTED)])["files"],
        letters=visit.get(list_letters, [("limit", _LISTED)])["letters"],
    )


def change_sources(visit: Visit) -> Response:
    """``POST /sources``: do one thing, and show the page again."""
    return sources_page(visit, done_by(visit, _DOING))


def _watch(visit: Visit) -> str:
    said = {name: visit.said(name).strip() for name in ("stream", "folder", "after", "known")}
    made = visit.change(make_a_source, said)
    return gettext("%(name)s is watched for the stream %(stream)s.", name=made["target"], stream=made["stream"])


def _ask(visit: Visit) -> str:
    said: dict[str, Any] = {name: visit.said(name).strip() for name in ("stream", "url", "query", "watermark")}
    made = visit.change(make_a_source, {**said, "every": visit.whole("every")})
    told = gettext("%(name)s is asked every %(every)s seconds for the stream %(stream)s.")
    return told % {"name": made["target"], "every": made["settings"]["every"], "stream": made["stream"]}


def _read(visit: Visit) -> str:
    said = {name: visit.said(name).strip() for name in ("stream", "url", "topic", "topic_column")}
    made = visit.change(make_a_source, said)
    told = gettext("%(topic)s of %(name)s is read for the stream %(stream)s.")
    return told % {"topic": made["settings"]["topic"], "name": made["target"], "stream": made["stream"]}


def _paused(visit: Visit, paused: bool) -> str:
    made = visit.change(change_source, {"paused": paused}, id=visit.whole("number"))
    return (gettext("%(name)s is paused.") if paused else gettext("%(name)s goes on.")) % {"name": made["target"]}


def _remove(visit: Visit) -> str:
    removed = visit.get(remove_a_source, id=visit.whole("number"))
    return gettext("%(name)s is looked at no more.", name=removed["target"])


_DOING: dict[str, Callable[[Visit], str]] = {
    "watch": _watch,
    "ask": _ask,
    "read": _read,
    "pause": lambda visit: _paused(visit, True),
    "go on": lambda visit: _paused(visit, False),
    "remove": _remove,
}
"""By the button's value: what is told of it."""
