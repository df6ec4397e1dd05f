"""The saved files work in a program that knows only joblib and the dictionaries' keys, as CryptaNet's loaders do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.synthetic import generate

pytestmark = pytest.mark.usefixtures("few_folds")

FRAME = generate("classic", 500, seed=4).frame


class TheirModel:
    """A stand-in for the other program's model: load, then score what its preprocessor gives."""

    def __init__(self, path: Path) -> None:
        stored = joblib.load(path)
        self.model = stored["model"]
        self.scaler = stored["scaler"]
        self.is_fitted = stored["is_fitted"]
        self.feature_names = stored["feature_names"]

    def judge(self, X: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        scaled = self.scaler.transform(X)
        return self.model.predict(scaled), self.model.decision_function(scaled)


class TheirPreprocessor:
    """A stand-in for the other program's preprocessor, which looks into the parts that it names."""

    def __init__(self, path: Path) -> None:
        stored = joblib.load(path)
        self.preprocessor = stored["preprocessor"]
        self.numerical_features = stored["numerical_features"]
        self.categorical_features = stored["categorical_features"]
        self.is_fitted = stored["is_fitted"]
        named = self.preprocessor.named_transformers_
        self.parts = [named[name] for name in ("num", "cat") if name in named]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[AnomalyDetectionAPI, Path, Path]:
    folder = tmp_path_factory.mktemp("saved")
    api = AnomalyDetectionAPI().fit(FRAME)
    api.save_model(folder / "model.joblib", folder / "preprocessor.joblib")
    return api, folder / "model.joblib", folder / "preprocessor.joblib"


def test_their_loader_gives_our_scores(files: tuple[AnomalyDetectionAPI, Path, Path]) -> None:
    api, model_path, preprocessor_path = files
    model, preprocessor = TheirModel(model_path), TheirPreprocessor(preprocessor_path)
    predictions, scores = model.judge(preprocessor.preprocessor.transform(FRAME))
    ours = api.predict(FRAME)
    np.testing.assert_array_equal(predictions, ours[0])
    np.testing.assert_allclose(scores, ours[1], rtol=0, atol=1e-12)
    assert set(np.unique(predictions)) == {-1, 1}


def test_what_their_loaders_read(files: tuple[AnomalyDetectionAPI, Path, Path]) -> None:
    _, model_path, preprocessor_path = files
    model, preprocessor = TheirModel(model_path), TheirPreprocessor(preprocessor_path)
    assert model.is_fitted is True
    assert preprocessor.is_fitted is True
    assert len(preprocessor.parts) == 2
    assert len(model.feature_names) == model.scaler.transform(preprocessor.preprocessor.transform(FRAME)).shape[1]
    assert {"lead_time", "order_quantity"} <= set(preprocessor.numerical_features)
    assert {"supplier", "shipping_method"} <= set(preprocessor.categorical_features)
    assert not set(preprocessor.numerical_features) & set(preprocessor.categorical_features)


def test_their_calls(files: tuple[AnomalyDetectionAPI, Path, Path]) -> None:
    """Each signature once, by position, as the other program calls them."""
    api, model_path, preprocessor_path = files
    loaded = AnomalyDetectionAPI.load_model(str(model_path), str(preprocessor_path))
    predictions, scores = loaded.predict(FRAME, None)
    np.testing.assert_array_equal(scores, api.predict(FRAME)[1])
    explained = loaded.explain_anomalies(FRAME, predictions, scores)
    assert [item["index"] for item in explained] == np.flatnonzero(predictions == -1).tolist()
    answer = AnomalyDetectionAPI(str(model_path)).detect_anomaly(FRAME.iloc[0].to_dict())
    assert set(answer) == {"is_anomaly", "anomaly_score", "p_value", "severity", "confidence", "risk_level"}
    fitted = AnomalyDetectionAPI().fit(FRAME, ["lead_time", "order_quantity"], ["supplier"], "timestamp", ["lead_time"])
    assert fitted.is_fitted
