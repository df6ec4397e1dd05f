"""`StreamSettings`: what its owner says of a stream: how columns are read, how much is an alert, what is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from anomaly_detection.data.cells.date_forms import FORMS
from anomaly_detection.data.cells.units import UNITS
from anomaly_detection.data.columns.declarations import KINDS, Declaration, declaration_of
from anomaly_detection.errors import DataError
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import FLAG, Shape, array, choice, maybe, record, text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["COLUMNS", "RATIO", "SETTINGS", "StreamSettings", "columns_of_toml"]

_CODE: Shape = {**text(100), "pattern": r"[^\s\x00-\x20\x7f-\xa0]", "description": "a text that is not blank"}
_COLUMN = record(
    {},
    {
        "kind": choice(*KINDS),
        "missing": array(_CODE, most=100),
        "dates": array(choice(*sorted(FORMS)), most=20),
        "decimal": choice(",", "."),
        "unit": choice(*UNITS),
    },
)
COLUMNS: Shape = {"type": "object", "additionalProperties": _COLUMN, "maxProperties": 1000}
"""As ``columns.toml`` has them."""

RATIO: Shape = {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}
SETTINGS = record(
    {},
    {
        "columns": COLUMNS,
        "missing": array(_CODE, most=100),
        "anomaly_ratio": maybe(RATIO),
        "keep_days": maybe({"type": "number", "exclusiveMinimum": 0, "maximum": 36_500}),
        "keep_records": maybe({"type": "integer", "minimum": 1, "maximum": 10**12}),
        "personal": array(text(255), most=100),
        "learns": {"type": "boolean"},
        "retrain_days": maybe({"type": "number", "exclusiveMinimum": 0, "maximum": 3650}),
        "retrain_on_drift": FLAG,
        "promote": choice("person", "not worse"),
    },
)
_LISTS = ("missing", "personal")


@dataclass(frozen=True)
class StreamSettings:
    """What is said of a stream.

    Attributes
    ----------
    columns : mapping of str to mapping
        What is said of columns, as ``columns.toml`` has it; what is not said is found out. For the next training.
    missing : tuple of str
        Codes that stand for a missing value in every column. For the next training.
    anomaly_ratio : float or None
        The share of records that are to be alerts, above 0 and at most 0.5. At once; None leaves it to the model.
    keep_days : float or None
        Records that came longer ago go, see `retention`; None leaves it to what the service was started with.
    keep_records : int or None
        So many of the newest stay; None likewise.
    personal : tuple of str
        Columns of which only callers with the right see the values, besides those that the service was started with.
    learns : bool
        Whether verdicts teach the model. At once.
    retrain_days : float or None
        A challenger is trained where the newest model is so old; None for never.
    retrain_on_drift : bool
        Whether one is trained where a column has changed that had not when the newest model was made.
    promote : {"person", "not worse"}
        Who puts a challenger into effect: a person, or the service where the comparison finds it not worse.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    anomaly_ratio: float | None = None
    keep_days: float | None = None
    keep_records: int | None = None
    personal: tuple[str, ...] = ()
    learns: bool = True
    retrain_days: float | None = None
    retrain_on_drift: bool = False
    promote: str = "person"

    @classmethod
    def of(cls, written: str) -> StreamSettings:
        """Out of ``streams.settings``."""
        return cls(**_read(orjson.loads(written)))

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), **{name: list(getattr(self, name)) for name in _LISTS}}

    def with_changes(self, said: Mapping[str, Any]) -> StreamSettings:
        """The same with what fits `SETTINGS` put in its place; `Problem` (400) for what no column can be."""
        made = replace(self, **_read(said))
        try:
            made.declarations(made.columns)
        except DataError as error:
            raise Problem(400, error.args[0]) from error
        return made

    def declarations(self, names: Iterable[str]) -> dict[str, Declaration]:
        """What is said of the columns of these names."""
        said = {name: declaration_of(each, f"Column {name!r}") for name, each in self.columns.items()}
        if not self.missing:
            return said
        codes = tuple(code.strip() for code in self.missing)
        return {
            name: replace(said.get(name, Declaration()), more_codes=codes) for name in dict.fromkeys([*said, *names])
        }


def _read(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if name in _LISTS else value for name, value in said.items()}


def columns_of_toml(written: bytes) -> dict[str, Any]:
    """What ``columns.toml`` says, as `COLUMNS` has it; `Problem` (400) for what is no TOML."""
    try:
        tables = tomllib.loads(written.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"The body is no TOML file: {str(error).splitlines()[0]}.") from error
    # Of one code or form TOML need have no list, and codes may be numbers or dates.
    return {name: _listed(said) if isinstance(said, dict) else said for name, said in tables.items()}


def _listed(said: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: said[name] for name in ("missing", "dates") if name in said}
    made = {
        name: [str(each) for each in (value if isinstance(value, list) else [value])] for name, value in lists.items()
    }
    return {**said, **made}
