"""Do reasons name what is wrong? How often the reasons of an alert name a column that was changed, and how fast.

    python -m benchmarks.explanations [--scms FILE] [--seeds 0 1 2] [--rows N]

Anomalies whose columns are known: those of the synthetic profiles, and errors put into real shipments (the SCMS
delivery history, public data of USAID, not part of this project) by `anomaly_detection.evaluation.injection`.
Explained are those among the 5 % most abnormal records. Against the reasons of
`anomaly_detection.explain.explanations` stand two other ways to share out a score: making features usual and scoring
again (occlusion), and the exact Shapley values of the forest's own inputs (`model.explain`), carried back from the
row's largest surprises to the features that they come from."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.table import as_table
from anomaly_detection.evaluation.injection import SUPPLY_CHAIN_KINDS, inject
from anomaly_detection.explain.explanations import explain_features
from anomaly_detection.features.features import FeatureSource
from anomaly_detection.settings import RECIPE, SUMMARY_FEATURES, FeatureSet, Settings, make_detector, make_forest
from anomaly_detection.synthetic import generate
from anomaly_detection.synthetic.classic import ANOMALIES
from anomaly_detection.synthetic.realistic_anomalies import CHANGED_COLUMNS
from benchmarks.harness import Result, Table, interleaved, machine, save, versions

Floats = npt.NDArray[np.float64]

ALERTS = 0.05
SCMS_SHARE = 0.03
LEAST_FARNESS = 1.0
MOST_COLUMNS = 3
TIMED = 500
FOLLOWS = {"lead_time": ("delivery_date",)}
"""Columns of `realistic` that a change of another one moves as well."""

MODELS: Mapping[str, Settings] = {
    "recipe": RECIPE,
    "base": Settings(),
    "two surprises, density": Settings(FeatureSet(("num", "deviations", "tails"), 2), forest="density"),
    "surprises, blended": Settings(FeatureSet(surprises=SUMMARY_FEATURES), n_estimators=300, forest="blended"),
}


@dataclass(frozen=True)
class Reason:
    """What a reason is about: its columns, those that it compares them with, whether it tells of something repeated,
    and its share of the score."""

    columns: frozenset[str]
    beside: frozenset[str]
    repeated: bool
    share: float


@dataclass(frozen=True)
class Case:
    """Records to train on, records to explain, and what is wrong with each of these."""

    train: pd.DataFrame
    test: pd.DataFrame
    labels: npt.NDArray[Any]
    changed: Sequence[frozenset[str]]

    def is_named(self, row: int, reason: Reason) -> bool:
        """An anomaly without changed columns is a copy of another record."""
        if not self.changed[row]:
            return reason.repeated
        return len(reason.columns) <= MOST_COLUMNS and bool((reason.columns | reason.beside) & self.changed[row])

    def part(self, row: int, reasons: Sequence[Reason]) -> float:
        """Share of the score that goes to changed columns; columns of one reason share alike."""
        if not self.changed[row]:
            return sum(reason.share for reason in reasons if reason.repeated)
        named = (reason for reason in reasons if len(reason.columns) <= MOST_COLUMNS)
        return sum(one.share * len(one.columns & self.changed[row]) / len(one.columns) for one in named)


def cases(rows: int, scms: pd.DataFrame | None, seed: int) -> Iterator[tuple[str, Case]]:
    data = generate("classic", rows, seed=seed)
    changed = [frozenset(ANOMALIES[name][:1]) if name in ANOMALIES else frozenset() for name in data.anomaly_types]
    yield "`classic`", Case(data.frame, data.frame, data.labels, changed)
    data = generate("realistic", rows, seed=seed)
    changed = [
        frozenset(one for column in CHANGED_COLUMNS.get(name, ()) for one in (column, *FOLLOWS.get(column, ())))
        for name in data.anomaly_types
    ]
    yield "`realistic`", Case(data.frame, data.frame, data.labels, changed)
    if scms is not None:
        order = np.random.default_rng(seed).permutation(len(scms))
        train, test = (scms.iloc[part].reset_index(drop=True) for part in np.array_split(order, 2))
        injected = inject(test, kinds=SUPPLY_CHAIN_KINDS, share=SCMS_SHARE, seed=seed)
        changed = [frozenset({column} if column else ()) for column in injected.columns]
        yield "SCMS, injected", Case(train, injected.frame, injected.labels, changed)


# The ways to explain: detector, clean records, their features -> for each record its reasons, the strongest first.

Explainer = Callable[[Any, pd.DataFrame, npt.NDArray[np.float32]], list[list[Reason]]]


def by_columns(detector: Any, extended: pd.DataFrame, features: npt.NDArray[np.float32]) -> list[list[Reason]]:
    """What the system does: Shapley values of the score over columns."""
    rows = np.arange(len(features))
    found = explain_features(detector, as_table(extended), features, rows, alerts=np.ones(len(features), dtype=bool))
    sources = {source.name: source for source in detector.preprocessor.feature_sources_}
    return [
        [_reason(sources[one.feature], one.value, one.share) for one in explanation.contributions]
        for explanation in found
    ]


def _reason(source: FeatureSource, value: Any, share: float) -> Reason:
    # Of readings that repeat, the reason names one.
    columns = value[:1] if source.name == "repeated reading" else source.columns
    return Reason(frozenset(columns), frozenset(source.group_by), source.kind == "repeats", share)


def by_occlusion(detector: Any, extended: pd.DataFrame, features: npt.NDArray[np.float32]) -> list[list[Reason]]:
    """Make features of the same columns usual, then all others, and score again; the mean of both changes."""
    preprocessor = detector.preprocessor
    usual, blocks = preprocessor.usual_, _blocks(preprocessor.feature_sources_)
    base = np.full((1, features.shape[1]), np.nan, dtype=np.float32)
    base[:, : len(usual)] = usual
    score, plain = _score(detector, features), _score(detector, base)
    gains = np.empty((len(features), len(blocks)))
    for i, block in enumerate(blocks.values()):
        without, alone = features.copy(), np.repeat(base, len(features), axis=0)
        without[:, block], alone[:, block] = usual[block], features[:, block]
        gains[:, i] = 0.5 * ((_score(detector, without) - score) + (plain - _score(detector, alone)))
    return _ranked(detector, extended, features, gains, blocks)


def by_inputs(detector: Any, extended: pd.DataFrame, features: npt.NDArray[np.float32]) -> list[list[Reason]]:
    """`model.explain`: the k-th surprise's part to the feature of rank k, the mean's by what each adds beyond usual."""
    preprocessor = detector.preprocessor
    scaled = np.asarray(detector.scaler.transform(features), dtype=np.float32)
    values = -detector.model.explain(scaled, of="score").values
    farness = preprocessor.farness(features)
    width = farness.shape[1]
    own = values[:, :width] if scaled.shape[1] > width else np.zeros((len(features), width))
    tails = values[:, width:] if scaled.shape[1] > width else values
    gains = own.copy()
    rank = np.argsort(-farness, axis=1, kind="stable")
    for k in range(min(tails.shape[1], SUMMARY_FEATURES - 1)):
        gains[np.arange(len(gains)), rank[:, k]] += tails[:, k]
    if tails.shape[1] == SUMMARY_FEATURES:
        beyond = np.maximum(np.minimum(farness, 10.0) - preprocessor.usual_farness_.mean(), 0.0)
        gains += tails[:, -1:] * beyond / np.maximum(beyond.sum(axis=1, keepdims=True), 1e-9)
    blocks = _blocks(preprocessor.feature_sources_)
    joined = np.stack([gains[:, block].sum(axis=1) for block in blocks.values()], axis=1)
    return _ranked(detector, extended, features, joined, blocks)


def _blocks(sources: Sequence[FeatureSource]) -> dict[frozenset[str], list[int]]:
    found: dict[frozenset[str], list[int]] = {}
    for i, source in enumerate(sources):
        if source.columns:
            found.setdefault(frozenset(source.columns), []).append(i)
    return found


def _score(detector: Any, features: npt.NDArray[np.float32]) -> Floats:
    scaled = detector.scaler.transform(detector.preprocessor.summarise(features))
    return np.asarray(detector.model.score_samples(np.asarray(scaled, dtype=np.float32)))


def _ranked(
    detector: Any,
    extended: pd.DataFrame,
    features: npt.NDArray[np.float32],
    gains: Floats,
    blocks: Mapping[frozenset[str], list[int]],
) -> list[list[Reason]]:
    """The three blocks of most gain of which one feature lies at least a deviation out, with their facts."""
    preprocessor = detector.preprocessor
    values, _ = preprocessor.in_units(extended)
    farness = preprocessor.farness(features)
    members = list(blocks.values())
    positive = np.maximum(gains, 0.0)
    shares = positive / np.maximum(positive.sum(axis=1, keepdims=True), 1e-12)
    found = []
    for row, share in enumerate(shares):
        reasons: list[Reason] = []
        for i in np.argsort(-share, kind="stable"):
            block = members[i]
            feature = block[int(np.argmax(farness[row, block]))]
            if share[i] > 0.05 and farness[row, feature] >= LEAST_FARNESS and len(reasons) < 3:
                source = preprocessor.feature_sources_[feature]
                reasons.append(_reason(source, values[row, feature], float(share[i])))
        found.append(reasons)
    return found


EXPLAINERS: Mapping[str, Explainer] = {
    "columns' game (ours)": by_columns,
    "occlusion": by_occlusion,
    "`model.explain`, carried back": by_inputs,
}


def measure(rows: int, scms: pd.DataFrame | None, seeds: Sequence[int]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each kind of records and model, each explainer's hits, one entry an alert; and the seconds that 500 take."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for seed in seeds:
        for name, case in cases(rows, scms, seed):
            for model, settings in MODELS.items():
                detector = make_detector(settings, None, make_forest(settings, seed=seed)).fit(case.train)
                extended, _ = detector.preprocessor.extend(case.test)
                features = detector.preprocessor.features_of(extended)
                order = np.argsort(detector.score_samples(case.test), kind="stable")
                worst = np.sort(order[: round(ALERTS * len(order))])
                alerts = worst[case.labels[worst] == -1]
                entry = found.setdefault(name, {}).setdefault(model, {})
                for explainer, explain in EXPLAINERS.items():
                    reasons = explain(detector, extended.iloc[alerts], features[alerts])
                    hits = entry.setdefault(explainer, {"first": [], "three": [], "share": []})
                    for row, own in zip(alerts.tolist(), reasons, strict=True):
                        hits["first"].append(bool(own) and case.is_named(row, own[0]))
                        hits["three"].append(any(case.is_named(row, reason) for reason in own))
                        hits["share"].append(case.part(row, own))
                if seed == seeds[0]:
                    some = order[:TIMED]
                    tasks = {
                        explainer: _task(explain, detector, extended.iloc[some], features[some])
                        for explainer, explain in EXPLAINERS.items()
                    }
                    for explainer, timing in interleaved(tasks).items():
                        entry[explainer]["seconds"] = timing.median
                line = {key: f"{np.mean(hits['first']):.3f}" for key, hits in entry.items()}
                print(name, model, seed, len(alerts), line, flush=True)
    return found


def _task(
    explain: Explainer, detector: Any, extended: pd.DataFrame, features: npt.NDArray[np.float32]
) -> Callable[[], object]:
    return lambda: explain(detector, extended, features)


def tables(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Table]:
    figures = {
        "first": "The first reason names a changed column",
        "three": "One of the first three reasons names a changed column",
        "share": "Share of the alert that falls to changed columns",
    }
    result = []
    for figure, title in figures.items():
        rows = [
            [name, model, str(len(next(iter(by.values()))[figure]))]
            + [f"{np.mean(hits[figure]):.3f}" for hits in by.values()]
            for name, models in found.items()
            for model, by in models.items()
        ]
        result.append(Table(title, ["records", "model", "alerts", *EXPLAINERS], rows))
    rows = [
        [name, model, *(f"{1000 * hits['seconds']:.0f} ms" for hits in by.values())]
        for name, models in found.items()
        for model, by in models.items()
    ]
    note = (
        "From features to reasons. Ours writes its sentences and ranges in that time; the other two rank only, and"
        " occlusion scores a batch at a time for each group of features."
    )
    return [*result, Table(f"Explaining {TIMED} records", ["records", "model", *EXPLAINERS], rows, note)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Do reasons name what is wrong?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--scms", type=Path, metavar="FILE", help="the SCMS delivery history, a CSV file")
    arguments = parser.parse_args()
    facts = machine()
    scms = None if arguments.scms is None else read_table(arguments.scms)
    found = measure(arguments.rows, scms, arguments.seeds)
    about = (
        f"Anomalies among the {ALERTS:.0%} most abnormal records, over seeds {', '.join(map(str, arguments.seeds))};"
        f" {arguments.rows:,} synthetic records at 5 % anomalies, trained on whole. SCMS: trained on a random half, one"
        f" cell of {SCMS_SHARE:.0%} of the other half changed. A copied order is named by a reason that says that it is"
        " repeated; a reason about more than three columns names none. Columns that a value is compared with are named"
        " with it. A share is divided among a reason's columns."
    )
    command = "python -m benchmarks.explanations" + (" --scms FILE" if scms is not None else "")
    means = {
        name: {
            model: {
                key: {figure: float(np.mean(values)) for figure, values in hits.items()} for key, hits in by.items()
            }
            for model, by in models.items()
        }
        for name, models in found.items()
    }
    result = Result("Reasons", about, command, tables(found), means, facts, versions(["numpy", "pandas"]))
    print(result.markdown())
    save("explanations", result)


if __name__ == "__main__":
    main()
