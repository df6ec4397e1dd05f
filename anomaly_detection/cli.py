"""The command line: `anomaly-detection train`, `score`, `explain`, `judge`, `inspect`, `convert` and `generate`."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .cli_arguments import add_convert, add_explain, add_generate, add_inspect, add_judge, add_score, add_train
from .console import note, printable
from .errors import AnomalyDetectionError

__all__ = ["main", "train_main"]

# What it takes to say that a program was interrupted, or that nobody reads its output any more (128 + the signal).
_INTERRUPTED = 130
_PIPE_CLOSED = 141


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and what may have been meant."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: -"):
            near = difflib.get_close_matches(message.split()[2], sorted(_options(self)), n=1)
            message += f" (did you mean {near[0]}?)" if near else ""
        self.exit(2, f"{self.prog}: error: {printable(message)}; see {self.prog} --help\n")


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
    add_train(commands.add_parser("train", help="train, compare and save models"))
    add_score(commands.add_parser("score", help="judge records with a saved model"))
    add_explain(commands.add_parser("explain", help="say why records of a file have their scores"))
    add_judge(commands.add_parser("judge", help="tell how many known errors a saved model finds in your records"))
    add_inspect(commands.add_parser("inspect", help="say what a model file holds"))
    add_convert(commands.add_parser("convert", help="write a model in another format"))
    add_generate(commands.add_parser("generate", help="write synthetic records"))
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
        0, 2 for an error of the user's, 130 after an interrupt, 141 where the reader of the output is gone. Wrong
        arguments leave by ``SystemExit(2)``, as is argparse's way.
    """
    return _run(_parser(), argv)


def train_main(argv: Sequence[str] | None = None) -> int:
    """Run ``train_model_mlx.py``, which is ``anomaly-detection train`` under another name; see `main`."""
    parser = _Parser(prog="train_model_mlx.py")
    add_train(parser)
    return _run(parser, argv)


def _run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    prog = parser.prog
    try:
        arguments = parser.parse_args(argv)
        code = _command(parser, arguments)
        sys.stdout.flush()
        return code
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
    except KeyboardInterrupt:
        note(f"{prog}: interrupted; what was saved before is as it was")
        return _INTERRUPTED
    except BrokenPipeError:
        # Python would flush standard output once more on its way out, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _command(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run what was asked for. The commands are imported when they run, for they take a second to load."""
    name: Any = getattr(arguments, "run", None)
    if name == "train":
        from .cli_train import run
    elif name == "score":
        from .cli_score import run
    elif name == "explain":
        from .cli_explain import run
    elif name == "judge":
        from .cli_judge import run
    elif name == "inspect":
        from .cli_inspect import run
    elif name == "convert":
        from .cli_convert import run
    elif name == "generate":
        from .cli_generate import run
    elif arguments.version:
        from mlx_iforest import __version__

        sys.stdout.write(f"{parser.prog} {__version__}\n")
        return 0
    else:
        parser.error("a command is missing: give train, score, explain, judge, inspect, convert or generate")
    return run(arguments)
