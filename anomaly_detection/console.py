"""What the command line says: results to standard output, all else to standard error; bars on a terminal only."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["note", "printable", "progress_bar", "result", "table"]


def result(text: str) -> None:
    """Write what the user asked for to standard output."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Write a remark to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def printable(text: object) -> str:
    """`text` on one line, without the control characters by which data could write on the terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


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
