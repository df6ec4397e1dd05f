"""``anomaly-detection train``: data in, models and a report out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_detection.cli.arguments import layout
from anomaly_detection.data.databases.sql_location import is_database, label_of
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.errors import DataError
from anomaly_detection.progress import listening
from anomaly_detection.reports.console import note, printable, progress_bar, result

if TYPE_CHECKING:
    import pandas as pd

    from anomaly_detection.cluster.sampling import Sample
    from anomaly_detection.data.columns.declarations import Declaration
    from anomaly_detection.data.columns.schema import Schema
    from anomaly_detection.training.train import TrainingResult

__all__ = ["COLUMNS_FILE", "run"]

COLUMNS_FILE = "columns.toml"
"""Beside the models: how each column was read."""

_RATIO = 0.05
_SAMPLES = 10_000
_LIKE_LABELS = frozenset({"label", "labels", "is_anomaly", "anomaly"})


def run(arguments: argparse.Namespace) -> int:
    """Train and save, or only say what this machine has; raises the library's errors."""
    if arguments.check:
        result(_check())
        return 0
    _refuse_mixtures(arguments)
    _refuse_thresholds(arguments)
    from anomaly_detection.data.files import prepare_folder

    folder: Path = arguments.output
    # A folder that cannot be written is found out now and not after the training.
    prepare_folder(folder)
    trained, schema = _train(arguments)
    _save(trained, schema, folder)
    if arguments.data is not None:
        limit = trained.base.preprocessor.pair_limit
        if limit is not None:
            note(limit)
    from anomaly_detection.reports.tables import comparison_table

    result(comparison_table(trained.report), styled=True)
    if trained.comparison is not None:
        result(f"The model before and this one. {trained.comparison}")
    asked = "" if arguments.alerts_per_day is None else f" ({arguments.alerts_per_day:g} a day)"
    note(f"Threshold of the optimised model: {trained.report.optimized.rule_in_words}{asked}.")
    workers = f"--cluster {arguments.cluster}" if arguments.cluster else f"--workers {arguments.workers or 2}"
    result(_next(folder, arguments.data, workers))
    return 0


def _refuse_mixtures(arguments: argparse.Namespace) -> None:
    """Options that only make sense with, or without, a file of one's own."""
    if arguments.data is None:
        named = ("label", "timestamp", "id", "columns", "category", "number", "date", "ignore", "missing", "sample")
        given = [f"--{name}" for name in named if getattr(arguments, name)]
        if given:
            raise DataError(f"{given[0]} is for columns of your own records; give their file with --data.")
        if layout(arguments) != Layout():
            raise DataError(
                "--skip-rows, --no-header and --sheet are for your own records; give their file with --data."
            )
    else:
        given = [f"--{name}" for name in ("samples", "profile") if getattr(arguments, name) is not None]
        if given:
            raise DataError(f"{given[0]} is for synthetic records; leave it out with --data.")


def _refuse_thresholds(arguments: argparse.Namespace) -> None:
    """Ways to set the threshold that lack what they need."""
    if (arguments.false_alarm_cost is None) != (arguments.miss_cost is None):
        missing = "--miss-cost" if arguments.miss_cost is None else "--false-alarm-cost"
        raise DataError(f"The lowest cost needs both costs; give {missing} too.")
    if arguments.alerts_per_day is not None and arguments.timestamp is None:
        raise DataError("--alerts-per-day needs each record's time; name its column with --timestamp (and --data).")
    if arguments.miss_cost is not None and arguments.data is not None and arguments.label is None:
        raise DataError("The lowest cost needs labels; name their column with --label.")


def _threshold(arguments: argparse.Namespace, share: float) -> dict[str, Any]:
    """What was said of the threshold, as `training.train` takes it of this share of all records."""
    from anomaly_detection.calibration.thresholds import Conformal, LowestCost

    if arguments.false_discovery_rate is not None:
        if arguments.data is not None and arguments.label is None:
            note(
                "Without --label, anomalies among the calibration records raise all p-values: the false discovery rate"
                " is held, but only records more abnormal than those in the history alert."
            )
        return {"threshold": Conformal(arguments.false_discovery_rate)}
    if arguments.miss_cost is not None:
        return {"threshold": LowestCost(arguments.false_alarm_cost, arguments.miss_cost)}
    return {"alert_budget": None if arguments.alerts_per_day is None else arguments.alerts_per_day * share}


