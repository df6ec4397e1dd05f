"""Labels read into one convention: 1 is normal, -1 is an anomaly."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomaly_detection.data.cells.well_formed_text import well_formed
from anomaly_detection.errors import DataError

__all__ = ["ANOMALY", "NORMAL", "check_labels", "listed"]

NORMAL = 1
ANOMALY = -1

# What a word in a label column means; a flag such as "yes" or "true" answers "is it an anomaly?".
_WORDS = {
    **dict.fromkeys(("normal", "ok", "good", "inlier", "regular", "nominal", "no", "n", "false", "f"), NORMAL),
    **dict.fromkeys(("anomaly", "anomalous", "abnormal", "outlier", "bad", "yes", "y", "true", "t"), ANOMALY),
}
_SIGNED = {1.0: NORMAL, -1.0: ANOMALY}
_BINARY = {0.0: NORMAL, 1.0: ANOMALY}
_EXPECTED = "expected -1 (anomaly) and 1 (normal), 0 (normal) and 1 (anomaly), True/False or 'normal'/'anomaly'"


def check_labels(
    values: Iterable[Any],
    *,
    convention: Literal["auto", "signed", "binary"] = "auto",
    both_classes: bool = False,
) -> NDArray[np.int8]:
    """Read labels of the usual kinds into 1 (normal) and -1 (anomaly).

    The values present decide what they mean:

    =====================================  =========  =========
    values                                 normal     anomaly
    =====================================  =========  =========
    1 and -1, or either alone ("signed")   1          -1
    0 and 1, or 0 alone ("binary")         0          1
    booleans: "is it an anomaly?"          False      True
    words, in any case, e.g.               normal     anomaly
    =====================================  =========  =========

    Words are also ok, good, inlier, regular, nominal, no, false and anomalous, abnormal, outlier, bad, yes, true.
    Numbers may be kept as text. Labels that are all 1 are all normal, as everywhere in this library; where they are
    the anomalies of 0 and 1, say ``convention="binary"``.

    Parameters
    ----------
    values : iterable of shape (n,)
        A list, a numpy array, a pandas or polars Series.
    convention : {"auto", "signed", "binary"}
        How to read numbers; "auto" goes by the values present.
    both_classes : bool
        Whether to insist on at least one normal record and one anomaly.

    Returns
    -------
    ndarray of int8, shape (n,)

    Raises
    ------
    DataError
        Missing labels, values of no known kind, more than two classes, a mixture of kinds, or, on demand, one class.
    """
    codes, found = pd.factorize(_one_column(values))
    if missing := int((codes < 0).sum()):
        raise DataError(
            f"{missing} of {len(codes)} labels are missing; {_EXPECTED} in every row: fill them in or leave them out."
        )
    meanings = _meanings([_canonical(value) for value in found], listed(found), convention)
    labels: NDArray[np.int8] = np.array(meanings, dtype=np.int8)[codes]
    if both_classes and len(set(meanings)) < 2:
        what = "nothing" if not meanings else "only normal records" if meanings[0] == NORMAL else "only anomalies"
        raise DataError(
            f"The {len(labels)} labels hold {what} (found {listed(found)}); "
            "expected both classes: give labels with some of each, or none at all."
        )
    return labels


def _one_column(values: Any) -> pd.Series[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DataError(f"Labels must be a list or an array, got {type(values).__name__}; {_EXPECTED}.")
    if getattr(values, "ndim", 1) != 1:
        raise DataError(
            f"Labels must be one column, got {getattr(values, 'ndim', 0)} dimensions; pass a single column."
        )
    if isinstance(values, (pd.Series, np.ndarray)) and values.dtype != object:
        return pd.Series(values)
    # A list as object: left to itself, numpy would turn None or NaN among words into the word "nan".
    column = pd.Series([well_formed(one) if isinstance(one, str) else one for one in values], dtype=object)
    odd = [type(one).__name__ for one in column if not pd.api.types.is_hashable(one)]
    if odd:
        raise DataError(f"Labels must be plain values, found a {odd[0]}; {_EXPECTED}.")
    return column


def _canonical(value: Any) -> float | str:
    """Give the number a label stands for, or its word in lower case."""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, str):
        value = value.strip().lower()
        if value in _WORDS:
            return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _meanings(keys: list[float | str], shown: str, convention: str) -> list[int]:
    """Give each distinct label's meaning, 1 or -1."""
    if convention not in ("auto", "signed", "binary"):
        raise DataError(
            f"The convention is {convention!r}; expected 'auto', 'signed' (-1 and 1) or 'binary' (0 and 1)."
        )
    words = [key for key in keys if isinstance(key, str)]
    numbers = {key for key in keys if isinstance(key, float)}
    if words and numbers:
        raise DataError(f"The labels mix words and numbers ({shown}); {_EXPECTED}.")
    for word in words:
        if word not in _WORDS:
            near = difflib.get_close_matches(word, _WORDS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"The labels hold values that are no classes ({shown}){hint}; {_EXPECTED}.")
    if words:
        return [_WORDS[str(key)] for key in keys]
    signed = convention == "signed" or (convention == "auto" and (-1.0 in numbers or numbers == {1.0}))
    meaning = _SIGNED if signed else _BINARY
    if not numbers <= set(meaning):
        raise DataError(f"The labels are not two classes: found {shown}; {_EXPECTED}.")
    return [meaning[float(key)] for key in keys]


def listed(found: Iterable[Any], most: int = 6) -> str:
    """Name the distinct labels in one line, however many and however long they are."""
    values = [value.item() if isinstance(value, np.generic) else value for value in found]
    texts = [text if len(text) <= 30 else f"{text[:27]}..." for text in map(repr, values[:most])]
    return ", ".join(texts) + (f" and {len(values) - most} more" if len(values) > most else "")
