"""The report of a training run: ``report.json`` for programs, pictures, and one ``report.html`` for people."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.renderings import as_page_row
from anomaly_detection.data.files import replacing_all
from anomaly_detection.data.json_values import plain
from anomaly_detection.evaluation.model_scores import CurveData, ModelScores
from anomaly_detection.model_files.persistence import FILES
from anomaly_detection.reports.tables import (
    MODELS,
    ORACLE,
    always_normal_accuracy,
    compare,
    count,
    not_run,
    percent,
    readable,
    trained,
)

__all__ = ["PICTURES", "REPORT_FILES", "CurveData", "ModelScores", "strict_json", "write_report"]


def write_report(
    directory: str | os.PathLike[str],
    report: Mapping[str, Any],
    curves: CurveData,
    top_alerts: Sequence[Alert] = (),
    *,
    model_file: str | None = None,
) -> list[Path]:
    """Write ``report.json``, the pictures and ``report.html``: all of them, or none.

    Parameters
    ----------
    directory : path
        Made if missing. Pictures of an earlier report that this one has no data for are removed.
    report : mapping
        As docs/design.md ("The report") has it. Numpy values, dates and paths are turned into JSON's own; NaN and
        infinity into null.
    curves : CurveData
        Labels and scores of the test part.
    top_alerts : sequence of Alert
        The records to show, worst first.
    model_file : str, optional
        The saved model that the page tells people to use; by default the optimised one where there is one.

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
    page = _page(report, pictures, top_alerts, model_file)
    contents: dict[str, bytes] = {"report.json": strict_json(report).encode()}
    contents |= {f"{name}.png": picture for name, (picture, _, _) in pictures.items()}
    contents["report.html"] = page.encode()
    with replacing_all(folder, REPORT_FILES) as new:
        for name, content in contents.items():
            (new / name).write_bytes(content)
    return [folder / name for name in contents]