def _train(arguments: argparse.Namespace) -> tuple[TrainingResult, Schema]:
    """The models, and how the columns were read."""
    from anomaly_detection.cli.columns import columns_table
    from anomaly_detection.cli.partitions import all_scores
    from anomaly_detection.compression import Compression
    from anomaly_detection.data.columns.schema import infer_schema
    from anomaly_detection.model_files.persistence import load_detector
    from anomaly_detection.training.train import roles_like, train

    ratio = arguments.anomaly_ratio or _RATIO
    options: dict[str, Any] = {
        "anomaly_ratio": ratio,
        "backend": arguments.backend,
        "batch_size": arguments.batch_size or "auto",
        "seed": arguments.seed,
        "time_budget": arguments.time_budget,
        "compression": Compression(arguments.prune, arguments.quantize),
        "like": None if arguments.like is None else load_detector(arguments.like),
    }
    schema: Schema | None = None
    sample: Sample | None = None
    if arguments.data is None:
        from anomaly_detection.synthetic import generate

        profile = arguments.profile or "classic"
        data = generate(profile, arguments.samples or _SAMPLES, anomaly_ratio=ratio, seed=arguments.seed)
        if not (data.labels == -1).any():
            raise DataError(
                f"{len(data)} records at an anomaly ratio of {ratio} hold no anomaly;"
                " give more --samples or a larger --anomaly-ratio."
            )
        frame = data.frame
        options |= {"labels": data.labels, "anomaly_types": data.anomaly_types, "source": profile}
    else:
        frame, sample = _records(arguments)
        frame, labels, said = _declared(frame, arguments)
        like = roles_like(options["like"], frame)
        schema = infer_schema(frame, like | {name: one.over(like.get(name)) for name, one in said.items()})
        options |= {
            "labels": labels,
            "timestamp": arguments.timestamp,
            "identifiers": arguments.id,
            "roles": schema,
            "source": _source(arguments.data),
        }
    options |= _threshold(arguments, 1.0 if sample is None else len(frame) / sample.of_rows)
    _announce(len(frame), options["source"], arguments)
    if schema is not None:
        note(f"{columns_table(schema, frame)}\n")
    latest = "data"
    with progress_bar() as show:

        def progress(stage: str, fraction: float, message: str) -> None:
            nonlocal latest
            latest = stage
            show(stage, fraction, message)

        with (
            listening(lambda fraction, message: show(latest, fraction, message)),
            nullcontext() if sample is None else all_scores(arguments, sample, show) as scores,
        ):
            trained = train(frame, **options, all_scores=scores, progress=progress)
    return trained, schema or trained.base.preprocessor.schema_


def _records(arguments: argparse.Namespace) -> tuple[pd.DataFrame, Sample | None]:
    """The records to learn from; and, of many files, what they are a sample of."""
    from anomaly_detection.cluster.store import is_whole_table
    from anomaly_detection.data.chunks import read_table

    if arguments.sample is None and is_whole_table(str(arguments.data)):
        return read_table(arguments.data, note, layout(arguments)), None
    from anomaly_detection.cli.partitions import sample

    found = sample(arguments)
    return found.frame, found


def _declared(
    frame: pd.DataFrame, arguments: argparse.Namespace
) -> tuple[pd.DataFrame, pd.Series[Any] | None, dict[str, Declaration]]:
    """The records without their labels, the labels, and what was said of the columns."""
    from anomaly_detection.cli.columns import declarations_of

    said = declarations_of(arguments, list(frame.columns))
    if arguments.label is None:
        for name in frame.columns:
            if name.lower() in _LIKE_LABELS and name not in said:
                note(f"Column {name!r} is used as data. If it says which records are anomalies, add --label {name}.")
        return frame, None, said
    labels = frame[arguments.label]
    # A blank cell of a CSV file is text; as a label it is a missing one.
    return frame.drop(columns=arguments.label), labels.mask(labels.astype(str).str.strip() == ""), said


