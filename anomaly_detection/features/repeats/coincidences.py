"""How records are told apart and found again by hashes, and what it proves that some agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.table import Coded, Table, column_values, missing_in, objects_of
from anomaly_detection.features.forms import NEVER

__all__ = [
    "Chance",
    "agreement",
    "among",
    "cell_keys",
    "column_key",
    "combined",
    "first_other",
    "keys_by_column",
    "labels_at",
    "minus_log",
    "mixed",
    "name_keys",
    "name_keys_by_column",
    "others_of",
    "repeats_of",
]

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

_MISSING = np.uint64(0x6D697373)
_COLUMNS_AT_ONCE = 16
_CELLS = 16_384  # at once: what they take stays in the cache
_ALL_BITS = (1 << 64) - 1


def mixed(keys: Keys) -> Keys:
    """Spread keys evenly (the last steps of splitmix64), so that sums of them tell what was summed."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(keys ^ (keys >> np.uint64(31)), dtype=np.uint64)


def _mixed_number(key: int) -> int:
    """`mixed` of one key, sooner than NumPy begins."""
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _ALL_BITS
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _ALL_BITS
    return key ^ (key >> 31)


def cell_keys(column: Any) -> Keys:
    """Hash each cell by what it says, shape (n,): a level by its text, a number by 12 digits; all gaps are alike.

    Neither the codes of a category, the unit of a date nor the sign of a zero matters.
    """
    values = column_values(column)
    if isinstance(values, Coded):
        # One hash a level; the last is that of code -1.
        levels = np.append(_text_keys(values.names), _MISSING)
        return np.asarray(levels[values.codes], dtype=np.uint64)
    if values.dtype.kind == "M":
        keys = mixed(values.astype("datetime64[ns]").view(np.uint64))
    elif values.dtype.kind in "fiub":
        keys = np.empty(len(values), dtype=np.uint64)
        for start in range(0, len(values), _CELLS):
            keys[start : start + _CELLS] = _number_keys(values[start : start + _CELLS].astype(np.float64))
    else:
        keys = _text_keys(values)
    return np.where(missing_in(values), _MISSING, keys)


def _number_keys(values: npt.NDArray[np.float64]) -> Keys:
    """Hash numbers by their first 12 digits: readers of text may differ in the last bit of what they make of it."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        power = np.where(values == 0.0, 0.0, np.floor(np.log10(np.abs(values))))
        power = np.clip(np.nan_to_num(power), -300.0, 308.0)
        digits = np.rint(np.nan_to_num(values / 10.0**power) * 1e11)
    # A number that rounds up to the next power of ten is that power.
    over = np.abs(digits) >= 1e12
    digits, power = np.where(over, digits / 10.0, digits), np.where(over, power + 1.0, power)
    return mixed(mixed(digits.astype(np.int64).view(np.uint64)) + power.astype(np.int64).view(np.uint64))


def keys_by_column(X: Table, names: Sequence[str]) -> dict[str, Keys]:
    """`cell_keys` of several columns, those of one kind all at once, each once for all who ask."""
    made: dict[str, Keys] = X.made(keys_by_column, dict)
    left = _left(X, names, made, keys_by_column)
    numbers = [name for name in left if not isinstance(X[name], Coded) and X[name].dtype.kind == "f"]
    if numbers and len(X) <= _CELLS:
        values = X.matrix(numbers)
        keys = np.where(np.isnan(values), _MISSING, _number_keys(values))
        made.update(zip(numbers, keys.T, strict=True))
    for name in left:
        if name not in made:
            column = X[name]
            made[name] = column.made(cell_keys) if isinstance(column, Coded) else cell_keys(column)
    return {name: made[name] for name in names}


def name_keys_by_column(X: Table, names: Sequence[str]) -> dict[str, Keys]:
    """`name_keys` of several columns, each once for all who ask."""
    made: dict[str, Keys] = X.made(name_keys_by_column, dict)
    left = _left(X, names, made, name_keys_by_column)
    if len(X) * len(left) <= _CELLS and left:
        # All at once: a call costs as much as a hundred cells.
        keys = name_keys(np.concatenate([X.objects(name) for name in left]))
        made.update(zip(left, keys.reshape(len(left), -1), strict=True))
    else:
        made.update({name: name_keys(X.objects(name)) for name in left})
    return {name: made[name] for name in names}


def _left(X: Table, names: Sequence[str], made: dict[str, Keys], make: Callable[[Table, list[str]], Any]) -> list[str]:
    """The columns whose keys have not been made; of a part of a table those of the whole are made, and taken."""
    left = [name for name in names if name not in made]
    if X.whole is None or not left:
        return left
    whole, rows = X.whole
    made.update({name: keys[rows] for name, keys in make(whole, [name for name in left if name in whole]).items()})
    return [name for name in left if name not in made]


def name_keys(column: Any) -> Keys:
    """Hash the cells of a column that names records, by their texts: 12, 12.0 and "12" are one name; shape (n,)."""
    values = objects_of(column_values(column))
    keys = np.empty(len(values), dtype=np.uint64)
    only_texts = True
    for start in range(0, len(values), _CELLS):
        some = values[start : start + _CELLS].tolist()
        if {*map(type, some)} != {str}:
            only_texts = False
            some = [str(int(one)) if isinstance(one, float) and one.is_integer() else one for one in some]
        keys[start : start + _CELLS] = _text_keys(some)
    if only_texts:
        return keys
    return np.where(missing_in(values), _MISSING, keys)


def _text_keys(values: Iterable[Any]) -> Keys:
    texts = [*map(str, values)]
    if not "".join(texts).isascii():
        texts = [*map(_with_bytes, texts)]
    # One by one: NumPy would look into texts for a common length.
    cells = np.empty(len(texts), dtype=object)
    cells[:] = texts
    return np.asarray(pd.util.hash_array(cells, categorize=False), dtype=np.uint64)


def _with_bytes(text: str) -> str:
    """The text; half a character, which has no bytes in UTF-8, is written out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def combined(cells: Mapping[str, Keys], n: int) -> Keys:
    """One key for each of `n` records of the keys of its cells by column, in whatever order these come; shape (n,)."""
    if n == 1:
        every = (_mixed_number(int(key[0]) ^ int(column_key(name))) for name, key in cells.items())
        return np.array([sum(every) & _ALL_BITS], dtype=np.uint64)
    keys = np.zeros(n, dtype=np.uint64)
    names = list(cells)
    for start in range(0, len(names), _COLUMNS_AT_ONCE):
        some = names[start : start + _COLUMNS_AT_ONCE]
        keys += mixed(np.stack([cells[name] ^ column_key(name) for name in some])).sum(axis=0, dtype=np.uint64)
    return keys


