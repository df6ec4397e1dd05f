"""Make a golden file: a small model, and what it says of the records beside it.

``python tests/golden/make.py native-v1.safetensors`` writes that file into this folder and its entry in
``expected.json``; README.md says when to.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn

from anomaly_detection.calibration.thresholds import Contamination
from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.table_writer import write_table
from anomaly_detection.features.kinds import GROUPS, PLAIN_GROUPS
from anomaly_detection.model_files.persistence import save_detector
from anomaly_detection.settings import FeatureSet, Settings, make_detector, make_forest
from anomaly_detection.synthetic import generate
from mlx_iforest import __version__

COLUMNS = [
    *("order_id", "order_date", "supplier", "product_category", "shipping_method", "order_quantity", "unit_price"),
    *("order_value", "weight_kg", "transportation_cost", "ship_date", "delivery_date", "lead_time"),
]
FOLDER = Path(__file__).parent
RECORDS, EXPECTED = FOLDER / "records.csv", FOLDER / "expected.json"


def main(name: str) -> None:
    """Write the model file `name` and what is expected of it."""
    if not RECORDS.exists():
        write_table(generate("realistic", 40, seed=12).frame[COLUMNS], RECORDS)
    groups = GROUPS if name.startswith("evidence") else PLAIN_GROUPS
    settings = Settings(FeatureSet(groups, 5), n_estimators=25, max_samples=64, forest="density")
    detector = make_detector(settings, None, make_forest(settings, seed=11))
    detector.threshold_rule = Contamination(0.1)
    detector.fit(generate("realistic", 300, seed=11).frame[COLUMNS])
    detector.training_ = {"seed": 11, "data": {"source": "realistic", "rows": 300}}
    save_detector(detector, FOLDER / name)
    records = read_table(RECORDS)
    scores = detector.score_samples(records)
    expected = json.loads(EXPECTED.read_text("utf-8")) if EXPECTED.exists() else {}
    expected[name] = {
        "made_by": {
            "mlx-iforest": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pandas": pd.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "threshold": float(detector.model.offset_),
        "scores": scores.tolist(),
        "p_values": detector.p_values(scores).tolist(),
    }
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
