"""What Numba compiles to score blocks of rows with a coded forest.

A block of rows is scored without any branch on the data: every operation of a tree is one compare and one select over
all its rows. All splits are visited instead of one path, but a tree of 256 samples has only about 60, and 64 rows go
through one in a single vector instruction. Compilers rarely find the widest vectors by themselves, so the three inner
operations are written in LLVM's own vector types, which it maps to what the processor has (AVX-512, AVX2, NEON).
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mlx_iforest.backends.numba.vectors import (
    INT8,
    INT32,
    INT64,
    LOOKED_UP,
    REALS,
    WORDS,
    data,
    every_lane,
    gather,
    load,
    look_up,
    store,
    table_parts,
)
from mlx_iforest.compiled_code import compiled

__all__ = ["BLOCK", "FLUSH", "LINE", "add_leaf_values", "table_width"]

BLOCK = 256
"""Rows of a block: the codes of a few features and the work of a tree stay in the first-level cache."""

LINE = 64
"""Bytes of a vector, and of a cache line; vectors that cross lines load at half the speed."""

RANKED = 128
"""Rows of a block that are ranked together."""

FLUSH = 127
"""Trees whose values, each below 2**24, add up within 32 bits."""

TABLE_WIDTHS = (32, 64, 128)
"""Entries of a tree's table that is looked up in registers, which are filled with the whole of it. `table_width` pads
tables to one of these; one of any other width is read entry by entry, and is never read beyond its end."""

CODE, THRESHOLD, MISSING_LEFT, LEFT, LEFT_STEP, RIGHT, RIGHT_STEP, WRITE = range(8)
"""Columns of a coded forest's operations."""


def _selection(n_vectors):
    """`work[write:] = where(work[code:] <= threshold, work[left:], work[right:])` over `n_vectors` vectors.

    `left_step` and `right_step` lead from one vector of an operand to the next; they are 0 for a leaf, whose class
    fills a single vector.
    """

    @intrinsic
    def select(typingctx, work, code, threshold, left, left_step, right, right_step, write):
        signature = types.void(work, types.int64, work.dtype, *[types.int64] * 5)

        def codegen(context, builder, sig, args):
            work, code, threshold, left, left_step, right, right_step, write = args
            base = data(context, builder, sig.args[0], work)
            bits = sig.args[0].dtype.bitwidth
            width = LINE * 8 // bits
            vector = ir.VectorType(ir.IntType(bits), width)
            limit = every_lane(builder, vector, threshold)
            for k in range(n_vectors):
                here = ir.Constant(INT64, k * width)
                goes_left = builder.icmp_unsigned("<=", load(builder, vector, base, builder.add(code, here)), limit)
                chosen = builder.select(
                    goes_left, load(builder, vector, base, left), load(builder, vector, base, right)
                )
                store(builder, vector, base, builder.add(write, here), chosen)
                left = builder.add(left, left_step)
                right = builder.add(right, right_step)
            return context.get_dummy_value()

        return signature, codegen

    return select


_select_block = _selection(BLOCK // LINE)
_select_wide_block = _selection(2 * BLOCK // LINE)
_select_line = _selection(1)


def _lookup(width):
    """`total[:] += table[work[read:]]` over `size` rows, for tables of `width` entries and 8-bit classes.

    `size` is a multiple of `LOOKED_UP`.
    """

    @intrinsic
    def add_looked_up(typingctx, total, table, work, read, size):
        signature = types.void(total, table, work, types.int64, types.int64)

        def codegen(context, builder, sig, args):
            total, table, work = (data(context, builder, sig.args[k], args[k]) for k in range(3))
            read, size = args[3:]
            classes = ir.VectorType(INT8, LOOKED_UP)
            step = ir.Constant(INT64, LOOKED_UP)
            for parts in table_parts(builder, table, width):
                with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), size, step) as (row, _):
                    for value in look_up(builder, parts, load(builder, classes, work, builder.add(read, row))):
                        old = load(builder, WORDS, total, row)
                        store(builder, WORDS, total, row, builder.add(old, value))
                        row = builder.add(row, ir.Constant(INT64, 16))
            return context.get_dummy_value()

        return signature, codegen

    return add_looked_up


_look_up_32, _look_up_64, _look_up_128 = (_lookup(width) for width in TABLE_WIDTHS)


def table_width(n_classes: int) -> int:
    """Entries of the tables of trees that have up to so many classes."""
    return next((width for width in TABLE_WIDTHS if n_classes <= width), n_classes)


@compiled()
def cell_of(x, first, scale, top):
    """The grid cell of a value; increasing in x, which is all that ranks need. NaN is in the first."""
    position = (x - first) * scale
    position = position if position > np.float32(0) else np.float32(0)
    return np.int32(min(position, top))


