"""Native model files: what is written comes back the same to the last bit, and what is wrong is refused in one line."""

from __future__ import annotations

import copy
import json
import math
import re
import tracemalloc
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler

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
from anomaly_detection.data.fingerprint import fingerprint
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError, ModelFileError
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.model_files import native_file
from anomaly_detection.model_files.header import NATIVE_VERSION, checksum
from anomaly_detection.model_files.persistence import file_format, load_detector, save_detector
from anomaly_detection.model_files.undeclared_values import Free
from anomaly_detection.synthetic import generate
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.convert.declared import Arrays, StateError
from mlx_iforest.convert.declared_values import Number
from mlx_iforest.state import from_state, to_state
from tests.fuzz.native_edits import edited, framed, mutated, sealed, taken_apart

pytestmark = pytest.mark.usefixtures("few_folds")

DATA = generate("realistic", 400, seed=3)
FRAME, NEW = DATA.frame, generate("realistic", 60, seed=4).frame
FORESTS: dict[str, Callable[[np.ndarray], BaseIsolationForest]] = {
    "depth": lambda X: MLXIsolationForest(20, random_state=0).fit(X),
    "density": lambda X: MLXIsolationForest(20, random_state=1, scoring="density", max_features=0.5).fit(X),
    "oblique": lambda X: MLXIsolationForest(20, random_state=2, scoring="density", extension_level=2).fit(X),
    "blended": lambda X: BlendedIsolationForest(20, random_state=np.random.RandomState(3)).fit(X),
    "small": lambda X: BlendedIsolationForest(1, random_state=3, contamination=0.1).fit(X),
    "quantised": lambda X: MLXIsolationForest(20, random_state=4).fit(X).quantize(),
    "pruned": lambda X: MLXIsolationForest(20, random_state=5).fit(X).prune(0.01, X),
    "pruned and quantised": lambda X: BlendedIsolationForest(20, random_state=6).fit(X).prune(0.01, X).quantize(16),
    "weighted": lambda X: MLXIsolationForest(5, random_state=7, bootstrap=True).fit(X, sample_weight=np.arange(len(X))),
}


@pytest.fixture(scope="module")
def plain() -> Detector:
    """Of all features, with a summary, labelled calibration and the classic forest."""
    fitted = Detector(model=MLXIsolationForest(10, random_state=0), threshold_rule=BestF1()).fit(FRAME, DATA.labels)
    fitted.training_ = {"rows": 400, "figures": [0.5, math.inf], "at": datetime(2026, 1, 2), "pair": (1, None)}
    return fitted


@pytest.fixture(scope="module")
def recipe() -> Detector:
    """As the API fits it: a column selection, calibrated on records set aside."""
    return AnomalyDetectionAPI().fit(generate("realistic", 500, seed=5).frame).detector


@pytest.fixture(scope="module")
def content(recipe: Detector) -> bytes:
    return native_file.to_bytes(recipe)


@pytest.fixture(scope="module")
def features(plain: Detector) -> np.ndarray:
    """Of `FRAME`."""
    return plain.transform(FRAME)


def with_forest(plain: Detector, features: np.ndarray, kind: str) -> Detector:
    forest = FORESTS[kind](features)
    return Detector(plain.preprocessor, plain.scaler, forest).calibrate(forest.score_samples(features))


def summarised(plain: Detector, training: dict[str, Any]) -> Detector:
    detector = Detector(plain.preprocessor, plain.scaler, plain.model)
    detector.training_ = training
    return detector


def again(detector: Detector, tmp_path: Path) -> Detector:
    path = tmp_path / "model.safetensors"
    save_detector(detector, path)
    return load_detector(path)


def assert_same(loaded: Detector, detector: Detector, tmp_path: Path) -> None:
    """They judge alike and are written alike, bit for bit."""
    features = detector.transform(NEW)
    np.testing.assert_array_equal(loaded.transform(NEW), features)
    scores = detector.model.score_samples(features)
    np.testing.assert_array_equal(loaded.score_samples(NEW), scores)
    np.testing.assert_array_equal(loaded.predict(NEW), np.where(scores < detector.cut(scores), -1, 1))
    np.testing.assert_array_equal(loaded.p_values(scores), detector.p_values(scores))
    assert loaded.calibration.confidence(-0.01, loaded.cut(scores)) == detector.calibration.confidence(
        -0.01, detector.cut(scores)
    )
    assert loaded.feature_names == detector.feature_names
    assert repr(loaded.training_) == repr(detector.training_)
    assert native_file.to_bytes(loaded) == native_file.to_bytes(detector)


