"""What Numba compiles to score wide rows: every question of the forest is put to every row, and answered by a bit.

Ranking pays where trees ask many questions of each feature. Where features are many, it is most of the work, for ranks
that few splits look at. So here each question compares floats, 16 rows at a time, and trees select by the answers. Rows
are turned into columns a tile of 16 features at a time, so that no value is gathered and none is turned that nobody
asks for.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mlx_iforest.backends.numba.coded_scoring import BLOCK, FLUSH, add_result, flush
from mlx_iforest.backends.numba.vectors import (
    ARM,
    COMPARED,
    INT32,
    INT64,
    PACKED,
    REALS,
    WORDS,
    bits_of,
    data,
    every_lane,
    lanes_of,
    load,
    load_some,
    prefetch,
    store,
    transposed,
)
from mlx_iforest.compiled_code import compiled

__all__ = [
    "FEATURE",
    "FIRST",
    "LANES",
    "LAST",
    "LEFT",
    "LINES",
    "MIDDLE",
    "QUESTION",
    "RIGHT",
    "TILE",
    "WRITE",
    "add_leaf_values",
]

LANES = 64
"""Rows whose answers to one question are one word."""

LINES = BLOCK // LANES
"""Words of a block's answers to one question."""

TILE = 16
"""Features that are turned into columns together: a cache line of a row."""

ANSWERED = LANES if ARM else 2 * LANES
"""Rows of a block that answer together: as many columns as registers hold."""

AHEAD = 2 * TILE
"""Values between what is read of a row and what is asked for: processors do not foresee steps of whole rows."""

QUESTION, LEFT, RIGHT, WRITE = range(4)
"""Columns of an answered forest's operations."""

FEATURE, FIRST, MIDDLE, LAST = range(4)
"""Columns of the features that are asked for: from `MIDDLE` on a missing value's answer is yes."""


def _transposing(whole):
    """Turn 16 rows of a tile, `stride` apart from `at` on, into columns of `ANSWERED` from `write` on.

    Of a tile that is not `whole` the first `width` features are there.
    """

    @intrinsic
    def transpose(typingctx, values, at, stride, width, columns, write):
        signature = types.void(values, *[types.int64] * 3, columns, types.int64)

        def codegen(context, builder, sig, args):
            values, columns = (data(context, builder, sig.args[k], args[k]) for k in (0, 4))
            at, stride, width, write = args[1], args[2], args[3], args[5]
            first = ir.Constant(WORDS, list(range(16)))
            inside = builder.icmp_signed("<", first, every_lane(builder, WORDS, builder.trunc(width, INT32)))
            rows = []
            for _ in range(16):
                rows.append(load(builder, REALS, values, at) if whole else load_some(builder, values, at, inside))
                at = builder.add(at, stride)
            for column in transposed(builder, rows):
                store(builder, REALS, columns, write, column)
                write = builder.add(write, ir.Constant(INT64, ANSWERED))
            return context.get_dummy_value()

        return signature, codegen

    return transpose


_transpose, _transpose_part = _transposing(True), _transposing(False)


