"""Series: is each labelled failure of NAB's two series alerted, and how often is there an alert for nothing?

    python -m benchmarks.nab [--data DATA]

DATA holds `nab/` and `airquality/`. A reading whose score reaches the threshold begins an alert, unless there was such
a reading within the day before. An alert that begins in no labelled window is false; a window is found if a reading in
it reaches the threshold. All ways see readings in their order, and none after the one that they judge. What `Course`
looks at, and its threshold (as improbable as one reading in those of two weeks), were chosen on the synthetic series
and air quality; the thresholds of the baselines are those with as many alerts there. NAB was looked at three times:
first; when hours had got their bounds right and one odd reading was no longer odd twice; and when readings of one hour
had become one chance for it to be odd, which was chosen on the others. docs/learning.md has what each look gave.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomaly_detection.features.series.course import NAMES, Course, alert_level
from benchmarks.harness import FOLDER, Result, Table, machine, save, versions
from benchmarks.planted_series import ERRORS, Readings, air_quality, planted, synthetic
from benchmarks.real_tables import DATA

Floats = NDArray[np.float64]

NAB = ("ambient_temperature_system_failure", "machine_temperature_system_failure")
OURS = "course"
_APART = 1.0
_WEEK = 7.0
_LEAST = 1e-9
_SYNTHETIC = 10


def course(series: Readings) -> Floats:
    """Evidence beside what an alert takes: 1 is the threshold."""
    followed = Course.of(series.times)
    return followed.follow(series.times, series.values).evidence / alert_level(followed.between)


def _rows(series: Readings, days: float) -> int:
    return max(round(days / float(np.median(np.diff(series.times)))), 3)


def robust_z(series: Readings) -> Floats:
    """How many robust deviations a reading lies from the median of the day before it."""
    values, rows = pd.Series(series.values), _rows(series, 1.0)
    middle = values.rolling(rows, min_periods=rows // 2).median()
    away = (values - middle).abs().rolling(rows, min_periods=rows // 2).median()
    scores = (values - middle.shift()).abs() / (1.4826 * away.shift()).clip(lower=_LEAST)
    return scores.fillna(0.0).to_numpy()


def seasonal_naive(series: Readings) -> Floats:
    """How far a reading lies from that of a day before, beside the median of such distances of the week before."""
    values = pd.Series(series.values)
    before = np.searchsorted(series.times, series.times - 1.0 + _LEAST, side="right") - 1
    away = (values - values.to_numpy()[np.maximum(before, 0)]).abs().where(before >= 0)
    rows = _rows(series, _WEEK)
    usual = away.rolling(rows, min_periods=rows // 7).median().shift()
    return (away / (1.4826 * usual).clip(lower=_LEAST)).fillna(0.0).to_numpy()


WAYS: Mapping[str, Callable[[Readings], Floats]] = {
    OURS: course,
    "rolling robust z": robust_z,
    "seasonal naive": seasonal_naive,
}


def starts(series: Readings, scores: Floats, threshold: float) -> Floats:
    """When alerts begin."""
    when = series.times[scores >= threshold]
    return when[np.diff(when, prepend=-np.inf) > _APART]


def outcome(series: Readings, scores: Floats, threshold: float) -> dict[str, Any]:
    """Windows found of how many, false alerts, and the weeks outside of windows."""
    begun = starts(series, scores, threshold)
    within = np.zeros(len(begun), dtype=bool)
    found, wrong = [], 0.0
    for first, last in series.wrong:
        within |= (begun >= first) & (begun <= last)
        inside = (series.times >= first) & (series.times <= last)
        found.append(bool((scores[inside] >= threshold).any()))
        wrong += last - first
    weeks = (float(series.times[-1] - series.times[0]) - wrong) / _WEEK
    return {"found": sum(found), "windows": len(found), "false": int((~within).sum()), "weeks": weeks}


def total(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of several series together."""
    return {name: sum(each[name] for each in outcomes) for name in outcomes[0]}


def a_week(told: Mapping[str, Any]) -> float:
    return float(told["false"]) / float(told["weeks"])


def threshold_of(series: Sequence[Readings], scores: Sequence[Floats], most: float) -> float:
    """The lowest threshold with at most so many alerts a week on series in which nothing is known to be wrong."""
    candidates = np.unique(np.quantile(np.concatenate(scores), np.linspace(0.9, 1.0, 400)))
    for threshold in candidates.tolist():
        if a_week(total([outcome(*each, threshold) for each in zip(series, scores, strict=True)])) <= most:
            return float(threshold)
    return float(candidates[-1])


def highest_finding_all(series: Readings, scores: Floats) -> float:
    """The highest threshold at which each window is found, known only when all is over."""
    inside = [(series.times >= first) & (series.times <= last) for first, last in series.wrong]
    return min(float(scores[each].max()) for each in inside)


