"""What can be chosen about a detector, and the detector that a choice makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.kinds import EVIDENCE_GROUPS, GROUPS, PLAIN_GROUPS
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest

__all__ = [
    "FEATURE_SETS",
    "FORESTS",
    "RECIPE",
    "SUMMARY_FEATURES",
    "FeatureSet",
    "ForestKind",
    "Settings",
    "make_detector",
    "make_forest",
    "settings_of",
]

ForestKind = Literal["classic", "density", "blended"]
FORESTS: dict[ForestKind, str] = {
    "classic": "classic isolation forest",
    "density": "isolation forest that judges by density",
    "blended": "blended isolation forest",
}
"""The kinds of forest, and what the report calls them."""

SUMMARY_FEATURES = len(DeviationSummary().get_feature_names_out())
"""How many row-level features the group ``tails`` has; they come last, the largest surprise first of them."""


@dataclass(frozen=True)
class FeatureSet:
    """What the forest sees.

    Attributes
    ----------
    groups : tuple of str
        Feature groups, as `SupplyChainFeatures` names them; with any of `EVIDENCE_GROUPS`, scores fall by evidence.
    surprises : int or None
        None shows the forest every feature of the groups. A number shows it only so many of the row-level features of
        ``tails``, the largest surprise first: then one odd value among many columns cannot be overlooked, since the
        trees have nothing else to split on.
    """

    groups: tuple[str, ...] = PLAIN_GROUPS
    surprises: int | None = None

    @property
    def weighs_evidence(self) -> bool:
        """Whether scores fall by the evidence against a row as well, see `Evidence`."""
        return any(group in EVIDENCE_GROUPS for group in self.groups)


FEATURE_SETS = (
    FeatureSet(),
    FeatureSet(surprises=1),
    FeatureSet(surprises=2),
    FeatureSet(surprises=SUMMARY_FEATURES),
    FeatureSet(("num",)),
    FeatureSet(("num", "tails")),
    FeatureSet(("num", "tails"), 1),
    FeatureSet(("num", "deviations", "tails")),
    FeatureSet(("num", "deviations", "tails"), 1),
    FeatureSet(("num", "deviations", "tails"), 2),
    FeatureSet(("num", "deviations", "copies", "readings", "tails"), 2),
)
"""What the search chooses among; the first is the base model's."""


@dataclass(frozen=True)
class Settings:
    """What the search chooses; the defaults are the base model's.

    Attributes
    ----------
    features : FeatureSet
    n_estimators : int
        Trees.
    max_samples : int
        Rows a tree is grown from; fewer where there are fewer. A blended forest has its own sizes.
    max_features : float
        Share of the features that a tree sees, in (0, 1]. A blended forest's trees see all.
    forest : {"classic", "density", "blended"}
        `MLXIsolationForest` judging by path length or by density, or `BlendedIsolationForest`.
    """

    features: FeatureSet = FEATURE_SETS[0]
    n_estimators: int = 100
    max_samples: int = 256
    max_features: float = 1.0
    forest: ForestKind = "classic"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        values = asdict(self)
        features = values.pop("features")
        if self.forest == "blended":
            del values["max_samples"], values["max_features"]
        return {**values, "feature_groups": list(features["groups"]), "surprises_only": features["surprises"]}


_LOOKED_AT = tuple(group for group in GROUPS if group != "cat")
# Levels are evidence: a forest takes every new customer for an anomaly.

RECIPE = Settings(FeatureSet(_LOOKED_AT, SUMMARY_FEATURES), n_estimators=300, max_samples=128, forest="density")
"""What needs no labels and no tuning: the forest sees how surprising each record is, and judges by density; what is so
improbable that hardly any record has it lowers the score without end.

docs/design.md ("The recipe") has the measurements that it was chosen by.
"""


def make_forest(
    settings: Settings,
    *,
    seed: int,
    contamination: str | float = "auto",
    backend: str = "auto",
    batch_size: str | int = "auto",
    rows: int | None = None,
) -> BaseIsolationForest:
    """An unfitted forest of the settings, on all cores; `rows`, where given, bounds the rows of a tree."""
    shared: dict[str, Any] = {
        "contamination": contamination,
        "random_state": seed,
        "backend": backend,
        "batch_size": batch_size,
        "n_jobs": -1,
    }
    if settings.forest == "blended":
        return BlendedIsolationForest(settings.n_estimators, **shared)
    return MLXIsolationForest(
        settings.n_estimators,
        max_samples=settings.max_samples if rows is None else min(settings.max_samples, rows),
        max_features=settings.max_features,
        scoring="density" if settings.forest == "density" else "depth",
        evidence=settings.features.surprises if settings.features.weighs_evidence else None,
        **shared,
    )


def make_detector(settings: Settings, schema: Schema | None, forest: BaseIsolationForest) -> Detector:
    """An unfitted detector with the settings' features, on all cores, and this forest."""
    features = SupplyChainFeatures(schema=schema, groups=settings.features.groups, n_jobs=-1)
    return Detector(features, _scaler(settings), forest)


def settings_of(detector: Detector) -> Settings:
    """The settings that `make_detector` made a detector of.

    Raises
    ------
    DataError
        It was made in another way.
    """
    model, groups = detector.model, tuple(detector.preprocessor.groups)
    given = getattr(model, "evidence", None)
    shown = int(model.n_features_in_) - (given is not None)
    features = FeatureSet(groups, shown if isinstance(detector.scaler, ColumnTransformer) else None)
    if isinstance(model, BlendedIsolationForest):
        return Settings(features, n_estimators=model.n_estimators, forest="blended")
    kinds: dict[str, ForestKind] = {"depth": "classic", "density": "density"}
    if (
        not isinstance(model, MLXIsolationForest)
        or model.scoring not in kinds
        or not isinstance(model.max_samples, int)
        or model.extension_level
    ):
        raise DataError("This model was not made by train, so its settings are not known; give one that train saved.")
    return Settings(features, model.n_estimators, model.max_samples, float(model.max_features), kinds[model.scoring])


def _scaler(settings: Settings) -> Any:
    shown = settings.features.surprises
    if shown is None:
        return StandardScaler()
    behind = int(settings.features.weighs_evidence)
    columns = slice(-SUMMARY_FEATURES - behind, shown - SUMMARY_FEATURES - behind or None)
    parts = [("surprises", StandardScaler(), columns)]
    if behind:
        parts.append(("evidence", StandardScaler(with_mean=False, with_std=False), slice(-1, None)))
    return ColumnTransformer(parts, sparse_threshold=0.0, verbose_feature_names_out=False)
