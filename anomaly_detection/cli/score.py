"""``anomaly-detection score``: judge the records of a file with a saved model, all at once or in chunks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.scoring import Scored, counts_repeats, cut_of_parts, score_frame, score_parts
from anomaly_detection.calibration.drift import ScoreSample, find_drift
from anomaly_detection.calibration.p_values import severity
from anomaly_detection.data.files import refuse_same
from anomaly_detection.data.frames import Chunks, check_target, read_chunks, table_writer
from anomaly_detection.data.schema import Role
from anomaly_detection.detector import Detector
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.reports.console import note, printable, progress_bar, result, table

__all__ = ["passes", "run"]

_PRINTED = 20
_IDENTIFIERS = 2
_FOUND = ("anomaly_score", "severity", "p_value", "is_anomaly", "reason")
_PRINTED_COLUMNS = ("row", "score", "severity", "p_value", "alert", "reason")

Passes = Callable[[str], Iterable[Scored]]
"""Given the name of a stage, the file's records from its beginning."""


def run(arguments: argparse.Namespace) -> int:
    """Score, then write the records or print the worst; raises the library's errors."""
    if arguments.output is not None:
        refuse_same(
            arguments.output, {"the file with the records": arguments.data, "the model's file": arguments.model}
        )
        check_target(arguments.output)
    detector = load_detector(arguments.model)
    chunks = read_chunks(arguments.data, arguments.chunk_rows, note)
    in_chunks = arguments.chunk_rows is not None or not chunks.is_small
    if in_chunks:
        note(_how(chunks, detector))
    with progress_bar() as show:
        records = passes(detector, chunks, in_chunks, show)
        judge = _Judge(detector, cut_of_parts(detector, lambda: records("threshold")))
        if arguments.output is None:
            worst = _worst(judge, records("score"), arguments.top or _PRINTED)
        elif arguments.top is None:
            written = _write_all(judge, records("score"), arguments.output, chunks)
        else:
            worst = _worst(judge, records("score"), arguments.top)
            written = len(worst)
            with table_writer(arguments.output, chunks.types) as write:
                write(worst)
    if not detector.calibration.unseen:
        note("The p-values are from the records that the model was trained on, so they are too small for new ones.")
    drift = find_drift(detector.calibration_, judge.sample.scores)
    if drift is not None and drift.matters:
        note(str(drift))
    alerts = judge.alerts
    counted = f"{alerts:,} {'alert' if alerts == 1 else 'alerts'} in {judge.records:,} {_records(judge.records)}"
    if arguments.output is not None:
        moved = [f"{ours} as {free}" for ours, free in judge.names.items() if ours != free]
        if moved:
            note(f"The records have columns of the same names, which stay; written are {', '.join(moved)}.")
        note(f"{arguments.output}: {written:,} {_records(written)} written; {counted}")
        return 0
    printed = worst if arguments.top else worst.head(alerts)
    if len(printed):
        result(_printed(judge, printed))
    elsewhere = "; --output FILE writes them all" if alerts > len(printed) else ""
    note(f"{counted}{elsewhere}")
    return 0


def _how(chunks: Chunks, detector: Detector) -> str:
    copies = "; copies are looked for within a chunk and in the training records" if counts_repeats(detector) else ""
    return f"About {chunks.about_rows:,} records, scored in chunks of {chunks.rows:,} (--chunk-rows){copies}."


def passes(detector: Detector, chunks: Chunks, in_chunks: bool, show: Callable[[str, float, str], None]) -> Passes:
    """How to go through the scored records of a file: chunk by chunk, or all at once; their index counts from 0."""
    if not in_chunks:
        at_once = [score_frame(detector, chunks.whole().reset_index(drop=True))]
        return lambda stage: at_once

    def records(stage: str) -> Iterable[Scored]:
        def progress(done: int) -> None:
            show(stage, min(1.0, done / chunks.about_rows), f"{done:,} of about {chunks.about_rows:,} records")

        return score_parts(detector, chunks, progress)

    return records


