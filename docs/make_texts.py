"""Bring the catalogues of the pages up to date: new texts come in empty, and those that are gone go."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from babel.messages import Catalog
from babel.messages.extract import extract, extract_python
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

ROOT = Path(__file__).parent.parent
SERVICE = ROOT / "anomaly_detection" / "service"
PAGES = SERVICE / "pages"
WORDING = [ROOT / "anomaly_detection" / room for room in ("alerts", "calibration", "data", "explain", "features")]
"""Rooms whose modules say reasons, and how a table is read, of templates that stand in ``say`` and ``N_``."""

TEXTS = ROOT / "anomaly_detection" / "texts"
_OPTIONS = {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}
_KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "say": (1,),
}
_HEADER = """\
msgid ""
msgstr ""
"Language: {language}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: {plural}\\n"

"""


def extracted() -> Catalog:
    """Every text of the templates and modules of the pages, and every template of a reason, with where it is."""
    found = Catalog()
    modules = [path for room in (SERVICE, *WORDING) for path in room.rglob("*.py")]
    for path in sorted([*PAGES.glob("templates/*.j2"), *modules]):
        with path.open("rb") as file:
            for _, text in _texts(path, file):
                # Without lines: a catalogue changes when a text does, not when it moves.
                found.add(text, locations=[(path.name, 0)])
    return found


def _texts(path: Path, file: IO[bytes]) -> Iterator[tuple[int, str | tuple[str, ...]]]:
    method = extract_python if path.suffix == ".py" else babel_extract
    for line, text, _, _ in extract(method, file, _KEYWORDS, (), _OPTIONS):
        yield line, text


def catalogue(language: str) -> Catalog:
    """The catalogue of a language as it is kept."""
    with (TEXTS / f"{language}.po").open("rb") as file:
        return read_po(file, language)


def updated(language: str) -> str:
    """The same with all texts that there are, and no others."""
    kept, made = catalogue(language), Catalog()
    for message in extracted():
        known = kept.get(message.id if isinstance(message.id, str) else message.id[0]) if message.id else None
        if message.id:
            made.add(message.id, None if known is None else known.string, message.locations)
    file = io.BytesIO()
    write_po(file, made, width=0, sort_output=True, omit_header=True, include_lineno=False)
    return _HEADER.format(language=language, plural=kept.plural_forms) + file.getvalue().decode()


if __name__ == "__main__":
    for each in sorted(TEXTS.glob("*.po")):
        each.write_text(updated(each.stem), "utf-8")