def _answering(missing):
    """Answer the questions from `first` to before `last` of a column, into words from `line` on.

    Yes is a value up to the threshold, and `missing` is the answer of a missing one.
    """

    @intrinsic
    def answer(typingctx, columns, column, thresholds, first, last, answers, line):
        signature = types.void(columns, types.int64, thresholds, types.int64, types.int64, answers, types.int64)

        def codegen(context, builder, sig, args):
            columns, thresholds, answers = (data(context, builder, sig.args[k], args[k]) for k in (0, 2, 5))
            column, first, last, line = args[1], args[3], args[4], args[6]
            compare = builder.fcmp_unordered if missing else builder.fcmp_ordered
            parts = [
                load(builder, COMPARED, columns, builder.add(column, ir.Constant(INT64, k)))
                for k in range(0, ANSWERED, COMPARED.count)
            ]
            # Four stores of 16 bits are faster than a word put together in registers, except on NEON.
            step = PACKED * COMPARED.count
            answers = builder.bitcast(answers, ir.IntType(step).as_pointer())
            with cgutils.for_range_slice(builder, first, last, ir.Constant(INT64, 1)) as (question, _):
                limit = every_lane(builder, COMPARED, builder.load(builder.gep(thresholds, [question])))
                word = builder.add(builder.mul(question, ir.Constant(INT64, LINES)), line)
                place = builder.mul(word, ir.Constant(INT64, LANES // step))
                for k in range(0, len(parts), PACKED):
                    bits = bits_of(builder, *(compare("<=", values, limit) for values in parts[k : k + PACKED]))
                    builder.store(bits, builder.gep(answers, [builder.add(place, ir.Constant(INT64, k // PACKED))]))
            return context.get_dummy_value()

        return signature, codegen

    return answer


_answer_no, _answer_yes = _answering(False), _answering(True)


def _choosing(n_lines):
    """Operations from `first` to before `last`, on `n_lines` words of a block from `line` on.

    ``work[write] = where(answers[question], work[left], work[right])``; what lies before `first_row` is a class, whose
    one line serves all.
    """

    @intrinsic
    def choose(typingctx, operations, first, last, answers, work, first_row, line):
        signature = types.void(operations, types.int64, types.int64, answers, work, types.int64, types.int64)

        def codegen(context, builder, sig, args):
            operations, answers, work = (data(context, builder, sig.args[k], args[k]) for k in (0, 3, 4))
            first, last, first_row, line = args[1], args[2], args[5], args[6]
            vector = ir.VectorType(ir.IntType(sig.args[4].dtype.bitwidth), LANES)
            lanes, none = ir.Constant(INT64, LANES), ir.Constant(INT64, 0)
            with cgutils.for_range_slice(builder, first, last, ir.Constant(INT64, 1)) as (k, _):
                fields = []
                for column in (QUESTION, LEFT, RIGHT, WRITE):
                    place = builder.add(builder.mul(k, ir.Constant(INT64, 4)), ir.Constant(INT64, column))
                    fields.append(builder.zext(builder.load(builder.gep(operations, [place])), INT64))
                question = builder.add(builder.mul(fields[QUESTION], ir.Constant(INT64, LINES)), line)
                steps, places = [], []
                for field in fields[LEFT:]:
                    place = builder.mul(field, lanes)
                    step = builder.select(builder.icmp_signed("<", place, first_row), none, lanes)
                    places.append(builder.add(place, builder.mul(step, line)))
                    steps.append(step)
                for n in range(n_lines):
                    word = builder.load(builder.gep(answers, [builder.add(question, ir.Constant(INT64, n))]))
                    yes = lanes_of(builder, word)
                    left, right, write = places
                    store(
                        builder, vector, work, write,
                        builder.select(yes, load(builder, vector, work, left), load(builder, vector, work, right)),
                    )  # fmt: skip
                    places = [builder.add(place, step) for place, step in zip(places, steps, strict=True)]
            return context.get_dummy_value()

        return signature, codegen

    return choose


_choose_block, _choose_line = _choosing(LINES), _choosing(1)


@compiled()
def _answer_rows(X, first_row, size, asked, thresholds, columns, answers, line):
    """Put all questions of a group to up to `ANSWERED` rows."""
    n_features = X.shape[1]
    rows = X.reshape(-1)
    whole = size // 16 * 16
    k = 0
    while k < len(asked):
        tile = asked[k, FEATURE] // TILE * TILE
        width = min(TILE, n_features - tile)
        for i in range(0, whole, 16):
            at = (first_row + i) * n_features + tile
            for j in range(16):
                prefetch(rows, at + j * n_features + AHEAD)  # type: ignore[call-arg]
            if width == TILE:
                _transpose(rows, at, n_features, width, columns, i)  # type: ignore[call-arg]
            else:
                _transpose_part(rows, at, n_features, width, columns, i)  # type: ignore[call-arg]
        for i in range(whole, size):
            for f in range(width):
                columns[f * ANSWERED + i] = X[first_row + i, tile + f]
        while k < len(asked) and asked[k, FEATURE] < tile + TILE:
            column = (asked[k, FEATURE] - tile) * ANSWERED
            _answer_no(columns, column, thresholds, asked[k, FIRST], asked[k, MIDDLE], answers, line)  # type: ignore[call-arg]
            _answer_yes(columns, column, thresholds, asked[k, MIDDLE], asked[k, LAST], answers, line)  # type: ignore[call-arg]
            k += 1


@compiled()
def add_leaf_values(
    X, asked_start, asked, question_start, thresholds, group_start, tree_operations, operations, tree_result, tables,
    work, first_work_row, total,
):  # fmt: skip
    """Add the values of every row's leaf in every tree to `total`, a block of rows at a time.

    The arrays are those of `answers.AnsweredForest`; `work` begins at a multiple of `LINE` bytes.
    """
    n_samples = X.shape[0]
    n_values, n_trees, _ = tables.shape
    most = 0
    for group in range(len(question_start) - 1):
        most = max(most, question_start[group + 1] - question_start[group])
    columns = np.zeros(TILE * ANSWERED, np.float32)
    answers = np.zeros(most * LINES, np.int64)
    sums = np.zeros((n_values, BLOCK), np.int32)
    for first_row in range(0, n_samples, BLOCK):
        size = min(BLOCK, n_samples - first_row)
        n_rows = (size + LANES - 1) // LANES * LANES
        for group in range(len(group_start) - 1):
            own = asked[asked_start[group] : asked_start[group + 1]]
            limits = thresholds[question_start[group] : question_start[group + 1]]
            for part in range(0, size, ANSWERED):
                few = min(ANSWERED, size - part)
                _answer_rows(X, first_row + part, few, own, limits, columns, answers, part // LANES)
            for tree in range(group_start[group], group_start[group + 1]):
                first, last = tree_operations[tree], tree_operations[tree + 1]
                if n_rows == BLOCK:
                    _choose_block(operations, first, last, answers, work, first_work_row, 0)  # type: ignore[call-arg]
                else:
                    for line in range(n_rows // LANES):
                        _choose_line(operations, first, last, answers, work, first_work_row, line)  # type: ignore[call-arg]
                for k in range(n_values):
                    add_result(tables[k, tree], work, tree_result[tree], n_rows, sums[k])
                if (tree + 1) % FLUSH == 0 or tree == n_trees - 1:
                    flush(sums, total, first_row, size)
