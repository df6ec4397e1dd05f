"""Forms of dates: in which order day, month and year stand around a mark, and what months are called."""

from __future__ import annotations

__all__ = ["DAY_FIRST", "FORMS", "MONTHS", "MONTH_FIRST", "WEEKS", "form_of", "in_words", "is_date_form"]

_SEPARATORS = "/-. "
DAY_FIRST = tuple(f"d{mark}m{mark}y" for mark in _SEPARATORS)
"""All forms in which the day comes first, as `parse_dates` takes them."""

MONTH_FIRST = tuple(f"m{mark}d{mark}y" for mark in _SEPARATORS)
"""The same with the month first, as in the United States."""

WEEKS = "y-w"
FORMS = frozenset({*DAY_FIRST, *MONTH_FIRST, *(f"y{mark}m{mark}d" for mark in _SEPARATORS), WEEKS})

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("january", "february", "march", "april", "may", "june"),
            *("july", "august", "september", "october", "november", "december"),
        ),
        start=1,
    )
    for name in (names, names[:3], names[:4])
}
_OTHER_NAMES = (
    "januar janvier janv enero ene gennaio gen janeiro januari stycznia styczen",
    "februar fevrier fevr fev febrero febbraio fevereiro februari febr lutego luty",
    "marz mrz mars marzo marco maart mrt marca marzec marts",
    "avril avr abril abr aprile kwietnia kwiecien",
    "mai mayo maggio mag maio mei maj maja",
    "juni juin junio giugno giu junho czerwca czerwiec",
    "juli juillet juil julio luglio lug julho lipca lipiec",
    "aout agosto ago augustus augusti sierpnia sierpien",
    "septembre septiembre settembre set setembro wrzesnia wrzesien",
    "oktober okt octobre octubre ottobre ott outubro out pazdziernika pazdziernik",
    "noviembre novembre novembro listopada listopad",
    "dezember dez decembre diciembre dic dicembre dezembro desember des grudnia grudzien",
)
MONTHS |= {name: number for number, names in enumerate(_OTHER_NAMES, start=1) for name in names.split()}
"""The months by their names in lower case and without accents, whole or short: English, German, French, Spanish,
Italian, Portuguese, Dutch, Swedish, Norwegian and Polish."""


def is_date_form(form: str) -> bool:
    """Whether a text names a form of dates, such as ``d/m/y``, or ``y-w`` for a year and its week."""
    return form in FORMS


def in_words(form: str) -> str:
    """Say a form as people do: ``d.m.y`` is "day.month.year"."""
    words = {"d": "day", "m": "month", "y": "year", "w": "week"}
    return "".join(words.get(letter, letter) for letter in form)


def form_of(order: str, mark: str) -> str:
    return mark.join({"d": "dmy", "m": "mdy", "y": "ymd"}[order])
