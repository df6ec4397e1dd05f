"""`Mask`: answers without the values of personal columns, for callers without the right to see them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

__all__ = ["HIDDEN", "MASK", "Mask", "hides", "masked", "withheld"]

HIDDEN = "(hidden)"
"""What stands where a value would."""

_TOLD_OF_REASONS = ("columns", "share", "effect")
"""What is told of a reason for all that: what it is about, and how much it bears."""

_TOLD_OF_COLUMNS = ("name", "kind")
"""What is told of a column for all that, of which there are examples."""

_SHORTEST = 3
"""Characters of a value that is looked for in texts: a shorter one is in every text."""


class Mask:
    """Hides values by the names of their columns, wherever in an answer.

    A field of such a name is hidden, at any depth, and what a reason on such a column says. So is a text that names
    such a column, for a reason names the column that it tells of, and one that holds a value which is hidden in the
    same object, for it may be told of in another way: a sentence on a record is hidden as a whole, while its reasons
    on other columns stay.

    Parameters
    ----------
    names : iterable of str
        Of columns, in whatever capitals.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(name.casefold() for name in names)
        words = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        self._named = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)
        self.was_used = False
        """Whether anything went through it."""

    def hide(self, value: Any, beside: Any = None) -> Any:
        """The same, of values that JSON has, without what is personal; what came is not changed.

        Texts are told of an object `beside` it too, a record.
        """
        self.was_used = True
        return self._hide(value, frozenset(self._values(beside or {})))

    def _hide(self, value: Any, hidden: frozenset[str]) -> Any:
        if isinstance(value, dict):
            if self._is_reason(value):
                return {name: each if name in _TOLD_OF_REASONS else HIDDEN for name, each in value.items()}
            if "examples" in value and str(value.get("name")).casefold() in self.names:
                return {name: each if name in _TOLD_OF_COLUMNS else HIDDEN for name, each in value.items()}
            within = hidden | frozenset(self._values(value))
            return {
                name: self._without(each) if name.casefold() in self.names else self._hide(each, within)
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [self._hide(each, hidden) for each in value]
        if isinstance(value, str) and (self._tells(value) or any(_holds(value, each) for each in hidden)):
            return HIDDEN
        return value

    def _is_reason(self, value: dict[str, Any]) -> bool:
        columns = value.get("columns")
        return isinstance(columns, list) and any(str(name).casefold() in self.names for name in columns)

    def _tells(self, text: str) -> bool:
        # The name alone says nothing of anybody.
        return text.casefold() not in self.names and self._named.search(text) is not None

    def _values(self, value: Any) -> Iterable[str]:
        """The personal values within an object, but not those in the objects of a list of its: these are others'."""
        for name, each in value.items():
            if name.casefold() in self.names:
                text = str(each).strip().casefold()
                if not isinstance(each, (dict, list)) and len(text) >= _SHORTEST:
                    yield text
            elif isinstance(each, dict):
                yield from self._values(each)

    @staticmethod
    def _without(value: Any) -> Any:
        # That there is none is no secret.
        return value if value in (None, "") else HIDDEN


def _holds(text: str, word: str) -> bool:
    return word in text.casefold() and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.casefold()) is not None


MASK: ContextVar[Mask | None] = ContextVar("MASK", default=None)
"""Of the request that is being answered."""


def masked(value: Any, beside: Any = None) -> Any:
    """What the caller of this request may see of a value; see `Mask.hide`."""
    mask = MASK.get()
    return value if mask is None else mask.hide(value, beside)


def hides(name: str) -> bool:
    """Whether the caller of this request may not see a column."""
    mask = MASK.get()
    return mask is not None and name.casefold() in mask.names


def withheld(text: str) -> str:
    """A text that may hold personal values with nothing beside it that tells which."""
    return text if MASK.get() is None else HIDDEN
