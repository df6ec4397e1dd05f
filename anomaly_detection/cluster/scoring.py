"""Many Parquet files to a folder of judged parts: what is still to be done, by whatever workers there are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow.parquet as pq

from anomaly_detection.calibration.thresholds import Conformal
from anomaly_detection.cluster.judging import DIGEST, TALLY, Job, judge, model_of, ranks
from anomaly_detection.cluster.manifest import Manifest
from anomaly_detection.cluster.partition import Failure, FileFacts, Partition, look_at
from anomaly_detection.cluster.running import Workers, outcomes
from anomaly_detection.cluster.store import Store, absolute, matching
from anomaly_detection.cluster.surveying import Show, in_order, read_as_written
from anomaly_detection.cluster.tally import Tally
from anomaly_detection.data.files import reason
from anomaly_detection.data.formats.parquet_files import explained
from anomaly_detection.errors import DataError, without_passwords
from anomaly_detection.trained_detector import TrainedDetector

__all__ = ["Judged", "score_files"]

_FOOTERS = 16


@dataclass(frozen=True)
class Judged:
    """What came of it.

    Attributes
    ----------
    detector : TrainedDetector
        What judged.
    tally : Tally
        Of all parts that are there.
    parts, kept : int
        How many are there, and how many of them an earlier run had made.
    failures : list of Failure
        The files and partitions that have no part, in order.
    columns : sequence of str
        Of the records of the first file.
    """

    detector: TrainedDetector
    tally: Tally
    parts: int
    kept: int
    failures: list[Failure]
    columns: Sequence[str]


def score_files(model: str, data: str, output: str, workers: Workers, show: Show) -> Judged:
    """Judge the records of Parquet files, each row group by itself, and write each as a part.

    Parts depend on the files, the model and where they lie in the listing, never on the workers. Those that are there
    already, of the same model and the same files, are kept.

    Parameters
    ----------
    model : str
        Path or URL of a model's file that all workers can read.
    data : str
        A folder, a pattern such as ``folder/*.parquet``, or a URL that fsspec knows.
    output : str
        A folder, or a URL of one: new, empty, or of an earlier run.
    workers : Workers
        Who judges.
    show : callable
        Is told the stage, the share of it that is done, and a message.

    Raises
    ------
    DataError, ModelFileError
        Where nothing can be judged at all; what is wrong with single files and partitions is in `Judged.failures`.
    """
    model = absolute(model)
    detector, model_digest = model_of(model)
    store, entries = matching(data)
    target = Store(absolute(output))
    if f"{target.location}/".startswith(f"{store.location}/") and absolute(data).rpartition("/")[0] != store.location:
        raise DataError(f"{output} lies within {data}, so parts would be read as records; give a folder elsewhere.")
    facts, failures = look_at(store, entries)
    partitions = [one for found in facts for one in found.partitions]
    if not (partitions or failures):
        raise DataError(f"The files of {data} have no rows; expected at least one record.")
    manifest = Manifest(without_passwords(absolute(data)), model_digest, partitions)
    before = Manifest.of(target)
    manifest.refuse_other(before, target.location)
    job = Job(model, model_digest, store.location, target.location)
    job = read_as_written(job, detector, facts, workers, show)
    job = _threshold(job, detector, facts, workers, show)
    try:
        target.remove_unfinished()
        manifest.write(target)
        done = _kept(target, job, partitions)
        kept = len(done)
        waiting = [one for one in partitions if one not in done]
        for one, outcome in outcomes(partial(judge, job), waiting, workers, _label):
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                done[one] = outcome
            show("score", (len(done) + len(failures)) / len(partitions), f"{len(done):,} of {len(partitions):,} parts")
        # What another run at the same time has made is as good.
        theirs = _kept(target, job, [one for one in partitions if one not in done])
        failures = [failure for failure in failures if failure.label not in {one.label for one in theirs}]
        done |= theirs
        # Those of files that have gone or changed, and of what could not be judged this time.
        target.remove_unfinished()
        _remove_old(target, {one.part for one in done}, before, manifest)
    except OSError as error:
        raise DataError(f"Cannot write into the folder {target.location}: {reason(error)}.") from error
    columns = facts[0].types.names if facts else ()
    tally = Tally()
    for one in partitions:
        if one in done:
            tally.merge(done[one])
    if not failures:
        tally.readable.refuse()
    return Judged(detector, tally, len(done), kept, sorted(failures, key=lambda failure: failure.label), columns)


def _threshold(job: Job, detector: TrainedDetector, facts: Sequence[FileFacts], workers: Workers, show: Show) -> Job:
    """The job with the threshold of all records, where that is not the model's own."""
    rule = detector.threshold_rule
    if not isinstance(rule, Conformal) or rule.calibration_ is None:
        return job
    counts = np.zeros(rule.calibration_.scores.size + 1, dtype=np.int64)
    lowest = np.inf
    for one in in_order(ranks, job, facts, workers, show, "threshold"):
        counts[one.places] += one.counts
        lowest = min(lowest, one.lowest)
    return replace(job, threshold=rule.cut_of_counts(counts, lowest)) if counts.any() else job


def _label(partition: Partition) -> str:
    return partition.label


def _kept(target: Store, job: Job, partitions: Sequence[Partition]) -> dict[Partition, Tally]:
    """The partitions whose parts are there already, as they would be made now, and what was counted."""
    there = {entry.name for entry in target.entries()}
    known = [one for one in partitions if one.part in there]

    def counted(one: Partition) -> Tally | None:
        try:
            with target.opened(one.part) as raw, explained(one.part), pq.ParquetFile(raw) as file:
                notes = file.metadata.metadata or {}
        except DataError:
            return None  # it is judged again, and takes this one's place
        if notes.get(DIGEST.encode()) != job.digest(one).encode():
            return None
        return Tally.from_json(notes[TALLY.encode()].decode())

    with ThreadPoolExecutor(_FOOTERS) as pool:
        found = list(pool.map(counted, known))
    return {one: tally for one, tally in zip(known, found, strict=True) if tally is not None}


def _remove_old(target: Store, made: set[str], before: Manifest | None, manifest: Manifest) -> None:
    named = {one.part for one in [*manifest.partitions, *(before.partitions if before else ())]}
    target.remove([entry.name for entry in target.entries() if entry.name in named - made])
