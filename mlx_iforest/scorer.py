"""`Scorer`: a fitted model for services, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.device_arrays import library_of
from mlx_iforest.device_arrays import score as score_array
from mlx_iforest.model import FittedModel

__all__ = ["Scorer"]


@dataclass(frozen=True, eq=False)
class Scorer:
    """A fitted forest as it was when this was made, without the estimator around it. Made by ``model.scorer()``.

    Later fits of the model do not change it. Any number of threads may call it at once.

    Attributes
    ----------
    model : FittedModel
    n_features : int
        Columns that rows must have.
    offset : float
        Scores below it are anomalies: the model's `offset_`.

    Examples
    --------
    >>> import numpy as np
    >>> from mlx_iforest import MLXIsolationForest
    >>> scorer = MLXIsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]]).scorer()
    >>> scorer.predict(np.array([[0.1], [90]], np.float32))
    array([ 1, -1])
    """

    model: FittedModel

    def __post_init__(self) -> None:
        self.model.threshold()

    @property
    def n_features(self) -> int:
        return self.model.forest.n_features

    @property
    def offset(self) -> float:
        return self.model.offset

    def score(self, X: NDArray[np.float32] | Any) -> NDArray[np.float64] | Any:
        """What ``model.score_samples`` gives, bit for bit.

        Parameters
        ----------
        X : ndarray of float32 in C order, shape (n_rows, n_features) or (n_features,)
            NaN is a missing value. Infinities are not looked for; they count as larger, or smaller, than all others.
            Arrays of MLX, PyTorch or CuPy are taken as `score_samples` takes them.

        Returns
        -------
        ndarray of float64, shape (n_rows,), or a float64 for one row without a second dimension
            In [-1, 0); lower is more abnormal. An array of the library that X came from.

        Raises
        ------
        TypeError
            Not such an array: nothing is converted here.
        ValueError
            Another number of features or of dimensions.
        """
        if type(X) is not np.ndarray and (library := library_of(X)) is not None:
            return score_array(self.model, X, library, check=False)
        if type(X) is not np.ndarray or X.dtype != np.float32 or not X.flags.c_contiguous:
            raise TypeError(
                "a scorer takes float32 arrays in C order: np.ascontiguousarray(X, dtype=np.float32); got "
                + (f"{X.dtype} of strides {X.strides}" if type(X) is np.ndarray else type(X).__name__)
            )
        if X.ndim not in (1, 2) or X.shape[-1] != self.n_features:
            raise ValueError(
                f"X has shape {X.shape}; expected (n_rows, {self.n_features}), or ({self.n_features},) for one row"
            )
        return self.model.score(X) if X.ndim == 2 else self.model.score(X[None])[0]

    __call__ = score

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        """+1 for a normal row, -1 for an anomaly, whose score is below `offset`; `X` as for `score`."""
        return np.where(self.score(X) < self.offset, -1, 1)[()]
