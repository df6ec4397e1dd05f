"""``anomaly-detection score``: judge the records of a file with a saved model, all at once or in chunks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly_detection.ahead import ahead
from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.batch import Batch
from anomaly_detection.alerts.headline import Headline
from anomaly_detection.alerts.observing import TableDrift, can_watch
from anomaly_detection.alerts.renderings import FOUND, as_columns, free_names, shown
from anomaly_detection.alerts.scoring import as_written, counts_repeats, score_parts, score_table, threshold_of_parts
from anomaly_detection.calibration.column_drift import in_words
from anomaly_detection.calibration.drift import ScoreSample, find_drift
from anomaly_detection.cli.arguments import layout
from anomaly_detection.data.chunks import Chunks, read_chunks
from anomaly_detection.data.columns.cleaning import Unreadable
from anomaly_detection.data.databases.sql_location import is_database, label_of, refuse_same_table
from anomaly_detection.data.files import refuse_same
from anomaly_detection.data.table_writer import check_target, table_writer
from anomaly_detection.errors import DataError
from anomaly_detection.model_files.persistence import load_trained
from anomaly_detection.reports.console import note, printable, progress_bar, result, table
from anomaly_detection.trained_detector import TrainedDetector

__all__ = ["batches", "run"]

_PRINTED = 20
_PRINTED_COLUMNS = ("row", "severity", "reason")


def run(arguments: argparse.Namespace) -> int:
    """Score, then write the records or print the worst; raises the library's errors."""
    if arguments.workers or arguments.cluster:
        from anomaly_detection.cli.partitions import score

        return score(arguments)
    for place in (arguments.model, arguments.data, arguments.output):
        if isinstance(place, str) and (place is arguments.model or not is_database(place)):
            raise DataError(
                f"{place} is a URL; --workers N or --cluster ADDRESS judges the Parquet files that are there."
            )
    if arguments.output is not None:
        refuse_same(
            arguments.output, {"the file with the records": arguments.data, "the model's file": arguments.model}
        )
        refuse_same_table(arguments.output, arguments.data)
        check_target(arguments.output)
    detector = load_trained(arguments.model)
    chunks = read_chunks(arguments.data, arguments.chunk_rows, note, layout(arguments))
    in_chunks = arguments.chunk_rows is not None or not chunks.is_small
    if in_chunks:
        note(_how(chunks, detector))
    with progress_bar() as show:
        count = _Count(drift=TableDrift(detector) if can_watch(detector) else None)
        records = count.through(batches(detector, chunks, in_chunks, "score", show))
        if arguments.output is None:
            worst, _ = _worst(records, arguments.top or _PRINTED)
        elif arguments.top is None:
            written = _write_all(records, arguments.output, chunks)
        else:
            worst, columns = _worst(records, arguments.top)
            written = len(worst)
            with table_writer(arguments.output, chunks.types) as write:
                write(columns)
    if not detector.calibration.unseen:
        note("The p-values are from the records that the model was trained on, so they are too small for new ones.")
    drift = find_drift(detector.calibration_, count.sample.scores)
    told = [str(drift)] if drift is not None and drift.matters else []
    if count.drift is None:
        note("Whether columns changed is not known: the model is from before this was kept; train again to be told.")
    elif changes := count.drift.drifts():
        told.append(in_words(changes))
    if told:
        note(" ".join(told))
    if unread := count.unread.sentence():
        note(unread)
    alerts = count.alerts
    counted = f"{alerts:,} {'alert' if alerts == 1 else 'alerts'} in {count.records:,} {_records(count.records)}"
    if arguments.output is not None:
        moved = [f"{ours} as {free}" for ours, free in count.names.items() if ours != free]
        if moved:
            note(f"The records have columns of the same names, which stay; written are {', '.join(moved)}.")
        note(f"{label_of(arguments.output)}: {written:,} {_records(written)} written; {counted}")
        return 0
    printed = worst if arguments.top else worst[:alerts]
    if printed:
        result(_printed(printed, Headline.of(detector)))
    elsewhere = "; --output FILE writes them all" if alerts > len(printed) else ""
    note(f"{counted}{elsewhere}")
    return 0


