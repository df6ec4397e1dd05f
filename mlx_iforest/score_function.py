"""`ScoreFunction`: how scores are made of leaf values, declared once for all that scores, bounds and explains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF_VALUES
from mlx_iforest.scoring import (
    ALERT_DEVIATIONS,
    Spread,
    average_path_length,
    density_score,
    density_slope,
    depth_score,
    depth_slope,
    soft_minimum,
    soft_minimum_and_slopes,
)

__all__ = [
    "BLEND",
    "DENSITY",
    "LEAF_VALUE",
    "MOST_EVIDENCE",
    "Depth",
    "Given",
    "Identity",
    "Link",
    "Logistic",
    "Part",
    "ScoreFunction",
    "View",
    "mean_score",
]

Floats = NDArray[np.float64]

LEAF_VALUE = {"depth": "path_length", "density": "log_density"}
"""What counts of a leaf, by `scoring`."""

MOST_EVIDENCE = 1e6
"""What evidence may begin to count at."""


class Link(Protocol):
    """From how normal a row is to its score."""

    @property
    def name(self) -> str:
        """What makes a row normal: the `scoring` of an estimator."""

    @property
    def steepest(self) -> float:
        """Where the score rises most; the further away, the less. May be infinite."""

    @property
    def exponent(self) -> tuple[float, float]:
        """Slope and shift: the score is minus the exponential, or minus the sigmoid, of the normality by these."""

    def score(self, normality: Floats) -> Floats:
        """It never falls."""

    def slope(self, normality: Floats) -> Floats:
        """The derivative of `score`."""


@dataclass(frozen=True)
class Depth:
    """The score of the paper, of mean path lengths in trees of so many samples."""

    subsample_size: int
    name = "depth"
    steepest = -math.inf

    @property
    def exponent(self) -> tuple[float, float]:
        usual = float(average_path_length(self.subsample_size))
        return (-math.log(2) / usual, 0.0) if usual else (0.0, -math.log(2))

    def score(self, normality: Floats) -> Floats:
        return depth_score(normality, self.subsample_size)

    def slope(self, normality: Floats) -> Floats:
        return depth_slope(normality, self.subsample_size)


@dataclass(frozen=True)
class Logistic:
    """-1 / (1 + exp(normality + shift))."""

    name: str
    shift: float

    @property
    def steepest(self) -> float:
        return -self.shift

    @property
    def exponent(self) -> tuple[float, float]:
        return -1.0, -self.shift

    def score(self, normality: Floats) -> Floats:
        return density_score(normality + self.shift)

    def slope(self, normality: Floats) -> Floats:
        return density_slope(normality + self.shift)


@dataclass(frozen=True)
class Identity:
    """The number as it is: what is explained where it is not the score."""

    name = "mean"
    steepest = 0.0
    exponent = (1.0, 0.0)

    def score(self, normality: Floats) -> Floats:
        return normality

    def slope(self, normality: Floats) -> Floats:
        return np.ones_like(normality)


DENSITY = Logistic("density", 0.0)
BLEND = Logistic("blend", ALERT_DEVIATIONS)


@dataclass(frozen=True)
class View:
    """What some trees say of a row: the mean of a leaf value.

    Parameters
    ----------
    leaf_value : str
        One of `LEAF_VALUES`.
    spread : Spread or None
        What standardises the mean, where several views are to be compared.
    weight : float
        Among all views.
    """

    leaf_value: str
    spread: Spread | None = None
    weight: float = 1.0


class _Declared:
    """Pickles as what it was made of: what has been worked out since is no part of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Part(_Declared):
    """Trees, from `first` to before `stop`, and the views of them."""

    first: int
    stop: int
    views: tuple[View, ...]

    @cached_property
    def weights(self) -> dict[str, Floats]:
        """Of each leaf value that counts, its weight in each view, shape (n_views,)."""
        weights = {name: np.zeros(len(self.views)) for name in LEAF_VALUES}
        for place, view in enumerate(self.views):
            weights[view.leaf_value][place] = 1.0 if view.spread is None else 1 / view.spread.deviation
        return {name: weight for name, weight in weights.items() if weight.any()}

    @cached_property
    def offset(self) -> Floats:
        """What is added to each view's weighted values, shape (n_views,)."""
        spreads = [view.spread for view in self.views]
        return np.array([0.0 if spread is None else -spread.median / spread.deviation for spread in spreads])


