"""The groups of features, by the names that settings and model files have for them."""

from __future__ import annotations

from anomaly_detection.features.contexts import Contexts
from anomaly_detection.features.copies import Copies
from anomaly_detection.features.dates import Dates
from anomaly_detection.features.duplicates import Repeats
from anomaly_detection.features.expectation import Expectation
from anomaly_detection.features.forms import Decimals, Forms, Given, Signs, Spelling
from anomaly_detection.features.group import FeatureGroup
from anomaly_detection.features.group_deviation import GroupDeviation
from anomaly_detection.features.numeric_values import Durations, NumericValues, Ratios
from anomaly_detection.features.rarity import CalendarRarity, CategoryRarity, LevelRarity, MissingRarity, PairRarity
from anomaly_detection.features.readings import Readings
from anomaly_detection.features.relations import Relations
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
    "levels": LevelRarity,
    "copies": Copies,
    "readings": Readings,
    "contexts": Contexts,
    "relations": Relations,
    "dates": Dates,
    "signs": Signs,
    "decimals": Decimals,
    "given": Given,
    "forms": Forms,
    "spelling": Spelling,
    "tails": DeviationSummary,
}
"""What each `FeatureSource.kind` is."""

GROUPS = tuple(KINDS)
