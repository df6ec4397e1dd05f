"""Explanations of records, as tests ask for them: of some rows, by the model's threshold or another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.explain.explanations import Explanation


def explain(
    detector: Any, data: Any, rows: Sequence[int] | None = None, top: int = 3, threshold: float | None = None
) -> list[Explanation]:
    """Explain the rows at some positions, all if not given."""
    batch = score_table(detector, data)
    if threshold is not None:
        batch = replace(batch, threshold=threshold)
    positions = np.arange(len(batch)) if rows is None else np.asarray(rows, dtype=np.int64)
    return [alert.explanation for alert in batch.at(positions, top) if alert.explanation is not None]