def nab(folder: Path) -> list[Readings]:
    """The two series with their windows."""
    windows = json.loads((folder / "windows.json").read_text("utf-8"))
    found = []
    for name in NAB:
        frame = pd.read_csv(folder / f"{name}.csv", parse_dates=["timestamp"]).sort_values("timestamp", kind="stable")
        start = pd.Timestamp("2013-01-01")
        days = ((frame["timestamp"] - start).dt.total_seconds() / 86_400).to_numpy()
        wrong = [
            tuple((pd.Timestamp(end) - start).total_seconds() / 86_400 for end in each)
            for each in windows[f"{name}.csv"]
        ]
        found.append(Readings(name, days, frame["value"].to_numpy(dtype=np.float64), tuple(wrong)))  # type: ignore[arg-type]
    return found


def sentences(series: Readings) -> list[str]:
    """What is said when each of our alerts begins."""
    judged = Course.of(series.times).follow(series.times, series.values)
    level = alert_level(judged.between)
    rows = np.searchsorted(series.times, starts(series, judged.evidence, level))
    told = []
    for row in rows.tolist():
        row += int(judged.evidence[row] < level)
        moment = pd.Timestamp("2013-01-01") + pd.Timedelta(days=float(series.times[row]))
        inside = any(first <= series.times[row] <= last for first, last in series.wrong)
        way = NAMES[int(judged.nats[row].argmax())]
        told.append(
            f"{moment:%Y-%m-%d %H:%M} {'in a window' if inside else 'false'} ({way}): {judged.sentence(row, 'value')}"
        )
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    parser.add_argument("--synthetic", type=int, default=_SYNTHETIC, help="synthetic series of each pace (%(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for RESULTS.md and results/ (%(default)s)")
    given = parser.parse_args(arguments)
    usual = list(synthetic(given.synthetic))
    air = given.data / "airquality/AirQualityUCI.csv"
    if air.is_file():
        usual += air_quality(air)
    else:
        print(f"air quality skipped: {air} is not there", flush=True)
    scored = {way: [score(each) for each in usual] for way, score in WAYS.items()}
    most = a_week(total([outcome(*each, 1.0) for each in zip(usual, scored[OURS], strict=True)]))
    thresholds = {way: threshold_of(usual, scored[way], most) for way in WAYS} | {OURS: 1.0}
    measured: dict[str, Any] = {"thresholds": thresholds, "chosen on": {}, "nab": {}}
    chosen_on = []
    for way, score in WAYS.items():
        still = [outcome(*each, thresholds[way]) for each in zip(usual, scored[way], strict=True)]
        found = {}
        for error in ERRORS:
            wrong = [planted(each, error, seed) for seed, each in enumerate(usual)]
            found[error] = float(np.mean([outcome(one, score(one), thresholds[way])["found"] for one in wrong]))
        measured["chosen on"][way] = {"false a week": a_week(total(still)), **found}
        chosen_on.append([way, f"{a_week(total(still)):.2f}", *(f"{share:.0%}" for share in found.values())])
    shown = [
        Table(
            f"What was chosen by: {len(usual)} series, each with one error of a kind",
            ["", "false alerts a week", *ERRORS],
            chosen_on,
            "Found: an alert from the error's first reading to the one after its last.",
        )
    ]
    if (given.data / "nab" / "windows.json").is_file():
        rows = []
        for series in nab(given.data / "nab"):
            for way, score in WAYS.items():
                began = time.process_time()
                scores = score(series)
                spent = time.process_time() - began
                told = outcome(series, scores, thresholds[way])
                after = a_week(outcome(series, scores, highest_finding_all(series, scores)))
                measured["nab"][f"{series.name}, {way}"] = {**told, "false a week, all found": after}
                windows = f"{told['found']} of {told['windows']}"
                speed = f"{len(scores) / max(spent, _LEAST):,.0f}"
                rows.append(
                    [series.name, way, windows, f"{told['false']}", f"{a_week(told):.2f}", f"{after:.2f}", speed]
                )
            measured["nab"][f"{series.name}, sentences"] = sentences(series)
        columns = ["series", "", "windows found", "false alerts", "a week", "a week, all found", "readings a second"]
        note = "All found: by the threshold that would have found every window, which nobody knows before."
        shown.append(Table("NAB", columns, rows, note))
    else:
        print(f"NAB skipped: {given.data / 'nab'} is not there", flush=True)
    result = Result(
        "Series",
        "Alerts on labelled failures and for nothing, by what a series did before. As many alerts a week as ours has on"
        " the series that were chosen by are allowed to each.",
        "python -m benchmarks.nab",
        shown,
        measured,
        machine(),
        versions(["numpy", "numba", "pandas"]),
    )
    print(result.markdown())
    save("nab", result, given.output)


if __name__ == "__main__":
    main()
