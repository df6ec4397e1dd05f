"""How a command ends: by signals, with streams that are full or gone, on inputs that never end; and what it leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main, train_main
from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.table_writer import write_table
from anomaly_detection.model_files import conversion
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.reports import report
from anomaly_detection.synthetic import generate
from mlx_iforest import files

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("few_folds")

FRAME = generate("classic", 300, seed=6).frame
MODEL = "model.safetensors"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and records."""
    folder = tmp_path_factory.mktemp("work")
    AnomalyDetectionAPI().fit(FRAME).save_model(folder / MODEL)
    write_table(FRAME.head(50), folder / "data.csv")
    return folder


@pytest.fixture
def here(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `work`, as the current folder."""
    folder = tmp_path / "here"
    shutil.copytree(work, folder)
    monkeypatch.chdir(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def signalling(number: int, function: Callable[..., object]) -> Callable[..., object]:
    """The function, but the process is sent a signal when it has done its work."""

    def called(*arguments: object, **options: object) -> object:
        done = function(*arguments, **options)
        os.kill(os.getpid(), number)
        return done

    return called


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals end the process, whatever started it made of them; and do so again when a command has ended."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == [signal.default_int_handler] * 3
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("name", "arguments", "place", "function"),
    [
        ("SIGINT", ["generate", "--samples", "50", "data.csv"], pd.DataFrame, "to_csv"),
        ("SIGTERM", ["generate", "--samples", "50", "new/folder/data.csv"], pd.DataFrame, "to_csv"),
        ("SIGHUP", ["score", MODEL, "data.csv", "--output", "out.csv"], pd.DataFrame, "to_csv"),
        ("SIGTERM", ["convert", MODEL, "out.joblib"], conversion, "_alike"),
        ("SIGINT", ["inspect", MODEL], files, "settle_left"),
    ],
)
def test_a_signal_in_mid_work_leaves_everything_as_it_was(
    name: str,
    arguments: list[str],
    place: object,
    function: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = getattr(signal, name)
    before = contents(here)
    if function == "settle_left":
        monkeypatch.setattr(
            "anomaly_detection.model_files.model_file.settle_left", signalling(number, files.settle_left)
        )
    else:
        monkeypatch.setattr(place, function, signalling(number, getattr(place, function)))
    assert main(arguments) == 128 + number
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith(f"anomaly-detection: interrupted by {name}")
    assert contents(here) == before


@pytest.mark.usefixtures("handlers")
def test_an_error_while_clearing_up_does_not_hide_the_signal(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(pd.DataFrame, "to_csv", gone)
    before = contents(here)
    assert main(["generate", "--samples", "50", "data.csv"]) == 129
    assert contents(here) == before
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("handlers")
def test_a_training_leaves_the_old_set_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    arguments = ["--samples", "200", "--time-budget", "0", "--output", str(folder)]
    with monkeypatch.context() as patched:
        patched.setattr(report, "write_report", signalling(signal.SIGTERM, report.write_report))
        assert train_main(arguments) == 143
    assert list(tmp_path.iterdir()) == []
    folder.mkdir()
    for name in ("recall_by_type.png", "report.json", "optimized_anomaly_detection_model.joblib", "my notes"):
        (folder / name).write_text("old")
    moved = []
    replace = os.replace

    def move(source: Path, target: Path) -> None:
        replace(source, target)
        if target.parent != folder:
            return
        moved.append(target.name)
        if target.name == "anomaly_detection_model.joblib":
            assert not (folder / "report.json").exists()
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(os, "replace", move)
    assert train_main(["--seed", "1", *arguments]) == 143
    # It came when all was complete, so all of it is in place, the report last.
    assert moved[-2:] == ["report.html", "report.json"]
    old = {path.name for path in folder.iterdir() if path.read_bytes() == b"old"}
    assert old == {"my notes"}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert capsys.readouterr().err.splitlines()[-1].startswith("train_model_mlx.py: interrupted by SIGTERM")


def test_loading_finishes_what_a_killed_training_began(here: Path) -> None:
    place = here / f".mlx-iforest-{files._machine()}-{'0' * 16}"
    (place / "complete").mkdir(parents=True)
    (here / MODEL).rename(place / "complete" / MODEL)
    (here / MODEL).write_text("of the run before")
    (here / "report.json").write_text("of the run before")
    (place / "last.json").write_text('{"written": [], "gone": ["report.json"]}')
    (place / "lock").touch()
    assert load_detector(here / MODEL).is_fitted
    assert sorted(path.name for path in here.iterdir()) == ["data.csv", MODEL]


STUCK = """
import multiprocessing, os, signal, sys, time
from anomaly_detection import cli
from anomaly_detection.cli import signals
from mlx_iforest import files

def stuck(*_):
    block = files.replacing({path!r})
    block.__enter__().write_text("half of i")
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    print(child.pid, flush=True)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        pass
    time.sleep(600)

signals.GRACE = 0.2
cli._command = stuck
sys.exit(cli.main(["generate", "x.csv"]))
"""


def test_a_signal_that_gets_lost_ends_the_process_all_the_same(tmp_path: Path) -> None:
    code = STUCK.format(path=str(tmp_path / "x.csv"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 143, done.stderr
    assert list(tmp_path.iterdir()) == []
    child = Path("/proc", done.stdout.strip(), "stat")
    # It was killed a moment ago, and whoever takes in orphans may not have asked for it yet.
    until = time.monotonic() + 30
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < until:
        time.sleep(0.01)
    assert not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z"


CALLED_BY_C = """
import ctypes, os, signal, sys, time
from anomaly_detection import cli

def called_by_c(*_):
    ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM))()
    time.sleep(600)

