"""What `benchmarks.gpu` and `benchmarks.gpu_grow` measured, as a section of the page of results; needs no GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Table, save

PEERS = ("nvForest", "XGBoost", "torch.compile", "scikit-learn", "our Numba engine")

MACHINE = ("date", "CPU", "cores", "memory", "system", "load before")
"""What `benchmarks.gpu_grow` says of the host and is no version."""


def publish(score: Mapping[str, Any], grow: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Write `results/gpu.json` and the page.

    Parameters
    ----------
    score : mapping
        What ``benchmarks.gpu --json`` wrote.
    grow : sequence of mappings
        What ``benchmarks.gpu_grow --output`` wrote.
    folder : Path
        With the page of results.

    Returns
    -------
    Path
        Of the page.
    """
    tables = [_scoring(score["cases"]), _from_numpy(score["cases"]), _growing(grow)]
    facts = {case["name"]: case for case in grow if case["kind"] == "machine"}
    host = {name: value for name, value in facts["host"].items() if name not in ("kind", "name")}
    unequal = [case["name"] for case in grow if case["kind"] == "equal" and (case.get("difference") or "error" in case)]
    wrong = f"; not {', '.join(unequal)}" if unequal else ""
    equal = sum(case["kind"] == "equal" for case in grow) - len(unequal)
    result = Result(
        title="On a GPU",
        about="Sums over trees are compared with Numba's, bit for bit, before anything is timed; of grown forests "
        f"{equal} of {equal + len(unequal)} were Numba's, bit for bit{wrong}. "
        "Other libraries ran beside them.",
        command="python -m benchmarks.gpu; python -m benchmarks.gpu_grow",
        tables=[table for table in tables if table.rows],
        measurements={"score": score, "grow": list(grow)},
        machine={"GPU": facts["device"].get("device_name", "unknown"), **{k: host[k] for k in MACHINE if k in host}},
        versions={k: str(v) for k, v in host.items() if k not in MACHINE},
    )
    return save("gpu", result, folder)


def bound(case: Mapping[str, Any]) -> float:
    """Million rows a second that memory, and reads of shared memory, allow the default layout; ranking is left out."""
    floor, ranks = case["floor"], case["default"]["layout"]["ranks"]
    return float(min(floor["memory"], floor["coded nodes" if ranks else "float32 nodes"]))


def _size(case: Mapping[str, Any]) -> str:
    quantised = ", 8-bit codes" if case["quantized"] else ""
    return f"{case['n_rows']:,} x {case['n_features']}, {case['n_trees']} x {case['subsample']:,}{quantised}"


def _rate(value: Any) -> str:
    return f"{value:,.{0 if value >= 100 else 1}f}" if isinstance(value, float) else "-"


def _scoring(cases: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for case in cases:
        default = case.get("default")
        if not isinstance(default, dict):
            # Without a default's rate no row can be compared; what failed stays in the measurements.
            continue
        peer = case.get("nvForest")
        ratio = f"{default['rate'] / peer:.1f}" if isinstance(peer, float) else "-"
        share = f"{100 * default['rate'] / bound(case):.0f} %"
        best = _rate(case["best"]["rate"]) if "best" in case else "-"
        others = [_rate(case.get(name)) for name in PEERS]
        rows.append([_size(case["case"]), _rate(default["rate"]), share, best, ratio, *others])
    columns = ["rows on the device, trees", "million rows/s", "of the bound", "best layout", "times nvForest", *PEERS]
    note = (
        "The layout is the one taken without measuring; 'best layout' the fastest of those tried. The bound is what "
        "reads of shared memory allow. scikit-learn and Numba have their rows in host memory."
    )
    return Table("Scoring, rows on the device", columns, rows, note)


def _from_numpy(cases: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for case in cases:
        rates = case.get("from NumPy")
        if isinstance(rates, dict):
            found = [rate for name, rate in rates.items() if name.startswith("chunks")]
            moved, scored = rates["transfer, touched"], max(found)
            rows.append([_size(case["case"]), _rate(scored), _rate(moved), f"{100 * scored / moved:.0f} %"])
    columns = ["rows in host memory, trees", "million rows/s", "transfer alone", "share"]
    return Table("Scoring, rows in host memory", columns, rows, "The best of several sizes of chunks.")


def _growing(cases: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for case in cases:
        if case["kind"] == "time" and "median_ms" in case and ": kernel of " not in case["name"]:
            times = [f"{case[name]:.2f}" for name in ("median_ms", "fastest_ms", "slowest_ms")]
            rows.append([case["name"], *times, str(case["runs"])])
    return Table("Growing", ["trees and rows", "median, ms", "fastest", "slowest", "runs"], rows)
