"""Version 9: how far the watch over each stream's columns has come and what it found, and comparisons of models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table and the column."""
    op.add_column("models", sa.Column("comparison", sa.Text))
    op.create_table(
        "drift",
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), primary_key=True),
        sa.Column("model_id", _BIG, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("last_record", _BIG, nullable=False),
        sa.Column("judged", _BIG, nullable=False),
        sa.Column("looked", sa.String(32), nullable=False),
        sa.Column("state", sa.LargeBinary),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("grown", sa.String(32)),
        sa.Column("log_e_value", sa.Float, nullable=False),
    )
