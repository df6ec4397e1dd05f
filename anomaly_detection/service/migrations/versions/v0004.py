"""Version 4: how many records came by day, and what the inbox and the overview ask by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table and count what is kept; make indices."""
    op.create_table(
        "days",
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("records", _BIG, nullable=False),
        sa.Column("alerting", _BIG, nullable=False),
    )
    op.execute(
        "INSERT INTO days (stream_id, day, records, alerting)"
        " SELECT stream_id, substr(received, 1, 10), count(*), count(alert_id) FROM records"
        " GROUP BY stream_id, substr(received, 1, 10)"
    )
    _make_indices()


def _make_indices() -> None:
    for name, table, columns, only in (
        ("cases_unresolved", "cases", ["severity", "id"], "state != 'resolved'"),
        ("cases_unresolved_by_stream", "cases", ["stream_id", "severity", "id"], "state != 'resolved'"),
        ("audit_of_alerts", "audit", ["subject", "at", "subject_id", "after"], "subject = 'alert' AND what != 'raise'"),
    ):
        where = sa.text(only)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    seen = ["first_seen", "stream_id", "hidden_by", "lead_column", "amount"]
    op.create_index("alerts_by_first_seen", "alerts", seen)
