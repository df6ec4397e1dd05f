"""A model file that means something else than what was written is refused, or is a model that is valid by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_detection.errors import ModelFileError
from anomaly_detection.model_files.native_file import from_bytes
from anomaly_detection.model_files.persistence import load_detector
from tests.fuzz.by_meaning import Change, changed, outcome, sample, scores_of

SOME = 60

_DEVIATION = "preprocessor/branches/6/deviations_/0"
REFUSED = [
    # Time and memory.
    ("plain", "training/figures", "a hollow array", "as large as its entries"),
    ("plain", "training/figures:", "hollow", "as large as its entries"),
    ("plain", "training/figures", "a timestamp", "expected a timestamp"),
    ("plain", "training/figures", "a set of one hash", "have one hash"),
    # Alerts switched off, or scores of nothing.
    ("plain", "threshold_rule/offset_", "'nan'", "or neither"),
    ("plain", "threshold_rule/offset_", "'inf'", "expected a number"),
    ("plain", "threshold_rule/offset_", "negative", "expected a number"),
    ("recipe", "threshold_rule/offset_", "'-inf'", "expected a number"),
    ("plain", "calibration/scores:", "turned round", "ascending"),
    ("plain", "calibration/scores:", "1e+30 as entry -1", r"expected numbers in \[-1.0, 0.0\]"),
    ("recipe", "calibration/quantiles:", "nan as entry 0", "finite"),
    ("recipe", "calibration/quantiles:", "turned round", "ascending"),
    ("recipe", "scaler/0/scaler/mean_:", "nan as entry 0", "finite"),
    ("recipe", "scaler/0/scaler/scale_:", "inf as entry 0", "finite"),
    ("recipe", "scaler/0/scaler/scale_:", "1e+30 as entry 0", "does not follow from 'var_'"),
    ("plain", "scaler/n_samples_seen_:", "-1.0 as entry 0", "expected numbers in"),
    ("recipe", "preprocessor/tails_/width_:", "nan as entry 0", "widths above 0"),
    ("recipe", "preprocessor/tails_/width_:", "0.0 as entry 0", "widths above 0"),
    ("recipe", "preprocessor/tails_/bounds_:", "1e+30 as entry 0", "before the most"),
    ("recipe", "preprocessor/tails_/profile_:", "turned round", "descending"),
    ("recipe", "preprocessor/tails_/most/0", "'nan'", "units above 0"),
    ("recipe", f"{_DEVIATION}/usual/spread:", "0.0 as entry 0", "expected numbers in"),
    ("recipe", f"{_DEVIATION}/usual/groups/_known:", "-1.0 as entry 0", "expected numbers in"),
    ("recipe", f"{_DEVIATION}/usual/groups/_known:", "all as large as can be", "ascending"),
    ("recipe", f"{_DEVIATION}/usual/groups/counts:", "all 0", "expected numbers in"),
    ("recipe", "preprocessor/branches/1/levels_/supplier/counts:", "turned round", "follow from the counts|add up"),
    ("recipe", "preprocessor/branches/1/surprise_/supplier:", "1e+30 as entry 0", "follow from the counts"),
    ("recipe", "preprocessor/branches/12/counts_:", "-1.0 as entry 0", "expected numbers in"),
    ("recipe", "preprocessor/branches/13/frequencies_/weight_kg/knots:", "turned round", "ascending"),
    ("recipe", "preprocessor/branches/0/state/scales_/0/floor", "5e-324", "expected a number"),
    ("recipe", "scaler/state/verbose_feature_names_out", "a template", "expected true or false"),
    # Parts that do not follow from each other.
    ("recipe", "preprocessor/derived_/11/words", "[]", "the ways in which values are missing"),
    ("recipe", "preprocessor/derived_/4/start", "''", "derived from columns that are not there"),
    ("recipe", "preprocessor/feature_sources_/0/columns", "[]", "'feature_sources_' must name"),
    ("recipe", "preprocessor/branches/8/state/dates", "without its last item", "look at the columns"),
    ("recipe", "preprocessor/n_records_", "1000000000", "but branches saw"),
    # Least of all whole numbers: what it is less than the one before is more than any.
    ("recipe", "preprocessor/kept_:", "1e+30 as entry -1", "expected numbers in"),
    # Text that no terminal or file can take.
    ("recipe", "preprocessor/schema_/columns/0/reason", "half a character", "half a character"),
]
IGNORED = [
    ("recipe", "preprocessor/n_jobs", "1000000000"),
    ("recipe", "preprocessor/n_jobs", "control characters"),
    ("recipe", "preprocessor/branches/6/state/n_jobs", "1000000000"),
    ("recipe", "scaler/state/n_jobs", "1000000000"),
    ("recipe", "scaler/state/verbose", "control characters"),
    ("recipe", "scaler/state/parts/0/scaler/copy", "False"),
]


def change(of: str, at: str, how: str) -> Change:
    """A change at a place of the JSON, or of the array whose name ends in a colon here."""
    if at.endswith(":"):
        return Change(of, at[:-1], how)
    return Change(of, tuple(int(key) if key.isdigit() else key for key in at.split("/")), how)


@pytest.mark.parametrize(("of", "at", "how", "words"), REFUSED, ids=[f"{at} {how}" for _, at, how, _ in REFUSED])
def test_what_no_training_gives_is_refused(of: str, at: str, how: str, words: str) -> None:
    with pytest.raises(ModelFileError, match=words) as caught:
        from_bytes(changed(change(of, at, how)), "model.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("of", "at", "how"), IGNORED)
def test_a_file_has_no_say_in_how_things_run(of: str, at: str, how: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(changed(change(of, at, how)))
    detector = load_detector(path)
    features, scaler = detector.preprocessor, detector.scaler
    deviations = features.named_transformers_["deviations"]
    assert (features.n_jobs, deviations.n_jobs, scaler.n_jobs, scaler.verbose) == (None, None, None, False)
    assert scaler.named_transformers_["surprises"].copy is True


def test_some_of_all_changes(tmp_path: Path) -> None:
    counts = {"refused": 0, "same": 0, "other": 0}
    faults = []
    for one in sample(SOME, seed=0):
        try:
            counts[outcome(changed(one), scores_of(one.of), tmp_path / "model.safetensors")] += 1
        except Exception as error:  # all of them are to be seen
            faults.append(f"{one}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)
    assert counts["refused"] > SOME / 2
