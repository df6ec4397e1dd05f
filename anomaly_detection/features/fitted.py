"""Whether something was fitted, asked without loading scikit-learn, which takes longer than to score a file."""

from __future__ import annotations

from typing import Any

__all__ = ["require_fitted"]


def require_fitted(learner: Any, attribute: str | None = None) -> None:
    """Raise what scikit-learn's `check_is_fitted` raises where nothing was learned.

    Parameters
    ----------
    learner : object
    attribute : str, optional
        What a fit leaves behind; anything that ends in an underscore if not given.

    Raises
    ------
    sklearn.exceptions.NotFittedError
    """
    there = vars(learner)
    if any(name[-1] == "_" != name[0] for name in there) if attribute is None else attribute in there:
        return
    from sklearn.exceptions import NotFittedError

    raise NotFittedError(f"This {type(learner).__name__} is not fitted yet; call its fit before using it.")
