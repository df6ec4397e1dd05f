"""`Watcher`: looks at the sources, has a job take what is new, and puts files away when their jobs are done."""

from __future__ import annotations

import time
from functools import reduce
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import RowMapping, insert, select, update

from anomaly_detection.errors import DataError
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.query_job import position_of
from anomaly_detection.service.jobs.uploads import MOST_BYTES, new_upload
from anomaly_detection.service.sources.folders import (
    DONE,
    REJECTED,
    Folder,
    Found,
    copy_of,
    digest_of_settled,
    kind_of,
    put_away,
    signature_at,
)
from anomaly_detection.service.sources.source_book import TOPICS, all_sources, query_of, settings_of
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import files, sources
from anomaly_detection.service.storage.tables import jobs as jobs_table
from anomaly_detection.texts.said import N_, say, written
from anomaly_detection.texts.viewer import reread
from mlx_iforest.files import reason

__all__ = ["Watcher"]

_AT_ONCE = 4
"""Files of a source that wait for a worker at a time: each is there twice until it is done."""

_TOLD = 3
"""Hindrances that are told of a source."""


class Watcher:
    """Looks at the sources whose time has come, one after the other.

    A file is copied first: whatever becomes of it then, a job reads what was hashed. That it was taken, and the job,
    are written in one transaction. It is moved when the job is done, and where anything ended before that, at a later
    look. A database is asked whether there are rows, and a job is made only where there are.

    Parameters
    ----------
    database : Database
    uploads : Path
        The folder of the copies.
    """

    def __init__(self, database: Database, uploads: Path) -> None:
        self._database, self._uploads = database, uploads
        self._folders: dict[int, Folder] = {}
        self._due: dict[int, float] = {}
        self._digests: dict[tuple[str, str], str] = {}
        """Of files that were read, by path and signature: none is read twice. Empty for what is taken and stays."""

    def look(self) -> None:
        """Look at each source whose time has come."""
        with self._database.reading() as connection:
            rows = [row for row in all_sources(connection) if row["kind"] not in TOPICS]
        for row in rows:
            if not row["is_paused"] and time.monotonic() >= self._due.get(row["id"], 0.0):
                self._due[row["id"]] = time.monotonic() + settings_of(row)["every"]
                self.look_at(row)

    def look_at(self, row: RowMapping) -> None:
        """Look at one source, and tell of it what hinders."""
        try:
            hindrances = self._look_at_folder(row) if row["kind"] == "folder" else self._look_at_query(row)
        except DataError as error:
            hindrances = [error.args[0]]
        more = [say("And %(count)s more.", count=len(hindrances) - _TOLD)] if len(hindrances) > _TOLD else []
        trouble = written(reduce(_joined, [*hindrances[:_TOLD], *more])) if hindrances else None
        if trouble != row["trouble"]:
            with self._database.writing() as connection:
                connection.execute(update(sources).where(sources.c.id == row["id"]).values(trouble=trouble))

    def _look_at_query(self, row: RowMapping) -> list[str]:
        open_ones = select(jobs_table.c.input).where(
            jobs_table.c.stream_id == row["stream_id"], jobs_table.c.kind == "query", jobs_table.c.state.in_(jobs.OPEN)
        )
        with self._database.reading() as connection:
            if any(orjson.loads(given)["source"] == row["id"] for given in connection.execute(open_ones).scalars()):
                return []
        if query_of(row).waits(position_of(row)):
            with self._database.writing() as connection:
                jobs.add_job(connection, "query", row["stream_id"], {"source": row["id"]})
        return []

    def _look_at_folder(self, row: RowMapping) -> list[str]:
        settings = settings_of(row)
        folder = self._folders.setdefault(row["id"], Folder(Path(row["target"]), settings["every"]))
        folder.settle = settings["every"]
        found, hindrances = folder.look()
        if not folder.path.is_dir():
            return hindrances
        waiting = self._finish(row, settings["after"] == "move", hindrances)
        here = {(str(each.path), each.signature) for each in found}
        old = [key for key in self._digests if Path(key[0]).parent == folder.path and key not in here]
        for key in old:
            del self._digests[key]
        for each in found:
            if waiting >= _AT_ONCE:
                break
            try:
                waiting += self._take(row, settings, each)
            except DataError as error:
                hindrances.append(error.args[0])
            except OSError as error:
                hindrances.append(say("%(name)s cannot be read: %(error)s.", name=each.path.name, error=reason(error)))
        return hindrances

    def _take(self, row: RowMapping, settings: dict[str, Any], found: Found) -> bool:
        """Have a job take a file, unless its content was taken; says whether there is a job."""
        told = _refusal(found)
        if told is not None:
            if signature_at(found.path) == found.signature:
                put_away(found.path, REJECTED, told)
            return False
        key = (str(found.path), found.signature)
        digest = self._digests[key] if key in self._digests else digest_of_settled(found)
        if not digest:
            return False
        self._digests[key] = digest
        known: Any
        with self._database.reading() as connection:
            known = _known(connection, row["stream_id"], digest)
        if known is not None and known["state"] == "taking" and known["source_id"] is None:
            # Nobody looks after it any more.
            known = self._settled(known)
        if known is not None and (known["state"] == "taking" or not known["is_put_away"]):
            # Of its like there is one at work.
            return False
        if known is not None and known["state"] == "taken":
            if settings["after"] == "leave":
                self._digests[key] = ""
            elif signature_at(found.path) == found.signature:
                told = f"Taken already as {known['name']} at {known['created']}; nothing was taken again.\n"
                put_away(found.path, DONE, told)
            return False
        kind, end = kind_of(found.path.name)
        target = new_upload(self._uploads, end)
        if copy_of(found, target) != digest:
            # It was changed meanwhile.
            target.unlink(missing_ok=True)
            return False
        try:
            self._queue(row, settings, found, digest, {"file": target.name, "kind": kind})
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return True

    def _queue(
        self, row: RowMapping, settings: dict[str, Any], found: Found, digest: str, given: dict[str, str]
    ) -> None:
        with self._database.writing() as connection:
            said = {**given, "known": settings["known"], "whole": True, "who": "service"}
            job = jobs.add_job(connection, "take", row["stream_id"], said)
            values = {
                "stream_id": row["stream_id"],
                "source_id": row["id"],
                "digest": digest,
                "name": found.path.name,
                "signature": found.signature,
                "size": found.size,
                "state": "taking",
                "is_put_away": False,
                "error": None,
                "result": None,
                "job_id": job,
                "created": now(),
            }
            known = _known(connection, row["stream_id"], digest)
            if known is None:
                connection.execute(insert(files).values(values))
            else:
                # It was rejected, and is here again.
                connection.execute(update(files).where(files.c.id == known["id"]).values(values))

    def _finish(self, row: RowMapping, moves: bool, hindrances: list[str]) -> int:
        """Settle what jobs have done with; gives how many files are still at work."""
        query = select(files).where(files.c.source_id == row["id"], files.c.is_put_away.is_(False)).order_by(files.c.id)
        with self._database.reading() as connection:
            open_ones = list(connection.execute(query).mappings())
        waiting = 0
        for each in open_ones:
            now_so = self._settled(each) if each["state"] == "taking" else dict(each)
            if now_so["state"] == "taking":
                waiting += 1
                continue
            path = Path(row["target"]) / each["name"]
            try:
                # Where another file is there by now it has its own turn.
                if signature_at(path) == each["signature"] and (moves or now_so["state"] == "rejected"):
                    put_away(path, DONE if now_so["state"] == "taken" else REJECTED, _account(now_so))
            except DataError as error:
                hindrances.append(error.args[0])
                continue
            with self._database.writing() as connection:
                connection.execute(update(files).where(files.c.id == each["id"]).values(is_put_away=True))
        return waiting

    def _settled(self, row: Any) -> dict[str, Any]:
        """A file by what its job has come to, which is written down."""
        with self._database.writing() as connection:
            job = jobs.find_job(connection, row["job_id"])
            assert job is not None
            if job["state"] in jobs.OPEN:
                return dict(row)
            is_taken = job["state"] == "done"
            error = None if is_taken else job["error"] or f"The job was {job['state']}."
            # Jobs go in time, unless somebody names them.
            values = {
                "state": "taken" if is_taken else "rejected",
                "error": None if error is None else error.replace("The body", N_("The file")),
                "result": job["result"],
                "job_id": None,
            }
            connection.execute(update(files).where(files.c.id == row["id"]).values(values))
        return {**row, **values}


