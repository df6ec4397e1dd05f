"""Version 11: what the words on alerts and cases are made of, and how many records came by quarter of an hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the columns; of days that are counted already the hour is not known, so they stand at noon."""
    for table in ("alerts", "cases"):
        op.add_column(table, sa.Column("said", sa.Text))
    op.create_table(
        "quarters",
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), primary_key=True),
        sa.Column("quarter", sa.String(16), primary_key=True),
        sa.Column("records", _BIG, nullable=False),
        sa.Column("alerting", _BIG, nullable=False),
    )
    op.execute(
        "INSERT INTO quarters (stream_id, quarter, records, alerting)"
        " SELECT stream_id, day || 'T12:00', records, alerting FROM days"
    )
    op.drop_table("days")
