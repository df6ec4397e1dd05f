"""What a column is, found out from its name and its cells."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells import as_dates, as_numbers, as_texts, content, opaque_kinds
from anomaly_detection.data.column import Column, Role
from anomaly_detection.data.date_forms import in_words
from anomaly_detection.data.date_orders import Orders
from anomaly_detection.data.date_texts import may_be_date, parse_dates, read_dates
from anomaly_detection.data.declarations import Declaration
from anomaly_detection.data.epochs import epoch_unit
from anomaly_detection.data.missing import (
    date_codes,
    missing_mask,
    number_codes,
    text_pattern,
    words_that_are_values,
)
from anomaly_detection.data.names import names_code, names_document, unit_in_name
from anomaly_detection.data.number_texts import (
    Commas,
    Measures,
    are_codes_in_thousands,
    currencies,
    is_clock,
    is_long,
    odd_texts,
    parse_numbers,
    suffixes,
)
from anomaly_detection.data.parsing import name_tokens
from anomaly_detection.data.reading import is_number_code
from anomaly_detection.data.truth import truth_pair
from anomaly_detection.data.units import factor
from anomaly_detection.errors import DataError

__all__ = ["infer_column"]


_TEXTS_KEPT = 20
_SEVERAL = 3  # rows of one level
_SCREENED = 200
_VALUES = (Role.NUMERIC, Role.TIMESTAMP)
_NOTHING = Declaration()

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
        return _infer_dates(name, dates, len(values), said, _with_codes("dates", [str(day)[:10] for day in far[:1]]))
    if held == "spans" or (held == "numbers" and role not in (Role.CATEGORICAL, Role.IDENTIFIER, Role.TEXT)):
        unit = None if held == "spans" else said.unit or unit_in_name(name)
        return _infer_numbers(name, as_numbers(values), len(values), said, elsewhere, unit=unit)
    kinds = opaque_kinds(values) if role is None else []
    if kinds:
        missing = float(values.isna().mean())
        return Column(name, Role.CONSTANT, f"values that cannot be judged ({', '.join(kinds)})", missing=missing)
    return _infer_texts(name, as_texts(values), said, elsewhere)


def _column(name: str, said: Declaration, found: tuple[Role, str], **details: Any) -> Column:
    role, why = found
    if said.role is not None:
        told = said.role is role and said.reason == "given" and role in _VALUES and why not in ("", "numbers", "dates")
        why = f"given; {why}" if told else said.reason
    return Column(name=name, role=said.role or role, reason=why, **details)


def _constant_reason(distinct: int) -> str:
    return "every value is missing" if distinct == 0 else "one value only"


def _with_codes(reason: str, codes: Collection[str]) -> str:
    return f"{reason}; {', '.join(codes)} for missing" if codes else reason


def _all_codes(codes: tuple[str, ...], said: Declaration) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*codes, *said.more_codes]))


def _infer_dates(name: str, read: Dates, rows: int, said: Declaration, why: str = "dates", **details: Any) -> Column:
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
    why: str = "numbers",
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
        return Column(name, Role.TIMESTAMP, f"numbers that count time ({unit})", epoch=unit, **details)
    if distinct <= 1:
        return _column(name, said, (Role.CONSTANT, _constant_reason(distinct)), **details)
    whole = bool(np.all(present == np.round(present)))
    if role is None and whole and distinct == present.size > 2 and _count_up(present):
        return Column(name, Role.IDENTIFIER, "counts the rows", **details)
    if role is None and whole and names_code(tokens):
        if distinct > 0.5 * present.size:
            return Column(name, Role.IDENTIFIER, "named as a code, hardly ever repeated", **details)
        return Column(name, Role.CATEGORICAL, _with_codes("named as a code, repeated", codes), **details)
    if role is None and whole and _shaped_as_codes(present, distinct):
        return Column(name, Role.CATEGORICAL, _with_codes("whole numbers of one length, repeated", codes), **details)
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


def _infer_texts(name: str, texts: pd.Series[Any], said: Declaration, elsewhere: Collection[str]) -> Column:
    role, rows = said.role, len(texts)
    kept = words_that_are_values(texts)
    codes = _all_codes(said.codes or (), said)
    blank = missing_mask(texts, kept, codes)
    present = texts[~blank]
    distinct = int(present.nunique())
    details: dict[str, Any] = {"distinct": distinct, "missing": 1.0 - len(present) / rows}
    if distinct <= 1 and role is None:
        return Column(name, Role.CONSTANT, _constant_reason(distinct), codes=codes, **details)
    if role is None or role in (Role.NUMERIC, Role.TIMESTAMP):
        said_or_clock = _with_clock(name, present, said)
        found = _numbers_in_texts(name, texts, present, said_or_clock, elsewhere) or _dates_in_texts(
            name, texts, present, said
        )
        if found is not None:
            return found
    truth = truth_pair(present) if distinct <= 20 and role in (None, Role.CATEGORICAL) else None
    if truth is not None:
        why = (Role.CATEGORICAL, f"yes and no, as {truth[1]} and {truth[0]}")
        return _column(name, said, why, truth=truth, codes=codes, **details)
    return _column(name, said, _text_role(name, present, distinct, kept), kept=kept, codes=codes, **details)


def _with_clock(name: str, present: pd.Series[Any], said: Declaration) -> Declaration:
    """Times of a clock in hours; those that repeat, such as the hours of a timetable, stay categories."""
    if said.unit is not None or said.role is Role.TIMESTAMP or not _mostly(_where(is_clock, present), present):
        return said
    repeated = _text_role(name, present, int(present.nunique()), ())[0] is Role.CATEGORICAL
    repeated = repeated and not _mostly(_where(is_long, present), present)
    return said if said.role is None and repeated else replace(said, unit="h")


def _numbers_in_texts(
    name: str, texts: pd.Series[Any], present: pd.Series[Any], said: Declaration, elsewhere: Collection[str]
) -> Column | None:
    commas, measures = Commas(), Measures()
    odd = odd_texts(present)
    commas.add(present, odd, whole=True)
    comma = commas.learned() if said.decimal_comma is None else said.decimal_comma
    numbers = parse_numbers(present, comma, said.unit)
    numeric = ~np.isnan(numbers)
    alike = said.role is None and _mostly(numeric, present) and not _are_codes(present[numeric])
    alike = alike and not are_codes_in_thousands(present[numeric])
    if said.role is not Role.NUMERIC and not (said.role is Role.TIMESTAMP and numeric.all()) and not alike:
        return None
    measures.add(odd)
    unit = said.unit or _unit(name, measures)
    if measures.units:
        numbers = parse_numbers(present, comma, unit)
        numeric = ~np.isnan(numbers)
    padded = np.concatenate([numbers[numeric], np.full(len(texts) - int(numeric.sum()), np.nan)])
    if said.role is Role.TIMESTAMP:
        return _infer_numbers(name, padded, len(texts), said, elsewhere)
    details: dict[str, Any] = {"decimal_comma": comma, "unit": unit, "texts": _patterns(present[~numeric])}
    why = _why_numbers(present, odd, unit, measures)
    return _infer_numbers(name, padded, len(texts), said, elsewhere, why, **details)


def _unit(name: str, measures: Measures) -> str | None:
    """The unit to read a column in: that of its name, unless its cells are measured in something else."""
    named, usual = unit_in_name(name), measures.usual()
    if named is None or usual is None or factor(usual, named) is None:
        return usual or named
    return named


def _why_numbers(present: pd.Series[Any], odd: pd.Series[Any], unit: str | None, measures: Measures) -> str:
    others = sorted(other for other in measures.units if other != unit)
    turned = [other for other in others if unit is not None and factor(other, unit) is not None]
    refused = [other for other in others if other not in turned]
    clock = unit is not None and factor("h", unit) is not None and bool(_where(is_clock, present).any())
    why = f"numbers in {unit}" if unit is not None and (measures.units or clock) else "numbers"
    if turned:
        why += f", turned from {', '.join(turned)} too"
    if refused:
        why += f"; {', '.join(refused)} cannot be turned into it and count as missing"
    why = "; ".join([why, *suffixes(odd)])
    moneys = currencies(odd)
    return f"{why}; currencies {', '.join(moneys[:5])} are not converted" if len(moneys) > 1 else why


def _dates_in_texts(name: str, texts: pd.Series[Any], present: pd.Series[Any], said: Declaration) -> Column | None:
    if said.role is not Role.TIMESTAMP and not (_mostly(_where(may_be_date, present), present) and _any_dates(present)):
        return None
    orders = Orders()
    orders.add(present)
    forms, by_habit = orders.learned(present) if said.dates is None else (said.dates, False)
    dates, far, _ = read_dates(present, forms)
    if said.role is not Role.TIMESTAMP and not _mostly(~np.isnat(dates), present):
        return None
    details: dict[str, Any] = {"dates": forms, "texts": _patterns(present[np.isnat(dates) & ~far])}
    why = f"dates, {' and '.join(map(in_words, forms))}" if forms else "dates"
    if by_habit:
        why += " by habit, for no cell tells"
    why = _with_codes(why, [str(text).strip() for text in present[far][:1]])
    return _infer_dates(name, dates, len(texts), said, why, **details)


def _any_dates(present: pd.Series[Any]) -> bool:
    """Whether any of some cells, or of some distinct texts, is a date in whatever order; of a column of dates most are.

    Texts that only look a little like dates take long to read.
    """
    parts = (cells.iloc[:: -(-len(cells) // _SCREENED)] for cells in (present, present.drop_duplicates()))
    dates, far, open_ = read_dates(pd.concat(parts), ())
    return bool((~np.isnat(dates) | far | open_).any())


def _text_role(name: str, present: pd.Series[Any], distinct: int, kept: tuple[str, ...]) -> tuple[Role, str]:
    tokens = name_tokens(name)
    rows = len(present)
    if names_document(tokens) and distinct > max(20, 0.02 * rows):
        return Role.IDENTIFIER, "named as a document number"
    if distinct <= max(2, 0.2 * rows) or (distinct <= 20 and distinct <= 0.5 * rows):
        value = f", {', '.join(kept)} among them" if kept else ""
        return Role.CATEGORICAL, f"{distinct} values that repeat{value}"
    counts = present.value_counts()
    if int(counts[counts >= _SEVERAL].sum()) >= 0.5 * rows:
        # A tail of sellers with one sale each makes no names of those that sell every day.
        return Role.CATEGORICAL, f"{distinct} values, of which most rows share theirs"
    words = present.str.count(r"\s+").mean() + 1.0
    if words >= 3.0:
        return Role.TEXT, "several words, hardly ever repeated"
    return Role.IDENTIFIER, "hardly ever repeated"


def _where(holds: Callable[[str], bool], texts: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Where something holds of a text; each distinct one is asked about once."""
    codes, levels = pd.factorize(texts)
    return np.array([*map(holds, levels), False], dtype=bool)[codes]


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
