"""Exact Shapley values of a fitted forest's path lengths, densities and scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from mlx_iforest.backends import Backend, get_backend
from mlx_iforest.backends.memoize import MadeOnce
from mlx_iforest.batches import as_float32, batches
from mlx_iforest.compress.pruning import Part, ScoreParts
from mlx_iforest.explain.reference import ReferenceTrees, expectations, gauss_legendre
from mlx_iforest.finite import check_finite
from mlx_iforest.forest import Forest
from mlx_iforest.threads import run

if TYPE_CHECKING:
    from mlx_iforest.fitted_forest import FittedForest, MatrixLike

__all__ = ["EXPLAINED", "Explanation", "explain"]

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


def _make_explainer(forest: Forest, values: NDArray[np.float32]) -> Explainer:
    try:
        from mlx_iforest.explain.tables import ExplainedTrees
    except ImportError:
        # Without Numba: slowly.
        return ReferenceTrees(forest.trees(0, forest.n_trees), values)
    return ExplainedTrees.of(forest, values)


_explainer = MadeOnce(_make_explainer)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each feature adds to what a model says of each row: ``base_values + values.sum(axis=1)`` is what it says.

    Where the package `shap` has been imported, this counts as one of its explanations: it goes into
    ``shap.plots.beeswarm(explanation)`` and ``shap.plots.waterfall(explanation[0])`` as it is.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_features)
        The sign is that of what is explained: a negative value makes the path length, the density or the score lower,
        and so the row more abnormal.
    base_values : ndarray of float64, shape (n_rows,)
        What the model says of a row of which nothing is known; the same for all.
    data : ndarray, shape (n_rows, n_features)
        The rows as they were given.
    feature_names : list of str or None
        Those of the training data.
    """

    values: NDArray[np.float64]
    base_values: NDArray[np.float64]
    data: NDArray[Any]
    feature_names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Any:
        """Some of the rows, or one; other forms (columns, names, `shap`'s orders) are left to `shap`."""
        if isinstance(rows, int | np.integer | slice | list | np.ndarray):
            picked = (self.values[rows], self.base_values[rows], self.data[rows])
            return Explanation(*picked, feature_names=self.feature_names)
        return self.to_shap()[rows]

    def to_shap(self) -> Any:
        """The same as a `shap.Explanation`.

        Raises
        ------
        ImportError
            `shap` is not installed.
        """
        try:
            shap = import_module("shap")
        except ImportError as error:
            raise ImportError(f"this needs the package shap ({error}); pip install shap") from error
        return shap.Explanation(
            self.values, base_values=self.base_values, data=self.data, feature_names=self.feature_names
        )

    # shap's plots take nothing but instances of its own class, and importing it takes seconds; so what is explained
    # becomes one for those who have imported it, before or after.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return getattr(sys.modules.get("shap"), "Explanation", type(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "shap" not in sys.modules:
            raise AttributeError(f"an Explanation has no attribute {name!r}; shap's own come with 'import shap'")
        return getattr(self.to_shap(), name)

    def __reduce__(self) -> Any:
        return Explanation, (self.values, self.base_values, self.data, self.feature_names)


