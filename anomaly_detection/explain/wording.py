"""Contributions in words: the user's columns and values, what is usual, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomaly_detection.features.clauses import listed, number, number_range, short
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.features.kinds import KINDS

__all__ = ["listed", "number", "number_range", "percent", "phrase", "sentence", "short"]


def percent(share: float) -> str:
    """Write a share of 1 as whole per cent, but never 100 % for less or 0 % for more."""
    if 0.995 <= share < 1.0:
        return "over 99 %"
    return "under 1 %" if 0.0 < share < 0.01 else f"{100 * share:.0f} %"


def sentence(reasons: Sequence[tuple[str, float]], *, alert: bool, columns: Sequence[tuple[str, float]] = ()) -> str:
    """Join the clauses of `phrase`, each with its share of what lowers the score, the largest first.

    Of an alert without any, the `columns` are told that lower its score, and their shares.
    """
    if not reasons and alert and columns:
        named = listed([f"{name} ({percent(share)})" for name, share in columns])
        return f"No value stands out by itself; the score comes from {named}{' together' * (len(columns) > 1)}."
    if not reasons:
        return "Nothing in this record stands out."
    (text, share), *others = reasons
    if alert:
        first = f"{_capital(text)}; it accounts for {percent(share)} of the alert."
    else:
        first = f"Not an alert. What stands out most ({percent(share)}): {text}."
    return " ".join([first, *(f"Another {percent(share)}: {text}." for text, share in others)])


def _capital(text: str) -> str:
    """Begin with a capital, except where the text begins with a name such as order_quantity."""
    word = text.split(" ", 1)[0]
    return f"{text[0].upper()}{text[1:]}" if word.isalpha() and word.islower() else text


def phrase(source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None = None) -> str:
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
