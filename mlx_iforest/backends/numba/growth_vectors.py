"""A node's values read and its rows parted 16 at a time, where the processor can (`HAS_VECTORS_OF_16`).

Most nodes hold fewer rows than that: one gather, one compare and two compressions do what loops of unknown length,
mispredicted at their ends, took six times as long for. `growing_kernels` has the plain loops, and a test holds both
equal.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mlx_iforest.backends.numba.vectors import (
    BITS,
    HALF,
    INT8,
    INT32,
    INT64,
    OFFSETS,
    REALS,
    WORDS,
    compress,
    data,
    every_lane,
    gather_some,
    load,
    store,
)

__all__ = ["PADDING", "find_varying", "part_rows", "read_values"]

PADDING = 16
"""Entries that arrays given here have behind those that count: whole vectors are loaded and stored."""

_NUMBERS = ir.Constant(WORDS, list(range(16)))
_NO_RANGE = [ir.Constant(REALS, [bound] * 16) for bound in (float("inf"), float("-inf"))]
"""Smallest and largest of nothing."""


def _first_lanes(builder, count):
    """Which of 16 lanes are the first `count`."""
    return builder.icmp_signed("<", _NUMBERS, every_lane(builder, WORDS, builder.trunc(count, INT32)))


def _count(builder, lanes):
    counter = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.IntType(16), [ir.IntType(16)]), "llvm.ctpop.i16"
    )
    return builder.zext(builder.call(counter, [builder.bitcast(lanes, ir.IntType(16))]), INT64)


def _gather_rows(builder, X, rows, n_features, feature, lanes):
    """The values of a feature in 16 rows, NaN where a lane does not count; half of them at a time."""
    base = builder.gep(X, [feature])
    width = every_lane(builder, OFFSETS, n_features)
    halves = []
    for k in (0, 8):
        some = ir.Constant(ir.VectorType(INT32, 8), list(range(k, k + 8)))
        offsets = builder.mul(builder.zext(builder.shuffle_vector(rows, rows, some), OFFSETS), width)
        mask = builder.shuffle_vector(lanes, lanes, some)
        halves.append(gather_some(builder, base, offsets, mask, ir.Constant(HALF, [float("nan")] * 8)))
    return builder.shuffle_vector(*halves, _NUMBERS)


def _masked_store(builder, vector, base, offset, value, lanes):
    pointer = builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), INT32, BITS]),
        "llvm.masked.store.v16i32.p0",
    )
    builder.call(function, [value, pointer, ir.Constant(INT32, 4), lanes])


def _widen(builder, ends, x):
    """Let ranges, by their smallest and largest, include values; missing ones change none, as in comparisons."""
    for end, is_further in zip(ends, "<>", strict=True):
        best = builder.load(end)
        builder.store(builder.select(builder.fcmp_ordered(is_further, x, best), x, best), end)


def _reduced(builder, name, vector):
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.FloatType(), [REALS]), f"llvm.vector.reduce.{name}.v16f32"
    )
    return builder.call(function, [vector], fastmath=("nnan", "nsz"))


@intrinsic
def read_values(typingctx, X, n_features, feature, order, first, size, values):
    """Put a feature of the `size` rows from ``order[first]`` on into `values`; smallest, largest, any missing.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_features)
        In C order.
    order : ndarray of uint32
        Numbers of rows.
    """
    real = types.float32
    result = types.Tuple((real, real, types.boolean))
    signature = result(X, types.int64, types.int64, order, types.int64, types.int64, values)

    def codegen(context, builder, sig, args):
        X, order, values = (data(context, builder, sig.args[k], args[k]) for k in (0, 3, 6))
        n_features, feature, first, size = (args[k] for k in (1, 2, 4, 5))
        ends = [cgutils.alloca_once_value(builder, end) for end in _NO_RANGE]
        missing = cgutils.alloca_once_value(builder, ir.Constant(BITS, [0] * 16))
        with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), size, ir.Constant(INT64, 16)) as (i, _):
            lanes = _first_lanes(builder, builder.sub(size, i))
            rows = load(builder, WORDS, order, builder.add(first, i))
            x = _gather_rows(builder, X, rows, n_features, feature, lanes)
            store(builder, REALS, values, i, x)
            absent = builder.and_(builder.fcmp_unordered("uno", x, x), lanes)
            builder.store(builder.or_(builder.load(missing), absent), missing)
            _widen(builder, ends, x)
        low, high = (
            _reduced(builder, name, builder.load(end)) for name, end in zip(("fmin", "fmax"), ends, strict=True)
        )
        mask = builder.bitcast(builder.load(missing), ir.IntType(16))
        any_missing = builder.icmp_unsigned("!=", mask, ir.Constant(ir.IntType(16), 0))
        return context.make_tuple(builder, result, (low, high, any_missing))

    return signature, codegen


@intrinsic
def part_rows(typingctx, values, order, spare, first, size, threshold, missing_left):
    """Part the `size` rows from ``order[first]`` on: those whose value goes left come first, both in their order.

    Returns how many go left. `spare` is overwritten.
    """
    signature = types.int64(values, order, spare, types.int64, types.int64, types.float32, types.boolean)

    def codegen(context, builder, sig, args):
        values, order, spare = (data(context, builder, sig.args[k], args[k]) for k in range(3))
        first, size, threshold, missing_left = args[3:]
        limit = every_lane(builder, REALS, threshold)
        to_left = every_lane(builder, BITS, builder.trunc(missing_left, ir.IntType(1)))
        zero = ir.Constant(INT64, 0)
        n_left, n_right = cgutils.alloca_once_value(builder, zero), cgutils.alloca_once_value(builder, zero)
        with cgutils.for_range_slice(builder, zero, size, ir.Constant(INT64, 16)) as (i, _):
            lanes = _first_lanes(builder, builder.sub(size, i))
            rows = load(builder, WORDS, order, builder.add(first, i))
            x = load(builder, REALS, values, i)
            is_missing = builder.fcmp_unordered("uno", x, x)
            goes = builder.or_(builder.fcmp_ordered("<=", x, limit), builder.and_(is_missing, to_left))
            left, right = builder.and_(goes, lanes), builder.and_(builder.not_(goes), lanes)
            # What is overwritten here has been loaded: no more go left than were looked at.
            here, count = builder.load(n_left), _count(builder, left)
            _masked_store(
                builder, WORDS, order, builder.add(first, here), compress(builder, rows, left),
                _first_lanes(builder, count),
            )  # fmt: skip
            builder.store(builder.add(here, count), n_left)
            there = builder.load(n_right)
            store(builder, WORDS, spare, there, compress(builder, rows, right))
            builder.store(builder.add(there, _count(builder, right)), n_right)
        behind, rest = builder.add(first, builder.load(n_left)), builder.load(n_right)
        with cgutils.for_range_slice(builder, zero, rest, ir.Constant(INT64, 16)) as (i, _):
            rows = load(builder, WORDS, spare, i)
            _masked_store(
                builder, WORDS, order, builder.add(behind, i), rows, _first_lanes(builder, builder.sub(rest, i))
            )
        return builder.load(n_left)

    return signature, codegen


@intrinsic
def find_varying(typingctx, X, n_features, order, first, size, varies):
    """Mark the columns whose values, where not missing, differ among the `size` rows from ``order[first]`` on.

    Returns how many do. `varies` has `PADDING` entries behind those of the columns. Column by column, since the ends of
    16 ranges stay in registers: for few rows.
    """
    signature = types.int64(X, types.int64, order, types.int64, types.int64, varies)

    def codegen(context, builder, sig, args):
        X, order, varies = (data(context, builder, sig.args[k], args[k]) for k in (0, 2, 5))
        n_features, first, size = args[1], args[3], args[4]
        zero, step = ir.Constant(INT64, 0), ir.Constant(INT64, 16)
        total = cgutils.alloca_once_value(builder, zero)
        ends = [cgutils.alloca_once(builder, REALS) for _ in "<>"]
        masked_load = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(REALS, [REALS.as_pointer(), INT32, BITS, REALS]),
            "llvm.masked.load.v16f32.p0",
        )
        with cgutils.for_range_slice(builder, zero, n_features, step) as (column, _):
            lanes = _first_lanes(builder, builder.sub(n_features, column))
            for end, bound in zip(ends, _NO_RANGE, strict=True):
                builder.store(bound, end)
            with cgutils.for_range(builder, size) as loop:
                row = builder.zext(builder.load(builder.gep(order, [builder.add(first, loop.index)])), INT64)
                place = builder.gep(X, [builder.add(builder.mul(row, n_features), column)])
                pointer = builder.bitcast(place, REALS.as_pointer())
                # What lies behind the last column is not this table's.
                x = builder.call(masked_load, [pointer, ir.Constant(INT32, 4), lanes, ir.Constant(REALS, [0.0] * 16)])
                _widen(builder, ends, x)
            differ = builder.fcmp_ordered("<", *(builder.load(end) for end in ends))
            differ = builder.and_(differ, lanes)
            flags = builder.zext(differ, ir.VectorType(INT8, 16))
            store(builder, ir.VectorType(INT8, 16), builder.bitcast(varies, INT8.as_pointer()), column, flags)
            builder.store(builder.add(builder.load(total), _count(builder, differ)), total)
        return builder.load(total)

    return signature, codegen
