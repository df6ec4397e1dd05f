"""Who judges a file of records from its path to a file of scores: we, and what others make of the same file.

Each trains once, and then reads, encodes, scores and writes in a process of its own, imports included:
``python -m benchmarks.file_peers NAME MODEL RECORDS SCORED``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import psutil

__all__ = ["FILE_PEERS", "FilePeer", "Run", "run"]

TREES = 100
_LOOK = 0.02
"""Seconds between two looks at a process's memory."""

IDENTIFIERS = ("order_id", "timestamp", "order_date", "ship_date", "delivery_date", "recorded_date")
"""Columns of the synthetic tables that a table of numbers and categories has no use for."""


@dataclass(frozen=True)
class FilePeer:
    """A way from a file to a file of scores.

    Attributes
    ----------
    name : str
    train : callable
        ``train(records, model)`` learns from a CSV file and leaves a model at a path.
    command : callable
        ``command(model, records, scored)`` gives the words of the process that is measured.
    gives : str
        What stands in the file that it writes.
    needs : sequence of str
        Modules, or programs after a ``$``, without which it is skipped.
    """

    name: str
    train: Callable[[Path, Path], None]
    command: Callable[[Path, Path, Path], list[str]]
    gives: str
    needs: Sequence[str] = ()

    def obstacle(self) -> str:
        """Why it cannot be run here; empty if it can."""
        for need in self.needs:
            found = shutil.which(need[1:]) if need.startswith("$") else find_spec(need)
            if not found:
                return f"{need.removeprefix('$')} is not installed"
        return ""


@dataclass(frozen=True)
class Run:
    """What a process took: seconds of the clock and of all cores, and the largest resident memory of it and of those
    that it started, in bytes."""

    seconds: float
    cpu_seconds: float
    peak: int


def run(words: Sequence[str], environment: dict[str, str] | None = None) -> Run:
    """Run a process to its end.

    Raises
    ------
    RuntimeError
        If it fails; with what it said.
    """
    with tempfile.TemporaryFile("w+") as said:
        began, peak = time.perf_counter(), 0
        process = subprocess.Popen(words, env=environment, stdout=said, stderr=said, cwd=Path(__file__).parents[1])
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, sum(map(_highest, [process.pid, *_started_by(process.pid)])))
            time.sleep(_LOOK)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(words)} failed: {said.read()}")
    return Run(seconds, used.ru_utime + used.ru_stime, peak)


def _started_by(process: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(process).children(recursive=True)]
    except psutil.Error:
        return []


def _highest(process: int) -> int:
    """The largest resident memory of a running process so far, in bytes; on systems that keep none, what it is now."""
    try:
        lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    except OSError:
        try:
            return int(psutil.Process(process).memory_info().rss)
        except psutil.Error:
            return 0
    # What the system says when a process has ended counts its parent's memory too, from before the program began.
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _train_ours(records: Path, model: Path) -> None:
    from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
    from anomaly_detection.data.chunks import read_table

    AnomalyDetectionAPI(seed=0).fit(read_table(records)).save_model(model.with_suffix(".safetensors"))


def _our_command(model: Path, records: Path, scored: Path) -> list[str]:
    words = ["score", str(model.with_suffix(".safetensors")), str(records), "--output", str(scored)]
    return [sys.executable, "-m", "anomaly_detection", *words]


def _command_of(name: str) -> Callable[[Path, Path, Path], list[str]]:
    def command(model: Path, records: Path, scored: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.file_peers", name, str(model), str(records), str(scored)]

    return command


def _train_sklearn(records: Path, model: Path) -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import IsolationForest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    frame = pd.read_csv(records)
    used = frame.columns.difference(list(IDENTIFIERS), sort=False)
    numbers = frame[used].select_dtypes("number").columns
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    parts = make_column_transformer((encoder, list(used.difference(numbers))), ("passthrough", list(numbers)))
    joblib.dump(make_pipeline(parts, IsolationForest(n_estimators=TREES, random_state=0)).fit(frame), model)


def _score_sklearn(model: Path, records: Path, scored: Path) -> None:
    frame, pipeline = pd.read_csv(records), joblib.load(model)
    # Its scoring uses one thread unless joblib is told otherwise.
    with joblib.parallel_config("threading", n_jobs=-1):
        scores = pipeline.score_samples(frame)
    frame.assign(anomaly_score=scores).to_csv(scored, index=False)


def _train_ydf(records: Path, model: Path) -> None:
    import ydf

    used = [name for name in pd.read_csv(records, nrows=1).columns if name not in IDENTIFIERS]
    learner = ydf.IsolationForestLearner(features=used, num_trees=TREES, subsample_count=256, random_seed=0)
    learner.train(f"csv:{records}", verbose=0).save(str(model))


def _score_ydf(model: Path, records: Path, scored: Path) -> None:
    import ydf

    scores = ydf.load_model(str(model)).predict(f"csv:{records}")
    pd.DataFrame({"anomaly_score": scores}).to_csv(scored, index=False)


def _h2o() -> Any:
    import h2o

    h2o.init(nthreads=-1)
    h2o.no_progress()
    return h2o


def _train_h2o(records: Path, model: Path) -> None:
    h2o = _h2o()
    from h2o.estimators import H2OIsolationForestEstimator

    frame = h2o.import_file(str(records))
    used = [name for name in frame.columns if name not in IDENTIFIERS]
    forest = H2OIsolationForestEstimator(ntrees=TREES, sample_size=256, seed=1)
    forest.train(x=used, training_frame=frame)
    model.mkdir(exist_ok=True)
    Path(h2o.save_model(forest, path=str(model), force=True)).rename(model / "forest")
    h2o.cluster().shutdown()


def _score_h2o(model: Path, records: Path, scored: Path) -> None:
    h2o = _h2o()
    frame = h2o.import_file(str(records))
    found = h2o.load_model(str(model / "forest")).predict(frame)
    h2o.export_file(frame.cbind(found), str(scored), force=True)
    h2o.cluster().shutdown()


FILE_PEERS = (
    FilePeer(
        "mlx-iforest",
        _train_ours,
        _our_command,
        "all columns, score, severity, p-value, verdict, reasons of the alerts",
    ),
    FilePeer("scikit-learn", _train_sklearn, _command_of("scikit-learn"), "all columns as pandas read them, score"),
    FilePeer("YDF", _train_ydf, _command_of("YDF"), "the score alone", ("ydf",)),
    FilePeer("H2O", _train_h2o, _command_of("H2O"), "all columns as H2O read them, score", ("h2o", "$java")),
)
_SCORERS = {"scikit-learn": _score_sklearn, "YDF": _score_ydf, "H2O": _score_h2o}


if __name__ == "__main__":
    name, *paths = sys.argv[1:]
    _SCORERS[name](*map(Path, paths))
