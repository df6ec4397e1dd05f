"""Names of records that are written unusually."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.features.categories.name_forms import NameForms
from anomaly_detection.synthetic import generate

N = 2_000


def names(first: int = 10_000, n: int = N) -> pd.DataFrame:
    return pd.DataFrame({"order": [f"CA-2024-{i}" for i in range(first, first + n)]})


def test_a_name_that_lost_figures_is_evidence_and_one_that_counts_on_is_none() -> None:
    fitted = NameForms()
    assert not fitted.fit_transform(names()).any()
    new = names(20_000, 200)
    new.loc[5, "order"] = "CA-2024-200"
    new.loc[6, "order"] = "CA-2024-100000"
    new.loc[7, "order"] = " US-2025-20007 "
    new.loc[8, "order"] = "CA2024-20008"
    new.loc[9, "order"] = None
    found = fitted.transform(new)[:, 0]
    assert np.flatnonzero(found).tolist() == [5, 8]
    # Never seen among 2,000, and two nats.
    assert found[5] == pytest.approx(np.log(2_001 / 0.5) + 2.0)
    value, usual = fitted.in_units(new)
    assert (value[5, 0], usual[5, 0], usual[0, 0]) == ("CA-2024-200", 0, N)


def test_a_feed_whose_names_are_all_of_another_form_is_worth_less() -> None:
    fitted = NameForms().fit(names())
    alone, all_of_them = names(20_000, 1_000), pd.DataFrame({"order": [f"O{i}" for i in range(1_000)]})
    alone.loc[0, "order"] = "O1"
    assert fitted.transform(alone)[0, 0] > 5.0 * fitted.transform(all_of_them)[0, 0] > 0.0


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(np.arange(N)).astype(object),  # counted up from 0
        pd.Series([f"{i:x}" for i in range(N)]),
        pd.Series(["x" * (i % 7 + 1) + "-" * (i % 5) for i in range(N)]),
        pd.Series([None] * N, dtype=object),
    ],
)
def test_names_without_one_form_are_not_looked_at(column: pd.Series) -> None:
    assert NameForms().fit_transform(pd.DataFrame({"order": column})).shape == (N, 0)


def test_numbers_and_numbers_beside_gaps_are_the_same_names() -> None:
    fitted = NameForms().fit(pd.DataFrame({"order": np.arange(10_000, 10_000 + N).astype(object)}))
    found = fitted.transform(pd.DataFrame({"order": pd.Series([10_001.0, np.nan, 123.0, "10003"], dtype=object)}))
    assert np.flatnonzero(found[:, 0]).tolist() == [2]


def test_an_order_number_that_lost_its_end_alerts_and_the_reason_says_so() -> None:
    frame = generate("realistic", 1_500, seed=3).frame
    api = AnomalyDetectionAPI(seed=0).fit(frame.iloc[:1_000])
    new = frame.iloc[1_000:].reset_index(drop=True)
    new.loc[100, "order_id"] = str(new.loc[100, "order_id"])[:-3]
    predictions, scores = api.predict(new)
    assert predictions[100] == -1
    told = {one["index"]: one["explanation"] for one in api.explain_anomalies(new, predictions, scores)}
    assert f"order_id {new.loc[100, 'order_id']} is written in a form found in none of 1,000 records" in told[100]
