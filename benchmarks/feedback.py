"""What do verdicts teach? Anomalies found by questions about the most abnormal row, against coniferest's forests.

    python -m benchmarks.feedback FOLDER [--seeds 2] [--processes 16]

FOLDER holds ADBench's sets (`benchmarks.adbench`); of those beyond 10,000 rows, 10,000 are drawn. Whoever is asked
knows the labels. Then 60 questions about one half of the rows, and average precision on the other, before and after.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks import adbench
from benchmarks.harness import FOLDER, Result, Table, machine, save, versions
from benchmarks.plots import draw_counts
from benchmarks.processes import add_processes, spread
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

QUESTIONS = 60
FEWEST_ROWS = 220
"""Of smaller sets, 60 questions are about more than 27 % of the rows; they are listed, and count in no mean."""

WITHOUT = "no feedback"
DEPTH, DENSITY, BLENDED = "mlx_iforest", "mlx_iforest, density", "mlx_iforest, blended"

Rows = NDArray[np.float64]


class Learner(Protocol):
    """A forest that is asked for scores, and told verdicts."""

    def scores(self, X: Rows) -> NDArray[np.float64]: ...

    def told(self, X: Rows, row: int, verdict: int) -> None: ...


class Ours:
    """One of our forests."""

    def __init__(self, model: Any, X: Rows, learns: bool = True) -> None:
        self.model, self.learns = model.fit(X), learns

    def scores(self, X: Rows) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = self.model.score_samples(X)
        return scores

    def told(self, X: Rows, row: int, verdict: int) -> None:
        if self.learns:
            self.model.feedback(X[[row]], [verdict])


class Coniferest:
    """One of coniferest's forests, with its defaults; it fits all verdicts anew each time."""

    def __init__(self, name: str, X: Rows, seed: int) -> None:
        # An extra, so imported where it is used.
        from coniferest.aadforest import AADForest
        from coniferest.pineforest import PineForest

        kind = {"AAD": AADForest, "Pineforest": PineForest}[name]
        self.rows: list[int] = []
        self.verdicts: list[int] = []
        self.model = kind(n_trees=100, n_subsamples=256, n_jobs=1, random_seed=seed)
        with warnings.catch_warnings():
            # That there are fewer rows than samples of a tree.
            warnings.simplefilter("ignore")
            self.model.fit(X)

    def scores(self, X: Rows) -> NDArray[np.float64]:
        return np.asarray(self.model.score_samples(X))

    def told(self, X: Rows, row: int, verdict: int) -> None:
        self.rows.append(row)
        self.verdicts.append(verdict)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.fit_known(X, X[self.rows], np.array(self.verdicts))


LEARNERS: dict[str, Callable[[Rows, int], Learner]] = {
    WITHOUT: lambda X, seed: Ours(MLXIsolationForest(100, random_state=seed), X, learns=False),
    DEPTH: lambda X, seed: Ours(MLXIsolationForest(100, random_state=seed), X),
    DENSITY: lambda X, seed: Ours(MLXIsolationForest(100, scoring="density", random_state=seed), X),
    BLENDED: lambda X, seed: Ours(BlendedIsolationForest(100, random_state=seed), X),
    "AAD (coniferest)": lambda X, seed: Coniferest("AAD", X, seed),
    "Pineforest (coniferest)": lambda X, seed: Coniferest("Pineforest", X, seed),
}


def asked(learner: Learner, X: Rows, y: NDArray[np.int64], questions: int) -> list[int]:
    """Anomalies found by each question, always about the most abnormal row that was not asked about yet."""
    known, found = np.zeros(len(y), np.bool_), []
    for _ in range(min(questions, len(y))):
        row = int(np.where(known, np.inf, learner.scores(X)).argmin())
        known[row] = True
        found.append(int(y[row]))
        learner.told(X, row, -1 if y[row] else 1)
    counts: list[int] = np.cumsum(found).tolist()
    return counts + counts[-1:] * (questions - len(counts))


