"""Lines of a table that sum it up, below it or within: "Total", "Steel total", "Summe". They are no records."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["MOST_TOTALS", "is_total", "said_of_last", "said_of_totals", "total_name", "totals_below"]

MOST_TOTALS = 3
"""Lines looked at: a subtotal, a total and a grand total."""

_WORDS = (
    r"(?:(?:grand|overall|report|net|running|sub)[- ]?)?totals?|sum|sums|summary"
    r"|(?:gesamt|zwischen|end)?-?(?:summen?|ergebnis)|gesamt|insgesamt"
    r"|(?:sous-)?total(?: g\u00e9n\u00e9ral| general)?|somme"
    r"|(?:sub)?totale?(?: complessivo| generale)?|(?:sub)?totaal|suma|razem|summa|i alt|yhteens\u00e4|toplam"
    r"|\u00f6sszesen"
    r"|celkem|spolu|\u0438\u0442\u043e\u0433\u043e|\u0432\u0441\u0435\u0433\u043e"
    r"|\u5408\u8ba1|\u5408\u8a08|\u603b\u8ba1|\u7e3d\u8a08|\u5c0f\u8ba1|\u5c0f\u8a08"
)
# SAP marks totals with stars; a spreadsheet calls those of a group "Steel Total".
_TOTAL = re.compile(
    rf"(?:{_WORDS})(?:[\s:(].{{0,40}})?|\*{{1,4}}|.{{1,40}}\s(?:total|summe|ergebnis)", re.IGNORECASE | re.DOTALL
)


def total_name(row: Sequence[str]) -> str | None:
    """What a row calls itself, if that is a total."""
    cells = [stripped for cell in row if (stripped := cell.strip())]
    # Behind an order's number a star marks the order.
    return next((cell for cell in cells if _TOTAL.fullmatch(cell) and (cell is cells[0] or cell.strip("*"))), None)


def is_total(row: Sequence[str], filled: Sequence[bool]) -> bool:
    """Whether a row within a table sums others up: it says so, and lacks a third of what records always fill."""
    if all(row) and len(row) >= len(filled):
        return False
    lacking = sum(usual and not "".join(row[place : place + 1]).strip() for place, usual in enumerate(filled))
    return 3 * lacking >= max(1, sum(filled)) and total_name(row) is not None


def totals_below(rows: Sequence[Sequence[str]], filled: Sequence[bool]) -> list[str]:
    """What the last of a table's rows are called where they sum it up; nothing where the last one is a record.

    A row does where a cell says so, and a cell is blank in a column that is always `filled`: a record of a product
    called "Total" has all that others have. One that has the first of these, such as its number, lacks more: the last
    orders are not shipped yet, and a vendor may be called "Total".

    Parameters
    ----------
    rows : sequence of sequences of str
        The last ones, in their order, without blank ones.
    filled : sequence of bool
        Of each column whether records always fill it.
    """
    found: list[str] = []
    for row in reversed(rows[-MOST_TOTALS:]):
        cells = [*row, *[""] * (len(filled) - len(row))]
        name = total_name(cells)
        held = [cell.strip() for usual, cell in zip(filled, cells, strict=False) if usual]
        if name is None or all(held) or not (held[0] in ("", name) or is_total(cells, filled)):
            break
        found.insert(0, name)
    return found


def said_of_totals(names: Sequence[str], what: str) -> str:
    """What is to be said of them; `what` is "line" or "row"."""
    told = ", ".join(repr(name[:60]) for name in names)
    if len(names) == 1:
        return f"the last {what} is a total ({told}) and no record; it is left out."
    return f"the last {len(names)} {what}s are totals ({told}) and no records; they are left out."


def said_of_last(rows: Sequence[Sequence[str]], filled: Sequence[bool], what: str) -> list[str]:
    """What is to be said of a last row that is kept, and lacks most of what all others have: a total in other words."""
    cells = [*rows[-1], *[""] * (len(filled) - len(rows[-1]))] if rows else []
    usual = [cell.strip() for is_usual, cell in zip(filled, cells, strict=False) if is_usual]
    if 2 * usual.count("") <= len(usual):
        return []
    name = next((cell.strip() for cell in cells if cell.strip()), "")
    return [f"the last {what} ({name[:60]!r}) lacks most of what all others have; if it is a total, delete it."]
