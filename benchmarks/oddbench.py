"""Detection on OddBench's real tables: the classic forest, the blended one and scikit-learn's, on the same rows.

    python -m benchmarks.oddbench FOLDER [--seeds 5]

FOLDER holds the tables as .npz files with train, test and test_labels (1 is an anomaly). What is chosen on which of
them, and what is reported, is said in `benchmarks.unseen`.
"""

from __future__ import annotations

from benchmarks.unseen import run


def main() -> None:
    """Run the benchmark."""
    run(
        "oddbench",
        "Detection on OddBench",
        "Real tables of numbers; anomalies are the rows of a rare value of a column that was taken away.",
        "they are made from psorus/Outformer (benchmarks/oddbench)",
    )


if __name__ == "__main__":
    main()
