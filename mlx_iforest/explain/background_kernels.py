"""What Numba compiles to explain rows against rows of a background: each lane has a pair of both.

The walk is that of `kernels`. Where unknown features are those of another row, z and r are 0 or 1, so that o and r, one
for each side of a pair, say all. If splits above asked of the same feature and one of the two rows has left their way,
the factor of a side is the other row's: with o = r where only the other one is still there, and r = o likewise,

    h = r + t * (o - r), and the split adds p * (o - r) * (U_left - U_right)

at a point t of the integral; where both have left, nothing is reached.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mlx_iforest.backends.numba.vectors import BITS, INT64, REALS, data, every_lane, load, multiply_add, store
from mlx_iforest.compiled_code import compiled
from mlx_iforest.explain import kernels
from mlx_iforest.explain.kernels import BLOCK, COLUMNS, KIND, LANES, UP_ONE, VECTORS, add_product, turn

__all__ = ["add_against"]

_INT16 = ir.IntType(16)


def _make_step(kind):
    """One step of a walk for a block of pairs, as an intrinsic; `kernels.make_step` is that of rows."""
    again, goes_down, leaves = bool(kind % 2), kind < UP_ONE, kind <= kernels.LEAVES_AGAIN
    two = kind in (kernels.DOWN_TWO, kernels.DOWN_TWO_AGAIN, kernels.UP_TWO, kernels.UP_TWO_AGAIN)

    @intrinsic
    def step(typingctx, steps, at, points, n_points, constants, x, b, masks, masks_b, work, sums):
        signature = types.void(
            steps, types.int64, points, types.int64, constants, x, b, masks, masks_b, work, sums
        )  # fmt: skip

        def codegen(context, builder, sig, args):
            steps, points, constants, x, b, masks, masks_b, work, sums = (
                data(context, builder, sig.args[k], args[k]) for k in (0, 2, 4, 5, 6, 7, 8, 9, 10)
            )
            row, n_points = builder.mul(args[1], INT64(COLUMNS)), args[3]

            def column(k):
                return builder.sext(builder.load(builder.gep(steps, [builder.add(row, INT64(k))])), INT64)

            def constant(base, offset):
                return every_lane(builder, REALS, builder.load(builder.gep(base, [offset])))

            def of_node(k):
                return constant(constants, builder.add(at, INT64(k)))

            def sides_of(values, masks, k):
                """Which rows go left and right; neither, where they have left the way of the same feature above."""
                here_at, above_at = (
                    [builder.gep(masks, [builder.add(begin, INT64(n * VECTORS + k))]) for n in range(2)]
                    for begin in (here, above)
                )
                if not goes_down:
                    return [builder.bitcast(builder.load(place), BITS) for place in here_at]
                value = load(builder, REALS, values, builder.add(feature, lane[k]))
                left = builder.fcmp_ordered("<=", value, threshold)
                left = builder.or_(left, builder.and_(missing, builder.fcmp_unordered("uno", value, value)))
                sides = [left, builder.not_(left)]
                if again:
                    holds = builder.bitcast(builder.load(above_at[0]), BITS)
                    sides = [builder.and_(side, holds) for side in sides]
                for side, place in zip(sides, here_at, strict=True):
                    builder.store(builder.bitcast(side, _INT16), place)
                return sides

            at, feature, here, above, place = (
                column(k) for k in (kernels.CONSTANT, kernels.FEATURE, kernels.HERE, kernels.ABOVE, kernels.PLACE)
            )
            near, far = column(kernels.NEAR), column(kernels.FAR)
            threshold, far_value, factor = (
                of_node(k) for k in (kernels.THRESHOLD, kernels.FAR_VALUE, kernels.LEFT_SHARE)
            )
            missing = every_lane(builder, BITS, builder.trunc(column(kernels.MISSING_LEFT), BITS.element))
            lane = [INT64(LANES * k) for k in range(VECTORS)]
            zero, one, minus_one = (ir.Constant(REALS, [float(real)] * LANES) for real in (0, 1, -1))
            # The near child's factor of each pair, or the leaves' mean by it: at t = 0, and how it rises with t.
            begin, rise = [], []
            for k in range(VECTORS):
                (o, o_right), (r, r_right) = sides_of(x, masks, k), sides_of(b, masks_b, k)
                if again:
                    x_gone, b_gone = builder.not_(builder.or_(o, o_right)), builder.not_(builder.or_(r, r_right))
                    o, r = builder.or_(o, builder.and_(x_gone, r)), builder.or_(r, builder.and_(b_gone, o))
                share = builder.select(r, one, zero)
                apart = builder.select(o, builder.select(r, zero, one), builder.select(r, minus_one, zero))
                if leaves:
                    share = multiply_add(builder, share, factor, far_value)
                elif not two:
                    near_is_left = builder.fcmp_ordered(">", factor, zero)
                    share = builder.select(near_is_left, share, builder.fsub(one, share))
                begin.append(share)
                rise.append(builder.fmul(apart, factor))
            adds = leaves or not goes_down
            totals = [cgutils.alloca_once_value(builder, zero) for _ in lane]
            with cgutils.for_range(builder, n_points) as loop:
                t, first = constant(points, loop.index), builder.mul(loop.index, INT64(BLOCK))
                for k, total in enumerate(totals):
                    offset = builder.add(first, lane[k])
                    p_at, near_at, far_at = (builder.add(slot, offset) for slot in (place, near, far))
                    p, chosen = load(builder, REALS, work, p_at), multiply_add(builder, t, rise[k], begin[k])
                    if not adds:
                        p_near = builder.fmul(p, chosen)
                        store(builder, REALS, work, near_at, p_near)
                        if two:
                            store(builder, REALS, work, far_at, builder.fsub(p, p_near))
                    elif leaves:
                        store(builder, REALS, work, p_at, chosen)
                        builder.store(builder.fadd(p, builder.load(total)), total)
                    else:
                        u_far = load(builder, REALS, work, far_at) if two else far_value
                        difference = builder.fsub(load(builder, REALS, work, near_at), u_far)
                        store(builder, REALS, work, p_at, multiply_add(builder, chosen, difference, u_far))
                        builder.store(multiply_add(builder, p, difference, builder.load(total)), total)
            if adds:
                for k, total in enumerate(totals):
                    sum_at = builder.add(feature, lane[k])
                    before = load(builder, REALS, sums, sum_at)
                    store(builder, REALS, sums, sum_at, multiply_add(builder, rise[k], builder.load(total), before))
            return context.get_dummy_value()

        return signature, codegen

    return step


_leaves, _leaves_again = _make_step(kernels.LEAVES), _make_step(kernels.LEAVES_AGAIN)
_down_one, _down_one_again = _make_step(kernels.DOWN_ONE), _make_step(kernels.DOWN_ONE_AGAIN)
_down_two, _down_two_again = _make_step(kernels.DOWN_TWO), _make_step(kernels.DOWN_TWO_AGAIN)
_up_one, _up_one_again = _make_step(UP_ONE), _make_step(kernels.UP_ONE_AGAIN)
_up_two, _up_two_again = _make_step(kernels.UP_TWO), _make_step(kernels.UP_TWO_AGAIN)


@compiled()
def _walk(steps, first, stop, points, n_points, constants, x, b, masks, masks_b, work, sums):
    """All steps of a tree, for a block of pairs."""
    for k in range(first, stop):
        kind = steps[k, KIND]
        if kind == kernels.LEAVES:
            _leaves(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == kernels.LEAVES_AGAIN:
            _leaves_again(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == kernels.DOWN_TWO:
            _down_two(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == kernels.UP_TWO:
            _up_two(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == kernels.DOWN_TWO_AGAIN:
            _down_two_again(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == kernels.UP_TWO_AGAIN:
            _up_two_again(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == kernels.DOWN_ONE:
            _down_one(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == UP_ONE:
            _up_one(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        elif kind == kernels.DOWN_ONE_AGAIN:
            _down_one_again(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)
        else:
            _up_one_again(steps, k, points, n_points, constants, x, b, masks, masks_b, work, sums)


@compiled()
def add_against(
    X, B, n_background, tree_steps, tree_constants, tree_points, points, weights, steps, constants, groups, factors,
    masks, work, sums, factor, x, total, out,
):  # fmt: skip
    """Add the Shapley values of rows against each row of a background to `out`, in the background's order.

    Parameters
    ----------
    X, B : ndarray of float32, shape (n_rows * n_background, n_features)
        The row and the background's row of each pair; those of one row together.
    n_background : int
    tree_steps, tree_constants, tree_points, weights, steps, groups, work, sums, factor
        As `kernels.add_shapley_values` takes them.
    points : ndarray of float32, shape (n_trees, most points)
    constants : ndarray of float32
        Likewise, where nothing goes left: so the share of what does is the difference between the sides.
    factors : ndarray of float64, shape (n_parts, n_rows * n_background)
    masks : ndarray of uint16, shape (2, n_masks)
    x : ndarray of float32, shape (2, n_features * BLOCK)
    total : ndarray of float64, shape (n_features * BLOCK,)
    out : ndarray of float64, shape (n_rows, n_features)
    """
    for start in range(0, len(X), BLOCK):
        last = min(BLOCK, len(X) - start)
        turn(X, start, last, x[0])
        turn(B, start, last, x[1])
        total[:] = 0
        for group in range(len(groups)):
            sums[:] = 0
            for tree in range(groups[group, 0], groups[group, 1]):
                n_points, of_tree = tree_points[tree], constants[tree_constants[tree] :]
                for q in range(n_points):
                    work[q * BLOCK : (q + 1) * BLOCK] = weights[tree, q]
                _walk(
                    steps, tree_steps[tree], tree_steps[tree + 1], points[tree], n_points, of_tree, x[0], x[1],
                    masks[0], masks[1], work, sums,
                )  # fmt: skip
            factor[:last] = factors[groups[group, 2], start : start + last]
            for at in range(0, len(sums), BLOCK):
                add_product(total[at : at + BLOCK], sums[at : at + BLOCK], factor)
        for lane in range(last):
            row = (start + lane) // n_background
            for f in range(out.shape[1]):
                out[row, f] += total[f * BLOCK + lane]
