"""Benchmarks spread over processes give what one process gives, and those about learning run to their ends."""

from __future__ import annotations

import json
import operator
import os
from pathlib import Path

import pytest

from benchmarks import asked, drift, verdicts
from benchmarks.processes import spread


def test_processes_give_what_one_gives() -> None:
    tasks = [(number, 3) for number in range(5)]
    one, two = (list(spread(operator.pow, tasks, processes)) for processes in (1, 2))
    assert one == two == [0, 1, 8, 27, 64]


def test_each_of_several_processes_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    told = list(spread(os.getenv, [("OMP_NUM_THREADS",), ("NUMBA_NUM_THREADS",)], 2))
    assert told == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_a_task_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(ZeroDivisionError):
        list(spread(operator.truediv, [(1, 1), (1, 0)], 2))


@pytest.mark.slow
def test_drift_counts_what_each_way_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "LEARNED", 300)
    monkeypatch.setattr(drift, "LENGTHS", {1.0: 700, 1.08: 700, 1.9: 700})
    drift.main(["--data", str(tmp_path), "--draws", "1", "--processes", "1", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "drift.json").read_text("utf-8"))
    (table,) = saved["tables"]
    ways = [row[0] for row in table["rows"]]
    found = saved["measurements"]["realistic"]
    assert [(each["factor"], each["way"]) for each in found] == [(f, way) for f in drift.FACTORS for way in ways]
    ours = {each["factor"]: each["first"] for each in found if each["way"].startswith("ours")}
    assert ours[1.0] is None
    assert ours[1.9] > drift.CHANGE


@pytest.mark.slow
def test_what_verdicts_teach_is_measured_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "QUESTIONS", 5)
    monkeypatch.setattr(verdicts, "QUICK_ROWS", 800)
    given = ["--quick", "--data", str(tmp_path), "--tables", "classic", "--processes", "1", "--output", str(tmp_path)]
    verdicts.main(given)
    saved = json.loads((tmp_path / "results" / "verdicts.json").read_text("utf-8"))
    assert [(each["real"], each["by"]) for each in saved["measurements"]] == [
        (real, by) for real in ("all", "half") for by in verdicts.LEARNERS
    ]
    assert all(len(each["found"]) == 5 for each in saved["measurements"])
    asked.main([*given[:-4], "--processes", "1", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "asked.json").read_text("utf-8"))
    (share,) = saved["measurements"]
    assert (share["table"], share["rows"], share["seed"]) == ("classic", asked.TRAINED[0], 0)
