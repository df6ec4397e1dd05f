"""`Moves`: what is usual of numbers within their contexts goes along with the records that come after the training."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.compiled.choice import moved_by_compiled_code
from anomaly_detection.features.numbers.contexts import Contexts

__all__ = ["Moves", "Moving"]

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_AT_ONCE = 8
RULES = (_AT_ONCE, 0.1, 2.0, 10.0)
"""Records that move it together, how far, and how many spreads off one counts as at most, and no longer."""


@dataclass(frozen=True)
class Moving:
    """How far what is usual has moved, and the records that have not moved it yet.

    Attributes
    ----------
    effects : ndarray of float64, shape (2, effects)
        Each in spreads, and the records that moved it; the first entry is for what no effect is known of.
    places : ndarray of int64, shape (n, contexts, 4)
        Of records that wait until they are eight: their effects.
    away : ndarray of float64, shape (n, contexts)
        And how many spreads each lies off what was usual in the training; NaN where missing.
    """

    effects: Floats
    places: Places
    away: Floats


class Moves:
    """Moves what is usual, a function of the records in their order; safe to share between threads.

    How far records lie off what was usual is foretold by the sum of the effects of all records, of the level of each
    column of the context, and of both: so a supplier that gets dearer is known by any of its products. After every
    eight records each effect of theirs goes a tenth of the way together with the others (normalised least mean
    squares, Widrow and Hoff, 1960). A record counts as if it were two spreads off at most (Huber), and not at all
    beyond ten: what is wrong moves next to nothing.

    Parameters
    ----------
    branch : Contexts
    columns : list of str
        Those that it looks at.
    own, places : ndarray of int64
        Which of its features are kept, and their places among all that are.
    state : Moving, optional
        What to go on from.
    """

    def __init__(
        self, branch: Contexts, columns: list[str], own: Places, places: Places, state: Moving | None = None
    ) -> None:
        self._branch, self._columns, self._own, self._places = branch, columns, own, places
        self._finest = branch.finest[own]
        self._lock = threading.Lock()
        nothing = Moving(np.zeros((2, branch.effects)), np.zeros((0, len(own), 4), np.int64), np.zeros((0, len(own))))
        self.state = nothing if state is None else state

    def __reduce__(self) -> tuple[Any, ...]:
        return Moves, (self._branch, self._columns, self._own, self._places, self.state)

    def settle(self, tables: Sequence[Table], found: Floats32) -> None:
        """Have features, shape (n, n_features), of records in their order judge by what is usual for each by then."""
        ends = accumulate(map(len, tables))
        rows = [slice(end - len(X), end) for X, end in zip(tables, ends, strict=True)]
        parts = [self._of(X, found[some]) for X, some in zip(tables, rows, strict=True)]
        at, away = parts[0] if len(parts) == 1 else (np.concatenate(each) for each in zip(*parts, strict=True))
        before = self.state
        after, own = self._go_on(before, at, away)
        if len(tables) == 1:
            # Most are remembered next.
            tables[0].made((self, "after"), lambda: (before, after))
        by = own[0]
        found[:, self._places] = np.where(by == 0.0, found[:, self._places], np.arcsinh(away - by).astype(np.float32))
        moved = np.zeros((2, len(found), len(self._branch.contexts_)))
        moved[:, :, self._own] = own
        for X, some in zip(tables, rows, strict=True):
            self._branch.followed(X)["moved"] = moved[:, some]

    def remember(self, X: Table) -> None:
        """Take in records that were judged."""
        with self._lock:
            before, after = X.made((self, "after"), lambda: (None, None))
            self.state = after if before is self.state else self._go_on(self.state, *self._of(X, None))[0]

    def carry(self, X: Table, rows: Places, some: Table) -> None:
        """Have `some` rows of a table that was settled tell what was usual for them there."""
        for name, moved in self._branch.followed(X).items():
            self._branch.followed(some)[name] = moved[:, rows]

    @property
    def fault(self) -> str | None:
        """What is wrong with a state that was read; None where nothing is."""
        state, n, count, last = self.state, len(self.state.away), len(self._own), self._branch.effects
        shapes = (state.effects.shape, state.places.shape, state.away.shape)
        if shapes != ((2, last), (n, count, 4), (n, count)) or n >= _AT_ONCE or state.places.max(initial=0) >= last:
            return "'moves' do not go with the contexts"
        return None

    def _of(self, X: Table, features: Floats32 | None) -> tuple[Places, Floats]:
        """The effects that each row has to do with, and how far it lies off what was usual; found once for a table."""

        def find() -> tuple[Places, Floats]:
            if features is None:
                some = self._branch.features_of(X.only(self._columns)).take(self._own, axis=1)
            else:
                some = features.take(self._places, axis=1)
            # In the order of rows, as compiled code has to have them.
            return self._branch.effects_of(X, self._own), np.sinh(some.astype(np.float64))

        made: tuple[Places, Floats] = X.made((self, "away"), find)
        return made

    def _go_on(self, state: Moving, at: Places, away: Floats) -> tuple[Moving, Floats]:
        """The state after more records, and for each of them how far what is usual has moved, and by how many records.

        That has shape (2, n, features).
        """
        waiting, n = len(state.away), len(away)
        if waiting:
            at, away = np.concatenate([state.places, at]), np.concatenate([state.away, away])
        done = len(away) - len(away) % _AT_ONCE
        effects = state.effects.copy() if done else state.effects
        moved = np.empty((2, *away.shape))
        _which(n)(effects, at, away, self._finest, RULES, moved)
        return Moving(effects, at[done:], away[done:]), moved[:, waiting:]


def _which(rows: int) -> Any:
    """`go_along`, compiled where that is there or has become worth it."""
    if not moved_by_compiled_code(rows):
        return go_along
    from anomaly_detection.features.compiled.moves import go_along as compiled

    return compiled


def go_along(
    effects: Floats, at: Places, away: Floats, finest: Places, rules: tuple[int, float, float, float], moved: Floats
) -> None:
    """Judge records by what is usual for each by then, and have them move it.

    Parameters
    ----------
    effects : ndarray of float64, shape (2, effects)
        As in `Moving`; written after each full block.
    at : ndarray of int64, shape (n, contexts, 4)
    away : ndarray of float64, shape (n, contexts)
    finest : ndarray of int64, shape (contexts,)
        Which of the four is that of a row's own group.
    rules : tuple
        `RULES`.
    moved : ndarray of float64, shape (2, n, contexts)
        Written: how far what is usual had moved, and by how many records.
    """
    together, a_step, most, far = rules
    sums, counts = effects
    share = a_step / np.maximum(np.count_nonzero(at, axis=2), 1)
    own = at[:, np.arange(len(finest)), finest]
    known = (~np.isnan(away)).astype(np.float64)
    for start in range(0, len(away), together):
        some = slice(start, start + together)
        moved[0, some], moved[1, some] = sums[at[some]].sum(axis=2), counts[own[some]]
        if start + together <= len(away):
            off = away[some] - moved[0, some]
            step = np.where(np.abs(off) < far, np.clip(off, -most, most), 0.0) * share[some]
            # In one dimension, which NumPy does ten times as fast.
            np.add.at(sums, at[some].ravel(), np.repeat(step.ravel(), at.shape[2]))
            np.add.at(counts, own[some].ravel(), known[some].ravel())
            effects[:, 0] = 0.0
