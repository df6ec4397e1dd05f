"""What people say of columns, in a program, on the command line or in a file ``columns.toml``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anomaly_detection.data.cells.date_forms import is_date_form
from anomaly_detection.data.cells.units import UNITS
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.names import did_you_mean
from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import say

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["KINDS", "Declaration", "declaration_of", "declared", "described", "read_declarations", "toml_of"]

KINDS = {
    "number": Role.NUMERIC,
    "category": Role.CATEGORICAL,
    "date": Role.TIMESTAMP,
    "id": Role.IDENTIFIER,
    "text": Role.TEXT,
    "constant": Role.CONSTANT,
    "ignore": Role.IGNORED,
}
"""The kinds of columns, as people name them."""

_KIND_OF = {role: kind for kind, role in KINDS.items()}
_HEAD = """\
# How train reads each column. Change a line and give this file back: train --data ... --columns columns.toml
# kind:    {kinds}
# missing: codes that stand for "no value", such as ["-999", "1900-01-01"]
# dates:   how dates of three numbers are written, such as ["d/m/y"], ["m/d/y"] or ["y-w"] for weeks
# decimal: "," or "." in numbers;  unit: what numbers are turned into, such as "kg"
# A column that is left out is found out again.
"""

# Times of a clock are categories.
_MEASURED = (Role.NUMERIC, Role.CATEGORICAL)


@dataclass(frozen=True)
class Declaration:
    """What is said of one column; None leaves it to be found out.

    Attributes
    ----------
    role : Role, optional
    codes : tuple of str, optional
        All codes for missing; others are not looked for.
    more_codes : tuple of str
        Codes besides those that are found.
    dates : tuple of str, optional
        As `Column.dates`.
    decimal_comma : bool, optional
    unit : str, optional
    reason : str
        Who says so.
    """

    role: Role | None = None
    codes: tuple[str, ...] | None = None
    more_codes: tuple[str, ...] = ()
    dates: tuple[str, ...] | None = None
    decimal_comma: bool | None = None
    unit: str | None = None
    reason: str = say("given")

    def over(self, other: Declaration | None) -> Declaration:
        """What is said here, and what `other` says where this says nothing."""
        if other is None:
            return self
        said = {name: value for name, value in vars(self).items() if value is not None and name != "reason"}
        codes = self.more_codes + other.more_codes
        reason = other.reason if self.role is None else self.reason
        return replace(other, **{**said, "more_codes": codes, "reason": reason})

    @classmethod
    def of(cls, column: Column) -> Declaration:
        """What makes another table's column of the same kind be read as this one."""
        values = column.role in (Role.NUMERIC, Role.TIMESTAMP)
        return cls(
            column.role,
            column.codes if values or column.codes else None,
            (),
            column.dates or None,
            column.decimal_comma,
            column.unit,
            column.reason,
        )


def declared(
    roles: Mapping[str, str | Role | Declaration], names: Iterable[str], what: str = "roles"
) -> dict[str, Declaration]:
    """Check what is said of columns, which may be a role alone.

    Raises
    ------
    DataError
        For a column that is not among `names`, or an unknown role.
    """
    known = list(names)
    found = {}
    for name, said in roles.items():
        if name not in known:
            raise DataError(f"Unknown column {name!r}{did_you_mean(name, known)} in {what}.")
        if isinstance(said, Declaration):
            found[name] = said
            continue
        try:
            found[name] = Declaration(Role(said))
        except ValueError as error:
            listed = ", ".join(role.value for role in Role)
            hint = did_you_mean(str(said), [role.value for role in Role])
            raise DataError(f"Unknown role {said!r} for column {name!r}{hint}; expected one of {listed}.") from error
    return found


def read_declarations(path: Path, names: Sequence[str]) -> dict[str, Declaration]:
    """Read a file such as `toml_of` writes, of a table with columns of these `names`.

    Raises
    ------
    DataError
        If there is no such file, it is no TOML, or names a column or says a thing that is unknown.
    """
    try:
        # Editors put a byte-order mark before what they save.
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; give a file that train wrote.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML file ({str(error).splitlines()[0]}); mend the line.") from error
    unknown = next((name for name in tables if name not in names), None)
    if unknown is not None:
        raise DataError(f"{path} names an unknown column {unknown!r}{did_you_mean(unknown, names)}.")
    return {name: declaration_of(said, f"{path}, column {name!r}") for name, said in tables.items()}


