"""Native files taken apart, changed and sealed again, so that changes get past the checksum."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

Header = dict[str, Any]


def taken_apart(content: bytes) -> tuple[Header, bytes]:
    """The header, with its parts read as JSON, and the tensors' bytes."""
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    told = header["__metadata__"]
    for name in told:
        if told[name][:1] in ("{", "[") or told[name] == "null":
            told[name] = json.loads(told[name])
    return header, content[size:]


def framed(text: bytes, payload: bytes) -> bytes:
    """Any text as the header of a safetensors file."""
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + payload


def sealed(header: Header, payload: bytes) -> bytes:
    """A file of these parts with the checksum that they need."""
    if not isinstance(header.get("__metadata__"), dict):
        return framed(json.dumps(header).encode(), payload)
    told = {
        name: part if isinstance(part, str) and name != "training" else json.dumps(part)
        for name, part in header["__metadata__"].items()
        if name != "checksum"
    }
    header = {**header, "__metadata__": told}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    told["checksum"] = hashlib.sha256(text + payload).hexdigest()
    return framed(json.dumps(header, sort_keys=True, separators=(",", ":")).encode(), payload)


def edited(content: bytes, edit: Callable[[Header], Any]) -> bytes:
    """A file whose header `edit` has changed in place."""
    header, payload = taken_apart(content)
    edit(header)
    return sealed(header, payload)


def places(value: Any) -> list[tuple[Any, Any]]:
    """All (container, key) pairs inside a JSON value."""
    found: list[tuple[Any, Any]] = []
    rest = [value]
    while rest:
        one = rest.pop()
        pairs = list(one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ())
        found += [(one, key) for key, _ in pairs]
        rest += [item for _, item in pairs]
    return found


ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 255, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.5, 1e308, -1e-308),
    *("", "nan", "inf", "-inf", "numeric", "categorical", "timestamp", "density", "preprocessor/kept_", "x" * 300),
    *([], {}, [[]], [None], [0, 1], {"kind": "Levels"}, {"$": "tuple", "items": [1]}, {"$": "array"}, "\ud800"),
)


def mutated(content: bytes, seed: int) -> bytes:
    """The file with a few of its JSON values, tensor entries or bytes changed, as `seed` says, and sealed again."""
    rng = random.Random(seed)
    header, payload = taken_apart(content)
    payload = bytearray(payload)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if not isinstance(header.get("__metadata__"), dict):
            break
        if rng.random() < 0.3:
            for _ in range(rng.choice((1, 8))):
                payload[rng.randrange(len(payload))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            continue
        # As many edits in small parts of the header as in large ones.
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        told = header["__metadata__"]
        part = rng.choice([value for value in (*told.values(), told, tensors, header) if isinstance(value, dict)])
        container, key = rng.choice(places(part))
        how = rng.randrange(6)
        value = container[key]
        if how == 0:
            container[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        elif how == 1:
            del container[key]
        elif how == 2 and isinstance(value, (int, float)):
            container[key] = rng.choice((value + 1, value - 1, -value, value * 2, float(value), value * 10**9))
        elif how == 3 and isinstance(container, list):
            container.append(copy.deepcopy(value))
        elif how == 4 and isinstance(value, list):
            rng.shuffle(value)
        else:
            other, name = rng.choice(places(part))
            # A copy: a value that held itself would have no end.
            container[key] = copy.deepcopy(other[name])
    return sealed(header, bytes(payload))