def _how(chunks: Chunks, detector: TrainedDetector) -> str:
    together = (
        "; copies are looked for within a chunk and in the training records, rows judged beside those around them"
    )
    return (
        f"About {chunks.about_rows:,} records, scored in chunks of {chunks.rows:,} (--chunk-rows)"
        f"{together if counts_repeats(detector) else ''}."
    )


def batches(
    detector: TrainedDetector, chunks: Chunks, in_chunks: bool, stage: str, show: Callable[[str, float, str], None]
) -> Iterator[Batch]:
    """The judged records of a file, chunk by chunk or all at once; `show` is told of the stage."""
    if not in_chunks:
        yield score_table(detector, chunks.whole().reset_index(drop=True))
        return

    def telling(stage: str) -> Callable[[int], None]:
        return lambda done: show(
            stage, min(1.0, done / chunks.about_rows), f"{done:,} of about {chunks.about_rows:,} records"
        )

    detector = as_written(detector, chunks)
    threshold = threshold_of_parts(detector, chunks, telling("threshold"))
    # Reasons and writing take as long as reading and scoring.
    yield from ahead(score_parts(detector, chunks, telling(stage), threshold=threshold))


@dataclass
class _Count:
    """What is to be said of all records that went through."""

    records: int = 0
    alerts: int = 0
    drift: TableDrift | None = None
    sample: ScoreSample = field(default_factory=ScoreSample)
    unread: Unreadable = field(default_factory=Unreadable)
    names: dict[str, str] = field(default_factory=dict)
    """Under which name each of `FOUND` stands beside the records' own columns."""

    def through(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.records += len(batch)
            self.alerts += int(batch.is_alert.sum())
            self.sample.add(batch.scores)
            if self.drift is not None:
                self.drift.add(batch)
            self.unread.add(batch.cleaning, batch.detector.preprocessor.schema_.known_words())
            self.names = free_names(FOUND, batch.frame.columns)
            yield batch
            # Else it would be held while the next chunk is read.
            del batch


def _write_all(batches: Iterable[Batch], target: Path | str, chunks: Chunks) -> int:
    """Write all records in their order, with reasons for the alerts; gives their number."""
    written = 0
    with table_writer(target, chunks.types) as write:
        for batch in batches:
            places = np.flatnonzero(batch.is_alert)
            write(as_columns(batch, places, batch.sentences(places), whole=True))
            written += len(batch)
            del batch
    return written


def _worst(batches: Iterable[Batch], count: int) -> tuple[list[Alert], pd.DataFrame]:
    """The `count` most abnormal records with reasons, worst first, of equal ones the earlier first; also as columns."""
    worst: list[Alert] = []
    columns = pd.DataFrame()
    for batch in batches:
        ranked = batch.most_abnormal(count)
        before = np.array([alert.decision for alert in worst])
        order = np.argsort(np.concatenate([before, batch.decisions[ranked]]), kind="stable")[:count]
        # Reasons cost most, so only those who get onto the list are given one.
        entering = ranked[order[order >= len(before)] - len(before)]
        if entering.size:
            alerts = batch.at(entering)
            described = as_columns(batch, entering, [alert.sentence for alert in alerts], whole=False)
            columns = pd.concat([columns, described]) if worst else described
            worst += alerts
            kept = np.argsort([alert.decision for alert in worst], kind="stable")[:count]
            worst, columns = [worst[place] for place in kept], columns.iloc[kept]
            del alerts, described
        del batch
    return worst, columns


def _printed(alerts: Sequence[Alert], headline: Headline) -> str:
    """The records by what a person knows them by, how far out they are, and why."""
    own = [name for name in headline.columns if name in alerts[0].record]
    row, severity, reason = free_names(_PRINTED_COLUMNS, own).values()
    return table(
        [
            {
                row: f"{one.row}",
                **{name: printable(shown(one.record[name])) for name in own},
                severity: f"{one.severity:.0f}",
                reason: printable(one.sentence),
            }
            for one in alerts
        ],
        right=frozenset({row, severity, headline.amount or row}),
    )


def _records(count: int) -> str:
    return "record" if count == 1 else "records"
