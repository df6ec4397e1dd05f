"""`Incoming`: a record as somebody sent it, and what of it may be judged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import say

__all__ = ["LEAKS", "Incoming", "table", "without_nul"]

LEAKS = frozenset({"injected_anomaly", "anomaly_severity"})
"""Fields of CryptaNet's simulator that tell the answer: kept with the record, and never looked at."""

_NAMING = ("id", "transaction_id", "record_id")
_LONGEST_ID = 255


@dataclass(frozen=True)
class Incoming:
    """One record.

    Attributes
    ----------
    fields : mapping of str to object
        As they came, of values that JSON has.
    fault : str
        Why it is no record, in a sentence; empty if it is one.
    """

    fields: Mapping[str, Any]
    fault: str = ""

    @classmethod
    def of(cls, value: Any) -> Incoming:
        """A record out of JSON; the fields of an inner object ``data``, as CryptaNet has it, count as its own.

        What is no record comes as one with a `fault`, so that it can be kept and told of.
        """
        if not isinstance(value, dict):
            return cls({"value": value}, say("A record must be an object of names and values."))
        fields = dict(value) if "data" in value else value
        # Each field is moved once, however deep it is.
        while isinstance(inner := fields.get("data"), dict):
            del fields["data"]
            fields |= inner
        return cls(fields, "" if fields else say("The record holds no field."))

    @cached_property
    def judgeable(self) -> dict[str, Any]:
        """The fields that a model may look at: nested ones and those of `LEAKS` are left out."""
        return {
            name: value
            for name, value in self.fields.items()
            if name not in LEAKS and not isinstance(value, (dict, list))
        }

    @cached_property
    def body(self) -> str:
        """The record as JSON."""
        return orjson.dumps(self.fields).decode()

    @cached_property
    def fingerprint(self) -> str:
        """Equal where the same fields with the same values came, in whatever order."""
        told = {name: value for name, value in self.fields.items() if name not in LEAKS}
        return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def sent_id(self) -> str | None:
        """How its sender calls it, if it says so."""
        for name in _NAMING:
            value = self.fields.get(name)
            if value is not None and isinstance(value, (str, int)) and str(value).strip():
                return without_nul(str(value))[:_LONGEST_ID]
        return None


def without_nul(text: str) -> str:
    """A text that every database can hold: PostgreSQL's have no NUL."""
    return text.replace("\0", "\\x00")


def table(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records (`Incoming.judgeable`) with the same columns in all of them, to learn from.

    Raises
    ------
    DataError
        If they have no column.
    """
    names = dict.fromkeys(name for record in records for name in record)
    if not names:
        raise DataError(say("The records hold no field that can be judged."))
    return [{name: record.get(name) for name in names} for record in records]
