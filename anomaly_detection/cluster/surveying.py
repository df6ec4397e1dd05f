"""What takes a look at all records before any is judged: how their cells are written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from anomaly_detection.alerts.scoring import may_hold_text
from anomaly_detection.cluster.judging import Job, evidence
from anomaly_detection.cluster.partition import Failure, FileFacts, Partition
from anomaly_detection.cluster.running import Workers, outcomes
from anomaly_detection.data.cells.conventions import Evidence
from anomaly_detection.trained_detector import TrainedDetector

__all__ = ["in_order", "read_as_written"]

Show = Callable[[str, float, str], object]


def read_as_written(
    job: Job, detector: TrainedDetector, facts: Sequence[FileFacts], workers: Workers, show: Show
) -> Job:
    """The job, to read text in columns of numbers or dates as all records together write it; most files have none."""
    schema = detector.preprocessor.schema_
    written = [found for found in facts if may_hold_text(schema, found.types)]
    if not written:
        return job
    found: dict[str, Evidence] = {}
    for part in in_order(evidence, job, written, workers, show, "reading"):
        for name, one in part.items():
            found.setdefault(name, Evidence()).merge(one)
    settled = schema.settled_by(found)
    if settled is schema:
        return job
    reading = hashlib.sha256(repr(settled.columns).encode()).hexdigest()
    return replace(job, evidence=found, reading=reading)


def in_order(
    task: Callable[[Job, Partition], Any],
    job: Job,
    facts: Sequence[FileFacts],
    workers: Workers,
    show: Show,
    stage: str,
) -> list[Any]:
    """What a task found in each partition, in their order, without those that failed: who judges tells of them."""
    partitions = [one for found in facts for one in found.partitions]
    found = {}
    for one, outcome in outcomes(partial(task, job), partitions, workers, _label):
        found[one] = outcome
        show(stage, len(found) / len(partitions), f"{len(found):,} of {len(partitions):,} parts")
    return [found[one] for one in partitions if not isinstance(found[one], Failure)]


def _label(partition: Partition) -> str:
    return partition.label