@compiled(inline="always")
def _rank(x, thresholds, below, first, scale, top, n_steps):
    """The rank of a value among its feature's thresholds: how many lie below it."""
    rank = np.int32(below[cell_of(x, first, scale, top)])
    step = np.int32(1 << n_steps)
    for _ in range(n_steps):
        step = np.int32(step >> 1)
        rank += step if thresholds[rank + step - 1] < x else np.int32(0)
    return rank


@intrinsic
def _rank_vector(typingctx, values, at, stride, thresholds, below, first, scale, top, n_steps, missing, ranks, write):
    """`_rank` of 16 values, `stride` apart from `at` on, into `ranks` from `write` on; whether any is missing.

    The rank of a missing value is `missing`.
    """
    real = types.float32
    signature = types.boolean(
        values, types.int64, types.int32, thresholds, below, real, real, real, types.int64, types.int32, ranks,
        types.int64,
    )  # fmt: skip

    def codegen(context, builder, sig, args):
        values, thresholds, below, ranks = (data(context, builder, sig.args[k], args[k]) for k in (0, 3, 4, 10))
        at, stride, first, scale, top, n_steps, missing, write = (args[k] for k in (1, 2, 5, 6, 7, 8, 9, 11))
        none = ir.Constant(WORDS, [0] * 16)

        lanes = builder.mul(every_lane(builder, WORDS, stride), ir.Constant(WORDS, list(range(16))))
        x = gather(builder, REALS, builder.gep(values, [at]), lanes, 4)
        position = builder.fmul(builder.fsub(x, every_lane(builder, REALS, first)), every_lane(builder, REALS, scale))
        for limit, inside in ((ir.Constant(REALS, [0.0] * 16), ">"), (every_lane(builder, REALS, top), "<")):
            position = builder.select(builder.fcmp_ordered(inside, position, limit), position, limit)
        # Two bytes are wanted of the four that are gathered.
        count = gather(builder, WORDS, below, builder.fptosi(position, WORDS), 2)
        rank = cgutils.alloca_once_value(builder, builder.and_(count, ir.Constant(WORDS, [0xFFFF] * 16)))
        step = cgutils.alloca_once_value(builder, builder.trunc(builder.shl(ir.Constant(INT64, 1), n_steps), INT32))
        before = builder.gep(thresholds, [ir.Constant(INT64, -1)])
        with cgutils.for_range(builder, n_steps):
            builder.store(builder.lshr(builder.load(step), ir.Constant(INT32, 1)), step)
            by = every_lane(builder, WORDS, builder.load(step))
            there = gather(builder, REALS, before, builder.add(builder.load(rank), by), 4)
            is_below = builder.fcmp_ordered("<", there, x)
            builder.store(builder.add(builder.load(rank), builder.select(is_below, by, none)), rank)
        is_missing = builder.fcmp_unordered("uno", x, x)
        store(
            builder,
            WORDS,
            ranks,
            write,
            builder.select(is_missing, every_lane(builder, WORDS, missing), builder.load(rank)),
        )
        mask = builder.bitcast(is_missing, ir.IntType(16))
        return builder.icmp_unsigned("!=", mask, ir.Constant(ir.IntType(16), 0))

    return signature, codegen


@compiled()
def _rank_block(values, at, n_features, size, thresholds, below, first, scale, steps, missing, ranks):
    """Ranks of a block of rows, `values` from `at` on, as columns; whether any value is missing.

    `size` is a multiple of 16. A part of the rows at a time, so that they stay in the first-level cache.
    """
    top = np.float32(below.shape[1] - 3)
    any_missing = False
    for part in range(0, size, RANKED):
        for f in range(n_features):
            for i in range(part, min(part + RANKED, size), 16):
                if LOOKED_UP:
                    any_missing |= _rank_vector(  # type: ignore[call-arg]
                        values, at + i * n_features + f, np.int32(n_features), thresholds[f], below[f], first[f],
                        scale[f], top, steps[f], missing, ranks[f], i,
                    )  # fmt: skip
                    continue
                for j in range(i, i + 16):
                    x = values[at + j * n_features + f]
                    any_missing |= x != x
                    rank = _rank(x, thresholds[f], below[f], first[f], scale[f], top, steps[f])
                    ranks[f, j] = rank if x == x else missing
    return any_missing


@compiled()
def _recode(ranks, recode, codes):
    for i in range(len(codes)):
        codes[i] = recode[ranks[i]]


@compiled()
def _next(codes, version):
    for i in range(len(codes)):
        version[i] = codes[i] + 1


@compiled()
def _recode_block(ranks, any_missing, recode, codes):
    """Ranks to the codes of one group, in two versions.

    In the first the code of missing values is the largest number, above all thresholds. One more makes it 0, below them
    all, and leaves the order of the others as it is: that is the second version, not made where nothing is missing.
    """
    for f in range(ranks.shape[0]):
        _recode(ranks[f], recode[f], codes[0, f])
        if any_missing:
            _next(codes[0, f], codes[1, f])


