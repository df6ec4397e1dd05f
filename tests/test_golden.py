"""Model files of every format version that was written are still read, and still say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn

from anomaly_detection.errors import ModelFileError
from anomaly_detection.frames import read_table
from anomaly_detection.native_file import NATIVE_VERSION
from anomaly_detection.persistence import FORMAT_VERSION, file_format, load_detector

GOLDEN = Path(__file__).parent / "golden"
EXPECTED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "expected.json").read_text("utf-8"))


def first_two(version: str) -> list[str]:
    return version.split(".")[:2]


def test_every_version_has_its_file() -> None:
    native = [f"native-v{version + 1}.safetensors" for version in range(NATIVE_VERSION)]
    pickled = [f"joblib-v{version + 1}.joblib" for version in range(FORMAT_VERSION)]
    assert set(EXPECTED) == {*native, *pickled}
    for name in EXPECTED:
        assert file_format(GOLDEN / name) == name.split("-")[0]
        assert (GOLDEN / name).stat().st_size < 150_000


@pytest.mark.parametrize("name", EXPECTED)
def test_it_says_what_it_said(name: str) -> None:
    expected = EXPECTED[name]
    made_by, here = expected["made_by"], {"scikit-learn": sklearn.__version__, "pandas": pd.__version__}
    promised = file_format(GOLDEN / name) == "native" or all(
        first_two(made_by[library]) == first_two(version) for library, version in here.items()
    )
    try:
        detector = load_detector(GOLDEN / name)
    except ModelFileError:
        if promised:
            raise
        pytest.skip(f"{name} is promised for the scikit-learn and pandas that wrote it only")
    records = read_table(GOLDEN / "records.csv")
    scores = detector.score_samples(records)
    np.testing.assert_allclose(scores, expected["scores"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(detector.p_values(scores), expected["p_values"], rtol=0, atol=0.01)
    assert detector.model.offset_ == expected["threshold"]
    assert detector.training_ == {"seed": 11, "data": {"source": "realistic", "rows": 300}}
    assert repr(detector.threshold_rule) == "Contamination(ratio=0.1)"
    assert len(detector.predict(records)) == 40
