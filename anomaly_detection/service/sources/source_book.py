"""The sources: watched folders, queries of databases and topics of brokers, as rows, made, changed and removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, Select, delete, insert, select, update

from anomaly_detection.data.databases.locations import masked_url
from anomaly_detection.errors import DataError
from anomaly_detection.service.alerts.audit import write_line
from anomaly_detection.service.http.listing import OF_STREAM, Filter, Listing, of_source
from anomaly_detection.service.http.operations import NAME, Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, FLAG, OBJECT, TEXT, Shape, choice, maybe, record, text
from anomaly_detection.service.sources.querying import Query
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import files, letters, marks, sources, streams
from anomaly_detection.service.streams.streams import find_stream
from anomaly_detection.service.topics.address import masked_broker
from anomaly_detection.service.topics.opening import checked_topic
from anomaly_detection.texts.said import say
from anomaly_detection.texts.viewer import reread

__all__ = [
    "FILES",
    "MADE",
    "SETTINGS",
    "SOURCE_SHAPE",
    "TOPICS",
    "all_sources",
    "checked_folder",
    "checked_target",
    "find_source",
    "make_source",
    "query_of",
    "remove_source",
    "rendered",
    "settings_of",
    "watch_by_option",
]

_DEFAULTS: dict[str, dict[str, Any]] = {
    "folder": {"every": 5, "after": "move", "known": "skip"},
    "query": {"every": 60, "query": "", "watermark": ""},
    "kafka": {"topic": "", "begin": "oldest", "topic_column": ""},
    "mqtt": {"topic": "", "topic_column": "", "client": ""},
}
TOPICS = ("kafka", "mqtt")
"""The kinds of which a process of its own takes messages; at the others the watcher looks."""

_EVERY: Shape = {"type": "integer", "minimum": 1, "maximum": 86_400}
SETTINGS: dict[str, Shape] = {"every": _EVERY, "after": choice("move", "leave"), "known": choice("skip", "take")}
"""What may be set, and changed, of a source; the last two of a folder, and none of a topic."""

_FOLDER = {**text(1000), "pattern": r"^/[^\x00]*$", "description": "the whole path of a folder, from / on"}
MADE: Shape = {
    "anyOf": [
        record({"stream": NAME, "folder": _FOLDER}, SETTINGS),
        record({"stream": NAME, "url": text(2000), "query": text(20_000), "watermark": text(255)}, {"every": _EVERY}),
        record(
            {"stream": NAME, "url": text(2000), "topic": text(249)},
            {"begin": choice("oldest", "newest"), "topic_column": text(255, 0)},
        ),
    ]
}
"""What a source is made of."""

SOURCE_SHAPE = record(
    {
        "id": COUNT,
        "stream": TEXT,
        "kind": choice("folder", "query", *TOPICS),
        "target": TEXT,
        "settings": OBJECT,
        "by_option": FLAG,
        "paused": FLAG,
        "trouble": maybe(TEXT),
        "created": TEXT,
        "who": TEXT,
    },
    closed=False,
)

_ALL: Select[Any] = (
    select(sources, streams.c.name.label("stream"))
    .join(streams)
    .where(streams.c.deleted.is_(None))
    .order_by(sources.c.id)
)
_FILE = record(
    {
        "id": COUNT,
        "source": maybe(COUNT),
        "stream": TEXT,
        "name": TEXT,
        "digest": TEXT,
        "size": COUNT,
        "state": choice("taking", "taken", "rejected"),
        "error": maybe(TEXT),
        "result": maybe(OBJECT),
        "job_id": maybe(COUNT),
        "created": TEXT,
    }
)


def _file(row: RowMapping) -> dict[str, Any]:
    result = row["result"]
    other = {
        "source": row["source_id"],
        "error": reread(row["error"]),
        "result": None if result is None else orjson.loads(result),
    }
    return {name: other[name] if name in other else row[name] for name in _FILE["properties"]}


FILES = Listing(
    "files",
    select(files, streams.c.name.label("stream")).join(streams).where(streams.c.deleted.is_(None)),
    files.c.id,
    {"newest": (files.c.id, True), "oldest": (files.c.id, False)},
    (
        of_source(files.c.source_id),
        OF_STREAM,
        Filter(
            Parameter("state", "Only those in this state.", _FILE["properties"]["state"]),
            lambda _, value: files.c.state == value,
        ),
    ),
    _file,
    _FILE,
)
"""What was taken out of folders."""


_MASKED: dict[str, Callable[[str], str]] = {
    "folder": str,
    "query": masked_url,
    "kafka": masked_broker,
    "mqtt": masked_broker,
}
"""By its kind: a target without its secrets."""


def settings_of(row: RowMapping) -> dict[str, Any]:
    """The settings of a source."""
    return {**_DEFAULTS[row["kind"]], **orjson.loads(row["settings"])}


def query_of(row: RowMapping) -> Query:
    """What a source of a database asks; raises as `Query`."""
    settings = settings_of(row)
    return Query(row["target"], settings["query"], settings["watermark"])


def rendered(row: RowMapping) -> dict[str, Any]:
    """A source for people and programs: of the URL of a database without its secrets."""
    other = {
        "target": _MASKED[row["kind"]](row["target"]),
        "settings": settings_of(row),
        "paused": row["is_paused"],
        "trouble": reread(row["trouble"]),
    }
    return {name: other[name] if name in other else row[name] for name in SOURCE_SHAPE["properties"]}


def all_sources(connection: Connection) -> list[RowMapping]:
    """All, with the names of their streams, the oldest first."""
    return list(connection.execute(_ALL).mappings())


def find_source(connection: Connection, number: int) -> RowMapping:
    """One of them; `Problem` (404) for none."""
    row = connection.execute(_ALL.where(sources.c.id == number)).mappings().first()
    if row is None:
        raise Problem(404, say("There is no source %(number)s.", number=number))
    return row


def checked_folder(data_dir: Path, written: str) -> str:
    """The whole path of a folder that may be watched; `Problem` (422) for none, or one of the service's own."""
    folder, own = Path(os.path.realpath(written)), Path(os.path.realpath(data_dir))
    # Of a name that no folder can have this is false too.
    if not os.path.isdir(folder):
        raise Problem(422, say("%(written)s is no folder that the service can see; make it first.", written=written))
    if folder == own or own in folder.parents or folder in own.parents:
        raise Problem(
            422,
            say(
                "%(written)s has the service's own files in it, or is among them; watch another folder.",
                written=written,
            ),
        )
    return str(folder)


