"""Tables of many columns: the work grows as columns do, the limit is said, and narrow tables are not concerned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.cli import main
from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.levels import Levels
from anomaly_detection.features.categories import information, pair_rarity
from anomaly_detection.features.categories.pair_rarity import PairRarity
from anomaly_detection.features.categories.pairing import MOST_PARTNERS, most_related, paired_dates
from anomaly_detection.features.dates import restated_columns as restated
from anomaly_detection.features.dates.derivation import find_durations, find_ratios
from anomaly_detection.features.dates.restated_columns import find_restated
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.numbers.expectation import Expectation
from anomaly_detection.features.numbers.group_deviation import GroupDeviation
from anomaly_detection.features.numbers.ordered import Ordered
from anomaly_detection.features.numbers.rules import Rules
from anomaly_detection.features.repeats.duplicates import _combine, _hash, _hash_column
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.progress import listening, steps

ROWS = 150


def categories(count: int, seed: int = 0) -> pd.DataFrame:
    codes = np.random.default_rng(seed).integers(0, 4, size=(ROWS, count))
    return pd.DataFrame({f"c{i}": pd.Categorical.from_codes(codes[:, i], list("abcd")) for i in range(count)})


def numbers(count: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(ROWS, 3)) @ rng.normal(size=(3, count)) + rng.normal(size=(ROWS, count))
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(count)])


def dates(count: int) -> pd.DataFrame:
    days = np.random.default_rng(2).integers(0, 9, size=(ROWS, count)).cumsum(axis=0)
    return pd.DataFrame({f"d{i}": pd.Timestamp("2024-01-01") + pd.to_timedelta(days[:, i], "D") for i in range(count)})


class Counted:
    """A function that counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.calls, self.of = 0, getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return self.of(*args, **options)


@pytest.mark.parametrize("count", [80, 160])
def test_each_column_meets_a_limited_number_of_others(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    plain = Ordered.explained_shares
    monkeypatch.setattr(
        Ordered,
        "explained_shares",
        lambda self, columns, wanted: (widths.append(len(columns.names)), plain(self, columns, wanted))[1],
    )
    compared = Counted(monkeypatch, pair_rarity, "mutual_information")
    frame = pd.concat([categories(count), numbers(8)], axis=1)
    names = [f"c{i}" for i in range(count)]
    GroupDeviation([f"x{i}" for i in range(8)], names).fit(frame)
    assert widths == [MOST_PARTNERS] * 8
    PairRarity().fit(frame[names])
    assert compared.calls == MOST_PARTNERS * (MOST_PARTNERS - 1) / 2
    compared = Counted(monkeypatch, information, "mutual_information")
    information.determined(frame, {name: Levels(frame[name]) for name in names})
    assert compared.calls <= count * (1 + MOST_PARTNERS)
    assert len(find_durations(dates(count), list(dates(count)))) == MOST_PARTNERS - 1
    assert len(Rules((), list(dates(count))).fit(dates(count)).orders_) <= MOST_PARTNERS**2 / 2


def test_few_pairs_of_columns_and_parts_of_dates_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Counted(monkeypatch, restated, "_one_to_one")
    frame = pd.concat([categories(200), dates(2)], axis=1)
    frame["month"] = frame["d1"].dt.month.astype(float)
    found = find_restated(frame, [*(f"c{i}" for i in range(200)), "month"], ["d0", "d1"])
    assert found == {"month": ("month", "d1")}
    assert looks.calls < 20


def test_ratios_by_names_end_once_there_are_enough() -> None:
    rng = np.random.default_rng(0)
    names = [*(f"value_{i}" for i in range(300)), *(f"quantity_{i}" for i in range(300))]
    frame = pd.DataFrame(rng.lognormal(size=(20, len(names))), columns=names)
    assert len(find_ratios(frame, names)) == 16


def test_numbers_are_foretold_by_those_that_go_with_them() -> None:
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(ROWS, 100)), columns=[f"x{i}" for i in range(100)])
    frame["twice"] = 2.0 * frame["x70"] + 0.05 * np.random.default_rng(4).normal(size=ROWS)
    fitted = Expectation(list(frame.columns)).fit(frame)
    by_column = {target.column: target for target in fitted.targets_}
    assert by_column["twice"].group_by[0] == "x70"
    assert by_column["x70"].group_by[0] == "twice"
    for target in fitted.targets_:
        assert target.places is not None
        assert len(target.weights) == len(target.places) <= MOST_PARTNERS + 2
    odd = frame.iloc[:1].assign(twice=5.0)
    place = [target.column for target in fitted.targets_].index("twice")
    assert abs(fitted.transform(odd)[0, place]) > 3.0
    assert abs(fitted.transform(frame.iloc[:1])[0, place]) < 2.5


def test_narrow_tables_are_foretold_by_all_their_columns() -> None:
    frame = numbers(MOST_PARTNERS)
    fitted = Expectation(list(frame.columns), strength=50.0).fit(frame)
    assert all(target.places is None for target in fitted.targets_)
    assert fitted.targets_


def test_columns_that_have_most_to_do_with_others_are_chosen() -> None:
    frame = categories(150)
    frame["c149"] = frame["c3"]
    coded = {name: (frame[name].cat.codes.to_numpy().astype(np.int64), 4) for name in frame}
    assert {"c3", "c149"} <= set(most_related(coded, 2))
    assert len(most_related(coded)) == MOST_PARTNERS
    few = dict(list(coded.items())[:MOST_PARTNERS])
    assert most_related(few) == list(few)


def test_dates_that_are_missing_least_are_compared() -> None:
    frame = dates(MOST_PARTNERS + 1)
    assert paired_dates(frame, list(frame)[:-1]) == list(frame)[:-1]
    frame.loc[0, "d5"] = pd.NaT
    assert paired_dates(frame, list(frame)) == [name for name in frame if name != "d5"]


def test_shared_hashes_are_those_of_the_columns_together() -> None:
    frame = pd.concat([numbers(2), categories(2)], axis=1)
    frame.iloc[0] = np.nan
    for names in (["x0"], ["x0", "c0"], ["x1", "c0", "c1"]):
        together = _combine([_hash_column(frame[name]) for name in names])
        np.testing.assert_array_equal(np.maximum(together, np.uint64(1)), _hash(frame[names]))


def test_long_loops_say_how_far_they_are() -> None:
    heard: list[tuple[float, str]] = []
    with listening(lambda fraction, message: heard.append((fraction, message))):
        assert list(steps(range(1_000), "columns")) == list(range(1_000))
        assert list(steps(range(50), "few")) == list(range(50))
    assert len(heard) == 100
    assert heard[1] == (0.01, "columns (10 of 1,000)")
    assert list(steps(range(1_000), "columns")) == list(range(1_000))
    assert len(heard) == 100


def test_the_limit_is_said_where_it_cuts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow = SupplyChainFeatures().fit(numbers(MOST_PARTNERS))
    assert narrow.pair_limit is None
    numbers(MOST_PARTNERS + 6).to_csv(tmp_path / "wide.csv", index=False)
    assert main(["train", "--data", str(tmp_path / "wide.csv"), "--output", str(tmp_path / "models")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "columns are more" in line]
    assert said == [
        "70 columns are more than can all be compared with each other: each is compared with up to 64 that promise"
        " most, and judged by itself as ever."
    ]
    formats = ("safetensors", "joblib")
    models = [load_detector(tmp_path / "models" / f"anomaly_detection_model.{format}") for format in formats]
    frame = read_table(tmp_path / "wide.csv")
    np.testing.assert_array_equal(*(model.score_samples(frame) for model in models))
