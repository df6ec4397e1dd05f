"""What Numba compiles to explain blocks of rows: all of a tree's Shapley values in one walk down and up.

See `tables` for the mathematics. A step does one node for a block of rows, at all points of the integral, and
every operation in it is one vector instruction for 16 rows. It is written in LLVM's own vector types, which it maps to
what the processor has, as in `coded_scoring`.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

from functools import partial

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mlx_iforest.backends.numba.vectors import (
    BITS,
    INT64,
    MASK,
    REALS,
    data,
    either,
    every_lane,
    load,
    load_mask,
    mask_of,
    multiply_add,
    store,
    store_mask,
)
from mlx_iforest.compiled_code import compiled

__all__ = [
    "BLOCK",
    "COLUMNS",
    "CONSTANTS",
    "DOWN_ONE",
    "DOWN_ONE_AGAIN",
    "DOWN_TWO",
    "DOWN_TWO_AGAIN",
    "FIRST_PAIR",
    "KIND",
    "LANES",
    "LAST_PAIR",
    "LEAVES",
    "LEAVES_AGAIN",
    "UP_ONE",
    "UP_ONE_AGAIN",
    "UP_TWO",
    "UP_TWO_AGAIN",
    "VECTORS",
    "add_product",
    "add_shapley_values",
    "down_one",
    "down_one_again",
    "down_two",
    "down_two_again",
    "make_step",
    "turn",
    "turn_back",
]

BLOCK = 64
"""Rows of a block: what a tree of 256 samples needs for them stays in the first-level cache."""

LANES = REALS.count

VECTORS = BLOCK // LANES

TILE = 16
"""Features that are turned together: a cache line of values."""

LEAVES, LEAVES_AGAIN, DOWN_ONE, DOWN_ONE_AGAIN, DOWN_TWO, DOWN_TWO_AGAIN, UP_ONE, UP_ONE_AGAIN, UP_TWO, UP_TWO_AGAIN = (
    range(10)
)
"""Kinds of steps. *Again*: a node above asks of the same feature."""

KIND, FEATURE, MISSING_LEFT, ABOVE, HERE, PLACE, NEAR, FAR, CONSTANT, FIRST_PAIR, LAST_PAIR, COLUMNS = range(12)
"""Columns of the steps. Which kind it is; where the feature's values and sums begin; where missing values go; where the
masks of the way that asked of the feature before, and of this node, begin; the slots of the node, its near and its far
child; where in the tree's constants the node's begin; which of the tree's pairs are of this node's feature and those
that were asked of above."""

THRESHOLD, FAR_VALUE, LEFT_SHARE, RIGHT_SHARE, APART, CONSTANTS = range(6)
"""A node's constants: then, for each point, those for rows that go left and right, and a weight."""


