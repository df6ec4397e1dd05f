"""The benchmarks measure what they say; no test here looks at how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import fit_and_score
from benchmarks.harness import Result, Table, Timing, interleaved, save


class Clock:
    """Time that passes only when a task says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_interleaved_times_every_task_once_a_round() -> None:
    clock = Clock()
    calls: list[str] = []
    costs = {"a": iter([9.0, 1.0, 2.0, 6.0]), "b": iter([5.0, 4.0, 4.0, 4.0])}

    def task(name: str) -> None:
        calls.append(name)
        clock.now += next(costs[name])

    timings = interleaved({"a": lambda: task("a"), "b": lambda: task("b")}, repeats=3, clock=clock)
    assert timings == {"a": Timing(9.0, (1.0, 2.0, 6.0)), "b": Timing(5.0, (4.0, 4.0, 4.0))}
    assert timings["a"].median == 2.0
    assert timings["a"].spread() == 2.5
    assert [sorted(calls[i : i + 2]) for i in range(0, 8, 2)] == [["a", "b"]] * 4


def test_interleaved_refuses_to_time_nothing() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        interleaved({}, repeats=0)


def test_a_table_is_markdown() -> None:
    assert (
        Table("T", ["name", "x"], [["a", "1"]], "why").markdown()
        == "### T\n\n| name | x |\n|---|---:|\n| a | 1 |\n\nwhy\n"
    )


def test_the_page_of_results_holds_every_saved_benchmark(tmp_path: Path) -> None:
    def result(title: str) -> Result:
        return Result(title, "what", "make bench", [Table("T", ["name"], [["a"]])], {}, {"cores": 2}, {"numpy": "2.0"})

    save("b", result("Second"), tmp_path)
    page = save("a", result("First"), tmp_path)
    text = page.read_text("utf-8")
    assert text.index("## First") < text.index("## Second")
    assert "`make bench`: cores 2. numpy 2.0." in text


def test_fit_and_score_runs_every_contestant_on_the_same_work(tmp_path: Path) -> None:
    fit_and_score.main(f"--rows 1500 --features 3 --trees 20 --samples 64 --repeats 1 --output {tmp_path}".split())
    saved = json.loads((tmp_path / "results" / "fit_and_score.json").read_text("utf-8"))
    measured = saved["measurements"]["1500"]
    assert {"mlx_iforest (numba)", "mlx_iforest (sklearn)", "scikit-learn"} <= set(measured)
    for name, values in measured.items():
        assert values["rows_scored"] == 1500, name
        assert values["rank_correlation"] > 0.8, name
        assert len(values["score"]["seconds"]) == 1, name
    assert "scikit-learn" in (tmp_path / "RESULTS.md").read_text("utf-8")
