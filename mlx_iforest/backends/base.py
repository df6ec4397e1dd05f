"""What a backend is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlx_iforest.forest import Forest
    from mlx_iforest.growth import GrowthPlan

__all__ = ["Backend", "BackendChoice", "BackendUnavailableError", "DeviceError", "device_errors", "fair_share"]


class BackendUnavailableError(RuntimeError):
    """A backend asked for by name is not there; the message says how to get it."""


class DeviceError(RuntimeError):
    """A GPU failed; the message says at what. Other backends can do the work."""


@contextmanager
def device_errors(doing: str) -> Iterator[None]:
    """What MLX raises of its device becomes a `DeviceError` that says while doing what."""
    try:
        yield
    except DeviceError:
        raise
    except (RuntimeError, MemoryError) as error:
        raise DeviceError(f"MLX's device failed while {doing}: {error}") from error


@dataclass(frozen=True)
class BackendChoice:
    """Which backend does the work, and why."""

    name: str
    reason: str


def fair_share(most: int, n_rows: int, n_threads: int) -> int:
    """So many rows, or a share for each thread where there are fewer rows than that."""
    from mlx_iforest.threads import FEWEST_THREADED_ROWS

    return min(most, max(FEWEST_THREADED_ROWS, -(-n_rows // n_threads)))


class Backend(Protocol):
    """Growing and scoring. Neither validates; the estimator has."""

    name: str

    def piece_rows(self, n_rows: int, n_features: int, n_threads: int) -> int | None:
        """Rows, of `n_rows`, that each of several threads scores at a time.

        None where the backend wants one thread, and as many rows as memory holds.
        """
        ...

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        """Grow the trees of a plan.

        Parameters
        ----------
        X : ndarray of float32, shape (n_samples, n_features)
            Finite or NaN.
        plan : GrowthPlan
        n_threads : int
            Never changes the result.
        """
        ...

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float64]:
        """For every row the means, over the trees, of the values of the leaf it falls into.

        Parameters
        ----------
        forest : Forest
        values : ndarray of float32, shape (n_nodes, n_values)
            Values of each node, such as `forest.path_length` and `forest.log_density`; a row's walk is the same for
            all of them.
        X : ndarray of float32, shape (n_samples, n_features)
            A row's means never depend on the rows beside it.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_values)
        """
        ...

    def peak_memory(self) -> int | None:
        """Peak bytes of device memory since the process began, or None where there is no device."""
        ...

    def describe(self) -> dict[str, Any]:
        """Versions and devices, for people."""
        ...
