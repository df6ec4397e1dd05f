"""Numbers against groups of few rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anomaly_detection.features.numbers.contexts import Contexts
from anomaly_detection.features.numbers.history import learn_history


def lines(seed: int, n: int = 1_200) -> pd.DataFrame:
    """Order lines of 200 products, whose prices are 1 to 1,000, at three discounts: two rows a product and discount."""
    rng = np.random.default_rng(seed)
    product, quantity, discount = rng.integers(0, 200, n), rng.integers(1, 9, n), rng.choice(["0", "10", "60"], n)
    price = np.random.default_rng(9).lognormal(3.0, 1.5, 200)[product]
    sales = price * quantity * (1.0 - discount.astype(float) / 100.0) * rng.normal(1.0, 0.01, n)
    columns = {"product": [f"p{i}" for i in product], "discount": discount}
    return pd.DataFrame({"sales": sales, "quantity": quantity.astype(float)}).assign(
        **{name: pd.Categorical(values) for name, values in columns.items()}
    )


def test_a_price_is_held_against_two_of_the_same_product_at_the_same_discount() -> None:
    frame, new = lines(0), lines(1, 200)
    fitted = Contexts(["sales"], ["product", "discount"], ["quantity"])
    learned = fitted.fit_transform(frame)
    names = fitted.get_feature_names_out().tolist()
    # One that has no other row of some, and one that has.
    both, alone = (
        names.index(f"sales for each quantity beside its {by}") for by in ("product and discount", "product")
    )
    usual = np.nanquantile(np.abs(learned[:, both]), 0.99)
    known = np.abs(fitted.transform(new)[:, both]) > 0.0
    assert 1.0 > known.mean() > 0.6
    wrong = np.abs(fitted.transform(new.assign(sales=2.0 * new["sales"])))
    assert np.median(wrong[known, both]) > usual + 1.0
    assert np.median(wrong[known, both]) > np.median(wrong[known, alone]) + 1.0


def test_how_little_few_values_that_agree_prove_is_learned_from_the_other_groups() -> None:
    rng = np.random.default_rng(0)
    codes, middles = np.repeat(np.arange(300), 2), rng.normal(size=300)
    agreeing = learn_history(middles[codes] + 0.001 * rng.normal(size=600), codes, 300)
    scattered = learn_history(rng.normal(size=600), codes, 300)
    assert agreeing is not None
    assert scattered is not None
    assert agreeing[0].unproven < 0.1 < scattered[0].unproven
