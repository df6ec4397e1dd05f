"""Records into the database, with their verdicts; alerts among them raised, or counted where they came before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from anomaly_detection.service.alerts.audit import write_audit
from anomaly_detection.service.alerts.cases import cause_key, place, raised, show_again
from anomaly_detection.service.alerts.drift_cases import changed_columns, drift_cause
from anomaly_detection.service.alerts.reasons import kept_reasons, kept_words
from anomaly_detection.service.alerts.rules import Rule, hiding
from anomaly_detection.service.jobs.jobs import add_job, is_training
from anomaly_detection.service.records.incoming import without_nul
from anomaly_detection.service.records.record_book import NOT_JUDGED
from anomaly_detection.service.records.verdicts import VERDICT, Judged, Verdicts
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import alerts, cases, models, records, streams
from anomaly_detection.service.storage.tables import rules as rules_table
from anomaly_detection.service.storage.zones import quarter_of
from anomaly_detection.service.streams.streams import Stream
from anomaly_detection.texts.said import written

__all__ = ["Kept", "keep", "next_waiting", "recent_records", "settle"]

_LONGEST = 255
_AT_ONCE = 500
"""Values of one IN: older SQLite takes 999."""

# Made once: making it takes as long as running it.
_COUNT = (
    update(streams)
    .where(streams.c.id == bindparam("stream"))
    .values(
        {name: streams.c[name] + bindparam(f"{name} more") for name in ("judged", "waiting", "refused", "alerting")}
    )
)

_KNOWN = select(alerts.c.fingerprint, alerts.c.id, alerts.c.case_id, alerts.c.hidden_by).where(
    alerts.c.stream_id == bindparam("stream"), alerts.c.fingerprint.in_(bindparam("some", expanding=True))
)
_RAISED = insert(alerts)

_COUNT_QUARTER = text(
    "INSERT INTO quarters (stream_id, quarter, records, alerting) VALUES (:stream, :quarter, :records, :alerting)"
    " ON CONFLICT (stream_id, quarter) DO UPDATE SET records = quarters.records + excluded.records,"
    " alerting = quarters.alerting + excluded.alerting"
)

_FATE = ("state", "error", "model_id", "alert_id", *VERDICT)
_COLUMNS = ("id", "stream_id", "received", "sent_id", "body", *_FATE)


class Kept:
    """Where records were put: `record_ids` and `alert_ids` (None for what is no alert), in their order."""

    def __init__(self, record_ids: Sequence[int], alert_ids: Sequence[int | None]) -> None:
        self.record_ids, self.alert_ids = record_ids, alert_ids


def keep(
    connection: Connection, stream: Stream, model_id: int | None, found: Verdicts, rules: Sequence[Rule] = ()
) -> Kept:
    """Keep records, in the transaction of the connection; training begins where enough of them wait for a model.

    `rules` are those of the stream that hide alerts.
    """
    if not len(found):
        return Kept([], [])
    moment = now()
    alert_ids = _raise_alerts(connection, stream.id, found, moment, rules)
    record_ids = _numbers(connection, "records", len(found))
    incoming = found.incoming
    columns = (
        record_ids,
        [stream.id] * len(found),
        [moment] * len(found),
        [each.sent_id for each in incoming],
        [each.body for each in incoming],
        *_fates(found, model_id, alert_ids),
    )
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(_COLUMNS))
    # By the driver itself: what SQLAlchemy adds for each row takes longer than the row does.
    connection.exec_driver_sql(
        f"INSERT INTO records ({', '.join(_COLUMNS)}) VALUES ({marks})", list(zip(*columns, strict=True))
    )
    _count(connection, stream.id, found)
    quarter = {"quarter": quarter_of(moment), "records": len(found), "alerting": len(found.alerting)}
    connection.execute(_COUNT_QUARTER, {"stream": stream.id, **quarter})
    if found.counts["waiting"]:
        _learn_if_enough(connection, stream)
    return Kept(record_ids, alert_ids)


def _numbers(connection: Connection, table: str, count: int) -> Sequence[int]:
    """Numbers for so many rows of a table, which nobody else has: writers take turns."""
    if connection.dialect.name == "sqlite":
        last = connection.exec_driver_sql(f"SELECT max(id) FROM {table}").scalar() or 0
        return range(last + 1, last + 1 + count)
    drawn = f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')) FROM generate_series(1, %s)"
    return sorted(connection.exec_driver_sql(drawn, (count,)).scalars())


def next_waiting(connection: Connection, stream_id: int, most: int) -> list[tuple[int, str]]:
    """Ids and bodies of the oldest records that wait for a verdict."""
    # Told twice: the second is in the words of the index of those few.
    mine = (records.c.stream_id == stream_id, records.c.state == "waiting", NOT_JUDGED)
    query = select(records.c.id, records.c.body).where(*mine).order_by(records.c.id).limit(most)
    return [(number, body) for number, body in connection.execute(query)]


def settle(
    connection: Connection,
    stream_id: int,
    model_id: int,
    ids: Sequence[int],
    found: Verdicts,
    rules: Sequence[Rule] = (),
) -> None:
    """Write the verdicts of records that waited for a model."""
    alert_ids = _raise_alerts(connection, stream_id, found, now(), rules)
    fates = zip(*_fates(found, model_id, alert_ids), strict=True)
    rows = [{"record": number, **dict(zip(_FATE, fate, strict=True))} for number, fate in zip(ids, fates, strict=True)]
    connection.execute(update(records).where(records.c.id == bindparam("record")), rows)
    _count(connection, stream_id, found, waited=len(found))
    _count_alerting(connection, stream_id, [ids[place] for place in found.alerting])


def _fates(found: Verdicts, model_id: int | None, alert_ids: Sequence[int | None]) -> list[Sequence[Any]]:
    """What the rows of records say of their verdicts, by the columns of `_FATE`."""
    told = {place: without_nul(written(error)) for place, error in found.errors.items()}
    errors = [told.get(place) for place in range(len(found))]
    models_of = [model_id if state == "judged" else None for state in found.states]
    return [found.states, errors, models_of, alert_ids, *found.columns()]


def _count(connection: Connection, stream_id: int, found: Verdicts, waited: int = 0) -> None:
    """Count records of each fate, of which so many waited before."""
    more = {f"{state} more": found.counts[state] for state in ("judged", "waiting", "refused")}
    more["waiting more"] -= waited
    connection.execute(_COUNT, {"stream": stream_id, **more, "alerting more": len(found.alerting)})


def _count_alerting(connection: Connection, stream_id: int, ids: Sequence[int]) -> None:
    """Count records that turned out to be alerts in the quarters of an hour when they came."""
    minute = func.substr(records.c.received, 1, 16)
    for first in range(0, len(ids), _AT_ONCE):
        query = select(minute, func.count()).where(records.c.id.in_(ids[first : first + _AT_ONCE])).group_by(minute)
        for begin, alerting in connection.execute(query).all():
            counts = {"quarter": quarter_of(begin), "records": 0, "alerting": alerting}
            connection.execute(_COUNT_QUARTER, {"stream": stream_id, **counts})


def _learn_if_enough(connection: Connection, stream: Stream) -> None:
    row = connection.execute(select(streams).where(streams.c.id == stream.id)).mappings().one()
    has_model = connection.execute(select(models.c.id).where(models.c.stream_id == stream.id).limit(1)).first()
    if Stream.of(row).kept >= row["learn_at"] and has_model is None and not is_training(connection, stream.id):
        add_job(connection, "train", stream.id)


def _raise_alerts(
    connection: Connection, stream_id: int, found: Verdicts, moment: str, rules: Sequence[Rule]
) -> list[int | None]:
    """The id of each record's alert, None for none; a record that came before, or twice, adds to its count."""
    numbers: list[int | None] = [None] * len(found)
    alerting = {each.incoming.fingerprint: each for each in found.alerting.values()}
    if not alerting:
        return numbers
    counts = Counter(each.incoming.fingerprint for each in found.alerting.values())
    hidden = {print_: hiding(rules, each.incoming.fields, _column(each), moment) for print_, each in alerting.items()}
    _count_hidden(connection, hidden, counts, moment)
    known = {
        fingerprint: (int(number), case_id, hidden_by)
        for some in _parts(list(alerting))
        for fingerprint, number, case_id, hidden_by in connection.execute(_KNOWN, {"stream": stream_id, "some": some})
    }
    shown = []
    for fingerprint, (number, case_id, hidden_by) in known.items():
        again: dict[str, Any] = {"count": alerts.c.count + counts[fingerprint], "last_seen": moment}
        if hidden_by is not None:
            # Where its rule does not hold any more, it is seen again.
            again["hidden_by"] = hidden[fingerprint]
        connection.execute(update(alerts).where(alerts.c.id == number).values(again))
        if hidden_by is not None and hidden[fingerprint] is None:
            shown.append(number)
        elif hidden_by is None and case_id is not None:
            more = {"count": cases.c.count + counts[fingerprint], "last_seen": moment}
            connection.execute(update(cases).where(cases.c.id == case_id).values(more))
    if shown:
        rows_shown = connection.execute(select(alerts).where(alerts.c.id.in_(shown))).mappings()
        show_again(connection, stream_id, list(rows_shown))
    ids = {fingerprint: number for fingerprint, (number, _, _) in known.items()}
    new = [fingerprint for fingerprint in alerting if fingerprint not in known]
    if new:
        rows = [_alert_row(stream_id, alerting[each], counts[each], moment, hidden[each]) for each in new]
        changed = changed_columns(connection, stream_id)
        for row in rows:
            if row["lead_column"] in changed:
                # All that one changed column leads to is one case.
                row |= {"cause": drift_cause(row["lead_column"]), **changed[row["lead_column"]]}
        _put_into_cases(connection, stream_id, rows)
        # The database would give numbers to one row at a time.
        made = _numbers(connection, "alerts", len(new))
        connection.execute(_RAISED, [{"id": number, **row} for number, row in zip(made, rows, strict=True)])
        ids |= dict(zip(new, made, strict=True))
        raised = [(ids[each], None, {"state": "open"}) for each in new]
        write_audit(connection, "service", "raise", "alert", raised)
    for place_of, each in found.alerting.items():
        numbers[place_of] = ids[each.incoming.fingerprint]
    return numbers


