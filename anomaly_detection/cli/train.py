"""``anomaly-detection train``: data in, models and a report out."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_detection.data.schema import Role
from anomaly_detection.errors import DataError
from anomaly_detection.progress import listening
from anomaly_detection.reports.console import note, printable, progress_bar, result

if TYPE_CHECKING:
    import pandas as pd

    from anomaly_detection.training.train import TrainingResult
    from anomaly_detection.training.training_report import DataReport

__all__ = ["run"]

_RATIO = 0.05
_SAMPLES = 10_000
_LIKE_LABELS = frozenset({"label", "labels", "is_anomaly", "anomaly"})
_NAMES_SHOWN = 6
_UNREAD_SHOWN = 5
_ROLES = {
    Role.NUMERIC: "numbers",
    Role.CATEGORICAL: "categories",
    Role.TIMESTAMP: "dates",
    Role.IDENTIFIER: "identifiers, not judged",
    Role.TEXT: "free text, not judged",
    Role.CONSTANT: "constant, not judged",
}


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
    trained = _train(arguments)
    _save(trained, folder)
    if arguments.data is not None:
        result(_understood(trained.report.data))
        limit = trained.base.preprocessor.pair_limit
        if limit is not None:
            note(limit)
    from anomaly_detection.reports.tables import comparison_table

    result(comparison_table(trained.report), styled=True)
    asked = "" if arguments.alerts_per_day is None else f" ({arguments.alerts_per_day:g} a day)"
    note(f"Threshold of the optimised model: {trained.report.optimized.parameters.rule_in_words}{asked}.")
    result(_next(folder, arguments.data))
    return 0


def _refuse_mixtures(arguments: argparse.Namespace) -> None:
    """Options that only make sense with, or without, a file of one's own."""
    if arguments.data is None:
        given = [f"--{name}" for name in ("label", "timestamp", "id") if getattr(arguments, name)]
        if given:
            raise DataError(f"{given[0]} names a column of your own records; give their file with --data.")
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


def _threshold(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said of the threshold, as `training.train` takes it."""
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
    return {"alert_budget": arguments.alerts_per_day}


def _train(arguments: argparse.Namespace) -> TrainingResult:
    from anomaly_detection.compression import Compression
    from anomaly_detection.model_files.persistence import load_detector
    from anomaly_detection.training.train import train

    ratio = arguments.anomaly_ratio or _RATIO
    options: dict[str, Any] = {
        "anomaly_ratio": ratio,
        "backend": arguments.backend,
        "batch_size": arguments.batch_size or "auto",
        "seed": arguments.seed,
        "time_budget": arguments.time_budget,
        "compression": Compression(arguments.prune, arguments.quantize),
        "like": None if arguments.like is None else load_detector(arguments.like),
        **_threshold(arguments),
    }
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
        frame, labels = _read(arguments)
        options |= {
            "labels": labels,
            "timestamp": arguments.timestamp,
            "identifiers": arguments.id,
            "source": arguments.data.name,
        }
    _announce(len(frame), options["source"], arguments)
    latest = "data"
    with progress_bar() as show:

        def progress(stage: str, fraction: float, message: str) -> None:
            nonlocal latest
            latest = stage
            show(stage, fraction, message)

        with listening(lambda fraction, message: show(latest, fraction, message)):
            return train(frame, **options, progress=progress)


def _read(arguments: argparse.Namespace) -> tuple[pd.DataFrame, pd.Series[Any] | None]:
    """The records without their labels, and the labels."""
    from anomaly_detection.data.frames import read_table

    frame = read_table(arguments.data, note)
    named = [("--label", arguments.label), ("--timestamp", arguments.timestamp)]
    named += [("--id", name) for name in arguments.id]
    used: dict[str, str] = {}
    for option, name in named:
        if name is None:
            continue
        if name not in frame.columns:
            raise DataError(f"{option}: {_unknown(name, list(frame.columns))}")
        if used.setdefault(name, option) != option:
            raise DataError(f"{option} and {used[name]} both name the column {name!r}; a column can be one of them.")
    if arguments.label is None:
        for name in frame.columns:
            if name.lower() in _LIKE_LABELS:
                note(f"Column {name!r} is used as data. If it says which records are anomalies, add --label {name}.")
        return frame, None
    labels = frame[arguments.label]
    # A blank cell of a CSV file is text; as a label it is a missing one.
    return frame.drop(columns=arguments.label), labels.mask(labels.astype(str).str.strip() == "")


def _unknown(name: str, columns: Sequence[str]) -> str:
    folded = {column.casefold(): column for column in columns}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    if near:
        return f"unknown column {name!r} (did you mean {folded[near[0]]!r}?)."
    return f"unknown column {name!r}; the columns are {', '.join(columns)}."


def _announce(rows: int, source: str, arguments: argparse.Namespace) -> None:
    from mlx_iforest import BackendUnavailableError, choose_backend

    try:
        backend = choose_backend(arguments.backend)
    except BackendUnavailableError as error:
        raise DataError(str(error)) from error
    note(f"Training on {rows:,} records ({printable(source)}), backend {backend.name}: {backend.reason}.")


def _save(trained: TrainingResult, folder: Path) -> None:
    """Write the whole set, then put it in the place of the old one; the report last, for it tells of the models."""
    from anomaly_detection.data.files import replacing_all
    from anomaly_detection.model_files.persistence import FILES, save_detector
    from anomaly_detection.reports.report import REPORT_FILES, write_report

    with replacing_all(folder, REPORT_FILES) as new:
        for key, files in FILES.items():
            detector = getattr(trained, key)
            save_detector(detector, new / files.native)
            save_detector(detector, new / files.joblib, new / files.preprocessor)
        report = replace(trained.report, files={key: files._asdict() for key, files in FILES.items()})
        write_report(new, report, trained.curves, trained.overview)


def _understood(data: DataReport) -> str:
    """What the columns were taken for, and what could not be read."""
    lines = [f"{data.columns} columns:"]
    for role, title in _ROLES.items():
        names = [printable(name) for name in data.schema.names(role)]
        if names:
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            lines.append(f"  {len(names)} {title}: {', '.join(names[:_NAMES_SHOWN])}{more}")
    for column in data.schema.columns:
        if column.is_opaque:
            lines.append(f"  {printable(column.name)} holds {column.reason}; they stay with their records")
    unread = {name: done.unread for name, done in data.cleaning.columns.items() if done.unread}
    by_count = sorted(unread, key=lambda name: -sum(unread[name].values()))
    for name in by_count[:_UNREAD_SHOWN]:
        most = max(unread[name], key=lambda text: unread[name][text])
        lines.append(
            f"  in {printable(name)}, {sum(unread[name].values()):,} values are words, such as"
            f" {printable(most)[:60]!r}; they count as missing for that reason"
        )
    return "\n".join(lines)


def _next(folder: Path, data: Path | None) -> str:
    from anomaly_detection.model_files.persistence import FILES

    model = folder / FILES["optimized"].native
    records = "FILE" if data is None else _quoted(data)
    return (
        f"Saved in {folder}{os.sep}: {model.name} and {FILES['base'].native}, the same as .joblib for other programs,"
        f" report.json, pictures and {folder / 'report.html'}, to open first.\n"
        f"Next, judge records: {_command_line()} score {_quoted(model)} {records} --top 20"
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


def _quoted(path: Path) -> str:
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
    return "\n".join([*lines, f"backend auto picks {auto['name']}: {auto['reason']}"])


def _amount(what: str, value: object) -> str:
    return f"{value / 1e9:.1f} GB" if "memory" in what and isinstance(value, int) and value >= 10**6 else str(value)
