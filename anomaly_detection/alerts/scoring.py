"""Records that come in parts: scored as one table, of which one part at a time is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.calibration.drift import ScoreSample, warn_of_drift
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.schema import CleaningReport
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError, NotFittedError
from anomaly_detection.explain.explanations import Explanation, explain_features
from anomaly_detection.features.kinds import KINDS

__all__ = ["Scored", "counts_repeats", "cut_of_parts", "predict_parts", "score_frame", "score_parts"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Records with their scores, and what explaining them takes.

    Attributes
    ----------
    frame : pandas.DataFrame
        The records, with the index that they came with.
    extended : pandas.DataFrame
        What ``preprocessor.extend`` gave for them.
    features : ndarray of float32, shape (rows, features)
    scores : ndarray (rows,) float64
        Of ``Detector.score_samples``.
    """

    frame: pd.DataFrame
    extended: pd.DataFrame
    features: npt.NDArray[np.float32]
    scores: FloatArray

    def explain(
        self, detector: Detector, rows: npt.NDArray[np.int64], threshold: float, top: int = 3
    ) -> list[Explanation]:
        """Explain the records at the positions `rows`; scores below `threshold` are alerts (`Detector.cut`)."""
        return explain_features(detector, self.extended, self.features, rows, top, threshold)


def score_frame(detector: Detector, data: Any) -> Scored:
    """Score records that come all at once; raises as `Detector.score_samples`."""
    frame = to_frame(data)
    return _scored(detector, frame, None)[0]


def score_parts(
    detector: Detector, parts: Iterable[Any], progress: Callable[[int], object] | None = None
) -> Iterator[Scored]:
    """Score records that come in parts; one part at a time is held.

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

    Raises
    ------
    DataError
        As `Detector.score_samples`; the message names the rows of the part, counted from 1 over all parts. After the
        last part, where a column that always held numbers or dates holds something else in all parts.
    """
    done = 0
    readable: set[str] = set()
    unreadable: dict[str, str] = {}
    for part in parts:
        place = f"The part from row {done + 1:,}"
        try:
            frame = to_frame(part)
            place = f"Rows {done + 1:,} to {done + len(frame):,}"
            found, report = _scored(detector, frame, done)
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
    if not detector.is_fitted:
        raise NotFittedError("This detector is not trained yet; call fit, or load a trained one.")
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
    cut = cut_of_parts(detector, lambda: score_parts(detector, parts))
    sample = ScoreSample()
    for scores in map(_scores, score_parts(detector, parts, progress)):
        sample.add(scores)
        decisions = scores - cut
        yield np.where(decisions < threshold, -1, 1).astype(np.int64), decisions
    warn_of_drift(detector.calibration_, sample.scores)


def cut_of_parts(detector: Detector, parts: Callable[[], Iterable[Scored]]) -> float:
    """`Detector.cut` for the records that `parts` gives; called only where the rule `needs_batch`."""
    rule = detector.threshold_rule
    if rule is not None and rule.needs_batch:
        return rule.cut_of_parts(map(_scores, parts()))
    return float(detector.model.offset_)


def counts_repeats(detector: Detector) -> bool:
    """Whether scores depend on which records come together, because copies among them are counted."""
    return any(KINDS[source.kind].counted for source in detector.preprocessor.feature_sources_)


def _scores(part: Scored) -> FloatArray:
    """For `map`, which does not hold a part while the next is made, as a loop would."""
    return part.scores


def _scored(detector: Detector, frame: pd.DataFrame, first: int | None) -> tuple[Scored, CleaningReport]:
    if not detector.is_fitted:
        raise NotFittedError("This detector is not trained yet; call fit, or load a trained one.")
    extended, report = detector.preprocessor.extend(frame, first)
    features = detector.preprocessor.features_of(extended)
    scaled = np.asarray(detector.scaler.transform(features), dtype=np.float32)
    scores = np.asarray(detector.model.score_samples(scaled), dtype=np.float64)
    return Scored(frame, extended, features, scores), report
