"""Whether features are computed by compiled code: not where that would take longer than the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

__all__ = ["by_compiled_code", "explained_by_compiled_code", "moved_by_compiled_code", "one_by_compiled_code", "only"]

KERNELS = "anomaly_detection.features.compiled.kernels"

_A_CALL = 50
"""Rows that take as long as a call without any does, the plain way."""

_WORTH = 100_000
"""Rows that the plain way takes as long for as compiling takes: some three seconds."""


class _Choice:
    """The rows that were judged the plain way since the process began, and what that led to.

    Parameters
    ----------
    there : str
        The function of `KERNELS` that says whether the code is compiled.
    """

    def __init__(self, there: str = "are_compiled") -> None:
        self._there = there
        self.forced: bool | None = None
        self._can = find_spec("numba") is not None
        self._is_there: bool | None = None
        self._plainly = 0

    def compiled(self, rows: int) -> bool:
        """Whether to take compiled code for so many rows more."""
        if self.forced is not None:
            return self.forced and self._can
        if not self._can:
            return False
        if self._is_there is None:
            # What an earlier process compiled costs nothing.
            self._is_there = bool(getattr(import_module(KERNELS), self._there)())
        if not self._is_there:
            self._plainly += rows + _A_CALL if rows else 0
            # As who hires skis until they have cost what buying does: at most twice as long as the better way takes.
            self._is_there = self._plainly > _WORTH
        return self._is_there


_choice, _of_one, _of_reasons = _Choice(), _Choice("is_one_compiled"), _Choice("are_reasons_compiled")
_of_moves = _Choice("are_moves_compiled")


def by_compiled_code(rows: int) -> bool:
    """Whether to take compiled code for so many rows more: where it is there, or has become worth compiling.

    Of rows that another part of the same work has asked for already there are 0 more.
    """
    return _choice.compiled(rows)


def one_by_compiled_code() -> bool:
    """Whether to look up by compiled code what a record by itself repeats: no batch does, so none has it compiled."""
    return _of_one.compiled(1)


def explained_by_compiled_code(rows: int) -> bool:
    """`by_compiled_code` of the coalitions of so many rows, of which one takes as long as five that are judged."""
    return _of_reasons.compiled(5 * rows)


def moved_by_compiled_code(rows: int) -> bool:
    """`by_compiled_code` of what so many rows move."""
    return _of_moves.compiled(rows)


@contextmanager
def only(compiled: bool) -> Iterator[None]:
    """Take compiled code always, or never; for tests and measurements."""
    before = _choice.forced
    _choice.forced = _of_one.forced = _of_reasons.forced = _of_moves.forced = compiled
    try:
        yield
    finally:
        _choice.forced = _of_one.forced = _of_reasons.forced = _of_moves.forced = before
