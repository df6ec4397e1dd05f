"""The tables of the database. `migrations` brings every database to them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = [
    "METADATA",
    "alerts",
    "audit",
    "idempotency",
    "jobs",
    "keys",
    "models",
    "records",
    "sessions",
    "streams",
    "users",
]

METADATA = MetaData()

_BIG = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by columns of this very name alone, and has whole numbers of one size."""

streams = Table(
    "streams",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created", String(32), nullable=False),
    # Counted here, for counting rows takes long.
    Column("judged", _BIG, nullable=False),
    Column("waiting", _BIG, nullable=False),
    Column("refused", _BIG, nullable=False),
    Column("alerting", _BIG, nullable=False),
    # With so many records kept it learns from them by itself.
    Column("learn_at", _BIG, nullable=False),
)

models = Table(
    "models",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("file", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("source", String(255), nullable=False),
    Column("records", _BIG, nullable=False),
    Column("created", String(32), nullable=False),
    Index("models_by_stream", "stream_id", "version", unique=True),
)
"""A stream's newest version judges its records."""

records = Table(
    "records",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    Column("received", String(32), nullable=False),
    Column("sent_id", String(255)),
    Column("body", Text, nullable=False),
    # judged, waiting (no model was there yet) or refused (it could not be judged)
    Column("state", String(16), nullable=False),
    Column("error", Text),
    Column("model_id", ForeignKey("models.id")),
    Column("is_alert", Boolean),
    Column("score", Float),
    Column("decision", Float),
    Column("p_value", Float),
    Column("severity", Float),
    Column("risk_level", String(16)),
    Column("confidence", Float),
    Column("alert_id", ForeignKey("alerts.id")),
    Index("records_by_sent_id", "sent_id"),
    Index("records_by_stream", "stream_id", "id"),
    Index("records_by_alert", "alert_id"),
)

alerts = Table(
    "alerts",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("verdict", String(32)),
    Column("count", _BIG, nullable=False),
    Column("first_seen", String(32), nullable=False),
    Column("last_seen", String(32), nullable=False),
    Column("severity", Float, nullable=False),
    Column("risk_level", String(16), nullable=False),
    Column("decision", Float, nullable=False),
    Column("reason", Text, nullable=False),
    # The reasons as values, JSON.
    Column("contributions", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("sent_id", String(255)),
    Index("alerts_by_fingerprint", "stream_id", "fingerprint", unique=True),
    Index("alerts_by_severity", "severity", "id"),
    Index("alerts_by_state", "state", "id"),
)
"""One row a different record: a record that comes again counts there."""

audit = Table(
    "audit",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("who", String(255), nullable=False),
    Column("what", String(32), nullable=False),
    Column("subject", String(32), nullable=False),
    Column("subject_id", _BIG, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("comment", Text),
    Column("undoes", ForeignKey("audit.id")),
    Index("audit_by_subject", "subject", "subject_id", "id"),
)
"""Who changed what, and when. Rows are added only: triggers refuse anything else."""

jobs = Table(
    "jobs",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    # queued, running, done or failed
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease_until", Float),
    Column("worker", String(64)),
    Column("created", String(32), nullable=False),
    Column("started", String(32)),
    Column("ended", String(32)),
    Column("result", Text),
    Column("error", Text),
    Index("jobs_by_state", "state", "id"),
)

idempotency = Table(
    "idempotency",
    METADATA,
    Column("stream_id", ForeignKey("streams.id"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created", String(32), nullable=False),
)

keys = Table(
    "keys",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created", String(32), nullable=False),
    Column("role", String(16), nullable=False, server_default="admin"),
    # Names of streams with commas between them; all streams where there is nothing.
    Column("streams", Text),
)

users = Table(
    "users",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    # As `passwords.hashed` gives it.
    Column("password", String(255), nullable=False),
    Column("created", String(32), nullable=False),
)

sessions = Table(
    "sessions",
    METADATA,
    # Of what the cookie holds.
    Column("digest", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("created", String(32), nullable=False),
    # Seconds since 1970.
    Column("expires", Float, nullable=False),
    Index("sessions_by_user", "user_id"),
)
