"""Isolation forests grown and scored by MLX, Numba or scikit-learn."""

from mlx_iforest import compiled_code  # noqa: F401  first: it notes which sources are about to be imported
from mlx_iforest.backends import BackendUnavailableError, choose_backend, describe_system
from mlx_iforest.blended import BlendedIsolationForest
from mlx_iforest.estimator import MLXIsolationForest
from mlx_iforest.explain.shapley import Explanation
from mlx_iforest.forest import Forest, InvalidForestError
from mlx_iforest.scorer import Scorer
from mlx_iforest.version import __version__

__all__ = [
    "BackendUnavailableError",
    "BlendedIsolationForest",
    "Explanation",
    "Forest",
    "InvalidForestError",
    "MLXIsolationForest",
    "Scorer",
    "__version__",
    "choose_backend",
    "describe_system",
]
