"""`Catalogue`: the texts of pages in another language, out of a ``.po`` file of GNU gettext."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from gettext import NullTranslations, c2py
from importlib.resources import files

__all__ = ["Catalogue", "read_catalogue"]

_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr)(?:\[(\d+)\])?\s+)?("(?:[^"\\]|\\.)*")')


class Catalogue(NullTranslations):
    """Texts by their English ones; a text that it lacks stays English.

    A ``.mo`` file would have to be made of the ``.po`` one wherever the package is built; this reads what people edit.

    Parameters
    ----------
    lines : iterable of str
        Of a ``.po`` file without contexts, as `docs/make_texts.py` writes it.

    Raises
    ------
    ValueError
        For a line that is none of such a file.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__()
        self._texts: dict[str, dict[int, str]] = {}
        entry: dict[tuple[str, int], str] = {}
        field = ("", 0)
        for number, line in enumerate((*lines, 'msgid ""'), 1):
            if not line.strip() or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            if found is None:
                raise ValueError(f"Line {number} is not of a .po file: {line.strip()[:80]!r}.")
            keyword, place, text = found.groups()
            if keyword == "msgid":
                self._keep(entry)
                entry = {}
            if keyword:
                field = (keyword, int(place or 0))
            entry[field] = entry.get(field, "") + ast.literal_eval(text)
        forms = re.search(r"plural=(.*?);", self._texts.get("", {}).get(0, ""))
        self._form = c2py(forms.group(1) if forms else "n != 1")

    def _keep(self, entry: dict[tuple[str, int], str]) -> None:
        texts = {place: text for (keyword, place), text in entry.items() if keyword == "msgstr" and text}
        if texts:
            self._texts[entry["msgid", 0]] = texts

    def gettext(self, message: str) -> str:
        """The text of an English one."""
        return self._texts.get(message, {}).get(0, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """The text for such a number of things."""
        return self._texts.get(msgid1, {}).get(self._form(n), msgid1 if n == 1 else msgid2)


def read_catalogue(language: str) -> Catalogue:
    """The one of a language that comes with the package."""
    path = files("anomaly_detection.texts").joinpath(f"{language}.po")
    return Catalogue(path.read_text("utf-8").splitlines())
