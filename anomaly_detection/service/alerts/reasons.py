"""Reasons as they are kept with an alert, and as its viewer reads them: by a catalogue, English without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import RowMapping

from anomaly_detection.alerts.alert import IN_WORDS, Alert
from anomaly_detection.explain.wording import sentence
from anomaly_detection.texts.said import kept
from anomaly_detection.texts.viewer import VIEWER, retold, worded

__all__ = ["about_of", "kept_reasons", "kept_words", "reason_of", "summary", "worded_reasons"]


def kept_reasons(alert: Alert) -> list[dict[str, Any]]:
    """What is kept of an alert's reasons: their values, and what their texts are made of."""
    return [{**vars(reason), "columns": list(reason.columns), "text": kept(reason.text)} for reason in alert.reasons]


def kept_words(about: str, alert: Alert | None = None) -> str:
    """What is kept as ``said`` beside English words: what it is about and, without reasons, the sentence."""
    words = {"about": kept(about)}
    if alert is not None and not alert.reasons:
        words["reason"] = kept(alert.sentence)
    return orjson.dumps(words).decode()


def worded_reasons(reasons: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Reasons as they are kept, with texts for the viewer."""
    return [{**each, "text": worded(each["text"])} for each in reasons]


def summary(reasons: Sequence[Mapping[str, Any]], *, alert: bool) -> str:
    """The sentence on reasons whose texts are the viewer's."""
    return retold(sentence([(each["text"], each["share"]) for each in reasons[:IN_WORDS]], alert=alert))


def about_of(row: RowMapping) -> str:
    """What the row of an alert or a case is about, for the viewer."""
    if _is_english(row):
        return str(row["about"])
    return worded(orjson.loads(row["said"])["about"])


def reason_of(row: RowMapping) -> str:
    """The reason of an alert's row, for the viewer."""
    if _is_english(row):
        return str(row["reason"])
    reasons = orjson.loads(row["contributions"])
    return summary(worded_reasons(reasons), alert=True) if reasons else worded(orjson.loads(row["said"])["reason"])


def _is_english(row: RowMapping) -> bool:
    # Rows of before version 11 have nothing else.
    return VIEWER.get().language == "en" or row["said"] is None
