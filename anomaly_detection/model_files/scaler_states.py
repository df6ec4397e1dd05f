"""Scalers, declared for model files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly_detection.standardising import LoadedScaler
from mlx_iforest.convert.declared import Arrays, Fields, Kind, Optional, StateError, place, refuse_other_keys, shown
from mlx_iforest.convert.declared_values import ARRAY, Array, Flag, Number, Strings, Text, Unkept, Whole

__all__ = ["Scaler"]

LARGEST_INT = 2**31 - 1

_NAMED = {"surprises", "evidence"}
"""The parts that `settings.make_detector` names."""

_COLUMNS = {name: Optional(Whole(-LARGEST_INT, LARGEST_INT)) for name in ("start", "stop", "step")}


class _StandardScaler(Kind):
    fields = Fields(
        {
            "with_mean": Flag(),
            "with_std": Flag(),
            # In place or not: the scaled numbers are the same, and those that came in may be somebody else's.
            "copy": Unkept(True),
            "n_features_in_": Whole(1, LARGEST_INT),
            "feature_names_in_": Strings(),
            "n_samples_seen_": Number(0),
            "mean_": Optional(Array("float64")),
            "var_": Optional(Array("float64", least=0.0)),
            "scale_": Optional(Array("float64", least=np.finfo(np.float64).tiny)),
        },
        ("feature_names_in_",),
    )

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        # As what `transform` hands out its results is no part of a model.
        state = {name: one for name, one in vars(value).items() if name != "_sklearn_output_config"}
        seen = np.asarray(state.get("n_samples_seen_", 0))
        if seen.ndim:
            # Where values were missing, each feature has seen a number of its own; it matters to `partial_fit` alone.
            arrays[place(at, "n_samples_seen_")] = seen.astype(np.int64)
            state["n_samples_seen_"] = 0
        made = self.fields.encode(state, at, arrays)
        return {**made, "n_samples_seen_": ARRAY} if seen.ndim else made

    def decode(self, found: Any, at: str, arrays: Arrays) -> dict[str, Any]:
        seen = found.get("n_samples_seen_") if isinstance(found, dict) else None
        if isinstance(seen, str):
            found, seen = (
                {**found, "n_samples_seen_": 0},
                Array("int64", least=0).decode(seen, place(at, "n_samples_seen_"), arrays),
            )
        state = self.fields.decode(found, at, arrays)
        if isinstance(seen, np.ndarray):
            state["n_samples_seen_"] = seen
        n = state["n_features_in_"]
        sized = ("mean_", "var_", "scale_", "feature_names_in_", "n_samples_seen_")
        if any(len(state[name]) != n for name in sized if isinstance(state.get(name), np.ndarray)):
            raise StateError(f"{at}: expected means and scales of {n} features")
        if (state["scale_"] is None) == state["with_std"]:
            raise StateError(f"{at}: 'scale_' and 'with_std' do not go together")
        if (state["mean_"] is None and state["with_mean"]) or (state["var_"] is None) == state["with_std"]:
            raise StateError(f"{at}: 'mean_' or 'var_' is missing")
        if state["with_std"]:
            # Where a feature is constant, the scale is 1.
            follows = np.isclose(state["scale_"], np.sqrt(state["var_"]), rtol=1e-9, atol=0.0)
            if not np.all(follows | (state["scale_"] == 1.0)):
                raise StateError(f"{at}: 'scale_' does not follow from 'var_'")
        return state


class _Selection(Kind):
    """A `ColumnTransformer` of `StandardScaler` on slices of the columns: a selection, scaled."""

    fields = Fields(
        {
            "sparse_threshold": Number(0.0, 1.0),
            "n_jobs": Unkept(None),
            "verbose": Unkept(False),
            "verbose_feature_names_out": Flag(),
            "n_features_in_": Whole(1, LARGEST_INT),
        }
    )

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if value.remainder != "drop" or value.transformer_weights is not None:
            raise StateError(f"{at}: a ColumnTransformer with a remainder or weights cannot be kept")
        if hasattr(value, "feature_names_in_"):
            raise StateError(f"{at}: a ColumnTransformer that was fitted on names of columns cannot be kept")
        made = self.fields.encode({name: getattr(value, name) for name in self.fields.kinds}, at, arrays)
        parts = [part for part in value.transformers_ if part[0] != "remainder"]
        return {**made, "parts": [self._encode(part, place(at, i), arrays) for i, part in enumerate(parts)]}

    @staticmethod
    def _encode(part: tuple[str, Any, Any], at: str, arrays: Arrays) -> Any:
        name, scaler, columns = part
        if not _is_standard(scaler) or not isinstance(columns, slice):
            raise StateError(f"{at}: expected a StandardScaler of a slice of the columns, found {shown(scaler)}")
        cut = {"start": columns.start, "stop": columns.stop, "step": columns.step}
        return {
            "name": Text().encode(name, at, arrays),
            "columns": Fields(_COLUMNS).encode(cut, at, arrays),
            "scaler": _STANDARD.encode(scaler, place(at, "scaler"), arrays),
        }

    def decode(self, found: Any, at: str, arrays: Arrays) -> LoadedScaler:
        found = refuse_other_keys(found, [*self.fields.kinds, "parts"], at)
        state = self.fields.decode({name: found[name] for name in self.fields.kinds}, at, arrays)
        width = state.pop("n_features_in_")
        if not isinstance(found["parts"], list) or not found["parts"]:
            raise StateError(f"{at}: 'parts' must be a list with a part at least")
        parts = [self._decode(one, place(at, i), arrays, width) for i, one in enumerate(found["parts"])]
        made = LoadedScaler(width, parts, state)
        names = [name for name, _, _ in parts]
        if len(set(names)) < len(names) or not set(names) <= _NAMED:
            # Whether there may be such parts is scikit-learn's to say.
            made.estimator()
        return made

    @staticmethod
    def _decode(found: Any, at: str, arrays: Arrays, width: int) -> tuple[str, dict[str, Any], slice]:
        found = refuse_other_keys(found, ("name", "columns", "scaler"), at)
        cut = Fields(_COLUMNS).decode(found["columns"], place(at, "columns"), arrays)
        scaler = _STANDARD.decode(found["scaler"], place(at, "scaler"), arrays)
        columns = slice(cut["start"], cut["stop"], cut["step"])
        if columns.step == 0 or len(range(*columns.indices(width))) != scaler["n_features_in_"]:
            raise StateError(f"{at}: expected {scaler['n_features_in_']} of {width} columns")
        return Text().decode(found["name"], at, arrays), scaler, columns


def _is_standard(value: Any) -> bool:
    """Whether it is scikit-learn's own scaler; it is loaded where there is one."""
    from sklearn.preprocessing import StandardScaler

    return type(value) is StandardScaler


