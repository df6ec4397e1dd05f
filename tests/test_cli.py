"""The command line: what it prints, what it writes, what it returns."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly_detection import cli
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cli import main, train_main
from anomaly_detection.cli import train as cli_train
from anomaly_detection.data.chunks import read_table
from anomaly_detection.model_files.persistence import FILES
from anomaly_detection.reports import console
from anomaly_detection.synthetic import generate

pytestmark = pytest.mark.usefixtures("few_folds")

ROOT = Path(__file__).parent.parent
MODELS = [name for names in FILES.values() for name in names]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records, and the set that a training on them left."""
    folder = tmp_path_factory.mktemp("work")
    assert main(["generate", "--samples", "700", "--labels", str(folder / "labelled.csv")]) == 0
    frame = read_table(folder / "labelled.csv")
    frame.insert(0, "order_no", [f"PO-{i:05}" for i in range(700)])
    frame.to_csv(folder / "labelled.csv", index=False)
    frame.drop(columns="label").to_csv(folder / "records.csv", index=False)
    arguments = ["--time-budget", "0", "--output", str(folder / "models")]
    assert main(["train", "--data", str(folder / "records.csv"), "--id", "order_no", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def labelled(work: Path) -> Path:
    """What a training with labels and times left."""
    folder = work / "labelled models"
    arguments = ["--data", str(work / "labelled.csv"), "--label", "label", "--timestamp", "timestamp"]
    arguments += ["--id", "order_no", "--time-budget", "0", "--seed", "3"]
    assert train_main([*arguments, "--output", str(folder)]) == 0
    return folder


def model(work: Path) -> str:
    return str(work / "models" / "optimized_anomaly_detection_model.joblib")


def test_a_run_leaves_the_whole_set(work: Path) -> None:
    left = {path.name for path in (work / "models").iterdir()}
    assert {*MODELS, "report.json", "report.html", "score_histograms.png"} <= left
    assert len((work / "models" / "score_histograms.png").read_bytes()) > 5000, "a picture of more than one pixel"
    assert not [name for name in left if name.startswith(".")]
    report = json.loads((work / "models" / "report.json").read_text("utf-8"))
    assert report["data"]["rows"] == 700
    assert report["data"]["source"] == "records.csv"
    assert report["data"]["labelled"] is False
    assert len(report["data"]["fingerprint"]["sha256"]) == 64
    assert {name for files in report["files"].values() for name in files.values()} == set(MODELS)
    assert {"name", "reason"} <= report["backend"].keys()


def test_every_saved_model_predicts(work: Path) -> None:
    records = read_table(work / "records.csv")
    for files in FILES.values():
        loaded = [
            AnomalyDetectionAPI.load_model(work / "models" / files.joblib, work / "models" / files.preprocessor),
            AnomalyDetectionAPI.load_model(work / "models" / files.native),
        ]
        scores = [api.predict(records)[1] for api in loaded]
        assert scores[0].shape == (700,)
        np.testing.assert_array_equal(scores[0], scores[1])


def test_training_says_what_it_understood_and_what_is_next(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = work / "few.csv"
    read_table(work / "labelled.csv").head(99).to_csv(data, index=False)
    assert main(["train", "--data", str(data), "--time-budget", "0", "--output", str(work / "b")]) == 0
    shown = capsys.readouterr()
    assert "scikit-learn" in shown.out
    command = shown.out.strip().splitlines()[-1]
    assert f"score {work / 'b' / FILES['optimized'].native} {data} --top 20" in command
    lines = shown.err.splitlines()
    began = next(i for i, line in enumerate(lines) if line.startswith("Training on 99 records"))
    assert lines[began + 1].split() == ["column", "kind", "examples", "why"]
    read = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[began + 2 : began + 17]}
    assert read["order_no"].startswith("id, not judged PO-")
    assert read["timestamp"].startswith("date 2023-")
    assert read["supplier"].startswith("category Supplier")
    assert "add --label label" in shown.err
    assert "\x1b" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("installed", "on_path", "here", "expected"),
    [
        (True, False, "clone", ".venv/bin/anomaly-detection"),
        (True, True, "clone", "anomaly-detection"),
        (True, False, "clone/.venv/bin", "'{script}'"),
        (True, False, "elsewhere", "'{script}'"),
        (False, False, "elsewhere", f"{shlex.quote(sys.executable)} -m anomaly_detection"),
    ],
)
def test_the_command_that_is_next_runs_where_it_is_shown(
    installed: bool, on_path: bool, here: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone with an environment in it, whose folder may be on the path, and no other Python than the test's."""
    root = tmp_path / "a folder"
    script = root / "clone" / ".venv" / "bin" / "anomaly-detection"
    script.parent.mkdir(parents=True)
    (root / "elsewhere").mkdir()
    if installed:
        script.write_text(f"#!{sys.executable}\nfrom anomaly_detection.cli import main\nraise SystemExit(main())\n")
        script.chmod(0o755)
    monkeypatch.setattr("sysconfig.get_path", lambda name: {"scripts": str(script.parent)}[name])
    monkeypatch.setenv("PATH", str(script.parent if on_path else root))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(root / here)
    command = cli_train._next(Path("models"), None).partition("Next, judge records: ")[2].partition(" score ")[0]
    assert command == expected.format(script=script)
    ran = subprocess.run(["/bin/sh", "-c", f"{command} score --help"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "usage: anomaly-detection score" in ran.stdout


def test_labels_and_times_are_used(labelled: Path) -> None:
    report = json.loads((labelled / "report.json").read_text("utf-8"))
    assert report["data"]["labelled"] is True
    assert "label" not in [column["name"] for column in report["data"]["schema"]]
    assert (report["split"]["method"], report["split"]["time_column"], report["seed"]) == ("time", "timestamp", 3)
    assert report["base"]["roc_auc"] > 0.9
    assert not (labelled / "recall_by_type.png").exists()


@pytest.mark.slow
def test_synthetic_records_are_the_default(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = work / "synthetic"
    (output).mkdir()
    (output / "curves.png").write_bytes(b"of an older run")
    (output / "mine.png").write_bytes(b"not the program's")
    arguments = ["--samples", "300", "--anomaly-ratio", "0.1", "--backend", "sklearn", "--batch-size", "100"]
    assert train_main([*arguments, "--time-budget", "0", "--output", str(output)]) == 0
    report = json.loads((output / "report.json").read_text("utf-8"))
    assert report["data"]["source"] == "classic"
    assert report["data"]["anomaly_ratio"] == 0.1
    assert report["backend"]["name"] == "sklearn"
    assert report["oracle"]["accuracy"] > 0.9
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "mine.png").read_bytes() == b"not the program's"
    # A run without labels has no curves, and leaves none of another run behind.
    read_table(work / "records.csv").head(99).to_csv(output / "few.csv", index=False)
    assert main(["train", "--data", str(output / "few.csv"), "--time-budget", "0", "--output", str(output)]) == 0
    assert not (output / "curves.png").exists()
    assert (output / "mine.png").exists()
    capsys.readouterr()


def test_check(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_main(["--check"]) == 0
    shown = capsys.readouterr().out
    for word in ("Python", "CPUs", "GB of memory", "backend mlx", "backend numba", "backend auto picks"):
        assert word in shown
    assert list(tmp_path.iterdir()) == []


def test_score_writes_the_rows_in_their_order(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "made" / "scored.csv"
    assert main(["score", model(work), str(work / "records.csv"), "--output", str(target)]) == 0
    scored, records = pd.read_csv(target, keep_default_na=False), read_table(work / "records.csv")
    assert list(scored.columns) == [
        *records.columns,
        *("anomaly_score", "severity", "p_value", "is_anomaly", "reason"),
    ]
    assert scored["order_no"].tolist() == records["order_no"].tolist()
    _, scores = AnomalyDetectionAPI(model(work)).predict(records)
    np.testing.assert_allclose(scored["anomaly_score"], scores, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(scored["is_anomaly"], scores < 0)
    api = AnomalyDetectionAPI(model(work))
    np.testing.assert_allclose(scored["p_value"], api.predict_p_values(records), rtol=1e-12)
    np.testing.assert_allclose(scored["severity"], api.severity(records), atol=1e-9)
    np.testing.assert_array_equal(scored["reason"] != "", scores < 0)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{(scores < 0).sum()} alerts in 700 records" in shown.err


def test_score_top_is_worst_first_with_reasons(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "top.parquet"
    assert main(["score", model(work), str(work / "records.csv"), "--top", "12", "--output", str(target)]) == 0
    top = pd.read_parquet(target)
    _, scores = AnomalyDetectionAPI(model(work)).predict(read_table(work / "records.csv"))
    assert top["anomaly_score"].tolist() == sorted(scores)[:12]
    assert (top["reason"] != "").all()
    capsys.readouterr()


def test_score_prints_the_worst(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = read_table(work / "records.csv")
    _, scores = AnomalyDetectionAPI(model(work)).predict(records)
    assert main(["score", model(work), str(work / "records.csv"), "--top", "3"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["row", "order_no", "timestamp", "transportation_cost", "severity", "reason"]
    assert len(rows) == 3
    for line, row in zip(rows, np.argsort(scores)[:3], strict=True):
        date, _, moment = str(records["timestamp"].iloc[row]).partition(" ")
        assert line.split()[:4] == [str(row + 1), records["order_no"].iloc[row], date, moment]
        assert line.split()[4] == str(records["transportation_cost"].iloc[row])
        assert 0 < int(line.split()[5]) <= 100
    assert main(["score", model(work), str(work / "records.csv")]) == 0
    shown = capsys.readouterr()
    alerts = int((scores < 0).sum())
    assert len(shown.out.splitlines()) == 1 + min(20, alerts)
    assert ("--output FILE writes them all" in shown.err) == (alerts > 20)


@pytest.mark.parametrize("data", ["records", "labelled"])
def test_the_report_lists_what_score_prints(
    data: str, work: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With labels or without: the same records in the same order, by the saved file."""
    folder = labelled if data == "labelled" else work / "models"
    page = (folder / "report.html").read_text("utf-8")
    listed = re.findall(r'<tr id="row-(\d+)".*?<td data-label="order_no">(.*?)</td>', page, flags=re.DOTALL)
    capsys.readouterr()
    saved = str(folder / FILES["base" if data == "labelled" else "optimized"].native)
    assert main(["score", saved, str(work / f"{data}.csv"), "--top", str(len(listed))]) == 0
    printed = [tuple(line.split()[:2]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == printed
    assert len(listed) > 10


def test_drift_is_one_line(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = read_table(work / "records.csv")
    for name in ("lead_time", "order_quantity"):
        records[name] = (records[name].astype(float) * 5).astype(str)
    records.to_csv(tmp_path / "shifted.csv", index=False)
    assert main(["score", model(work), str(tmp_path / "shifted.csv"), "--top", "1"]) == 0
    drifted, counted = capsys.readouterr().err.splitlines()
    assert "no longer look like those that the model was calibrated on" in drifted
    assert "alerts in 700 records" in counted
    assert main(["score", model(work), str(work / "records.csv"), "--top", "1"]) == 0
    assert "no longer" not in capsys.readouterr().err


def trained(output: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """The rule that the report names, and what was said on standard error."""
    assert main(["train", "--time-budget", "0", "--output", str(output), *arguments]) == 0
    report = json.loads((output / "report.json").read_text("utf-8"))
    rule = report["optimized"]["parameters"]["threshold_rule"]
    said = capsys.readouterr().err
    assert f"Threshold of the optimised model: {rule}" in said
    return rule, said


@pytest.mark.slow
def test_ways_to_set_the_threshold(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["timestamp", "lead_time", "order_quantity", "demand_forecast", "label"]
    read_table(work / "labelled.csv")[columns].to_csv(tmp_path / "labelled.csv", index=False)
    data = ["--data", str(tmp_path / "labelled.csv"), "--label", "label"]
    rule, said = trained(tmp_path / "a", capsys, *data, "--timestamp", "timestamp", "--alerts-per-day", "0.1")
    assert re.fullmatch(r"so that at most \d(\.\d+)? % of the records alert, by the validation part", rule)
    assert f"{rule} (0.1 a day)." in said
    rule, said = trained(tmp_path / "b", capsys, *data, "--false-discovery-rate", "0.2")
    assert rule.startswith("so that at most 20 % of the alerts are false")
    assert "Without --label" not in said
    arguments = ["--false-alarm-cost", "1", "--miss-cost", "20"]
    rule, _ = trained(tmp_path / "c", capsys, *data, *arguments)
    assert rule.startswith("where labelled records cost least, a false alarm 1 and a miss 20")
    # The rule is in the file, with what it needs: a batch rich in anomalies, judged as one.
    batch = read_table(tmp_path / "labelled.csv").sort_values("label").head(120)
    batch.to_csv(tmp_path / "batch.csv", index=False)
    saved = str(tmp_path / "b" / FILES["optimized"].native)
    assert main(["score", saved, str(tmp_path / "batch.csv"), "--output", str(tmp_path / "b.csv")]) == 0
    alerts = pd.read_csv(tmp_path / "b.csv").query("is_anomaly")
    assert len(alerts) > 10
    assert (alerts["label"] == 1).mean() < 0.4
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alerts-per-day", "20"], "needs each record's time; name its column with --timestamp"),
        (["--false-alarm-cost", "2"], "give --miss-cost too"),
        (["--miss-cost", "2"], "give --false-alarm-cost too"),
        (["--data", "x.csv", "--false-alarm-cost", "2", "--miss-cost", "9"], "name their column with --label"),
    ],
)
def test_thresholds_that_lack_something(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--output", str(tmp_path / "never")]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alerts-per-day", "5", "--false-discovery-rate", "0.1"], "not allowed with"),
        (["--false-discovery-rate", "1.5"], "no share above 0 and below 1"),
        (["--false-alarm-cost", "0"], "no number above 0"),
    ],
)
def test_thresholds_that_exclude_each_other_or_make_no_sense(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", *arguments])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_columns_of_the_records_are_never_replaced(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = read_table(work / "records.csv").head(60)
    own = {"reason": "call back", "Severity": "low", "scored_reason": "second call", "row": "A1"}
    records.assign(**own).to_csv(tmp_path / "records.csv", index=False)
    target = tmp_path / "scored.csv"
    for options in ([], ["--top", "5"], ["--chunk-rows", "20", "--top", "5"]):
        assert main(["score", model(work), str(tmp_path / "records.csv"), "--output", str(target), *options]) == 0
        said = capsys.readouterr().err
        assert said.count("severity as scored_severity, reason as scored_scored_reason.") == 1
        scored = pd.read_csv(target, keep_default_na=False)
        assert list(scored.columns) == [
            *records.columns,
            *own,
            *("anomaly_score", "scored_severity", "p_value", "is_anomaly", "scored_scored_reason"),
        ]
        assert [set(scored[name]) for name in own] == [{value} for value in own.values()]
        assert (scored["scored_scored_reason"] != "").tolist() == scored["is_anomaly"].tolist() or options
    assert main(["score", model(work), str(target), "--output", str(tmp_path / "twice.csv")]) == 0
    twice = pd.read_csv(tmp_path / "twice.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(twice[scored.columns], scored)
    capsys.readouterr()


def test_identifiers_named_like_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = generate("classic", 150, seed=3).frame
    frame.insert(0, "row", [f"R-{i:03}" for i in range(150)])
    AnomalyDetectionAPI().fit(frame).save_model(tmp_path / "model.joblib")
    frame.to_csv(tmp_path / "records.csv", index=False)
    assert main(["score", str(tmp_path / "model.joblib"), str(tmp_path / "records.csv"), "--top", "3"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["scored_row", "row", "timestamp"]
    for line in lines:
        number, name, *_ = line.split()
        assert name == f"R-{int(number) - 1:03}"


def test_generate_is_what_generate_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "records.parquet"
    arguments = ["--profile", "realistic", "--samples", "600", "--anomaly-ratio", "0.1", "--seed", "9"]
    assert main(["generate", *arguments, "--difficulty", "hard", "--labels", str(target)]) == 0
    data = generate("realistic", 600, anomaly_ratio=0.1, seed=9, difficulty="hard")
    written = pd.read_parquet(target)
    assert written.pop("label").tolist() == data.labels.tolist()
    pd.testing.assert_frame_equal(written, data.frame, check_dtype=False)
    assert "600 records, 60 of them anomalies" in capsys.readouterr().err
    assert main(["generate", "--samples", "50", str(tmp_path / "plain.csv")]) == 0
    assert "label" not in pd.read_csv(tmp_path / "plain.csv").columns
    capsys.readouterr()


@pytest.mark.parametrize("command", [["train"], ["score"], ["generate"], []])
def test_help_reads_well(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {' '.join(['anomaly-detection', *command])}")
    assert "{prog}" not in shown
    assert ("examples:" in shown) == bool(command)


def test_train_model_mlx_help_names_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_main(["--help"])
    shown = capsys.readouterr().out
    assert "usage: train_model_mlx.py" in shown
    assert "anomaly-detection" not in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("anomaly-detection 0.")


@pytest.mark.slow
def test_an_interrupt_in_mid_training(work: Path) -> None:
    """A real Ctrl-C, while a search of minutes runs: exit 130, one line more, and the old set untouched."""
    before = {path.name: path.read_bytes() for path in (work / "models").iterdir()}
    output = ["--samples", "3000", "--time-budget", "300", "--output", str(work / "models")]
    # A shell may start programs so that they ignore the interrupt, and children would inherit that.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "anomaly_detection", "train", *output],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert process.stderr is not None
    assert "Training on" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count("\n") == 1
    assert "interrupted" in err
    assert out == ""
    assert {path.name: path.read_bytes() for path in (work / "models").iterdir()} == before


def test_a_reader_that_leaves_is_no_error(work: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [
        sys.executable,
        "-m",
        "anomaly_detection",
        "score",
        model(work),
        str(work / "records.csv"),
        "--top",
        "100",
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        with console.progress_bar() as show:
            show("search", 0.25, "trial 7: [best] 0.99")
            show("search", 1.0, "done")
        assert ("search" in stream.getvalue()) is drawn


def test_a_table_wraps_its_last_column_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"row": "7", "reason": "word " * 30 + "end"}, {"row": "1234", "reason": "short"}]
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    plain = console.table(rows, right=frozenset({"row"})).splitlines()
    assert plain == [" row  reason", "   7  " + "word " * 30 + "end", "1234  short"]
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    wrapped = console.table(rows, right=frozenset({"row"})).splitlines()
    assert len(wrapped) > 3
    assert max(map(len, wrapped)) <= 60
    assert wrapped[2].startswith("      word")


def test_data_cannot_write_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.printable("a\x1b[31m\nb\u202e  c\xa0ä \ud800\x9b") == r"a\x1b[31m\nb\u202e c ä \ud800\x9b"
    for write in (console.result, console.note):
        write("one\x1b]0;title\x07\ntwo\r")
        out, err = capsys.readouterr()
        assert out + err == "one\\x1b]0;title\\x07\ntwo\\r\n"
    console.result_as_json({"größe\x9b": "\x7f"})
    assert capsys.readouterr().out.isascii()


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(*_: object) -> int:
        raise ModuleNotFoundError("No module named 'narwhals.stable'", name="narwhals.stable")

    monkeypatch.setattr(cli, "_command", missing)
    assert main(["generate", "x.csv"]) == 2
    assert "narwhals.stable is not installed; run pip install" in capsys.readouterr().err


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(cli, "_command", full)
    assert main(["generate", "x.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
