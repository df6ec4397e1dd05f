"""`Outgoing`: a file to write, of which what was written is taken away again and again."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["Outgoing"]


class Outgoing(io.RawIOBase):
    """Bytes on their way to whoever asked for them; one can only go on in it."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._written += len(self._parts[-1])
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """What was written since the last time."""
        made = b"".join(self._parts)
        self._parts.clear()
        return made
