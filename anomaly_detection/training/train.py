"""The whole run: split, base model, search, optimised model, baseline, one look at the test part; no files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.overview import Overview
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.calibration.all_scores import AllScores
from anomaly_detection.calibration.thresholds import AlertBudget, BestAccuracy, Contamination, ShareRule, ThresholdRule
from anomaly_detection.compression import NONE, Compression
from anomaly_detection.data.columns.declarations import Declaration, declared
from anomaly_detection.data.columns.schema import CleanRecords, Column, Role, Schema, infer_schema
from anomaly_detection.data.fingerprint import fingerprint
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.labels import check_labels
from anomaly_detection.data.splitting import Split, split
from anomaly_detection.detector import Detector, Prepared
from anomaly_detection.errors import AnomalyDetectionError, DataError
from anomaly_detection.evaluation.comparison import Comparison, compare
from anomaly_detection.evaluation.metrics import Metrics
from anomaly_detection.evaluation.model_scores import CurveData, ModelScores
from anomaly_detection.features.fitted_branches import FittedBranches
from anomaly_detection.settings import FEATURE_SETS, RECIPE, Settings, make_forest, settings_of
from anomaly_detection.training.fitting import FittedDetector, fit_baseline, fit_detector, warm_up
from anomaly_detection.training.model_report import (
    classic_test_oracle,
    explain_shift,
    judge_detector,
    judge_model,
)
from anomaly_detection.training.optimize import ProgressCallback, SearchResult, search_accuracy
from anomaly_detection.training.parts import Labels, Part
from anomaly_detection.training.training_report import DataReport, OptimizedReport, SplitReport, TrainingReport
from anomaly_detection.training.trial_features import Matrices
from mlx_iforest import BackendUnavailableError, __version__, choose_backend
from mlx_iforest.base import BaseIsolationForest

__all__ = ["TrainingResult", "roles_like", "train"]


@dataclass(frozen=True)
class TrainingResult:
    """What a run gives.

    Attributes
    ----------
    base, optimized : Detector
        To use and to save; the same object where the optimised model is the base. With labels they are the models that
        the report's figures are of. Without labels they are refit on all records, under the same threshold.
    report : TrainingReport
        ``report.to_dict()`` is what ``report.json`` holds.
    curves : CurveData
        Test labels and each model's test scores, for the pictures.
    overview : Overview
        What the saved optimised model finds in all records: the worst with their reasons, causes and totals.
    comparison : Comparison or None
        Of the optimised model with the one that it is `like`, on the test part; None where there is none.
    """

    base: Detector
    optimized: Detector
    report: TrainingReport
    curves: CurveData
    overview: Overview
    comparison: Comparison | None = None


def train(
    frame: Any,
    *,
    labels: Any = None,
    anomaly_types: Sequence[Any] | None = None,
    roles: Mapping[str, str | Role | Declaration] | Schema | None = None,
    timestamp: str | None = None,
    identifiers: Sequence[str] = (),
    anomaly_ratio: float = 0.05,
    alert_budget: float | AlertBudget | None = None,
    threshold: ThresholdRule | None = None,
    split_method: Literal["auto", "random", "time"] | Split = "auto",
    backend: str = "auto",
    batch_size: int | Literal["auto"] = "auto",
    seed: int = 42,
    time_budget: float = 60.0,
    target_accuracy: float = 0.99,
    max_trials: int = 60,
    compression: Compression = NONE,
    like: Detector | None = None,
    oracle: Metrics | None = None,
    source: str = "records",
    all_scores: Callable[[Mapping[str, Detector]], Mapping[str, AllScores]] | None = None,
    progress: ProgressCallback | None = None,
) -> TrainingResult:
    """Train a base and an optimised detector, and compare them with scikit-learn's forest.

    The models never see labels. Labels of the validation part decide whether to search, choose settings and set the
    optimised model's threshold; those of the test part are read once, at the end, to report. The models are grown from
    the training part alone, so that the thresholds, set on validation rows that they have not seen, hold for new rows
    too.

    Without labels the optimised model is the recipe (`settings.RECIPE`), which needs no search; the anomaly ratio or
    the rule that was asked for sets the thresholds. Once everything is measured, the models are refit on all
    records, except under `Conformal`, whose guarantee is the measured model's. P-values and severity come from the
    validation part, where labels are known from its normal records alone.

    Parameters
    ----------
    frame : table
        Records: a pandas, polars or pyarrow table, or a list of dicts; at least 20.
    labels : array-like (rows,), optional
        As `evaluation.check_labels` takes them, of both classes.
    anomaly_types : sequence (rows,), optional
        Each row's type of anomaly, for recall by type.
    roles : mapping or Schema, optional
        Roles of columns that are known, or Declarations, which say more; the others are inferred. Or all that was
        found out of these records, which then are not asked again.
    timestamp : str, optional
        The column with the records' time.
    identifiers : sequence of str
        Columns that only name a record.
    anomaly_ratio : float
        The share of anomalies to expect, above 0 and at most 0.5.
    alert_budget : float or AlertBudget, optional
        Alerts a day (needs `timestamp`), or a budget; then sets both models' thresholds, labels or not.
    threshold : ThresholdRule, optional
        Any rule of `anomaly_detection.calibration.thresholds`, to the same end; give this or `alert_budget`.
    split_method : {"auto", "random", "time"} or Split
        "auto" is by time where `timestamp` is given, else at random. A ready `Split` is used as it is.
    backend, batch_size : str, int or "auto"
        As `MLXIsolationForest` takes them.
    seed : int
        The same seed and data give the same models, as long as time does not end the search (the report says).
    time_budget : float
        Seconds after which no further trial of the search starts; 0 for no search.
    target_accuracy : float
        Where the base reaches this accuracy on the validation part, no search runs.
    max_trials : int
        The most trials of the search.
    compression : Compression
        What makes the optimised model smaller, before its threshold is set; the search sees whole models. The base
        model stays whole, also where the optimised one has its settings.
    like : Detector, optional
        A trained one: columns that it knows keep their roles, unless given here, and the optimised model has its
        settings, without a search. Thresholds, and all that is learned, are by these records.
    oracle : Metrics, optional
        Those of the best possible detector, for the report; computed where `source` is ``"classic"``.
    source : str
        Where the records are from, for the report: a file's name, or that of a synthetic profile.
    all_scores : callable, optional
        Where these records are a sample: gives the scores of all records by each detector. Without labels, thresholds
        of the refit models are by them, unless they are of a false discovery rate.
    progress : callable, optional
        Called as ``progress(stage, fraction, message)``; the stages are "data", "base", "search", "optimized",
        "sklearn" and "test", in this order.

    Returns
    -------
    TrainingResult

    Raises
    ------
    DataError
        Records, labels or arguments that cannot be used.
    AnomalyDetectionError
        A backend asked for by name that is missing here.
    """
    tell: ProgressCallback = progress if progress is not None else _silent
    chosen_backend = _backend(backend)
    tell("data", 0.0, "reading the columns")
    frame = to_frame(frame)
    truth = _labels(labels, len(frame))
    if anomaly_types is not None and len(anomaly_types) != len(frame):
        raise DataError(f"There are {len(frame)} records but {len(anomaly_types)} anomaly types; give one a record.")
    settings = None if like is None else settings_of(like)
    if isinstance(roles, Schema):
        found = roles
    else:
        found = infer_schema(frame, {**roles_like(like, frame), **_roles(roles, timestamp, identifiers, frame)})
    # Unusable values show here, before any work.
    cleaned, cleaning = found.read(frame)
    times = None if timestamp is None else pd.Series(cleaned.dates(timestamp))
    del cleaned
    parts = _split(frame, truth, times, split_method, timestamp, seed)
    if min(parts.sizes().values()) < 1:
        raise DataError(f"The split leaves a part empty ({parts.sizes()}); give more records.")
    # How cells are read is one thing for all parts; how often values occur is learned from the training part.
    schema = infer_schema(frame.iloc[parts.train], found.declarations())
    began = time.perf_counter()
    whole = CleanRecords(*schema.read(frame))
    seconds = (time.perf_counter() - began) / len(frame)
    training, validation, test = (
        Part(frame.iloc[rows], whole.part(rows), None if truth is None else truth[rows], len(rows) * seconds)
        for rows in (parts.train, parts.validation, parts.test)
    )
    asked = _asked(threshold, alert_budget, times, parts.train, truth)
    rule = Contamination(anomaly_ratio) if asked is None else asked

    def forest(settings: Settings) -> BaseIsolationForest:
        return make_forest(
            settings,
            seed=seed,
            contamination=anomaly_ratio,
            backend=chosen_backend.name,
            batch_size=batch_size,
            rows=len(training.frame),
        )

    tell("base", 0.0, "training the base model")
    warm_up(forest)
    matrices = Matrices(schema, training, validation)
    base = fit_detector(Settings(), schema, forest, matrices, rule, validation.labels)
    search = _choose(base, forest, matrices, validation, settings, seed, time_budget, target_accuracy, max_trials, tell)
    optimized, chosen = base, search.settings
    if chosen is not None or compression:
        tell("optimized", 0.0, "training the optimised model")
        own_rule = BestAccuracy() if asked is None and chosen is not None and validation.judges else rule
        optimized = fit_detector(
            chosen or Settings(), schema, forest, matrices, own_rule, validation.labels, compression
        )
    tell("sklearn", 0.0, "training scikit-learn's isolation forest")
    baseline = fit_baseline(schema, training, anomaly_ratio, seed)

    # From here on nothing is chosen any more: the test part is looked at, once.
    tell("test", 0.0, "judging the models on the test part")
    types = None if anomaly_types is None else [anomaly_types[row] for row in parts.test]
    features = {"base": base.scorer.preprocessor.transform(test.records)}
    alike = optimized.scorer.preprocessor is base.scorer.preprocessor
    features["optimized"] = features["base"] if alike else optimized.scorer.preprocessor.transform(test.records)
    scores = {"base": base.scores_of(features["base"])}
    scores["optimized"] = scores["base"] if optimized is base else optimized.scores_of(features["optimized"])
    numbers = baseline.scorer.transform(test.records)
    scores["sklearn"] = ModelScores(baseline.scorer.forest.score_samples(numbers), baseline.scorer.threshold)
    again = truth is None and not rule.needs_batch
    judged = {
        key: judge_detector(model, features[key], scores[key], test, types, scores["sklearn"], refit=again)
        for key, model in (("base", base), ("optimized", optimized))
    }
    if oracle is None and source == "classic":
        oracle = classic_test_oracle(test, anomaly_ratio)
    report = TrainingReport(
        created=datetime.now(timezone.utc),
        version=__version__,
        seed=seed,
        backend=chosen_backend,
        data=DataReport(
            source=source,
            rows=len(frame),
            columns=frame.shape[1],
            labelled=truth is not None,
            anomaly_ratio=anomaly_ratio if truth is None else float((truth == -1).mean()),
            fingerprint=fingerprint(frame),
            schema=schema,
            cleaning=cleaning,
            timestamp=timestamp,
            identifiers=tuple(identifiers),
        ),
        split=SplitReport(
            method=parts.method,
            **parts.sizes(),
            time_column=timestamp if parts.method == "time" else None,
            note=parts.note,
            shift=explain_shift(optimized, scores["optimized"], schema, training, validation, test),
        ),
        base=judged["base"],
        optimized=OptimizedReport(**vars(judged["optimized"]), search=search, same_as_base=optimized is base),
        sklearn=judge_model(
            baseline, scores["sklearn"], test, types, lambda: baseline.scorer.forest.score_samples(numbers)
        ),
        oracle=oracle,
    )
    comparison = None
    if like is not None:
        comparison = compare(like, optimized.scorer, test.frame, _verdicts(test.labels))
    saved = {"base": base.scorer, "optimized": optimized.scorer}
    seen: npt.NDArray[np.float32] | None = None
    if again:
        tell("test", 0.5, "refitting the models on all records")
        fitted = FittedBranches()
        again_on = Prepared.of(base.scorer.preprocessor, whole, fitted)
        saved["base"] = base.scorer.refit(again_on)
        if not alike:
            again_on = Prepared.of(optimized.scorer.preprocessor, whole, fitted)
        del fitted
        saved["optimized"] = saved["base"] if optimized is base else optimized.scorer.refit(again_on, compression)
        seen = again_on.seen
    if again and all_scores is not None and isinstance(rule, ShareRule):
        tell("test", 0.6, "scoring all records")
        distinct = saved if saved["optimized"] is not saved["base"] else {"base": saved["base"]}
        found_in_all = all_scores(distinct)
        for key, scores_of_all in found_in_all.items():
            distinct[key].settle(scores_of_all)
        report = report.settled(next(iter(found_in_all.values())).rows)
    for key, detector in saved.items():
        detector.training_ = report.of_model(key)
    tell("test", 0.8, "looking through all records")
    overview = Overview.of(score_table(saved["optimized"], frame, seen, whole))
    curves = CurveData(test.labels, scores, types)
    return TrainingResult(**saved, report=report, curves=curves, overview=overview, comparison=comparison)


def _verdicts(labels: Labels | None) -> dict[int, bool]:
    return {} if labels is None else dict(enumerate((labels == -1).tolist()))


def _silent(stage: str, fraction: float, message: str) -> None:
    """Progress that nobody wants to see."""


def _backend(name: str) -> Any:
    try:
        return choose_backend(name)
    except (BackendUnavailableError, ValueError) as error:
        raise AnomalyDetectionError(str(error)) from error


def _labels(labels: Any, rows: int) -> Labels | None:
    if labels is None:
        return None
    truth = check_labels(labels, both_classes=True)
    if len(truth) != rows:
        raise DataError(f"There are {rows} records but {len(truth)} labels; give one label a record.")
    return truth


def roles_like(like: Detector | None, frame: pd.DataFrame) -> dict[str, Declaration]:
    """What a trained detector takes the columns for; nothing without one.

    How these records are written is found out anew, and codes for missing are added to those that it knows.

    Raises
    ------
    DataError
        If the records lack a column that it was trained on.
    """
    if like is None:
        return {}
    columns: tuple[Column, ...] = like.preprocessor.schema_.columns
    known = {
        column.name: Declaration(column.role, more_codes=column.codes, unit=column.unit, reason=column.reason)
        for column in columns
    }
    lacking = [name for name in known if name not in frame.columns]
    if lacking:
        raise DataError(
            f"The model to train like was trained on {', '.join(map(repr, lacking))}, which these records lack; give"
            " records with the same columns, or train without a model."
        )
    return known


def _roles(
    roles: Mapping[str, str | Role | Declaration] | None,
    timestamp: str | None,
    identifiers: Sequence[str],
    frame: pd.DataFrame,
) -> dict[str, Declaration]:
    given = declared(roles or {}, frame.columns)
    named = dict.fromkeys(identifiers, Role.IDENTIFIER)
    if timestamp is not None:
        named[timestamp] = Role.TIMESTAMP
    return given | {name: one.over(given.get(name)) for name, one in declared(named, frame.columns).items()}


def _split(
    frame: pd.DataFrame,
    labels: Labels | None,
    times: pd.Series[Any] | None,
    method: Literal["auto", "random", "time"] | Split,
    timestamp: str | None,
    seed: int,
) -> Split:
    if isinstance(method, Split):
        return method
    if method == "auto":
        method = "random" if timestamp is None else "time"
    return split(frame, labels, method=method, time=times, seed=seed)


def _asked(
    rule: ThresholdRule | None,
    budget: float | AlertBudget | None,
    times: pd.Series[Any] | None,
    rows: npt.NDArray[np.int64],
    labels: Labels | None,
) -> ThresholdRule | None:
    """The threshold rule that was asked for, if any."""
    if rule is not None and budget is not None:
        raise DataError("An alert budget and another threshold rule were given; give one of them.")
    if rule is not None and rule.uses_labels and labels is None:
        raise DataError(f"{type(rule).__name__} needs labels; give them, or use Contamination or AlertBudget.")
    if budget is None or isinstance(budget, AlertBudget):
        return rule if budget is None else budget
    if times is None:
        raise DataError("An alert budget a day needs the time column; name it, or give an anomaly ratio instead.")
    return AlertBudget.per_day(budget, times.iloc[rows].to_numpy())


def _choose(
    base: FittedDetector,
    forest: Callable[[Settings], BaseIsolationForest],
    matrices: Matrices,
    validation: Part,
    settings: Settings | None,
    seed: int,
    time_budget: float,
    target_accuracy: float,
    max_trials: int,
    tell: ProgressCallback,
) -> SearchResult:
    """Search for the optimised model's settings, or say why not; looks at the training and validation part only."""
    accuracy = None
    if validation.judges:
        accuracy = float((base.validation.predictions == validation.labels).mean())
    if settings is not None:
        return SearchResult(settings, ("the settings are those of the model that was given",), accuracy)
    if accuracy is None or validation.labels is None:
        lacking = (
            "there are no labels" if validation.labels is None else "the validation part has no labels of both kinds"
        )
        why = f"{lacking} to choose by; the optimised model is the recipe, which needs none"
        return SearchResult(RECIPE, (why,), None)
    if time_budget <= 0:
        return SearchResult(None, ("the time budget is 0",), accuracy)
    reached = f"the base reaches {accuracy:.2%} accuracy on the validation part"
    if accuracy >= target_accuracy:
        return SearchResult(None, (f"{reached}, and {target_accuracy:.2%} is enough",), accuracy)
    tell("search", 0.0, "searching for better settings")
    began = time.perf_counter()
    # At most half of the time goes into features: a search needs trials too.
    candidates, complete = matrices.usable(FEATURE_SETS, time_budget / 2.0)
    found = search_accuracy(
        matrices,
        validation.labels,
        forest,
        candidates,
        Settings(),
        seed=seed,
        time_budget=time_budget - (time.perf_counter() - began),
        max_trials=max_trials,
        progress=tell,
    )
    left_out = () if complete else (f"time allowed for {len(candidates)} of {len(FEATURE_SETS)} feature sets",)
    return replace(
        found,
        ended_by=found.ended_by if complete else "time",
        because=(f"{reached}, below {target_accuracy:.2%}", *found.because, *left_out),
        seconds=time.perf_counter() - began,
    )
