"""Fitted `SupplyChainFeatures`, declared for model files: what they learned, and branches that become one again."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from anomaly_detection.data.columns.schema import Role
from anomaly_detection.features.categories.pair_rarity import PairRarity
from anomaly_detection.features.categories.relations import Relations
from anomaly_detection.features.dates.derived import (
    CalendarPart,
    Duration,
    MissingPattern,
    MissingState,
    NumberLevel,
    Product,
    Ratio,
)
from anomaly_detection.features.evidence.evidence import NAME
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.kept_features import for_the_forest
from anomaly_detection.features.kinds import KINDS
from anomaly_detection.features.memory import Memory
from anomaly_detection.features.numbers.moves import Moving
from anomaly_detection.features.trained_features import TrainedFeatures
from anomaly_detection.model_files.branch_states import BRANCHES, DERIVED, TAILS
from anomaly_detection.model_files.column_states import CLEANING, SCHEMA
from anomaly_detection.model_files.evidence_states import EVIDENCE
from anomaly_detection.model_files.reference_states import REFERENCE, references_fault
from anomaly_detection.model_files.shared_states import LISTED, NAMES
from mlx_iforest.convert.declared import (
    Arrays,
    Dict,
    Fields,
    Fixed,
    Implied,
    Kind,
    List,
    Optional,
    Record,
    StateError,
    place,
    refuse_other_keys,
    shown,
)
from mlx_iforest.convert.declared_values import Array, Strings, Text, Unkept, Whole

__all__ = ["FEATURES"]

_SUMMARIES = Array("float32", 2, least=0.0, most=1e7)


class _Memory(Kind):
    """A `Memory`; files of before have its keys and summaries alone."""

    former = Fixed(Array("uint64"), _SUMMARIES)
    record = Record(
        Memory,
        {
            "keys": Array("uint64"),
            "summaries": _SUMMARIES,
            "places": Array("uint32", 2),
            "values": Array("float32", 2, special=True),
        },
    )

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if isinstance(value, Memory) and not value.places.shape[1]:
            return self.former.encode((value.keys, value.summaries), at, arrays)
        return self.record.encode(value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(found, list):
            return self.record.decode(found, at, arrays)
        keys, summaries = self.former.decode(found, at, arrays)
        nothing = np.empty((len(keys), 0))
        return Memory(keys, summaries, nothing.astype(np.uint32), nothing.astype(np.float32))


_SOURCE = Record(
    FeatureSource,
    {
        "name": Text(),
        "kind": Text((*KINDS, NAME)),
        "columns": NAMES,
        "group_by": NAMES,
        "derived": Implied({}),
    },
)
_OWN = Fields(
    {
        "schema": Optional(SCHEMA),
        "groups": List(Text(tuple(KINDS)), tuple),
        "n_jobs": Unkept(None),
        "schema_": SCHEMA,
        "cleaning_report_": CLEANING,
        "restated_": Dict(Fixed(Text(), Text())),
        "derived_": List(DERIVED),
        "feature_names_in_": Strings(),
        "kept_": Array("int64", least=0),
        "feature_sources_": List(_SOURCE),
        "n_records_": Whole(1),
        "tails_": TAILS,
        "evidence_": Optional(EVIDENCE),
        "remembered_": Optional(_Memory()),
        "references_": List(REFERENCE),
    },
    # Files of before have no evidence, or nothing to see drift by.
    ("evidence_", "remembered_", "references_"),
)
_MOVING = Record(
    Moving,
    {
        "effects": Array("float64", 2),
        "places": Array("int64", 3, least=0),
        "away": Array("float64", 2, special=True),
    },
)
_APART = {"transformers_", "n_features_in_", "newcomers_", "moves_"}
"""Attributes that are kept in another form, or not at all; what begins with an underscore is scikit-learn's own."""

_SAME = "as fitted"


