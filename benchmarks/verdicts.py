"""What do verdicts teach a detector of records? Errors found by questions about the worst record not judged yet.

Errors are put into tables as in `benchmarks.real_tables`. One half of the other half of each is asked about: whether
the worst record that is not judged yet is an error. The rest is only looked at, before and after. Twice: every error is
real, or those of half of the kinds are, and the others are what nobody wants to hear of.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.detector import Detector
from anomaly_detection.features.evidence.lessons import ANOMALY, NORMAL
from anomaly_detection.synthetic import PROFILES
from benchmarks.harness import Result, Table, machine, options, save, versions
from benchmarks.processes import add_processes, spread
from benchmarks.real_tables import DATA, FILES, QUICK_ROWS, ROWS, case, tables

QUESTIONS = 60

Rows = npt.NDArray[np.float32]


def by_evidence(detector: Detector, features: Rows, verdict: int) -> None:
    """As `Detector.feedback`, of a record whose features are there."""
    detector.learn(detector.lessons_.with_more(detector.preprocessor.leading(features), [verdict]))


def by_forest(detector: Detector, features: Rows, verdict: int) -> None:
    """As the engine's `feedback`: leaves are worth more or less, and evidence what it was."""
    detector.model.feedback(detector.scaled(features), [verdict])


LEARNERS: Mapping[str, Callable[[Detector, Rows, int], None]] = {
    "nothing": lambda detector, features, verdict: None,
    "the forest": by_forest,
    "the evidence": by_evidence,
}


def score(detector: Detector, features: Rows, evidence: Rows) -> npt.NDArray[np.float64]:
    """By what was learned: rows are weighed up anew."""
    features[:, -1] = detector.preprocessor.evidence_.total(evidence)
    return detector.score_features(features)


def asked(
    detector: Detector, learner: str, features: Rows, wrong: npt.NDArray[np.bool_], there: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Errors found by each question about rows that are not `there`, and average precision of those that are."""
    evidence = detector.preprocessor.evidence(features)
    there_as_well = (features[there], evidence[there])
    before = average_precision_score(wrong[there], -score(detector, *there_as_well))
    (here,) = np.nonzero(~there)
    mine, weighed = features[here], evidence[here]
    open_, found = np.ones(len(here), dtype=bool), []
    for _ in range(min(QUESTIONS, int(open_.sum()))):
        place = int(np.where(open_, score(detector, mine, weighed), np.inf).argmin())
        open_[place] = False
        found.append(int(wrong[here[place]]))
        LEARNERS[learner](detector, mine[[place]], ANOMALY if found[-1] else NORMAL)
    after = average_precision_score(wrong[there], -score(detector, *there_as_well))
    return {"found": np.cumsum(found).tolist(), "before": float(before), "after": float(after)}


def measured_of(name: str, frame: Any, seed: int) -> list[dict[str, Any]]:
    """Of a table and seed, an entry for whether all kinds are real, and for each learner."""
    measured = []
    train, test, kinds = case(frame, seed)
    detector = AnomalyDetectionAPI(seed=seed).fit(train).detector
    features = detector.extract(test)[0]
    random = np.random.default_rng(seed)
    there = random.permutation(len(test)) % 2 == 0
    names = sorted({*kinds} - {"normal"})
    for real in (names, random.permutation(names)[: len(names) // 2].tolist()):
        wrong = np.isin(kinds, real)
        for learner in LEARNERS:
            told = asked(copy.deepcopy(detector), learner, features, wrong, there)
            entry = {"table": name, "seed": seed, "real": "all" if real is names else "half", "by": learner}
            measured.append({**entry, "errors": int(wrong[~there].sum()), **told})
    return measured


def measure(frames: Mapping[str, Any], seeds: int, processes: int) -> list[dict[str, Any]]:
    """An entry a table, seed, whether all kinds are real, and learner."""
    measured = []
    tasks = [(name, frame, seed) for name, frame in frames.items() for seed in range(seeds)]
    for found in spread(measured_of, tasks, processes):
        for each in found:
            print({key: value for key, value in each.items() if key != "found"}, flush=True)
        measured += found
    return measured


def shown(measured: Sequence[Mapping[str, Any]], real: str, title: str) -> Table:
    """Means over the seeds, table by table."""
    rows = []
    for name in dict.fromkeys(entry["table"] for entry in measured):
        for learner in LEARNERS:
            some = [one for one in measured if (one["table"], one["real"], one["by"]) == (name, real, learner)]
            counts = [np.mean([one["found"][min(n, len(one["found"])) - 1] for one in some]) for n in (30, QUESTIONS)]
            precision = [np.mean([one[when] for one in some]) for when in ("before", "after")]
            errors = np.mean([one["errors"] for one in some])
            rows.append([name, learner, *(f"{x:.1f}" for x in (*counts, errors)), *(f"{x:.3f}" for x in precision)])
    columns = ["table", "verdicts teach", "found by 30", f"by {QUESTIONS}", "of", "other part before", "after"]
    return Table(title, columns, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("verdicts", __doc__)
    parser.set_defaults(repeats=4)
    names = [*FILES, *PROFILES]
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    parser.add_argument("--tables", nargs="+", choices=names, default=names, help="which tables (all)")
    add_processes(parser)
    given = parser.parse_args(arguments)
    seeds, rows = (1, QUICK_ROWS) if given.quick else (given.repeats, ROWS)
    facts = machine()
    frames, skipped = tables(given.data, given.tables, rows)
    for name, why in skipped.items():
        print(f"{name} skipped: {why}", flush=True)
    measured = measure(frames, seeds, given.processes)
    about = (
        f"{QUESTIONS} verdicts on the worst records of one part of a table with errors in 2 % of its rows, and"
        f" what they are worth for another part. Seeds 0 to {seeds - 1}. The rule was chosen on superstore, classic and"
        " realistic, seeds 0 and 1; the other tables were looked at once."
    )
    found = [shown(measured, "all", "Every error is real"), shown(measured, "half", "Half of the kinds of errors are")]
    result = Result(
        "Verdicts on records",
        about,
        "python -m benchmarks.verdicts",
        found,
        measured,
        facts,
        versions(["numpy", "scikit-learn"]),
    )
    print(result.markdown())
    save("verdicts", result, given.output)


if __name__ == "__main__":
    main()
