"""What work costs on this machine, measured once and kept: by it 'auto' chooses between the CPU and the GPU.

Both give the same bits, so the choice, and whether anything was measured, shows in nothing but the time. Figures are
taken in pairs that differ in one thing (rows, columns, trees), so that each cost is a difference. They are kept in the
user's cache under the machine, its cores and the versions. Where there is no such folder, each process measures.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from mlx_iforest.backends.base import Backend, DeviceError
from mlx_iforest.backends.crossover import TABLE, Cost, Costs, Kind, Place, Work, cpu_is_faster, gpu_place
from mlx_iforest.compiled_code import SOURCES, CompiledCode, users_cache
from mlx_iforest.cores import cores
from mlx_iforest.files import replacing
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.threads import run

__all__ = ["Calibration", "file_here", "gpu_pays_from", "measure", "measure_here"]

PATIENCE = 2.0
"""Seconds of work, as the table expects them, after which it is worth measuring: that takes about one, and kernels that
are not compiled yet take some more."""

LOADING: dict[Place, float] = {"cuda": 6.0, "metal": 0.2}
"""Seconds that loading MLX takes: of an H100's host as measured, of a Mac as estimated."""

REPEATS = 3
"""Of each figure, of which the quickest counts."""

LEAST = 1e-13
"""Seconds that anything costs: differences of noise may be negative."""

COLUMNS, WIDE = 8, 64
"""Of the rows that are scored."""

ROWS: dict[Place, int] = {"cpu": 1 << 13, "cuda": 1 << 16, "metal": 1 << 16}
"""That are scored: of a CPU each thread's."""

TREES, TREE_ROWS, TIMES = 100, 256, 4
"""Of the forest that scores; and how many times as many trees a larger one has."""

GROWN_ROWS, MANY_ROWS, GROWN_SAMPLES, GROWN_TREES = 1 << 14, 1 << 19, 1 << 12, 16
"""Rows to grow from, so few that moving them hides behind growing, and so many that the host gathers those that are
drawn; and the trees that are grown from them."""


def measure(
    cpu: Backend, gpu: Backend, n_threads: int, place: Place, clock: Callable[[], float] = time.perf_counter
) -> Costs:
    """Measure what work costs here.

    Parameters
    ----------
    cpu, gpu : Backend
    n_threads : int
        Of the CPU, all of which work at once while it is measured.
    place : {'cuda', 'metal'}
        What the GPU is called.
    clock : callable
        Gives seconds.
    """

    def seconds(do: Callable[[], Any]) -> float:
        # The first call may compile.
        do()
        found = []
        for _ in range(REPEATS):
            began = clock()
            do()
            found.append(clock() - began)
        return min(found)

    def of_threads(do: Callable[[int], Any]) -> float:
        return seconds(partial(run, do, range(n_threads), n_threads))

    scoring = {
        "cpu": _scoring(lambda forest, X: of_threads(lambda _: _score(cpu, forest, X)), cpu, "cpu", n_threads),
        place: _scoring(lambda forest, X: seconds(partial(_score, gpu, forest, X)), cpu, place, 1),
    }
    growing = {
        "cpu": _growing_on_cpu(lambda X, plan: of_threads(lambda _: cpu.grow(X, plan, n_threads=1)), n_threads),
        place: _growing_on_gpu(
            lambda X, plan: seconds(partial(gpu.grow, X, plan, n_threads=n_threads)), scoring[place].value
        ),
    }
    return {"scoring": scoring, "growing": growing}


def _rows(n_rows: int, n_columns: int) -> Any:
    return np.random.default_rng(0).normal(size=(n_rows, n_columns)).astype(np.float32)


def _score(backend: Backend, forest: Forest, X: Any) -> Any:
    return backend.leaf_means(forest, forest.path_length[:, None], X)


