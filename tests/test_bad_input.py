"""Every bad input: exit code 2, one line that says what to do, no traceback, and what was saved before is intact."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main
from anomaly_detection.reports import report
from anomaly_detection.synthetic import generate
from anomaly_detection.training import train as training

pytestmark = pytest.mark.usefixtures("few_folds")

ROOT = Path(__file__).parent.parent
DATA = generate("classic", 300, seed=6)
FRAME = DATA.frame.head(120)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what an earlier run saved."""
    folder = tmp_path_factory.mktemp("earlier")
    api = AnomalyDetectionAPI().fit(DATA.frame)
    api.save_model(folder / "anomaly_detection_model.joblib", folder / "data_preprocessor.joblib")
    (folder / "report.json").write_text('{"earlier": true}')
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, and give the one line that says what is wrong."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as left:
        code = left.code
    shown = capsys.readouterr()
    assert code == 2
    assert shown.out == ""
    *notes, line = shown.err.splitlines()
    assert line.startswith("anomaly-detection")
    assert ": error: " in line
    # Only that the training began may stand before it, and how the columns are read.
    assert not notes or notes[0].startswith("Training on")
    return line


def refused_without_a_trace(
    arguments: list[str], expected: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`refused` with all the expected words, and nothing left in the folder."""
    line = refused(arguments, capsys)
    for words in expected:
        assert words in line
    assert list(folder.iterdir()) == []


def csv(frame: pd.DataFrame) -> Callable[[Path], None]:
    return lambda path: frame.to_csv(path, index=False)


def raw(content: bytes) -> Callable[[Path], None]:
    return lambda path: Path(path).write_bytes(content) and None


NUMBERS = FRAME[["lead_time", "order_quantity"]]
LABELS = pd.Series(np.where(np.arange(120) % 10 == 0, -1, 1))
ONE_INFINITE = NUMBERS.assign(order_quantity=[np.inf, *NUMBERS["order_quantity"][1:]])


@pytest.mark.parametrize(
    ("write", "options", "expected"),
    [
        pytest.param(csv(FRAME), ["--label", "is_late"], ["--label", "'is_late'", "the columns are"], id="label"),
        pytest.param(csv(FRAME), ["--timestamp", "timestmp"], ["did you mean 'timestamp'"], id="timestamp"),
        pytest.param(csv(FRAME), ["--id", "supplier", "Order_Qty"], ["--id", "'Order_Qty'"], id="identifier"),
        pytest.param(csv(FRAME), ["--label", "month", "--id", "month"], ["both name", "'month'"], id="named twice"),
        pytest.param(raw(b""), [], ["empty"], id="empty file"),
        pytest.param(raw(b"a,b,c\n"), [], ["no records"], id="header alone"),
        pytest.param(csv(FRAME.head(1)), [], ["one row", "at least"], id="one row"),
        pytest.param(csv(FRAME.head(5)), [], ["5", "at least"], id="too few rows"),
        pytest.param(csv(FRAME[["supplier", "shipping_method"]]), [], ["numeric column"], id="no numeric column"),
        pytest.param(csv(NUMBERS.assign(lead_time=1, order_quantity=2)), [], ["constant"], id="all constant"),
        pytest.param(csv(ONE_INFINITE), [], ["'order_quantity'", "infinite", "row 1"], id="an infinite value"),
        pytest.param(csv(NUMBERS.assign(y=0)), ["--label", "y"], ["both classes"], id="labels of one class"),
        pytest.param(csv(NUMBERS.assign(y=NUMBERS.index % 3)), ["--label", "y"], ["labels", "expected"], id="three"),
        pytest.param(csv(NUMBERS.assign(y=["?"] * 120)), ["--label", "y"], ["labels", "expected"], id="odd labels"),
        pytest.param(csv(NUMBERS.assign(y=[None, *LABELS[1:]])), ["--label", "y"], ["1 of 120", "missing"], id="gap"),
        pytest.param(raw(b"\x00\x01\x02" * 50), [], ["binary"], id="binary data"),
        pytest.param(raw(b"a,a\n1,2\n3,4\n"), [], ["'a'", "name of its own"], id="a column twice"),
        pytest.param(csv(FRAME), ["--samples", "10"], ["--samples", "leave it out"], id="samples of own data"),
        pytest.param(csv(FRAME), ["--profile", "realistic"], ["--profile", "leave it out"], id="profile of own data"),
    ],
)
def test_training_data_that_cannot_be_used(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], None],
    options: list[str],
    expected: list[str],
) -> None:
    before = contents(models)
    write(tmp_path / "data.csv")
    line = refused(["train", "--data", str(tmp_path / "data.csv"), *options, "--output", str(models)], capsys)
    for words in expected:
        assert words in line
    assert contents(models) == before
    # A folder that was made for the run goes with it.
    refused(["train", "--data", str(tmp_path / "data.csv"), *options, "--output", str(tmp_path / "new")], capsys)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "nowhere.csv"], ["nowhere.csv", "does not exist"]),
        (["--data", "."], ["folder"]),
        (["--data", "shipments.doc"], ["shipments.doc", ".parquet", ".xlsx"]),
        (["--label", "late"], ["--label", "--data"]),
        (["--timestamp", "date"], ["--timestamp", "--data"]),
        (["--samples", "0"], ["--samples", "whole number from 1 up"]),
        (["--samples", "many"], ["'many'"]),
        (["--samples", "3"], ["no anomaly", "more --samples"]),
        (["--samples", "10", "--anomaly-ratio", "0.3"], ["at least"]),
        (["--anomaly-ratio", "0.9"], ["0.9", "at most 0.5"]),
        (["--anomaly-ratio", "nan"], ["share above 0"]),
        (["--profile", "clasic"], ["'clasic'", "realistic"]),
        (["--backend", "cuda"], ["'cuda'", "numba"]),
        (["--batch-size", "-1"], ["--batch-size"]),
        (["--seed", "-1"], ["--seed"]),
        (["--seed", "4294967296"], ["too large"]),
        (["--time-budget", "-3"], ["seconds"]),
        (["--time-budget", "soon"], ["'soon'"]),
        (["--lable", "x"], ["--lable", "did you mean --label?"]),
        (["stray"], ["stray"]),
    ],
)
def test_training_arguments_that_cannot_be_used(
    arguments: list[str],
    expected: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused_without_a_trace(["train", *arguments], expected, tmp_path, capsys)


def test_a_backend_that_is_missing_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx_iforest import backends

    monkeypatch.setattr(backends, "_load", lambda name: f"{name} is not installed here; pip install {name}")
    line = refused(["train", "--samples", "50", "--backend", "mlx", "--output", str(tmp_path / "new")], capsys)
    assert "'mlx'" in line
    assert "pip install mlx" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["a file", "below a file", "/proc/new"])
def test_an_unwritable_folder_is_found_before_the_training(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the training began")

    monkeypatch.setattr(training, "train", never)
    file = tmp_path / "file"
    file.write_text("mine")
    folder = {"a file": str(file), "below a file": str(file / "models")}.get(place, place)
    line = refused(["train", "--output", folder], capsys)
    assert folder in line
    assert "another" in line
    assert file.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "permission denied" in refused(["train", "--output", str(tmp_path)], capsys)
    finally:
        tmp_path.chmod(0o700)


def test_a_failure_while_saving_leaves_the_old_set(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report comes last: by then the new models are written, and none of them may have taken its place."""
    before = contents(models)

    def full(*_: object, **__: object) -> None:
        raise training.DataError("No space left.")

    monkeypatch.setattr(report, "write_report", full)
    DATA.frame[[*NUMBERS, "timestamp", "supplier"]].to_csv(tmp_path / "data.csv", index=False)
    arguments = ["train", "--data", str(tmp_path / "data.csv"), "--output", str(models)]
    assert "No space left." in refused(arguments, capsys)
    assert contents(models) == before

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "write_report", stop)
    assert main(arguments) == 130
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith("anomaly-detection: interrupted")
    assert contents(models) == before


