"""Model files of every format version that was written are still read, and still say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_detection.data.chunks import read_table
from anomaly_detection.errors import ModelFileError
from anomaly_detection.model_files.joblib_file import JOBLIB_VERSION
from anomaly_detection.model_files.native_file import NATIVE_VERSION
from anomaly_detection.model_files.persistence import file_format, load_detector, save_detector

GOLDEN = Path(__file__).parent / "golden"
EXPECTED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "expected.json").read_text("utf-8"))


def test_every_version_has_its_file() -> None:
    native = [f"native-v{version + 1}.safetensors" for version in range(NATIVE_VERSION)]
    behind_pickles = [f"joblib-v{version}.joblib" for version in range(2, JOBLIB_VERSION + 1)]
    assert set(EXPECTED) == {*native, *behind_pickles, "evidence-v1.safetensors", "evidence-v2.safetensors"}
    for name in EXPECTED:
        assert file_format(GOLDEN / name) == name.rsplit(".", 1)[1]
        assert (GOLDEN / name).stat().st_size < 400_000


def test_a_pickle_alone_is_refused() -> None:
    with pytest.raises(ModelFileError, match=r"joblib-v1\.joblib is a pickle alone, .*: copy the file again"):
        load_detector(GOLDEN / "joblib-v1.joblib")


@pytest.mark.parametrize("name", EXPECTED)
def test_it_says_what_it_said(name: str) -> None:
    expected = EXPECTED[name]
    detector = load_detector(GOLDEN / name)
    records = read_table(GOLDEN / "records.csv")
    scores = detector.score_samples(records)
    np.testing.assert_allclose(scores, expected["scores"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(detector.p_values(scores), expected["p_values"], rtol=0, atol=0.01)
    assert detector.model.offset_ == expected["threshold"]
    assert detector.training_ == {"seed": 11, "data": {"source": "realistic", "rows": 300}}
    assert repr(detector.threshold_rule) == "Contamination(ratio=0.1)"
    assert len(detector.predict(records)) == 40


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".safetensors")])
def test_it_is_saved_again_and_says_the_same(name: str, tmp_path: Path) -> None:
    detector = load_detector(GOLDEN / name)
    save_detector(detector, tmp_path / name)
    records = read_table(GOLDEN / "records.csv")
    np.testing.assert_array_equal(
        load_detector(tmp_path / name).score_samples(records), detector.score_samples(records)
    )
