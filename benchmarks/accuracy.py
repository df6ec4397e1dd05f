"""Accuracy on the `classic` profile over ten seeds: base, optimised, scikit-learn and the oracle side by side.

    python -m benchmarks.accuracy [--seeds 42 43 ...] [--samples N] [--profile classic|realistic] [--time-budget S]

Prints one line a seed and model, then a Markdown table of means and standard deviations over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from anomaly_detection.synthetic import generate
from anomaly_detection.training.train import train

MODELS = ("base", "optimized", "sklearn", "oracle")
METRICS = ("accuracy", "precision", "recall", "f1", "false_positive_rate", "roc_auc", "average_precision")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Accuracy over several seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(42, 52)))
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--profile", choices=("classic", "realistic"), default="classic")
    parser.add_argument("--time-budget", type=float, default=60.0)
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in MODELS}
    for seed in arguments.seeds:
        started = time.perf_counter()
        data = generate(arguments.profile, arguments.samples, seed=seed)
        report = train(
            data.frame,
            labels=data.labels,
            anomaly_types=list(data.anomaly_types),
            seed=seed,
            time_budget=arguments.time_budget,
            source=arguments.profile,
        ).report
        measured = report.metrics if report.oracle is None else {**report.metrics, "oracle": report.oracle}
        for model, metrics in measured.items():
            found[model].append(metrics.to_dict())
        line = "  ".join(f"{model} {metrics.accuracy:.4f}" for model, metrics in measured.items())
        took = f"{report.optimized.search.trials} trials, {time.perf_counter() - started:.1f} s"
        print(f"seed {seed}: {line}  ({took})", flush=True)
    print(
        f"\n| {arguments.profile}, {len(arguments.seeds)} seeds | " + " | ".join(m for m in MODELS if found[m]) + " |"
    )
    print("|---" * (1 + sum(bool(found[m]) for m in MODELS)) + "|")
    for metric in METRICS:
        cells = []
        for model in MODELS:
            if values := [entry[metric] for entry in found[model]]:
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{statistics.mean(values):.4f} ± {spread:.4f}")
        print(f"| {metric} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
