"""What is read of a fitted forest is held to what a fit makes; what it may take of a machine is never read."""

from __future__ import annotations

import copy
import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_iforest import BlendedIsolationForest, Forest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.compress.quantization import PackedForest
from mlx_iforest.forest import MOST_LEVELS
from mlx_iforest.members import RECIPES, member_trees
from mlx_iforest.state import FOREST, StateError, from_state, to_state

X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
NAMES = ("depth", "density", "oblique", "quantised", "blended")


@cache
def models() -> dict[str, BaseIsolationForest]:
    return {
        "depth": MLXIsolationForest(4, random_state=0, n_jobs=2, batch_size=7).fit(X),
        "density": MLXIsolationForest(4, random_state=0, scoring="density").fit(X),
        "oblique": MLXIsolationForest(4, random_state=0, extension_level=1).fit(X),
        "quantised": MLXIsolationForest(4, random_state=0).fit(X).quantize(),
        "blended": BlendedIsolationForest(6, random_state=0, n_jobs=2).fit(X),
    }


def with_forest(model: BaseIsolationForest, forest: Forest | PackedForest) -> BaseIsolationForest:
    """What is read of a model whose file holds another forest."""
    _, values = to_state(model)
    arrays: dict[str, Any] = {}
    return from_state(arrays, {**values, "forest_": FOREST.encode(forest, "model/forest_", arrays)})


@pytest.mark.parametrize("name", NAMES)
def test_resources_are_neither_written_nor_read(name: str) -> None:
    model = models()[name]
    arrays, values = to_state(model)
    assert not {"n_jobs", "batch_size"} & values.keys()
    old = from_state(arrays, {**values, "n_jobs": 10**9, "batch_size": -1})
    for loaded in (old, from_state(arrays, values)):
        assert (loaded.n_jobs, loaded.batch_size) == (None, "auto")
        assert loaded.score_samples(X).tobytes() == model.score_samples(X).tobytes()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("offset_", "nan"), ("offset_", "inf"), ("offset_", None), ("max_samples_", 2**31), ("max_samples_", 0),
        ("n_features_in_", 2), ("n_features_in_", 2**40), ("_seed", -1), ("_seed", 2**64), ("pruned_", 1),
        ("quantized_bits_", 9), ("n_estimators", 0), ("contamination", 0.7), ("backend", "cuda"),
        ("_counted", [["tree_start", None]]), ("_counted", []), ("backend_", {"name": "cuda", "reason": ""}),
    ],
)  # fmt: skip
def test_values_that_no_fit_makes_are_refused(name: str, wrong: Any) -> None:
    arrays, values = to_state(models()["depth"])
    with pytest.raises(StateError, match=name):
        from_state(arrays, {**values, name: wrong})


@pytest.mark.parametrize("spread", [(0.0, 1e-9), (0.0, np.nan), (np.inf, 1.0), (1e9, 1.0), (0.0, 1e9)])
def test_spreads_that_no_leaf_values_have_are_refused(spread: tuple[float, float]) -> None:
    arrays, values = to_state(models()["blended"])
    wrong = {"median": spread[0], "deviation": spread[1]}
    with pytest.raises(StateError, match="_spreads"):
        from_state(arrays, {**values, "_spreads": [[wrong] * len(spreads) for spreads in values["_spreads"]]})


def test_members_that_do_not_go_with_the_forest_are_refused() -> None:
    blended = models()["blended"]
    arrays, values = to_state(blended)
    with pytest.raises(StateError, match="_spreads"):
        from_state(arrays, {**values, "_spreads": [spreads * 2 for spreads in values["_spreads"]]})
    with pytest.raises(StateError, match="_member_trees"):
        from_state(arrays, {**values, "_member_trees": [[0, 6], [6, 3], [3, 6]]})
    with pytest.raises(StateError, match="lacks leaf values"):
        from_state(arrays, {**values, "_views": [{"log_density": 1.0}] * 3})
    for views in ([{}] * 3, [{"path_length": -1.0}] * 3, [{"path_length": 1.0}] * 2):
        with pytest.raises(StateError, match=r"_views|_member_trees"):
            from_state(arrays, {**values, "_views": views})


def test_a_blend_of_before_recipes_had_names_scores_as_it_did() -> None:
    with np.load(Path(__file__).parent / "golden" / "blended-v1.npz") as old:
        arrays = {name.replace("|", "/"): old[name] for name in old.files if name.startswith("model|")}
        values, rows, scores = json.loads(str(old["values"])), old["rows"], old["scores"]
    model = from_state(dict(arrays), values)
    found = model.score_samples(rows)
    # NumPy's exponentials differ by a last bit from one make of processors to another.
    np.testing.assert_allclose(found, scores, rtol=1e-14)
    again, told = to_state(model)
    assert told["_views"][1] == {"log_density": 0.5}
    assert np.array_equal(from_state(again, told).score_samples(rows), found)


