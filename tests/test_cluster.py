"""Many Parquet files, judged a row group at a time: by any workers, in any order, and as one machine does it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anomaly_detection import anomaly_detection_api as api_module
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.drift import DriftWarning, find_drift
from anomaly_detection.calibration.thresholds import Conformal
from anomaly_detection.cli import main, partitions
from anomaly_detection.cluster import partition as partition_module
from anomaly_detection.cluster.choosing import choose, hashes
from anomaly_detection.cluster.covering import LevelCounts, Wanted
from anomaly_detection.cluster.judging import judged
from anomaly_detection.cluster.partition import Failure, Partition, look_at
from anomaly_detection.cluster.running import Workers, dask_cluster, local_workers, outcomes, this_process
from anomaly_detection.cluster.sampling import sampled
from anomaly_detection.cluster.scoring import Judged, score_files
from anomaly_detection.cluster.store import matching
from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.cleaning import FormWarning
from anomaly_detection.errors import DataError
from anomaly_detection.settings import RECIPE
from anomaly_detection.synthetic import generate

pytestmark = pytest.mark.usefixtures("few_folds")

COLUMNS = ["timestamp", "order_quantity", "lead_time", "supplier", "month"]
TOGETHER = ("neighbours", "runs", "courses", "dates", "copies", "readings", "relations", "owners")
FOUND = ["anomaly_score", "severity", "p_value", "is_anomaly", "reason"]


def records(rows: int, seed: int) -> pd.DataFrame:
    """Whole numbers, some of them missing, dates and texts."""
    frame = generate("classic", rows, seed=seed).frame[COLUMNS].copy()
    frame.insert(0, "order_no", [f"PO-{i:05}" for i in range(rows)])
    quantity = frame["order_quantity"].round().astype("Int64")
    return frame.assign(order_quantity=quantity.mask(frame.index % 70 == 3))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that looks at no records together, one that does, one with a false discovery rate, and 7 row groups."""
    folder = tmp_path_factory.mktemp("cluster")
    history = records(400, seed=4)
    alone = tuple(group for group in RECIPE.features.groups if group not in TOGETHER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_module, "RECIPE", replace(RECIPE, features=replace(RECIPE.features, groups=alone)))
        AnomalyDetectionAPI().fit(history).save_model(folder / "model.safetensors")
        AnomalyDetectionAPI(threshold=Conformal(0.3)).fit(history).save_model(folder / "conformal.safetensors")
    AnomalyDetectionAPI().fit(pd.concat([history, history.iloc[:20]])).save_model(folder / "together.safetensors")
    (folder / "data").mkdir()
    write(records(200, seed=5), folder / "data" / "a.parquet", 60)  # the last of 4 row groups has 20 rows
    write(records(150, seed=6), folder / "data" / "b.parquet", 60)
    return folder


def write(frame: pd.DataFrame, path: Path, rows: int) -> None:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=rows)


def threads(count: int) -> Workers:
    return Workers(lambda: ThreadPoolExecutor(count))


def quiet(*told: object) -> None:
    pass


def run(work: Path, output: Path, workers: Workers, model: str = "model", data: str = "data") -> Judged:
    return score_files(str(work / f"{model}.safetensors"), str(work / data), str(output), workers, quiet)


@pytest.fixture(scope="module")
def here(work: Path) -> Path:
    """What one thread made of all, with the model that looks at no records together."""
    run(work, work / "here", threads(1))
    return work / "here"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parts(folder: Path) -> pd.DataFrame:
    """All parts, as any reader of Parquet puts them together: also by their types."""
    pq.read_table(folder)
    return pd.concat([read_table(path) for path in sorted(folder.glob("part-*"))], ignore_index=True)