@dataclass(frozen=True)
class Given:
    """A column that is evidence against a row by itself: it lowers the score, and no tree looks at it.

    A forest cannot tell how far beyond all training rows a row lies: they end in one leaf. Evidence has no end. Up to
    `start` it changes nothing; beyond, what the score is above -1 is divided by ``(1 + 2 (evidence - start))**4``.

    Parameters
    ----------
    column : int
        Its place among the features.
    start : float
        In nats, at least 0.
    """

    column: int
    start: float

    def lower(self, scores: Floats, X: NDArray[np.float32]) -> Floats:
        """The scores in [-1, 0), shape (n_samples,), of rows with such evidence; a missing value is none."""
        # The larger of two of which one is missing is the other.
        beyond = np.fmax(X[:, self.column].astype(np.float64) - self.start, 0.0)
        if not beyond.any():
            return scores
        lowered = -1.0 + (1.0 + scores) / (1.0 + 2.0 * beyond) ** 4
        return np.asarray(np.where(beyond > 0.0, lowered, scores))


@dataclass(frozen=True)
class ScoreFunction(_Declared):
    """How a model makes scores of its trees' leaf values: views, of which the soft minimum goes through the link.

    Parameters
    ----------
    parts : tuple of Part
        One after the other they are the whole forest.
    link : Link
    given : Given, optional
        What else lowers a score.
    """

    parts: tuple[Part, ...]
    link: Link
    given: Given | None = None

    @classmethod
    def of_mean(cls, n_trees: int, leaf_value: str, link: Link) -> ScoreFunction:
        """The mean of one of the leaf values over all trees."""
        return cls((Part(0, n_trees, (View(leaf_value),)),), link)

    @cached_property
    def views(self) -> tuple[View, ...]:
        return tuple(view for part in self.parts for view in part.views)

    @cached_property
    def view_weights(self) -> Floats:
        return np.array([view.weight for view in self.views])

    @cached_property
    def used(self) -> set[str]:
        """The leaf values that count for something."""
        return {view.leaf_value for view in self.views}

    def with_sizes(self, sizes: Sequence[int]) -> ScoreFunction:
        """The same of a forest whose parts have so many trees."""
        stops = np.cumsum(sizes).tolist()
        bounds = zip(self.parts, [0, *stops[:-1]], stops, strict=True)
        return replace(self, parts=tuple(replace(part, first=first, stop=stop) for part, first, stop in bounds))

    def combine(self, columns: Floats) -> Floats:
        """From the views' values, shape (n_samples, n_views), to one number a row.

        It never falls where a view rises, and moves no further than the view that moves most.
        """
        return columns[:, 0] if columns.shape[1] == 1 else soft_minimum(columns, self.view_weights)

    def scores(self, columns: Floats) -> Floats:
        """Scores in [-1, 0) of the views' values."""
        return self.link.score(self.combine(columns))

    def gradient(self, columns: Floats) -> Floats:
        """The derivative of the score by each view, of the same shape."""
        if columns.shape[1] == 1:
            return self.link.slope(columns)
        normality, slopes = soft_minimum_and_slopes(columns, self.view_weights)
        return self.link.slope(normality)[:, None] * slopes

    def largest_change(self, low: float, high: float, step: float) -> float:
        """The most that a score changes between two numbers in [low, high] that are `step` apart or closer."""
        step = min(step, high - low)
        start = float(np.clip(self.link.steepest - step / 2, low, high - step))
        before, after = self.link.score(np.array([start, start + step]))
        return float(after - before)

    def largest_step(self, low: float, high: float, change: float) -> float:
        """How far numbers in [low, high] may move without changing any score by more than `change`."""
        if self.largest_change(low, high, high - low) <= change:
            return math.inf
        if change == 0:
            return 0.0
        fits, too_far = 0.0, high - low
        while fits < (middle := (fits + too_far) / 2) < too_far:
            fits, too_far = (middle, too_far) if self.largest_change(low, high, middle) <= change else (fits, middle)
        # A hair less, so that no rounding of a sum over the trees brings the bound above the tolerance.
        return fits * (1 - 1e-9)


def mean_score(n_trees: int, leaf_value: str, max_samples: int) -> ScoreFunction:
    """The score of a forest of one kind of trees, each grown on `max_samples` rows."""
    return ScoreFunction.of_mean(n_trees, leaf_value, DENSITY if leaf_value == "log_density" else Depth(max_samples))