def _source(data: Path | str) -> str:
    """What to call the records, without secrets of a URL."""
    if data == Path("-"):
        return "standard input"
    return label_of(data) if is_database(data) else str(data).rpartition("/")[2]


def _announce(rows: int, source: str, arguments: argparse.Namespace) -> None:
    from mlx_iforest import BackendUnavailableError, choose_backend

    try:
        backend = choose_backend(arguments.backend)
    except BackendUnavailableError as error:
        raise DataError(str(error)) from error
    note(f"Training on {rows:,} records ({printable(source)}), backend {backend.name}: {backend.reason}.")


def _save(trained: TrainingResult, schema: Schema, folder: Path) -> None:
    """Write the whole set, then put it in the place of the old one; the report last, for it tells of the models."""
    from anomaly_detection.data.columns.declarations import toml_of
    from anomaly_detection.data.files import replacing_all
    from anomaly_detection.model_files.joblib_file import native_part
    from anomaly_detection.model_files.persistence import FILES, save_detector
    from anomaly_detection.reports.report import REPORT_FILES, write_report

    with replacing_all(folder, REPORT_FILES) as new:
        for key, files in FILES.items():
            detector = getattr(trained, key)
            save_detector(detector, new / files.joblib, new / files.preprocessor)
            # The same bytes, made once.
            (new / files.native).write_bytes(native_part((new / files.joblib).read_bytes(), files.joblib))
        (new / COLUMNS_FILE).write_text(toml_of(schema.columns), encoding="utf-8")
        report = replace(trained.report, files={key: files._asdict() for key, files in FILES.items()})
        write_report(new, report, trained.curves, trained.overview)


def _next(folder: Path, data: Path | str | None, workers: str = "") -> str:
    from anomaly_detection.cluster.store import is_whole_table
    from anomaly_detection.model_files.persistence import FILES

    model = folder / FILES["optimized"].native
    # A URL of a database may have a password in it.
    records = "FILE" if data in (None, Path("-")) or is_database(data) else _quoted(data)
    how = "--top 20" if data is None or is_whole_table(str(data)) else f"--output scored {workers}"
    return (
        f"Saved in {folder}{os.sep}: {model.name} and {FILES['base'].native}, the same as .joblib for other programs,"
        f" {COLUMNS_FILE}, report.json, pictures and {folder / 'report.html'}, to open first.\n"
        f"Next, judge records: {_command_line()} score {_quoted(model)} {records} {how}"
    )


def _command_line() -> str:
    """What to type for this command line in this folder: by name where the path has it, else by its place."""
    import shutil
    import sysconfig

    script = shutil.which("anomaly-detection", path=sysconfig.get_path("scripts"))
    if script is None:
        return f"{_quoted(Path(sys.executable))} -m anomaly_detection"
    if shutil.which("anomaly-detection") == script:
        return "anomaly-detection"
    place, here = Path(script), Path.cwd()
    # A name without a folder would be looked for on the path.
    return _quoted(place.relative_to(here) if here in place.parent.parents else place)


def _quoted(path: Path | str) -> str:
    import shlex

    return shlex.quote(str(path))


def _check() -> str:
    """What was detected, for people."""
    import psutil

    from mlx_iforest import __version__, describe_system

    system, memory = describe_system(), psutil.virtual_memory()
    lines = [
        f"mlx-iforest {__version__}, Python {system['python']}, {system['machine']}",
        f"{psutil.cpu_count()} CPUs, {memory.total / 1e9:.1f} GB of memory, {memory.available / 1e9:.1f} GB of it free",
    ]
    for name, found in system["backends"].items():
        if isinstance(found, Mapping):
            found = "available (" + ", ".join(f"{what} {_amount(what, value)}" for what, value in found.items()) + ")"
        lines.append(f"backend {name}: {found}")
    auto = system["auto"]
    lines.append(f"backend auto picks {auto['name']}: {auto['reason']}")
    if system["gpu_pays"] is not None:
        lines.append(f"backend auto takes the GPU from: {system['gpu_pays']}")
    return "\n".join(lines)


def _amount(what: str, value: object) -> str:
    return f"{value / 1e9:.1f} GB" if "memory" in what and isinstance(value, int) and value >= 10**6 else str(value)