class _Features(Kind):
    """Fitted `SupplyChainFeatures`: what it learned and its branches, and nothing private to scikit-learn.

    What is read are `TrainedFeatures`.
    """

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if not _is_known(value) or not hasattr(value, "feature_sources_"):
            raise StateError(f"{at}: expected fitted SupplyChainFeatures, found {shown(value)}")
        state = {name: one for name, one in vars(value).items() if name[0] != "_" and name not in _APART}
        same = value.schema == value.schema_
        made = _OWN.encode({**state, "schema": None} if same else state, at, arrays)
        if value.evidence_ is None:
            del made["evidence_"], made["remembered_"]
        if not value.references_:
            del made["references_"]
        if value.moves_ is not None:
            made["moves"] = _MOVING.encode(value.moves_.state, place(at, "moves"), arrays)
        if same:
            made["schema"] = _SAME
        at = place(at, "branches")
        made["branches"] = []
        for i, (name, branch, columns) in enumerate(value.transformers_):
            learned = None if branch == "drop" else BRANCHES[name].encode(_learned(branch), place(at, i), arrays)
            made["branches"].append({"name": name, "columns": list(columns), "state": learned})
        return made

    def decode(self, found: Any, at: str, arrays: Arrays) -> TrainedFeatures:
        found = refuse_other_keys(found, [*_OWN.kinds, "branches", "moves"], at, (*_OWN.optional, "moves"))
        same = found["schema"] == _SAME
        plain = {name: None if name == "schema" and same else found[name] for name in _OWN.kinds if name in found}
        state = _OWN.decode(plain, at, arrays)
        if same:
            state["schema"] = state["schema_"]
        branches = [
            self._branch(one, place(place(at, "branches"), i), arrays)
            for i, one in enumerate(found["branches"] if isinstance(found["branches"], list) else [None])
        ]
        columns = set(state["feature_names_in_"])
        if len(columns) != len(state["feature_names_in_"]) or not {c for _, _, own in branches for c in own} <= columns:
            raise StateError(f"{at}: 'feature_names_in_' does not name the columns of the branches, each once")
        if len({name for name, _, _ in branches}) != len(branches):
            raise StateError(f"{at}: two branches have one name")
        features = TrainedFeatures()
        state.setdefault("evidence_", None)
        state.setdefault("remembered_", None)
        state.setdefault("references_", [])
        features.__dict__.update(state, transformers_=branches, n_features_in_=len(columns))
        fault = _fault(features)
        if fault is None and "moves" in found:
            features.move_on(_MOVING.decode(found["moves"], place(at, "moves"), arrays))
            fault = "there are no contexts for 'moves'" if features.moves_ is None else features.moves_.fault
        if fault is not None:
            raise StateError(f"{at}: {fault}")
        return features

    @staticmethod
    def _branch(found: Any, at: str, arrays: Arrays) -> tuple[str, Any, list[str]]:
        found = refuse_other_keys(found, ("name", "columns", "state"), at)
        name = Text(tuple(BRANCHES)).decode(found["name"], at, arrays)
        columns: list[str] = LISTED.decode(found["columns"], place(at, "columns"), arrays)
        if found["state"] is None:
            return name, "drop", columns
        branch = BRANCHES[name].decode(found["state"], at, arrays)
        if list(branch.feature_names_in_) != columns or branch.n_features_in_ != len(columns):
            raise StateError(f"{at}: 'feature_names_in_' and the branch's columns differ")
        return name, branch, columns


def _learned(branch: Any) -> Any:
    """The branch without what it has met since the training."""
    if not branch.remembers:
        return branch
    made = copy.copy(branch)
    for name in ("recent", "carried"):
        vars(made).pop(name, None)
    return made


def _is_known(value: Any) -> bool:
    """Whether it is of a class of the library's own; the estimator's is loaded where there is one."""
    from anomaly_detection.features.features import SupplyChainFeatures

    return type(value) is SupplyChainFeatures


