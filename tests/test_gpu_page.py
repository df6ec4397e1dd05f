"""What a GPU's benchmarks wrote becomes a section of the page of results."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu_page

LAYOUT = {"threads": 1024, "ranks": True}
SCORE = {
    "device": {"device_name": "a GPU"},
    "cases": [
        {
            "case": {"name": "8", "n_rows": 4000, "n_features": 8, "n_trees": 100, "subsample": 256}
            | {"quantized": False},
            "floor": {"memory": 9000.0, "float32 nodes": 250.0, "coded nodes": 400.0},
            "default": {"layout": LAYOUT, "rate": 200.0, "rate_of_ten": 210.0, "runs": 11},
            "best": {"rate": 220.0},
            "nvForest": 80.0,
            "torch.compile": "skipped: no torch",
            "from NumPy": {"transfer": 9.0, "transfer, touched": 50.0, "chunks of 4 MB": 20.0, "chunks of 8 MB": 40.0},
        },
        {"case": {"name": "64"}, "failed": "timeout"},
    ],
}
GROW = [
    {"kind": "machine", "name": "device", "device_name": "a GPU"},
    {"kind": "machine", "name": "host", "date": "2026-11-23", "cores": 16, "mlx": "0.32.4"},
    {"kind": "equal", "name": "one", "difference": ""},
    {"kind": "equal", "name": "two", "difference": "threshold"},
    {"kind": "time", "name": "A: numba", "median_ms": 1.0, "fastest_ms": 0.5, "slowest_ms": 2.0, "runs": 7},
    {"kind": "time", "name": "A: kernel of 9 threads", "median_ms": 1.0, "fastest_ms": 0.5, "slowest_ms": 2, "runs": 7},
    {"kind": "time", "name": "A: MLX", "error": "gone"},
]


def test_the_page(tmp_path):
    text = gpu_page.publish(SCORE, GROW, tmp_path).read_text("utf-8")
    assert "## On a GPU" in text
    assert "1 of 2 were Numba's, bit for bit; not two." in text
    assert "GPU a GPU; date 2026-11-23; cores 16. mlx 0.32.4." in text
    assert "| 4,000 x 8, 100 x 256 | 200 | 50 % | 220 | 2.5 | 80.0 | - | - | - |" in text
    assert "| 4,000 x 8, 100 x 256 | 40.0 | 50.0 | 80 % |" in text
    assert text.count("| A: ") == 1
    assert json.loads((tmp_path / "results/gpu.json").read_text("utf-8"))["measurements"]["score"] == SCORE


def test_it_is_published_from_files(tmp_path, capsys):
    gpu = pytest.importorskip("benchmarks.gpu")
    (tmp_path / "score.json").write_text(json.dumps(SCORE))
    (tmp_path / "grow.json").write_text(json.dumps(GROW))
    files = [str(tmp_path / name) for name in ("score.json", "grow.json")]
    assert gpu.main(["--publish", *files, "--output", str(tmp_path)]) == 0
    assert "## On a GPU" in (tmp_path / "RESULTS.md").read_text("utf-8")
    line = gpu.final_line(SCORE["cases"][0])
    expected = (
        "8: 200 million rows/s, median of 11, 1024 threads, codes, 2.50 times nvForest, 50 % of the computed bound"
    )
    assert line == f"{expected}, best found 220"
    failed = {**SCORE["cases"][0], "default": "failed: no room"}
    assert gpu.final_line(failed) == "8: failed: no room"
