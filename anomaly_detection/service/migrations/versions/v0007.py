"""Version 7: records that are alerts are found by an index of those few; it has no place for all others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ALERTING = sa.text("alert_id IS NOT NULL")


def upgrade() -> None:
    """Make the indices, and leave out the one of all records."""
    op.drop_index("records_by_alert", "records")
    for name, columns in (
        ("records_by_alert", ["alert_id"]),
        ("records_alerting", ["id"]),
        ("records_alerting_by_stream", ["stream_id", "id"]),
    ):
        op.create_index(name, "records", columns, sqlite_where=_ALERTING, postgresql_where=_ALERTING)
