"""`Explanation`: what each feature, or each pair of features, adds to what a model says of rows."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Explanation"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each feature adds to what a model says of each row: ``base_values + values.sum(axis=1)`` is what it says.

    Of interactions, `values` is a symmetric matrix for each row. Outside of the diagonal is half of what two features
    are worth together beyond what each is worth without the other, on it what a feature is worth by itself. A matrix's
    rows add up to Shapley values, and all of it with the base value to what the model says.

    Where the package `shap` has been imported, this counts as one of its explanations: it goes into
    ``shap.plots.beeswarm(explanation)`` and ``shap.plots.waterfall(explanation[0])`` as it is.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_features), or (n_rows, n_features, n_features) of interactions
        The sign is that of what is explained: a negative value makes the path length, the density or the score lower,
        and so the row more abnormal.
    base_values : ndarray of float64, shape (n_rows,)
        What the model says of a row of which nothing is known, or on average of the background; the same for all.
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

    def importance(self) -> NDArray[np.float64]:
        """How much each feature, or each pair of features, counts over all rows: the mean of the sizes of its values.

        Returns
        -------
        ndarray of float64, shape (n_features,), or (n_features, n_features) of interactions
            In units of what is explained; 0 for a feature that changes nothing. Of a single row, the sizes.
        """
        sizes: NDArray[np.float64] = np.abs(self.values)
        return sizes.mean(axis=0) if np.ndim(self.base_values) else sizes

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
