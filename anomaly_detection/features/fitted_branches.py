"""`FittedBranches`: groups of features that several models learn from the same records, each fitted once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.group import FeatureGroup

__all__ = ["FittedBranches"]


class FittedBranches:
    """Branches fitted on some records, each with its features: they are held until this goes.

    Attributes
    ----------
    spared : float
        Seconds that the first fits took of all that were asked for again.
    """

    def __init__(self) -> None:
        self.spared = 0.0
        self._known: dict[type, tuple[dict[str, Any], FeatureGroup, npt.NDArray[np.float32], float]] = {}

    def fit_transform(self, branch: FeatureGroup, X: Table) -> npt.NDArray[np.float32]:
        """The branch's own `fit_transform`; one that is set up as an earlier one takes over what that has learned."""
        asked = {**vars(branch), "columns": X.columns}
        known = self._known.get(type(branch))
        if known is not None and known[0] == asked:
            _, fitted, block, seconds = known
            vars(branch).update(vars(fitted))
            self.spared += seconds
            return block
        began = time.perf_counter()
        block = np.asarray(branch.fit_transform(X))
        self._known[type(branch)] = asked, branch, block, time.perf_counter() - began
        return block
