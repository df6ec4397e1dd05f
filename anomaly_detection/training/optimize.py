"""The search for better settings: by accuracy on labelled validation records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.thresholds import BestAccuracy
from anomaly_detection.settings import FORESTS, FeatureSet, ForestKind, Settings
from mlx_iforest.base import BaseIsolationForest

FloatArray = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
ProgressCallback = Callable[[str, float, str], None]
"""Called as ``progress(stage, fraction, message)``: the stage's name, how much of it is done in [0, 1], and a line."""

MAX_TRIALS = 60
PATIENCE = 20
"""Trials in a row without a gain after which the search ends."""

TREES = (100, 200, 400)
SAMPLES = (128, 256, 512, 1024, 2048, 4096)
MAX_FEATURES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class SearchResult:
    """What a search found and how it ended, or why none ran.

    Attributes
    ----------
    settings : Settings or None
        The best found, or those that needed no search; None for the base model's.
    because : tuple of str
        Why it ended so, or why none ran: clauses for the report.
    accuracy : float or None
        Best validation accuracy at its best threshold; the base model's where no search ran, None without labels.
    trials : int
        Settings tried.
    seconds : float
        Wall-clock time.
    ended_by : {"gain", "trials", "time"} or None
        No further gain, all trials used, or the time budget; None where no search ran. Only a search that time ended
        may end otherwise next time.
    """

    settings: Settings | None
    because: tuple[str, ...]
    accuracy: float | None
    trials: int = 0
    seconds: float = 0.0
    ended_by: Literal["gain", "trials", "time"] | None = None

    @property
    def reason(self) -> str:
        """`because` as sentences, the last one without its full stop."""
        return ". ".join(f"{clause[0].upper()}{clause[1:]}" for clause in self.because)

    def to_dict(self) -> dict[str, Any]:
        """The report's ``search`` entry."""
        found = {
            "ran": self.ended_by is not None,
            "reason": f"{self.reason}.",
            "trials": self.trials,
            "seconds": self.seconds,
            "best_validation_accuracy": self.accuracy,
        }
        ending = {"ended_by": self.ended_by, "reproducible": self.ended_by != "time"}
        return found if self.ended_by is None else {**found, **ending}


Matrices = Callable[[FeatureSet], tuple[Matrix, Matrix]]
"""Gives a feature set's matrices for the training and the validation part; expected to remember them."""
ForestMaker = Callable[[Settings], BaseIsolationForest]
"""Makes an unfitted forest of the settings, with the same seed each time."""


def search_accuracy(
    matrices: Matrices,
    validation_labels: npt.ArrayLike,
    make_forest: ForestMaker,
    feature_sets: Sequence[FeatureSet],
    start: Settings,
    *,
    seed: int,
    time_budget: float,
    max_trials: int = MAX_TRIALS,
    progress: ProgressCallback | None = None,
) -> SearchResult:
    """Find the settings with the best validation accuracy, by Optuna's tree-structured Parzen estimator.

    Trees are grown from training rows without labels; the validation labels judge them. The first trials are `start`
    and one for each kind of forest on each feature set, so that the result is never worse than `start` on the
    validation part and nothing goes untried. One trial at a time and a seeded sampler make the search repeatable while
    time does not end it.

    Parameters
    ----------
    matrices : callable
        See `Matrices`.
    validation_labels : array-like (validation rows,)
        +1 and -1, both present.
    make_forest : callable
        See `ForestMaker`.
    feature_sets : sequence of FeatureSet
        What to choose among; must hold the start's.
    start : Settings
        Tried first.
    seed : int
        For the sampler.
    time_budget : float
        Seconds after which no further trial starts.
    max_trials : int
        The most trials.
    progress : callable, optional
        See `ProgressCallback`; the stage is ``"search"``.
    """
    # Here and not above: predicting needs no Optuna, and it is slow to import.
    import optuna

    labels = np.asarray(validation_labels)
    started = time.perf_counter()
    kinds: list[Any] = list(FORESTS)
    sets = list(dict.fromkeys(feature_sets))
    rows = len(matrices(start.features)[0])
    sample_choices = [size for size in SAMPLES if size < rows] or [rows]
    accuracies: list[float] = []
    since_gain = 0
    ended_by: Literal["gain", "trials", "time"] = "trials"

    samples = min(start.max_samples, sample_choices[-1])
    begin = {
        "n_estimators": start.n_estimators,
        "max_samples": samples if samples in sample_choices else sample_choices[-1],
        "max_features": start.max_features,
    }
    more = {**begin, "n_estimators": TREES[1], "max_samples": sample_choices[len(sample_choices) // 2]}
    first_trials = [{"forest": start.forest, "feature_set": sets.index(start.features), **begin}]
    first_trials += [{"forest": kind, "feature_set": i, **more} for kind in kinds for i in range(len(sets))]

    def objective(trial: optuna.Trial) -> float:
        kind: ForestKind = trial.suggest_categorical("forest", kinds)
        settings = Settings(
            features=sets[trial.suggest_categorical("feature_set", list(range(len(sets))))],
            n_estimators=trial.suggest_categorical("n_estimators", list(TREES)),
            forest=kind,
        )
        if kind != "blended":
            settings = replace(
                settings,
                max_samples=trial.suggest_categorical("max_samples", sample_choices),
                max_features=trial.suggest_categorical("max_features", list(MAX_FEATURES)),
            )
        trial.set_user_attr("settings", settings)
        accuracy, precision = _judge(make_forest(settings), *matrices(settings.features), labels)
        trial.set_user_attr("accuracy", accuracy)
        # Less than one row's worth: average precision only decides between equals.
        return accuracy + 0.5 * precision / labels.size

    def after(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal since_gain, ended_by
        since_gain = 0 if study.best_trial.number == trial.number else since_gain + 1
        accuracies.append(float(trial.user_attrs["accuracy"]))
        if progress is not None:
            best = float(study.best_trial.user_attrs["accuracy"])
            done = max(len(accuracies) / max_trials, (time.perf_counter() - started) / max(time_budget, 1e-9))
            progress("search", min(1.0, done), f"trial {len(accuracies)}: best validation accuracy {best:.4f}")
        if since_gain >= PATIENCE and len(accuracies) >= len(first_trials) + PATIENCE:
            ended_by = "gain"
        elif time.perf_counter() - started >= time_budget:
            ended_by = "time"
        else:
            return
        study.stop()

    with _quiet(optuna):
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for parameters in first_trials:
            study.enqueue_trial(parameters)
        study.optimize(objective, n_trials=max_trials, callbacks=[after])

    endings = {
        "gain": f"the last {since_gain} trials brought no gain",
        "trials": f"all {max_trials} trials were used",
        "time": f"the time budget of {time_budget:g} s was used up",
    }
    return SearchResult(
        settings=study.best_trial.user_attrs["settings"],
        trials=len(accuracies),
        seconds=time.perf_counter() - started,
        ended_by=ended_by,
        because=(f"ended because {endings[ended_by]}",),
        accuracy=float(study.best_trial.user_attrs["accuracy"]),
    )


def _judge(
    forest: BaseIsolationForest, train: Matrix, validation: Matrix, labels: npt.NDArray[Any]
) -> tuple[float, float]:
    """Validation accuracy at its best threshold, and average precision."""
    from sklearn.metrics import average_precision_score

    scores = np.asarray(forest.fit(train).score_samples(validation), dtype=np.float64)
    alert = scores < BestAccuracy().fit(scores, labels).offset_
    return float((alert == (labels == -1)).mean()), float(average_precision_score(labels == -1, -scores))


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna's log lines off the terminal, and its logging as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
