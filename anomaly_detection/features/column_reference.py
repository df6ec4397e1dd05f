"""`ColumnReference`: how the values of one column were spread among bins when a model learned, to see them change.

Bins are made of every second record and counted among the others: counted records are then exchangeable with new ones
that are like them, which conformal p-values ask for (Vovk, Gammerman and Shafer, 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.schema import Role, Schema
from anomaly_detection.data.columns.table import Coded, Table

__all__ = ["BINS", "MISSING", "NEW", "SKIPPED", "UNREADABLE", "ColumnReference", "learn_references"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

SKIPPED, UNREADABLE, MISSING, NEW = -1, 0, 1, 2
"""Codes of a record in no bin (its group is not known), with a value that cannot be read, with none, with a new one."""

_SPECIAL = 3
_OWN = 29
BINS = _SPECIAL + _OWN
"""Codes that there are at most."""

_SEED = 0
_MOST_ROWS = 50_000
_MOST_LEVELS = 2_000
_FEWEST_IN_GROUP = 3
_LEAST_EXPLAINED = 0.3
_UNSURE = 1e-9  # what explains so much less explains less, however it is added up
_SHARES = np.concatenate([[0.005, 0.02], np.linspace(0.05, 0.95, 19), [0.98, 0.995]])
_LIMIT = 12.0
"""Of a residual, in natural logarithms, or in spreads of the column."""


@dataclass
class ColumnReference:
    """Bins of a column and how many reference records are in each.

    Attributes
    ----------
    column : str
    role : {"numeric", "categorical", "timestamp"}
    counts : ndarray of int64, shape (bins,)
        By code: unreadable, missing, new level, then the bins of the column's own values.
    names : ndarray of str
        Of categories the known levels, the rarest first; the most frequent have bins of their own, others share one.
    more : ndarray of str
        Levels that only the counted records have: new for the test, not for a reader.
    edges : ndarray of float64, ascending
        Of numbers the ends of bins of the residuals.
    logarithmic : bool
        Whether residuals are of logarithms, for positive amounts: then their shift is a factor.
    centre, spread : float
        Median and robust spread (of logarithms) of all values.
    context : str
        The category whose usual values residuals are from; empty for none.
    centres : ndarray of float64
        What is usual for each of the context's known levels; NaN where too little is known.
    mean : float
        Mean residual of the counted records.
    """

    column: str
    role: str
    counts: Codes
    names: npt.NDArray[np.object_]
    more: npt.NDArray[np.object_]
    edges: Floats
    logarithmic: bool = False
    centre: float = 0.0
    spread: float = 1.0
    context: str = ""
    centres: Floats | None = None
    mean: float = 0.0

    def codes(
        self, table: Table, unreadable: npt.NDArray[np.bool_] | None, contexts: dict[str, ColumnReference]
    ) -> tuple[Codes, Floats]:
        """Each record's code, and its residual (NaN where there is none); both (rows,)."""
        residuals = np.full(len(table), np.nan)
        if self.role == "categorical":
            codes = self._levels(table.coded(self.column))
        else:
            codes = np.where(table.isna(self.column), MISSING, _SPECIAL)
            if self.role == "numeric":
                places = contexts[self.context].places(table.coded(self.context)) if self.context else None
                residuals = self.residuals(table.numbers(self.column), places)
                own = codes == _SPECIAL
                codes[own] = _SPECIAL + np.searchsorted(self.edges, residuals[own], side="right")
                if places is not None and self.centres is not None:
                    # Missing ones too, else their share would grow.
                    codes[np.isnan(np.append(self.centres, np.nan)[places])] = SKIPPED
        if unreadable is not None:
            codes[unreadable] = UNREADABLE
        return codes, residuals

    def residuals(self, values: Floats, places: Codes | None) -> Floats:
        """How far `values` (rows,) are from what is usual, for the levels at `places` of the context."""
        if self.logarithmic:
            with np.errstate(divide="ignore", invalid="ignore"):
                scaled = np.where(values > 0, np.log(values), np.where(np.isnan(values), np.nan, -np.inf))
        else:
            scaled = values / self.spread
        if places is None or self.centres is None:
            usual: float | Floats = self.centre
        else:
            usual = np.append(self.centres, np.nan)[places]
        return np.clip(scaled - usual, -_LIMIT, _LIMIT)

    def places(self, column: Coded) -> Codes:
        """Each row's place among the known levels, -1 for others."""
        known = {name: place for place, name in enumerate(self.names.tolist())}
        return np.array([*(known.get(name, -1) for name in column.names), -1])[column.codes]

    def name_of(self, own: int) -> str:
        """What the level of one of the column's own bins is called."""
        first = max(len(self.names) - (_OWN - 1), 0)
        return str(self.names[first + own - 1]) if own else "other known values"

    def own_of(self, name: str) -> int:
        """Which of the column's own bins a level is in; the inverse of `name_of`."""
        own = self.names[max(len(self.names) - (_OWN - 1), 0) :].tolist()
        return 1 + own.index(name) if name in own else 0

    def is_restated(self, name: str) -> bool:
        """Whether a level that is not known says what a known one does, but for case, spaces and punctuation."""
        return _plain(name) in {_plain(each) for each in self.names.tolist()}

    def _levels(self, column: Coded) -> Codes:
        codes = np.empty(len(column.names) + 1, dtype=np.int64)
        known = {name: place for place, name in enumerate(self.names.tolist())}
        first = max(len(known) - (_OWN - 1), 0)
        plain: set[str] | None = None
        for place, name in enumerate(column.names):
            at = known.get(name)
            if at is not None:
                codes[place] = _SPECIAL + max(at - first + 1, 0)
                continue
            plain = {_plain(each) for each in known} if plain is None else plain
            codes[place] = UNREADABLE if _plain(name) in plain else NEW
        codes[-1] = MISSING
        return codes[column.codes]


