"""What each column of a table is, how its text is read, and the clean table that follows from it."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells import as_dates, as_numbers, as_texts, content, opaque_kinds
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.levels import from_codes
from anomaly_detection.data.parsing import (
    EpochUnit,
    epoch_unit,
    guess_day_first,
    guess_decimal_comma,
    is_far_date,
    missing_mask,
    name_tokens,
    parse_dates,
    parse_epochs,
    parse_numbers,
    text_pattern,
)
from anomaly_detection.errors import DataError
from anomaly_detection.progress import steps

__all__ = [
    "CleaningReport",
    "Column",
    "ColumnCleaning",
    "Role",
    "Schema",
    "infer_schema",
    "reason_column",
    "unused_name",
]

_INFERENCE_ROWS = 50_000
_TEXTS_KEPT = 20


class Role(str, enum.Enum):
    """What a column is to the detector."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TIMESTAMP = "timestamp"
    IDENTIFIER = "identifier"
    TEXT = "text"
    CONSTANT = "constant"


_NEEDED = (Role.NUMERIC, Role.CATEGORICAL, Role.TIMESTAMP)


@dataclass(frozen=True)
class Column:
    """One column: its role, why it has it, and how its text is read.

    Attributes
    ----------
    name : str
    role : Role
    reason : str
        One phrase for the report.
    decimal_comma : bool
        Numbers are written ``1.234,5``.
    day_first : bool
        Dates are written ``31/12/2024``.
    epoch : str or None
        Dates are numbers counting this unit.
    texts : tuple of str
        Why values were missing, as the table said in words where a number or date was expected (digits as ``#``).
    distinct : int
        Distinct values among the rows inspected.
    missing : float
        Share of rows, 0 to 1, without a usable value.
    """

    name: str
    role: Role
    reason: str
    decimal_comma: bool = False
    day_first: bool = False
    epoch: EpochUnit | None = None
    texts: tuple[str, ...] = ()
    distinct: int = 0
    missing: float = 0.0

    @property
    def is_opaque(self) -> bool:
        """Whether it holds values, but none that can be judged: lists, dicts and the like."""
        return self.role is Role.CONSTANT and self.distinct == 0 and self.missing < 1.0


@dataclass
class ColumnCleaning:
    """What cleaning one column did, in rows.

    ``from_text`` numbers or dates were read out of text, ``blank`` cells were empty or said so, and ``unread`` counts,
    by their text, the values that are no number or date and became missing.
    """

    from_text: int = 0
    blank: int = 0
    unread: dict[str, int] = field(default_factory=dict)


