"""Do clean batches of any size and density alert as often as asked?

A model trains without labels on some rows of a table, spread over its time, and judges batches of the rows between
them: at random over all of the time, and in a row, where they lie a third as dense as those trained on, as dense, or 10
or 100 times as dense. *Later* rows come after all of those trained on, of the second half of the time: where the world
has moved on meanwhile, they may alert by right. The profiles have no anomalies, and devices are 20 with three readings
of two decimals each. Air quality is judged between its hours, by readings interpolated; tables of orders are judged on
one half, in their order. A million rows are judged at once and in chunks, in a process each. --repeats is the number of
seeds.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.chunks import read_table
from anomaly_detection.synthetic import PROFILES, generate
from benchmarks.asked import ASKED
from benchmarks.harness import Result, Table, in_a_child, machine, options, save, versions
from benchmarks.processes import add_processes, spread
from benchmarks.real_tables import DATA, FILES

TRAINED = 2_000
SIZES = (100, 1_000, 10_000, 100_000)
MILLION, CHUNK = 1_000_000, 50_000
DENSITIES = (1 / 3, 1.0, 10.0, 100.0)
ROWS_OF_A_SIZE, MOST_BATCHES = 20_000, 10
TABLES = (*PROFILES, "devices", "airquality", "scms", "superstore")
TIMES = {"classic": "timestamp", "realistic": "recorded_date"}
DEVICES, READINGS = 20, {"temperature": (20.0, 3.0, 0.15), "humidity": (50.0, 6.0, 0.5), "pressure": (1013.0, 0.5, 0.1)}
"""Of a reading: its level, how far it swings in a day, and the noise."""
STEPS = 12  # of five minutes in an hour

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clean:
    """Rows to train on, and rows between them, in the order of their time.

    Attributes
    ----------
    train, others : DataFrame
    moments : ndarray of int64, shape (n_others,)
        Rows of one moment are kept or left out together where others are made less dense.
    density : float
        How many times as dense as those trained on the others are.
    """

    train: pd.DataFrame
    others: pd.DataFrame
    moments: Codes
    density: float

    def thinned(self, density: float) -> pd.DataFrame:
        """The others, so many times as dense as those trained on."""
        return self.others[self.moments % max(round(self.density / density), 1) == 0].reset_index(drop=True)


def _of_moments(frame: pd.DataFrame, is_train: npt.NDArray[np.bool_], moments: Codes) -> Clean:
    train, others = (frame[part].reset_index(drop=True) for part in (is_train, ~is_train))
    return Clean(train, others, np.unique(moments[~is_train], return_inverse=True)[1], len(others) / len(train))


def profile(name: str, rows: int, seed: int) -> Clean:
    """Rows of one world, some of them drawn to train on."""
    frame = generate(name, TRAINED + rows, seed=seed, anomaly_ratio=0.0).frame
    is_train = np.zeros(len(frame), dtype=bool)
    is_train[np.random.default_rng(seed).choice(len(frame), TRAINED, replace=False)] = True
    return _of_moments(frame, is_train, np.arange(len(frame)))


def devices(rows: int, seed: int) -> Clean:
    """Readings that swing with the day and drift, trained on once an hour."""
    rng = np.random.default_rng(seed)
    hours = TRAINED // DEVICES
    a_hour = 1 + rows // TRAINED
    days = np.arange(hours * a_hour) / (24.0 * a_hour)
    readings = {}
    for name, (level, swing, noise) in READINGS.items():
        values = level + rng.normal(0.0, 2.0, DEVICES) + np.zeros((len(days), 1))
        values += swing * np.sin(2 * np.pi * (days[:, None] + rng.random(DEVICES)))
        for period in (2.0, 4.0, 8.0):
            turns = days[:, None] / period + rng.random(DEVICES)
            values += swing / 2 * rng.normal(size=DEVICES) * np.sin(2 * np.pi * turns)
        readings[name] = np.round(values + rng.normal(0.0, noise, values.shape), 2).ravel()
    moments = np.repeat(np.arange(len(days)), DEVICES)
    moment = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(days * 86_400), unit="s")
    device = np.tile([f"D{i:02d}" for i in range(DEVICES)], len(days))
    frame = pd.DataFrame({"time": moment.repeat(DEVICES), "device": device, **readings})
    return _of_moments(frame, moments % a_hour == 0, moments)


def interpolated(folder: Path) -> Clean:
    """Hours of air quality to train on, and what lies on straight lines between them, with as many decimals."""
    hours = read_table(folder / FILES["airquality"], print)
    hours = hours.loc[hours["Date"].notna(), hours.notna().any()].reset_index(drop=True)
    texts = hours.drop(columns=["Date", "Time"]).astype(str)
    numbers = texts.apply(lambda column: pd.to_numeric(column.str.replace(",", "."))).replace(-200, np.nan)
    decimals = texts.apply(lambda column: column.str.split(",").str[1].fillna("").str.len().quantile(0.9)).astype(int)
    places = np.arange(0, len(hours) - 1 + 0.5 / STEPS, 1 / STEPS)
    first, after = np.floor(places + 1e-9).astype(int), np.ceil(places - 1e-9).astype(int)
    part = (places - first)[:, None]
    values = numbers.to_numpy()[first] * (1 - part) + numbers.to_numpy()[after] * part
    begins = pd.to_datetime(hours["Date"] + " " + hours["Time"], format="%d/%m/%Y %H.%M.%S")
    moment = begins.to_numpy()[first] + (part[:, 0] * 3_600).round().astype("timedelta64[s]")
    made = {"time": pd.Series(moment).astype(str)}
    for name, column in zip(numbers, values.T, strict=True):
        shown = pd.Series(column).map(f"{{:.{decimals[name]}f}}".format).str.replace(".", ",")
        made[name] = shown.where(~np.isnan(column), "-200")
    return _of_moments(pd.DataFrame(made), np.arange(len(places)) % STEPS == 0, np.arange(len(places)))


def halved(name: str, folder: Path, seed: int) -> Clean:
    """A table's rows, a random half to train on."""
    frame = read_table(folder / FILES[name], print)
    is_train = np.random.default_rng(seed).permutation(len(frame)) % 2 == 0
    return _of_moments(frame.loc[:, frame.notna().any()], is_train, np.arange(len(frame)))


