"""What can be given to each command: its arguments, their checks, and the examples of its help."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path

from anomaly_detection.data.layout import Layout

__all__ = ["COMMANDS", "add_arguments", "layout"]

_TABLE = "a CSV, Parquet, JSON or Excel file, also as .gz or .zip, or - for standard input"

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
  {prog} --check                                      what this machine has and which backend it gets
"""
_SCORE_EXAMPLES = """\
examples:
  {prog} saved_models/optimized_anomaly_detection_model.safetensors shipments.csv --top 20
  {prog} models/anomaly_detection_model.safetensors shipments.csv --output scored.parquet
  {prog} models/anomaly_detection_model.safetensors ten_years.csv.gz --output scored.csv.gz --chunk-rows 50000
  unzip -p export.zip orders.csv | {prog} models/anomaly_detection_model.safetensors - --output scored.csv
"""
_JUDGE_EXAMPLES = """\
examples:
  {prog} models/anomaly_detection_model.safetensors this_month.csv
  {prog} models/anomaly_detection_model.safetensors this_month.csv --share 0.02 --draws 20
  {prog} models/anomaly_detection_model.safetensors this_month.csv --kinds dates_swapped number_times_10
"""
_EXPLAIN_EXAMPLES = """\
examples:
  {prog} models/optimized_anomaly_detection_model.joblib shipments.csv --row 17
  {prog} models/optimized_anomaly_detection_model.joblib shipments.csv --row 17 230 --json
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
_GENERATE_EXAMPLES = """\
examples:
  {prog} shipments.csv
  {prog} --profile realistic --samples 50000 --difficulty hard --labels shipments.parquet
"""
_SERVE_EXAMPLES = """\
examples:
  {prog}                                              on http://127.0.0.1:5002; learns from its first 1,000 records
  {prog} --model saved_models/optimized_anomaly_detection_model.safetensors
  {prog} --host 0.0.0.0 --data-dir /var/lib/anomaly-detection       for others: needs a key, see keys
"""
_KEYS_EXAMPLES = """\
examples:
  {prog} add backend
  {prog} add warehouse --role analyst --stream shipments
  {prog} list
  {prog} remove backend
"""
_USERS_EXAMPLES = """\
examples:
  {prog} add ann --role analyst                  asks for the password
  {prog} add bob --role viewer < password.txt
  {prog} logout ann                              ends all sessions of hers
