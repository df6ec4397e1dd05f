"""A GPU's work finished on the CPU where the GPU fails; for those who left the choice of a backend to us."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.base import Backend, DeviceError
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan

__all__ = ["FinishedOnCPU"]


class FinishedOnCPU:
    """A backend that hands its work to another, with a RuntimeWarning, when its device fails.

    Parameters
    ----------
    backend, cpu : Backend
    """

    def __init__(self, backend: Backend, cpu: Backend) -> None:
        self._backend, self._cpu = backend, cpu
        self.name = backend.name

    def piece_rows(self, n_rows: int, n_features: int, n_threads: int) -> int | None:
        return self._backend.piece_rows(n_rows, n_features, n_threads)

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        try:
            return self._backend.grow(X, plan, n_threads=n_threads)
        except DeviceError as error:
            self._warn(error)
            return self._cpu.grow(X, plan, n_threads=n_threads)

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float64]:
        try:
            return self._backend.leaf_means(forest, values, X)
        except DeviceError as error:
            self._warn(error)
            return self._cpu.leaf_means(forest, values, X)

    def peak_memory(self) -> int | None:
        return self._backend.peak_memory()

    def describe(self) -> dict[str, Any]:
        return self._backend.describe()

    def _warn(self, error: DeviceError) -> None:
        warnings.warn(f"{error}; {self._cpu.name} does it on the CPU", RuntimeWarning, stacklevel=3)
