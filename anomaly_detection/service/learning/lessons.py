"""What verdicts on a stream's alerts teach its model, read from the alerts themselves: undone, it is gone."""

from __future__ import annotations

from collections import Counter
from itertools import chain, repeat
from typing import Any

import orjson
from sqlalchemy import Connection, String, cast, func, select, update

from anomaly_detection.features.evidence.lessons import ANOMALY, MOST_LESSONS, NORMAL, Lessons
from anomaly_detection.service.storage.tables import alerts, streams

__all__ = ["TEACHES", "leading_feature", "lessons_of", "note_verdicts"]

_AT_ONCE = 500

TEACHES = {"real: fixed": ANOMALY, "real: accepted": ANOMALY, "false alarm": NORMAL}
"""Verdicts that teach: one that was expected is odd nevertheless, and of a duplicate the other is told."""


def lessons_of(connection: Connection, stream_id: int, led: dict[str, str]) -> Lessons:
    """The verdicts of a stream's newest alerts, each on the feature of its first reason, by features and verdicts.

    `led` has that feature of alerts by their numbers, as texts, and is brought up to date: only new ones are read.
    """
    # Tens of thousands of rows take longer than a text that has all their numbers.
    numbers = func.aggregate_strings(cast(alerts.c.id, String), ",")
    query = select(alerts.c.verdict, numbers).group_by(alerts.c.verdict)
    mine = (alerts.c.stream_id == stream_id, alerts.c.state == "resolved", alerts.c.verdict.in_(TEACHES))
    found = {verdict: listed.split(",") for verdict, listed in connection.execute(query.where(*mine))}
    every = set().union(*found.values())
    if len(every) > MOST_LESSONS:
        every = set(sorted(every, key=int)[-MOST_LESSONS:])
        found = {verdict: [each for each in listed if each in every] for verdict, listed in found.items()}
    new = [int(each) for each in every if each not in led]
    if len(led) + len(new) > len(every):
        # A number that is gone may be given to another alert.
        for gone in led.keys() - every:
            del led[gone]
    for first in range(0, len(new), _AT_ONCE):
        some = alerts.c.id.in_(new[first : first + _AT_ONCE])
        for number, reasons in connection.execute(select(alerts.c.id, alerts.c.contributions).where(some)):
            led[str(number)] = leading_feature(reasons)
    counts = Counter[tuple[str, int]]()
    for verdict, listed in found.items():
        for feature, count in Counter(map(led.__getitem__, listed)).items():
            counts[feature, TEACHES[verdict]] += count
    log = sorted(counts.items())
    features = chain.from_iterable(repeat(feature, count) for (feature, _), count in log)
    return Lessons(tuple(features), tuple(chain.from_iterable(repeat(verdict, count) for (_, verdict), count in log)))


def leading_feature(contributions: str) -> str:
    """Of an alert's first reason; empty where nothing stands out."""
    reasons = orjson.loads(contributions)
    return str(reasons[0]["feature"]) if reasons else ""


def note_verdicts(connection: Connection, of_streams: Any) -> None:
    """Have what judges these streams, a query of ids, look at their verdicts anew."""
    connection.execute(update(streams).where(streams.c.id.in_(of_streams)).values(taught=streams.c.taught + 1))
