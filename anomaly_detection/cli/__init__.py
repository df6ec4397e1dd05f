"""The command line: `anomaly-detection train`, `score`, `explain`, `judge`, `inspect`, `convert`,
`generate`, `serve`, `keys` and `users`."""

from __future__ import annotations

import argparse
import difflib
import gc
import signal
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from anomaly_detection.cli.arguments import COMMANDS, add_arguments
from anomaly_detection.cli.signals import Ended, Told, ended_by_signals
from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.reports.console import note, open_streams, printable, result, silence

__all__ = ["main", "train_main"]

_PIPE_CLOSED = 141
"""What it takes to say that nobody reads the output any more: 128 and the number of SIGPIPE."""

_FOR_STRAYS = ("--data", "--output", "--row")
"""The options that a word too many may be meant for, the likeliest first."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and what may have been meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse has it, but a command's own parser refuses what it does not know, for it knows what was meant."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown[0])}")
        return known, unknown

    def _meant(self, word: str) -> str:
        if word.startswith("-"):
            return _did_you_mean(word.partition("=")[0], _options(self))
        option = next((option for option in _FOR_STRAYS if option in self._option_string_actions), None)
        return f" (did you mean {option} {word}?)" if option else ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = _did_you_mean(str(value), choices)
            raise argparse.ArgumentError(action, f"invalid choice: {str(value)!r}{near}; expected {', '.join(choices)}")

    def _print_message(self, message: str, file: Any = None) -> None:
        # Else help that cannot be written would end as help that was.
        (note if file is sys.stderr else result)(message.removesuffix("\n"))

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {printable(message)}; see {self.prog} --help\n")


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of a parser and of its commands."""
    found = {option for option in parser._option_string_actions if option.startswith("--")}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*(_options(command) for command in action.choices.values()))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="anomaly-detection",
        description="Finds the records in a supply chain that do not fit.",
        epilog="Each command has its own --help, with examples.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for name, (what, _) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=what), name)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``anomaly-detection``.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.

    Returns
    -------
    int
        0, 2 for an error of the user's, 128 and the number of the signal that ended it (130 after an interrupt, 143
        after SIGTERM, 141 where the reader of the output is gone). Wrong arguments leave by ``SystemExit(2)``, as is
        argparse's way.
    """
    return _run(_parser(), argv)


def train_main(argv: Sequence[str] | None = None) -> int:
    """Run ``train_model_mlx.py``, which is ``anomaly-detection train`` under another name; see `main`."""
    parser = _Parser(prog="train_model_mlx.py")
    add_arguments(parser, "train")
    return _run(parser, argv)


def _run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run in a process that may be told to end, or not to be heard, at any moment."""
    open_streams()
    told = Told()
    try:
        with ended_by_signals() as told:
            try:
                code = _reported(parser, argv)
            finally:
                _settle_open()
            # Clearing up can raise another error, where the terminal is gone.
            return told.code or code
    except Ended as ended:
        # It came while something else was being reported.
        return ended.code
    except BrokenPipeError:
        silence(sys.stdout, sys.stderr)
        return _PIPE_CLOSED
    except Exception:
        # A library may turn the interrupt into an error of its own, as a compiler does that is stopped half way.
        if not told.code:
            raise
        note(_interrupted(parser, Ended(told.code - 128)))
        return told.code


def _interrupted(parser: argparse.ArgumentParser, ended: Ended) -> str:
    return f"{parser.prog}: interrupted by {ended.name}; every file is as it was before, or complete"


def _reported(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run, and say in one line what went wrong."""
    prog = parser.prog
    try:
        return _command(parser, parser.parse_args(argv))
    except AnomalyDetectionError as error:
        note(f"{prog}: error: {printable(error)}")
        return 2
    except MemoryError:
        note(f"{prog}: error: not enough memory for this many records; give fewer, or score with a --chunk-rows")
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("anomaly_detection", "mlx_iforest"):
            raise
        note(f"{prog}: error: {error.name} is not installed; run pip install -r requirements_mlx.txt")
        return 2
    except KeyboardInterrupt as interrupt:
        ended = interrupt if isinstance(interrupt, Ended) else Ended(signal.SIGINT)
        note(_interrupted(parser, ended))
        return ended.code
    except BrokenPipeError:
        raise
    except OSError as error:
        # Of a path that nothing else has looked at.
        where = "" if error.filename is None else f"{printable(error.filename)}: "
        note(f"{prog}: error: {where}{error.strerror or error}")
        return 2


def _settle_open() -> None:
    # Before it is loaded nothing is written, and loading it takes a second.
    if (files := sys.modules.get("mlx_iforest.files")) is not None:
        files.settle_open()


def _loaded(name: str) -> Any:
    """The module of a command. Nothing that loading it makes is garbage, and looking for some takes a tenth as long."""
    gc.disable()
    try:
        return import_module(f"{__name__}.{name}")
    finally:
        gc.freeze()
        gc.enable()


def _command(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run what was asked for. The commands are imported when they run, for they take a second to load."""
    name = getattr(arguments, "run", None)
    if name is not None:
        return int(_loaded(name).run(arguments))
    if not arguments.version:
        *others, last = COMMANDS
        parser.error(f"a command is missing: give {', '.join(others)} or {last}")
    from mlx_iforest import __version__

    result(f"{parser.prog} {__version__}")
    return 0