def _plan(n_trees: int, n_samples: int, size: int, n_columns: int) -> GrowthPlan:
    return GrowthPlan(0, 0, n_trees, n_samples, n_columns, size, n_columns)


def _scoring(time_of: Callable[[Forest, Any], float], cpu: Backend, place: Place, n_threads: int) -> Cost:
    narrow, wide = (
        cpu.grow(_rows(TREE_ROWS, d), _plan(TREES, TREE_ROWS, TREE_ROWS, d), n_threads=1) for d in (COLUMNS, WIDE)
    )
    more = Forest.concatenate([narrow] * TIMES)
    X = _rows(ROWS[place], WIDE)
    first = np.ascontiguousarray(X[:, :COLUMNS])

    def steps(forest: Forest) -> int:
        work = Work.scoring(forest, len(X))
        return work.cpu_steps if place == "cpu" else work.gpu_steps

    one_row, base = time_of(narrow, first[:1]), time_of(narrow, first)
    step = max((time_of(more, first) - base) / (steps(more) - steps(narrow)), LEAST)
    of_columns = time_of(wide, X) - base - step * (steps(wide) - steps(narrow))
    return Cost(
        call=max(one_row / n_threads, LEAST), row=0.0, step=step,
        value=max(of_columns / (X.size - first.size), LEAST),
    )  # fmt: skip


def _growing_on_cpu(time_of: Callable[[Any, GrowthPlan], float], n_threads: int) -> Cost:
    X = _rows(GROWN_ROWS, COLUMNS)
    smallest, plan = _plan(1, GROWN_ROWS, 2, COLUMNS), _plan(1, GROWN_ROWS, GROWN_SAMPLES, COLUMNS)
    return Cost(
        call=max(time_of(X, smallest) / n_threads, LEAST),
        row=0.0,
        value=0.0,
        step=max(time_of(X, plan) / Work.growing(plan).cpu_steps, LEAST),
    )


def _growing_on_gpu(time_of: Callable[[Any, GrowthPlan], float], value: float) -> Cost:
    X = _rows(GROWN_ROWS, COLUMNS)
    call = time_of(X[:2], _plan(1, 2, 2, COLUMNS))
    few, many = (_plan(n, GROWN_ROWS, GROWN_SAMPLES, COLUMNS) for n in (GROWN_TREES, TIMES * GROWN_TREES))
    step = (time_of(X, many) - time_of(X, few)) / (Work.growing(many).gpu_steps - Work.growing(few).gpu_steps)
    # As many trees of more rows, of which the host gathers those that are drawn.
    gathered = _plan(GROWN_TREES, MANY_ROWS, GROWN_SAMPLES, COLUMNS)
    cost = Cost(call=max(call, LEAST), row=0.0, value=value, step=max(step, LEAST))
    beyond = time_of(_rows(MANY_ROWS, COLUMNS), gathered) - Work.growing(gathered).gpu_seconds(cost)
    return Cost(cost.call, max(beyond / Work.growing(gathered).moved_rows, LEAST), cost.value, cost.step)


def gpu_pays_from(costs: Costs, cpu: Backend) -> str:
    """From how many rows on the GPU is expected to score a usual forest faster than all cores, for people."""
    forest = cpu.grow(_rows(TREE_ROWS, COLUMNS), _plan(TREES, TREE_ROWS, TREE_ROWS, COLUMNS), n_threads=1)
    what = f"{COLUMNS} columns by {TREES} trees of {TREE_ROWS} samples ({'a guess' if costs is TABLE else 'measured'})"
    sizes = [1 << k for k in range(31)]
    slower = [n for n in sizes if cpu_is_faster(Work.scoring(forest, n), cores(), costs)[0]]
    if slower and slower[-1] == sizes[-1]:
        return f"scoring no number of rows of {what}"
    return f"scoring {2 * slower[-1] if slower else 1:,} rows of {what}"


