"""How probable a twin is by how common a record's cells are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.features.repeats.coincidences import Chance
from anomaly_detection.features.repeats.commonness import CommonCells, learn_commonness
from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.model_files.branch_states import BRANCHES
from mlx_iforest.convert.declared import StateError

N = 1_500
SAID = ["product", "customer", "amount"]


def sales(seed: int, n: int = N) -> pd.DataFrame:
    """Half of them sell one thing to hardly anybody in particular; of the others each amount has its own cents."""
    rng = np.random.default_rng(seed)
    walk_in = rng.random(n) < 0.5
    customers = np.where(walk_in, rng.integers(0, 3, n), rng.integers(3, 60, n))
    return pd.DataFrame(
        {
            "number": [f"{seed}-{i}" for i in range(n)],
            "product": pd.Categorical(np.where(walk_in, "pen", rng.choice(["bag", "desk", "lamp"], n))),
            "customer": pd.Categorical([f"customer {i}" for i in customers]),
            "amount": np.where(walk_in, rng.integers(1, 60, n), np.round(rng.gamma(2.0, 100.0, n), 2)),
        }
    )


@pytest.fixture(scope="module")
def copies() -> Copies:
    return Copies(["number"]).fit(sales(0)[["number", *SAID]])


def test_a_copy_of_rare_cells_is_told_from_twins_by_chance(copies: Copies) -> None:
    new = sales(1)
    row = int(np.flatnonzero(new["product"] != "pen")[0])
    new.loc[N - 1, SAID] = new.loc[row, SAID]
    found = copies.transform(new)[:, 0]
    by_chance = np.delete(found, [row, N - 1])
    assert found[row] == found[N - 1] > 3.5
    assert (by_chance > 0).mean() > 0.2
    assert by_chance.max() < 1.5
    assert copies.chance_.evidence(N) < 1.0  # as every twin had before


def test_twins_are_expected_where_they_are(copies: Copies) -> None:
    """Of records with so much evidence, so few have a twin."""
    found = copies.transform(sales(2))[:, 0]
    for nats in (1.0, 2.0, 3.0):
        assert (found > nats).mean() <= 1.5 * np.exp(-nats)


def test_hardly_any_twin_teaches_nothing() -> None:
    keys = np.arange(100, dtype=np.uint64)
    assert learn_commonness({"a": keys}, keys, 99.0) is None
    cells = CommonCells(np.zeros(0, dtype=np.uint64), np.zeros(0), 1.5)
    assert cells.of(keys[:2]).tolist() == [1.5, 1.5]


def test_a_few_twins_are_errors_themselves() -> None:
    def besides(seen: int, compared: float = 999.0) -> float:
        return float(Chance(seen, 1_000, 999.0, 1e-9, 6.0, 0.01).besides(compared))

    assert 6.0 > besides(0) > besides(2) > besides(5) > besides(20) == 0.0
    assert besides(0, 1e6) == 2.0
    assert float(Chance(3, 1_000, 999.0).besides(999.0)) == 0.0


def test_its_state(copies: Copies) -> None:
    arrays: dict[str, np.ndarray] = {}
    state = BRANCHES["copies"].encode(copies, "copies", arrays)
    again = BRANCHES["copies"].decode(state, "copies", arrays)
    new = sales(3)[["number", *SAID]]
    np.testing.assert_array_equal(again.transform(new), copies.transform(new))
    arrays = {}
    state = BRANCHES["copies"].encode(copies, "copies", arrays)
    del state["commonness_"]["cells"]["amount"]
    with pytest.raises(StateError, match="the cells of the columns that say something"):
        BRANCHES["copies"].decode(state, "copies", arrays)
