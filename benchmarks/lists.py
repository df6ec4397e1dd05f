"""How long does the service take for a page of its lists, and for a change, when much is kept?

A database in SQLite is filled with records, alerts (one for a hundred records) and cases (one for four alerts), and
each question is asked several times in this process: seconds until the answer is there, without the way of HTTP.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from anomaly_detection.service.access.rights import ROLES, Caller
from anomaly_detection.service.http.openapi import OPERATIONS
from anomaly_detection.service.http.operations import Call
from anomaly_detection.service.processes.configuration import Configuration
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.tables import alerts, cases, records
from benchmarks.harness import Result, Table, machine, options, save, versions

AT_ONCE = 20_000
CALLER = Caller("benchmark", ROLES["admin"])
FIELDS = {"supplier": "Supplier B", "product": "Vaccine", "lead_time": 95, "order_quantity": 540, "price": 21.4}
RUNS = {(each.method, each.path): each for each in OPERATIONS}

QUESTIONS: dict[str, tuple[str, str, dict[str, Any], Any]] = {
    "cases, the worst first": ("GET", "/v1/cases", {}, None),
    "cases of a state and a stream": ("GET", "/v1/cases", {"state": "unresolved", "stream": "default"}, None),
    "cases about a text": ("GET", "/v1/cases", {"text": "column 77 "}, None),
    "one case": ("GET", "/v1/cases/{id}", {}, None),
    "alerts, the newest first": ("GET", "/v1/alerts", {}, None),
    "alerts, the worst first": ("GET", "/v1/alerts", {"sort": "severity"}, None),
    "alerts with a text": ("GET", "/v1/alerts", {"text": "nowhere"}, None),
    "alerts of a supplier": ("GET", "/v1/alerts", {"has": ["supplier=Supplier B"]}, None),
    "records, the newest first": ("GET", "/v1/records", {}, None),
    "records of a day": ("GET", "/v1/records", {"since": "2026-06-01", "until": "2026-06-02"}, None),
    "records that are alerts, of a stream": ("GET", "/v1/records", {"is_alert": "true", "stream": "default"}, None),
    "refused records": ("GET", "/v1/records", {"state": "refused"}, None),
    "another threshold": ("GET", "/v1/streams/{name}/threshold", {"anomaly_ratio": 0.01}, None),
    "a case closed": ("PATCH", "/v1/cases/{id}", {}, {"state": "resolved", "verdict": "expected"}),
    "and opened again": ("PATCH", "/v1/cases/{id}", {}, {"undo": True}),
}


def moment(place: int, count: int) -> str:
    """Evenly over a year."""
    day = 365 * place // count
    return f"2026-{day // 31 + 1:02d}-{day % 28 + 1:02d}T{place % 24:02d}:00:00.000Z"


def parts(count: int, row: Callable[[int], dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows, some at a time."""
    for first in range(0, count, AT_ONCE):
        yield [row(place) for place in range(first, min(first + AT_ONCE, count))]


def fill(connection: Connection, count: int) -> None:
    """Keep `count` records, with their alerts and cases."""
    body = json.dumps(FIELDS, separators=(",", ":"))
    n_alerts, n_cases = count // 100, count // 400
    common = {"stream_id": 1, "lead_column": "lead_time", "risk_level": "low", "state": "open"}

    def case(place: int) -> dict[str, Any]:
        seen = moment(place, n_cases)
        totals = {"alerts": 4, "count": 4, "severity": float(place % 100), "first_seen": seen, "last_seen": seen}
        return {**common, **totals, "cause": str(place), "about": f"column {place} is high"}

    def alert(place: int) -> dict[str, Any]:
        seen = moment(place, n_alerts)
        said = {"reason": "lead_time 95 is high", "contributions": "[]", "record": body, "decision": -0.1}
        seen_twice = {"first_seen": seen, "last_seen": seen, "severity": float(place % 100), "count": 1}
        case_id = place * n_cases // n_alerts + 1
        return {**common, **said, **seen_twice, "fingerprint": str(place), "case_id": case_id}

    def record(place: int) -> dict[str, Any]:
        alert_id = place // 100 + 1 if place % 100 == 0 and place // 100 < n_alerts else None
        judged = {"state": "judged", "is_alert": alert_id is not None, "p_value": 0.5, "alert_id": alert_id}
        return {"stream_id": 1, "received": moment(place, count), "sent_id": str(place), "body": body, **judged}

    for table, number, row in ((cases, n_cases, case), (alerts, n_alerts, alert), (records, count, record)):
        for some in parts(number, row):
            connection.execute(insert(table), some)


def ask(service: Service, method: str, path: str, query: dict[str, Any], content: Any) -> bytes:
    """One question, as a request would ask it; gives the answer's body."""
    operation = RUNS[method, path]
    written = [
        (name, str(each)) for name, value in query.items() for each in (value if type(value) is list else [value])
    ]
    call = Call({"id": 7, "name": "default"}, operation.read_query(written), CALLER, {}, b"", content)
    return bytes(operation.run(service, call).body)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("lists", __doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="records that are kept")
    chosen = parser.parse_args(arguments)
    count, repeats = (4_000, 1) if chosen.quick else (chosen.records, chosen.repeats)
    took: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    with tempfile.TemporaryDirectory() as name:
        service = Service(Configuration(Path(name)))
        try:
            with service.database.writing() as connection:
                fill(connection, count)
            for number in range(repeats + 1):
                for what, question in QUESTIONS.items():
                    began = time.perf_counter()
                    ask(service, *question)
                    # The first round warms up.
                    if number:
                        took[what].append(time.perf_counter() - began)
        finally:
            service.close()
    found = {what: statistics.median(times) for what, times in took.items()}
    rows = [[what, f"{seconds * 1e3:,.1f}"] for what, seconds in found.items()]
    title = f"{count:,} records, {count // 100:,} alerts, {count // 400:,} cases; medians of {repeats} runs"
    table = Table(title, ["what", "ms"], rows)
    print(table.markdown())
    made = Result(
        "Lists of the service",
        str(__doc__).strip(),
        "python -m benchmarks.lists",
        [table],
        found,
        machine(),
        versions(["sqlalchemy", "orjson"]),
    )
    print(f"written to {save('lists', made, chosen.output)}")


if __name__ == "__main__":
    main()
