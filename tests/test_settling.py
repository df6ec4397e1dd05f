"""Thresholds and p-values of a model that learned from a sample are by all records, exactly and however they lie."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import distributed
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.calibration.all_scores import AllScores
from anomaly_detection.calibration.p_values import Calibration
from anomaly_detection.calibration.thresholds import AlertBudget, Contamination, ShareRule
from anomaly_detection.cli import main
from anomaly_detection.cluster.running import Workers, dask_cluster
from anomaly_detection.cluster.sampling import Sample, sampled
from anomaly_detection.cluster.settling import Settling
from anomaly_detection.data.chunks import read_table
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.model_files.persistence import FILES, load_detector
from anomaly_detection.settings import RECIPE, make_detector, make_forest
from anomaly_detection.synthetic import generate

COLUMNS = ["order_quantity", "lead_time", "supplier", "month"]
TOGETHER = ("neighbours", "runs", "courses", "dates", "copies", "readings", "relations", "owners")
NONE = np.empty(0, dtype=np.int64)


def threads(count: int) -> Workers:
    return Workers(lambda: ThreadPoolExecutor(count))


def quiet(*told: object) -> None:
    pass


@given(
    scores=st.lists(st.sampled_from((-np.linspace(0.1, 0.9, 30)).tolist()), min_size=1, max_size=80),
    share=st.floats(0.01, 0.5),
    horizon=st.floats(-1.0, 0.0),
    cuts=st.lists(st.integers(0, 80), max_size=4),
    budget=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_thresholds_are_those_of_all_scores_however_they_are_parted(
    scores: list[float], share: float, horizon: float, cuts: list[int], budget: bool
) -> None:
    rule: ShareRule = AlertBudget(share) if budget else Contamination(share)
    values = np.array(scores)
    passes = 0
    while True:
        parts = np.split(values, sorted(min(cut, values.size) for cut in cuts))
        found = AllScores.together([AllScores.of(part, horizon, NONE) for part in parts])
        assert found.rows == values.size
        farther = found.farther(rule)
        passes += 1
        if farther is None:
            break
        assert farther > horizon
        horizon = farther
    assert passes <= 3
    by_lowest = rule.fit_lowest(found.lowest, found.rows).offset_
    assert by_lowest == rule.fit(values).offset_


@given(scores=st.lists(st.floats(-1.0, -1e-9), min_size=1, max_size=60), share=st.floats(0.01, 0.5))
@settings(max_examples=200, deadline=None)
def test_the_lowest_scores_give_the_percentile_to_the_bit(scores: list[float], share: float) -> None:
    values = np.sort(np.array(scores))
    rule = Contamination(share)
    enough = values[: rule.needed(values.size)]
    kept = values[values <= enough[-1]]
    if kept[0] < kept[-1]:
        below = (values < rule.fit(values).offset_).sum()
        assert (values < rule.fit_lowest(kept, values.size).offset_).sum() == below
        assert below >= (values < np.percentile(values, 100.0 * share)).sum()


def test_a_horizon_of_a_sample_by_hand() -> None:
    sample = -np.arange(1, 1001) / 1001.0
    # 5 % of 1,000, a tenth beyond it, and two, are 57: twice as many lie below the 115th lowest.
    assert AllScores.expected_horizon(Contamination(0.05), sample) == -886 / 1001.0
    assert AllScores.expected_horizon(Contamination(0.5), sample) == 0.0


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return generate("classic", 1000, seed=5).frame[COLUMNS]


@pytest.fixture(scope="module")
def detector(frame: pd.DataFrame) -> Detector:
    """One that looks at no records together, so that scores do not depend on row groups."""
    groups = tuple(group for group in RECIPE.features.groups if group not in TOGETHER)
    recipe = RECIPE.__class__(**{**vars(RECIPE), "features": RECIPE.features.__class__(groups)})
    forest = make_forest(recipe, seed=0, contamination=0.05, backend="numba", batch_size="auto", rows=200)
    made = make_detector(recipe, None, forest)
    made.threshold_rule = Contamination(0.05)
    return made


def files(folder: Path, frame: pd.DataFrame, rows: int) -> str:
    folder.mkdir()
    for name, part in (("a", frame.iloc[:600]), ("b", frame.iloc[600:])):
        pq.write_table(
            pa.Table.from_pandas(part, preserve_index=False), folder / f"{name}.parquet", row_group_size=rows
        )
    return str(folder)


def settled(sample: Sample, detector: Detector, folder: Path, workers: Workers) -> Detector:
    fitted = Detector(detector.preprocessor, detector.scaler, detector.model, threshold_rule=Contamination(0.05))
    fitted.fit(sample.frame)
    found = Settling(sample, folder, workers, quiet)({"base": fitted})["base"]
    assert found.rows == sample.of_rows
    return fitted.settle(found)


def state(detector: Detector) -> Sequence[bytes]:
    calibration = detector.calibration
    return [np.float64(detector.model.offset_).tobytes(), calibration.scores.tobytes(), calibration.quantiles.tobytes()]


def test_all_records_alert_at_the_share_that_was_asked_however_they_lie(
    frame: pd.DataFrame, detector: Detector, tmp_path: Path
) -> None:
    found = []
    for number, (rows, count) in enumerate([(600, 1), (600, 7), (150, 2), (90, 7), (37, 1)]):
        sample = sampled(files(tmp_path / f"{number}", frame, rows), 300, 3, threads(count), quiet)
        found.append((sample, settled(sample, detector, tmp_path / "models", threads(count))))
    assert not list((tmp_path / "models").iterdir())
    sample, one = found[0]
    scores = one.score_samples(frame)
    assert (scores < one.model.offset_).sum() == 50
    assert one.model.offset_ == Contamination(0.05).fit(scores).offset_
    # The others are calibrated by: all that the sample lacks.
    learned = np.zeros(1000, dtype=bool)
    for choice in sample.choices:
        learned[choice.rows + choice.partition.first + 600 * (choice.partition.file == "b.parquet")] = True
    np.testing.assert_array_equal(one.calibration.scores, Calibration.of(scores[~learned]).scores)
    for _, other in found[1:]:
        assert state(other) == state(one)


def test_dask_gives_the_same_and_workers_without_the_folder_are_found_out_before(
    frame: pd.DataFrame, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = files(tmp_path / "data", frame, 150)
    sample = sampled(data, 300, 3, threads(1), quiet)
    here = settled(sample, detector, tmp_path / "models", threads(1))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        workers = dask_cluster(cluster.scheduler_address)
        assert state(settled(sample, detector, tmp_path / "models", workers)) == state(here)
        Settling(sample, tmp_path / "models", workers, quiet).refuse_other_folders()
        monkeypatch.setattr("os.path.exists", lambda path: False)
        with pytest.raises(DataError, match=r"workers do not find .*models, where they would read the models"):
            Settling(sample, tmp_path / "models", threads(1), quiet).refuse_other_folders()


def test_train_sets_thresholds_by_all_records_of_the_files(
    frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_pictures: None
) -> None:
    data = files(tmp_path / "data", frame, 200)
    command = ["train", "--data", data, "--sample", "300", "--anomaly-ratio", "0.03", "--output", str(tmp_path / "m")]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "so that 3 % of the records alert, by all 1,000 records." in told.err
    assert f"{FILES['optimized'].native} {data} --output scored --workers 2\n" in told.out
    for name in ("optimized", "base"):
        trained = load_detector(tmp_path / "m" / FILES[name].native)
        assert "by all 1,000 records" in trained.training_["parameters"]["threshold_rule"]
        scores = np.concatenate(
            [
                trained.score_samples(read_table(tmp_path / "data" / f"{file}.parquet").iloc[start : start + 200])
                for file, end in (("a", 600), ("b", 400))
                for start in range(0, end, 200)
            ]
        )
        assert (scores < trained.model.offset_).sum() == 30
    # All of them are learned from: nothing is left to look at.
    assert main([*command[:3], "--sample", "1000", *command[5:]]) == 0
    assert "by the validation part" in capsys.readouterr().err
