"""What does learning bring to whoever looks at ten alerts a week? A stream of orders, triaged for four weeks.

A world is 3,600 records of the `realistic` profile in the order in which they reached the books, 300 a week: eight
weeks to learn from, and four that the service judges as they come, day by day. From the first of these on, the lead
times of the largest supplier creep up to 1.6 times what they were; from the second on, all prices are 8 % higher; from
the third on, a third of what went to the largest destination goes to a new one, 1.3 times as far. Wrong are, in all
weeks, 1 % of the records by the profile and 3 % by errors that were put in (`RECORD_ERRORS`).

Every day an analyst looks at the new open alerts in the order in which they came, until ten of the week were looked at,
and says what each is: *real* where the record is wrong, *expected* where it is about a column that one of the changes
above shows in, *false alarm* elsewhere. Once nothing follows from that; once the verdicts teach, and nothing else is
done; and once, with all of it, rules that the service proposes are made too, every column that it says has changed is
declared the new normal, and at the end of a week a challenger is trained, which takes over where it is not worse.
Counted besides are the alerts of a week, those that are neither hidden nor closed at its end, and how many of the ten
worst of these are wrong.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from starlette.testclient import TestClient

from anomaly_detection.data.columns.schema import infer_schema
from anomaly_detection.evaluation.injection import inject
from anomaly_detection.evaluation.record_errors import RECORD_ERRORS
from anomaly_detection.service.http.app import make_app
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.worker import work
from anomaly_detection.service.processes.configuration import Configuration
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.plain_records import records_of_frame
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, machine, options, save, versions
from benchmarks.plots import draw_counts
from benchmarks.processes import add_processes, spread

WEEK, LEARNED, WEEKS, LOOKS = 300, 8, 4, 10
DAYS = 7
IN_ALL = 104 * WEEK
OWN, PUT_IN = 0.01, 0.03
SLOWER, DEARER, FARTHER, NEW = 1.6, 1.08, 1.3, "Gdansk"
STREAM = "/v1/streams/default"
REAL, EXPECTED, FALSE = "real: fixed", "expected", "false alarm"
SHOWN_IN = (
    ("lead_time", "delivery_date", "ship_date", "recorded_date"),
    ("unit_price", "order_value"),
    ("destination", "distance_km", "transportation_cost"),
)
"""The columns that each change shows in."""

WAYS = ("nothing", "verdicts", "all")


def world(seed: int) -> tuple[pd.DataFrame, list[set[str] | None]]:
    """The records, and of each the columns that a change shows in; None where it is wrong."""
    made = generate("realistic", IN_ALL, seed=seed, anomaly_ratio=OWN)
    first = (10 + 13 * (seed % 5)) * WEEK
    rows = np.arange(first, first + (LEARNED + WEEKS) * WEEK)
    frame, wrong = made.frame.iloc[rows].reset_index(drop=True), made.labels[rows] == -1
    frame, changes = with_changes(frame, np.random.default_rng(seed))
    order = np.argsort(frame["recorded_date"].to_numpy(), kind="stable")
    frame, wrong, changes = frame.iloc[order].reset_index(drop=True), wrong[order], changes[order]
    put_in = inject(frame, infer_schema(frame), kinds=tuple(RECORD_ERRORS), share=PUT_IN, seed=seed)
    wrong |= put_in.labels == -1
    columns = [{name for which in np.flatnonzero(row) for name in SHOWN_IN[which]} for row in changes]
    return put_in.frame, [None if is_wrong else each for is_wrong, each in zip(wrong, columns, strict=True)]


def with_changes(frame: pd.DataFrame, random: np.random.Generator) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """The changes of the four weeks, and of which records each is, shape (n, 3)."""
    frame = frame.copy()
    week = np.arange(len(frame)) / WEEK - LEARNED
    late = (frame["supplier"] == frame["supplier"].mode()[0]).to_numpy() & (week >= 0)
    longer = (frame["lead_time"] * (1 + (SLOWER - 1) * week / WEEKS)).round().astype(np.int64)
    delay = pd.to_timedelta((longer - frame["lead_time"]).where(late, 0), unit="D")
    frame["lead_time"] = longer.where(late, frame["lead_time"])
    for name in ("delivery_date", "recorded_date"):
        frame[name] += delay
    dear = week >= 1
    frame.loc[dear, "unit_price"] = (frame["unit_price"] * DEARER).round(2)
    value = (frame["order_quantity"] * frame["unit_price"]).round(2)
    # What the profile made wrong in a value stays so.
    frame.loc[dear, "order_value"] = value.where(value.notna(), frame["order_value"])
    moved = (frame["destination"] == frame["destination"].mode()[0]).to_numpy() & (week >= 2)
    moved &= random.random(len(frame)) < 1 / 3
    frame.loc[moved, "destination"] = NEW
    frame.loc[moved, "distance_km"] = (frame["distance_km"] * FARTHER).round().astype(np.int64)
    frame.loc[moved, "transportation_cost"] = (frame["transportation_cost"] * FARTHER).round(2)
    return frame, np.column_stack([late, dear, moved])


class Office:
    """A service, and who looks at its alerts."""

    def __init__(self, folder: Path, way: str = "nothing") -> None:
        self.service = Service(Configuration(folder, learn_from=LEARNED * WEEK))
        self.client = TestClient(make_app(self.service), "http://127.0.0.1")
        self.way = way
        self.truth: dict[int, set[str] | None] = {}
        self.looked: list[str] = []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.client.request(method, path, json=body)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.text}")
        return answer.json()

    def work(self) -> None:
        """Do all jobs."""
        work(self.service.database, self.service.configuration.models_dir, "here")
        self.service.reload()

    def take(self, records: Sequence[Incoming], truth: Sequence[set[str] | None]) -> None:
        """Have the records of a day judged."""
        answer = self.ask("POST", f"{STREAM}/records", [each.fields for each in records])
        for alert in answer["alerts"]:
            self.truth.setdefault(alert["alert_id"], truth[alert["row"] - 1])

    def day(self) -> None:
        """Look at the new alerts, as long as there is time this week."""
        if self.way == "all":
            with self.service.database.writing() as connection:
                jobs.add_job(connection, "watch", 1)
            self.work()
            pressed: set[str] = set()
            # One press may settle more columns than its own.
            while new := {each["column"] for each in self.ask("GET", f"{STREAM}/drift")["changes"]} - pressed - {None}:
                column = min(new)
                self.ask("POST", f"{STREAM}/drift", {"column": column, "action": "normal"})
                pressed.add(column)
        while len(self.looked) < LOOKS and (alerts := self.open()):
            self.judge(min(alerts, key=lambda each: each["id"]))
        if self.way == "verdicts":
            self.service.reload()
        if self.way == "all":
            for rule in self.ask("GET", f"{STREAM}/learning")["rules"]:
                made = {"stream": "default", "column": rule["column"], "reason": "as proposed"}
                self.ask("POST", "/v1/rules", {**made, **({"where": rule["where"]} if rule["where"] else {})})

    def open(self) -> list[dict[str, Any]]:
        """The week's alerts that are neither closed nor hidden."""
        found = self.ask("GET", "/v1/alerts?state=open&limit=500")["alerts"]
        return [each for each in found if each["id"] in self.truth]

    def judge(self, alert: Mapping[str, Any]) -> None:
        """Say what an alert is."""
        columns = self.truth[alert["id"]]
        self.looked.append(
            REAL if columns is None else EXPECTED if any(name in alert["about"] for name in columns) else FALSE
        )
        self.ask("PATCH", f"/v1/alerts/{alert['id']}", {"state": "resolved", "verdict": self.looked[-1]})

    def end_week(self, is_last: bool) -> dict[str, Any]:
        """What the week was like; then train for the next."""
        left = sorted(self.open(), key=lambda each: -each["severity"])
        wrong = [self.truth[each["id"]] is None for each in left]
        found = {"looked": self.looked, "alerts": len(self.truth), "left": len(left), "left_wrong": sum(wrong)}
        found["worst"] = sum(wrong[:LOOKS])
        self.truth, self.looked = {}, []
        if self.way == "all" and not is_last:
            self.ask("POST", f"{STREAM}/train?challenge=true")
            self.work()
            newest = self.ask("GET", f"{STREAM}/models")["models"][0]
            found["trained"], found["promoted"] = newest["comparison"]["text"], newest["is_current"]
        return found


