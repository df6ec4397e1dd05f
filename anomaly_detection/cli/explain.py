"""``anomaly-detection explain``: why records of a file have their scores, reason by reason."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import numpy as np

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.batch import Batch
from anomaly_detection.alerts.renderings import as_json
from anomaly_detection.cli.arguments import layout
from anomaly_detection.cli.score import batches
from anomaly_detection.data.chunks import read_chunks
from anomaly_detection.data.json_values import plain
from anomaly_detection.errors import DataError
from anomaly_detection.explain.cells import reason_cells
from anomaly_detection.explain.explanations import Contribution
from anomaly_detection.explain.wording import percent, short
from anomaly_detection.model_files.persistence import load_trained
from anomaly_detection.reports.console import note, printable, progress_bar, result, result_as_json, table

__all__ = ["run"]

_REASONS = 10
_IDENTIFIERS = 2
_LONGEST = 60


def run(arguments: argparse.Namespace) -> int:
    """Explain, then print; raises the library's errors."""
    detector = load_trained(arguments.model)
    unseen = detector.calibration.unseen
    chunks = read_chunks(arguments.data, say=note, layout=layout(arguments))
    with progress_bar() as show:
        records = batches(detector, chunks, not chunks.is_small, "explain", show)
        found = _find(records, arguments.row, chunks.label)
    if arguments.json:
        result_as_json([as_json(alert) for alert in found])
    else:
        result("\n\n".join(_text(alert) for alert in found))
    if not unseen:
        note("The p-values are from the records that the model was trained on, so they are too small for new ones.")
    return 0


def _find(batches: Iterable[Batch], rows: Sequence[int], label: str) -> list[Alert]:
    """The records of the numbers `rows`, from 1, with their reasons, in the order asked for."""
    wanted = sorted(set(rows))
    found: dict[int, Alert] = {}
    count = 0
    for batch in batches:
        here = [row for row in wanted if count < row <= count + len(batch)]
        places = np.array(here, dtype=np.int64) - count - 1
        found |= dict(zip(here, batch.at(places, _REASONS), strict=True))
        count += len(batch)
        if len(found) == len(wanted):
            break
        del batch
    missing = next((row for row in wanted if row not in found), None)
    if missing is not None:
        raise DataError(
            f"There is no row {missing:,} in {label}, which has {count:,} {'record' if count == 1 else 'records'};"
            " rows count from 1, as score --top prints them."
        )
    return [found[row] for row in dict.fromkeys(rows)]


def _text(alert: Alert) -> str:
    why, threshold = alert.explanation, alert.threshold
    assert why is not None
    assert threshold is not None
    which = "".join(f", {name} {printable(value)}" for name, value in list(alert.identifiers.items())[:_IDENTIFIERS])
    side = "below" if alert.is_alert else "above" if alert.score > threshold else "at"
    lines = [
        f"Row {alert.row:,}{which}: {'an alert' if alert.is_alert else 'no alert'}",
        f"anomaly_score {alert.decision:.4f}: score {alert.score:.4f}, {side} the threshold {threshold:.4f}"
        f" (a usual record has {why.base:.4f});"
        f" p-value {alert.p_value:.2g}, severity {alert.severity:.0f} of 100",
        "",
        printable(alert.sentence),
        "",
    ]
    reasons = [_cells(reason) for reason in alert.reasons]
    share = max(0.0, 1.0 - sum(reason.share for reason in alert.reasons))
    rest = {"share": percent(share), "effect": f"{why.rest:+.4f}", "what": "everything else"}
    lines.append(
        table(
            [*reasons, {**rest, "value": "", "usual": "", "usual range": ""}],
            right=frozenset({"share", "effect"}),
        )
    )
    values = {name: "" if plain(value) is None else printable(value) for name, value in alert.record.items()}
    lines += ["", table([{"column": name, "value": value} for name, value in values.items()])]
    return "\n".join(lines)


def _cells(reason: Contribution) -> dict[str, str]:
    value, usual, between = reason_cells(reason.direction, reason.value, reason.expected, reason.expected_range)
    return {
        "share": percent(reason.share),
        "effect": f"{reason.effect:+.4f}",
        "what": printable(short(reason.feature, _LONGEST)),
        "value": printable(value),
        "usual": usual,
        "usual range": between or "-",
    }
