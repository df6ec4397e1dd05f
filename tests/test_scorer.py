"""`Scorer`: the model's scores without the model around them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest, Scorer

X = np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32)
X[::9, 2] = np.nan
MODELS = [
    MLXIsolationForest(n_estimators=20, contamination=0.1, random_state=0),
    MLXIsolationForest(n_estimators=20, contamination=0.1, random_state=0, scoring="density"),
    MLXIsolationForest(n_estimators=20, contamination=0.1, random_state=0, scoring="density"),
    MLXIsolationForest(n_estimators=20, contamination=0.1, random_state=0, extension_level=2),
    BlendedIsolationForest(n_estimators=24, contamination=0.1, random_state=0),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_it_scores_as_the_model_does_to_the_bit(model):
    model.fit(X)
    scorer, expected = model.scorer(), model.score_samples(X)
    assert isinstance(scorer, Scorer)
    assert scorer.score(X).tobytes() == expected.tobytes()
    assert scorer(X[:1]).tolist() == expected[:1].tolist()
    assert [scorer(row) for row in X[:20]] == expected[:20].tolist()
    assert scorer.predict(X).tolist() == model.predict(X).tolist()
    assert [int(scorer.predict(row)) for row in X[:20]] == model.predict(X[:20]).tolist()
    assert (scorer.n_features, scorer.offset) == (5, model.offset_)
    assert pickle.loads(pickle.dumps(scorer)).score(X).tobytes() == expected.tobytes()


def test_on_every_backend(backend):
    model = MLXIsolationForest(n_estimators=5, random_state=0, backend=backend).fit(X)
    assert model.scorer()(X[:50]).tolist() == model.score_samples(X[:50]).tolist()


def test_one_row_is_a_number():
    score = MODELS[0].fit(X).scorer()(X[0])
    assert isinstance(score, float)
    assert f"{score:.3f}" == f"{MODELS[0].score_samples(X[:1])[0]:.3f}"


def test_later_fits_and_thresholds_do_not_change_it():
    model = MLXIsolationForest(n_estimators=20, contamination=0.1, random_state=0).fit(X)
    scorer, before, offset = model.scorer(), model.score_samples(X), model.offset_
    model.offset_ = -0.9
    model.set_params(n_estimators=3, random_state=7, scoring="density").fit(X[:100, :2])
    assert scorer.score(X).tobytes() == before.tobytes()
    assert scorer.offset == offset
    with pytest.raises(AttributeError):
        scorer.offset = 0.0


def test_of_smaller_models():
    model = MODELS[0].fit(X)
    small = model.quantize()
    assert small.scorer()(X).tobytes() == small.score_samples(X).tobytes()
    pruned = MODELS[-1].fit(X).prune(0.01)
    assert pruned.scorer()(X).tobytes() == pruned.score_samples(X).tobytes()


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (X.astype(np.float64), TypeError, "float64"),
        (X.tolist(), TypeError, "got list"),
        (X[:, ::-1], TypeError, "C order"),
        (np.asfortranarray(X), TypeError, "strides"),
        (X[:, :4].copy(), ValueError, r"\(3000, 4\); expected \(n_rows, 5\)"),
        (X[0, :4].copy(), ValueError, r"\(4,\); expected"),
        (X[None], ValueError, r"\(1, 3000, 5\)"),
        (np.zeros((), np.float32), ValueError, r"has shape \(\)"),
    ],
    ids=str,
)
def test_anything_else_is_refused(rows, error, message):
    with pytest.raises(error, match=message):
        MODELS[0].fit(X).scorer().score(rows)


def test_an_unfitted_model_has_none():
    with pytest.raises(NotFittedError):
        MLXIsolationForest().scorer()


def test_no_rows_have_no_scores():
    assert MODELS[0].fit(X).scorer()(X[:0]).tolist() == []
