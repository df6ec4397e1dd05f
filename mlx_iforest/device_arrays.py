"""Rows in an array of MLX, PyTorch or CuPy: the scores come in the same library's array; MLX's never leave its GPU."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.model import FittedModel

__all__ = ["Library", "library_of", "score"]


class Library(Protocol):
    """What is asked of a library of arrays. `X` is one of its arrays."""

    def is_real(self, X: Any) -> bool:
        """Whether its numbers are not complex."""

    def to_host(self, X: Any) -> NDArray[Any]:
        """The same numbers as NumPy's; without a copy where they lie in the host's memory."""

    def from_host(self, scores: NDArray[np.float64], X: Any) -> Any:
        """Scores as an array that lies where `X` does."""

    def labels(self, is_anomaly: Any) -> Any:
        """-1 where true, +1 elsewhere."""


class MLX:
    """`mlx.core.array`. It has no float64 on a GPU, so that scores are float32."""

    def is_real(self, X: Any) -> bool:
        import mlx.core as mx

        return bool(X.dtype != mx.complex64)

    def to_host(self, X: Any) -> NDArray[Any]:
        import mlx.core as mx

        # NumPy has no bfloat16.
        return np.asarray(X.astype(mx.float32) if X.dtype == mx.bfloat16 else X)

    def from_host(self, scores: NDArray[np.float64], X: Any) -> Any:
        import mlx.core as mx

        return mx.array(scores.astype(np.float32))

    def labels(self, is_anomaly: Any) -> Any:
        import mlx.core as mx

        return mx.where(is_anomaly, -1, 1)


class Torch:
    """`torch.Tensor`."""

    def is_real(self, X: Any) -> bool:
        return not X.is_complex()

    def to_host(self, X: Any) -> NDArray[Any]:
        # NumPy has no bfloat16.
        rows = X.detach().cpu()
        array: NDArray[Any] = (rows.float() if "bfloat16" in str(rows.dtype) else rows).numpy()
        return array

    def from_host(self, scores: NDArray[np.float64], X: Any) -> Any:
        torch = importlib.import_module("torch")
        # Metal's tensors have no float64.
        return torch.from_numpy(scores).to(X.device, torch.float32 if X.device.type == "mps" else torch.float64)

    def labels(self, is_anomaly: Any) -> Any:
        return 1 - 2 * is_anomaly.long()


class CuPy:
    """`cupy.ndarray`, which always lies on an NVIDIA GPU."""

    def is_real(self, X: Any) -> bool:
        return bool(X.dtype.kind != "c")

    def to_host(self, X: Any) -> NDArray[Any]:
        array: NDArray[Any] = X.get()
        return array

    def from_host(self, scores: NDArray[np.float64], X: Any) -> Any:
        return importlib.import_module("cupy").asarray(scores)

    def labels(self, is_anomaly: Any) -> Any:
        return 1 - 2 * is_anomaly.astype(np.int64)


LIBRARIES: tuple[tuple[str, str, Library], ...] = (
    ("mlx.core", "array", MLX()),
    ("torch", "Tensor", Torch()),
    ("cupy", "ndarray", CuPy()),
)
"""Module, class of its arrays, and what is asked of it."""


def library_of(X: Any) -> Library | None:
    """The library whose array `X` is; None for all else. Nothing is imported: who has an array has its library."""
    if type(X) is np.ndarray:
        return None
    for module, name, library in LIBRARIES:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(X, kind):
            return library
    return None


def score(model: FittedModel, X: Any, library: Library, *, check: bool) -> Any:
    """Scores of rows in a library's array.

    MLX's rows are scored on its GPU, where it has one and the backend is not another by name: float32, within 1e-6 of
    the scores of the host. Those of PyTorch and CuPy go through the host, since MLX takes no other library's memory on
    a GPU (0.32: "CUDA import is not supported").

    Parameters
    ----------
    X : array of the library, shape (n_samples, n_features)
        Real numbers. NaN is a missing value.
    check : bool
        Whether to refuse infinities.

    Returns
    -------
    array of the library, shape (n_samples,)
        In [-1, 0); lower is more abnormal. Float32 where the library or the place has no float64.

    Raises
    ------
    ValueError
        Other shapes, complex numbers, or infinities where they are looked for.
    """
    n_features = model.forest.n_features
    if X.ndim != 2 or X.shape[1] != n_features or X.shape[0] == 0:
        raise ValueError(
            f"X has shape {tuple(X.shape)}; expected (n_samples, {n_features}) with at least one sample, as in the fit"
        )
    if not library.is_real(X):
        raise ValueError("X holds complex numbers; expected real ones, such as float32")
    if isinstance(library, MLX) and model.resources.asked in ("auto", "mlx"):
        scores = _on_device(model, X, check)
        if scores is not None:
            return scores
    return library.from_host(model.score(library.to_host(X), check=check), X)


def _on_device(model: FittedModel, X: Any, check: bool) -> Any:
    """Scores made on MLX's GPU; None where there is none, or where it cannot."""
    from mlx_iforest.backends.mlx.ops import uses_gpu
    from mlx_iforest.device_scores import device_scores

    return device_scores(model.scored, X, check=check) if uses_gpu() else None
