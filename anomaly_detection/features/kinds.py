"""The groups of features, by the names that settings and model files have for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from anomaly_detection.features.categories.constants import Constants
from anomaly_detection.features.categories.level_rarity import LevelRarity, MissingLevels, ValueRarity
from anomaly_detection.features.categories.name_forms import NameForms
from anomaly_detection.features.categories.owners import Owners
from anomaly_detection.features.categories.pair_rarity import PairRarity
from anomaly_detection.features.categories.rarity import CalendarRarity, CategoryRarity, MissingRarity
from anomaly_detection.features.categories.relations import Relations
from anomaly_detection.features.categories.spelling import Spelling
from anomaly_detection.features.dates.restated import Restated
from anomaly_detection.features.dates.spans import Dates
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.forms import Decimals, Forms, Gaps, Signs, Zeros
from anomaly_detection.features.group import FeatureGroup
from anomaly_detection.features.numbers.contexts import Contexts
from anomaly_detection.features.numbers.expectation import Expectation
from anomaly_detection.features.numbers.group_deviation import GroupDeviation
from anomaly_detection.features.numbers.numeric_values import Durations, NumericValues, Ratios
from anomaly_detection.features.numbers.rules import Rules
from anomaly_detection.features.numbers.ties import Ties
from anomaly_detection.features.repeats.amended import Amended
from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.features.repeats.duplicates import Repeats
from anomaly_detection.features.series.courses import Courses
from anomaly_detection.features.series.readings import Readings
from anomaly_detection.features.series.sequence import Neighbours, Runs

__all__ = [
    "EVIDENCE_GROUPS",
    "FORMER_GROUPS",
    "GROUPS",
    "KINDS",
    "LATER_GROUPS",
    "PLAIN_GROUPS",
    "known_groups",
    "weigh_evidence",
]

_PLAIN: dict[str, type[FeatureGroup]] = {
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
    "copies": Copies,
    "readings": Readings,
    "tails": DeviationSummary,
}
_EVIDENCE: dict[str, type[FeatureGroup]] = {
    "levels": LevelRarity,
    "patterns": MissingLevels,
    "contexts": Contexts,
    "relations": Relations,
    "dates": Dates,
    "signs": Signs,
    "decimals": Decimals,
    "given": Gaps,
    "forms": Forms,
    "spelling": Spelling,
    "zeros": Zeros,
    "values": ValueRarity,
    "restated": Restated,
    "neighbours": Neighbours,
    "runs": Runs,
    "names": NameForms,
    "courses": Courses,
    "amended": Amended,
    "ties": Ties,
    "owners": Owners,
    "constants": Constants,
}
_FORMER: dict[str, type[FeatureGroup]] = {"repeats": Repeats}
KINDS = {**_PLAIN, **_EVIDENCE, **_FORMER}
"""What each `FeatureSource.kind` is."""

PLAIN_GROUPS = tuple(_PLAIN)
"""Features for a forest to look at."""

EVIDENCE_GROUPS = tuple(_EVIDENCE)
"""Features that only evidence is made of, see `Evidence`."""

LATER_GROUPS = (
    *("zeros", "values", "restated", "neighbours", "runs", "names", "courses", "amended", "ties", "owners"),
    "constants",
)
"""Groups of evidence that the first files with evidence do not have."""

FORMER_GROUPS = tuple(_FORMER)
"""Features that forests of earlier files look at, and no new one does."""

GROUPS = (*PLAIN_GROUPS, *EVIDENCE_GROUPS)


def weigh_evidence(groups: Iterable[str]) -> bool:
    """Whether features of these groups are weighed up, see `Evidence`."""
    return any(group in EVIDENCE_GROUPS for group in groups)


def known_groups(groups: Collection[str]) -> frozenset[str]:
    """The groups of which a model with these has branches, wanted or not."""
    known = {*(GROUPS if weigh_evidence(groups) else PLAIN_GROUPS)}
    if any(group in FORMER_GROUPS for group in groups):
        # A file of before copies and readings were judged by chance.
        known = {*known, *FORMER_GROUPS} - {"copies", "readings"}
    # Files of before these were thought of have no such branches.
    return frozenset(name for name in known if name not in LATER_GROUPS or name in groups)
