"""Any table in, one pandas frame out."""

from __future__ import annotations

import decimal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.cells.typed_columns import typed_column
from anomaly_detection.data.cells.well_formed_text import well_formed, well_formed_cells, well_formed_columns
from anomaly_detection.errors import DataError, first_line
from anomaly_detection.texts.said import say

__all__ = ["refuse_duplicates", "to_frame"]


def to_frame(data: Any) -> pd.DataFrame:
    """Make a pandas frame of any table.

    Parameters
    ----------
    data : DataFrame, polars or pyarrow table, sequence of dicts, dict or 2-D array
        A dict of which every value is a list (or an array) is read as columns, any other dict and a `pandas.Series` as
        one row. Frames of other libraries go through narwhals. A 2-D array gets the column names ``x0, x1, ...``.

    Returns
    -------
    pandas.DataFrame
        At least one row and one column, column names as distinct strings, lone surrogates in texts as escapes
        (``\\ud800``), and in names also NULs. A pandas frame that is so already is returned itself, not copied.

    Raises
    ------
    DataError
        If `data` is no table, holds no row or no column, or names a column twice.
    """
    frame = _convert(data)
    names = [_name(name) for name in frame.columns]
    if names != list(frame.columns):
        frame = frame.set_axis(names, axis=1)
    if not names:
        raise DataError(say("The table has no columns; expected at least one named column."))
    refuse_duplicates(names)
    if len(frame) == 0:
        raise DataError(say("The table has no rows; expected at least one record."))
    return well_formed_columns(_without_signals(frame))


def _without_signals(frame: pd.DataFrame) -> pd.DataFrame:
    """Put None where a signalling NaN stands, which raises when it is compared; without any, the frame itself."""
    changed = {}
    for name, column in frame.items():
        if column.dtype == object:
            try:
                column.isna()
            except decimal.InvalidOperation:
                cells = [None if isinstance(cell, decimal.Decimal) and cell.is_snan() else cell for cell in column]
                changed[str(name)] = pd.Series(cells, frame.index, dtype=object)
    return frame.assign(**changed) if changed else frame


def _name(name: Any) -> str:
    # Numpy's texts, in which features have their names, cannot end in a NUL.
    return well_formed(_text(name)).replace("\0", "\\x00")


def _text(name: Any) -> str:
    try:
        return str(name)
    except Exception as error:
        raise DataError(f"A column is named by a {type(name).__name__} that has no text; name it by a text.") from error


def _convert(data: Any) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pd.Series):
        return _records([data.to_dict()])
    if isinstance(data, Mapping):
        if data and all(_is_column(value) for value in data.values()):
            return _columns({name: _cells(name, value) for name, value in data.items()})
        return _records([dict(data)])
    if isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise DataError(f"Expected a 2-D array of rows and columns, got {data.ndim} dimension(s).")
        return pd.DataFrame(data, columns=[f"x{i}" for i in range(data.shape[1])])
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        odd = [type(row).__name__ for row in data if not isinstance(row, Mapping)]
        if odd:
            raise DataError(f"Expected a list of dicts, one a record; it holds a {odd[0]}.")
        return _records([dict(row) for row in data])
    return _from_other_library(data)


def _is_column(value: Any) -> bool:
    # Columns of polars and pyarrow are known by what they can do: neither need be there.
    return isinstance(value, (list, tuple, np.ndarray, pd.Series)) or (
        hasattr(value, "__array__") and hasattr(value, "__len__") and hasattr(value, "to_pandas")
    )


def _cells(name: Any, value: Any) -> Any:
    return value if isinstance(value, (list, tuple, np.ndarray, pd.Series)) else _column(_name(name), value)


def _columns(data: Mapping[Any, Any]) -> pd.DataFrame:
    try:
        return _with_whole_numbers(pd.DataFrame(dict(data)), data.__getitem__)
    except UnicodeEncodeError:
        listed = {name: list(cells) for name, cells in data.items()}
        return _columns(well_formed_cells(listed))
    except ValueError as error:
        raise DataError(
            f"The columns of the dict do not fit together ({first_line(error)}); expected lists of one length."
        ) from error


def _records(rows: list[dict[Any, Any]]) -> pd.DataFrame:
    try:
        frame = pd.DataFrame(rows)
    except UnicodeEncodeError:
        # Pandas' own texts cannot hold a lone surrogate.
        frame = pd.DataFrame(well_formed_cells(rows))
    return _with_whole_numbers(frame, lambda name: [row.get(name) for row in rows])


def _with_whole_numbers(frame: pd.DataFrame, cells_of: Callable[[Any], Sequence[Any]]) -> pd.DataFrame:
    """Put whole numbers some of which are missing back into a new frame, of which pandas has made floats."""
    floats = [name for name, kind in frame.dtypes.items() if kind == np.float64]
    for name in floats:
        missing = frame[name].isna()
        if missing.any() and isinstance(cells := cells_of(name), (list, tuple)):
            present = [None if gap else cell for cell, gap in zip(cells, missing, strict=True)]
            if {type(cell) for cell in present} == {int, type(None)}:
                frame[name] = typed_column(present).set_axis(frame.index)
    return frame


def _from_other_library(data: Any) -> pd.DataFrame:
    import narwhals as nw  # plain pandas input must not pay for these imports
    import pyarrow as pa

    from anomaly_detection.data.formats.arrow_tables import REFUSED, arrow_to_frame

    if isinstance(data, pa.Table):
        refuse_duplicates(data.column_names)
        try:
            return arrow_to_frame(data)
        except DataError:
            raise
        except (*REFUSED, RecursionError) as error:
            raise DataError(
                f"The Arrow table cannot be read ({first_line(error)}); take its schema's metadata away."
            ) from error
    try:
        table = nw.from_native(data)
    except TypeError as error:
        raise DataError(
            f"Expected a table, got a {type(data).__name__}; give a pandas, polars or pyarrow table, "
            "a list of dicts or one dict."
        ) from error
    # What goes wrong in another library is of its own kinds.
    try:
        if isinstance(table, nw.LazyFrame):
            table = table.collect()
    except Exception as error:
        raise DataError(f"The lazy table cannot be computed: {first_line(error)}; collect it first.") from error
    try:
        frame = table.to_pandas()
    except Exception:
        # Pandas lacks the type of a column: each is read by itself, and an error of one is chained to this one.
        frame = pd.DataFrame({name: _column(name, table[name]) for name in table.columns})
    return _with_whole_numbers(frame, lambda name: table[name].to_list())


def _column(name: str, column: Any) -> pd.Series[Any]:
    try:
        return pd.Series(column.to_pandas())
    except Exception:
        # Pandas has no such type, but Python has such values.
        return pd.Series(_values(name, column), dtype=object)


def _values(name: str, column: Any) -> list[Any]:
    try:
        return list(column.to_pylist() if hasattr(column, "to_pylist") else column.to_list())
    except Exception as error:
        raise DataError(f"Column {name!r} cannot be read: {first_line(error)}; leave it out.") from error


def refuse_duplicates(names: Sequence[str]) -> None:
    """Raise `DataError` where two columns have one name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(repr(name) for name in twice[:3])
        raise DataError(say("Duplicated column name(s): %(names)s; give every column a name of its own.", names=listed))
