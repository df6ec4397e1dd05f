"""Rules that verdicts speak for: of false alarms that share the column they are about and the group."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson
from sqlalchemy import Connection, select

from anomaly_detection.service.alerts.rules import Rule, rules_of
from anomaly_detection.service.learning.lessons import TEACHES, leading_feature
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.tables import alerts

__all__ = ["proposed"]

_FEWEST, _MOST, _READ = 3, 5, 2_000


def proposed(connection: Connection, stream_id: int, judge: Judge) -> list[tuple[Rule, list[int]]]:
    """Rules and the false alarms that each is of, the newest first; the rule of the most comes first.

    Three of one kind are a pattern, where no alert of that kind was real and no rule hides it yet. Weights of evidence
    reach them only together with all else that their feature tells.
    """
    query = (
        select(alerts.c.id, alerts.c.verdict, alerts.c.lead_column, alerts.c.contributions, alerts.c.record)
        .where(alerts.c.stream_id == stream_id, alerts.c.state == "resolved", alerts.c.verdict.in_(TEACHES))
        .where(alerts.c.lead_column != "")
        .order_by(alerts.c.id.desc())
        .limit(_READ)
    )
    found: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for number, verdict, column, contributions, body in connection.execute(query):
        fields: dict[str, Any] = orjson.loads(body)
        grouped = judge.group_of(leading_feature(contributions))
        where = {name: fields[name] for name in grouped if isinstance(fields.get(name), str)}
        found[column, orjson.dumps(where).decode()].append((number, verdict))
    holding = {(rule.column, orjson.dumps(dict(rule.where)).decode()) for rule in rules_of(connection, stream_id)}
    kinds = [
        (Rule(0, column, orjson.loads(where), None), [number for number, _ in judged])
        for (column, where), judged in found.items()
        if len(judged) >= _FEWEST
        and all(verdict == "false alarm" for _, verdict in judged)
        and (column, where) not in holding
    ]
    return sorted(kinds, key=lambda kind: -len(kind[1]))[:_MOST]
