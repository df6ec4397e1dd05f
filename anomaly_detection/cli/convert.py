"""`anomaly-detection convert`: a model file from one format into another."""

from __future__ import annotations

import argparse

from anomaly_detection.model_files.conversion import convert
from anomaly_detection.reports.console import note, printable
from anomaly_detection.reports.figures import size

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Convert, then say what was checked; raises the library's errors."""
    done = convert(arguments.source, arguments.target, force=arguments.force)
    written = f"{arguments.target}: {size(arguments.target.stat().st_size)}"
    if arguments.target.suffix == ".onnx":
        features = ", ".join(map(printable, done.features))
        note(
            f"{written}; onnxruntime gives the forest's scores within {done.difference:.1g} on {done.rows} rows.\n"
            f"It holds the forest alone: its input X are the {len(done.features)} scaled features, float32, that"
            f" Detector.transform makes of records ({features})."
        )
    else:
        note(f"{written}; read again, it scores {done.rows} rows as {arguments.source} does, bit for bit.")
    return 0
