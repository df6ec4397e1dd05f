"""The tables of the database. `migrations` brings every database to them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

__all__ = [
    "METADATA",
    "alerts",
    "audit",
    "cases",
    "channels",
    "drift",
    "files",
    "idempotency",
    "jobs",
    "keys",
    "letters",
    "marks",
    "messages",
    "models",
    "quarters",
    "records",
    "rules",
    "seen",
    "sessions",
    "settings",
    "sources",
    "streams",
    "told",
    "users",
    "views",
]

METADATA = MetaData()

_BIG = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by columns of this very name alone, and has whole numbers of one size."""

# In the words that queries use too.
_NOT_JUDGED = text("state != 'judged'")
_ALERTING = text("alert_id IS NOT NULL")
_HIDDEN = text("hidden_by IS NOT NULL")
_JUDGED = text("verdict IS NOT NULL")
_UNRESOLVED = text("state != 'resolved'")
_LATER = text("subject = 'alert' AND what != 'raise'")

streams = Table(
    "streams",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created", String(32), nullable=False),
    # Counted here, for counting rows takes long.
    Column("judged", _BIG, nullable=False),
    Column("waiting", _BIG, nullable=False),
    Column("refused", _BIG, nullable=False),
    Column("alerting", _BIG, nullable=False),
    # With so many records kept it learns from them by itself.
    Column("learn_at", _BIG, nullable=False),
    # What its owner says of it, JSON; see `stream_settings`.
    Column("settings", Text, nullable=False, server_default="{}"),
    # The version of its model that judges; none before the first.
    Column("model_version", Integer),
    # How often a verdict on its alerts has changed: what judges looks whether it has learned from the last.
    Column("taught", _BIG, nullable=False, server_default="0"),
    # Records up to this one are counted in `seen`.
    Column("seen_to", _BIG, nullable=False, server_default="0"),
    # When it was deleted: its rows go one part after the other, its own stays, for jobs and the audit name it.
    Column("deleted", String(32)),
)

quarters = Table(
    "quarters",
    METADATA,
    Column("stream_id", ForeignKey("streams.id"), primary_key=True),
    # When it begins, in UTC; see `zones`.
    Column("quarter", String(16), primary_key=True),
    Column("records", _BIG, nullable=False),
    # Those of them that are alerts.
    Column("alerting", _BIG, nullable=False),
)
"""How many records came by quarter of an hour, counted here since that takes long; those that were deleted too."""

