"""The realistic profile holds together as a business, and its anomalies are what their kind says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from anomaly_detection.synthetic import SyntheticData, generate
from anomaly_detection.synthetic.realistic_anomalies import CHANGED_COLUMNS, DIFFICULTIES, KIND_OF_TYPE
from anomaly_detection.synthetic.realistic_catalogue import CATEGORIES, CITIES, PRODUCTS, SUPPLIERS, WAREHOUSES, lanes

ROWS = 24_000
CONTEXTUAL = [name for name, kind in KIND_OF_TYPE.items() if kind == "contextual"]
DATES = ["order_date", "ship_date", "delivery_date", "recorded_date"]


@pytest.fixture(scope="module")
def by_difficulty() -> dict[str, SyntheticData]:
    return {name: generate("realistic", ROWS, seed=11, difficulty=name) for name in DIFFICULTIES}


@pytest.fixture(scope="module")
def data(by_difficulty: dict[str, SyntheticData]) -> SyntheticData:
    return by_difficulty["medium"]


@pytest.fixture(scope="module")
def normal(data: SyntheticData) -> pd.DataFrame:
    return data.frame[data.labels == 1]


def _auc(score: pd.Series[float], positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive row scores higher than a negative one; rows without a score are left out."""
    present = score.notna().to_numpy()
    high, low = score[positive & present], score[negative & present]
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def _off_group(frame: pd.DataFrame, values: pd.Series[float], by: list[str]) -> pd.Series[float]:
    """Distance of each value's logarithm from its group's median."""
    logarithm = np.log(values)
    return (logarithm - logarithm.groupby([frame[column] for column in by]).transform("median")).abs()


def _context(frame: pd.DataFrame) -> dict[str, tuple[pd.Series[float], pd.Series[float]]]:
    """Per contextual type: the bare value that it changes, and that value against its context."""
    month = frame.assign(month=frame["order_date"].dt.month)
    per_kg = frame["transportation_cost"] / frame["weight_kg"]
    demand, lead = frame["demand_forecast"], frame["lead_time"].astype(float)
    return {
        "lead_time_of_another_mode": (
            lead, _off_group(frame, lead, ["supplier", "destination", "shipping_method"]),
        ),
        "volume_out_of_season": (demand, _off_group(month, demand, ["product", "destination", "month"])),
        "price_of_another_supplier": (
            frame["unit_price"], _off_group(frame, frame["unit_price"], ["supplier", "product"]),
        ),
        "freight_of_another_lane": (
            frame["transportation_cost"], _off_group(frame, per_kg, ["origin", "destination", "shipping_method"]),
        ),
    }  # fmt: skip


# The business


def test_columns_and_types(data: SyntheticData) -> None:
    frame = data.frame
    assert len(frame) == ROWS
    for column in DATES:
        assert pd.api.types.is_datetime64_any_dtype(frame[column])
    for column in ("order_id", "supplier", "product", "product_category", "origin", "destination", "shipping_method"):
        assert frame[column].notna().all()
        assert isinstance(frame[column].iloc[0], str)
    assert frame["order_id"].is_unique
    assert frame["order_date"].min() >= pd.Timestamp("2023-01-01")
    assert frame["order_date"].max() < pd.Timestamp("2025-01-05")
    numbers = frame.select_dtypes("number")
    assert (numbers.min() >= 0).all()
    assert (numbers[["order_quantity", "unit_price", "order_value", "weight_kg", "lead_time"]].min() > 0).all()
    assert frame[["quality_rating", "supplier_reliability"]].max().max() <= 1


def test_dates_tell_one_story(data: SyntheticData) -> None:
    frame = data.frame
    day = frame["order_date"].dt.normalize()
    assert ((frame["delivery_date"] - day).dt.days == frame["lead_time"]).all()
    shipped = frame.dropna(subset=["ship_date"])
    assert (shipped["ship_date"] >= shipped["order_date"].dt.normalize()).all()
    assert (shipped["ship_date"] <= shipped["delivery_date"]).all()
    assert (frame["recorded_date"] > frame["delivery_date"]).all()


