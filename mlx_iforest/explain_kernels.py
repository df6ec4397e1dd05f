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

SLOT = MOST_POINTS * BLOCK
"""Floats of a slot of the work table: a number for each row and point."""

LEAVES, LEAVES_AGAIN, DOWN_ONE, DOWN_ONE_AGAIN, DOWN_TWO, DOWN_TWO_AGAIN, UP_ONE, UP_ONE_AGAIN, UP_TWO, UP_TWO_AGAIN = (
    range(10)
)
"""Kinds of steps. *Again*: a node above asks of the same feature."""

KIND, FEATURE, MISSING_LEFT, ABOVE, HERE, PLACE, NEAR, FAR, CONSTANT = range(9)
"""Columns of the steps."""

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
    def step(
        typingctx, x, values_at, missing_left, masks, above, here, work, place, near, far, constants, at, sums, sum_at,
        n_vectors,
    ):  # fmt: skip
        i = types.int64
        signature = types.void(x, i, i, masks, i, i, work, i, i, i, constants, i, sums, i, i)

        def codegen(context, builder, sig, args):
            x, masks, work, constants, sums = (
                context.make_array(sig.args[k])(context, builder, args[k]).data for k in (0, 3, 6, 10, 12)
            )
            values_at, missing_left, above, here, place, near, far, at, sum_at, n_vectors = (
                args[k] for k in (1, 2, 4, 5, 7, 8, 9, 11, 13, 14)
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
                missing = every_lane(builder.trunc(missing_left, _INT1), _BITS)
            if kind in (UP_ONE, UP_ONE_AGAIN):
                far_value = constant(FAR_VALUE)
            with cgutils.for_range(builder, n_vectors) as loop:
                first = builder.mul(loop.index, _INT64(LANES))
                if goes_down:
                    value = load(x, builder.add(values_at, first))
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
                    s_at = builder.add(sum_at, first)
                    product = builder.fmul(share, total, flags=_FUSED)
                    store(sums, s_at, builder.fadd(load(sums, s_at), product, flags=_FUSED))
            return context.get_dummy_value()

        return signature, codegen

    return step


def _walk(n_points):
    """All steps of a tree, for so many points of the integral."""
    leaves, leaves_again, down_one, down_one_again, down_two, down_two_again, up_one, up_one_again, up_two, up_two_again = (
        _step(kind, n_points) for kind in range(10)
    )  # fmt: skip

    @njit(nogil=True, cache=True)
    def walk(steps, first, stop, constants, x, masks, work, sums, n_vectors):
        for k in range(first, stop):
            kind = steps[k, KIND]
            f, ml, above, here = steps[k, FEATURE], steps[k, MISSING_LEFT], steps[k, ABOVE], steps[k, HERE]
            place, near, far, at = steps[k, PLACE], steps[k, NEAR], steps[k, FAR], steps[k, CONSTANT]
            if kind == LEAVES:
                leaves(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == LEAVES_AGAIN:
                leaves_again(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == DOWN_TWO:
                down_two(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == UP_TWO:
                up_two(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == DOWN_TWO_AGAIN:
                down_two_again(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == UP_TWO_AGAIN:
                up_two_again(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == DOWN_ONE:
                down_one(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == UP_ONE:
                up_one(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            elif kind == DOWN_ONE_AGAIN:
                down_one_again(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)
            else:
                up_one_again(x, f, ml, masks, above, here, work, place, near, far, constants, at, sums, f, n_vectors)

    return walk


_walk_1, _walk_2, _walk_3, _walk_4 = (_walk(n_points) for n_points in range(1, MOST_POINTS + 1))


@njit(nogil=True, cache=True)
def _add_to(total, sums):
    for k in range(len(total)):
        total[k] += sums[k]


@njit(nogil=True, cache=True)
def add_shapley_values(
    X, walk_steps, walk_points, weights, steps, constants, groups, masks, work, sums, x, total, out
):  # fmt: skip
    """Add the Shapley values of rows, a few blocks at a time, to `out`.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_features)
    walk_steps : ndarray of int64, shape (n_walks + 1,)
        Where each walk's steps begin.
    walk_points : ndarray of int64, shape (n_walks,)
        Points of the integral that it takes.
    weights : ndarray of float32, shape (n_walks, MOST_POINTS)
        Of these points.
    steps : ndarray of int64, shape (n_steps, 9)
        The columns named above.
    constants : ndarray of float32
    groups : ndarray of int64, shape (n_groups + 1,)
        Where groups of walks begin: their sums are added up in float32, and their tables stay in the cache from one
        block to the next.
    masks : ndarray of uint16
    work : ndarray of float32
    sums : ndarray of float32, shape (n_features * BLOCK,)
    x : ndarray of float32, shape (n_blocks, n_features * BLOCK)
        Room for the values of some blocks, feature by feature.
    total : ndarray of float64, shape (n_blocks, n_features * BLOCK)
        Room for their Shapley values.
    out : ndarray of float64, shape (n_rows, n_features)
    """
    n_rows, n_features = X.shape
    piece = len(x) * BLOCK
    for start in range(0, n_rows, piece):
        rows = min(piece, n_rows - start)
        n_blocks = (rows + BLOCK - 1) // BLOCK
        for row in range(rows):
            b, r = row // BLOCK, row % BLOCK
            for f in range(n_features):
                x[b, f * BLOCK + r] = X[start + row, f]
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
        for row in range(rows):
            b, r = row // BLOCK, row % BLOCK
            for f in range(n_features):
                out[start + row, f] += total[b, f * BLOCK + r]
