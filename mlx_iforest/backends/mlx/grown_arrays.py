"""What Numba compiles to make a forest's arrays of the words that the growing kernel leaves."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from mlx_iforest.compiled_code import compiled
from mlx_iforest.forest import LEAF, SMALLEST_SHARE

u32 = np.uint32


@compiled()
def unpack(words, floats, places, tree_start, first, last, arrays):
    """Fill in the nodes of the trees [first, last).

    `words` and `floats` are the kernel's output, shape (4, n_words), as numbers of either kind; those of a tree begin
    at its place. Densities are computed in the order of `forest.Families`, so that both round alike.
    """
    feature, threshold, missing_left, count, left_share, left, depth, density = arrays
    for tree in range(first, last):
        root, base = tree_start[tree], places[tree]
        child = 1
        depth[root] = 0
        density[root] = 1.0
        for node in range(tree_start[tree + 1] - root):
            word, size, share = words[0, base + node], words[2, base + node], floats[3, base + node]
            at = root + node
            threshold[at] = floats[1, base + node]
            count[at] = size
            left_share[at] = share
            missing_left[at] = word >> u32(31) != 0
            word &= u32(0x7FFFFFFF)
            feature[at] = LEAF
            left[at] = LEAF
            if word == u32(0x7FFFFFFF):
                continue
            feature[at] = word
            left[at] = child
            within = min(max(np.float64(share), SMALLEST_SHARE), 1 - SMALLEST_SHARE)
            of_samples = np.int64(words[2, base + child]) / np.int64(size)
            density[root + child] = density[at] * (of_samples / within)
            density[root + child + 1] = density[at] * ((1 - of_samples) / (1 - within))
            depth[root + child] = depth[root + child + 1] = depth[at] + 1
            child += 2
