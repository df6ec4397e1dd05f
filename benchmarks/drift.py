"""How soon is a price rise noticed, and how often is one seen where there is none? Against river, and a test a day.

    python -m benchmarks.drift [--data DATA] [--draws 20] [--processes 16]

DATA holds `superstore/superstore.csv`. A model learns from 1,500 records of a table, drawn at random. Others, in random
order, are the stream: 3,650 records, a year of ten a day, in which nothing changes, and 1,500 in which one column is
1.08 or 1.9 times what it was after 500. Every way sees the same records. river's detectors (left out where river is not
installed) and the test a day watch every number of the table, once as it is and once as what it is to its product (the
residuals that ours makes).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from anomaly_detection.alerts.observing import Watch
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.drift_test import BLOCK, LEVEL
from anomaly_detection.synthetic import generate
from benchmarks.harness import FOLDER, Result, Table, machine, save, versions
from benchmarks.processes import add_processes, spread
from benchmarks.real_tables import DATA

LEARNED, ROWS, CHANGE, A_DAY = 1500, 3650, 500, 32
LENGTHS = {1.0: ROWS, 1.08: 1500, 1.9: 1500}
REMEMBERED = 500
"""Reference records that river's detectors are shown first."""
FACTORS = (1.0, 1.08, 1.9)

Values = NDArray[np.float64]
Found = dict[str, Any]
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
    """The tables that are here, each with the column that rises."""
    found = {"realistic": (generate("realistic", 5500, seed=11).frame, "unit_price")}
    path = data / "superstore/superstore.csv"
    if not path.is_file():
        print(f"superstore skipped: {path} is not there", flush=True)
        return found
    store = pd.read_csv(path, encoding="latin-1")
    names = [str(name) for name in store]
    dates = next(name for name in names if "order" in name.lower() and "date" in name.lower())
    sales = next(name for name in names if name.lower() == "sales")
    ordered = store.iloc[np.argsort(pd.to_datetime(store[dates], format="mixed").to_numpy(), kind="stable")]
    return {**found, "superstore": (ordered.reset_index(drop=True), sales)}


def peers() -> dict[str, Finds]:
    """The others that are installed."""
    found: dict[str, Finds] = {}
    if find_spec("river") is not None:
        from river.drift import ADWIN, PageHinkley

        found["ADWIN (river, defaults)"] = river_detector(ADWIN)
        found["Page-Hinkley (river, defaults)"] = river_detector(PageHinkley)
    found[f"Kolmogorov-Smirnov every {A_DAY} records, p < 1 % / columns"] = test_a_day
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="streams of each table and rise (%(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for RESULTS.md and results/ (%(default)s)")
    add_processes(parser)
    given = parser.parse_args(arguments)
    if find_spec("river") is None:
        print("river's detectors are left out: river is not installed", flush=True)
    frames = tables(given.data)
    # A share of the draws each, so that a model is trained a few times and not for each draw.
    parts = min(given.draws, -(-given.processes // len(frames)))
    draws = [range(i, given.draws, parts) for i in range(parts)]
    tasks = [(frame, column, some) for frame, column in frames.values() for some in draws]
    found = spread(measured, tasks, given.processes)
    shown: list[Table] = []
    measurements: dict[str, list[Found]] = {}
    for name, (_, column) in frames.items():
        of_table = [each for _ in draws for each in next(found)]
        measurements[name] = sorted(of_table, key=lambda each: each["draw"])
        shown.append(table_of(name, column, measurements[name], given.draws))
        print(shown[-1].markdown(), flush=True)
    result = Result(
        "Drift: how soon, and how often for nothing",
        "A price rise that is noticed, and none where nothing changes, looked at after every record or block.",
        f"python -m benchmarks.drift --draws {given.draws}",
        shown,
        measurements,
        machine(),
        versions(["numpy", "scipy", "river"]),
    )
    save("drift", result, given.output)


def measured(frame: pd.DataFrame, column: str, draws: Sequence[int]) -> list[Found]:
    """An entry a draw, rise and way: after how many records it said so, and in what seconds of processor time."""
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
    residuals = {factor: observed[factor].residuals[:, numbers] for factor in FACTORS}
    found: list[Found] = []
    for draw in draws:
        for factor in FACTORS:
            length = LENGTHS[factor]
            rows = np.random.default_rng(draw).permutation(len(others))[:length]
            changed = np.arange(length) >= CHANGE

            def note(way: str, finds: Callable[[], int | None], draw: int = draw, factor: float = factor) -> None:
                start = time.process_time()
                first = finds()
                told = {"draw": draw, "factor": factor, "way": way, "first": first, "numbers": len(numbers)}
                found.append({**told, "seconds": time.process_time() - start})

            one, other = observed[1.0].take(rows), observed[factor].take(rows)
            note("ours, all columns and the share of alerts", partial(_ours, watch, one, other, changed))
            for kind, values in (("", raw), (", within product", residuals)):
                stream = np.where(changed[:, None], values[factor][rows], values[1.0][rows])
                for peer, finds in peers().items():
                    note(peer + kind, partial(finds, reference[kind], stream))
    return found


def _ours(watch: Watch, one: Any, other: Any, changed: NDArray[np.bool_]) -> int | None:
    test = watch.start()
    for at in range(0, len(changed) - BLOCK + 1, BLOCK):
        part = slice(at, at + BLOCK)
        test.update(type(one)(*(np.where(*_either(changed[part], a[part], b[part])) for a, b in _both(other, one))))
        if test.alarms().any():
            return at + BLOCK
    return None


def table_of(name: str, column: str, found: Sequence[Found], draws: int) -> Table:
    """A line a way."""
    rows = []
    for way in dict.fromkeys(each["way"] for each in found):
        mine = [each for each in found if each["way"] == way]
        first = {factor: [each["first"] for each in mine if each["factor"] == factor] for factor in FACTORS}
        still = [each for each in mine if each["factor"] == 1.0]
        spent = sum(each["seconds"] for each in still) / sum(each["first"] or ROWS for each in still)
        lines = f"{share(first[1.0]):.0%}", told(first[1.08]), told(first[1.9]), f"{1e6 * spent:,.0f}"
        rows.append((way, *lines))
    return Table(
        f"{name}: {column} rises after {CHANGE} records; {draws} streams of {ROWS:,} records,"
        f" {found[0]['numbers']} numbers",
        ("", "false alarms", "8 %: found, delay", "1.9 times: found, delay", "us a record"),
        rows,
        f"Found: share of streams whose first alarm comes after the change; delay: median records of these. The stated"
        f" level of ours is {LEVEL:.0%} for good.",
    )


def _both(a: object, b: object) -> list[tuple[Values, Values]]:
    return [(getattr(a, each), getattr(b, each)) for each in ("codes", "residuals", "moments")]


def _either(which: NDArray[np.bool_], a: Values, b: Values) -> tuple[NDArray[np.bool_], Values, Values]:
    return (which[:, None] if a.ndim == 2 else which), a, b


def scaled(frame: pd.DataFrame, column: str, factor: float) -> pd.DataFrame:
    return frame.assign(**{column: pd.to_numeric(frame[column], errors="coerce") * factor})


def share(found: list[int | None]) -> float:
    return sum(one is not None for one in found) / len(found)


def told(found: list[int | None]) -> str:
    late = [one - CHANGE for one in found if one is not None and one > CHANGE]
    return f"{len(late) / len(found):.0%}, {statistics.median(late):.0f}" if late else "0 %"


if __name__ == "__main__":
    main()
