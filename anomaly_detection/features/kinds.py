"""The groups of features, by the names that settings and model files have for them."""

from __future__ import annotations

from anomaly_detection.features.duplicates import Repeats
from anomaly_detection.features.expectation import Expectation
from anomaly_detection.features.group import FeatureGroup
from anomaly_detection.features.group_deviation import GroupDeviation
from anomaly_detection.features.numeric_values import Durations, NumericValues, Ratios
from anomaly_detection.features.rarity import CalendarRarity, CategoryRarity, MissingRarity, PairRarity
from anomaly_detection.features.rules import Rules
from anomaly_detection.features.surprise import DeviationSummary

__all__ = ["GROUPS", "KINDS"]

KINDS: dict[str, type[FeatureGroup]] = {
    "num": NumericValues,
    "cat": CategoryRarity,
    "pairs": PairRarity,
    "calendar": CalendarRarity,
    "durations": Durations,
    "ratios": Ratios,
    "deviations": GroupDeviation,
    "expectations": Expectation,
    "rules": Rules,
    "missing": MissingRarity,
    "repeats": Repeats,
    "tails": DeviationSummary,
}
"""What each `FeatureSource.kind` is."""

GROUPS = tuple(KINDS)
