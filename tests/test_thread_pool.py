"""The pool of threads: order, errors, nesting, many callers, and forked processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlx_iforest import threads
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


ENDING = """
import sys, threading, time
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("threads", {path!r})
threads = module_from_spec(spec)
spec.loader.exec_module(threads)
begun, ending = threading.Event(), threading.Event()
threading._register_atexit(ending.set)

def task(k):
    begun.set()
    # Under way while Python ends, as compiled code would be.
    ending.wait()
    time.sleep(0.2)
    # In one piece, since two threads may write at once.
    sys.stdout.write("ended %d\\n" % k)
    sys.stdout.flush()
    return k

def score():
    for _ in range(2):
        threads.run(task, [0, 1, 2], {n_threads})
    print("all", flush=True)

threads.run(abs, [1, 2], 2)
threading.Thread(target=score, daemon={daemon}).start()
begun.wait()
"""


def ending(*, daemon: bool, n_threads: int) -> list[str]:
    code = ENDING.format(path=threads.__file__, daemon=daemon, n_threads=n_threads)
    command = [sys.executable, "-X", "faulthandler", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_thread_that_works_when_the_main_one_ends_comes_to_its_end(n_threads):
    told = ending(daemon=False, n_threads=n_threads)
    assert sorted(told[:-1]) == sorted(["ended 0", "ended 1", "ended 2"] * 2)
    assert told[-1] == "all"


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_daemon_thread_ends_after_the_item_that_it_works_on(n_threads):
    told = ending(daemon=True, n_threads=n_threads)
    assert "all" not in told
    assert "ended 0" in told
    assert len(told) <= n_threads


def test_an_interrupt_leaves_no_thread_that_goes_on(monkeypatch):
    begun = []
    submit = ThreadPoolExecutor.submit
    both = threading.Barrier(2, timeout=20)

    def interrupted(pool, work):
        submit(pool, work)
        both.wait()
        raise KeyboardInterrupt

    def task(k: int) -> None:
        begun.append(k)
        if k == 0:
            both.wait()
            time.sleep(0.05)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(task, range(1000), 2)
    monkeypatch.undo()
    run(lambda _: None, range(100), 2)
    assert len(begun) < 1000