"""
_ROLES = ("viewer", "analyst", "admin")


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text.replace("_", "").replace(",", ""))
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} up")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"{text!r} is too large; give at most {most:,}")
        return value

    return read


def _seed(text: str) -> int:
    value = _whole(0)(text)
    if value >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is too large; give a whole number below 2**32 = {2**32}")
    return value


def _port(text: str) -> int:
    value = _whole(0)(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 1 to 65535, or 0 for any that is free")
    return value


def _ratio(text: str) -> float:
    value = _number(text)
    if not 0.0 < value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0 and at most 0.5, such as 0.05")
    return value


def _rate(text: str) -> float:
    value = _number(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0 and below 1, such as 0.1")
    return value


def _tolerance(text: str) -> float:
    value = _number(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no change of a score, from 0 up and below 1, such as 0.01")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, 0 or more")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _describe(parser: argparse.ArgumentParser, what: str, examples: str) -> None:
    parser.description = what
    parser.epilog = examples.format(prog=parser.prog)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def _add_train(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Train models on your records or on synthetic ones, compare them, and save models, pictures and a report.",
        _TRAIN_EXAMPLES,
    )
    own = parser.add_argument_group("your records")
    own.add_argument("--data", metavar="FILE", type=Path, help=f"{_TABLE}; one record a row")
    own.add_argument(
        "--label", metavar="COLUMN", help="the column that says which records are anomalies (1/-1, 0/1, words)"
    )
    own.add_argument("--timestamp", metavar="COLUMN", help="the column with each record's time; splits are by it")
    own.add_argument(
        "--id", metavar="NAME", nargs="+", action="extend", default=[], help="columns that only name a record"
    )
    _add_layout(parser)
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
    _add_missing(columns)
    synthetic = parser.add_argument_group("synthetic records, where no --data is given")
    synthetic.add_argument("--samples", metavar="N", type=_whole(1), help="how many (default: 10000)")
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
        "--anomaly-ratio", metavar="R", type=_ratio, help="the share of anomalies to expect (default: 0.05)"
    )
    _add_threshold(parser)
    training.add_argument(
        "--backend",
        choices=("auto", "mlx", "numba", "sklearn"),
        default="auto",
        help="what grows and scores the trees (default: auto, which says what it picked and why)",
    )
    training.add_argument(
        "--batch-size", metavar="N", type=_whole(1), help="rows scored at a time; bounds memory, changes no result"
    )
    training.add_argument(
        "--seed", metavar="N", type=_seed, default=42, help="the same seed gives the same models (default: 42)"
    )
    training.add_argument(
        "--time-budget",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="the most that the search for better settings may take (default: 60)",
    )
    training.add_argument(
        "--prune",
        metavar="TOLERANCE",
        type=_tolerance,
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


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", type=Path, help=f"{_TABLE}; with the columns of the training")
    _add_layout(parser)


def _add_layout(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where in the file the table lies", "Found out and said, if not given.")
    group.add_argument(
        "--skip-rows", metavar="N", type=_whole(0), help="lines above the header, of a CSV file or a sheet"
    )
    group.add_argument(
        "--no-header", action="store_true", help="the first line is a record; the columns are called x0, x1, ..."
    )
    group.add_argument("--sheet", metavar="NAME", help="which sheet of a workbook, where several hold something")


def layout(arguments: argparse.Namespace) -> Layout:
    """Where the table lies, as it was said of a command that reads one."""
    return Layout(arguments.skip_rows, header=not arguments.no_header, sheet=arguments.sheet)


def _add_missing(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--missing",
        metavar="CODE",
        action="append",
        default=[],
        help="a code that stands for a missing value, such as -999, or NAME=-999 for one column; repeatable",
    )


def _add_threshold(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "what counts as an alert",
        "One of these sets the threshold; without any, the anomaly ratio does, or labels by accuracy.",
    )
    ways = group.add_mutually_exclusive_group()
    ways.add_argument(
        "--alerts-per-day", metavar="N", type=_positive, help="as many as people can look at (needs --timestamp)"
    )
    ways.add_argument(
        "--false-discovery-rate",
        metavar="Q",
        type=_rate,
        help="the share of the alerts that may be false, such as 0.1; without --label few alerts are raised",
    )
    ways.add_argument(
        "--false-alarm-cost",
        metavar="A",
        type=_positive,
        help="lowest cost, where a false alarm costs A and a miss B (needs --miss-cost, and --label with --data)",
    )
    group.add_argument("--miss-cost", metavar="B", type=_positive, help="the cost of a missed anomaly, as above")


def _add_score(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Judge records with a saved model. With --output, the records are written with five more columns:\n"
        "anomaly_score (lower is more abnormal, negative is an alert), severity (0 to 100: 50 is one usual record\n"
        "in 100, 75 one in 1,000), p_value, is_anomaly, and reason for the alerts. Where the records have a column\n"
        "of such a name, it stays, and the new one's name begins with scored_, such as scored_reason.\n"
        "Without it the worst are printed.",
        _SCORE_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model file that train wrote")
    _add_table(parser)
    parser.add_argument("--output", metavar="FILE", type=Path, help="a CSV or Parquet file to write")
    parser.add_argument(
        "--top", metavar="N", type=_whole(1), help="only the N most abnormal records, worst first (printed: 20)"
    )
    parser.add_argument(
        "--chunk-rows",
        metavar="N",
        type=_whole(1),
        help="read, score and write N records at a time, which bounds memory (default: a small file at once, a larger\n"
        "one in chunks of a million cells)",
    )


def _add_judge(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Put errors that are known into copies of your records (numbers ten times off, dates swapped, records copied,\n"
        "readings that stand still and more) and print how many of each kind a saved model finds. Needs no labels;\n"
        "best with records that the model was not trained on.",
        _JUDGE_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model file that train wrote")
    _add_table(parser)
    parser.add_argument(
        "--kinds",
        metavar="KIND",
        nargs="+",
        action="extend",
        help="the kinds of errors, by the names in the printed table (default: all that the records allow)",
    )
    parser.add_argument(
        "--share", metavar="R", type=_ratio, default=0.015, help="the share of the records to change (default: 0.015)"
    )
    parser.add_argument(
        "--draws", metavar="N", type=_whole(1), default=5, help="how many times, with other records (default: 5)"
    )
    parser.add_argument("--seed", metavar="N", type=_seed, default=42, help="the same seed, the same errors")
    _add_missing(parser)


def _add_explain(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Say why records of a file have their scores: each reason with the record's value, what is usual, the range\n"
        "in which nine of ten records lie, and its share of what makes the record abnormal.\n"
        "The effects of all reasons and of everything else add up to the score less that of a usual record.",
        _EXPLAIN_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model's file that train wrote")
    _add_table(parser)
    parser.add_argument(
        "--row",
        metavar="N",
        type=_whole(1),
        nargs="+",
        action="extend",
        required=True,
        help="the records to explain, counted from 1 as score --top prints them",
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list with an object a record")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Say what a model file holds: when and on what it was trained, how it scores, what was measured, how large it\n"
        "is, and what would run it on this machine.",
        _INSPECT_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model's file that train wrote")
    parser.add_argument("--json", action="store_true", help="for programs: one object with everything")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Write a model in another format: .safetensors, .joblib (for programs that load those), or .onnx (the forest\n"
        "alone, on scaled features). What was written is read again and compared before it takes its name.",
        _CONVERT_EXAMPLES,
    )
    parser.add_argument("source", metavar="IN", type=Path, help="a model's file that train wrote")
    parser.add_argument("target", metavar="OUT", type=Path, help="a .joblib, .safetensors or .onnx file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT if it is there already")


def _add_generate(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Write synthetic supply-chain records, some of them anomalies, to a CSV or Parquet file.",
        _GENERATE_EXAMPLES,
    )
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="the CSV or Parquet file to write")
    parser.add_argument("--profile", choices=("classic", "realistic"), default="classic", help="default: classic")
    parser.add_argument("--samples", metavar="N", type=_whole(1), default=10_000, help="records (default: 10000)")
    parser.add_argument(
        "--anomaly-ratio", metavar="R", type=_ratio, default=0.05, help="the share of anomalies (default: 0.05)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=_seed, default=42, help="the same seed, the same file (default: 42)"
    )
    parser.add_argument(
        "--difficulty",
        choices=("easy", "medium", "hard"),
        default="medium",
        help="how far the realistic profile's anomalies stand out (default: medium)",
    )
    parser.add_argument(
        "--labels", action="store_true", help="add a column label: 1 is normal, -1 an anomaly (train --label label)"
    )


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Take records by HTTP, judge them, and keep records and alerts, until the process is told to end.\n"
        "docs/service.md has the routes.",
        _SERVE_EXAMPLES,
    )
    _add_service_data(parser)
    parser.add_argument(
        "--host",
        default=os.environ.get("HOST") or "127.0.0.1",
        help="the address to listen on; others than this machine's own need a key or a user"
        " (default: $HOST, or 127.0.0.1)",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=_port,
        default=os.environ.get("PORT") or "5002",
        help="0 for any that is free (default: $PORT, or 5002)",
    )
    parser.add_argument(
        "--model", metavar="FILE", type=Path, help="a model file that train wrote; later starts need it no more"
    )
    parser.add_argument(
        "--learn-from",
        metavar="N",
        type=_whole(2, 1_000_000),
        default=1000,
        help="without a model, learn one from the first N records (default: 1000)",
    )
    parser.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        nargs="+",
        action="extend",
        type=_origin,
        default=[],
        help="origins of pages that may call the service, such as https://shop.example",
    )
    parser.add_argument(
        "--open-to",
        metavar="NETWORK",
        nargs="+",
        action="extend",
        type=_network,
        default=[],
        help="networks from which /detect and /health need no key, such as 10.0.0.0/8",
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="a proxy with TLS passes requests on and sets X-Forwarded-For: all need a key or a login, on loopback too",
    )
    parser.add_argument(
        "--workers", metavar="N", type=_whole(1), default=1, help="processes that answer requests (default: 1)"
    )
    parser.add_argument(
        "--keep-days", metavar="N", type=_whole(1, 100_000), help="delete records that came longer ago (default: none)"
    )
    parser.add_argument(
        "--keep-records", metavar="N", type=_whole(1), help="keep the newest N of each stream (default: all)"
    )
    parser.add_argument(
        "--personal",
        metavar="COLUMN",
        nargs="+",
        action="extend",
        default=[],
        help="columns whose values viewers do not see, nor who asks without a key",
    )
    parser.add_argument(
        "--rate",
        metavar="N",
        type=_whole(1),
        default=500,
        help="requests a second of one caller, where callers need a key or a login (default: 500)",
    )


def _add_service_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        type=Path,
        default=Path("service_data"),
        help="the folder of records and models (default: service_data)",
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("DATABASE_URL"),
        help="another place for the records: sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME"
        " (default: $DATABASE_URL, or a file in the folder)",
    )


def _add_keys(parser: argparse.ArgumentParser) -> None:
    _describe(parser, "Add, list or remove the API keys of a service, also while it runs.", _KEYS_EXAMPLES)
    parser.add_argument("do", choices=("add", "list", "remove"))
    parser.add_argument("name", metavar="NAME", nargs="?", help="who uses the key; what it changes is written down so")
    parser.add_argument("--role", choices=_ROLES, help="what it may do (default: analyst)")
    parser.add_argument(
        "--stream", metavar="NAME", nargs="+", action="extend", default=[], help="only for these streams (default: all)"
    )
    _add_service_data(parser)


def _add_users(parser: argparse.ArgumentParser) -> None:
    _describe(
        parser,
        "Add, list or remove the people who may log in to a service, also while it runs. A password is asked for, or\n"
        "read from the input. A viewer reads, an analyst also sends records and changes alerts and sees what is\n"
        "personal, an admin may do all.",
        _USERS_EXAMPLES,
    )
    parser.add_argument("do", choices=("add", "list", "remove", "password", "logout"))
    parser.add_argument("name", metavar="NAME", nargs="?", help="whom")
    parser.add_argument("--role", choices=_ROLES, help="what a new one may do")
    _add_service_data(parser)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no network such as 10.0.0.0/8: {error}") from error


def _origin(text: str) -> str:
    """What browsers send: a scheme, a host and perhaps a port. ``*`` is none, since nobody logs in on loopback."""
    if not re.fullmatch(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no origin; give scheme and host in small letters, such as https://shop.example"
        )
    return text


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "train": ("train, compare and save models", _add_train),
    "score": ("judge records with a saved model", _add_score),
    "explain": ("say why records of a file have their scores", _add_explain),
    "judge": ("tell how many known errors a saved model finds in your records", _add_judge),
    "inspect": ("say what a model file holds", _add_inspect),
    "convert": ("write a model in another format", _add_convert),
    "generate": ("write synthetic records", _add_generate),
    "serve": ("take records by HTTP, judge them, keep alerts", _add_serve),
    "keys": ("API keys of the service", _add_keys),
    "users": ("people who may log in to the service", _add_users),
}
"""What each command does, and what gives its parser its arguments. The module of its name runs it."""


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Make a parser that of a command, whose name is then the arguments' ``run``."""
    COMMANDS[command][1](parser)
    parser.set_defaults(run=command)