@pytest.mark.parametrize("kind", FORESTS)
def test_every_forest_comes_back(plain: Detector, features: np.ndarray, kind: str, tmp_path: Path) -> None:
    detector = with_forest(plain, features, kind)
    loaded = again(detector, tmp_path)
    assert_same(loaded, detector, tmp_path)
    assert loaded.model.forest_.equals(detector.model.forest_)
    assert loaded.model.quantized_bits_ == detector.model.quantized_bits_
    assert loaded.model.get_params().keys() == detector.model.get_params().keys()
    # A parameter that holds state draws on from where it was.
    fits = [model.set_params(n_estimators=4).fit(features) for model in (loaded.model, detector.model)]
    assert fits[0].forest_.equals(fits[1].forest_)


def test_a_detector_comes_back_whole(plain: Detector, tmp_path: Path) -> None:
    loaded = again(plain, tmp_path)
    assert_same(loaded, plain, tmp_path)
    # Also what is private to scikit-learn is there again, or an attribute of ours was lost.
    for part in ("preprocessor", "scaler", "model"):
        assert vars(getattr(loaded, part)).keys() == vars(getattr(plain, part)).keys()
    assert loaded.threshold_rule == plain.threshold_rule
    assert loaded.calibration.labelled
    assert loaded.preprocessor.schema_ == plain.preprocessor.schema_
    assert loaded.preprocessor.cleaning_report_ == plain.preprocessor.cleaning_report_
    sources = [one.preprocessor.feature_sources_ for one in (loaded, plain)]
    assert [vars(source) for source in sources[0]] == [vars(source) for source in sources[1]]
    told = [one.preprocessor.in_units(one.preprocessor.extend(NEW)[0]) for one in (loaded, plain)]
    assert repr([part.tolist() for part in told[0]]) == repr([part.tolist() for part in told[1]])


def test_the_recipe_comes_back_and_explains_and_fits_alike(recipe: Detector, tmp_path: Path) -> None:
    loaded = again(recipe, tmp_path)
    assert_same(loaded, recipe, tmp_path)
    assert vars(loaded.scaler).keys() == vars(recipe.scaler).keys()
    apis = [AnomalyDetectionAPI(), AnomalyDetectionAPI()]
    apis[0].detector, apis[1].detector = loaded, recipe
    few = NEW.head(10)
    all_odd = np.full(len(few), -1), recipe.decision_function(few)
    assert apis[0].explain_anomalies(few, *all_odd) == apis[1].explain_anomalies(few, *all_odd)
    assert apis[0].detect_anomaly(NEW.iloc[0].to_dict()) == apis[1].detect_anomaly(NEW.iloc[0].to_dict())
    # A file leaves out which columns are parts of a date.
    levels = [detector.preprocessor.named_transformers_["levels"] for detector in (loaded, recipe)]
    assert levels[0].unclosed == levels[1].unclosed != []
    refitted = [detector.refit(FRAME.head(150)) for detector in (loaded, again(recipe, tmp_path))]
    assert_same(refitted[0], refitted[1], tmp_path)
    assert recipe.training_["data"]["fingerprint"]["sha256"] == loaded.training_["data"]["fingerprint"]["sha256"]


