"""Version 1: streams, records, models, alerts with their history, jobs, keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER audit_refuses_{what} BEFORE {what} ON audit"
        " BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END"
        for what in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RAISE integrity_constraint_violation USING MESSAGE = ''audit is append-only''; END'",
        "CREATE TRIGGER audit_refuses BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION refuse()",
    ],
}


def upgrade() -> None:
    """Make the tables of the first version."""
    op.create_table(
        "streams",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("judged", _BIG, nullable=False),
        sa.Column("waiting", _BIG, nullable=False),
        sa.Column("refused", _BIG, nullable=False),
        sa.Column("alerting", _BIG, nullable=False),
        sa.Column("learn_at", _BIG, nullable=False),
    )
    op.create_table(
        "models",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("file", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("records", _BIG, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
    )
    op.create_index("models_by_stream", "models", ["stream_id", "version"], unique=True)
    op.create_table(
        "alerts",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(32)),
        sa.Column("count", _BIG, nullable=False),
        sa.Column("first_seen", sa.String(32), nullable=False),
        sa.Column("last_seen", sa.String(32), nullable=False),
        sa.Column("severity", sa.Float, nullable=False),
        sa.Column("risk_level", sa.String(16), nullable=False),
        sa.Column("decision", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("contributions", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("sent_id", sa.String(255)),
    )
    op.create_index("alerts_by_fingerprint", "alerts", ["stream_id", "fingerprint"], unique=True)
    op.create_index("alerts_by_severity", "alerts", ["severity", "id"])
    op.create_index("alerts_by_state", "alerts", ["state", "id"])
    op.create_table(
        "records",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("received", sa.String(32), nullable=False),
        sa.Column("sent_id", sa.String(255)),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id")),
        sa.Column("is_alert", sa.Boolean),
        sa.Column("score", sa.Float),
        sa.Column("decision", sa.Float),
        sa.Column("p_value", sa.Float),
        sa.Column("severity", sa.Float),
        sa.Column("risk_level", sa.String(16)),
        sa.Column("confidence", sa.Float),
        sa.Column("alert_id", _BIG, sa.ForeignKey("alerts.id")),
    )
    op.create_index("records_by_sent_id", "records", ["sent_id"])
    op.create_index("records_by_stream", "records", ["stream_id", "id"])
    op.create_index("records_by_alert", "records", ["alert_id"])
    op.create_table(
        "audit",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("subject_id", _BIG, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("undoes", _BIG, sa.ForeignKey("audit.id")),
    )
    op.create_index("audit_by_subject", "audit", ["subject", "subject_id", "id"])
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
    op.create_table(
        "jobs",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float),
        sa.Column("worker", sa.String(64)),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("started", sa.String(32)),
        sa.Column("ended", sa.String(32)),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "id"])
    op.create_table(
        "idempotency",
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("created", sa.String(32), nullable=False),
    )
