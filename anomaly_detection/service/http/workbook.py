"""`Workbook`: an Excel file of one table, written row by row; nothing of it is held but what was not taken yet.

Libraries that write such files hold them, or put them on the disk first.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from anomaly_detection.service.http.outgoing import Outgoing

__all__ = ["MOST_ROWS", "Workbook"]

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_RELATIONS = "application/vnd.openxmlformats-package.relationships+xml"
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST = 32_767
"""Characters of a cell: Excel calls a file with more broken."""

MOST_ROWS = 1_048_576
"""Of a sheet."""

_EXACT = 2**53


class Workbook:
    """A workbook that is being written: a table, on as many sheets as Excel needs for its rows.

    Parameters
    ----------
    header : sequence of str
        The first row of each sheet.
    """

    def __init__(self, header: Sequence[str]) -> None:
        self._out = Outgoing()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._header = header
        self._sheets = 0
        self._begin()

    def _begin(self) -> None:
        self._sheets += 1
        self._rows = 0
        self._sheet = self._zip.open(f"xl/worksheets/sheet{self._sheets}.xml", "w", force_zip64=True)
        self._sheet.write(f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
        self.add(self._header)

    def add(self, cells: Sequence[Any]) -> None:
        """Write a row of texts, numbers, truth values and None."""
        if self._rows == MOST_ROWS:
            self._end()
            self._begin()
        self._rows += 1
        self._sheet.write(f"<row>{''.join(map(_cell, cells))}</row>".encode())

    def _end(self) -> None:
        self._sheet.write(b"</sheetData></worksheet>")
        self._sheet.close()

    def close(self) -> None:
        """Write the end."""
        self._end()
        numbers = range(1, self._sheets + 1)
        sheets = "".join(f'<sheet name="Sheet{i}" sheetId="{i}" r:id="r{i}"/>' for i in numbers)
        parts = {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
            f'<Default Extension="rels" ContentType="{_RELATIONS}"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
            + "".join(
                f'<Override PartName="/xl/worksheets/sheet{i}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
                for i in numbers
            )
            + "</Types>",
            "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
            "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{sheets}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _relations([("worksheet", f"worksheets/sheet{i}.xml") for i in numbers]),
        }
        for name, content in parts.items():
            self._zip.writestr(name, _HEAD + content)
        self._zip.close()

    def taken(self) -> bytes:
        """What was written since the last time."""
        return self._out.taken()


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    each = (
        f'<Relationship Id="r{i}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for i, (kind, target) in enumerate(targets, 1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{"".join(each)}</Relationships>'


def _cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    # Numbers of a spreadsheet are floats.
    if isinstance(value, (int, float)) and math.isfinite(value) and abs(value) <= _EXACT:
        return f"<c><v>{value!r}</v></c>"
    text = escape(_IMPOSSIBLE.sub("\ufffd", str(value)[:_LONGEST]))
    return f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
