"""A fitted forest as an ONNX model: scores and labels without this library, in any language."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.convert.probes import probing_rows
from mlx_iforest.files import reason, replacing
from mlx_iforest.forest import Forest
from mlx_iforest.model import FittedModel
from mlx_iforest.offsets import carried_over, wrong_labels
from mlx_iforest.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["OPSETS", "TOLERANCE", "to_onnx"]

OPSETS = {"": 9, "ai.onnx.ml": 1}
"""The oldest versions of ONNX's operators that say what is needed (2018): every runtime of today reads them."""

IR_VERSION = 4
"""Of the file, as old as its operators."""

TOLERANCE = 1e-5
"""Largest difference of a score, on rows that the trees decide by a hair, for a model to be handed out."""

RESOLUTION = 2.0**-21
"""A few units of float32 below 1: a runtime rounds a row's exponential by its place among others."""

LARGEST = 2**31 - 1
"""Bytes of an ONNX model: it is one protobuf message."""

NODE_BYTES, TERM_BYTES = 50, 12
"""A little more than a node takes there, and what each feature of an oblique split takes."""


def to_onnx(model: FittedModel, path: str | os.PathLike[str] | None = None) -> ModelProto:
    """`BaseIsolationForest.to_onnx` of a model that nothing changes."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"to_onnx needs onnx and, to check what it made, onnxruntime ({error}); pip install 'mlx-iforest[onnx]'"
        ) from error
    if model.function.given is not None:
        raise ValueError(
            "a forest with a column of evidence (evidence) cannot be an ONNX model; fit one without it, or save the"
            " model as it is"
        )
    _check_size(model.forest)
    exported = _assemble(model, onnx)
    rows = probing_rows(model.forest)
    expected, offset = model.score(rows), model.threshold()
    scores, _ = _run(onnxruntime, exported.SerializeToString(), rows)
    _set_offset(exported, carried_over(offset, expected, scores, RESOLUTION), onnx)
    content = exported.SerializeToString()
    _check_equal(expected, offset, *_run(onnxruntime, content, rows))
    if path is not None:
        _write(content, Path(path))
    return exported


def _check_size(forest: Forest) -> None:
    terms = (
        0 if forest.direction_weight is None else int(np.sum(forest.feature >= 0)) * forest.direction_weight.shape[1]
    )
    needed = NODE_BYTES * forest.n_nodes + TERM_BYTES * terms
    if needed > LARGEST:
        raise ValueError(
            f"as an ONNX model the forest would take {needed / 1e9:,.1f} GB, and 2 GB is the most that one can be;"
            " prune it, or fit fewer trees or smaller ones (max_samples)"
        )


def _assemble(model: FittedModel, onnx: Any) -> ModelProto:
    """The graph: X, for oblique splits their projections, trees, one number a row, its score, its label."""
    helper, forest = onnx.helper, model.forest
    nodes: list[Any] = []
    offset = np.float32(model.threshold())
    constants: dict[str, Any] = {"offset": offset, "anomaly": np.int64(-1), "normal": np.int64(1)}
    asked = "X"
    if forest.direction_weight is not None:
        asked = _project(forest, helper, nodes, constants)
    attributes = _ensemble(model)
    nodes.append(helper.make_node("TreeEnsembleRegressor", [asked], ["views"], domain="ai.onnx.ml", **attributes))
    if attributes["n_targets"] > 1:
        nodes.append(helper.make_node("ReduceLogSumExp", ["views"], ["exponents"], axes=[1], keepdims=0))
    else:
        nodes.append(helper.make_node("Squeeze", ["views"], ["exponents"], axes=[1]))
    nodes += [
        helper.make_node("Exp" if model.function.link.name == "depth" else "Sigmoid", ["exponents"], ["abnormality"]),
        helper.make_node("Neg", ["abnormality"], ["scores"]),
        helper.make_node("Less", ["scores", "offset"], ["is_anomaly"]),
        helper.make_node("Where", ["is_anomaly", "anomaly", "normal"], ["labels"]),
    ]
    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "isolation_forest",
        [helper.make_tensor_value_info("X", real, ["rows", forest.n_features])],
        [
            helper.make_tensor_value_info("scores", real, ["rows"], "in [-1, 0]; lower is more abnormal"),
            helper.make_tensor_value_info("labels", whole, ["rows"], "+1 normal, -1 anomaly"),
        ],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    exported = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*opset) for opset in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="mlx-iforest",
        producer_version=__version__,
        doc_string=f"{model.resources.owner} of {forest.n_trees} trees. A missing value is NaN.",
    )
    facts = {"scoring": model.function.link.name, "offset": repr(float(offset))}
    if model.feature_names is not None:
        facts["feature_names"] = json.dumps([str(name) for name in model.feature_names])
    helper.set_model_props(exported, facts)
    onnx.checker.check_model(exported)
    return exported


def _set_offset(exported: ModelProto, offset: float, onnx: Any) -> None:
    """Let scores below another offset be anomalies."""
    for constant in exported.graph.initializer:
        if constant.name == "offset":
            constant.CopyFrom(onnx.numpy_helper.from_array(np.asarray(np.float32(offset)), "offset"))
    for fact in exported.metadata_props:
        if fact.key == "offset":
            fact.value = repr(float(np.float32(offset)))


def _ensemble(model: FittedModel) -> dict[str, Any]:
    """The attributes of the operator that walks the trees.

    Its outputs, one a view, are exponents: the score is minus their exponential, for the depth, or minus their sigmoid.
    Several views make one by the logarithm of the sum of their exponentials, which is the soft minimum; it takes
    their weights as logarithms added.
    """
    forest, function = model.forest, model.function
    slope, shift = function.link.exponent
    start = np.log(function.view_weights / function.view_weights.sum()) + shift
    trees = np.repeat(np.arange(forest.n_trees), np.diff(forest.tree_start))
    numbers = np.arange(forest.n_nodes) - np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
    is_leaf = forest.feature < 0
    targets, first = [], 0
    for part in function.parts:
        nodes = np.arange(*forest.tree_start[[part.first, part.stop]])
        leaves = nodes[is_leaf[nodes]]
        for column, offset in enumerate(part.offset):
            values = sum(weights[column] * getattr(forest, name)[leaves] for name, weights in part.weights.items())
            start[first] += slope * offset
            targets.append((leaves, np.full(len(leaves), first), slope * values / (part.stop - part.first)))
            first += 1
    at, target, weight = (np.concatenate(arrays) for arrays in zip(*targets, strict=True))
    left = np.maximum(forest.left, 0)
    asked = np.maximum(forest.feature, 0)
    if forest.direction_weight is not None:
        asked = np.where(is_leaf, 0, np.cumsum(~is_leaf) - 1)
    return {
        "n_targets": first,
        "base_values": _floats(start),
        "nodes_treeids": trees.tolist(),
        "nodes_nodeids": numbers.tolist(),
        "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": asked.tolist(),
        "nodes_values": _floats(forest.threshold),
        "nodes_truenodeids": left.tolist(),
        "nodes_falsenodeids": np.where(is_leaf, 0, left + 1).tolist(),
        "nodes_missing_value_tracks_true": forest.missing_left.astype(np.int64).tolist(),
        "target_treeids": trees[at].tolist(),
        "target_nodeids": numbers[at].tolist(),
        "target_ids": target.tolist(),
        "target_weights": _floats(weight),
    }


def _project(forest: Forest, helper: Any, nodes: list[Any], constants: dict[str, Any]) -> str:
    """Add what works out a column for each oblique split: term after term in float32, as when growing."""
    assert forest.direction_feature is not None
    assert forest.direction_weight is not None
    is_split = forest.feature >= 0
    features, weights = forest.direction_feature[is_split], forest.direction_weight[is_split]
    if not len(features):
        return "X"
    total = ""
    for place in range(features.shape[1]):
        constants[f"feature{place}"] = features[:, place].astype(np.int64)
        constants[f"weight{place}"] = weights[:, place]
        term = f"term{place}"
        nodes.append(helper.make_node("Gather", ["X", f"feature{place}"], [f"value{place}"], axis=1))
        nodes.append(helper.make_node("Mul", [f"value{place}", f"weight{place}"], [term]))
        if total:
            nodes.append(helper.make_node("Add", [total, term], [f"sum{place}"]))
            term = f"sum{place}"
        total = term
    return total


def _floats(values: NDArray[Any]) -> list[float]:
    floats: list[float] = values.astype(np.float32).tolist()
    return floats


def _run(onnxruntime: Any, content: bytes, rows: NDArray[np.float32]) -> Any:
    """Scores and labels of rows."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["scores", "labels"], {"X": rows})


def _check_equal(
    expected: NDArray[np.float64], offset: float, scores: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    """Refuse to hand out a model that scores otherwise, or labels otherwise than rounding must."""
    difference = float(np.max(np.abs(scores - expected)))
    wrong = wrong_labels(expected, offset, labels == -1, TOLERANCE)
    if not difference <= TOLERANCE or wrong:
        raise ValueError(
            f"the ONNX model is not exact under this onnxruntime: scores differ by up to {difference:.1e}, more than"
            f" {TOLERANCE:g}, and {wrong} of {len(expected)} labels; nothing was written. Update onnxruntime, or save"
            " the model as it is"
        )


def _write(content: bytes, path: Path) -> None:
    try:
        with replacing(path) as new:
            new.write_bytes(content)
    except OSError as error:
        raise OSError(f"cannot write {path}: {reason(error)}; give a file in a folder that you may write") from error
