"""What stands beside an alert: its odd values among those of their group and over time, and usual records like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pandas as pd
from sqlalchemy import Connection, func, select

from anomaly_detection.alerts.neighbours import DISTANCE, nearest
from anomaly_detection.alerts.spread import quantity_of, spread_of
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.explain.explanations import Contribution
from anomaly_detection.service.access.masking import hides
from anomaly_detection.service.alerts.alert_book import ALERTS
from anomaly_detection.service.http.fields import holds
from anomaly_detection.service.http.shapes import COUNT, FLAG, OBJECT, TEXT, array, maybe, record
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import alerts, records

__all__ = ["CONTEXT", "WINDOW", "Window", "context_of", "subject_of", "window_of"]

WINDOW = 3_000
"""Newest judged records of the stream that are looked at, and newest alerts."""

_POINTS, _NEAREST, _BEFORE = 400, 3, 10
_FEW = 8
"""Records that are too few to be seen among."""

_PARTIES = frozenset({"supplier", "vendor", "carrier", "sensor", "device", "machine", "meter", "station"})
"""Words in the names of columns that say whose record it is."""

_NUMBER = {"type": "number"}
_SUBJECT = {"column": TEXT, "value": TEXT}
CONTEXT = record(
    {
        "alert_id": COUNT,
        "records": COUNT,
        "model_version": maybe(COUNT),
        "odd": array(
            record(
                {
                    "columns": array(TEXT),
                    "spread": maybe(
                        record(
                            {
                                "what": TEXT,
                                "counts": array(COUNT),
                                "place": _NUMBER,
                                "value": TEXT,
                                "ends": array(TEXT),
                                "even": FLAG,
                                "levels": FLAG,
                            }
                        )
                    ),
                    "over_time": maybe(
                        record(
                            {
                                "what": TEXT,
                                "by": TEXT,
                                "at": array(_NUMBER),
                                "values": array(_NUMBER),
                                "own_at": maybe(_NUMBER),
                                "own": _NUMBER,
                            }
                        )
                    ),
                },
            )
        ),
        "distance": TEXT,
        "compared": array(TEXT),
        "nearest": array(record({"record_id": COUNT, "distance": _NUMBER, "differs": array(TEXT), "record": OBJECT})),
        "subject": maybe(record({**_SUBJECT, "records": COUNT, "alerting": COUNT})),
        "before": array(ALERTS.row),
    }
)
"""The shape of `context_of`."""


@dataclass(frozen=True)
class Window:
    """The newest judged records of a stream, the oldest first.

    Attributes
    ----------
    ids : sequence of int
    received : sequence of str
    alert_ids : sequence of int or None
    records : sequence of dict
        As they came.
    """

    ids: Sequence[int]
    received: Sequence[str]
    alert_ids: Sequence[int | None]
    records: Sequence[dict[str, Any]]

    def at(self, places: Sequence[int]) -> Window:
        """Those at some places."""
        columns = (self.ids, self.received, self.alert_ids, self.records)
        return Window(*([each[place] for place in places] for each in columns))  # type: ignore[arg-type]


def window_of(connection: Connection, stream_id: int, most: int = WINDOW) -> Window:
    """Read the newest judged records of a stream."""
    query = (
        select(records.c.id, records.c.received, records.c.alert_id, records.c.body)
        .where(records.c.stream_id == stream_id, records.c.state == "judged")
        .order_by(records.c.id.desc())
        .limit(most)
    )
    rows = connection.execute(query).all()[::-1]
    ids, received, alert_ids, bodies = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Window(ids, received, alert_ids, [orjson.loads(body) for body in bodies])


def subject_of(judge: Judge | None, alert: Mapping[str, Any]) -> tuple[str, str] | None:
    """Whose record it is: the column and the value of a supplier, a sensor or such, else of the group within which the
    first reason judges; None where there is neither.
    """
    values = alert["record"]
    # "Vendor" names it sooner than "Vendor INCO Term" does.
    names = sorted((name for name in values if name_tokens(name) & _PARTIES), key=lambda name: len(name_tokens(name)))
    for reason in alert["reasons"][:1]:
        names += () if judge is None else judge.group_of(reason["feature"])
    shown = [name for name in names if not hides(name)]
    return next(((name, values[name]) for name in shown if isinstance(values.get(name), str) and values[name]), None)


def context_of(database: Database, stream_id: int, judge: Judge | None, alert: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside an alert.

    Parameters
    ----------
    database : Database
    stream_id : int
        The alert's.
    judge : Judge, optional
        What judges the stream now; without one nothing is drawn or compared.
    alert : mapping
        As `find_alert` gives it.
    """
    subject = subject_of(judge, alert)
    with database.reading() as connection:
        window = window_of(connection, stream_id)
        before = [] if subject is None else _before(connection, stream_id, alert["id"], *subject)
    made: dict[str, Any] = {
        "alert_id": alert["id"],
        "records": len(window.ids),
        "model_version": None if judge is None else judge.version,
        "odd": [],
        "distance": DISTANCE,
        "compared": [],
        "nearest": [],
        "subject": None,
        "before": before,
    }
    if subject is not None:
        name, value = subject
        mine = [place for place, each in enumerate(window.records) if each.get(name) == value]
        alerting = sum(window.alert_ids[place] is not None for place in mine)
        made["subject"] = {"column": name, "value": value, "records": len(mine), "alerting": alerting}
    if judge is not None:
        made |= _Beside(judge, window, alert, subject).told()
    return made


