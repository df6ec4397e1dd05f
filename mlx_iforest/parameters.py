"""Values of estimators' parameters that are surely allowed, told without scikit-learn, which takes long to load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlx_iforest.backends import BACKENDS
from mlx_iforest.members import RECIPES
from mlx_iforest.score_function import LEAF_VALUE

__all__ = ["KINDS", "are_surely_fine"]

Check = Callable[[Any], bool]


def _whole(least: int) -> Check:
    return lambda value: type(value) is int and value >= least


def _share(most: float) -> Check:
    return lambda value: type(value) is float and 0.0 < value <= most


def _word(*words: str) -> Check:
    return lambda value: type(value) is str and value in words


def _flag(value: Any) -> bool:
    return type(value) is bool


def _nothing(value: Any) -> bool:
    return value is None


def _generator(value: Any) -> bool:
    return type(value) is np.random.RandomState


_SHARED: dict[str, tuple[Check, ...]] = {
    "n_estimators": (_whole(1),),
    "contamination": (_word("auto"), _share(0.5)),
    "n_jobs": (_nothing, lambda value: type(value) is int),
    "random_state": (_nothing, _generator, lambda value: type(value) is int and 0 <= value < 2**32),
    "verbose": (_whole(0), _flag),
    "backend": (_word("auto", *BACKENDS),),
    "batch_size": (_word("auto"), _whole(1)),
}

KINDS: dict[str, dict[str, tuple[Check, ...]]] = {
    "MLXIsolationForest": {
        **_SHARED,
        "max_samples": (_word("auto"), _whole(1), _share(1.0)),
        "max_features": (_whole(1), _share(1.0)),
        "bootstrap": (_flag,),
        "warm_start": (_flag,),
        "extension_level": (_whole(0),),
        "scoring": (_word(*LEAF_VALUE),),
        "evidence": (_nothing, _whole(0)),
        "window": (_whole(1),),
    },
    "BlendedIsolationForest": {**_SHARED, "history": (_word(*RECIPES),)},
}
"""The parameters of each estimator, by the name of its class, and what any of them may be."""


def are_surely_fine(kind: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a fit takes these values. Of others, scikit-learn's own check of the estimator says so, and why not."""
    return all(any(check(value) for check in KINDS[kind][name]) for name, value in parameters.items())
