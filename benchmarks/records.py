"""From a raw record to a verdict: one by itself, with reasons, a frame of them, training, whole processes, and files.

Beside it what scikit-learn's parts make of the same table: categories as numbers, and an isolation forest, which says
neither why nor how rare, and knows no dates.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.schema import Role, infer_schema
from anomaly_detection.synthetic import generate
from benchmarks.file_peers import FILE_PEERS, FilePeer, Run, run
from benchmarks.harness import Result, Table, Timing, interleaved, machine, options, save, versions

PROFILES = ("classic", "realistic")
TRAINED = 10_000
RECORDS = 200
SHORTEST = 0.2
"""Seconds that one timing takes at least."""

GOALS = {"classic": (0.3, 2.3), "SCMS": (0.5, 2.5)}
"""Milliseconds of a record, and of one with reasons."""

RATE_GOAL = 250_000
PROCESS_GOALS = {"--version": 0.1, "inspect": 0.5, "score of 1,000 records": 1.0, "the same, nothing compiled": 5.0}
"""Seconds of whole processes of the command line."""

FILE_RECORDS, HISTORY = 1_000_000, 20_000
FILE_GOAL = (100_000, 1000)
"""Records a second from file to scored file, and megabytes."""

PARTS = ("records", "processes", "files")
FILE_HEADINGS = ("file", "who", "records a second", "seconds", "CPU us a record", "peak MB", "writes")
HEADINGS = ("table", "one record, ms", "with reasons, ms", "frame, records a second", "training, s")
DATA = Path(__file__).parent.parent / "shared" / "data"

Frame = pd.DataFrame


def for_peer(frame: Frame) -> tuple[Frame, list[str], list[str]]:
    """The table as scikit-learn takes it, numbers and texts without gaps, and its categories and numbers."""
    schema = infer_schema(frame)
    categories, numbers = schema.names(Role.CATEGORICAL), schema.names(Role.NUMERIC)
    read = schema.clean(frame)[0]
    return pd.concat([read[categories].astype(str), read[numbers].fillna(0.0)], axis=1), categories, numbers


def peer(read: Frame, categories: list[str], numbers: list[str]) -> Pipeline:
    """scikit-learn's pipeline, fitted."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    parts = make_column_transformer((encoder, categories), ("passthrough", numbers))
    return make_pipeline(parts, IsolationForest(n_estimators=100, random_state=0)).fit(read)


class Judge:
    """A fitted model of a table, and what is timed of it."""

    def __init__(self, frame: Frame) -> None:
        read = for_peer(frame)
        self.frame, self.api, self.read, self.peer = frame, AnomalyDetectionAPI(seed=0).fit(frame), read[0], peer(*read)
        rows = np.random.default_rng(0).integers(0, len(frame), RECORDS)
        self.records = [frame.iloc[row].to_dict() for row in rows]
        self.alerts = [record for record in self.records if self.api.alerts(record)] or self.records[:1]
        self.of_peer = [self.read.iloc[row : row + 1] for row in rows]
        self._next = 0

    def one(self, judge: Callable[[Any], object], records: list[Any]) -> None:
        """Judge the next of some records."""
        self._next += 1
        judge(records[self._next % len(records)])

    def tasks(self) -> dict[str, Callable[[], object]]:
        """What is timed, by its name."""
        score = self.api.detector.score_samples
        return {
            "one": partial(self.one, self.api.detect_anomaly, self.records),
            "reasons": partial(self.one, self.api.alerts, self.alerts),
            "frame": partial(score, self.frame),
            "peer one": partial(self.one, self.peer.score_samples, self.of_peer),
            "peer frame": partial(self.peer.score_samples, self.read),
        }


def trained(frame: Frame, repeats: int) -> dict[str, Timing]:
    """How long training takes, ours and the peer's."""
    ours = partial(AnomalyDetectionAPI(seed=0).fit, frame)
    return interleaved({"fit": ours, "peer fit": partial(peer, *for_peer(frame))}, repeats=repeats)


