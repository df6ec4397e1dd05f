"""What Numba compiles to explain blocks of rows by pairs: all of a tree's interactions in one walk down and up.

The walk is that of `kernels`. At a point t of the integral, a leaf adds to the interaction of features i and j what
it is worth, times (o - z) / g for each of both, where g = z + t * (o - z). On the way down to a split on j the factor
of i is known. So all leaves below the split together add, for each feature i asked about above it, that factor times
what the split adds to the Shapley value of j. Where the row satisfies the questions on i, the factor is one number for
each split, side and point; where it does not, -1 / (1 - t), whatever the split.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mlx_iforest.backends.numba.vectors import (
    INT64,
    REALS,
    data,
    either,
    every_lane,
    load,
    load_mask,
    multiply_add,
    store,
)
from mlx_iforest.compiled_code import compiled
from mlx_iforest.explain.kernels import (
    BLOCK,
    DOWN_ONE,
    DOWN_ONE_AGAIN,
    DOWN_TWO,
    DOWN_TWO_AGAIN,
    FIRST_PAIR,
    KIND,
    LANES,
    LAST_PAIR,
    LEAVES,
    LEAVES_AGAIN,
    UP_ONE,
    UP_ONE_AGAIN,
    UP_TWO,
    UP_TWO_AGAIN,
    VECTORS,
    add_product,
    down_one,
    down_one_again,
    down_two,
    down_two_again,
    make_step,
    turn,
    turn_back,
)

__all__ = ["HOLDS", "PAIR_COLUMNS", "SIDE", "SUMS", "add_interactions"]

HOLDS, SIDE, SUMS, PAIR_COLUMNS = range(4)
"""Columns of the pairs: where the masks begin of the rows that satisfy the questions above on the other feature, twice
the number in its tree of the split that asked of it last and the side, and where the pair's sums begin."""

_leaves, _leaves_again = make_step(LEAVES, True), make_step(LEAVES_AGAIN, True)
_up_one, _up_one_again = make_step(UP_ONE, True), make_step(UP_ONE_AGAIN, True)
_up_two, _up_two_again = make_step(UP_TWO, True), make_step(UP_TWO_AGAIN, True)


@intrinsic
def _add_pairs(typingctx, pairs, first, stop, n_points, weights, most_points, gone, masks, terms, sums):
    """Add what a split adds at each point, `terms`, to the sums of all its pairs."""
    signature = types.void(pairs, types.int64, types.int64, types.int64, weights, types.int64, gone, masks, terms, sums)

    def codegen(context, builder, sig, args):
        pairs, weights, gone, masks, terms, sums = (
            data(context, builder, sig.args[k], args[k]) for k in (0, 4, 6, 7, 8, 9)
        )
        first, stop, n_points, most_points = (args[k] for k in (1, 2, 3, 5))
        lane = [INT64(LANES * k) for k in range(VECTORS)]
        zero = ir.Constant(REALS, [0.0] * LANES)

        def weighted(weights, begin, totals):
            for total in totals:
                builder.store(zero, total)
            with cgutils.for_range(builder, n_points) as loop:
                weight = builder.load(builder.gep(weights, [builder.add(begin, loop.index)]))
                weight = every_lane(builder, REALS, weight)
                of_point = builder.mul(loop.index, INT64(BLOCK))
                for k, total in enumerate(totals):
                    term = load(builder, REALS, terms, builder.add(of_point, lane[k]))
                    builder.store(multiply_add(builder, term, weight, builder.load(total)), total)
            return [builder.load(total) for total in totals]

        apart = weighted(gone, INT64(0), [cgutils.alloca_once(builder, REALS) for _ in lane])
        totals = [cgutils.alloca_once(builder, REALS) for _ in lane]
        with cgutils.for_range_slice(builder, first, stop, INT64(1), INT64) as (pair, _):
            row = builder.mul(pair, INT64(PAIR_COLUMNS))

            def column(k):
                return builder.sext(builder.load(builder.gep(pairs, [builder.add(row, INT64(k))])), INT64)

            holds, place = column(HOLDS), column(SUMS)
            side = builder.mul(column(SIDE), most_points)
            for k, together in enumerate(weighted(weights, side, totals)):
                mask = load_mask(builder, builder.gep(masks, [builder.add(holds, INT64(k))]))
                at = builder.add(place, lane[k])
                added = either(builder, mask, together, apart[k])
                store(builder, REALS, sums, at, builder.fadd(load(builder, REALS, sums, at), added))
        return context.get_dummy_value()

    return signature, codegen


