"""`Resources`: what work on a forest may take of a machine."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends import Backend, BackendChoice, BackendUnavailableError, backend_for, choose_backend
from mlx_iforest.backends.crossover import Work
from mlx_iforest.batches import as_float32, batches
from mlx_iforest.cores import effective_n_jobs
from mlx_iforest.forest import Forest

__all__ = ["Resources", "threads"]


def threads(n_jobs: int | None, owner: str) -> int:
    """How many threads a parameter means, which may have been set since it was checked."""
    _check_n_jobs(n_jobs, owner)
    return effective_n_jobs(n_jobs)


def _check_n_jobs(n_jobs: Any, owner: str) -> None:
    if n_jobs is not None and not isinstance(n_jobs, Integral):
        raise ValueError(f"The 'n_jobs' parameter of {owner} must be an int or None. Got {n_jobs!r} instead.")


class Resources(NamedTuple):
    """A backend, threads and rows at a time; results never depend on the latter two.

    Attributes
    ----------
    backend : BackendChoice
        The one that was chosen for the model.
    asked : str
        'auto', or the backend that was asked for by name.
    n_jobs : int or None
    batch_size : 'auto' or int
    owner : str
        The class whose parameters these are, for messages.
    """

    backend: BackendChoice
    asked: str
    n_jobs: int | None
    batch_size: str | int
    owner: str

    def check_n_jobs(self) -> None:
        """Refuse what the parameter may have been set to since the fit."""
        _check_n_jobs(self.n_jobs, self.owner)

    def threads(self) -> int:
        return threads(self.n_jobs, self.owner)

    def batch_rows(self, automatic: int | None) -> int | None:
        """Rows to take at a time; the parameter may have been set since it was checked."""
        if self.batch_size == "auto":
            return automatic
        if not isinstance(self.batch_size, Integral) or self.batch_size < 1:
            raise ValueError(
                f"The 'batch_size' parameter of {self.owner} must be 'auto' or an int in the range [1, inf)."
                f" Got {self.batch_size!r} instead."
            )
        return int(self.batch_size)

    def backend_for(self, work: Callable[[], Work], n_threads: int) -> tuple[Backend, BackendChoice]:
        """The backend for a piece of work, and why; where the one that was chosen is missing (a model from another
        machine), what 'auto' takes here."""
        try:
            return backend_for(self.backend, self.asked, work, n_threads)
        except BackendUnavailableError:
            if self.asked != "auto":
                raise
            return backend_for(choose_backend("auto"), self.asked, work, n_threads)

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: Any) -> NDArray[np.float64]:
        """For every row the means over the trees of its leaf's values.

        Parameters
        ----------
        values : ndarray of float32, shape (n_nodes,) or (n_nodes, n_values)
        X : ndarray or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,) or (n_samples, n_values)
        """
        columns = values[:, None] if values.ndim == 1 else values
        backend, _ = self.backend_for(lambda: Work.scoring(forest, X.shape[0]), 1)
        means = [backend.leaf_means(forest, columns, as_float32(X[rows])) for rows in batches(X)]
        joined = means[0] if len(means) == 1 else np.concatenate(means)
        return joined[:, 0] if values.ndim == 1 else joined