def make_step(kind, apart_by_point=False):
    """One step of a walk for a block of rows, as an intrinsic.

    What the split adds to its feature goes into `sums`, added up over the points of the integral at the feature's
    place, or else `apart_by_point`, from the array's beginning on.
    """
    again = bool(kind % 2)
    leaves = kind in (LEAVES, LEAVES_AGAIN)
    goes_down = kind < UP_ONE
    two = kind in (DOWN_TWO, DOWN_TWO_AGAIN, UP_TWO, UP_TWO_AGAIN)

    @intrinsic
    def step(typingctx, steps, at, n_points, constants, x, masks, work, sums):
        signature = types.void(steps, types.int64, types.int64, constants, x, masks, work, sums)

        def codegen(context, builder, sig, args):
            steps, constants, x, masks, work, sums = (
                data(context, builder, sig.args[k], args[k]) for k in (0, 3, 4, 5, 6, 7)
            )
            row, n_points = builder.mul(args[1], INT64(COLUMNS)), args[2]

            def column(k):
                return builder.sext(builder.load(builder.gep(steps, [builder.add(row, INT64(k))])), INT64)

            def constant(offset):
                return every_lane(builder, REALS, builder.load(builder.gep(constants, [offset])))

            def of_node(k):
                return constant(builder.add(at, INT64(k)))

            def mask_place(offset, side, k):
                return builder.gep(masks, [builder.add(offset, INT64(side * VECTORS + k))])

            at, feature, here, place = (column(k) for k in (CONSTANT, FEATURE, HERE, PLACE))
            lane = [INT64(LANES * k) for k in range(VECTORS)]
            # Which rows go left and right; neither, where they have left the way of the same feature above.
            left, right = [], []
            if goes_down:
                threshold, above = of_node(THRESHOLD), column(ABOVE)
                missing = builder.sext(builder.trunc(column(MISSING_LEFT), BITS.element), MASK.element)
                missing = every_lane(builder, MASK, missing)
            for k in range(VECTORS):
                if goes_down:
                    value = load(builder, REALS, x, builder.add(feature, lane[k]))
                    is_left = mask_of(builder, partial(builder.fcmp_ordered, "<="), value, threshold)
                    is_missing = mask_of(builder, partial(builder.fcmp_unordered, "uno"), value, value)
                    is_left = builder.or_(is_left, builder.and_(missing, is_missing))
                    is_right = builder.not_(is_left)
                    if again:
                        holds = load_mask(builder, mask_place(above, 0, k))
                        is_left, is_right = builder.and_(is_left, holds), builder.and_(is_right, holds)
                    store_mask(builder, is_left, mask_place(here, 0, k))
                    store_mask(builder, is_right, mask_place(here, 1, k))
                else:
                    is_left = load_mask(builder, mask_place(here, 0, k))
                    is_right = load_mask(builder, mask_place(here, 1, k)) if again else None
                left.append(is_left)
                right.append(is_right)

            def choose(k, a, b, otherwise):
                return either(builder, left[k], a, either(builder, right[k], b, otherwise) if again else b)

            zero = ir.Constant(REALS, [0.0] * LANES)
            apart = of_node(APART) if again else None
            if not leaves:
                near, far = column(NEAR), column(FAR)
            if kind in (UP_ONE, UP_ONE_AGAIN):
                far_value = of_node(FAR_VALUE)
            adds = leaves or not goes_down
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(VECTORS if adds else 0)]

            def shares():
                left_share, right_share = of_node(LEFT_SHARE), of_node(RIGHT_SHARE)
                return [choose(k, left_share, right_share, zero) for k in range(VECTORS)]

            of_rows = shares() if adds and apart_by_point else []
            with cgutils.for_range(builder, n_points) as loop:
                of_point = builder.add(at, builder.add(INT64(CONSTANTS), builder.mul(loop.index, INT64(3))))
                if_left, if_right, weight = (constant(builder.add(of_point, INT64(k))) for k in range(3))
                first = builder.mul(loop.index, INT64(BLOCK))
                for k in range(VECTORS):
                    offset = builder.add(first, lane[k])
                    p_at = builder.add(place, offset)
                    p = load(builder, REALS, work, p_at)
                    chosen = choose(k, if_left, if_right, apart)
                    if goes_down and not leaves:
                        p_near = builder.fmul(p, chosen)
                        store(builder, REALS, work, builder.add(near, offset), p_near)
                        if two:
                            store(builder, REALS, work, builder.add(far, offset), builder.fsub(p, p_near))
                        continue
                    if leaves:
                        store(builder, REALS, work, p_at, chosen)
                        reached, difference = p, weight if again else None
                    else:
                        u_far = load(builder, REALS, work, builder.add(far, offset)) if two else far_value
                        difference = builder.fsub(load(builder, REALS, work, builder.add(near, offset)), u_far)
                        store(builder, REALS, work, p_at, multiply_add(builder, chosen, difference, u_far))
                        reached = builder.fmul(p, weight) if again else p
                    if apart_by_point:
                        term = builder.fmul(reached, of_rows[k])
                        term = term if difference is None else builder.fmul(term, difference)
                        store(builder, REALS, sums, offset, term)
                        continue
                    total = builder.load(totals[k])
                    if difference is None:
                        total = builder.fadd(reached, total)
                    else:
                        total = multiply_add(builder, reached, difference, total)
                    builder.store(total, totals[k])
            if adds and not apart_by_point:
                for k, share in enumerate(shares()):
                    place = builder.add(feature, lane[k])
                    before = load(builder, REALS, sums, place)
                    store(builder, REALS, sums, place, multiply_add(builder, share, builder.load(totals[k]), before))
            return context.get_dummy_value()

        return signature, codegen

    return step


_leaves, _leaves_again = make_step(LEAVES), make_step(LEAVES_AGAIN)
down_one, down_one_again = make_step(DOWN_ONE), make_step(DOWN_ONE_AGAIN)
down_two, down_two_again = make_step(DOWN_TWO), make_step(DOWN_TWO_AGAIN)
_up_one, _up_one_again = make_step(UP_ONE), make_step(UP_ONE_AGAIN)
_up_two, _up_two_again = make_step(UP_TWO), make_step(UP_TWO_AGAIN)


