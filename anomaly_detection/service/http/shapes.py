"""Shapes: what a value of JSON must look like, as JSON Schema says it, checked with a sentence for what does not fit.

The same shapes stand in the OpenAPI document, so that what it says and what is checked cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.texts.said import N_, Figure, say

__all__ = [
    "COUNT",
    "FLAG",
    "ID",
    "MOMENT",
    "OBJECT",
    "QUEUED",
    "TEXT",
    "Shape",
    "array",
    "check",
    "choice",
    "flag_of",
    "maybe",
    "moment_of",
    "number_of",
    "record",
    "text",
]

Shape = dict[str, Any]

LARGEST = 2**63 - 1
"""Of whole numbers in a database."""

OBJECT: Shape = {"type": "object"}
TEXT: Shape = {"type": "string"}
FLAG: Shape = {"type": "boolean"}
COUNT: Shape = {"type": "integer", "minimum": 0}
ID: Shape = {"type": "integer", "minimum": 1, "maximum": LARGEST}
MOMENT: Shape = {
    "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
    "description": "a date or a moment such as 2026-11-27T08:15:00Z",
}

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "boolean": "true or false",
    "integer": N_("a whole number"),
    "number": N_("a number"),
    "null": "null",
}
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)


def text(most: int, least: int = 1) -> Shape:
    """A text of `least` to `most` characters."""
    return {"type": "string", "minLength": least, "maxLength": most}


def choice(*values: Any) -> Shape:
    """One of some values."""
    return {"enum": list(values)}


def array(items: Shape, least: int = 0, most: int | None = None) -> Shape:
    """A list."""
    made: Shape = {"type": "array", "items": items}
    if least:
        made["minItems"] = least
    return made if most is None else {**made, "maxItems": most}


def maybe(shape: Shape) -> Shape:
    """The same, or null."""
    if "enum" in shape:
        return {"enum": [*shape["enum"], None]}
    return {**shape, "type": [shape["type"], "null"]} if "type" in shape else {"anyOf": [shape, {"type": "null"}]}


def record(needed: Mapping[str, Shape], may: Mapping[str, Shape] | None = None, *, closed: bool = True) -> Shape:
    """An object with `needed` members and those that it `may` have; no others where it is `closed`."""
    made: Shape = {"type": "object", "properties": {**needed, **(may or {})}}
    if needed:
        made["required"] = list(needed)
    return {**made, "additionalProperties": False} if closed else made


QUEUED = record({"job_id": COUNT, "status_url": TEXT})
"""What is answered where a job has been queued."""


def check(value: Any, shape: Shape, name: str) -> Any:
    """The value, which is called `name`, where it fits a shape; `Problem` (400) with a sentence where it does not.

    Whole numbers may be written with a point and a zero.
    """
    if "anyOf" in shape:
        return _check_any(value, shape, name)
    if "enum" in shape and not any(value == each and type(value) is type(each) for each in shape["enum"]):
        raise Problem(400, say("%(name)s is one of %(all)s.", name=name, all=", ".join(map(_said, shape["enum"]))))
    kinds = shape.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "integer" in kinds and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kinds and not any(_is_kind(value, kind) for kind in kinds):
        raise Problem(400, f"{name} is {' or '.join(_WORDS[kind] for kind in kinds)}.")
    if isinstance(value, str):
        _check_text(value, shape, name)
    elif isinstance(value, dict):
        return _check_members(value, shape, name)
    elif isinstance(value, list):
        return _check_items(value, shape, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(value, shape, name)
    return value


def _check_any(value: Any, shape: Shape, name: str) -> Any:
    """Of several shapes the first that fits; else what the nearest finds wrong, unless the shape itself says it."""
    if isinstance(value, dict):
        _check_shared(value, shape["anyOf"], name)
    found: list[tuple[int, Problem]] = []
    for each in shape["anyOf"]:
        try:
            return check(value, each, name)
        except Problem as problem:
            near = len(set(each.get("properties", ())) & set(value)) if isinstance(value, dict) else 0
            found.append((near, problem))
    if "description" in shape:
        raise Problem(400, f"{name} is {shape['description']}.")
    raise max(found, key=lambda one: one[0])[1]


def _check_shared(value: dict[str, Any], shapes: Sequence[Shape], name: str) -> None:
    """What all of several shapes say of a member holds whichever is meant."""
    first, *others = ({"required": (), "properties": {}, **each} for each in shapes)
    for member, shape in first["properties"].items():
        if any(each["properties"].get(member) != shape for each in others):
            continue
        if member in value:
            check(value[member], shape, member)
        elif all(member in each["required"] for each in (first, *others)):
            raise Problem(400, f"{name} has no {member}.")


def _said(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _is_kind(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _check_text(value: str, shape: Shape, name: str) -> None:
    least, most = shape.get("minLength", 0), shape.get("maxLength")
    if len(value) < least or (most is not None and len(value) > most):
        if not most:
            raise Problem(400, say("%(name)s is empty.", name=name))
        ends = {"least": Figure(least), "most": Figure(f"{most:,}")}
        raise Problem(400, say("%(name)s is a text of %(least)s to %(most)s characters.", name=name, **ends))
    if shape.get("format") in ("date", "date-time"):
        moment_of(value, name)
    if "pattern" in shape and not re.search(shape["pattern"], value, re.ASCII):
        raise Problem(400, f"{name} is {shape.get('description', 'written otherwise')}.")


def _check_members(value: dict[str, Any], shape: Shape, name: str) -> dict[str, Any]:
    properties = shape.get("properties", {})
    lacking = next((each for each in shape.get("required", ()) if each not in value), None)
    if lacking is not None:
        raise Problem(400, f"{name} has no {lacking}.")
    if not shape.get("minProperties", 0) <= len(value) <= shape.get("maxProperties", len(value)):
        raise Problem(400, f"{name} has {len(value):,} members.")
    others = shape.get("additionalProperties", True)
    made = {}
    for each, inner in value.items():
        if each in properties:
            made[each] = check(inner, properties[each], each)
        elif others is False:
            known = ", ".join(properties)
            raise Problem(400, f"{name} has an unknown member {each[:64]!r}; it may have {known}.")
        else:
            made[each] = check(inner, others, f"{name}, {each[:64]!r},") if isinstance(others, dict) else inner
    return made


def _check_items(value: list[Any], shape: Shape, name: str) -> list[Any]:
    if len(value) < shape.get("minItems", 0) or len(value) > shape.get("maxItems", len(value)):
        most = f" to {shape['maxItems']:,}" if "maxItems" in shape else " or more"
        raise Problem(400, f"{name} has {shape.get('minItems', 0)}{most} items.")
    made = [check(each, shape.get("items", {}), f"Item {place} of {name}") for place, each in enumerate(value, 1)]
    if shape.get("uniqueItems") and len({repr(each) for each in made}) < len(made):
        raise Problem(400, f"{name} names something twice.")
    return made


def _check_number(value: float, shape: Shape, name: str) -> None:
    low, high = shape.get("minimum"), shape.get("maximum")
    above = shape.get("exclusiveMinimum")
    # Written so that NaN fits nothing.
    fits = (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above)
    if not fits:
        least, most = (None if end is None else Figure(f"{end:,}") for end in (low if above is None else above, high))
        if least is None:
            told = N_("%(name)s is at most %(most)s.")
        elif most is None:
            told = N_("%(name)s is at least %(least)s.") if above is None else N_("%(name)s is above %(least)s.")
        elif above is not None:
            told = N_("%(name)s is above %(least)s and at most %(most)s.")
        else:
            told = N_("%(name)s is at least %(least)s and at most %(most)s.")
        raise Problem(400, say(told, name=name, least=least, most=most))


def number_of(written: str, name: str, *, whole: bool) -> float:
    """A number out of a query."""
    form = r"[+-]?\d{1,20}" if whole else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?"
    if not re.fullmatch(form, written, re.ASCII):
        kind = say(_WORDS["integer" if whole else "number"])
        raise Problem(
            400, say("%(name)s is %(kind)s, not %(written)s.", name=name, kind=kind, written=repr(written[:40]))
        )
    return int(written) if whole else float(written)


def flag_of(written: str, name: str) -> bool:
    """A truth value out of a query."""
    if written not in ("true", "false"):
        raise Problem(400, say("%(name)s is true or false.", name=name))
    return written == "true"


def moment_of(written: Any, name: str) -> str:
    """A date, which begins at midnight, or a moment, in UTC unless it says otherwise, as `clock.now` writes it."""
    found = _MOMENT.fullmatch(written) if isinstance(written, str) else None
    try:
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(each or 0) for each in found.groups()[:6])
        micro = int((found[7] or "0").ljust(9, "0")[:6])
        moment = datetime(year, month, day, hour, minute, min(second, 59), micro, timezone.utc) - _offset(found[8])
        # A leap second is the last moment of its minute here.
        if second > 60:
            raise ValueError
    except (ValueError, OverflowError) as error:
        told = say("%(name)s is a date or a moment such as 2026-11-27T08:15:00Z.", name=name)
        raise Problem(400, told) from error
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _offset(zone: str | None) -> timedelta:
    if not zone or zone in "Zz":
        return timedelta(0)
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
