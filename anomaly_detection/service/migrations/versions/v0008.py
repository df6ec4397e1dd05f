"""Version 8: how often verdicts on a stream's alerts have changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; verdicts that are there count as one change."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("streams", sa.Column("taught", number, nullable=False, server_default="0"))
    op.execute(
        "UPDATE streams SET taught = 1 WHERE EXISTS"
        " (SELECT 1 FROM alerts WHERE alerts.stream_id = streams.id AND alerts.verdict IS NOT NULL)"
    )
