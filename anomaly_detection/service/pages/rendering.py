"""Pages out of templates: all that comes from data is text to them, never markup, and no script or style is inline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from anomaly_detection.data.well_formed_text import well_formed
from anomaly_detection.explain.cells import reason_cells
from anomaly_detection.service.pages.heading import told

__all__ = ["STATIC", "age", "as_files", "figure", "html", "lasting", "number", "static_file", "version_of"]

STATIC = {
    "htmx.min.js": "text/javascript; charset=utf-8",
    "uplot.min.js": "text/javascript; charset=utf-8",
    "uplot.min.css": "text/css; charset=utf-8",
    "inbox.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "inbox.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Files that pages load, and their types."""

_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
# Without any referrer a browser says of a form that it comes from nowhere, and the guard refuses it.
_HEADERS = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "same-origin"}
_AGES = ((365 * 86_400, "y"), (86_400, "d"), (3600, "h"), (60, "min"))


@cache
def static_file(name: str) -> bytes:
    """One of `STATIC`."""
    return files("anomaly_detection.service.pages").joinpath("static", name).read_bytes()


@cache
def version_of(name: str) -> str:
    """What changes when the file does, so that a browser may keep it."""
    return hashlib.sha256(static_file(name)).hexdigest()[:12]


def age(moment: str) -> str:
    """How long ago a moment was, in the largest unit: ``3 d``."""
    then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    seconds = (datetime.now(timezone.utc) - then).total_seconds()
    return lasting(seconds) if seconds >= 60 else "now"


def lasting(seconds: float) -> str:
    """A time in the largest unit of which it is one or more: ``2 min``."""
    return next((f"{seconds / size:.0f} {unit}" for size, unit in _AGES if seconds >= size), f"{seconds:.0f} s")


def number(value: float | None) -> str:
    """With separators of thousands, and two decimals where there are any."""
    if value is None:
        return ""
    return f"{value:,.2f}" if value % 1 else f"{value:,.0f}"


def figure(value: Any) -> str:
    """A number to four digits, with separators of thousands; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return told(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _reason_cells(reason: Mapping[str, Any]) -> tuple[str, str, str]:
    return reason_cells(reason["direction"], reason["value"], reason["expected"], reason["expected_range"])


def _whole(sentence: str) -> str:
    """The same with each number and its sign of per cent in one line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def _minute(moment: str | None) -> str:
    return "" if moment is None else f"{moment[:10]} {moment[11:16]} UTC"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("anomaly_detection.service.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(age=age, lasting=lasting, number=number, minute=_minute, figure=figure, whole=_whole)
    made.filters["reason_cells"] = _reason_cells
    made.filters["pairs"] = lambda rows, *names: [tuple(row[name] for name in names) for row in rows]
    made.filters["zipped"] = lambda values, other: [(value, other) for value in values]
    made.globals.update(static=lambda name: f"/static/{name}?v={version_of(name)}")
    return made


def as_files(path: str, query: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Addresses of a list of our API as files, by what people call these."""
    return {
        told: f"{path}?{urlencode([*query, ('format', kind)])}" for kind, told in (("csv", "CSV"), ("xlsx", "Excel"))
    }


def html(template: str, status: int = 200, **values: Any) -> Response:
    """An answer of a template."""
    # Names in the data may hold what no encoding can.
    page = well_formed(_environment().get_template(f"{template}.html.j2").render(**values))
    return Response(page, status, _HEADERS, "text/html")