def _before(connection: Connection, stream_id: int, number: int, name: str, value: str) -> list[dict[str, Any]]:
    """The newest other alerts of a subject, among the newest of the stream."""
    newest = select(alerts.c.id).where(alerts.c.stream_id == stream_id).order_by(alerts.c.id.desc()).limit(WINDOW)
    since = connection.execute(select(func.min(newest.subquery().c.id))).scalar()
    condition = holds(connection, alerts.c.record, name, value)
    query = ALERTS.query.where(alerts.c.stream_id == stream_id, alerts.c.id >= since, alerts.c.id != number, condition)
    rows = connection.execute(query.order_by(alerts.c.id.desc()).limit(_BEFORE)).mappings()
    return [ALERTS.render(row) for row in rows]


class _Beside:
    """An alert's record and those of a window, cleaned as its stream's model cleans them.

    The record itself is the last row of `clean`, after those of `window` that can be read together with it.
    """

    def __init__(self, judge: Judge, window: Window, alert: Mapping[str, Any], subject: tuple[str, str] | None) -> None:
        self._judge, self._alert, self._subject = judge, alert, subject
        incoming = [Incoming(each) for each in (*window.records, alert["record"])]
        places, self._clean = judge.read(incoming)
        self._is_read = bool(places) and places[-1] == len(window.records)
        self._window = window.at(places[:-1]) if self._is_read else window.at(())

    def told(self) -> dict[str, Any]:
        """The members of the context that this makes."""
        if not self._is_read:
            return {}
        reasons = [_reason(each) for each in self._alert["reasons"]]
        compared, found = self._nearest({name for each in reasons for name in each.columns})
        return {"odd": [self._odd(each) for each in reasons], "compared": compared, "nearest": found}

    @cached_property
    def _own(self) -> pd.Series[Any]:
        return self._clean.iloc[-1]

    def _odd(self, reason: Contribution) -> dict[str, Any]:
        source = self._judge.source_of(reason.feature)
        seen: dict[str, Any] = {"columns": list(reason.columns), "spread": None, "over_time": None}
        if source is None or any(map(hides, (*reason.columns, *source.columns))):
            return seen
        others = self._clean.iloc[:-1]
        spread = spread_of(reason, self._own, source, others, _FEW)
        quantity = quantity_of(reason, self._own, source, self._clean)
        if spread is not None:
            seen["spread"] = {**asdict(spread), "counts": list(spread.counts), "ends": list(spread.ends)}
        if quantity is not None:
            seen["over_time"] = self._over_time(quantity.name, quantity.values)
        return seen

    def _over_time(self, name: str, values: Any) -> dict[str, Any] | None:
        """The newest values of the subject, or of all, by the main date, else by when they came."""
        window, date = self._window, self._judge.headline.date
        seen, what = np.isfinite(values[:-1]), name
        if self._subject is not None:
            column, value = self._subject
            is_mine = seen & np.array([each.get(column) == value for each in window.records], dtype=bool)
            if is_mine.sum() >= _FEW:
                seen, what = is_mine, f"{name} of {value}"
        if date is None or hides(date):
            date = None
            at = np.array([_seconds(each) for each in window.received], dtype=np.float64)
            own_at = _seconds(self._alert["first_seen"])
        else:
            moments = self._clean[date].to_numpy().astype("datetime64[ns]")
            every = np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e9)
            at, own_at = every[:-1], float(every[-1])
        places = np.flatnonzero(seen & np.isfinite(at))[-_POINTS:]
        if not places.size:
            return None
        places = places[np.argsort(at[places], kind="stable")]
        return {
            "what": what,
            "by": date or "when it came",
            "at": at[places].tolist(),
            "values": values[places].tolist(),
            "own_at": own_at if np.isfinite(own_at) else None,
            "own": float(values[-1]),
        }

    def _nearest(self, odd: set[str]) -> tuple[list[str], list[dict[str, Any]]]:
        """The columns that are compared, all that are judged but the odd ones, and the nearest usual records."""
        names = [name for name in self._judge.compared if name in self._clean and not hides(name)]
        # What is another in most records names them; it says of none that it is like another.
        most = 0.5 * len(self._clean)
        names = [name for name in names if name in odd or self._is_number(name) or self._clean[name].nunique() <= most]
        compared = [name for name in names if name not in odd] or names
        usual = [place for place, number in enumerate(self._window.alert_ids) if number is None]
        window = self._window.at(usual)
        also = [name for name in names if name in odd]
        found = nearest(self._own, self._clean.iloc[usual], compared, _NEAREST, also)
        return compared, [
            {
                "record_id": window.ids[each.place],
                "distance": each.distance,
                "differs": list(each.differs),
                "record": window.records[each.place],
            }
            for each in found
        ]

    def _is_number(self, name: str) -> bool:
        return pd.api.types.is_numeric_dtype(self._clean[name])


def _reason(kept: Mapping[str, Any]) -> Contribution:
    values = {each.name: kept.get(each.name) for each in fields(Contribution)}
    return Contribution(**{**values, "columns": tuple(kept["columns"])})  # type: ignore[arg-type]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
