"""How soon is a price rise noticed, and how often is one seen where there is none? Against river, and a test a day.

    python -m benchmarks.drift --data DATA [--draws 20]

DATA holds `superstore/superstore.csv`. A model learns from 1,500 records of a table, drawn at random. Others, in random
order, are the stream: 3,650 records, a year of ten a day, in which nothing changes, and 1,500 in which one column is
1.08 or 1.9 times what it was after 500. Every way sees the same records. river's detectors and the test a day watch
every number of the table, once as it is and once as what it is to its product (the residuals that ours makes).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from anomaly_detection.alerts.observing import Watch
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.drift_test import BLOCK, LEVEL
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, machine, save, versions

LEARNED, ROWS, CHANGE, A_DAY = 1500, 3650, 500, 32
LENGTHS = {1.0: ROWS, 1.08: 1500, 1.9: 1500}
REMEMBERED = 500
"""Reference records that river's detectors are shown first."""
FACTORS = (1.0, 1.08, 1.9)

Values = NDArray[np.float64]
Finds = Callable[[Values, Values], int | None]
"""Of the reference's values (rows, columns) and the stream's: after how many records it said that anything changed."""


def river_detector(make: Callable[[], object]) -> Finds:
    def finds(reference: Values, stream: Values) -> int | None:
        first: list[int] = []
        for column in range(stream.shape[1]):
            detector = make()
            scale = max(float(np.nanstd(reference[:, column])), 1e-12)
            centre = float(np.nanmean(reference[:, column]))
            for value in reference[-REMEMBERED:, column]:
                if not np.isnan(value):
                    detector.update((value - centre) / scale)  # type: ignore[attr-defined]
            for row, value in enumerate(stream[:, column]):
                if np.isnan(value):
                    continue
                detector.update((value - centre) / scale)  # type: ignore[attr-defined]
                if detector.drift_detected:  # type: ignore[attr-defined]
                    first.append(row + 1)
                    break
        return min(first, default=None)

    return finds


def test_a_day(reference: Values, stream: Values) -> int | None:
    for start in range(0, len(stream), A_DAY):
        for column in range(stream.shape[1]):
            old, new = (part[~np.isnan(part)] for part in (reference[:, column], stream[start : start + A_DAY, column]))
            if len(old) and len(new) and ks_2samp(old, new, method="asymp").pvalue < LEVEL / stream.shape[1]:
                return start + A_DAY
    return None


def tables(data: Path) -> dict[str, tuple[pd.DataFrame, str]]:
    store = pd.read_csv(data / "superstore/superstore.csv", encoding="latin-1")
    names = [str(name) for name in store]
    dates = next(name for name in names if "order" in name.lower() and "date" in name.lower())
    sales = next(name for name in names if name.lower() == "sales")
    ordered = store.iloc[np.argsort(pd.to_datetime(store[dates], format="mixed").to_numpy(), kind="stable")]
    realistic = generate("realistic", 5500, seed=11).frame
    return {"realistic": (realistic, "unit_price"), "superstore": (ordered.reset_index(drop=True), sales)}


def main() -> None:
    from river.drift import ADWIN, PageHinkley

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    peers: dict[str, Finds] = {
        "ADWIN (river, defaults)": river_detector(ADWIN),
        "Page-Hinkley (river, defaults)": river_detector(PageHinkley),
        f"Kolmogorov-Smirnov every {A_DAY} records, p < 1 % / columns": test_a_day,
    }
    shown: list[Table] = []
    for name, (frame, column) in tables(arguments.data).items():
        shown.append(measured(name, frame, column, peers, arguments.draws))
        print(shown[-1].markdown(), flush=True)
    result = Result(
        "Drift: how soon, and how often for nothing",
        "A price rise that is noticed, and none where nothing changes, looked at after every record or block.",
        f"python -m benchmarks.drift --data DATA --draws {arguments.draws}",
        shown,
        {table.title: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in shown},
        machine(),
        versions(["numpy", "scipy", "river"]),
    )
    save("drift", result)


