"""Fixtures that more than one test file uses, and what test processes that run side by side do once for all."""

from __future__ import annotations

import base64
import fcntl
import gc
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from compiling import PARTS
from hypothesis import settings
from service_example import BOTH, SHARED, a_service, client_of, postgresql
from starlette.testclient import TestClient

from anomaly_detection.features import cross_fitting
from anomaly_detection.reports import plots
from anomaly_detection.service.access import passwords
from anomaly_detection.service.processes.configuration import database_url
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records import loaded
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.database import Database
from anomaly_detection.settings import Settings
from anomaly_detection.training import model_report, train
from mlx_iforest.backends import available_backends
from mlx_iforest.backends.numba import backend as numba_backend
from mlx_iforest.backends.numba.growing_kernels import grow_trees
from mlx_iforest.base import BaseIsolationForest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)
LONGEST = (
    *("guard_pages", "readme", "service_page", "benchmarks", "cli", "inbox_browser", "training", "native_file"),
    *("service_learning", "estimator", "explain", "compiled_code", "service_workers", "service_bulk", "cluster"),
)
"""Files that take more than a third of a minute each, of a processor or of waiting."""

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")

# What is tested does not depend on what was compiled before.
numba_backend.WORTH_COMPILING = 0

# No test looks at the clock: on a busy machine any example may take long. Where a change is judged, what is drawn
# depends on the code alone, so that no change fails for what it did not do; a developer's runs draw anew.
settings.register_profile("unhurried", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """One process reads the test files before others do: from it they have each as bytecode, with its assertions."""
    if not WORKER:
        return (yield)
    with (Path(session.config.option.basetemp).parent / "reading.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(held, fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side, long files come first, then those with slow tests: one begun last would run alone in the end."""
    if WORKER:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path.stem.removeprefix("test_") not in LONGEST, item.path not in slow))


def pytest_collection_finish() -> None:
    """What is there by now stays: no collection of garbage needs to go through it, and a training asks for several.

    Each process reads all files, and one that grows trees at once has each compile for half a minute.
    """
    assert not grow_trees.overloads, "a test file fits a forest where it is read, not in a test"
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes."""
    own = tmp_path_factory.getbasetemp()
    SHARED.append(own.parent if WORKER else own)
    return SHARED[0]


@pytest.fixture(scope="session", autouse=True)
def compiled(shared_folder: Path) -> None:
    """Compile the kernels once, not once a process: each takes parts that none is at, and finds others on disk."""
    left = list(PARTS) if WORKER else []
    for how in (fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_EX):
        for part in tuple(left):
            with (shared_folder / f"{part.__name__}.lock").open("w") as held:
                try:
                    fcntl.flock(held, how)
                except BlockingIOError:
                    continue
                part()
                left.remove(part)


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


@pytest.fixture(scope="session", autouse=True)
def quick_starts() -> Iterator[None]:
    """A service that starts here leaves the memory of all tests alone, and warms up once.

    Both take half of a start, of which there are hundreds; the first warm-up has compiled and loaded all.
    """
    prepare, prepared = Judge.prepare, set[str]()

    def once(judge: Judge) -> None:
        model = repr((judge.detector.training_, judge.ratio))
        if model not in prepared:
            prepare(judge)
            prepared.add(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "prepare", once)
        patch.setattr(loaded, "settle", lambda: None)
        yield


@pytest.fixture(scope="module")
def few_folds() -> Iterator[None]:
    """Features of 100 to 2,000 training records are learned three times and not five, for who looks at other things."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_fitting, "_FOLDS", 2)
        yield


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """A hash takes a fifth of a second, for whoever guesses; `test_service_users.py` looks at that."""
    cheap = (16, 8, 1)
    nobodys = passwords._NOBODYS.replace("$".join(map(str, passwords._COST)), "$".join(map(str, cheap)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_COST", cheap)
        patch.setattr(passwords, "_NOBODYS", nobodys)
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        made = started.chromium.launch(executable_path=path, args=options)
        yield made
        made.close()


@pytest.fixture
def errors() -> list[str]:
    """Of the page."""
    return []


def _tells(text: str) -> bool:
    """Whether it is an error: htmx calls it one too that a request gave way to the next."""
    return not text.startswith(("htmx:afterRequest", "htmx:sendAbort"))


@pytest.fixture
def page(browser: Browser, errors: list[str]) -> Iterator[Page]:
    """A page whose errors, a refusal by its policy among them, fail the test."""
    made = browser.new_page()
    made.set_default_timeout(60_000)
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda said: errors.append(said.text) if said.type == "error" and _tells(said.text) else None)
    yield made
    made.close()
    assert errors == []
