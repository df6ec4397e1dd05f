"""Of ``train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from anomaly_detection.cli.arguments.help_text import describe
from anomaly_detection.cli.arguments.tables import PARQUET_FILES, TABLE, add_layout, add_missing, add_workers, location
from anomaly_detection.cli.arguments.values import positive, rate, ratio, seconds, seed, tolerance, whole

__all__ = ["add_train"]

_TRAIN_EXAMPLES = """\
examples:
  {prog}                                              10,000 synthetic records, whose anomalies are known
  {prog} --profile realistic --samples 20000          the harder synthetic records
  {prog} --data shipments.csv --output models         your own records; labels are not needed
  {prog} --data history.parquet --label is_anomaly --timestamp order_date --id order_no
  {prog} --data history.csv --timestamp order_date --alerts-per-day 20
  {prog} --data orders.xlsx --sheet 2025 --skip-rows 3
  {prog} --data readings.csv --category station --missing -200
  {prog} --data shipments.csv --columns models/columns.toml --output models
  {prog} --data this_month.csv --like models/optimized_anomaly_detection_model.safetensors --output this_month
  {prog} --data 'orders/*.parquet' --sample 200000     a sample of many files
  {prog} --check                                      what this machine has and which backend it gets
"""


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``train``."""
    describe(
        parser,
        "Train models on your records or on synthetic ones, compare them, and save models, pictures and a report.",
        _TRAIN_EXAMPLES,
    )
    own = parser.add_argument_group("your records")
    own.add_argument("--data", metavar="FILE", type=location, help=f"{TABLE}; one record a row. Also {PARQUET_FILES}")
    own.add_argument(
        "--sample",
        metavar="K",
        type=whole(2),
        help="learn from K records of many Parquet files, by --seed: the same whatever the order and the workers"
        " (default: 200000)",
    )
    own.add_argument(
        "--label", metavar="COLUMN", help="the column that says which records are anomalies (1/-1, 0/1, words)"
    )
    own.add_argument("--timestamp", metavar="COLUMN", help="the column with each record's time; splits are by it")
    own.add_argument(
        "--id", metavar="NAME", nargs="+", action="extend", default=[], help="columns that only name a record"
    )
    add_layout(parser)
    add_workers(parser, "Who reads the sample; this process, if not given.")
    columns = parser.add_argument_group(
        "what your columns are",
        "train shows how it reads each column and writes it to columns.toml beside the models.",
    )
    columns.add_argument(
        "--columns", metavar="FILE", type=Path, help="such a file, changed or not; options count more than it"
    )
    for option, what in (
        ("category", "columns of names or codes, even if they are numbers"),
        ("number", "columns of numbers, even if some cells are words"),
        ("date", "columns of dates"),
        ("ignore", "columns to leave out"),
    ):
        columns.add_argument(f"--{option}", metavar="NAME", nargs="+", action="extend", default=[], help=what)
    add_missing(columns)
    synthetic = parser.add_argument_group("synthetic records, where no --data is given")
    synthetic.add_argument("--samples", metavar="N", type=whole(1), help="how many (default: 10000)")
    synthetic.add_argument("--profile", choices=("classic", "realistic"), help="of which kind (default: classic)")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--like",
        metavar="MODEL",
        type=Path,
        help="a model file of an earlier training, of either format: the same settings and kinds of columns on new"
        " records, without a search",
    )
    training.add_argument(
        "--anomaly-ratio", metavar="R", type=ratio, help="the share of anomalies to expect (default: 0.05)"
    )
    _add_threshold(parser)
    training.add_argument(
        "--backend",
        choices=("auto", "mlx", "numba", "sklearn"),
        default="auto",
        help="what grows and scores the trees (default: auto, which says what it picked and why)",
    )
    training.add_argument(
        "--batch-size", metavar="N", type=whole(1), help="rows scored at a time; bounds memory, changes no result"
    )
    training.add_argument(
        "--seed", metavar="N", type=seed, default=42, help="the same seed gives the same models (default: 42)"
    )
    training.add_argument(
        "--time-budget",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="the most that the search for better settings may take (default: 60)",
    )
    training.add_argument(
        "--prune",
        metavar="TOLERANCE",
        type=tolerance,
        help="make the optimised model smaller: drop nodes and trees as long as no score of the validation part moves"
        " by more, such as 0.01",
    )
    training.add_argument(
        "--quantize",
        metavar="BITS",
        type=int,
        choices=(8, 16),
        nargs="?",
        const=8,
        help="make the optimised model smaller: thresholds and leaf values as codes of 8 bits (the default) or 16",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("saved_models"), help="the folder for all that is saved"
    )
    parser.add_argument("--check", action="store_true", help="print what this machine has, and train nothing")


def _add_threshold(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "what counts as an alert",
        "One of these sets the threshold; without any, the anomaly ratio does, or labels by accuracy.",
    )
    ways = group.add_mutually_exclusive_group()
    ways.add_argument(
        "--alerts-per-day", metavar="N", type=positive, help="as many as people can look at (needs --timestamp)"
    )
    ways.add_argument(
        "--false-discovery-rate",
        metavar="Q",
        type=rate,
        help="the share of the alerts that may be false, such as 0.1; without --label few alerts are raised",
    )
    ways.add_argument(
        "--false-alarm-cost",
        metavar="A",
        type=positive,
        help="lowest cost, where a false alarm costs A and a miss B (needs --miss-cost, and --label with --data)",
    )
    group.add_argument("--miss-cost", metavar="B", type=positive, help="the cost of a missed anomaly, as above")
