"""Two categories together, where records of one transaction share what the transaction has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.columns.table import as_table
from anomaly_detection.features.categories.pair_rarity import PairRarity
from anomaly_detection.features.categories.relations import Relations
from anomaly_detection.features.compiled.choice import only
from anomaly_detection.features.repeats.transactions import find_transactions
from anomaly_detection.model_files.persistence import load_detector, save_detector

MODES = ["standard", "second", "first", "same day"]


def lines(customers: int = 60, orders: int = 10, seed: int = 0) -> pd.DataFrame:
    """Orders of one to five lines; a customer has a segment, an order a mode that chance gives, a line a product."""
    rng = np.random.default_rng(seed)
    n = customers * orders
    customer = rng.permutation(np.repeat(np.arange(customers), orders))
    frame = pd.DataFrame(
        {
            "order": [f"o{i:05d}" for i in range(n)],
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="h"),
            "customer": [f"c{i}" for i in customer],
            "segment": [f"s{i % 3}" for i in customer],
            "mode": rng.choice(MODES, n, p=[0.6, 0.19, 0.15, 0.06]),
        }
    )
    frame = frame.loc[np.repeat(np.arange(n), rng.integers(1, 6, n))].reset_index(drop=True)
    frame["product"] = rng.choice([f"p{i}" for i in range(20)], len(frame))
    return frame.astype(dict.fromkeys(["customer", "segment", "mode", "product"], "category"))


def pairs_of(frame: pd.DataFrame) -> PairRarity:
    return PairRarity(keys=["order"] if "order" in frame else [], dates=["date"]).fit(frame)


def test_what_lines_of_an_order_share_is_foretold_by_no_customer() -> None:
    frame = lines()
    assert pairs_of(frame).pairs_ == [("customer", "segment")]
    # Without the order's number nothing tells that the lines are no records of their own.
    assert ("customer", "mode") in pairs_of(frame.drop(columns="order")).pairs_


def test_relations_are_none_of_what_lines_of_an_order_share() -> None:
    frame = lines()
    found = Relations(keys=["order"], dates=["date"]).fit(frame).relations_
    assert [(one.of, one.given) for one in found] == [("customer", "segment"), ("segment", "customer")]
    without = Relations(dates=["date"]).fit(frame.drop(columns="order")).relations_
    assert ("mode", "customer") in [(one.of, one.given) for one in without]


def test_a_transaction_counts_once() -> None:
    frame = lines()
    slips = frame.index[frame["order"] == frame["order"].mode()[0]]
    frame.loc[slips, "segment"] = "s0" if frame.loc[slips[0], "segment"] != "s0" else "s1"
    assert len(slips) == 5
    pairs = pairs_of(frame)
    assert pairs.lent_ == [1.0]
    assert pairs.orders_ is not None
    assert int(pairs.orders_[0].sum()) == 600
    of = frame.loc[slips[0]]
    share = frame.loc[frame["segment"] == of["segment"], "order"].nunique() / 600.5
    # Of the customer's ten orders one has this segment: 5 %, the most that chance is credited with, against that.
    assert pairs.transform(frame.loc[slips])[:, 0] == pytest.approx(max(np.log(0.05 / ((1 + share) / 11.0)), 0.0))
    # In training the others judge it: none of nine, among all orders but itself.
    share = (share * 600.5 - 1) / 600.5
    learned = PairRarity(keys=["order"], dates=["date"]).fit_transform(frame)[slips, 0]
    assert learned == pytest.approx(np.log(0.05 / (share / 10.0)), rel=1e-5)
    # What is told are records.
    _, told = pairs.in_units(frame.loc[slips])
    assert told[0, 0] == (5, int((frame["customer"] == of["customer"]).sum()))


def test_a_fact_is_told_of_several_transactions_and_not_of_several_lines() -> None:
    # Nine orders of customer "a" and one line each, one by another depot; twelve lines of "b" in two orders.
    rows = [(f"a{i}", "a", "north" if i else "south") for i in range(9)]
    rows += [("b0", "b", "north")] * 11 + [("b1", "b", "south")]
    rows += [(f"c{i}", f"c{i % 20}", "south" if i % 2 else "north") for i in range(200)]
    frame = pd.DataFrame(rows, columns=["order", "customer", "depot"])
    frame = frame.astype(dict.fromkeys(["customer", "depot"], "category"))
    pairs = PairRarity(keys=["order"], dates=()).fit(frame)
    assert pairs.pairs_ == [("customer", "depot")]
    table = as_table(frame)
    assert [pairs.is_fact(table, 0, row) for row in (0, 1, 9, 20)] == [True, False, False, False]
    _, told = pairs.in_units(frame)
    assert [told[row, 0] for row in (0, 20)] == [(1, 9), (1, 12)]


def test_more_is_lent_where_a_level_tells_less() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 40, 4_000)
    own = rng.integers(0, 30, 40)[group]
    told = np.where(rng.random(4_000) < 0.3, own, rng.integers(0, 30, 4_000))
    frame = pd.DataFrame({"group": [f"g{i}" for i in group], "told": [f"t{i}" for i in told]}, dtype="category")
    pairs = PairRarity().fit(frame)
    assert pairs.pairs_ == [("group", "told")]
    assert pairs.lent_ is not None
    assert pairs.lent_[0] > 1.0


def test_compiled_code_and_files_count_the_same(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    frame = lines()
    frame["amount"] = np.random.default_rng(1).lognormal(3.0, 1.0, len(frame)).round(2)
    detector = AnomalyDetectionAPI(seed=0).fit(frame).detector
    branch = next(one for name, one, _ in detector.preprocessor.transformers_ if name == "pairs")
    assert branch.orders_[0].sum() == 600
    new = lines(seed=1).assign(amount=7.0)
    save_detector(detector, tmp_path / "m.safetensors")
    for one in (detector, load_detector(tmp_path / "m.safetensors")):
        with only(False):
            plain = one.preprocessor.transform(new)
        with only(True):
            np.testing.assert_array_equal(plain, one.preprocessor.transform(new))
        np.testing.assert_array_equal(plain, detector.preprocessor.transform(new))


def test_a_file_of_before_counts_records_and_lends_one(tmp_path: Path) -> None:
    frame = lines().assign(line=lambda table: [f"L-{i:06d}" for i in range(len(table))])
    frame["amount"] = np.random.default_rng(1).lognormal(3.0, 1.0, len(frame)).round(2)
    detector = AnomalyDetectionAPI(seed=0).fit(frame).detector
    features = detector.preprocessor
    at = [name for name, _, _ in features.transformers_].index("pairs")
    _, branch, columns = features.transformers_[at]
    own = columns[:-2]
    assert columns[-2:] == ["line", "date"]
    del branch.orders_, branch.lent_
    branch.feature_names_in_, branch.n_features_in_ = np.asarray(own, dtype=object), len(own)
    features.transformers_[at] = ("pairs", branch, own)
    save_detector(detector, tmp_path / "m.safetensors")
    read = load_detector(tmp_path / "m.safetensors").preprocessor.transformers_[at][1]
    assert (read.orders_, read.lent_) == (None, None)
    counts = read.combined_[0].counts
    n_given, of = int((frame["customer"] == "c0").sum()), int((frame["segment"] == "s1").sum())
    assert counts.sum() == len(frame)
    odd = frame.iloc[[0]].assign(customer="c0", segment="s1")
    share = of / (len(frame) + 0.5)
    assert read.transform(odd)[0, 0] == pytest.approx(np.log(0.05 / (share / (n_given + 1.0))), rel=1e-5)


# --- the column that names transactions ---


def test_transactions_are_found_in_any_order_of_the_rows() -> None:
    frame = lines()
    for one in (frame, frame.sample(frac=1.0, random_state=0)):
        found = find_transactions(as_table(one), ["customer", "product", "order"], ["date"])
        assert found is not None
        assert found[0] == "order"
        assert len(np.unique(found[1])) == 600
    assert find_transactions(as_table(frame), ["customer", "product"], ["date"]) is None


def test_records_without_a_transaction_are_their_own() -> None:
    frame = lines()
    frame["order"] = frame["order"].astype(object).where(frame["order"] > "o00099")
    left = frame["order"].isna()
    found = find_transactions(as_table(frame), ["order"], [])
    assert found is not None
    assert len(np.unique(found[1])) == 500 + left.sum()


def test_a_word_for_no_number_yet_names_no_transaction() -> None:
    frame = lines()
    frame.loc[frame.index[::3], "order"] = "none yet"
    assert find_transactions(as_table(frame), ["order"], ["date"]) is None


def test_numbers_of_single_records_are_no_transactions() -> None:
    frame = lines()
    frame["line"] = [f"l{i}" for i in range(len(frame))]
    assert find_transactions(as_table(frame), ["line"], ["date"]) is None


def birds() -> pd.DataFrame:
    """Sizes of birds, of which one species has been seen twice, and one is always small."""
    size = ["small", "medium"] * 300 + ["medium"] * 2
    species = ["wren", "gull"] * 300 + ["owl"] * 2
    colour = np.random.default_rng(0).choice(["grey", "brown"], 602)
    return pd.DataFrame({"species": species, "size": size, "colour": colour}, dtype="category")


def test_what_a_level_seen_twice_never_had_is_not_odd_though_all_others_have_never_had_it() -> None:
    relations = Relations().fit(birds())
    names = relations.get_feature_names_out().tolist()
    new = pd.DataFrame({"species": ["owl", "wren"], "size": ["small", "medium"], "colour": "grey"}, dtype="category")
    owl, wren = relations.transform(new)[:, names.index("species beside size")]
    assert owl < 5.0 < 7.0 < wren


def test_a_pair_never_seen_that_several_rows_bring_is_worth_less() -> None:
    relations = Relations().fit(birds())
    new = pd.DataFrame({"species": ["wren"] * 16, "size": ["medium"] * 16, "colour": "grey"}, dtype="category")
    place = relations.get_feature_names_out().tolist().index("species beside size")
    alone, together = (relations.transform(rows)[0, place] for rows in (new.iloc[:1], new))
    assert together == pytest.approx(alone / 16.0)
