"""The cells of one column as numbers, dates or categories, by what is known of the column."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.cells import as_dates, as_numbers, as_texts, content
from anomaly_detection.data.cells.clocks import hour_of
from anomaly_detection.data.cells.column_texts import ColumnTexts
from anomaly_detection.data.cells.date_texts import parse_dates, read_distinct_dates
from anomaly_detection.data.cells.distinct_texts import DistinctTexts
from anomaly_detection.data.cells.epochs import parse_epochs
from anomaly_detection.data.cells.missing import missing_mask, number_code, text_pattern
from anomaly_detection.data.cells.number_texts import parse_distinct_numbers, parse_numbers
from anomaly_detection.data.cells.truth import is_true, truths
from anomaly_detection.data.columns.cleaning import ColumnCleaning
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.table import Coded
from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import N_, say

__all__ = ["category_name", "first_unreadable", "is_number_code", "read_categories", "read_values"]

_CODES_NAMED = 20

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]


def read_values(
    values: pd.Series[Any], column: Column, first: int, texts: ColumnTexts | None = None
) -> tuple[npt.NDArray[Any], Coded, ColumnCleaning]:
    """Read numbers or dates; give them, the words for what is missing, and what was done.

    `first` is the position of the first row in the whole table, from 0, by which errors name rows; `texts` are the
    column's, where others looked at them before.
    """
    done = ColumnCleaning(note=column.note)
    held = content(values)
    dates = column.role is Role.TIMESTAMP
    if held == "texts" or ((held == "dates") is not dates and not (dates and column.epoch and held == "numbers")):
        texts = ColumnTexts(values) if texts is None else texts
        at_once: npt.NDArray[Any] | None = None
        if dates and not column.epoch:
            at_once = texts.dates
        elif not dates and not column.decimal_comma:
            at_once = texts.numbers
        if at_once is not None:
            return _read_at_once(at_once, values, column, done)
        return _read_texts(texts.distinct, column, first, done)
    read: npt.NDArray[Any]
    if not dates:
        numbers = as_numbers(values)
        coded = is_number_code(numbers, column.codes)
        said = [number_code(number) for number in numbers[coded].tolist()]
        read = np.where(coded, np.nan, numbers) if said else numbers
        _refuse_infinite(read, column.name, first)
    elif held == "dates":
        read = as_dates(values)
        far = np.isnat(read) & values.notna().to_numpy(dtype=bool)
        coded = _without_codes(read, column.codes) | far
        said = [str(cell)[:10] for cell in values[coded]]
    else:
        numbers = as_numbers(values)
        read = parse_epochs(numbers, column.epoch or "s")
        far = np.isnat(read) & ~np.isnan(numbers)
        coded = _without_codes(read, column.codes) | far
        said = [number_code(number) for number in numbers[coded].tolist()]
    done.coded = _commonest(Counter(said))
    missing = np.isnat(read) if dates else np.isnan(read)
    done.blank = int(missing.sum()) - len(said)
    return read, Coded(np.full(len(read), -1), []), done


def _read_at_once(
    read: npt.NDArray[Any], values: pd.Series[Any], column: Column, done: ColumnCleaning
) -> tuple[npt.NDArray[Any], Coded, ColumnCleaning]:
    """`_read_texts` of a column in which nothing but numbers, or dates, and empty cells are."""
    read = read.copy()  # Arrow's cannot be written to
    if column.role is Role.TIMESTAMP:
        blank = np.isnat(read)
        coded = _without_codes(read, column.codes)
    else:
        blank, coded = np.isnan(read), is_number_code(read, column.codes)
        read[coded] = np.nan
    done.blank = int(blank.sum())
    done.coded = _commonest(Counter(str(text).strip() for text in values[coded]))
    done.from_text = len(read) - done.blank - int(coded.sum())
    return read, Coded(np.full(len(read), -1), []), done


def _read_texts(
    distinct: DistinctTexts, column: Column, first: int, done: ColumnCleaning
) -> tuple[npt.NDArray[Any], Coded, ColumnCleaning]:
    texts, rows = distinct.texts, distinct.codes
    far = open_ = np.zeros(len(texts), dtype=bool)
    read: Any
    dates = column.role is Role.TIMESTAMP
    if dates and column.epoch:
        numbers = parse_distinct_numbers(texts, False, None, distinct.numbers)
        read = parse_epochs(numbers, column.epoch)
        far = ~np.isnan(numbers) & np.isnat(read)
        open_ = np.zeros(len(texts), dtype=bool)
        left = np.flatnonzero(np.isnan(numbers))
        # Of dates in another form those alone that leave nothing open, such as 2024-01-31.
        read[left], far[left], open_[left] = read_distinct_dates(texts.to_numpy()[left], ())
    elif dates:
        read, far, open_ = read_distinct_dates(texts.to_numpy(), column.dates)
    else:
        read = parse_distinct_numbers(texts, column.decimal_comma, column.unit, distinct.numbers)
    # No word for "no value" is a number or a date.
    left = np.isnat(read) if dates else np.isnan(read)
    blank = np.zeros(len(texts), dtype=bool)
    blank[left] = missing_mask(texts[left])
    coded = (missing_mask(texts, codes=column.codes) if column.codes else blank) & ~blank | far
    if not dates:
        read[coded] = np.nan
        coded |= is_number_code(read, column.codes)
        if column.truth:
            left = np.isnan(read) & ~blank & ~coded
            read[left] = truths(texts[left])
        elif column.decimal_comma is None:
            # Only a comma leaves open what it means.
            left = np.flatnonzero(np.isnan(read) & ~blank)
            left = left[["," in str(text) for text in texts.iloc[left].tolist()]]
            open_ = np.zeros(len(texts), dtype=bool)
            open_[left] = ~np.isnan(parse_distinct_numbers(texts.iloc[left], False, column.unit))
        read[coded] = np.nan
        _refuse_infinite(read[rows], column.name, first)
    if dates:
        coded |= _without_codes(read, column.codes)
        read[coded] = np.array("NaT", dtype=read.dtype)
    missing = np.isnat(read) if dates else np.isnan(read)
    unread = missing & ~blank & ~coded & ~open_
    done.from_text, done.blank = distinct.rows(~missing), distinct.rows(blank)
    done.coded = _commonest(distinct.counted(coded))
    done.undecided = distinct.rows(missing & open_ & ~coded)
    if not unread.any():
        return read[rows], Coded(np.full(len(rows), -1), []), done
    at = np.flatnonzero(unread)
    patterns = np.array([text_pattern(text) for text in texts[at]], dtype=object)
    words = np.full(len(texts), -1)
    words[at], names = pd.factorize(patterns, sort=True)
    counts = pd.Series(distinct.times[at]).groupby(patterns).sum().sort_values(ascending=False)
    done.unread = {str(text): int(n) for text, n in counts.items()}
    return read[rows], Coded(words[rows], names.tolist()), done


def _commonest(counts: Counter[str]) -> dict[str, int]:
    """How often each code occurs, of many only the commonest by name."""
    ordered = counts.most_common()
    others = sum(count for _, count in ordered[_CODES_NAMED:])
    return dict(ordered[:_CODES_NAMED]) | ({"others": others} if others else {})


def is_number_code(numbers: Floats, codes: tuple[str, ...]) -> Bools:
    """Where numbers are one of the codes for missing; of a code in float32 too."""
    found = np.zeros(len(numbers), dtype=bool)
    for code in parse_numbers(pd.Series(list(codes), dtype=object)) if codes else ():
        found |= np.abs(numbers - code) <= 1e-6 * abs(code)
    return found


def _without_codes(dates: Dates, codes: tuple[str, ...]) -> Bools:
    """Put NaT in place of codes for missing; gives where they were."""
    if not codes:
        return np.zeros(len(dates), dtype=bool)
    found = np.isin(dates.astype("datetime64[D]"), parse_dates(pd.Series(list(codes))).astype("datetime64[D]"))
    found &= ~np.isnat(dates)
    dates[found] = np.array("NaT", dtype=dates.dtype)
    return found


def first_unreadable(values: pd.Series[Any], column: Column, first: int) -> str:
    """Say what stands in a column in which neither a number nor a date does."""
    texts = as_texts(values)
    at = int(np.flatnonzero(~missing_mask(texts, codes=column.codes))[0])
    if column.role is Role.TIMESTAMP:
        told = N_("Column %(name)s holds %(value)s in row %(row)s, which is no date; give dates or leave it blank.")
    else:
        told = N_("Column %(name)s holds %(value)s in row %(row)s, which is no number; give numbers or leave it blank.")
    return say(told, name=repr(column.name), value=repr(texts.iloc[at]), row=first + at + 1)


def _refuse_infinite(numbers: Floats, name: str, first: int) -> None:
    infinite = np.flatnonzero(np.isinf(numbers))
    if infinite.size:
        raise DataError(
            say(
                "Column %(name)s holds an infinite value in row %(row)s; expected finite numbers: correct it or"
                " leave it blank.",
                name=repr(name),
                row=first + infinite[0] + 1,
            )
        )


def read_categories(values: pd.Series[Any], column: Column) -> tuple[Coded, ColumnCleaning]:
    """Read categories, each in one spelling, and say what was done."""
    distinct = DistinctTexts.of(values)
    rows = distinct.codes
    names = pd.Series(
        [category_name(text, column.truth, column.unit) for text in distinct.texts[:-1]] + [None], dtype=object
    )
    blank = missing_mask(names, column.kept)
    coded = (missing_mask(names, column.kept, column.codes) if column.codes else blank) & ~blank
    skip = blank | coded
    categories = sorted(set(names[~skip]))
    place = {name: i for i, name in enumerate(categories)}
    lookup = np.full(len(names), -1)
    lookup[~skip] = [place[name] for name in names[~skip]]
    done = ColumnCleaning(blank=distinct.rows(blank))
    done.coded = _commonest(replace(distinct, texts=names).counted(coded))
    return Coded(lookup[rows], categories), done


def category_name(value: Any, truth: tuple[str, ...], clock: str | None = None) -> str:
    """One spelling for a category: ``3.0`` is ``3`` (missing values turn whole numbers into floats), 1745 its hour.

    `clock` is how times of a clock are written, as `CLOCKS` has it.
    """
    text = str(value).strip()
    true = is_true(text) if truth else None
    if true is not None:
        return truth[int(true)]
    name = text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text
    return name if clock is None else hour_of(name, clock)
