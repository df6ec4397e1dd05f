"""What the recipe finds in supply-chain records, against scikit-learn's isolation forest on the plain numbers.

    python -m benchmarks.supply_chain [--scms FILE] [--seeds 0 1 2] [--rows N]

The recipe is trained without labels, as a user without labels would (`settings.RECIPE`). On the `realistic` profile
the anomalies are known; into the real shipments of the SCMS delivery history (public data of USAID, not part of this
project) they are put by `anomaly_detection.evaluation.injection`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.schema import Role, infer_schema
from anomaly_detection.evaluation.injection import SUPPLY_CHAIN_KINDS, inject
from anomaly_detection.settings import RECIPE, SUMMARY_FEATURES, FeatureSet, Settings, make_detector, make_forest
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, machine, save, versions

Scores = npt.NDArray[np.float64]
KINDS = ("point", "contextual", "collective")
ALERTS = (0.01, 0.05)
SCMS_ALERTS = (0.01, 0.02, 0.05)
SCMS_SHARE = 0.015
SCMS_NAMED = ("Freight Cost (USD)", "Pack Price", "Unit Price", "Delivered to Client Date")
BLENDED = Settings(FeatureSet(surprises=SUMMARY_FEATURES), n_estimators=300, forest="blended")


def score_recipe(settings: Settings) -> Callable[[pd.DataFrame, pd.DataFrame, int], Scores]:
    """Train on the first table, score the second."""

    def score(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Scores:
        detector = make_detector(settings, None, make_forest(settings, seed=seed))
        return detector.fit(train).score_samples(test)

    return score


def score_sklearn(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Scores:
    """scikit-learn's forest on the numeric columns, read as we read them; missing values become the median."""
    schema = infer_schema(train)
    clean, to_score = (schema.clean(frame)[0][schema.names(Role.NUMERIC)] for frame in (train, test))
    middle = clean.median()
    forest = IsolationForest(random_state=seed).fit(clean.fillna(middle).to_numpy())
    return np.asarray(forest.score_samples(to_score.fillna(middle).to_numpy()))


MODELS: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame, int], Scores]] = {
    "recipe": score_recipe(RECIPE),
    "blended forest, same features": score_recipe(BLENDED),
    "scikit-learn, plain numbers": score_sklearn,
}


def recall(scores: Scores, kinds: npt.NDArray[Any], share: float) -> dict[str, float]:
    """Share of each kind's rows among the so many most abnormal."""
    hit = np.zeros(len(scores), dtype=bool)
    hit[np.argsort(scores, kind="stable")[: round(share * len(scores))]] = True
    return {str(kind): float(hit[kinds == kind].mean()) for kind in np.unique(kinds) if kind != "normal"}


def measure_realistic(seeds: Sequence[int], rows: int, by_time: bool) -> dict[str, list[dict[str, Any]]]:
    """Every model's figures, one entry a seed."""
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in MODELS}
    for seed in seeds:
        data = generate("realistic", rows, seed=seed)
        cut = round(0.7 * rows)
        train, test = (slice(0, cut), slice(cut, rows)) if by_time else (slice(0, rows), slice(0, rows))
        truth = data.labels[test] == -1
        for model, score in MODELS.items():
            scores = score(data.frame.iloc[train], data.frame.iloc[test], seed)
            entry: dict[str, Any] = {
                "roc_auc": float(roc_auc_score(truth, -scores)),
                "average_precision": float(average_precision_score(truth, -scores)),
            }
            for share in ALERTS:
                entry[f"recall at {share:.0%}"] = recall(scores, data.anomaly_kinds[test], share)
                entry[f"types at {share:.0%}"] = recall(scores, data.anomaly_types[test], share)
            found[model].append(entry)
            print("realistic", "by time" if by_time else "whole", seed, model, entry["recall at 5%"], flush=True)
    return found


def measure_scms(
    frame: pd.DataFrame, seeds: Sequence[int], held_out: bool, columns: Sequence[str] | None
) -> dict[str, list[dict[str, Any]]]:
    """Every model's recall of what was injected, one entry a seed."""
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in MODELS}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(frame))
        half = len(frame) // 2
        train, test = (frame.iloc[order[:half]], frame.iloc[order[half:]]) if held_out else (frame, frame)
        injected = inject(test, kinds=SUPPLY_CHAIN_KINDS, columns=columns, share=SCMS_SHARE, seed=seed)
        if not held_out:
            train = injected.frame
        kinds = injected.anomaly_types
        for model, score in MODELS.items():
            scores = score(train, injected.frame, seed)
            entry: dict[str, Any] = {"injected": int((injected.labels == -1).sum()), "rows": len(test)}
            for share in SCMS_ALERTS:
                every = recall(scores, np.where(kinds == "normal", "normal", "all"), share)
                entry[f"recall at {share:.0%}"] = {**every, **recall(scores, kinds, share)}
            found[model].append(entry)
            print("scms", "held out" if held_out else "whole", seed, model, entry["recall at 2%"], flush=True)
    return found