def test_amounts_tell_one_story(data: SyntheticData) -> None:
    frame = data.frame
    assert np.allclose(frame["order_value"], frame["order_quantity"] * frame["unit_price"], atol=0.0051)
    unit_weight = frame["product"].map({product.name: product.weight for product in PRODUCTS})
    packed = (frame["weight_kg"] / frame["order_quantity"] / unit_weight).dropna()
    assert packed.between(0.9, 1.25).all()
    category = frame["product"].map({product.name: product.category for product in PRODUCTS})
    assert (category == frame["product_category"]).all()
    assert (frame["origin"] == frame["supplier"].map({s.name: s.city for s in SUPPLIERS})).all()


def test_file_order_is_recording_order_and_some_records_come_late(data: SyntheticData) -> None:
    frame = data.frame
    assert frame["recorded_date"].is_monotonic_increasing
    assert not frame["order_date"].is_monotonic_increasing
    days = (frame["recorded_date"] - frame["delivery_date"]).dt.total_seconds() / 86400
    assert days.median() < 1.5
    late = days > 3
    assert 0.02 < late.mean() < 0.15
    by_supplier = late.groupby(frame["supplier"]).mean()
    assert by_supplier["Meghna Garments"] > 5 * by_supplier["Rheinknie Pharma"]


def test_modes_are_possible_and_differ_in_time_and_cost(normal: pd.DataFrame) -> None:
    part = {city: place[2] for city, place in CITIES.items()}
    start, end = normal["origin"].map(part), normal["destination"].map(part)
    mode = normal["shipping_method"]
    assert (start == end)[mode == "Road"].all()
    assert ((start == end) | ((start == "China") & (end == "Europe")))[mode == "Rail"].all()
    assert (start != end)[mode == "Sea"].all()
    overseas = normal[(start != end) & ~mode.isin(["Rail"])]
    lead = overseas.groupby("shipping_method")["lead_time"].median()
    assert lead["Sea"] > 2 * lead["Air"]
    per_kg = (overseas["transportation_cost"] / overseas["weight_kg"]).groupby(overseas["shipping_method"]).median()
    assert per_kg["Air"] > 5 * per_kg["Sea"]


def test_distances_are_those_of_the_map() -> None:
    distance = lanes().distance
    supplier = [s.name for s in SUPPLIERS].index("Lumen Eindhoven")
    newark = [w.city for w in WAREHOUSES].index("Newark")
    # Great circle from Eindhoven to Newark: 5,985 km; a flight is 5 % longer.
    assert distance[supplier, newark, 0] == pytest.approx(1.05 * 5985, rel=0.01)


@pytest.mark.parametrize("mode", ["Air", "Sea", "Road", "Rail"])
def test_freight_grows_with_weight_and_distance(normal: pd.DataFrame, mode: str) -> None:
    rows = normal[normal["shipping_method"] == mode].dropna(subset=["transportation_cost", "weight_kg"])
    tonne_km = rows["weight_kg"] * rows["distance_km"]
    assert rows["transportation_cost"].corr(tonne_km, method="spearman") > 0.8
    heavy = rows[rows["weight_kg"] > rows["weight_kg"].median()]
    per_kg = heavy["transportation_cost"] / heavy["weight_kg"]
    assert per_kg.corr(heavy["distance_km"], method="spearman") > 0.3


def test_suppliers_have_their_own_prices_times_and_quality(normal: pd.DataFrame) -> None:
    catalogue = pd.DataFrame(SUPPLIERS).set_index("name")
    base = normal["product"].map({product.name: product.price for product in PRODUCTS})
    level = (normal["unit_price"] / base).groupby(normal["supplier"]).median()
    assert np.allclose(level, catalogue["price"][level.index], rtol=0.08)
    handling = (normal["ship_date"] - normal["order_date"].dt.normalize()).dt.days.groupby(normal["supplier"]).median()
    assert np.corrcoef(handling, catalogue["handling"][handling.index])[0, 1] > 0.95
    for column, source in {"quality_rating": "quality", "supplier_reliability": "reliability"}.items():
        mean = normal.groupby("supplier")[column].mean()
        assert np.allclose(mean, catalogue[source][mean.index], atol=0.01)


