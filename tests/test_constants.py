"""Values other than the one that a column has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.data.columns.table import as_table
from anomaly_detection.features.categories.constants import Constants
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.kinds import EVIDENCE_GROUPS

N = 400


def orders(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    given = {"amount": rng.lognormal(size=n).round(2), "quantity": rng.integers(1, 9, n)}
    always = {"currency": "USD", "note": None, "discount": 0.0, "month": 5, "shop": "shop 12"}
    return pd.DataFrame({**given, **always})


def test_another_value_is_evidence_where_all_have_one_or_none_and_what_changes_with_each_export_is_left_alone() -> None:
    columns = orders().drop(columns=["amount", "quantity"])
    fitted = Constants()
    assert not fitted.fit_transform(columns).any()
    assert list(fitted.learned_) == ["currency", "note", "discount"]
    new = columns.iloc[:6].astype(object)
    new.loc[0, "currency"], new.loc[1, "note"], new.loc[2, "discount"] = "EUR", "see mail", "0.19"
    new.loc[3, ["month", "shop"]] = [6, "shop 13"]
    new.loc[4, ["currency", "note", "discount"]] = [" usd ", "N/A", "0"]
    new.loc[5, ["currency", "discount"]] = [None, np.nan]
    found = fitted.transform(new)
    assert np.argwhere(found).tolist() == [[0, 0], [1, 1], [2, 2]]
    # Never seen among 400, and two nats.
    assert found[0, 0] == pytest.approx(np.log(401 / 0.5) + 2.0)
    value, usual = fitted.in_units(new)
    told = [
        fitted.phrase(FeatureSource("", "constants", (name,)), value[row, row], usual[row, row], {}, N, None)
        for row, name in enumerate(fitted.learned_)
    ]
    assert told[0] == "currency EUR was never seen before; 400 of 400 records have USD"
    assert told[1] == "note see mail is given; none of 400 records have a value"
    assert [new for _, _, new in fitted.newcomers(as_table(new), np.array([0, 1]), np.array([0, 1]))] == [
        ("currency", "eur"),
        ("note",),
    ]


def test_a_file_that_has_another_value_throughout_is_worth_less() -> None:
    columns = orders()[["currency"]]
    fitted = Constants().fit(columns)
    alone = columns.copy()
    alone.loc[0, "currency"] = "EUR"
    assert fitted.transform(alone)[0, 0] > 2.0 * fitted.transform(columns.assign(currency="EUR"))[0, 0] > 0.0


def test_a_training_record_in_another_currency_is_none_of_the_training_and_columns_may_be_left_out() -> None:
    features = SupplyChainFeatures(groups=(*EVIDENCE_GROUPS, "copies")).fit(orders())
    new = orders().iloc[:3].assign(note=pd.Series([None] * 3, dtype=object))
    usual = features.transform(new)
    new.loc[1, "currency"] = "EUR"
    for found in (features.transform(new), np.vstack([features.transform(row) for row in new.to_dict("records")])):
        assert (found[:, -1] - usual[:, -1] > 5.0).tolist() == [False, True, False]
    assert np.array_equal(features.transform(new.drop(columns=["currency", "note"])), usual)
