"""The comparison table: base, optimised, scikit-learn's baseline and the oracle side by side."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anomaly_detection.reports.console import printable

__all__ = ["MODELS", "Comparison", "compare", "comparison_table"]

# The report's keys, in the order and with the names in which people see them.
MODELS = {"base": "base", "optimized": "optimised", "sklearn": "scikit-learn"}
ORACLE = "oracle"

_MISSING = "-"


@dataclass(frozen=True)
class Comparison:
    """The table's content as text, for any way of showing it.

    Attributes
    ----------
    columns : tuple of str
        Heads of the value columns, those of the models that the report holds.
    rows : tuple of (str, tuple of str)
        A row's name and its cells, as many as `columns`; "-" where there is no value.
    notes : tuple of str
        Sentences to print under the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def seconds(value: float) -> str:
    """Format a duration, e.g. ``420 ms``, ``1.24 s``."""
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.2f} s" if value < 100 else f"{value:,.0f} s"


def rate(value: float) -> str:
    """Format rows a second, e.g. ``370,000 /s``, ``1.62 M/s``."""
    return f"{value / 1e6:.2f} M/s" if value >= 999_500 else f"{value:,.0f} /s"


def size(value: float) -> str:
    """Format bytes in powers of 1000, e.g. ``12.3 MB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}" if value < 999.5 * factor else f"{value / factor:,.0f} {unit}"
    return f"{value:.0f} B"


def percent(value: float) -> str:
    """Format a share of 1, e.g. ``96.95 %``."""
    return f"{100 * value:.2f} %"


def number(value: float) -> str:
    """Format a score or an area, four decimals."""
    return f"{value:.4f}"


def count(value: float) -> str:
    """Format a count with thousands separators."""
    return f"{value:,.0f}"


_COST: dict[str, tuple[str, Callable[[float], str]]] = {
    "fit_seconds": ("Training time", seconds),
    "forest_fit_seconds": ("of it the forest", seconds),
    "score_rows_per_second": ("Scoring rate (rows)", rate),
    "forest_rows_per_second": ("the forest alone", rate),
    "peak_memory_bytes": ("Peak memory", size),
    "model_bytes": ("Model size", size),
    "threshold": ("Threshold", number),
}
_QUALITY: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("Accuracy", percent),
    "precision": ("Precision", percent),
    "recall": ("Recall", percent),
    "f1": ("F1", percent),
    "false_positive_rate": ("False-positive rate", percent),
    "roc_auc": ("ROC AUC", number),
    "average_precision": ("Average precision", number),
}
_ALERTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "alerts": ("Alerts", count),
    "alert_rate": ("Alert rate", percent),
    "agreement": ("Agreement with scikit-learn", percent),
}


def compare(report: Mapping[str, Any]) -> Comparison:
    """Lay a report's models side by side.

    Parameters
    ----------
    report : mapping
        What ``report.json`` holds (docs/design.md, "The report"). Models, the oracle and single values may be missing
        or None. A model may hold ``agreement``, the share of its alerts that scikit-learn's forest raises too
        (`anomaly_detection.evaluation.metrics.agreement`).

    Returns
    -------
    Comparison
        Without labels its rows are costs, alerts and agreement; with labels, the metrics and recall by type too.
    """
    columns = {key: dict(report[key]) for key in MODELS if trained(report, key)}
    names = [MODELS[key] for key in columns]
    n_test = _get(report, "split", "test")
    for values in columns.values():
        if n_test and values.get("alerts") is not None:
            values["alert_rate"] = values["alerts"] / n_test
    if report.get(ORACLE):
        columns[ORACLE] = dict(report[ORACLE])
        names.append(ORACLE)

    labelled = any(values.get("accuracy") is not None for values in columns.values())
    rows = [_row(title, key, show, columns) for key, (title, show) in _COST.items()]
    rows += [_row(title, key, show, columns) for key, (title, show) in _ALERTS.items()]
    if labelled:
        rows += [_row(title, key, show, columns) for key, (title, show) in _QUALITY.items()]
        rows += _recall_rows(columns)
    # A row that no model fills says nothing, but a gap in one column does.
    filled = [row for row in rows if any(cell != _MISSING for cell in row[1])]
    return Comparison(tuple(names), tuple(filled), tuple(_notes(report, labelled)))


def comparison_table(report: Mapping[str, Any], *, terminal: bool | None = None) -> str:
    """Draw the comparison for a terminal, or as plain text that is a Markdown table too.

    Parameters
    ----------
    report : mapping
        As for `compare`.
    terminal : bool, optional
        Whether to use colour and lines; by default, whether standard output is a terminal that can show them.

    Returns
    -------
    str
        At most 100 columns wide (narrower on a narrow terminal), ending in a newline.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if terminal is None:
        terminal = sys.stdout is not None and sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower()
    content = compare(report)
    buffer = io.StringIO()
    screen = Console()
    console = Console(
        file=buffer,
        width=max(60, min(100, screen.width)) if terminal else 100,
        force_terminal=terminal,
        color_system=(screen.color_system or None) if terminal else None,  # type: ignore[arg-type]
        no_color=screen.no_color,
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD if terminal else box.MARKDOWN, header_style="bold", pad_edge=not terminal)
    table.add_column("test part")
    for name in content.columns:
        table.add_column(name, justify="right", style="bold" if name == MODELS["optimized"] else "", no_wrap=True)
    for title, cells in content.rows:
        table.add_row(Text(printable(title)), *(Text(cell) for cell in cells))
    console.print(table)
    for note in content.notes:
        console.print(Text(printable(note)), soft_wrap=False)
    return "\n".join(line.rstrip() for line in buffer.getvalue().strip("\n").split("\n")) + "\n"