RULES: list[ThresholdRule] = [
    Contamination(0.05),
    AlertBudget(0.1),
    AlertBudget(1),
    BestAccuracy(),
    BestF1(),
    LowestCost(1, 2.5),
    Conformal(0.2),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_comes_back(plain: Detector, features: np.ndarray, rule: ThresholdRule, tmp_path: Path) -> None:
    rule = copy.deepcopy(rule)
    detector = Detector(plain.preprocessor, plain.scaler, plain.model.quantize(16), threshold_rule=rule)
    scores = plain.model.score_samples(features)
    detector.calibrate(scores)
    # Before it is fitted, and after.
    assert repr(again(detector, tmp_path).threshold_rule) == repr(rule)
    detector.set_threshold(rule, scores, DATA.labels)
    loaded = again(detector, tmp_path)
    assert type(loaded.threshold_rule) is type(rule)
    assert repr(loaded.threshold_rule) == repr(rule)
    assert_same(loaded, detector, tmp_path)


def test_without_rule_calibration_and_summary(plain: Detector, tmp_path: Path) -> None:
    loaded = again(Detector(plain.preprocessor, plain.scaler, plain.model), tmp_path)
    assert (loaded.threshold_rule, loaded.calibration_, loaded.training_) == (None, None, {})


def test_odd_records_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a/b~c": rng.normal(size=120).astype(object),
            "größe\n'\"": [None if i % 7 else f"{i},5" for i in range(120)],
            "": rng.choice(["x", "ÿ", "\x00"], 120),
            "when": pd.date_range("2024-01-01", periods=120, freq="h", tz="Europe/Berlin"),
            "always": "same",
        }
    )
    frame.loc[::9, "a/b~c"] = "not known"
    detector = AnomalyDetectionAPI().fit(frame).detector
    loaded = again(detector, tmp_path)
    np.testing.assert_array_equal(loaded.score_samples(frame), detector.score_samples(frame))
    assert native_file.to_bytes(loaded) == native_file.to_bytes(detector)


def test_features_on_several_threads(tmp_path: Path) -> None:
    detector = Detector(SupplyChainFeatures(n_jobs=2), model=MLXIsolationForest(2, n_jobs=2)).fit(FRAME)
    loaded = again(detector, tmp_path)
    assert_same(loaded, detector, tmp_path)
    assert loaded.preprocessor.n_jobs is None
    assert loaded.model.n_jobs == -1
    assert {branch.n_jobs for name, branch, _ in loaded.preprocessor.transformers_ if name == "deviations"} == {None}


def test_the_file_is_found_by_what_it_holds(plain: Detector, tmp_path: Path) -> None:
    detector = Detector(plain.preprocessor, plain.scaler, plain.model)
    save_detector(detector, tmp_path / "a.safetensors", tmp_path / "p.joblib")
    save_detector(detector, tmp_path / "b.joblib")
    (tmp_path / "a.safetensors").rename(tmp_path / "swapped.joblib")
    (tmp_path / "b.joblib").rename(tmp_path / "swapped.safetensors")
    assert file_format(tmp_path / "swapped.joblib") == "safetensors"
    assert file_format(tmp_path / "swapped.safetensors") == "joblib"
    expected = plain.score_samples(NEW)
    for path in ("swapped.joblib", "swapped.safetensors"):
        np.testing.assert_array_equal(load_detector(tmp_path / path).score_samples(NEW), expected)
    both = load_detector(tmp_path / "swapped.joblib", tmp_path / "p.joblib")
    np.testing.assert_array_equal(both.score_samples(NEW), expected)


def test_scoring_changes_no_byte_of_the_file(plain: Detector) -> None:
    before = native_file.to_bytes(plain)
    plain.score_samples(NEW)
    assert native_file.to_bytes(plain) == before


def test_any_safetensors_reader_sees_what_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with safetensors.safe_open(path, framework="np") as file:
        told = file.metadata()
        assert told["format"] == "mlx-iforest detector"
        assert told["format_version"] == str(NATIVE_VERSION)
        assert "order_date" in json.loads(told["preprocessor"])["schema_"]["columns"][1]["name"]
        assert file.get_tensor("model/forest_/tree_nodes").shape == (300,)
    assert b"sklearn" not in content
    assert b"numpy" not in content


def test_a_quantised_forest_takes_the_bytes_of_its_codes(plain: Detector, features: np.ndarray) -> None:
    small = with_forest(plain, features, "quantised")
    _, payload = taken_apart(native_file.to_bytes(small))
    header, rest = taken_apart(native_file.to_bytes(Detector(plain.preprocessor, plain.scaler, plain.model)))
    ends = [entry["data_offsets"] for name, entry in header.items() if name.startswith("model/")]
    whole = sum(stop - start for start, stop in ends)
    calibration = 400 * 4 + 1001 * 8
    assert len(payload) - (len(rest) - whole) - calibration == small.model.model_bytes()


