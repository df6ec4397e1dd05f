"""The comparison table: base, optimised, scikit-learn's baseline and the oracle side by side."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from anomaly_detection.compression import Compressed
from anomaly_detection.evaluation.metrics import Metrics
from anomaly_detection.reports.console import printable
from anomaly_detection.reports.figures import count, number, percent, rate, seconds, size
from anomaly_detection.training.optimize import SearchResult
from anomaly_detection.training.training_report import DetectorReport, ModelReport, TrainingReport

__all__ = ["MODELS", "Comparison", "compare", "comparison_table"]

# The report's keys, in the order and with the names in which people see them.
MODELS = {"base": "base", "optimized": "optimised", "sklearn": "scikit-learn"}
ORACLE = "oracle"

_MISSING = "-"
_Of = TypeVar("_Of")


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


@dataclass(frozen=True)
class _Figure(Generic[_Of]):
    """A measured figure of a model: its name, how it is shown, where it is, whether more of it is better.

    One that is a `part` of the figure above it says nothing new where models are compared in a sentence.
    """

    name: str
    show: Callable[[float], str]
    get: Callable[[_Of], float | None]
    more_is_better: bool = False
    part: bool = False


_COST: tuple[_Figure[ModelReport], ...] = (
    _Figure("Training time", seconds, lambda model: model.fit_seconds),
    _Figure("of it the forest", seconds, lambda model: model.forest_fit_seconds, part=True),
    _Figure("Scoring rate (rows)", rate, lambda model: model.score_rows_per_second, more_is_better=True),
    _Figure("the forest alone", rate, lambda model: model.forest_rows_per_second, more_is_better=True, part=True),
    _Figure("Peak memory", size, lambda model: model.peak_memory_bytes),
    _Figure("Model size", size, lambda model: model.model_bytes),
)
_QUALITY: tuple[_Figure[Metrics], ...] = (
    _Figure("Accuracy", percent, lambda metrics: metrics.accuracy, more_is_better=True),
    _Figure("Precision", percent, lambda metrics: metrics.precision, more_is_better=True),
    _Figure("Recall", percent, lambda metrics: metrics.recall, more_is_better=True),
    _Figure("F1", percent, lambda metrics: metrics.f1, more_is_better=True),
    _Figure("False-positive rate", percent, lambda metrics: metrics.false_positive_rate),
    _Figure("ROC AUC", number, lambda metrics: metrics.roc_auc, more_is_better=True),
    _Figure("Average precision", number, lambda metrics: metrics.average_precision, more_is_better=True),
)


def compare(report: TrainingReport) -> Comparison:
    """Lay a report's models side by side.

    Returns
    -------
    Comparison
        Without labels its rows are costs, alerts and agreement; with labels, the metrics and recall by type too.
    """
    models = list(report.models.values())
    metrics = [*(model.metrics for model in models), *([report.oracle] if report.oracle else [])]
    names = [*MODELS.values(), *([ORACLE] if report.oracle else [])]

    def row(title: str, show: Callable[[float], str], values: Iterable[float | None]) -> tuple[str, tuple[str, ...]]:
        cells = [_MISSING if value is None else show(value) for value in values]
        return title, (*cells, *[_MISSING] * (len(names) - len(cells)))

    agreements = (model.agreement if isinstance(model, DetectorReport) else None for model in models)
    rows = [row(cost.name, cost.show, map(cost.get, models)) for cost in _COST]
    rows.append(row("Alerts", count, [model.alerts for model in models]))
    rows.append(row("Alert rate", percent, [model.alerts / report.split.test for model in models]))
    rows.append(row("Agreement with scikit-learn", percent, agreements))
    rows += [row(one.name, one.show, [None if m is None else one.get(m) for m in metrics]) for one in _QUALITY]
    recalls = [{} if one is None else one.recall_by_type or {} for one in metrics]
    types = dict.fromkeys(name for recall in recalls for name in recall)  # in order, each once
    rows += [row(f"Recall: {readable(name)}", percent, [recall.get(name) for recall in recalls]) for name in types]
    # A row that no model fills says nothing, but a gap in one column does.
    filled = [row for row in rows if any(cell != _MISSING for cell in row[1])]
    return Comparison(tuple(names), tuple(filled), tuple(_notes(report)))


def comparison_table(report: TrainingReport, *, terminal: bool | None = None) -> str:
    """Draw the comparison for a terminal, or as plain text that is a Markdown table too.

    Parameters
    ----------
    report : TrainingReport
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
    for note in [*worse_than_base(report), *content.notes]:
        console.print(Text(printable(note)), soft_wrap=False)
    return "\n".join(line.rstrip() for line in buffer.getvalue().strip("\n").split("\n")) + "\n"


