"""What the command line says: results to standard output, all else to standard error; bars on a terminal only."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from anomaly_detection.errors import DataError, without_passwords

__all__ = ["note", "open_streams", "printable", "progress_bar", "result", "result_as_json", "silence", "table"]

_LINE = "\n"


def open_streams() -> None:
    """Make sure that the standard streams are there, and can take any text.

    In the place of one that is closed comes one that refuses to be written, or ends at once when it is read. Else the
    next file to be opened would take its number, and what other libraries say would be written into that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDONLY), mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def silence(*streams: TextIO) -> None:
    """Let what is written to these streams vanish: also what waits in them, or Python would complain on its way out."""
    for stream in streams:
        # One that is no file, as in a test, has nothing waiting.
        with suppress(io.UnsupportedOperation):
            number = stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def result(text: str, *, styled: bool = False) -> None:
    """Write what the user asked for to standard output, its lines as `printable` renders them unless it is `styled`.

    What has styles of its own is made of texts that were rendered already.

    Raises
    ------
    BrokenPipeError
        If nobody reads it any more.
    DataError
        If it cannot be written for another reason, such as a full disk.
    """
    try:
        sys.stdout.write(f"{text if styled else _rendered(text, kept=_LINE)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(sys.stdout)
        raise DataError(
            f"Cannot write the result to standard output: {error.strerror}; give it another place."
        ) from error


def note(text: str) -> None:
    """Write a remark to standard error, its lines as `printable` renders them, and no password of a URL.

    Raises
    ------
    BrokenPipeError
        If nobody reads it any more.
    """
    try:
        sys.stderr.write(f"{_rendered(without_passwords(text), kept=_LINE)}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError:
        # Nowhere is left to say so, and the work does not depend on it.
        silence(sys.stderr)


def result_as_json(value: Any) -> None:
    """Write plain values to standard output as JSON, in ASCII: valid UTF-8 on any terminal, and nothing acts on it."""
    result(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))


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