def learn_references(table: Table, schema: Schema) -> list[ColumnReference]:
    """Learn the bins of all judged columns from clean records; without columns where there are too few records."""
    step = -(-len(table) // _MOST_ROWS)
    rows = np.arange(0, len(table), step)
    if len(rows) < 4:
        return []
    # Of two lanes whose rows take turns, every second row would be all of one of them.
    dealt = np.random.default_rng(_SEED).permutation(rows)
    learned, counted = (table.take(np.sort(half)) for half in (dealt[::2], dealt[1::2]))
    found: dict[str, ColumnReference] = {}
    for name in schema.names(Role.CATEGORICAL):
        column = learned.coded(name)
        often = column.counts()
        order = np.lexsort((np.arange(len(often)), often))
        names = [str(column.names[place]) for place in order.tolist() if often[place]]
        if len(names) <= _MOST_LEVELS:
            found[name] = _empty(name, "categorical", names)
    contexts = dict(found)
    places = {name: each.places(learned.coded(name)) for name, each in contexts.items()}
    side_by_side = np.array([*places.values()], dtype=np.int32).reshape(len(places), len(learned))
    for name in schema.names(Role.NUMERIC):
        found[name] = _number(name, learned.numbers(name), contexts, places, side_by_side)
    for name in schema.names(Role.TIMESTAMP):
        found[name] = _empty(name, "timestamp", [])
    for reference in found.values():
        # What training read as missing is missing: cells of a form that it did not know were none of its.
        codes, residuals = reference.codes(counted, None, contexts)
        reference.counts = np.bincount(codes[codes >= 0], minlength=BINS)
        known = residuals[np.isfinite(residuals)]
        reference.mean = float(known.mean()) if known.size else 0.0
        if reference.role == "categorical":
            column = counted.coded(reference.column)
            here, own = column.counts() > 0, set(reference.names.tolist())
            others = [str(level) for level, is_there in zip(column.names, here, strict=True) if is_there]
            reference.more = np.array([level for level in others if level not in own], dtype=object)
    return list(found.values())


def _empty(column: str, role: str, names: Sequence[str]) -> ColumnReference:
    nothing = np.empty(0)
    return ColumnReference(
        column, role, np.zeros(BINS, np.int64), np.array(names, dtype=object), nothing.astype(object), nothing
    )


def _number(
    name: str,
    values: Floats,
    contexts: dict[str, ColumnReference],
    places: dict[str, Codes],
    side_by_side: npt.NDArray[np.int32],
) -> ColumnReference:
    from anomaly_detection.features.compiled.groups import shares_of_variance

    made = _empty(name, "numeric", [])
    known = values[np.isfinite(values)]
    if known.size < _FEWEST_IN_GROUP:
        return made
    made.logarithmic = bool(known.min() > 0)
    scaled = np.log(values) if made.logarithmic else values
    low, made.centre, high = np.nanquantile(scaled, [0.25, 0.5, 0.75]).tolist()
    if not made.logarithmic:
        # Squares of the largest numbers would overflow.
        largest = float(np.abs(known).max()) or 1.0
        made.spread = max((high - low) / 1.349, largest * float(np.std(known / largest)) / 10.0, 1e-100)
        scaled, made.centre = scaled / made.spread, made.centre / made.spread
    # A few wild values move no mean then.
    clipped = np.clip(scaled, *np.nanquantile(scaled, [0.01, 0.99]))
    best = _LEAST_EXPLAINED
    sizes = np.array([len(contexts[context].names) for context in places], dtype=np.int64)
    nearly = shares_of_variance(clipped, side_by_side, sizes)
    names = [*places]
    for i in np.flatnonzero(nearly >= max(nearly.max(initial=-1.0), best) - _UNSURE).tolist():
        context, at, size = names[i], places[names[i]], sizes[i]
        own = np.isfinite(clipped) & (at >= 0)
        count = np.bincount(at[own], minlength=size)
        with np.errstate(invalid="ignore"):
            usual = np.bincount(at[own], clipped[own], minlength=size) / count
        total = float(np.var(clipped[own])) * own.sum() / (own.sum() - 1)
        left = float(np.sum((clipped[own] - usual[at[own]]) ** 2)) / (own.sum() - size)
        if total > 0 and 1.0 - left / total > best:
            best = 1.0 - left / total
            made.context, made.centres = context, np.where(count < _FEWEST_IN_GROUP, np.nan, usual)
    residuals = made.residuals(values, places.get(made.context))
    residuals = residuals[np.isfinite(residuals)]
    if residuals.size:
        made.edges = np.unique(np.quantile(residuals, _SHARES))
    return made


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold())) or name
