"""A ``.joblib`` tells others by its pickle what it tells us by its native bytes; nothing in it is unpickled."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from anomaly_detection.calibration.thresholds import AlertBudget, BestF1, Conformal, Contamination, LowestCost
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError, ModelFileError
from anomaly_detection.model_files.joblib_file import _DIGEST, _LENGTH, _MAGIC, _TRAILER
from anomaly_detection.model_files.native_file import to_bytes
from anomaly_detection.model_files.persistence import load_detector, save_detector
from anomaly_detection.synthetic import generate
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest

DATA = generate("classic", 200, seed=3)
FRAME = DATA.frame[["timestamp", "lead_time", "order_quantity", "inventory_level", "supplier"]]
REALISTIC = generate("realistic", 200, seed=3).frame
SMALL = FRAME[["lead_time", "supplier"]]


def forest(**parameters: Any) -> MLXIsolationForest:
    return MLXIsolationForest(**{"n_estimators": 5, "random_state": 0, **parameters})


def fitted(frame: pd.DataFrame = FRAME, **parts: Any) -> Detector:
    return Detector(**{"model": forest(), **parts}).fit(frame, DATA.labels if len(frame) == len(FRAME) else None)


def made_smaller(make: Callable[[BaseIsolationForest], BaseIsolationForest]) -> Detector:
    detector = fitted()
    detector.model = make(detector.model)
    return detector


KINDS: dict[str, Callable[[], Detector]] = {
    "base": lambda: fitted(REALISTIC, threshold_rule=AlertBudget(0.02)),
    "density": lambda: fitted(model=forest(scoring="density"), threshold_rule=Conformal(0.2)),
    "depth": lambda: fitted(model=forest(), threshold_rule=LowestCost(1.0, 20.0)),
    "oblique": lambda: fitted(model=forest(extension_level=1), threshold_rule=BestF1()),
    "blended": lambda: fitted(model=BlendedIsolationForest(12, random_state=0)),
    "random state": lambda: fitted(model=forest(random_state=np.random.RandomState(7))),
    "by scikit-learn": lambda: fitted(model=forest(backend="sklearn", n_jobs=1)),
    "8 bits": lambda: made_smaller(lambda model: model.quantize(8)),
    "pruned": lambda: made_smaller(lambda model: model.prune(0.01)),
    "missing values": lambda: fitted(FRAME.mask(np.random.default_rng(0).random(FRAME.shape) < 0.1)),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.joblib"
    save_detector(fitted(SMALL, threshold_rule=Contamination(0.05)), path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_detector(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    return message


def unpickled(path: Path, mmap_mode: str | None = None) -> Detector:
    """The detector as another program gets it, which knows nothing of native bytes."""
    content = joblib.load(path, mmap_mode=mmap_mode)
    detector = Detector(content["preprocessor"], content["scaler"], content["model"])
    detector.threshold_rule, detector.calibration_ = content["threshold_rule"], content["calibration"]
    return detector


def sealed(before: bytes, length: int) -> bytes:
    """A file that begins like this, with a trailer whose digest is right."""
    told = before + length.to_bytes(_LENGTH, "little")
    return told + hashlib.sha256(told).digest() + _MAGIC


def halves(content: bytes) -> tuple[bytes, bytes]:
    """The pickle and the native bytes."""
    end = len(content) - _TRAILER
    size = int.from_bytes(content[end : end + _LENGTH], "little")
    return content[: end - size], content[end - size : end]


@pytest.mark.parametrize("kind", KINDS)
def test_both_halves_tell_the_same_model(kind: str, tmp_path: Path) -> None:
    detector = KINDS[kind]()
    paths = tmp_path / "model.joblib", tmp_path / "preprocessor.joblib"
    save_detector(detector, *paths)
    assert halves(paths[0].read_bytes())[1] == to_bytes(detector)
    frame = REALISTIC if "order_id" in detector.preprocessor.feature_names_in_ else FRAME
    expected = detector.score_samples(frame)
    theirs, mapped = unpickled(paths[0]), unpickled(paths[0], mmap_mode="r")
    for one in (theirs, mapped, load_detector(paths[0]), load_detector(*paths)):
        np.testing.assert_array_equal(one.score_samples(frame), expected)
        assert one.cut(expected) == detector.cut(expected)
        np.testing.assert_array_equal(one.p_values(expected), detector.p_values(expected))
    assert to_bytes(theirs) == to_bytes(load_detector(paths[0])) == to_bytes(detector)
    np.testing.assert_array_equal(
        joblib.load(paths[1])["preprocessor"].transform(frame), detector.preprocessor.transform(frame)
    )


def test_a_detector_saved_twice_gives_one_file(small: Path, tmp_path: Path) -> None:
    detector = load_detector(small)
    for name in ("a", "b"):
        save_detector(detector, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Call:
    """Pickled as a call."""

    def __init__(self, what: Callable[..., Any], *arguments: Any) -> None:
        self.call = what, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def test_the_pickle_is_never_run(small: Path, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.joblib"
    evil = pickle.dumps(Call(subprocess.call, ["touch", str(canary)]))
    _, native = halves(small.read_bytes())
    path.write_bytes(sealed(evil + native, len(native)))
    joblib.load(path)
    assert canary.exists(), "this pickle does nothing, so it proves nothing"
    canary.unlink()
    np.testing.assert_array_equal(load_detector(path).score_samples(SMALL), load_detector(small).score_samples(SMALL))
    path.write_bytes(evil)
    assert "pickle alone" in refused(path)
    assert not canary.exists()


@pytest.mark.parametrize("content", [[1, 2], {"model": MLXIsolationForest(), "is_fitted": True}, None])
def test_a_pickle_alone_says_what_to_do(content: object, tmp_path: Path) -> None:
    joblib.dump(content, tmp_path / "model.joblib")
    message = refused(tmp_path / "model.joblib")
    assert "runs none" in message
    assert "train the model again, or convert it to .safetensors with the version that wrote it" in message


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.6, 0.9, 0.999, 1.0])
def test_a_file_that_was_cut_off(share: float, small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    path = tmp_path / "model.joblib"
    path.write_bytes(whole[: max(1, min(int(share * len(whole)), len(whole) - 1))])
    assert "was cut off" in refused(path)
    path.write_bytes(whole[:100] + whole[101:])
    assert "damaged" in refused(path)


def test_no_bit_can_flip_unseen(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    path = tmp_path / "model.joblib"
    rng = np.random.default_rng(0)
    places = [*rng.integers(1, len(whole), 60), *range(len(whole) - _TRAILER, len(whole))]
    for place in places:
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(spoiled))
        assert "damaged" in refused(path) or "pickle alone" in refused(path)


def test_a_trailer_that_lies(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    pickled, native = halves(small.read_bytes())
    path.write_bytes(sealed(pickled + native, len(native)))
    load_detector(path)
    for length in (0, 1, 7, 8, 9, len(native) - 1, len(native) + 1, len(pickled + native), len(pickled) + 10**6, 2**63):
        path.write_bytes(sealed(pickled + native, length))
        assert "damaged" in refused(path) or "something else" in refused(path)
    path.write_bytes(sealed(pickled, 0))
    refused(path)
    path.write_bytes(b"\x80" + _MAGIC)
    refused(path)
    path.write_bytes(b"\x80" * (_DIGEST + _LENGTH) + _MAGIC)
    refused(path)


def test_a_file_of_two_formats_is_one_of_them(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    pickled, native = halves(small.read_bytes())
    # Native by its first bytes: then what follows is no part of it.
    path.write_bytes(sealed(native + pickled + native, len(native)))
    assert "damaged" in refused(path)
    # The beginning of a pickle that is a length and a brace as well.
    both = b"\x80\x04X\x05\0\0\0\0{" + b'"a":0}'
    path.write_bytes(sealed(both + native, len(native)))
    assert "damaged" in refused(path)


def test_what_no_native_file_can_hold_is_not_saved(tmp_path: Path) -> None:
    from sklearn.preprocessing import RobustScaler

    path = tmp_path / "model.joblib"
    path.write_bytes(b"old")
    with pytest.raises(DataError, match=r"RobustScaler.*joblib\.dump") as caught:
        save_detector(fitted(SMALL, scaler=RobustScaler()), path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
