"""What a forest's work cost."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from mlx_iforest.backends.base import BackendChoice

__all__ = ["Performance", "peak_process_memory"]


@dataclass
class Performance:
    """Measured while the estimator works; the scoring figures are those of the latest call.

    Attributes
    ----------
    grow_seconds : float
        Wall-clock time of growing the trees of the latest fit.
    score_seconds : float or None
        Wall-clock time of the latest scoring; None before the first.
    scored_rows : int
        Rows of the latest scoring.
    peak_process_memory : int or None
        Peak resident bytes of the process since it began, read after the latest work; None where the system does not
        tell.
    peak_mlx_memory : int or None
        Peak bytes that MLX had allocated; None on the other backends.
    grown_by, scored_by : BackendChoice or None
        Which backend did the latest work, and why: where 'auto' was asked for, small work goes to Numba though there is
        a GPU. Of trees that were grown in several parts, the last part's.
    batch_rows : int
        Rows that the latest scoring took at a time, at most.
    """

    grow_seconds: float
    score_seconds: float | None = None
    scored_rows: int = 0
    peak_process_memory: int | None = None
    peak_mlx_memory: int | None = None
    grown_by: BackendChoice | None = None
    scored_by: BackendChoice | None = None
    batch_rows: int = 0

    @property
    def score_rows_per_second(self) -> float | None:
        """Rate of the latest scoring."""
        return self.scored_rows / self.score_seconds if self.score_seconds else None

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