def declaration_of(said: Any, at: str) -> Declaration:
    """What a table of TOML, or an object of JSON, says of one column; `at` is how errors (`DataError`) call it."""
    if not isinstance(said, dict):
        raise DataError(f'{at}: expected a table of settings, found {said!r}; write kind = "..." below its name.')
    made = Declaration()
    for key, value in said.items():
        if key not in _READERS:
            raise DataError(f"{at}: unknown setting {key!r}{did_you_mean(key, _READERS)}; expected {_or(_READERS)}.")
        made = replace(made, **_READERS[key](value, f"{at}, {key}"))
    return made


def _kind(value: Any, at: str) -> dict[str, Any]:
    if value not in list(KINDS):
        raise DataError(f"{at}: unknown kind {value!r}{did_you_mean(str(value), KINDS)}; expected {_or(KINDS)}.")
    return {"role": KINDS[value]}


def _missing(value: Any, at: str) -> dict[str, Any]:
    codes = value if isinstance(value, list) else [value]
    odd = [code for code in codes if isinstance(code, (list, dict, bool)) or not str(code).strip()]
    if odd:
        raise DataError(f'{at}: {odd[0]!r} is no code; expected numbers, dates or texts, such as ["-999"].')
    return {"codes": tuple(str(code).strip() for code in codes)}


def _dates(value: Any, at: str) -> dict[str, Any]:
    forms = value if isinstance(value, list) else [value]
    odd = [form for form in forms if not isinstance(form, str) or not is_date_form(form)]
    if odd:
        raise DataError(f"{at}: unknown form {odd[0]!r}; expected forms such as d/m/y, m-d-y, d.m.y, y/m/d or y-w.")
    return {"dates": tuple(forms)}


def _decimal(value: Any, at: str) -> dict[str, Any]:
    if value not in (",", "."):
        raise DataError(f'{at}: {value!r} is no decimal mark; expected "," or ".".')
    return {"decimal_comma": value == ","}


def _unit(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, str) or value.lower() not in UNITS:
        raise DataError(f"{at}: unknown unit {value!r}{did_you_mean(str(value), UNITS)}; expected one such as kg or h.")
    return {"unit": UNITS[value.lower()].name}


_READERS = {"kind": _kind, "missing": _missing, "dates": _dates, "decimal": _decimal, "unit": _unit}


def _or(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"


def described(column: Column) -> dict[str, Any]:
    """A column's settings as `declaration_of` reads them, and why it has this kind."""
    made: dict[str, Any] = {"kind": _KIND_OF[column.role], "reason": column.reason, "missing": list(column.codes)}
    if column.dates:
        made["dates"] = list(column.dates)
    if column.role is Role.NUMERIC and column.decimal_comma is not None:
        made["decimal"] = "," if column.decimal_comma else "."
    if column.role in _MEASURED and column.unit:
        made["unit"] = column.unit
    return made


def toml_of(columns: Iterable[Column]) -> str:
    """Write columns as TOML, which `read_declarations` reads."""
    return "\n".join([_HEAD.format(kinds=_or(KINDS)), *(_table(column) for column in columns)])


def _table(column: Column) -> str:
    lines = [f"[{_text(column.name)}]", f"kind = {_text(_KIND_OF[column.role])}  # {_comment(column.reason)}"]
    if column.role in (Role.NUMERIC, Role.TIMESTAMP) or column.codes:
        lines.append(f"missing = {_list(column.codes)}")
    if column.dates:
        lines.append(f"dates = {_list(column.dates)}")
    if column.role is Role.NUMERIC and column.decimal_comma is not None:
        lines.append(f"decimal = {_text(',' if column.decimal_comma else '.')}")
    if column.role in _MEASURED and column.unit:
        lines.append(f"unit = {_text(column.unit)}")
    return "\n".join(lines) + "\n"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if letter.isprintable() else f"\\U{ord(letter):08X}" for letter in escaped) + '"'


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
