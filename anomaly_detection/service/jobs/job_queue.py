"""`JobQueue`: the jobs that requests ask for, where there is room for another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomaly_detection.service.http.json_answer import dumps
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.replies import earlier_reply, keep_reply
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.uploads import digest_of_file
from anomaly_detection.service.storage.writer import Writer
from anomaly_detection.service.streams.stream_ids import StreamIds
from anomaly_detection.service.streams.streams import need_stream
from anomaly_detection.texts.said import say

__all__ = ["JobQueue"]


class JobQueue:
    """Queues trainings and the taking of files.

    Parameters
    ----------
    writer : Writer
    ids : StreamIds
    most : int
        Jobs that may wait or run.
    """

    def __init__(self, writer: Writer, ids: StreamIds, most: int) -> None:
        self._writer, self._ids, self._most = writer, ids, most

    def train(self, name: str, given: Mapping[str, Any] | None = None) -> int:
        """Queue a training on a stream's records, or as `given`, unless one is there; gives the job's id.

        Raises
        ------
        Problem
            409 where there is none to learn from, or a training goes on; 429 where too many jobs wait.
        """
        stream_id = self._ids.of(name)

        def work(connection: Any) -> int:
            stream = need_stream(connection, name)
            if stream.kept < 2 and "file" not in (given or {}):
                raise Problem(
                    409,
                    say("There are %(kept)s records to learn from; send at least two first.", kept=stream.kept),
                )
            if jobs.is_training(connection, stream_id):
                raise Problem(409, say("A model is being trained already; wait until that is done."))
            self._check_room(connection)
            return jobs.add_job(connection, "train", stream_id, given)

        return self._writer.run(work)

    def _check_room(self, connection: Any) -> None:
        if jobs.open_jobs(connection, jobs.ASKED_FOR) >= self._most:
            raise Problem(
                429, say("%(most)s jobs wait already; ask again later.", most=self._most), {"Retry-After": "60"}
            )

    def take(
        self, name: str, path: Path, kind: str, who: str, key: str | None, known: str = "take"
    ) -> tuple[bytes, bool]:
        """Queue the taking of a file's records, or of those that the stream lacks; gives the reply as `take_once`."""
        is_new = False

        def work(connection: Any) -> tuple[bytes, bool]:
            before = None if key is None else earlier_reply(connection, stream_id, key, digest)
            if before is not None:
                return before, False
            self._check_room(connection)
            number = jobs.add_job(
                connection, "take", stream_id, {"file": path.name, "kind": kind, "who": who, "known": known}
            )
            made = dumps({"job_id": number, "status_url": f"/v1/jobs/{number}"})
            if key is not None:
                keep_reply(connection, stream_id, key, digest, made)
            return made, True

        try:
            stream_id = self._ids.of(name)
            digest = "" if key is None else digest_of_file(path)
            made, is_new = self._writer.run(work)
        finally:
            if not is_new:
                path.unlink(missing_ok=True)
        return made, is_new