def measured(name: str, frame: pd.DataFrame, column: str, peers: dict[str, Finds], draws: int) -> Table:
    random = np.random.default_rng(0)
    mixed = frame.iloc[random.permutation(len(frame))].reset_index(drop=True)
    learned, others = mixed[:LEARNED], mixed[LEARNED:]
    detector = AnomalyDetectionAPI().fit(learned).detector
    watch = Watch(detector)
    numbers = [i for i, each in enumerate(watch.references) if each.role == "numeric"]
    seen = {factor: score_table(detector, scaled(others, column, factor)) for factor in FACTORS}
    observed = {factor: watch.observe(batch) for factor, batch in seen.items()}
    names = [watch.references[i].column for i in numbers]
    raw = {factor: batch.table.matrix(names) for factor, batch in seen.items()}
    before = score_table(detector, learned)
    reference = {"": before.table.matrix(names), ", within product": watch.observe(before).residuals[:, numbers]}
    ways: dict[str, dict[float, list[int | None]]] = {}
    spent: dict[str, float] = {}
    for draw in range(draws):
        for factor in FACTORS:
            length = LENGTHS[factor]
            rows = np.random.default_rng(draw).permutation(len(others))[:length]
            changed = np.arange(length) >= CHANGE
            start = time.process_time()
            test = watch.start()
            found = None
            one, other = observed[1.0].take(rows), observed[factor].take(rows)
            for at in range(0, length - BLOCK + 1, BLOCK):
                part = slice(at, at + BLOCK)
                test.update(
                    type(one)(*(np.where(*_either(changed[part], a[part], b[part])) for a, b in _both(other, one)))
                )
                if test.alarms().any():
                    found = at + BLOCK
                    break
            _note(ways, spent, "ours, all columns and the share of alerts", factor, found, start)
            residuals = {f: observed[f].residuals[:, numbers] for f in FACTORS}
            for kind, values in (("", raw), (", within product", residuals)):
                stream = np.where(changed[:, None], values[factor][rows], values[1.0][rows])
                for peer, finds in peers.items():
                    start = time.process_time()
                    _note(ways, spent, peer + kind, factor, finds(reference[kind], stream), start)
    return Table(
        f"{name}: {column} rises after {CHANGE} records; {draws} streams of {ROWS:,} records, {len(numbers)} numbers",
        ("", "false alarms", "8 %: found, delay", "1.9 times: found, delay", "us a record"),
        [
            (way, f"{share(found[1.0]):.0%}", told(found[1.08]), told(found[1.9]), f"{1e6 * spent[way]:,.0f}")
            for way, found in ways.items()
        ],
        f"Found: share of streams whose first alarm comes after the change; delay: median records of these. The stated"
        f" level of ours is {LEVEL:.0%} for good.",
    )


def _both(a: object, b: object) -> list[tuple[Values, Values]]:
    return [(getattr(a, each), getattr(b, each)) for each in ("codes", "residuals", "moments")]


def _either(which: NDArray[np.bool_], a: Values, b: Values) -> tuple[NDArray[np.bool_], Values, Values]:
    return (which[:, None] if a.ndim == 2 else which), a, b


def _note(
    ways: dict[str, dict[float, list[int | None]]],
    spent: dict[str, float],
    way: str,
    factor: float,
    found: int | None,
    start: float,
) -> None:
    ways.setdefault(way, {each: [] for each in FACTORS})[factor].append(found)
    if factor == 1.0:
        spent[way] = (time.process_time() - start) / (found or ROWS)


def scaled(frame: pd.DataFrame, column: str, factor: float) -> pd.DataFrame:
    return frame.assign(**{column: pd.to_numeric(frame[column], errors="coerce") * factor})


def share(found: list[int | None]) -> float:
    return sum(one is not None for one in found) / len(found)


def told(found: list[int | None]) -> str:
    late = [one - CHANGE for one in found if one is not None and one > CHANGE]
    return f"{len(late) / len(found):.0%}, {statistics.median(late):.0f}" if late else "0 %"


if __name__ == "__main__":
    main()
