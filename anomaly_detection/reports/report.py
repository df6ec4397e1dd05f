"""The report of a training run: ``report.json`` for programs, pictures, and one ``report.html`` for people."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from anomaly_detection.alerts.overview import Overview
from anomaly_detection.data.cells.well_formed_text import well_formed
from anomaly_detection.data.columns.schema import ColumnCleaning
from anomaly_detection.data.files import replacing_all
from anomaly_detection.data.json_values import plain
from anomaly_detection.evaluation.model_scores import CurveData, ModelScores
from anomaly_detection.model_files.persistence import FILES
from anomaly_detection.reports.figures import count, percent
from anomaly_detection.reports.tables import (
    MODELS,
    always_normal_accuracy,
    compare,
    not_run,
    readable,
    worse_than_base,
)
from anomaly_detection.training.optimize import SearchResult
from anomaly_detection.training.training_report import DataReport, TrainingReport

__all__ = ["PICTURES", "REPORT_FILES", "CurveData", "ModelScores", "strict_json", "write_report"]


def write_report(
    directory: str | os.PathLike[str],
    report: TrainingReport,
    curves: CurveData,
    overview: Overview | None = None,
) -> list[Path]:
    """Write ``report.json``, the pictures and ``report.html``: all of them, or none.

    Parameters
    ----------
    directory : path
        Made if missing. Pictures of an earlier report that this one has no data for are removed.
    report : TrainingReport
    curves : CurveData
        Labels and scores of the test part.
    overview : Overview, optional
        What the saved model finds in all records; without one the page is about the model alone.

    Returns
    -------
    list of Path
        The files written: report.json, the pictures, report.html.

    Raises
    ------
    DataError
        If a file cannot be written; older files are then intact.
    """
    folder = Path(directory)
    pictures = _pictures(report, curves)
    page = _page(report, pictures, overview)
    contents: dict[str, bytes] = {"report.json": strict_json(report.to_dict()).encode()}
    contents |= {f"{name}.png": picture for name, (picture, _, _) in pictures.items()}
    contents["report.html"] = page.encode()
    with replacing_all(folder, REPORT_FILES) as new:
        for name, content in contents.items():
            (new / name).write_bytes(content)
    return [folder / name for name in contents]


def strict_json(value: Any) -> str:
    """Write a value as indented JSON that any parser reads: NaN and infinity become null, others as in `plain`."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _confusion_text(report: TrainingReport, curves: CurveData) -> tuple[str, str]:
    tables = {MODELS[key]: metrics.confusion_matrix for key, metrics in report.metrics.items()}
    parts = [
        f"{name}: {count(table['true_positive'])} anomalies alerted, {count(table['false_negative'])} missed, "
        f"{count(table['false_positive'])} normal records alerted, {count(table['true_negative'])} left alone"
        for name, table in tables.items()
    ]
    caption = (
        "Right and wrong. The upper row holds the real anomalies, the lower row the normal records; "
        "percentages are of the row. A good detector is dark at the upper left and the lower right."
    )
    return "Confusion matrices. " + "; ".join(parts) + ".", caption


def _curves_text(report: TrainingReport, curves: CurveData) -> tuple[str, str]:
    parts = [
        f"{MODELS[key]}: ROC AUC {metrics.roc_auc:.4f}, average precision {metrics.average_precision:.4f}"
        for key, metrics in report.metrics.items()
    ]
    caption = (
        "The trade between finding anomalies and raising false alarms, for every possible threshold; "
        "the marker is the threshold in use. Left, the nearer the upper left corner the better; "
        "right, the nearer the upper right corner."
    )
    return "ROC and precision-recall curves. " + "; ".join(parts) + ".", caption


