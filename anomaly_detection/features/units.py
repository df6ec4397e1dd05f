"""`Units`: the features of some records as a person would say them, group by group as they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.group import Facts

if TYPE_CHECKING:
    from anomaly_detection.features.branches import Branch
    from anomaly_detection.features.trained_features import TrainedFeatures

__all__ = ["Units"]

Objects = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]


class Units:
    """Values and what is usual, in the columns' own units.

    Most features of a record are never told, and some groups count all that came together to say theirs.

    Parameters
    ----------
    features : TrainedFeatures
        Fitted.
    extended : Table
        All records that came together.
    rows : ndarray of int64, optional
        The positions of those to tell of; all if not given.
    """

    def __init__(self, features: TrainedFeatures, extended: Table, rows: npt.NDArray[np.int64] | None) -> None:
        self._extended, self._rows = extended, rows
        every = rows is None or (len(rows) == len(extended) and bool((rows == np.arange(len(rows))).all()))
        self.rows = extended if every or rows is None else extended.take(rows)
        """Those to tell of."""
        if features.moves_ is not None and self.rows is not extended and rows is not None:
            features.moves_.carry(extended, rows, self.rows)
        self._branches, self._slices, self._bounds, self._place = _layout(features)
        self._told: dict[int, tuple[Objects, ...]] = {}
        self._ranges: dict[int, Floats | None] = {}
        self._beside: dict[tuple[int, int], tuple[str, ...] | None] = {}
        self._tables: dict[int, Table] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, row: int, feature: int) -> tuple[Any, Any]:
        """The value of a kept feature, and what is usual."""
        branch, column = self._place[feature]
        values, usual = self._said(branch)
        return values[row, column], usual[row, column]

    def between(self, row: int, feature: int) -> tuple[float, float]:
        """Between what the value usually lies; NaN where there is no such range."""
        branch, column = self._place[feature]
        ends = self._ends(branch)
        return (np.nan, np.nan) if ends is None else (float(ends[0, row, column]), float(ends[1, row, column]))

    def told_beside(self, row: int, feature: int) -> tuple[str, ...] | None:
        """`FeatureGroup.told_beside` of a kept feature."""
        if (row, feature) not in self._beside:
            branch, column = self._place[feature]
            self._beside[row, feature] = self._branches[branch][1].told_beside(self._of_branch(branch), column, row)
        return self._beside[row, feature]

    def facts(self, row: int, feature: int) -> Facts | None:
        """`FeatureGroup.facts` of a kept feature."""
        branch, column = self._place[feature]
        return self._branches[branch][1].facts(self._of_branch(branch), column, row)

    def is_fact(self, row: int, feature: int) -> bool:
        """`FeatureGroup.is_fact` of a kept feature."""
        branch, column = self._place[feature]
        return self._branches[branch][1].is_fact(self._of_branch(branch), column, row)

    def all(self) -> tuple[Objects, Objects]:
        """`of` for all rows and kept features, both (n, features)."""
        told = [self._said(branch) for branch in range(len(self._branches))]
        values, usual = (np.hstack([one[i] for one in told]) for i in (0, 1))
        kept = [self._slices[branch].start + column for branch, column in self._place]
        return values[:, kept], usual[:, kept]

    def all_between(self) -> tuple[Floats, Floats]:
        """`between` for all rows and kept features, both (n, features)."""
        ends = np.full((2, len(self), len(self._place)), np.nan)
        for i, (branch, column) in enumerate(self._place):
            found = self._ends(branch)
            if found is not None:
                ends[..., i] = found[..., column]
        return ends[0], ends[1]

    def _said(self, i: int) -> tuple[Objects, ...]:
        if i not in self._told:
            _, branch, columns = self._branches[i]
            if branch.counted:
                told = branch.in_units(self._extended.only(columns), self._rows)
            else:
                told = branch.in_units(self._of_branch(i))
            self._told[i] = tuple(one.astype(object, copy=False) for one in told)
        return self._told[i]

    def _ends(self, i: int) -> Floats | None:
        if i not in self._ranges:
            branch = self._branches[i][1]
            has = hasattr(branch, "ranges_in_units")
            bounds = self._bounds[:, self._slices[i]]
            self._ranges[i] = branch.ranges_in_units(self._of_branch(i), bounds) if has else None
        return self._ranges[i]

    def _of_branch(self, i: int) -> Table:
        """The columns of a branch, of the rows to tell of."""
        if i not in self._tables:
            self._tables[i] = self.rows.only(self._branches[i][2])
        return self._tables[i]


class _Layout(NamedTuple):
    """Where each kept feature is among the branches' ones, and between what those for the forest usually lie."""

    branches: list[Branch]
    slices: list[slice]
    bounds: Floats
    place: list[tuple[int, int]]

    @classmethod
    def of(cls, features: TrainedFeatures) -> _Layout:
        branches = features._used()
        starts = np.cumsum([0, *(len(branch.get_feature_names_out()) for _, branch, _ in branches)])
        slices = [slice(start, stop) for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
        bounds = np.full((2, int(starts[-1])), np.nan)
        bounds[:, features.kept_[features.forest_features]] = features.tails_.bounds()
        branch = np.searchsorted(starts, features.kept_, side="right") - 1
        place = [*zip(branch.tolist(), (features.kept_ - starts[branch]).tolist(), strict=True)]
        return cls(branches, slices, bounds, place)


_layout: Kept[TrainedFeatures, _Layout] = Kept(_Layout.of)
