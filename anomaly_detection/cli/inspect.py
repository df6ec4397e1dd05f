"""`anomaly-detection inspect`: what a model file holds, for people or as JSON."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from anomaly_detection.calibration.rule_words import rule_words
from anomaly_detection.errors import ModelFileError
from anomaly_detection.model_files.inspection import inspect_model
from anomaly_detection.reports.console import printable, result, result_as_json
from anomaly_detection.reports.figures import count, number, percent, seconds, size

__all__ = ["run"]

_ROLES = {
    "numeric": ("number", "numbers"),
    "categorical": ("category", "categories"),
    "timestamp": ("date", "dates"),
    "constant": ("constant", "constants"),
}
_NAMES_SHOWN = 6
_DIGITS = 12  # of a hash; enough to compare by eye


def run(arguments: argparse.Namespace) -> int:
    """Inspect, then print; raises the library's errors."""
    found = inspect_model(arguments.model)
    if arguments.json:
        result_as_json(found)
        return 0
    try:
        text = _aligned(_told(found))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{arguments.model} says of its training what no training run says; --json shows what."
        ) from error
    result(text)
    return 0


def _told(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A head and what there is to say, for each line."""
    which = {"base": ", the base model", "optimized": ", the optimised model"}.get(found["training"].get("model"), "")
    yield "model", printable(found["file"]["path"]) + which
    yield from _trained(found["training"])
    yield "columns", _columns(found["columns"])
    seen, made = len(found["features"]["seen"]), found["features"]["made"]
    names = _some([printable(name) for name in found["features"]["seen"]])
    yield "features", f"{made} made of them" + ("" if seen == made else f", of which the forest sees {seen}: {names}")
    yield "forest", _forest(found["forest"])
    yield "alerts", _alerts(found["threshold"])
    yield "p-values", _calibration(found["calibration"])
    if measured := _measured(found["training"]):
        yield "measured", measured
    yield "size", _size(found)
    yield "runs here", _backend(found["backend"])


def _trained(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not training:
        yield "trained", "the file does not say when or on what"
        return
    data, split = training.get("data") or {}, training.get("split") or {}
    labels = "with labels" if data.get("labelled") else "without labels"
    source = printable(data.get("source") or "records")
    digest = (data.get("fingerprint") or {}).get("sha256")
    told = f", SHA-256 {printable(digest)[:_DIGITS]}..." if digest else ""
    yield "trained on", f"{count(data['rows'])} records ({source}), {labels}{told}" if "rows" in data else source
    facts = {
        "created": lambda when: printable(when).replace("T", " ").replace("+00:00", " UTC"),
        "version": lambda version: f"by mlx-iforest {printable(version)}",
        "seed": lambda seed: f"seed {seed:d}",
        "fit_seconds": lambda took: f"in {seconds(took)}",
    }
    known = [tell(training[fact]) for fact, tell in facts.items() if training.get(fact) is not None]
    yield "trained", ", ".join(known) or "the file does not say when"
    if split.get("train"):
        how = f"by {printable(split['time_column'])}" if split.get("time_column") else "at random"
        parts = f"{count(split['train'])} records to learn from, {count(split['validation'])} to set the threshold by"
        then = "; then refit on all records after the figures were measured" if training.get("refit") else ""
        yield "split", f"{parts}, {count(split['test'])} to measure on, {how}{then}"


def _columns(columns: list[Mapping[str, str]]) -> str:
    named = {role: [printable(one["name"]) for one in columns if one["role"] == role] for role in _ROLES}
    told = [f"{len(names)} {_ROLES[role][len(names) != 1]} ({_some(names)})" for role, names in named.items() if names]
    others = [f"{printable(one['name'])} ({one['role']})" for one in columns if one["role"] not in _ROLES]
    return "; ".join([*told, *([f"not judged: {_some(others)}"] if others else [])])


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _forest(forest: Mapping[str, Any]) -> str:
    text = f"{forest['kind']}: {count(forest['trees'])} trees of {count(forest['samples'])} records at most,"
    text += f" {count(forest['nodes'])} nodes, {forest['depth']} levels of splits"
    made = ["oblique splits"] if forest["oblique"] else []
    made += ["pruned"] if forest["pruned"] else []
    made += [f"quantised to {forest['quantized_bits']} bits"] if forest["quantized_bits"] else []
    return ", ".join([text, *made])


def _alerts(threshold: Mapping[str, Any]) -> str:
    why = rule_words(threshold["rule"], threshold["parameters"])
    if threshold["by_batch"]:
        return f"each batch has its own threshold, {why}; a record by itself alerts below {number(threshold['score'])}"
    return f"records with a score below {number(threshold['score'])}, {why}"


def _calibration(calibration: Mapping[str, Any] | None) -> str:
    if calibration is None:
        return "none: the model came without the scores that they are read from"
    which = (
        "that the model had not seen" if calibration["unseen"] else "that it was trained on: too small for new records"
    )
    what = "normal records" if calibration["labelled"] else "records"
    return f"by the scores of {count(calibration['scores'])} {what} {which}"


def _measured(training: Mapping[str, Any]) -> str | None:
    rows = (training.get("split") or {}).get("test")
    if not rows or training.get("alerts") is None:
        return None
    text = f"{count(training['alerts'])} alerts in {count(rows)} records ({percent(training['alerts'] / rows)})"
    if training.get("accuracy") is None:
        return f"{text}; without labels nothing says how many are right"
    names = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
    known = [f"{name} {percent(training[key])}" for key, name in names.items() if training.get(key) is not None]
    areas = {"roc_auc": "ROC AUC", "average_precision": "average precision"}
    known += [f"{name} {number(training[key])}" for key, name in areas.items() if training.get(key) is not None]
    return f"{text}: {', '.join(known)}"


def _size(found: Mapping[str, Any]) -> str:
    file, forest = found["file"], found["forest"]
    version = f", of mlx-iforest {printable(file['library_version'])}" if file["library_version"] else ""
    stored = f", {size(forest['stored_bytes'])} in the file" if forest["stored_bytes"] < forest["bytes"] else ""
    return (
        f"{size(file['bytes'])} as {file['format']} (format version {file['format_version']}{version});"
        f" about {size(found['memory_bytes'])} in memory, of it the forest {size(forest['bytes'])}{stored}"
    )


def _backend(backend: Mapping[str, Any]) -> str:
    if backend["name"] is None:
        return f"nowhere: {printable(backend['reason'])}"
    best = backend["best"]
    elsewhere = best["name"] != backend["name"]
    also = f"; 'auto' would take {best['name']}: {printable(best['reason'])}" if elsewhere else ""
    asked = backend["asked_for"] != "auto"
    why = "the model was made for it by name" if asked and elsewhere else printable(best["reason"])
    return f"on {backend['name']}: {why}{also}"


def _aligned(lines: Iterator[tuple[str, str]]) -> str:
    """Heads and texts in two columns, the second wrapped on a terminal."""
    told = list(lines)
    indent = max(len(head) for head, _ in told) + 2
    width = max(shutil.get_terminal_size().columns, indent + 30) if sys.stdout.isatty() else None
    wrapped = []
    for head, text in told:
        whole = f"{head:<{indent}}{text}"
        wrapped += textwrap.wrap(whole, width, subsequent_indent=" " * indent) if width else [whole]
    return "\n".join(wrapped)
