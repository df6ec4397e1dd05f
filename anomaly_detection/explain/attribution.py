"""Which columns make a row abnormal: Shapley values of its score, against a record that is as odd as is usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.features.group import FeatureSource

__all__ = ["Attribution", "Player", "attribute", "players_of"]

_MOST_COLUMNS = 3
_MOST_PLAYERS = 6
_CELLS_A_CALL = 500_000
"""Of the coalitions' features: what they take stays in the cache."""

_FAR = 10.0

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Player:
    """What a share of the score can belong to.

    Attributes
    ----------
    columns : tuple of str
        One input column; several where features judge more than three columns at once, such as copies of a record.
    features : tuple of int
        The features that come from it, alone or with others.
    """

    columns: tuple[str, ...]
    features: tuple[int, ...]

    @cached_property
    def own(self) -> frozenset[int]:
        """The features, to look one up."""
        return frozenset(self.features)


@dataclass(frozen=True)
class Attribution:
    """Scores of n rows, and what each player does to them: ``score = base + effects.sum(axis=1) + rest``.

    Attributes
    ----------
    score : ndarray of float64, shape (n,)
        `score_samples`, lower for the more abnormal.
    base : float
        The score of the usual record, see `attribute`.
    effects : ndarray of float64, shape (n, n_players)
        In units of the score; negative makes the row more abnormal. 0 for a player that was not looked at by itself.
    rest : ndarray of float64, shape (n,)
        The same of all those players together.
    players : list of Player
    farness : ndarray of float32, shape (n, features)
        How far out each feature is, as the preprocessor's `farness` has it.
    """

    score: Floats
    base: float
    effects: Floats
    rest: Floats
    players: list[Player]
    farness: Floats32


def players_of(sources: Sequence[FeatureSource]) -> list[Player]:
    """Name the columns that features come from; a feature of more than three is carried by all of them as one player.

    The row-level summary belongs to nobody: it follows from the other features.
    """
    members: dict[tuple[str, ...], list[int]] = {}
    for i, source in enumerate(sources):
        for columns in _carriers(source):
            members.setdefault(columns, []).append(i)
    return [Player(columns, tuple(features)) for columns, features in members.items()]


def _carriers(source: FeatureSource) -> list[tuple[str, ...]]:
    if len(source.columns) > _MOST_COLUMNS:
        return [source.columns]
    return [(column,) for column in source.columns]


