"""Version 10: how far sources of messages have come, and the messages that could not be read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "marks",
        sa.Column("source_id", _BIG, sa.ForeignKey("sources.id"), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("mark", sa.String(64), nullable=False),
    )
    op.create_table(
        "letters",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("source_id", _BIG, sa.ForeignKey("sources.id"), nullable=False),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("letters_by_source", "letters", ["source_id", "id"])