def _count_hidden(
    connection: Connection, hidden: Mapping[str, int | None], counts: Mapping[str, int], moment: str
) -> None:
    """Count what each rule hides."""
    by_rule = Counter[int]()
    for fingerprint, rule in hidden.items():
        if rule is not None:
            by_rule[rule] += counts[fingerprint]
    for rule, count in by_rule.items():
        more = {"hidden": rules_table.c.hidden + count, "last_hidden": moment}
        connection.execute(update(rules_table).where(rules_table.c.id == rule).values(more))


def _put_into_cases(connection: Connection, stream_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Give the rows of new alerts that no rule hides their cases."""
    seen = [row for row in rows if row["hidden_by"] is None]
    for row, number in zip(seen, place(connection, stream_id, [raised(row) for row in seen]), strict=True):
        row["case_id"] = number


def _column(each: Judged) -> str:
    return "" if each.cause is None else each.cause.column[:_LONGEST]


def _alert_row(stream_id: int, each: Judged, count: int, moment: str, hidden_by: int | None) -> dict[str, Any]:
    alert = each.alert
    assert alert is not None
    about = "" if each.cause is None else each.cause.text
    return {
        "stream_id": stream_id,
        "fingerprint": each.incoming.fingerprint,
        "state": "open",
        "count": count,
        "first_seen": moment,
        "last_seen": moment,
        "severity": alert.severity,
        "risk_level": alert.risk_level,
        "decision": alert.decision,
        "reason": without_nul(alert.sentence),
        "contributions": orjson.dumps(kept_reasons(alert)).decode(),
        "record": each.incoming.body,
        "sent_id": each.incoming.sent_id,
        "lead_column": without_nul(_column(each))[:_LONGEST],
        "cause": cause_key(each.cause),
        "about": without_nul(about),
        "said": kept_words(about, alert),
        "amount": each.amount,
        "hidden_by": hidden_by,
        "case_id": None,
    }


def _parts(values: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(values), _AT_ONCE):
        yield values[first : first + _AT_ONCE]


def recent_records(connection: Connection, stream_id: int, most: int) -> list[str]:
    """The newest records that can be learned from, as JSON, the oldest first."""
    query = (
        select(records.c.body)
        .where(records.c.stream_id == stream_id, records.c.state != "refused")
        .order_by(records.c.id.desc())
        .limit(most)
    )
    return list(connection.execute(query).scalars())[::-1]
