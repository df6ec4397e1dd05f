"""A new thing brings new levels in all columns that say the same; a slip changes one cell."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.categories.companions import find_companions, new_later
from anomaly_detection.features.categories.level_rarity import LevelRarity
from anomaly_detection.features.categories.relations import Relations
from anomaly_detection.features.categories.spelling import Spelling
from anomaly_detection.features.compiled.choice import only
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.kinds import EVIDENCE_GROUPS

TOWNS = (
    *(("Columbus", "Ohio", "43085"), ("Columbus", "Georgia", "31907"), ("Akron", "Ohio", "44312")),
    *(("Atlanta", "Georgia", "30318"), ("Denver", "Colorado", "80219"), ("Boulder", "Colorado", "80302")),
    *(("Seattle", "Washington", "98103"), ("Tacoma", "Washington", "98402"), ("Reading", "Pennsylvania", "19601")),
)
NAMES = ["city", "state", "code"]


@cache
def orders(lines: int = 1) -> pd.DataFrame:
    """Orders of so many lines, to towns of which one has only a few."""
    rng = np.random.default_rng(0)
    share = np.array([20, 0.6, *[12] * 7])
    towns = np.repeat(rng.choice(len(TOWNS), 900 // lines, p=share / share.sum()), lines)
    frame = pd.DataFrame([TOWNS[i] for i in towns], columns=NAMES)
    frame["order"] = [f"O-{i:05}" for i in np.repeat(np.arange(len(frame) // lines), lines)]
    frame["day"] = np.repeat(rng.choice(["Mon", "Tue", "Wed", "Thu", "Fri"], len(frame) // lines), lines)
    frame["buyer"] = np.repeat(rng.choice([f"B{i}" for i in range(30)], len(frame) // lines), lines)
    frame["pieces"] = rng.integers(1, 9, len(frame)).astype(float)
    return frame


def levels(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=NAMES).astype("category")


def evidence(group: Any, rows: list[tuple[str, str, str]]) -> Any:
    fitted = group.fit(orders()[NAMES].astype("category"))
    return dict(zip(fitted.get_feature_names_out(), fitted.transform(levels(rows)).T, strict=True))


def test_a_town_of_a_known_name_in_another_state_is_no_slip() -> None:
    given = [("Akron", "Colorado", "80720"), ("Akron", "Colorado", "44312"), ("Akron", "Ohio", "44321")]
    found = evidence(Relations(), given)
    assert found["state beside city"][0] == 0.0 < 4.0 < found["state beside city"][1]
    assert found["code beside city"][0] == 0.0 < 4.0 < found["code beside city"][2]


def test_what_few_records_have_together_is_explained_by_what_has_both() -> None:
    found = evidence(Relations(), [("Columbus", "Georgia", "31907"), ("Columbus", "Georgia", "43085")])
    assert found["state beside city"][0] == 0.0 < 2.0 < found["state beside city"][1]


def test_a_new_town_near_a_known_name_is_no_slip() -> None:
    found = evidence(Spelling(), [("Redding", "California", "96003"), ("Redding", "Pennsylvania", "19601")])
    assert found["city spelling"][0] == 0.0 < 6.0 < found["city spelling"][1]


def test_a_new_level_that_brings_others_is_news() -> None:
    found = evidence(LevelRarity(), [("Gillette", "Wyoming", "82716"), ("Denver", "Wyoming", "80219")])
    assert 0.0 < found["state rarity"][0] <= 4.0 < found["state rarity"][1]


def test_a_town_in_the_place_of_its_state_is_no_news() -> None:
    found = evidence(LevelRarity(), [("Ohio", "Columbus", "43085"), ("Ohio", "Ohio", "44312")])
    assert (found["state rarity"] > 9.0).tolist() == [True, False]
    assert (found["city rarity"] > 7.9).tolist() == [True, True]  # two bring it


def test_what_names_a_transaction_is_nobody_s_companion() -> None:
    frame = orders(3)
    table = Table.of(frame[[*NAMES, "order"]].astype("category"))
    found = find_companions(table, [*NAMES, "order"])
    assert new_later(table["order"].codes, 300) == 1.0
    assert all("order" not in own for own in found.of.values())
    assert "code" in found.of["state"]


def test_lines_of_one_order_do_not_foretell_each_other() -> None:
    lines = orders(6)[["order", "day", "buyer"]].astype("category")
    assert "day beside buyer" not in {one.name for one in Relations().fit(lines).relations_}
    assert "day beside buyer" in {one.name for one in Relations().fit(lines[["day", "buyer"]]).relations_}


@pytest.mark.slow
def test_compiled_code_gives_the_same() -> None:
    features = SupplyChainFeatures(groups=EVIDENCE_GROUPS).fit(orders())
    new = orders().tail(60).reset_index(drop=True)
    new.loc[:19, "city"], new.loc[10:29, "state"], new.loc[20:39, "code"] = "Akron", "Colorado", "80720"
    new.loc[5:9, ["state", "code"]] = ["Georgia", "31907"]
    for size in (1, 60):
        with only(False):
            plain = features.transform(new.head(size))
        with only(True):
            assert np.array_equal(plain, features.transform(new.head(size)), equal_nan=True)
