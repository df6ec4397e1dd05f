"""Exact Shapley values of a fitted forest's path lengths, densities and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends import Backend, get_backend
from mlx_iforest.backends.memoize import MadeOnce
from mlx_iforest.batches import as_float32, batches, issparse
from mlx_iforest.explain.explanation import Explanation
from mlx_iforest.explain.mixtures import MOST_FEATURES, add_by_mixtures
from mlx_iforest.explain.reference import ReferenceTrees, expectations, gauss_legendre, settle, shares_of_row
from mlx_iforest.finite import check_finite
from mlx_iforest.forest import Forest
from mlx_iforest.model import FittedModel, ScoredForest
from mlx_iforest.resources import Resources
from mlx_iforest.score_function import Identity, Part, ScoreFunction
from mlx_iforest.threads import run

__all__ = ["EXPLAINED", "explain"]

EXPLAINED = ("path_length", "log_density", "score")
"""What can be explained."""

POINTS = 32
"""Of the integral along the way from the base to a row, where a score is made of several means."""

SAME = 1e-6
"""Closer together than so, a row's mean and the base have the slope of the point between them."""

BATCH_BYTES = 1 << 20
"""Of one array of a batch's Shapley values; a few are in use at a time in each thread."""

FEWEST_ROWS = 256
"""Of a batch, however wide rows are and however many threads there are."""