def mean(entries: Sequence[Mapping[str, Any]], *path: str) -> float:
    """Mean over the seeds of one figure."""
    values = []
    for entry in entries:
        value: Any = entry
        for key in path:
            value = value.get(key, float("nan"))
        values.append(float(value))
    return float(np.nanmean(values))


def realistic_tables(title: str, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Table]:
    rows = [
        [
            model,
            *(f"{mean(entries, figure):.3f}" for figure in ("roc_auc", "average_precision")),
            *(f"{mean(entries, f'recall at {share:.0%}', kind):.3f}" for share in ALERTS for kind in KINDS),
        ]
        for model, entries in found.items()
    ]
    heads = ["model", "ROC AUC", "average precision", *(f"{kind}, {share:.0%}" for share in ALERTS for kind in KINDS)]
    ours, theirs = found["recipe"], found["scikit-learn, plain numbers"]
    times = ", ".join(
        f"{kind} {mean(ours, 'recall at 5%', kind) / max(mean(theirs, 'recall at 5%', kind), 1e-9):.1f} x"
        for kind in KINDS
    )
    types = sorted({name for entries in found.values() for entry in entries for name in entry["types at 5%"]})
    by_type = [[name, *(f"{mean(entries, 'types at 5%', name):.3f}" for entries in found.values())] for name in types]
    return [
        Table(title, heads, rows, f"Recall by kind at 1 % and 5 % alerts. The recipe's recall at 5 %: {times}."),
        Table(f"{title}: recall at 5 % alerts by type", ["type", *found], by_type),
    ]


def scms_table(title: str, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    kinds = ("all", *SUPPLY_CHAIN_KINDS)
    rows = [
        [model, *(f"{mean(entries, f'recall at {share:.0%}', 'all'):.2f}" for share in SCMS_ALERTS)]
        + [f"{mean(entries, 'recall at 2%', kind):.2f}" for kind in kinds[1:]]
        for model, entries in found.items()
    ]
    entry = found["recipe"][0]
    heads = ["model", *(f"all, {share:.0%}" for share in SCMS_ALERTS)]
    heads += [f"{kind.replace('_', ' ')}, 2%" for kind in kinds[1:]]
    return Table(title, heads, rows, f"{entry['injected']} of {entry['rows']:,} records scored were changed.")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="The recipe on supply-chain records")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--scms", type=Path, metavar="FILE", help="the SCMS delivery history, a CSV file")
    arguments = parser.parse_args()
    facts = machine()
    tables, measurements = [], {}
    for name, by_time in (("trained on the whole table and scored on it", False), ("trained on the first 70 %", True)):
        found = measure_realistic(arguments.seeds, arguments.rows, by_time)
        title = f"`realistic`, {name}" + (", the rest scored" if by_time else "")
        tables += realistic_tables(title, found)
        measurements[title] = found
    if arguments.scms is not None:
        frame = read_table(arguments.scms)
        for held_out in (True, False):
            for columns in (SCMS_NAMED, None):
                name = "freight, prices and delivery date" if columns else "any column"
                how = "trained on a random half, the other changed and scored"
                title = f"SCMS, {name}: {how if held_out else 'changed, then trained on and scored whole'}"
                found = measure_scms(frame, arguments.seeds, held_out, columns)
                tables.append(scms_table(title, found))
                measurements[title] = found
    about = (
        f"Means over seeds {', '.join(map(str, arguments.seeds))}; {arguments.rows:,} rows of `realistic` at medium "
        "difficulty, 5 % anomalies. No labels, no tuning. SCMS: one cell of 1.5 % of the records was changed "
        "(`anomaly_detection.evaluation.injection`); records that are odd in reality compete for the same alerts."
    )
    command = "python -m benchmarks.supply_chain" + (" --scms FILE" if arguments.scms is not None else "")
    result = Result(
        "Supply chains", about, command, tables, measurements, facts, versions(["numpy", "pandas", "scikit-learn"])
    )
    print(result.markdown())
    save("supply_chain", result)


if __name__ == "__main__":
    main()