def checked_target(data_dir: Path, said: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Kind, target and settings of a source that is to be made, as `MADE` has it.

    Raises
    ------
    Problem
        422 for a folder that is not there, a query that cannot be run, or a broker that is named in another way.
    """
    settings = {name: value for name, value in said.items() if name not in ("stream", "folder", "url")}
    if "folder" in said:
        return "folder", checked_folder(data_dir, said["folder"]), settings
    try:
        if "topic" in said:
            kind, settings = checked_topic(said["url"], said["stream"], settings)
            return kind, said["url"], settings
        Query(said["url"], said["query"], said["watermark"]).check()
    except DataError as error:
        raise Problem(422, error.args[0]) from error
    return "query", said["url"], settings


def make_source(
    connection: Connection,
    stream_id: int,
    who: str,
    kind: str,
    target: str,
    settings: Mapping[str, Any],
    by_option: bool = False,
) -> int:
    """Make one, and write it down without secrets; gives its id. `Problem` (409) where it is there already."""
    for row in all_sources(connection):
        if (kind, target) != (row["kind"], row["target"]):
            continue
        if kind == "folder":
            raise Problem(
                409,
                say(
                    "Source %(id)s watches this folder already, for the stream %(stream)s.",
                    id=row["id"],
                    stream=f"{row['stream']!r}",
                ),
            )
        if kind in TOPICS and row["stream_id"] == stream_id and settings_of(row)["topic"] == settings["topic"]:
            raise Problem(409, say("Source %(id)s reads this topic already, for the same stream.", id=row["id"]))
    values = {
        "stream_id": stream_id,
        "kind": kind,
        "target": target,
        "settings": orjson.dumps(dict(settings)).decode(),
        "by_option": by_option,
        "is_paused": False,
        "created": now(),
        "who": who,
    }
    number = int(connection.execute(insert(sources).values(values).returning(sources.c.id)).scalar_one())
    said = rendered(find_source(connection, number))
    told = {name: said[name] for name in ("stream", "kind", "target", "settings")}
    write_line(connection, who, "make", "source", (number, None, told))
    return number


def remove_source(connection: Connection, number: int, who: str) -> None:
    """Remove one. What it took of files stays known, so that another one does not take it again."""
    said = rendered(find_source(connection, number))
    told = {name: said[name] for name in ("stream", "kind", "target", "settings")}
    for table in (marks, letters):
        connection.execute(delete(table).where(table.c.source_id == number))
    connection.execute(update(files).where(files.c.source_id == number).values(source_id=None, is_put_away=True))
    connection.execute(delete(sources).where(sources.c.id == number))
    write_line(connection, who, "remove", "source", (number, told, None))


def watch_by_option(connection: Connection, wanted: Iterable[tuple[str, str]]) -> None:
    """Have the sources that were given by option be these pairs of a folder and the name of a stream that is there."""
    left = set(wanted)
    for row in all_sources(connection):
        pair = (row["target"], row["stream"])
        if row["kind"] == "folder" and pair in left:
            left.discard(pair)
        elif row["by_option"]:
            remove_source(connection, row["id"], "service")
    for folder, name in sorted(left):
        stream = find_stream(connection, name)
        assert stream is not None
        make_source(connection, stream.id, "service", "folder", folder, {}, by_option=True)
