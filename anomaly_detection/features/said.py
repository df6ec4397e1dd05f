"""`Said`: a text that keeps the template and the values that it was made of, for others to say it in their language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["N_", "Day", "Figure", "Said", "as_text", "kept", "say", "spoken"]


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


def say(template: str, **values: str) -> Said:
    """A `Said`; `docs/make_texts.py` finds its template by the name of this function."""
    return Said(template, values)


def as_text(label: Any) -> str:
    """What a row is called, as a text."""
    return label if isinstance(label, str) else str(label)


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
