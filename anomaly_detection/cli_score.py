"""``anomaly-detection score``: judge the records of a file with a saved model."""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import pandas as pd

from .calibration import severity
from .console import note, printable, result, table
from .detector import Detector
from .drift import find_drift
from .frames import check_target, read_table, write_table
from .persistence import load_detector
from .schema import Role

__all__ = ["run"]

_PRINTED = 20
_IDENTIFIERS = 2


def run(arguments: argparse.Namespace) -> int:
    """Score, then write the records or print the worst; raises the library's errors."""
    if arguments.output is not None:
        check_target(arguments.output)
    detector = load_detector(arguments.model)
    frame = read_table(arguments.data).reset_index(drop=True)
    raw = detector.score_samples(frame)
    scores = raw - detector.cut(raw)
    p_values = detector.p_values(raw)
    judged = pd.DataFrame(
        {"anomaly_score": scores, "severity": severity(p_values), "p_value": p_values, "is_anomaly": scores < 0}
    )
    if not detector.calibration.unseen:
        note("The p-values are from the records that the model was trained on, so they are too small for new ones.")
    drift = find_drift(detector.calibration_, raw)
    if drift is not None and drift.matters:
        note(str(drift))
    alerts = int((scores < 0).sum())
    counted = f"{alerts:,} {'alert' if alerts == 1 else 'alerts'} in {len(frame):,} {_records(len(frame))}"
    worst = np.argsort(scores, kind="stable")
    if arguments.output is not None:
        rows = np.arange(len(frame)) if arguments.top is None else worst[: arguments.top]
        explained = rows if arguments.top is not None else np.flatnonzero(scores < 0)
        write_table(_judged(detector, frame, judged, rows, explained), arguments.output)
        note(f"{arguments.output}: {len(rows):,} {_records(len(rows))} written; {counted}")
        return 0
    rows = worst[: arguments.top or min(alerts, _PRINTED)]
    if rows.size:
        result(_printed(detector, frame, judged, rows))
    elsewhere = "; --output FILE writes them all" if alerts > len(rows) else ""
    note(f"{counted}{elsewhere}")
    return 0


def _judged(
    detector: Detector,
    frame: pd.DataFrame,
    judged: pd.DataFrame,
    rows: npt.NDArray[np.int64],
    explained: npt.NDArray[np.int64],
) -> pd.DataFrame:
    """The `rows` of `frame` with what was found; a reason for those that are among the `explained`."""
    reasons = np.full(len(frame), "", dtype=object)
    reasons[explained] = _reasons(detector, frame, explained)
    return frame.assign(**judged, reason=reasons).iloc[rows]


def _printed(detector: Detector, frame: pd.DataFrame, judged: pd.DataFrame, rows: npt.NDArray[np.int64]) -> str:
    schema = detector.preprocessor.schema_
    identifiers = [name for name in schema.names(Role.IDENTIFIER) if name in frame.columns][:_IDENTIFIERS]
    return table(
        [
            {
                "row": f"{row + 1}",
                **{name: printable(frame[name].iloc[row]) for name in identifiers},
                "score": f"{found.anomaly_score:.4f}",
                "severity": f"{found.severity:.0f}",
                "p_value": f"{found.p_value:.2g}",
                "alert": "yes" if found.is_anomaly else "no",
                "reason": printable(reason),
            }
            for row, found, reason in zip(
                rows.tolist(), judged.iloc[rows].itertuples(), _reasons(detector, frame, rows), strict=True
            )
        ],
        right=frozenset({"row", "score", "severity", "p_value"}),
    )


def _reasons(detector: Detector, frame: pd.DataFrame, rows: npt.NDArray[np.int64]) -> list[str]:
    if not rows.size:
        return []
    from .explanations import explain

    return [explanation.sentence for explanation in explain(detector, frame, rows.tolist())]


def _records(count: int) -> str:
    return "record" if count == 1 else "records"
