"""`inspect` says what a model file holds; `convert` writes it in another format, the same to the bit, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.thresholds import (
    AlertBudget,
    BestAccuracy,
    BestF1,
    Conformal,
    Contamination,
    LowestCost,
    ThresholdRule,
)
from anomaly_detection.cli import main
from anomaly_detection.detector import Detector
from anomaly_detection.model_files import conversion, inspection
from anomaly_detection.model_files.header import read_header
from anomaly_detection.model_files.inspection import inspect_model
from anomaly_detection.model_files.model_file import read_model_file
from anomaly_detection.model_files.persistence import load_detector, save_detector
from anomaly_detection.synthetic import generate
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from tests.fuzz.native_edits import sealed, taken_apart

pytestmark = pytest.mark.usefixtures("few_folds")

DATA = generate("classic", 300, seed=3)
FRAME = DATA.frame[["lead_time", "supplier", "timestamp"]]


def detector(**parts: Any) -> Detector:
    parts = {"model": MLXIsolationForest(n_estimators=4, random_state=0), **parts}
    return Detector(**parts).fit(FRAME, DATA.labels)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training run, with labels and a quantised optimised model."""
    folder = tmp_path_factory.mktemp("run")
    data = str(folder / "known.csv")
    assert main(["generate", "--samples", "500", "--labels", data]) == 0
    options = ["--time-budget", "0", "--quantize", "--output", str(folder)]
    assert main(["train", "--data", data, "--label", "label", *options]) == 0
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.joblib"
    save_detector(detector(threshold_rule=Contamination(0.05)), path)
    return path


