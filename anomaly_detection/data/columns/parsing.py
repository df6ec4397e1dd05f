"""The words in a column's name."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["name_tokens", "words_of"]

_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|#")


def words_of(name: str) -> list[str]:
    """Words of a column name in lower case, in their order: ``"leadTime_Days #"`` gives lead, time, days, #."""
    return [token.lower() for token in _TOKEN.findall(name)]


@lru_cache(4096)
def name_tokens(name: str) -> frozenset[str]:
    """The same words, each once and in no order."""
    return frozenset(words_of(name))
