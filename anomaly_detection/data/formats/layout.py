"""`Layout`: what a person says about where in a file the table lies."""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_detection.errors import DataError

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Where in a file the table lies; by default that is found out.

    Attributes
    ----------
    skip_rows : int or None
        Lines above the header, at least 0; None to look for the header.
    header : bool
        Whether the first line names the columns; without it they are ``x0, x1, ...``.
    sheet : str or None
        Of a workbook; None for its only one that holds something.

    Raises
    ------
    DataError
        If `skip_rows` is negative.
    """

    skip_rows: int | None = None
    header: bool = True
    sheet: str | None = None

    def __post_init__(self) -> None:
        if self.skip_rows is not None and self.skip_rows < 0:
            raise DataError(f"{self.skip_rows} lines cannot be skipped; give a whole number from 0 up.")

    def refuse(self, label: str, *, lines: bool = False, sheets: bool = False) -> None:
        """Refuse what makes no sense for a file that has no `lines` or no `sheets`.

        Raises
        ------
        DataError
            If the layout speaks of such; `label` says of which file.
        """
        if not lines and (self.skip_rows is not None or not self.header):
            option = "--no-header" if self.skip_rows is None else "--skip-rows"
            raise DataError(f"{label} names its columns itself; leave {option} out, it is for CSV and Excel files.")
        if not sheets and self.sheet is not None:
            raise DataError(f"{label} has no sheets; leave --sheet out, it is for Excel files.")
