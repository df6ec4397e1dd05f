"""Records that say the same as another one, under another number or the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.features.clauses import number
from anomaly_detection.features.forms import NEVER
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row

__all__ = ["Copies"]

Keys = npt.NDArray[np.uint64]

_REMEMBERED = 100_000


class Copies(FeatureGroup):
    """Evidence in nats that a record is a copy: it agrees with another in every column but those that name a record.

    A copy may be of a training record (the last 100,000 are remembered) or of one that comes with it. A training record
    that comes again, alike in its names too, is itself. How often records agree by chance is what it was among the
    training records, in proportion to how many a record is compared with: so the more come together, the less two that
    agree prove.

    Parameters
    ----------
    names : sequence of str
        Columns that name a record; they are no part of what it says.
    """

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    counted: ClassVar[bool] = True

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = names

    def fit(self, X: pd.DataFrame, y: object = None) -> Copies:
        """Remember the records, and how many have a twin."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        content, whole = self._keys(X)
        _, place, counts = np.unique(content, return_inverse=True, return_counts=True)
        self.n_rows_ = len(X)
        self.twins_ = int((counts[place] > 1).sum())
        self.content_, self.whole_ = content[-_REMEMBERED:], whole[-_REMEMBERED:]
        return self

    def _keys(self, X: pd.DataFrame) -> tuple[Keys, Keys]:
        content = _hash(X.drop(columns=list(self.names)))
        named = _hash(X[list(self.names)].astype(str)) if self.names else np.zeros(len(X), dtype=np.uint64)
        return content, np.maximum(content ^ (named * np.uint64(0x9E3779B97F4A7C15)), np.uint64(1))

    def fit_transform(self, X: pd.DataFrame, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the evidence of the training records among themselves."""
        self.fit(X)
        content, _ = self._keys(X)
        _, place, counts = np.unique(content, return_inverse=True, return_counts=True)
        return self._evidence(counts[place] > 1, len(X))

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Give the evidence in nats, shape (n, 1); 0 for a record without a twin."""
        check_is_fitted(self)
        return self._evidence(self._others(X) > 0, self.n_rows_ + len(X))

    def _others(self, X: pd.DataFrame) -> npt.NDArray[np.int64]:
        """How many other records, here or among the training records, say the same; shape (n,)."""
        content, whole = self._keys(X)
        _, place, counts = np.unique(content, return_inverse=True, return_counts=True)
        known, known_counts = np.unique(self.content_, return_counts=True)
        at = np.minimum(np.searchsorted(known, content), len(known) - 1)
        before = np.where(known[at] == content, known_counts[at], 0)
        itself = np.isin(whole, self.whole_)
        # Training records that come again are counted once, here.
        again = np.bincount(place, weights=itself, minlength=len(counts))[place].astype(np.int64)
        return np.asarray(counts[place] - 1 + np.maximum(before - again, 0), dtype=np.int64)

    def _evidence(self, copied: npt.NDArray[np.bool_], compared: int) -> npt.NDArray[np.float32]:
        chance = (self.twins_ + 0.5) / (self.n_rows_ + 1.0) * compared / self.n_rows_
        found = max(-np.log(min(chance, 1.0)) + (2.0 * NEVER if self.twins_ == 0 else 0.0), 0.0)
        return np.where(copied, found, 0.0).astype(np.float32)[:, None]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``copied record``."""
        return np.asarray(["copied record"], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """All columns that say something."""
        return [tuple(str(name) for name in self.feature_names_in_ if name not in self.names)]

    def in_units(self, X: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return how many others say the same, and 0; both (n, 1)."""
        return self._others(X).astype(object)[:, None], np.zeros((len(X), 1))

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``repeated``."""
        return "repeated"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a record without a twin."""
        return bool(value > 0)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: how many records say the same."""
        return f"{number(value)} other {'record says' if value == 1 else 'records say'} exactly the same"


def _hash(X: pd.DataFrame) -> Keys:
    return np.asarray(pd.util.hash_pandas_object(X, index=False).to_numpy(), dtype=np.uint64)