def said(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What is printed, by its heads."""
    capsys.readouterr()
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    indent = len(lines[0]) - len(lines[0].removeprefix("model").lstrip())
    return {line[:indent].strip(): line[indent:] for line in lines}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["joblib", "safetensors"])
@pytest.mark.parametrize("name", ["anomaly_detection_model", "optimized_anomaly_detection_model"])
def test_a_trained_model(name: str, suffix: str, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained / f"{name}.{suffix}"
    found = said(path, capsys)
    report = json.loads((trained / "report.json").read_text("utf-8"))
    which = "optimized" if "optimized" in name else "base"
    assert found["model"].startswith(str(path))
    assert found["model"].endswith({"base": "the base model", "optimized": "the optimised model"}[which])
    assert found["trained on"].startswith("500 records (known.csv), with labels, SHA-256 ")
    assert report["data"]["fingerprint"]["sha256"][:12] in found["trained on"]
    assert "by mlx-iforest" in found["trained"]
    assert "300 records to learn from, 100 to set the threshold by, 100 to measure on" in found["split"]
    assert "3 categories (supplier, " in found["columns"]
    assert f"{report[which]['alerts']} alerts in 100 records" in found["measured"]
    assert f"accuracy {100 * report[which]['accuracy']:.2f} %" in found["measured"]
    assert f"below {report[which]['threshold']:.4f}" in found["alerts"]
    assert ("quantised to 8 bits" in found["forest"]) == (which == "optimized")
    version = {"joblib": 2, "safetensors": 1}[suffix]
    assert f"as {suffix} (format version {version}, of mlx-iforest " in found["size"]
    assert found["runs here"].startswith("on ")


def test_json_has_it_all(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained / "anomaly_detection_model.joblib"
    capsys.readouterr()
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    loaded = load_detector(path)
    assert found == inspect_model(path)
    assert found["file"]["bytes"] == path.stat().st_size
    assert found["training"] == loaded.training_
    assert found["forest"]["trees"] == loaded.model.forest_.n_trees
    assert found["forest"]["bytes"] == loaded.model.forest_.nbytes
    assert found["threshold"]["score"] == loaded.model.offset_
    assert found["features"]["seen"] == loaded.feature_names
    assert {column["name"]: column["role"] for column in found["columns"]}["supplier"] == "categorical"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Contamination(0.05), "so that 5 % of the records alert"),
        (AlertBudget(0.125), "so that at most 12.5 % of the records alert"),
        (BestAccuracy(), "where most decisions on labelled records were right"),
        (BestF1(), "where F1 on labelled records was greatest"),
        (LowestCost(1.0, 20.0), "a false alarm 1 and a miss 20"),
        (Conformal(0.2), "each batch has its own threshold, so that at most 20 % of the alerts are false"),
        (None, "below -0.5000, as the forest itself has it"),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_each_rule_in_words(
    rule: ThresholdRule | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_detector(detector(threshold_rule=rule), tmp_path / "model.safetensors")
    found = said(tmp_path / "model.safetensors", capsys)
    assert words in found["alerts"]
    assert found["trained"] == "the file does not say when or on what"
    assert found["columns"] == "1 number (lead_time); 1 category (supplier); 1 date (timestamp)"
    assert "measured" not in found


@pytest.mark.parametrize(
    ("forest", "words"),
    [
        (MLXIsolationForest(4, random_state=0), "classic isolation forest: 4 trees of 256 records at most"),
        (MLXIsolationForest(4, scoring="density"), "isolation forest that judges by density"),
        (MLXIsolationForest(4, extension_level=1), "oblique splits"),
        (BlendedIsolationForest(8), "blended isolation forest: 8 trees"),
    ],
)
def test_each_forest_in_words(forest: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = detector(model=forest)
    made.calibration_ = None
    save_detector(made, tmp_path / "model.joblib")
    found = said(tmp_path / "model.joblib", capsys)
    assert words in found["forest"]
    assert "none" in found["p-values"]


def test_a_model_of_the_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    AnomalyDetectionAPI(seed=5).fit(DATA.frame).save_model(tmp_path / "model.joblib")
    found = said(tmp_path / "model.joblib", capsys)
    assert found["trained on"].startswith("300 records (records), without labels")
    assert found["trained"].endswith("seed 5")


def test_a_backend_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inspection._backend("sklearn")["name"] == "sklearn"
    monkeypatch.setattr("mlx_iforest.backends._looked_up", lambda name: f"{name} is not here")
    monkeypatch.setattr("anomaly_detection.model_files.inspection.choose_backend", _only_numba)
    backend = inspection._backend("sklearn")
    assert backend["name"] is None
    assert "not here" in backend["reason"]


def _only_numba(name: str, *, load: bool) -> Any:
    from mlx_iforest.backends import BackendChoice, choose_backend

    if name != "auto":
        return choose_backend(name, load=load)
    return BackendChoice("numba", "the only one")


def test_inspecting_builds_no_model(model: Path) -> None:
    code = f"""
import sys
from anomaly_detection.cli import main
assert main(["inspect", {str(model)!r}]) == 0
heavy = {{"numpy", "pandas", "scipy", "sklearn", "numba", "joblib", "anomaly_detection.detector"}} & sys.modules.keys()
assert not heavy, heavy
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["native-v1.safetensors", "joblib-v2.joblib"])
def test_a_file_of_before_says_what_it_says_when_written_again(name: str, tmp_path: Path) -> None:
    old = Path(__file__).parent / "golden" / name
    header = read_header(read_model_file(old).native, name)
    assert header.about is None
    save_detector(load_detector(old), tmp_path / name)
    before, after = inspect_model(old), inspect_model(tmp_path / name)
    assert {**before, "file": {}} == {**after, "file": {}}


