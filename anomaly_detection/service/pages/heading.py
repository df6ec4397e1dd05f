"""What heads a record: the few values by which a person knows it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomaly_detection.service.processes.service import Service
from anomaly_detection.texts.viewer import localised_day

__all__ = ["LONGEST", "Heading", "heading", "shortened", "told", "with_heading"]

_ISO = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d*)?)?)?", re.ASCII)
LONGEST = 80
"""Characters of a value in a line."""


@dataclass(frozen=True)
class Heading:
    """Texts of a record's identifiers, and of its date."""

    identifiers: Sequence[str]
    date: str


def told(value: Any) -> str:
    """A value of a record as a text; empty where it is missing."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 and round(value, 4) == value else str(value)


def shortened(text: str, most: int = LONGEST) -> str:
    """The beginning of a long text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def heading(service: Service, stream: str, record: Mapping[str, Any], sent_id: str | None = None) -> Heading:
    """Of a record of a stream, by the columns that its model takes for such; without any, as its sender calls it."""
    judge = service.judge_of(stream)
    names = () if judge is None else judge.headline.identifiers
    date = None if judge is None else judge.headline.date
    found = [told(record.get(name)) for name in names]
    shown = [shortened(each) for each in found if each] or ([shortened(sent_id)] if sent_id else [])
    return Heading(shown, "" if date is None else _date(told(record.get(date))))


def _date(text: str) -> str:
    """A date of a record as its viewer writes it, without seconds, in no zone; another form is what it is."""
    day, _, clock = text.partition("T")
    if not _ISO.fullmatch(text):
        return shortened(text, 25)
    return localised_day(day) + (f" {clock[:5]}" if clock[:5] not in ("", "00:00") else "")


def with_heading(service: Service, row: Mapping[str, Any]) -> dict[str, Any]:
    """An alert or a record as the API shows it, and what heads it."""
    return {**row, "heading": heading(service, row["stream"], row["record"], row["sent_id"])}
