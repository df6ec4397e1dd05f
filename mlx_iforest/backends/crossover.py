"""CPU or GPU: what a piece of work costs on each, and so which of them does it where 'auto' was asked for.

Both give the same bits, so only the time can tell. The figures here hold until `calibration` has measured the machine's
own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.threads import FEWEST_THREADED_ROWS

__all__ = ["TABLE", "Cost", "Costs", "Kind", "Place", "Work", "cpu_is_faster", "gpu_place"]

Place = Literal["cpu", "cuda", "metal"]

Kind = Literal["scoring", "growing"]


@dataclass(frozen=True)
class Cost:
    """Seconds that parts of some work take, for a core of a CPU or for a whole GPU.

    Parameters
    ----------
    call : float
        Of any amount of work, however little; on a CPU of each thread that takes part.
    row, value : float
        Of each row, and of each value of a row, that is converted or moved to where the work is done.
    step : float
        Of each step, see `Work`.
    """

    call: float
    row: float
    value: float
    step: float


Costs = Mapping[Kind, Mapping[Place, Cost]]

SCORING: dict[Place, Cost] = {
    # 16 cores of an H100's host, 100 trees x 256: 54 million rows/s with 8 features; 1,000 rows in 0.3 ms. A value is
    # an estimate: comparing floats in place of ranks was measured on another processor.
    "cpu": Cost(call=2e-4, row=0, value=1e-9, step=2.4e-11),
    # H100, from NumPy: 54 million rows/s with 8 features, 7.3 with 64, 0.96 with 500, all of it the transfer; on the
    # device 2,300 million rows/s of 100 trees x 256, 386 of 300 x 4,096; one row takes 1 ms. As fast as the 16 cores
    # from 16,000 rows on.
    "cuda": Cost(call=1e-3, row=0, value=2.2e-9, step=6e-13),
    # An estimate for an M4, from its roofline: 100 million rows/s of 100 trees x 256, no transfer.
    "metal": Cost(call=1e-3, row=0, value=1e-10, step=1.2e-11),
}
"""A step is a node, for each row, on a CPU (it asks all of a tree's splits); a tree's level, for each row, on a GPU."""

GROWING: dict[Place, Cost] = {
    # 16 cores of an H100's host: 100 x 256 in 2.5 ms, 100 x 4,096 in 7 ms, 8 x 1,000,000 in 235 ms.
    "cpu": Cost(call=1e-4, row=0, value=0, step=1.5e-8),
    # H100, from 4,000,000 rows of NumPy: the same in 19, 43 and 82 ms. The host gathers the rows that trees draw.
    "cuda": Cost(call=3e-3, row=1.5e-7, value=5e-10, step=6.5e-10),
    # An estimate for an M4, from the sizes of the chips.
    "metal": Cost(call=3e-3, row=1.5e-7, value=1e-10, step=6.5e-9),
}
"""A step is a tree's level, for each sample of the tree."""

TABLE: Costs = {"scoring": SCORING, "growing": GROWING}

MOST_NODES = 120
"""For each level of a tree; of larger ones the CPU walks the trees, and no more nodes cost more."""

GATHERED = 4
"""Where the drawn rows are fewer than one in so many of all, the host gathers them."""


@dataclass(frozen=True)
class Work:
    """How much there is to be done, to be asked what it costs.

    Parameters
    ----------
    kind : {'scoring', 'growing'}
    moved_rows, values : int
        Rows that the host gathers one by one, and values of all rows that are moved.
    cpu_steps, gpu_steps : int
    most_threads : int
        Threads that can share it on a CPU.
    what : str
        For people.
    """

    kind: Kind
    moved_rows: int
    values: int
    cpu_steps: int
    gpu_steps: int
    most_threads: int
    what: str

    @classmethod
    def scoring(cls, forest: Forest, n_rows: int) -> Work:
        """To score rows by a forest; few rows are no work for several threads."""
        levels = int(forest.tree_depths.sum())
        nodes = min(forest.n_nodes, MOST_NODES * max(levels, 1))
        shares = max(1, n_rows // FEWEST_THREADED_ROWS)
        what = f"scoring {n_rows:,} x {forest.n_features} values by {forest.n_trees} trees"
        return cls("scoring", 0, n_rows * forest.n_features, n_rows * nodes, n_rows * levels, shares, what)

    @classmethod
    def growing(cls, plan: GrowthPlan) -> Work:
        """To grow the trees of a plan."""
        drawn = plan.n_trees * plan.subsample_size
        gathered = GATHERED * drawn < plan.n_samples
        values = (drawn if gathered else plan.n_samples) * plan.n_features
        steps = drawn * max(plan.max_depth, 1)
        what = f"growing {plan.n_trees} trees of {plan.subsample_size:,} samples"
        return cls("growing", drawn if gathered else 0, values, steps, steps, plan.n_trees, what)

    def cpu_seconds(self, cost: Cost, n_threads: int) -> float:
        """By so many threads of a CPU."""
        parts = self.values * cost.value + self.cpu_steps * cost.step
        threads = max(1, min(n_threads, self.most_threads))
        return cost.call * threads + parts / threads

    def gpu_seconds(self, cost: Cost) -> float:
        """By a GPU: rows are moved while those before them are worked on."""
        return cost.call + self.moved_rows * cost.row + max(self.values * cost.value, self.gpu_steps * cost.step)


def gpu_place() -> Place:
    """The kind of GPU that MLX has on such a system."""
    return "metal" if sys.platform == "darwin" else "cuda"


def cpu_is_faster(work: Work, n_threads: int, costs: Costs) -> tuple[bool, str]:
    """Whether the CPU is expected to be faster, and the expectation in words."""
    of_kind = costs[work.kind]
    cpu, gpu = work.cpu_seconds(of_kind["cpu"], n_threads), work.gpu_seconds(of_kind[gpu_place()])
    return cpu < gpu, f"{work.what} is expected to take {cpu:.2g} s on {n_threads} CPU threads, {gpu:.2g} s on the GPU"
