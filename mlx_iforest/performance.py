"""What a forest's work cost."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from mlx_iforest.backends.base import BackendChoice

__all__ = ["Performance", "ScoringPerformance", "peak_process_memory"]


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


def peak_process_memory() -> int | None:
    """Peak resident bytes of this process, or None on systems without `resource` (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
