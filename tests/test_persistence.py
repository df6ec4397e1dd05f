"""What is saved comes back; what is no model is refused in one line; a failed write leaves the old file."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pytest

from anomaly_detection.calibration.thresholds import Contamination
from anomaly_detection.data.files import prepare_folder, replacing
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError, ModelFileError, NotFittedError
from anomaly_detection.model_files.joblib_file import JOBLIB_VERSION
from anomaly_detection.model_files.persistence import load_detector, save_detector
from anomaly_detection.synthetic import generate
from mlx_iforest import MLXIsolationForest, __version__

pytestmark = pytest.mark.usefixtures("few_folds")

FRAME = generate("classic", 400, seed=3).frame


@pytest.fixture(scope="module")
def detector() -> Detector:
    forest = MLXIsolationForest(n_estimators=10, random_state=0)
    fitted = Detector(model=forest, threshold_rule=Contamination(0.05)).fit(FRAME)
    fitted.training_ = {"rows": 400}
    return fitted


@pytest.fixture(scope="module")
def saved(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models") / "made" / "on the way"
    paths = folder / "anomaly_detection_model.joblib", folder / "data_preprocessor.joblib"
    save_detector(detector, *paths)
    return paths


def test_the_model_file_alone_comes_back_whole(detector: Detector, saved: tuple[Path, Path]) -> None:
    loaded = load_detector(saved[0])
    np.testing.assert_array_equal(loaded.decision_function(FRAME), detector.decision_function(FRAME))
    np.testing.assert_array_equal(loaded.predict(FRAME), detector.predict(FRAME))
    assert loaded.feature_names == detector.feature_names
    assert loaded.training_ == {"rows": 400}
    assert loaded.calibration_ is not None
    assert detector.calibration_ is not None
    np.testing.assert_array_equal(loaded.calibration_.quantiles, detector.calibration_.quantiles)
    np.testing.assert_array_equal(loaded.calibration_.scores, detector.calibration_.scores)
    assert loaded.threshold_rule == detector.threshold_rule


def test_both_files_together(detector: Detector, saved: tuple[Path, Path]) -> None:
    np.testing.assert_array_equal(load_detector(*saved).decision_function(FRAME), detector.decision_function(FRAME))


def test_what_the_files_hold(detector: Detector, saved: tuple[Path, Path]) -> None:
    model, preprocessor = (joblib.load(path) for path in saved)
    assert model["is_fitted"] is True
    assert model["feature_names"] == detector.feature_names
    assert model["format_version"] == JOBLIB_VERSION
    assert model["library_version"] == __version__
    assert preprocessor["is_fitted"] is True
    assert "lead_time" in preprocessor["numerical_features"]
    assert "supplier" in preprocessor["categorical_features"]


@pytest.mark.parametrize("name", ["model.gz", "model.z", "model"])
def test_any_name_will_do(name: str, detector: Detector, tmp_path: Path) -> None:
    save_detector(detector, tmp_path / name)
    np.testing.assert_array_equal(load_detector(tmp_path / name).predict(FRAME), detector.predict(FRAME))


def test_saving_leaves_nothing_else_and_files_others_may_read(saved: tuple[Path, Path]) -> None:
    assert sorted(saved[0].parent.iterdir()) == sorted(saved)
    plain = saved[0].parent.parent / "plain"
    plain.touch()
    assert saved[0].stat().st_mode == plain.stat().st_mode


def test_an_unfitted_detector_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="fit"):
        save_detector(Detector(), tmp_path / "model.joblib")
    assert list(tmp_path.iterdir()) == []


def refused(path: Path, *rest: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_detector(path, *rest)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message or any(str(other) in message for other in rest)
    return message


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no model file" in refused(tmp_path / "nowhere.joblib")
    assert "no model file" in refused(tmp_path / "not" / "there" / "model.joblib")


def test_a_folder_says_which_file_in_it(saved: tuple[Path, Path], tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)
    assert str(saved[0]) in refused(saved[0].parent)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.touch()
    assert "empty" in refused(path)


@pytest.mark.parametrize("content", [b"order,quantity\n1,2\n", b"PK\x03\x04", b"\x00" * 100, b"\x7fELF"])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(content)
    assert "not a model file" in refused(path)


def test_a_preprocessor_given_as_the_model(saved: tuple[Path, Path], tmp_path: Path) -> None:
    assert f"may be {saved[0]}" in refused(saved[1])
    alone = tmp_path / "data_preprocessor.joblib"
    alone.write_bytes(saved[1].read_bytes())
    message = refused(alone)
    assert "holds a preprocessor" in message
    assert "may be" not in message


def test_a_model_given_as_the_preprocessor(saved: tuple[Path, Path]) -> None:
    assert "holds a model, not a preprocessor" in refused(saved[0], saved[0])


def test_a_preprocessor_of_another_run(saved: tuple[Path, Path], tmp_path: Path) -> None:
    forest = MLXIsolationForest(n_estimators=2, random_state=0)
    save_detector(Detector(model=forest).fit(FRAME[["lead_time", "supplier"]]), tmp_path / "m", tmp_path / "p")
    assert "one training run" in refused(saved[0], tmp_path / "p")


def test_an_old_file_survives_a_write_that_fails(saved: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(b"old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), replacing(path) as temporary:  # noqa: PT012
            temporary.write_bytes(b"half of the n")
            raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_detector_that_cannot_be_saved_leaves_the_old_file(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    save_detector(detector, path)
    before = path.read_bytes()
    broken = Detector(detector.preprocessor, detector.scaler, detector.model)
    broken.training_ = {"not plain": lambda: None}
    with pytest.raises(DataError, match="not plain"):
        save_detector(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(detector: Detector, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path, file / "model.joblib"):
        with pytest.raises(DataError, match="Cannot write") as caught:
            save_detector(detector, path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [file]


def test_prepare_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    prepare_folder(folder)
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    prepare_folder(folder)
    assert list(folder.iterdir()) == []
    (folder / "file").touch()
    with pytest.raises(DataError, match="nother one"):
        prepare_folder(folder / "file")
    with pytest.raises(DataError, match="nother one"):
        prepare_folder(folder / "file" / "below")
