"""`MEMBERS`: how a blended forest is put together, and how it scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from mlx_iforest.score_function import BLEND, Part, ScoreFunction, View
from mlx_iforest.scoring import Spread

__all__ = ["MEMBERS", "Member", "blended_score", "member_trees"]


@dataclass(frozen=True)
class Member:
    """Some of the trees, grown in one way, and what their leaves count for.

    Parameters
    ----------
    trees : int
        Share of the trees, out of the sum over all members.
    max_samples : int
        Rows of each tree, or all rows where there are fewer.
    depth, density : float
        Weight, among all views, of the path length and of the logarithm of the density.
    asinh : bool
        Grow on asinh of the standardised columns: far values no longer stretch the range that thresholds are drawn
        from, so that the bulk of the rows is divided as well.
    tails : bool
        Draw features by the square root of their kurtosis: those with far values more often.
    """

    trees: int
    max_samples: int
    depth: float = 0.0
    density: float = 0.0
    asinh: bool = False
    tails: bool = False

    @property
    def views(self) -> dict[str, float]:
        """The leaf values that count, and their weights."""
        told = {"path_length": self.depth, "log_density": self.density}
        return {name: weight for name, weight in told.items() if weight}


MEMBERS = (
    Member(trees=2, max_samples=256, depth=0.5, density=0.5, asinh=True),
    Member(trees=1, max_samples=64, density=0.5),
    Member(trees=1, max_samples=512, depth=0.5, density=0.5),
    Member(trees=2, max_samples=256, depth=1.0, tails=True),
)
"""How the forest is put together (docs/performance.md tells what was tried)."""


def member_trees(n_trees: int) -> list[tuple[int, int]]:
    """First tree, and the one after the last, of each member of a forest of `n_trees`."""
    shares = np.cumsum([0] + [member.trees for member in MEMBERS])
    bounds = np.rint(shares / shares[-1] * n_trees).astype(int)
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def blended_score(
    bounds: Sequence[tuple[int, int]], spreads: Sequence[Sequence[Spread]] | None = None
) -> ScoreFunction:
    """How a blend scores.

    Parameters
    ----------
    bounds : sequence of (int, int)
        The first tree of each member, and the one after the last.
    spreads : sequence of sequence of Spread, or None
        Of each member that has trees, one a view. None before they are known.
    """
    parts: list[Part] = []
    for number, (first, stop) in enumerate(bounds):
        if first < stop:
            of_part = repeat(None) if spreads is None else spreads[len(parts)]
            views = zip(MEMBERS[number].views.items(), of_part, strict=False)
            parts.append(Part(first, stop, tuple(View(name, one, weight) for (name, weight), one in views), number))
    return ScoreFunction(tuple(parts), BLEND)
