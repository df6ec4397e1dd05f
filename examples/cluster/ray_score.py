"""Judge Parquet files with Ray: ``python ray_score.py MODEL DATA OUTPUT``.

No test runs this: Ray is no part of the extra ``cluster`` (it ran with Ray 2.60). `judged` loads the model once a
process, and takes each batch as a table by itself: a copy, or a stuck reading, is looked for in its batch and among the
training records. So the batch size says what is judged together; the same verdicts come only where Ray cuts the files
alike.
"""

from __future__ import annotations

import sys
from functools import partial

import pandas as pd
import ray

from anomaly_detection.cluster.judging import judged

_TOGETHER = 50_000
"""Records of a batch."""


def judge(model: str, frame: pd.DataFrame) -> pd.DataFrame:
    """What a worker does with a batch; the model stays in its file, which all workers can read."""
    return judged(model, frame)


def main(model: str, data: str, output: str) -> None:
    """Read, judge and write."""
    records = ray.data.read_parquet(data)
    found = records.map_batches(partial(judge, model), batch_format="pandas", batch_size=_TOGETHER)
    found.write_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
