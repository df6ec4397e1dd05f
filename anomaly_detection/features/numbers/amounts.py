"""What a numeric column measures, going by the words in its name."""

from __future__ import annotations

from anomaly_detection.data.columns.parsing import name_tokens

__all__ = ["amount_kind"]

# The first kind that fits counts.
_KINDS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("per_unit", frozenset({"unit", "per", "rate", "pack"}), frozenset({"price", "cost", "rate", "measure"})),
    ("freight", frozenset({"freight", "transport", "transportation", "shipping", "carriage"}), frozenset()),
    ("insurance", frozenset({"insurance"}), frozenset()),
    ("price", frozenset({"price"}), frozenset()),
    ("value", frozenset({"value", "amount", "revenue", "spend", "total", "invoice", "sales"}), frozenset()),
    ("forecast", frozenset({"forecast", "forecasted", "demand", "expected"}), frozenset()),
    ("inventory", frozenset({"inventory", "stock", "onhand"}), frozenset()),
    ("capacity", frozenset({"capacity"}), frozenset()),
    ("quantity", frozenset({"quantity", "qty", "volume", "pieces", "units", "order", "ordered"}), frozenset()),
    ("weight", frozenset({"weight", "kg", "kilograms", "tons", "tonnes"}), frozenset()),
    ("distance", frozenset({"distance", "km", "miles"}), frozenset()),
)


def amount_kind(name: str) -> str | None:
    """Say what an amount measures, going by the words in its name: ``price``, ``freight``, ...; None if unknown."""
    tokens = name_tokens(name)
    for kind, any_of, also in _KINDS:
        if tokens & any_of and (not also or tokens & also):
            return kind
    return None
