"""Small workbooks, written by hand as Excel and LibreOffice write them: no library that writes them is needed."""

from __future__ import annotations

import base64
import datetime
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

__all__ = ["XLS", "ods", "packed", "xlsx"]

Sheets = Mapping[str, Sequence[Sequence[Any]]]

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_ODS = "urn:oasis:names:tc:opendocument:xmlns"
_FIRST_DAY = datetime.datetime(1899, 12, 30)


def xlsx(sheets: Sheets) -> bytes:
    """Texts, numbers, truth values and dates; None leaves a cell out."""
    names = list(sheets)
    sheet_list = "".join(f'<sheet name="{escape(name)}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(names, 1))
    kinds = '<xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
        "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>{sheet_list}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relations(
            [("worksheet", f"worksheets/sheet{i}.xml") for i, _ in enumerate(names, 1)] + [("styles", "styles.xml")]
        ),
        "xl/styles.xml": f'<styleSheet {_MAIN}><cellXfs count="2">{kinds}</cellXfs></styleSheet>',
    }
    for i, name in enumerate(names, 1):
        rows = (
            f'<row r="{r}">' + "".join(_cell(f"{chr(64 + c)}{r}", value) for c, value in enumerate(row, 1)) + "</row>"
            for r, row in enumerate(sheets[name], 1)
        )
        parts[f"xl/worksheets/sheet{i}.xml"] = f"<worksheet {_MAIN}><sheetData>{''.join(rows)}</sheetData></worksheet>"
    return packed(parts)


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    relations = "".join(
        f'<Relationship Id="r{i}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for i, (kind, target) in enumerate(targets, 1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{relations}</Relationships>'


def _cell(place: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, datetime.datetime):
        return f'<c r="{place}" s="1"><v>{(value - _FIRST_DAY) / datetime.timedelta(days=1)}</v></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def ods(sheets: Sheets) -> bytes:
    """Texts and numbers."""
    spaces = "".join(f' xmlns:{short}="{_ODS}:{short}:1.0"' for short in ("office", "table", "text"))
    tables = "".join(
        f'<table:table table:name="{escape(name)}">'
        + "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    body = f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
    return packed(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": f'<manifest xmlns="{_ODS}:manifest:1.0"/>',
            "content.xml": f"<office:document-content{spaces}>{body}</office:document-content>",
        }
    )


def _ods_cell(value: Any) -> str:
    if value is None:
        return "<table:table-cell/>"
    kind = (
        'office:value-type="string"' if isinstance(value, str) else f'office:value-type="float" office:value="{value}"'
    )
    return f"<table:table-cell {kind}><text:p>{escape(str(value))}</text:p></table:table-cell>"


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    """A .zip of files by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


XLS = zlib.decompress(
    base64.b85decode(
        "c-rk)O=uHA6#iziX?|$aq)mlZ2q9qA+8)G<2isMt_LNe+_=BLS$)QveSv?pJTCF(>f+xjGp&q<cz4(J3`~mSGRP-PSLZU}cf`W%O"
        ">zlW`HLVdE(1KyUW!}uZH{Z_Noq02}`({2?p1Idk!3qq)hpHVyON~xY3VD?%$Zp%J=;c95w#I*jP>=?)#gE5ruLEif)p%DRao2c8"
        "68J>v2u@+Nkk2L85WCrjj8Hxdk`%Z}nh3hts}7dOS$49#!!4h%+{v0NEC;D=Sscc^Ioh|~oy7-bifs|7`#xaK2i9yw7hb7ZeBr8a"
        "+WN7}n#i1J7DK{l#Vlx~M{@a`rRwdtg)nf4Fpy3U3=fwPr&%zI?{*US=7syyq}H#kUV!vJmg@t5&<AM{>*+&v^w*>TOu;_JQB|TS"
        "*kL%4U$C+{>+}LrG+V%lVqzjo)_mq<&Ie>OMVd}$DHX$NFW|K!x@_%e<CtnCnMFI7V;osg@^Rtz*SG2MG4m*Erg*<_c9jjvC)l{C"
        "7(|Y+#kVB;n6ZWBCBEx=F88pEldqKbj&-?(z0=(0GFyA8pKXkH=Ej=xCMuV{?0c9feKt2!d2Xa~E<X3(oT29rk@teHY4nSJapSte"
        "Bh$-;y8?Y=+5OvU6qHfdciY`M+p(y^j1Xh#)YRJ%OEu}fE5#No*ym-KbulE|_JY~!?Kn0`K0SXSnJw$EC9_j5+Zh?dWlOp`@sij>"
        "vIF;3Q(8rTAq))-4Gj$q4GoRvfN)Ove2z5SQ@=XL2i*TUi<GMRH%ZfCKMHi6p>M=J$Wv~i*wFl02fy&{C05Dt{ue47px!M^Vx0Y$"
        "Y<T|CcbKSso>dd0e=md@?Z4WHpZ~c3pS}>?!T"
    )
)
"""A sheet "orders" of three columns, id, name and day, and two records, as xlwt 1.3 writes it."""
