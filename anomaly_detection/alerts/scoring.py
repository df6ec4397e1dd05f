"""Records to batches of judged ones: a table at once, or parts of which one at a time is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.calibration.drift import ScoreSample, warn_of_drift
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.schema import CleaningReport
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.features.kinds import KINDS

__all__ = ["counts_repeats", "predict_parts", "score_parts", "score_table", "threshold_of_parts"]

FloatArray = npt.NDArray[np.float64]


def score_table(detector: Detector, data: Any, features: npt.NDArray[np.float32] | None = None) -> Batch:
    """Score and judge records that come all at once; raises as `Detector.score_samples`.

    `features` are theirs (rows, features) before scaling, where they are there already.
    """
    frame = to_frame(data)
    if features is None:
        return _scored(detector, frame, None, None)[0]
    return _judged(detector, frame, detector.preprocessor.extend(frame)[0], features, None, None)


def score_parts(
    detector: Detector,
    parts: Iterable[Any],
    progress: Callable[[int], object] | None = None,
    *,
    threshold: float | None = None,
) -> Iterator[Batch]:
    """Score and judge records that come in parts; one part at a time is held.

    Text is read by what training found out about each column, so scores are those of all records at once, bit for bit.
    One thing does depend on the parts: copies are looked for among the records of a part and those of the training
    (`Repeats`), so that a copy that falls into another part than what it copies is not seen; see `counts_repeats`.

    Parameters
    ----------
    detector : Detector
        A fitted one.
    parts : iterable of tables
        Taken one by one as scores are asked for; what `to_frame` takes, with the columns of the training.
    progress : callable, optional
        Called with the number of records scored so far, after each part.
    threshold : float, optional
        That of all records, where `threshold_of_parts` has told it already; else it is asked first.

    Raises
    ------
    DataError
        As `Detector.score_samples`; the message names the rows of the part, counted from 1 over all parts. After the
        last part, where a column that always held numbers or dates holds something else in all parts.
    """
    cut = threshold_of_parts(detector, parts) if threshold is None else threshold
    done = 0
    readable: set[str] = set()
    unreadable: dict[str, str] = {}
    for part in parts:
        place = f"The part from row {done + 1:,}"
        try:
            frame = to_frame(part)
            place = f"Rows {done + 1:,} to {done + len(frame):,}"
            found, report = _scored(detector, frame, done, cut)
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
        names = detector.preprocessor.schema_.names()
        readable.update(name for name in names if report.has_values(name))
        unreadable = {**report.unreadable, **unreadable}
        done += len(frame)
        if progress is not None:
            progress(done)
        yield found
        # Else they would be held while the next part is read.
        del part, frame, found, report
    for name, message in unreadable.items():
        if name not in readable:
            raise DataError(message)


def predict_parts(
    detector: Detector,
    parts: Iterable[Any],
    threshold: float = 0.0,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[npt.NDArray[np.int64], FloatArray]]:
    """Predictions and decision scores of records that come in parts; see `AnomalyDetectionAPI.predict_batches`."""
    detector.require_fitted()
    if hasattr(parts, "columns") or isinstance(parts, (Mapping, np.ndarray, str, bytes)) or not _iterable(parts):
        raise DataError(
            f"predict_batches takes an iterable of tables, got one {type(parts).__name__};"
            " give it to predict, or in a list."
        )
    rule = detector.threshold_rule
    if rule is not None and rule.needs_batch and iter(parts) is parts:
        raise DataError(
            f"The rule {type(rule).__name__} sets one threshold for all records together, so they are gone through"
            f" twice, which a {type(parts).__name__} cannot be; give a list of tables or read_chunks(path)."
        )
    return _predictions(detector, parts, threshold, progress)


def _iterable(parts: Any) -> bool:
    return hasattr(parts, "__iter__") or hasattr(parts, "__getitem__")


def _predictions(
    detector: Detector, parts: Iterable[Any], threshold: float, progress: Callable[[int], object] | None
) -> Iterator[tuple[npt.NDArray[np.int64], FloatArray]]:
    sample = ScoreSample()
    for scores, decisions in map(_found, score_parts(detector, parts, progress)):
        sample.add(scores)
        yield np.where(decisions < threshold, -1, 1).astype(np.int64), decisions
    warn_of_drift(detector.calibration_, sample.scores)


def threshold_of_parts(
    detector: Detector, parts: Iterable[Any], progress: Callable[[int], object] | None = None
) -> float:
    """`Detector.cut` for all records together; the parts are gone through only where the rule `needs_batch`.

    Raises and calls `progress` as `score_parts`.
    """
    own = float(detector.model.offset_)
    rule = detector.threshold_rule
    if rule is None or not rule.needs_batch:
        return own
    scored = score_parts(detector, parts, progress, threshold=own)
    return rule.cut_of_parts(scores for scores, _ in map(_found, scored))


def counts_repeats(detector: Detector) -> bool:
    """Whether scores depend on which records come together, because copies among them are counted."""
    return any(KINDS[source.kind].counted for source in detector.preprocessor.feature_sources_)


def _found(part: Batch) -> tuple[FloatArray, FloatArray]:
    """For `map`, which does not hold a part while the next is made, as a loop would."""
    return part.scores, part.decisions


def _scored(
    detector: Detector, frame: pd.DataFrame, first: int | None, threshold: float | None
) -> tuple[Batch, CleaningReport]:
    """Records as a batch by `threshold`, or by their own; a part of a larger table comes after `first` others."""
    features, extended, report = detector.extract(frame, first)
    return _judged(detector, frame, extended, features, first, threshold), report


def _judged(
    detector: Detector,
    frame: pd.DataFrame,
    extended: pd.DataFrame,
    features: npt.NDArray[np.float32],
    first: int | None,
    threshold: float | None,
) -> Batch:
    scores = detector.score_features(features)
    cut = detector.cut(scores) if threshold is None else threshold
    decisions = scores - cut
    rows = np.arange(len(frame), dtype=np.int64) + 1 + (first or 0)
    return Batch(detector, rows, frame, extended, features, scores, cut, decisions, decisions < 0)
