"""Rules that records keep, columns that restate the calendar, and categories that nobody has seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.explain.wording import short
from anomaly_detection.features.dates.derived import Product
from anomaly_detection.features.dates.restated_columns import find_restated
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.numbers.rules import Rules
from anomaly_detection.settings import RECIPE, make_detector, make_forest


def days(n: int = 200) -> pd.DataFrame:
    first = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="D")
    return pd.DataFrame({"ordered": first, "delivered": first + pd.to_timedelta(3 + np.arange(n) % 5, unit="D")})


def test_breaches_by_hand() -> None:
    product = Product("value", ("price", "quantity"))
    frame = days().assign(**{product.name: 1.0})
    rules = Rules([product], ["ordered", "delivered"]).fit(frame)
    assert rules.get_feature_names_out().tolist() == [product.name, "delivered after ordered"]
    assert not rules.transform(frame).any()
    odd = frame.iloc[:4].copy()
    odd[product.name] = [10.0, 0.1, 0.0, np.nan]
    odd["delivered"] = odd["ordered"] - pd.to_timedelta([0.5, 1, 30, 0], unit="D")
    size = np.log1p(np.log([10.0, 10.0, 1000.0]) / 0.05)
    found = rules.transform(odd)
    np.testing.assert_allclose(found[:3, 0], size * [1, -1, -1], rtol=1e-6)
    assert np.isnan(found[3, 0])
    np.testing.assert_allclose(found[:, 1], [0.0, -np.log(2), -np.log(31), 0.0], rtol=1e-6)
    values, usual = rules.in_units(odd)
    assert values[2].tolist() == [0.0, -30.0]
    assert usual[0].tolist() == [1.0, 5.0]


def test_dates_without_an_order_make_no_rule() -> None:
    frame = days()
    frame.loc[::10, "delivered"] = frame["ordered"] - pd.Timedelta("3D")
    assert Rules([], ["ordered", "delivered"]).fit(frame).get_feature_names_out().size == 0
    assert Rules([], ["ordered", "delivered"]).fit(frame).transform(frame).shape == (200, 0)


def test_a_rule_never_broken_in_training_is_seen_when_it_is() -> None:
    tails = DeviationSummary(most=[0.3]).fit(np.zeros((100, 1), dtype=np.float32))
    assert tails.deviations(np.array([[0.6], [-3.0]], dtype=np.float32)).ravel() == pytest.approx([2.0, 10.0])
    unlimited = DeviationSummary().fit(np.zeros((100, 1), dtype=np.float32))
    assert unlimited.deviations(np.array([[0.6]], dtype=np.float32))[0, 0] == 0.0


def test_a_floor_keeps_narrow_features_from_shouting() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(0, 0.01, (1000, 1)).astype(np.float32)
    assert DeviationSummary(least=[0.5]).fit(X).width_.tolist() == [[0.5], [0.5]]


def calendar(n: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    date = pd.Timestamp("2022-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 900, n)), unit="D")
    return pd.DataFrame(
        {
            "date": date,
            "month": date.month,
            "week day": pd.Categorical(date.day_name()),
            "year": date.year,
            "quarter": pd.Categorical([f"{at.year} Q{at.quarter}" for at in date]),
            "lead": date.month + rng.integers(0, 3, n),
            "quantity": rng.lognormal(3, 1, n),
            "mode": pd.Categorical(rng.choice(["Air", "Sea", "Rail"], n)),
        }
    )


def test_columns_that_restate_a_date_are_recognised() -> None:
    frame = calendar()
    columns = [name for name in frame.columns if name != "date"]
    assert find_restated(frame, columns, ["date"]) == {
        "month": ("month", "date"),
        "week day": ("weekday", "date"),
        "year": ("year", "date"),
        "quarter": ("year and quarter", "date"),
    }


def test_a_few_wrong_values_do_not_hide_the_calendar_and_other_columns_stay() -> None:
    frame = calendar().astype({"month": "float64"})
    frame.loc[[3, 400], "month"] = [1, 2]
    frame.loc[10:15, "quantity"] = np.nan
    assert find_restated(frame, ["month", "lead", "quantity", "mode"], ["date"]) == {"month": ("month", "date")}
    assert find_restated(frame, ["month"], []) == {}


def test_restated_columns_are_not_judged() -> None:
    features = SupplyChainFeatures().fit(calendar())
    judged = {column for source in features.feature_sources_ for column in source.columns}
    # "2022 Q1" is read as a date, whose days from the other date are judged.
    assert not judged & {"month", "week day", "year"}
    assert {"quantity", "lead"} <= judged
    assert set(features.restated_) == {"month", "week day", "year"}


def test_an_unseen_category_raises_an_alert_where_all_are_common() -> None:
    frame = calendar(3000)
    detector = make_detector(RECIPE, None, make_forest(RECIPE, seed=0, contamination=0.02)).fit(frame)
    known = frame.iloc[:200]
    unseen = known.assign(mode="Zeppelin")
    assert (detector.predict(known) == -1).mean() < 0.1
    assert (detector.predict(unseen) == -1).mean() > 0.9


def test_long_texts_are_cut_between_words() -> None:
    assert short("a short one") == "a short one"
    assert short("Lamivudine/Nevirapine/Zidovudine 30/50/60mg, dispersible tablets, 60 Tabs", 48) == (
        "Lamivudine/Nevirapine/Zidovudine 30/50/60mg..."
    )
    assert short("x" * 60, 10) == "xxxxxxx..."
