"""Declarations of what objects hold, by which they become arrays and JSON, and come back checked.

A declaration is data: a `Kind` for each attribute of each class. Both ways go by it. Writing refuses what it does not
declare, so that nothing is lost unseen; reading builds only what it declares, so that a file names no class, shares no
part and holds no reference: the array that belongs at ``a/b`` in the JSON has that name, and JSON says "array" there.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = [
    "Arrays",
    "Dict",
    "Fields",
    "Fixed",
    "Implied",
    "Kind",
    "List",
    "OneOf",
    "Optional",
    "Record",
    "StateError",
    "place",
    "refuse_other_keys",
    "shown",
]

Arrays = dict[str, NDArray[Any]]
"""Arrays by the place of the value that they belong to."""


class StateError(ValueError):
    """A value is not as declared; the message says where, what was expected and what was found."""


_LONGEST_PLACE = 4096
"""Characters: names within a long name would make the text of all places grow with the square of a file's size."""


def place(at: str, key: str | int) -> str:
    """The name of what is at `key` inside `at`: ASCII, and different for different places.

    Raises
    ------
    StateError
        It would be longer than any that a model has.
    """
    text = str(key) if isinstance(key, int) else json.dumps(key)[1:-1].replace("~", "~0").replace("/", "~1")
    made = f"{at}/{text}" if at else text
    if len(made) > _LONGEST_PLACE:
        raise StateError(f"{made[:36]}...: a name is too long; expected {_LONGEST_PLACE:,} characters at most")
    return made


def shown(value: Any) -> str:
    """A value in a few words, for a message."""
    if isinstance(value, (str, int, float, type(None))):
        text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
        return text if len(text) <= 40 else f"{text[:36]}..."
    return f"a {type(value).__name__}"


def refuse_other_keys(found: Any, names: Collection[str], at: str, optional: Collection[str] = ()) -> dict[str, Any]:
    """`found`, if it is a dict of these names."""
    if not isinstance(found, dict):
        raise StateError(f"{at}: expected an object, found {shown(found)}")
    missing = [name for name in names if name not in found and name not in optional]
    unknown = [name for name in found if name not in names]
    if missing:
        raise StateError(f"{at}: {missing[0]!r} is missing")
    if unknown:
        raise StateError(f"{at}: {shown(unknown[0])} is unknown")
    return found


class Kind(ABC):
    """How values of one kind are written and read."""

    @abstractmethod
    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        """What JSON holds of `value`; its arrays go into `arrays`.

        Raises
        ------
        StateError
            The value is not of this kind.
        """

    @abstractmethod
    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        """The value that `encode` was given; takes its arrays out of `arrays`.

        Raises
        ------
        StateError
            `found` or an array is nothing that `encode` makes.
        """


