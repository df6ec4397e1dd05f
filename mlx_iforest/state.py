"""A fitted forest as arrays and JSON, and back, checked: what model files hold of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends import BACKENDS
from mlx_iforest.backends.base import BackendChoice
from mlx_iforest.compress.quantization import BITS
from mlx_iforest.convert.declared import (
    Arrays,
    Dict,
    Fields,
    Fixed,
    Kind,
    List,
    Optional,
    Record,
    StateError,
    shown,
)
from mlx_iforest.convert.declared_values import Array, Flag, Number, Strings, Text, Whole
from mlx_iforest.feedback import MOST_VERDICTS
from mlx_iforest.forest import (
    LARGEST_INT32,
    LEAF_VALUES,
    MOST_FEATURES,
    Forest,
)
from mlx_iforest.forest_state import FOREST
from mlx_iforest.loaded import LoadedForest
from mlx_iforest.members import FIRST_VIEWS, blended_score
from mlx_iforest.model import FittedModel, ScoredForest
from mlx_iforest.offsets import HIGHEST, LOWEST
from mlx_iforest.parameters import KINDS, are_surely_fine
from mlx_iforest.performance import Performance
from mlx_iforest.resources import Resources
from mlx_iforest.score_function import MOST_EVIDENCE, Given, mean_score
from mlx_iforest.scoring import RESOLUTION, Spread
from mlx_iforest.stream import WINDOW, Stream

if TYPE_CHECKING:
    from mlx_iforest.base import BaseIsolationForest

__all__ = ["FOREST", "MODEL", "StateError", "from_state", "to_state"]

RESOURCES = ("batch_size", "n_jobs")
"""Parameters that say what scoring may take of a machine. They are its user's: no file has them, and of one that does
they are not believed."""


def to_state(model: BaseIsolationForest) -> tuple[Arrays, dict[str, Any]]:
    """A fitted forest as plain data.

    Parameters
    ----------
    model : MLXIsolationForest or BlendedIsolationForest
        Fitted.

    Returns
    -------
    arrays : dict of str to ndarray
        Little bytes: the forest is packed (`PackedForest`).
    values : dict
        Everything else, as JSON can hold it.

    Raises
    ------
    StateError
        A class or an attribute that the format does not know.
    """
    arrays: Arrays = {}
    return arrays, MODEL.encode(model, "model", arrays)


def from_state(arrays: Arrays, values: Any) -> BaseIsolationForest:
    """The forest that `to_state` was given: it scores alike, bit for bit, and fits alike.

    What it cost (`performance_`) is not kept.

    Raises
    ------
    StateError
        Data that `to_state` does not make; the message names the first fault.
    """
    left = dict(arrays)
    model: LoadedForest = MODEL.decode(values, "model", left)
    if left:
        raise StateError(f"{next(iter(left))}: nothing refers to this array")
    return model.estimator()


_MOST_PRUNED = 10_000
"""Trees that a pruned forest may say to have had, though few are left: a fit as that one was must come to an end."""


class _Parameter(Kind):
    """A parameter of an estimator; scikit-learn's own check says whether it may have the value."""

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if isinstance(value, np.random.RandomState):
            return _encode_random_state(value, at, arrays)
        if isinstance(value, np.generic):
            value = value.item()
        return self.decode(value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if isinstance(found, dict):
            return _decode_random_state(found, at, arrays)
        if found is None or isinstance(found, (bool, str)):
            return found
        return Number().decode(found, at, arrays)


_RANDOM_STATE = Fields(
    {
        "key": Array("uint32"),
        "position": Whole(0, 624),
        "has_gauss": Whole(0, 1),
        "gauss": Number(),
    }
)


def _encode_random_state(state: np.random.RandomState, at: str, arrays: Arrays) -> Any:
    told: dict[str, Any] = state.get_state(legacy=False)  # type: ignore[assignment]
    if told["bit_generator"] != "MT19937":
        raise StateError(f"{at}: a RandomState of {told['bit_generator']} cannot be kept; give a seed")
    values = {"key": told["state"]["key"], "position": told["state"]["pos"]}
    return _RANDOM_STATE.encode({**values, "has_gauss": told["has_gauss"], "gauss": told["gauss"]}, at, arrays)


def _decode_random_state(found: Any, at: str, arrays: Arrays) -> np.random.RandomState:
    values = _RANDOM_STATE.decode(found, at, arrays)
    if values["key"].shape != (624,):
        raise StateError(f"{at}: expected 624 words of a RandomState, found {values['key'].size}")
    state = np.random.RandomState(0)
    state.set_state(("MT19937", *values.values()))
    return state


_LARGEST_VALUE = max(high for _, high in LEAF_VALUES.values())
_SPREAD = Record(
    Spread,
    # No deviation of a fit is smaller, and none of what lies in a range is larger than it.
    {"median": Number(-_LARGEST_VALUE, _LARGEST_VALUE), "deviation": Number(RESOLUTION, 2 * _LARGEST_VALUE)},
)
_CHOICE = Record(BackendChoice, {"name": Text(tuple(BACKENDS)), "reason": Text()})
_SHARED: dict[str, Kind] = {
    "forest_": FOREST,
    "offset_": Number(LOWEST, HIGHEST),
    "max_samples_": Whole(1, LARGEST_INT32),
    "quantized_bits_": Optional(Whole(min(BITS), max(BITS))),
    "pruned_": Flag(),
    "_seed": Whole(0, 2**64 - 1),
    "backend_": _CHOICE,
    "n_features_in_": Whole(1, MOST_FEATURES),
    "feature_names_in_": Strings(),
}
_GIVEN = ("evidence", "_evidence_start")
"""What only a model with a column of evidence has."""

_TAUGHT = {"feedback_": Array("int64", least=-1, most=1), "_feedback_leaves": Array("int32", 2)}
"""What only a model with verdicts has; its forest is that without them."""

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_MOVED = {
    "_stream": Array("int64", least=0),
    "_stream_rows": Array("float32", 2, special=True, least=-_LARGEST_FLOAT, most=_LARGEST_FLOAT),
}
"""What only a model has that follows a stream: window, rows seen, renewals, when the next is due; and the last rows."""

_OWN: dict[str, dict[str, Kind]] = {
    "MLXIsolationForest": {
        "_counted": List(Fixed(Text(tuple(LEAF_VALUES)), Optional(_SPREAD)), tuple),
        "_evidence_start": Number(0.0, MOST_EVIDENCE),
    },
    "BlendedIsolationForest": {
        "_member_trees": List(Fixed(Whole(), Whole())),
        "_spreads": List(List(_SPREAD)),
        "_views": List(Dict(Number())),
    },
}


@dataclass(frozen=True)
class _Model(Kind):
    """A fitted estimator, named by ``kind``; what is read is a `LoadedForest`."""

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        import mlx_iforest

        kind = type(value).__name__
        if kind not in _OWN or type(value) is not getattr(mlx_iforest, kind):
            raise StateError(f"{at}: expected a {' or '.join(_OWN)}, found {shown(value)}")
        if not hasattr(value, "forest_"):
            raise StateError(f"{at}: it is not fitted")
        kept = _attributes(value)
        fields = _fields(kind).encode(kept, at, arrays)
        _check_model(kind, kept, at)
        return {"kind": kind, **fields}

    def decode(self, found: Any, at: str, arrays: Arrays) -> LoadedForest:
        kind = found.get("kind") if isinstance(found, dict) else None
        if not isinstance(kind, str) or kind not in _OWN:
            raise StateError(f"{at}: expected the kind {' or '.join(_OWN)}, found {shown(kind)}")
        # Files of before have resources.
        rest = {name: one for name, one in found.items() if name not in ("kind", *RESOURCES)}
        state = _fields(kind).decode(rest, at, arrays)
        _check_model(kind, state, at)
        return LoadedForest(kind, _parameters(kind, state), _fitted_model(kind, state))


def _parameters(kind: str, state: dict[str, Any]) -> dict[str, Any]:
    return {name: state[name] for name in KINDS[kind] if name in state}


def _attributes(estimator: BaseIsolationForest) -> dict[str, Any]:
    """What a file holds of a fitted estimator, by the names that it has there."""
    model = estimator._model
    given = {name: value for name, value in vars(estimator).items() if name not in ("_model", *RESOURCES)}
    named = {} if model.feature_names is None else {"feature_names_in_": model.feature_names}
    parts = model.function.parts
    own: dict[str, Any] = {"_counted": ((parts[0].views[0].leaf_value, None),)}
    if model.function.given is not None:
        own |= {"evidence": model.function.given.column, "_evidence_start": model.function.given.start}
    elif given.get("evidence", 0) is None:
        del given["evidence"]
    if given.get("window") == WINDOW:
        del given["window"]
    if (stream := model.stream) is not None:
        own["_stream"] = np.array([stream.window, stream.seen, stream.renewals, stream.due])
        own["_stream_rows"] = stream.rows
    if type(estimator).__name__ == "BlendedIsolationForest":
        own = {
            "_member_trees": [(part.first, part.stop) for part in parts],
            "_spreads": [[view.spread for view in part.views] for part in parts],
            "_views": [{view.leaf_value: view.weight for view in part.views} for part in parts],
        }
    forest, taught = model.forest, {}
    if model.feedback is not None:
        forest = model.feedback.forget_all(forest)
        taught = {"feedback_": model.feedback.verdicts, "_feedback_leaves": model.feedback.leaves}
    return {
        **given,
        **taught,
        "forest_": forest,
        "offset_": model.offset,
        "max_samples_": model.max_samples,
        "quantized_bits_": model.quantized_bits,
        "pruned_": model.pruned,
        "_seed": model.seed,
        "backend_": model.resources.backend,
        "n_features_in_": model.forest.n_features,
        **named,
        **own,
    }


def _fitted_model(kind: str, state: dict[str, Any]) -> FittedModel:
    """What `_attributes` were made of. What the fit cost is not kept."""
    forest, max_samples = state["forest_"], state["max_samples_"]
    if "_counted" in state:
        function = mean_score(forest.n_trees, state["_counted"][0][0], max_samples)
        if state.get("evidence") is not None:
            function = replace(function, given=Given(state["evidence"], state["_evidence_start"]))
    else:
        function = blended_score(state["_member_trees"], state.get("_views", FIRST_VIEWS), state["_spreads"])
    resources = Resources(state["backend_"], state["backend"], None, "auto", kind)
    model = FittedModel(
        ScoredForest(forest, function), state["offset_"], resources,
        state.get("feature_names_in_"), max_samples, state["_seed"], Performance(grow_seconds=0.0),
        state["quantized_bits_"], state["pruned_"],
    )  # fmt: skip
    if "_stream" in state:
        window, seen, renewals, due = map(int, state["_stream"])
        model = model._replace(stream=Stream(window, state["_stream_rows"], seen, renewals, due))
    if "feedback_" not in state:
        return model
    return model.taught(model.log().with_more(state["_feedback_leaves"], state["feedback_"]))


def _fields(kind: str) -> Fields:
    """What a file holds of a fitted estimator."""
    names = [name for name in sorted(KINDS[kind]) if name not in RESOURCES]
    optional = ("feature_names_in_", "window", "history", "_views", *_GIVEN, *_TAUGHT, *_MOVED)
    moved = _MOVED if kind == "MLXIsolationForest" else {}
    return Fields({**dict.fromkeys(names, _Parameter()), **_SHARED, **_OWN[kind], **_TAUGHT, **moved}, optional)


def _check_model(kind: str, state: dict[str, Any], at: str) -> None:
    """Refuse parameters that a fit would refuse, and attributes that do not go together."""
    fault = _model_fault(state)
    if fault is not None:
        raise StateError(f"{at}: {fault}")
    parameters = _parameters(kind, state)
    if not are_surely_fine(kind, parameters):
        import mlx_iforest

        try:
            getattr(mlx_iforest, kind)(**parameters)._validate_params()
        except ValueError as error:
            raise StateError(f"{at}: {str(error).splitlines()[0]}") from error
    asked, there = state["n_estimators"], state["forest_"].n_trees
    if asked != there and not (state["pruned_"] and there < asked <= max(_MOST_PRUNED, 100 * there)):
        raise StateError(f"{at}: 'n_estimators' is {shown(asked)}, but the forest has {there} trees")


def _model_fault(state: dict[str, Any]) -> str | None:
    """What does not go together in a model that was read; None where all does."""
    forest: Forest = state["forest_"]
    if state["n_features_in_"] != forest.n_features:
        return f"'n_features_in_' is {state['n_features_in_']}, but the forest has {forest.n_features} features"
    if len(state.get("feature_names_in_", range(forest.n_features))) != forest.n_features:
        return f"'feature_names_in_' must name {forest.n_features} features"
    if state["quantized_bits_"] not in (None, *BITS):
        return f"'quantized_bits_' must be one of {BITS} or null"
    if (fault := _feedback_fault(forest, state.get("feedback_"), state.get("_feedback_leaves"))) is not None:
        return fault
    if (fault := _stream_fault(state)) is not None:
        return fault
    there = LEAF_VALUES.keys() & forest.arrays().keys()
    if "_counted" in state:
        if state["scoring"] == "blend":
            return "it is of an earlier version, and scoring='blend' is no more; fit a BlendedIsolationForest"
        column = state.get("evidence")
        if (column is None) != ("_evidence_start" not in state):
            return "'evidence' and '_evidence_start' do not go together"
        if column is not None and not (type(column) is int and 0 <= column < forest.n_features):
            return f"'evidence' must be one of {forest.n_features} columns"
        if column is not None and np.any(forest.feature == column):
            return "a tree splits on the column of evidence"
        if state["_counted"] not in [((name, None),) for name in there]:
            return "'_counted' must name one leaf value that the forest has"
        return None
    bounds, weights = state["_member_trees"], state.get("_views", FIRST_VIEWS)
    ends = [0, *(stop for _, stop in bounds)] == [*(first for first, _ in bounds), forest.n_trees]
    if len(bounds) != len(weights) or not ends or any(first > stop for first, stop in bounds):
        return f"'_member_trees' must cut {forest.n_trees} trees into {len(weights)} parts"
    views = [names for names, (first, stop) in zip(weights, bounds, strict=True) if first < stop]
    if not all(views) or not all(0 < weight <= 1 for names in views for weight in names.values()):
        return "'_views' must name what counts in each part, with weights in (0, 1]"
    if not set().union(*views) <= there:
        return "the forest lacks leaf values that its members look at"
    if [len(spreads) for spreads in state["_spreads"]] != [len(names) for names in views]:
        return "'_spreads' does not have one spread for each view"
    return None


def _feedback_fault(forest: Forest, verdicts: NDArray[np.int64] | None, leaves: NDArray[np.int32] | None) -> str | None:
    """What is wrong with a log of verdicts; None where nothing is, and where there is no log."""
    if verdicts is None or leaves is None:
        return None if verdicts is leaves else "'feedback_' and '_feedback_leaves' do not go together"
    if not 1 <= len(verdicts) <= MOST_VERDICTS or leaves.shape != (len(verdicts), forest.n_trees):
        return f"'_feedback_leaves' must name a leaf in {forest.n_trees} trees for 1 to {MOST_VERDICTS} verdicts"
    if not verdicts.all():
        return "'feedback_' must hold -1 and 1"
    if np.any(leaves < forest.tree_start[:-1]) or np.any(leaves >= forest.tree_start[1:]):
        return "'_feedback_leaves' names nodes of other trees"
    return "'_feedback_leaves' names splits" if np.any(forest.feature[leaves] >= 0) else None


def _stream_fault(state: dict[str, Any]) -> str | None:
    """What is wrong with where a stream stands; None where nothing is, and where there is no stream."""
    numbers, rows = state.get("_stream"), state.get("_stream_rows")
    if numbers is None or rows is None:
        return None if numbers is rows else "'_stream' and '_stream_rows' do not go together"
    if len(numbers) != 4:
        return "'_stream' must hold four numbers: window, rows seen, renewals, and when the next is due"
    window, seen, renewals, due = map(int, numbers)
    if not max(1, state["max_samples_"]) <= window <= LARGEST_INT32:
        return f"the window of '_stream' must hold {state['max_samples_']} to {LARGEST_INT32} rows"
    if not (seen < due <= max(seen, state["max_samples_"]) + window and due < 2**62 and renewals <= seen):
        return "the counts of '_stream' do not go together"
    if rows.shape != (min(seen, window), state["n_features_in_"]):
        return f"'_stream_rows' must hold {min(seen, window)} rows of {state['n_features_in_']} features"
    return None


MODEL = _Model()
"""Either estimator, fitted."""
