"""Of ``generate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from anomaly_detection.cli.arguments.help_text import describe
from anomaly_detection.cli.arguments.values import ratio, seed, whole

__all__ = ["add_generate"]

_GENERATE_EXAMPLES = """\
examples:
  {prog} shipments.csv
  {prog} --profile realistic --samples 50000 --difficulty hard --labels shipments.parquet
"""


def add_generate(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``generate``."""
    describe(
        parser,
        "Write synthetic supply-chain records, some of them anomalies, to a CSV or Parquet file.",
        _GENERATE_EXAMPLES,
    )
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="the CSV or Parquet file to write")
    parser.add_argument("--profile", choices=("classic", "realistic"), default="classic", help="default: classic")
    parser.add_argument("--samples", metavar="N", type=whole(1), default=10_000, help="records (default: 10000)")
    parser.add_argument(
        "--anomaly-ratio", metavar="R", type=ratio, default=0.05, help="the share of anomalies (default: 0.05)"
    )
    parser.add_argument("--seed", metavar="N", type=seed, default=42, help="the same seed, the same file (default: 42)")
    parser.add_argument(
        "--difficulty",
        choices=("easy", "medium", "hard"),
        default="medium",
        help="how far the realistic profile's anomalies stand out (default: medium)",
    )
    parser.add_argument(
        "--labels", action="store_true", help="add a column label: 1 is normal, -1 an anomaly (train --label label)"
    )
