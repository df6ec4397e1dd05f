"""Version 5: sources and what they took, which records a stream has had, and where notifications go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables; which records the streams have had is counted when it is first asked for."""
    op.add_column("streams", sa.Column("seen_to", _BIG, nullable=False, server_default="0"))
    op.create_table(
        "sources",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("by_option", sa.Boolean, nullable=False),
        sa.Column("is_paused", sa.Boolean, nullable=False),
        sa.Column("position", sa.Text),
        sa.Column("trouble", sa.Text),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "files",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("source_id", _BIG, sa.ForeignKey("sources.id")),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.Column("size", _BIG, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("is_put_away", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("job_id", _BIG, sa.ForeignKey("jobs.id")),
        sa.Column("created", sa.String(32), nullable=False),
    )
    op.create_index("files_by_digest", "files", ["stream_id", "digest"], unique=True)
    op.create_index("files_by_source", "files", ["source_id", "id"])
    op.create_table(
        "seen",
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), primary_key=True),
        sa.Column("digest", sa.LargeBinary(16), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_table(
        "channels",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("min_severity", sa.Float),
        sa.Column("digest_hour", sa.Integer),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id")),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("mark", sa.String(32), nullable=False),
        sa.Column("digest_day", sa.String(10)),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "messages",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("channel_id", _BIG, sa.ForeignKey("channels.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("sent", sa.String(32)),
    )
    op.create_index("messages_by_state", "messages", ["state", "next_at"])
    op.create_index("messages_by_channel", "messages", ["channel_id", "id"])
    op.create_table(
        "told",
        sa.Column("channel_id", _BIG, sa.ForeignKey("channels.id"), primary_key=True),
        sa.Column("case_id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("message_id", _BIG, sa.ForeignKey("messages.id"), nullable=False),
    )
