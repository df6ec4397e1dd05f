"""`ColumnReference`, declared for model files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.features.column_reference import BINS, ColumnReference
from anomaly_detection.model_files.shared_states import FINITE, SMALLEST
from mlx_iforest.convert.declared import Optional, Record
from mlx_iforest.convert.declared_values import Array, Flag, Number, Strings, Text

__all__ = ["REFERENCE", "references_fault"]

_ROLES = ("numeric", "categorical", "timestamp")


def _fault(reference: ColumnReference) -> str | None:
    if len(reference.counts) != BINS:
        return f"expected {BINS} counts"
    if len(reference.edges) > BINS - 4 or np.any(np.diff(reference.edges) <= 0):
        return f"expected at most {BINS - 4} edges in ascending order"
    if len(set(reference.names.tolist())) != len(reference.names):
        return "expected each level once"
    return None


REFERENCE = Record(
    ColumnReference,
    {
        "column": Text(),
        "role": Text(_ROLES),
        "counts": Array("int64", least=0, most=1e15),
        "names": Strings(),
        "more": Strings(),
        "edges": Array("float64"),
        "logarithmic": Flag(),
        "centre": FINITE,
        # Of a column with one number near the largest that there are.
        "spread": Number(SMALLEST, 1e308),
        "context": Text(),
        "centres": Optional(Array("float64", special=True)),
        "mean": FINITE,
    },
    _fault,
)


def references_fault(references: Sequence[ColumnReference], schema: Schema) -> str | None:
    """What does not go together in the references of a file; None where all does."""
    roles = {column.name: column.role.value for column in schema.columns}
    known = {each.column: each for each in references}
    if len(known) != len(references) or any(roles.get(each.column) != each.role for each in references):
        return "'references_' does not name columns of the schema, each once with its role"
    for each in references:
        if not each.context and each.centres is None:
            continue
        context = known.get(each.context)
        size = -1 if context is None or context.role != "categorical" else len(context.names)
        if each.centres is None or len(each.centres) != size:
            return f"'references_' of {each.column[:40]!r} does not fit its context"
    return None