def one_machine(work: Path, model: str, names: list[str], *options: str) -> pd.DataFrame:
    made = []
    for name in names:
        target = work / f"{name}.scored.parquet"
        file = str(work / "data" / f"{name}.parquet")
        assert main(["score", str(work / f"{model}.safetensors"), file, "--output", str(target), *options]) == 0
        made.append(read_table(target))
    return pd.concat(made, ignore_index=True)


@pytest.mark.parametrize(("model", "options"), [("model", []), ("together", ["--chunk-rows", "60"])])
def test_parts_depend_on_the_files_alone_and_are_what_one_machine_finds(
    work: Path, tmp_path: Path, model: str, options: list[str]
) -> None:
    for count in (1, 2, 7):
        found = run(work, tmp_path / str(count), threads(count), model)
        assert (found.parts, found.kept, found.failures, found.tally.records) == (7, 0, [], 350)
    made = contents(tmp_path / "1")
    assert len(made) == 8
    assert made == contents(tmp_path / "2") == contents(tmp_path / "7")
    judged_here, alone = parts(tmp_path / "1"), one_machine(work, model, ["a", "b"], *options)
    assert list(judged_here.columns) == ["order_no", *COLUMNS, *FOUND]
    pd.testing.assert_frame_equal(judged_here, alone, check_exact=True)
    assert found.tally.alerts == alone["is_anomaly"].sum() > 0
    assert (alone["reason"] != "").sum() == found.tally.alerts


