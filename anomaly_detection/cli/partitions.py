"""``score`` and ``train`` on many Parquet files, by processes of this machine or a Dask cluster."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from anomaly_detection.alerts.renderings import FOUND, free_names
from anomaly_detection.alerts.scoring import counts_repeats
from anomaly_detection.calibration.drift import find_drift
from anomaly_detection.cli.arguments import layout
from anomaly_detection.cluster.running import Workers, dask_cluster, local_workers, this_process
from anomaly_detection.cluster.sampling import Sample, sampled
from anomaly_detection.cluster.scoring import score_files
from anomaly_detection.cluster.settling import Settling
from anomaly_detection.cluster.surveying import Show
from anomaly_detection.data.databases.sql_location import is_database
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.errors import DataError
from anomaly_detection.reports.console import note, progress_bar

__all__ = ["all_scores", "sample", "score"]

_TOLD = 20
_SAMPLE = 200_000


def score(arguments: argparse.Namespace) -> int:
    """Judge the row groups of many files; 2 where some could not be. Raises the library's errors."""
    if arguments.output is None:
        raise DataError("--workers and --cluster write a folder of parts; name it with --output.")
    if is_database(arguments.data) or is_database(arguments.output):
        raise DataError("--workers and --cluster judge Parquet files into such; leave them out for a database.")
    for option, given in (("--top", arguments.top), ("--chunk-rows", arguments.chunk_rows)):
        if given is not None:
            raise DataError(f"{option} is for one file; leave it out with --workers and --cluster.")
    _refuse_layout(arguments)
    with progress_bar() as show:
        found = score_files(str(arguments.model), str(arguments.data), str(arguments.output), _workers(arguments), show)
    tally = found.tally
    if counts_repeats(found.detector):
        note(
            "Copies are looked for within a row group and in the training records; rows are judged beside those around"
            " them in it."
        )
    if found.kept:
        note(f"{found.kept:,} of {found.parts:,} parts were there already.")
    if not found.detector.calibration.unseen:
        note("The p-values are from the records that the model was trained on, so they are too small for new ones.")
    drift = find_drift(found.detector.calibration_, tally.sample())
    if drift is not None and drift.matters:
        note(str(drift))
    if unread := tally.unread.sentence():
        note(unread)
    moved = [f"{ours} as {free}" for ours, free in free_names(FOUND, found.columns).items() if ours != free]
    if moved:
        note(f"The records have columns of the same names, which stay; written are {', '.join(moved)}.")
    note(
        f"{arguments.output}: {found.parts:,} {'part' if found.parts == 1 else 'parts'} written; {tally.alerts:,}"
        f" {'alert' if tally.alerts == 1 else 'alerts'} in {tally.records:,} records"
    )
    for failure in found.failures[:_TOLD]:
        note(f"{failure.label} has no part: {failure.message}")
    if not found.failures:
        return 0
    more = len(found.failures) - _TOLD
    if more > 0:
        note(f"{more:,} more have none either.")
    note("The others are done. Mend these, and give the same command again: it judges what has no part.")
    return 2


def sample(arguments: argparse.Namespace) -> Sample:
    """The records to learn from, of many files; raises the library's errors."""
    if is_database(arguments.data):
        raise DataError("--sample is for Parquet files; of a database take a sample by its own query.")
    _refuse_layout(arguments)
    with progress_bar() as show:
        found = sampled(str(arguments.data), arguments.sample or _SAMPLE, arguments.seed, _workers(arguments), show)
    taken = min(found.count, found.of_rows)
    more = len(found.frame) - taken
    besides = f", and {more:,} more of levels that it has too seldom" if more else ""
    note(f"A sample of {taken:,} of {found.of_rows:,} records, by --seed {arguments.seed}{besides}.")
    return found


@contextmanager
def all_scores(arguments: argparse.Namespace, sample: Sample, show: Show) -> Iterator[Settling | None]:
    """Who scores all records that a sample is of, None where all were learned from; tells what could not be scored.

    Raises
    ------
    DataError
        Where the workers do not find the folder of the models.
    """
    if len(sample.frame) == sample.of_rows:
        yield None
        return
    settling = Settling(sample, arguments.output, _workers(arguments), show)
    if arguments.cluster:
        settling.refuse_other_folders()
    yield settling
    for failure in settling.failures[:_TOLD]:
        note(f"{failure.label} has no say in the threshold: {failure.message}")
    more = len(settling.failures) - _TOLD
    if more > 0:
        note(f"{more:,} more have none either.")


def _workers(arguments: argparse.Namespace) -> Workers:
    if arguments.cluster:
        return dask_cluster(arguments.cluster)
    return local_workers(arguments.workers) if arguments.workers else this_process()


def _refuse_layout(arguments: argparse.Namespace) -> None:
    if layout(arguments) != Layout():
        raise DataError("--skip-rows, --no-header and --sheet are for one file; Parquet files need none of them.")
