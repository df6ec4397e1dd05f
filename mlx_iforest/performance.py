"""What a forest's work cost: fitting, scoring, pruning."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from mlx_iforest.backends.base import BackendChoice

__all__ = ["Performance", "PruningReport", "ScoringPerformance", "peak_process_memory"]


@dataclass
class Performance:
    """What a fit took.

    Attributes
    ----------
    grow_seconds : float
        Wall-clock time of growing the trees.
    peak_process_memory : int or None
        Peak resident bytes of the process since it began, read after growing; None where the system does not tell.
    grown_by : BackendChoice or None
        Which backend grew the trees, and why: where 'auto' was asked for, small work goes to Numba though there is a
        GPU. Of trees that were grown in several parts, the last part's.
    """

    grow_seconds: float
    peak_process_memory: int | None = None
    grown_by: BackendChoice | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures, for a report."""
        return asdict(self)


@dataclass(frozen=True)
class ScoringPerformance:
    """What scoring some rows took.

    Attributes
    ----------
    score_seconds : float
        Wall-clock time, checks included.
    scored_rows : int
    scored_by : BackendChoice
        Which backend did it, and why.
    batch_rows : int
        Rows taken at a time, at most.
    peak_process_memory : int or None
        Peak resident bytes of the process since it began; None where the system does not tell.
    peak_mlx_memory : int or None
        Peak bytes that MLX had allocated; None on the other backends.
    """

    score_seconds: float
    scored_rows: int
    scored_by: BackendChoice
    batch_rows: int
    peak_process_memory: int | None
    peak_mlx_memory: int | None

    @property
    def score_rows_per_second(self) -> float:
        return self.scored_rows / self.score_seconds

    def to_dict(self) -> dict[str, Any]:
        """All figures, for a report."""
        return {**asdict(self), "score_rows_per_second": self.score_rows_per_second}


@dataclass(frozen=True)
class PruningReport:
    """What pruning took away, and what it may have changed.

    Attributes
    ----------
    tolerance : float
        The change of a score that was allowed.
    nodes_before, nodes_after, trees_before, trees_after, bytes_before, bytes_after : int
        Bytes are those of the forest as it is stored.
    bound : float
        Proven: no row's score changed by more, whatever the row, apart from float32 rounding (below 1e-6). At most
        `tolerance` unless trees were removed.
    rows : int
        Validation rows; 0 where none were given, and then all that follows is None.
    largest_change : float or None
        Largest change of a score among the validation rows. At most `tolerance`, and at most `bound`.
    rows_per_second_before, rows_per_second_after : float or None
        Measured on at most 100,000 validation rows.
    """

    tolerance: float
    nodes_before: int
    nodes_after: int
    trees_before: int
    trees_after: int
    bytes_before: int
    bytes_after: int
    bound: float
    rows: int = 0
    largest_change: float | None = None
    rows_per_second_before: float | None = None
    rows_per_second_after: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures, for a report."""
        return asdict(self)

    def __str__(self) -> str:
        counts = (
            (self.nodes_before, self.nodes_after, "nodes"),
            (self.trees_before, self.trees_after, "trees"),
            (self.bytes_before, self.bytes_after, "bytes"),
        )
        size = ", ".join(f"{before:,} -> {after:,} {what}" for before, after, what in counts)
        lines = [f"{size}.", f"No score of any row changes by more than {self.bound:.2g} (proven)."]
        if self.largest_change is not None:
            lines.append(f"The largest change on the {self.rows:,} rows given is {self.largest_change:.2g}.")
        if self.bound > self.tolerance:
            lines.append(f"Only what these rows show keeps changes within {self.tolerance:g}: trees were removed.")
        if self.rows_per_second_before and self.rows_per_second_after:
            ratio = self.rows_per_second_after / self.rows_per_second_before
            lines.append(f"{self.rows_per_second_after:,.0f} rows a second, {ratio:.2f} times as many as before.")
        return " ".join(lines)


def peak_process_memory() -> int | None:
    """Peak resident bytes of this process, or None on systems without `resource` (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