def test_a_dask_cluster_gives_the_same_bytes(
    work: Path, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        command = [str(work / "model.safetensors"), str(work / "data"), "--output", str(tmp_path / "dask")]
        assert main(["score", *command, "--cluster", cluster.scheduler_address]) == 0
    told = capsys.readouterr().err
    assert "7 parts written" in told
    assert "in 350 records" in told
    assert contents(here) == contents(tmp_path / "dask")


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_part(work: Path, here: Path, tmp_path: Path) -> None:
    """Two processes, of which one ends in the middle: its partition is judged again, by others."""
    killed: list[int] = []

    def kill_one(stage: str, share: float, message: str) -> None:
        if not killed:
            victim = multiprocessing.active_children()[0].pid
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    model, output = str(work / "model.safetensors"), tmp_path / "there"
    found = score_files(model, str(work / "data" / "*.parquet"), str(output), local_workers(2), kill_one)
    assert (found.parts, found.failures, len(killed)) == (7, [], 1)
    pd.testing.assert_frame_equal(parts(here), parts(output), check_exact=True)
    assert not list(output.glob(".unfinished-*"))


class Breaking(ThreadPoolExecutor):
    """Whose workers all end when one of them has an odd number, before any other is done."""

    def __init__(self) -> None:
        super().__init__(4)
        self._ended = threading.Event()

    def submit(self, task: Any, item: int, /) -> Any:  # type: ignore[override]
        if item % 2:
            self._ended.set()

        def ending() -> Any:
            if self._ended.wait(0.02):
                raise BrokenProcessPool("gone")
            return task(item)

        return super().submit(ending)


def test_what_ends_its_worker_is_named_and_the_others_are_done() -> None:
    found = dict(outcomes(lambda item: item * 10, [1, 3, 0, 2, 5, 4], Workers(Breaking), str))
    assert {item: outcome for item, outcome in found.items() if item % 2 == 0} == {0: 0, 2: 20, 4: 40}
    for item in (1, 3, 5):
        outcome = found[item]
        assert isinstance(outcome, Failure)
        assert outcome.label == str(item)
        assert "more memory" in outcome.message


def test_where_no_worker_stays_all_is_given_up() -> None:
    opened: list[int] = []

    def breaking() -> Breaking:
        opened.append(1)
        return Breaking()

    found = list(outcomes(str, list(range(1, 99, 2)), Workers(breaking), str))
    assert [item for item, _ in found] == list(range(1, 99, 2))
    assert all(isinstance(outcome, Failure) for _, outcome in found)
    assert len(opened) == 30


def test_an_error_that_nobody_thought_of_is_one_items() -> None:
    found = dict(outcomes(lambda item: 6 // item, [3, 0, 1], threads(1), str))
    assert found == {3: 2, 0: Failure("0", "ZeroDivisionError: integer division or modulo by zero"), 1: 6}


def spoil(path: Path, group: int) -> None:
    """Overwrite the pages of a row group's columns."""
    chunks = pq.read_metadata(path).row_group(group)
    raw = bytearray(path.read_bytes())
    for number in range(chunks.num_columns):
        column = chunks.column(number)
        start = column.dictionary_page_offset or column.data_page_offset
        raw[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(raw)


def test_a_bad_partition_is_named_and_the_others_are_done(
    work: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(partitions, "local_workers", threads)
    data, output = tmp_path / "data", tmp_path / "out"
    (data / "2024").mkdir(parents=True)
    for name in ("a.parquet", "b.parquet"):
        (data / "2024" / name).write_bytes((work / "data" / name).read_bytes())
    (data / "2024" / "c.parquet").write_text("no Parquet")
    (data / "_left_out.parquet").write_text("nor this")
    spoil(data / "2024" / "a.parquet", 1)
    command = ["score", str(work / "model.safetensors"), str(data), "--output", str(output), "--workers", "2"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "2024/a.parquet, row group 1 has no part: " in told
    assert "2024/c.parquet has no part: 2024/c.parquet is not a Parquet table" in told
    assert "_left_out" not in told
    assert "6 parts written" in told
    assert len(list(output.glob("part-*"))) == 6

    (data / "2024" / "c.parquet").unlink()
    (data / "2024" / "a.parquet").write_bytes((work / "data" / "a.parquet").read_bytes())
    assert main(command) == 0
    # Those of the file that was mended are judged again.
    assert "3 of 7 parts were there already" in capsys.readouterr().err
    pd.testing.assert_frame_equal(parts(output), parts(here), check_exact=True)

    (data / "2024" / "b.parquet").unlink()
    assert main(command) == 0
    assert len(parts(output)) == 200


def test_a_restart_judges_what_has_no_part(work: Path, tmp_path: Path) -> None:
    before = run(work, tmp_path, threads(2))
    made = contents(tmp_path)
    (tmp_path / "part-000001-00001.parquet").unlink()
    (tmp_path / "part-000000-00002.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / ".unfinished-1").write_bytes(b"left by a process that was killed")
    kept = (tmp_path / "part-000000-00000.parquet").stat().st_ino
    again = run(work, tmp_path, threads(2))
    assert (again.parts, again.kept) == (7, 5)
    assert again.tally == before.tally
    assert contents(tmp_path) == made
    assert (tmp_path / "part-000000-00000.parquet").stat().st_ino == kept
    told = json.loads((tmp_path / "_manifest.json").read_text())
    assert [one["first"] for one in told["parts"]] == [0, 60, 120, 180, 0, 60, 120]


def test_a_file_that_changes_while_it_is_judged_is_named(work: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.parquet", "b.parquet"):
        (data / name).write_bytes((work / "data" / name).read_bytes())

    @contextmanager
    def changing() -> Iterator[Executor]:
        write(records(150, seed=8), data / "b.parquet", 60)
        with ThreadPoolExecutor(1) as pool:
            yield pool

    found = run(work, tmp_path / "out", Workers(changing), data=str(data))
    assert (found.parts, [one.label for one in found.failures]) == (
        4,
        [f"b.parquet, row group {group}" for group in range(3)],
    )
    assert found.failures[0].message == "the file was changed meanwhile."
    assert run(work, tmp_path / "out", threads(1), data=str(data)).kept == 4


def test_what_another_run_makes_at_the_same_time_stays(work: Path, here: Path, tmp_path: Path) -> None:
    """Each removes what the other has not finished, and neither what it has."""

    class Removed(ThreadPoolExecutor):
        def submit(self, task: Any, item: Partition, /) -> Any:  # type: ignore[override]
            return super().submit(lambda: Failure(item.label, "no such file or directory"))

    def other() -> Executor:
        run(work, tmp_path, threads(1))
        return Removed(1)

    found = run(work, tmp_path, Workers(other))
    assert (found.parts, found.failures, found.tally.records) == (7, [], 350)
    assert contents(tmp_path) == contents(here)


def test_what_is_refused(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(work, tmp_path / "out", threads(1))
    with pytest.raises(DataError, match="holds what another model found"):
        run(work, tmp_path / "out", threads(1), "conformal")
    with pytest.raises(DataError, match=r"holds what was found in .*data; give another"):
        run(work, tmp_path / "out", threads(1), data="data/a.parquet")
    monkeypatch.chdir(tmp_path)
    write(records(9, seed=1), tmp_path / "a.parquet", 9)
    model, near = str(work / "model.safetensors"), str(tmp_path / "near")
    score_files(model, "a.parquet", near, threads(1), quiet)
    monkeypatch.chdir(work / "data")
    with pytest.raises(DataError, match=r"holds what was found in .*a\.parquet; give another"):
        score_files(model, "a.parquet", near, threads(1), quiet)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds other files, such as mine\.txt"):
        run(work, tmp_path / "full", threads(1))
    with pytest.raises(DataError, match="lies within"):
        run(work, work / "data" / "out", threads(1))
    with pytest.raises(DataError, match="holds no Parquet files"):
        run(work, tmp_path / "new", threads(1), data="data/*.csv")
    (tmp_path / "out" / "_manifest.json").write_text("{}")
    with pytest.raises(DataError, match="is damaged"):
        run(work, tmp_path / "out", threads(1))
    with pytest.raises(DataError, match="no what-is-this"), pytest.MonkeyPatch.context():
        score_files(str(work / "no what-is-this"), str(work / "data"), str(tmp_path / "new"), threads(1), quiet)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DataError, match=r"needs distributed, which is not installed; run pip install .*\[cluster\]"):
        dask_cluster("tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DataError, match=r"needs fsspec, which is not installed; run pip install .*\[cluster\]"):
        matching("memory://bucket")


def test_a_store_that_cannot_be_opened_and_a_scheduler_that_is_not_there(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    with pytest.raises(DataError, match=r"Protocol not known: nowhere"):
        matching("nowhere://bucket/folder")
    away = "ftp://ann:hunter22@127.0.0.1:9/orders"
    command = ["score", str(work / "model.safetensors"), away, "--output", str(tmp_path), "--workers", "1"]
    assert main(command) == 2
    assert "ftp://ann:***@127.0.0.1:9 cannot be opened: " in capsys.readouterr().err

    def refused(*asked: object, **more: object) -> None:
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr(MemoryFileSystem, "info", refused)
    with pytest.raises(DataError, match="cannot be listed: Unable to locate credentials"):
        matching("memory://bucket/folder")
    monkeypatch.setattr("anomaly_detection.cluster.running._CONNECTING", 0.1)
    with pytest.raises(DataError, match="No Dask scheduler answers"), dask_cluster("tcp://127.0.0.1:9").opened():
        pass


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data", "--workers", "2"], "name it with --output"),
        (["data", "--workers", "2", "--output", "o", "--top", "3"], "--top is for one file"),
        (["data", "--workers", "2", "--output", "o", "--chunk-rows", "3"], "--chunk-rows is for one file"),
        (["data", "--workers", "2", "--output", "o", "--no-header"], "--no-header and --sheet are for one file"),
        (["memory://data"], "memory://data is a URL; --workers N"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "model.safetensors", *words]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["score", "model.safetensors", "data", "--workers", "2", "--cluster", "tcp://a:1"])


def test_a_false_discovery_rate_is_that_of_all_files(work: Path, tmp_path: Path) -> None:
    run(work, tmp_path, threads(2), "conformal")
    frame = pd.concat([read_table(work / "data" / f"{name}.parquet") for name in "ab"], ignore_index=True)
    api = AnomalyDetectionAPI(work / "conformal.safetensors")
    predictions, decisions = api.predict(frame)
    found = parts(tmp_path)
    np.testing.assert_array_equal(found["anomaly_score"], decisions)
    np.testing.assert_array_equal(found["is_anomaly"], predictions == -1)
    # By a part of them the threshold is another.
    assert not np.array_equal(api.predict(frame.iloc[:60])[1], decisions[:60])


def test_how_dates_are_written_is_told_by_all_files(work: Path, tmp_path: Path) -> None:
    """Only the end of the second file has a day above 12; all before it could be read both ways."""
    frame = records(120, seed=9)
    days = [f"{day:02}.0{month}.2024" for month in (3, 4) for day in range(1, 13)]
    (tmp_path / "data").mkdir()
    for name, late in (("a", "05.03.2024"), ("b", "28.03.2024")):
        texts = np.resize(days, 120).astype(object)
        texts[-1] = late
        write(frame.assign(timestamp=texts), tmp_path / "data" / f"{name}.parquet", 60)
    found = run(work, tmp_path / "out", threads(2), data=str(tmp_path / "data"))
    assert found.tally.unread.notes == {
        "timestamp": "dates are read as day.month.year, a form that the training records did not have"
    }
    whole = pd.concat([read_table(tmp_path / "data" / f"{name}.parquet") for name in "ab"], ignore_index=True)
    # All days are of two months, unlike those of the training.
    with pytest.warns(DriftWarning), pytest.warns(FormWarning, match="read as day"):
        decisions = AnomalyDetectionAPI(work / "model.safetensors").detector.decision_function(whole)
    np.testing.assert_array_equal(parts(tmp_path / "out")["anomaly_score"], decisions)
    assert run(work, tmp_path / "out", threads(1), data=str(tmp_path / "data")).kept == 4


def test_a_column_without_any_number_is_refused_only_if_no_part_has_one(work: Path, tmp_path: Path) -> None:
    frame = records(120, seed=9).assign(lead_time="to be agreed")
    (tmp_path / "data").mkdir()
    write(frame, tmp_path / "data" / "a.parquet", 60)
    with pytest.raises(DataError, match="'lead_time' holds 'to be agreed'"):
        run(work, tmp_path / "none", threads(1), data=str(tmp_path / "data"))
    frame.loc[100, "lead_time"] = "12"
    write(frame, tmp_path / "data" / "a.parquet", 60)
    found = run(work, tmp_path / "one", threads(1), data=str(tmp_path / "data"))
    assert (found.parts, found.tally.unread.cells) == (2, {"lead_time": 119})


def test_a_large_row_group_is_judged_in_chunks(
    work: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "SMALL_CELLS", 100)
    monkeypatch.setattr(partition_module, "CHUNK_CELLS", 150)
    run(work, tmp_path / "in_chunks", threads(1))
    assert pq.read_metadata(tmp_path / "in_chunks" / "part-000000-00000.parquet").num_row_groups == 3
    pd.testing.assert_frame_equal(parts(here), parts(tmp_path / "in_chunks"), check_exact=True)


def test_stores_of_fsspec(work: Path, here: Path, tmp_path: Path) -> None:
    """In memory, which is a store as S3 is: model, records and parts by their URLs."""
    import fsspec

    store = fsspec.filesystem("memory")
    for name in ("a.parquet", "b.parquet"):
        store.pipe(f"/bucket/in/{name}", (work / "data" / name).read_bytes())
    store.pipe("/bucket/model.safetensors", (work / "model.safetensors").read_bytes())
    where = ("memory://bucket/model.safetensors", "memory://bucket/in/*.parquet", "memory://bucket/out")
    try:
        assert score_files(*where, threads(2), quiet).parts == 7
        assert score_files(*where, threads(2), quiet).kept == 7
        (tmp_path / "out").mkdir()
        for path in store.ls("/bucket/out", detail=False):
            (tmp_path / "out" / path.rpartition("/")[2]).write_bytes(store.cat(path))
    finally:
        store.rm("/bucket", recursive=True)
    pd.testing.assert_frame_equal(parts(tmp_path / "out"), parts(here), check_exact=True)


def test_a_store_may_list_a_file_otherwise_than_it_tells_of_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3 does: only the tag is the same, and Azure puts it into quotes in one of the two."""
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/tagged/a.parquet", b"some")
    usual, told = type(memory).info, {"ETag": "7", "Key": "listed"}
    monkeypatch.setattr(type(memory), "info", lambda self, path, **more: {**usual(self, path, **more), **told})
    try:
        store, (entry,) = matching("memory://tagged")
        told.update({"ETag": '"7"', "Key": "alone"})
        assert not store.has_changed(entry)
        told["ETag"] = '"8"'
        assert store.has_changed(entry)
        del told["ETag"]
        store, (entry,) = matching("memory://tagged")
        told["Key"] = "listed"
        assert not store.has_changed(entry)
    finally:
        memory.rm("/tagged", recursive=True)
    assert store.has_changed(entry)


def test_drift_is_told_from_the_histogram(work: Path, tmp_path: Path) -> None:
    found = run(work, tmp_path, threads(1))
    calibration = replace(found.detector.calibration, unseen=True)
    exact = find_drift(calibration, parts(tmp_path)["anomaly_score"] + found.detector.model.offset_)
    rough = find_drift(calibration, found.tally.sample())
    assert exact is not None
    assert rough is not None
    assert abs(exact.distance - rough.distance) < 0.02


def test_a_frame_for_the_maps_of_other_tools(work: Path, here: Path) -> None:
    first = read_table(work / "data" / "b.parquet").iloc[:60]
    mapped = judged(work / "model.safetensors", first)
    there = read_table(here / "part-000001-00000.parquet")
    pd.testing.assert_frame_equal(mapped, there, check_exact=True, check_dtype=False)


def test_hashes_are_spread_evenly_and_do_not_depend_on_blocks() -> None:
    rows = np.arange(20_000)
    found = hashes(7, "a.parquet", rows)
    assert np.unique(found).size == rows.size
    # Each of 20 equal ranges has 1,000 of them, with a deviation of 31.
    counts = np.bincount((found >> np.uint64(32)).astype(np.int64) * 20 >> 32, minlength=20)
    assert abs(counts - 1000).max() < 125
    np.testing.assert_array_equal(hashes(7, "a.parquet", rows[5:9]), found[5:9])
    for seed, file in ((8, "a.parquet"), (7, "b.parquet")):
        assert not np.isin(hashes(seed, file, rows), found).any()


def the_sample(
    folder: Path, frames: Mapping[str, pd.DataFrame], sizes: Sequence[int], count: int, seed: int
) -> pd.DataFrame:
    """What is drawn of files, the same in row groups of each size and by any number of workers."""
    samples = []
    for number, rows in enumerate(sizes):
        there = folder / f"{number}"
        there.mkdir()
        for name, frame in frames.items():
            write(frame, there / f"{name}.parquet", rows)
        for workers in (this_process(), threads(1), threads(2), threads(7)):
            found = sampled(str(there), count, seed, workers, quiet)
            assert found.of_rows == sum(map(len, frames.values()))
            samples.append(found.frame)
    for other in samples[1:]:
        pd.testing.assert_frame_equal(samples[0], other, check_exact=True)
    return samples[0]


def ranked_by_hash(frames: Mapping[str, pd.DataFrame], seed: int) -> list[tuple[int, str, int]]:
    """The hash, file and row of every record, in the order of the hashes."""
    return sorted(
        (int(value), name, row)
        for name, frame in frames.items()
        for row, value in enumerate(hashes(seed, f"{name}.parquet", np.arange(len(frame))))
    )


def test_a_sample_depends_on_seed_files_and_rows_alone(tmp_path: Path) -> None:
    frames = {name: records(500, seed) for name, seed in (("a", 1), ("b", 2))}
    sample = the_sample(tmp_path, frames, (40, 170, 500), 100, 42)
    # By the definition, word by word.
    ranked = ranked_by_hash(frames, 42)
    chosen = sorted((name, row) for _, name, row in ranked[:100])
    assert sample["order_no"].tolist() == [frames[name]["order_no"].iloc[row] for name, row in chosen]
    assert len(sampled(str(tmp_path / "0"), 5000, 42, threads(1), quiet).frame) == 1000
    assert not sampled(str(tmp_path / "0"), 100, 43, threads(1), quiet).frame.equals(sample)


def test_levels_that_a_sample_has_too_seldom_are_added_however_files_are_split(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = {}
    for name in ("a", "b"):
        # 4 common carriers, 3 with six records in both files, 2 with two, and as many codes as records.
        carriers = random.choice(["A", "B", "C", "D"], 1000).astype(object)
        carriers[:9] = ["R", "S", "T"] * 3
        carriers[9] = f"slip {name}"
        carriers[10:11] = ["again"]
        carriers[11] = None
        frames[name] = pd.DataFrame(
            {
                "carrier": random.permutation(carriers),
                "code": [f"{name}-{row}" for row in range(1000)],
                "row": np.arange(1000),
                "mode": pd.Categorical(random.choice(["x", "y"], 1000)),
            }
        )
    sample = the_sample(tmp_path, frames, (90, 1000), 500, 3)
    # By the definition, word by word: the smallest hashes of all, and all six of each level that is there five times.
    ranked = ranked_by_hash(frames, 3)
    chosen = set(ranked[:500])
    both = pd.concat(frames.values())["carrier"].value_counts()
    assert both["R"] == 6
    for level in both[both >= 5].index:
        having = [place for place in ranked if frames[place[1]]["carrier"].iloc[place[2]] == level]
        chosen |= set(having[:30])
    expected = [f"{name}-{row}" for name, row in sorted((name, row) for _, name, row in chosen)]
    assert sample["code"].tolist() == expected
    assert len(expected) > 500
    assert (sample["carrier"].value_counts()[["R", "S", "T"]] == 6).all()


def test_more_than_a_tenth_is_not_added_and_what_has_many_levels_is_left_alone() -> None:
    few, many = {f"{level}": 9 for level in range(8)}, {f"{level}": 9 for level in range(11)}
    taken: Counter[str] = Counter()
    counts = LevelCounts(10, {name: (Counter(few), taken) for name in ("few", "some", "all")})
    # Of 400 records 40 may come: two columns of eight levels, two records each.
    assert wanted(counts, 400) == (["all", "few"], 2)
    assert counts.lacking(150) is None
    counts.merge(LevelCounts(10, {"few": (Counter(many), taken), "all": None}))
    assert counts.columns["few"] is None
    assert counts.columns["all"] is None
    # Of one column, five records each; where there is room, all of them.
    assert wanted(counts, 400) == (["some"], 5)
    assert wanted(counts, 9000) == (["some"], 30)
    enough = LevelCounts(10, {"a": (Counter(a=9, b=4, c=5, d=70), Counter(a=2, c=1, d=40))})
    assert enough.lacking(20) == Wanted({"a": frozenset("c")}, 2)
    # Three would be one more of a and two of c; there is room for two.
    assert enough.lacking(30) == Wanted({"a": frozenset("ac")}, 3)
    # All have two, so that what room there is makes their medians better.
    assert LevelCounts(10, {"a": (Counter(a=90), Counter(a=8))}).lacking(40) == Wanted({"a": frozenset("a")}, 12)


def wanted(counts: LevelCounts, count: int) -> tuple[list[str], int]:
    found = counts.lacking(count)
    assert found is not None
    return [*found.levels], found.records


def test_rows_are_chosen_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = [Partition(file, group, group * 70, 70, "", "") for file in "ab" for group in range(3)]
    whole = choose(ones, 25, 1)
    monkeypatch.setattr("anomaly_detection.cluster.choosing._BLOCK", 9)
    for one, other in zip(whole, choose(ones, 25, 1), strict=True):
        assert one.partition is other.partition
        np.testing.assert_array_equal(one.rows, other.rows)


def test_train_takes_a_sample_of_files(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from anomaly_detection.cli import _parser
    from anomaly_detection.cli.train import _records

    files, parser = str(work / "data" / "*.parquet"), _parser()
    frame, _ = _records(parser.parse_args(["train", "--data", files, "--sample", "40", "--seed", "3"]))
    pd.testing.assert_frame_equal(frame, sampled(str(work / "data"), 40, 3, threads(1), quiet).frame)
    assert "A sample of 40 of 350 records, by --seed 3." in capsys.readouterr().err
    assert len(_records(parser.parse_args(["train", "--data", files]))[0]) == 350
    for words, message in (
        (["--data", str(work / "model.safetensors"), "--sample", "9"], "holds no Parquet files"),
        (["--sample", "9"], "--sample is for columns of your own records"),
        (["--data", files, "--sample", "9", "--skip-rows", "1"], "are for one file"),
    ):
        assert main(["train", "--output", str(tmp_path), *words]) == 2
        assert message in capsys.readouterr().err


def test_a_sample_is_whole_or_refused(work: Path, tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / name).write_bytes((work / "data" / name).read_bytes())
    spoil(tmp_path / "a.parquet", 2)
    with pytest.raises(DataError, match=r"a\.parquet, row group 2 cannot be read"):
        sampled(str(tmp_path), 300, 0, threads(1), quiet)
    write(records(9, 0).assign(lead_time="x"), tmp_path / "a.parquet", 9)
    with pytest.raises(DataError, match="columns of different types"):
        sampled(str(tmp_path), 300, 0, threads(1), quiet)
    (tmp_path / "a.parquet").write_text("none")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        sampled(str(tmp_path), 300, 0, threads(1), quiet)
    (tmp_path / "b.parquet").unlink()
    write(records(9, 0).iloc[:0], tmp_path / "a.parquet", 9)
    with pytest.raises(DataError, match="have no rows"):
        sampled(str(tmp_path), 300, 0, threads(1), quiet)


def test_patterns(tmp_path: Path) -> None:
    for name in ("a/1.parquet", "a/b/2.pq", "a/b/c/3.parquet", "a/_d/4.parquet", "a/5.csv", "a/[6].parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(pd.DataFrame({"x": [1, 2, 3]}), tmp_path / name, 2)

    def named(pattern: str) -> list[str]:
        return [entry.name for entry in matching(str(tmp_path / pattern))[1]]

    assert named("a") == ["1.parquet", "[6].parquet", "b/2.pq", "b/c/3.parquet"]
    assert named("a/*.parquet") == ["1.parquet", "[6].parquet"]
    assert named("a/*/*.pq") == ["b/2.pq"]
    assert named("a/**/?.parquet") == ["1.parquet", "_d/4.parquet", "b/c/3.parquet"]
    assert named("a/b/2.pq") == ["2.pq"]
    assert named("a/[6].parquet") == ["[6].parquet"]
    assert named("a/[16].parquet") == ["1.parquet"]
    store, entries = matching(str(tmp_path / "a" / "1.parquet"))
    assert [(one.first, one.rows) for one in look_at(store, entries)[0][0].partitions] == [(0, 2), (2, 1)]
    first, other = look_at(*matching(str(tmp_path / "a" / "*.parquet")))[0]
    assert first.types is other.types