def test_a_mistake_of_ours_is_not_hidden(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what a user can mend is one line; a fault of the program keeps its traceback, and the old set too."""
    before = contents(models)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(training, "train", broken)
    with pytest.raises(ZeroDivisionError):
        main(["train", "--samples", "50", "--output", str(models)])
    assert contents(models) == before
    capsys.readouterr()


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        pytest.param(None, ["no model file"], id="missing"),
        pytest.param(raw(b""), ["empty"], id="empty"),
        pytest.param(csv(FRAME), ["not a model file"], id="a table"),
        pytest.param(lambda path: joblib.dump([1, 2], path), ["is a pickle alone"], id="another pickle"),
        pytest.param(lambda path: joblib.dump({"model": 1}, path), ["is a pickle alone"], id="another dict"),
    ],
)
def test_a_file_that_is_no_model(
    write: Callable[[Path], None] | None, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FRAME.to_csv(tmp_path / "data.csv", index=False)
    if write is not None:
        write(tmp_path / "model.joblib")
    line = refused(["score", str(tmp_path / "model.joblib"), str(tmp_path / "data.csv")], capsys)
    for words in [str(tmp_path / "model.joblib"), *expected]:
        assert words in line


def test_a_truncated_model(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FRAME.to_csv(tmp_path / "data.csv", index=False)
    whole = (models / "anomaly_detection_model.joblib").read_bytes()
    (tmp_path / "model.joblib").write_bytes(whole[: len(whole) // 2])
    line = refused(["score", str(tmp_path / "model.joblib"), str(tmp_path / "data.csv")], capsys)
    assert "was cut off" in line


@pytest.mark.parametrize("given", ["", "data_preprocessor.joblib"])
def test_the_wrong_file_of_the_set(
    given: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FRAME.to_csv(tmp_path / "data.csv", index=False)
    line = refused(["score", str(models / given), str(tmp_path / "data.csv")], capsys)
    assert str(models / "anomaly_detection_model.joblib") in line


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame: frame.drop(columns="lead_time"), ["'lead_time'", "trained on"]),
        (lambda frame: frame.rename(columns={"lead_time": "Lead-Time"}), ["'lead_time'", "did you mean 'Lead-Time'"]),
        (lambda frame: frame.assign(lead_time="soon"), ["'lead_time'", "'soon'", "number"]),
        (lambda frame: frame.assign(timestamp="whenever"), ["'timestamp'", "date"]),
        (lambda frame: frame.assign(lead_time=np.inf), ["'lead_time'", "infinite"]),
        (lambda frame: frame.head(0), ["no records"]),
    ],
    ids=["missing column", "renamed column", "words for numbers", "words for dates", "infinite", "no rows"],
)
def test_records_that_do_not_fit_the_model(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    expected: list[str],
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(FRAME).to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "scored.csv").write_text("of an earlier run")
    model = str(models / "anomaly_detection_model.joblib")
    line = refused(["score", model, str(tmp_path / "data.csv"), "--output", str(tmp_path / "scored.csv")], capsys)
    for words in expected:
        assert words in line
    assert (tmp_path / "scored.csv").read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "scored.csv"]


def test_new_and_reordered_columns_are_fine(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FRAME[FRAME.columns[::-1]].assign(new="x", other=np.inf).to_csv(tmp_path / "a.csv", index=False)
    FRAME.to_csv(tmp_path / "b.csv", index=False)
    scores = []
    for name in ("a", "b"):
        target = str(tmp_path / f"{name}.parquet")
        model = str(models / "anomaly_detection_model.joblib")
        assert main(["score", model, str(tmp_path / f"{name}.csv"), "--output", target]) == 0
        scores.append(pd.read_parquet(target)["anomaly_score"].to_numpy())
    np.testing.assert_array_equal(*scores)
    capsys.readouterr()


def test_one_record_can_be_scored(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FRAME.head(1).to_csv(tmp_path / "one.csv", index=False)
    assert main(["score", str(models / "anomaly_detection_model.joblib"), str(tmp_path / "one.csv"), "--top", "1"]) == 0
    assert "in 1 record" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--output", "scored.json"], [".json", ".parquet"]),
        (["--output", "data.csv/scored.csv"], ["data.csv"]),
        (["--output", "folder.csv"], ["folder.csv", "folder"]),
        (["--top", "0"], ["--top"]),
        (["--topp", "5"], ["did you mean --top?"]),
    ],
)
def test_scoring_arguments_that_cannot_be_used(
    options: list[str],
    expected: list[str],
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("data.csv", index=False)
    Path("folder.csv").mkdir()
    line = refused(["score", str(models / "anomaly_detection_model.joblib"), "data.csv", *options], capsys)
    for words in expected:
        assert words in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "folder.csv"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["OUTPUT"]),
        (["records.json"], [".json"]),
        (["--difficulty", "hard", "records.csv"], ["realistic"]),
        (["--samples", "1e6", "records.csv"], ["'1e6'"]),
        (["--anomaly-ratio", "0", "records.csv"], ["share above 0"]),
    ],
)
def test_generating_arguments_that_cannot_be_used(
    arguments: list[str],
    expected: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused_without_a_trace(["generate", *arguments], expected, tmp_path, capsys)


@pytest.mark.parametrize("arguments", [[], ["scor", "a", "b"]])
def test_a_command_that_is_missing_or_unknown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(arguments, capsys)
    for command in ("train", "score", "generate"):
        assert command in line


@pytest.mark.parametrize("command", [["train_model_mlx.py"], ["-m", "anomaly_detection", "train"]])
def test_in_a_process_of_its_own(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *command, "--data", str(tmp_path / "nowhere.csv"), "--output", str(tmp_path / "new")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "nowhere.csv does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [2, 3, 5, 7, 9, 12])
def test_a_handful_of_records_can_be_learned(rows: int) -> None:
    frame = pd.DataFrame({"price": np.arange(rows) ** 2 + 1.5, "count": np.arange(rows)})
    api = AnomalyDetectionAPI().fit(frame)
    assert len(api.predict(frame)[0]) == rows
