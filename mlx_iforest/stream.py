"""`Stream`: how far a model has followed its stream: the last rows, and when trees are grown anew."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import Forest

__all__ = ["GROUPS", "WINDOW", "Rows", "Stream"]

GROUPS = 10
"""Of trees that are renewed together; a forest of fewer trees has one group a tree."""

WINDOW = 4096
"""Rows of a stream that are kept, where `window` is not set."""

Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Stream:
    """How far a model has followed its stream.

    Parameters
    ----------
    window : int
        Rows that are kept.
    rows : ndarray of float32, shape (min(seen, window), n_features)
        The last ones, the newest at the end; as trees are grown on them.
    seen, renewals : int
        Rows and renewals so far.
    due : int
        Rows seen at which the next renewal comes; more than `seen`.
    groups : tuple of Forest, optional
        The trees of the model's forest, group by group: what was made ready of them to score stays with them.
    """

    window: int
    rows: Rows
    seen: int
    renewals: int
    due: int
    groups: tuple[Forest, ...] | None = None

    @classmethod
    def begin(cls, window: int, max_samples: int, n_features: int) -> Stream:
        """Before its first row; the first renewal waits for as many rows as a tree is grown on."""
        if window < max_samples:
            raise ValueError(
                f"window={window} holds fewer rows than the {max_samples} that a tree is grown on; make it larger, or"
                " max_samples smaller"
            )
        return cls(window, np.empty((0, n_features), np.float32), 0, 0, max_samples)

    def __getstate__(self) -> dict[str, Any]:
        # The groups are the forest's trees once more.
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"groups": None}

    def after(self, rows: int) -> int:
        """When a renewal comes after the one at `rows` seen."""
        return rows + max(1, min(rows, self.window) // GROUPS)