def explain(model: FittedForest, X: MatrixLike, of: str) -> Explanation:
    """`FittedForest.explain` of a model that nothing else changes."""
    if of not in EXPLAINED:
        raise ValueError(f"of={of!r} cannot be explained; expected one of {', '.join(map(repr, EXPLAINED))}")
    forest = model.forest_
    if forest.direction_weight is not None:
        raise ValueError(
            "a forest of oblique splits (extension_level > 0) cannot be explained: each split asks of several features"
            " at once, so no question belongs to one of them; fit with extension_level=0"
        )
    if of == "log_density" and forest.log_density is None:
        raise ValueError("of='log_density' needs densities, which this forest does not have; use of='path_length'")
    data = model._accept(X, reset=False)
    n_rows, n_features = data.shape
    attribution = _Attribution.of_model(model, of)
    values = np.empty((n_rows, n_features))
    n_threads = model._n_threads()
    rows = model._batch_rows(max(FEWEST_ROWS, min(BATCH_BYTES // (8 * n_features), -(-n_rows // n_threads))))

    def attribute(rows: slice) -> None:
        part = data[rows]
        if not issparse(part):
            check_finite(part)
        attribution.fill(as_float32(part), values[rows])

    run(attribute, list(batches(data, rows)), n_threads)
    names = getattr(model, "feature_names_in_", None)
    return Explanation(
        values, np.full(n_rows, attribution.base), _as_given(X, data), None if names is None else list(names)
    )


def _as_given(X: MatrixLike, data: Any) -> NDArray[Any]:
    """The rows as a dense array, in the user's own type where that is a numeric one."""
    given = X.toarray() if issparse(X) else np.asarray(X)
    return given if given.dtype.kind in "fiub" else np.asarray(data)


@dataclass(frozen=True)
class _Means:
    """The means, over some of a forest's trees, of one or two values of a row's leaf.

    Parameters
    ----------
    trees : Forest or None
        None where they are the whole forest, which must not be kept by what is kept for it.
    values : ndarray of float32, shape (n_nodes, n_means)
    base : ndarray of float64, shape (n_means,)
        The means where no feature is known.
    """

    trees: Forest | None
    values: NDArray[np.float32]
    base: NDArray[np.float64]

    @classmethod
    def of(cls, forest: Forest, part: Part) -> _Means:
        """Those that count in a part of a score; made once for each part of a forest."""
        kept = _MEANS.setdefault(forest, {})
        key: tuple[int | str, ...] = (part.first, part.stop, *part.used)
        if key not in kept:
            whole = (part.first, part.stop) == (0, forest.n_trees)
            trees = forest if whole else forest.trees(part.first, part.stop)
            columns = [trees.arrays()[name] for name in part.used]
            base = np.array([expectations(trees, column).mean() for column in columns])
            # One column stays where it is: scoring has made the forest ready for it.
            values = columns[0][:, None] if len(columns) == 1 else np.stack(columns, axis=1)
            kept[key] = cls(None if whole else trees, values, base)
        return kept[key]


_MEANS: WeakKeyDictionary[Forest, dict[tuple[int | str, ...], _Means]] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Attribution:
    """How what is explained is made of means over trees.

    Parameters
    ----------
    how : ScoreParts
        From columns, which are sums of means, to the number that is explained.
    means : list of _Means
        Of each part.
    base_columns : ndarray of float64, shape (1, n_columns)
    number : callable or None
        What is explained, of rows, where it is not what `how` makes of their means.
    explainers : dict of str to Explainer
        For each of the leaf values that count.
    """

    forest: Forest
    how: ScoreParts
    means: list[_Means]
    base_columns: NDArray[np.float64]
    backend: Backend
    number: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None
    explainers: dict[str, Explainer]

    @classmethod
    def of_model(cls, model: FittedForest, of: str) -> _Attribution:
        forest = model.forest_
        how = model._score_parts() if of == "score" else _mean_alone(forest, of)
        means = [_Means.of(forest, part) for part in how.parts]
        base = _columns(how.parts, [of_part.base[None] for of_part in means])
        # Every backend but scikit-learn's gives the same bits as Numba's.
        backend = get_backend("sklearn" if model.backend_.name == "sklearn" else "numba")
        # Scores of several leaf values in one column come from a mixture that was rounded to float32.
        mixed = any(sum(weights != 0 for weights in part.weights.values()).max() > 1 for part in how.parts)
        number = partial(model._score, backend=backend) if mixed else None
        used = {name for part in how.parts for name in part.used}
        explainers = {name: _explainer(forest, forest.arrays()[name]) for name in used}
        return cls(forest, how, means, base, backend, number, explainers)

    @cached_property
    def base(self) -> float:
        """What is explained, where no feature is known."""
        return float(self.how.scores(self.base_columns)[0])

    def fill(self, X: NDArray[np.float32], out: NDArray[np.float64]) -> None:
        """Write the attributions of valid rows."""
        found = [self.backend.leaf_means(of_part.trees or self.forest, of_part.values, X) for of_part in self.means]
        columns = _columns(self.how.parts, found)
        expected = (self.how.scores(columns) if self.number is None else self.number(X)) - self.base
        factors = self._factors(mean_slopes(self.how, self.base_columns, columns))
        for name, of_parts in factors.items():
            fresh, last = name == next(iter(factors)), name == next(reversed(factors))
            self.explainers[name].add(
                X, list(of_parts), np.stack(list(of_parts.values())), out,
                fresh=fresh, expected=expected if last else None,
            )  # fmt: skip

    def _factors(self, slopes: NDArray[np.float64]) -> dict[str, dict[tuple[int, int], NDArray[np.float64]]]:
        """For each leaf value, by how much each row counts in each part its sums over the trees."""
        factors: dict[str, dict[tuple[int, int], NDArray[np.float64]]] = {}
        column = 0
        for part in self.how.parts:
            for name in part.used:
                # Column by column: a row's result must not depend on the rows beside it, as in a product of matrices.
                factor = np.zeros(len(slopes))
                for offset, weight in enumerate(part.weights[name].tolist()):
                    factor += slopes[:, column + offset] * (weight / (part.stop - part.first))
                factors.setdefault(name, {})[part.first, part.stop] = factor
            column += len(part.offset)
        return factors


def _columns(parts: Sequence[Part], means: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """What a score is made of, shape (n_rows, n_columns), of the means of each part, shape (n_rows, n_means)."""
    columns = [
        part.offset + sum(of_part[:, k : k + 1] * part.weights[name] for k, name in enumerate(part.used))
        for part, of_part in zip(parts, means, strict=True)
    ]
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def _mean_alone(forest: Forest, name: str) -> ScoreParts:
    """The mean of one of the leaf values, as it is."""
    part = Part.of(0, forest.n_trees, [name], [[(name, None)]])
    return ScoreParts([part], lambda columns: columns[:, 0], lambda mean: mean, 0.0, np.ones_like)


def mean_slopes(
    how: ScoreParts, base: NDArray[np.float64], columns: NDArray[np.float64], n_points: int = POINTS
) -> NDArray[np.float64]:
    """The derivative of the score by each column, averaged along the straight line from the base to each row.

    Times how far the columns are apart, they add up to how far the scores are apart (Aumann and Shapley, 1974).

    Parameters
    ----------
    base : ndarray of float64, shape (1, n_columns)
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