def _histograms_text(report: TrainingReport, curves: CurveData) -> tuple[str, str]:
    parts = [
        f"{MODELS[key]}: {count(int(model.is_alert.sum()))} of {count(len(model.scores))} records below the threshold"
        for key, model in curves.models.items()
    ]
    scale = (
        "Each record has one score. The heights are counts on a logarithmic scale, or the few alerts could not be seen."
        if curves.labels is None
        else "Each record has one score. Normal records and anomalies are each scaled to their own number, or the few "
        "anomalies could not be seen; the less they overlap, the better."
    )
    return "Score histograms. " + "; ".join(parts) + ".", f"How the scores are spread. {scale}"


def _types_text(report: TrainingReport, curves: CurveData) -> tuple[str, str]:
    recalls = {MODELS[key]: metrics.recall_by_type or {} for key, metrics in report.metrics.items()}
    parts = [
        f"{name}: " + ", ".join(f"{readable(kind)} {percent(share)}" for kind, share in recall.items())
        for name, recall in recalls.items()
    ]
    return "Recall by type. " + "; ".join(parts) + ".", "Which kinds of anomaly are found, and which are missed."


_Texts = Callable[[TrainingReport, CurveData], tuple[str, str]]
# File name, without its ending, to what writes the picture's alternative text and caption.
_DRAWN: dict[str, _Texts] = {
    "confusion_matrices": _confusion_text,
    "curves": _curves_text,
    "score_histograms": _histograms_text,
    "recall_by_type": _types_text,
}
PICTURES = tuple(f"{name}.png" for name in _DRAWN)
"""The names of all pictures that a report may have."""

REPORT_FILES = (*PICTURES, "report.html", "report.json")
"""The names of all files of a report, the one that programs read last."""


def _pictures(report: TrainingReport, curves: CurveData) -> dict[str, tuple[bytes, str, str]]:
    """Draw what there is data for: name to (PNG, alternative text, caption)."""
    from anomaly_detection.reports import plots

    figures = {
        "confusion_matrices": plots.confusion_matrices(report.metrics),
        "curves": plots.curves(curves, report.oracle),
        "score_histograms": plots.score_histograms(curves),
        "recall_by_type": plots.recall_by_type(report.metrics, curves),
    }
    return {
        name: (plots.png(figure), *_DRAWN[name](report, curves))
        for name, figure in figures.items()
        if figure is not None
    }