def _is_selection(value: Any) -> bool:
    from sklearn.compose import ColumnTransformer

    return type(value) is ColumnTransformer


_STANDARD = _StandardScaler()
_SELECTION = _Selection()
_KNOWN = "StandardScaler or ColumnTransformer"


@dataclass(frozen=True)
class Scaler(Kind):
    """One of the scalers that `settings.make_detector` gives a detector, fitted; what is read is a `LoadedScaler`.

    Parameters
    ----------
    n_features : int, optional
        Of how many features one that is read must be: a few bytes could name more than memory holds.
    """

    n_features: int | None = None

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if not _is_standard(value) and not _is_selection(value):
            raise StateError(f"{at}: expected a {_KNOWN}, found {shown(value)}")
        of = _STANDARD if _is_standard(value) else _SELECTION
        return {"kind": type(value).__name__, "state": of.encode(value, at, arrays)}

    def decode(self, found: Any, at: str, arrays: Arrays) -> LoadedScaler:
        found = refuse_other_keys(found, ("kind", "state"), at)
        width = found["state"].get("n_features_in_") if isinstance(found["state"], dict) else None
        if self.n_features is not None and width != self.n_features:
            raise StateError(f"{at}: expected {self.n_features} features, found {shown(width)}")
        if found["kind"] == "ColumnTransformer":
            return _SELECTION.decode(found["state"], at, arrays)
        if found["kind"] == "StandardScaler":
            learned = _STANDARD.decode(found["state"], at, arrays)
            return LoadedScaler(learned["n_features_in_"], [("", learned, slice(None))], None)
        raise StateError(f"{at}: expected a {_KNOWN}, found {shown(found['kind'])}")
