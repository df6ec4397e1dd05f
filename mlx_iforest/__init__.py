"""Isolation forests grown and scored by MLX, Numba or scikit-learn."""

from importlib import import_module
from typing import TYPE_CHECKING

from mlx_iforest import compiled_code  # noqa: F401  first: it notes which sources are about to be imported
from mlx_iforest.version import __version__

if TYPE_CHECKING:
    from mlx_iforest.backends import BackendUnavailableError, choose_backend, describe_system
    from mlx_iforest.blended import BlendedIsolationForest
    from mlx_iforest.estimator import MLXIsolationForest
    from mlx_iforest.explain.explanation import Explanation
    from mlx_iforest.forest import Forest, InvalidForestError
    from mlx_iforest.scorer import Scorer

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

_MODULES = {
    "BackendUnavailableError": "backends",
    "BlendedIsolationForest": "blended",
    "Explanation": "explain.explanation",
    "Forest": "forest",
    "InvalidForestError": "forest",
    "MLXIsolationForest": "estimator",
    "Scorer": "scorer",
    "choose_backend": "backends",
    "describe_system": "backends",
}
"""Where each name is from. It is imported when first asked for, since scikit-learn takes a second to load."""

if not TYPE_CHECKING:  # else a name that does not exist would pass the type checker

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
