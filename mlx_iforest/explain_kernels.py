"""What Numba compiles to explain blocks of rows: all of a tree's Shapley values in one walk down and up.

See `explain_tables` for the mathematics. A step does one node for a block of rows, at a few points of the integral at
once, and every operation in it is one vector instruction for 16 rows. It is written in LLVM's own vector types, which
it maps to what the processor has, as in `codes_scoring`.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "BLOCK",
    "COLUMNS",
    "CONSTANTS",
    "LANES",
    "MOST_POINTS",
    "add_shapley_values",
]

BLOCK = 64
"""Rows of a block: what a tree of 256 samples needs for them stays in the first-level cache."""

LANES = 16
"""Rows of a vector."""

MOST_POINTS = 4
"""Points of the integral that one walk takes; where a tree needs more, it is walked several times."""

TILE = 16
"""Features that are turned together: a cache line of values."""

SLOT = MOST_POINTS * BLOCK
"""Floats of a slot of the work table: a number for each row and point."""

LEAVES, LEAVES_AGAIN, DOWN_ONE, DOWN_ONE_AGAIN, DOWN_TWO, DOWN_TWO_AGAIN, UP_ONE, UP_ONE_AGAIN, UP_TWO, UP_TWO_AGAIN = (
    range(10)
)
"""Kinds of steps. *Again*: a node above asks of the same feature."""

KIND, FEATURE, MISSING_LEFT, ABOVE, HERE, PLACE, NEAR, FAR, CONSTANT, COLUMNS = range(10)
"""Columns of the steps. Which kind it is; where the feature's values and sums begin; where missing values go; where the
masks of the way that asked of the feature before, and of this node, begin; the slots of the node, its near and its far
child; where the constants begin."""

THRESHOLD, FAR_VALUE, LEFT_SHARE, RIGHT_SHARE, APART, CONSTANTS = range(6)
"""A node's constants: then, for each point, those for rows that go left and right, and a weight."""

_INT1, _INT16, _INT32, _INT64 = ir.IntType(1), ir.IntType(16), ir.IntType(32), ir.IntType(64)
_REALS, _BITS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(_INT1, LANES)
_FUSED = ("contract",)
"""A product and a sum may become one instruction."""