@dataclass(frozen=True)
class Optional(Kind):
    """None or `item`."""

    item: Kind

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        return None if value is None else self.item.encode(value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        return None if found is None else self.item.decode(found, at, arrays)


@dataclass(frozen=True)
class List(Kind):
    """A list or tuple of `item`; comes back as `make` makes it."""

    item: Kind
    make: Callable[[list[Any]], Any] = list

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(value, (list, tuple)):
            raise StateError(f"{at}: expected a list, found {shown(value)}")
        return [self.item.encode(one, place(at, i), arrays) for i, one in enumerate(value)]

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(found, list):
            raise StateError(f"{at}: expected a list, found {shown(found)}")
        return self.make([self.item.decode(one, place(at, i), arrays) for i, one in enumerate(found)])


@dataclass(frozen=True, init=False)
class Fixed(Kind):
    """A tuple with an item of each of `items`."""

    items: tuple[Kind, ...]

    def __init__(self, *items: Kind) -> None:
        object.__setattr__(self, "items", items)

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        self._check(value, tuple, at)
        return [kind.encode(one, place(at, i), arrays) for i, (kind, one) in enumerate(self._pairs(value))]

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        self._check(found, list, at)
        return tuple(kind.decode(one, place(at, i), arrays) for i, (kind, one) in enumerate(self._pairs(found)))

    def _pairs(self, values: Sequence[Any]) -> zip[tuple[Kind, Any]]:
        return zip(self.items, values, strict=True)

    def _check(self, found: Any, sequence: type[list[Any]] | type[tuple[Any, ...]], at: str) -> None:
        if not isinstance(found, sequence) or len(found) != len(self.items):
            raise StateError(f"{at}: expected {len(self.items)} values, found {shown(found)}")


@dataclass(frozen=True)
class Dict(Kind):
    """A dict of strings to `item`, in its order."""

    item: Kind

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(value, dict) or not all(type(key) is str for key in value):
            raise StateError(f"{at}: expected a dict with keys of text, found {shown(value)}")
        return {key: self.item.encode(one, place(at, key), arrays) for key, one in value.items()}

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(found, dict):
            raise StateError(f"{at}: expected an object, found {shown(found)}")
        return {key: self.item.decode(one, place(at, key), arrays) for key, one in found.items()}


@dataclass(frozen=True)
class Implied(Kind):
    """A field that follows from the rest of a state: nothing is written of it.

    Parameters
    ----------
    value : object
        What comes back, for who reads to put in what follows.
    """

    value: Any

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        raise StateError(f"{at}: only a field is implied")

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        raise StateError(f"{at}: only a field is implied")


@dataclass(frozen=True)
class Fields:
    """Named values.

    Parameters
    ----------
    kinds : mapping of name to Kind
    optional : collection of str
        Names that may be absent.
    """

    kinds: Mapping[str, Kind]
    optional: Collection[str] = ()

    def encode(self, state: Mapping[str, Any], at: str, arrays: Arrays) -> dict[str, Any]:
        """As `Kind.encode`, of named values."""
        found = refuse_other_keys(dict(state), self.kinds, at, self.optional)
        return {
            name: kind.encode(found[name], place(at, name), arrays)
            for name, kind in self._written.items()
            if name in found
        }

    def decode(self, found: Any, at: str, arrays: Arrays) -> dict[str, Any]:
        """As `Kind.decode`, of named values."""
        found = refuse_other_keys(found, self._written, at, self.optional)
        implied = {name: kind.value for name, kind in self.kinds.items() if isinstance(kind, Implied)}
        return implied | {
            name: kind.decode(found[name], place(at, name), arrays)
            for name, kind in self._written.items()
            if name in found
        }

    @property
    def _written(self) -> dict[str, Kind]:
        return {name: kind for name, kind in self.kinds.items() if not isinstance(kind, Implied)}


@dataclass(frozen=True)
class Record(Kind):
    """An object of the class `of` and no subclass, by its attributes.

    Parameters
    ----------
    of : type
    kinds : mapping of name to Kind
        All attributes. A class that has another one cannot be written.
    optional : collection of str
        Attributes that an object may lack, such as those of files older than the attribute.
    check : callable, optional
        Says of an object that was read what is wrong with it, None where nothing is. A ``__post_init__`` is called
        before.
    """

    of: type
    kinds: Mapping[str, Kind]
    check: Callable[[Any], str | None] = field(default=lambda made: None)
    optional: Collection[str] = ()

    @property
    def implied(self) -> list[str]:
        """The attributes that follow from the rest of a state."""
        return [name for name, kind in self.kinds.items() if isinstance(kind, Implied)]

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if type(value) is not self.of:
            raise StateError(f"{at}: expected a {self.of.__name__}, found {shown(value)}")
        return Fields(self.kinds, self.optional).encode(vars(value), at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        made: Any = object.__new__(self.of)
        made.__dict__.update(Fields(self.kinds, self.optional).decode(found, at, arrays))
        try:
            if hasattr(made, "__post_init__"):
                made.__post_init__()
        except ValueError as error:
            raise StateError(f"{at}: {error}") from error
        fault = self.check(made)
        if fault is not None:
            raise StateError(f"{at}: {fault}")
        return made


@dataclass(frozen=True, init=False)
class OneOf(Kind):
    """An object of one of several classes, named by ``kind``."""

    records: dict[str, Record]

    def __init__(self, *records: Record) -> None:
        object.__setattr__(self, "records", {record.of.__name__: record for record in records})

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        record = self.records.get(type(value).__name__)
        if record is None:
            raise StateError(f"{at}: expected a {' or '.join(self.records)}, found {shown(value)}")
        return {"kind": record.of.__name__, **record.encode(value, at, arrays)}

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        kind = found.get("kind") if isinstance(found, dict) else None
        if not isinstance(kind, str) or kind not in self.records:
            raise StateError(f"{at}: expected the kind {' or '.join(self.records)}, found {shown(kind)}")
        return self.records[kind].decode({name: one for name, one in found.items() if name != "kind"}, at, arrays)
