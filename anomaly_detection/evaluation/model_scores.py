"""Scores of the test part by each model that a training run compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly_detection.errors import DataError

__all__ = ["MODEL_KEYS", "CurveData", "ModelScores"]

MODEL_KEYS = ("base", "optimized", "sklearn")
"""The models of a report, in its order."""


@dataclass(frozen=True)
class ModelScores:
    """One model's scores of the test part.

    Attributes
    ----------
    scores : ndarray of float, shape (n,)
        Lower is more abnormal.
    threshold : float
        On the scores' own scale; a score below it is an alert.
    """

    scores: NDArray[np.floating[Any]]
    threshold: float

    @property
    def is_alert(self) -> NDArray[np.bool_]:
        """Which rows, of shape (n,), score below the threshold."""
        return self.scores < self.threshold

    @property
    def predictions(self) -> NDArray[np.int64]:
        """-1 (anomaly) for each alert, else +1, of shape (n,)."""
        return np.where(self.is_alert, -1, 1).astype(np.int64)


@dataclass(frozen=True)
class CurveData:
    """What the pictures are drawn from.

    Attributes
    ----------
    labels : ndarray of shape (n,), or None
        1 is normal, -1 is an anomaly; None without labels.
    models : mapping
        `ModelScores` by the report's key: any of ``base``, ``optimized``, ``sklearn``.
    anomaly_types : sequence of shape (n,), optional
        Each row's type, read where the label is -1; lets the pictures say how many of each there are.

    Raises
    ------
    DataError
        A model of another name, no model or no row, lengths that differ, or scores that are not finite.
    """

    labels: NDArray[Any] | None
    models: Mapping[str, ModelScores]
    anomaly_types: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if not self.models or not self.models.keys() <= set(MODEL_KEYS):
            raise DataError(f"The scores are of {sorted(self.models)}; give those of any of {', '.join(MODEL_KEYS)}.")
        others = [*(model.scores for model in self.models.values()), self.labels, self.anomaly_types]
        lengths = {len(values) for values in others if values is not None}
        if len(lengths) > 1 or 0 in lengths:
            raise DataError(f"Scores, labels and types have lengths {sorted(lengths)}; give one of each for every row.")
        if not all(np.isfinite(model.scores).all() for model in self.models.values()):
            raise DataError("Some scores are NaN or infinite, which no picture can show; check the model's input.")

    @property
    def is_anomaly(self) -> NDArray[np.bool_] | None:
        """Which rows are labelled an anomaly; None without labels."""
        return None if self.labels is None else np.asarray(self.labels) == -1

    @property
    def both_classes(self) -> bool:
        """Whether there are labels of both classes, without which there is no curve."""
        flags = self.is_anomaly
        return flags is not None and bool(flags.any()) and not bool(flags.all())