def test_unreliable_suppliers_are_late_more_often(normal: pd.DataFrame) -> None:
    handling = (normal["ship_date"] - normal["order_date"].dt.normalize()).dt.days
    slow = handling > 1.6 * handling.groupby(normal["supplier"]).transform("median")
    share = slow.groupby(normal["supplier"]).mean()
    assert share["Meghna Garments"] > 1.5 * share["Rheinknie Pharma"]


def test_demand_follows_the_week_the_year_and_promotions(normal: pd.DataFrame) -> None:
    weekday = normal["order_date"].dt.day_of_week.value_counts()
    assert weekday[6] < weekday[5] < weekday[2] < weekday[0]
    month = normal["order_date"].dt.month
    for category in CATEGORIES:
        rows = (normal["product_category"] == category.name) & (normal["promotion"] == 0)
        typical = normal["demand_forecast"].groupby([normal["product"], normal["destination"]]).transform("mean")
        by_month = (normal["demand_forecast"] / typical)[rows].groupby(month[rows]).mean()
        peak = pd.Timestamp("2023-01-01") + pd.Timedelta(days=category.peak_day)
        apart = abs(int(by_month.idxmax()) - peak.month)
        assert min(apart, 12 - apart) <= 1
        assert by_month.max() > 1.5 * by_month.min()
    group = [normal["product"], normal["destination"], month]
    relative = normal["demand_forecast"] / normal["demand_forecast"].groupby(group).transform("mean")
    lift = relative.groupby(normal["promotion"]).mean()
    assert lift[1] > 1.15 * lift[0]


def test_orders_refill_stock_within_capacity(normal: pd.DataFrame) -> None:
    known = normal.dropna(subset=["inventory_level", "production_capacity", "demand_forecast"])
    assert np.log(known["demand_forecast"]).corr(np.log(known["inventory_level"])) > 0.9
    weeks = known["order_quantity"] / known["demand_forecast"]
    cover = known["inventory_level"] / known["demand_forecast"]
    unbound = (known["order_quantity"] < 0.9 * known["production_capacity"]) & (known["shipping_method"] == "Sea")
    assert weeks[unbound].corr(cover[unbound], method="spearman") < -0.4
    pack = known["product"].map({product.name: product.pack for product in PRODUCTS})
    assert (known["order_quantity"] <= np.maximum(known["production_capacity"], pack)).all()
    assert (known["order_quantity"] % pack == 0).all()
    assert 0.02 < (known["order_quantity"] > 0.98 * known["production_capacity"]).mean() < 0.3


def test_values_are_missing_more_often_where_little_is_reported(data: SyntheticData) -> None:
    missing = data.frame.isna()
    gaps = missing.mean()
    assert set(gaps.index[gaps > 0]) == {
        "production_capacity", "quality_rating", "supplier_reliability", "ship_date", "weight_kg",
        "transportation_cost", "inventory_level", "demand_forecast",
    }  # fmt: skip
    assert gaps.max() < 0.2
    quality = missing["quality_rating"].groupby(data.frame["supplier"]).mean()
    assert quality["Meghna Garments"] > 0.15
    assert quality["Rheinknie Pharma"] < 0.05
    stock = missing["inventory_level"].groupby(data.frame["destination"]).mean()
    assert stock["Warsaw"] > 2 * stock["Rotterdam"]


@pytest.mark.parametrize("name", [name for name, columns in CHANGED_COLUMNS.items() if columns])
def test_the_telling_value_is_never_missing(data: SyntheticData, name: str) -> None:
    rows = data.anomaly_types == name
    assert data.frame.loc[rows, list(CHANGED_COLUMNS[name])].notna().all(axis=None)
    assert data.frame.loc[rows].isna().any(axis=None)  # others are


# The anomalies


