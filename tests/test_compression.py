"""`--quantize` in a training run: what is saved, what the report says of it, and what a model file then does."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.thresholds import Conformal
from anomaly_detection.cli import main
from anomaly_detection.compression import NONE, Compression
from anomaly_detection.errors import DataError
from anomaly_detection.model_files.persistence import FILES, load_detector, save_detector
from anomaly_detection.reports.tables import comparison_table
from anomaly_detection.synthetic import generate
from anomaly_detection.training.train import train

pytestmark = pytest.mark.usefixtures("few_folds")

DATA = generate("classic", 700, seed=4)
FEW = DATA.frame[["timestamp", "lead_time", "order_quantity", "quality_rating", "supplier"]]
OPTIONS = {"seed": 1, "backend": "numba", "time_budget": 0.0}


@pytest.fixture(scope="module")
def labelled():
    return train(DATA.frame, labels=DATA.labels, compression=Compression(quantize=8), **OPTIONS)


@pytest.fixture(scope="module")
def unlabelled():
    return train(FEW, compression=Compression(quantize=8), **OPTIONS)


def test_the_optimised_model_is_small_and_the_base_whole(labelled):
    assert labelled.base.model.quantized_bits_ is None
    assert labelled.optimized.model.quantized_bits_ == 8
    base, optimized = labelled.report.base, labelled.report.optimized
    assert base.compression is None
    assert "compression" not in base.to_dict()
    # No search ran, so both have the same settings, and yet are two models.
    assert optimized.same_as_base is False
    assert optimized.model_bytes < base.model_bytes


def test_the_report_says_what_it_did(labelled, unlabelled):
    exact = labelled.report.optimized.compression
    assert exact.forest_bytes == labelled.optimized.model.model_bytes()
    assert exact.forest_bytes_before == labelled.base.model.model_bytes()
    done = unlabelled.report.optimized.compression
    assert done.quantized_bits == 8
    assert 0 < done.mean_score_change < done.largest_score_change < 0.1
    text = " ".join(comparison_table(unlabelled.report, terminal=False).split())
    assert "The optimised model's forest is quantised to 8 bits: " in text
    assert f"changed by {done.largest_score_change:.2g} at most" in text


def test_where_many_columns_share_the_splits_eight_bits_change_no_score(labelled):
    assert labelled.report.optimized.compression.largest_score_change == 0
    text = " ".join(comparison_table(labelled.report, terminal=False).split())
    assert "No score of the validation part changed." in text


def test_threshold_and_calibration_are_by_the_small_models_scores():
    # Under `Conformal` the measured model is the saved one, and its threshold follows from its calibration alone.
    options = {**OPTIONS, "threshold": Conformal(0.2), "split_method": "random"}
    small = train(FEW, compression=Compression(quantize=8), **options)
    assert small.optimized.model.quantized_bits_ == 8
    assert not small.report.optimized.refit
    # The whole model's scores are others: those of the validation part are not kept by chance.
    assert small.report.optimized.compression.mean_score_change > 1e-5
    # float32, rounded down, of the scores of the validation part.
    kept = np.sort(small.optimized.calibration.scores)
    scores = np.sort(small.optimized.score_samples(FEW))
    nearest = scores[np.clip(np.searchsorted(scores, kept), 0, len(scores) - 1)]
    assert nearest == pytest.approx(kept, abs=1e-6)


def test_models_refit_are_made_small_again(unlabelled):
    assert unlabelled.report.optimized.refit
    assert unlabelled.optimized.model.quantized_bits_ == 8
    assert unlabelled.base.model.quantized_bits_ is None
    # Grown on all records: its own trees, not the measured model's.
    assert unlabelled.optimized.model.n_features_in_ == len(unlabelled.optimized.feature_names)


def test_the_saved_model_is_small_and_predicts_alike(labelled, tmp_path):
    for key in ("base", "optimized"):
        save_detector(getattr(labelled, key), tmp_path / f"{key}.joblib")
    loaded = load_detector(tmp_path / "optimized.joblib")
    assert loaded.model.forest_.equals(labelled.optimized.model.forest_)
    assert (tmp_path / "optimized.joblib").stat().st_size < (tmp_path / "base.joblib").stat().st_size
    predictions, scores = AnomalyDetectionAPI(tmp_path / "optimized.joblib").predict(DATA.frame)
    assert np.array_equal(scores, labelled.optimized.decision_function(DATA.frame))
    assert np.array_equal(predictions, labelled.optimized.predict(DATA.frame))


def test_the_command_line_takes_both_steps_and_both_are_reported(tmp_path, capsys):
    FEW.iloc[:200].to_csv(tmp_path / "records.csv", index=False)
    arguments = ["train", "--data", str(tmp_path / "records.csv"), "--time-budget", "0", "--output", str(tmp_path)]
    assert main([*arguments, "--prune", "0.02", "--quantize"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"forest is pruned from 300 trees to \d+ and .* and quantised to 8 bits", said)
    done = json.loads((tmp_path / "report.json").read_text("utf-8"))["optimized"]["compression"]
    pruning = done["pruning"]
    assert pruning["nodes_after"] < pruning["nodes_before"]
    # Pruning comes first: it saw a whole forest, quantising the pruned one.
    assert pruning["bytes_before"] == done["forest_bytes_before"]
    assert done["forest_bytes"] < pruning["bytes_after"]
    assert pruning["largest_change"] <= 0.02
    assert done["largest_score_change"] < 0.05
    saved = load_detector(tmp_path / FILES["optimized"].native)
    assert saved.model.pruned_
    assert saved.model.quantized_bits_ == 8
    with pytest.raises(SystemExit):
        main([*arguments, "--prune", "1"])
    assert "--prune: '1' is no change of a score" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--quantize", "4"])
    assert "--quantize: invalid choice: '4'; expected 8, 16" in capsys.readouterr().err


def test_nothing_is_done_unless_asked_for():
    assert not NONE
    assert Compression(quantize=16)
    assert Compression(prune=0.0)


def test_tolerances_out_of_range_are_refused():
    for tolerance in (-0.1, 1.0, float("nan")):
        with pytest.raises(DataError, match=r"pruning tolerance of .* makes no sense"):
            Compression(prune=tolerance)


@pytest.mark.parametrize("bits", [4, "8", 0])
def test_other_bits_are_refused(bits):
    with pytest.raises(DataError, match=r"cannot be quantised to .* bits; give 8 or 16"):
        Compression(quantize=bits)
