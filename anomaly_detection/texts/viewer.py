"""`Viewer`: the language, region and time zone of who looks at a page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from gettext import NullTranslations
from typing import Any, NamedTuple

from anomaly_detection.texts.catalogue import read_catalogue
from anomaly_detection.texts.said import N_, kept, spoken

__all__ = [
    "LANGUAGES",
    "N_",
    "VIEWER",
    "Viewer",
    "gettext",
    "localised",
    "localised_day",
    "midnight",
    "moment_of",
    "ngettext",
    "plain_number",
    "reread",
    "retold",
    "today",
    "worded",
]


class _Locale(NamedTuple):
    """What differs between languages, and regions, besides words; browsers know it by its tag."""

    tag: str
    name: str
    decimal: str
    thousands: str
    day: str
    zones: Mapping[str, str] = {}


LANGUAGES = {
    "en": _Locale("en", "English", ".", ",", "%Y-%m-%d"),
    "de": _Locale("de", "Deutsch", ",", ".", "%d.%m.%Y", {"CET": "MEZ", "CEST": "MESZ"}),
}
"""By their codes. English is what the code says; each other one has a catalogue, ``texts/CODE.po``."""

_BRITISH = LANGUAGES["en"]._replace(tag="en-GB", day="%d/%m/%Y")
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_SWISS = LANGUAGES["de"]._replace(tag="de-CH", decimal=".", thousands=_APOSTROPHE)
_REGIONS = {
    ("en", "US"): LANGUAGES["en"]._replace(tag="en-US", day="%m/%d/%Y"),
    **{("en", region): _BRITISH for region in ("AU", "GB", "IE", "IN", "NZ")},
    **{("de", region): _SWISS for region in ("CH", "LI")},
}


class Viewer(NamedTuple):
    """Who looks: a code of `LANGUAGES`, a time zone, without which it is the server's, and a region, in capitals."""

    language: str = "en"
    zone: tzinfo | None = None
    region: str = ""

    @property
    def locale(self) -> _Locale:
        """Of the language as it is written in the region."""
        return _REGIONS.get((self.language, self.region), LANGUAGES[self.language])


VIEWER: ContextVar[Viewer] = ContextVar("viewer", default=Viewer())  # noqa: B039 - a tuple
"""Who looks at the page that is being made."""


@cache
def _catalogue(language: str) -> NullTranslations:
    return NullTranslations() if language == "en" else read_catalogue(language)


def gettext(text: str, **values: object) -> str:
    """A text in the viewer's language, with values in place of ``%(name)s`` where any are given."""
    said = _catalogue(VIEWER.get().language).gettext(text)
    return said % values if values else said


def ngettext(one: str, many: str, number: int) -> str:
    """The same of a text that depends on a number, which stands for ``%(num)s``."""
    said = _catalogue(VIEWER.get().language).ngettext(one, many, number)
    return said.replace("%(num)s", localised(f"{number:,}"))


def localised(number: str) -> str:
    """A number that Python wrote, with the viewer's separators."""
    locale = VIEWER.get().locale
    return number.translate({ord(","): locale.thousands, ord("."): locale.decimal})


def plain_number(text: str) -> str:
    """What a viewer wrote as a number, as Python reads it; any other text as it is."""
    locale = VIEWER.get().locale
    # No keyboard has the apostrophe that is printed in Switzerland.
    thousands, decimal = (
        re.escape(locale.thousands).replace(_APOSTROPHE, f"[{_APOSTROPHE}']"),
        re.escape(locale.decimal),
    )
    if re.fullmatch(rf"[-+]?\d{{1,3}}(?:{thousands}\d{{3}})+(?:{decimal}\d*)?", text):
        text = re.sub(thousands, "", text)
    return text.replace(locale.decimal, ".")


def worded(what: Any) -> str:
    """What `said.kept` made of a text, in the viewer's language."""
    return spoken(what, _catalogue(VIEWER.get().language).gettext, localised, localised_day)


def retold(text: str) -> str:
    """A text in the viewer's language, as far as it is a `Said`."""
    return worded(kept(text))


def reread(text: str | None) -> str | None:
    """What `said.written` made of a text, in the viewer's language."""
    return worded(json.loads(text)) if text is not None and text.startswith('{"say":') else text


def localised_day(text: str) -> str:
    """A day that ISO wrote, as the viewer writes it; what is no day of our calendar stays."""
    try:
        return date.fromisoformat(text).strftime(VIEWER.get().locale.day)
    except ValueError:
        return text


def today() -> date:
    """Of the viewer."""
    return datetime.now(VIEWER.get().zone or timezone.utc).date()


def midnight(day: str, after: int = 0) -> str:
    """The moment at which a day begins for the viewer, or one so many days later; what is no day stays."""
    try:
        begin = date.fromisoformat(day) + timedelta(days=after)
    except (ValueError, OverflowError):
        return day
    return datetime.combine(begin, time(), VIEWER.get().zone or timezone.utc).isoformat()


def moment_of(text: str) -> tuple[datetime, str]:
    """A moment of UTC in the viewer's time zone, and what that is called then."""
    there = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(VIEWER.get().zone)
    name = there.strftime("%Z")
    name = f"UTC{name}" if name[:1] in "+-" else name
    return there, VIEWER.get().locale.zones.get(name, name)
