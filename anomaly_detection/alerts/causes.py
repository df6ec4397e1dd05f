"""`Cause`: alerts with the same leading column in the same group, as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.groups import is_date, levels_of
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.explain.wording import number, short
from anomaly_detection.features.clauses import named_value
from anomaly_detection.features.dates.derived import Derived, NumberLevel
from anomaly_detection.features.group import FeatureGroup, FeatureSource
from anomaly_detection.features.kinds import KINDS
from anomaly_detection.texts.said import N_, say

__all__ = ["WHOLE_RECORD", "Cause", "cause_of_each", "find_causes", "leading_column"]

WHOLE_RECORD = N_("the whole record")
_SEVERAL_VALUES = N_("several values")
_UNUSUAL = N_("unusual")
_OF_TIME = {"high": N_("long"), "low": N_("short")}
_OF_DATES = {"high": N_("late"), "low": N_("early")}
_MOST_COLUMNS = 3
_LEAST_SHARED = 0.1
_FEW = 10


@dataclass(frozen=True)
class _Term:
    """A level of a column: what it is called by itself, and after its column's name."""

    column: str
    text: str
    beside: str


@dataclass(frozen=True)
class Cause:
    """Alerts that one cause may explain.

    Attributes
    ----------
    column : str
        The leading column, see `leading_column`.
    text : str
        What they have in common, as a clause: "Profit is negative for Binders".
    alerts : tuple of Alert
        At least one, the worst first.
    amount : float or None
        Their sum of `amount_of`.
    amount_of : str or None
        The leading column where that is money, else the main amount; None without either.
    """

    column: str
    text: str
    alerts: tuple[Alert, ...]
    amount: float | None
    amount_of: str | None


def find_causes(
    alerts: Sequence[Alert],
    clean: pd.DataFrame | Table,
    sources: Mapping[str, FeatureSource],
    money: Sequence[str],
    amount: str | None,
) -> list[Cause]:
    """Group alerts by the column, the direction and the group of their first reason, the largest cause first.

    A reason is judged within a group of one or more columns' levels. Of those with one column and direction, the level
    that most share makes the first cause, then that which most of the others share, and so on: "Binders" and not each
    of its states. Where ten or more have no level that a tenth of them share, they are one cause.

    Parameters
    ----------
    alerts : sequence of Alert
        With reasons, the worst first.
    clean : pandas.DataFrame or Table
        Their clean records with derived columns, in the same order.
    sources : mapping of str to FeatureSource
        By the feature's name.
    money : sequence of str
        Columns that can be added up.
    amount : str, optional
        The main amount.
    """
    table, buckets = as_table(clean), dict[tuple[str, str, str], list[int]]()
    for place, alert in enumerate(alerts):
        key = (leading_column(alert), *_subject(alert, table, sources))
        buckets.setdefault(key, []).append(place)
    found = _of_buckets(buckets, alerts, table, table.records(), sources, money, amount)
    return sorted(found, key=lambda cause: (-len(cause.alerts), cause.alerts[0].decision))


def cause_of_each(
    alerts: Sequence[Alert],
    clean: pd.DataFrame | Table,
    sources: Mapping[str, FeatureSource],
    money: Sequence[str],
    amount: str | None,
) -> list[Cause]:
    """What `find_causes` gives for each alert by itself, in their order; parameters as there."""
    found = []
    table = as_table(clean)
    rows = table.records()
    for place, alert in enumerate(alerts):
        bucket = {(leading_column(alert), *_subject(alert, table, sources)): [place]}
        found += _of_buckets(bucket, alerts, table, rows, sources, money, amount)
    return found


def _of_buckets(
    buckets: Mapping[tuple[str, str, str], list[int]],
    alerts: Sequence[Alert],
    clean: Table,
    rows: Sequence[Mapping[str, Any]],
    sources: Mapping[str, FeatureSource],
    money: Sequence[str],
    amount: str | None,
) -> list[Cause]:
    found = []
    for (column, subject, word), members in buckets.items():
        for term, places in _covered(members, [_terms(alerts[i], clean, rows[i], sources) for i in members]):
            summed = column if column in money else amount
            values = None if summed is None else clean.numbers(summed)[places]
            negative = (
                summed == column == subject and values is not None and bool(np.nanmax(values, initial=-np.inf) < 0)
            )
            found.append(
                Cause(
                    column,
                    _text(subject, say("negative") if negative else word, term),
                    tuple(alerts[i] for i in places),
                    None if values is None else float(np.nansum(values)),
                    summed,
                )
            )
    return found


