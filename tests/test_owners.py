"""Documents' numbers that are used again for something else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.features.categories.owners import Owners

N = 400
NATS = float(-np.log(0.5 / (N + 1.0)) + 2.0)  # as what no record had, see `forms.seldom`


def lines() -> pd.DataFrame:
    """Orders of two lines each: with one customer and one date, and a product a line."""
    rng = np.random.default_rng(0)
    order = np.repeat(np.arange(N // 2), 2)
    return pd.DataFrame(
        {
            "order": [f"A-{4_000 + 7 * i}" for i in order],
            "customer": rng.choice([f"customer {i}" for i in range(30)], N // 2)[order],
            "ordered": pd.Timestamp("2024-01-01") + pd.to_timedelta(order, unit="D"),
            "product": rng.choice([f"product {i}" for i in range(20)], N),
            "amount": rng.lognormal(4.0, 1.0, N).round(2),
        }
    )


def invoices() -> pd.DataFrame:
    return lines().assign(order=[f"A-{4_000 + 7 * i}" for i in range(N)])


def test_what_the_lines_of_an_order_share_is_learned() -> None:
    fitted = Owners(["order"], ["customer", "product"], ["ordered"]).fit(lines())
    (owned,) = fitted.owned_
    assert (owned.name, owned.columns, owned.least, owned.breaches) == ("order", ("ordered", "customer"), 1, 0)
    assert not fitted.transform(lines()).any()
    wrong = lines().iloc[:4]
    wrong.loc[0, "customer"] = "customer 99"
    wrong.loc[1, "amount"] = 7.0
    wrong.loc[2, "customer"] = None
    np.testing.assert_allclose(fitted.transform(wrong)[:, 0], [NATS, 0.0, 0.0, 0.0], rtol=1e-6)


def test_lines_that_come_together_are_compared_and_many_breaches_are_none() -> None:
    fitted = Owners(["order"], ["customer", "product"], ["ordered"]).fit(lines())
    new = lines().assign(order="B" + lines()["order"])
    new.loc[0, "customer"] = "customer 99"
    # Of two lines nobody knows which is right.
    assert np.flatnonzero(fitted.transform(new)[:, 0]).tolist() == [0, 1]
    renumbered = lines().assign(order=lines()["order"].to_numpy()[::-1])
    assert fitted.transform(renumbered).max() < 0.2


def test_an_invoice_belongs_to_one_vendor_however_its_own_record_changes() -> None:
    fitted = Owners(["order"], ["customer", "product"], ["ordered"]).fit(invoices())
    (owned,) = fitted.owned_
    assert (owned.columns, owned.least) == (("amount", "ordered", "customer", "product"), 2)
    again = invoices().iloc[[5, 6]]
    again.loc[5, "amount"] += 1.0
    again.loc[6, ["customer", "product", "amount"]] = ["customer 99", "product 3", 7.0]
    np.testing.assert_allclose(fitted.transform(again)[:, 0], [0.0, NATS], rtol=1e-6)


@pytest.mark.parametrize("numbers", [[10**400 + i for i in range(N)], pd.date_range("2024-01-01", periods=N)])
def test_documents_may_be_called_by_what_is_no_number(numbers: object) -> None:
    (owned,) = Owners(["order"], ["customer"], ["ordered"]).fit(invoices().assign(order=numbers)).owned_
    assert owned.name == "order"


def test_after_a_wrong_line_the_right_ones_of_its_order_stay_right() -> None:
    fitted = Owners(["order"], ["customer", "product"], ["ordered"]).fit(lines())
    fitted.keep_recent()
    right, other = (lines().iloc[[place]].assign(order="A-9999") for place in (0, 1))
    wrong = right.assign(customer="customer 99")
    found = []
    for one in (right, wrong, right, other, wrong):
        found.append(float(fitted.transform(one)[0, 0]))
        fitted.remember(one, lambda at: str)
    np.testing.assert_allclose(found, [0.0, NATS, 0.0, 0.0, NATS], rtol=1e-6)


def test_row_numbers_name_no_documents() -> None:
    counted = invoices().assign(order=np.arange(1, N + 1).astype(str))
    assert not Owners(["order"], ["customer", "product"], ["ordered"]).fit(counted).owned_


def test_it_says_what_is_another_documents_and_remembers_what_it_judged(tmp_path: pytest.TempPathFactory) -> None:
    api = AnomalyDetectionAPI().fit(lines())
    wrong = lines().iloc[[7]].assign(customer=lines()["customer"].iloc[100])
    (alert,) = api.alerts(wrong, top=1)
    assert alert.is_alert
    assert "order A-4021 has another customer in the training records" in [reason.text for reason in alert.reasons]
    new = lines().iloc[[7]].assign(order="A-9999")
    detector = api.detector
    detector.update(new)
    (alert,) = api.alerts(new.assign(customer=lines()["customer"].iloc[100]), top=1)
    assert "order A-9999 has another customer in row 1 of those before" in [reason.text for reason in alert.reasons]