@cache
def column_key(column: str) -> np.uint64:
    """What tells a column's cells from those of others."""
    return np.uint64(_text_keys([column])[0])


def repeats_of(keys: Keys) -> npt.NDArray[np.int64]:
    """How many others have the same key, shape (n,)."""
    if len(keys) < 2:
        return np.zeros(len(keys), dtype=np.int64)
    codes, _ = pd.factorize(keys)
    return np.asarray(np.bincount(codes)[codes] - 1, dtype=np.int64)


def others_of(spans: npt.NDArray[np.int64]) -> Floats:
    """How many others there are in each one's span of time, shape (n,)."""
    return repeats_of(spans.astype(np.uint64)).astype(np.float64)


def first_other(keys: Keys) -> npt.NDArray[np.int64]:
    """The position of the first other one with the same key, -1 where there is none; shape (n,)."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    sizes = np.diff(starts, append=len(keys))
    first, second = order[starts], order[np.minimum(starts + 1, len(keys) - 1)]
    found = np.empty(len(keys), dtype=np.int64)
    found[order] = np.repeat(np.where(sizes > 1, first, -1), sizes)
    # The first one repeats the second.
    found[first] = np.where(sizes > 1, second, -1)
    return found


def among(known: Keys, keys: Keys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which keys are in `known`, which ascends and is not empty, and where; both of the shape of `keys`."""
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.asarray(known[at] == keys, dtype=bool), at


def labels_at(index: pd.Index[Any], places: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    """The labels at some positions of an index; None for those that are not among them; of the shape of `places`."""
    told = np.full(len(places), None, dtype=object)
    inside = (places >= 0) & (places < len(index))
    told[inside] = index[places[inside]].astype(object)
    return told


def agreement(keys: Keys) -> float:
    """The probability that two records have the same key, above 0 even where none of them have."""
    n = len(keys)
    return min((float(repeats_of(keys).sum()) + 1.0) / max(n * (n - 1.0), 1.0), 1.0)


@dataclass
class Chance:
    """How probable it is that a usual record agrees with another one: more so, the more it is compared with.

    Attributes
    ----------
    seen : int
        Of the training records, those that agreed with another.
    rows : int
        Training records.
    compared : float
        With how many others each of them was compared.
    apart : float
        The probability that two records agree whose columns have nothing to do with each other.
    never, seldom : float
        Nats that it is worth besides where no training record agreed with another, and the share of them that leaves
        nothing of these: a few that did are errors themselves. Between, in proportion; none that did are `NEVER`.
    """

    seen: int
    rows: int
    compared: float
    apart: float = 0.0
    never: float = NEVER
    seldom: float = 0.0

    def besides(self, compared: npt.ArrayLike) -> Floats:
        """The nats beyond what the share of training records says, for a record compared with so many others."""
        least = min(self.never, NEVER) * (self.seen == 0)
        if self.seldom == 0.0:
            return np.asarray(least, dtype=np.float64)
        ratio = np.asarray(compared, dtype=np.float64) / max(self.compared, 1.0)
        share = (self.seen + 0.5) / (self.rows + 1.0) * ratio
        return np.asarray(np.maximum(self.never * (1.0 - share / self.seldom), least), dtype=np.float64)

    def evidence(self, compared: npt.ArrayLike) -> Floats:
        """``-log`` of the probability, for a record compared with so many others; nats, at least 0.

        Where hardly any training record agreed with another, that is worth more (`besides`), but not more than what
        chance gives.
        """
        compared = np.asarray(compared, dtype=np.float64)
        # Records agree in pairs: one more or less is two records, half of one is one.
        share = min((self.seen + 1.0) / (self.rows + 1.0), 1.0 - 1e-9)
        ratio = compared / max(self.compared, 1.0)
        learned = minus_log(-np.log1p(-share) * ratio) + self.besides(compared)
        return np.asarray(np.minimum(learned, minus_log(compared * self.apart)), dtype=np.float64)


def minus_log(expected: Floats) -> Floats:
    """``-log`` of the probability of one or more where so many are expected."""
    return np.asarray(-np.log(-np.expm1(-np.maximum(expected, 1e-300))), dtype=np.float64)
