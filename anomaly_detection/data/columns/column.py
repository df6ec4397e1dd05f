"""`Column`: what one column of a table is, and how its cells are read."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from anomaly_detection.data.cells.epochs import EpochUnit

__all__ = ["Column", "Role", "reason_column"]


class Role(str, enum.Enum):
    """What a column is to the detector."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TIMESTAMP = "timestamp"
    IDENTIFIER = "identifier"
    TEXT = "text"
    CONSTANT = "constant"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Column:
    """One column: its role, why it has it, and how its cells are read.

    Attributes
    ----------
    name : str
    role : Role
    reason : str
        One phrase for the report.
    decimal_comma : bool or None
        Whether numbers are written ``1.234,5``. None where no number had a comma, so that ``1,234`` is undecided.
    dates : tuple of str
        How dates of three numbers are written, by the mark between them, such as ``d/m/y``; ``y-w`` for weeks. A mark
        that stands in none is undecided.
    epoch : str or None
        Dates are numbers counting this unit.
    unit : str or None
        The unit that numbers are turned into, as `UNITS` spells it.
    codes : tuple of str
        What stands for missing, besides the usual words: -200, 1900-01-01.
    kept : tuple of str
        Usual words for missing that are values here, such as NA for North America.
    truth : tuple of two str, or ()
        How no and yes are written in a column that says nothing else; any other spelling is read as these.
    texts : tuple of str
        Why values were missing, as the table said in words where a number or date was expected (digits as ``#``).
    distinct : int
        Distinct values among the rows inspected.
    missing : float
        Share of rows, 0 to 1, without a usable value.
    note : str
        What a batch of records decided that training had not; empty in training.
    """

    name: str
    role: Role
    reason: str
    decimal_comma: bool | None = None
    dates: tuple[str, ...] = ()
    epoch: EpochUnit | None = None
    unit: str | None = None
    codes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    distinct: int = 0
    missing: float = 0.0
    note: str = ""


def reason_column(name: str) -> str:
    """Name of the categorical column that says in which words a value of column `name` was missing."""
    return f"{name} (how missing)"
