"""Every model that we write comes back from a ``.joblib`` bit for bit; what is damaged is an error and never more."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PowerTransformer, QuantileTransformer, RobustScaler

from anomaly_detection import thresholds
from anomaly_detection.detector import Detector
from anomaly_detection.errors import ModelFileError
from anomaly_detection.persistence import load_detector, save_detector
from anomaly_detection.pickled_parts import MAKERS
from anomaly_detection.safe_pickle import CLASSES, read_joblib
from anomaly_detection.synthetic import generate
from anomaly_detection.thresholds import AlertBudget, BestF1, Conformal, Contamination, LowestCost
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.forest import Forest
from mlx_iforest.quantization import PackedForest

DATA = generate("classic", 200, seed=3)
FRAME = DATA.frame
REALISTIC = generate("realistic", 200, seed=3).frame
SMALL = FRAME[["lead_time", "supplier"]]


def forest(**parameters: Any) -> MLXIsolationForest:
    return MLXIsolationForest(**{"n_estimators": 5, "random_state": 0, **parameters})


def fitted(frame: pd.DataFrame = FRAME, **parts: Any) -> Detector:
    return Detector(**{"model": forest(), **parts}).fit(frame, DATA.labels if len(frame) == len(FRAME) else None)


def made_smaller(make: Callable[[BaseIsolationForest], BaseIsolationForest]) -> Detector:
    detector = fitted(REALISTIC)
    detector.model = make(detector.model)
    return detector


KINDS: dict[str, Callable[[], Detector]] = {
    "base": lambda: fitted(REALISTIC, threshold_rule=AlertBudget(0.02)),
    "density": lambda: fitted(model=forest(scoring="density"), threshold_rule=Conformal(0.2)),
    "blend": lambda: fitted(model=forest(scoring="blend"), threshold_rule=LowestCost(1.0, 20.0)),
    "oblique": lambda: fitted(model=forest(extension_level=1), threshold_rule=BestF1()),
    "blended": lambda: fitted(model=BlendedIsolationForest(12, random_state=0), scaler=RobustScaler()),
    "random state": lambda: fitted(model=forest(random_state=np.random.RandomState(7))),
    "unseeded": lambda: fitted(model=forest(random_state=np.random.RandomState())),
    "by scikit-learn": lambda: fitted(model=forest(backend="sklearn")),
    "8 bits": lambda: made_smaller(lambda model: model.quantize(8)),
    "16 bits": lambda: made_smaller(lambda model: model.quantize(16)),
    "pruned": lambda: made_smaller(lambda model: model.prune(0.01)[0]),
    "missing values": lambda: fitted(FRAME.mask(np.random.default_rng(0).random(FRAME.shape) < 0.1)),
}


def difference(ours: Any, theirs: Any, at: str = "") -> str | None:
    """The first place where two trees of objects differ."""
    if type(theirs).__name__ == "_RemainderColsList":  # of scikit-learn up to 1.8
        theirs = theirs.data
    if type(ours) is not type(theirs):
        return f"{at}: {type(ours)} and {type(theirs)}"
    if isinstance(ours, pd.Index):
        return difference(ours.to_numpy(), theirs.to_numpy(), at)
    if isinstance(ours, np.ndarray):
        same = (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape) and (
            ours.strides == theirs.strides or not ours.size
        )
        alike = ours.tolist() == theirs.tolist() if ours.dtype == object else ours.tobytes() == theirs.tobytes()
        return None if same and alike else f"{at}: {ours!r} and {theirs!r}"
    if isinstance(ours, np.random.RandomState):
        return difference(ours.get_state(legacy=False), theirs.get_state(legacy=False), at)
    if isinstance(ours, (list, tuple)):
        ours, theirs = dict(enumerate(ours)), dict(enumerate(theirs))
    elif type(ours).__name__ in {name for names in CLASSES.values() for name in names}:
        # What a forest has worked out of its arrays is no part of a file.
        ours, theirs = (
            {k: v for k, v in vars(one).items() if k not in ("tree_depths", "_valid")} for one in (ours, theirs)
        )
    if isinstance(ours, dict):
        if list(ours) != list(theirs):
            return f"{at}: {list(ours)} and {list(theirs)}"
        found = (difference(ours[key], theirs[key], f"{at}/{key}") for key in ours)
        return next((one for one in found if one), None)
    return None if repr(ours) == repr(theirs) else f"{at}: {ours!r} and {theirs!r}"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.joblib"
    save_detector(fitted(SMALL, threshold_rule=Contamination(0.05)), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_comes_back(kind: str, tmp_path: Path) -> None:
    detector = KINDS[kind]()
    paths = tmp_path / "model.joblib", tmp_path / "preprocessor.joblib"
    save_detector(detector, *paths)
    for path in paths:
        assert difference(read_joblib(path), joblib.load(path)) is None
    frame = REALISTIC if "order_id" in detector.preprocessor.feature_names_in_ else FRAME
    expected = detector.score_samples(frame)
    np.testing.assert_array_equal(load_detector(paths[0]).score_samples(frame), expected)
    np.testing.assert_array_equal(load_detector(*paths).score_samples(frame), expected)
    save_detector(load_detector(paths[0]), paths[0])
    np.testing.assert_array_equal(load_detector(paths[0]).score_samples(frame), expected)


@pytest.mark.parametrize(
    "scaler", [MaxAbsScaler(), MinMaxScaler(), PowerTransformer(), QuantileTransformer(n_quantiles=20)]
)
def test_other_scalers_of_scikit_learn(scaler: Any, tmp_path: Path) -> None:
    detector = fitted(SMALL, scaler=scaler)
    save_detector(detector, tmp_path / "model.joblib")
    assert difference(read_joblib(tmp_path / "model.joblib"), joblib.load(tmp_path / "model.joblib")) is None


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_every_protocol_that_joblib_has_written(small: Path, tmp_path: Path, protocol: int) -> None:
    joblib.dump(joblib.load(small), tmp_path / "model.joblib", protocol=protocol)
    expected = load_detector(small).score_samples(SMALL)
    np.testing.assert_array_equal(load_detector(tmp_path / "model.joblib").score_samples(SMALL), expected)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6.0).astype(">f8"),
        np.array([True, False]),
        np.array(["a", "bcd"], dtype=object).reshape(2, 1),
        np.array(["a", "bcd"]),
        np.empty((0, 3)),
        np.empty(0, dtype=object),
        np.array(4, dtype=np.int16),
        np.arange(1_000_000),
    ],
    ids=lambda array: f"{array.dtype.str} {array.shape}",
)
def test_arrays(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    joblib.dump([array, array], tmp_path / "array.joblib")
    ours: Any = read_joblib(tmp_path / "array.joblib")
    assert difference(ours, joblib.load(tmp_path / "array.joblib")) is None
    assert all(one.flags.writeable for one in ours)


def test_shared_parts_stay_shared(tmp_path: Path) -> None:
    part = {"a": 1.5, 2: None}
    joblib.dump([part, part, (1, -(2**40), "é", b"x", slice(0, None, 2), np.float64(2.5))], tmp_path / "x.joblib")
    first, second, rest = read_joblib(tmp_path / "x.joblib")  # type: ignore[misc]
    assert first is second
    assert first == part
    assert rest == (1, -(2**40), "é", b"x", slice(0, None, 2), 2.5)
    assert type(rest[-1]) is np.float64


def test_what_is_allowed_is_there_and_completes_itself_in_known_ways() -> None:
    known = {None, BaseEstimator.__setstate__, BaseIsolationForest.__setstate__}
    for module, names in CLASSES.items():
        for name in names:
            cls = getattr(importlib.import_module(module), name)
            assert inspect.isclass(cls)
            assert getattr(cls, "__setstate__", None) in known, name
            # An instance must be no function, and run nothing when it goes.
            assert not {"__call__", "__del__", "__reduce__"} & {key for base in cls.__mro__[:-1] for key in vars(base)}
    assert not {(module, name) for module, names in CLASSES.items() for name in names} & MAKERS.keys()


def test_every_threshold_rule_is_allowed() -> None:
    rules = {
        name
        for name, cls in inspect.getmembers(thresholds, inspect.isclass)
        if cls.__module__ == thresholds.__name__ and not name.startswith("_") and name != "ThresholdRule"
    }
    assert rules == set(CLASSES["anomaly_detection.thresholds"])


# Forests whose arrays would lead compiled code astray.


def altered(path: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> str:
    content = joblib.load(path)
    change(content)
    joblib.dump(content, target)
    with pytest.raises(ModelFileError) as caught:
        load_detector(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_array(name: str, place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        array = getattr(content["model"].forest_, name).copy()
        array[place] = value
        content["model"].forest_.__dict__[name] = array

    return change


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "a child beyond the tree": ("children", with_array("left", 0, 10**6)),
    "a child above its parent": ("children", with_array("left", 0, -7)),
    "a feature that there is not": ("feature", with_array("feature", 0, 10**6)),
    "a threshold of nothing": ("threshold", with_array("threshold", 0, np.nan)),
    "trees beyond the nodes": ("entries", with_array("tree_start", -1, 10**6)),
    "more features than columns": ("features", lambda content: vars(content["model"].forest_).update(n_features=10**6)),
    "more columns than features": ("features", lambda content: vars(content["model"]).update(n_features_in_=10**6)),
    "leaf values that there are not": (
        "_counted",
        lambda content: vars(content["model"]).update(_counted=(("volume", None),)),
    ),
    "a list for an array": ("damaged", lambda content: vars(content["model"].forest_).update(left=[1, 2])),
    "no forest": ("damaged", lambda content: vars(content["model"]).update(forest_=content["scaler"])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_forests_that_lead_astray(name: str, small: Path, tmp_path: Path) -> None:
    wanted, change = CHANGES[name]
    assert wanted in altered(small, tmp_path / "model.joblib", change)


def test_what_a_forest_says_that_it_worked_out_is_not_believed(small: Path, tmp_path: Path) -> None:
    content = joblib.load(small)
    content["model"].forest_.__dict__["tree_depths"] = np.full(5, 10**6, np.int32)
    joblib.dump(content, tmp_path / "model.joblib")
    assert load_detector(tmp_path / "model.joblib").model.forest_.max_depth < 100


@pytest.mark.parametrize("nodes", [2**40, 2**63])
def test_a_packed_forest_of_more_nodes_than_memory_holds(nodes: int, small: Path, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        packed = PackedForest.of(content["model"].forest_)
        vars(packed)["tree_nodes"] = np.array([nodes] * 5, np.uint64)
        # A packed forest in an ordinary model: `__getstate__` packs those of quantised ones only.
        content["model"].__dict__["forest_"] = packed

    assert "tree_nodes" in altered(small, tmp_path / "model.joblib", change)


def test_members_of_a_blended_forest_that_are_not_there(tmp_path: Path) -> None:
    save_detector(fitted(SMALL, model=BlendedIsolationForest(8, random_state=0)), tmp_path / "model.joblib")

    def change(content: dict[str, Any]) -> None:
        bounds = content["model"]._member_trees
        content["model"]._member_trees = [(first, stop + 10**6) for first, stop in bounds]

    assert "_member_trees" in altered(tmp_path / "model.joblib", tmp_path / "model.joblib", change)


# Anything may happen to a file.

EDITS = st.one_of(
    st.tuples(st.just("set"), st.floats(0, 1), st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 50)),
    st.tuples(st.just("copy"), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("flip"), st.floats(0, 1), st.integers(0, 7)),
)


def edited(data: bytes, edits: list[tuple[str, float, Any]]) -> bytes:
    for kind, share, value in edits:
        place = 2 + int(share * (len(data) - 3))
        if kind == "set":
            data = data[:place] + value + data[place + len(value) :]
        elif kind == "insert":
            data = data[:place] + value + data[place:]
        elif kind == "cut":
            data = data[:place] + data[place + value :]
        elif kind == "copy":
            start = int(value * len(data))
            data = data[:place] + data[start : start + 30] + data[place:]
        else:
            data = data[:place] + bytes([data[place] ^ 1 << value]) + data[place + 1 :]
    return data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(EDITS, min_size=1, max_size=3))
def test_a_damaged_file_is_an_error_or_a_model(
    edits: list[tuple[str, float, Any]], small: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(edited(small.read_bytes(), edits))
    with suppress(ModelFileError):
        detector = load_detector(path)
        assert isinstance(detector.model.forest_, Forest)
        detector.model.forest_.validate()
