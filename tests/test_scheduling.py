"""The simulation of a scheduler, by runs that a person can play."""

from __future__ import annotations

import pytest

from benchmarks.scheduling import Counted, play


def test_workers_alone_by_hand() -> None:
    # Two tasks of a second by one worker that starts for half a second; ten by five.
    run = play([1.0, 1.0], 1, Counted(), 0.5)
    assert (run.makespan, run.judging, run.scheduler.busy) == (2.5, 2.0, 0.0)
    assert play([1.0] * 10, 5, Counted(), 0.0).makespan == 2.0
    # Two are held by each of two workers, the fifth goes to who is done first.
    assert play([1.0, 3.0, 1.0, 1.0, 1.0], 2, Counted(), 0.0).makespan == pytest.approx(4.0)


def test_a_scheduler_that_is_too_slow_by_hand() -> None:
    # Handing out takes 0.5 s, and so does each answer: the tasks begin at 0.5 and 1, and are known at 2 and 2.5.
    run = play([1.0, 1.0], 2, Counted(scheduler=1.0), 0.0)
    assert (run.makespan, run.scheduler.busy) == (2.5, 2.0)
    # A client that takes 2 s a task hands the second in at 2 s, and has both answers after 2 s more.
    run = play([0.1, 0.1], 2, Counted(client=2.0), 0.0)
    assert (run.makespan, run.client.busy) == (4.0, 4.0)


def test_a_hundred_workers_wait_for_a_scheduler_that_handles_ten_tasks_a_second() -> None:
    run = play([1.0] * 1000, 100, Counted(scheduler=0.1), 0.0)
    assert run.makespan == pytest.approx(100.0)
    assert run.scheduler.busy == pytest.approx(100.0)