def strict_json(value: Any) -> str:
    """Write a value as indented JSON that any parser reads: NaN and infinity become null, others as in `plain`."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _confusion_text(report: Mapping[str, Any], curves: CurveData) -> tuple[str, str]:
    parts = [
        f"{MODELS[key]}: {count(table['true_positive'])} anomalies alerted, {count(table['false_negative'])} missed, "
        f"{count(table['false_positive'])} normal records alerted, {count(table['true_negative'])} left alone"
        for key in MODELS
        if (table := (report.get(key) or {}).get("confusion_matrix"))
    ]
    caption = (
        "Right and wrong. The upper row holds the real anomalies, the lower row the normal records; "
        "percentages are of the row. A good detector is dark at the upper left and the lower right."
    )
    return "Confusion matrices. " + "; ".join(parts) + ".", caption


def _curves_text(report: Mapping[str, Any], curves: CurveData) -> tuple[str, str]:
    parts = [
        f"{MODELS[key]}: ROC AUC {values['roc_auc']:.4f}, average precision {values['average_precision']:.4f}"
        for key in MODELS
        if (values := report.get(key) or {}).get("roc_auc") is not None and values.get("average_precision") is not None
    ]
    caption = (
        "The trade between finding anomalies and raising false alarms, for every possible threshold; "
        "the marker is the threshold in use. Left, the nearer the upper left corner the better; "
        "right, the nearer the upper right corner."
    )
    return "ROC and precision-recall curves. " + "; ".join(parts) + ".", caption


def _histograms_text(report: Mapping[str, Any], curves: CurveData) -> tuple[str, str]:
    parts = [
        f"{MODELS[key]}: {count(int((model.scores < model.threshold).sum()))} of {count(len(model.scores))} records "
        f"below the threshold {model.threshold:.4f}"
        for key, model in curves.models.items()
    ]
    scale = (
        "Each record has one score. The heights are counts on a logarithmic scale, or the few alerts could not be seen."
        if curves.labels is None
        else "Each record has one score. Normal records and anomalies are each scaled to their own number, or the few "
        "anomalies could not be seen; the less they overlap, the better."
    )
    return "Score histograms. " + "; ".join(parts) + ".", f"How the scores are spread. {scale}"


def _types_text(report: Mapping[str, Any], curves: CurveData) -> tuple[str, str]:
    parts = [
        f"{MODELS[key]}: " + ", ".join(f"{readable(name)} {percent(share)}" for name, share in recall.items())
        for key in MODELS
        if (recall := (report.get(key) or {}).get("recall_by_type"))
    ]
    return "Recall by type. " + "; ".join(parts) + ".", "Which kinds of anomaly are found, and which are missed."


_Texts = Callable[[Mapping[str, Any], CurveData], tuple[str, str]]
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


def _pictures(report: Mapping[str, Any], curves: CurveData) -> dict[str, tuple[bytes, str, str]]:
    """Draw what there is data for: name to (PNG, alternative text, caption)."""
    from anomaly_detection.reports import plots

    figures = {
        "confusion_matrices": plots.confusion_matrices(report),
        "curves": plots.curves(curves, report),
        "score_histograms": plots.score_histograms(curves),
        "recall_by_type": plots.recall_by_type(report, curves),
    }
    return {
        name: (plots.png(figure), *_DRAWN[name](report, curves))
        for name, figure in figures.items()
        if figure is not None
    }


def _page(
    report: Mapping[str, Any],
    pictures: Mapping[str, tuple[bytes, str, str]],
    top_alerts: Sequence[Alert],
    model_file: str | None,
) -> str:
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    # Everything from the data is text to the page, never markup.
    environment = Environment(
        loader=PackageLoader("anomaly_detection.reports"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = plain(report)
    chosen = _chosen(shown)
    return environment.get_template("report.html.j2").render(
        report=shown,
        created=_moment(shown.get("created")),
        chosen=MODELS[chosen],
        figures=_figures(shown, chosen),
        findings=_findings(shown, chosen),
        comparison=compare(shown),
        pictures=[
            {"name": name, "source": base64.b64encode(picture).decode(), "alt": alt, "caption": caption}
            for name, (picture, alt, caption) in pictures.items()
        ],
        alerts=[as_page_row(alert) for alert in top_alerts],
        none_alerted=_get(shown, chosen, "alerts") == 0,
        columns=_columns(shown.get("data") or {}),
        parameters=[(MODELS[key], shown[key]["parameters"]) for key in MODELS if _get(shown, key, "parameters")],
        search=_search(shown),
        model_file=model_file or FILES.get(chosen, FILES["base"]).native,
    )


def _chosen(report: Mapping[str, Any]) -> str:
    """Name the model that the page speaks of: the optimised one where it is not the base."""
    order = MODELS if _get(report, "optimized", "same_as_base") else ("optimized", "base", "sklearn")
    return next((key for key in order if trained(report, key)), "base")


def _figures(report: Mapping[str, Any], chosen: str) -> list[tuple[str, str, str]]:
    """Give the key figures: value, what it is, and what it is of."""
    model = report.get(chosen) or {}
    n_test, alerts = _get(report, "split", "test"), model.get("alerts")
    figures = []
    if (rows := _get(report, "data", "rows")) is not None:
        figures.append((count(rows), "records read", f"{count(n_test)} of them kept for the test" if n_test else ""))
    if alerts is not None:
        share = f"{percent(alerts / n_test)} of {count(n_test)} test records" if n_test else "in the test part"
        figures.append((count(alerts), "record looks wrong" if alerts == 1 else "records look wrong", share))
    table = model.get("confusion_matrix")
    if table:
        real = table["true_positive"] + table["false_negative"]
        found = f"{count(table['true_positive'])} of {count(real)} (recall)"
        right = f"{count(table['true_positive'])} of {count(alerts or 0)} (precision)"
        figures.append((percent(model["recall"]), "of the real anomalies found", found))
        figures.append((percent(model["precision"]), "of the alerts are right", right))
    return figures


def _findings(report: Mapping[str, Any], chosen: str) -> list[str]:
    """Say in sentences how good the model is, against the baseline and the oracle."""
    model, baseline = report.get(chosen) or {}, report.get("sklearn") or {}
    table, other = model.get("confusion_matrix"), baseline.get("confusion_matrix")
    findings = []
    if not table:
        findings.append(
            "The records carry no labels, so nothing here can say how many alerts are right. "
            "Read the worst records below and judge: they come with reasons."
        )
        if (shared := model.get("agreement")) is not None and chosen != "sklearn":
            findings.append(
                f"Of all records that this model or scikit-learn's isolation forest flags, both flag {percent(shared)}."
            )
        return findings
    if other and chosen != "sklearn":
        findings.append(
            f"Against the baseline, scikit-learn's isolation forest on the same records: "
            f"{count(table['true_positive'])} against {count(other['true_positive'])} anomalies found, "
            f"{count(table['false_positive'])} against {count(other['false_positive'])} false alarms, "
            f"{percent(model['accuracy'])} against {percent(baseline['accuracy'])} accuracy."
        )
    if chosen == "optimized" and _get(report, "base", "confusion_matrix"):
        base = report["base"]
        findings.append(
            f"Optimising raised accuracy from {percent(base['accuracy'])} to {percent(model['accuracy'])} and "
            f"recall from {percent(base['recall'])} to {percent(model['recall'])}."
            if model["accuracy"] > base["accuracy"] and model["recall"] > base["recall"]
            else f"Before optimising, accuracy was {percent(base['accuracy'])} and recall {percent(base['recall'])}; "
            f"now they are {percent(model['accuracy'])} and {percent(model['recall'])}."
        )
    if oracle := report.get(ORACLE):
        findings.append(
            f"The oracle on this generated data, reached only by knowing how it was made, is "
            f"{percent(oracle['accuracy'])} accuracy and {percent(oracle['recall'])} recall; "
            f"this model has {percent(model['accuracy'])} and {percent(model['recall'])}."
        )
    if (always := always_normal_accuracy(report)) is not None:
        findings.append(
            f"Accuracy alone means little here: always saying 'normal' would give {percent(always)}. "
            "Look at recall and precision."
        )
    return findings


def _columns(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """Describe each column: what it was taken for, why, and what cleaning did to it."""
    cleaning = _get(data, "cleaning", "columns") or {}
    return [
        {
            "name": str(column.get("name")),
            "role": str(column.get("role")),
            "reason": str(column.get("reason") or ""),
            "missing": "" if column.get("missing") is None else percent(column["missing"]),
            "cleaning": _cleaned(cleaning.get(column.get("name")) or {}),
        }
        for column in data.get("schema") or []
    ]


def _cleaned(counts: Mapping[str, Any]) -> str:
    parts = []
    if counts.get("from_text"):
        parts.append(f"{count(counts['from_text'])} read out of text")
    if counts.get("blank"):
        parts.append(f"{count(counts['blank'])} blank")
    if coded := counts.get("coded"):
        parts.append(f"{count(sum(coded.values()))} held a code for missing ({', '.join(map(str, list(coded)[:3]))})")
    unread = counts.get("unread") or {}
    if unread:
        most = max(unread, key=lambda text: unread[text])
        parts.append(f"{count(sum(unread.values()))} not readable, such as {str(most)[:60]!r}")
    return ", ".join(parts)


def _search(report: Mapping[str, Any]) -> str:
    search = _get(report, "optimized", "search") or {}
    if not search.get("ran"):
        return not_run(search)
    reason = str(search.get("reason") or "").rstrip(".")
    trials, seconds = search.get("trials"), search.get("seconds")
    text = "Optimisation ran"
    text += f" {count(trials)} trials" if trials is not None else ""
    text += f" in {seconds:.1f} s" if seconds is not None else ""
    best = search.get("best_validation_accuracy")
    text += f"; best accuracy on the validation part {percent(best)}" if best is not None else ""
    return f"{text}{f' ({reason})' if reason else ''}."


def _moment(created: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return str(created or "")
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def _get(mapping: Mapping[str, Any], *keys: str) -> Any:
    value: Any = mapping
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
