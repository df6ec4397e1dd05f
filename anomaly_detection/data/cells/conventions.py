"""In which of several ways the cells of a batch are written, where training settled another way, or none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.cells.cells import content
from anomaly_detection.data.cells.column_texts import ColumnTexts
from anomaly_detection.data.cells.date_forms import in_words
from anomaly_detection.data.cells.date_orders import Orders
from anomaly_detection.data.cells.number_texts import Commas, Measures, odd_texts
from anomaly_detection.data.cells.units import PERCENT
from anomaly_detection.data.columns.column import Column, Role

__all__ = ["Evidence"]


@dataclass
class Evidence:
    """What the cells of one column say of how they are written, counted over all parts of a batch."""

    commas: Commas = field(default_factory=Commas)
    orders: Orders = field(default_factory=Orders)
    measures: Measures = field(default_factory=Measures)

    def add(self, values: pd.Series[Any], column: Column, *, texts: ColumnTexts | None = None) -> None:
        """Count the cells of a part of the batch, or of all of it; then its `texts` are given."""
        if content(values) != "texts" or column.epoch is not None:
            return
        alone = texts is not None
        texts = ColumnTexts(values) if texts is None else texts
        if column.role is Role.TIMESTAMP and texts.dates is None:
            self.orders.add_distinct(texts.distinct.levels, texts.distinct.times[:-1])
        elif column.role is Role.NUMERIC:
            whole = alone and not column.decimal_comma
            if texts.are_numbers:
                # Numbers as programs write them say nothing, unless other parts have commas.
                if not whole:
                    self.commas.add_points(*texts.points())
                return
            if whole and not np.isnan(texts.distinct.numbers[:-1]).any():
                return
            odd = odd_texts(texts.distinct)
            if column.unit is None:
                self.measures.count(texts.distinct.commonest(odd))
            self.commas.add(texts.distinct, odd, whole=whole)

    def merge(self, other: Evidence) -> None:
        """Count the cells of other parts of the batch, which another counted; in any order."""
        self.commas.merge(other.commas)
        self.orders.merge(other.orders)
        self.measures.units.update(other.measures.units)

    def settle(self, column: Column) -> Column:
        """The column as this batch is to be read; its ``note`` says what was settled against training, or without."""
        if column.role is Role.TIMESTAMP:
            dates = self.orders.settled(column.dates)
            new = [in_words(form) for form in dates if form not in column.dates]
            note = f"dates are read as {' and '.join(new)}, a form that the training records did not have"
            return replace(column, dates=dates, note=note) if new else column
        if column.role is not Role.NUMERIC:
            return column
        comma = self.commas.settled(column.decimal_comma)
        # Points alone say nothing new, and commas that could not be anything else need no word.
        if comma is not column.decimal_comma and (column.decimal_comma or comma or self.commas.either):
            what = "decimal" if comma else "between thousands"
            note = f"commas are read as {what}, which the training records did not have"
            column = replace(column, decimal_comma=comma, note=note)
        unit, units = self.measures.usual(), len(self.measures.units)
        if unit == PERCENT:
            note = "cells with % are not read, for the training records had none: 5 % may be 5 or 0.05"
            column = replace(column, unit="", note=f"{column.note}; {note}" if column.note else note)
        elif units:
            turned = "units are turned into" if units > 1 else "numbers are read as they stand, in"
            note = f"{turned} {unit}, for the training records had none"
            note = f"{column.note}; {note}" if column.note else note
            column = replace(column, unit=unit if units > 1 else None, note=note)
        return column
