"""Scores of rows that lie on MLX's GPU, made there from the first look-up to the last rounding."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx

from mlx_iforest.backends.base import device_errors
from mlx_iforest.backends.mlx.kernel_source import Kernel
from mlx_iforest.backends.mlx.launch import LOCK, launch
from mlx_iforest.backends.mlx.scoring import GROUPS, KernelScorer, kernel_scorer, padded
from mlx_iforest.model import ScoredForest
from mlx_iforest.score_function import Depth, Given, ScoreFunction

__all__ = ["INFINITE", "device_scores"]

THREADS = 256

INFINITE = Kernel(
    "infinite",
    """
    uint32_t seen = 0u;
    for (uint32_t i = GROUP * THREADS + THREAD; i < size[0]; i += N_GROUPS * THREADS) {
        seen |= (FLOAT_TO_BITS(LOAD(X, i)) & 0x7fffffffu) == 0x7f800000u ? 1u : 0u;
    }
    found[GROUP * THREADS + THREAD] = seen;
    """,
    inputs=(("X", "float32"), ("size", "uint32")),
    outputs=(("found", "uint32"),),
)
"""1 of each thread that saw an infinity. Of plain operations each would write as much as it reads."""


def device_scores(scored: ScoredForest, X: mx.array, *, check: bool) -> mx.array | None:
    """The scores of rows on the device; None where a forest's trees do not fit into the kernel's words.

    What the trees add up to is the CPU's, bit for bit; what is made of it is float32 here.

    Parameters
    ----------
    scored : ScoredForest
    X : mx.array of real numbers, shape (n_samples, n_features)
    check : bool
        Whether to refuse infinities, which takes as long as reading the rows.

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
    scorers = [scorer for table in scored.tables if (scorer := kernel_scorer(*table)) is not None]
    if len(scorers) < len(scored.tables):
        return None
    rows = min(scorer.launch_rows for scorer in scorers)
    with LOCK, device_errors(f"scoring {X.shape[0]} rows"):
        X = X.astype(mx.float32)
        parts, infinite = [], []
        for start in range(0, X.shape[0], rows):
            part = X[start : start + rows]
            means = [mean for scorer in scorers for mean in _means(scorer, part)]
            parts.append(_scores(scored.function, means, part))
            infinite += [_infinite(part)] if check else []
        scores = parts[0] if len(parts) == 1 else mx.concatenate(parts)
        mx.eval(scores, *infinite)
        if any(found.item() for found in infinite):
            raise ValueError("Input X contains infinity or a value too large for dtype('float32').")
    return scores


def _infinite(X: mx.array) -> mx.array:
    """Whether there is an infinity among rows, not yet evaluated."""
    X = padded(X)
    n_groups = min(GROUPS, -(-X.size // THREADS))
    inputs = {"X": X, "size": mx.array([X.size], mx.uint32)}
    return launch(INFINITE, {"THREADS": THREADS}, inputs, {"found": (n_groups * THREADS,)}, n_groups)[0].max()


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