@pytest.mark.parametrize("about", ["", "[]", "{}", "NaN", '{"asked_for": 1}', "null"])
def test_a_file_that_says_of_itself_what_none_says(
    about: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, payload = taken_apart(read_model_file(model).native)
    header["__metadata__"]["about"] = about
    (tmp_path / "odd.safetensors").write_bytes(sealed(header, payload))
    refused(["inspect", str(tmp_path / "odd.safetensors")], capsys)
    load_detector(tmp_path / "odd.safetensors")


def told(model: Path, folder: Path, training: Any) -> Path:
    """The model in a file that says this of its training."""
    made = load_detector(model)
    made.training_ = training
    save_detector(made, folder / "told.joblib")
    return folder / "told.joblib"


@pytest.mark.parametrize(
    "training",
    [
        {"data": "words"}, {"data": {"rows": "many"}}, {"split": {"test": 3, "train": 5}, "alerts": 1}, [1, 2],
        {"fit_seconds": -(10**307)},
    ],
)  # fmt: skip
def test_a_file_that_says_odd_things(
    training: Any, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = told(model, tmp_path, training)
    assert str(path) in refused(["inspect", str(path)], capsys)


def test_control_characters_do_not_reach_the_terminal(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = told(model, tmp_path, {"data": {"source": "a\x1b[31m\nb", "rows": 3}})
    assert r"(a\x1b[31m\nb)" in said(path, capsys)["trained on"]


def test_names_of_columns_do_not_reach_the_terminal_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "lead\x1b]0;x\x07\u202e"
    frame = FRAME.rename(columns={"lead_time": odd})
    path, data = tmp_path / "model.safetensors", tmp_path / "records.csv"
    save_detector(Detector(model=MLXIsolationForest(4, random_state=0)).fit(frame), path)
    frame.to_csv(data, index=False)
    frame.drop(columns=odd).to_csv(tmp_path / "short.csv", index=False)
    for arguments in (
        ["inspect", str(path)],
        ["score", str(path), str(data), "--top", "3"],
        ["explain", str(path), str(data), "--row", "3"],
    ):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert r"lead\x1b]0;x\x07\u202e" in out
        assert all(line.isprintable() for line in out.splitlines())
    assert r"lead\x1b]0;x\x07\u202e" in refused(["score", str(path), str(tmp_path / "short.csv")], capsys)
    assert main(["inspect", str(path), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert odd in [column["name"] for column in json.loads(out)["columns"]]


# convert


@pytest.mark.parametrize("first", ["safetensors", "joblib"])
def test_there_and_back(first: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = tmp_path / f"a.{first}", tmp_path / "b.joblib", tmp_path / "c.safetensors"
    for source, target in zip((model, *second), second, strict=False):
        assert main(["convert", str(source), str(target)]) == 0
        assert "bit for bit" in capsys.readouterr().err
    expected = load_detector(model)
    for path in second:
        loaded = load_detector(path)
        np.testing.assert_array_equal(loaded.decision_function(FRAME), expected.decision_function(FRAME))
        assert loaded.training_ == expected.training_
        assert loaded.threshold_rule == expected.threshold_rule


def test_a_trained_model_converts(trained: Path, tmp_path: Path) -> None:
    source = trained / "optimized_anomaly_detection_model.joblib"
    assert main(["convert", str(source), str(tmp_path / "model.safetensors")]) == 0
    assert inspect_model(tmp_path / "model.safetensors")["training"] == inspect_model(source)["training"]


def test_onnx_holds_the_forest(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(model), str(tmp_path / "forest.onnx")]) == 0
    told = capsys.readouterr().err
    assert "the forest alone" in told
    loaded = load_detector(model)
    assert ", ".join(loaded.feature_names) in told
    session = onnxruntime.InferenceSession(str(tmp_path / "forest.onnx"), providers=["CPUExecutionProvider"])
    scores, labels = session.run(["scores", "labels"], {"X": loaded.transform(FRAME)})
    np.testing.assert_allclose(scores, loaded.score_samples(FRAME), atol=1e-5)
    np.testing.assert_array_equal(labels, loaded.predict(FRAME))


def test_nothing_is_replaced_unasked(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "model.safetensors"
    target.write_bytes(b"old")
    assert "--force" in refused(["convert", str(model), str(target)], capsys)
    assert target.read_bytes() == b"old"
    assert main(["convert", str(model), str(target), "--force"]) == 0
    load_detector(target)


def test_what_cannot_be_converted(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the file to convert" in refused(["convert", str(model), str(model), "--force"], capsys)
    assert ".joblib or .safetensors or .onnx" in refused(["convert", str(model), str(tmp_path / "model.h5")], capsys)
    assert "nothing" in refused(["convert", str(model), str(tmp_path / "model")], capsys)
    missing = str(tmp_path / "nowhere.joblib")
    assert "no model file" in refused(["convert", missing, str(tmp_path / "model.safetensors")], capsys)
    assert list(tmp_path.iterdir()) == []


def test_what_would_score_otherwise_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = detector(model=MLXIsolationForest(4, random_state=1))
    monkeypatch.setattr(conversion, "save_detector", lambda _, path: save_detector(other, path))
    target = tmp_path / "model.safetensors"
    target.write_bytes(b"old")
    assert "not written" in refused(["convert", str(model), str(target), "--force"], capsys)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_pickle_alone_is_not_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = Path(__file__).parent / "golden" / "joblib-v1.joblib"
    for target in ("model.safetensors", "model.joblib", "model.onnx"):
        assert "is a pickle alone" in refused(["convert", str(old), str(tmp_path / target)], capsys)
    assert list(tmp_path.iterdir()) == []


def test_without_onnx(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install" in refused(["convert", str(model), str(tmp_path / "forest.onnx")], capsys)
    assert list(tmp_path.iterdir()) == []
