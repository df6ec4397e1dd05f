"""Yes and no in any spelling: true/false, 1/0, ja/nein, oui/non, si/no."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["is_true", "truth_pair", "truths"]

_TRUE = frozenset(
    (
        *("true", "t", "yes", "y", "1", "on", "ja", "j", "wahr", "oui", "o", "vrai", "si", "s", "s\u00ed"),
        *("verdadero", "sim", "verdadeiro", "vero", "tak", "ano"),
    )
)
_FALSE = frozenset(
    (
        *("false", "f", "no", "n", "0", "off", "nein", "falsch", "non", "faux", "falso", "n\u00e3o", "nao"),
        *("nie", "ne", "nej", "nee"),
    )
)


def is_true(text: str) -> bool | None:
    """What a text says of yes and no; None if it says neither."""
    word = text.strip().casefold().removesuffix(".0")
    return True if word in _TRUE else False if word in _FALSE else None


def truth_pair(texts: Iterable[str]) -> tuple[str, str] | None:
    """How a column that only says yes and no mostly writes no and yes; None if it says anything else, or only one.

    `texts` are its distinct ones, the commonest first.
    """
    said: dict[bool, str] = {}
    for text in texts:
        true = is_true(text)
        if true is None:
            return None
        said.setdefault(true, text.strip().removesuffix(".0"))
    return (said[False], said[True]) if len(said) == 2 else None


def truths(texts: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """1 where a text says yes, 0 where it says no, NaN where neither; shape (len(texts),)."""
    places, uniques = pd.factorize(texts)
    said = [is_true(str(text)) for text in uniques]
    values = np.array([np.nan if true is None else float(true) for true in said] + [np.nan])
    return np.asarray(values[places], dtype=np.float64)