def test_the_first_part_that_cannot_be_kept_is_named(plain: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_detector(plain, path)
    before = path.read_bytes()

    class Own(MLXIsolationForest):
        pass

    looped: dict[str, Any] = {}
    looped["self"] = looped
    scaler = MinMaxScaler().fit(plain.preprocessor.transform(FRAME))
    extra = MLXIsolationForest(2, random_state=0).fit(plain.transform(FRAME))
    extra.note = "mine"  # type: ignore[attr-defined]
    generator = MLXIsolationForest(2, random_state=np.random.RandomState(np.random.PCG64(0)))  # type: ignore[arg-type]
    generator.fit(plain.transform(FRAME))
    for detector, words in (
        (Detector(plain.preprocessor, scaler, plain.model), "found a MinMaxScaler"),
        (Detector(plain.preprocessor, plain.scaler, Own(2).fit(plain.transform(FRAME))), "found a Own"),
        (Detector(plain.preprocessor, plain.scaler, extra), "'note' is unknown"),
        (Detector(plain.preprocessor, plain.scaler, generator), "RandomState of PCG64"),
        (summarised(plain, {"f": len}), "training/f"),
        (summarised(plain, looped), "60 deep"),
        (summarised(plain, {"a": "\ud800"}), "half a character"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            save_detector(detector, path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before
    with pytest.raises(DataError, match=r"end the preprocessor's file in \.joblib"):
        save_detector(plain, path, tmp_path / "p.safetensors")


# What is wrong is refused.


def refused(content: bytes) -> str:
    with pytest.raises(ModelFileError) as caught:
        native_file.from_bytes(content, "m.safetensors")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert message.startswith("m.safetensors ")
    return message


@pytest.mark.parametrize("share", [0.00001, 0.001, 0.1, 0.3, 0.5, 0.9, 0.99999])
def test_a_truncated_file(content: bytes, share: float, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content[: max(9, int(share * len(content)))])
    with pytest.raises(ModelFileError, match="damaged or was cut off"):
        load_detector(path)
    assert "damaged" in refused(content + b"\x00")


@given(data=st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_found(content: bytes, data: st.DataObject) -> None:
    # Half of the flips in the header, which is smaller.
    header = int.from_bytes(content[:8], "little")
    place = data.draw(st.integers(0, header) | st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    refused(bytes(flipped))


@given(content=st.binary(max_size=200) | st.binary(max_size=200).map(lambda text: framed(b"{" + text, b"")))
@settings(max_examples=100, deadline=None)
def test_bytes_that_are_no_model(content: bytes) -> None:
    refused(content)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutations_are_refused_or_harmless(content: bytes, seed: int) -> None:
    """Past the checksum: what is accepted scores records without a crash, and everything else is a clear error."""
    changed = mutated(content, seed)
    try:
        parts = native_file.from_bytes(changed, "m.safetensors").parts
    except ModelFileError:
        refused(changed)
        return
    detector = Detector(parts["preprocessor"], parts["scaler"], parts["model"])
    with np.errstate(all="ignore"):
        try:
            scores = detector.score_samples(NEW.iloc[:3])
        except DataError:  # another schema may miss a column, or read another kind
            return
    assert np.isfinite(scores).all()


def at(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(header: dict[str, Any]) -> None:
        inner = header["__metadata__"]
        for key in keys[:-1]:
            inner = inner[key]
        assert keys[-1] in inner if isinstance(inner, dict) else len(inner) > keys[-1]
        inner[keys[-1]] = value

    return edit


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _thresholds(offset: float) -> Callable[[dict[str, Any]], None]:
    def edit(header: dict[str, Any]) -> None:
        header["__metadata__"]["model"]["offset_"] = header["__metadata__"]["threshold_rule"]["offset_"] = offset

    return edit


def _without_rule(offset: float) -> Callable[[dict[str, Any]], None]:
    def edit(header: dict[str, Any]) -> None:
        header["__metadata__"]["threshold_rule"] = None
        header["__metadata__"]["model"]["offset_"] = offset

    return edit


WRONG = [
    (at("model", "kind", value="os.system"), "expected the kind MLXIsolationForest"),
    (at("model", "kind", value=None), "expected the kind"),
    (at("model", "n_features_in_", value=4), "model: 'n_features_in_' is 4, but the forest has 6 features"),
    (at("model", "scoring", value="best"), "The 'scoring' parameter of MLXIsolationForest must be"),
    (at("model", "n_estimators", value=10**400), "model/n_estimators: expected a number"),
    (at("model", "n_estimators", value=50_000), "'n_estimators' is 50000, but the forest has 300 trees"),
    (at("model", "n_estimators", value=299), "'n_estimators' is 299, but the forest has 300 trees"),
    (lambda header: header["__metadata__"]["model"].update(pruned_=True, n_estimators=10**9), "'n_estimators' is 1000"),
    (at("model", "_counted", value=[["path_length", {"median": 1.0, "deviation": 0.0}]]), "deviation: expected"),
    (at("model", "_counted", value=[["path_length", {"median": 1.0, "deviation": 1.0}]]), "must name one leaf value"),
    (at("model", "scoring", value="blend"), "scoring='blend' is no more; fit a BlendedIsolationForest"),
    (at("model", "_counted", value=[["log_density", None], ["log_density", None]]), "must name one leaf value"),
    (at("model", "offset_", value="low"), "model/offset_: expected a number"),
    (at("model", "offset_", value=-5.0), r"model/offset_: expected a number in \[-1.0001, 0.0001\], found -5.0"),
    (at("model", "offset_", value=1e300), r"model/offset_: expected a number in \[-1.0001, 0.0001\], found 1e\+300"),
    (at("model", "offset_", value=-1.0), "model/offset_: the model's threshold is -1, but its rule's is -0"),
    (_thresholds(-1.0001), "model/offset_: the threshold is -1.0001, but the scores that it is from lie between -0"),
    (_thresholds(0.0), "model/offset_: the threshold is 0, but the scores that it is from lie between -0"),
    (_without_rule(-1.0001), "model/offset_: the threshold is -1.0001, but the scores that it is from lie between -0"),
    (at("model", "backend_", "name", value="cloud"), "expected one of mlx, numba, sklearn"),
    (at("model", "quantized_bits_", value=9), "'quantized_bits_' must be"),
    (at("model", "random_state", value={"key": 3}), "model/random_state: 'position' is missing"),
    (at("model", "forest_", "feature", value="model/forest_/feature"), "expected the array of this name"),
    (at("model", "forest_", "threshold", "codes", value="x"), "codes: expected the array of this name"),
    (at("model", "forest_", "leaf_values", value={}), "'_counted' must name one leaf value"),
    (at("calibration", "learned", value=None), "nothing refers to the array"),
    (at("model", "forest_", "others", value={"tree_start": "x"}), "'tree_start' is unknown"),
    (at("scaler", "kind", value="MinMaxScaler"), "expected a StandardScaler or ColumnTransformer"),
    (at("scaler", "state", "n_features_in_", value=2**31 - 1), "features, found 2147483647"),
    (at("scaler", "state", "parts", 0, "columns", "step", value=0), "of .* columns"),
    (at("preprocessor", "groups", 0, value="sum"), "groups/0: expected one of num, cat"),
    (at("preprocessor", "n_records_", value=-1), "n_records_: expected a whole number"),
    (at("preprocessor", "schema_", "columns", 0, "role", value="judge"), "expected one of numeric"),
    (at("preprocessor", "schema_", "columns", 0, "name", value="supplier"), "two columns have one name"),
    (at("preprocessor", "branches", 0, "name", value="cat"), "is missing|is unknown|differ"),
    (at("preprocessor", "branches", 0, "columns", 0, value="elsewhere"), "columns"),
    (at("preprocessor", "derived_", 0, "date", value="nowhere"), "derived from columns that are not there"),
    (at("preprocessor", "derived_", 0, "kind", value="Levels"), "expected the kind Duration"),
    (at("preprocessor", "tails_", "most", value=[1.0]), "expected units of"),
    (at("calibration", "unseen", value=1), "calibration/unseen: expected true or false"),
    (at("calibration", "scores", value="calibration/scores"), "expected the array"),
    (at("threshold_rule", "ratio", value=7), "anomaly ratio is 7"),
    (at("threshold_rule", "kind", value="Cheapest"), "expected the kind Contamination"),
    (at("training", value=[]), "training: expected an object"),
    (at("training", value={"$": "eval", "items": []}), "'eval' is no kind of value"),
    (at("training", value={"$": "date", "value": "yesterday"}), "cannot be read"),
    (at("training", value={"$": "set", "items": [[]]}), "cannot be read"),
    (at("training", value=nested(500)), "60 deep"),
    (at("training", value={"x" * 5000: [[]]}), "a name is too long"),
    (at("training", value=10**2000), "a number has 2,001 digits"),
    (at("training", value={"seed": 10**999}), "training/seed: expected a number in"),
    (at("training", value={"split": [{"train": 10**400}]}), "training/split/0/train: expected a number in"),
    (at("training", value={"$": "dict", "items": [[i * (2**61 - 1), 1] for i in range(200)]}), "one hash"),
    (at("training", value={"$": "timestamp", "value": "now"}), "expected a timestamp"),
    (at("training", value={"$": "float", "value": "1_000"}), "expected a float"),
    (at("feature_names", 0, value="x"), "feature_names: they are not those"),
    (lambda header: header["__metadata__"].pop("scaler"), "expected the parts preprocessor, scaler"),
    (lambda header: header["__metadata__"].update(more="1"), "expected the parts"),
    (lambda header: header["model/forest_/is_split"].update(dtype="I8"), "is_split: expected uint8"),
    (lambda header: header["model/forest_/is_split"].update(dtype="F8_E4M3"), "holds what no model file holds"),
    (lambda header: header["model/forest_/is_split"].update(shape=[2**62, 4]), "holds what no model file holds"),
    (lambda header: header["model/forest_/is_split"].update(shape=[-1]), "holds what no model file holds"),
    (lambda header: header["model/forest_/is_split"].update(data_offsets=[0, 2**62]), "holds what no model"),
    (lambda header: header.update(more=header.pop("calibration/scores")), "expected the array of this name"),
]


@pytest.mark.parametrize(("edit", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_crafted_file(content: bytes, edit: Callable[[dict[str, Any]], Any], words: str) -> None:
    assert re.search(words, refused(edited(content, edit)))


def with_arrays(content: bytes, **changes: np.ndarray) -> bytes:
    """The file with arrays of the forest replaced, by their last names."""
    header, _ = taken_apart(content)
    arrays = safetensors.numpy.load(content)
    arrays |= {f"model/forest_/{name}".replace("__", "/"): array for name, array in changes.items()}
    made = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    entries, payload = taken_apart_plain(made)
    return sealed({**entries, "__metadata__": header["__metadata__"]}, payload)


def taken_apart_plain(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:size]), content[size:]


def test_a_forest_that_would_be_huge_takes_no_memory(content: bytes) -> None:
    huge = np.full(300, 2**63 + 1, np.uint64)
    for changes in (
        {"tree_nodes": huge},
        {"tree_nodes": np.full(300, 2**31 - 1, np.uint32)},
        {"tree_nodes": np.full(300, 2**31 - 1, np.uint32), "is_split": np.zeros(10**6, np.uint8)},
        {"threshold__counts": np.full(5, 2**63, np.uint64)},
    ):
        spoiled = with_arrays(content, **changes)
        tracemalloc.start()
        try:
            refused(spoiled)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 20 * len(spoiled)


def test_forests_that_are_none(content: bytes) -> None:
    arrays = {
        name.rsplit("/", 1)[-1]: array
        for name, array in safetensors.numpy.load(content).items()
        if name.startswith("model/forest_") and "leaf_values" not in name
    }
    for changes, words in (
        ({"tree_nodes": np.empty(0, np.uint8)}, "tree_nodes"),
        ({"is_split": arrays["is_split"][::-1]}, "one leaf more"),
        ({"is_split": arrays["is_split"].astype(np.uint16)}, "expected uint8"),
        ({"feature": np.full_like(arrays["feature"], 6)}, "must be below 6"),
        ({"feature": arrays["feature"][1:]}, "'feature' has"),
        ({"leaf_samples": np.zeros_like(arrays["leaf_samples"])}, "at least 1"),
        ({"leaf_samples": np.full(len(arrays["leaf_samples"]), 2**32, np.uint64)}, "32 bits"),
        ({"missing_left": arrays["missing_left"][1:]}, "'missing_left' has"),
        ({"leaf_values__log_density__values": np.array([np.nan], np.float32)}, "finite"),
    ):
        assert words in refused(with_arrays(content, **changes)), changes.keys()


def test_a_tree_that_is_a_long_chain(content: bytes) -> None:
    """A chain takes a step for each level: without a bound, time would go with the square of its length."""
    splits = 200_000
    is_split = np.zeros(2 * splits + 1, np.bool_)
    is_split[0] = True
    is_split[1:-1:2] = np.arange(splits) < splits - 1
    spoiled = with_arrays(
        content,
        tree_nodes=np.array([2 * splits + 1], np.uint32),
        is_split=np.packbits(is_split),
        missing_left=np.zeros(-(-splits // 8), np.uint8),
        feature=np.zeros(splits, np.uint8),
        leaf_samples=np.ones(splits + 1, np.uint8),
        threshold__values=np.zeros(splits, np.float32),
        leaf_values__log_density__values=np.zeros(splits + 1, np.float32),
    )
    spoiled = edited(spoiled, at("model", "forest_", "threshold", "codes", value=None)) if _coded(content) else spoiled
    assert "levels" in refused(spoiled)


def _coded(content: bytes) -> bool:
    return taken_apart(content)[0]["__metadata__"]["model"]["forest_"]["threshold"]["codes"] is not None


def test_a_newer_format_says_which_and_what_to_do(content: bytes) -> None:
    newer = edited(content, at("format_version", value="2"))
    assert "has format version '2', written by mlx-iforest '0.1.0'" in refused(newer)
    assert "reads version 1; update mlx-iforest" in refused(newer)
    # Also where that version has another checksum.
    header, payload = taken_apart(newer)
    header["__metadata__"] |= {"checksum": "of another kind", "format_version": "9" * 1000}
    assert "update" in refused(framed(json.dumps(header).encode(), payload))


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"format": "other", "format_version": "1"}])
def test_a_safetensors_file_of_something_else(metadata: dict[str, str] | None) -> None:
    assert "something else" in refused(safetensors.numpy.save({"weights": np.zeros(3)}, metadata))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a":' * 200_000, "damaged|something else"),
        (b"[" * 200_000, "damaged"),
        (b'{"__metadata__":{"format":"mlx-iforest detector","format":"x"}}', "twice"),
        (b'{"__metadata__":{"format":NaN}}', "NaN is no number"),
        (b'{"__metadata__":' + b"9" * 5000 + b"}", "damaged|something else"),
        (b'{"__metadata__":[]}', "something else"),
        (b"{\xff}", "damaged"),
        (b"{}", "something else"),
    ],
    ids=range(8),
)
def test_headers_that_are_none(text: bytes, words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        native_file.from_bytes(framed(text, b""), "m.safetensors")
    refused(framed(text, b""))


@pytest.mark.parametrize("part", ["training", "preprocessor", "model"])
def test_parts_that_leave_json(content: bytes, part: str) -> None:
    for text in ('{"a":1,"a":2}', "NaN", '{"a":' * 100_000, "[" * 100_000, "{", "", "9" * 5000):
        header, payload = taken_apart(content)
        header["__metadata__"][part] = text
        told = {name: one if isinstance(one, str) else json.dumps(one) for name, one in header["__metadata__"].items()}
        told.pop("checksum")
        header["__metadata__"] = told
        told["checksum"] = checksum(header, memoryview(payload))
        refused(framed(json.dumps(header).encode(), payload))


# Values and parts by themselves.

numbers = st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.none()
keys = (
    numbers
    | st.text()
    | st.dates()
    | st.datetimes().filter(lambda when: not when.fold)
    | st.tuples(st.integers(), st.text())
)
scalars = (
    keys
    | st.timedeltas()
    | st.sampled_from([np.float32(0.1), np.int8(-3), np.bool_(True), np.datetime64("2024-01-01T01"), np.str_("ä")])
    | st.sampled_from([pd.Timestamp("2024-01-01 00:00:00.123456789"), pd.NaT, pd.NA, np.datetime64("NaT", "D")])
    | st.sampled_from([np.arange(6.0).reshape(2, 3), np.array(["a", "bcd"]), np.array([{1}, None], object)])
    | st.sampled_from([np.array("2024-01-01", "M8[ns]"), np.zeros((0, 2), np.uint8), np.array([], "<U3")])
    | st.frozensets(st.integers() | st.text())
    | st.sets(st.text())
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.just("$"), inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=trees)
@settings(max_examples=50, deadline=None)
def test_free_values_come_back(value: Any) -> None:
    arrays: Arrays = {}
    written = json.loads(json.dumps(Free().encode(value, "training", arrays), allow_nan=False))
    arrays = safetensors.numpy.load(safetensors.numpy.save(arrays))
    found = Free().decode(written, "training", arrays)
    assert not arrays
    assert _told(found) == _told(value)


def _told(value: Any) -> Any:
    """A value so that equal ones are of the same types and bits."""
    if isinstance(value, dict):
        return [(_told(key), _told(one)) for key, one in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted(map(repr, value))
    if isinstance(value, (list, tuple)):
        return type(value), [_told(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, repr(value)
    return type(value), repr(value)


@pytest.mark.parametrize("value", [len, object(), 1j, b"x", pd.Series([1]), np.array([1j]), Path("x"), type])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(StateError, match="cannot be kept"):
        Free().encode({"a": [value]}, "training", {})


@pytest.mark.parametrize("offset", [-0.9, -0.45])
def test_a_threshold_that_is_not_its_rule_s_is_not_written(plain: Detector, offset: float) -> None:
    detector = copy.copy(plain)
    detector.model = copy.copy(plain.model)
    detector.model.offset_ = offset
    with pytest.raises(DataError, match=f"the model's threshold is {offset}, but its rule's is .*; call set_threshold"):
        native_file.to_bytes(detector)


def test_an_array_of_texts_cannot_take_more_than_its_characters() -> None:
    with pytest.raises(StateError, match="64 times"):
        Free().encode(np.array(["x" * 300, *[""] * 300]), "training", {})
    told = {"$": "array", "dtype": "<U999999999", "scalar": False, "shape": [2], "values": ["a", "b"]}
    with pytest.raises(StateError, match="64 times"):
        Free().decode(told, "training", {})


def test_numbers_beyond_floats_are_refused_where_one_computes_with_them() -> None:
    for text in ("1e999", "-1e999", str(10**400), '"nan"', "true"):
        with pytest.raises(StateError, match="expected a number"):
            Number().decode(json.loads(text), "x", {})
    assert Number(special=True).decode("-inf", "x", {}) == -math.inf
    for whole in (10**400, -(10**308) * 9):
        with pytest.raises(StateError, match="t/n: expected a number"):
            Free().encode({"n": whole}, "t", {})
        with pytest.raises(StateError, match="t/n/1: expected a number"):
            Free().decode({"n": [1, whole]}, "t", {})
    assert Free().decode(Free().encode({"n": [10**30]}, "t", {}), "t", {}) == {"n": [10**30]}


def test_times_come_back() -> None:
    for value in (timedelta(-3, 5, 7), date(2024, 2, 29), datetime(2024, 1, 1, 2, 3, 4, 5)):
        assert Free().decode(Free().encode(value, "t", {}), "t", {}) == value


def test_an_estimator_by_itself() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    model = MLXIsolationForest(8, random_state=0, max_samples=64).fit(pd.DataFrame(X, columns=["a", "b", "c"]))
    arrays, values = to_state(model)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert sum(array.nbytes for array in arrays.values()) < model.forest_.nbytes / 3
    loaded = from_state(arrays, values)
    assert isinstance(loaded, MLXIsolationForest)
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    frame = pd.DataFrame(X[:9], columns=["a", "b", "c"])
    np.testing.assert_array_equal(loaded.score_samples(frame), model.score_samples(frame))
    columns = pd.DataFrame(X, columns=["a", "b", "c"])
    more = [one.set_params(n_estimators=12, warm_start=True).fit(columns) for one in (loaded, model)]
    assert more[0].forest_.equals(more[1].forest_)
    with pytest.raises(StateError, match="not fitted"):
        to_state(MLXIsolationForest())
    with pytest.raises(StateError, match="nothing refers"):
        from_state({**arrays, "more": X}, values)


def test_the_fingerprint_is_of_values_and_their_order() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [[1], {}, 2]})
    told = fingerprint(frame)
    assert told["dtypes"].keys() == {"a", "b", "c"}
    assert told == fingerprint(frame.copy().set_index(pd.Index([5, 6, 7])))
    for other in (frame.iloc[::-1], frame.rename(columns={"a": "A"}), frame.assign(a=[1, 2, 4]), frame.iloc[:2]):
        assert fingerprint(other)["sha256"] != told["sha256"]
    long = pd.DataFrame({"a": np.arange(250_000)})
    assert fingerprint(long)["sha256"] != fingerprint(long.iloc[:-1])["sha256"]
