"""What a worker does with one partition: load the model once, judge, write a part, and say what it counted."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.alerts.renderings import as_columns
from anomaly_detection.alerts.scoring import reading_as, score_parts, score_table
from anomaly_detection.calibration.thresholds import Conformal
from anomaly_detection.cluster.partition import Failure, Partition, RowGroup
from anomaly_detection.cluster.store import Entry, Store, is_url
from anomaly_detection.cluster.tally import Tally
from anomaly_detection.data.cells.conventions import Evidence
from anomaly_detection.data.files import reason
from anomaly_detection.data.formats.parquet_files import ParquetWriter
from anomaly_detection.errors import AnomalyDetectionError, DataError
from anomaly_detection.model_files.persistence import load_trained
from anomaly_detection.trained_detector import TrainedDetector
from mlx_iforest.version import __version__

__all__ = ["DIGEST", "TALLY", "Job", "Ranks", "digest_of_model", "evidence", "judge", "judged", "model_of", "ranks"]

DIGEST, TALLY = "anomaly_detection.digest", "anomaly_detection.tally"
"""The notes in a part's footer: what it was made of, and what was counted."""


@dataclass(frozen=True)
class Job:
    """What is asked of all partitions; a few hundred bytes, for the model stays in its file.

    Attributes
    ----------
    model : str
        Path or URL of the model's file, which every worker can read.
    model_digest : str
        Its SHA-256: a worker that finds another file there refuses it.
    data, output : str
        The folders of the records and of the parts.
    evidence : mapping, optional
        How all records together are written (`Schema.evidence`), where that may differ from the training.
    reading : str
        The columns that follow from it, in digits of a digest.
    threshold : float, optional
        The score below which all of them alert, where it is not the model's own.
    """

    model: str
    model_digest: str
    data: str
    output: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    reading: str = ""
    threshold: float | None = None

    def digest(self, partition: Partition) -> str:
        """What a part is made of, in 64 hexadecimal digits: all that its bytes depend on."""
        made_of = (__version__, self.model_digest, self.reading, self.threshold, partition)
        return hashlib.sha256(repr(made_of).encode()).hexdigest()

    def detector(self) -> TrainedDetector:
        """The model, loaded once a process, to read records as all of them are written."""
        detector = _loaded(self.model, self.model_digest)
        if not self.evidence:
            return detector
        return reading_as(detector, detector.preprocessor.schema_.settled_by(self.evidence))


@dataclass(frozen=True)
class Ranks:
    """How many records of a partition have each of the possible p-values that occur, and the lowest score."""

    places: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    lowest: float


def judge(job: Job, partition: Partition) -> Tally | Failure:
    """Judge the records of a partition and write them as a part; gives counts, or what is wrong with the partition."""
    try:
        return _judge(job, partition)
    except AnomalyDetectionError as error:
        return Failure(partition.label, str(error))
    except OSError as error:
        return Failure(partition.label, reason(error))


def _judge(job: Job, partition: Partition) -> Tally:
    detector = job.detector()
    store = Store(job.data)
    group = RowGroup(store, partition)
    threshold = float(detector.model.offset_) if job.threshold is None else job.threshold
    tally = Tally()
    with Store(job.output).writing(partition.part) as file:
        writer = ParquetWriter(file, group.types)
        judging = score_parts(detector, group, threshold=threshold, first=partition.first, readable=tally.readable)
        for batch in judging:
            writer.write(_columns(batch))
            tally.add(batch)
            # Else it would be held while the next one is made.
            del batch
        writer.close({DIGEST: job.digest(partition), TALLY: tally.to_json()})
        if store.has_changed(Entry(partition.file, partition.version)):
            raise DataError("the file was changed meanwhile.")
    return tally


def judged(model: str | os.PathLike[str], frame: pd.DataFrame) -> pd.DataFrame:
    """Records with what was found as columns, by a model that is loaded once a process; for other tools' maps.

    As `judge`, but of a frame: cells are read as this frame alone is written, and a false discovery rate is that of it.

    Raises
    ------
    DataError, ModelFileError
        As `Detector.score_samples` and `load_detector`.
    """
    return _columns(score_table(_loaded(os.fspath(model), ""), frame))


def _columns(batch: Batch) -> pd.DataFrame:
    places = np.flatnonzero(batch.is_alert)
    return as_columns(batch, places, batch.sentences(places), whole=True)


def evidence(job: Job, partition: Partition) -> dict[str, Evidence] | Failure:
    """How the cells of a partition are written; one that cannot be read says nothing, and `judge` says why."""
    try:
        return job.detector().preprocessor.schema_.evidence(RowGroup(Store(job.data), partition))
    except DataError as error:
        return Failure(partition.label, str(error))
    except OSError as error:
        return Failure(partition.label, reason(error))


def ranks(job: Job, partition: Partition) -> Ranks | Failure:
    """What a false discovery rate needs to know of a partition; one that cannot be judged has no say in it."""
    try:
        detector = job.detector()
        rule = detector.threshold_rule
        assert isinstance(rule, Conformal)
        group = RowGroup(Store(job.data), partition)
        own = float(detector.model.offset_)
        counts, lowest = rule.counts(batch.scores for batch in score_parts(detector, group, threshold=own))
    except AnomalyDetectionError as error:
        return Failure(partition.label, str(error))
    except OSError as error:
        return Failure(partition.label, reason(error))
    places = np.flatnonzero(counts)
    return Ranks(places, counts[places], lowest)


def model_of(location: str) -> tuple[TrainedDetector, str]:
    """A model, and its file's digest; raises `ModelFileError` and `DataError`."""
    digest = digest_of_model(location)
    return _loaded(location, digest), digest


def digest_of_model(location: str) -> str:
    """The SHA-256 of a model's file; raises `DataError` where it cannot be read."""
    return hashlib.sha256(_bytes(location)).hexdigest()


@lru_cache(maxsize=2)
def _loaded(location: str, digest: str) -> TrainedDetector:
    """The model of a file whose digest is this one, unless it is empty."""
    if digest and digest_of_model(location) != digest:
        raise DataError(f"{location} is another model for this worker; give all workers the same file.")
    if not is_url(location):
        return load_trained(location)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / location.rpartition("/")[2]
        file.write_bytes(_bytes(location))
        return load_trained(file)


def _bytes(location: str) -> bytes:
    folder, _, name = location.rpartition("/")
    try:
        return Store(folder or "/").read(name)
    except OSError as error:
        raise DataError(f"{location} cannot be read: {reason(error)}.") from error
