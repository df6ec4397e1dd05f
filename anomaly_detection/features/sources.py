"""Where the features of fitted branches come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anomaly_detection.features.branches import Branch
from anomaly_detection.features.dates.derived import Derived
from anomaly_detection.features.group import FeatureSource

__all__ = ["sources_of"]


def sources_of(branches: Iterable[Branch], derived: Mapping[str, Derived]) -> list[FeatureSource]:
    """The source of each feature; a derived column is told by the input columns that it follows from."""
    sources = []
    for kind, branch, columns in branches:
        names = branch.get_feature_names_out()
        judged = getattr(branch, "feature_columns_", [(name,) for name in columns])
        grouped = getattr(branch, "feature_groups_", [()] * len(names))
        for name, own, group_by in zip(names, judged, grouped, strict=True):
            inputs = dict.fromkeys(
                column for part in own for column in (derived[part].columns if part in derived else (part,))
            )
            looked_at = {part: derived[part] for part in (*own, *group_by) if part in derived}
            sources.append(FeatureSource(str(name), kind, tuple(inputs), tuple(group_by), looked_at))
    return sources
