"""`LoadedForest`: a fitted forest that was read from a file, and scores without the estimator that it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import Forest
from mlx_iforest.model import FittedModel
from mlx_iforest.resources import Resources

if TYPE_CHECKING:
    from mlx_iforest.base import BaseIsolationForest

__all__ = ["LoadedForest"]


class LoadedForest:
    """A fitted forest without scikit-learn, which takes longer to load than a file to score.

    Parameters
    ----------
    kind : {"MLXIsolationForest", "BlendedIsolationForest"}
    parameters : dict
        Of the estimator, those that a file has.
    model : FittedModel

    Attributes
    ----------
    n_jobs : int or None
        Threads for scoring, as of the estimators.
    """

    def __init__(self, kind: str, parameters: dict[str, Any], model: FittedModel) -> None:
        self.kind, self.parameters, self._model = kind, parameters, model
        self.n_jobs: int | None = None

    @property
    def offset_(self) -> float:
        """Scores below it are anomalies. It may be set."""
        return self._model.offset

    @offset_.setter
    def offset_(self, offset: float) -> None:
        self._model = self._model._replace(offset=offset)

    @property
    def forest_(self) -> Forest:
        """The trees."""
        return self._model.forest

    @property
    def n_features_in_(self) -> int:
        """Columns that rows have."""
        return self._model.forest.n_features

    @property
    def contamination(self) -> str | float:
        """The parameter of this name."""
        found: str | float = self.parameters["contamination"]
        return found

    def score_samples(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """The scores of the estimator, bit for bit.

        Parameters
        ----------
        X : ndarray of float32, shape (n_samples, n_features)
            Other types are left to the estimator, which checks and converts them.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In [-1, 0); lower is more abnormal.

        Raises
        ------
        ValueError
            For infinities, and all that the estimator refuses.
        """
        model = self._model
        plain = type(X) is np.ndarray and X.dtype == np.float32 and X.ndim == 2 and X.size > 0
        if not plain or X.shape[1] != model.forest.n_features or model.feature_names is not None:
            return self.estimator().score_samples(X)
        asked: str = self.parameters["backend"]
        resources = Resources(model.resources.backend, asked, self.n_jobs, "auto", self.kind)
        return model._replace(resources=resources).score(X, check=True)

    def estimator(self) -> BaseIsolationForest:
        """The estimator of the same model and parameters."""
        from mlx_iforest.blended import BlendedIsolationForest
        from mlx_iforest.estimator import MLXIsolationForest

        kinds: list[type[BaseIsolationForest]] = [MLXIsolationForest, BlendedIsolationForest]
        made = {cls.__name__: cls for cls in kinds}[self.kind]()
        made.__dict__.update(self.parameters, n_jobs=self.n_jobs)
        made._model = self._model
        return made