cli._command = called_by_c
cli.signals.GRACE = 300
sys.exit(cli.main(["generate", "x.csv"]))
"""


def test_a_signal_while_a_compiler_calls_back_ends_the_process_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLED_BY_C], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 143, done.stderr
    assert done.stderr.count("\n") == 1


def shell(command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    line = command.replace("anomaly-detection", f"exec {sys.executable} -m anomaly_detection")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("anomaly-detection train --help >/dev/full", 2, "Cannot write the result to standard output: No space left"),
        ("anomaly-detection train --help >&-", 2, "Cannot write the result to standard output: Bad file descriptor"),
        ("anomaly-detection train --help <&- >&- 2>&-", 2, None),
        ("anomaly-detection train --help >/dev/full 2>/dev/full", 2, None),
        ("anomaly-detection trian 2>/dev/full", 2, None),
        ("anomaly-detection trian 2>&-", 2, None),
        ("anomaly-detection --help <&-", 0, None),
    ],
)
def test_streams_that_are_full_or_closed(command: str, code: int, said: str | None) -> None:
    if "/dev/full" in command and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = shell(command)
    assert done.returncode == code
    assert done.stderr.count("\n") == (said is not None)
    assert (said or "") in done.stderr


@pytest.mark.parametrize("arguments", ["train --help", "trian"])
def test_readers_that_leave(arguments: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "anomaly_detection", *arguments.split()]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == 141


def test_closed_streams_do_not_become_the_output(tmp_path: Path) -> None:
    assert main(["generate", "--samples", "50", str(tmp_path / "a.csv")]) == 0
    assert shell("anomaly-detection generate --samples 50 b.csv <&- >&- 2>&-", tmp_path).returncode == 0
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_output_where_a_result_was_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["score", MODEL, "data.csv"], ["inspect", MODEL], ["explain", MODEL, "data.csv", "--row", "1"]):
        with open("/dev/full", "w") as full, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", full)
            assert main(command) == 2
        assert "Cannot write the result to standard output: No space left" in capsys.readouterr().err


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, and give the one line that says what is wrong."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as left:
        code = left.code  # type: ignore[assignment]
    shown = capsys.readouterr()
    assert code == 2
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert ": error: " in shown.err
    return shown.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pipe.csv", "pipe"),
        ("pipe.parquet", "pipe"),
        ("zero.csv", "device"),
        (".csv", "folder"),
        ("folder.csv", "folder"),
        ("x" * 300 + ".csv", "file name too long"),
        ("data.csv/y.csv", "not a directory"),
        ("loop.csv", "symbolic links"),
        ("loop.csv/y.csv", "symbolic links"),
    ],
)
def test_inputs_that_are_no_files(name: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pipe in ("pipe.csv", "pipe.parquet"):
        os.mkfifo(pipe)
    Path("zero.csv").symlink_to("/dev/zero")
    Path("loop.csv").symlink_to("loop.csv")
    Path(".csv").mkdir()
    Path("folder.csv").mkdir()
    before = sorted(here.iterdir())
    for arguments in (["score", MODEL, name], ["train", "--data", name], ["score", name, "data.csv"]):
        assert said in refused(arguments, capsys)
    if "folder" not in said:
        assert (
            said.replace("pipe", "regular") in refused(["score", MODEL, "data.csv", "--output", name], capsys)
            or said == "device"
        )
    refused(["inspect", name], capsys)
    refused(["convert", name, "out.joblib"], capsys)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("name", ["pipe.csv", "zero.csv", "folder.csv", "x" * 300 + ".csv", "data.csv/y.csv"])
def test_outputs_that_are_no_files(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe.csv")
    Path("zero.csv").symlink_to("/dev/zero")
    Path("folder.csv").mkdir()
    before = sorted(here.iterdir())
    assert "Cannot write" in refused(["score", MODEL, "data.csv", "--output", name], capsys)
    assert "Cannot write" in refused(["generate", name], capsys)
    assert sorted(here.iterdir()) == before


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no users to become")
def test_a_folder_that_may_not_be_read(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        closed = Path(name) / "closed"
        shutil.copytree(work, closed)
        Path(name).chmod(0o755)
        closed.chmod(0)
        superuser = os.geteuid() == 0
        try:
            if superuser:
                os.seteuid(65534)
            data, model, new = (str(closed / name) for name in ("data.csv", MODEL, "new.csv"))
            for arguments in (
                ["train", "--data", data],
                ["inspect", model],
                ["train", "--output", new],
                ["generate", new],
                ["convert", model, str(closed / "new.joblib")],
            ):
                assert "permission denied" in refused(arguments, capsys).lower()
        finally:
            if superuser:
                os.seteuid(0)
            closed.chmod(0o700)


def test_scoring_onto_what_is_read_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(MODEL, "model.csv")
    Path("sub").mkdir()
    Path("link.csv").symlink_to("data.csv")
    os.link("data.csv", "hard.csv")
    before = contents(here)
    for name in ("data.csv", "./data.csv", "sub/../data.csv", str(here / "data.csv"), "link.csv", "hard.csv"):
        for more in ([], ["--top", "5"]):
            line = refused(["score", MODEL, "data.csv", "--output", name, *more], capsys)
            assert "is the file with the records" in line
    assert "is the model's file" in refused(["score", "model.csv", "data.csv", "--output", "model.csv"], capsys)
    assert contents(here) == before


def test_the_last_suffix_decides(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["1", "2"], "b": ["x", "y"]})
    for name, delimiter in (("a.tsv.csv", ","), ("a.csv.tsv", "\t"), ("a.TSV", "\t"), ("my.tsv.files.txt", ",")):
        write_table(frame, tmp_path / name)
        assert (tmp_path / name).read_text().splitlines()[0] == f"a{delimiter}b"
        pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)
    for name, delimiter in (("a.tsv.csv.gz", ","), ("a.csv.tsv.gz", "\t")):
        write_table(frame, tmp_path / name)
        assert list(pd.read_csv(tmp_path / name, sep=delimiter).columns) == ["a", "b"]
        pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "invalid choice: 'trian' (did you mean train?)"),
        (["train", "file.csv"], "(did you mean --data file.csv?); see anomaly-detection train --help"),
        (["score", "m", "d.csv", "out.csv"], "(did you mean --output out.csv?)"),
        (["explain", "m", "d.csv", "17", "--row", "1"], "(did you mean --row 17?)"),
        (["train", "--backend", "nunba"], "(did you mean numba?)"),
        (["train", "--dtaa=x.csv"], "(did you mean --data?)"),
        (["inspect", "m", "more"], "unrecognized arguments: more; see"),
    ],
)
def test_what_was_meant(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(arguments, capsys)


def test_what_was_meant_for_the_training_script(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_main(["file.csv"])
    assert "train_model_mlx.py: error: " in (said := capsys.readouterr().err)
    assert "(did you mean --data file.csv?)" in said
