"""What scikit-learn's standard scalers do to float32, without what they check: one record would pay for that alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LoadedScaler", "Standardising"]

Floats32 = npt.NDArray[np.float32]
Learned = Mapping[str, Any]
"""The attributes of a fitted `StandardScaler`."""


class Standardising:
    """A fitted `StandardScaler`, or a `ColumnTransformer` of some on slices, as two arrays.

    Parameters
    ----------
    columns : ndarray of int64, shape (n,)
        The columns that are given, in their order.
    mean, scale : ndarray of float32, shape (n,)
    width : int
        Columns that there must be.
    """

    def __init__(self, columns: npt.NDArray[np.int64], mean: Floats32, scale: Floats32, width: int) -> None:
        self.columns, self._mean, self._scale, self.width = columns, mean, scale, width

    @classmethod
    def of(cls, scaler: Any) -> Standardising | None:
        """What a fitted scaler does; None for any other."""
        if isinstance(scaler, LoadedScaler):
            return scaler.standardising
        from sklearn.compose import ColumnTransformer
        from sklearn.preprocessing import StandardScaler

        if type(scaler) is StandardScaler:
            return cls.of_parts([(vars(scaler), slice(None))], int(scaler.n_features_in_))
        if type(scaler) is not ColumnTransformer or scaler.remainder != "drop" or scaler.transformer_weights:
            return None
        parts = []
        for _, part, columns in scaler.transformers_:
            if isinstance(part, str) and part == "drop":
                continue
            if type(part) is not StandardScaler or not isinstance(columns, slice):
                return None
            parts.append((vars(part), columns))
        return cls.of_parts(parts, int(scaler.n_features_in_)) if parts else None

    @classmethod
    def of_parts(cls, parts: Sequence[tuple[Learned, slice]], width: int) -> Standardising:
        """What standard scalers have learned of slices of so many columns."""
        found = [(np.arange(width)[columns], *_means(learned)) for learned, columns in parts]
        chosen, mean, scale = (np.concatenate([part[i] for part in found]) for i in range(3))
        return cls(chosen, mean, scale, width)

    def apply(self, X: Floats32, first: int = 0) -> Floats32:
        """`transform` of the scaler, bit for bit, shape (n_rows, n); of X without the columns before the `first`."""
        return np.asarray((X[:, self.columns - first] - self._mean) / self._scale, dtype=np.float32)


def _means(learned: Learned) -> tuple[Floats32, Floats32]:
    width = int(learned["n_features_in_"])
    mean = np.zeros(width) if not learned["with_mean"] else learned["mean_"]
    scale = np.ones(width) if not learned["with_std"] else learned["scale_"]
    return mean.astype(np.float32), scale.astype(np.float32)


@dataclass(frozen=True, eq=False)
class LoadedScaler:
    """A scaler that was read from a file, which works without scikit-learn.

    Attributes
    ----------
    n_features_in_ : int
    parts : list of (name, attributes, columns)
        What a `StandardScaler` has learned of each slice of the columns.
    selection : dict or None
        The parameters of the `ColumnTransformer` that they are in; None for a `StandardScaler` of all columns.
    """

    n_features_in_: int
    parts: Sequence[tuple[str, Learned, slice]]
    selection: Mapping[str, Any] | None

    @cached_property
    def standardising(self) -> Standardising:
        """What it does."""
        return Standardising.of_parts([(learned, columns) for _, learned, columns in self.parts], self.n_features_in_)

    def transform(self, X: Floats32) -> Floats32:
        """What the estimator makes of float32, shape (n_rows, n), bit for bit."""
        return self.standardising.apply(X)

    def get_feature_names_out(self, names: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
        """Which of the `names` are given, in their order."""
        columns = self.standardising.columns
        named = any("feature_names_in_" in learned for _, learned, _ in self.parts)
        renamed = self.selection is not None and self.selection["verbose_feature_names_out"]
        if named or renamed or len(np.unique(columns)) < len(columns):
            found: npt.NDArray[np.object_] = self.estimator().get_feature_names_out(names)
            return found
        return np.asarray(names, dtype=object)[columns]

    def estimator(self) -> Any:
        """The `StandardScaler` or the `ColumnTransformer` that it was."""
        from sklearn import config_context
        from sklearn.compose import ColumnTransformer
        from sklearn.preprocessing import StandardScaler

        scalers = []
        for _, learned, _ in self.parts:
            scaler = StandardScaler()
            scaler.__dict__.update(learned)
            scalers.append(scaler)
        if self.selection is None:
            return scalers[0]
        unfitted = [
            (name, StandardScaler(copy=scaler.copy, with_mean=scaler.with_mean, with_std=scaler.with_std), columns)
            for (name, _, columns), scaler in zip(self.parts, scalers, strict=True)
        ]
        selection = ColumnTransformer(unfitted, **self.selection)
        # scikit-learn's own code sets what it keeps of its own, which differs between its versions.
        with config_context(transform_output="default"):
            selection.fit(np.broadcast_to(0.0, (1, self.n_features_in_)))
        for scaler, (_, fresh, _) in zip(scalers, selection.transformers_, strict=False):
            vars(fresh).update(vars(scaler))
        return selection
