"""`Machine`: a `Program` laid out as steps, registers and tables, and run over blocks of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.compiled.gathered import Gathered
from anomaly_detection.features.compiled.program import FUNCTIONS, Op, Program, Value

__all__ = ["Machine"]

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

_ROWS = 128
"""At once: so many rows' registers stay in the cache."""

_FEW = 20
"""Rows that tell something of a batch, at least."""


class Machine:
    """Computes some values of a program.

    Steps are run stage by stage, in the order in which what they take is there; between two stages NumPy computes its
    functions, each once for all registers that it is wanted of, which lie side by side. Other registers are used again
    as soon as nobody needs what they hold.

    Parameters
    ----------
    program : Program
    wanted : sequence of Value
        What is stored.
    columns : sequence of int
        In which column each.
    """

    def __init__(self, program: Program, wanted: Sequence[Value], columns: Sequence[int]) -> None:
        self._of_batch = program.of_batch
        sizes = np.cumsum([0, *(table.size for table in program.tables)])
        self._tables = np.concatenate([np.zeros(0), *(table.ravel() for table in program.tables)])
        self._table_shapes = np.array(
            [(start, *table.shape, 1)[:3] for start, table in zip(sizes, program.tables, strict=False)], dtype=np.int64
        ).reshape(-1, 3)
        self._lay_out(_in_order(wanted), wanted, columns)

    def _lay_out(self, values: Sequence[Value], wanted: Sequence[Value], columns: Sequence[int]) -> None:
        stage: dict[Value, int] = {}
        for value in values:
            stage[value] = max((stage[one] for one in value.of), default=0) + (value.op in FUNCTIONS)
        used = Counter(one for value in values for one in value.of) + Counter(wanted)
        banks = sorted((stage[value], value.op, i) for i, value in enumerate(values) if value.op in FUNCTIONS)
        register: dict[Value, int] = {values[i]: place for place, (_, _, i) in enumerate(banks)}
        self._stages = range(max(stage.values(), default=0) + 1)
        self._functions: list[list[tuple[Any, slice]]] = [[] for _ in self._stages]
        for at, op in sorted({(at, op) for at, op, _ in banks}):
            places = [place for place, (own, other, _) in enumerate(banks) if (own, other) == (at, op)]
            self._functions[at].append((FUNCTIONS[op], slice(places[0], places[-1] + 1)))
        constants = [value for value in values if value.op is Op.CONSTANT]
        register.update(zip(constants, range(len(banks), len(banks) + len(constants)), strict=True))
        self._constants = slice(len(banks), len(banks) + len(constants))
        self._constant = np.array([value.which for value in constants], dtype=np.float64)[:, None]
        # What a function alone takes is written where the function wants it.
        direct = {
            value.of[0]: value
            for value in values
            if value.op in FUNCTIONS and used[value.of[0]] == 1 and value.of[0] not in register
        }
        steps: list[list[tuple[Op, Value, Value | None]]] = [[] for _ in self._stages]
        for value in values:
            if value.op in FUNCTIONS:
                if value.of[0] not in direct:
                    steps[stage[value] - 1].append((Op.COPY, value, value.of[0]))
            elif value.op is not Op.CONSTANT:
                steps[stage[value]].append((value.op, value, None))
        taken = iter(range(self._constants.stop, 1 << 62))
        self._steps = self._with_registers(steps, used, register, direct, taken)
        self._stored = np.array(
            [(register[value], column) for value, column in zip(wanted, columns, strict=True)], dtype=np.int64
        ).reshape(-1, 2)
        self._width = next(taken)

    @staticmethod
    def _with_registers(
        steps: Sequence[Sequence[tuple[Op, Value, Value | None]]],
        used: Counter[Value],
        register: dict[Value, int],
        direct: dict[Value, Value],
        taken: Any,
    ) -> list[npt.NDArray[np.int64]]:
        """The steps of each stage as the kernel takes them; `register` gets what they write."""
        free: list[int] = []
        left, fixed, out = Counter(used), set(register), []
        for stage in steps:
            made = []
            for op, value, source in stage:
                if value not in register:
                    into = direct.get(value)
                    register[value] = register[into] if into is not None else free.pop() if free else next(taken)
                    if into is not None:
                        fixed.add(value)
                of = (source,) if source is not None else value.of
                made.append((int(op), register[value], *_arguments(op, value, [register[one] for one in of])))
                for one in of:
                    left[one] -= 1
                    if not left[one] and one not in fixed:
                        free.append(register[one])
            out.append(np.array(made, dtype=np.int64).reshape(-1, 5))
        return out

    def task(self, X: Table | None, gathered: Gathered, out: Floats32) -> Callable[[slice], None]:
        """What stores all that is wanted of some rows in its columns of `out`, shape (n, features).

        `X` are the records, None where each of them came by itself.
        """
        from anomaly_detection.features.compiled.row_kernels import run

        learned = np.array(
            [few if X is None or len(X) < _FEW else many(X) for few, many in self._of_batch], dtype=np.float64
        )
        columns = (gathered.numbers, gathered.dates, gathered.codes, gathered.levels, gathered.shapes)
        given = (*columns, learned, self._tables, self._table_shapes)

        def store(some: slice) -> None:
            registers = np.zeros((0, 0))
            with np.errstate(all="ignore"):
                for start in range(some.start, some.stop, _ROWS):
                    rows = min(_ROWS, some.stop - start)
                    if rows != registers.shape[1]:
                        registers = np.empty((self._width, rows))
                        registers[self._constants] = self._constant
                    for stage in self._stages:
                        for function, bank in self._functions[stage]:
                            function(registers[bank], out=registers[bank])
                        stored = self._stored if stage == self._stages[-1] else self._stored[:0]
                        run(self._steps[stage], registers, *given, start, stored, out)

        return store


def _in_order(wanted: Sequence[Value]) -> list[Value]:
    """All that is needed for some values, each behind what it is computed from."""
    found: dict[Value, None] = {}
    for value in wanted:
        left = [(value, False)]
        while left:
            one, ready = left.pop()
            if one in found:
                continue
            if ready:
                found[one] = None
            else:
                left.append((one, True))
                left += [(part, False) for part in reversed(one.of)]
    return [*found]


def _arguments(op: Op, value: Value, of: Sequence[int]) -> tuple[int, int, int]:
    """What a step takes."""
    if op is Op.COPY:
        given = [of[0]]
    elif op in (Op.LOOK_UP, Op.LOOK_UP_PAIR, Op.FIND):
        given = [*of, int(value.which)]
    elif not of:
        given = [int(value.which), value.second]
    else:
        given = [*of]
    return (*given, 0, 0, 0)[:3]  # type: ignore[return-value]