def halves(name: str, X: Rows, y: NDArray[np.int64], seed: int, questions: int) -> tuple[float, float]:
    """Average precision on the half that nobody asked about, before and after questions about the other."""
    rows = np.random.default_rng(seed).permutation(len(y))
    here, there = rows[: len(y) // 2], rows[len(y) // 2 :]
    learner = LEARNERS[name](X[here], seed)
    before = average_precision_score(y[there], -learner.scores(X[there]))
    asked(learner, X[here], y[here], questions)
    return float(before), float(average_precision_score(y[there], -learner.scores(X[there])))


def measured_of(folder: Path, name: str, seed: int, who: str, questions: int) -> dict[str, Any]:
    """What one learner finds in a set, in what seconds of processor time, and its precision on the other half."""
    X, y = next((X, y) for each, X, y in adbench.sets(folder) if each == name)
    drawn = np.random.default_rng(seed).permutation(len(X))[: adbench.LARGEST]
    rows, truth = X[drawn], y[drawn]
    began = time.process_time()
    found = asked(LEARNERS[who](rows, seed), rows, truth, questions)
    told: dict[str, Any] = {"found": found, "seconds": time.process_time() - began}
    told["halves"] = halves(who, rows, truth, seed, questions) if who in (DEPTH, DENSITY, BLENDED) else None
    return {"rows": len(rows), "anomalies": int(truth.sum()), **told}


def measure(folder: Path, n_seeds: int, questions: int, processes: int = 1) -> dict[str, Any]:
    """By set, and by learner: the curves, seconds of processor time, and precision on the other half, one a seed."""
    measured: dict[str, Any] = {}
    # The largest first, so that none is left for one process at the end.
    names = [name for name, X, _ in sorted(adbench.sets(folder), key=lambda one: -one[1].size)]
    tasks = [(folder, name, seed, who, questions) for name in names for seed in range(n_seeds) for who in LEARNERS]
    for (_, name, seed, who, _), told in zip(tasks, spread(measured_of, tasks, processes), strict=True):
        of_set = measured.setdefault(name, {each: told.pop(each) for each in ("rows", "anomalies")})
        mine = of_set.setdefault(who, {"found": [], "seconds": [], "halves": []})
        mine["found"].append(told["found"])
        mine["seconds"].append(told["seconds"])
        if told["halves"] is not None:
            mine["halves"].append(told["halves"])
        print(f"{name}, seed {seed}, {who}: {told['found'][-1]}", flush=True)
    return {name: measured[name] for name in sorted(measured)}


def _mean(of_set: Any, who: str, what: str) -> NDArray[np.float64]:
    return np.mean(of_set[who][what], axis=0)


def tables(measured: Mapping[str, Any], questions: int) -> list[Table]:
    """Means over the sets, and set by set."""
    counted = [one for one in measured.values() if one["rows"] >= FEWEST_ROWS] or list(measured.values())
    half = questions // 2
    lines = []
    for who in LEARNERS:
        found = np.mean([_mean(one, who, "found") for one in counted], axis=0)
        seconds = float(np.mean([_mean(one, who, "seconds") for one in counted]))
        precision = ["", ""]
        if counted[0][who]["halves"]:
            precision = [f"{x:.3f}" for x in np.mean([_mean(one, who, "halves") for one in counted], axis=0)]
        lines.append([who, f"{found[half - 1]:.1f}", f"{found[-1]:.1f}", *precision, f"{seconds:.1f}"])
    columns = ["", f"found by {half}", f"by {questions}", "other half before", "after", "CPU seconds"]
    note = "Seconds of a whole run: growing, and scoring all rows after each verdict."
    means = Table(f"Means of {len(counted)} sets", columns, lines, note)
    rows = []
    for name, one in measured.items():
        cells = [f"{_mean(one, who, 'found')[-1]:g}" for who in LEARNERS]
        before, after = _mean(one, DEPTH, "halves")
        rows.append([name, f"{one['rows']:,}", f"{one['anomalies']}", *cells, f"{before:.3f}", f"{after:.3f}"])
    columns = ["set", "rows", "anomalies", *LEARNERS, f"{DEPTH}: other half before", "after"]
    return [means, Table(f"Found by {questions} questions", columns, rows)]


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="ADBench's sets, as .npz files")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    add_processes(parser)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for RESULTS.md and results/ (%(default)s)")
    chosen = parser.parse_args(arguments)
    here = machine()
    if find_spec("coniferest") is None:
        for who in [who for who in LEARNERS if "coniferest" in who]:
            print(f"{who} is left out: coniferest is not installed", flush=True)
            del LEARNERS[who]
    measured = measure(chosen.folder, chosen.seeds, chosen.questions, chosen.processes)
    counted = [one for one in measured.values() if one["rows"] >= FEWEST_ROWS] or list(measured.values())
    curves = {
        who: list(enumerate(np.mean([_mean(one, who, "found") for one in counted], axis=0).tolist(), 1))
        for who in LEARNERS
        if who not in (DENSITY, BLENDED)
    }
    picture = "results/feedback.png"
    title = f"anomalies found, mean of {len(counted)} sets"
    draw_counts(curves, "questions, each about the most abnormal row left", title, chosen.output / picture)
    result = Result(
        "Verdicts",
        f"What do verdicts teach? {chosen.questions} questions, each about the most abnormal row not yet asked about, "
        f"answered by the labels of ADBench's sets; 100 trees of 256 samples, {chosen.seeds} seeds. Sets of fewer than "
        f"{FEWEST_ROWS} rows count in no mean. On halves, the other half's average precision.",
        f"python -m benchmarks.feedback FOLDER --seeds {chosen.seeds}",
        tables(measured, chosen.questions),
        measured,
        here,
        versions(["numpy", "numba", "scikit-learn", "coniferest"]),
        {picture: title},
    )
    print(f"written to {save('feedback', result, chosen.output)}")


if __name__ == "__main__":
    main()
