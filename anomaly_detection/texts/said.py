"""`Said`: a text that keeps the template and the values that it was made of, for others to say it in their language."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["N_", "Day", "Figure", "Said", "as_text", "kept", "remade", "replaced", "say", "spoken", "written"]

_PLACE = re.compile(r"%(?:%|\((\w+)\)s)")
_DEEPEST = 20
_text = str.__new__


def N_(text: str) -> str:  # noqa: N802 - gettext's name for what is looked up later
    """Mark a text for the catalogues."""
    return text


class Figure(str):
    """A number as Python writes it: 1,234.5."""

    __slots__ = ()


class Day(str):
    """A day as ISO writes it: 2024-05-31."""

    __slots__ = ()


class Said(str):
    """An English text of a template, which a catalogue has in other languages, and of values.

    Parameters
    ----------
    template : str
        With a place such as ``%(name)s`` for each value.
    values : mapping of str to str
        A `Said`, `Figure` or `Day` is said in the other language too, any other text is what it is.
    """

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, str]

    def __new__(cls, template: str, values: Mapping[str, str]) -> Said:
        made = super().__new__(cls, template % values)
        made.template, made.values = template, values
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Said, (self.template, self.values)


def say(template: str, **values: object) -> Said:
    """A `Said`; `docs/make_texts.py` finds its template by the name of this function."""
    for name, value in values.items():
        if not isinstance(value, str):
            values[name] = str(value)
    # `Said(template, values)`, without a call of each constructor: an alert is some twenty of these.
    made = _text(Said, template % values)
    made.template, made.values = template, values  # type: ignore[assignment]
    return made


def as_text(label: Any) -> str:
    """What a row is called, as a text."""
    return label if isinstance(label, str) else str(label)


def replaced(text: str, old: str, new: str) -> str:
    """A text with another in place of a part that stands in its values, if it has any."""
    if isinstance(text, Said):
        return Said(text.template, {name: replaced(value, old, new) for name, value in text.values.items()})
    return new if text == old else text.replace(old, new)


def written(text: str) -> str:
    """A text for a column of texts, which keeps what it was made of."""
    return json.dumps(kept(text), ensure_ascii=False, separators=(",", ":")) if isinstance(text, Said) else text


def remade(text: str) -> str:
    """The text of which `written` made this one; any other, whoever wrote it, is what it is."""
    try:
        return _of(json.loads(text)) if text.startswith('{"say":') else text
    except (ValueError, RecursionError):
        return text


def _of(what: Any, depth: int = 0) -> str:
    if isinstance(what, str):
        return what
    match what:
        case {"number": str(number)}:
            return Figure(number)
        case {"day": str(day)}:
            return Day(day)
        case {"say": str(template), "of": dict(values)} if depth < _DEEPEST and _is_filled(template, values):
            return Said(template, {name: _of(value, depth + 1) for name, value in values.items()})
    raise ValueError("This is no text that was kept.")


def _is_filled(template: str, values: Mapping[str, Any]) -> bool:
    """Whether there is a value for each place, and no place has a width, which might fill the memory."""
    return "%" not in _PLACE.sub("", template) and set(filter(None, _PLACE.findall(template))) <= values.keys()


def kept(text: str) -> Any:
    """A text as JSON has it, with all that it was made of."""
    if isinstance(text, Said):
        return {"say": text.template, "of": {name: kept(value) for name, value in text.values.items()}}
    if isinstance(text, Figure):
        return {"number": str(text)}
    return {"day": str(text)} if isinstance(text, Day) else str(text)


def spoken(
    what: Any,
    translate: Callable[[str], str] = str,
    number: Callable[[str], str] = str,
    day: Callable[[str], str] = str,
) -> str:
    """What was `kept`, in the language into which the functions bring templates, numbers and days."""
    if isinstance(what, str):
        return what
    if "say" in what:
        values = {name: spoken(value, translate, number, day) for name, value in what["of"].items()}
        return translate(what["say"]) % values
    return number(what["number"]) if "number" in what else day(what["day"])
