"""Uploads: bodies that are too large to hold, as files beside the database until a job has read them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.texts.said import Figure, say

__all__ = ["MOST_BYTES", "digest_of", "digest_of_file", "keep_body", "new_upload", "receive", "sweep", "uploads_of"]

MOST_BYTES = 2 * 1024**3
"""Of the body of a job."""

_IN_PARTS = "send the records in parts"

_SLOWEST = 64 * 1024
"""Bytes a second."""

_BLOCK = 1 << 20
_OLD = 24 * 3600.0


def uploads_of(models_dir: Path) -> Path:
    """The folder of uploads, beside that of the models."""
    return models_dir.parent / "uploads"


def new_upload(folder: Path, kind: str) -> Path:
    """A name that no upload has; its end tells the kind to whoever reads it."""
    return folder / f"{os.urandom(12).hex()}.{kind}"


async def receive(
    request: Request, limits: Limits, folder: Path, kind: str, most: int = MOST_BYTES, hint: str = _IN_PARTS
) -> bytes | Path:
    """The body of a request: itself, or the file that it was put into where it is larger than ``limits.body``.

    It may have `most` bytes; where it has more, `hint` says what to do.

    Raises
    ------
    Problem
        Where it is too large (413), comes too slowly (408) or breaks off (400).
    """
    length = request.headers.get("content-length", "")
    too_large = Problem(
        413, say("The body is larger than %(most)s bytes; %(hint)s.", most=Figure(f"{most:,}"), hint=hint)
    )
    if length.isdigit() and int(length) > most:
        raise too_large
    stream = _in_time(request, limits.body_seconds, most, too_large)
    parts: list[bytes] = []
    size = 0
    async for part in stream:
        parts.append(part)
        size += len(part)
        if size > limits.body:
            return await _spooled(b"".join(parts), stream, new_upload(folder, kind))
    return b"".join(parts)


async def _spooled(start: bytes, stream: AsyncIterator[bytes], path: Path) -> Path:
    try:
        async with await anyio.open_file(path, "xb") as file:
            await file.write(start)
            async for part in stream:
                await file.write(part)
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


async def _in_time(request: Request, seconds: float, most: int, too_large: Problem) -> AsyncIterator[bytes]:
    """The parts of a body of `most` bytes, together no slower than `_SLOWEST`, and the next within some seconds."""
    stream = request.stream()
    began, size = time.monotonic(), 0
    while True:
        with anyio.move_on_after(seconds) as scope:
            try:
                part = await stream.__anext__()
            except StopAsyncIteration:
                return
            except ClientDisconnect as error:
                raise Problem(400, say("The body broke off; send it again.")) from error
        size += 0 if scope.cancelled_caught else len(part)
        if scope.cancelled_caught or time.monotonic() - began > seconds + size / _SLOWEST:
            raise Problem(408, say("The body comes too slowly; send it again, or in parts."))
        if size > most:
            raise too_large
        yield part


def keep_body(body: bytes, folder: Path, kind: str) -> Path:
    """Put a body into a file that outlives a power cut."""
    path = new_upload(folder, kind)
    try:
        with path.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        # A part of it would keep a full disk full.
        path.unlink(missing_ok=True)
        raise
    return path


def digest_of(body: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(body).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sweep(folder: Path, needed: Collection[str]) -> None:
    """Remove files that no job needs; of younger ones the request may just come in."""
    for path in folder.iterdir():
        if path.name not in needed and time.time() - path.stat().st_mtime > _OLD:
            path.unlink(missing_ok=True)