def always_normal_accuracy(report: TrainingReport) -> float | None:
    """Give the accuracy, in [0, 1], of calling every test record normal; None without labels."""
    if report.base.metrics is None:
        return None
    table = report.base.metrics.confusion_matrix
    return (table["true_negative"] + table["false_positive"]) / report.base.metrics.n


def readable(name: str) -> str:
    """Turn an identifier such as ``lead_time_delay`` into words."""
    return str(name).replace("_", " ").strip()


def worse_than_base(report: TrainingReport) -> list[str]:
    """Say in which measured figures the optimised model is worse than the base, quality and costs in a sentence each.

    Figures that look alike as they are printed count as equal.
    """
    base, own = report.base, report.optimized
    if own.same_as_base:
        return []
    quality = []
    if base.metrics is not None and own.metrics is not None:
        quality = _worse([*_QUALITY, *_recalls(base.metrics, own.metrics)], base.metrics, own.metrics)
    told = {
        "The optimised model is worse than the base in": quality,
        "The optimised model costs more than the base in": _worse(_COST, base, own),
    }
    return [f"{what} {', '.join(worse)}." for what, worse in told.items() if worse]


def _recalls(*found: Metrics) -> list[_Figure[Metrics]]:
    """Recall by type as figures, of the types that all have."""
    recalls = [one.recall_by_type or {} for one in found]
    types = [name for name in recalls[0] if all(name in recall for recall in recalls)]

    def figure(name: str) -> _Figure[Metrics]:
        return _Figure(f"recall of {readable(name)}", percent, lambda m: (m.recall_by_type or {})[name], True)

    return [figure(name) for name in types]


def _worse(figures: Sequence[_Figure[_Of]], base: _Of, own: _Of) -> list[str]:
    """The figures in which `own` is worse, each with both values."""
    worse = []
    for figure in figures:
        before, now = figure.get(base), figure.get(own)
        if figure.part or before is None or now is None or figure.show(before) == figure.show(now):
            continue
        if (now < before) == figure.more_is_better:
            worse.append(f"{figure.name} ({figure.show(now)} against {figure.show(before)})")
    return worse


def _notes(report: TrainingReport) -> list[str]:
    notes = [_forests(report)]
    if (shift := report.split.shift) is not None:
        columns = ", ".join(f"{name} ({percent(distance)})" for name, distance in shift.columns.items())
        notes.append(
            f"The optimised model flags {percent(shift.test_alert_rate)} of the test part but "
            f"{percent(shift.validation_alert_rate)} of the records before it: the test records differ from those, "
            f"most in {columns}. Train on records like those to be judged."
        )
    if report.optimized.compression is not None:
        notes.append(_compressed(report.optimized.compression))
    always = always_normal_accuracy(report)
    if always is not None:
        notes.append(f"Always saying 'normal' would give {percent(always)} accuracy: accuracy alone means little here.")
    else:
        notes.append("No labels: nothing here says how many alerts are right.")
    if report.optimized.refit:
        notes.append(f"The saved models: {report.optimized.saved_model}.")
    if report.optimized.search.ended_by is None:
        notes.append(not_run(report.optimized.search))
    if report.oracle:
        notes.append("Oracle: a detector that knows how this data was made; on average none can be more accurate.")
    return notes


def _forests(report: TrainingReport) -> str:
    """Say which forest each column is, and what its times are of."""
    kinds = {MODELS[key]: model.parameters.forest for key, model in report.models.items()}
    named = "; ".join(f"{name} is {'an' if kind[0] in 'aeio' else 'a'} {kind}" for name, kind in kinds.items())
    return f"Forests: {named}. Times are from raw records, features included; scikit-learn sees raw numbers only."


def _compressed(done: Compressed) -> str:
    """Say what made the optimised model smaller, by how much, and what it cost."""
    steps = []
    if (pruning := done.pruning) is not None:
        trees = f"{count(pruning.trees_before)} trees to {count(pruning.trees_after)}"
        nodes = f"{count(pruning.nodes_before)} nodes to {count(pruning.nodes_after)}"
        steps.append(f"pruned from {trees} and from {nodes}")
    if done.quantized_bits is not None:
        steps.append(f"quantised to {done.quantized_bits} bits")
    text = f"The optimised model's forest is {' and '.join(steps)}: {size(done.forest_bytes)} in place of"
    text += f" {size(done.forest_bytes_before)}."
    if done.largest_score_change == 0:
        return f"{text} No score of the validation part changed."
    largest, mean = (f"{change:.2g}" for change in (done.largest_score_change, done.mean_score_change))
    return f"{text} Scores of the validation part changed by {largest} at most and by {mean} on average."


def not_run(search: SearchResult) -> str:
    """Say that no search ran, and why."""
    return f"No search for better settings ran: {'; '.join(search.because)}."
