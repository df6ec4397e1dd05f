"""`Design`: what a regression looks at, numbers and the levels of categories, without the zeros of its matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Design"]

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


class Design:
    """The columns of a regression: ones, then a column a number, then one for each level of each category.

    Parameters
    ----------
    numbers : mapping of str to ndarray of float64, shape (n,)
    levels : mapping of str to (ndarray of int64, shape (n,), int)
        Each row's level, from 0, and how many there are.
    rows : int

    Attributes
    ----------
    blocks : dict of str to ndarray of int64
        The places of each number's column, and of each category's.
    width : int
        Columns.
    """

    def __init__(self, numbers: Mapping[str, Floats], levels: Mapping[str, tuple[Codes, int]], rows: int) -> None:
        self._numbers, self._levels, self._rows = dict(numbers), dict(levels), rows
        self._plain = np.column_stack([np.ones(rows), *numbers.values()])
        sizes = [*([1] * len(numbers)), *(size for _, size in levels.values())]
        starts = np.cumsum([1, *sizes])
        names = [*numbers, *levels]
        self.blocks: dict[str, Places] = {
            name: np.arange(start, start + size) for name, start, size in zip(names, starts, sizes, strict=False)
        }
        self.width = int(starts[-1])

    def __len__(self) -> int:
        return self._rows

    def only(self, names: Sequence[str]) -> Design:
        """The same rows with some of the numbers and categories."""
        numbers = {name: own for name, own in self._numbers.items() if name in names}
        return Design(numbers, {name: own for name, own in self._levels.items() if name in names}, self._rows)

    def dense(self, step: int) -> Floats:
        """Every `step`-th row of the matrix."""
        parts = [self._plain[::step]]
        parts += [np.eye(size)[codes[::step]] for codes, size in self._levels.values()]
        return np.hstack(parts)

    def gram(self, rows: Bools) -> Floats:
        """The products of all columns with each other over some rows, shape (width, width)."""
        plain, levels = self._plain[rows], [(codes[rows], size) for codes, size in self._levels.values()]
        out = np.empty((self.width, self.width))
        k = plain.shape[1]
        out[:k, :k] = plain.T @ plain
        start = k
        for i, (codes, size) in enumerate(levels):
            own = slice(start, start + size)
            for j in range(k):
                out[own, j] = out[j, own] = np.bincount(codes, weights=plain[:, j], minlength=size)
            out[own, own] = np.diag(np.bincount(codes, minlength=size))
            before = k
            for others, other_size in levels[:i]:
                both = np.bincount(codes * other_size + others, minlength=size * other_size)
                other = slice(before, before + other_size)
                out[own, other] = both.reshape(size, other_size)
                out[other, own] = out[own, other].T
                before += other_size
            start += size
        return out

    def sums(self, values: Floats) -> Floats:
        """The products of all columns with some values of the rows, shape (width,)."""
        of_levels = [np.bincount(codes, weights=values, minlength=size) for codes, size in self._levels.values()]
        return np.concatenate([values @ self._plain, *of_levels])

    def times(self, weights: Floats) -> Floats:
        """Each row's sum of its columns times weights, shape (n,)."""
        found = self._plain @ weights[: self._plain.shape[1]]
        for name, (codes, _) in self._levels.items():
            found += weights[self.blocks[name]][codes]
        return found

    def spreads(self, weights: Floats) -> dict[str, float]:
        """The standard deviation of what each number and each category adds to the sums."""
        found = {
            name: abs(float(weights[self.blocks[name][0]])) * float(own.std()) for name, own in self._numbers.items()
        }
        return found | {
            name: float(weights[self.blocks[name]][codes].std()) for name, (codes, _) in self._levels.items()
        }
