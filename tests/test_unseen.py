"""How recipes are compared on tables that they were not chosen on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import adbench, oddbench, unseen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny set of either collection in each half."""
    rng = np.random.default_rng(0)
    names = {half: next(name for name in "abcdefgh" if unseen.half(name) == half) for half in unseen.HALVES}
    for name in names.values():
        truth = np.repeat([0, 1], [60, 20])
        rows = rng.normal(size=(80, 3)) + 4 * truth[:, None]
        np.savez(tmp_path / f"1_{name}.npz", X=rows, y=truth)
        np.savez(tmp_path / f"{name}.npz", train=rng.normal(size=(90, 3)), test=rows, test_labels=truth)
    return tmp_path


def test_halves_go_by_the_name_alone() -> None:
    halves = [unseen.half(f"table {number}") for number in range(200)]
    assert halves == [unseen.half(f"Table {number}") for number in range(200)]
    assert 70 < halves.count("held out") < 130


def test_a_clean_history_holds_no_anomaly(folder: Path) -> None:
    for table in unseen.sets(folder):
        clean, contaminated = (table.task(history, seed=1) for history in ("clean", "contaminated"))
        normal = table.rows[table.labels == 0] if table.normal is None else table.normal
        assert {row.tobytes() for row in clean.train} <= {row.tobytes() for row in normal}
        abnormal = {row.tobytes() for row in table.rows[table.labels == 1]}
        assert abnormal & {row.tobytes() for row in contaminated.train}
        assert 0 < contaminated.truth.sum() < len(contaminated.truth) == len(contaminated.test)


@pytest.mark.parametrize("benchmark", [adbench, oddbench])
def test_both_halves_are_told(folder: Path, benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    name = benchmark.__name__.rpartition(".")[2]
    monkeypatch.setattr(sys, "argv", [name, str(folder), "--seeds", "1", "--jobs", "1", "--output", str(folder)])
    benchmark.main()
    saved = json.loads((folder / "results" / f"{name}.json").read_text("utf-8"))
    assert [table["title"] for table in saved["tables"][:2]] == ["Sets held out", "Sets for development"]
    for table in saved["tables"][:2]:
        assert len(table["rows"]) == len(unseen.HISTORIES) * len(unseen.DETECTORS)
    for by_detector in saved["measurements"]["found"].values():
        for by_set in by_detector.values():
            assert len(by_set) == 2
            for pairs in by_set.values():
                assert all(0 <= value < 1 + 1e-9 for pair in pairs for value in pair)
