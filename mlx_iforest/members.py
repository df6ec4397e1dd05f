"""`RECIPES`: how a blended forest is put together, and how it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from mlx_iforest.score_function import BLEND, Part, ScoreFunction, View
from mlx_iforest.scoring import Spread

__all__ = ["FIRST_VIEWS", "RECIPES", "Member", "blended_score", "member_trees"]


@dataclass(frozen=True)
class Member:
    """Some of the trees, grown in one way; the mean path length in them is one view of a row.

    Parameters
    ----------
    trees : int
        Share of the trees, out of the sum over all members.
    max_samples : int
        Rows of each tree, or all rows where there are fewer.
    margin : float
        How far, in ranges of a node's values, rows may lie beyond them before they leave (`guards`).
    trimmed : float
        Share of the training rows, those that the first member finds most abnormal, that no tree is grown on.
    asinh : bool
        Grow on asinh of the standardised columns: far values no longer stretch the range that thresholds are drawn
        from, so that the bulk of the rows is divided as well.
    """

    trees: int
    max_samples: int
    margin: float
    trimmed: float = 0.0
    asinh: bool = False


RECIPES: dict[str, tuple[Member, ...]] = {
    "contaminated": (
        Member(trees=1, max_samples=512, margin=1.0),
        Member(trees=1, max_samples=512, margin=0.0, trimmed=0.2),
        Member(trees=1, max_samples=64, margin=1.0, trimmed=0.1, asinh=True),
    ),
    "clean": (Member(trees=1, max_samples=256, margin=0.0),),
}
"""How the forest is put together, by `history` (docs/performance.md tells what was tried)."""

FIRST_VIEWS: tuple[dict[str, float], ...] = (
    {"path_length": 0.5, "log_density": 0.5},
    {"log_density": 0.5},
    {"path_length": 0.5, "log_density": 0.5},
    {"path_length": 1.0},
)
"""Leaf values and weights of the views of each member of a forest of before `RECIPES`; its files do not name them."""


def member_trees(recipe: Sequence[Member], n_trees: int) -> list[tuple[int, int]]:
    """First tree, and the one after the last, of each member of a forest of `n_trees`."""
    shares = np.cumsum([0] + [member.trees for member in recipe])
    bounds = np.rint(shares / shares[-1] * n_trees).astype(int)
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def blended_score(
    bounds: Sequence[tuple[int, int]],
    views: Sequence[Mapping[str, float]],
    spreads: Sequence[Sequence[Spread]] | None = None,
) -> ScoreFunction:
    """How a blend scores.

    Parameters
    ----------
    bounds : sequence of (int, int)
        The first tree of each member, and the one after the last; members without trees have no view.
    views : sequence of mapping of str to float
        Of each member the leaf values that count, and their weights.
    spreads : sequence of sequence of Spread, or None
        Of each member that has trees, one a view. None before they are known.
    """
    parts: list[Part] = []
    for (first, stop), weights in zip(bounds, views, strict=True):
        if first < stop:
            of_part = repeat(None) if spreads is None else spreads[len(parts)]
            named = zip(weights.items(), of_part, strict=False)
            parts.append(Part(first, stop, tuple(View(name, one, weight) for (name, weight), one in named)))
    return ScoreFunction(tuple(parts), BLEND)