models = Table(
    "models",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("file", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("source", String(255), nullable=False),
    Column("records", _BIG, nullable=False),
    Column("created", String(32), nullable=False),
    # With the model that judged when it was made, JSON; none where there was none, or nobody asked.
    Column("comparison", Text),
    Index("models_by_stream", "stream_id", "version", unique=True),
)
"""All versions of the streams' models; ``streams.model_version`` says which one judges."""

records = Table(
    "records",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    Column("received", String(32), nullable=False),
    Column("sent_id", String(255)),
    Column("body", Text, nullable=False),
    # judged, waiting (no model was there yet) or refused (it could not be judged)
    Column("state", String(16), nullable=False),
    Column("error", Text),
    Column("model_id", ForeignKey("models.id")),
    Column("is_alert", Boolean),
    Column("score", Float),
    Column("decision", Float),
    Column("p_value", Float),
    Column("severity", Float),
    Column("risk_level", String(16)),
    Column("confidence", Float),
    Column("alert_id", ForeignKey("alerts.id")),
    Index("records_by_sent_id", "sent_id"),
    Index("records_by_stream", "stream_id", "id"),
    Index("records_by_time", "received"),
    # The few that wait or were refused among millions.
    Index("records_not_judged", "id", sqlite_where=_NOT_JUDGED, postgresql_where=_NOT_JUDGED),
    Index("records_not_judged_by_stream", "stream_id", "id", sqlite_where=_NOT_JUDGED, postgresql_where=_NOT_JUDGED),
    Index("records_by_alert", "alert_id", sqlite_where=_ALERTING, postgresql_where=_ALERTING),
    Index("records_alerting", "id", sqlite_where=_ALERTING, postgresql_where=_ALERTING),
    Index("records_alerting_by_stream", "stream_id", "id", sqlite_where=_ALERTING, postgresql_where=_ALERTING),
)

alerts = Table(
    "alerts",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("verdict", String(32)),
    Column("count", _BIG, nullable=False),
    Column("first_seen", String(32), nullable=False),
    Column("last_seen", String(32), nullable=False),
    Column("severity", Float, nullable=False),
    Column("risk_level", String(16), nullable=False),
    Column("decision", Float, nullable=False),
    Column("reason", Text, nullable=False),
    # The reasons as values, JSON.
    Column("contributions", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("sent_id", String(255)),
    Column("assignee", String(255)),
    # The column that bears most of the first reason; empty where nothing stands out.
    Column("lead_column", String(255), nullable=False, server_default=""),
    # What alerts of one cause share: a digest, and the same in words.
    Column("cause", String(64), nullable=False, server_default=""),
    Column("about", Text, nullable=False, server_default=""),
    # What the words are made of, JSON; see `reasons`.
    Column("said", Text),
    # Money that is in it: the record's main amount.
    Column("amount", Float),
    # The rule that keeps it out of lists.
    Column("hidden_by", ForeignKey("rules.id")),
    Column("case_id", ForeignKey("cases.id")),
    Index("alerts_by_fingerprint", "stream_id", "fingerprint", unique=True),
    Index("alerts_by_severity", "severity", "id"),
    Index("alerts_by_state", "state", "id"),
    Index("alerts_by_first_seen", "first_seen", "stream_id", "hidden_by", "lead_column", "amount"),
    Index("alerts_by_stream", "stream_id", "id"),
    Index("alerts_by_case", "case_id", "id"),
    Index("alerts_by_time", "last_seen", "id"),
    Index("alerts_by_rule", "hidden_by", sqlite_where=_HIDDEN, postgresql_where=_HIDDEN),
    Index("alerts_by_last_seen", "stream_id", "last_seen", "lead_column"),
    Index("alerts_by_verdict", "stream_id", "state", "verdict", "id", sqlite_where=_JUDGED, postgresql_where=_JUDGED),
)
"""One row a different record: a record that comes again counts there."""

cases = Table(
    "cases",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    Column("cause", String(64), nullable=False),
    Column("about", Text, nullable=False),
    # What that is made of, JSON; see `reasons`.
    Column("said", Text),
    Column("lead_column", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("verdict", String(32)),
    Column("assignee", String(255)),
    Column("first_seen", String(32), nullable=False),
    Column("last_seen", String(32), nullable=False),
    # Its alerts, and the records that they count.
    Column("alerts", _BIG, nullable=False),
    Column("count", _BIG, nullable=False),
    # Of its worst alert.
    Column("severity", Float, nullable=False),
    Column("risk_level", String(16), nullable=False),
    Column("amount", Float),
    # It stays out of lists until then, or until its severity is so much.
    Column("snoozed_until", String(32)),
    Column("snoozed_below", Float),
    # The resolved case of the same cause that came before.
    Column("follows", ForeignKey("cases.id")),
    Column("merged_into", ForeignKey("cases.id")),
    Index("cases_by_cause", "stream_id", "cause", "id"),
    Index("cases_by_state", "state", "severity", "id"),
    Index("cases_by_severity", "severity", "id"),
    Index("cases_unresolved", "severity", "id", sqlite_where=_UNRESOLVED, postgresql_where=_UNRESOLVED),
    Index(
        "cases_unresolved_by_stream",
        "stream_id",
        "severity",
        "id",
        sqlite_where=_UNRESOLVED,
        postgresql_where=_UNRESOLVED,
    ),
    # The audit names them by numbers that no other may have later.
    sqlite_autoincrement=True,
)
"""Alerts of one cause; its totals are those of the alerts whose ``case_id`` names it."""

rules = Table(
    "rules",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    # What it hides, JSON; see `rules`.
    Column("conditions", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", String(255), nullable=False),
    Column("created", String(32), nullable=False),
    Column("until", String(32)),
    Column("revoked", String(32)),
    Column("hidden", _BIG, nullable=False),
    Column("last_hidden", String(32)),
    Index("rules_by_stream", "stream_id", "id"),
    sqlite_autoincrement=True,
)
"""What keeps alerts out of lists. Hidden alerts are kept."""

settings = Table(
    "settings",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What the owner of the service has set, by name, as JSON; see `settings`."""

audit = Table(
    "audit",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("who", String(255), nullable=False),
    Column("what", String(32), nullable=False),
    Column("subject", String(32), nullable=False),
    Column("subject_id", _BIG, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("comment", Text),
    Column("undoes", ForeignKey("audit.id")),
    # The change that this one was a part of: of an alert whose case was closed, say.
    Column("part_of", ForeignKey("audit.id")),
    Index("audit_by_subject", "subject", "subject_id", "id"),
    Index("audit_by_whole", "part_of"),
    Index("audit_by_undone", "undoes"),
    Index("audit_of_alerts", "subject", "at", "subject_id", "after", sqlite_where=_LATER, postgresql_where=_LATER),
)
"""Who changed what, and when. Rows are added only: triggers refuse anything else."""

jobs = Table(
    "jobs",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    # queued, running, done, failed or cancelled
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease_until", Float),
    Column("worker", String(64)),
    Column("created", String(32), nullable=False),
    Column("started", String(32)),
    Column("ended", String(32)),
    Column("result", Text),
    Column("error", Text),
    # What it is to do, JSON.
    Column("input", Text),
    # How far it has come, of how much if that is known.
    Column("done", _BIG, nullable=False, server_default="0"),
    Column("total", _BIG),
    Index("jobs_by_state", "state", "id"),
)

idempotency = Table(
    "idempotency",
    METADATA,
    Column("stream_id", ForeignKey("streams.id"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created", String(32), nullable=False),
)

keys = Table(
    "keys",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created", String(32), nullable=False),
    Column("role", String(16), nullable=False, server_default="admin"),
    # Names of streams with commas between them; all streams where there is nothing.
    Column("streams", Text),
)

users = Table(
    "users",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    # As `passwords.hashed` gives it.
    Column("password", String(255), nullable=False),
    Column("created", String(32), nullable=False),
)

sessions = Table(
    "sessions",
    METADATA,
    # Of what the cookie holds.
    Column("digest", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("created", String(32), nullable=False),
    # Seconds since 1970.
    Column("expires", Float, nullable=False),
    Index("sessions_by_user", "user_id"),
)

sources = Table(
    "sources",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    # folder, query, kafka or mqtt
    Column("kind", String(16), nullable=False),
    # The folder, or the URL of the database or broker, which is a secret.
    Column("target", Text, nullable=False),
    # JSON; see `source_book`.
    Column("settings", Text, nullable=False),
    # Of `serve --watch`: it goes when the service starts without.
    Column("by_option", Boolean, nullable=False),
    Column("is_paused", Boolean, nullable=False),
    # How far a query has come, JSON; see `querying`.
    Column("position", Text),
    # What hinders it at the moment.
    Column("trouble", Text),
    Column("created", String(32), nullable=False),
    Column("who", String(255), nullable=False),
    sqlite_autoincrement=True,
)
"""Where records are fetched from."""

files = Table(
    "files",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    # None where the source was removed: what it took stays known.
    Column("source_id", ForeignKey("sources.id")),
    Column("digest", String(64), nullable=False),
    Column("name", Text, nullable=False),
    # Which file it was, when; see `folders`.
    Column("signature", String(128), nullable=False),
    Column("size", _BIG, nullable=False),
    # taking, taken or rejected
    Column("state", String(16), nullable=False),
    # Until it is where files of its state belong.
    Column("is_put_away", Boolean, nullable=False),
    Column("error", Text),
    Column("result", Text),
    Column("job_id", ForeignKey("jobs.id")),
    Column("created", String(32), nullable=False),
    Index("files_by_digest", "stream_id", "digest", unique=True),
    Index("files_by_source", "source_id", "id"),
)
"""What was taken out of watched folders: a content once for a stream."""

marks = Table(
    "marks",
    METADATA,
    Column("source_id", ForeignKey("sources.id"), primary_key=True),
    # Of Kafka the partition, of MQTT the number of the packet.
    Column("part", Integer, primary_key=True, autoincrement=False),
    # Of Kafka the next offset, of MQTT the digest of what came last under the number.
    Column("mark", String(64), nullable=False),
)
"""Which messages of each source are kept; see `topics.marks`."""

letters = Table(
    "letters",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("source_id", ForeignKey("sources.id"), nullable=False),
    Column("stream_id", ForeignKey("streams.id"), nullable=False),
    # Where in the topic it was.
    Column("place", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # Its beginning.
    Column("body", Text, nullable=False),
    Column("created", String(32), nullable=False),
    Index("letters_by_source", "source_id", "id"),
    sqlite_autoincrement=True,
)
"""Messages that could not be read."""

seen = Table(
    "seen",
    METADATA,
    Column("stream_id", ForeignKey("streams.id"), primary_key=True),
    # The first half of `Incoming.fingerprint`.
    Column("digest", LargeBinary(16), primary_key=True),
    Column("count", Integer, nullable=False),
)
"""How often a stream has had a record, of those up to ``streams.seen_to``, whether they are still kept or not."""

channels = Table(
    "channels",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("name", String(255), nullable=False),
    # As apprise has it: a secret.
    Column("url", Text, nullable=False),
    Column("min_severity", Float),
    Column("digest_hour", Integer),
    Column("zone", String(64), nullable=False),
    Column("stream_id", ForeignKey("streams.id")),
    Column("created", String(32), nullable=False),
    Column("who", String(255), nullable=False),
    # Alerts up to this moment were looked at.
    Column("mark", String(32), nullable=False),
    # The last day whose digest was made.
    Column("digest_day", String(10)),
    sqlite_autoincrement=True,
)
"""Where notifications go."""

messages = Table(
    "messages",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("channel_id", ForeignKey("channels.id"), nullable=False),
    # cases or digest
    Column("kind", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    # waiting, sent or failed
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    # Seconds since 1970.
    Column("next_at", Float, nullable=False),
    Column("error", Text),
    Column("created", String(32), nullable=False),
    Column("sent", String(32)),
    Index("messages_by_state", "state", "next_at"),
    Index("messages_by_channel", "channel_id", "id"),
)

told = Table(
    "told",
    METADATA,
    Column("channel_id", ForeignKey("channels.id"), primary_key=True),
    # A case may go before this does.
    Column("case_id", _BIG, primary_key=True, autoincrement=False),
    Column("message_id", ForeignKey("messages.id"), nullable=False),
)
"""The cases that a channel was told of, each once."""

drift = Table(
    "drift",
    METADATA,
    Column("stream_id", ForeignKey("streams.id"), primary_key=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    # The last record that was looked at, and how many the stream had judged by then.
    Column("last_record", _BIG, nullable=False),
    Column("judged", _BIG, nullable=False),
    Column("looked", String(32), nullable=False),
    # The test's state, arrays; none where the model does not know how columns were.
    Column("state", LargeBinary),
    # The changes, JSON.
    Column("found", Text, nullable=False),
    # When a column was found to have changed that had not before.
    Column("grown", String(32)),
    Column("log_e_value", Float, nullable=False),
)
"""The watch over each stream's columns; see `drifting`."""

views = Table(
    "views",
    METADATA,
    Column("id", _BIG, primary_key=True),
    # The name of whose it is.
    Column("owner", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    # Of an address, without its question mark.
    Column("query", Text, nullable=False),
    Column("created", String(32), nullable=False),
    Index("views_by_owner", "owner", "name", unique=True),
)
"""Filters of the inbox that people saved, each for themselves."""
