"""`Retention`: how long records are kept, and what goes when that is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone

import orjson
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, or_, select, update

from anomaly_detection.service.alerts.case_totals import recount
from anomaly_detection.service.jobs.jobs import add_job
from anomaly_detection.service.learning.lessons import note_verdicts
from anomaly_detection.service.storage.clock import as_text
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import (
    METADATA,
    alerts,
    cases,
    idempotency,
    jobs,
    letters,
    messages,
    records,
    streams,
)
from anomaly_detection.service.streams.stream_settings import StreamSettings

__all__ = ["Retention", "forget", "queue_forgetting", "to_forget"]

_EVERY = timedelta(hours=1)
_AT_ONCE = 500
"""Rows of a transaction, and values of one IN: requests wait for no more."""


@dataclass(frozen=True)
class Retention:
    """What is kept of each stream whose settings do not say otherwise.

    Attributes
    ----------
    days : float or None
        Records that came longer ago go.
    records : int or None
        So many of the newest stay.
    """

    days: float | None = None
    records: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether anything ever goes."""
        return self.days is not None or self.records is not None

    def of(self, settings: StreamSettings) -> Retention:
        """What holds for a stream, whose own settings come first."""
        days = self.days if settings.keep_days is None else settings.keep_days
        return Retention(days, self.records if settings.keep_records is None else settings.keep_records)

    def written(self) -> str:
        """For the command line of a worker."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def read(cls, written: str) -> Retention:
        """What `written` gave."""
        return cls(**orjson.loads(written))


def queue_forgetting(connection: Connection, retention: Retention) -> None:
    """Queue a job for each stream of which something goes, by its settings or by this, and that had none lately."""
    for number in to_forget(connection, retention):
        add_job(connection, "forget", number)


def to_forget(connection: Connection, retention: Retention) -> list[int]:
    """The streams for which `queue_forgetting` would queue a job."""
    recent = as_text(datetime.now(timezone.utc) - _EVERY)
    had = select(jobs.c.id).where(jobs.c.stream_id == streams.c.id, jobs.c.kind == "forget", jobs.c.created > recent)
    # Of one that was deleted another job takes all.
    mine = select(streams.c.id, streams.c.settings).where(streams.c.deleted.is_(None), ~had.exists())
    return [row.id for row in connection.execute(mine) if retention.of(StreamSettings.of(row.settings)).is_limited]


def forget(database: Database, stream_id: int, retention: Retention) -> Iterator[int]:
    """Delete what of a stream need not be kept, some rows a transaction; gives the number of records after each.

    Records stay that wait for a verdict, and those of an alert that somebody may still look at: that is not resolved,
    or whose case is not, unless a rule hides it. Another alert goes with its last record, and a case that has no alert
    any more with its last alert. The newest row of a table always stays, for its number must not be given again.
    """
    before = as_text(datetime.now(timezone.utc) - timedelta(days=retention.days)) if retention.days is not None else ""
    with database.reading() as connection:
        last = _last_to_go(connection, stream_id, retention.records)
    done_with = select(alerts.c.id).where(alerts.c.id == records.c.alert_id, _is_done_with()).exists()
    place = 0
    while True:
        with database.writing() as connection:
            query = (
                select(records.c.id, records.c.alert_id)
                .where(records.c.stream_id == stream_id, records.c.id > place, records.c.state != "waiting")
                .where(or_(records.c.received < before, records.c.id <= last), _may_go(records))
                .where(or_(records.c.alert_id.is_(None), done_with))
                .order_by(records.c.id)
                .limit(_AT_ONCE)
            )
            rows = connection.execute(query).all()
            numbers = [row.id for row in rows]
            connection.execute(delete(records).where(records.c.id.in_(numbers)))
            _forget_alerts(connection, [row.alert_id for row in rows if row.alert_id is not None])
        if not rows:
            break
        place = numbers[-1]
        yield len(rows)
    with database.writing() as connection:
        _forget_the_rest(connection, stream_id, before)


def _last_to_go(connection: Connection, stream_id: int, kept: int | None) -> int:
    """The newest record that is too many; 0 where none is."""
    if kept is None:
        return 0
    mine = select(records.c.id).where(records.c.stream_id == stream_id).order_by(records.c.id.desc())
    return connection.execute(mine.offset(kept).limit(1)).scalar() or 0


def _is_done_with() -> ColumnElement[bool]:
    """That nobody needs to look at an alert any more."""
    state = select(cases.c.state).where(cases.c.id == alerts.c.case_id).scalar_subquery()
    is_over = or_(alerts.c.case_id.is_(None), state == "resolved")
    return or_(alerts.c.hidden_by.is_not(None), and_(alerts.c.state == "resolved", is_over))


def _may_go(table: Table, *besides: Table) -> ColumnElement[bool]:
    """That no row of another table names a row, and that it is not the newest."""
    named = [
        ~select(column).where(column == table.c.id).exists()
        for other in METADATA.tables.values()
        if other not in (table, *besides)
        for column in other.c
        if column.references(table.c.id)
    ]
    return and_(table.c.id < select(func.max(table.c.id)).scalar_subquery(), *named)


def _forget_alerts(connection: Connection, numbers: list[int]) -> None:
    """Of these, delete those that have no record any more, and the cases that have none of them left."""
    mine = (alerts.c.id.in_(set(numbers)), _is_done_with(), _may_go(alerts))
    gone = connection.execute(delete(alerts).where(*mine).returning(alerts.c.case_id, alerts.c.stream_id)).all()
    # What is forgotten teaches no more.
    note_verdicts(connection, {row.stream_id for row in gone})
    left = {row.case_id for row in gone} - {None}
    used = set(connection.execute(select(alerts.c.case_id).where(alerts.c.case_id.in_(left))).scalars())
    for number in used:
        recount(connection, number)
    _forget_cases(connection, left - used)


def _forget_cases(connection: Connection, numbers: set[int]) -> None:
    """Delete cases that have no alert any more, after those that were merged into them."""
    if not numbers:
        return
    merged = select(cases.c.id).where(cases.c.merged_into.in_(numbers))
    _forget_cases(connection, set(connection.execute(merged).scalars()))
    other = cases.alias()
    is_named = select(other.c.id).where(other.c.merged_into == cases.c.id).exists()
    mine = (cases.c.id.in_(numbers), ~is_named, _may_go(cases))
    gone = list(connection.execute(select(cases.c.id).where(*mine)).scalars())
    connection.execute(update(cases).where(cases.c.follows.in_(gone)).values(follows=None))
    connection.execute(delete(cases).where(cases.c.id.in_(gone)))


def _forget_the_rest(connection: Connection, stream_id: int, before: str) -> None:
    """Answers to requests with a key, jobs that are over, unread messages, and what notifications said of records."""
    connection.execute(update(messages).where(messages.c.created < before, messages.c.state == "sent").values(body=""))
    connection.execute(delete(idempotency).where(idempotency.c.stream_id == stream_id, idempotency.c.created < before))
    connection.execute(delete(letters).where(letters.c.stream_id == stream_id, letters.c.created < before))
    over = and_(jobs.c.stream_id == stream_id, jobs.c.state.not_in(("queued", "running")), _may_go(jobs))
    done = and_(jobs.c.kind == "forget", jobs.c.state == "done")
    newest = select(func.max(jobs.c.id)).where(jobs.c.stream_id == stream_id, done).scalar_subquery()
    connection.execute(delete(jobs).where(over, or_(jobs.c.created < before, and_(done, jobs.c.id < newest))))
