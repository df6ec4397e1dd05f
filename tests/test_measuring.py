"""The benchmarks of latency, memory and startup measure what they say."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import latency, memory, startup


@pytest.mark.slow
def test_latency_times_every_way_in_and_draws_it(tmp_path: Path) -> None:
    latency.main(["--quick", "--repeats", "1", "--jobs", "2", "--only", "scikit", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "latency.json").read_text("utf-8"))
    lines = saved["measurements"]["microseconds a call"]
    assert {"mlx_iforest, engine alone", "mlx_iforest, scorer", "mlx_iforest, score_samples", "scikit-learn"} <= set(
        lines
    )
    assert all([size for size, _ in line] == [1, 64, 1025] for line in lines.values())
    assert all(took > 0 for line in lines.values() for _, took in line)
    assert (tmp_path / "results" / "rate_by_batch.png").read_bytes().startswith(b"\x89PNG")


def test_cliffs_are_steep_and_narrow() -> None:
    assert latency.cliffs([(1, 10), (2, 100), (1000, 100), (1025, 149), (1100, 300), (5000, 9000)]) == [
        "1,025 to 1,100 rows: 149 to 300 us"
    ]


@pytest.mark.parametrize("work", ["score_samples", "predict", "fit"])
def test_memory_is_what_is_added_to_input_and_output(monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    def hungry(model: object, X: np.ndarray) -> np.ndarray:
        spare = np.ones(2000 * len(X), np.int8)  # 60 MB: too much for the allocator to keep
        time.sleep(0.1)
        return np.ones(len(X)) * spare[0]

    frugal = memory.child("mlx_iforest", work, "float64", 30_000, 1)
    assert frugal["input"] == pytest.approx(30_000 * 8 * 8 / 1e6)
    assert frugal["added"] < 15
    monkeypatch.setitem(memory.WORK, work, hungry)
    assert memory.child("mlx_iforest", work, "float64", 30_000, 1)["added"] > 50


@pytest.mark.parametrize("form", memory.INPUTS)
def test_inputs_hold_the_same_rows(form: str) -> None:
    X = np.arange(24, dtype=np.float32).reshape(3, 8)
    made = memory.INPUTS[form](X)
    assert np.array_equal(made, 1000 * X if form == "int32" else X)


@pytest.mark.slow
def test_startup_counts_what_an_import_adds() -> None:
    took = startup.imports(1, ["numpy"])
    assert set(took) == {"numpy", "sklearn.ensemble"}
    assert took["sklearn.ensemble"] > took["numpy"] > 0
    assert startup.medians([{"a": 1, "b": 5}, {"a": 3, "b": 4}, {"a": 2, "b": 6}]) == {"a": 2, "b": 5}