def weeks_of(seed: int, ways: Sequence[str] = WAYS) -> list[dict[str, Any]]:
    """Of a world, an entry a way and week."""
    frame, truth = world(seed)
    records = records_of_frame(frame)
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        begun = Path(folder) / "begun"
        office = Office(begun)
        office.take(records[: LEARNED * WEEK], truth[: LEARNED * WEEK])
        office.work()
        with office.service.database.writing() as connection:
            for number in jobs.unjudged(connection):
                jobs.add_job(connection, "judge", number)
        office.work()
        office.service.close()
        for way in ways:
            here = Path(folder) / way
            shutil.copytree(begun, here)
            office = Office(here, way)
            office.ask("PATCH", STREAM, {"learns": way != "nothing", "promote": "not worse"})
            for week in range(WEEKS):
                first = (LEARNED + week) * WEEK
                for day in np.array_split(np.arange(first, first + WEEK), DAYS):
                    office.take([records[place] for place in day], [truth[place] for place in day])
                    office.day()
                measured.append({"seed": seed, "way": way, "week": week + 1, **office.end_week(week == WEEKS - 1)})
                print(measured[-1], flush=True)
            office.service.close()
    return measured


def by_week(measured: Sequence[Mapping[str, Any]], title: str, of: Callable[[Mapping[str, Any]], float]) -> Table:
    """Means over the worlds, the least and the most."""
    rows = []
    for way in WAYS:
        cells, mine = [], [entry for entry in measured if entry["way"] == way]
        for week in range(1, WEEKS + 1):
            values = [of(entry) for entry in mine if entry["week"] == week]
            cells.append(f"{np.mean(values):.1f} ({min(values):.0f} to {max(values):.0f})")
        rows.append([way, *cells, f"{np.mean([of(entry) for entry in mine]):.1f}"])
    return Table(title, ["what follows", *(f"week {week}" for week in range(1, WEEKS + 1)), "mean"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("weeks", __doc__)
    add_processes(parser)
    given = parser.parse_args(arguments)
    worlds = 1 if given.quick else given.repeats
    facts = machine()
    found = spread(weeks_of, [(seed,) for seed in range(worlds)], given.processes)
    measured = [entry for each in found for entry in each]
    points = {
        name: [
            (week, float(np.mean([real(each) for each in measured if (each["way"], each["week"]) == (way, week)])))
            for week in range(1, WEEKS + 1)
        ]
        for way, name in zip(WAYS, ("nothing follows", "verdicts alone", "mlx_iforest: all of it"), strict=True)
    }
    draw_counts(points, "week", f"errors among the first {LOOKS} alerts of a week", given.output / "results/weeks.png")
    tables = [
        by_week(measured, f"Errors among the first {LOOKS} alerts of a week", real),
        by_week(measured, f"Errors among the {LOOKS} worst that are left open at its end", lambda each: each["worst"]),
        by_week(measured, "Alerts of the week", lambda each: each["alerts"]),
        by_week(measured, "Of these left open", lambda each: each["left"]),
        by_week(measured, "Errors among those left open", lambda each: each["left_wrong"]),
    ]
    about = (
        f"{WEEK} orders a week of the realistic profile, 4 % of them wrong. From week 1 on a supplier drifts, from"
        " week 2 on prices are 8 % higher, from week 3 on a destination is new. An analyst looks at the first"
        f" {LOOKS} alerts of a week. Worlds 0 to {worlds - 1}; in brackets the least and the most. What was mended was"
        " chosen on worlds 101 and 102."
    )
    result = Result(
        "Four weeks",
        about,
        "python -m benchmarks.weeks",
        tables,
        measured,
        facts,
        versions(["numpy", "scikit-learn"]),
        {"results/weeks.png": "Errors among the first ten alerts of each week"},
    )
    print(result.markdown())
    save("weeks", result, given.output)


def real(entry: Mapping[str, Any]) -> float:
    """How many of what was looked at were wrong."""
    return float(entry["looked"].count(REAL))


if __name__ == "__main__":
    main()
