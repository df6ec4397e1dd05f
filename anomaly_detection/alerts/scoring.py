"""Records to batches of judged ones: a table at once, or parts of which one at a time is held."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.calibration.drift import ScoreSample, warn_of_drift
from anomaly_detection.data.columns.cleaning import CleaningReport, Readable
from anomaly_detection.data.columns.records import is_record
from anomaly_detection.data.columns.schema import CleanRecords, Role, Schema
from anomaly_detection.data.columns.table import Table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError
from anomaly_detection.features.kinds import KINDS
from anomaly_detection.trained_detector import TrainedDetector

__all__ = [
    "as_written",
    "counts_repeats",
    "may_hold_text",
    "predict_parts",
    "reading_as",
    "score_parts",
    "score_table",
    "threshold_of_parts",
]

FloatArray = npt.NDArray[np.float64]


def score_table(
    detector: TrainedDetector,
    data: Any,
    features: npt.NDArray[np.float32] | None = None,
    read: CleanRecords | None = None,
) -> Batch:
    """Score and judge records that come all at once; raises as `Detector.score_samples`.

    `features` are theirs (rows, features) before scaling, and `read` is what their cells say, where these are there
    already.
    """
    records = data if is_record(data) else to_frame(data)
    cells = records if read is None else read
    if features is None:
        features, extended, report = detector.extract(cells)
    else:
        extended, report = detector.preprocessor.prepare(cells)
    return _judged(detector, records, extended, report, features, None, None)


def score_parts(
    detector: TrainedDetector,
    parts: Iterable[Any],
    progress: Callable[[int], object] | None = None,
    *,
    threshold: float | None = None,
    first: int = 0,
    readable: Readable | None = None,
) -> Iterator[Batch]:
    """Score and judge records that come in parts; one part at a time is held.

    Text is read by what training found out about each column, so scores are those of all records at once, bit for bit.
    Where it may be written in forms that training did not have, the parts are gone through once before, to see what all
    of them say (`as_written`); parts that can be had only once each settle that for themselves.
    What looks at records that come together does depend on the parts (`counts_repeats`): copies are looked for among
    those of a part and of the training, a row is judged beside the rows around it in its part, a late date and a new
    level beside those of its part.

    Parameters
    ----------
    detector : TrainedDetector
        A fitted one.
    parts : iterable of tables
        Taken one by one as scores are asked for; what `to_frame` takes, with the columns of the training.
    progress : callable, optional
        Called with the number of records scored so far, after each part.
    threshold : float, optional
        That of all records, where `threshold_of_parts` has told it already, of a detector that `as_written` gave; else
        both are asked first.
    first : int, default 0
        How many records of the table come before these; rows are counted from there.
    readable : Readable, optional
        Is told what was read, where these are not all parts: its `Readable.refuse` is then the caller's to call.

    Raises
    ------
    DataError
        As `Detector.score_samples`; the message names the rows of the part, counted from 1 over all parts. After the
        last part, where a column that always held numbers or dates holds something else in all parts.
    """
    once = iter(parts) is parts
    if threshold is None:
        detector = as_written(detector, parts)
        threshold = threshold_of_parts(detector, parts)
    found_in = Readable() if readable is None else readable
    for before, frame in _frames(parts):
        start, done = first + before, first + before + len(frame)
        try:
            found = _scored(as_written(detector, [frame]) if once else detector, frame, start, threshold)
        except DataError as error:
            raise DataError(f"Rows {start + 1:,} to {done:,}: {error}") from error
        found_in.add(found.cleaning, detector.preprocessor.schema_.names())
        if progress is not None:
            progress(done)
        yield found
        # Else they would be held while the next part is read.
        del frame, found
    if readable is None:
        found_in.refuse()


def _frames(parts: Iterable[Any]) -> Iterator[tuple[int, pd.DataFrame]]:
    """Each part as a frame, and how many records were before it."""
    first = 0
    for part in parts:
        try:
            frame = to_frame(part)
        except DataError as error:
            raise DataError(f"The part from row {first + 1:,}: {error}") from error
        yield first, frame
        first += len(frame)
        # Else they would be held while the next part is read.
        del part, frame


def _until_odd(parts: Iterable[Any]) -> Iterator[pd.DataFrame]:
    """The parts before the first that cannot be read, of which scoring tells when it gets there."""
    frames = _frames(parts)
    while True:
        try:
            _, frame = next(frames)
        except (DataError, StopIteration):
            return
        yield frame
        del frame


def as_written(detector: TrainedDetector, parts: Iterable[Any]) -> TrainedDetector:
    """A detector that reads cells as these `parts` of a table, all together, are written; see `Schema.settled`.

    They are gone through, unless they can be had only once, or are of a file without text where it matters.
    """
    detector.require_fitted()
    schema: Schema = detector.preprocessor.schema_
    if iter(parts) is parts or not may_hold_text(schema, getattr(parts, "types", None)):
        return detector
    return reading_as(detector, schema.settled(_until_odd(parts)))


def reading_as(detector: TrainedDetector, settled: Schema) -> TrainedDetector:
    """A detector that reads cells by a schema that was `settled` from its own."""
    if settled is detector.preprocessor.schema_:
        return detector
    reads = copy.copy(detector)
    reads.preprocessor = copy.copy(detector.preprocessor)
    reads.preprocessor.schema_ = settled
    return reads


def may_hold_text(schema: Schema, types: Any) -> bool:
    """Whether numbers or dates may come as text, out of a file whose columns have these types of Arrow, if it has."""
    if types is None:
        return True
    import pyarrow.types

    names = set(schema.names(Role.NUMERIC, Role.TIMESTAMP))
    return any(field.name in names and not pyarrow.types.is_primitive(field.type) for field in types)


def predict_parts(
    detector: TrainedDetector,
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
    detector: TrainedDetector, parts: Iterable[Any], threshold: float, progress: Callable[[int], object] | None
) -> Iterator[tuple[npt.NDArray[np.int64], FloatArray]]:
    sample = ScoreSample()
    for scores, decisions in map(_found, score_parts(detector, parts, progress)):
        sample.add(scores)
        yield np.where(decisions < threshold, -1, 1).astype(np.int64), decisions
    warn_of_drift(detector.calibration_, sample.scores)


def threshold_of_parts(
    detector: TrainedDetector, parts: Iterable[Any], progress: Callable[[int], object] | None = None
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


def counts_repeats(detector: TrainedDetector) -> bool:
    """Whether scores depend on which records come together, because they are looked at beside each other."""
    kinds = {source.kind for source in detector.preprocessor.feature_sources_} & KINDS.keys()
    return any(KINDS[kind].counted for kind in kinds)


def _found(part: Batch) -> tuple[FloatArray, FloatArray]:
    """For `map`, which does not hold a part while the next is made, as a loop would."""
    return part.scores, part.decisions


def _scored(detector: TrainedDetector, records: Any, first: int | None, threshold: float | None) -> Batch:
    """Records as a batch by `threshold`, or by their own; a part of a larger table comes after `first` others."""
    features, extended, report = detector.extract(records, first)
    return _judged(detector, records, extended, report, features, first, threshold)


def _judged(
    detector: TrainedDetector,
    records: Any,
    extended: Table,
    report: CleaningReport,
    features: npt.NDArray[np.float32],
    first: int | None,
    threshold: float | None,
) -> Batch:
    scores = detector.score_features(features)
    cut = detector.cut(scores) if threshold is None else threshold
    decisions = scores - cut
    rows = np.arange(len(extended), dtype=np.int64) + 1 + (first or 0)
    return Batch(detector, rows, records, extended, features, scores, cut, decisions, decisions < 0, report)