class Explainer(Protocol):
    """Trees, and values of their leaves, made ready to be explained."""

    def add(
        self,
        X: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
        *,
        fresh: bool,
        expected: NDArray[np.float64] | None,
    ) -> None:
        """Add to `out` the Shapley values of the sums over some parts of the trees, each times a factor.

        Parameters
        ----------
        X : ndarray of float32 in C order, shape (n_rows, n_features)
            Finite or NaN.
        parts : sequence of (int, int)
            The first tree of each, and the one after the last.
        factors : ndarray of float64, shape (n_parts, n_rows)
        out : ndarray of float64, shape (n_rows, n_features)
        fresh : bool
            Whether to overwrite what is in `out`.
        expected : ndarray of float64, shape (n_rows,), or None
            What each row of `out` is to add up to in the end; rounding is put right by it.
        """
        ...

    def add_against(
        self,
        X: NDArray[np.float32],
        background: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """As `add`, where unknown features are those of a background's rows, added up over these.

        Parameters
        ----------
        background : ndarray of float32 in C order, shape (n_background, n_features)
        factors : ndarray of float64, shape (n_parts, n_rows * n_background)
            Those of one row together.
        """
        ...

    @property
    def pairs(self) -> NDArray[np.int64]:
        """Pairs of features among which are all that interact, the smaller first, shape (n_pairs, 2)."""
        ...

    def add_interactions(
        self,
        X: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """As `add`, the interactions of `pairs`, to `out` of shape (n_rows, n_pairs)."""
        ...

    def with_shares(self, left_shares: NDArray[np.float64]) -> Explainer:
        """The same with other shares of what goes left where a feature is unknown, shape (n_nodes,)."""
        ...


def _make_explainer(forest: Forest, values: NDArray[np.float32]) -> Explainer:
    try:
        from mlx_iforest.explain.tables import ExplainedTrees
    except ImportError:
        # Without Numba: slowly.
        return ReferenceTrees.of(forest.trees(0, forest.n_trees), values)
    return ExplainedTrees.of(forest, values)


_explainer = MadeOnce(_make_explainer)


def explain(
    model: FittedModel,
    X: Any,
    of: str = "score",
    *,
    background: NDArray[np.float32] | None = None,
    interactions: bool = False,
    given: Any = None,
) -> Explanation:
    """`MLXIsolationForest.explain` of a model that nothing changes.

    Parameters
    ----------
    model : FittedModel
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Real numbers, as many features as the forest has; infinities are refused.
    of : {'path_length', 'log_density', 'score'}
    background : ndarray of float32 in C order, or CSR matrix, of shape (n_rows, n_features), or None
        Valid rows.
    interactions : bool
    given : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        The rows in the form that the explanation is to show them in; None for `X`.
    """
    if of not in EXPLAINED:
        raise ValueError(f"of={of!r} cannot be explained; expected one of {', '.join(map(repr, EXPLAINED))}")
    forest = model.forest
    if forest.direction_weight is not None:
        if background is None or interactions:
            raise ValueError(
                "a forest of oblique splits (extension_level > 0) is explained only against other rows, feature by"
                " feature: each split asks of several features at once, and no share of the samples says where it leads"
                " if some of them are unknown; give background=, such as ten normal rows, or fit with extension_level=0"
            )
        if forest.n_features > MOST_FEATURES:
            raise ValueError(
                f"a forest of oblique splits (extension_level > 0) is explained by all mixtures of two rows, too many"
                f" with {forest.n_features} features ({MOST_FEATURES} at most); fit with extension_level=0"
            )
    if of == "log_density" and forest.log_density is None:
        raise ValueError("of='log_density' needs densities, which this forest does not have; use of='path_length'")
    work = _Work(_Attribution.of_model(model, of, background), X, model.resources)
    values = work.interactions() if interactions else work.values()[0]
    names = model.feature_names
    data = _as_given(X if given is None else given, X)
    base_values = np.full(X.shape[0], work.attribution.base)
    return Explanation(values, base_values, data, None if names is None else list(names))


@dataclass(frozen=True)
class _Work:
    """Rows to be explained, piece by piece."""

    attribution: _Attribution
    X: Any
    resources: Resources

    def _run(self, do: Callable[[slice], None], n_bases: int = 1) -> None:
        """Do pieces of the rows, each against so many bases at a time."""
        n_threads = self.resources.threads()
        n_rows, n_features = self.X.shape
        rows = max(FEWEST_ROWS, min(BATCH_BYTES // (8 * n_features), -(-n_rows * n_bases // n_threads)))
        rows = self.resources.batch_rows(rows) or rows
        run(do, list(batches(self.X, max(1, rows // n_bases))), n_threads)

    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shapley values, shape (n_rows, n_features), and what the views say of the rows, shape (n_rows, n_views)."""
        attribution, background = self.attribution, self.attribution.background
        values, columns = np.empty(self.X.shape), np.empty((self.X.shape[0], len(attribution.function.views)))

        def attribute(rows: slice) -> None:
            part = self.X[rows]
            if not issparse(part):
                check_finite(part)
            part, out = as_float32(part), values[rows]
            said = columns[rows] = attribution.columns(part)
            expected = attribution.function.scores(said) - attribution.base
            factors = attribution.factors(attribution.bases, said)
            if background is not None:
                out[:] = 0
                if not attribution.explainers:
                    slopes = partial(mean_slopes, attribution.function)
                    add_by_mixtures(part, background, attribution.columns, slopes, out)
                for name, explainer in attribution.explainers.items():
                    explainer.add_against(part, background, *factors[name], out)
                settle(out, expected)
                return
            names = list(factors)
            for name, of_parts in factors.items():
                attribution.explainers[name].add(
                    part, *of_parts, out, fresh=name == names[0], expected=expected if name == names[-1] else None
                )

        self._run(attribute, len(attribution.bases))
        return values, columns

    def interactions(self) -> NDArray[np.float64]:
        """Halves of all interactions, and on the diagonal what is left of Shapley values, (n_rows, d, d)."""
        attribution, (values, columns) = self.attribution, self.values()
        n_rows, n_features = values.shape
        sums = {name: np.zeros((n_rows, len(one.pairs))) for name, one in attribution.explainers.items()}

        def attribute(number: int, explainers: dict[str, Explainer], rows: slice) -> None:
            base = attribution.bases[number : number + 1]
            for name, (parts, factors) in attribution.factors(base, columns[rows]).items():
                factors /= len(attribution.bases)
                explainers[name].add_interactions(as_float32(self.X[rows]), parts, factors, sums[name][rows])

        for number in range(len(attribution.bases)):
            self._run(partial(attribute, number, attribution.explainers_against(number)))
        matrices = np.zeros((n_rows, n_features, n_features))

        def assemble(rows: slice) -> None:
            part = matrices[rows]
            for name, of_pairs in sums.items():
                first, second = attribution.explainers[name].pairs.T
                part[:, first, second] += of_pairs[rows] / 2
            part += part.swapaxes(1, 2).copy()
            part[:, range(n_features), range(n_features)] = values[rows] - part.sum(axis=2)

        self._run(assemble)
        return matrices


def _as_given(X: Any, data: Any) -> NDArray[Any]:
    """The rows as a dense array, in the user's own type where that is a numeric one."""
    given = X.toarray() if issparse(X) else np.asarray(X)
    return given if given.dtype.kind in "fiub" else np.asarray(data)


_expectations = MadeOnce(expectations)


def _base_columns(forest: Forest, part: Part) -> NDArray[np.float64]:
    """The views of a part, shape (n_views,), where no feature is known."""
    columns = part.offset.copy()
    for name, weights in part.weights.items():
        of_trees = _expectations(forest, forest.arrays()[name])
        columns += float(of_trees[part.first : part.stop].mean()) * weights
    return columns


@dataclass(frozen=True)
class _Attribution:
    """How what is explained is made of means over trees.

    Parameters
    ----------
    scored : ScoredForest
        Its scores are what is explained.
    background : ndarray of float32, shape (n_background, n_features), or None
        Rows are explained against each, and the mean is told; None for a row of which nothing is known.
    bases : ndarray of float64, shape (n_background or 1, n_views)
        What the views say of these.
    base : float
        The mean of what is explained, over these.
    backend : Backend
    explainers : dict of str to Explainer
        For each of the leaf values that count; none of oblique splits.
    """

    scored: ScoredForest
    background: NDArray[np.float32] | None
    bases: NDArray[np.float64]
    base: float
    backend: Backend
    explainers: dict[str, Explainer]

    @classmethod
    def of_model(cls, model: FittedModel, of: str, background: Any) -> _Attribution:
        forest = model.forest
        scored = model.scored
        if of == "score" and model.function.given is not None:
            raise ValueError(
                "a score that a column of evidence lowers is not explained by the trees; explain 'path_length' or"
                " 'log_density'"
            )
        if of != "score":
            scored = ScoredForest(forest, ScoreFunction.of_mean(forest.n_trees, of, Identity()))
        # Every backend but scikit-learn's gives the same bits as Numba's.
        backend = get_backend("sklearn" if model.resources.backend.name == "sklearn" else "numba")
        if background is None:
            bases = np.concatenate([_base_columns(forest, part) for part in scored.function.parts])[None]
        else:
            background = as_float32(background)
            bases = scored.columns(background, backend)
        used = scored.function.used if forest.direction_weight is None else ()
        explainers = {name: _explainer(forest, forest.arrays()[name]) for name in used}
        return cls(scored, background, bases, float(scored.function.scores(bases).mean()), backend, explainers)

    @property
    def function(self) -> ScoreFunction:
        return self.scored.function

    def columns(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.scored.columns(X, self.backend)

    def explainers_against(self, number: int) -> dict[str, Explainer]:
        """For one of the bases."""
        if self.background is None:
            return self.explainers
        shares = shares_of_row(self.scored.forest, self.background[number])
        return {name: explainer.with_shares(shares) for name, explainer in self.explainers.items()}

    def factors(
        self, bases: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> dict[str, tuple[list[tuple[int, int]], NDArray[np.float64]]]:
        """For each leaf value its parts, and by how much each row counts their sums over the trees, for each base."""
        n_bases = len(bases)
        if n_bases > 1:
            bases, columns = np.tile(bases, (len(columns), 1)), columns.repeat(n_bases, axis=0)
        slopes = mean_slopes(self.function, bases, columns) / n_bases
        factors: dict[str, dict[tuple[int, int], NDArray[np.float64]]] = {}
        column = 0
        for part in self.function.parts:
            for name, weights in part.weights.items():
                # Column by column: a row's result must not depend on the rows beside it, as in a product of matrices.
                factor = np.zeros(len(slopes))
                for offset, weight in enumerate(weights.tolist()):
                    factor += slopes[:, column + offset] * (weight / (part.stop - part.first))
                factors.setdefault(name, {})[part.first, part.stop] = factor
            column += len(part.offset)
        return {name: (list(of_parts), np.stack(list(of_parts.values()))) for name, of_parts in factors.items()}


def mean_slopes(
    how: ScoreFunction, base: NDArray[np.float64], columns: NDArray[np.float64], n_points: int = POINTS
) -> NDArray[np.float64]:
    """The derivative of the score by each column, averaged along the straight line from the base to each row.

    Times how far the columns are apart, they add up to how far the scores are apart (Aumann and Shapley, 1974).

    Parameters
    ----------
    base : ndarray of float64, shape (1, n_columns) or (n_rows, n_columns)
    columns : ndarray of float64, shape (n_rows, n_columns)

    Returns
    -------
    ndarray of float64, shape (n_rows, n_columns)
    """
    if columns.shape[1] == 1:
        # The average is the slope of the secant.
        apart = columns - base
        near = np.abs(apart) < SAME
        secant = (how.scores(columns) - how.scores(base))[:, None] / np.where(near, 1.0, apart)
        return np.where(near, how.gradient((columns + base) / 2), secant)
    slopes = np.zeros_like(columns)
    for t, weight in zip(*gauss_legendre(n_points), strict=True):
        slopes += weight * how.gradient(base + t * (columns - base))
    return slopes