class Calibration:
    """The costs that 'auto' goes by: the table's until enough work has come, then this machine's.

    Parameters
    ----------
    measured : callable
        Measures costs.
    file : callable
        Where they are kept; None if nowhere. Not asked before the first work.
    is_loaded : callable
        Whether what the GPU needs is loaded already.
    """

    def __init__(
        self,
        measured: Callable[[], Costs],
        file: Callable[[], Path | None],
        is_loaded: Callable[[], bool] = lambda: True,
    ) -> None:
        self._measured, self._file, self._is_loaded = measured, file, is_loaded
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._own: Costs | None = None
        self._was_read, self._expected, self._saved = False, 0.0, 0.0

    def costs(self, work: Work, n_threads: int) -> Costs:
        """Those to choose by for some work, which may be the one that makes it worth measuring."""
        with self._lock:
            own = self._known()
            if own is not None:
                return own
            of_kind = TABLE[work.kind]
            cpu, gpu = work.cpu_seconds(of_kind["cpu"], n_threads), work.gpu_seconds(of_kind[gpu_place()])
            self._expected += min(cpu, gpu)
            if self._expected < PATIENCE:
                return TABLE
            return self._measure()

    def is_at_hand(self, work: Work, n_threads: int, costs: Costs) -> bool:
        """Whether the GPU, which is faster, is loaded, or has become worth loading: by all that it would have saved."""
        if self._is_loaded():
            return True
        of_kind, place = costs[work.kind], gpu_place()
        with self._lock:
            self._saved += work.cpu_seconds(of_kind["cpu"], n_threads) - work.gpu_seconds(of_kind[place])
            return self._saved > LOADING[place]

    def now(self) -> Costs:
        """This machine's, measured at once if they have not been."""
        with self._lock:
            return self._known() or self._measure()

    def _known(self) -> Costs | None:
        if self._own is None and not self._was_read:
            self._was_read = True
            file = self._file()
            self._own = None if file is None else _read(file)
        return self._own

    def _measure(self) -> Costs:
        try:
            self._own = self._measured()
        except DeviceError as error:
            logging.getLogger(__name__).info("Nothing was measured, since the GPU failed: %s", error)
            self._own = TABLE
            return TABLE
        file = self._file()
        if file is not None:
            with suppress(OSError), replacing(file) as new:
                new.write_text(json.dumps(_to_json(self._own), indent=1), "utf-8")
        return self._own


def _to_json(costs: Costs) -> dict[str, Any]:
    return {kind: {place: asdict(cost) for place, cost in places.items()} for kind, places in costs.items()}


def _read(file: Path) -> Costs | None:
    """What was kept; None if it is not there, or damaged."""
    try:
        found = json.loads(file.read_text("utf-8"))
        kinds: tuple[Kind, ...] = ("scoring", "growing")
        places: tuple[Place, ...] = ("cpu", gpu_place())
        costs = {kind: {place: Cost(**found[kind][place]) for place in places} for kind in kinds}
        figures = [figure for of in costs.values() for cost in of.values() for figure in asdict(cost).values()]
        return costs if all(type(figure) is float and 0 <= figure < 1e3 for figure in figures) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure_here(cpu: Backend, gpu: Backend) -> Costs:
    """`measure` on this machine, with all cores."""
    waits = CompiledCode.at_once
    # What is used after a while would be compiled only then, and measured would be what stands in for it.
    CompiledCode.at_once = True
    try:
        return measure(cpu, gpu, cores(), gpu_place())
    finally:
        CompiledCode.at_once = waits


def file_here() -> Path | None:
    """Where the costs of this machine and these versions are kept; None if nowhere."""
    folder = users_cache("mlx_iforest_calibration")
    if folder is None or SOURCES is None:
        return None
    try:
        mlx = version("mlx")
    except PackageNotFoundError:
        mlx = "?"
    made_of = (SOURCES, mlx, platform.node(), platform.machine(), cores())
    return folder / f"{hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]}.json"
