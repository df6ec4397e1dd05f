"""Pages out of templates: all that comes from data is text to them, never markup, and no script or style is inline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from anomaly_detection.alerts.causes import WHOLE_RECORD
from anomaly_detection.data.cells.well_formed_text import well_formed
from anomaly_detection.explain.cells import reason_cells
from anomaly_detection.explain.wording import begun
from anomaly_detection.service.alerts.case_book import NEVER
from anomaly_detection.service.pages.heading import told
from anomaly_detection.service.storage.clock import now
from anomaly_detection.texts.viewer import (
    LANGUAGES,
    N_,
    VIEWER,
    gettext,
    localised,
    moment_of,
    ngettext,
    retold,
)

__all__ = [
    "STATIC",
    "age",
    "as_files",
    "decimals",
    "figure",
    "html",
    "lasting",
    "number",
    "percent",
    "static_file",
    "version_of",
]

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
_AGES = (
    (365 * 86_400, N_("%(count)s y")),
    (86_400, N_("%(count)s d")),
    (3600, N_("%(count)s h")),
    (60, N_("%(count)s min")),
)


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
    return lasting(seconds) if seconds >= 60 else gettext("now")


def lasting(seconds: float) -> str:
    """A time in the largest unit of which it is one or more: ``2 min``."""
    size, unit = next((each for each in _AGES if seconds >= each[0]), (1, N_("%(count)s s")))
    count = f"{seconds / size:.0f}"
    return gettext(unit, count=count)


def number(value: float | None) -> str:
    """With separators of thousands, and two decimals where there are any."""
    if value is None:
        return ""
    return localised(f"{value:,.2f}" if value % 1 else f"{value:,.0f}")


def decimals(value: float, digits: int) -> str:
    """With so many decimals."""
    return localised(f"{value:,.{digits}f}")


def percent(share: float, digits: int = 1) -> str:
    """A share of one in per cent."""
    return f"{decimals(100 * share, digits)} %"


def figure(value: Any, digits: int = 4) -> str:
    """A number to so many digits, with separators of thousands; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return told(value)
    return localised(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}")


def _reason_cells(reason: Mapping[str, Any]) -> tuple[str, str, str]:
    cells = reason_cells(reason["direction"], reason["value"], reason["expected"], reason["expected_range"])
    value, usual, between = (retold(cell) for cell in cells)
    return value, usual, between


def _leading(column: str) -> str:
    """What an alert is about: a column, or what stands for many."""
    return gettext(WHOLE_RECORD) if column == WHOLE_RECORD else column


def _whole(sentence: str) -> str:
    """The same with each number and its sign of per cent in one line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def _minute(moment: str | None) -> str:
    """In the viewer's time zone, which is told."""
    if moment is None:
        return ""
    there, zone = moment_of(moment)
    return f"{there.strftime(VIEWER.get().locale.day)} {there:%H:%M} {zone}"


def _day(text: str) -> str:
    """A day as it is, or that of a moment in the viewer's time zone."""
    day = date.fromisoformat(text) if len(text) == 10 else moment_of(text)[0]
    return day.strftime(VIEWER.get().locale.day)


def _is_worse(case: Mapping[str, Any]) -> bool:
    """Whether a case got as bad as it was to come back with, before its time."""
    below = case.get("snoozed_below")
    return below is not None and case["severity"] >= below and case["snoozed_until"] > now()


def _is_asleep(case: Mapping[str, Any]) -> bool:
    until = case.get("snoozed_until")
    return until is not None and until > now() and not _is_worse(case)


def _languages(query: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str, str]]:
    """The other languages: code, name, and where the same page is in it."""
    others = ((code, each.name) for code, each in LANGUAGES.items() if code != VIEWER.get().language)
    return [(code, name, "?" + urlencode([*query, ("lang", code)])) for code, name in others]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("anomaly_detection.service.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.filters.update(
        age=age, lasting=lasting, number=number, minute=_minute, figure=figure, whole=_whole, begun=begun
    )
    made.filters.update(day=_day, decimals=decimals, percent=percent, word=lambda text: gettext(str(text)))
    made.filters.update(reason_cells=_reason_cells, begun=begun, leading=_leading)
    made.tests.update(asleep=_is_asleep, worse=_is_worse)
    made.filters["pairs"] = lambda rows, *names: [tuple(row[name] for name in names) for row in rows]
    made.filters["zipped"] = lambda values, other: [(value, other) for value in values]
    made.globals.update(static=lambda name: f"/static/{name}?v={version_of(name)}", languages=_languages)
    made.globals.update(as_files=as_files, never=NEVER)
    return made


def as_files(path: str, query: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Addresses of a list of our API as files, by what people call these."""
    return {
        told: f"{path}?{urlencode([*query, ('format', kind)])}" for kind, told in (("csv", "CSV"), ("xlsx", "Excel"))
    }


def html(template: str, status: int = 200, **values: Any) -> Response:
    """An answer of a template."""
    # Names in the data may hold what no encoding can.
    page = well_formed(_environment().get_template(f"{template}.html.j2").render(viewer=VIEWER.get(), **values))
    return Response(page, status, _HEADERS, "text/html")
