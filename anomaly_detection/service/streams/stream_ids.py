"""`StreamIds`: the numbers of the streams that a process has met, by their names."""

from __future__ import annotations

from collections.abc import Sequence

from anomaly_detection.service.storage.writer import Writer
from anomaly_detection.service.streams.streams import Stream, open_stream

__all__ = ["StreamIds"]


class StreamIds:
    """Finds a stream's number, and makes the stream where there is none.

    Parameters
    ----------
    writer : Writer
    learn_from : int
        How many records a new stream learns from.
    most : int
        Streams that there may be.
    """

    def __init__(self, writer: Writer, learn_from: int, most: int) -> None:
        self._writer, self._learn_from, self._most = writer, learn_from, most
        self._ids: dict[str, int] = {}

    def of(self, name: str) -> int:
        """Of a stream, which is made if need be; raises as `open_stream`."""
        if name not in self._ids:
            made = self._writer.run(lambda connection: open_stream(connection, name, self._learn_from, self._most))
            self._ids[name] = made.id
        return self._ids[name]

    def forget(self, name: str) -> None:
        """Look a stream up anew when it is named next: it was deleted."""
        self._ids.pop(name, None)

    def compare(self, known: Sequence[Stream]) -> None:
        """Forget those that were deleted; one that was made since is only looked up again."""
        names = {stream.name: stream.id for stream in known}
        for name, stream_id in list(self._ids.items()):
            if names.get(name) != stream_id:
                self.forget(name)
