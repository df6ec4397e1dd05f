"""``anomaly-detection explain``: why records of a file have their scores, reason by reason."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.alerts.scoring import Scored, cut_of_parts
from anomaly_detection.calibration.p_values import severity
from anomaly_detection.cli.score import passes
from anomaly_detection.data.frames import read_chunks
from anomaly_detection.data.json_values import plain
from anomaly_detection.data.schema import Role
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.explain.explanations import Contribution, Explanation
from anomaly_detection.explain.wording import number, number_range, percent, sentence, short
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.reports.console import note, printable, progress_bar, result, result_as_json, table

__all__ = ["run"]

_REASONS = 10
_IN_WORDS = 3  # as `score` gives
_LONGEST = 40


def run(arguments: argparse.Namespace) -> int:
    """Explain, then print; raises the library's errors."""
    detector = load_detector(arguments.model)
    chunks = read_chunks(arguments.data, say=note)
    with progress_bar() as show:
        records = passes(detector, chunks, not chunks.is_small, show)
        cut = cut_of_parts(detector, lambda: records("threshold"))
        found = _find(detector, records("explain"), arguments.row, cut, arguments.data)
    if arguments.json:
        result_as_json([_facts(detector, *one, cut) for one in found])
    else:
        result("\n\n".join(_text(detector, *one, cut) for one in found))
    if not detector.calibration.unseen:
        note("The p-values are from the records that the model was trained on, so they are too small for new ones.")
    return 0


def _find(
    detector: Detector, records: Iterable[Scored], rows: Sequence[int], cut: float, path: Path
) -> list[tuple[int, pd.Series[Any], Explanation]]:
    """The records of the numbers `rows`, from 1, with their explanations, in the order asked for."""
    wanted = sorted(set(rows))
    found: dict[int, tuple[int, pd.Series[Any], Explanation]] = {}
    count = 0
    for scored in records:
        here = [row for row in wanted if count < row <= count + len(scored.frame)]
        places = np.array(here, dtype=np.int64) - count - 1
        for row, place, explanation in zip(
            here, places.tolist(), scored.explain(detector, places, cut, top=_REASONS), strict=True
        ):
            found[row] = (row, scored.frame.iloc[place], explanation)
        count += len(scored.frame)
        if len(found) == len(wanted):
            break
        del scored
    missing = next((row for row in wanted if row not in found), None)
    if missing is not None:
        raise DataError(
            f"There is no row {missing:,} in {path}, which has {count:,} {'record' if count == 1 else 'records'};"
            " rows count from 1, as score --top prints them."
        )
    return [found[row] for row in dict.fromkeys(rows)]


def _words(explanation: Explanation) -> str:
    """The strongest reasons, as `score` tells them."""
    reasons = [(reason.text, reason.share) for reason in explanation.contributions[:_IN_WORDS]]
    return sentence(reasons, alert=explanation.is_alert)


def _facts(
    detector: Detector, row: int, record: pd.Series[Any], explanation: Explanation, cut: float
) -> dict[str, Any]:
    p_value = float(detector.p_values([explanation.score])[0])
    facts = {
        "row": row,
        "is_anomaly": explanation.is_alert,
        "anomaly_score": explanation.score - cut,
        "score": explanation.score,
        "threshold": cut,
        "usual_score": explanation.base,
        "p_value": p_value,
        "severity": float(severity(p_value)),
        "reason": _words(explanation),
        "contributions": explanation.to_dict()["contributions"],
        "rest": explanation.rest,
        "record": record.to_dict(),
    }
    plain_facts: dict[str, Any] = plain(facts)
    return plain_facts


def _text(detector: Detector, row: int, record: pd.Series[Any], explanation: Explanation, cut: float) -> str:
    facts = _facts(detector, row, record, explanation, cut)
    names = [name for name in detector.preprocessor.schema_.names(Role.IDENTIFIER) if name in record.index][:2]
    which = "".join(f", {name} {printable(record[name])}" for name in names)
    side = "below" if explanation.is_alert else "above" if explanation.score > cut else "at"
    lines = [
        f"Row {row:,}{which}: {'an alert' if explanation.is_alert else 'no alert'}",
        f"anomaly_score {facts['anomaly_score']:.4f}: score {explanation.score:.4f}, {side} the threshold {cut:.4f}"
        f" (a usual record has {explanation.base:.4f});"
        f" p-value {facts['p_value']:.2g}, severity {facts['severity']:.0f} of 100",
        "",
        printable(facts["reason"]),
        "",
    ]
    reasons = [_cells(reason) for reason in explanation.contributions]
    share = max(0.0, 1.0 - sum(reason.share for reason in explanation.contributions))
    rest = {"share": percent(share), "effect": f"{explanation.rest:+.4f}", "what": "everything else"}
    lines.append(
        table(
            [*reasons, {**rest, "value": "", "usual": "", "usual range": ""}],
            right=frozenset({"share", "effect"}),
        )
    )
    values = {str(name): "" if plain(value) is None else printable(value) for name, value in record.items()}
    lines += ["", table([{"column": name, "value": value} for name, value in values.items()])]
    return "\n".join(lines)


def _cells(reason: Contribution) -> dict[str, str]:
    """A reason as a row of the table; `number` and the like say what a float would not."""
    value, expected, between = reason.value, reason.expected, "-"
    if reason.direction in ("rare", "missing"):
        seen = expected if isinstance(expected, list) else [expected]
        usual = " of ".join(number(count) for count in seen) + " records"
    elif reason.direction == "repeated":
        usual = "once"
    else:
        usual = number(expected)
        if reason.expected_range is not None:
            whole = "." not in number(value) + usual
            between = number_range(reason.expected_range, whole=whole)
    parts = value if isinstance(value, list) else [value]
    shown = [number(part) if isinstance(part, (int, float)) else short(part or "(missing)", _LONGEST) for part in parts]
    return {
        "share": percent(reason.share),
        "effect": f"{reason.effect:+.4f}",
        "what": printable(short(reason.feature, _LONGEST + 20)),
        "value": printable(", ".join(shown)),
        "usual": usual,
        "usual range": between,
    }