def _fault(features: TrainedFeatures) -> str | None:
    """What does not go together in features that were read; None where all does.

    What a file leaves out, since it follows from the rest, is put in.
    """
    fault = (
        _columns_fault(features) or _plan_fault(features) or references_fault(features.references_, features.schema_)
    )
    if fault is not None:
        return fault
    sources = features._sources()
    kept, n = features.kept_, len(features.kept_)
    if not n or np.any(kept[1:] <= kept[:-1]) or kept[-1] >= len(sources):
        return f"'kept_' must choose among {len(sources)} features, in their order"
    plain = int(for_the_forest([sources[i] for i in kept]).sum())
    if features.tails_.n_features_in_ != plain:
        return f"'tails_' must look at {plain} features"
    if (features.evidence_ is None) == features.weighs_evidence:
        return "'evidence_' does not go with 'groups'"
    if features.evidence_ is not None and len(features.evidence_.scales) != n:
        return f"'evidence_' must look at {n} features"
    expected = features._all_sources()
    if features.remembered_ is not None:
        fault = _memory_fault(features.remembered_, n, len(expected) - n)
        if fault is not None or not features.weighs_evidence:
            return f"'remembered_' {fault or 'goes with evidence only'}"
    if features.feature_sources_ != expected:
        return "'feature_sources_' must name the features that are made, and their columns"
    features.feature_sources_ = expected
    rows = {branch.n_rows_ for _, branch, _ in features._used() if hasattr(branch, "n_rows_")}
    return None if rows <= {features.n_records_} else f"'n_records_' is {features.n_records_}, but branches saw {rows}"


def _memory_fault(memory: Memory, single: int, summaries: int) -> str | None:
    """What is wrong with a memory of so many features of single columns and of rows."""
    rows = len(memory.keys)
    if not rows or memory.summaries.shape != (rows, summaries):
        return "must have a summary of each record that is remembered"
    if memory.places.shape != memory.values.shape or len(memory.places) != rows:
        return "must have the features that stood out of each record that is remembered"
    if memory.places.max(initial=0) >= single:
        return f"must choose among {single} features"
    return "must have its keys in ascending order" if np.any(memory.keys[1:] <= memory.keys[:-1]) else None


def _columns_fault(features: TrainedFeatures) -> str | None:
    """What is derived from columns that are not there, or of another kind."""
    roles = {column.name: column.role for column in features.schema_.columns}
    dates = {name for name, role in roles.items() if role is Role.TIMESTAMP}
    numbers = {name for name, role in roles.items() if role is Role.NUMERIC}
    kinds: dict[type, set[str]] = {
        Duration: dates,
        CalendarPart: dates,
        Ratio: numbers,
        Product: numbers,
        NumberLevel: numbers,
    }
    for part in features.derived_:
        if not set(part.columns) <= kinds.get(type(part), dates | numbers):
            return f"{part.name[:40]!r} is derived from columns that are not there, or of another kind"
    # Each column's words are those of the schema, and the pattern is of all columns.
    states = tuple(part for part in features.derived_ if isinstance(part, MissingState))
    known = all(state.words == features.schema_[state.column].texts for state in states)
    patterns = [part.states for part in features.derived_ if isinstance(part, MissingPattern)]
    if not known or patterns != ([states] if states else []):
        return "the ways in which values are missing are not those of the columns"
    if len(set(features.derived_)) != len(features.derived_):
        return "two derived columns are the same"
    for name, (_, date) in features.restated_.items():
        if name not in roles or date not in dates:
            return "'restated_' names columns that are not there"
    return None


def _plan_fault(features: TrainedFeatures) -> str | None:
    """Branches that are not those which follow from the columns; the groups and the numbers of a branch may differ."""
    planned = features._branches()
    if len(planned) != len(features.transformers_):
        return f"expected {len(planned)} branches"
    for (name, plan, columns), (found, branch, own) in zip(planned, features.transformers_, strict=True):
        if (
            name != found
            or own not in (columns, _former(plan, columns))
            or isinstance(plan, str) != isinstance(branch, str)
        ):
            return f"the branch {name!r} is not the one that follows from the columns"
        if isinstance(branch, str):
            continue
        for implied in BRANCHES[name].implied:
            setattr(branch, implied, getattr(plan, implied))
        if _named(plan) != _named(branch):
            return f"the branch {name!r} does not look at the columns that it must"
    return None


def _former(plan: Any, columns: list[str]) -> list[str]:
    """The columns of a branch in files of before: categories were compared without what names transactions."""
    if not isinstance(plan, (PairRarity, Relations)):
        return columns
    return [name for name in columns if name not in (*plan.keys, *plan.dates)]


def _named(branch: Any) -> dict[str, Any]:
    """The parameters of a branch but for numbers, whose defaults may change."""
    given = branch.get_params(deep=False)
    return {name: value for name, value in given.items() if name != "n_jobs" and type(value) not in (int, float)}


FEATURES = _Features()
"""Fitted `SupplyChainFeatures`."""
