"""Contributions in words: the user's columns and values, what is usual, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomaly_detection.features.clauses import listed, number, number_range, short
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.features.kinds import KINDS
from anomaly_detection.texts.said import N_, Figure, Said, say

__all__ = ["begun", "listed", "number", "number_range", "percent", "phrase", "sentence", "short"]


def percent(share: float) -> str:
    """Write a share of 1 as whole per cent, but never 100 % for less or 0 % for more."""
    if 0.995 <= share < 1.0:
        return say("over 99 %%")
    return say("under 1 %%") if 0.0 < share < 0.01 else say("%(share)s %%", share=Figure(f"{100 * share:.0f}"))


def sentence(reasons: Sequence[tuple[str, float]], *, alert: bool, columns: Sequence[tuple[str, float]] = ()) -> Said:
    """Join the clauses of `phrase`, each with its share of what lowers the score, the largest first.

    Of an alert without any, the `columns` are told that lower its score, and their shares. To say it in another
    language, the clauses come in that one: the first begins the sentence, with a capital.
    """
    if not reasons and alert and columns:
        named = listed([say("%(name)s (%(share)s)", name=name, share=percent(share)) for name, share in columns])
        one = N_("No value stands out by itself; the score comes from %(columns)s.")
        many = N_("No value stands out by itself; the score comes from %(columns)s together.")
        return say(one if len(columns) == 1 else many, columns=named)
    if not reasons:
        return say("Nothing in this record stands out.")
    (text, share), *others = reasons
    if alert:
        told = say("%(reason)s; it accounts for %(share)s of the alert.", reason=begun(text), share=percent(share))
    else:
        told = say("Not an alert. What stands out most (%(share)s): %(reason)s.", reason=text, share=percent(share))
    for text, share in others:
        told = say("%(told)s Another %(share)s: %(reason)s.", told=told, reason=text, share=percent(share))
    return told


def begun(text: str) -> str:
    """Begin with a capital, except where the text begins with a name such as order_quantity."""
    word = text.split(" ", 1)[0]
    return f"{text[0].upper()}{text[1:]}" if word.isalpha() and word.islower() else text


def phrase(source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None = None) -> Said:
    """Say in a clause what is odd about one feature of one row.

    Parameters
    ----------
    source : FeatureSource
    value, usual : object
        As `SupplyChainFeatures.in_units` gives them.
    row : mapping of column to value
        The clean record with derived columns.
    rows : int
        Number of training records.
    between : tuple of two floats, optional
        Between what the value usually lies, as `SupplyChainFeatures.ranges_in_units` gives it; said where the value
        does not.
    """
    return KINDS[source.kind].phrase(source, value, usual, row, rows, between)
