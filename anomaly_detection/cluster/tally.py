"""`Tally`: what is counted of the records of a partition, and of all of them together."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.calibration.drift import KEPT
from anomaly_detection.data.columns.cleaning import Readable, Unreadable

__all__ = ["Tally"]

_DECIMALS = 3
"""Of the scores in the histogram: fine enough to see drift by, where 15 records in 100 have to be others."""


@dataclass
class Tally:
    """Counts that add up.

    Attributes
    ----------
    records, alerts : int
    scores : Counter
        How many records have each score, in thousandths.
    unread : Unreadable
        Cells that could not be read.
    readable : Readable
        Columns that hold what they should.
    """

    records: int = 0
    alerts: int = 0
    scores: Counter[int] = field(default_factory=Counter)
    unread: Unreadable = field(default_factory=Unreadable)
    readable: Readable = field(default_factory=Readable)

    def add(self, batch: Batch) -> None:
        """Count judged records; `readable` is told of them by whoever judges."""
        self.records += len(batch)
        self.alerts += int(batch.is_alert.sum())
        values, counts = np.unique(np.rint(batch.scores * 10**_DECIMALS).astype(np.int64), return_counts=True)
        self.scores.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.unread.add(batch.cleaning, batch.detector.preprocessor.schema_.known_words())

    def merge(self, later: Tally) -> None:
        """Add the counts of records that come after these."""
        self.records += later.records
        self.alerts += later.alerts
        self.scores.update(later.scores)
        self.unread.merge(later.unread)
        self.readable.merge(later.readable)

    def sample(self) -> npt.NDArray[np.float64]:
        """The scores, rounded to thousandths; of very many, as many of each as its share comes to."""
        values, counts = np.array(sorted(self.scores.items()), dtype=np.int64).reshape(-1, 2).T
        kept = counts if self.records <= KEPT else np.rint(counts * (KEPT / self.records)).astype(np.int64)
        return np.repeat(values / 10**_DECIMALS, kept)

    def to_json(self) -> str:
        """One line of JSON, the same for the same counts."""
        told = {
            "records": self.records,
            "alerts": self.alerts,
            "scores": {str(score): self.scores[score] for score in sorted(self.scores)},
            "unread": {
                "cells": self.unread.cells,
                "undecided": sorted(self.unread.undecided),
                "notes": self.unread.notes,
                "examples": self.unread.examples,
            },
            "readable": {"names": sorted(self.readable.names), "unreadable": self.readable.unreadable},
        }
        return json.dumps(told)

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """What `to_json` told."""
        told: dict[str, Any] = json.loads(text)
        unread, readable = told["unread"], told["readable"]
        return cls(
            told["records"],
            told["alerts"],
            Counter({int(score): count for score, count in told["scores"].items()}),
            Unreadable(Counter(unread["cells"]), set(unread["undecided"]), unread["notes"], unread["examples"]),
            Readable(set(readable["names"]), readable["unreadable"]),
        )
