"""Of the table that a command reads: the file, where in it the table lies, and which codes are missing values."""

from __future__ import annotations

import argparse
from pathlib import Path

from anomaly_detection.cli.arguments.values import whole
from anomaly_detection.data.formats.layout import Layout

__all__ = ["PARQUET_FILES", "TABLE", "add_layout", "add_missing", "add_table", "add_workers", "layout", "location"]

TABLE = (
    "a CSV, Parquet, JSON or Excel file, also as .gz or .zip, - for standard input, or rows of a database such as"
    " 'sqlite:///orders.db?table=orders'"
)

PARQUET_FILES = "a folder, a quoted 'pattern/*.parquet' or a URL such as s3://bucket/folder of Parquet files"


def location(text: str) -> Path | str:
    """A path or, where it is a URL, the text."""
    return text if "://" in text else Path(text)


def add_table(parser: argparse.ArgumentParser, many: str = "") -> None:
    """The file with the records, and where in it they lie; a command that takes `many` files says which."""
    parser.add_argument(
        "data",
        metavar="DATA",
        type=location,
        help=f"{TABLE}; with the columns of the training{many}",
    )
    add_layout(parser)


def add_workers(parser: argparse.ArgumentParser, what: str) -> None:
    """Who reads many files; see docs/cluster.md."""
    group = parser.add_argument_group("many Parquet files", what)
    ways = group.add_mutually_exclusive_group()
    ways.add_argument("--workers", metavar="N", type=whole(1, 1000), help="by N processes of this machine")
    ways.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="by the workers of a Dask scheduler, such as tcp://scheduler:8786 (needs mlx-iforest[cluster])",
    )


def add_layout(parser: argparse.ArgumentParser) -> None:
    """Where in the file the table lies; `layout` reads it."""
    group = parser.add_argument_group("where in the file the table lies", "Found out and said, if not given.")
    group.add_argument(
        "--skip-rows", metavar="N", type=whole(0), help="lines above the header, of a CSV file or a sheet"
    )
    group.add_argument(
        "--no-header", action="store_true", help="the first line is a record; the columns are called x0, x1, ..."
    )
    group.add_argument("--sheet", metavar="NAME", help="which sheet of a workbook, where several hold something")


def layout(arguments: argparse.Namespace) -> Layout:
    """Where the table lies, as it was said of a command that reads one."""
    return Layout(arguments.skip_rows, header=not arguments.no_header, sheet=arguments.sheet)


def add_missing(group: argparse._ActionsContainer) -> None:
    """Codes of missing values."""
    group.add_argument(
        "--missing",
        metavar="CODE",
        action="append",
        default=[],
        help="a code that stands for a missing value, such as -999, or NAME=-999 for one column; repeatable",
    )
