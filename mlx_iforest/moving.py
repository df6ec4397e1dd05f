"""A forest that moves with a stream: groups of its trees are grown anew on the last rows, at fixed counts of rows.

The stream's last `window` rows are kept. The trees are in `GROUPS` groups of neighbours; at each renewal the oldest
group makes way for trees grown on the window. Renewals come whenever a tenth as many rows came as the window holds, so
that every tree is grown anew within a window's length. What a tree is depends on the model's seed, its place, how often
that place was renewed, and the window then: the state is a function of the fit and of the rows in their order, however
they are cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.crossover import Work
from mlx_iforest.forest import Forest
from mlx_iforest.model import FittedModel
from mlx_iforest.stream import GROUPS, Rows, Stream
from mlx_iforest.threads import run

__all__ = ["follow"]

CHUNK = 1 << 16
"""Rows that are looked at together: bounds memory, and changes nothing."""

Grow = Callable[[Rows, int, int], Forest]
"""Grows, from rows, trees of which the first has a number; how many is the last argument."""


class _Life(NamedTuple):
    """A group, and the rows of a chunk that it scores: from `first` to before `stop`."""

    group: int
    forest: Forest
    first: int
    stop: int


def follow(
    model: FittedModel, stream: Stream, X: Rows, hidden: Rows, grow: Grow, *, scores: NDArray[np.float64] | None
) -> FittedModel:
    """The model after more rows of its stream.

    Parameters
    ----------
    model : FittedModel
        Of one leaf value; as its fit or this function left it.
    stream : Stream
        Where it stands.
    X, hidden : ndarray of float32, shape (n_rows, n_features)
        Valid rows as they are scored, and as trees are grown on them.
    grow : callable
    scores : ndarray of float64, shape (n_rows,), or None
        Takes each row's score by the trees grown on rows before it.
    """
    for first in range(0, len(X), CHUNK):
        part = slice(first, first + CHUNK)
        model, stream = _follow(model, stream, X[part], hidden[part], grow, None if scores is None else scores[part])
    return model._replace(stream=stream)


def bounds(n_trees: int) -> list[int]:
    """Where each group of trees begins, and the end."""
    n_groups = min(GROUPS, n_trees)
    return [group * n_trees // n_groups for group in range(n_groups + 1)]


def _follow(
    model: FittedModel, stream: Stream, X: Rows, hidden: Rows, grow: Grow, scores: NDArray[np.float64] | None
) -> tuple[FittedModel, Stream]:
    n_trees, edges = model.forest.n_trees, bounds(model.forest.n_trees)
    n_groups = len(edges) - 1
    groups = list(stream.groups or (model.forest.trees(*pair) for pair in pairwise(edges)))
    rows = np.concatenate([stream.rows, hidden])
    due, ends = stream.due, []
    while due <= stream.seen + len(X):
        ends.append(due - stream.seen)
        due = stream.after(due)

    def renew(k: int) -> Forest:
        generation, group = divmod(stream.renewals + k, n_groups)
        stop = len(stream.rows) + ends[k]
        number = (n_trees * (generation + 1) + edges[group]) % (1 << 32)
        return grow(rows[max(0, stop - stream.window) : stop], number, edges[group + 1] - edges[group])

    # Trees that are gone before the end are grown only where they score.
    first = 0 if scores is not None else max(0, len(ends) - n_groups)
    grown = run(renew, range(first, len(ends)), model.resources.threads())
    lives, since = [], [0] * n_groups
    for k, forest in enumerate(grown, first):
        group = (stream.renewals + k) % n_groups
        lives.append(_Life(group, groups[group], since[group], ends[k]))
        groups[group], since[group] = forest, ends[k]
    lives += [_Life(group, groups[group], since[group], len(X)) for group in range(n_groups)]
    if scores is not None:
        _score(model, lives, [0, *ends, len(X)], X, scores)
    if grown:
        model = model.with_forest(Forest.concatenate(groups), model.function)
    kept = rows[max(0, len(rows) - stream.window) :].copy()
    seen, renewals = stream.seen + len(X), stream.renewals + len(ends)
    return model, replace(stream, rows=kept, seen=seen, renewals=renewals, due=due, groups=tuple(groups))


def _score(model: FittedModel, lives: list[_Life], edges: list[int], X: Rows, scores: NDArray[np.float64]) -> None:
    """Fill in every row's score by the groups that live at it; between two edges these are the same."""
    resources = model.resources
    backend, _ = resources.backend_for(lambda: Work.scoring(model.forest, len(X)), resources.threads())
    add_up = getattr(backend, "leaf_sums", None)
    if add_up is None:
        _score_plainly(model, lives, edges, X, scores)
        return
    name = model.function.views[0].leaf_value
    # The unit is that of all trees together, as if they were one forest.
    exponents = np.full(len(edges) - 1, -(1 << 30))
    spans = [range(*np.searchsorted(edges, [life.first, life.stop])) for life in lives]
    for life, span in zip(lives, spans, strict=True):
        highest = int(np.frexp(np.abs(life.forest.arrays()[name]).max())[1])
        exponents[span.start : span.stop] = np.maximum(exponents[span.start : span.stop], highest)
    units = 2.0 ** (exponents - 24)

    def sums(k: int) -> list[tuple[int, int, NDArray[np.float64]]]:
        life, span = lives[k], spans[k]
        values, found = life.forest.arrays()[name][:, None], []
        at = span.start
        while at < span.stop:
            end = next((p for p in range(at, span.stop) if units[p] != units[at]), span.stop)
            part = slice(edges[at], edges[end])
            found.append((part.start, part.stop, add_up(life.forest, values, X[part], float(units[at]))[:, 0]))
            at = end
        return found

    totals = np.zeros(len(X))
    for found in run(sums, range(len(lives)), resources.threads()):
        for start, stop, added in found:
            totals[start:stop] += added
    totals *= np.repeat(units / model.forest.n_trees, np.diff(edges))
    scores[:] = model.function.scores(totals[:, None])
    if model.function.given is not None:
        scores[:] = model.function.given.lower(scores, X)


def _score_plainly(
    model: FittedModel, lives: list[_Life], edges: list[int], X: Rows, scores: NDArray[np.float64]
) -> None:
    """The same, a whole forest between two edges at a time: what the groups must equal, bit for bit."""
    for start, stop in pairwise(edges):
        if start < stop:
            alive = sorted(life[:2] for life in lives if life.first <= start < life.stop)
            forest = Forest.concatenate([forest for _, forest in alive])
            scores[start:stop] = model.with_forest(forest, model.function).score(X[start:stop])
