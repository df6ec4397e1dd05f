"""`Headline`: the few columns by which a person knows a record, its identifiers, its date and its amount."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anomaly_detection.data.columns.column import Role
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.features.numbers.amounts import amount_kind
from anomaly_detection.trained_detector import TrainedDetector

__all__ = ["Headline"]

_IDENTIFIERS = 2
_TOTALLED = ("value", "freight", "insurance")
_EACH = ("price", "per_unit")
_COUNTED = ("quantity", "weight")
_MONEY = frozenset({"cost", "costs", "profit", "margin", "loss", "fee", "fees", "duty", "tax", "charge", "payment"})
# A total of anything else, such as fat or requests, is no money either.
_TOTAL_OF = frozenset({"total", "order", "line", "item", "invoice", "net", "gross", "paid", "due", "usd", "eur", "gbp"})
# What is counted in these is no money, whatever else its name says.
_OTHER = frozenset(
    {"weight", "kg", "quantity", "qty", "units", "count", "days", "day", "hours", "time", "score", "rate"}
)


@dataclass(frozen=True)
class Headline:
    """Names of columns.

    Attributes
    ----------
    identifiers : tuple of str
        Those that training was told of (``--id``), in their order; else the first two that the model takes for such.
    told_by : tuple of str
        The identifiers. Where there are none a column of texts or, without one, the category of most levels: a city
        tells a reader more of a record than its row, and names none.
    date : str or None
        The column that training took for the time, else the date that is missing least, of equal ones the first.
    amount : str or None
        The first that there is of a value or total, another sum of money, a price, a quantity or a weight.
    money : tuple of str
        The columns that are money and may be added up, so no prices of a unit.
    """

    identifiers: tuple[str, ...]
    told_by: tuple[str, ...]
    date: str | None
    amount: str | None
    money: tuple[str, ...]

    @classmethod
    def of(cls, detector: TrainedDetector) -> Headline:
        """That of the records that a fitted detector judges."""
        schema = detector.preprocessor.schema_
        told = detector.training_.get("data")
        data: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        known = schema.names(Role.IDENTIFIER)
        categories = sorted(schema.names(Role.CATEGORICAL), key=lambda name: -schema[name].distinct)
        instead = [*schema.names(Role.TEXT), *categories][:1]
        named = [name for name in data.get("identifiers") or () if name in known]
        dates = sorted(schema.names(Role.TIMESTAMP), key=lambda name: float(schema[name].missing))
        date = data.get("timestamp") if data.get("timestamp") in dates else next(iter(dates), None)
        kinds = {name: amount_kind(name) for name in schema.names(Role.NUMERIC)}
        money = [name for name, kind in kinds.items() if _is_total(name, kind)]
        ranked = [*(name for kind in _TOTALLED for name in money if kinds[name] == kind), *money]
        ranked += [name for kind in (*_EACH, *_COUNTED) for name in kinds if kinds[name] == kind]
        own = tuple(named or known[:_IDENTIFIERS])
        return cls(own, own or tuple(instead), date, next(iter(ranked), None), tuple(money))

    @property
    def columns(self) -> tuple[str, ...]:
        """All that head a record: what it is told by, the date, the amount."""
        return (*self.told_by, *(name for name in (self.date, self.amount) if name is not None))


def _is_total(name: str, kind: str | None) -> bool:
    tokens = name_tokens(name)
    known = kind in _TOTALLED
    if kind == "value" and "total" in tokens and amount_kind(" ".join(tokens - {"total"})) is None:
        known = tokens <= _TOTAL_OF
    return not tokens & _OTHER and kind not in _EACH and (known or bool(tokens & _MONEY))
