"""How good a detector is: labels read into one convention, and the metrics of the anomaly class."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from anomaly_detection.data.well_formed_text import well_formed
from anomaly_detection.errors import DataError

__all__ = ["METRICS", "Metrics", "agreement", "check_labels", "evaluate"]

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

NORMAL = 1
ANOMALY = -1

# What a word in a label column means; a flag such as "yes" or "true" answers "is it an anomaly?".
_WORDS = {
    **dict.fromkeys(("normal", "ok", "good", "inlier", "regular", "nominal", "no", "n", "false", "f"), NORMAL),
    **dict.fromkeys(("anomaly", "anomalous", "abnormal", "outlier", "bad", "yes", "y", "true", "t"), ANOMALY),
}
_SIGNED = {1.0: NORMAL, -1.0: ANOMALY}
_BINARY = {0.0: NORMAL, 1.0: ANOMALY}
_EXPECTED = "expected -1 (anomaly) and 1 (normal), 0 (normal) and 1 (anomaly), True/False or 'normal'/'anomaly'"


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


def check_labels(
    values: Iterable[Any],
    *,
    convention: Literal["auto", "signed", "binary"] = "auto",
    both_classes: bool = False,
) -> NDArray[np.int8]:
    """Read labels of the usual kinds into 1 (normal) and -1 (anomaly).

    The values present decide what they mean:

    =====================================  =========  =========
    values                                 normal     anomaly
    =====================================  =========  =========
    1 and -1, or either alone ("signed")   1          -1
    0 and 1, or 0 alone ("binary")         0          1
    booleans: "is it an anomaly?"          False      True
    words, in any case, e.g.               normal     anomaly
    =====================================  =========  =========

    Words are also ok, good, inlier, regular, nominal, no, false and anomalous, abnormal, outlier, bad, yes, true.
    Numbers may be kept as text. Labels that are all 1 are all normal, as everywhere in this library; where they are
    the anomalies of 0 and 1, say ``convention="binary"``.

    Parameters
    ----------
    values : iterable of shape (n,)
        A list, a numpy array, a pandas or polars Series.
    convention : {"auto", "signed", "binary"}
        How to read numbers; "auto" goes by the values present.
    both_classes : bool
        Whether to insist on at least one normal record and one anomaly.

    Returns
    -------
    ndarray of int8, shape (n,)

    Raises
    ------
    DataError
        Missing labels, values of no known kind, more than two classes, a mixture of kinds, or, on demand, one class.
    """
    codes, found = pd.factorize(_one_column(values))
    if missing := int((codes < 0).sum()):
        raise DataError(
            f"{missing} of {len(codes)} labels are missing; {_EXPECTED} in every row: fill them in or leave them out."
        )
    meanings = _meanings([_canonical(value) for value in found], _listed(found), convention)
    labels: NDArray[np.int8] = np.array(meanings, dtype=np.int8)[codes]
    if both_classes and len(set(meanings)) < 2:
        what = "nothing" if not meanings else "only normal records" if meanings[0] == NORMAL else "only anomalies"
        raise DataError(
            f"The {len(labels)} labels hold {what} (found {_listed(found)}); "
            "expected both classes: give labels with some of each, or none at all."
        )
    return labels


def _one_column(values: Any) -> pd.Series[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DataError(f"Labels must be a list or an array, got {type(values).__name__}; {_EXPECTED}.")
    if getattr(values, "ndim", 1) != 1:
        raise DataError(
            f"Labels must be one column, got {getattr(values, 'ndim', 0)} dimensions; pass a single column."
        )
    if isinstance(values, (pd.Series, np.ndarray)) and values.dtype != object:
        return pd.Series(values)
    # A list as object: left to itself, numpy would turn None or NaN among words into the word "nan".
    column = pd.Series([well_formed(one) if isinstance(one, str) else one for one in values], dtype=object)
    odd = [type(one).__name__ for one in column if not pd.api.types.is_hashable(one)]
    if odd:
        raise DataError(f"Labels must be plain values, found a {odd[0]}; {_EXPECTED}.")
    return column


def _canonical(value: Any) -> float | str:
    """Give the number a label stands for, or its word in lower case."""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, str):
        value = value.strip().lower()
        if value in _WORDS:
            return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _meanings(keys: list[float | str], shown: str, convention: str) -> list[int]:
    """Give each distinct label's meaning, 1 or -1."""
    if convention not in ("auto", "signed", "binary"):
        raise DataError(
            f"The convention is {convention!r}; expected 'auto', 'signed' (-1 and 1) or 'binary' (0 and 1)."
        )
    words = [key for key in keys if isinstance(key, str)]
    numbers = {key for key in keys if isinstance(key, float)}
    if words and numbers:
        raise DataError(f"The labels mix words and numbers ({shown}); {_EXPECTED}.")
    for word in words:
        if word not in _WORDS:
            near = difflib.get_close_matches(word, _WORDS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"The labels hold values that are no classes ({shown}){hint}; {_EXPECTED}.")
    if words:
        return [_WORDS[str(key)] for key in keys]
    signed = convention == "signed" or (convention == "auto" and (-1.0 in numbers or numbers == {1.0}))
    meaning = _SIGNED if signed else _BINARY
    if not numbers <= set(meaning):
        raise DataError(f"The labels are not two classes: found {shown}; {_EXPECTED}.")
    return [meaning[float(key)] for key in keys]


def _listed(found: Iterable[Any], most: int = 6) -> str:
    """Name the distinct labels in one line, however many and however long they are."""
    values = [value.item() if isinstance(value, np.generic) else value for value in found]
    texts = [text if len(text) <= 30 else f"{text[:27]}..." for text in map(repr, values[:most])]
    return ", ".join(texts) + (f" and {len(values) - most} more" if len(values) > most else "")


def _signed(values: ArrayLike, name: str) -> NDArray[np.int8]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(
            f"{name.capitalize()} must be one-dimensional, got shape {array.shape}; pass one value for every record."
        )
    if not np.isin(array, (NORMAL, ANOMALY)).all():
        wrong = _listed(pd.unique(array[~np.isin(array, (NORMAL, ANOMALY))]))
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
