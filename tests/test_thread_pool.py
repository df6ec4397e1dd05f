"""The pool of threads: order, errors, nesting, many callers, and forked processes."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlx_iforest.threads import run


@pytest.mark.parametrize("n_threads", [1, 2, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_outcomes_come_in_order(n_threads, count):
    assert run(lambda k: k * k, range(count), n_threads) == [k * k for k in range(count)]


def test_several_threads_share_the_items():
    both = threading.Barrier(2, timeout=20)
    assert run(lambda k: (both.wait(), k)[1], [0, 1], 2) == [0, 1]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_error_is_raised_and_nothing_more_is_begun(n_threads):
    begun = []

    def task(k: int) -> None:
        begun.append(k)
        if k == 3:
            raise KeyError(k)
        time.sleep(0.001)

    with pytest.raises(KeyError):
        run(task, range(1000), n_threads)
    assert len(begun) < 20


def test_an_error_of_another_thread_is_raised():
    caller = threading.current_thread()
    both = threading.Barrier(2, timeout=20)

    def task(k: int) -> None:
        both.wait()
        if threading.current_thread() is not caller:
            raise KeyError(k)

    with pytest.raises(KeyError):
        run(task, [0, 1], 2)


def test_calls_within_tasks_and_from_many_threads_do_not_wait_for_each_other():
    def outer(k: int) -> list[int]:
        return run(lambda j: 10 * k + j, range(5), 4)

    expected = [[10 * k + j for j in range(5)] for k in range(8)]
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda _: run(outer, range(8), 4), range(8)))
    assert found == [expected] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_makes_a_pool_of_its_own():
    run(lambda k: k, range(4), 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if run(lambda k: k, range(4), 2) == [0, 1, 2, 3] else 1)
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            pytest.fail("the forked process waits for ever")
        time.sleep(0.01)
    assert ended[1] == 0