def _joined(first: str, others: str) -> str:
    return say("%(first)s %(others)s", first=first, others=others)


def _known(connection: Any, stream_id: int, digest: str) -> RowMapping | None:
    mine = select(files).where(files.c.stream_id == stream_id, files.c.digest == digest)
    return connection.execute(mine).mappings().first()


def _refusal(found: Found) -> str | None:
    """Why a file is not even read."""
    if not found.size:
        return "The file is empty.\n"
    if found.size > MOST_BYTES:
        return f"The file has {found.size:,} bytes; at most {MOST_BYTES:,} are read. Give it in parts.\n"
    try:
        kind_of(found.path.name)
    except DataError as error:
        return f"{error}\n"
    return None


def _account(row: dict[str, Any]) -> str:
    """What the text beside a file says: why it was rejected, and of which rows; empty where there is nothing to say."""
    result = orjson.loads(row["result"]) if row["result"] else {}
    error = reread(row["error"])
    lines = [error] if error else []
    refusals = result.get("refusals", [])
    if row["state"] == "taken" and refusals:
        lines.append(f"{result['refused']:,} of its rows were kept and could not be judged.")
    kept = result.get("received", 0)
    if row["state"] == "rejected" and kept:
        lines.append(f"{kept:,} of its rows were kept before that, and are left out when it is put here again.")
    lines += [f"row {each['row']}: {each['reason']}" for each in refusals]
    return "".join(f"{line}\n" for line in lines)
