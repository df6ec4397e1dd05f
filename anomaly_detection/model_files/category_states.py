"""What knows categories and their names holds, declared."""

from __future__ import annotations

from typing import Any

from anomaly_detection.features.categories.owners import Owned, Owners
from anomaly_detection.features.categories.relations import Relation, Relations
from anomaly_detection.features.categories.spelling import Spelling, Spellings
from anomaly_detection.model_files.form_states import forms_fault
from anomaly_detection.model_files.shared_states import (
    COMBINED,
    COMPANIONS,
    KIN,
    LENT,
    LEVELS,
    LISTED,
    NAMES,
    POSITIVE,
    SEEN,
    ascending,
)
from mlx_iforest.convert.declared import Dict, Implied, List, Optional, Record
from mlx_iforest.convert.declared_values import Array, Text, Whole

__all__ = ["CATEGORIES"]


def _relation_fault(relation: Relation) -> str | None:
    if relation.both.columns != (relation.given, relation.of):
        return "expected the combinations of the two columns"
    rows = {
        int(counts.sum()) for counts in (relation.levels.counts, relation.given_levels.counts, relation.both.counts)
    }
    return None if len(rows) == 1 else "expected counts of the same rows"


_RELATION = Record(
    Relation,
    {
        "of": Text(),
        "given": Text(),
        "lent": POSITIVE,
        "levels": LEVELS,
        "given_levels": LEVELS,
        "both": COMBINED,
        "lent_back": Optional(POSITIVE),
    },
    _relation_fault,
    optional=("lent_back",),
)


def _accompanied_fault(branch: Any) -> str | None:
    known = {*branch.companions_.of, *branch.companions_.levels} <= set(branch.feature_names_in_)
    return None if known else "expected companions among the columns"


def _owners_fault(owners: Owners) -> str | None:
    columns = set(owners.feature_names_in_)
    if not {*owners.names, *owners.categories, *owners.dates} <= columns:
        return "expected columns that are there"
    for one in owners.owned_:
        if not {*one.all_columns} <= columns or not 1 <= one.least <= len(one.columns):
            return "expected columns that are there, and that some of them differ"
        if not len(one.keys) or not ascending(one.keys) or one.cells.shape != (len(one.columns), len(one.keys)):
            return "expected keys in ascending order, and a cell of each for each column"
        if max(len(one.keys), one.breaches) > owners.n_rows_:
            return f"expected keys and breaches of {owners.n_rows_} records at most"
    return None


CATEGORIES: dict[str, Record] = {
    "relations": Record(
        Relations,
        {
            "kin": KIN,
            "keys": Implied(()),
            "dates": Implied(()),
            **SEEN,
            "relations_": List(_RELATION),
            "companions_": COMPANIONS,
        },
        _accompanied_fault,
        optional=("companions_",),
    ),
    # Files of before name no slips.
    "spelling": Record(
        Spelling,
        {
            **SEEN,
            "n_rows_": Whole(1),
            "learned_": Dict(
                Record(Spellings, {"names": List(Text()), "evidence": LENT, "slips": NAMES}, optional=("slips",))
            ),
            "companions_": COMPANIONS,
        },
        lambda spelling: forms_fault(spelling) or _accompanied_fault(spelling),
        optional=("companions_",),
    ),
    "owners": Record(
        Owners,
        {
            "names": LISTED,
            "categories": LISTED,
            "dates": LISTED,
            **SEEN,
            "n_rows_": Whole(1),
            "owned_": List(
                Record(
                    Owned,
                    {
                        "name": Text(),
                        "columns": NAMES,
                        "least": Whole(1),
                        "breaches": Whole(),
                        "keys": Array("uint64"),
                        "cells": Array("uint64", dimensions=2),
                    },
                )
            ),
        },
        _owners_fault,
    ),
}
