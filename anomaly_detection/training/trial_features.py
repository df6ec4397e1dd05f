"""`Matrices`: the features that models are grown on and that a search tries, each made once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.errors import DataError
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.fitted_branches import FittedBranches
from anomaly_detection.settings import FeatureSet, Settings, make_detector, make_forest
from anomaly_detection.training.optimize import Matrix
from anomaly_detection.training.parts import Part
from anomaly_detection.training.performance import Measurement, measure

__all__ = ["Made", "Matrices"]


@dataclass(frozen=True)
class Made:
    """A preprocessor fitted on the training part, both parts' features, and what fitting it cost."""

    preprocessor: Any
    cost: Measurement
    training: Matrix
    validation: Matrix


class Matrices:
    """Features of the training and validation part for a feature set, computed once for each."""

    def __init__(self, schema: Schema, training: Part, validation: Part) -> None:
        self._schema = schema
        self._fitted = FittedBranches()
        self._training = training
        self._validation = validation
        self._known: dict[FeatureSet, tuple[Matrix, Matrix]] = {}
        self._made: dict[tuple[str, ...], Made] = {}

    def made(self, groups: tuple[str, ...]) -> Made:
        """The features of some groups, before scaling."""
        if groups not in self._made:
            preprocessor = SupplyChainFeatures(schema=self._schema, groups=groups)
            spared = self._fitted.spared
            with measure() as cost:
                training, _ = preprocessor.learn(self._training.records, fitted=self._fitted)
            # All of it counts for each, though much is done once.
            cost.seconds += self._fitted.spared - spared + self._training.read_seconds
            self._made[groups] = Made(preprocessor, cost, training, preprocessor.transform(self._validation.records))
        return self._made[groups]

    def __call__(self, features: FeatureSet) -> tuple[Matrix, Matrix]:
        if features not in self._known:
            detector = make_detector(Settings(features), self._schema, make_forest(Settings(), seed=0))
            made = self.made(features.groups)
            self._known[features] = detector.fit_scaler(made.training), detector.scaled(made.validation)
        return self._known[features]

    def usable(self, candidates: Sequence[FeatureSet], seconds: float) -> tuple[list[FeatureSet], bool]:
        """The candidates whose groups give features here, each different input to a forest once; at least the first.

        Stops making features after `seconds`; the flag says whether all candidates were looked at.
        """
        began = time.perf_counter()
        kept: list[FeatureSet] = []
        seen: set[bytes] = set()
        for features in candidates:
            if kept and time.perf_counter() - began > seconds and features.groups not in self._made:
                return kept, False
            try:
                matrix = self(features)[0]
            except DataError:
                # These records have no such columns; the first candidate, the base's, has been used already.
                continue
            content = np.ascontiguousarray(matrix[:: max(1, len(matrix) // 1000)]).tobytes()
            if content not in seen:
                seen.add(content)
                kept.append(features)
        return kept, True
