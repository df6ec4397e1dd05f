"""``anomaly-detection generate``: synthetic records into a file."""

from __future__ import annotations

import argparse

from anomaly_detection.data.table_writer import write_table
from anomaly_detection.reports.console import note
from anomaly_detection.synthetic import generate

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Generate and write; raises `DataError` for what cannot be generated or written."""
    data = generate(
        arguments.profile,
        arguments.samples,
        anomaly_ratio=arguments.anomaly_ratio,
        seed=arguments.seed,
        difficulty=arguments.difficulty,
    )
    write_table(data.frame.assign(label=data.labels) if arguments.labels else data.frame, arguments.output)
    anomalies = int((data.labels == -1).sum())
    note(f"{arguments.output}: {len(data):,} records, {anomalies:,} of them anomalies")
    return 0
