"""Known errors in real records: what is changed, that it is real, and how a model is judged by it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.cli import main
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.injection import INJECTED_KINDS, SUPPLY_CHAIN_KINDS, inject
from anomaly_detection.evaluation.judging import judge
from anomaly_detection.model_files.persistence import save_detector


def shipments(n: int = 1500, seed: int = 0, text: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    mode = rng.choice(["Air", "Sea", "Truck"], n)
    ordered = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 700, n)), unit="D")
    air, sea = mode == "Air", mode == "Sea"
    lead = np.select([air, sea], [4, 40], 15) + rng.integers(0, 4, n)
    frame = pd.DataFrame(
        {
            "shipment": [f"S{i:06d}" for i in range(n)],
            "ordered": ordered,
            "delivered": ordered + pd.to_timedelta(lead, unit="D"),
            "mode": mode,
            "weight": np.round(rng.lognormal(4, 0.5, n), 1),
            "freight": np.round(np.select([air, sea], [900.0, 40.0], 200.0) * rng.lognormal(0, 0.2, n), 2),
            "unit_price": np.round(rng.lognormal(2, 1.2, n), 2),
        },
        index=np.arange(n) + 7,
    )  # fmt: skip
    if text:
        frame["ordered"] = frame["ordered"].dt.strftime("%d-%b-%y")
        frame["delivered"] = frame["delivered"].dt.strftime("%d-%b-%y")
        frame["freight"] = [f"{value:,.2f} USD" if value > 100 else "See invoice" for value in frame["freight"]]
    return frame


def test_every_kind_changes_one_cell_for_the_worse() -> None:
    frame = shipments()
    before = frame.copy()
    injected = inject(frame, kinds=SUPPLY_CHAIN_KINDS, share=0.04, seed=1)
    pd.testing.assert_frame_equal(frame, before)
    after = injected.frame
    assert after.index.equals(frame.index)
    assert (after.dtypes == frame.dtypes).all()
    differs = (after != frame).to_numpy()
    assert differs.sum(axis=1).tolist() == (injected.labels == -1).astype(int).tolist()
    assert [str(frame.columns[row.argmax()]) if row.any() else "" for row in differs] == injected.columns.tolist()
    assert {kind: int((injected.anomaly_types == kind).sum()) for kind in SUPPLY_CHAIN_KINDS} == dict.fromkeys(
        SUPPLY_CHAIN_KINDS, 20
    )

    reversed_dates = after[injected.anomaly_types == "date_out_of_order"]
    assert (reversed_dates["delivered"] < reversed_dates["ordered"]).all()

    slipped = injected.anomaly_types == "ten_times_off"
    assert set(injected.columns[slipped]) == {"unit_price"}
    off = np.abs(np.log10(after["unit_price"][slipped] / frame["unit_price"][slipped]))
    assert off.between(0.9, 1.1).all()

    freight = (injected.anomaly_types == "value_of_another_group") & (injected.columns == "freight")
    assert freight.any()
    middle = frame.groupby("mode")["freight"].quantile([0.1, 0.9]).unstack()
    own = middle.loc[after["mode"][freight]].to_numpy()
    new = after["freight"][freight].to_numpy()
    assert ((new < own[:, 0]) | (new > own[:, 1])).all()
    assert (np.abs(np.log(new / frame["freight"][freight])) >= np.log(3) - 1e-9).all()
    for name in ("freight", "unit_price", "delivered"):
        assert set(after[name]) <= set(frame[name])


def test_text_keeps_its_formats() -> None:
    frame = shipments(text=True)
    injected = inject(frame, kinds=SUPPLY_CHAIN_KINDS, share=0.05, seed=2)
    changed = injected.frame[injected.columns == "delivered"]["delivered"]
    assert len(changed)
    assert changed.str.fullmatch(r"\d\d-[A-Z][a-z]{2}-\d\d").all()
    freight = injected.frame[injected.columns == "freight"]["freight"]
    assert freight.str.fullmatch(r"[\d,.]+ USD").all()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.005, 0.2))
def test_same_seed_same_errors_and_never_more_than_asked_for(seed: int, share: float) -> None:
    frame = shipments(400)
    first, again = (inject(frame, share=share, seed=seed) for _ in range(2))
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert 0 < (first.labels == -1).sum() <= max(1, round(share * len(frame)))
    assert ((first.anomaly_types == "normal") == (first.labels == 1)).all()


def test_kinds_and_columns_can_be_chosen() -> None:
    injected = inject(shipments(), kinds=["value_of_another_group"], columns=["freight"], seed=3)
    assert set(injected.columns) == {"", "freight"}
    assert "freight of another mode" in injected.note


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kinds": ["ten_time_off"]}, "did you mean 'ten_times_off'"),
        ({"share": 0.0}, "above 0"),
        ({"share": 0.9}, "at most 0.5"),
        ({"columns": ["fright"]}, "did you mean 'freight'"),
        ({"columns": ["mode"], "kinds": SUPPLY_CHAIN_KINDS}, "Nothing in these records"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        inject(shipments(400), **arguments)


def test_what_is_sure_to_be_found_is_found_and_what_is_not_is_not() -> None:
    frame = shipments()

    class Sees(SimpleNamespace):
        def score_samples(self, data: pd.DataFrame) -> np.ndarray:
            return np.where(data["delivered"] < data["ordered"], -1.0, -0.5)

    from anomaly_detection.features.features import SupplyChainFeatures

    oracle = Sees(preprocessor=SupplyChainFeatures().fit(frame))
    found = judge(oracle, frame, kinds=SUPPLY_CHAIN_KINDS, share=0.03, draws=2)
    assert found.recall["date_out_of_order"][0.02] == 1.0
    assert found.changed["all"] == 2 * 45
    assert 0.3 < found.recall["all"][0.02] < 0.6
    assert found.known == 1.0
    assert judge(oracle, shipments(seed=5), kinds=SUPPLY_CHAIN_KINDS, draws=1).known == 0.0
    numbers = ["number_times_10", "number_times_1000", "number_a_tenth", "sign_flipped"]
    few = judge(oracle, frame, kinds=[*numbers, "reading_stuck"], share=2 / 1500, draws=2)
    assert few.changed == {"all": 4, **dict.fromkeys(numbers, 1)}
    assert list(few.left_out) == ["reading_stuck"]
    with pytest.raises(DataError, match="draws"):
        judge(oracle, frame, draws=0)
    with pytest.raises(DataError, match="alert share"):
        judge(oracle, frame, alert_shares=[0.0])


def test_the_command_says_what_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipments(seed=1).to_csv(tmp_path / "new.csv", index=False)
    shipments().to_csv(tmp_path / "old.csv", index=False)
    save_detector(Detector().fit(shipments()), tmp_path / "model.joblib")
    judging = ["judge", str(tmp_path / "model.joblib"), str(tmp_path / "new.csv"), "--draws", "2"]
    assert main([*judging, "--kinds", "value of another group", "ten_times_off", "reading_stuck"]) == 0
    shown = capsys.readouterr()
    head, *rows = shown.out.splitlines()
    assert "at 2% alerts" in head
    assert [row.split("  ")[0] for row in rows[:3]] == ["value of another group", "ten times off", "all"]
    assert rows[1].endswith("a price some ten times or a tenth of what it was")
    assert "Not put in: reading stuck (needs a column of numbers that follow" in shown.out
    assert "the 2% most abnormal of your records (30 of 1,500)" in shown.out
    assert "were in the training" not in shown.err
    assert main(["judge", str(tmp_path / "model.joblib"), str(tmp_path / "old.csv"), "--draws", "1"]) == 0
    shown = capsys.readouterr()
    printed = {row.split("  ")[0] for row in shown.out.splitlines()}
    assert {kind.replace("_", " ") for kind in INJECTED_KINDS if "reading" not in kind} <= printed
    assert "100% of these records were in the training" in shown.err
    assert main([*judging, "--kinds", "ten_time_off"]) == 2
    assert "did you mean 'ten_times_off'" in capsys.readouterr().err