def _page(report: TrainingReport, pictures: Mapping[str, tuple[bytes, str, str]], overview: Overview | None) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    from anomaly_detection.reports.records_section import records_section

    # Everything from the data is text to the page, never markup.
    environment = Environment(
        loader=PackageLoader("anomaly_detection.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    chosen = "base" if report.optimized.same_as_base else "optimized"
    found = None if overview is None else records_section(overview)
    style, script = (Markup(_template_text(name)) for name in ("page.css", "page.js"))
    page = environment.get_template("report.html.j2").render(
        report=report,
        created=f"{report.created.day} {report.created:%B %Y, %H:%M %Z}",
        chosen=MODELS[chosen],
        figures=_figures(report, chosen),
        findings=_findings(report, chosen),
        comparison=compare(report),
        pictures=[
            {"name": name, "source": base64.b64encode(picture).decode(), "alt": alt, "caption": caption}
            for name, (picture, alt, caption) in pictures.items()
        ],
        found=found,
        listed=frozenset() if found is None else {record.row for record in found.records},
        style=style,
        script=script,
        # Nothing else can run in the page, whatever comes from the data.
        script_digest=Markup(f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"),
        columns=_columns(report.data),
        parameters=[(MODELS[key], model.to_dict()["parameters"]) for key, model in report.models.items()],
        search=_search(report.optimized.search),
        model_file=FILES[chosen].native,
    )
    # Names in the data may hold what no encoding can.
    return well_formed(page)


def _template_text(name: str) -> str:
    """A file beside the template, as it is."""
    return (resources.files("anomaly_detection.reports") / "templates" / name).read_text("utf-8")


def _figures(report: TrainingReport, chosen: str) -> list[tuple[str, str, str]]:
    """Give the key figures: value, what it is, and what it is of."""
    model, n_test = report.models[chosen], report.split.test
    looks = "record looked wrong" if model.alerts == 1 else "records looked wrong"
    figures = [
        (count(model.alerts), looks, f"{percent(model.alerts / n_test)} of {count(n_test)} test records"),
    ]
    if model.metrics is not None:
        table = model.metrics.confusion_matrix
        real = table["true_positive"] + table["false_negative"]
        found = f"{count(table['true_positive'])} of {count(real)} (recall)"
        right = f"{count(table['true_positive'])} of {count(model.alerts)} (precision)"
        figures.append((percent(model.metrics.recall), "of the real anomalies found", found))
        figures.append((percent(model.metrics.precision), "of the alerts are right", right))
    return figures


def _findings(report: TrainingReport, chosen: str) -> list[str]:
    """Say in sentences how good the model is, against the baseline and the oracle."""
    found = report.metrics
    if not found:
        shared = (report.base if chosen == "base" else report.optimized).agreement
        return [
            "The records carry no labels, so nothing here can say how many alerts are right. "
            "Read the worst records above and judge: they come with reasons.",
            f"Of all records that this model or scikit-learn's isolation forest flags, both flag {percent(shared)}.",
            *worse_than_base(report),
        ]
    ours, base, baseline = found[chosen], found["base"], found["sklearn"]
    table, other = ours.confusion_matrix, baseline.confusion_matrix
    findings = [
        f"Against the baseline, scikit-learn's isolation forest on the same records: "
        f"{count(table['true_positive'])} against {count(other['true_positive'])} anomalies found, "
        f"{count(table['false_positive'])} against {count(other['false_positive'])} false alarms, "
        f"{percent(ours.accuracy)} against {percent(baseline.accuracy)} accuracy."
    ]
    if chosen == "optimized":
        findings.append(
            f"Optimising raised accuracy from {percent(base.accuracy)} to {percent(ours.accuracy)} and "
            f"recall from {percent(base.recall)} to {percent(ours.recall)}."
            if ours.accuracy > base.accuracy and ours.recall > base.recall
            else f"Before optimising, accuracy was {percent(base.accuracy)} and recall {percent(base.recall)}; "
            f"now they are {percent(ours.accuracy)} and {percent(ours.recall)}."
        )
    findings += worse_than_base(report)
    if report.oracle is not None:
        findings.append(
            f"The oracle on this generated data, reached only by knowing how it was made, is "
            f"{percent(report.oracle.accuracy)} accuracy and {percent(report.oracle.recall)} recall; "
            f"this model has {percent(ours.accuracy)} and {percent(ours.recall)}."
        )
    if (always := always_normal_accuracy(report)) is not None:
        findings.append(
            f"Accuracy alone means little here: always saying 'normal' would give {percent(always)}. "
            "Look at recall and precision."
        )
    return findings


def _columns(data: DataReport) -> list[dict[str, str]]:
    """Describe each column: what it was taken for, why, and what cleaning did to it."""
    return [
        {
            "name": column.name,
            "role": column.role.value,
            "reason": column.reason,
            "missing": percent(column.missing),
            "cleaning": _cleaned(data.cleaning.columns.get(column.name, ColumnCleaning())),
        }
        for column in data.schema.columns
    ]


def _cleaned(done: ColumnCleaning) -> str:
    parts = []
    if done.from_text:
        parts.append(f"{count(done.from_text)} read out of text")
    if done.blank:
        parts.append(f"{count(done.blank)} blank")
    if done.coded:
        listed = ", ".join(map(str, list(done.coded)[:3]))
        parts.append(f"{count(sum(done.coded.values()))} held a code for missing ({listed})")
    if done.unread:
        most = max(done.unread, key=lambda text: done.unread[text])
        parts.append(f"{count(sum(done.unread.values()))} not readable, such as {most[:60]!r}")
    return ", ".join(parts)


def _search(search: SearchResult) -> str:
    if search.ended_by is None or search.accuracy is None:
        return not_run(search)
    text = f"Optimisation ran {count(search.trials)} trials in {search.seconds:.1f} s"
    return f"{text}; best accuracy on the validation part {percent(search.accuracy)} ({search.reason})."
