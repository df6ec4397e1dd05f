"""``.joblib`` files that need not be unpickled: a pickle for others, and behind it the native bytes that we read.

``joblib.load`` reads a pickle up to its last instruction and ignores what follows. So the file is the pickle, the
native file's bytes, and a trailer: how many bytes the native ones are, a SHA-256 over all of this, and `_MAGIC`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping
from typing import Any

from anomaly_detection.data.files import replacing
from anomaly_detection.errors import ModelFileError

__all__ = ["JOBLIB_VERSION", "looks_pickled", "native_part", "write_joblib"]

JOBLIB_VERSION = 2
"""Of ``.joblib`` files. Those of version 1 were a pickle alone."""

_MAGIC = b"mlxif-2\n"
_LENGTH, _DIGEST = 8, 32
_TRAILER = _LENGTH + _DIGEST + len(_MAGIC)


def write_joblib(content: Mapping[str, Any], native: bytes, path: str | os.PathLike[str]) -> None:
    """Write a pickle of `content`, and `native`, which must tell the same.

    Raises
    ------
    DataError
        The file cannot be written; an older one of that name is then intact.
    """
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            # `joblib.dump` is written in Python and takes seven times as long; `joblib.load` reads both.
            pickle.dump(dict(content), file)
            file.write(native + len(native).to_bytes(_LENGTH, "little"))
        with temporary.open("rb") as file:
            digest = hashlib.sha256(file.read()).digest()
        with temporary.open("ab") as file:
            file.write(digest + _MAGIC)


def looks_pickled(head: bytes) -> bool:
    """Whether a file that begins with `head` may be a pickle: the first byte since its protocol 2."""
    return head[:1] == b"\x80"


def native_part(data: bytes, path: str) -> bytes:
    """The native bytes in a ``.joblib`` file's bytes. The pickle before them is not looked at but for the digest.

    Raises
    ------
    ModelFileError
        There are none, or the file is not as it was written.
    """
    if len(data) < _TRAILER or not data.endswith(_MAGIC):
        raise ModelFileError(
            f"{path} is a pickle alone, such as earlier versions wrote, or was cut off; a pickle is a program, and"
            " this library runs none from a file: copy the file again, train the model again, or convert it to"
            " .safetensors with the version that wrote it."
        )
    told, digest = data[-_TRAILER : -_TRAILER + _LENGTH], data[-_TRAILER + _LENGTH : -len(_MAGIC)]
    size, end = int.from_bytes(told, "little"), len(data) - _TRAILER
    if size > end or hashlib.sha256(memoryview(data)[: end + _LENGTH]).digest() != digest:
        raise ModelFileError(
            f"{path} is damaged: its bytes are not those that were written; copy the file again, or train the model"
            " again."
        )
    return data[end - size : end]
