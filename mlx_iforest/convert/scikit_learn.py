"""To and from scikit-learn's `IsolationForest`: the same trees, the same scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.tree import ExtraTreeRegressor

from mlx_iforest.backends.sklearn_trees import breadth_first, to_forest, to_sklearn_tree
from mlx_iforest.convert.probes import probing_rows
from mlx_iforest.forest import Forest, InvalidForestError
from mlx_iforest.model import FittedModel, ScoredForest
from mlx_iforest.offsets import carried_over, wrong_labels
from mlx_iforest.performance import Performance
from mlx_iforest.resources import Resources
from mlx_iforest.score_function import Depth, ScoreFunction

__all__ = ["TOLERANCE", "from_sklearn", "to_sklearn"]

TOLERANCE = 1e-6
"""Largest difference of a score, on rows that the trees decide by a hair, for a conversion to be handed out."""

NEEDED = ("_max_samples", "_max_features", "_decision_path_lengths", "_average_path_length_per_tree")
"""What scikit-learn, from 1.6 on, keeps of a fit and scores by."""


def from_sklearn(forest: IsolationForest, resources: Resources) -> FittedModel:
    """`MLXIsolationForest.from_sklearn`, without the estimator, and so without its seed."""
    if not isinstance(forest, IsolationForest):
        hint = "; give its last step, such as pipeline[-1]" if hasattr(forest, "steps") else ""
        raise TypeError(f"from_sklearn takes a sklearn.ensemble.IsolationForest, got {type(forest).__name__}{hint}")
    if not hasattr(forest, "estimators_"):
        raise NotFittedError("this IsolationForest is not fitted yet; call its fit before from_sklearn")
    lacking = [name for name in NEEDED if not hasattr(forest, name)]
    if lacking:
        raise ValueError(
            f"this IsolationForest has no {lacking[0]}, so an older scikit-learn than 1.6 fitted it; fit it again"
        )
    n_features = int(forest.n_features_in_)
    # As scikit-learn scores: where trees see all columns it does not look at their lists.
    columns = [np.arange(n_features)] * len(forest.estimators_)
    if forest._max_features != n_features:
        columns = forest.estimators_features_
    trees = zip(
        (estimator.tree_ for estimator in forest.estimators_), columns,
        forest._decision_path_lengths, forest._average_path_length_per_tree, strict=True,
    )  # fmt: skip
    try:
        converted = Forest.concatenate([_converted(*tree, n_features) for tree in trees]).validate()
    except InvalidForestError as error:
        raise ValueError(f"this IsolationForest cannot be converted ({error}); fit it on finite values") from error
    max_samples = int(forest._max_samples)
    function = ScoreFunction.of_mean(converted.n_trees, "path_length", Depth(max_samples))
    model = FittedModel(
        ScoredForest(converted, function), float(forest.offset_), resources,
        getattr(forest, "feature_names_in_", None), max_samples, 0, Performance(grow_seconds=0.0),
    )  # fmt: skip
    rows = probing_rows(converted)
    theirs, ours = _their_scores(forest, rows), model.score(rows)
    model = model._replace(offset=carried_over(model.offset, theirs, ours))
    _check_equal(theirs, float(forest.offset_), ours, model.offset)
    return model


def _converted(tree: Any, columns: NDArray[Any], depths: NDArray[Any], below: NDArray[Any], n_features: int) -> Forest:
    """One tree, with the path lengths by which scikit-learn scores."""
    forest = to_forest(tree, columns, n_features)
    # scikit-learn counts a root as depth 1.
    lengths = (depths - 1.0 + below)[breadth_first(tree)]
    return replace(forest, path_length=np.where(forest.feature < 0, lengths, 0).astype(np.float32))


def to_sklearn(model: FittedModel, parameters: Mapping[str, Any]) -> IsolationForest:
    """`BaseIsolationForest.to_sklearn` of a model that nothing changes.

    Parameters
    ----------
    model : FittedModel
    parameters : mapping of str to object
        Of the estimator; those that scikit-learn's has as well are taken over.
    """
    forest, link = model.forest, model.function.link
    if not isinstance(link, Depth) or forest.direction_weight is not None or model.function.given is not None:
        raise ValueError(
            f"scikit-learn's IsolationForest cannot stand for {_kind(model)}: it knows splits on single features and"
            " the depth of leaves only; use to_onnx, or save the model as it is"
        )
    params = {name: value for name, value in parameters.items() if name in IsolationForest().get_params()}
    # Of a copy, so that a RandomState is not shared. Trees that scikit-learn added would make all path lengths anew.
    theirs = clone(IsolationForest(**{**params, "warm_start": False}))
    depth_limit = int(np.ceil(np.log2(max(link.subsample_size, 2))))
    theirs.estimator_ = ExtraTreeRegressor(max_features=1, max_depth=depth_limit)
    trees = [forest.trees(number, number + 1) for number in range(forest.n_trees)]
    theirs.estimators_ = [_tree_estimator(tree, depth_limit) for tree in trees]
    theirs.estimators_features_ = [np.arange(forest.n_features) for _ in trees]
    theirs.n_features_in_ = forest.n_features
    if model.feature_names is not None:
        theirs.feature_names_in_ = model.feature_names
    theirs.max_samples_ = theirs._max_samples = link.subsample_size
    theirs._max_features = forest.n_features
    depths = [estimator.tree_.compute_node_depths() for estimator in theirs.estimators_]
    theirs._decision_path_lengths = tuple(depths)
    # What scikit-learn adds to a leaf's depth: so leaves of pruned and quantised models count as they do here.
    theirs._average_path_length_per_tree = tuple(
        np.where(tree.feature < 0, tree.path_length - (depth - 1.0), 0.0)
        for tree, depth in zip(trees, depths, strict=True)
    )
    rows = probing_rows(forest)
    ours, scores = model.score(rows), _their_scores(theirs, rows)
    theirs.offset_ = carried_over(model.threshold(), ours, scores)
    _check_equal(ours, model.threshold(), scores, theirs.offset_)
    return theirs


def _kind(model: FittedModel) -> str:
    if model.forest.direction_weight is not None:
        return "a forest of oblique splits (extension_level > 0)"
    if model.function.given is not None:
        return "a forest with a column of evidence"
    if len(model.function.views) > 1:
        return f"a {model.resources.owner}"
    return f"a forest that was fitted with scoring={model.function.link.name!r}"


def _tree_estimator(tree: Forest, depth_limit: int) -> ExtraTreeRegressor:
    estimator = ExtraTreeRegressor(max_features=1, max_depth=depth_limit)
    estimator.tree_ = to_sklearn_tree(tree)
    estimator.n_features_in_, estimator.n_outputs_, estimator.max_features_ = tree.n_features, 1, 1
    return estimator


def _their_scores(theirs: IsolationForest, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        # An IsolationForest may have been fitted by another version; whether it still works is seen here.
        warnings.simplefilter("ignore")
        scores: NDArray[np.float64] = theirs._score_samples(rows)
    return scores


def _check_equal(before: NDArray[np.float64], old_offset: float, after: NDArray[np.float64], new_offset: float) -> None:
    """Refuse to hand out a conversion that scores otherwise, or labels otherwise than rounding must."""
    difference = float(np.max(np.abs(before - after)))
    wrong = wrong_labels(before, old_offset, after < new_offset, TOLERANCE)
    if not difference <= TOLERANCE or wrong:
        raise ValueError(
            f"the conversion is not exact: scores differ by up to {difference:.1e}, more than {TOLERANCE:g}, and"
            f" {wrong} of {len(before)} labels; convert a plain sklearn.ensemble.IsolationForest, fitted by the"
            " scikit-learn version that is installed"
        )