@dataclass
class CleaningReport:
    """What `Schema.clean` did to a table: the number of rows and a `ColumnCleaning` for each column it changed.

    Of a part of a table, ``unreadable`` says of columns without any number or date in it what stands there instead: an
    error, if no other part has one either.
    """

    rows: int
    columns: dict[str, ColumnCleaning] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def has_values(self, name: str) -> bool:
        """Whether any number or date was read in column `name`."""
        done = self.columns.get(name)
        return done is None or done.blank + sum(done.unread.values()) < self.rows

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON-able values."""
        return {"rows": self.rows, "columns": {name: asdict(done) for name, done in self.columns.items()}}


def reason_column(name: str) -> str:
    """Name of the categorical column that says in which words a value of column `name` was missing."""
    return f"{name} (how missing)"


def unused_name(name: str, taken: Container[str]) -> str:
    """Give `name`, with as many primes behind it as make it another one than those `taken`."""
    while name in taken:
        name += "'"
    return name


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in the order in which they were first seen."""

    columns: tuple[Column, ...]

    def names(self, *roles: Role) -> list[str]:
        """Return the names of the columns that have one of `roles`; of all columns if none is given."""
        return [column.name for column in self.columns if not roles or column.role in roles]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(f"Unknown column {name!r}{_did_you_mean(name, self.names())}.")

    def word_columns(self) -> dict[str, str]:
        """Name the columns that `clean` adds, each by the one whose missing values came in its words."""
        taken = set(self.names())
        return {
            column.name: unused_name(reason_column(column.name), taken)
            for column in self.columns
            if column.texts and column.role in (Role.NUMERIC, Role.TIMESTAMP)
        }

    def clean(self, data: Any, first: int | None = None) -> tuple[pd.DataFrame, CleaningReport]:
        """Read every column by its role.

        Parameters
        ----------
        data : table
            Anything `to_frame` takes. Columns the schema does not know are left out; order does not matter.
        first : int, optional
            For a part of a larger table, the position of its first row there, from 0: errors name rows by it, and what
            takes all rows to say is left to the caller, see `CleaningReport.unreadable`. No value depends on it.

        Returns
        -------
        frame : pandas.DataFrame
            Fresh index, the schema's order. Numbers are float64, dates datetime64[ns], categories ``category`` of str,
            identifiers and text as they came; missing is NaN or NaT. A numeric or date column whose missing values
            came in words is followed by a categorical column of those words, as `word_columns` names it.
        report : CleaningReport

        Raises
        ------
        DataError
            If a numeric, categorical or timestamp column is missing, a number is infinite, or a column that always
            held numbers or dates holds none but something else (in no row of the whole table).
        """
        frame = to_frame(data)
        absent = [name for name in self.names(*_NEEDED) if name not in frame.columns]
        if absent:
            hint = _did_you_mean(absent[0], [name for name in frame.columns if name not in set(self.names())])
            listed = ", ".join(repr(name) for name in absent[:5]) + (" ..." if len(absent) > 5 else "")
            raise DataError(f"Missing column(s) {listed}{hint}; give every column the model was trained on.")
        report = CleaningReport(rows=len(frame))
        word_columns = self.word_columns()
        cleaned: dict[str, Any] = {}
        for column in steps(self.columns, "cleaning columns"):
            if column.name not in frame.columns:
                continue
            values = frame[column.name]
            if column.role is Role.NUMERIC or column.role is Role.TIMESTAMP:
                read, words, done = _read(values, column, first or 0)
                cleaned[column.name] = read
                if column.texts:
                    cleaned[word_columns[column.name]] = words
            elif column.role is Role.CATEGORICAL:
                cleaned[column.name], done = _read_categories(values)
            else:
                cleaned[column.name] = values.to_numpy()
                continue
            if done.from_text or done.blank or done.unread:
                report.columns[column.name] = done
            if done.unread and not column.texts and not report.has_values(column.name):
                message = _unreadable(values, column, first or 0)
                if message and first is None:
                    raise DataError(message)
                if message:
                    report.unreadable[column.name] = message
        return pd.DataFrame(cleaned), report

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain JSON-able values."""
        return {"columns": [{**asdict(column), "role": column.role.value} for column in self.columns]}


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    folded = {other.casefold().replace("_", " "): other for other in known}
    near = difflib.get_close_matches(name.casefold().replace("_", " "), folded, n=1, cutoff=0.7)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""


def _read(values: pd.Series[Any], column: Column, first: int) -> tuple[npt.NDArray[Any], Any, ColumnCleaning]:
    """Read numbers or dates; give them, the words for what is missing, and what was done."""
    done = ColumnCleaning()
    dates = column.role is Role.TIMESTAMP
    read: npt.NDArray[Any]
    held = content(values)
    if dates and held == "dates":
        read = as_dates(values)
    elif dates and column.epoch and held == "numbers":
        read = parse_epochs(as_numbers(values), column.epoch)
    elif not dates and held in ("numbers", "spans"):
        read = as_numbers(values)
    else:
        return _read_texts(values, column, first)
    missing = np.isnat(read) if dates else np.isnan(read)
    done.blank = int(missing.sum())
    if not dates:
        _refuse_infinite(np.asarray(read, dtype=np.float64), column.name, first)
    return read, from_codes(np.full(len(read), -1), []), done


def _read_texts(values: pd.Series[Any], column: Column, first: int) -> tuple[npt.NDArray[Any], Any, ColumnCleaning]:
    texts = as_texts(values)
    dates = column.role is Role.TIMESTAMP
    blank = missing_mask(texts)
    read: npt.NDArray[Any]
    if dates and column.epoch:
        read = parse_epochs(parse_numbers(texts), column.epoch)
    elif dates:
        read = parse_dates(texts, column.day_first)
    else:
        read = parse_numbers(texts, column.decimal_comma)
        read[blank] = np.nan
        _refuse_infinite(read, column.name, first)
    missing = np.isnat(read) if dates else np.isnan(read)
    unread = missing & ~blank
    done = ColumnCleaning(from_text=int((~missing).sum()), blank=int(blank.sum()))
    if not unread.any():
        return read, from_codes(np.full(len(read), -1), []), done
    at = np.flatnonzero(unread)
    counts = texts.iloc[at].value_counts()
    patterns = pd.Series(counts.index.map(text_pattern), index=counts.index)
    done.unread = {
        str(text): int(n) for text, n in counts.groupby(patterns.to_numpy()).sum().sort_values(ascending=False).items()
    }
    words = np.full(len(read), None, dtype=object)
    words[at] = texts.iloc[at].map(patterns).to_numpy(dtype=object)
    return read, pd.Categorical(words), done


def _unreadable(values: pd.Series[Any], column: Column, first: int) -> str:
    """Say what stands in a column in which neither a number nor a date does; nothing if it is a date out of range."""
    texts = as_texts(values)
    given = np.flatnonzero(~missing_mask(texts))
    if column.role is Role.TIMESTAMP and any(is_far_date(str(text)) for text in texts.iloc[given]):
        return ""
    at = int(given[0])
    kind = "date" if column.role is Role.TIMESTAMP else "number"
    return (
        f"Column {column.name!r} holds {texts.iloc[at]!r} in row {first + at + 1}, which is no {kind}; "
        f"give {kind}s or leave it blank."
    )


def _refuse_infinite(numbers: npt.NDArray[np.float64], name: str, first: int) -> None:
    infinite = np.flatnonzero(np.isinf(numbers))
    if infinite.size:
        raise DataError(
            f"Column {name!r} holds an infinite value in row {first + infinite[0] + 1}; "
            "expected finite numbers: correct it or leave it blank."
        )


def _read_categories(values: pd.Series[Any]) -> tuple[pd.Categorical, ColumnCleaning]:
    texts = as_texts(values)
    codes, uniques = pd.factorize(texts)
    names = [_category_name(value) for value in uniques]
    blank = np.append(missing_mask(pd.Series(names, dtype=object)), True)
    categories = sorted({name for name, skip in zip(names, blank, strict=False) if not skip})
    place = {name: i for i, name in enumerate(categories)}
    lookup = np.array([place.get(name, -1) for name in names] + [-1])
    return from_codes(lookup[codes], categories), ColumnCleaning(blank=int(blank[codes].sum()))


def _category_name(value: Any) -> str:
    """One spelling for a category: ``3.0`` is ``3`` (missing values turn whole numbers into floats)."""
    text = str(value).strip()
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text


def infer_schema(data: Any, roles: Mapping[str, str | Role] | None = None) -> Schema:
    """Find out what each column is.

    Parameters
    ----------
    data : table
        Anything `to_frame` takes, at least two rows.
    roles : mapping of column name to role, optional
        Roles that are known; the rest is inferred.

    Returns
    -------
    Schema

    Raises
    ------
    DataError
        If a given column or role is unknown, there are fewer than two rows, every column is constant, or none is
        numeric.
    """
    frame = to_frame(data)
    given = _given_roles(roles or {}, frame)
    if len(frame) < 2:
        raise DataError("The table has one row; expected at least two to learn what is normal.")
    step = -(-len(frame) // _INFERENCE_ROWS)
    columns = []
    for name in steps(list(frame.columns), "reading columns"):
        column = _infer(frame[name].iloc[::step], given.get(name))
        if column.role is Role.CONSTANT and step > 1 and name not in given:
            column = _infer(frame[name], None)
        columns.append(column)
    schema = Schema(tuple(columns))
    if not given and all(column.role is Role.CONSTANT for column in columns):
        raise DataError("Every column is constant; expected at least one whose values differ.")
    if not schema.names(Role.NUMERIC):
        raise DataError(
            "No numeric column was found; expected at least one column of numbers that differ "
            "(name one with the role 'numeric' if its numbers were not recognised)."
        )
    return schema


def _given_roles(roles: Mapping[str, str | Role], frame: pd.DataFrame) -> dict[str, Role]:
    given = {}
    for name, role in roles.items():
        if name not in frame.columns:
            raise DataError(f"Unknown column {name!r}{_did_you_mean(name, frame.columns)} in roles.")
        try:
            given[name] = Role(role)
        except ValueError as error:
            known = ", ".join(r.value for r in Role)
            hint = _did_you_mean(str(role), [r.value for r in Role])
            raise DataError(f"Unknown role {role!r} for column {name!r}{hint}; expected one of {known}.") from error
    return given


def _infer(values: pd.Series[Any], role: Role | None) -> Column:
    name = str(values.name)
    held = content(values)
    if held == "dates":
        dates = as_dates(values)
        missing = float(np.isnat(dates).mean())
        distinct = len(np.unique(dates[~np.isnat(dates)]))
        found = (Role.TIMESTAMP, "dates") if distinct > 1 else (Role.CONSTANT, _constant_reason(distinct))
        return _column(name, role, found, distinct=distinct, missing=missing)
    if held == "spans" or (held == "numbers" and role not in (Role.CATEGORICAL, Role.IDENTIFIER, Role.TEXT)):
        return _infer_numbers(name, as_numbers(values), len(values), role)
    kinds = opaque_kinds(values) if role is None else []
    if kinds:
        missing = float(values.isna().mean())
        return Column(name, Role.CONSTANT, f"values that cannot be judged ({', '.join(kinds)})", missing=missing)
    return _infer_texts(name, as_texts(values), role)


def _column(name: str, role: Role | None, found: tuple[Role, str], **details: Any) -> Column:
    reason = "given" if role is not None else found[1]
    return Column(name=name, role=role or found[0], reason=reason, **details)


def _constant_reason(distinct: int) -> str:
    return "every value is missing" if distinct == 0 else "one value only"


def _infer_numbers(name: str, numbers: npt.NDArray[np.float64], rows: int, role: Role | None, **details: Any) -> Column:
    tokens = name_tokens(name)
    present = numbers[~np.isnan(numbers)]
    distinct = len(np.unique(present))
    details = {"distinct": distinct, "missing": 1.0 - present.size / rows, **details}
    if role is Role.TIMESTAMP:
        return _column(name, role, (Role.TIMESTAMP, ""), epoch=epoch_unit(numbers, tokens | {"date"}), **details)
    if distinct <= 1:
        return _column(name, role, (Role.CONSTANT, _constant_reason(distinct)), **details)
    unit = epoch_unit(numbers, tokens)
    if role is None and unit is not None:
        return Column(name, Role.TIMESTAMP, f"numbers that count time ({unit})", epoch=unit, **details)
    whole = bool(np.all(present == np.round(present)))
    if role is None and whole and distinct == present.size > 2 and _count_up(present):
        return Column(name, Role.IDENTIFIER, "counts the rows", **details)
    if role is None and whole and tokens & _ID_TOKENS:
        if distinct > 0.5 * present.size:
            return Column(name, Role.IDENTIFIER, "named as an identifier, hardly ever repeated", **details)
        return Column(name, Role.CATEGORICAL, "named as an identifier, repeated", **details)
    return _column(name, role, (Role.NUMERIC, "numbers"), **details)


def _count_up(numbers: npt.NDArray[np.float64]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.all(np.diff(np.sort(numbers)) == 1))


_ID_TOKENS = frozenset({"id", "ids", "uuid", "guid", "sku", "ean", "gtin", "#", "zip", "postcode", "identifier"})
_DOCUMENT_TOKENS = frozenset({"#", "uuid", "guid", "reference", "ref", "invoice", "identifier"})


def _infer_texts(name: str, texts: pd.Series[Any], role: Role | None) -> Column:
    blank = missing_mask(texts)
    present = texts[~blank]
    rows = len(texts)
    distinct = int(present.nunique())
    details: dict[str, Any] = {"distinct": distinct, "missing": 1.0 - len(present) / rows}
    if distinct <= 1 and role is None:
        return Column(name, Role.CONSTANT, _constant_reason(distinct), **details)
    if role is None or role in (Role.NUMERIC, Role.TIMESTAMP):
        comma = guess_decimal_comma(present)
        numbers = parse_numbers(present, comma)
        numeric = ~np.isnan(numbers)
        if role is Role.NUMERIC or (role is None and _mostly(numeric, present) and not _are_codes(present[numeric])):
            words = _patterns(present[~numeric])
            padded = np.concatenate([numbers[numeric], np.full(rows - int(numeric.sum()), np.nan)])
            return _infer_numbers(name, padded, rows, role, decimal_comma=comma, texts=words)
        if role is Role.TIMESTAMP and numeric.all():
            return _infer_numbers(name, numbers, rows, role)
        day_first = guess_day_first(present)
        dates = ~np.isnat(parse_dates(present, day_first))
        if role is Role.TIMESTAMP or _mostly(dates, present):
            details["missing"] = 1.0 - float(dates.sum()) / rows
            found = (
                Role.TIMESTAMP,
                f"dates, {'day' if day_first else 'month'} before {'month' if day_first else 'day'} where ambiguous",
            )
            return _column(name, role, found, day_first=day_first, texts=_patterns(present[~dates]), **details)
    return _column(name, role, _text_role(name, present, distinct), **details)


def _text_role(name: str, present: pd.Series[Any], distinct: int) -> tuple[Role, str]:
    tokens = name_tokens(name)
    rows = len(present)
    if tokens & _DOCUMENT_TOKENS and distinct > max(20, 0.02 * rows):
        return Role.IDENTIFIER, "named as a document number"
    if distinct <= max(2, 0.2 * rows) or (distinct <= 20 and distinct <= 0.5 * rows):
        return Role.CATEGORICAL, f"{distinct} values that repeat"
    words = present.str.count(r"\s+").mean() + 1.0
    if words >= 3.0:
        return Role.TEXT, "several words, hardly ever repeated"
    return Role.IDENTIFIER, "hardly ever repeated"


def _mostly(read: npt.NDArray[np.bool_], present: pd.Series[Any]) -> bool:
    """Most values, or nearly all distinct ones: a few phrases may fill half the rows of a column of dates."""
    if not read.any():
        return False
    distinct_share = pd.Series(read).groupby(pd.factorize(present)[0]).first().mean()
    share = read.mean()
    return bool(share > 0.5 or (distinct_share > 0.9 and share > 0.05))


def _are_codes(present: pd.Series[Any]) -> bool:
    """True for digits with leading zeros (``00412``), which number nothing."""
    return bool((present.str.match(r"0\d") & present.str.match(r"\d+$")).any())


def _patterns(texts: pd.Series[Any]) -> tuple[str, ...]:
    counts = texts.map(text_pattern).value_counts()
    return tuple(str(text) for text in counts.index[:_TEXTS_KEPT])
