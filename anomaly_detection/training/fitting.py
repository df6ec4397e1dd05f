"""Fitting on one part of the records and setting the threshold on another, with what it cost."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.thresholds import ThresholdRule
from anomaly_detection.compression import NONE, Compressed, Compression
from anomaly_detection.data.columns.schema import Schema, infer_schema
from anomaly_detection.detector import Detector
from anomaly_detection.evaluation.model_scores import ModelScores
from anomaly_detection.settings import RECIPE, Settings, make_detector
from anomaly_detection.synthetic import generate
from anomaly_detection.training.baseline import Baseline, BaselineParameters
from anomaly_detection.training.parts import Labels, Part
from anomaly_detection.training.performance import Measurement, measure
from anomaly_detection.training.training_report import DetectorParameters
from anomaly_detection.training.trial_features import Matrices
from mlx_iforest.base import BaseIsolationForest

__all__ = ["FittedBaseline", "FittedDetector", "FittedModel", "fit_baseline", "fit_detector", "warm_up"]


@dataclass(frozen=True)
class FittedModel:
    """A fitted model and what fitting it cost; the test part has not been looked at."""

    scorer: Detector | Baseline
    parameters: DetectorParameters | BaselineParameters
    cost: Measurement
    forest_seconds: float


@dataclass(frozen=True)
class FittedBaseline(FittedModel):
    """The baseline."""

    scorer: Baseline
    parameters: BaselineParameters


@dataclass(frozen=True)
class FittedDetector(FittedModel):
    """One of our models, how it scores the validation part, and what making it smaller did, if that was asked for."""

    scorer: Detector
    parameters: DetectorParameters
    validation: ModelScores
    compressed: Compressed | None

    def scores_of(self, features: npt.NDArray[np.float32]) -> ModelScores:
        """The scores of records by their features before scaling, and their threshold: `Conformal` sets one anew."""
        scores = self.scorer.score_features(features)
        return ModelScores(scores, self.scorer.cut(scores))


def warm_up(forest: Callable[[Settings], BaseIsolationForest]) -> None:
    """Load and compile what is loaded and compiled on first use: not a cost of this or that model."""
    few = generate("classic", 100, seed=0).frame
    # The recipe's features are all features.
    settings = replace(RECIPE, n_estimators=2, max_samples=32)
    seen = make_detector(settings, None, forest(settings)).fit(few).transform(few)
    for kind in (Settings(n_estimators=2, max_samples=32), Settings(n_estimators=2, forest="blended")):
        forest(kind).fit(seen).score_samples(seen)
    Baseline(infer_schema(few), anomaly_ratio=0.1, seed=0).fit(few).score_samples(few)


def fit_detector(
    settings: Settings,
    schema: Schema,
    forest: Callable[[Settings], BaseIsolationForest],
    matrices: Matrices,
    rule: ThresholdRule,
    labels: Labels | None,
    compression: Compression = NONE,
) -> FittedDetector:
    """Fit a detector on the training part, make it smaller and set the threshold on the validation part.

    Features that compare a row with its like flatter the rows they were learned from, so a threshold set on those
    raises more alerts than were asked for among new ones. `labels` are those of the validation part. What the features
    cost counts for each model that is grown on them, though they are made once.
    """
    detector = make_detector(settings, schema, forest(settings))
    made = matrices.made(settings.features.groups)
    detector.preprocessor = made.preprocessor
    with measure() as cost:
        seen = detector.fit_scaler(made.training)
        began = time.perf_counter()
        detector.model.fit(seen)
        forest_seconds = time.perf_counter() - began
    cost.seconds += made.cost.seconds
    cost.peak_memory_bytes = max(made.cost.peak_memory_bytes, made.training.nbytes + cost.peak_memory_bytes)
    compressed = detector.compress(compression, made.validation)
    detector.learned_scores_ = detector.score_features(made.training)
    scores = detector.score_features(made.validation)
    detector.set_threshold(copy.deepcopy(rule), scores, labels)
    detector.calibration_ = detector.calibration.with_learned(detector.learned_scores_)
    parameters = DetectorParameters(
        settings=settings,
        max_samples=detector.model.max_samples_,
        contamination=detector.model.contamination,
        features=len(detector.feature_names),
        threshold_rule=rule,
    )
    validation = ModelScores(scores, detector.cut(scores))
    return FittedDetector(detector, parameters, cost, forest_seconds, validation, compressed)


def fit_baseline(schema: Schema, training: Part, anomaly_ratio: float, seed: int) -> FittedBaseline:
    """Fit scikit-learn's forest as the baseline."""
    baseline = Baseline(schema, anomaly_ratio=anomaly_ratio, seed=seed)
    with measure() as cost:
        baseline.fit(training.records)
    cost.seconds += training.read_seconds
    return FittedBaseline(baseline, baseline.parameters, cost, baseline.forest_fit_seconds_)