def clean(name: str, folder: Path, rows: int, seed: int) -> Clean:
    """The rows of a table by its name, up to so many others."""
    if name in PROFILES:
        return profile(name, rows, seed)
    if name == "devices":
        return devices(rows, seed)
    return interpolated(folder) if name == "airquality" else halved(name, folder, seed)


def batches(rows: pd.DataFrame, size: int, in_a_row: bool, seed: int) -> Iterator[pd.DataFrame]:
    """Some batches of a size, none where there are too few rows."""
    rng = np.random.default_rng(seed)
    for _ in range(int(np.clip(ROWS_OF_A_SIZE // size, 1, MOST_BATCHES)) if len(rows) >= size else 0):
        first = int(rng.integers(len(rows) - size + 1))
        places = np.arange(first, first + size) if in_a_row else np.sort(rng.choice(len(rows), size, replace=False))
        yield rows.iloc[places].reset_index(drop=True)


def alerts(api: AnomalyDetectionAPI, frame: pd.DataFrame) -> float:
    """The share of rows that alert."""
    return float((api.predict(frame)[0] == -1).mean())


def shares(name: str, folder: Path, sizes: Sequence[int], rows: int, seed: int) -> list[dict[str, Any]]:
    """The mean share of each kind of batches of a table with so many other rows, by one model."""
    made = clean(name, folder, rows, seed)
    found: list[dict[str, Any]] = []

    def judge(model: AnomalyDetectionAPI, what: str, rows: pd.DataFrame, in_a_row: bool) -> None:
        for size in sizes:
            each = [alerts(model, batch) for batch in batches(rows, size, in_a_row, seed)]
            if each:
                found.append({"table": name, "seed": seed, "what": what, "size": size, "share": float(np.mean(each))})

    api = AnomalyDetectionAPI(seed=seed, anomaly_ratio=ASKED).fit(made.train)
    judge(api, "at random", made.others, False)
    for density in DENSITIES:
        if density <= 1.01 * made.density:
            judge(api, f"in a row, density {density:.3g}", made.thinned(density), True)
    if name in PROFILES:
        both = pd.concat([made.train, made.thinned(1.0)]).sort_values(TIMES[name], kind="stable")
        half = len(both) // 2
        before = AnomalyDetectionAPI(seed=seed, anomaly_ratio=ASKED).fit(both.iloc[:half].reset_index(drop=True))
        for what, in_a_row in (("later, at random", False), ("later, in a row", True)):
            judge(before, what, both.iloc[half:], in_a_row)
    return found


def table_of(found: Sequence[Mapping[str, Any]]) -> Table:
    """The mean share over the seeds, a line a kind of batches, with those of the seeds with least and most."""
    sizes = sorted({one["size"] for one in found})
    rows = []
    for name, what in dict.fromkeys((one["table"], one["what"]) for one in found):
        cells = []
        for size in sizes:
            each = [one["share"] for one in found if (one["table"], one["what"], one["size"]) == (name, what, size)]
            cells.append(f"{np.mean(each):.1%} ({min(each):.1%} to {max(each):.1%})" if each else "-")
        rows.append([f"{name}, {what}", *cells])
    return Table("Alerts by size and order of the batch", ["rows", *(f"{size:,} rows" for size in sizes)], rows)


def child(name: str, rows: int, chunk: int) -> dict[str, float]:
    """Judge so many rows in chunks: their share of alerts, processor seconds, and what memory grew by, in megabytes."""
    made = clean(name, DATA, rows, 0)
    others = made.others.head(rows)
    api = AnomalyDetectionAPI(seed=0, anomaly_ratio=ASKED).fit(made.train)
    parts = [others.iloc[first : first + chunk] for first in range(0, rows, chunk)]
    before, used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    share = float(np.mean(np.concatenate([verdicts for verdicts, _ in api.predict_batches(parts)]) == -1))
    seconds = time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"share": share, "seconds": seconds, "megabytes": (peak - before) / 1024}


def at_once_and_in_chunks(names: Sequence[str], rows: int) -> tuple[Table, dict[str, Any]]:
    """So many rows of tables that can be made as long as one wants."""
    cases = [(name, size) for name in names for size in (rows, CHUNK)]
    measured = {f"{name}, {size:,} at a time": in_a_child("batches", name, rows, size) for name, size in cases}
    lines = [
        [what, f"{one['share']:.1%}", f"{one['seconds']:.0f}", f"{one['megabytes']:.0f}"]
        for what, one in measured.items()
    ]
    return Table(f"{rows:,} rows", ["rows", "alerts", "processor s", "MB added"], lines), measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, or one case of a million rows in a child."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["--child"]:
        print(json.dumps(child(given[1], int(given[2]), int(given[3]))))
        return
    parser = options("batches", __doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="which tables (all)")
    parser.add_argument("--most", type=int, default=MILLION, help="rows at once, 0: none of these cases (%(default)s)")
    add_processes(parser)
    chosen = parser.parse_args(given)
    measured: dict[str, Any] = {}
    seeds, sizes, rows, most = chosen.repeats, SIZES, TRAINED * round(DENSITIES[-1]), chosen.most
    if chosen.quick:
        seeds, sizes, rows, most = 1, SIZES[:1], TRAINED, 0
    facts, names = machine(), []
    for name in chosen.tables:
        if name in FILES and not (chosen.data / FILES[name]).is_file():
            print(f"{name} skipped: {FILES[name]} is not in the folder of data", flush=True)
        else:
            names.append(name)
    tasks = [(name, chosen.data, sizes, rows, seed) for name in names for seed in range(seeds)]
    found = [one for each in spread(shares, tasks, chosen.processes) for one in each]
    if not found:
        print("no table is left to measure", flush=True)
        return
    shown = [table_of(found)]
    if most:
        table, measured = at_once_and_in_chunks([name for name in names if name not in FILES], most)
        shown.append(table)
    about = (
        f"{ASKED:.0%} were asked for. Trained on {TRAINED:,} rows of each synthetic table, on the hours of air quality "
        f"and on half of the tables of orders. Mean over seeds 0 to {seeds - 1}, in brackets the seeds with least and "
        f"most; of a seed the mean of up to {MOST_BATCHES} batches."
    )
    result = Result(
        "Clean batches",
        about,
        "python -m benchmarks.batches",
        shown,
        {"shares": found, "millions": measured},
        facts,
        versions(["numpy", "pandas", "scikit-learn"]),
    )
    print(result.markdown())
    save("batches", result, chosen.output)


if __name__ == "__main__":
    main()
