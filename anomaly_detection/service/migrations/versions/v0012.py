"""Version 12: alerts by their verdicts, which teach, and by when and about what they were seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make two indexes."""
    op.create_index("alerts_by_last_seen", "alerts", ["stream_id", "last_seen", "lead_column"])
    judged = sa.text("verdict IS NOT NULL")
    columns = ["stream_id", "state", "verdict", "id"]
    op.create_index("alerts_by_verdict", "alerts", columns, sqlite_where=judged, postgresql_where=judged)