def test_kinds_and_types_are_even(data: SyntheticData) -> None:
    types = pd.Series(data.anomaly_types).value_counts()
    kinds = pd.Series(data.anomaly_kinds).value_counts()
    assert set(types.index) == set(KIND_OF_TYPE)
    assert kinds.drop("normal").max() - kinds.drop("normal").min() <= 1
    for kind in ("point", "contextual", "collective"):
        counts = types[[name for name in types.index if KIND_OF_TYPE[name] == kind]]
        assert counts.max() - counts.min() <= 1
    assert [KIND_OF_TYPE[name] for name in data.anomaly_types.tolist()] == data.anomaly_kinds.tolist()


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_contextual_values_lie_within_the_normal_bulk(by_difficulty: dict[str, SyntheticData], difficulty: str) -> None:
    data = by_difficulty[difficulty]
    numbers = data.frame.select_dtypes("number")
    low, high = numbers[data.labels == 1].quantile([0.001, 0.999]).to_numpy()
    contextual = numbers[data.anomaly_kinds == "contextual"]
    assert len(contextual) == 400
    inside = ((contextual >= low) & (contextual <= high)) | contextual.isna()
    assert inside.all(axis=None), contextual.columns[~inside.all()].tolist()


@pytest.mark.parametrize("name", CONTEXTUAL)
def test_contextual_anomalies_show_in_their_context_only(data: SyntheticData, name: str) -> None:
    value, deviation = _context(data.frame)[name]
    positive, negative = data.anomaly_types == name, data.labels == 1
    alone = _auc(value, positive, negative)
    assert _auc(deviation, positive, negative) > 0.98
    assert 0.2 < alone < 0.8
    # Nor are they outside what the normal values of that column are like in either direction.
    assert _auc((np.log(value) - np.log(value).median()).abs(), positive, negative) < 0.7


def test_points_stand_out_from_their_own_group(data: SyntheticData) -> None:
    frame, normal = data.frame, data.labels == 1
    quality = frame["quality_rating"]
    assert quality[data.anomaly_types == "quality_issue"].max() < 0.75 < quality[normal].quantile(0.001)
    stock = _off_group(frame, frame["inventory_level"].clip(lower=1), ["product", "destination"])
    assert _auc(stock, data.anomaly_types == "inventory_shortage", normal) > 0.97
    lead = _off_group(frame, frame["lead_time"], ["supplier", "destination", "shipping_method"])
    assert _auc(lead, data.anomaly_types == "lead_time_delay", normal) > 0.98


def test_drifting_suppliers_get_worse_for_weeks(data: SyntheticData) -> None:
    frame = data.frame.assign(
        lead_ratio=data.frame["lead_time"]
        / data.frame.groupby(["supplier", "destination", "shipping_method"])["lead_time"].transform("median"),
        quality_gap=data.frame["quality_rating"]
        - data.frame.groupby("supplier")["quality_rating"].transform("median"),
    )  # fmt: skip
    drift = frame[data.anomaly_types == "supplier_drift"].sort_values("order_date")
    episodes = drift.groupby("supplier")
    assert 1 <= episodes.ngroups < len(SUPPLIERS) // 2
    assert drift["lead_ratio"].median() > 1.3
    assert drift["quality_gap"].median() < -0.04
    largest = drift[drift["supplier"] == episodes.size().idxmax()]
    span = largest["order_date"].max() - largest["order_date"].min()
    assert pd.Timedelta(days=7) < span < pd.Timedelta(days=90)
    third = len(largest) // 3
    assert largest["quality_gap"].iloc[-third:].mean() < largest["quality_gap"].iloc[:third].mean() - 0.02
    # Within the episode every order of the supplier is part of it, other anomalies aside.
    meanwhile = frame[
        (frame["supplier"] == largest["supplier"].iloc[0])
        & frame["order_date"].between(largest["order_date"].min(), largest["order_date"].max())
    ]
    assert set(data.anomaly_kinds[meanwhile.index]) <= {"collective", "contextual", "point"}


