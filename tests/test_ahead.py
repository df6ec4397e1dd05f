"""Work done ahead is the same work: the same items in the same order, and the same errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from anomaly_detection.ahead import ahead

ASKED = ContextVar("ASKED", default=0)


def test_items_come_in_order_from_another_thread_and_one_is_made_ahead() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[tuple[int, int, int]]:
        for i in range(4):
            made.append(i)
            if i == 1:
                third.set()
            yield i, threading.get_ident(), ASKED.get()

    ASKED.set(7)
    found = ahead(items())
    assert next(found)[0] == 0
    assert third.wait(10), "nothing is made while the first is used"
    assert 2 not in made
    rest = list(found)
    assert [one[0] for one in rest] == [1, 2, 3]
    assert {one[1] for one in rest} != {threading.get_ident()}
    assert {one[2] for one in rest} == {7}


def test_an_error_comes_when_its_turn_does() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second cannot be made")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)
    assert list(ahead([])) == []


def test_who_stops_early_leaves_no_thread_and_closes_what_makes_them() -> None:
    closed: list[bool] = []

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    before = threading.active_count()
    found = ahead(items())
    assert next(found) == 1
    found.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert threading.active_count() == before