@compiled()
def _walk(steps, first, stop, n_points, constants, x, masks, work, sums):
    """All steps of a tree, for a block of rows."""
    for k in range(first, stop):
        kind = steps[k, KIND]
        if kind == LEAVES:
            _leaves(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == LEAVES_AGAIN:
            _leaves_again(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == DOWN_TWO:
            down_two(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == UP_TWO:
            _up_two(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == DOWN_TWO_AGAIN:
            down_two_again(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == UP_TWO_AGAIN:
            _up_two_again(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == DOWN_ONE:
            down_one(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == UP_ONE:
            _up_one(steps, k, n_points, constants, x, masks, work, sums)
        elif kind == DOWN_ONE_AGAIN:
            down_one_again(steps, k, n_points, constants, x, masks, work, sums)
        else:
            _up_one_again(steps, k, n_points, constants, x, masks, work, sums)


@compiled()
def turn(X, start, n_rows, x):
    """A block of rows, feature by feature; tile by tile, as lines of the cache hold them."""
    n_features = X.shape[1]
    for tile in range(0, n_features, TILE):
        stop = min(tile + TILE, n_features)
        for row in range(n_rows):
            for f in range(tile, stop):
                x[f * BLOCK + row] = X[start + row, f]


@compiled()
def turn_back(total, start, n_rows, out):
    n_features = out.shape[1]
    for tile in range(0, n_features, TILE):
        stop = min(tile + TILE, n_features)
        for row in range(n_rows):
            for f in range(tile, stop):
                out[start + row, f] = total[f * BLOCK + row]


@compiled()
def add_product(total, sums, factor):
    for k in range(BLOCK):
        total[k] += sums[k] * factor[k]


@compiled()
def _add_sizes(values, added, sizes):
    for k in range(BLOCK):
        added[k] += values[k]
        sizes[k] += abs(values[k])


@compiled()
def _add_by_size(values, rest):
    for k in range(BLOCK):
        values[k] += rest[k] * abs(values[k])


@compiled()
def _settle(total, expected):
    """`reference.settle` of a block; no more than `expected` tells of its rows."""
    rest, sizes = np.zeros(BLOCK), np.zeros(BLOCK)
    for at in range(0, len(total), BLOCK):
        _add_sizes(total[at : at + BLOCK], rest, sizes)
    for row in range(BLOCK):
        known = row < len(expected) and sizes[row] > 0
        rest[row] = (expected[row] - rest[row]) / sizes[row] if known else 0.0
    for at in range(0, len(total), BLOCK):
        _add_by_size(total[at : at + BLOCK], rest)


@compiled()
def add_shapley_values(
    X, tree_steps, tree_constants, tree_points, weights, steps, constants, groups, factors, masks, work, sums, factor,
    x, total, expected, fresh, out,
):  # fmt: skip
    """Add the Shapley values of rows to `out`.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_features)
    tree_steps, tree_constants : ndarray of int64, shape (n_trees + 1,)
        Where each tree's steps and constants begin.
    tree_points : ndarray of int64, shape (n_trees,)
        Points of the integral that it takes.
    weights : ndarray of float32, shape (n_trees, most points)
        Of these points.
    steps : ndarray of int32, shape (n_steps, COLUMNS)
    constants : ndarray of float32
    groups : ndarray of int64, shape (n_groups, 3)
        The first tree of each group of trees, the one after the last, and which factors it takes: a block's sums over
        a group are added up in float32.
    factors : ndarray of float64, shape (n_parts, n_rows)
    masks : ndarray of uint16
    work : ndarray of float32
    sums : ndarray of float32, shape (n_features * BLOCK,)
    factor : ndarray of float64, shape (BLOCK,)
    x : ndarray of float32, shape (n_blocks, n_features * BLOCK)
        Room for the values of some blocks, feature by feature. So many blocks are explained together, so that a
        group's tables stay in the cache from one to the next.
    total : ndarray of float64, shape (n_blocks, n_features * BLOCK)
        Room for their Shapley values.
    expected : ndarray of float64, shape (n_rows,) or (0,)
        What each row's values are to add up to in the end, where that is known.
    fresh : bool
        Whether to overwrite what is in `out`.
    out : ndarray of float64, shape (n_rows, n_features)
    """
    n_rows = len(X)
    piece = len(x) * BLOCK
    for start in range(0, n_rows, piece):
        n_blocks = (min(piece, n_rows - start) + BLOCK - 1) // BLOCK
        for b in range(n_blocks):
            first = start + b * BLOCK
            turn(X, first, min(BLOCK, n_rows - first), x[b])
            total[b] = 0
            if not fresh:
                turn(out, first, min(BLOCK, n_rows - first), total[b])
        for group in range(len(groups)):
            for b in range(n_blocks):
                first = start + b * BLOCK
                sums[:] = 0
                for tree in range(groups[group, 0], groups[group, 1]):
                    n_points, of_tree = tree_points[tree], constants[tree_constants[tree] :]
                    for q in range(n_points):
                        work[q * BLOCK : (q + 1) * BLOCK] = weights[tree, q]
                    _walk(steps, tree_steps[tree], tree_steps[tree + 1], n_points, of_tree, x[b], masks, work, sums)
                last = min(BLOCK, n_rows - first)
                factor[:last] = factors[groups[group, 2], first : first + last]
                for at in range(0, len(sums), BLOCK):
                    add_product(total[b, at : at + BLOCK], sums[at : at + BLOCK], factor)
        for b in range(n_blocks):
            first = start + b * BLOCK
            if len(expected):
                _settle(total[b], expected[first : first + BLOCK])
            turn_back(total[b], first, min(BLOCK, n_rows - first), out)