def test_stuck_readings_repeat_the_one_before(data: SyntheticData) -> None:
    frame = data.frame.assign(stuck=data.anomaly_types == "stuck_reading", minute=data.frame["order_date"])
    frame = frame.sort_values("minute", kind="stable")
    frame = frame[frame["stuck"] | (data.anomaly_kinds[frame.index] == "normal")]
    repeats = np.zeros(len(frame), dtype=bool)
    for column in ("inventory_level", "quality_rating"):
        before = frame.groupby(["destination", "product_category"])[column].ffill()
        before = before.groupby([frame["destination"], frame["product_category"]]).shift()
        repeats |= (frame[column] == before).to_numpy()
    stuck = frame["stuck"].to_numpy()
    assert repeats[stuck].mean() > 0.95  # the good reading before the first may have gone missing
    assert repeats[~stuck].mean() < 0.05
    readings = frame.loc[stuck, ["inventory_level", "quality_rating"]]
    low, high = frame.loc[~stuck, ["inventory_level", "quality_rating"]].quantile([0.0, 1.0]).to_numpy()
    assert ((readings >= low) & (readings <= high)).all(axis=None)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_duplicates_have_an_original_shortly_before(by_difficulty: dict[str, SyntheticData], difficulty: str) -> None:
    data = by_difficulty[difficulty]
    within, noise = DIFFICULTIES[difficulty].copy_minutes, DIFFICULTIES[difficulty].copy_noise
    same = ["supplier", "product", "destination", "shipping_method", "unit_price", "lead_time"]
    frame = data.frame[[*same, "order_id", "order_date", "order_quantity"]]
    copies = frame[data.anomaly_types == "duplicated_order"]
    originals = frame[data.labels == 1]
    pairs = copies.merge(originals, on=same, suffixes=("", "_before"))
    delay = (pairs["order_date"] - pairs["order_date_before"]).dt.total_seconds() / 60
    near = delay.between(0, within) & (
        (pairs["order_quantity"] / pairs["order_quantity_before"] - 1).abs() <= noise + 1 / pairs["order_quantity"]
    )
    assert set(pairs.loc[near, "order_id"]) == set(copies["order_id"])
    # Hardly a normal order looks like that.
    twins = originals.merge(originals, on=same, suffixes=("", "_before"))
    delay = (twins["order_date"] - twins["order_date_before"]).dt.total_seconds() / 60
    chance = delay.between(1, within) & (twins["order_quantity"] == twins["order_quantity_before"])
    assert chance.sum() < 0.001 * len(originals)


def test_difficulty_scales_the_effects(by_difficulty: dict[str, SyntheticData]) -> None:
    effects = []
    for data in by_difficulty.values():
        normal = data.labels == 1
        effects.append([
            deviation[data.anomaly_types == name].median() / deviation[normal].median()
            for name, (_, deviation) in _context(data.frame).items()
        ])  # fmt: skip
        frame = data.frame
        stock = _off_group(frame, frame["inventory_level"].clip(lower=1), ["product", "destination"])
        effects[-1].append(stock[data.anomaly_types == "inventory_shortage"].median())
        effects[-1].append(1 - frame["quality_rating"][data.anomaly_types == "quality_issue"].median())
        effects[-1].append(1 - frame["quality_rating"][data.anomaly_types == "supplier_drift"].median())
    easy, medium, hard = np.array(effects)
    assert (easy > 1.1 * medium).all()
    assert (medium > 1.1 * hard).all()


@pytest.mark.parametrize(("n", "ratio"), [(1, 0.0), (1, 0.5), (2, 0.5), (7, 0.5), (30, 0.3), (300, 0.5), (2_000, 0.5)])
def test_small_and_crowded_data(n: int, ratio: float) -> None:
    for seed in range(5):
        data = generate("realistic", n, anomaly_ratio=ratio, seed=seed)
        assert (data.labels == -1).sum() == round(n * ratio)
        assert not data.frame.drop(columns=["ship_date"]).isin([np.inf, -np.inf]).any(axis=None)


def test_no_anomalies_on_demand() -> None:
    data = generate("realistic", 500, anomaly_ratio=0.0)
    assert (data.labels == 1).all()
    assert set(data.anomaly_kinds) == {"normal"}