def attribute(detector: Any, features: Floats32) -> Attribution:
    """Share out the difference between each row's score and that of the usual record.

    It is a game between columns. A coalition of them has the score that the row gets when a feature keeps its value
    where all its columns belong to the coalition, and is made usual elsewhere; a ratio is odd through both its columns,
    so neither has its oddity alone. A column's effect is its Shapley value (Shapley, 1953): what it adds to a
    coalition, in the mean over all orders in which the columns may join. Values are exact, over all coalitions of the
    six players that lie farthest out and, as a seventh, everything else; so they add up, and what two columns do only
    together is halved between them. A game that has one record for its origin is the baseline Shapley of Sundararajan
    and Najmi (2020).

    In the usual record each feature is at its median, but its surprises are not nil: hardly any record is without, so
    that one would be odd. They are those of a usual record, the largest for the feature that surprises most in the row,
    and so on. The largest ones are taken anew for each coalition, so that a second surprise is not credited for being
    second: it counts for what it would do without the first.

    Parameters
    ----------
    detector : object
        With `preprocessor` (`feature_sources_`, `usual_`, `usual_surprises_`, `surprises`, `blame`, `farness`,
        `standing_out`, `of_coalitions` and `summarise`), `score_features` and `sees` (see `Detector`).
    features : ndarray of float32, shape (n, n_features)
        As the preprocessor gives them.

    Returns
    -------
    Attribution
    """
    preprocessor = detector.preprocessor
    usual = preprocessor.usual_
    players, carriers = _players(preprocessor)
    evidence, surprises = preprocessor.blame(features), preprocessor.surprises(features)
    farness = surprises if evidence is None else preprocessor.farness(features, evidence)
    profile = preprocessor.usual_surprises_
    expected = np.empty_like(surprises)
    np.put_along_axis(expected, np.argsort(-surprises, axis=1, kind="stable"), profile[None], axis=1)
    origin = np.full((1, features.shape[1]), np.nan, dtype=np.float32)
    origin[:, : len(usual)] = usual
    none = None if evidence is None else np.zeros((1, len(usual)), dtype=np.float32)
    usual_record = preprocessor.summarise(origin, profile[None], none)
    chosen = _farthest(players, preprocessor.standing_out(farness, surprises))
    weights = _shapley_weights(chosen.shape[1] + 1)
    values = np.empty((weights.shape[1], len(features)))
    coalitions = np.arange(1, len(values) - 1, dtype=np.uint8)[:, None, None]
    rows = max(1, _CELLS_A_CALL // max(1, coalitions.size * features.shape[1]))
    # What the model does not see of the features is not made.
    first = 0 if detector.sees(len(usual)) else len(usual)
    wide = features.shape[1] - first
    scored = rows * max(1, _CELLS_A_CALL // (rows * len(values) * max(1, wide)))
    for begin in range(0, len(features), scored):
        block = features[begin : begin + scored]
        # Nobody, every coalition, and everybody, in one call of the forest.
        whole = np.empty((len(values), len(block), wide), dtype=np.float32)
        whole[0], whole[-1] = usual_record[:, first:], block[:, first:]
        for start in range(begin, begin + len(block), rows):
            some = slice(start, start + rows)
            needed = _needed(chosen[some], carriers, len(players))
            made = whole[1:-1, start - begin : start - begin + rows]
            if not first:
                lacking = (needed & ~coalitions) > 0
                made[..., : len(usual)] = np.where(lacking, usual, features[some, : len(usual)])
            made[..., len(usual) - first :] = preprocessor.of_coalitions(
                needed, len(coalitions), surprises[some], expected[some], None if evidence is None else evidence[some]
            )
        values[:, begin : begin + scored] = detector.score_features(whole.reshape(-1, wide), first).reshape(
            len(values), -1
        )
    # One product after the other: a product of matrices may round otherwise where rows come in other numbers.
    found = np.zeros((len(features), len(weights)))
    for weight, value in zip(weights.T, values, strict=True):
        found += weight * value[:, None]
    effects = np.zeros((len(features), len(players)))
    np.put_along_axis(effects, chosen, found[:, :-1], axis=1)
    return Attribution(values[-1], float(values[0, 0]), effects, found[:, -1], players, farness)


def _game(preprocessor: Any) -> tuple[list[Player], npt.NDArray[np.int64]]:
    """The players, and which of them each feature needs; one that needs fewer than three names some twice."""
    sources = preprocessor.feature_sources_[: len(preprocessor.usual_)]
    players = players_of(sources)
    place = {player.columns: i for i, player in enumerate(players)}
    needs = [[place[c] for c in (_carriers(source) * _MOST_COLUMNS)[:_MOST_COLUMNS]] for source in sources]
    return players, np.array(needs)


_players: Kept[Any, tuple[list[Player], npt.NDArray[np.int64]]] = Kept(_game)


def _farthest(players: Sequence[Player], farness: Floats32) -> npt.NDArray[np.int64]:
    """The players of each row that stand out most, by the root of the sum of squares of their features' farness."""
    beyond = np.clip(farness - 1.0, 0.0, _FAR) ** 2
    total = np.stack([beyond[:, player.features].sum(axis=1) for player in players], axis=1)
    return np.argsort(-total, axis=1, kind="stable")[:, :_MOST_PLAYERS]


def _needed(chosen: npt.NDArray[np.int64], carriers: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint8]:
    """The coalition that each feature of each row needs, a bit a player, the highest for those that were not chosen."""
    bits = np.full((len(chosen), count), 1 << chosen.shape[1], dtype=np.uint8)
    np.put_along_axis(bits, chosen, np.left_shift(1, np.arange(chosen.shape[1])).astype(np.uint8)[None], axis=1)
    return np.asarray(np.bitwise_or.reduce(bits[:, carriers], axis=2))


@cache
def _shapley_weights(players: int) -> Floats:
    """Weights, shape (players, coalitions), of the coalitions' values in each player's Shapley value."""
    weights = np.zeros((players, 1 << players))
    for coalition in range(1 << players):
        size = coalition.bit_count()
        for player in range(players):
            if coalition >> player & 1:
                weights[player, coalition] = factorial(size - 1) * factorial(players - size) / factorial(players)
            else:
                weights[player, coalition] = -factorial(size) * factorial(players - size - 1) / factorial(players)
    return weights
