"""Why a row is abnormal: the features that stand out, by how much, as values and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.attribution import occlusion
from anomaly_detection.features import FeatureSource
from anomaly_detection.frames import to_frame
from anomaly_detection.plain import plain
from anomaly_detection.wording import phrase

__all__ = ["Contribution", "Explanation", "explain", "explain_features"]

_LEAST_SHARE = 0.05
_LEAST_FARNESS = 1.0  # standard deviations; what is nearer is no reason that a person would accept


@dataclass(frozen=True)
class Contribution:
    """One reason.

    Attributes
    ----------
    feature : str
        Name of the feature that stands out.
    columns : tuple of str
        Input columns it comes from.
    value, expected : object
        What the record has and what is usual, in the columns' own units; for categories the level and the number of
        training records with it.
    direction : str
        ``high``, ``low``, ``rare``, ``missing`` or ``repeated``.
    factor : float or None
        Value over expected, where both are positive numbers.
    share : float
        Part of the score's rise over all reasons, 0 to 1.
    text : str
        The reason as a clause.
    """

    feature: str
    columns: tuple[str, ...]
    value: Any
    expected: Any
    direction: str
    factor: float | None
    share: float
    text: str


@dataclass(frozen=True)
class Explanation:
    """Why one row has its score.

    Attributes
    ----------
    index : object
        The row's label in the frame's index.
    score : float
        `score_samples` of the row, in [-1, 0), lower for the more abnormal.
    contributions : tuple of Contribution
        The strongest reason first; empty if nothing stands out.
    sentence : str
    """

    index: Any
    score: float
    contributions: tuple[Contribution, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain JSON-able values."""
        result = asdict(self)
        result["index"] = plain(self.index)
        return result


def explain(detector: Any, data: Any, rows: Sequence[int] | None = None, top: int = 3) -> list[Explanation]:
    """Explain the scores of some rows.

    A reason's weight is what the score would gain if the features of its columns were usual (occlusion). Within a
    reason the feature that lies farthest out tells the story.

    Parameters
    ----------
    detector : object
        With `preprocessor` (a fitted `SupplyChainFeatures`), `scaler` (`transform`) and `model` (`score_samples`).
    data : table
        Anything `to_frame` takes.
    rows : sequence of int, optional
        Positions of the rows to explain; all if not given.
    top : int, default 3
        Most reasons a row.

    Returns
    -------
    list of Explanation
        In the order of `rows`.
    """
    frame = to_frame(data)
    positions = np.arange(len(frame)) if rows is None else np.asarray(rows, dtype=np.int64)
    # Repeats are counted among all rows given, so the features come from the whole frame.
    extended, _ = detector.preprocessor.extend(frame)
    features = detector.preprocessor.features_of(extended)
    return explain_features(detector, extended.set_axis(frame.index), features, positions, top)


def explain_features(
    detector: Any,
    extended: pd.DataFrame,
    features: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int64],
    top: int = 3,
) -> list[Explanation]:
    """`explain` the rows at `positions` of what ``preprocessor.extend`` and ``features_of`` gave already."""
    if positions.size == 0:
        return []
    preprocessor = detector.preprocessor
    features, extended = features[positions], extended.iloc[positions]
    score, gains, blocks = occlusion(detector, features, preprocessor.usual_)
    values, usual = preprocessor.in_units(extended)
    farness = preprocessor.farness(features)
    return [
        _explain_row(
            extended.index[i],
            float(score[i]),
            gains[i],
            [int(block[np.argmax(farness[i, block])]) for block in blocks],
            farness[i],
            preprocessor.feature_sources_,
            (values[i], usual[i]),
            extended.iloc[i],
            preprocessor.n_records_,
            top,
        )
        for i in range(len(positions))
    ]


def _explain_row(
    index: Any,
    score: float,
    gains: npt.NDArray[np.float64],
    chosen: list[int],
    farness: npt.NDArray[np.float32],
    sources: Sequence[FeatureSource],
    facts: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]],
    row: pd.Series[Any],
    n_records: int,
    top: int,
) -> Explanation:
    positive = np.maximum(gains, 0.0)
    shares = positive / positive.sum() if positive.sum() > 0 else positive
    contributions: list[Contribution] = []
    for block in np.argsort(-shares, kind="stable"):
        if len(contributions) == top or shares[block] < _LEAST_SHARE:
            break
        feature = chosen[block]
        if farness[feature] < _LEAST_FARNESS:
            continue
        source, value, usual = sources[feature], facts[0][feature], facts[1][feature]
        contributions.append(
            Contribution(
                feature=source.name,
                columns=source.columns,
                value=plain(value),
                expected=plain(usual),
                direction=_direction(source, value, usual),
                factor=_factor(source, value, usual),
                share=float(shares[block]),
                text=phrase(source, value, usual, row, n_records),
            )
        )
    reasons = "; ".join(contribution.text for contribution in contributions)
    sentence = f"{reasons[0].upper()}{reasons[1:]}." if reasons else "Nothing in this record stands out."
    return Explanation(index, score, tuple(contributions), sentence)


def _direction(source: FeatureSource, value: Any, usual: Any) -> str:
    if source.kind in ("cat", "pairs", "calendar"):
        return "rare"
    if source.kind == "missing":
        return "missing" if value != "none" else "rare"
    if source.kind == "repeats":
        return "repeated"
    if pd.isna(value):
        return "missing"
    return "high" if value > usual else "low" if value < usual else "usual"


def _factor(source: FeatureSource, value: Any, usual: Any) -> float | None:
    if source.kind in ("cat", "pairs", "calendar", "missing", "repeats") or not (value > 0 and usual > 0):
        return None
    return float(value / usual)
