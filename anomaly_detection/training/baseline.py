"""The baseline: scikit-learn's isolation forest on the raw numbers, as it is commonly used."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline

from anomaly_detection.data.columns.schema import CleanRecords, Role, Schema
from anomaly_detection.settings import FORESTS

__all__ = ["Baseline", "BaselineParameters"]

_LARGEST = 1e30


@dataclass(frozen=True)
class BaselineParameters:
    """The baseline's columns, and scikit-learn's parameters of its forest."""

    columns: tuple[str, ...]
    n_estimators: int
    max_samples: int | float
    max_features: float
    contamination: str | float

    @property
    def forest(self) -> str:
        """What kind of forest it is, in words."""
        return FORESTS["classic"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        what = "scikit-learn's IsolationForest on the raw numeric columns, missing values replaced by medians"
        return {"forest": self.forest, "what": what, **asdict(self), "columns": list(self.columns)}


class Baseline:
    """scikit-learn's `IsolationForest` on the numeric columns as they are, medians in place of missing values.

    No features, no scaling, no categories: what most people try first. The columns' numbers are read by `schema`, as
    without it scikit-learn could not take text or dates at all.

    Parameters
    ----------
    schema : Schema
        Says which columns are numeric.
    anomaly_ratio : float
        The forest's ``contamination``, which sets its threshold.
    seed : int
        ``random_state``.
    """

    def __init__(self, schema: Schema, *, anomaly_ratio: float, seed: int) -> None:
        self.columns = schema.names(Role.NUMERIC)
        self.schema = Schema(tuple(schema[name] for name in self.columns))
        self.model: Pipeline = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            IsolationForest(n_estimators=100, contamination=anomaly_ratio, random_state=seed),
        )

    def numbers(self, frame: Any) -> npt.NDArray[np.float64]:
        """The numeric columns of records, as an array (rows, columns)."""
        table = frame.table if isinstance(frame, CleanRecords) else self.schema.read(frame)[0]
        # scikit-learn takes what float32 holds.
        return np.clip(table.matrix(self.columns), -_LARGEST, _LARGEST)

    def transform(self, frame: Any) -> npt.NDArray[np.float64]:
        """What the forest sees of records (rows, columns): their numbers, no longer with gaps."""
        return np.asarray(self.model[:-1].transform(self.numbers(frame)))

    def fit(self, frame: Any) -> Baseline:
        """Fit on records; ``forest_fit_seconds_`` then says how long the forest itself took."""
        numbers = self.model[0].fit_transform(self.numbers(frame))
        began = time.perf_counter()
        self.forest.fit(numbers)
        self.forest_fit_seconds_ = time.perf_counter() - began
        return self

    def score_samples(self, frame: Any) -> npt.NDArray[np.float64]:
        """Scores (rows,), lower for the more abnormal."""
        return np.asarray(self.forest.score_samples(self.transform(frame)), dtype=np.float64)

    @property
    def forest(self) -> IsolationForest:
        """The last step of `model`."""
        return self.model[-1]

    @property
    def threshold(self) -> float:
        """Scores below it are alerts."""
        return float(self.forest.offset_)

    @property
    def parameters(self) -> BaselineParameters:
        """What the report says of it."""
        forest = self.forest
        return BaselineParameters(
            columns=tuple(self.columns),
            n_estimators=forest.n_estimators,
            max_samples=256 if forest.max_samples == "auto" else forest.max_samples,
            max_features=forest.max_features,
            contamination=forest.contamination,
        )
