"""What knows repeats of records holds, declared."""

from __future__ import annotations

import numpy as np

from anomaly_detection.features.numbers.frequency import Frequency
from anomaly_detection.features.repeats.amended import Amended
from anomaly_detection.features.repeats.coincidences import Chance
from anomaly_detection.features.repeats.commonness import CommonCells, Commonness
from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.features.series.readings import Readings
from anomaly_detection.model_files.shared_states import (
    COUNTS,
    FINITE,
    FINITE_ARRAY,
    LARGEST,
    LENT,
    LISTED,
    POSITIVE,
    SEEN,
    SHARE,
    SMALLEST,
    ascending,
)
from mlx_iforest.convert.declared import Dict, List, Optional, Record
from mlx_iforest.convert.declared_values import Array, Number, Whole

__all__ = ["REPEATS"]


def _chance_fault(chance: Chance) -> str | None:
    return None if chance.seen <= chance.rows else "expected no more records seen than there were"


def _common_cells_fault(cells: CommonCells) -> str | None:
    if len(cells.keys) != len(cells.counts) or not ascending(cells.keys):
        return "expected keys in ascending order, with a count for each"
    return None


def _commonness_fault(commonness: Commonness) -> str | None:
    return None if commonness.cells else "expected the cells of a column"


def _copies_fault(copies: Copies) -> str | None:
    if not set(copies.names_) <= set(copies.names) <= set(copies.feature_names_in_):
        return "expected names among the columns"
    if not len(copies.content_) or not ascending(copies.content_) or not ascending(copies.whole_):
        return "expected keys in ascending order"
    if len(copies.counts_) != len(copies.content_):
        return "expected a count for each key"
    if copies.commonness_ is not None and set(copies.commonness_.cells) != set(copies._said):
        return "expected the cells of the columns that say something"
    # Each record has both keys.
    if not len(copies.content_) <= len(copies.whole_) <= int(copies.counts_.sum()) <= copies.chance_.rows:
        return f"expected keys of {copies.chance_.rows} records at most"
    return None


def _amended_fault(amended: Amended) -> str | None:
    columns = set(amended.feature_names_in_)
    if not set(amended.amended_) <= set(amended.numbers) <= columns:
        return "expected numbers among the columns"
    if not set(amended.names_) <= set(amended.names) <= columns - set(amended.numbers):
        return "expected names among the other columns"
    if len(amended.amended_) < 2 or not len(amended.alike_) or not len(amended.keys_):
        return "expected two numbers and a record"
    if not ascending(amended.alike_) or not ascending(amended.keys_):
        return "expected keys in ascending order"
    if not len(amended.alike_) <= amended.remembered_ <= amended.chance_.rows:
        return f"expected keys of {amended.chance_.rows} records at most"
    return None


def _frequency_fault(frequency: Frequency) -> str | None:
    if not len(frequency.knots) or len(frequency.heights) != len(frequency.knots) - 1:
        return "expected a height between each two knots"
    if not all(map(ascending, (frequency.knots, frequency.repeated, frequency.levels))):
        return "expected knots, repeated values and levels in ascending order"
    if len(frequency.counts) != len(frequency.repeated) or int(frequency.counts.sum()) > frequency.values:
        return f"expected a count for each repeated value, of {frequency.values} in all"
    if len(frequency.nats) != len(frequency.levels) or np.any(np.diff(frequency.nats) < 0):
        return "expected nats of each level, in ascending order"
    return None


def _readings_fault(readings: Readings) -> str | None:
    columns = set(readings.feature_names_in_)
    if not readings.frequencies_.keys() <= set(readings.numbers) <= columns or not set(readings.within) <= columns:
        return "expected frequencies of some of the columns"
    if len(readings.within) > 1:
        return "expected one span of time at most"
    n, width = len(readings.last_whole_), len(readings.frequencies_)
    if readings.last_.shape != (n, width) or len(readings.last_spans_) != n:
        return "expected the values, span and key of each record that is remembered"
    fits = len(readings.together_) == max(len(readings._joined) - 1, 0)
    return None if fits else "expected the chance of each number of columns together"


_CHANCE = Record(
    Chance,
    {"seen": Whole(), "rows": Whole(1), "compared": LENT, "apart": SHARE, "never": LENT, "seldom": SHARE},
    _chance_fault,
    # Files of before have one for all.
    optional=("never", "seldom"),
)


_CELLS = Record(
    CommonCells,
    {"keys": Array("uint64"), "counts": Array("float64", least=1.0, most=LARGEST), "others": LENT},
    _common_cells_fault,
)


_COMMONNESS = Record(
    Commonness, {"cells": Dict(_CELLS), "start": FINITE, "slope": Number(0.0, 2.0), "compared": LENT}, _commonness_fault
)


_FREQUENCY = Record(
    Frequency,
    {
        "step": Number(1e-12, 1.0),
        "knots": FINITE_ARRAY,
        "heights": Array("float64", least=0.0, most=LARGEST),
        "repeated": FINITE_ARRAY,
        "counts": Array("int64", least=2),
        "values": Whole(1),
        "compared": LENT,
        "rate": POSITIVE,
        "shape": POSITIVE,
        "levels": Array("float64", least=SMALLEST, most=LARGEST),
        "nats": Array("float64", least=0.0, most=LARGEST),
        "apart": SHARE,
        "once": Number(0.0, 50.0),
    },
    _frequency_fault,
    optional=("once",),
)


REPEATS: dict[str, Record] = {
    "copies": Record(
        Copies,
        {
            "names": LISTED,
            **SEEN,
            "names_": LISTED,
            "chance_": _CHANCE,
            "commonness_": Optional(_COMMONNESS),
            "content_": Array("uint64"),
            "counts_": COUNTS,
            "whole_": Array("uint64"),
        },
        _copies_fault,
        # Files of before judge all copies alike.
        optional=("commonness_",),
    ),
    "amended": Record(
        Amended,
        {
            "numbers": LISTED,
            **SEEN,
            "names": LISTED,
            "amended_": LISTED,
            "names_": LISTED,
            "chance_": _CHANCE,
            "remembered_": Whole(1),
            "alike_": Array("uint64"),
            "keys_": Array("uint64"),
        },
        _amended_fault,
    ),
    "readings": Record(
        Readings,
        {
            "numbers": LISTED,
            "within": LISTED,
            **SEEN,
            "frequencies_": Dict(_FREQUENCY),
            "together_": List(_CHANCE),
            "last_": Array("float64", 2, special=True, least=-LARGEST, most=LARGEST),
            "last_spans_": Array("int64"),
            "last_whole_": Array("uint64"),
        },
        _readings_fault,
    ),
}
