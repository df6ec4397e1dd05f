"""What evidence and its branches hold, declared, for model files."""

from __future__ import annotations

import numpy as np

from anomaly_detection.features.evidence.evidence import Evidence, FeatureScale, Tails
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.model_files.category_states import CATEGORIES
from anomaly_detection.model_files.date_states import DATES
from anomaly_detection.model_files.form_states import FORMS
from anomaly_detection.model_files.number_states import NUMBERS
from anomaly_detection.model_files.repeat_states import REPEATS
from anomaly_detection.model_files.series_states import SERIES
from anomaly_detection.model_files.shared_states import LARGEST, NAMES, SHARE
from mlx_iforest.convert.declared import List, Record
from mlx_iforest.convert.declared_values import Array, Flag, Whole

__all__ = ["EVIDENCE", "EVIDENCE_BRANCHES", "LESSONS"]

_SCALES = List(
    Record(
        FeatureScale,
        {
            "weighed": Flag(),
            "nats": Flag(),
            "logarithmic": Flag(),
            "one_sided": Flag(),
            "discrete": Flag(),
            "judged": Whole(),
        },
    ),
    tuple,
)


def _tails_of_evidence_fault(tails: Tails) -> str | None:
    n = len(tails.median)
    if tails.width.shape != (2, n) or tails.slope.shape != (2, n) or tails.knots.shape != (2, n, tails.knots.shape[2]):
        return f"expected tails of {n} features"
    if tails.worth.shape != tails.knots.shape or not tails.knots.shape[2]:
        return "expected what each knot is worth"
    if not (np.all(tails.width > 0) and np.all(tails.slope > 0)):
        return "expected widths and slopes above 0"
    known = ~np.isnan(tails.knots)
    if np.any(known.any(axis=2) != known.all(axis=2)):
        return "expected all knots of a feature or none"
    ascending = np.where(known, tails.knots, 0.0)
    if np.any(np.diff(ascending, axis=2) < 0) or np.any(np.diff(tails.worth, axis=2) < 0):
        return "expected knots in ascending order, each worth no less"
    return None


def _evidence_fault(evidence: Evidence) -> str | None:
    n = len(evidence.scales)
    return None if n and len(evidence.tails.median) == n else "expected a scale of each feature"


EVIDENCE = Record(
    Evidence,
    {
        "scales": _SCALES,
        "tails": Record(
            Tails,
            {
                "median": Array("float64", least=-LARGEST, most=LARGEST),
                "width": Array("float64", 2, least=-LARGEST, most=LARGEST),
                "knots": Array("float64", 3, special=True, least=-LARGEST, most=LARGEST),
                "worth": Array("float64", 3, least=0.0, most=1e3),
                "slope": Array("float64", 2, least=-LARGEST, most=LARGEST),
            },
            _tails_of_evidence_fault,
        ),
        "agreeing": SHARE,
        "second": SHARE,
    },
    _evidence_fault,
    optional=("agreeing", "second"),
)

EVIDENCE_BRANCHES: dict[str, Record] = {**CATEGORIES, **DATES, **FORMS, **NUMBERS, **REPEATS, **SERIES}

LESSONS = Record(Lessons, {"features": NAMES, "verdicts": List(Whole(-1, 1), tuple)})
