"""Names of columns: the words in them, the units, and whether they name a code."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable
from functools import lru_cache

from anomaly_detection.data.cells.clocks import CLOCKS
from anomaly_detection.data.cells.units import UNITS
from anomaly_detection.data.columns.parsing import words_of

__all__ = ["did_you_mean", "names_code", "names_document", "split_unit", "unit_in_name", "unused_name"]

_BRACKETED = re.compile(r"\s*[(\[](?P<unit>[A-Za-z%$€£°/²³]{1,12})[)\]]\s*$")
_CODES = frozenset(
    (
        *("id", "ids", "uuid", "guid", "sku", "ean", "gtin", "upc", "isbn", "#", "identifier", "code", "codes"),
        *("zip", "zipcode", "zipcodes", "postcode", "postcodes", "postal", "postalcode", "plz", "pincode", "cep"),
        *("account", "acct", "konto", "iban", "phone", "telephone", "fax", "mobile", "barcode"),
    )
)
# One of these as the last word is called by a number; a count would be in the plural.
_NOUNS = (
    "plant warehouse store shop branch vendor supplier customer client seller buyer party merchant carrier employee"
    " operator driver machine device sensor station material article product item batch region channel route zone"
    " department dept type status category subcategory group division cluster segment ledger company flight voyage"
    " vehicle truck trailer container tour werk lieferant kunde debitor kreditor artikel lagerort filiale buchungskreis"
    " kostenstelle kostenart sachkonto warengruppe bewegungsart belegart auftragsart mandant sparte vertriebsweg"
    " spediteur abteilung fournisseur magasin proveedor cliente tienda almacen articulo producto fornitore prodotto"
)
_CALLED = frozenset(_NOUNS.split())
_FIELDS_OF_SAP = (
    "werks lgort bukrs kunnr kunag kunwe lifnr matnr ebeln ebelp vbeln posnr vgbel vgpos aubel aupos bwart hkont saknr"
    " kostl prctr ekorg ekgrp matkl vkorg vtweg spart auart bsart blart belnr buzei charg mandt gsber kokrs aufnr banfn"
    " mblnr zeile pernr equnr lgnum lgtyp lgpla vstel tknum xblnr"
)
_TECHNICAL = frozenset(_FIELDS_OF_SAP.split())
# "week no" counts; "vendor no" names.
_COUNTED = frozenset(
    (
        *("week", "month", "day", "year", "quarter", "period", "page", "version", "sequence", "seq", "total", "of"),
        *("sort", "rank", "tage", "jahr", "monat", "woche", "yes"),
    )
)
# "pieces per store" and "distance to warehouse" are amounts.
_OF_EACH = frozenset({"per", "by", "to", "from", "in", "at", "since", "is", "has", "new", "avg", "mean", "max", "min"})
_PARTIES = frozenset({"ship", "sold", "bill"})
_DONE = frozenset({"created", "changed", "updated", "approved", "entered", "posted", "picked", "packed"})
_NUMBERS = frozenset({"number", "no", "nr", "nbr", "num", "nummer", "key"})
# "account balance" and "code lines" are sizes of something that is named by a code.
_SIZES = frozenset(
    (
        *("amount", "amt", "balance", "value", "total", "sum", "count", "counts", "lines", "length", "size", "age"),
        *("price", "cost", "rate", "score", "ratio", "share", "days", "hours", "minutes", "months", "years"),
        *("usd", "eur", "volume", "usage", "complexity", "num", "coverage", "qty", "quantity", "weight", "menge"),
        *("anzahl", "gewicht", "betrag", "preis", "umsatz", "revenue"),
    )
)
_DOCUMENTS = frozenset({"#", "uuid", "guid", "reference", "ref", "invoice", "identifier"})
_OTHERS = (
    "USD EUR GBP CHF % $ € £ °C °F kWh kW MW Wh MWh J V W A Hz Pa hPa kPa bar mbar psi km/h m/s mph m² m³ rpm ppm ppb"
    " pcs units hours days minutes seconds weeks"
)
# At the end of a name these are other words: check_in, price_min, ship_to, m for millions.
_SHORT = "in min mi mt to gr yd kb mb gb tb mw bar pct fractions"
_OTHER_WORDS = frozenset({*_SHORT.split(), *CLOCKS, *"gtmsdhwl"})
_OTHER_UNITS = {unit.lower(): unit for unit in _OTHERS.split()}


def names_code(name: str) -> bool:
    """Whether a column of this name holds codes, whose size means nothing: a zip code, a plant, a vendor's number."""
    words = words_of(name)
    tokens = frozenset(words)
    if not words or tokens & _SIZES or {"number", "of"} <= tokens:
        return False
    last, before = words[-1], words[:-1]
    named = last in _CALLED and (not tokens & _OF_EACH or bool(tokens & _PARTIES))
    called = named or (last in _NUMBERS and bool(before) and not tokens & _COUNTED)
    # Kundennummer, Artikelnr.
    called |= len(last) > 6 and last.endswith(("nummer", "nr"))
    called |= last == "by" and bool(tokens & _DONE)
    return called or bool(tokens & _CODES) or last in _TECHNICAL


def names_document(tokens: frozenset[str]) -> bool:
    """Whether a column of a name with these words holds numbers of documents, of which each names one record."""
    return bool(tokens & _DOCUMENTS)


@lru_cache(4096)
def split_unit(name: str) -> tuple[str, str]:
    """Part a column's name from the unit in brackets at its end: ``"Weight (Kilograms)"`` gives Weight and kg.

    What stands in the brackets of ``"C6H6(GT)"`` is no unit that is known, so it belongs to the name.
    """
    match = _BRACKETED.search(name)
    if match is None or not name[: match.start()].strip():
        return name, ""
    word = match["unit"]
    unit = _OTHER_UNITS.get(word.lower())
    # One capital letter is a unit of its own, such as M for millions, or none.
    if unit is None and (word in UNITS or (len(word) > 1 and word.lower() in UNITS)):
        unit = UNITS[word.lower()].name
    return (name[: match.start()].strip(), unit) if unit else (name, "")


def unit_in_name(name: str) -> str | None:
    """The unit of mass, length or time that a column's name ends with, such as kg of ``weight_kg``; None if none."""
    bracketed = split_unit(name)[1]
    words = [bracketed] if bracketed else words_of(name)[1:][-1:]
    return next((UNITS[word].name for word in words if word in UNITS and (bracketed or word not in _OTHER_WORDS)), None)


def unused_name(name: str, taken: Container[str]) -> str:
    """Give `name`, with as many primes behind it as make it another one than those `taken`."""
    while name in taken:
        name += "'"
    return name


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which of the `known` names may have been meant, as an addition to an error; nothing where none is near."""
    folded = {other.casefold().replace("_", " "): other for other in known}
    near = difflib.get_close_matches(name.casefold().replace("_", " "), folded, n=1, cutoff=0.7)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""