@compiled(inline="always")
def select_rows(work, code, threshold, left, left_step, right, right_step, write, n_rows):
    """One operation, on the first `n_rows` of a block: a multiple of a vector's lanes."""
    lanes = LINE // work.itemsize
    if n_rows < BLOCK:
        for _ in range(0, n_rows, lanes):
            _select_line(work, code, threshold, left, left_step, right, right_step, write)
            code += lanes
            left += left_step
            right += right_step
            write += lanes
    elif work.itemsize == 1:
        _select_block(work, code, threshold, left, left_step, right, right_step, write)
    else:
        _select_wide_block(work, code, threshold, left, left_step, right, right_step, write)


@compiled()
def _add(values, classes, total):
    for i in range(len(total)):
        total[i] += values[classes[i]]


@compiled(inline="always")
def add_result(table, work, result, n_rows, sums):
    """Add the values of the classes that a tree left at `result` to `sums`."""
    width = len(table)
    in_registers = LOOKED_UP > 0 and work.itemsize == 1
    if in_registers and width == TABLE_WIDTHS[0]:
        _look_up_32(sums, table, work, result, n_rows)
    elif in_registers and width == TABLE_WIDTHS[1]:
        _look_up_64(sums, table, work, result, n_rows)
    elif in_registers and width == TABLE_WIDTHS[2]:
        _look_up_128(sums, table, work, result, n_rows)
    else:
        _add(table, work[result : result + n_rows], sums[:n_rows])


@compiled()
def flush(sums, total, first_row, size):
    """Move the sums of a block to `total`, where they have room."""
    for k in range(len(sums)):
        for i in range(size):
            total[first_row + i, k] += sums[k, i]
    sums[:] = 0


@compiled()
def add_leaf_values(
    X, thresholds, first, scale, below, steps, group_of_tree, recode, tree_operations, operations, tree_result, tables,
    work, total,
):  # fmt: skip
    """Add the values of every row's leaf in every tree to `total`, a block of rows at a time.

    Parameters
    ----------
    tree_result : ndarray of int64, shape (n_trees,)
        Where in `work` a tree leaves the classes of a block's rows.
    tables : ndarray of int32, shape (n_values, n_trees, width)
        The values of each class; whole numbers below 2**24, so that sums are exact and no order of adding matters.
    work : ndarray of uint8 or uint16
        The codes of a block in two versions, each shape (n_features, BLOCK); then a vector for each class, filled with
        its number; then the rows that operations write to. Begins at a multiple of `LINE` bytes.
    total : ndarray of float64, shape (n_samples, n_values)
    """
    n_samples, n_features = X.shape
    n_values, n_trees, _ = tables.shape
    lanes = LINE // work.itemsize
    ranks = np.zeros((n_features, BLOCK), np.int32)
    sums = np.zeros((n_values, BLOCK), np.int32)
    rest = np.zeros((BLOCK if n_samples % BLOCK else 0, n_features), np.float32)
    one_version = n_features * BLOCK
    codes = work[: 2 * one_version].reshape((2, n_features, BLOCK))
    missing = np.int32(recode.shape[2] - 1)
    for first_row in range(0, n_samples, BLOCK):
        size = min(BLOCK, n_samples - first_row)
        n_rows = (size + lanes - 1) // lanes * lanes
        rows, at = X.reshape(-1), first_row * n_features
        if size < BLOCK:
            # Assigning all at once takes Numba a second to compile.
            for j in range(size):
                for f in range(n_features):
                    rest[j, f] = X[first_row + j, f]
            rows, at = rest.reshape(-1), 0
        any_missing = _rank_block(rows, at, n_features, n_rows, thresholds, below, first, scale, steps, missing, ranks)
        group = -1
        for tree in range(n_trees):
            if group_of_tree[tree] != group:
                group = group_of_tree[tree]
                _recode_block(ranks, any_missing, recode[group], codes)
            for k in range(tree_operations[tree], tree_operations[tree + 1]):
                version = operations[k, MISSING_LEFT] * any_missing
                select_rows(
                    work, operations[k, CODE] + version * one_version,
                    work.dtype.type(operations[k, THRESHOLD] + version), operations[k, LEFT],
                    operations[k, LEFT_STEP], operations[k, RIGHT], operations[k, RIGHT_STEP], operations[k, WRITE],
                    n_rows,
                )  # fmt: skip
            for k in range(n_values):
                add_result(tables[k, tree], work, tree_result[tree], n_rows, sums[k])
            if (tree + 1) % FLUSH == 0 or tree == n_trees - 1:
                flush(sums, total, first_row, size)
