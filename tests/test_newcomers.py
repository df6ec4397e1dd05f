"""What no training record had is new for a while, then known, whatever records come together."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from anomaly_detection.detector import Detector
from anomaly_detection.features.compiled.choice import only
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.kinds import EVIDENCE_GROUPS, GROUPS
from mlx_iforest import MLXIsolationForest

NEW = ("supplier rarity", "supplier beside port")


def orders(count: int, seed: int, days: float = 60.0) -> pd.DataFrame:
    """Each supplier ships from a port of its own."""
    random = np.random.default_rng(seed)
    which = random.integers(3, size=count)
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(random.uniform(0, days, count)), unit="D")
    ports = np.where(random.random(count) < 0.9, which, (which + 1) % 3)
    return pd.DataFrame(
        {
            "ordered": dates,
            "supplier": np.array(["Acme", "Bolt", "Cone"])[which],
            "port": np.array(["Riga", "Oslo", "Kiel"])[ports],
            "amount": np.round(random.lognormal(3, 0.3, count), 2),
        }
    )


@pytest.fixture(scope="module")
def fitted() -> SupplyChainFeatures:
    return SupplyChainFeatures(groups=EVIDENCE_GROUPS).fit(orders(600, 0))


def judged(fitted: SupplyChainFeatures, stream: pd.DataFrame, size: int) -> dict[str, npt.NDArray[np.float32]]:
    """The evidence of what is new, of a stream that comes in parts of a size."""
    features = copy.copy(fitted)
    features.keep_recent()
    extended, found = features.prepare(stream)[0], []
    for start in range(0, len(stream), size):
        part = extended.take(slice(start, start + size))
        found.append(features.features_of(part))
        features.remember(part, str)
    names = [*features.get_feature_names_out()]
    return {name: np.vstack(found)[:, names.index(name)] for name in NEW}


def with_new(first: int, days: float) -> pd.DataFrame:
    """A stream in which a supplier that none knew ships from a known port, and a known one from the port of another."""
    stream = orders(80, 1, days).assign(port="Riga", supplier="Acme")
    stream.loc[range(first, 80, 4), "supplier"] = "Dale"
    stream.loc[range(first + 2, 80, 4), "port"] = "Kiel"
    return stream


def test_what_is_new_is_known_after_five_records_on_three_days(fitted: SupplyChainFeatures) -> None:
    stream = with_new(1, 20.0)
    found = judged(fitted, stream, 1)
    is_new = (stream["supplier"] == "Dale").to_numpy()
    assert (found["supplier rarity"][is_new][:5] > 2.0).all()
    assert (found["supplier rarity"][is_new][5:] == 0.0).all()
    beside = found["supplier beside port"][(stream["port"] == "Kiel").to_numpy()]
    assert (beside[:5] > 0.0).all()
    assert (beside[5:] == 0.0).all()
    # Of a day alone it may be what is wrong with an import.
    assert (judged(fitted, with_new(1, 0.9), 1)["supplier rarity"][is_new] > 2.0).all()


@pytest.mark.parametrize("size", [1, 7, 80])
def test_what_is_known_is_a_function_of_the_records_in_their_order(fitted: SupplyChainFeatures, size: int) -> None:
    stream = with_new(1, 20.0)
    one_by_one = judged(fitted, stream, 1)
    for compiled in (False, True):
        with only(compiled):
            found = judged(fitted, stream, size)
        for name in NEW:
            assert ((found[name] == 0.0) == (one_by_one[name] == 0.0)).all()
    features = copy.copy(fitted)
    features.keep_recent()
    tables = [features.prepare(stream[i : i + 1])[0] for i in range(len(stream))]
    places = [[*features.get_feature_names_out()].index(name) for name in NEW]
    together = features.features_of_each(tables)[:, places]
    np.testing.assert_array_equal(together, np.column_stack([one_by_one[name] for name in NEW]))


def test_a_detector_follows_a_stream() -> None:
    detector = Detector(SupplyChainFeatures(groups=GROUPS), model=MLXIsolationForest(20, random_state=0))
    detector.fit(orders(300, 0))
    stream = with_new(1, 20.0)
    assert stream["supplier"].iloc[77] == "Dale"
    before = detector.score_samples(stream.iloc[[77]])
    for start in range(0, 60, 20):
        detector.update(stream.iloc[start : start + 20])
    assert detector.score_samples(stream.iloc[[77]]) > before
