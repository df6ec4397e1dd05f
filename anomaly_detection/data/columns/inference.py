"""What a column is, found out from its name and its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from anomaly_detection.data.cells.cells import as_dates, as_numbers, content, opaque_kinds
from anomaly_detection.data.cells.clocks import CLOCKS, clock_of
from anomaly_detection.data.cells.date_forms import in_words
from anomaly_detection.data.cells.date_orders import Orders
from anomaly_detection.data.cells.date_texts import may_be_date, parse_dates, read_distinct_dates
from anomaly_detection.data.cells.distinct_texts import DistinctTexts
from anomaly_detection.data.cells.epochs import epoch_unit
from anomaly_detection.data.cells.missing import (
    date_codes,
    missing_mask,
    number_codes,
    text_pattern,
    words_that_are_values,
)
from anomaly_detection.data.cells.number_texts import (
    Commas,
    Measures,
    are_codes_in_thousands,
    are_thousands,
    currencies,
    is_clock,
    is_long,
    odd_texts,
    parse_distinct_numbers,
    suffixes,
)
from anomaly_detection.data.cells.text_patterns import arrow_texts, fits
from anomaly_detection.data.cells.truth import truth_pair
from anomaly_detection.data.cells.units import FRACTIONS, PERCENT, factor
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.declarations import Declaration
from anomaly_detection.data.columns.names import names_code, names_document, unit_in_name
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.data.columns.reading import is_number_code
from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import N_, say

__all__ = ["infer_column"]


_TEXTS_KEPT = 20
_MARKS = frozenset({"x", "\u2713", "\u2714", "\u2611"})
_SEVERAL = 3  # rows of one level
_SCREENED = 200
_VALUES = (Role.NUMERIC, Role.TIMESTAMP)
_NOTHING = Declaration()
_NUMBERS, _DATES = say("numbers"), say("dates")

Dates = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]


def infer_column(values: pd.Series[Any], said: Declaration = _NOTHING, elsewhere: Collection[str] = ()) -> Column:
    """Find out what a column is.

    Parameters
    ----------
    values : Series
        Some or all of its cells, in their order.
    said : Declaration, optional
        What is known of it.
    elsewhere : collection of str
        Codes for missing in other columns of the table.

    Returns
    -------
    Column
    """
    name, role = str(values.name), said.role
    held = content(values)
    if held == "dates" and role in (None, Role.TIMESTAMP, Role.NUMERIC, Role.CONSTANT):
        dates = as_dates(values)
        far = values[np.isnat(dates) & values.notna().to_numpy(dtype=bool)]
        return _infer_dates(name, dates, len(values), said, _with_codes(_DATES, [str(day)[:10] for day in far[:1]]))
    if held == "spans" or (held == "numbers" and role not in (Role.CATEGORICAL, Role.IDENTIFIER, Role.TEXT)):
        unit = None if held == "spans" else said.unit or unit_in_name(name)
        return _infer_numbers(name, as_numbers(values), len(values), said, elsewhere, unit=unit)
    kinds = opaque_kinds(values) if role is None else []
    if kinds:
        missing = float(values.isna().mean())
        return Column(
            name,
            Role.CONSTANT,
            say("values that cannot be judged (%(kinds)s)", kinds=", ".join(kinds)),
            missing=missing,
        )
    return _infer_texts(name, DistinctTexts.of(values), said, elsewhere)


def _column(name: str, said: Declaration, found: tuple[Role, str], **details: Any) -> Column:
    role, why = found
    if said.role is not None:
        told = said.role is role and said.reason == "given" and role in _VALUES and why not in ("", "numbers", "dates")
        why = say("given; %(why)s", why=why) if told else said.reason
    return Column(name=name, role=said.role or role, reason=why, **details)


def _constant_reason(distinct: int) -> str:
    return say("every value is missing") if distinct == 0 else say("one value only")


def _with_codes(reason: str, codes: Collection[str]) -> str:
    return say("%(reason)s; %(codes)s for missing", reason=reason, codes=", ".join(codes)) if codes else reason


def _all_codes(codes: tuple[str, ...], said: Declaration) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*codes, *said.more_codes]))


def _infer_dates(name: str, read: Dates, rows: int, said: Declaration, why: str = _DATES, **details: Any) -> Column:
    codes = _all_codes(date_codes(read) if said.codes is None else said.codes, said)
    coded = np.isin(read.astype("datetime64[D]"), _days(codes)) & ~np.isnat(read)
    present = read[~np.isnat(read) & ~coded]
    distinct = len(np.unique(present))
    details = {"distinct": distinct, "missing": 1.0 - len(present) / rows, **details}
    if distinct <= 1 and said.role is None and not details.get("texts"):
        return Column(name, Role.CONSTANT, _constant_reason(distinct), **details)
    told = [code for code, day in zip(codes, _days(codes), strict=True) if not np.isnat(day)]
    return _column(name, said, (Role.TIMESTAMP, _with_codes(why, told)), codes=codes, **details)


def _days(codes: Collection[str]) -> Dates:
    return np.array(parse_dates(pd.Series(list(codes), dtype="str")), dtype="datetime64[D]")


def _infer_numbers(
    name: str,
    numbers: Floats,
    rows: int,
    said: Declaration,
    elsewhere: Collection[str],
    why: str = _NUMBERS,
    **details: Any,
) -> Column:
    """What a column of numbers is; of texts, `numbers` are those that were read, in their order, then NaN."""
    role, tokens = said.role, name_tokens(name)
    if role is Role.TIMESTAMP:
        kept = {"missing": float(np.isnan(numbers).mean()), "distinct": len(np.unique(numbers[~np.isnan(numbers)]))}
        epoch = epoch_unit(numbers, tokens | {"date"})
        if epoch is None and kept["distinct"]:
            first = numbers[~np.isnan(numbers)][0]
            raise DataError(
                f"Column {name!r} is said to hold dates, but its numbers, such as {first:.12g},"
                " count no time that is known; say that it holds something else."
            )
        return _column(name, said, (role, ""), epoch=epoch, codes=_all_codes(said.codes or (), said), **kept)
    unit = epoch_unit(numbers, tokens) if role is None else None
    found = () if unit is not None or said.codes is not None else number_codes(numbers, elsewhere)
    codes = _all_codes(found if said.codes is None else said.codes, said)
    present = numbers[~np.isnan(numbers) & ~is_number_code(numbers, codes)]
    distinct = len(np.unique(present))
    details = {"distinct": distinct, "missing": 1.0 - present.size / rows, "codes": codes, **details}
    if unit is not None and distinct > 1:
        return Column(name, Role.TIMESTAMP, say("numbers that count time (%(unit)s)", unit=unit), epoch=unit, **details)
    if distinct <= 1:
        return _column(name, said, (Role.CONSTANT, _constant_reason(distinct)), **details)
    clock = clock_of(present, tokens) if role is None else None
    if clock is not None:
        return Column(name, Role.CATEGORICAL, say("times of a clock, by the hour"), **{**details, "unit": clock})
    whole = bool(np.all(present == np.round(present)))
    if role is None and whole and distinct == present.size > 2 and _count_up(present):
        return Column(name, Role.IDENTIFIER, say("counts the rows"), **details)
    if role is None and whole and names_code(name):
        if distinct > 0.5 * present.size:
            return Column(name, Role.IDENTIFIER, say("named as a code, hardly ever repeated"), **details)
        return Column(name, Role.CATEGORICAL, _with_codes(say("named as a code, repeated"), codes), **details)
    if role is None and whole and _shaped_as_codes(present, distinct):
        return Column(
            name, Role.CATEGORICAL, _with_codes(say("whole numbers of one length, repeated"), codes), **details
        )
    truth = ("0", "1") if np.isin(present, (0.0, 1.0)).all() else ()
    return _column(name, said, (Role.NUMERIC, _with_codes(why, codes)), truth=truth, **details)


def _count_up(numbers: Floats) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.all(np.diff(np.sort(numbers)) == 1))


def _shaped_as_codes(numbers: Floats, distinct: int) -> bool:
    """True for whole numbers that only name things: five digits or more, one length, repeated, and hardly ever round.

    They lie all over their length, as what measures something does not.
    """
    low, high = float(numbers.min()), float(numbers.max())
    if low < 10_000 or high >= 1e15 or len(f"{low:.0f}") != len(f"{high:.0f}") or distinct < 3:
        return False
    values = np.unique(numbers)
    round_ones = float((values % 10 == 0).mean())
    return distinct * 20 <= numbers.size and high >= 2 * low and round_ones <= 0.2


def _infer_texts(name: str, cells: DistinctTexts, said: Declaration, elsewhere: Collection[str]) -> Column:
    role, rows = said.role, len(cells)
    kept = words_that_are_values(cells.levels.tolist())
    codes = _all_codes(said.codes or (), said)
    present = cells.only(~missing_mask(cells.texts, kept, codes))
    distinct = len(present.levels)
    details: dict[str, Any] = {"distinct": distinct, "missing": 1.0 - len(present) / rows}
    if distinct <= 1 and role is None:
        mark = str(present.levels[0]).strip() if distinct else ""
        if mark.casefold() in _MARKS and details["missing"] > 0:
            return Column(name, Role.CATEGORICAL, say("%(mark)s or blank", mark=mark), codes=codes, **details)
        return Column(name, Role.CONSTANT, _constant_reason(distinct), codes=codes, **details)
    if role is None and (clock := _clock_with_noughts(name, present)) is not None:
        return Column(name, Role.CATEGORICAL, say("times of a clock, by the hour"), unit=clock, **details)
    if role is None or role in (Role.NUMERIC, Role.TIMESTAMP):
        said_or_clock = _with_clock(name, present, said)
        found = _numbers_in_texts(name, rows, present, said_or_clock, elsewhere) or _dates_in_texts(
            name, rows, present, said
        )
        if found is not None:
            return found
    truth = None
    if distinct <= 20 and role in (None, Role.CATEGORICAL):
        truth = truth_pair(text for text, _ in present.commonest(np.ones(distinct, dtype=bool)))
    if truth is not None:
        why = (Role.CATEGORICAL, say("yes and no, as %(yes)s and %(no)s", yes=truth[1], no=truth[0]))
        return _column(name, said, why, truth=truth, codes=codes, **details)
    unit = said.unit if role is Role.CATEGORICAL and said.unit in CLOCKS else None
    return _column(name, said, _text_role(name, present, kept), kept=kept, codes=codes, unit=unit, **details)


def _clock_with_noughts(name: str, present: DistinctTexts) -> str | None:
    """The clock of times such as 0930, which would be codes."""
    if not fits(arrow_texts(present.levels), r"^\d{3,6}$").all():
        return None
    return clock_of(present.numbers[present.codes], name_tokens(name))


def _with_clock(name: str, present: DistinctTexts, said: Declaration) -> Declaration:
    """Times of a clock in hours; those that repeat, such as the hours of a timetable, stay categories."""
    if said.unit is not None or said.role is Role.TIMESTAMP or not _mostly(_where(is_clock, present), present):
        return said
    repeated = _text_role(name, present, ())[0] is Role.CATEGORICAL
    repeated = repeated and not _mostly(_where(is_long, present), present)
    return said if said.role is None and repeated else replace(said, unit="h")


def _numbers_in_texts(
    name: str, rows: int, present: DistinctTexts, said: Declaration, elsewhere: Collection[str]
) -> Column | None:
    commas, measures = Commas(), Measures()
    are_odd = odd_texts(present)
    commas.add(present, are_odd, whole=True)
    comma = said.decimal_comma
    if comma is None:
        comma = commas.learned()
        comma = True if comma is None and are_thousands(present.levels) else comma
    texts = present.texts[:-1]
    numbers = parse_distinct_numbers(texts, comma, said.unit, present.numbers[:-1])
    numeric = ~np.isnan(numbers)
    alike = said.role is None and _mostly(numeric, present) and not _are_codes(present.levels[numeric])
    alike = alike and not are_codes_in_thousands(texts[numeric])
    if said.role is not Role.NUMERIC and not (said.role is Role.TIMESTAMP and numeric.all()) and not alike:
        return None
    odd = present.commonest(are_odd)
    measures.count(odd)
    unit = said.unit or _unit(name, measures)
    if unit == PERCENT and said.unit is None and _are_fractions(texts[numeric], numbers[numeric]):
        unit = FRACTIONS
    if measures.units:
        numbers = parse_distinct_numbers(texts, comma, unit, present.numbers[:-1])
        numeric = ~np.isnan(numbers)
    read = numbers[present.codes]
    read = read[~np.isnan(read)]
    padded = np.concatenate([read, np.full(rows - len(read), np.nan)])
    if said.role is Role.TIMESTAMP:
        return _infer_numbers(name, padded, rows, said, elsewhere)
    details: dict[str, Any] = {"decimal_comma": comma, "unit": unit, "texts": _patterns(present, ~numeric)}
    why = _why_numbers(present, odd, unit, measures)
    return _infer_numbers(name, padded, rows, said, elsewhere, why, **details)


def _are_fractions(texts: pd.Series[Any], numbers: Floats) -> bool:
    """Whether cells without a percent sign say 0.05 where those with one say 5 %."""
    signed = fits(arrow_texts(texts.to_numpy()), "%|pct")
    plain = np.abs(numbers[~signed])
    return bool(plain.size and (plain <= 1).all() and (plain % 1 > 0).any() and (np.abs(numbers[signed]) > 1).any())


def _unit(name: str, measures: Measures) -> str | None:
    """The unit to read a column in: that of its name, unless its cells are measured in something else."""
    named, usual = unit_in_name(name), measures.usual()
    if named is None or usual is None or factor(usual, named) is None:
        return usual or named
    return named


def _why_numbers(present: DistinctTexts, odd: list[tuple[str, int]], unit: str | None, measures: Measures) -> str:
    others = sorted(other for other in measures.units if other != unit)
    turned = [other for other in others if unit is not None and factor(other, unit) is not None]
    refused = [other for other in others if other not in turned]
    clock = unit is not None and factor("h", unit) is not None and bool(_where(is_clock, present).any())
    why: str = say("numbers in %(unit)s", unit=unit) if unit is not None and (measures.units or clock) else _NUMBERS
    if turned:
        why = say("%(why)s, turned from %(units)s too", why=why, units=", ".join(turned))
    if refused:
        apart = N_("%(why)s; %(units)s cannot be turned into it and count as missing")
        why = say(apart, why=why, units=", ".join(refused))
    for each in suffixes(odd):
        why = say("%(why)s; %(suffix)s", why=why, suffix=each)
    moneys = currencies(odd)
    if len(moneys) > 1:
        why = say("%(why)s; currencies %(moneys)s are not converted", why=why, moneys=", ".join(moneys[:5]))
    return why


def _dates_in_texts(name: str, rows: int, present: DistinctTexts, said: Declaration) -> Column | None:
    if said.role is not Role.TIMESTAMP and not (_mostly(_where(may_be_date, present), present) and _any_dates(present)):
        return None
    orders = Orders()
    levels = present.levels
    orders.add_distinct(levels, present.times[:-1])
    forms, by_habit = (said.dates, False)
    if forms is None:
        forms, by_habit = orders.learned(present.texts[present.codes])
    dates, far, _ = read_distinct_dates(levels, forms)
    if said.role is not Role.TIMESTAMP and not _mostly(~np.isnat(dates), present):
        return None
    details: dict[str, Any] = {"dates": forms, "texts": _patterns(present, np.isnat(dates) & ~far)}
    why: str = _DATES
    if forms:
        *others, last = map(in_words, forms)
        order = say("%(orders)s and %(last)s", orders=", ".join(others), last=last) if others else last
        why = say("dates, %(order)s", order=order)
    if by_habit:
        why = say("%(why)s by habit, for no cell tells", why=why)
    why = _with_codes(why, [str(text).strip() for text in levels[far][:1]])
    return _infer_dates(name, dates[present.codes], rows, said, why, **details)


def _any_dates(present: DistinctTexts) -> bool:
    """Whether any of some cells, or of some distinct texts, is a date in whatever order; of a column of dates most are.

    Texts that only look a little like dates take long to read.
    """
    parts = (places[:: -(-len(places) // _SCREENED)] for places in (present.codes, np.arange(len(present.levels))))
    dates, far, open_ = read_distinct_dates(present.levels[np.unique(np.concatenate([*parts]))], ())
    return bool((~np.isnat(dates) | far | open_).any())


def _text_role(name: str, present: DistinctTexts, kept: tuple[str, ...]) -> tuple[Role, str]:
    tokens = name_tokens(name)
    rows, levels, counts = len(present), present.levels, present.times[:-1]
    distinct = len(levels)
    if names_document(tokens) and distinct > max(20, 0.02 * rows):
        return Role.IDENTIFIER, say("named as a document number")
    if distinct <= max(2, 0.2 * rows) or (distinct <= 20 and distinct <= 0.5 * rows):
        why = say("%(distinct)s values that repeat", distinct=distinct)
        return Role.CATEGORICAL, say("%(why)s, %(values)s among them", why=why, values=", ".join(kept)) if kept else why
    if int(counts[counts >= _SEVERAL].sum()) >= 0.5 * rows:
        # A tail of sellers with one sale each makes no names of those that sell every day.
        return Role.CATEGORICAL, say("%(distinct)s values, of which most rows share theirs", distinct=distinct)
    blanks = np.asarray(pc.count_substring_regex(arrow_texts(levels), r"\s+"), dtype=np.int64)
    words = float(blanks @ counts) / rows + 1.0
    if words >= 3.0:
        return Role.TEXT, say("several words, hardly ever repeated")
    return Role.IDENTIFIER, say("hardly ever repeated")


def _where(holds: Callable[[str], bool], texts: DistinctTexts) -> npt.NDArray[np.bool_]:
    """Of which of the distinct texts something holds."""
    return np.array([*map(holds, texts.levels.tolist())], dtype=bool)


def _mostly(read: npt.NDArray[np.bool_], present: DistinctTexts) -> bool:
    """Most values, or nearly all distinct ones: a few phrases may fill half the rows of a column of dates."""
    if not read.any():
        return False
    share = int(present.times[:-1][read].sum()) / len(present)
    return bool(share > 0.5 or (read.mean() > 0.9 and share > 0.05))


def _are_codes(levels: npt.NDArray[np.object_]) -> bool:
    """True for digits with leading zeros (``00412``, ``="00412"`` of a spreadsheet) and months (``02.2024``)."""
    texts = arrow_texts(levels)
    return bool(fits(texts, r'^(?:=")?0\d+"?$').any() or fits(texts, r"^[0-5]\d\d?\.(?:19|20)\d\d$").all())


def _patterns(cells: DistinctTexts, where: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """The commonest patterns of some of the distinct texts."""
    counts: Counter[str] = Counter()
    for text, times in zip(cells.levels[where].tolist(), cells.times[:-1][where].tolist(), strict=True):
        counts[text_pattern(text)] += times
    return tuple(text for text, _ in counts.most_common(_TEXTS_KEPT))