@pytest.mark.parametrize("n_trees", [1, 2, 3, 5, 24])
def test_members_without_trees_come_back_as_such(n_trees: int) -> None:
    arrays, values = to_state(BlendedIsolationForest(n_trees, random_state=0).fit(X))
    bounds = member_trees(RECIPES["contaminated"], n_trees)
    assert values["_member_trees"] == [[first, stop] for first, stop in bounds if first < stop]
    assert to_state(from_state(dict(arrays), values))[1] == values


def chain(n_splits: int) -> dict[str, Any]:
    """The arrays of a tree whose right children split on and on."""
    node = np.arange(2 * n_splits + 1)
    is_split = (node % 2 == 0) & (node < 2 * n_splits)
    return {
        "feature": np.where(is_split, 0, -1).astype(np.int32),
        "threshold": np.zeros(len(node), np.float32),
        "left": np.where(is_split, node + 1, -1).astype(np.int32),
        "path_length": np.where(is_split, 0, 1).astype(np.float32),
    }


def test_no_chain_hides_behind_a_balanced_tree() -> None:
    levels = 14
    n_nodes = 2**levels - 1
    node = np.arange(n_nodes)
    balanced = Forest.from_growth(
        3, np.array([0, n_nodes]), np.where(node < n_nodes // 2, 0, -1).astype(np.int32), np.zeros(n_nodes, np.float32),
        np.zeros(n_nodes, np.bool_), np.ones(n_nodes, np.int32),
    )  # fmt: skip
    assert n_nodes // 2 > MOST_LEVELS
    packed = dataclasses.replace(PackedForest.of(balanced), others=chain(n_nodes // 2))
    with pytest.raises(StateError, match=f"more than {MOST_LEVELS} levels"):
        with_forest(models()["quantised"], packed)


def test_samples_that_add_up_beyond_32_bits_are_refused() -> None:
    packed = PackedForest.of(models()["depth"].forest_)
    many = np.full(len(packed.leaf_samples), 2**31 - 1, np.uint32)
    with pytest.raises(StateError, match="'leaf_samples' of a tree must add up"):
        with_forest(models()["quantised"], dataclasses.replace(packed, leaf_samples=many))


@pytest.mark.parametrize(
    "changes",
    [
        {"tree_nodes": np.array([7.5])},
        {"feature": np.array([-1])},
        {"leaf_samples": [1, 2]},
        {"others": {"tree_start": np.array([0, 10**6])}},
        {"others": {"volume": np.zeros(3)}},
        {"leaf_values": {"tree_start": None}},
    ],
    ids=str,
)
def test_packed_arrays_of_other_kinds_are_refused(changes: dict[str, Any]) -> None:
    packed = PackedForest.of(models()["depth"].forest_)
    with pytest.raises(StateError):
        with_forest(models()["quantised"], dataclasses.replace(packed, **changes))


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_trees_is_that_of_the_forest(name: str) -> None:
    model = copy.copy(models()[name])
    arrays, values = to_state(model)
    for wrong in (1, model.n_estimators + 1, 10**9):
        with pytest.raises(StateError, match=f"'n_estimators' is {wrong}, but the forest has"):
            from_state(arrays, {**values, "n_estimators": wrong})
        with pytest.raises(StateError, match=f"'n_estimators' is {wrong}, but the forest has"):
            to_state(model.set_params(n_estimators=wrong))


def test_a_pruned_forest_says_how_many_trees_it_had() -> None:
    pruned = MLXIsolationForest(60, random_state=0).fit(X).prune(0.05, X)
    assert pruned.forest_.n_trees < 60
    arrays, values = to_state(pruned)
    assert from_state(arrays, values).n_estimators == 60
    for wrong in (pruned.forest_.n_trees - 1, 10_001, 10**9):
        with pytest.raises(StateError, match="'n_estimators' is"):
            from_state(arrays, {**values, "n_estimators": wrong})


@pytest.mark.parametrize("offset", [-5.0, -1.001, 0.001, 1e300])
def test_a_threshold_beyond_all_scores_is_neither_written_nor_read(offset: float) -> None:
    model = copy.copy(models()["depth"])
    arrays, values = to_state(model)
    with pytest.raises(StateError, match="offset_: expected a number in"):
        from_state(arrays, {**values, "offset_": offset})
    model.offset_ = offset
    with pytest.raises(StateError, match="offset_: expected a number in"):
        to_state(model)