def row_of(name: str, timings: dict[str, Timing], rows: int, prefix: str) -> list[str]:
    """A line of the table."""
    one, frame, fit = (timings[f"{prefix}{what}"].median for what in ("one", "frame", "fit"))
    reasons = "-" if prefix else f"{1e3 * timings['reasons'].median:.2f}"
    return [name, f"{1e3 * one:.2f}", reasons, f"{rows / frame:,.0f}", f"{fit:.1f}"]


def processes(frame: Frame, repeats: int) -> dict[str, float]:
    """Seconds of whole processes of the command line, medians."""
    with tempfile.TemporaryDirectory() as folder:
        model, table = Path(folder) / "model.safetensors", Path(folder) / "new.csv"
        AnomalyDetectionAPI(seed=0).fit(frame).save_model(model)
        frame.head(1_000).to_csv(table, index=False)
        score = ["score", str(model), str(table), "--output", str(Path(folder) / "scored.csv")]
        found = {}
        for name, words in zip(PROCESS_GOALS, (["--version"], ["inspect", str(model)], score, score), strict=True):
            times = []
            for i in range(repeats + 1):
                environment = dict(os.environ)
                # Who installs has modules as bytecode; else each process would compile all that it imports.
                environment.pop("PYTHONDONTWRITEBYTECODE", None)
                if name.endswith("compiled"):
                    environment["NUMBA_CACHE_DIR"] = str(Path(folder) / f"empty {i}")
                times.append(run([sys.executable, "-m", "anomaly_detection", *words], environment).seconds)
            # The first pays for caches.
            found[name] = float(np.median(times[1:]))
    return found


def drawn(profile: str, history: int, records: int) -> tuple[Frame, Frame]:
    """Records to learn from, and others to judge, of one world.

    Each draw of `realistic` has a demand and suppliers of its own: of another one's records a fifth alert.
    """
    frame = generate(profile, history + records, seed=7).frame
    is_history = np.zeros(len(frame), dtype=bool)
    is_history[np.random.default_rng(0).choice(len(frame), history, replace=False)] = True
    return frame[is_history], frame[~is_history]


def files(profile: str, records: int, repeats: int, only: list[str]) -> tuple[list[list[str]], dict[str, Any]]:
    """From a file to a scored file, everyone on the same one: rows of the table, and what each run took.

    All train on the same history; each run is a process of its own, all contestants once a round.
    """
    rows, measured = [], {}
    with tempfile.TemporaryDirectory() as folder:
        history, new = Path(folder) / "history.csv", Path(folder) / "new.csv"
        learned, frame = drawn(profile, min(HISTORY, records), records)
        learned.to_csv(history, index=False)
        frame.to_csv(new, index=False)
        shape, size = f"{profile}, {len(frame):,} x {frame.shape[1]}", new.stat().st_size
        del learned, frame
        wanted = [peer for peer in FILE_PEERS if not only or any(one in peer.name for one in only)]
        obstacles = {peer.name: peer.obstacle() for peer in wanted}
        able = [peer for peer in wanted if not obstacles[peer.name]]
        for peer in able:
            # In a process of its own, so that nothing stays loaded.
            run([sys.executable, "-c", _TRAIN.format(peer=peer.name, history=str(history), model=_model(folder, peer))])
        runs: dict[str, list[Run]] = {peer.name: [] for peer in able}
        for _ in range(repeats):
            for peer in able:
                scored = Path(folder) / f"scored by {peer.name}.csv"
                runs[peer.name].append(run(peer.command(Path(_model(folder, peer)), new, scored)))
                written = sum(1 for _ in scored.open("rb")) - 1
                if written != records:
                    raise RuntimeError(f"{peer.name} wrote {written:,} records of {records:,}")
        for peer in wanted:
            if why := obstacles[peer.name]:
                rows.append([shape, peer.name, f"skipped: {why}", "-", "-", "-", peer.gives])
                continue
            took = runs[peer.name]
            seconds = float(np.median([one.seconds for one in took]))
            cpu = float(np.median([one.cpu_seconds for one in took]))
            peak = max(one.peak for one in took)
            rate = [f"{records / seconds:,.0f}", f"{seconds:.1f}", f"{1e6 * cpu / records:.1f}", f"{peak / 1e6:,.0f}"]
            rows.append([shape, peer.name, *rate, peer.gives])
            measured[peer.name] = [asdict(one) for one in took]
            print(*rows[-1], sep=" | ", flush=True)
    return rows, {"records": records, "bytes": size, "runs": measured}


