"""Records to features: each group of features by hand, then all of them together."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError

from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.levels import CombinedLevels, Levels
from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.errors import DataError
from anomaly_detection.features.categories.level_rarity import LevelRarity, ValueRarity
from anomaly_detection.features.categories.pair_rarity import PairRarity
from anomaly_detection.features.categories.rarity import CategoryRarity
from anomaly_detection.features.categories.spelling import Spelling
from anomaly_detection.features.dates.derivation import find_calendar, find_durations, find_ratios
from anomaly_detection.features.dates.derived import (
    CalendarPart,
    Duration,
    MissingPattern,
    MissingState,
    Product,
    Ratio,
)
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.forms import Forms, Zeros, form_of, forms_of
from anomaly_detection.features.kinds import GROUPS, PLAIN_GROUPS
from anomaly_detection.features.numbers.contexts import Contexts
from anomaly_detection.features.numbers.expectation import Expectation
from anomaly_detection.features.numbers.group_deviation import GroupDeviation
from anomaly_detection.features.numbers.grouped import robust_scale
from anomaly_detection.features.numbers.numeric_values import NumericValues, Scale, choose_scale
from anomaly_detection.features.repeats.duplicates import Repeats

SCMS = Path(__file__).parents[2] / "shared/data/scms/SCMS_Delivery_History_Dataset_20150929.csv"


def orders(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    mode = rng.choice(["Air", "Sea"], n)
    product = rng.choice(["bolt", "engine"], n)
    quantity = np.round(rng.lognormal(4, 1, n)) + 1
    price = np.where(product == "bolt", 2.0, 900.0) * np.exp(rng.normal(0, 0.1, n))
    ordered = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 360, n)), unit="D")
    lead = np.where(mode == "Air", 5, 40) + rng.integers(-2, 3, n)
    frame = pd.DataFrame(
        {
            "order_id": [f"O{i:05d}" for i in range(n)],
            "order_date": ordered,
            "delivery_date": ordered + pd.to_timedelta(lead, unit="D"),
            "mode": mode,
            "product": product,
            "quantity": quantity,
            "unit_price": price,
            "order_value": quantity * price,
            "weight_kg": quantity * np.where(product == "bolt", 0.1, 120) * np.exp(rng.normal(0, 0.05, n)),
            "reliability": rng.normal(0.9, 0.02, n),
        }
    )
    frame.loc[::10, "reliability"] = np.nan
    return frame


@pytest.fixture(scope="module")
def learned() -> tuple[SupplyChainFeatures, np.ndarray]:
    """Of `orders()`, and what it makes of them; not to be changed."""
    features = SupplyChainFeatures()
    return features, features.fit_transform(orders())


# --- scales ---


def test_log_scale_continues_below_its_floor() -> None:
    scale = Scale(1.0)
    assert scale.apply([np.e, 1.0, 0.0, -1.0]).tolist() == pytest.approx([1, 0, -np.log(2), -np.log(3)])
    assert np.isnan(scale.apply([np.nan]))[0]


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.sampled_from([None, 0.01, 1.0, 50.0]))
def test_scales_keep_the_order_and_can_be_undone(a: float, b: float, floor: float | None) -> None:
    scale = Scale(floor)
    left, right = scale.apply([a, b])
    assert (left <= right) or not (a <= b)
    assert scale.invert([left])[0] == pytest.approx(a, rel=1e-6, abs=1e-9)


def test_only_lopsided_positive_numbers_get_a_log_scale() -> None:
    rng = np.random.default_rng(0)
    assert choose_scale(rng.lognormal(3, 1, 500)).is_log
    assert not choose_scale(rng.normal(100, 5, 500)).is_log
    assert not choose_scale(rng.normal(0, 5, 500)).is_log
    assert not choose_scale(-rng.lognormal(3, 1, 500)).is_log
    assert not choose_scale(np.array([np.nan])).is_log
    assert not choose_scale(np.full(20, 7.0)).is_log


def test_numeric_values_keep_missing_and_know_the_median() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, np.nan, 3.0]})
    values = NumericValues().fit(frame)
    assert values.transform(frame).dtype == np.float32
    assert np.isnan(values.transform(frame)[2, 0])
    assert values.in_units(frame)[1][0, 0] == 2.0


# --- categories ---


def test_levels_count_and_know_the_unseen() -> None:
    levels = Levels(pd.Series(["a", "b", "a", None], dtype="category"))
    assert dict(zip(levels.names, levels.counts.tolist(), strict=True)) == {"a": 2, "b": 1, "(missing)": 1}
    assert levels.codes(pd.Series(["b", "c", None], dtype="category")).tolist() == [1, -1, 2]


def test_a_text_for_what_is_missing_is_the_level_of_what_is_missing():
    levels = Levels(pd.Series(["(missing)", "b", None, None]))
    assert dict(zip(levels.names, levels.counts.tolist(), strict=True)) == {"(missing)": 3, "b": 1}
    assert levels.codes(pd.Series([None, "b", "new", "(missing)"])).tolist() == [0, 1, -1, 0]


def test_combined_levels() -> None:
    frame = pd.DataFrame({"x": ["a", "a", "b"], "y": ["1", "2", "1"]}, dtype="category")
    both = CombinedLevels(frame, ["x", "y"])
    assert len(both) == 3
    new = pd.DataFrame({"x": ["b", "b", "c"], "y": ["1", "2", "1"]}, dtype="category")
    assert both.codes(new).tolist() == [2, -1, -1]
    assert CombinedLevels(frame, []).codes(new).tolist() == [0, 0, 0]


def test_rarity_is_the_share_of_categories_as_rare_or_rarer() -> None:
    frame = pd.DataFrame({"c": ["a"] * 97 + ["b", "b", "z"]}, dtype="category")
    rarity = CategoryRarity().fit(frame)
    new = pd.DataFrame({"c": ["a", "b", "z", "new"]}, dtype="category")
    expected = -np.log(np.array([100, 3, 1, 0.5]) / 100.5)
    assert rarity.transform(new)[:, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert rarity.in_units(new)[1][:, 0].tolist() == [97, 2, 1, 0]


def test_rarity_of_what_is_common_or_told_by_a_finer_column_is_0_unless_it_is_new() -> None:
    product = [f"p{i % 20}" for i in range(2000)] + ["rare"]
    group = ["g" + name[1] if name != "rare" else "odd" for name in product]
    even = ["x", "y"] * 1000 + ["x"]
    frame = pd.DataFrame({"group": group, "product": product, "even": even}, dtype="category")
    rarity = CategoryRarity().fit(frame)
    found = rarity.transform(frame)
    assert found.any(axis=0).tolist() == [False, True, False]
    new = frame.iloc[[0]].assign(group="gX", even="z").astype("category")
    np.testing.assert_allclose(rarity.transform(new)[0, [0, 2]], np.log(2001.5 / 0.5), rtol=1e-6)
    assert len(CategoryRarity(keep_all=True).fit(frame).levels_) == 3


def test_pairs_find_a_category_beside_the_wrong_one() -> None:
    rng = np.random.default_rng(0)
    country = rng.choice([f"c{i}" for i in range(10)], 1000)
    city = np.char.add(country, rng.choice(["-north", "-south"], 1000))
    noise = rng.choice(["u", "v"], 1000)
    frame = pd.DataFrame({"country": country, "city": city, "noise": noise}, dtype="category")
    pairs = PairRarity().fit(frame)
    assert pairs.pairs_ == [("city", "country")]
    good, bad = frame.iloc[[0]], frame.iloc[[0]].assign(country="c0" if country[0] != "c0" else "c1")
    bad["country"] = bad["country"].astype("category")
    assert pairs.transform(good)[0, 0] == 0.0
    n = int((city == city[0]).sum())
    assert pairs.transform(bad)[0, 0] > np.log(0.05) - np.log(0.2 / (n + 1)) > 2
    values, counts = pairs.in_units(bad)
    assert values[0, 0] == (bad["country"].iloc[0], city[0])
    assert counts[0, 0] == (0, n)


# --- derived columns ---


def test_durations_in_days() -> None:
    frame = pd.DataFrame(
        {"a": pd.to_datetime(["2024-01-01", "2024-01-05", None]), "b": pd.to_datetime(["2024-01-02 12:00"] * 3)}
    )
    assert Duration("a", "b").values(frame)[:2].tolist() == [1.5, -2.5]
    assert np.isnan(Duration("a", "b").values(frame)[2])


def test_durations_join_each_date_to_its_nearest() -> None:
    frame = orders()
    frame["recorded"] = frame["delivery_date"] + pd.to_timedelta(np.arange(400) % 7, unit="D")
    found = find_durations(frame, ["order_date", "recorded", "delivery_date"])
    pairs = [(pair.start, pair.end) for pair in found]
    assert pairs == [("delivery_date", "recorded"), ("order_date", "delivery_date")]


def test_calendar_parts() -> None:
    frame = pd.DataFrame({"t": pd.to_datetime(["2024-02-29 23:59", "1969-12-31 01:00", None])})
    parts = [CalendarPart("t", part) for part in ("month", "weekday", "hour")]
    named = {part.part: part.values(frame).objects().tolist() for part in parts}
    assert named["month"][:2] == ["February", "December"]
    assert named["weekday"][:2] == ["Thursday", "Wednesday"]
    assert named["hour"][:2] == ["23:00", "01:00"]
    assert all(pd.isna(values[2]) for values in named.values())
    assert [part.part for part in find_calendar(orders(), ["order_date"])] == ["period", "month", "weekday"]
    # Not of some months: another would be news whenever it begins.
    some = orders().head(300)
    assert [part.part for part in find_calendar(some, ["order_date"])] == ["period", "weekday"]
    assert find_calendar(frame, []) == []


def test_ratios_are_missing_where_there_is_nothing_to_divide_by() -> None:
    frame = pd.DataFrame({"a": [6.0, 1.0, 0.0], "b": [3.0, 0.0, np.nan]})
    values = Ratio("a", "b").values(frame)
    assert values[0] == 2.0
    assert np.isnan(values[1:]).all()


def test_products_allow_for_rounding() -> None:
    frame = pd.DataFrame({"q": [100.0, 100, 100, 0], "p": [0.01, 0.01, 0.01, 1], "v": [1.4, 3.0, 0.25, 5]})
    values = Product("v", ("q", "p"), (0.0, 0.01, 0.0)).values(frame)
    # A price printed as 0.01 lies between 0.005 and 0.015, so 100 of them cost 0.5 to 1.5.
    assert values[:3].tolist() == pytest.approx([1.0, 2.0, 0.5])
    assert np.isnan(values[3])


def test_products_and_meaningful_ratios_are_found() -> None:
    numbers = ["quantity", "unit_price", "order_value", "weight_kg", "reliability"]
    found = find_ratios(orders(), numbers)
    products = [set(part.columns) for part in found if isinstance(part, Product)]
    assert products == [{"order_value", "quantity", "unit_price"}]
    assert ("weight_kg", "quantity") in [part.columns for part in found]
    assert not any("reliability" in part.columns for part in found)


def test_missing_patterns_name_what_is_missing_together() -> None:
    frame = pd.DataFrame(
        {
            "a": [1.0, np.nan, np.nan],
            "a (how missing)": pd.Categorical([None, "Included", None], categories=["Included"]),
            "b": [1.0, np.nan, 2.0],
        }
    )
    states = (MissingState("a", ("Included",)), MissingState("b"))
    assert states[0].values(frame).objects().tolist() == ["given", "Included", "blank"]
    assert MissingPattern(states).values(frame).objects().tolist() == ["none", "a 'Included', b missing", "a missing"]


# --- deviations ---


def test_robust_scale_falls_back_where_most_values_agree() -> None:
    assert robust_scale(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(1.4826)
    assert robust_scale(np.array([0.0] * 90 + [9.8] * 10)) == pytest.approx(5.0)
    assert robust_scale(np.array([2.0, 2.0])) == 0.0
    assert robust_scale(np.array([])) == 0.0


def test_deviation_finds_what_is_usual_only_elsewhere() -> None:
    frame = orders().assign(lead=lambda x: (x["delivery_date"] - x["order_date"]).dt.days.astype(float))
    frame = frame.astype({"mode": "category", "product": "category"})
    deviation = GroupDeviation(["lead"], ["mode", "product"]).fit(frame)
    assert deviation.feature_groups_ == [("mode",)]
    odd = frame.iloc[:2].assign(mode=pd.Categorical(["Air", "Sea"]), lead=[40.0, 40.0])
    values = deviation.transform(odd)[:, 0]
    assert values[0] > 3.0
    assert abs(values[1]) < 1.0
    assert deviation.in_units(odd)[1][:, 0].tolist() == pytest.approx([5, 40], abs=1)


def test_small_and_unseen_groups_lean_on_their_parent() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([f"g{i}" for i in range(12)], 50)
    # Groups differ by about as much as their members do, so one member says little about its group.
    value = np.repeat(rng.normal(100, 6, 12), 50) + rng.normal(0, 6, 600)
    frame = pd.DataFrame({"g": [*group, "single"], "y": [*value, 300.0]}).astype({"g": "category"})
    deviation = GroupDeviation(["y"], ["g"]).fit(frame)
    new = pd.DataFrame({"g": pd.Categorical(["single", "unseen", "unseen"]), "y": [300.0, 100.0, 300.0]})
    values = deviation.transform(new)[:, 0]
    assert 1.0 < values[0] < values[2]
    assert abs(values[1]) < 1.0
    assert np.isfinite(values).all()


def test_no_deviation_without_explaining_groups() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": rng.choice(["a", "b"], 300), "y": rng.normal(size=300)}).astype({"g": "category"})
    assert GroupDeviation(["y"], ["g"]).fit(frame).transform(frame).shape == (300, 0)


def test_a_group_without_values_is_as_all_are_where_others_determine_theirs() -> None:
    group = np.arange(300) % 6
    frame = pd.DataFrame({"g": [f"g{place}" for place in group], "y": np.where(group == 5, np.nan, group * 10.0)})
    (deviation,) = GroupDeviation(["y"], ["g"]).fit(frame).deviations_
    assert np.isfinite(deviation.usual.centre).all()


# --- expectations ---


def freights(n: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    mode = rng.choice(["Air", "Sea"], n)
    weight, distance = rng.lognormal(5, 1, n), rng.lognormal(6, 1, n)
    freight = np.where(mode == "Air", 8.0, 1.0) * weight**0.7 * distance**0.5 * np.exp(rng.normal(0, 0.05, n))
    frame = pd.DataFrame({"weight": weight, "distance": distance, "freight": freight, "noise": rng.normal(size=n)})
    return frame.assign(mode=pd.Categorical(mode))


def test_expectations_follow_several_columns_at_once() -> None:
    frame = freights()
    expectation = Expectation(["weight", "distance", "freight", "noise"], ["mode"]).fit(frame)
    assert "freight as expected" in expectation.get_feature_names_out()
    assert "noise as expected" not in expectation.get_feature_names_out()
    at = expectation.get_feature_names_out().tolist().index("freight as expected")
    assert set(expectation.feature_groups_[at]) == {"weight", "distance", "mode"}
    odd = frame.head(3).assign(freight=lambda x: x["freight"] * [1.0, 3.0, np.nan])
    values, usual = expectation.in_units(odd)
    assert usual[:2, at] == pytest.approx(frame["freight"].head(2), rel=0.25)
    assert values[1, at] == odd["freight"].iloc[1]
    away = expectation.transform(odd)[:, at]
    assert abs(away[0]) < 1.5
    assert away[1] > 2.5
    assert np.isnan(away[2])


def test_expectations_leave_out_what_an_exact_rule_binds_and_what_is_noise() -> None:
    frame = freights()
    bound = Expectation(["weight", "distance", "freight"], ["mode"], [("freight", "weight", "distance")]).fit(frame)
    assert all(set(group) <= {"mode"} for group in bound.feature_groups_)
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 40)), columns=[f"x{i}" for i in range(40)])
    assert len(Expectation(list(noise)).fit(noise).targets_) <= 2
    few = Expectation(["weight", "freight"], ["mode"]).fit(frame.head(20))
    assert few.transform(frame).shape == (len(frame), 0)


# --- repeats and tails ---


def test_repeats_count_records_and_readings() -> None:
    numbers = np.arange(30, dtype=float)
    numbers[:3] = 77.0
    frame = pd.DataFrame({"x": numbers, "y": np.arange(30) % 7, "month": "a"})
    frame.loc[29] = frame.loc[28]
    repeats = Repeats(["x"], ["month"]).fit(frame)
    counts = repeats.in_units(frame)[0]
    assert counts[:4].tolist() == [[1, ("x", 3), 1]] * 3 + [[1, ("x", 1), 0]]
    assert counts[28:].tolist() == [[2, ("x", 2), 1]] * 2
    np.testing.assert_allclose(repeats.transform(frame)[:4, 1], np.log2([3, 3, 3, 1]), rtol=1e-6)
    # A row alone is counted among the training rows, and two alike are counted together.
    assert repeats.in_units(frame.iloc[[28]])[0].tolist() == [[2, ("x", 2), 1]]
    new = pd.DataFrame({"x": [500.0, 500.0], "y": [1, 1], "month": "a"})
    assert repeats.in_units(new)[0].tolist() == [[2, ("x", 2), 1]] * 2


def test_missing_readings_repeat_nothing() -> None:
    frame = pd.DataFrame({"x": [*np.arange(25.0), np.nan, np.nan], "y": np.arange(27)})
    assert Repeats(["x"]).fit(frame).transform(frame)[:, 1].tolist() == [0.0] * 27


def test_tails_measure_each_side_by_itself() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=4000), rng.lognormal(size=4000), np.zeros(4000)]).astype(np.float32)
    tails = DeviationSummary().fit(X)
    z = tails.deviations(np.array([[4, 1, 0], [-4, 1, 0], [0, np.nan, 5]], dtype=np.float32))
    assert z[0, 0] == pytest.approx(4, rel=0.1)
    assert z[1, 0] == pytest.approx(4, rel=0.1)
    assert z[2, 1] == 0.0
    out = tails.transform(np.array([[0, 1, 0], [9, 1, 0]], dtype=np.float32))
    assert out[1, 0] > out[0, 0] + 1
    assert len(tails.get_feature_names_out()) == out.shape[1]


# --- all together ---


def test_features_are_named_traced_and_finite(learned: tuple[SupplyChainFeatures, np.ndarray]) -> None:
    frame = orders()
    features, X = learned
    names = features.get_feature_names_out()
    assert X.dtype == np.float32
    assert X.shape == (len(frame), len(names))
    assert len(set(names)) == len(names)
    assert not np.isinf(X).any()
    assert np.isnan(X[::10, list(names).index("reliability")]).all()
    assert [source.name for source in features.feature_sources_] == names.tolist()
    for source in features.feature_sources_:
        assert source.kind in GROUPS
        assert set(source.columns) <= set(frame.columns)
        assert (source.kind == "tails") == (not source.columns)
    by_group = {source.group_by for source in features.feature_sources_ if source.kind == "deviations"}
    assert ("mode",) in by_group
    assert ("product",) in by_group
    assert features.numerical_features == ["quantity", "unit_price", "order_value", "weight_kg", "reliability"]
    assert features.categorical_features == ["mode", "product"]
    assert isinstance(features.schema_, Schema)


def test_branches_that_others_read(learned: tuple[SupplyChainFeatures, np.ndarray]) -> None:
    features, _ = learned
    assert set(PLAIN_GROUPS) - {"tails"} == set(features.named_transformers_) - {"remainder"}
    assert isinstance(features.named_transformers_["num"], NumericValues)
    assert isinstance(features.named_transformers_["cat"], CategoryRarity)
    assert not isinstance(features, ColumnTransformer)
    few = SupplyChainFeatures(groups=("num", "pairs")).fit(orders()[["quantity", "unit_price"]])
    assert {name for name, branch in few.named_transformers_.items() if branch != "drop"} == {"num"}
    with pytest.raises(NotFittedError):
        SupplyChainFeatures().named_transformers_  # noqa: B018


def test_transform_repeats_what_fitting_gave_and_survives_cloning_and_pickling() -> None:
    frame = orders()
    features = SupplyChainFeatures(groups=("num", "deviations", "tails"), n_jobs=2)
    X = features.fit_transform(frame)
    np.testing.assert_array_equal(features.transform(frame), X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features)).transform(frame), X)
    copy = clone(features)
    assert copy.get_params() == features.get_params()
    np.testing.assert_array_equal(copy.fit_transform(frame), X)
    assert {source.kind for source in features.feature_sources_} == {"num", "deviations", "tails"}
    assert copy.set_params(groups=("num",)).fit_transform(frame).shape[1] < X.shape[1]


def test_one_row_gets_the_features_it_gets_among_others(learned: tuple[SupplyChainFeatures, np.ndarray]) -> None:
    frame = orders()
    features, X = learned
    np.testing.assert_array_equal(features.transform(frame.iloc[[17]]), X[[17]])
    np.testing.assert_array_equal(features.transform(frame.iloc[17].to_dict()), X[[17]])


def test_unseen_categories_are_rare_and_not_an_error(learned: tuple[SupplyChainFeatures, np.ndarray]) -> None:
    features, _ = learned
    row = orders().iloc[[1]]
    names = features.get_feature_names_out().tolist()
    usual, new = (features.transform(row.assign(product=value)) for value in ("bolt", "rocket"))
    assert not np.isinf(new).any()
    assert new[0, names.index("mean surprise")] != usual[0, names.index("mean surprise")]


def test_days_of_which_there_are_few_are_discrete_though_dates_are_many() -> None:
    rng = np.random.default_rng(0)
    ordered = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(400), unit="D")
    mode = rng.choice(["Air", "Sea"], 400)
    days = np.where(mode == "Air", 1, rng.integers(4, 7, 400))
    shipped = ordered + pd.to_timedelta(days, unit="D")
    frame = pd.DataFrame({"mode": mode, "ordered": ordered, "shipped": shipped, "size": rng.normal(size=400)})
    features = SupplyChainFeatures(groups=GROUPS).fit(frame)
    scales = zip(features.feature_sources_, features.evidence_.scales, strict=False)  # type: ignore[union-attr]
    discrete = {source.name: scale.discrete for source, scale in scales}
    assert discrete["days from ordered to shipped as expected"]
    assert not discrete["size"]


def test_contexts_judge_no_flag_and_nothing_of_a_group_never_seen() -> None:
    rng = np.random.default_rng(0)
    product = rng.integers(0, 20, 600)
    frame = pd.DataFrame(
        {"product": [f"p{i}" for i in product], "price": 10.0 + product, "flag": (product < 9).astype(float)}
    ).astype({"product": "category"})
    contexts = Contexts(["price", "flag"], ["product"]).fit(frame)
    assert contexts.get_feature_names_out().tolist() == ["price beside its product"]
    new = pd.DataFrame({"product": ["p99", "p3"], "price": [80.0, 80.0], "flag": 0.0}).astype({"product": "category"})
    deviations = contexts.transform(new)[:, 0].tolist()
    assert deviations[0] == 0.0 < 5.0 < deviations[1]


@pytest.mark.parametrize(
    ("change", "suspect"),
    [
        ({"order_value": lambda x: x * 100}, "order_value / (quantity x unit_price)"),
        ({"delivery_date": lambda x: x - pd.Timedelta(days=60)}, "days from order_date to delivery_date"),
        ({"weight_kg": lambda x: x * 0}, "weight_kg by product"),
        ({"unit_price": lambda _: 900.0, "product": lambda _: "bolt"}, "unit_price by product"),
        ({"mode": lambda _: "teleport"}, "mode"),
    ],
)
def test_what_an_analyst_would_notice_stands_out(
    change: dict[str, Any], suspect: str, learned: tuple[SupplyChainFeatures, np.ndarray]
) -> None:
    features, X = learned
    row = orders().iloc[[5]].copy()
    for name, rule in change.items():
        row[name] = [rule(row[name].iloc[0])]
    new = features.transform(row)
    largest = features.get_feature_names_out().tolist().index("surprise 1")
    assert new[0, largest] > np.quantile(X[:, largest], 0.98)
    if suspect in features.get_feature_names_out():
        at = features.get_feature_names_out().tolist().index(suspect)
        assert features.farness(new)[0, at] > 3


@pytest.mark.parametrize("rows", [2, 3, 10])
def test_tiny_tables_work(rows: int) -> None:
    frame = orders(50).head(rows)
    X = SupplyChainFeatures().fit_transform(frame)
    assert X.shape[0] == rows
    assert not np.isinf(X).any()


def test_wide_tables_without_categories_work() -> None:
    X = np.random.default_rng(0).normal(size=(200, 64))
    features = SupplyChainFeatures()
    out = features.fit_transform(X)
    judged = {source.columns[0] for source in features.feature_sources_ if source.kind in ("num", "expectations")}
    assert len(judged) == 64
    assert out.shape == (200, len(features.feature_sources_))


def test_wholly_missing_and_constant_columns_are_left_out() -> None:
    frame = orders().assign(nothing=np.nan, currency="USD", zero=0.0)
    features = SupplyChainFeatures().fit(frame)
    used = {column for source in features.feature_sources_ for column in source.columns}
    assert not used & {"nothing", "currency", "zero", "order_id"}
    features.transform(frame.drop(columns=["nothing", "currency", "zero", "order_id"]))


def test_bad_arguments_and_records(learned: tuple[SupplyChainFeatures, np.ndarray]) -> None:
    with pytest.raises(DataError, match="Unknown feature group 'tail'"):
        SupplyChainFeatures(groups=("num", "tail")).fit(orders())
    features, _ = learned
    with pytest.raises(DataError, match="Missing column"):
        features.transform(orders().drop(columns="quantity"))
    with pytest.raises(DataError, match="infinite"):
        features.transform(orders().assign(quantity=np.inf))


def test_report_of_a_transform(learned: tuple[SupplyChainFeatures, np.ndarray]) -> None:
    features, _ = learned
    assert features.cleaning_report_.columns["reliability"].blank == 40
    _, report = features.prepare(orders(20))
    assert report.rows == 20


@pytest.mark.skipif(not SCMS.exists(), reason="the SCMS delivery history is not here")
def test_real_shipments() -> None:
    frame = read_table(SCMS).iloc[::5]
    features = SupplyChainFeatures()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X = features.fit_transform(frame)
    names = features.get_feature_names_out().tolist()
    assert "Line Item Value / (Line Item Quantity x Pack Price)" in names
    assert any(name.startswith("Freight Cost (USD) / Weight (Kilograms) by ") for name in names)
    assert 30 <= X.shape[1] <= 90
    assert not np.isinf(X).any()


def test_a_new_level_of_a_closed_column_is_evidence_and_a_new_customer_is_news() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "region": rng.choice(["North", "South", "West"], 1000),
            "customer": [f"c{i}" for i in rng.integers(0, 600, 1000)],
        },
        dtype="category",
    )
    rarity = LevelRarity()
    assert (rarity.fit_transform(frame) <= 4.0).all()

    def new(region: list[str], customer: list[str]) -> list[list[float]]:
        records = pd.DataFrame({"region": region, "customer": customer}, dtype="category")
        return rarity.transform(records).round(2).tolist()

    alone = -np.log(0.5 / 1001)
    ((region, customer),) = new(["TEST"], ["c9999"])
    assert region == pytest.approx(alone, abs=0.01)
    assert customer < 2.0
    # A level that many rows bring is news.
    assert new(["East"] * 16, ["c1"] * 16)[0][0] == pytest.approx(alone / 2.0, abs=0.01)


def test_a_level_alone_in_a_closed_column_is_odd_in_training_too() -> None:
    frame = pd.DataFrame({"region": ["North", "South", "West"] * 200 + ["north"]}, dtype="category")
    assert LevelRarity().fit_transform(frame)[-1, 0] > 6.0


def test_a_number_outside_the_few_that_there_are() -> None:
    frame = pd.DataFrame({"month as a level": [str(i % 12 + 1) for i in range(600)]}, dtype="category")
    values = ValueRarity()
    assert not values.fit_transform(frame).any()
    new = pd.DataFrame({"month as a level": ["20", None, "7"]}, dtype="category")
    assert values.transform(new)[:, 0].tolist() == pytest.approx([7.1, 0.0, 0.0], abs=0.01)


def test_a_first_zero() -> None:
    frame = pd.DataFrame({"price": np.arange(1.0, 501.0), "profit": np.arange(-250.0, 250.0) + 0.5})
    zeros = Zeros().fit(frame)
    assert zeros.get_feature_names_out().tolist() == ["price zero"]
    assert not zeros.transform(frame).any()
    assert zeros.transform(pd.DataFrame({"price": [0.0], "profit": [0.0]}))[0, 0] > 8.0


def test_names_without_figures_have_no_form() -> None:
    found = Forms().fit(pd.DataFrame({"by": ["PMO - US"] * 990 + ["Haiti Field Office"] * 10}, dtype="category"))
    new = pd.DataFrame({"by": ["Haiti Field Office", "PMO (US)", "PM0 - US"]}, dtype="category")
    assert (found.transform(new)[:, 0] > 5.0).tolist() == [False, False, True]
    texts = ["PO #", "A-12", "", "St\u00fcck", "St\u00fcck 12", "a\nb", "x" * 70 + "1", "aa11bb"]
    assert forms_of(texts) == [*map(form_of, texts)]


@pytest.mark.parametrize("text", ["frankfurt", "FRANKFURT", "Frank furt", "Frankfurt.", "Frankfrut", "Frankfur"])
def test_slips_of_a_known_name(text: str) -> None:
    spelling = Spelling().fit(pd.DataFrame({"city": ["Frankfurt", "Hamburg", "Bremen"] * 100}, dtype="category"))
    new = pd.DataFrame({"city": [text]}, dtype="category")
    alone = spelling.transform(new)[0, 0]
    assert alone > 5.0
    # What many rows bring was not slipped by each.
    assert spelling.transform(pd.concat([new] * 16))[0, 0] == pytest.approx(alone / 2.0)
    assert spelling.in_units(new)[1][0, 0] == "Frankfurt"
