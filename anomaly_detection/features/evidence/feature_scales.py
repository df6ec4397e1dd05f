"""What `Evidence` has to know of each feature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.columns.table import Coded, Table
from anomaly_detection.features.evidence.evidence import FeatureScale
from anomaly_detection.features.group import OF_A_RECORD, FeatureSource
from anomaly_detection.features.kinds import KINDS

__all__ = ["scales_of"]


def scales_of(sources: Sequence[FeatureSource], logarithmic: Iterable[bool], extended: Table) -> list[FeatureScale]:
    """The scale of each feature, of its source, of whether it grows as a logarithm, and of the training records."""
    few = {name: _distinct_values(extended[name]) < 0.05 * len(extended) for name in _judged_columns(sources, extended)}
    judged = {columns: i for i, columns in enumerate(dict.fromkeys(map(_judged_by, sources)))}
    scales = []
    for source, growing in zip(sources, logarithmic, strict=True):
        kind = KINDS[source.kind]
        discrete = not kind.ordered or few.get(_judged_name(source), False)
        scales.append(
            FeatureScale(kind.weighed, kind.nats, growing, kind.one_sided, discrete, judged[_judged_by(source)])
        )
    return scales


def _judged_columns(sources: Sequence[FeatureSource], extended: Table) -> list[str]:
    """The columns whose values ordered features judge, each once."""
    names = dict.fromkeys(_judged_name(source) for source in sources if KINDS[source.kind].ordered)
    return [name for name in names if name in extended]


def _judged_name(source: FeatureSource) -> str:
    """The column whose values a feature judges: days between two dates, where it judges these."""
    own = (name for name, part in source.derived.items() if part.columns == source.columns)
    return next(own, source.columns[0])


def _distinct_values(column: Any) -> int:
    return int(np.count_nonzero(column.counts())) if isinstance(column, Coded) else int(pd.Series(column).nunique())


def _judged_by(source: FeatureSource) -> tuple[str, ...]:
    """What a feature judges: its first column, or, of a whole record, all."""
    return source.columns[:1] if len(source.columns) <= OF_A_RECORD else source.columns
