"""How fast are exact Shapley values? Rows a second against shap and XGBoost on the same forest, which say the same.

shap's TreeExplainer explains the forest as scikit-learn's, XGBoost as its own trees; a script stops where they
disagree. Interactions of two features, and values against a background, are compared with shap's of the same kind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.converted import booster
from benchmarks.harness import Result, Table, interleaved, machine, options, save, table_of_numbers, versions
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

Data = NDArray[np.float32]

AGREEMENT = 1e-4
"""Largest difference of a Shapley value of a path length from shap's."""

TRAINED = 20_000
"""Rows that forests are grown on."""

BACKGROUND = 100
"""Rows that others are explained against."""

INTERACTING = 100
"""Features up to which interactions are measured: a row's are their square."""

SHORTEST = 0.5
"""Seconds that a timed run takes at least, by explaining again."""


@dataclass(frozen=True)
class Case:
    """A forest, and how many rows are explained by us and by shap, whose rate does not depend on their number."""

    features: int
    rows: int
    shap_rows: int
    trees: int = 100
    samples: int = 256

    @property
    def title(self) -> str:
        return f"{self.trees} trees of {self.samples:,}, {self.features} features"


CASES = (Case(8, 100_000, 1_000), Case(64, 50_000, 1_000), Case(500, 10_000, 500), Case(8, 10_000, 20, 300, 4096))
QUICK = (Case(4, 500, 20, 10, 64),)


def contestants(case: Case, jobs: int) -> tuple[dict[str, tuple[int, Callable[[], Any]]], float | None]:
    """For each how many rows it explains, and how; and the largest difference from others' values, if any are there."""
    X = table_of_numbers(max(TRAINED, case.rows), case.features)
    rows = X[: case.rows]
    ours = MLXIsolationForest(case.trees, max_samples=case.samples, n_jobs=jobs, random_state=0).fit(X[:TRAINED])
    alone = MLXIsolationForest(case.trees, max_samples=case.samples, n_jobs=1, random_state=0).fit(X[:TRAINED])
    blended = BlendedIsolationForest(case.trees, n_jobs=jobs, random_state=0).fit(X[:TRAINED])
    found: dict[str, tuple[int, Callable[[], Any]]] = {
        "mlx_iforest, path length": (len(rows), partial(ours.explain, rows)),
        "mlx_iforest, path length, one thread": (len(rows), partial(alone.explain, rows)),
        "mlx_iforest, score": (len(rows), partial(ours.explain, rows, of="score")),
        "mlx_iforest, score of a blended forest": (len(rows), partial(blended.explain, rows, of="score")),
    }
    background, part = X[-BACKGROUND:], rows[: max(1, case.rows // 20)]
    against = f"against {BACKGROUND} rows"
    found[f"mlx_iforest, {against}, one thread"] = (len(part), partial(alone.explain, part, background=background))
    interact = case.features <= INTERACTING
    if interact:
        found["mlx_iforest, interactions, one thread"] = (len(part), partial(alone.explain, part, interactions=True))
    trees, few = ours.to_sklearn(), rows[: case.shap_rows]
    some = few[: max(1, len(few) // 20)]
    theirs: dict[str, tuple[Data, Callable[[Data], Any], Any]] = {}
    if find_spec("shap"):
        import shap

        explainer = shap.TreeExplainer(trees)
        one_by_one = shap.TreeExplainer(trees, background, feature_perturbation="interventional")
        theirs["shap, path length"] = (few, explainer.shap_values, ours.explain(few))
        theirs[f"shap, {against}"] = (some, one_by_one.shap_values, ours.explain(some, background=background))
        if interact:
            theirs["shap, interactions"] = (
                some,
                explainer.shap_interaction_values,
                ours.explain(some, interactions=True),
            )
    if find_spec("xgboost"):
        theirs["XGBoost"] = (few, partial(_contributions, booster(trees, 1)), ours.explain(few))
    differences = [float(np.abs(do(these) - own.values).max()) for these, do, own in theirs.values()]
    if not all(each < AGREEMENT for each in differences):
        raise RuntimeError(f"{case.title}: Shapley values differ from theirs by {max(differences):.2g}")
    calls = {name: (len(these), partial(do, these)) for name, (these, do, _) in theirs.items()}
    return {**found, **calls}, max(differences, default=None)


def _contributions(boosted: Any, rows: Data) -> NDArray[np.float32]:
    from xgboost import DMatrix

    values: NDArray[np.float32] = boosted.predict(DMatrix(rows), pred_contribs=True)
    return values[:, :-1]


def measure(case: Case, jobs: int, repeats: int) -> tuple[Table, dict[str, Any]]:
    """One case's table, and its figures."""
    found, difference = contestants(case, jobs)
    # Where all take one thread, other programs do not count.
    clock = time.process_time if jobs == 1 else None
    calls = {name: call for name, (_, call) in found.items()}
    timings = interleaved(calls, repeats=repeats, shortest=SHORTEST, clock=clock)
    rates = {name: rows / timings[name].median for name, (rows, _) in found.items()}
    others = [rates.get(name) for name in ("shap, path length", "XGBoost")]
    rows = [
        [
            name,
            f"{found[name][0]:,}",
            f"{rate:,.0f}",
            *("-" if other is None else f"{rate / other:,.1f}" for other in others),
            f"{timings[name].spread():.0%}",
        ]
        for name, rate in sorted(rates.items(), key=lambda item: -item[1])
    ]
    note = (
        "Neither shap nor XGBoost is installed."
        if difference is None
        else f"Largest difference from their values: {difference:.1g}."
    )
    table = Table(case.title, ["what", "rows", "rows a second", "times shap", "times XGBoost", "spread"], rows, note)
    return table, {"case": case.title, "rows a second": rates, "difference": difference}


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options("explain", __doc__).parse_args(arguments)
    here = machine()
    tables, measurements = [], []
    for case in QUICK if chosen.quick else CASES:
        table, figures = measure(case, chosen.jobs, 1 if chosen.quick else chosen.repeats)
        print(table.markdown(), flush=True)
        tables.append(table)
        measurements.append(figures)
    about = (
        "Exact Shapley values of each row (path-dependent TreeSHAP), against shap's TreeExplainer on the same forest "
        f"as scikit-learn's, and XGBoost's; medians with everything warm. {chosen.jobs} threads are allowed; shap and "
        "XGBoost use one. Processor time where one thread is allowed, else wall time. Float32 rows in, which we check; "
        "Shapley values in float64 out. The score of a blended forest takes those of up to seven means over trees."
    )
    result = Result(
        "Shapley values",
        about,
        "python -m benchmarks.explain",
        tables,
        measurements,
        here,
        versions(["numpy", "numba", "scikit-learn", "shap", "xgboost"]),
    )
    print(f"written to {save('explain', result, chosen.output)}")


if __name__ == "__main__":
    main()
