"""A model that was read scores without scikit-learn, as the estimators do, and what stands in for libraries."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import ks_2samp
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

import mlx_iforest
from anomaly_detection.calibration.drift import Drift
from anomaly_detection.calibration.drift_test import _log_sum_exp
from anomaly_detection.detector import Detector
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.model_files.persistence import load_detector, load_trained, save_detector
from anomaly_detection.model_files.scaler_states import Scaler
from anomaly_detection.settings import RECIPE, Settings, make_detector, make_forest
from anomaly_detection.standardising import LoadedScaler
from anomaly_detection.synthetic import generate
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.cores import cores, effective_n_jobs
from mlx_iforest.loaded import LoadedForest
from mlx_iforest.parameters import KINDS, are_surely_fine

pytestmark = pytest.mark.usefixtures("few_folds")

RECORDS = generate("classic", 300, seed=1).frame
ROOT = Path(__file__).parent.parent

HEAVY = ("sklearn", "joblib", "scipy.stats", "scipy.sparse", "optuna", "matplotlib", "sqlalchemy", "rich")

SCORE = """
import json, sys
from anomaly_detection.cli import main
code = main(["score", sys.argv[1], sys.argv[2], "--top", "3"])
print(*sorted(sys.modules), file=sys.stderr)
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
told = AnomalyDetectionAPI(sys.argv[3]).detect_anomaly(json.loads(sys.argv[4]))
print(told["risk_level"], *sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def run(code: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """What a fresh process does that runs `code`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module", params=["recipe", "classic"])
def detector(request: pytest.FixtureRequest) -> Detector:
    settings = RECIPE if request.param == "recipe" else Settings()
    return make_detector(settings, None, make_forest(settings, seed=0, backend="numba")).fit(RECORDS)


def test_what_is_read_judges_as_the_estimators_do(detector: Detector, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    save_detector(detector, file)
    trained, again = load_trained(file), load_detector(file)
    assert not isinstance(trained, Detector)
    assert isinstance(trained.model, LoadedForest)
    assert isinstance(trained.scaler, LoadedScaler)
    assert isinstance(again, Detector)
    assert isinstance(again.preprocessor, SupplyChainFeatures)
    assert type(again.model) is type(detector.model)
    assert type(again.scaler) is type(detector.scaler)
    assert trained.feature_names == again.feature_names == detector.feature_names
    assert trained.model.offset_ == again.model.offset_ == detector.model.offset_
    for one in (trained, again):
        assert_array_equal(one.score_samples(RECORDS), detector.score_samples(RECORDS))
        assert_array_equal(one.predict(RECORDS[:20]), detector.predict(RECORDS[:20]))
    rows = trained.transform(RECORDS)
    for odd in (rows.astype(np.float64), np.asfortranarray(rows), rows.tolist()):
        assert_array_equal(trained.model.score_samples(odd), again.model.score_samples(odd))
    with pytest.raises(ValueError, match="infinity"):
        trained.model.score_samples(np.full((1, rows.shape[1]), np.inf, np.float32))


@pytest.mark.parametrize("name", ["a__b", "remainder", "evidence"])
def test_parts_that_scikit_learn_refuses_are_refused_when_they_are_read(name: str) -> None:
    parts = [("surprises", StandardScaler(), slice(0, 2)), ("evidence", StandardScaler(), slice(2, 3))]
    fitted = ColumnTransformer(parts, sparse_threshold=0.0, verbose_feature_names_out=False).fit(np.eye(3))
    arrays: dict[str, Any] = {}
    found = Scaler(3).encode(fitted, "scaler", arrays)
    again = Scaler(3).decode(found, "scaler", dict(arrays))
    assert again.get_feature_names_out(np.array(["x", "y", "z"], dtype=object)).tolist() == ["x", "y", "z"]
    found["state"]["parts"][0]["name"] = name
    with pytest.raises(ValueError, match=r"[Nn]ames"):
        Scaler(3).decode(found, "scaler", arrays)


def test_verdicts_teach_what_is_read_alike(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    save_detector(make_detector(RECIPE, None, make_forest(RECIPE, seed=0)).fit(RECORDS), file)
    trained, again = load_trained(file), load_detector(file)
    for one in (trained, again):
        one.feedback(RECORDS[:4], [-1, 1, -1, -1])
    assert trained.model.offset_ == again.model.offset_
    assert_array_equal(trained.score_samples(RECORDS), again.score_samples(RECORDS))
    save_detector(again, file)
    assert load_trained(file).lessons_ == again.lessons_


def test_scoring_loads_nothing_that_only_learning_needs(detector: Detector, tmp_path: Path) -> None:
    """A file by the command, and then a record by the API, which has to be able to learn."""
    model, data, pickled = (tmp_path / name for name in ("m.safetensors", "records.csv", "m.joblib"))
    for file in (model, pickled):
        save_detector(detector, file)
    RECORDS.to_csv(data, index=False)
    ran = run(SCORE, model, data, pickled, RECORDS.iloc[0].astype(str).to_json())
    scored, told = ran.stderr.splitlines()[-2:]
    assert not set(HEAVY) & set(scored.split())
    risk, *loaded = told.split()
    assert risk in ("low", "medium", "high", "critical")
    assert not {"optuna", "matplotlib", "jinja2", "polars"} & set(loaded)


BATCH = """
import sys
import pandas as pd
from anomaly_detection.features.compiled.choice import only
from anomaly_detection.features.compiled.kernels import of_a_batch
from anomaly_detection.model_files.persistence import load_trained

with only(True):
    load_trained(sys.argv[1]).score_samples(pd.read_csv(sys.argv[2]))
print(*(kernel.__name__ for kernel in of_a_batch() if not kernel.overloads))
"""


@pytest.mark.slow
def test_a_batch_compiles_all_that_it_asks_for(tmp_path: Path) -> None:
    """Else a later process would find something missing for ever, and take the plain way."""
    model, data = tmp_path / "m.safetensors", tmp_path / "records.csv"
    save_detector(make_detector(RECIPE, None, make_forest(RECIPE, seed=0, backend="numba")).fit(RECORDS), model)
    RECORDS.to_csv(data, index=False)
    assert run(BATCH, model, data).stdout.split() == []


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_are_surely_fine_are_fine_for_scikit_learn(kind: str) -> None:
    estimator: Any = getattr(mlx_iforest, kind)
    assert KINDS[kind].keys() == inspect.signature(estimator).parameters.keys()
    values = [
        *(None, True, False, -1, 0, 1, 2, 2**31, 2**32 - 1, 2**32, 0.0, 0.3, 0.5, 0.7, 1.0, 1.5, float("nan")),
        *("auto", "depth", "density", "numba", "mlx", "sklearn", "other", np.random.RandomState(0), np.int64(1)),
    ]
    fine = 0
    for name in KINDS[kind]:
        for value in values:
            if are_surely_fine(kind, {name: value}):
                estimator(**{name: value})._validate_params()
                fine += 1
    assert are_surely_fine(kind, estimator().get_params())
    assert fine > 2 * len(KINDS[kind])


@pytest.mark.parametrize("n_jobs", [None, 1, 3, -1, -2, -100])
def test_threads_are_those_of_joblib(n_jobs: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = joblib.effective_n_jobs(n_jobs)
    assert effective_n_jobs(n_jobs) == expected
    monkeypatch.delitem(sys.modules, "joblib")
    assert effective_n_jobs(n_jobs) == expected


def test_cores_are_those_of_joblib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cores() == joblib.cpu_count()
    group = tmp_path / "sys/fs/cgroup"
    (group / "cpu").mkdir(parents=True)
    assert cores(tmp_path) == len(os.sched_getaffinity(0))
    (group / "cpu/cpu.cfs_quota_us").write_text("50000\n")
    (group / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == 1
    (group / "cpu.max").write_text("max 100000\n")
    assert cores(tmp_path) == len(os.sched_getaffinity(0))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert cores() == joblib.cpu_count() == 1


@pytest.mark.parametrize(
    ("n", "m", "shift"), [(100, 100, 0.6), (120, 4000, 0.5), (1000, 20_000, 0.4), (3000, 500, 3.0)]
)
def test_drift_is_what_scipy_says(n: int, m: int, shift: float) -> None:
    random = np.random.default_rng(n)
    one, other = random.normal(size=n).astype("f"), random.normal(shift, size=m).round(1).astype("f")
    expected, found = ks_2samp(one, other, method="asymp"), Drift.between(one, other)
    assert found.distance == expected.statistic
    assert_allclose(found.p_value, expected.pvalue, rtol=1e-9)


def test_sums_of_logarithms_are_those_of_scipy() -> None:
    x = np.random.default_rng(0).normal(0, 300, size=(20, 7))
    x[3], x[4, 2:] = -np.inf, -np.inf
    assert_allclose(_log_sum_exp(x), logsumexp(x, axis=1), rtol=1e-14)


def test_a_loaded_forest_becomes_the_estimator_that_it_was() -> None:
    from mlx_iforest.state import MODEL, to_state

    rows = np.random.default_rng(0).normal(size=(200, 3)).astype("f")
    for model in (MLXIsolationForest(9, random_state=3, scoring="density"), BlendedIsolationForest(9, random_state=3)):
        arrays, values = to_state(model.fit(rows))
        loaded = MODEL.decode(values, "model", arrays)
        loaded.offset_ = -0.4
        again = loaded.estimator()
        assert again.get_params() == model.get_params()
        assert (again.offset_, again.n_features_in_) == (-0.4, 3)
        assert_array_equal(loaded.score_samples(rows), model.score_samples(rows))
        assert_array_equal(again.fit(rows).score_samples(rows), model.score_samples(rows))
