"""Time, memory and size of code and models."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from itertools import chain

import numpy as np
import pytest

from anomaly_detection.errors import DataError
from anomaly_detection.training.performance import measure, model_bytes, rows_per_second


def test_a_block_is_timed_and_its_memory_seen() -> None:
    with measure() as cost:
        block = np.ones(8_000_000)  # 64 MB, every page touched
        time.sleep(0.05)
        del block
    assert cost.seconds >= 0.05
    assert 60e6 < cost.peak_memory_bytes < 200e6


def test_memory_that_was_there_before_is_not_counted() -> None:
    block = np.ones(8_000_000)
    with measure() as cost:
        time.sleep(0.02)
    assert cost.peak_memory_bytes < 30e6
    assert block[0] == 1


def test_an_error_passes_through_and_leaves_no_thread() -> None:
    before = threading.active_count()

    def fail() -> None:
        time.sleep(0.01)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"), measure() as cost:
        fail()
    assert cost.seconds >= 0.01
    assert threading.active_count() == before


def test_blocks_nest() -> None:
    with measure() as outer:
        with measure() as inner:
            time.sleep(0.01)
        time.sleep(0.01)
    assert outer.seconds >= inner.seconds + 0.01


def test_mlx_is_not_loaded_for_it() -> None:
    code = (
        "import sys\nfrom anomaly_detection.training.performance import measure\n"
        "with measure() as cost: pass\n"
        "print(cost.mlx_peak_memory_bytes, any(name.startswith('mlx.') for name in sys.modules))"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["None", "False"]


def test_mlx_memory_is_that_of_the_block() -> None:
    mx = pytest.importorskip("mlx.core")
    mx.eval(mx.ones((4_000_000,)))
    with measure() as cost:
        mx.eval(mx.ones((1_000_000,)) + mx.ones((1_000_000,)))
    assert cost.mlx_peak_memory_bytes is not None
    assert 4_000_000 <= cost.mlx_peak_memory_bytes < 15_000_000


def test_the_rate_is_that_of_the_fastest_call() -> None:
    ticks = iter(chain.from_iterable([(0.0, 9.0), (10.0, 12.0), (20.0, 21.0)]))
    calls: list[int] = []
    rate = rows_per_second(lambda: calls.append(1), 100, repeats=3, most_seconds=60.0, clock=lambda: next(ticks))
    assert rate == 100.0  # of 9, 2 and 1 seconds
    assert len(calls) == 3


def test_of_slow_calls_two_are_timed_and_the_faster_counts() -> None:
    ticks = iter([0.0, 90.0, 100.0, 109.0])
    calls: list[int] = []
    assert rows_per_second(lambda: calls.append(1), 90, clock=lambda: next(ticks)) == 10.0
    assert len(calls) == 2


def test_the_rate_stays_finite_when_the_clock_stands_still() -> None:
    assert np.isfinite(rows_per_second(lambda: None, 10, clock=lambda: 1.0))


@pytest.mark.parametrize(("rows", "repeats"), [(0, 3), (3, 0)])
def test_nothing_to_time_is_refused(rows: int, repeats: int) -> None:
    with pytest.raises(DataError, match="at least 1 row and 1 repeat"):
        rows_per_second(lambda: None, rows, repeats=repeats)


def test_model_bytes_counts_the_arrays() -> None:
    small, large = model_bytes(np.zeros(10)), model_bytes(np.zeros(1010))
    assert large - small == pytest.approx(8000, abs=32)
    assert small >= len(pickle.dumps(1)) + 80
