"""What the command line says: results to standard output, all else to standard error; bars on a terminal only."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["note", "printable", "progress_bar", "result", "result_as_json", "table"]

_LINE = "\n"


def result(text: str, *, styled: bool = False) -> None:
    """Write what the user asked for to standard output, its lines as `printable` renders them unless it is `styled`.

    What has styles of its own is made of texts that were rendered already.
    """
    sys.stdout.write(f"{text if styled else _rendered(text, kept=_LINE)}\n")


def note(text: str) -> None:
    """Write a remark to standard error, its lines as `printable` renders them."""
    sys.stderr.write(f"{_rendered(text, kept=_LINE)}\n")
    sys.stderr.flush()


def result_as_json(value: Any) -> None:
    """Write plain values to standard output as JSON, in ASCII: valid UTF-8 on any terminal, and nothing acts on it."""
    sys.stdout.write(f"{json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)}\n")


def printable(text: object) -> str:
    """Text of a file or a table on one line: what a terminal would act upon is shown as the escape that names it.

    Control characters, marks that turn the direction of writing and halves of characters become ``\\x1b``, ``\\u202e``
    and the like, and any run of spaces one space.
    """
    return " ".join(_rendered(str(text)).split())


def _rendered(text: str, kept: str = "") -> str:
    return "".join(one if one.isprintable() or one in kept else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else character.encode("unicode_escape").decode()


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float, str], None]]:
    """Give a function ``(stage, fraction, message)`` that draws a bar for each stage; off a terminal it draws nothing.

    The bars are gone from the screen once the block has ended, however it ended.
    """
    if not sys.stderr.isatty():
        yield lambda stage, fraction, message: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    bars = Progress(
        TextColumn("{task.fields[stage]:<12}", markup=False),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def show(stage: str, fraction: float, message: str) -> None:
        if stage not in tasks:
            for earlier in tasks.values():
                bars.update(earlier, total=1.0, completed=1.0)
            # Without a total the bar only says that something goes on.
            tasks[stage] = bars.add_task(message, total=None, stage=stage)
        bars.update(tasks[stage], total=1.0 if fraction else None, completed=fraction, description=message)

    with bars:
        yield show


def table(rows: Sequence[Mapping[str, str]], *, right: frozenset[str] = frozenset()) -> str:
    """`rows` as aligned text; the last column is wrapped to the terminal's width, and never where there is no terminal.

    Parameters
    ----------
    rows : sequence of mapping
        The same keys in all, which become the heads; at least one.
    right : frozenset of str
        The columns to align to the right.
    """
    heads = list(rows[0])
    widths = [max(len(head), *(len(row[head]) for row in rows)) for head in heads[:-1]]
    indent = sum(widths) + 2 * len(widths)
    available = max(shutil.get_terminal_size().columns - indent, 30) if sys.stdout.isatty() else None
    lines = []
    for row in [dict(zip(heads, heads, strict=True)), *rows]:
        cells = [
            row[head].rjust(width) if head in right else row[head].ljust(width)
            for head, width in zip(heads, widths, strict=False)
        ]
        last = textwrap.wrap(row[heads[-1]], available) if available else [row[heads[-1]]]
        lines.append("  ".join([*cells, *last[:1]]).rstrip())
        lines += [" " * indent + more for more in last[1:]]
    return "\n".join(lines)
