"""How good a detector is: the metrics of the anomaly class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from anomaly_detection.data.labels import ANOMALY, NORMAL, listed
from anomaly_detection.errors import DataError

__all__ = ["METRICS", "Metrics", "agreement", "evaluate"]

METRICS = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "false_positive_rate",
    "roc_auc",
    "average_precision",
    "confusion_matrix",
    "recall_by_type",
)
"""What the report holds of a model where there are labels, and None where there are none."""


@dataclass(frozen=True)
class Metrics:
    """What a detector gets right and wrong; the anomaly class is the positive one.

    A ratio whose denominator is zero is 0.0: precision without an alert, recall and F1 without an anomaly, the
    false-positive rate without a normal record.

    Attributes
    ----------
    accuracy, precision, recall, f1, false_positive_rate : float
        In [0, 1].
    roc_auc : float or None
        Area under the ROC curve, in [0, 1]; None where the labels hold one class only.
    average_precision : float or None
        Area under the precision-recall curve (step-wise), in [0, 1]; None where the labels hold one class only.
    confusion_matrix : dict
        Row counts: ``true_positive, false_positive, false_negative, true_negative``.
    recall_by_type : dict or None
        The share of each type's anomalies that was found; None where no types were given.
    alerts : int
        Number of records predicted to be anomalies.
    n : int
        Number of records judged.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    false_positive_rate: float
    roc_auc: float | None
    average_precision: float | None
    confusion_matrix: dict[str, int]
    recall_by_type: dict[str, float] | None
    alerts: int
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain Python numbers, dicts and None, ready for JSON."""
        return asdict(self)


def evaluate(
    labels: ArrayLike, predictions: ArrayLike, scores: ArrayLike, anomaly_types: Sequence[Any] | None = None
) -> Metrics:
    """Compare predictions and scores with the truth.

    Parameters
    ----------
    labels, predictions : array-like of shape (n,)
        1 is normal, -1 is an anomaly (`check_labels` makes labels so).
    scores : array-like of shape (n,)
        Finite; lower is more abnormal. Any monotone scale.
    anomaly_types : sequence of shape (n,), optional
        Each row's type of anomaly; read only where the label is -1. A missing or empty one counts as ``"unnamed"``.

    Returns
    -------
    Metrics

    Raises
    ------
    DataError
        Lengths that differ, no rows, values other than 1 and -1, or scores that are not finite.
    """
    from sklearn import metrics  # here, not above: predicting does not need it, and it takes a while to import

    truth = _signed(labels, "labels")
    guess = _signed(predictions, "predictions")
    score = np.asarray(scores, dtype=np.float64)
    if score.ndim != 1 or not len(truth) == len(guess) == len(score):
        raise DataError(
            f"Labels, predictions and scores must be one-dimensional and equally long, got shapes {truth.shape}, "
            f"{guess.shape} and {score.shape}; pass one of each for every record."
        )
    if not len(truth):
        raise DataError("There is no record to evaluate; pass at least one label with its prediction and score.")
    if not np.isfinite(score).all():
        bad = int((~np.isfinite(score)).sum())
        raise DataError(f"{bad} of {len(score)} scores are NaN or infinite; expected finite numbers from the model.")

    is_anomaly = truth == ANOMALY
    tn, fp, fn, tp = (int(count) for count in metrics.confusion_matrix(truth, guess, labels=[NORMAL, ANOMALY]).ravel())
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        is_anomaly, guess == ANOMALY, average="binary", zero_division=0.0
    )
    both = 0 < is_anomaly.sum() < len(truth)
    return Metrics(
        accuracy=float(metrics.accuracy_score(truth, guess)),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        false_positive_rate=fp / (fp + tn) if fp + tn else 0.0,
        roc_auc=float(metrics.roc_auc_score(is_anomaly, -score)) if both else None,
        average_precision=float(metrics.average_precision_score(is_anomaly, -score)) if both else None,
        confusion_matrix={"true_positive": tp, "false_positive": fp, "false_negative": fn, "true_negative": tn},
        recall_by_type=None if anomaly_types is None else _recall_by_type(is_anomaly, guess, anomaly_types),
        alerts=tp + fp,
        n=len(truth),
    )


def agreement(predictions: ArrayLike, others: ArrayLike) -> float:
    """Say how far two detectors raise the same alerts: records alerted by both / by at least one.

    Parameters
    ----------
    predictions, others : array-like of shape (n,)
        1 is normal, -1 is an alert.

    Returns
    -------
    float
        In [0, 1] (the Jaccard index); 1.0 where neither raises an alert.

    Raises
    ------
    DataError
        Lengths that differ, or values other than 1 and -1.
    """
    ours, theirs = _signed(predictions, "predictions"), _signed(others, "the other predictions")
    if len(ours) != len(theirs):
        raise DataError(f"Cannot compare {len(ours)} predictions with {len(theirs)}; pass those of the same records.")
    either = int(((ours == ANOMALY) | (theirs == ANOMALY)).sum())
    return int(((ours == ANOMALY) & (theirs == ANOMALY)).sum()) / either if either else 1.0


def _signed(values: ArrayLike, name: str) -> NDArray[np.int8]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(
            f"{name.capitalize()} must be one-dimensional, got shape {array.shape}; pass one value for every record."
        )
    if not np.isin(array, (NORMAL, ANOMALY)).all():
        wrong = listed(pd.unique(array[~np.isin(array, (NORMAL, ANOMALY))]))
        raise DataError(
            f"{name.capitalize()} must be 1 (normal) or -1 (anomaly), found {wrong}; convert labels with check_labels."
        )
    return array.astype(np.int8)


def _recall_by_type(
    is_anomaly: NDArray[np.bool_], guess: NDArray[np.int8], anomaly_types: Sequence[Any]
) -> dict[str, float]:
    if len(anomaly_types) != len(guess):
        raise DataError(f"{len(anomaly_types)} anomaly types for {len(guess)} records; pass one for every record.")
    types = pd.Series(list(anomaly_types), dtype=object)[is_anomaly]
    names = types.where(types.notna() & (types != ""), "unnamed").astype(str)
    found = pd.Series(guess[is_anomaly] == ANOMALY, index=names.index).groupby(names).mean()
    return {str(name): float(share) for name, share in found.items()}
