"""Fitting on one part of the records and setting the threshold on another, with what it cost."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.calibration.thresholds import ThresholdRule
from anomaly_detection.compression import NONE, Compression
from anomaly_detection.data.schema import Schema, infer_schema
from anomaly_detection.detector import Detector
from anomaly_detection.settings import FORESTS, RECIPE, Settings, make_detector
from anomaly_detection.synthetic import generate
from anomaly_detection.training.baseline import Baseline
from anomaly_detection.training.performance import Measurement, measure
from anomaly_detection.training.trial_features import Matrices
from mlx_iforest.base import BaseIsolationForest

__all__ = ["FittedModel", "Part", "fit_baseline", "fit_detector", "prepared_for", "warm_up"]

Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Part:
    """Some of the records, and their labels if there are any."""

    frame: pd.DataFrame
    labels: Labels | None

    @property
    def judges(self) -> bool:
        """Whether it holds labels of both classes."""
        return self.labels is not None and len(np.unique(self.labels)) == 2


@dataclass
class FittedModel:
    """A fitted model and what it cost; the test part has not been looked at."""

    scorer: Detector | Baseline
    threshold: float
    fitting: Measurement
    parameters: dict[str, Any]
    validation_alerts: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def forest(self) -> Any:
        """What scores the prepared records, see `prepared_for`."""
        return self.scorer.model if isinstance(self.scorer, Detector) else self.scorer.model[-1]

    @property
    def detector(self) -> Detector:
        assert isinstance(self.scorer, Detector)
        return self.scorer


def prepared_for(models: Mapping[str, FittedModel], records: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """The records as each model's forest sees them; features that models share are made once."""
    made: dict[int, npt.NDArray[np.float32]] = {}
    prepared: dict[str, npt.NDArray[Any]] = {}
    for key, model in models.items():
        scorer = model.scorer
        if isinstance(scorer, Baseline):
            prepared[key] = scorer.model[:-1].transform(scorer.numbers(records))
            continue
        if id(scorer.preprocessor) not in made:
            made[id(scorer.preprocessor)] = scorer.preprocessor.transform(records)
        prepared[key] = scorer.scaled(made[id(scorer.preprocessor)])
    return prepared


def warm_up(forest: Callable[[Settings], BaseIsolationForest]) -> None:
    """Load and compile what is loaded and compiled on first use: not a cost of this or that model."""
    few = generate("classic", 100, seed=0).frame
    for settings in (Settings(n_estimators=2), replace(RECIPE, n_estimators=2), Settings(forest="blended")):
        make_detector(settings, None, forest(replace(settings, max_samples=32))).fit(few)
    Baseline(infer_schema(few), anomaly_ratio=0.1, seed=0).fit(few).score_samples(few)


def fit_detector(
    settings: Settings,
    schema: Schema,
    forest: Callable[[Settings], BaseIsolationForest],
    matrices: Matrices,
    rule: ThresholdRule,
    labels: Labels | None,
    compression: Compression = NONE,
) -> FittedModel:
    """Fit a detector on the training part, make it smaller and set the threshold on the validation part.

    Features that compare a row with its like flatter the rows they were learned from, so a threshold set on those
    raises more alerts than were asked for among new ones. `labels` are those of the validation part. What the features
    cost counts for each model that is grown on them, though they are made once.
    """
    detector = make_detector(settings, schema, forest(settings))
    made = matrices.made(settings.features.groups)
    detector.preprocessor = made.preprocessor
    with measure() as fitting:
        features = detector.fit_scaler(made.training)
        began = time.perf_counter()
        detector.model.fit(features)
        forest_seconds = time.perf_counter() - began
    fitting.seconds += made.cost.seconds
    fitting.peak_memory_bytes = max(made.cost.peak_memory_bytes, made.training.nbytes + fitting.peak_memory_bytes)
    unseen, done = detector.scaled(made.validation), None
    if compression:
        detector.model, done = compression.apply(detector.model, unseen)
    scores = detector.model.score_samples(unseen)
    detector.set_threshold(copy.deepcopy(rule), scores, labels)
    detector.calibration_ = detector.calibration.with_learned(detector.model.score_samples(features))
    threshold = detector.cut(scores)
    parameters = {
        **settings.to_dict(),
        "forest": FORESTS[settings.forest],
        "max_samples": detector.model.max_samples_,
        "contamination": detector.model.contamination,
        "features": len(detector.feature_names),
        "threshold_rule": f"{rule!r} on the validation part",
        "trained_on": "training part",
    }
    model = FittedModel(detector, threshold, fitting, parameters, validation_alerts=int((scores < threshold).sum()))
    model.more["forest_fit_seconds"] = forest_seconds
    if done is not None:
        model.more["compression"] = done
    return model


def fit_baseline(schema: Schema, training: Part, anomaly_ratio: float, seed: int) -> FittedModel:
    """Fit scikit-learn's forest as the baseline."""
    baseline = Baseline(schema, anomaly_ratio=anomaly_ratio, seed=seed)
    with measure() as fitting:
        baseline.fit(training.frame)
    model = FittedModel(baseline, baseline.threshold, fitting, baseline.parameters())
    model.more["forest_fit_seconds"] = baseline.forest_fit_seconds_
    return model
