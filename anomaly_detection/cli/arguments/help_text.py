"""What the help of a command says above and below its arguments."""

from __future__ import annotations

import argparse

__all__ = ["describe"]


def describe(parser: argparse.ArgumentParser, what: str, examples: str) -> None:
    """Say what a command does above its arguments, and show examples, with ``{prog}`` for the program, below."""
    parser.description = what
    parser.epilog = examples.format(prog=parser.prog)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
