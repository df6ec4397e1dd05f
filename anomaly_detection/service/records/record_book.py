"""The kept records: filtered, paged and exported."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, literal_column, select

from anomaly_detection.service.http.fields import has_fields
from anomaly_detection.service.http.listing import Filter, Listing
from anomaly_detection.service.http.operations import Parameter
from anomaly_detection.service.http.shapes import COUNT, FLAG, MOMENT, OBJECT, TEXT, choice, maybe, record, text
from anomaly_detection.service.storage.tables import models, records, streams
from anomaly_detection.texts.viewer import reread

__all__ = ["NOT_JUDGED", "RECORD", "RECORDS"]

FATES = ("judged", "waiting", "refused")
NOT_JUDGED = literal_column("records.state") != literal_column("'judged'")
"""In the words of the index of those few."""

_NUMBER = maybe({"type": "number"})
RECORD = record(
    {
        "id": COUNT,
        "stream": TEXT,
        "received": TEXT,
        "sent_id": maybe(TEXT),
        "state": choice(*FATES),
        "error": maybe(TEXT),
        "is_alert": maybe(FLAG),
        "alert_id": maybe(COUNT),
        "score": _NUMBER,
        "decision": _NUMBER,
        "p_value": _NUMBER,
        "severity": _NUMBER,
        "risk_level": maybe(TEXT),
        "confidence": _NUMBER,
        "model_version": maybe(COUNT),
        "record": OBJECT,
    },
    closed=False,
)
"""The shape of a record."""


def _rendered(row: RowMapping) -> dict[str, Any]:
    made = {name: row[name] for name in RECORD["properties"] if name != "record"}
    return {**made, "error": reread(row["error"]), "record": orjson.loads(row["body"])}


def _of_stream(connection: Connection, value: str) -> Any:
    number = connection.execute(select(streams.c.id).where(streams.c.name == value)).scalar()
    return records.c.stream_id == (-1 if number is None else number)


def _of_fate(connection: Connection, value: str) -> Any:
    condition = records.c.state == value
    return condition if value == "judged" else condition & NOT_JUDGED


def _from(connection: Connection, value: str) -> Any:
    """By their numbers too, which grow with time: so the pages before are not gone through."""
    first = select(records.c.id).where(records.c.received >= value).order_by(records.c.received, records.c.id).limit(1)
    number = connection.execute(first).scalar()
    return records.c.received >= value if number is None else (records.c.received >= value) & (records.c.id >= number)


def _before(connection: Connection, value: str) -> Any:
    last = (
        select(records.c.id)
        .where(records.c.received < value)
        .order_by(records.c.received.desc(), records.c.id.desc())
        .limit(1)
    )
    number = connection.execute(last).scalar()
    return records.c.received < value if number is None else (records.c.received < value) & (records.c.id <= number)


RECORDS = Listing(
    "records",
    select(records, streams.c.name.label("stream"), models.c.version.label("model_version"))
    .join(streams, records.c.stream_id == streams.c.id)
    .outerjoin(models, records.c.model_id == models.c.id)
    .where(streams.c.deleted.is_(None)),
    records.c.id,
    {"newest": (records.c.id, True), "oldest": (records.c.id, False)},
    (
        Filter(Parameter("stream", "Only those of this stream.", text(64)), _of_stream),
        Filter(Parameter("state", "Only those that met this fate.", choice(*FATES)), _of_fate),
        Filter(
            Parameter("is_alert", "Only those that are alerts, or only those that are none.", FLAG),
            lambda _, value: records.c.alert_id.is_not(None) if value else records.c.alert_id.is_(None),
        ),
        Filter(
            Parameter("sent_id", "Only those that their sender calls so.", text(255)),
            lambda _, value: records.c.sent_id == value,
            looks_inside=True,
        ),
        has_fields(records.c.body),
        Filter(Parameter("since", "Received from this moment on.", MOMENT), _from),
        Filter(Parameter("until", "Received before this moment.", MOMENT), _before),
    ),
    _rendered,
    RECORD,
)
"""All records."""
