"""Records that say the same as others: what that proves, which row is named, and what must make no difference."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.repeats.coincidences import Chance, cell_keys, first_other, name_keys, repeats_of
from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.model_files.branch_states import BRANCHES
from anomaly_detection.synthetic import generate
from mlx_iforest.convert.declared import StateError
from tests.repeating import LIMIT, NATS, sensors

SAID = ["device", "temperature", "pressure", "humidity"]
SOURCE = FeatureSource("copied record", "copies", tuple(SAID))


def orders(n: int = 400, seed: int = 0) -> pd.DataFrame:
    frame = sensors(n, seed, digits=4)[SAID]
    frame["number"] = [f"R{seed}-{i}" for i in range(n)]
    return frame


def test_the_more_come_together_the_less_a_copy_proves() -> None:
    copies = Copies(["number"]).fit(orders())
    found = []
    for n in (100, 1_000, 10_000):
        new = orders(n, 1)
        new.loc[7, SAID] = new.loc[3, SAID]
        evidence = copies.transform(new)[:, 0]
        assert np.flatnonzero(evidence).tolist() == [3, 7]
        found.append(float(evidence[3]))
    assert found[0] > found[1] > found[2] > 4.0


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_clean_records_are_no_copies_whatever_their_number(digits: int) -> None:
    shares: dict[int, list[float]] = {n: [] for n in (100, 1_000, 20_000)}
    for seed in range(4):
        copies = Copies().fit(sensors(1_000, seed, digits)[SAID])
        for n, found in shares.items():
            found.append(float((copies.transform(sensors(n, 100 + seed, digits)[SAID]) > NATS).mean()))
    assert max(float(np.mean(found)) for found in shares.values()) <= LIMIT


def test_natural_twins_are_learned() -> None:
    frame = orders()
    frame.loc[:199, SAID] = frame.loc[200:, SAID].to_numpy()
    assert float(Copies(["number"]).fit_transform(frame).max()) < 0.1


def test_a_training_record_that_comes_again_is_itself_and_under_another_name_a_copy() -> None:
    frame = orders()
    copies = Copies(["number"]).fit(frame)
    assert not copies.transform(frame).any()
    assert not copies.transform(frame.iloc[[5]]).any()
    assert copies.known(frame).all()
    again = frame.iloc[[5]].assign(number="X1")
    assert copies.transform(again)[0, 0] > NATS
    assert not copies.known(again).any()
    # Without any name it is itself; twice, it is a copy of itself.
    assert not copies.transform(frame.assign(number=None)).any()
    assert (copies.transform(frame.iloc[[5, 5]]) > NATS).all()


def test_the_reason_names_the_row_that_is_repeated() -> None:
    frame = orders()
    copies = Copies(["number"]).fit(frame)
    new = orders(6, 1).set_axis([410, 411, 412, 413, 414, 415])
    new.loc[415, SAID] = new.loc[412, SAID]
    new.loc[411, SAID] = frame.loc[9, SAID]
    values, usual = copies.in_units(new)
    assert values[:, 0].tolist() == [0, 1, 1, 0, 0, 1]
    assert usual[:, 0].tolist() == [None, None, 415, None, None, 412]
    values, usual = copies.in_units(new, np.array([5]))
    assert (values.tolist(), usual.tolist()) == ([[1]], [[412]])
    assert [Copies.says(value) for value in (0, 1)] == [False, True]

    def phrase(value: int, usual: Any) -> str:
        return Copies.phrase(SOURCE, value, usual, {}, 2_000, None)

    assert phrase(1, 412) == "the record says exactly what row 412 says"
    assert phrase(12_345, 412) == "the record says exactly what row 412 says, one of 12,345 that do"
    assert phrase(1, None) == "the record says exactly what one of the 2,000 training records says"
    assert phrase(3, None).endswith("training records says, as 3 of them do")


def test_order_of_columns_codes_of_levels_units_and_zeros_make_no_difference() -> None:
    frame = orders(50)
    frame["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(50), "h")
    frame.loc[7, "temperature"] = 0.0
    frame["number"] = np.arange(50)
    copies = Copies(["number"]).fit(frame)
    other = frame[frame.columns[::-1]].copy()
    levels = [*frame["device"].cat.categories[::-1], "new"]
    other["device"] = pd.Categorical(frame["device"].astype(str), categories=levels)
    other["when"] = other["when"].astype("datetime64[us]")
    other.loc[7, "temperature"] = -0.0
    for names in (frame["number"].astype(float), frame["number"].astype(str)):
        assert copies.known(other.assign(number=names)).all()
    new = other.assign(number="new")
    np.testing.assert_array_equal(copies.transform(new), copies.transform(frame.assign(number="new")))
    assert (copies.transform(new) > NATS).all()


def test_gaps_agree_with_gaps_and_nothing_at_all_with_nothing() -> None:
    frame = orders()
    frame.loc[3, "pressure"] = np.nan
    copies = Copies(["number"]).fit(frame)
    new = orders(4, 1)
    new.loc[[1, 2], SAID] = frame.loc[[3, 3], SAID].to_numpy()
    new.loc[0, SAID] = frame.loc[3, SAID].to_numpy()
    new.loc[0, "pressure"] = 1.0
    assert (copies.transform(new)[:, 0] > 0).tolist() == [False, True, True, False]
    blank = new.assign(device=pd.Categorical([None] * 4), temperature=np.nan, pressure=np.nan, humidity=np.nan)
    assert not copies.transform(blank).any()


def test_keys_find_the_first_other() -> None:
    keys = np.array([5, 0, 7, 5, 2**64 - 1, 5, 0], dtype=np.uint64)
    assert first_other(keys).tolist() == [3, 6, -1, 0, -1, 0, 1]
    assert repeats_of(keys).tolist() == [2, 1, 0, 2, 0, 2, 1]
    assert first_other(keys[:0]).shape == repeats_of(keys[:0]).shape == (0,)
    assert first_other(keys[:1]).tolist() == [-1]
    names = [pd.Series([12, 7]), pd.Series([12.0, 7.0]), pd.Series(["12", "7"]), pd.Series([12.0, "7"])]
    assert len({name_keys(name).tobytes() for name in names}) == 1
    missing = [pd.Series([None, "a"]), pd.Series([np.nan, "a"]), pd.Series(pd.Categorical([None, "a"]))]
    assert len({cell_keys(column).tobytes() for column in missing}) == 1
    halves = pd.Series(["\ud800", "\ud801", "\ud800"], dtype=object)
    assert repeats_of(cell_keys(halves)).tolist() == repeats_of(name_keys(halves)).tolist() == [1, 0, 1]


def test_chance_grows_with_comparisons_and_is_no_less_than_that_of_columns_apart() -> None:
    chance = Chance(seen=20, rows=1_999, compared=1_999.0)
    few, many = chance.evidence([100.0, 100_000.0])
    assert few == pytest.approx(-np.log(21 / 2_000 * 100 / 1_999), rel=0.01)
    assert 0 <= many < 1
    apart = Chance(seen=0, rows=1_999, compared=1_999.0, apart=1e-3).evidence(10.0)
    assert apart == pytest.approx(-np.log(0.01), rel=0.01)


def read(copies: Copies) -> Copies:
    arrays: dict[str, Any] = {}
    state = json.loads(json.dumps(BRANCHES["copies"].encode(copies, "copies", arrays)))
    found: Copies = BRANCHES["copies"].decode(state, "copies", arrays)
    assert not arrays
    return found


def test_what_is_read_gives_the_same_bits() -> None:
    copies = Copies(["number"]).fit(orders())
    new = orders(50, 1)
    new.loc[7, SAID] = new.loc[3, SAID]
    assert read(copies).transform(new).tobytes() == copies.transform(new).tobytes()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("content_", lambda keys: keys[::-1], "ascending"),
        ("content_", lambda keys: keys[:0], "ascending"),
        ("whole_", lambda keys: np.append(keys, keys[-1:]), "ascending"),
        ("whole_", lambda keys: keys[:-1], "records at most"),
        ("counts_", lambda counts: counts[:-1], "a count for each"),
        ("counts_", lambda counts: counts * 2, "records at most"),
        ("counts_", lambda counts: counts * 0, "expected numbers in"),
        ("names", lambda names: ["what"], "among the columns"),
        ("chance_", lambda chance: Chance(401, 400, 399.0), "no more records"),
        ("chance_", lambda chance: Chance(0, 400, float("nan")), "expected a number"),
    ],
)
def test_broken_state_is_refused(name: str, change: Any, words: str) -> None:
    copies = Copies(["number"]).fit(orders())
    setattr(copies, name, change(getattr(copies, name)))
    with pytest.raises(StateError, match=words):
        read(copies)


def test_the_last_bit_of_a_number_is_no_difference() -> None:
    """Readers of text differ in it: a record from a file is the record that was learned from."""
    frame = generate("classic", 300, seed=3).frame.select_dtypes("number").round(4)
    moved = frame.map(lambda value: float(np.nextafter(value, np.inf)))
    for name in frame.columns:
        np.testing.assert_array_equal(cell_keys(frame[name]), cell_keys(moved[name]))
    assert len(np.unique(cell_keys(pd.Series([1.0, 1.00000000001, 10.0, 0.1, 0.0, -1.0, 1e300, 1e-300])))) == 8
    assert cell_keys(pd.Series([0.0]))[0] == cell_keys(pd.Series([-0.0]))[0]