def trained(report: Mapping[str, Any], key: str) -> bool:
    """Say whether the report holds figures of a model, and not only why it was not trained."""
    return any((report.get(key) or {}).get(name) is not None for name in ("threshold", "fit_seconds", "accuracy"))


def always_normal_accuracy(report: Mapping[str, Any]) -> float | None:
    """Give the accuracy, in [0, 1], of calling every test record normal; None without labels."""
    for key in (*MODELS, ORACLE):
        table = (report.get(key) or {}).get("confusion_matrix")
        if table and sum(table.values()):
            return float((table["true_negative"] + table["false_positive"]) / sum(table.values()))
    ratio = _get(report, "data", "anomaly_ratio")
    return 1.0 - float(ratio) if ratio is not None and _get(report, "data", "labelled") else None


def _row(
    title: str, key: str, show: Callable[[float], str], columns: Mapping[str, Mapping[str, Any]]
) -> tuple[str, tuple[str, ...]]:
    cells = (values.get(key) for values in columns.values())
    return title, tuple(_MISSING if cell is None else show(cell) for cell in cells)


def _recall_rows(columns: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, tuple[str, ...]]]:
    recalls = {key: values.get("recall_by_type") or {} for key, values in columns.items()}
    types = dict.fromkeys(name for recall in recalls.values() for name in recall)  # in order, each once
    return [_row(f"Recall: {readable(name)}", name, percent, recalls) for name in types]


def readable(name: str) -> str:
    """Turn an identifier such as ``lead_time_delay`` into words."""
    return str(name).replace("_", " ").strip()


def _notes(report: Mapping[str, Any], labelled: bool) -> list[str]:
    notes = _forests(report)
    if (shift := _get(report, "split", "shift")) is not None:
        columns = ", ".join(f"{name} ({percent(distance)})" for name, distance in shift["columns"].items())
        notes.append(
            f"The optimised model flags {percent(shift['test_alert_rate'])} of the test part but "
            f"{percent(shift['validation_alert_rate'])} of the records before it: the test records differ from those, "
            f"most in {columns}. Train on records like those to be judged."
        )
    if (smaller := _get(report, "optimized", "compression")) is not None:
        notes.append(_compressed(smaller))
    always = always_normal_accuracy(report)
    if labelled and always is not None:
        notes.append(f"Always saying 'normal' would give {percent(always)} accuracy: accuracy alone means little here.")
    if not labelled:
        notes.append("No labels: nothing here says how many alerts are right.")
    if _get(report, "optimized", "refit"):
        notes.append(f"The saved models: {_get(report, 'optimized', 'parameters', 'saved_model')}.")
    search = _get(report, "optimized", "search") or {}
    if not search.get("ran"):
        notes.append(not_run(search))
    if report.get(ORACLE):
        notes.append("Oracle: a detector that knows how this data was made; on average none can be more accurate.")
    return notes


def _forests(report: Mapping[str, Any]) -> list[str]:
    """Say which forest each column is, and what its times are of."""
    kinds = {MODELS[key]: _get(report, key, "parameters", "forest") for key in MODELS if trained(report, key)}
    if not any(kinds.values()):
        return []
    named = "; ".join(f"{name} is {'an' if kind[0] in 'aeio' else 'a'} {kind}" for name, kind in kinds.items() if kind)
    return [f"Forests: {named}. Times are from raw records, features included; scikit-learn sees raw numbers only."]


def _compressed(done: Mapping[str, Any]) -> str:
    """Say what made the optimised model smaller, by how much, and what it cost."""
    steps = []
    if (pruning := done["pruning"]) is not None:
        trees = f"{count(pruning['trees_before'])} trees to {count(pruning['trees_after'])}"
        nodes = f"{count(pruning['nodes_before'])} nodes to {count(pruning['nodes_after'])}"
        steps.append(f"pruned from {trees} and from {nodes}")
    if done["quantized_bits"] is not None:
        steps.append(f"quantised to {done['quantized_bits']} bits")
    text = f"The optimised model's forest is {' and '.join(steps)}: {size(done['forest_bytes'])} in place of"
    text += f" {size(done['forest_bytes_before'])}."
    if done["largest_score_change"] == 0:
        return f"{text} No score of the validation part changed."
    largest, mean = (f"{done[name]:.2g}" for name in ("largest_score_change", "mean_score_change"))
    return f"{text} Scores of the validation part changed by {largest} at most and by {mean} on average."


def not_run(search: Mapping[str, Any]) -> str:
    """Say that no search ran, and why."""
    reason = str(search.get("reason") or "").rstrip(".")
    return f"No search for better settings ran{f': {reason[0].lower()}{reason[1:]}' if reason else ''}."


def _get(mapping: Mapping[str, Any], *keys: str) -> Any:
    value: Any = mapping
    for key in keys:
        value = (value or {}).get(key)
    return value
