"""The benchmarks measure what they say; no test here looks at how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from numpy.typing import NDArray
from service_example import resting, served

from anomaly_detection.data.columns.schema import infer_schema
from anomaly_detection.synthetic import generate
from benchmarks import __main__ as benchmarks
from benchmarks import (
    baselines,
    batches,
    file_peers,
    fit,
    inbox,
    interop,
    lists,
    real_tables,
    score,
    service,
    shapes,
    training,
    wide,
)
from benchmarks.harness import FOLDER, Result, Table, Timing, interleaved, save, table_of_numbers
from benchmarks.peers import PEERS, YARDSTICK, Contestant, Settings, agreement, contestants, ours, skipping
from benchmarks.plots import spaced


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


def test_a_run_calls_a_short_task_until_it_is_long_enough() -> None:
    clock = Clock()
    costs = iter([8.0, 1.0, 2.0, 3.0, 7.0])

    def task() -> None:
        clock.now += next(costs)

    # One call to warm up, whatever it takes; then 1 + 2 + 3 seconds reach 5, and so does 7.
    assert interleaved({"a": task}, repeats=2, shortest=5, clock=clock) == {"a": Timing(8.0, (2.0, 7.0))}


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


def test_pictures_stand_above_the_tables(tmp_path: Path) -> None:
    result = Result("A", "what", "make bench", [Table("T", ["name"], [["a"]])], {}, pictures={"results/a.png": "seen"})
    text = save("a", result, tmp_path).read_text("utf-8")
    assert text.index("![seen](results/a.png)") < text.index("### T")


def test_the_table_of_numbers_has_a_seed() -> None:
    X = table_of_numbers(300, 5, seed=1)
    assert X.shape == (300, 5)
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert np.array_equal(X, table_of_numbers(300, 5, seed=1))
    assert not np.array_equal(X, table_of_numbers(300, 5, seed=2))


SETTINGS = Settings(trees=60, samples=64)
ALL = [*ours(), *PEERS]
OURS = ALL[0].name


@pytest.mark.parametrize("contestant", ALL, ids=lambda contestant: contestant.name)
@pytest.mark.filterwarnings("ignore")  # what other libraries warn of is not ours to mend
def test_every_contestant_does_the_same_work(contestant: Contestant) -> None:
    obstacle = contestant.obstacle(SETTINGS)
    if obstacle is not None:
        pytest.skip(obstacle)
    X = table_of_numbers(1_000, 4)
    yardstick = next(peer for peer in PEERS if peer.name == YARDSTICK)
    expected = yardstick.score(yardstick.fit(X, SETTINGS), X, SETTINGS)
    scores = contestant.score(contestant.fit(X, SETTINGS), X, SETTINGS)
    assert scores.shape == (1_000,)
    assert agreement(contestant, scores, expected) > 0.85


def test_less_work_shows() -> None:
    expected = np.linspace(-0.9, -0.4, 50)
    grower, exporter = ours()[0], next(peer for peer in PEERS if not peer.grows)
    assert agreement(grower, expected**3, expected) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"correlation -1\.00, expected above 0\.8"):
        agreement(grower, -expected, expected)
    with pytest.raises(ValueError, match=r"scores scikit-learn's forest 1\.0e-02 off"):
        agreement(exporter, expected + 0.01, expected)


def test_who_cannot_take_part_is_named_with_the_reason() -> None:
    def contestant(**facts: Any) -> Contestant:
        return replace(ours()[0], **facts)

    assert contestant(needs=["numpy"], oblique=True).obstacle(Settings(oblique=True)) is None
    assert contestant(missing="no GPU").obstacle(Settings()) == "no GPU"
    absent = contestant(needs=["numpy", "no_such_module"]).obstacle(Settings())
    assert absent is not None
    assert absent.startswith("no_such_module is not installed")
    absent = contestant(needs=["$no-such-program"]).obstacle(Settings())
    assert absent is not None
    assert absent.startswith("no-such-program is not installed")
    assert contestant(oblique=False).obstacle(Settings(oblique=True)) == "no cuts along several features"
    small = contestant(largest=100, too_large="takes minutes")
    assert small.obstacle(Settings(trees=10, samples=10)) is None
    assert small.obstacle(Settings(trees=10, samples=11)) == "takes minutes"
    assert skipping({"a": "x", "b": "y", "c": "x"}) == "Skipped: a, c (x); b (y)."
    assert skipping({}) == ""


def test_contestants_by_parts_of_their_names_and_without_fallbacks() -> None:
    found, skipped = contestants(Settings(), only=["scikit"])
    assert [c.name for c in found] == ["scikit-learn", "scikit-learn, in threads"]
    assert skipped == {}
    chosen, _ = contestants(Settings(), only=["mlx_iforest"])
    everyone, _ = contestants(Settings(), only=["mlx_iforest"], fallbacks=True)
    assert len(chosen) == 1
    assert chosen[0].name == everyone[0].name == OURS
    assert len(everyone) > 1


def test_labels_keep_apart_and_stay_in_order() -> None:
    assert spaced([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spaced([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    # Two of a kind push the third, and all three settle around their own mean.
    assert spaced([0.52, 0.9, 0.5, 0.54], 0.1) == pytest.approx([0.52, 0.9, 0.42, 0.62])
    assert spaced([], 0.1) == []


@pytest.mark.slow
def test_score_measures_every_case_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "SHORTEST", 0.0)
    # With fallbacks, and cut along several features.
    monkeypatch.setattr(score, "CASES", (score.CASES[0], score.CASES[-1]))
    score.main(["--quick", "--repeats", "1", "--jobs", "2", "--only", OURS, "scikit", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "score.json").read_text("utf-8"))
    first = saved["measurements"]["3,000 rows x 8, 50 trees of 64"]
    assert {OURS, "scikit-learn", "scikit-learn, in threads"} <= set(first)
    for name, values in first.items():
        assert values["rows_scored"] == 3_000, name
        assert values["rank_correlation"] > 0.8, name
        assert values["rows_per_second"] == pytest.approx(3_000 / values["seconds"][0]), name
    assert len(saved["tables"]) == len(score.CASES) + 1
    # Without oneDAL there is nothing to compare with in its column; the fastest of scikit-learn's ways is 1.00 x.
    columns = list(zip(*saved["tables"][0]["rows"], strict=True))
    assert set(columns[1]) == {"-"}
    assert "1.00 x" in columns[2]
    assert set(saved["measurements"]["kinds"]) == set(score.KINDS)
    by_rows = saved["measurements"]["rate by"]["rows"]
    assert [where for where, _ in by_rows["scikit-learn"]] == [1_000, 3_000]
    page = (tmp_path / "RESULTS.md").read_text("utf-8")
    for name in ("rows", "features"):
        assert f"(results/rate_by_{name}.png)" in page
        assert (tmp_path / "results" / f"rate_by_{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("xgboost"), reason="nobody to compare with")
def test_shapes_are_drawn_within_bounds_and_scored_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for shape in (shapes.Shape.draw(rng) for _ in range(300)):
        assert 1 <= shape.features <= 5_000
        assert 10 <= shape.trees <= 1_000
        assert 64 <= shape.samples <= 65_536
        assert 1 <= shape.rows <= 10_000_000
        assert shape.rows * shape.features <= shapes.MOST_VALUES
        assert shape.rows * shape.trees <= shapes.MOST_WALKS
    monkeypatch.setattr(shapes, "SHORTEST", 0.0)
    monkeypatch.setattr(shapes, "compile_at_once", lambda: None)
    shapes.main(["--quick", "--repeats", "1", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "shapes.json").read_text("utf-8"))
    assert len(saved["measurements"]) == len(saved["tables"][1]["rows"]) == 3
    assert all({"mlx_iforest", "XGBoost"} <= set(each["rows_per_second"]) for each in saved["measurements"])
    assert "Who wins where" in capsys.readouterr().out


def test_wins_are_counted_by_features() -> None:
    found = [shapes.Shape(10, features, 10, 64, "counts") for features in (3, 16, 400)]
    rates = [{shapes.OURS: 4e6, "oneDAL": 1e6}, {shapes.OURS: 1e6, "oneDAL": 2e6}, {shapes.OURS: 3e6, "oneDAL": 1e6}]
    assert [row[1:] for row in shapes.summary(found, rates, ["oneDAL"]).rows] == [
        ["2", "1 of 2", "0.50 / 2.2"],
        ["0", "-", "-"],
        ["1", "1 of 1", "3.00 / 3.0"],
    ]
    assert [row[-1] for row in shapes.listed(found, rates, ["oneDAL"]).rows] == ["0.50", "3.00", "4.00"]


def test_fewer_rows_are_scored_where_all_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("benchmarks.score.time.perf_counter", clock)

    def work(rows: NDArray[np.float32]) -> None:
        clock.now += len(rows) / 20_000

    X = np.zeros((100_000, 1), np.float32)
    assert score.rows_within(2, work, X) == 40_000
    assert score.rows_within(0.1, work, X) == 10_000  # the fewest
    assert score.rows_within(60, work, X) == 100_000
    assert score.rows_within(60, work, X[:500]) == 500


@pytest.mark.slow
def test_fit_measures_growth_thresholds_large_samples_and_odd_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "SHORTEST", 0.0)
    fit.main(["--quick", "--repeats", "1", "--jobs", "2", "--only", OURS, "scikit", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "fit.json").read_text("utf-8"))
    growth, large, odd = saved["tables"]
    names = {OURS, f"{OURS}, unchecked input", "scikit-learn"}
    for table in (growth, large, odd):
        assert names <= {row[0] for row in table["rows"]}
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    whole = saved["measurements"][growth["title"]]["with threshold"]
    assert len(whole["scikit-learn"]) == 1


def test_few_values_are_few_and_rare() -> None:
    X = fit.few_values((2_000, 30))
    assert np.unique(X).tolist() == [0, 1]
    assert 0.005 < X.mean() < 0.02


@pytest.mark.slow
def test_interop_measures_forests_taken_over_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interop, "SHORTEST", 0.0)
    monkeypatch.setattr(interop, "PROBES", 500)
    monkeypatch.setattr(interop, "KINDS", {kind: interop.KINDS[kind] for kind in ("blended", "oblique")})
    interop.main(["--quick", "--repeats", "1", "--jobs", "2", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "interop.json").read_text("utf-8"))
    assert [row[0] for table in saved["tables"] for row in table["rows"]] == [
        "scikit-learn", "from_sklearn", "from_sklearn, to_onnx, onnxruntime", "blended", "oblique",
    ]  # fmt: skip
    measured = saved["measurements"]
    assert 0 < measured["taken over"]["from_sklearn"]["largest_difference"] < 1e-6
    assert all(0 < kind["largest_difference"] < 1e-5 for kind in measured["as ONNX models"].values())


def test_wide_measures_each_kind_by_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        wide, "in_a_child", lambda _, kind, columns: {"seconds": columns / 10, "wall": 9.0, "megabytes": 200}
    )
    wide.main(["--quick", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "wide.json").read_text("utf-8"))
    assert [table["rows"] for table in saved["tables"]] == [
        [["10", "1.0 x", "1", "200"], ["20", "2.0 x", "2", "200"]]
    ] * len(wide.KINDS)


def test_training_measures_everybody_on_each_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def in_a_child(_: str, *case: Any) -> dict[str, float]:
        asked.append(case)
        return {"seconds": 1.0, "wall": 2.0, "before": 3.0, "megabytes": 4.0}

    monkeypatch.setattr(training, "in_a_child", in_a_child)
    training.main(["--quick", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "training.json").read_text("utf-8"))
    assert {("ours", "long", 600, 24), ("scikit-learn", "wide", 300, 40)} <= {*asked}
    assert ["600 x 24", "ours", "1.0", "2.0", "4"] in saved["tables"][0]["rows"]


def test_contestants_of_training_train() -> None:
    for case in ("long", "wide"):
        frame = training.frame_of(case, 120, 20)
        assert len(frame) == 120
        assert training.scikit_learn(frame)() is not None


def test_wide_tables_are_of_all_kinds() -> None:
    frame = wide.table("mixed", 20)
    assert frame.shape == (wide.ROWS, 20)
    roles = {column.role.value for column in infer_schema(frame).columns}
    assert {"numeric", "categorical", "timestamp", "text"} <= roles


@pytest.mark.slow
def test_real_tables_counts_errors_by_kind_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real_tables.main(["--quick", "--data", str(tmp_path), "--tables", "scms", "classic", "--output", str(tmp_path)])
    assert "scms skipped: scms/SCMS" in capsys.readouterr().out
    saved = json.loads((tmp_path / "results" / "real_tables.json").read_text("utf-8"))
    assert [entry["model"] for entry in saved["measurements"]] == list(real_tables.MODELS)
    for entry in saved["measurements"]:
        hits, errors = (sum(column) for column in zip(*entry["kinds"].values(), strict=True))
        assert errors == 10
        assert entry["recall"] == hits / errors
    tables, kinds, of_recipe = saved["tables"]
    assert [row[0] for row in tables["rows"]] == kinds["columns"][1:] == list(real_tables.MODELS)
    assert "Skipped: scms (" in tables["note"]
    assert of_recipe["columns"] == ["kind", "classic"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:These records no longer look like:anomaly_detection.calibration.drift.DriftWarning")
def test_batches_are_of_the_rows_between_those_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = batches.clean("devices", tmp_path, 10 * batches.TRAINED, seed=1)
    assert (len(made.train), made.density) == (batches.TRAINED, 10.0)
    assert not made.others["time"].isin(made.train["time"]).any()
    for density in (1 / 3, 1.0, 10.0):
        rows = made.thinned(density)
        assert len(rows) / len(made.train) == pytest.approx(density, rel=0.03)
        assert (rows["time"].value_counts() == batches.DEVICES).all()
    first, *_ = batches.batches(made.others, 100, True, 0)
    assert first["time"].is_monotonic_increasing
    assert first["time"].nunique() <= 6
    assert not [*batches.batches(made.train, batches.TRAINED + 1, False, 0)]

    batches.main(["--quick", "--data", str(tmp_path), "--tables", "scms", "classic", "--output", str(tmp_path)])
    assert "scms skipped: scms/SCMS" in capsys.readouterr().out
    saved = json.loads((tmp_path / "results" / "batches.json").read_text("utf-8"))
    found = saved["measurements"]["shares"]
    assert {one["what"] for one in found} == {
        "at random",
        "in a row, density 0.333",
        "in a row, density 1",
        "later, at random",
        "later, in a row",
    }
    # Later ones are of another season.
    assert all(0.0 < one["share"] < 0.2 for one in found if "later" not in one["what"])
    assert len(saved["tables"][0]["rows"]) == len(found) == 5


def test_hours_are_joined_by_straight_lines_and_no_further_decimals(tmp_path: Path) -> None:
    (tmp_path / "airquality").mkdir()
    text = (
        "Date;Time;CO(GT);T\n10/03/2004;18.00.00;2,6;13,6\n10/03/2004;19.00.00;5,0;-200\n10/03/2004;20.00.00;2;12,1\n"
    )
    (tmp_path / "airquality" / "AirQualityUCI.csv").write_text(text, "utf-8")
    made = batches.interpolated(tmp_path)
    assert made.train["CO(GT)"].tolist() == ["2,6", "5,0", "2,0"]
    assert made.train["T"].tolist() == ["13,6", "-200", "12,1"]
    assert len(made.others) == 2 * (batches.STEPS - 1)
    assert made.others["CO(GT)"].iloc[5] == "3,8"
    assert made.others["time"].iloc[0].startswith("2004-03-10 18:05:00")
    assert (made.others["T"] == "-200").all()


def test_real_tables_puts_errors_into_the_half_that_is_not_trained_on() -> None:
    frame = real_tables.generate("classic", 600, seed=1).frame
    train, test, kinds = real_tables.case(frame, seed=2)
    assert len(train) == len(test) == 300
    assert (kinds != "normal").sum() == 6
    known = set(frame["order_quantity"])
    assert set(train["order_quantity"]) <= known
    assert set(test["order_quantity"][kinds == "normal"]) <= known - set(train["order_quantity"])


def test_recall_is_at_as_many_alerts_as_there_are_errors() -> None:
    kinds = np.array(["a", "normal", "b", "normal", "b"], dtype=object)
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    assert real_tables.recall(scores, kinds) == {"a": (1, 1), "b": (1, 2)}


@pytest.mark.parametrize("score", [baselines.isolation_forest, baselines.largest_robust_z, baselines.prototype])
def test_baselines_see_what_they_can_see(score: Any) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": rng.choice(["a", "b"], 600), "cost": rng.lognormal(3, 0.3, 600)})
    frame["total"] = frame["cost"] * np.where(frame["kind"] == "a", 10.0, 1.0)
    test = frame.iloc[300:].reset_index(drop=True)
    test.loc[7, ["cost", "total"]] = [-4000.0, 9e6]
    scores = score(frame.iloc[:300], test, 0)
    assert scores.shape == (300,)
    assert scores[7] >= np.quantile(scores, 0.98)


def test_the_prototype_sees_groups_ratios_levels_and_copies() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"x{i}" for i in range(800)], "kind": rng.choice(["a", "b"], 800)})
    frame["cost"] = rng.lognormal(3, 0.3, 800) * np.where(frame["kind"] == "a", 100.0, 1.0)
    frame["value"] = frame["cost"] * rng.normal(2.0, 0.01, 800)
    train, test = frame.iloc[:400], frame.iloc[400:].reset_index(drop=True)
    before = baselines.prototype(train, test, 0)
    test.loc[0, ["kind", "cost", "value"]] = ["a", 20.0, 40.0]  # what b costs
    test.loc[1, "value"] *= 3.0
    test.loc[2, "kind"] = "c"
    test.loc[3, ["kind", "cost", "value"]] = test.loc[4, ["kind", "cost", "value"]]
    rise = baselines.prototype(train, test, 0) - before
    assert (rise[:5] > 3.0).all()
    assert np.abs(rise[5:]).max() < 1.0


def test_every_script_is_run_by_make_bench_or_by_hand() -> None:
    scripts = {file.stem for file in FOLDER.glob("[!_]*.py") if "\ndef main(" in file.read_text("utf-8")}
    assert scripts <= {*benchmarks.SCRIPTS, *benchmarks.QUALITY, *benchmarks.LONG, *benchmarks.ON_A_GPU}


def test_scripts_run_each_in_a_process_with_the_same_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        ran.append(command[2:])
        return subprocess.CompletedProcess(command, int("fit" in command[2]))

    monkeypatch.setattr("benchmarks.__main__.subprocess.run", run)
    assert benchmarks.main(["score", "--repeats", "5"]) == 0
    assert ran == [["benchmarks.score", "--repeats", "5"]]
    assert benchmarks.main(["fit", "score"]) == 1
    assert "failed: fit" in capsys.readouterr().err
    ran.clear()
    benchmarks.main([])
    assert [command[0] for command in ran] == [f"benchmarks.{name}" for name in benchmarks.SCRIPTS]
    assert benchmarks.main(["scroe"]) == 2
    assert "no script is called scroe; there are score, fit" in capsys.readouterr().err


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services answer from a thread, which needs no seconds to start, to scripts that ask one with few records."""

    @contextmanager
    def answering(folder: Path, *given: str) -> Iterator[tuple[int, psutil.Process]]:
        options = dict(zip(given[::2], given[1::2], strict=True))
        model = Path(options["--model"]) if "--model" in options else None
        with (
            resting(folder, model=model, learn_from=int(options.get("--learn-from", 1000)), port=0) as made,
            served(made) as url,
        ):
            yield int(url.rpartition(":")[2]), psutil.Process()

    for script in (inbox, service):
        monkeypatch.setattr(script, "service", answering)
        monkeypatch.setattr(script, "TRAINED", 300)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_service_measures_each_way_to_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CLIENTS", (2,))
    # Without the process that it is compared with.
    monkeypatch.setattr(service, "find_spec", lambda _: None)
    service.main(["--quick", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "service.json").read_text("utf-8"))
    (table,) = saved["tables"]
    assert len(table["rows"]) == 24
    for runs in saved["measurements"].values():
        for *times, cpu in runs[0].values():
            assert all(value > 0 for value in times)
            # The clock of a process has steps of a hundredth of a second.
            assert cpu >= 0


