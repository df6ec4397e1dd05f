"""Version 2: settings of streams, cases, rules, jobs with progress, and which version of a model judges."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_VERDICTS = {"error": "real: fixed", "unusual but right": "expected", "no error": "false alarm"}
_AT_ONCE = 1000


def upgrade() -> None:
    """Make the new tables and columns, and fill them from what is there."""
    op.create_table(
        "cases",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("cause", sa.String(64), nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("lead_column", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(32)),
        sa.Column("assignee", sa.String(255)),
        sa.Column("first_seen", sa.String(32), nullable=False),
        sa.Column("last_seen", sa.String(32), nullable=False),
        sa.Column("alerts", _BIG, nullable=False),
        sa.Column("count", _BIG, nullable=False),
        sa.Column("severity", sa.Float, nullable=False),
        sa.Column("risk_level", sa.String(16), nullable=False),
        sa.Column("amount", sa.Float),
        sa.Column("snoozed_until", sa.String(32)),
        sa.Column("snoozed_below", sa.Float),
        sa.Column("follows", _BIG, sa.ForeignKey("cases.id")),
        sa.Column("merged_into", _BIG, sa.ForeignKey("cases.id")),
        sqlite_autoincrement=True,
    )
    op.create_index("cases_by_cause", "cases", ["stream_id", "cause", "id"])
    op.create_index("cases_by_state", "cases", ["state", "severity", "id"])
    op.create_index("cases_by_severity", "cases", ["severity", "id"])
    op.create_table(
        "rules",
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("stream_id", _BIG, sa.ForeignKey("streams.id"), nullable=False),
        sa.Column("conditions", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("until", sa.String(32)),
        sa.Column("revoked", sa.String(32)),
        sa.Column("hidden", _BIG, nullable=False),
        sa.Column("last_hidden", sa.String(32)),
        sqlite_autoincrement=True,
    )
    op.create_index("rules_by_stream", "rules", ["stream_id", "id"])
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    _add_columns()
    op.create_index("records_by_time", "records", ["received"])
    few = sa.text("state != 'judged'")
    op.create_index("records_not_judged", "records", ["id"], sqlite_where=few, postgresql_where=few)
    by_stream = ["stream_id", "id"]
    op.create_index("records_not_judged_by_stream", "records", by_stream, sqlite_where=few, postgresql_where=few)
    op.create_index("audit_by_whole", "audit", ["part_of"])
    op.create_index("audit_by_undone", "audit", ["undoes"])
    op.create_index("alerts_by_stream", "alerts", ["stream_id", "id"])
    op.create_index("alerts_by_case", "alerts", ["case_id", "id"])
    op.create_index("alerts_by_time", "alerts", ["last_seen", "id"])
    hidden = sa.text("hidden_by IS NOT NULL")
    op.create_index("alerts_by_rule", "alerts", ["hidden_by"], sqlite_where=hidden, postgresql_where=hidden)
    op.execute(
        "UPDATE streams SET model_version = (SELECT max(version) FROM models WHERE models.stream_id = streams.id)"
    )
    for before, after in _VERDICTS.items():
        renamed = sa.text("UPDATE alerts SET verdict = :after WHERE verdict = :before")
        op.execute(renamed.bindparams(before=before, after=after))
    _find_leading()


def _add_columns() -> None:
    # SQLite takes a reference only as a part of the column, which Alembic does not write.
    big = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    for column in (
        "settings TEXT NOT NULL DEFAULT '{}'",
        "model_version INTEGER",
        "deleted VARCHAR(32)",
    ):
        op.execute(f"ALTER TABLE streams ADD COLUMN {column}")
    for column in (
        "assignee VARCHAR(255)",
        "lead_column VARCHAR(255) NOT NULL DEFAULT ''",
        "cause VARCHAR(64) NOT NULL DEFAULT ''",
        "about TEXT NOT NULL DEFAULT ''",
        "amount FLOAT",
        f"hidden_by {big} REFERENCES rules (id)",
        f"case_id {big} REFERENCES cases (id)",
    ):
        op.execute(f"ALTER TABLE alerts ADD COLUMN {column}")
    for column in ("input TEXT", f"done {big} NOT NULL DEFAULT 0", f"total {big}"):
        op.execute(f"ALTER TABLE jobs ADD COLUMN {column}")
    op.execute(f"ALTER TABLE audit ADD COLUMN part_of {big} REFERENCES audit (id)")


def _find_leading() -> None:
    """The leading column of the alerts that are there."""
    alerts = sa.table("alerts", sa.column("id"), sa.column("contributions"), sa.column("lead_column"))
    connection, last = op.get_bind(), 0
    while True:
        query = sa.select(alerts.c.id, alerts.c.contributions).where(alerts.c.id > last).order_by(alerts.c.id)
        rows = connection.execute(query.limit(_AT_ONCE)).all()
        if not rows:
            return
        for number, contributions in rows:
            reasons = json.loads(contributions)
            leading = reasons[0]["columns"][0][:255] if reasons else ""
            connection.execute(sa.update(alerts).where(alerts.c.id == number).values(lead_column=leading))
        last = rows[-1][0]
