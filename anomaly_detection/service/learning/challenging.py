"""A challenger: what it learns from, and what it is compared on with the model that judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import orjson
from sqlalchemy import Connection, func, select

from anomaly_detection.detector import Detector
from anomaly_detection.evaluation.comparison import Comparison, compare
from anomaly_detection.service.learning.models import current_models, learned_until
from anomaly_detection.service.records.in_effect import judge_in_effect
from anomaly_detection.service.records.incoming import Incoming, table
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.clock import as_text
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import alerts, drift, jobs, models, records, streams
from anomaly_detection.service.streams.stream_settings import StreamSettings

__all__ = ["Challenge", "challenged", "to_retrain"]

_MOST = 50_000
_MOST_COMPARED = 2_000
_FEWEST_COMPARED = 20
_ANOMALIES = ("real: fixed", "real: accepted")


@dataclass(frozen=True)
class Challenge:
    """Records to learn from, and newer ones to compare on.

    Attributes
    ----------
    champion : Judge
        What judges now, by what verdicts have taught.
    learned : list of Incoming
        Without known anomalies.
    newest : list of Incoming
    verdicts : mapping of int to bool
        By the place in `newest`: whether it is an anomaly.
    has_learned : bool
        Whether the champion learned from some of `newest`.
    """

    champion: Judge
    learned: list[Incoming]
    newest: list[Incoming]
    verdicts: Mapping[int, bool]
    has_learned: bool

    @property
    def every(self) -> list[Incoming]:
        """What it learns from once it was compared: the newest too, for they are what has changed."""
        return [*self.learned, *(one for place, one in enumerate(self.newest) if not self.verdicts.get(place))]

    def compared(self, challenger: Detector) -> Comparison:
        """Beside the champion, both as they judge in effect: by the same lessons, at the same ratio."""
        champion = self.champion
        taught = Judge(challenger, 0, 0).again(champion.lessons, champion.taught, champion.ratio)
        rows = table([each.judgeable for each in self.newest])
        found = compare(champion.detector, taught.detector, rows, self.verdicts)
        return replace(found, has_learned=self.has_learned)


def challenged(database: Database, models_dir: Path, stream_id: int) -> Challenge | None:
    """The newest of a stream's judged records, and those before; None where there is no model or too little.

    They are those that the champion has not learned from, at most a fifth; where these are fewer than 20, a fifth. Of
    known anomalies nothing is learned: of records whose alert, or its case, was found real. What a rule hides, is
    expected or a false alarm is as usual as the rest.
    """
    with database.reading() as connection:
        row = current_models(connection).get(stream_id)
        query = (
            select(records.c.body, alerts.c.verdict, records.c.received)
            .outerjoin(alerts, records.c.alert_id == alerts.c.id)
            .where(records.c.stream_id == stream_id, records.c.state == "judged")
            .order_by(records.c.id.desc())
            .limit(_MOST)
        )
        found = list(connection.execute(query).all())[::-1]
        until = "" if row is None else learned_until(connection, row["id"])
    count, fresh = min(len(found) // 5, _MOST_COMPARED), sum(one.received > until for one in found)
    if fresh >= _FEWEST_COMPARED:
        count = min(count, fresh)
    if row is None or count < _FEWEST_COMPARED:
        return None
    said = [(place, one.verdict) for place, one in enumerate(found[-count:]) if one.verdict is not None]
    # Of duplicates nobody said whether they are odd.
    verdicts = {place: verdict in _ANOMALIES for place, verdict in said if verdict != "duplicate"}
    learned = [Incoming(orjson.loads(one.body)) for one in found[:-count] if one.verdict not in _ANOMALIES]
    newest = [Incoming(orjson.loads(one.body)) for one in found[-count:]]
    champion = judge_in_effect(database, models_dir, row)
    return Challenge(champion, learned, newest, verdicts, found[-count].received <= until)


def to_retrain(connection: Connection) -> list[int]:
    """The streams whose settings ask for a challenger now, and that train none."""
    moment = datetime.now(timezone.utc)
    trains = select(jobs.c.id).where(
        jobs.c.stream_id == streams.c.id, jobs.c.kind == "train", jobs.c.state.in_(("queued", "running"))
    )
    tried = (
        select(func.max(jobs.c.created))
        .where(jobs.c.stream_id == streams.c.id, jobs.c.kind == "train")
        .scalar_subquery()
    )
    made = select(func.max(models.c.created)).where(models.c.stream_id == streams.c.id).scalar_subquery()
    query = (
        select(streams.c.id, streams.c.settings, drift.c.grown, made.label("made"), tried.label("tried"))
        .outerjoin(drift, drift.c.stream_id == streams.c.id)
        .where(streams.c.deleted.is_(None), streams.c.model_version.is_not(None), ~trains.exists())
    )
    due = []
    for row in connection.execute(query):
        settings = StreamSettings.of(row.settings)
        last = max(row.made, row.tried or "")
        days = settings.retrain_days
        is_old = days is not None and last < as_text(moment - timedelta(days=days))
        if is_old or (settings.retrain_on_drift and (row.grown or "") > last):
            due.append(row.id)
    return due