def test_lists_asks_each_question_of_a_filled_service(tmp_path: Path) -> None:
    lists.main(["--quick", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "lists.json").read_text("utf-8"))
    assert saved["measurements"].keys() == lists.QUESTIONS.keys()
    assert all(value > 0 for value in saved["measurements"].values())


def test_a_run_tells_what_its_own_process_took_and_how_it_failed() -> None:
    held = "import time; held = bytearray(60_000_000); time.sleep(0.3)"
    took = file_peers.run([sys.executable, "-c", held])
    assert took.cpu_seconds > 0
    assert 60_000_000 < took.peak < 120_000_000
    with pytest.raises(RuntimeError, match="no such record"):
        file_peers.run([sys.executable, "-c", "raise SystemExit('no such record')"])


@pytest.mark.parametrize("peer", [peer for peer in file_peers.FILE_PEERS if not peer.obstacle()], ids=lambda p: p.name)
def test_each_gets_from_a_file_to_a_file(peer: file_peers.FilePeer, tmp_path: Path) -> None:
    records = tmp_path / "records.csv"
    generate("realistic", 90, seed=2).frame.to_csv(records, index=False)
    peer.train(records, tmp_path / "model")
    file_peers.run(peer.command(tmp_path / "model", records, tmp_path / "scored.csv"))
    scored = pd.read_csv(tmp_path / "scored.csv")
    assert len(scored) == 90
    assert scored.filter(regex="^(anomaly_score|predict)").iloc[:, 0].nunique() > 30


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_inbox_asks_for_each_page_of_a_filled_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "CHROMIUM", None)
    inbox.main(["--quick", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "inbox.json").read_text("utf-8"))
    pages = saved["measurements"]["pages"]
    assert len(pages) == len(inbox.PAGES) + len(inbox.ACTIONS)
    assert all(took > 0 and cpu >= 0 for took, cpu in pages.values())