def _step(kind, n_points):
    """One step of a walk, for `n_vectors` vectors of rows, as an intrinsic."""
    again = bool(kind % 2)
    goes_down = kind < UP_ONE
    two = kind in (DOWN_TWO, DOWN_TWO_AGAIN, UP_TWO, UP_TWO_AGAIN)
    leaves = kind in (LEAVES, LEAVES_AGAIN)

    @intrinsic
    def step(typingctx, steps, at, constants, x, masks, work, sums, n_vectors):
        signature = types.void(steps, types.int64, constants, x, masks, work, sums, types.int64)

        def codegen(context, builder, sig, args):
            steps, constants, x, masks, work, sums = (
                context.make_array(sig.args[k])(context, builder, args[k]).data for k in (0, 2, 3, 4, 5, 6)
            )
            row, n_vectors = builder.mul(args[1], _INT64(COLUMNS)), args[7]

            def column(k):
                return builder.sext(builder.load(builder.gep(steps, [builder.add(row, _INT64(k))])), _INT64)

            feature, above, here, place, near, far, at = (
                column(k) for k in (FEATURE, ABOVE, HERE, PLACE, NEAR, FAR, CONSTANT)
            )

            def load(base, offset):
                value = builder.load(builder.bitcast(builder.gep(base, [offset]), _REALS.as_pointer()))
                value.align = 4
                return value

            def store(base, offset, value):
                builder.store(value, builder.bitcast(builder.gep(base, [offset]), _REALS.as_pointer())).align = 4

            def every_lane(scalar, vector):
                undefined = ir.Constant(vector, ir.Undefined)
                one = builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
                return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))

            def constant(k):
                return every_lane(builder.load(builder.gep(constants, [builder.add(at, _INT64(k))])), _REALS)

            def by_point(k):
                return [constant(CONSTANTS + 3 * q + k) for q in range(n_points)]

            def load_mask(offset):
                return builder.bitcast(builder.load(builder.gep(masks, [offset])), _BITS)

            def store_mask(offset, mask):
                builder.store(builder.bitcast(mask, _INT16), builder.gep(masks, [offset]))

            zero = ir.Constant(_REALS, [0.0] * LANES)
            other_side = _INT64(BLOCK // LANES)
            if_left, if_right, weight = by_point(0), by_point(1), by_point(2)
            left_share, right_share = constant(LEFT_SHARE), constant(RIGHT_SHARE)
            if again:
                apart = constant(APART)
            if goes_down:
                threshold = constant(THRESHOLD)
                missing = every_lane(builder.trunc(column(MISSING_LEFT), _INT1), _BITS)
            if kind in (UP_ONE, UP_ONE_AGAIN):
                far_value = constant(FAR_VALUE)
            with cgutils.for_range(builder, n_vectors) as loop:
                first = builder.mul(loop.index, _INT64(LANES))
                if goes_down:
                    value = load(x, builder.add(feature, first))
                    left = builder.fcmp_ordered("<=", value, threshold)
                    left = builder.or_(left, builder.and_(missing, builder.fcmp_unordered("uno", value, value)))
                    right = builder.not_(left)
                    if again:
                        holds = load_mask(builder.add(above, loop.index))
                        left, right = builder.and_(left, holds), builder.and_(right, holds)
                    mask_at = builder.add(here, loop.index)
                    store_mask(mask_at, left)
                    store_mask(builder.add(mask_at, other_side), right)
                else:
                    mask_at = builder.add(here, loop.index)
                    left = load_mask(mask_at)
                    right = load_mask(builder.add(mask_at, other_side)) if again else builder.not_(left)

                def choose(a, b, otherwise):
                    return builder.select(left, a, builder.select(right, b, otherwise) if again else b)

                total = zero
                for q in range(n_points):
                    offset = builder.add(first, _INT64(q * BLOCK))
                    chosen = choose(if_left[q], if_right[q], apart if again else None)
                    p_at = builder.add(place, offset)
                    p = load(work, p_at)
                    if leaves:
                        weighted = builder.fmul(p, weight[q], flags=_FUSED) if again else p
                        total = builder.fadd(total, weighted, flags=_FUSED)
                        store(work, p_at, chosen)
                        continue
                    near_at, far_at = builder.add(near, offset), builder.add(far, offset)
                    if goes_down:
                        p_near = builder.fmul(p, chosen)
                        store(work, near_at, p_near)
                        if two:
                            store(work, far_at, builder.fsub(p, p_near))
                        continue
                    u_far = load(work, far_at) if two else far_value
                    difference = builder.fsub(load(work, near_at), u_far)
                    if again:
                        p = builder.fmul(p, weight[q])
                    total = builder.fadd(total, builder.fmul(p, difference, flags=_FUSED), flags=_FUSED)
                    store(work, p_at, builder.fadd(u_far, builder.fmul(chosen, difference, flags=_FUSED), flags=_FUSED))
                if leaves or not goes_down:
                    share = choose(left_share, right_share, zero)
                    s_at = builder.add(feature, first)
                    product = builder.fmul(share, total, flags=_FUSED)
                    store(sums, s_at, builder.fadd(load(sums, s_at), product, flags=_FUSED))
            return context.get_dummy_value()

        return signature, codegen

    return step


def _walk(n_points):
    """All steps of a tree, for so many points of the integral."""
    leaves, down_one, down_two, up_one, up_two = (_step(kind, n_points) for kind in range(0, 10, 2))
    leaves_again, down_one_again, down_two_again, up_one_again, up_two_again = (
        _step(kind, n_points) for kind in range(1, 10, 2)
    )

    @njit(nogil=True, cache=True)
    def walk(steps, first, stop, constants, x, masks, work, sums, n_vectors):
        for k in range(first, stop):
            kind = steps[k, KIND]
            if kind == LEAVES:
                leaves(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == LEAVES_AGAIN:
                leaves_again(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == DOWN_TWO:
                down_two(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == UP_TWO:
                up_two(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == DOWN_TWO_AGAIN:
                down_two_again(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == UP_TWO_AGAIN:
                up_two_again(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == DOWN_ONE:
                down_one(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == UP_ONE:
                up_one(steps, k, constants, x, masks, work, sums, n_vectors)
            elif kind == DOWN_ONE_AGAIN:
                down_one_again(steps, k, constants, x, masks, work, sums, n_vectors)
            else:
                up_one_again(steps, k, constants, x, masks, work, sums, n_vectors)

    return walk


_walk_1, _walk_2, _walk_3, _walk_4 = (_walk(n_points) for n_points in range(1, MOST_POINTS + 1))


@njit(nogil=True, cache=True)
def _turn(X, start, n_rows, x):
    """A block of rows, feature by feature; tile by tile, as lines of the cache hold them."""
    n_features = X.shape[1]
    for tile in range(0, n_features, TILE):
        stop = min(tile + TILE, n_features)
        for row in range(n_rows):
            for f in range(tile, stop):
                x[f * BLOCK + row] = X[start + row, f]


@njit(nogil=True, cache=True)
def _add_to(total, sums):
    for k in range(len(total)):
        total[k] += sums[k]


@njit(nogil=True, cache=True)
def _add_sizes(values, added, sizes):
    for k in range(BLOCK):
        added[k] += values[k]
        sizes[k] += abs(values[k])


@njit(nogil=True, cache=True)
def _settle(values, rest):
    for k in range(BLOCK):
        values[k] += rest[k] * abs(values[k])


@njit(nogil=True, cache=True)
def _finish(total, expected, factor, start, n_rows, out):
    """Let each row of a block add up to what is expected, and add it, times a factor, to `out`."""
    n_features = out.shape[1]
    rest, sizes = np.zeros(BLOCK), np.zeros(BLOCK)
    for f in range(n_features):
        _add_sizes(total[f * BLOCK : (f + 1) * BLOCK], rest, sizes)
    for row in range(BLOCK):
        left_over = expected[start + row] - rest[row] if row < n_rows else 0.0
        rest[row] = left_over / sizes[row] if sizes[row] > 0 else 0.0
    for f in range(n_features):
        _settle(total[f * BLOCK : (f + 1) * BLOCK], rest)
    for tile in range(0, n_features, TILE):
        stop = min(tile + TILE, n_features)
        for row in range(n_rows):
            for f in range(tile, stop):
                out[start + row, f] += factor[start + row] * total[f * BLOCK + row]


@njit(nogil=True, cache=True)
def add_shapley_values(
    X, walk_steps, walk_points, weights, steps, constants, groups, masks, work, sums, x, total, expected, factor, out
):  # fmt: skip
    """Add the Shapley values of rows, times a factor, to `out`.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_features)
    walk_steps : ndarray of int64, shape (n_walks + 1,)
        Where each walk's steps begin.
    walk_points : ndarray of int64, shape (n_walks,)
        Points of the integral that it takes.
    weights : ndarray of float32, shape (n_walks, MOST_POINTS)
        Of these points.
    steps : ndarray of int32, shape (n_steps, COLUMNS)
    constants : ndarray of float32
    groups : ndarray of int64, shape (n_groups + 1,)
        Where groups of walks begin: a block's sums over a group are added up in float32.
    masks : ndarray of uint16
    work : ndarray of float32
    sums : ndarray of float32, shape (n_features * BLOCK,)
    x : ndarray of float32, shape (n_blocks, n_features * BLOCK)
        Room for the values of some blocks, feature by feature. So many blocks are explained together, so that the tables
        of a group stay in the cache from one to the next.
    total : ndarray of float64, shape (n_blocks, n_features * BLOCK)
        Room for their Shapley values.
    expected : ndarray of float64, shape (n_rows,)
        What each row's values are known to add up to.
    factor : ndarray of float64, shape (n_rows,)
    out : ndarray of float64, shape (n_rows, n_features)
    """
    n_rows = len(X)
    piece = len(x) * BLOCK
    for start in range(0, n_rows, piece):
        rows = min(piece, n_rows - start)
        n_blocks = (rows + BLOCK - 1) // BLOCK
        for b in range(n_blocks):
            _turn(X, start + b * BLOCK, min(BLOCK, rows - b * BLOCK), x[b])
        total[:n_blocks] = 0
        for group in range(len(groups) - 1):
            for b in range(n_blocks):
                n_vectors = (min(BLOCK, rows - b * BLOCK) + LANES - 1) // LANES
                sums[:] = 0
                for w in range(groups[group], groups[group + 1]):
                    n_points = walk_points[w]
                    for q in range(n_points):
                        work[q * BLOCK : (q + 1) * BLOCK] = weights[w, q]
                    a, z = walk_steps[w], walk_steps[w + 1]
                    if n_points == 4:
                        _walk_4(steps, a, z, constants, x[b], masks, work, sums, n_vectors)
                    elif n_points == 3:
                        _walk_3(steps, a, z, constants, x[b], masks, work, sums, n_vectors)
                    elif n_points == 2:
                        _walk_2(steps, a, z, constants, x[b], masks, work, sums, n_vectors)
                    else:
                        _walk_1(steps, a, z, constants, x[b], masks, work, sums, n_vectors)
                _add_to(total[b], sums)
        for b in range(n_blocks):
            _finish(total[b], expected, factor, start + b * BLOCK, min(BLOCK, rows - b * BLOCK), out)
