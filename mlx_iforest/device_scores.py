"""Scores of rows that lie on MLX's GPU, made there from the first look-up to the last rounding."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx

from mlx_iforest.backends.base import device_errors
from mlx_iforest.backends.mlx.scoring import LOCK, KernelScorer, kernel_scorer
from mlx_iforest.model import ScoredForest
from mlx_iforest.score_function import Depth, Given, ScoreFunction

__all__ = ["device_scores"]


def device_scores(scored: ScoredForest, X: mx.array) -> mx.array | None:
    """The scores of rows on the device; None where a forest's trees do not fit into the kernel's words.

    What the trees add up to is the CPU's, bit for bit; what is made of it is float32 here.

    Parameters
    ----------
    scored : ScoredForest
    X : mx.array of real numbers, shape (n_samples, n_features)

    Returns
    -------
    mx.array of float32, shape (n_samples,), evaluated
        In [-1, 0); lower is more abnormal.

    Raises
    ------
    ValueError
        A row holds an infinity.
    DeviceError
        The device failed.
    """
    scorers = [kernel_scorer(*table) for table in scored.tables]
    with LOCK, device_errors(f"scoring {X.shape[0]} rows"):
        X = X.astype(mx.float32)
        if mx.isinf(X).any().item():
            raise ValueError("Input X contains infinity or a value too large for dtype('float32').")
        parts = []
        rows = min((scorer.launch_rows for scorer in scorers if scorer is not None), default=0)
        if not rows or None in scorers:
            return None
        for start in range(0, X.shape[0], rows):
            part = X[start : start + rows]
            means = (mean for scorer in scorers if scorer is not None for mean in _means(scorer, part))
            parts.append(_scores(scored.function, list(means), part))
        scores = parts[0] if len(parts) == 1 else mx.concatenate(parts)
        mx.eval(scores)
    return scores


def _means(scorer: KernelScorer, X: mx.array) -> Iterator[mx.array]:
    """Of each view the means over the trees."""
    means = scorer.totals(X).astype(mx.float32) * (scorer.unit / scorer.packed.n_trees)
    return (means[:, place] for place in range(means.shape[1]))


def _scores(function: ScoreFunction, means: list[mx.array], X: mx.array) -> mx.array:
    """`ScoreFunction.scores` of the views' means."""
    views = [
        mean if view.spread is None else (mean - view.spread.median) / view.spread.deviation
        for mean, view in zip(means, function.views, strict=True)
    ]
    slope, shift = function.link.exponent
    exponent = slope * _soft_minimum(views, function.view_weights.tolist()) + shift
    scores = -mx.exp(exponent) if isinstance(function.link, Depth) else -mx.sigmoid(exponent)
    return scores if function.given is None else _lowered(function.given, scores, X)


def _soft_minimum(views: list[mx.array], weights: list[float]) -> mx.array:
    """`scoring.soft_minimum`."""
    if len(views) == 1:
        return views[0]
    least = views[0]
    for view in views[1:]:
        least = mx.minimum(least, view)
    total = sum(
        (weight / sum(weights) * mx.exp(least - view) for view, weight in zip(views, weights, strict=True)),
        mx.zeros_like(least),
    )
    return least - mx.log(total)


def _lowered(given: Given, scores: mx.array, X: mx.array) -> mx.array:
    """`Given.lower`."""
    evidence = X[:, given.column]
    beyond = mx.where(mx.isnan(evidence), 0.0, mx.maximum(evidence - given.start, 0.0))
    return mx.where(beyond > 0.0, -1.0 + (1.0 + scores) / (1.0 + 2.0 * beyond) ** 4, scores)
