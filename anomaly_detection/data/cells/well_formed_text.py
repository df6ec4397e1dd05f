"""Texts that any file or terminal can take: lone surrogates, halves of a character, written as escapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

__all__ = ["is_well_formed", "well_formed", "well_formed_cells", "well_formed_columns"]


def well_formed(text: str) -> str:
    """Give `text` with each lone surrogate, which no encoding can hold, as an escape such as ``\\ud800``."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def well_formed_cells(value: Any) -> Any:
    """Do so with the texts of a dict, a list or a tuple, however deep; anything else stays what it is."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {well_formed_cells(key): well_formed_cells(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [well_formed_cells(one) for one in value]
    return value


def well_formed_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Do so with the texts in a frame's cells; a frame without lone surrogates is returned itself."""
    changed = {
        name: [well_formed(cell) if isinstance(cell, str) else cell for cell in column]
        for name, column in frame.items()
        if _may_be_odd(column) and not is_well_formed(cell for cell in column.to_numpy() if isinstance(cell, str))
    }
    if not changed:
        return frame
    return frame.assign(**{str(name): pd.Series(cells, frame.index, dtype=object) for name, cells in changed.items()})


def _may_be_odd(column: pd.Series[Any]) -> bool:
    """Columns of Python's own texts; Arrow's are always well-formed."""
    return column.dtype == object or (isinstance(column.dtype, pd.StringDtype) and column.dtype.storage == "python")


def is_well_formed(texts: Iterable[str]) -> bool:
    """Whether none of some texts holds a lone surrogate."""
    try:
        # In one go, which costs a fraction of looking at each.
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
