"""What can be given to each command: its arguments, their checks, and the examples of its help."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from anomaly_detection.cli.arguments.generating import add_generate
from anomaly_detection.cli.arguments.models import add_convert, add_explain, add_inspect, add_judge, add_score
from anomaly_detection.cli.arguments.service import add_keys, add_serve, add_users
from anomaly_detection.cli.arguments.tables import layout
from anomaly_detection.cli.arguments.training import add_train

__all__ = ["COMMANDS", "add_arguments", "layout"]

COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "train": ("train, compare and save models", add_train),
    "score": ("judge records with a saved model", add_score),
    "explain": ("say why records of a file have their scores", add_explain),
    "judge": ("tell how many known errors a saved model finds in your records", add_judge),
    "inspect": ("say what a model file holds", add_inspect),
    "convert": ("write a model in another format", add_convert),
    "generate": ("write synthetic records", add_generate),
    "serve": ("take records by HTTP, judge them, keep alerts", add_serve),
    "keys": ("API keys of the service", add_keys),
    "users": ("people who may log in to the service", add_users),
}
"""What each command does, and what gives its parser its arguments. The module of its name runs it."""


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Make a parser that of a command, whose name is then the arguments' ``run``."""
    COMMANDS[command][1](parser)
    parser.set_defaults(run=command)
