"""The pictures of a report, drawn on matplotlib's Agg canvas without any global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anomaly_detection.evaluation.metrics import Metrics
from anomaly_detection.evaluation.model_scores import CurveData
from anomaly_detection.reports.tables import MODELS, ORACLE, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "confusion_matrices",
    "curves",
    "png",
    "recall_by_type",
    "score_histograms",
]

# Okabe and Ito's palette, told apart with any colour vision; line styles and markers say the same again in grey.
_COLOURS = {"base": "#0072B2", "optimized": "#D55E00", "sklearn": "#009E73", ORACLE: "#000000"}
_LINES = {"base": "--", "optimized": "-", "sklearn": "-."}
_MARKERS = {"base": ("o", 12), "optimized": ("D", 10), "sklearn": ("s", 7)}  # smaller ones drawn on larger ones
# The two kinds of record; none of the models' colours.
_NORMAL, _ANOMALY = "#8A8A8A", "#AA3377"
_INK, _PALE = "#222222", "#DDDDDD"
_DPI = 144


def confusion_matrices(metrics: Mapping[str, Metrics]) -> Figure | None:
    """Draw each model's confusion matrix: counts, and each as a share of its true class.

    `metrics` are by model; returns None where there are none (no labels).
    """
    tables = {key: found.confusion_matrix for key, found in metrics.items()}
    if not tables:
        return None
    figure, panels = _figure(3.5 * len(tables) + 0.6, 3.6, len(tables))
    for axes, (key, table) in zip(panels, tables.items(), strict=True):
        counts = np.array(
            [
                [table["true_positive"], table["false_negative"]],
                [table["false_positive"], table["true_negative"]],
            ]
        )
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25)  # never so dark that one blue hides in another
        for row in range(2):
            for column in range(2):
                share = shares[row, column]
                colour = "white" if share > 0.7 else _INK
                axes.text(
                    column, row - 0.06, f"{counts[row, column]:,}", size=17, color=colour, ha="center", va="center"
                )
                if counts[row].sum():
                    text = f"{100 * share:.1f} %"
                    axes.text(column, row + 0.22, text, size=10.5, color=colour, ha="center", va="center")
        axes.set_xticks([0, 1], ["alert", "no alert"])
        axes.set_yticks([0, 1], ["anomaly", "normal"], rotation=90, va="center")
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(MODELS[key], size=13, weight="bold", pad=10)
        if axes is panels[0]:
            axes.set_ylabel("in truth")
    return figure


def curves(data: CurveData, oracle: Metrics | None = None) -> Figure | None:
    """Draw the ROC and the precision-recall curve of every model, its chosen threshold as a point.

    The `oracle` is a star where there is one. Returns None unless there are labels of both classes.
    """
    if not data.both_classes:
        return None
    from sklearn import metrics

    truth = data.is_anomaly
    assert truth is not None
    figure, (left, right) = _figure(10.4, 6.2, 2)
    rocs = [left]
    areas = {key: metrics.roc_auc_score(truth, -model.scores) for key, model in data.models.items()}
    if min(areas.values()) > 0.9:  # then all that happens, happens in the corner
        rocs.append(left.inset_axes((0.38, 0.22, 0.56, 0.5), xlim=(-0.002, 0.1), ylim=(0.8, 1.01)))
    for key, model in data.models.items():
        style: dict[str, Any] = {"color": _COLOURS[key], "linestyle": _LINES[key], "linewidth": 2.2}
        marker, size = _MARKERS[key]
        point: dict[str, Any] = {"color": _COLOURS[key], "marker": marker, "markersize": size, "zorder": 5}
        point["markeredgecolor"] = "white"
        false_rate, true_rate, _ = metrics.roc_curve(truth, -model.scores)
        precision, recall, _ = metrics.precision_recall_curve(truth, -model.scores)
        precision[-1] = precision[-2]  # not the customary 1 at recall 0, where there is no alert to be right
        average = metrics.average_precision_score(truth, -model.scores)
        alert = model.is_alert
        found = float(alert[truth].mean())
        for axes in rocs:
            axes.plot(false_rate, true_rate, **style, label=f"{MODELS[key]}: area {areas[key]:.4f}")
            axes.plot([alert[~truth].mean()], [found], **point)
        right.plot(recall, precision, **style, drawstyle="steps-post", label=f"{MODELS[key]}: average {average:.4f}")
        if alert.any():
            right.plot([found], [truth[alert].mean()], **point)
    if oracle is not None:
        star: dict[str, Any] = {"color": _COLOURS[ORACLE], "marker": "*", "markersize": 14, "linestyle": ""}
        star |= {"markeredgecolor": "white", "zorder": 6, "label": "oracle"}
        for axes in rocs:
            axes.plot([oracle.false_positive_rate], [oracle.recall], **star)
        right.plot([oracle.recall], [oracle.precision], **star)
    chance = float(truth.mean())
    left.plot([0, 1], [0, 1], color="#767676", linewidth=1, linestyle=":", label="guessing")
    right.axhline(chance, color="#767676", linewidth=1, linestyle=":", label=f"guessing: {chance:.3f}")
    left.set(xlabel="false-positive rate: normal records alerted", ylabel="recall: anomalies found")
    right.set(xlabel="recall: anomalies found", ylabel="precision: alerts that are right")
    for axes, title in ((left, "ROC"), (right, "Precision and recall")):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_title(title, size=13, weight="bold")
        axes.grid(color=_PALE, linewidth=0.7)
        # Below, for no corner is free of curves in both a good and a bad model.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=10, frameon=False)
    for inset in rocs[1:]:
        inset.set_title("the corner, enlarged", size=9.5)
        inset.set_yticks([0.8, 0.85, 0.9, 0.95, 1.0])
        inset.tick_params(labelsize=8.5)
        inset.grid(color=_PALE, linewidth=0.7)
    return figure


def score_histograms(data: CurveData) -> Figure:
    """Draw how each model's scores are spread, with its threshold.

    With labels, each class is scaled to its own size: at a few per cent of anomalies they could not be seen
    otherwise. Without, the counts are logarithmic, for the same reason.
    """
    figure, panels = _figure(9.6, 2.2 * len(data.models) + 0.8, 1, rows=len(data.models))
    truth = data.is_anomaly
    for axes, (key, model) in zip(panels, data.models.items(), strict=True):
        # From the threshold, as everywhere that people look; so the models share one scale.
        scores = model.scores - model.threshold
        edges = _bins(scores, 0.0).tolist()
        alert = model.is_alert
        if truth is None:
            parts = ((~alert, _NORMAL, "no alert"), (alert, _ANOMALY, "alert"))
            for chosen, colour, name in parts:
                label = f"{name}: {int(chosen.sum()):,} records"
                axes.hist(scores[chosen], edges, histtype="stepfilled", color=colour, alpha=0.85, label=label)
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.7)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
            axes.set_ylabel("records (log)")
        else:
            parts = ((~truth, _NORMAL, "normal"), (truth, _ANOMALY, "anomaly"))
            for chosen, colour, name in parts:
                n = int(chosen.sum())
                if not n:
                    continue
                weights = np.full(n, 100.0 / n)
                axes.hist(
                    scores[chosen],
                    edges,
                    weights=weights,
                    histtype="stepfilled",
                    facecolor=(colour, 0.45),
                    edgecolor=colour,
                    linewidth=1.4,
                    hatch="////" if name == "anomaly" else None,
                    label=f"{name}: {n:,} records",
                )
            axes.set_ylabel("% of its class")
        axes.axvline(0.0, color=_INK, linewidth=1.8, linestyle="--", label="threshold")
        axes.set_title(MODELS[key], size=12, weight="bold", loc="left")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=10, frameon=False, borderaxespad=0.1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    panels[-1].set_xlabel("anomaly_score: further left is more abnormal; below 0, the threshold, is an alert")
    return figure


def recall_by_type(metrics: Mapping[str, Metrics], data: CurveData) -> Figure | None:
    """Draw the share of each type's anomalies that each model found, hardest type last.

    Returns None where no model has recall by type.
    """
    found = {key: one.recall_by_type for key, one in metrics.items() if one.recall_by_type}
    if not found:
        return None
    best = found["optimized"]
    types = sorted(dict.fromkeys(name for recall in found.values() for name in recall), key=lambda t: -best.get(t, 0))
    figure, (axes,) = _figure(9.6, 0.2 * len(types) * (len(found) + 1) + 1.4, 1)
    height = 0.8 / len(found)
    for position, (key, recall) in enumerate(found.items()):
        middles = np.arange(len(types)) + (position - (len(found) - 1) / 2) * height
        values = np.array([100 * recall.get(name, np.nan) for name in types])
        axes.barh(middles, values, height * 0.92, color=_COLOURS[key], label=MODELS[key])
        for middle, value in zip(middles, values, strict=True):
            if np.isfinite(value):
                axes.text(value + 0.8, middle, f"{value:.0f} %", size=9, va="center", color=_INK)
    counts = _counts(data)
    names = [f"{readable(name)}{f' ({counts[name]})' if name in counts else ''}" for name in types]
    axes.set_yticks(np.arange(len(types)), [name if len(name) <= 40 else f"{name[:37]}..." for name in names])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # names come from the data: a "$" in one is no formula
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("% of this type's anomalies found" + (" (in brackets: how many there are)" if counts else ""))
    axes.grid(axis="x", color=_PALE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(found), frameon=False)
    return figure


def png(figure: Figure) -> bytes:
    """Render a figure as a PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A type named in a script that no font here covers shows as boxes; the tables spell it out.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})
    return buffer.getvalue()


def _figure(width: float, height: float, columns: int, rows: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, sharex=rows > 1).flat)


def _bins(scores: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.floating[Any]]:
    """Give bin edges over all scores, one of them on the threshold, so that no bar has both sides in it."""
    low, high = min(float(scores.min()), threshold), max(float(scores.max()), threshold)
    wanted = int(np.clip(2 * np.sqrt(len(scores)), 8, 60))
    width = (high - low) / wanted or 1e-3
    below, above = int(np.ceil((threshold - low) / width)), int(np.floor((high - threshold) / width)) + 1
    return threshold + width * np.arange(-below, above + 1)


def _counts(data: CurveData) -> dict[str, int]:
    if data.anomaly_types is None or data.is_anomaly is None:
        return {}
    flags = data.is_anomaly
    names, counts = np.unique(
        [str(name) for name, flag in zip(data.anomaly_types, flags, strict=True) if flag], return_counts=True
    )
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