@dataclass
class _Judge:
    """Judges records by a threshold, and keeps what is to be said of all of them."""

    detector: Detector
    cut: float
    records: int = 0
    alerts: int = 0
    sample: ScoreSample = field(default_factory=ScoreSample)
    names: dict[str, str] = field(default_factory=dict)
    """Under which name each of `_FOUND` stands beside the records' own columns."""

    def __call__(self, scored: Scored) -> pd.DataFrame:
        """What was found of each record, but for the reason."""
        scores = scored.scores - self.cut
        p_values = self.detector.p_values(scored.scores)
        self.records += len(scores)
        self.alerts += int((scores < 0).sum())
        self.sample.add(scored.scores)
        self.names = _free_names(_FOUND, scored.frame.columns)
        return pd.DataFrame(
            {"anomaly_score": scores, "severity": severity(p_values), "p_value": p_values, "is_anomaly": scores < 0},
            index=scored.frame.index,
        )


def _write_all(judge: _Judge, records: Iterable[Scored], target: Path, chunks: Chunks) -> int:
    """Write all records in their order, with reasons for the alerts; gives their number."""
    with table_writer(target, chunks.types) as write:
        for scored in records:
            judged = judge(scored)
            rows = np.arange(len(judged))
            write(_described(judge, scored, judged, rows, np.flatnonzero(judged["is_anomaly"])))
            # Else it would be held while the next chunk is read.
            del scored, judged
    return judge.records


def _worst(judge: _Judge, records: Iterable[Scored], count: int) -> pd.DataFrame:
    """The `count` most abnormal records with reasons, worst first, of equal ones the earlier first."""
    kept = pd.DataFrame()
    for scored in records:
        judged = judge(scored)
        scores = judged["anomaly_score"].to_numpy()
        ranked = np.argsort(scores, kind="stable")[:count]
        score = judge.names["anomaly_score"]
        before = kept[score].to_numpy() if len(kept) else np.empty(0)
        order = np.argsort(np.concatenate([before, scores[ranked]]), kind="stable")[:count]
        # Reasons cost most, so only those who get onto the list are given one.
        entering = ranked[order[order >= len(before)] - len(before)]
        if entering.size:
            described = _described(judge, scored, judged, entering, entering)
            kept = pd.concat([kept, described]) if len(kept) else described
            kept = kept.iloc[np.argsort(kept[score].to_numpy(), kind="stable")[:count]]
            del described
        del scored, judged
    return kept


def _described(
    judge: _Judge,
    scored: Scored,
    judged: pd.DataFrame,
    rows: npt.NDArray[np.int64],
    explained: npt.NDArray[np.int64],
) -> pd.DataFrame:
    """The `rows` of the records with what was found; a reason for those that are among the `explained`."""
    reasons = np.full(len(judged), "", dtype=object)
    reasons[explained] = [found.sentence for found in scored.explain(judge.detector, explained, judge.cut)]
    found = judged.assign(reason=reasons).rename(columns=judge.names)
    return scored.frame.assign(**found).iloc[rows]


def _free_names(ours: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Give each of our columns a name that the records do not have: its own, or one with ``scored_`` before it."""
    free = {}
    for name in ours:
        free[name] = name
        while free[name] in taken:
            free[name] = f"scored_{free[name]}"
    return free


def _printed(judge: _Judge, worst: pd.DataFrame) -> str:
    schema = judge.detector.preprocessor.schema_
    found = worst[list(judge.names.values())].set_axis(list(judge.names), axis=1)
    identifiers = [name for name in schema.names(Role.IDENTIFIER) if name in worst.columns][:_IDENTIFIERS]
    free = _free_names(_PRINTED_COLUMNS, identifiers)
    row, score, severity_, p_value, alert, reason = free.values()
    return table(
        [
            {
                row: f"{index + 1}",
                **{name: printable(record[name]) for name in identifiers},
                score: f"{one['anomaly_score']:.4f}",
                severity_: f"{one['severity']:.0f}",
                p_value: f"{one['p_value']:.2g}",
                alert: "yes" if one["is_anomaly"] else "no",
                reason: printable(one["reason"]),
            }
            for index, record, one in zip(worst.index, worst.to_dict("records"), found.to_dict("records"), strict=True)
        ],
        right=frozenset({row, score, severity_, p_value}),
    )


def _records(count: int) -> str:
    return "record" if count == 1 else "records"
