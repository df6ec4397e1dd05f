"""Backends, and the choice among them."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mlx_iforest.backends.base import Backend, BackendChoice, BackendUnavailableError

if TYPE_CHECKING:
    from mlx_iforest.backends.calibration import Calibration
    from mlx_iforest.backends.crossover import Work

__all__ = [
    "BACKENDS",
    "Backend",
    "BackendChoice",
    "BackendUnavailableError",
    "available_backends",
    "backend_for",
    "choose_backend",
    "get_backend",
    "working_backend",
]

BACKENDS = {
    "mlx": ("mlx_iforest.backends.mlx.ops", "MLXBackend"),
    "numba": ("mlx_iforest.backends.numba.backend", "NumbaBackend"),
    "sklearn": ("mlx_iforest.backends.sklearn_trees", "SklearnBackend"),
}
"""Module and class of each backend, in the order of preference."""

INSTALL_HINTS = {
    "mlx": "pip install mlx (Apple silicon), 'mlx[cpu]' or 'mlx[cuda13]' (Linux)",
    "numba": "pip install numba",
    "sklearn": "pip install scikit-learn",
}


@cache
def _load(name: str) -> Backend | str:
    """The backend, or the reason why it is missing. A backend is imported when first asked for."""
    module, attribute = BACKENDS[name]
    try:
        backend: Backend = getattr(importlib.import_module(module), attribute)()
    except ImportError as error:
        return f"{name} is not installed or does not load here ({error}); {INSTALL_HINTS[name]}"
    return backend


def get_backend(name: str) -> Backend:
    """A backend by name.

    Raises
    ------
    ValueError
        The name is unknown.
    BackendUnavailableError
        It is missing here; the message says how to get it.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; expected 'auto' or one of {', '.join(map(repr, BACKENDS))}")
    backend = _load(name)
    if isinstance(backend, str):
        raise BackendUnavailableError(f"backend {name!r} was asked for, but {backend}")
    return backend


def working_backend(name: str, asked: str) -> Backend:
    """The backend called `name`; where 'auto' was `asked` for, one whose work the CPU finishes if its device fails."""
    backend = get_backend(name)
    if name != "mlx" or asked != "auto":
        return backend
    cpu = next((other for other in map(_load, ("numba", "sklearn")) if not isinstance(other, str)), backend)
    from mlx_iforest.backends.fallback import FinishedOnCPU

    return FinishedOnCPU(backend, cpu)


def backend_for(
    chosen: BackendChoice, asked: str, work: Callable[[], Work], n_threads: int
) -> tuple[Backend, BackendChoice]:
    """The backend for a piece of work, and why that one.

    It is the one that was chosen, and `work` is not called; but where 'auto' was `asked` for and took 'mlx', Numba does
    what a GPU would take longer for. Both give the same bits.
    """
    if chosen.name == "mlx" and asked == "auto" and not isinstance(_load("numba"), str):
        from mlx_iforest.backends.crossover import cpu_is_faster

        asked_for, machine = work(), _machine()
        costs = machine.costs(asked_for, n_threads)
        on_cpu, why = cpu_is_faster(asked_for, n_threads, costs)
        if not on_cpu and not machine.is_at_hand(asked_for, n_threads, costs):
            on_cpu, why = True, f"{why}, which would have to be loaded first"
        chosen = BackendChoice("numba" if on_cpu else "mlx", why)
    return working_backend(chosen.name, asked), chosen


@cache
def _machine() -> Calibration:
    """What work costs on this machine; for where there is a GPU."""
    from mlx_iforest.backends.calibration import Calibration, file_here, measure_here

    return Calibration(
        lambda: measure_here(get_backend("numba"), get_backend("mlx")), file_here, lambda: "mlx.core" in sys.modules
    )


def available_backends() -> dict[str, str | None]:
    """For each backend None, or the reason why it is missing here."""
    loaded = {name: _load(name) for name in BACKENDS}
    return {name: backend if isinstance(backend, str) else None for name, backend in loaded.items()}


def _missing(name: str) -> str | None:
    """None where a backend is there, else the reason why it is missing."""
    backend = _load(name)
    return backend if isinstance(backend, str) else None


def _looked_up(name: str) -> str | None:
    """None where what a backend needs is installed, else the reason why the backend is missing."""
    package = {"mlx": "mlx.core", "numba": "numba", "sklearn": "sklearn"}[name]
    try:
        found = find_spec(package)
    except ModuleNotFoundError:
        found = None
    return None if found is not None else f"{name} is not installed; {INSTALL_HINTS[name]}"


def choose_backend(name: str = "auto", *, load: bool = True) -> BackendChoice:
    """The backend that will do the work, and why.

    Parameters
    ----------
    name : str
        'auto', or a backend's name, which is then taken or an error: only 'auto' falls back. 'auto' takes 'mlx' where
        MLX has a GPU, else 'numba', else 'sklearn'. MLX on a CPU is there to be tested, not to be fast.
    load : bool
        Whether to load it, which may show that it does not work here; else it is enough that it is installed.

    Raises
    ------
    ValueError, BackendUnavailableError
        See `get_backend`.
    """
    missing = _missing if load else _looked_up
    if name != "auto":
        if not load and (reason := missing(name)) is not None:
            raise BackendUnavailableError(f"backend {name!r} was asked for, but {reason}")
        if load:
            get_backend(name)
        return BackendChoice(name, "asked for by name")
    why = []
    mlx = _mlx_gpu()
    if mlx is None:
        return BackendChoice("mlx", "MLX has a GPU on this machine")
    why.append(mlx)
    for fallback in ("numba", "sklearn"):
        reason = missing(fallback)
        if reason is None:
            what = {"numba": "Numba compiles for this CPU", "sklearn": "scikit-learn is the last resort"}[fallback]
            return BackendChoice(fallback, f"{'; '.join(why)}; {what}")
        why.append(reason)
    raise BackendUnavailableError("; ".join(why))


@cache
def _mlx_gpu() -> str | None:
    """None where MLX has a GPU, else the reason why not."""
    try:
        core = importlib.import_module("mlx.core")
    except ImportError as error:
        return f"MLX is not installed or does not load here ({error})"
    return None if core.is_available(core.gpu) else "MLX has no GPU on this machine"


def describe_system() -> dict[str, Any]:
    """What was detected: the machine, the backends, and which one 'auto' takes and why.

    Where there is a GPU, the first call on a machine measures from how much work on it is faster, in some seconds.
    """
    missing = available_backends()
    choice = choose_backend("auto")
    gpu_from = None
    if choice.name == "mlx" and missing["numba"] is None:
        from mlx_iforest.backends.calibration import gpu_pays_from

        gpu_from = gpu_pays_from(_machine().now(), get_backend("numba"))
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "interpreter": sys.implementation.name,
        "backends": {name: missing[name] or get_backend(name).describe() for name in BACKENDS},
        "auto": {"name": choice.name, "reason": choice.reason},
        "gpu_pays": gpu_from,
    }
