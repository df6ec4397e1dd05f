"""Records set aside in a fit without labels, which the threshold comes from: the model has not seen them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anomaly_detection.calibration.thresholds import ThresholdRule
from anomaly_detection.detector import Detector
from anomaly_detection.features.cross_fitting import BELOW, FEWEST
from anomaly_detection.heap import trim

__all__ = ["fit_with_some_aside"]

_SHARE = 0.2
_FEWEST = 100  # fewer tell too little of the tail: then none is set aside
_LEARNED = 100_000
"""Records that the first model learns from, at most: it says how records look that a model has not seen."""


def fit_with_some_aside(detector: Detector, frame: pd.DataFrame, rule: ThresholdRule, seed: int) -> Detector:
    """Fit on four fifths of the records, set the threshold on the others, then fit on all records again.

    Of many records the first fit is on 100,000; all of the others set the threshold. Of 100 to 1,999 records none is
    set aside: each is judged by what is learned without it, see `SupplyChainFeatures.learn`.

    Parameters
    ----------
    detector : Detector
        Not fitted, with a schema; it may be fitted in place.
    frame : pandas.DataFrame
        The records. With fewer than 100 of them (500 for a rule that needs the batch) the threshold comes from those
        that were learned from.
    rule : ThresholdRule
        One that needs no labels. The guarantee of one that needs the batch is the first model's, which then stays.
    seed : int
        Which records are set aside.

    Returns
    -------
    Detector
        The one to keep.
    """
    if FEWEST <= len(frame) < BELOW and detector.preprocessor.weighs_evidence and not rule.needs_batch:
        detector.threshold_rule = rule
        return detector.refit(detector.preprocessor.read(frame))
    aside = int(_SHARE * len(frame))
    if aside < _FEWEST:
        detector.threshold_rule = rule
        detector.fit(frame)
        return detector
    shuffled = np.random.default_rng(seed).permutation(len(frame))
    # Cells are read once, and a part has what was made of them.
    records = detector.preprocessor.read(frame)
    detector.fit(records.part(np.sort(shuffled[aside:][:_LEARNED])), watched=rule.needs_batch)
    detector.set_threshold(rule, detector.score_samples(records.part(np.sort(shuffled[:aside]))))
    if rule.needs_batch:
        return detector
    if len(frame) > _LEARNED:
        # What the first fit took is more than the second needs at its beginning.
        trim()
    return detector.refit(records)
