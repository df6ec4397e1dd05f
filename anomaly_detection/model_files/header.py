"""The header of a native model file: which parts it has, as texts of JSON, checked against the file's bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anomaly_detection.errors import ModelFileError, first_line
from mlx_iforest.version import __version__

__all__ = [
    "FORMATS",
    "LARGEST_HEADER",
    "NATIVE_VERSION",
    "SUFFIX",
    "Header",
    "HeaderError",
    "NativeKind",
    "checksum",
    "damaged",
    "dumped",
    "loaded",
    "looks_native",
    "read_header",
    "refuse_halves",
]

NATIVE_VERSION = 1
"""Of the format. A change that this version's reader cannot read gets the next number, and keeps reading this one."""

SUFFIX = ".safetensors"

NativeKind = Literal["detector", "preprocessor"]

FORMATS: dict[NativeKind, str] = {
    "detector": "mlx-iforest detector",
    "preprocessor": "mlx-iforest preprocessor",
}
LARGEST_HEADER = 100_000_000
"""Bytes; safetensors reads no larger one."""

_LONGEST_NUMBER = 1000
"""Characters. The time that it takes to read a whole number goes with the square of its length."""

_TOLD = ("format", "format_version", "library_version", "checksum", "about")


class HeaderError(ValueError):
    """A text is no JSON that a model file holds; the message says why."""


@dataclass(frozen=True)
class Header:
    """What the header of a native file says; nothing of it is more than text or JSON.

    Attributes
    ----------
    kind : {"detector", "preprocessor"}
    library_version : str
        Of what wrote it.
    texts : dict of str to str
        The parts, as texts of JSON.
    about : str or None
        A text of JSON for `inspect`; None in files of before.
    """

    kind: NativeKind
    library_version: str
    texts: dict[str, str]
    about: str | None


def looks_native(head: bytes) -> bool:
    """Whether a file that begins with `head`, 9 bytes at least, is a safetensors file: a length, then JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER


def read_header(data: bytes, path: str) -> Header:
    """What the header in a native file's bytes says, which fit to its checksum; `path` names the file in messages.

    Raises
    ------
    ModelFileError
        They are damaged, of something else, or from a newer library.
    """
    size = 8 + int.from_bytes(data[:8], "little")
    if size > len(data):
        raise damaged(path, f"it has {len(data):,} bytes of at least {size:,}")
    kinds: dict[Any, NativeKind] = {name: kind for kind, name in FORMATS.items()}
    try:
        header = loaded(data[8:size].decode())
        texts = header["__metadata__"]
        kind, version, library = kinds[texts["format"]], texts["format_version"], str(texts["library_version"])
        told = texts.pop("checksum", None) if version == str(NATIVE_VERSION) else None
        fits = told is not None and told == checksum(header, memoryview(data)[size:])
    except (KeyError, TypeError):
        raise ModelFileError(
            f"{path} is a safetensors file of something else; give a model file that train or save_model wrote."
        ) from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, first_line(error)) from error
    if version != str(NATIVE_VERSION):
        raise ModelFileError(
            f"{path} has format version {str(version)[:20]!r}, written by mlx-iforest"
            f" {library[:20]!r}, and this library ({__version__}) reads version"
            f" {NATIVE_VERSION}; update mlx-iforest, or train the model again."
        )
    if not fits:
        raise damaged(path, "its checksum does not fit")
    parts = {name: text for name, text in texts.items() if name not in _TOLD}
    return Header(kind, library[:40], parts, texts.get("about"))


def checksum(header: Mapping[str, Any], payload: memoryview) -> str:
    """SHA-256 of a header that has no checksum yet and of the tensors' bytes, as hexadecimal digits."""
    digest = hashlib.sha256(dumped(header, sort_keys=True).encode())
    digest.update(payload)
    return digest.hexdigest()


def dumped(value: Any, sort_keys: bool = False) -> str:
    """A value as JSON in ASCII; `ValueError` for NaN and infinities."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys)


def loaded(text: str) -> Any:
    """What JSON says, and nothing that it leaves open: no constants of JavaScript, no name twice in an object."""
    made = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique, parse_int=_whole)
    refuse_halves(text)
    return made


def _refuse_constant(text: str) -> Any:
    raise HeaderError(f"{text} is no number of JSON")


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise HeaderError(f"a number has {len(text):,} digits")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise HeaderError("a name occurs twice in an object")
    return made


def refuse_halves(text: str) -> None:
    """Refuse texts with one half of a surrogate pair in them, which JSON can write and no file or terminal takes."""
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise HeaderError("a text holds half a character (a lone surrogate)") from None


def damaged(path: str, why: str) -> ModelFileError:
    """The error of a file that is not as it was written."""
    return ModelFileError(f"{path} is damaged or was cut off ({why}); copy the file again, or train the model again.")