_TRAIN = """
import warnings
from pathlib import Path
from benchmarks.file_peers import FILE_PEERS

warnings.simplefilter("ignore")
next(peer for peer in FILE_PEERS if peer.name == {peer!r}).train(Path({history!r}), Path({model!r}))
"""


def _model(folder: str, peer: FilePeer) -> str:
    return str(Path(folder) / f"model of {peer.name}")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("records", __doc__)
    parser.add_argument("--rows", type=int, default=FILE_RECORDS, help="records of the files (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured (all)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    chosen = parser.parse_args(arguments)
    here, size = machine(), 600 if chosen.quick else TRAINED
    made = {name: generate(name, size, seed=1).frame for name in PROFILES}
    frames = dict(made) if "records" in chosen.parts else {}
    real = sorted(chosen.data.glob("scms/*.csv"))
    if frames and real and not chosen.quick:
        frames["SCMS"] = read_table(real[0])
    rows, measured = [], {}
    for name, frame in frames.items():
        timings = interleaved(Judge(frame).tasks(), repeats=chosen.repeats, shortest=0.0 if chosen.quick else SHORTEST)
        timings |= trained(frame, 1 if chosen.quick else min(chosen.repeats, 3))
        shown = f"{name} ({len(frame):,} x {frame.shape[1]})"
        rows += [row_of(shown, timings, len(frame), ""), row_of(f"{shown}, scikit-learn", timings, len(frame), "peer ")]
        measured[name] = {what: timing.seconds for what, timing in timings.items()}
        print(*rows[-2:], sep="\n", flush=True)
    goals = "; ".join(f"{name}: {one} ms, {reasons} with reasons" for name, (one, reasons) in GOALS.items())
    goal = f"Goals: {goals}; {RATE_GOAL:,} records a second; training SCMS 2 s."
    tables = [Table("Records", HEADINGS, rows, goal)] if rows else []
    took: dict[str, float] = {}
    repeats = 1 if chosen.quick else min(chosen.repeats, 3)
    if "processes" in chosen.parts:
        took = processes(made["classic"], repeats)
        lines = [[name, f"{seconds:.2f}", f"{PROCESS_GOALS[name]:.1f}"] for name, seconds in took.items()]
        tables.append(Table("Whole processes", ["command", "seconds", "goal"], lines))
    scored: dict[str, Any] = {}
    if "files" in chosen.parts:
        lines = []
        for name in PROFILES:
            of_file, scored[name] = files(name, 600 if chosen.quick else chosen.rows, repeats, chosen.only)
            lines += of_file
        goal = f"Goal: {FILE_GOAL[0]:,} records a second below {FILE_GOAL[1]:,} MB."
        tables.append(Table("From a file to a scored file", FILE_HEADINGS, lines, goal))
    about = (
        "From a raw record to a verdict, everything warm, medians. *One record* is a dict through `detect_anomaly`;"
        " *with reasons* one that is an alert through `alerts`; *frame* is `score_samples` of the table in memory;"
        " training is `AnomalyDetectionAPI.fit`. scikit-learn's pipeline (OrdinalEncoder, IsolationForest of 100 trees)"
        " is given numbers and categories that were read already, and frames of one row; it gives a score and nothing"
        " else. *Files*: each contestant learned from the same 20,000 records of the same draw; a run is a process of"
        " its own, which loads its model, reads the file, encodes, scores and writes. Others leave dates and"
        " identifiers out, keep no character of a number, give no reason and no p-value, look at no record beside"
        " another; YDF writes its scores alone. Memory is that of the process and of those that it starts, as H2O's"
        " Java."
    )
    result = Result(
        "Records",
        about,
        "python -m benchmarks.records",
        tables,
        {"seconds": measured, "processes": took, "files": scored},
        here,
        versions(["numpy", "pandas", "pyarrow", "numba", "scikit-learn", "ydf", "h2o"]),
    )
    print(f"written to {save('records', result, chosen.output)}")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
