"""`Part`: some of the records of a training run, to learn from, to choose by or to be judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.schema import CleanRecords

__all__ = ["Labels", "Part"]

Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Part:
    """Some of the records, and their labels if there are any.

    Attributes
    ----------
    frame : DataFrame
    records : CleanRecords
        What their cells say.
    labels : ndarray of int8, shape (n,), or None
    read_seconds : float
        What reading the cells took: those of all parts are read at once, and this is the part's share.
    """

    frame: pd.DataFrame
    records: CleanRecords
    labels: Labels | None
    read_seconds: float = 0.0

    @property
    def judges(self) -> bool:
        """Whether it holds labels of both classes."""
        return self.labels is not None and len(np.unique(self.labels)) == 2