def leading_column(alert: Alert) -> str:
    """The column that bears most of an alert's first reason; empty where nothing stands out.

    "the whole record" where more than three bear it together, as they do for copies.
    """
    if not alert.reasons:
        return ""
    first = alert.reasons[0]
    return first.columns[0] if 0 < len(first.columns) <= _MOST_COLUMNS else WHOLE_RECORD


def _subject(alert: Alert, clean: Table, sources: Mapping[str, FeatureSource]) -> tuple[str, str]:
    """What the first reason judges, and a word for how it differs."""
    column = leading_column(alert)
    if not column:
        return "", ""
    first = alert.reasons[0]
    source = sources.get(first.feature)
    kind = FeatureGroup if source is None else KINDS[source.kind]
    word = say(kind.titled.get(first.direction, _UNUSUAL))
    # Only a copy repeats a record as a whole.
    if column == WHOLE_RECORD and (word == "missing" or (source is not None and source.kind == "readings")):
        return _SEVERAL_VALUES, word
    judged = () if source is None else source.columns
    subject = None if source is None or column == WHOLE_RECORD else kind.subject(source)
    if subject is not None:
        return subject, word
    dates = [name for name in judged if name in clean and is_date(clean[name])]
    if first.direction not in _OF_TIME or not dates:
        return column, word
    if len(dates) == 1:
        return dates[0], say(_OF_DATES[first.direction])
    if isinstance(first.value, (int, float)) and first.value < 0:
        return dates[0], say("before %(date)s", date=dates[1])
    return say("the time from %(start)s to %(end)s", start=dates[1], end=dates[0]), say(_OF_TIME[first.direction])


def _terms(alert: Alert, clean: Table, record: Mapping[str, Any], sources: Mapping[str, FeatureSource]) -> list[_Term]:
    """The levels that the first reason's group is of; of a category that is judged by itself, its own level."""
    if not alert.reasons:
        return []
    first = alert.reasons[0]
    source = sources.get(first.feature)
    grouped = [] if source is None else levels_of(source, clean)
    own = [name for name in first.columns[:1] if isinstance(record.get(name), str) and first.direction == "rare"]
    return [_term(name, None if source is None else source.derived.get(name), record[name]) for name in grouped or own]


def _term(name: str, part: Derived | None, value: Any) -> _Term:
    plain = part.column if isinstance(part, NumberLevel) else name
    if value is None or value is pd.NaT or value != value:
        no = say("no %(what)s", what=plain)
        return _Term(name, no, no)
    is_number = isinstance(value, (int, float, np.number))
    text = number(float(value)) if is_number else short(value)
    if is_number or not any(letter.isalpha() for letter in text):
        return _Term(name, named_value(plain, text), text)
    # Of a gate that is called "Gate 12" nobody says "Gate Gate 12".
    return _Term(name, text, text.removeprefix(f"{name} "))


def _covered(members: list[int], terms: list[list[_Term]]) -> list[tuple[_Term | None, list[int]]]:
    """Cover members by as few of their terms as a greedy choice needs; those without any come as one."""
    left = dict(zip(members, terms, strict=True))
    shared = Counter(term for some in terms for term in dict.fromkeys(some))
    if len(members) >= _FEW and max(shared.values(), default=0) < _LEAST_SHARED * len(members):
        return [(None, members)]
    covered: list[tuple[_Term | None, list[int]]] = []
    while left:
        counts = Counter(term for some in left.values() for term in dict.fromkeys(some))
        if not counts:
            return [*covered, (None, list(left))]
        # Of equal ones the first, in the order of the worst.
        best = max(counts, key=lambda term: counts[term])
        chosen = [place for place, some in left.items() if best in some]
        covered.append((best, chosen))
        for place in chosen:
            del left[place]
    return covered


def _text(subject: str, word: str, term: _Term | None) -> str:
    if not subject:
        return say("nothing by itself stands out")
    if subject in (WHOLE_RECORD, _SEVERAL_VALUES):
        subject = say(subject)
    if term is not None and term.column == subject:
        return say("%(subject)s %(value)s is %(how)s", subject=subject, value=term.beside, how=word)
    are = N_("%(subject)s are %(how)s%(among)s")
    among = "" if term is None else say(" for %(named)s", named=term.text)
    template = are if subject == _SEVERAL_VALUES else N_("%(subject)s is %(how)s%(among)s")
    return say(template, subject=subject, how=word, among=among)
