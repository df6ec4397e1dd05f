"""Fixtures that more than one test file uses, and what test processes that run side by side do once for all."""

from __future__ import annotations

import base64
import fcntl
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from compiling import PARTS
from hypothesis import settings
from service_example import BOTH, a_service, client_of, postgresql
from starlette.testclient import TestClient

from anomaly_detection.reports import plots
from anomaly_detection.service.configuration import database_url
from anomaly_detection.service.database import Database
from anomaly_detection.service.service import Service
from anomaly_detection.settings import Settings
from anomaly_detection.training import model_report, train
from mlx_iforest.backends import available_backends
from mlx_iforest.backends.numba import backend as numba_backend
from mlx_iforest.base import BaseIsolationForest

ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)
LONGEST = ("readme", "native_file", "cli", "compiled_code", "streaming", "training", "codes", "guard_pages")
"""Files that take more than a third of a minute of a processor each."""

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")

# What is tested does not depend on what was compiled before.
numba_backend.WORTH_COMPILING = 0

# No test looks at the clock: on a busy machine any example may take long.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side, long files come first, then those with slow tests: one begun last would run alone in the end."""
    if WORKER:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path.stem.removeprefix("test_") not in LONGEST, item.path not in slow))


def pytest_collection_finish() -> None:
    """What is there by now stays: no collection of garbage needs to go through it, and a training asks for several."""
    gc.collect()
    gc.freeze()


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep other processes out of the same block."""
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compile the kernels once, not once a process: each begins with another part and finds the rest on disk."""
    if WORKER:
        first = int(WORKER) % len(PARTS)
        for part in [*PARTS[first:], *PARTS[:first]]:
            with alone(tmp_path_factory.getbasetemp().parent / f"{part.__name__}.lock"):
                part()


@pytest.fixture(scope="session", autouse=True)
def quick_trainings() -> Iterator[None]:
    """Trainings warm up once a process, which compiles and loads all, and time each rate by its first call.

    Both take a third of a small training, and change nothing but how exact its timings are.
    """
    warm_up, warmed = train.warm_up, list[None]()

    def once(forest: Callable[[Settings], BaseIsolationForest]) -> None:
        if not warmed:
            warmed.append(warm_up(forest))

    def by_one_call(score: Callable[[], object], n_rows: int) -> float:
        began = time.perf_counter()
        score()
        return n_rows / (time.perf_counter() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_report, "rows_per_second", by_one_call)
        patch.setattr(train, "warm_up", once)
        yield


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report's pictures are made up to their last step, which takes a third of a small training: one pixel each.

    What is drawn is for `test_plots.py`, and for fixtures of modules, which come before this one.
    """
    monkeypatch.setattr(plots, "png", lambda _: ONE_PIXEL)


@pytest.fixture(params=["numba", "mlx", "sklearn"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend in turn; one that this machine lacks is skipped with the reason."""
    missing = available_backends()[request.param]
    if missing is not None:
        pytest.skip(f"backend {request.param}: {missing}")
    return str(request.param)


service = a_service(kinds=BOTH)
"""Jobs wait until `service_example.work_off`."""


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    """Of the file's service, on the same machine."""
    return client_of(service)


@pytest.fixture(params=BOTH)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of each kind, without tables."""
    with ExitStack() as stack:
        url = database_url(tmp_path) if request.param == "sqlite" else stack.enter_context(postgresql())
        made = Database(url)
        stack.callback(made.close)
        yield made


@pytest.fixture
def database(empty: Database) -> Database:
    """A database of each kind."""
    empty.migrate()
    return empty
