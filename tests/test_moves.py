"""What is usual of a number goes along with the records that come, whatever records come together."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.detector import Detector
from anomaly_detection.features.compiled.choice import only
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.kinds import GROUPS
from anomaly_detection.features.numbers.moves import Moves, Moving
from anomaly_detection.model_files.persistence import load_detector, save_detector
from mlx_iforest import MLXIsolationForest

PRICE = "price beside its product"


def orders(count: int, seed: int, dearer: float = 1.0) -> pd.DataFrame:
    """Eight products of two suppliers; those of one get dearer."""
    random = np.random.default_rng(seed)
    product = random.integers(8, size=count)
    price = (5.0 + 10.0 * product) * random.lognormal(0, 0.02, count) * np.where(product < 4, dearer, 1.0)
    names = np.array([f"P{i}" for i in range(8)])
    return pd.DataFrame(
        {
            "supplier": np.where(product < 4, "Acme", "Bolt"),
            "product": names[product],
            "price": np.round(price, 2),
            "pieces": random.integers(1, 90, count),
        }
    )


@pytest.fixture(scope="module")
def fitted() -> Detector:
    return Detector(SupplyChainFeatures(groups=GROUPS), model=MLXIsolationForest(20, random_state=0)).fit(
        orders(800, 0)
    )


@pytest.fixture
def detector(fitted: Detector) -> Detector:
    made = copy.copy(fitted)
    made.preprocessor = copy.copy(fitted.preprocessor)
    return made


def judged(detector: Detector, stream: pd.DataFrame, size: int) -> npt.NDArray[np.float32]:
    """The features of a stream that comes in parts of a size."""
    found = []
    for start in range(0, len(stream), size):
        part = stream[start : start + size]
        found.append(detector.extract(part)[0])
        detector.update(part)
    return np.vstack(found)


def far_out(detector: Detector, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """How many spreads each price is off."""
    return np.sinh(features[:, [*detector.preprocessor.get_feature_names_out()].index(PRICE)].astype(np.float64))


def test_a_rise_is_new_for_a_while_and_then_known_and_an_error_stays_one(detector: Detector) -> None:
    stream = orders(300, 1, 1.08)
    is_dear = (stream["supplier"] == "Acme").to_numpy()
    stream.loc[290, "price"] *= 3.0
    off = far_out(detector, judged(detector, stream, 50))
    usual = np.arange(300) >= 200
    usual[290] = False
    assert np.median(off[:10][is_dear[:10]]) > 2.0
    assert abs(np.median(off[usual & is_dear])) < 0.7
    assert abs(np.median(off[usual & ~is_dear])) < 0.7
    assert off[290] > 20.0


def test_gross_errors_move_nothing(detector: Detector) -> None:
    stream = orders(200, 1)
    stream.loc[::5, "price"] *= 100.0
    detector.update(stream)
    off = far_out(detector, detector.extract(orders(100, 2))[0])
    assert abs(np.median(off)) < 0.5


@pytest.mark.parametrize("size", [3, 20])
def test_it_is_a_function_of_the_records_in_their_order(detector: Detector, fitted: Detector, size: int) -> None:
    stream = orders(20, 1, 1.08)
    one_by_one = judged(detector, stream, 1)
    for compiled in (False, True):
        again = copy.copy(fitted)
        again.preprocessor = copy.copy(fitted.preprocessor)
        again.preprocessor.keep_recent()
        with only(compiled):
            np.testing.assert_array_equal(far_out(again, judged(again, stream, size)), far_out(again, one_by_one))
    tables = [fitted.preprocessor.prepare(stream[i : i + 1])[0] for i in range(len(stream))]
    again.preprocessor = copy.copy(fitted.preprocessor)
    again.preprocessor.keep_recent()
    together = again.preprocessor.features_of_each(tables)
    np.testing.assert_array_equal(far_out(again, together), far_out(again, one_by_one))


@pytest.mark.parametrize("size", [1, 3, 8, 20, 1000])
def test_compiled_code_moves_as_the_plain_way(detector: Detector, size: int) -> None:
    pytest.importorskip("numba")
    detector.preprocessor.keep_recent()
    moves, random = detector.preprocessor.moves_, np.random.default_rng(size)
    assert isinstance(moves, Moves)
    _, contexts, parts = moves.state.places.shape
    last = moves.state.effects.shape[1]
    at = random.integers(last, size=(5 + size, contexts, parts))
    away = np.where(random.random((5 + size, contexts)) < 0.1, np.nan, random.normal(0.0, 6.0, (5 + size, contexts)))
    state = Moving(random.normal(size=(2, last)) * (np.arange(last) > 0), at[:5], away[:5])
    found = []
    for compiled in (False, True):
        with only(compiled):
            after, moved = moves._go_on(state, at[5:], away[5:])
        found.append([part.tobytes() for part in (after.effects, after.places, after.away, moved)])
    assert found[0] == found[1]
    assert (found[0][0] == state.effects.tobytes()) == (size < 3)


@pytest.mark.parametrize("name", ["model.safetensors", "model.joblib"])
def test_a_file_keeps_what_is_usual(detector: Detector, tmp_path: Path, name: str) -> None:
    first, then = orders(93, 1, 1.08), orders(60, 2, 1.08)
    detector.update(first)
    save_detector(detector, tmp_path / name)
    read = load_detector(tmp_path / name)
    for one in (detector, read):
        one.update(then[:30])
    np.testing.assert_array_equal(
        far_out(read, read.extract(then[30:])[0]), far_out(detector, detector.extract(then[30:])[0])
    )


def test_reasons_tell_what_is_usual_by_now(detector: Detector) -> None:
    stream = orders(400, 1, 1.08)
    detector.update(stream)
    odd = stream.iloc[[5]].assign(price=3 * stream["price"].iloc[5])
    (alert,) = score_table(detector, odd).at(np.arange(1))
    reason = next(one for one in alert.explanation.contributions if one.feature == PRICE)
    own = stream.loc[stream["product"] == odd["product"].iloc[0], "price"]
    assert reason.expected == pytest.approx(own.median(), rel=0.02)
    low, high = reason.expected_range
    assert low < reason.expected < high


def test_a_group_of_which_nothing_is_known_moves_nothing_and_nothing_moves_for_it(detector: Detector) -> None:
    detector.update(orders(96, 1, 1.08))
    moves = detector.preprocessor.moves_
    assert moves is not None
    before, new = moves.state, orders(8, 5, 1.08).assign(product="P9", supplier=None)
    prepared = detector.preprocessor.prepare(new)[0]
    assert not far_out(detector, detector.preprocessor.features_of(prepared)).any()
    usual = detector.preprocessor.in_units(prepared)[1][
        :, [*detector.preprocessor.get_feature_names_out()].index(PRICE)
    ]
    assert np.isfinite(usual.astype(np.float64)).all()
    detector.update(new)
    np.testing.assert_array_equal(moves.state.effects, before.effects)