@compiled()
def _walk(steps, first, stop, n_points, constants, x, masks, work, pairs, weights, gone, terms, sums):
    """All steps of a tree, for a block of rows."""
    for k in range(first, stop):
        kind = steps[k, KIND]
        if kind == DOWN_TWO:
            down_two(steps, k, n_points, constants, x, masks, work, terms)
        elif kind == DOWN_TWO_AGAIN:
            down_two_again(steps, k, n_points, constants, x, masks, work, terms)
        elif kind == DOWN_ONE:
            down_one(steps, k, n_points, constants, x, masks, work, terms)
        elif kind == DOWN_ONE_AGAIN:
            down_one_again(steps, k, n_points, constants, x, masks, work, terms)
        else:
            if kind == LEAVES:
                _leaves(steps, k, n_points, constants, x, masks, work, terms)
            elif kind == LEAVES_AGAIN:
                _leaves_again(steps, k, n_points, constants, x, masks, work, terms)
            elif kind == UP_TWO:
                _up_two(steps, k, n_points, constants, x, masks, work, terms)
            elif kind == UP_TWO_AGAIN:
                _up_two_again(steps, k, n_points, constants, x, masks, work, terms)
            elif kind == UP_ONE:
                _up_one(steps, k, n_points, constants, x, masks, work, terms)
            else:
                _up_one_again(steps, k, n_points, constants, x, masks, work, terms)
            _add_pairs(  # type: ignore[call-arg]
                pairs, steps[k, FIRST_PAIR], steps[k, LAST_PAIR], n_points, weights, len(gone), gone, masks, terms, sums
            )  # fmt: skip


@compiled()
def add_interactions(
    X, tree_steps, tree_constants, tree_points, weights, steps, constants, tree_pairs, pairs, tree_splits, side_weights,
    gone, groups, factors, masks, work, terms, sums, factor, x, total, out,
):  # fmt: skip
    """Add the interactions of pairs of features in rows to `out`.

    Parameters
    ----------
    X, tree_steps, tree_constants, tree_points, weights, steps, constants, groups, factors, masks, work, factor
        As `kernels.add_shapley_values` takes them.
    tree_pairs, tree_splits : ndarray of int64, shape (n_trees + 1,)
        Where each tree's pairs and splits begin.
    pairs : ndarray of int32, shape (n, PAIR_COLUMNS)
    side_weights : ndarray of float32, shape (2 * n_splits, most points)
        Of each split and side, the factor for rows that satisfy its question and those above on the same feature.
    gone : ndarray of float32, shape (n_trees, most points)
        The factor for other rows.
    terms : ndarray of float32, shape (most points * BLOCK,)
    sums : ndarray of float32, shape (n_pairs * BLOCK,)
    x : ndarray of float32, shape (n_features * BLOCK,)
    total : ndarray of float64, shape (n_pairs * BLOCK,)
    out : ndarray of float64, shape (n_rows, n_pairs)
    """
    n_rows = len(X)
    for start in range(0, n_rows, BLOCK):
        last = min(BLOCK, n_rows - start)
        turn(X, start, last, x)
        turn(out, start, last, total)
        for group in range(len(groups)):
            sums[:] = 0
            for tree in range(groups[group, 0], groups[group, 1]):
                n_points, of_tree = tree_points[tree], constants[tree_constants[tree] :]
                for q in range(n_points):
                    work[q * BLOCK : (q + 1) * BLOCK] = weights[tree, q]
                _walk(
                    steps, tree_steps[tree], tree_steps[tree + 1], n_points, of_tree, x, masks, work,
                    pairs[tree_pairs[tree] :], side_weights[2 * tree_splits[tree] :], gone[tree], terms, sums,
                )  # fmt: skip
            factor[:last] = factors[groups[group, 2], start : start + last]
            for at in range(0, len(sums), BLOCK):
                add_product(total[at : at + BLOCK], sums[at : at + BLOCK], factor)
        turn_back(total, start, last, out)
