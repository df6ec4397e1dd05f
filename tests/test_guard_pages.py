"""Compiled code reads and writes nothing outside its arrays: see `guard_pages/scenarios.py`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlx_iforest import MLXIsolationForest
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.numba.answering_kernels import FEATURE, LAST, LEFT, QUESTION
from mlx_iforest.backends.numba.answering_kernels import WRITE as WRITTEN
from mlx_iforest.backends.numba.answers import AnsweredForest
from mlx_iforest.backends.numba.coded_scoring import TABLE_WIDTHS, WRITE, table_width
from mlx_iforest.backends.numba.codes import CodedForest
from mlx_iforest.backends.numba.walks import WalkedForest

SEGMENTATION_FAULT = -11
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def guard_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not sys.platform.startswith("linux"):
        pytest.skip("the guarding allocator is written for Linux")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("the guarding allocator needs a C compiler")
    library = tmp_path_factory.mktemp("guard") / "guard.so"
    source = HERE / "guard_pages" / "guard.c"
    subprocess.run([compiler, "-O1", "-fno-builtin", "-shared", "-fPIC", source, "-o", library, "-ldl"], check=True)
    return library


def run_guarded(library: Path, *arguments: str, emulated: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    if emulated:
        environment["MLX_IFOREST_EMULATE_VECTORS"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "tests.guard_pages.scenarios", *arguments],
        cwd=HERE.parent, env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("scenarios", "emulated"), [("forests", False), ("forests", True), ("others", False)])
def test_nothing_is_read_or_written_outside_an_array(guard_library, scenarios, emulated):
    """Forests in this processor's vectors, and in AVX-512's lane by lane; code kept for one is not for the other."""
    outcome = run_guarded(guard_library, scenarios, emulated=emulated)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.slow
def test_a_read_behind_an_array_is_noticed(guard_library):
    outcome = run_guarded(guard_library, "behind")
    assert outcome.returncode == SEGMENTATION_FAULT
    assert "Segmentation fault" in outcome.stderr


@pytest.fixture(scope="module")
def coded() -> CodedForest:
    X = np.random.default_rng(0).normal(size=(5000, 5))
    model = MLXIsolationForest(max_samples=128, scoring="density", random_state=0, backend="numba").fit(X)
    numbers = whole_numbers(model.forest_.log_density)[1]
    blocks = CodedForest.of(model.forest_, numbers[:, None])
    assert blocks is not None
    return blocks


def test_tables_are_as_wide_as_the_registers_that_are_filled_with_them(coded):
    assert [table_width(n) for n in (1, 32, 33, 64, 65, 96, 97, 128)] == [32, 32, 64, 64, 128, 128, 128, 128]
    assert table_width(129) == 129
    assert coded.tables.shape[2] == TABLE_WIDTHS[2]


@pytest.mark.parametrize("width", [96, 127])
def test_tables_of_another_width_give_the_same_sums(coded, width):
    X = np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32)
    totals = np.zeros((2, 300, 1))
    coded.add_leaf_values(X, totals[0])
    narrow = np.ascontiguousarray(coded.tables[:, :, :width])
    dataclasses.replace(coded, tables=narrow).add_leaf_values(X, totals[1])
    assert np.array_equal(*totals)


def test_arrays_that_compiled_code_would_leave_are_refused_where_they_are_made(coded):
    with pytest.raises(AssertionError, match="a class has no value"):
        dataclasses.replace(coded, tables=coded.tables[:, :, :60])
    with pytest.raises(AssertionError, match="outside its table"):
        dataclasses.replace(coded, work=coded.work[: coded.operations[:, WRITE].max() + 1])
    operations = coded.operations.copy()
    operations[3, WRITE] = 0
    with pytest.raises(AssertionError, match="a result would lie outside"):
        dataclasses.replace(coded, operations=operations)
    with pytest.raises(AssertionError, match="a search would leave the thresholds"):
        dataclasses.replace(coded.grid, thresholds=coded.grid.thresholds[:, :20])


def test_questions_that_compiled_code_would_leave_its_arrays_for_are_refused(coded):
    X = np.random.default_rng(0).normal(size=(500, 5))
    forest = MLXIsolationForest(5, random_state=0, backend="numba").fit(X).forest_
    found = AnsweredForest.of(forest, whole_numbers(forest.path_length)[1][:, None])
    assert found is not None

    def changed(column: int, value: int) -> np.ndarray:
        operations = found.operations.copy()
        operations[4 * 3 + column] = value
        return operations

    for column, value, message in (
        (QUESTION, len(found.thresholds), "an answer of none"),
        (LEFT, len(found.work) // 64, "read outside its table"),
        (WRITTEN, 0, "among the classes"),
        (WRITTEN, len(found.work) // 64, "a result would lie outside"),
    ):
        with pytest.raises(AssertionError, match=message):
            dataclasses.replace(found, operations=changed(column, value))
    for column, value, message in ((FEATURE, 5, "no such feature"), (LAST, 10_000, "an answer would have no place")):
        asked = found.asked.copy()
        asked[-1, column] = value
        with pytest.raises(AssertionError, match=message):
            dataclasses.replace(found, asked=asked)
    with pytest.raises(AssertionError, match="a group ends elsewhere"):
        dataclasses.replace(found, thresholds=found.thresholds[:-1])


def test_walks_that_would_leave_the_nodes_are_refused():
    X = np.random.default_rng(0).normal(size=(500, 5))
    forest = MLXIsolationForest(5, random_state=0, backend="numba").fit(X).forest_
    found = WalkedForest.of(forest, whole_numbers(forest.path_length)[1][:, None])
    assert found is not None
    leaf, split = int(np.argmax(forest.feature < 0)), 0
    for place, word, message in (
        (2 * split, np.uint32(1 << 31), "leave the nodes"),
        (2 * split, found.nodes[0] | np.uint32(7 << 1), "not there"),
        (2 * leaf, np.uint32(0), "a missing value would leave"),
        (2 * leaf + 1, np.uint32(0), "a value would leave"),
    ):
        nodes = found.nodes.copy()
        nodes[place] = word
        with pytest.raises(AssertionError, match=message):
            dataclasses.replace(found, nodes=nodes)
