"""Of the commands that take a saved model: ``score``, ``explain``, ``judge``, ``inspect`` and ``convert``."""

from __future__ import annotations

import argparse
from pathlib import Path

from anomaly_detection.cli.arguments.help_text import describe
from anomaly_detection.cli.arguments.tables import PARQUET_FILES, add_missing, add_table, add_workers, location
from anomaly_detection.cli.arguments.values import ratio, seed, whole

__all__ = ["add_convert", "add_explain", "add_inspect", "add_judge", "add_score"]

_SCORE_EXAMPLES = """\
examples:
  {prog} saved_models/optimized_anomaly_detection_model.safetensors shipments.csv --top 20
  {prog} models/anomaly_detection_model.safetensors shipments.csv --output scored.parquet
  {prog} models/anomaly_detection_model.safetensors ten_years.csv.gz --output scored.csv.gz --chunk-rows 50000
  {prog} models/anomaly_detection_model.safetensors 'orders/*.parquet' --output scored --workers 4
  {prog} models/anomaly_detection_model.safetensors 'sqlite:///a.db?table=new' --output 'sqlite:///a.db?table=scored'
  unzip -p export.zip orders.csv | {prog} models/anomaly_detection_model.safetensors - --output scored.csv
"""

_EXPLAIN_EXAMPLES = """\
examples:
  {prog} models/optimized_anomaly_detection_model.joblib shipments.csv --row 17
  {prog} models/optimized_anomaly_detection_model.joblib shipments.csv --row 17 230 --json
"""

_JUDGE_EXAMPLES = """\
examples:
  {prog} models/anomaly_detection_model.safetensors this_month.csv
  {prog} models/anomaly_detection_model.safetensors this_month.csv --share 0.02 --draws 20
  {prog} models/anomaly_detection_model.safetensors this_month.csv --kinds dates_swapped number_times_10
"""

_INSPECT_EXAMPLES = """\
examples:
  {prog} models/optimized_anomaly_detection_model.safetensors
  {prog} models/optimized_anomaly_detection_model.joblib --json
"""

_CONVERT_EXAMPLES = """\
examples:
  {prog} anomaly_detection_model.joblib anomaly_detection_model.safetensors
  {prog} anomaly_detection_model.safetensors forest.onnx
"""


def add_score(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``score``."""
    describe(
        parser,
        "Judge records with a saved model. With --output, the records are written with five more columns:\n"
        "anomaly_score (lower is more abnormal, negative is an alert), severity (0 to 100: 50 is one usual record\n"
        "in 100, 75 one in 1,000), p_value, is_anomaly, and reason for the alerts. Where the records have a column\n"
        "of such a name, it stays, and the new one's name begins with scored_, such as scored_reason.\n"
        "Without it the worst are printed.",
        _SCORE_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=location, help="a model file that train wrote")
    add_table(parser, f"; with --workers or --cluster {PARQUET_FILES}")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=location,
        help="a CSV or Parquet file to write, or a new table such as 'sqlite:///orders.db?table=scored', where\n"
        "&mode=replace and &mode=append take one that is there; with --workers or --cluster a folder of Parquet parts",
    )
    parser.add_argument(
        "--top", metavar="N", type=whole(1), help="only the N most abnormal records, worst first (printed: 20)"
    )
    parser.add_argument(
        "--chunk-rows",
        metavar="N",
        type=whole(1),
        help="read, score and write N records at a time, which bounds memory (default: a small file at once, a larger\n"
        "one in chunks of a million cells)",
    )
    add_workers(
        parser,
        "Each row group is judged by itself and becomes a part in the folder --output. The same command again goes on"
        " where the last one stopped.",
    )


def add_explain(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``explain``."""
    describe(
        parser,
        "Say why records of a file have their scores: each reason with the record's value, what is usual, the range\n"
        "in which nine of ten records lie, and its share of what makes the record abnormal.\n"
        "The effects of all reasons and of everything else add up to the score less that of a usual record.",
        _EXPLAIN_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model's file that train wrote")
    add_table(parser)
    parser.add_argument(
        "--row",
        metavar="N",
        type=whole(1),
        nargs="+",
        action="extend",
        required=True,
        help="the records to explain, counted from 1 as score --top prints them",
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list with an object a record")


def add_judge(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``judge``."""
    describe(
        parser,
        "Put errors that are known into copies of your records (numbers ten times off, dates swapped, records copied,\n"
        "readings that stand still and more) and print how many of each kind a saved model finds. Needs no labels;\n"
        "best with records that the model was not trained on.",
        _JUDGE_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model file that train wrote")
    add_table(parser)
    parser.add_argument(
        "--kinds",
        metavar="KIND",
        nargs="+",
        action="extend",
        help="the kinds of errors, by the names in the printed table (default: all that the records allow)",
    )
    parser.add_argument(
        "--share", metavar="R", type=ratio, default=0.015, help="the share of the records to change (default: 0.015)"
    )
    parser.add_argument(
        "--draws", metavar="N", type=whole(1), default=5, help="how many times, with other records (default: 5)"
    )
    parser.add_argument("--seed", metavar="N", type=seed, default=42, help="the same seed, the same errors")
    add_missing(parser)


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``inspect``."""
    describe(
        parser,
        "Say what a model file holds: when and on what it was trained, how it scores, what was measured, how large it\n"
        "is, and what would run it on this machine.",
        _INSPECT_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model's file that train wrote")
    parser.add_argument("--json", action="store_true", help="for programs: one object with everything")


def add_convert(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``convert``."""
    describe(
        parser,
        "Write a model in another format: .safetensors, .joblib (for programs that load those), or .onnx (the forest\n"
        "alone, on scaled features). What was written is read again and compared before it takes its name.",
        _CONVERT_EXAMPLES,
    )
    parser.add_argument("source", metavar="IN", type=Path, help="a model's file that train wrote")
    parser.add_argument("target", metavar="OUT", type=Path, help="a .joblib, .safetensors or .onnx file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT if it is there already")
