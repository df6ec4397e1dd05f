"""The contestants: our backends and other libraries, as data that every benchmark reads.

Each grows the same forest as far as it can be asked to (`Settings`) and scores float32 rows in C order as it comes;
ranking, binning or copying that input is part of its time. scikit-learn stands here twice. Its scoring uses one thread
unless joblib is told otherwise, whatever its `n_jobs` says: so it runs as it is, and with its threads; the yardstick is
the faster of the two.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.converted import onedal, xgboost
from mlx_iforest import MLXIsolationForest
from mlx_iforest.backends import available_backends, choose_backend

__all__ = [
    "PEERS",
    "SEED",
    "TIED",
    "YARDSTICK",
    "Contestant",
    "Settings",
    "agreement",
    "contestants",
    "ours",
    "skipping",
]

SEED = 0
YARDSTICK = "scikit-learn"
LARGEST_EXPORT, LARGEST_CONVERSION = 100_000, 2_000_000
LEAST_AGREEMENT = 0.8
TIED = 1e-3
"""Share of the rows that may differ where the forest is the same: oneDAL rounds thresholds to float32, and by one more,
so that a row at a threshold may go the other way in a tree."""


Data = NDArray[np.float32]
Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Settings:
    """What all are asked to grow; `contamination`, where given, is the share of the training rows to alert on."""

    trees: int = 100
    samples: int = 256
    jobs: int = 1
    oblique: bool = False
    contamination: float | None = None

    @property
    def sampled(self) -> int:
        """Rows in all trees together, in proportion to the nodes."""
        return self.trees * self.samples


@dataclass(frozen=True)
class Contestant:
    """A way to grow and to score.

    Attributes
    ----------
    fit : callable
        ``fit(X, settings)`` gives a model.
    score : callable
        ``score(model, X, settings)`` gives one number a row, higher for more normal.
    needs : sequence of str
        Modules, or programs on the path after a ``$``, without which it is skipped.
    grows : bool
        False for those that score a forest of scikit-learn's, and so must agree with it exactly.
    oblique : bool
        Whether it can cut along two features at once.
    contaminates : bool
        Whether its own `fit` scores the training rows when `contamination` is set.
    largest : int or None
        The largest forest, in sampled rows, that it is asked for; `too_large` says why.
    fallback : str
        Why it is there though nobody would choose it on this machine: measured in the first table only.
    """

    name: str
    fit: Callable[[Data, Settings], Any]
    score: Callable[[Any, Data, Settings], Scores]
    needs: Sequence[str] = ()
    grows: bool = True
    oblique: bool = False
    contaminates: bool = False
    largest: int | None = None
    too_large: str = ""
    fallback: str = ""
    missing: str = field(default="")

    def obstacle(self, settings: Settings) -> str | None:
        """Why it cannot take part, or None."""
        if self.missing:
            return self.missing
        for need in self.needs:
            if not (shutil.which(need[1:]) if need.startswith("$") else find_spec(need)):
                return f"{need.lstrip('$')} is not installed; `pip install -e .[bench]` brings the libraries"
        if settings.oblique and not self.oblique:
            return "no cuts along several features"
        if self.largest is not None and settings.sampled > self.largest:
            return self.too_large
        return None


def contestants(
    settings: Settings, *, only: Sequence[str] = (), fallbacks: bool = False
) -> tuple[list[Contestant], dict[str, str]]:
    """All that can run here, and why the others cannot.

    Parameters
    ----------
    settings : Settings
        Those that cannot grow this are skipped.
    only : sequence of str
        Parts of names; where given, the others are not even mentioned.
    fallbacks : bool
        Whether to take, or to mention, our backends that `auto` would not choose here.
    """
    found, skipped = [], {}
    for contestant in (*ours(), *PEERS):
        named = not only or any(part in contestant.name for part in only)
        if not named or (contestant.fallback and not fallbacks):
            continue
        obstacle = contestant.obstacle(settings)
        if obstacle is None:
            found.append(contestant)
        else:
            skipped[contestant.name] = obstacle
    return found, skipped


def skipping(skipped: Mapping[str, str]) -> str:
    """Who was skipped and why, in a sentence; empty where nobody was."""
    reasons: dict[str, list[str]] = {}
    for name, why in skipped.items():
        reasons.setdefault(why, []).append(name)
    parts = [f"{', '.join(names)} ({why})" for why, names in reasons.items()]
    return f"Skipped: {'; '.join(parts)}." if parts else ""


def agreement(contestant: Contestant, scores: Scores, expected: Scores) -> float:
    """Rank correlation with scikit-learn's scores of the same rows, which shows that the same work is done.

    Raises
    ------
    ValueError
        The ranks have little in common, or the scores of one and the same forest differ.
    """
    found = float(spearmanr(scores, expected).statistic)
    apart = np.abs(scores - expected)
    if not contestant.grows and not np.mean(apart > 1e-5) <= TIED:
        worst = apart.max()
        raise ValueError(f"{contestant.name} scores scikit-learn's forest {worst:.1e} off; expected at most 1e-5")
    if not found > LEAST_AGREEMENT:
        raise ValueError(
            f"{contestant.name} ranks rows unlike scikit-learn (correlation {found:.2f}, expected above "
            f"{LEAST_AGREEMENT}): it does not do the same work"
        )
    return found


def ours() -> list[Contestant]:
    """Each backend as a contestant; the one that `auto` chooses here comes first."""
    chosen = choose_backend("auto").name

    def make(backend: str, missing: str | None) -> Contestant:
        def fit(X: Data, settings: Settings) -> Any:
            return MLXIsolationForest(
                settings.trees,
                max_samples=settings.samples,
                extension_level=int(settings.oblique),
                contamination=settings.contamination or "auto",
                n_jobs=settings.jobs,
                random_state=SEED,
                backend=backend,
            ).fit(X)

        return Contestant(
            f"mlx_iforest ({backend})",
            fit,
            lambda model, X, settings: model.score_samples(X),
            oblique=backend != "sklearn",
            contaminates=True,
            fallback="" if backend == chosen else f"`auto` takes {chosen} here",
            missing=missing or "",
        )

    found = [make(backend, missing) for backend, missing in available_backends().items()]
    return sorted(found, key=lambda contestant: bool(contestant.fallback))


def _sklearn_fit(X: Data, settings: Settings) -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(
        n_estimators=settings.trees,
        max_samples=settings.samples,
        contamination=settings.contamination or "auto",
        n_jobs=settings.jobs,
        random_state=SEED,
    ).fit(X)


def _sklearn_fit_in_threads(X: Data, settings: Settings) -> Any:
    with parallel_config("threading", n_jobs=settings.jobs):
        return _sklearn_fit(X, settings)


def _sklearn_score(model: Any, X: Data, settings: Settings) -> Scores:
    scores: Scores = model.score_samples(X)
    return scores


def _sklearn_score_in_threads(model: Any, X: Data, settings: Settings) -> Scores:
    with parallel_config("threading", n_jobs=settings.jobs):
        return _sklearn_score(model, X, settings)


def _isotree_fit(X: Data, settings: Settings) -> Any:
    from isotree import IsolationForest

    return IsolationForest(
        ntrees=settings.trees,
        sample_size=settings.samples,
        ndim=2 if settings.oblique else 1,
        missing_action="fail",
        nthreads=settings.jobs,
        random_seed=SEED + 1,
    ).fit(X)


def _coniferest_fit(X: Data, settings: Settings) -> Any:
    from coniferest.isoforest import IsolationForest

    return IsolationForest(
        n_trees=settings.trees, n_subsamples=settings.samples, n_jobs=settings.jobs, random_seed=SEED
    ).fit(X)


def _ydf_fit(X: Data, settings: Settings) -> Any:
    import ydf

    learner = ydf.IsolationForestLearner(
        num_trees=settings.trees,
        subsample_count=settings.samples,
        num_threads=settings.jobs,
        random_seed=SEED,
        split_axis="AXIS_ALIGNED",
    )
    return learner.train({"x": X}, verbose=0)


def _ydf_score(model: Any, X: Data, settings: Settings) -> Scores:
    scores: Scores = -model.predict({"x": X}, num_threads=settings.jobs)
    return scores


def _tl2cgen_fit(X: Data, settings: Settings) -> Any:
    import tl2cgen
    import treelite

    trees = treelite.sklearn.import_model(_sklearn_fit(X, settings))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "forest.so")
        tl2cgen.export_lib(trees, toolchain="gcc", libpath=library, params={"parallel_comp": 4})
        # Loaded, the library no longer needs its file.
        return tl2cgen.Predictor(library, nthread=settings.jobs)


def _tl2cgen_score(model: Any, X: Data, settings: Settings) -> Scores:
    import tl2cgen

    scores: Scores = -model.predict(tl2cgen.DMatrix(X)).ravel()
    return scores


@dataclass(frozen=True)
class _Session:
    """onnxruntime's `scores` output is scikit-learn's decision function: `offset_` makes a score of it."""

    session: Any
    offset: float


def _onnxruntime_fit(X: Data, settings: Settings) -> Any:
    import onnxruntime
    from skl2onnx import to_onnx

    forest = _sklearn_fit(X, settings)
    graph = to_onnx(forest, X[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.jobs
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return _Session(session, float(forest.offset_))


def _onnxruntime_score(model: _Session, X: Data, settings: Settings) -> Scores:
    name = model.session.get_inputs()[0].name
    scores: Scores = model.session.run(["scores"], {name: X})[0].ravel() + model.offset
    return scores


def _onedal_fit(X: Data, settings: Settings) -> Any:
    return onedal(_sklearn_fit(X, settings), settings.jobs)


def _xgboost_fit(X: Data, settings: Settings) -> Any:
    return xgboost(_sklearn_fit(X, settings), settings.jobs)


PEERS = (
    Contestant(YARDSTICK, _sklearn_fit, _sklearn_score, contaminates=True),
    Contestant(f"{YARDSTICK}, in threads", _sklearn_fit_in_threads, _sklearn_score_in_threads, contaminates=True),
    Contestant(
        "isotree", _isotree_fit, lambda model, X, settings: -model.decision_function(X), ["isotree"], oblique=True
    ),
    Contestant("coniferest", _coniferest_fit, lambda model, X, settings: model.score_samples(X), ["coniferest"]),
    Contestant("YDF", _ydf_fit, _ydf_score, ["ydf"]),
    Contestant(
        "oneDAL",
        _onedal_fit,
        lambda model, X, settings: model.score_samples(X),
        ["daal4py", "treelite"],
        grows=False,
        largest=LARGEST_CONVERSION,
        too_large="converting so large a forest takes minutes",
    ),
    Contestant(
        "XGBoost",
        _xgboost_fit,
        lambda model, X, settings: model.score_samples(X),
        ["xgboost"],
        grows=False,
        largest=LARGEST_CONVERSION,
        too_large="converting so large a forest takes minutes",
    ),
    Contestant(
        "tl2cgen",
        _tl2cgen_fit,
        _tl2cgen_score,
        ["treelite", "tl2cgen", "$gcc"],
        grows=False,
        largest=LARGEST_EXPORT,
        too_large="compiling so large a forest takes minutes",
    ),
    Contestant(
        "onnxruntime",
        _onnxruntime_fit,
        _onnxruntime_score,
        ["onnxruntime", "skl2onnx"],
        grows=False,
        largest=LARGEST_EXPORT,
        too_large="exporting so large a forest takes minutes",
    ),
)
"""All but us."""
