"""How soon is a page of the inbox there when much is kept: 100,000 alerts among 10,000,000 records, in SQLite?

Records, alerts and cases are those that a model finds in made orders, many times over, spread over a year. Each page is
asked for by HTTP, on loopback: milliseconds until its last byte is there, and of the processor. Where Chromium
and Playwright are installed, the first paint of pages too, from the moment that the browser is sent there.
"""

from __future__ import annotations

import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from functools import partial
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from sqlite3 import Connection, connect
from urllib.parse import urlencode

import psutil

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.service.processes.configuration import Configuration
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.plain_records import records_of_frame
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, machine, options, save, versions
from benchmarks.service import service

TRAINED = 2000
AN_ALERT, A_CASE = 100, 4
"""Records of which one is an alert, and alerts of a case."""
YEAR = 365 * 86_400
PAINTED = ("the inbox", "a case", "the overview", "records")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FIRST_PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  const [seen] = list.getEntriesByName("first-contentful-paint");
  if (seen) done(seen.startTime);
}).observe({ type: "paint", buffered: true }))"""

PAGES: dict[str, str] = {
    "the inbox": "/",
    "its next page": "{next}",
    "the inbox, of a supplier": "/?text={supplier}",
    "the inbox, of a text that is nowhere": "/?text=nowhere",
    "the inbox, since a week ago": "/?since={week}",
    "the resolved": "/?state=resolved",
    "a case": "/cases/{case}",
    "what stands beside its alert": "/alerts/{alert}/context",
    "the overview": "/overview",
    "the overview, a year": "/overview?days=365",
    "records": "/records",
    "a record by what its sender calls it": "/records?id=SENT-{record}",
    "why a record is no alert": "/records/{record}",
    "a stream": "/streams/default",
    "the audit": "/audit",
}
ACTIONS: tuple[tuple[str, dict[str, str]], ...] = (
    ("expected", {}),
    ("undo", {}),
    ("assign", {}),
    ("snooze", {"days": "7"}),
    ("undo", {}),
    ("comment", {"comment": "seen"}),
)


def seed(folder: Path, count: int) -> None:
    """Keep so many records in a folder, with their alerts and cases."""
    file = folder / "given.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    made = generate("realistic", TRAINED, seed=1).frame
    AnomalyDetectionAPI().fit(made).save_model(file)
    kept = Service(Configuration(folder, model=file))
    try:
        kept.intake.take("default", records_of_frame(made))
    finally:
        kept.close()
    with closing(connect(folder / "service.sqlite", isolation_level=None)) as connection:
        _multiply(connection, count)


def _multiply(connection: Connection, count: int) -> None:
    """The records, alerts and cases that are there, over and over."""
    given = {"now": time.time(), "count": count, "alerts": count // AN_ALERT, "a_case": A_CASE, "year": YEAR}
    numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {})"
    when = "strftime('%Y-%m-%dT%H:%M:%fZ', :now - :year + 1.0 * :year * {} / {}, 'unixepoch')"
    seen = when.format("i", ":alerts")
    # A third of the cases is open.
    state = "CASE WHEN {} % 3 THEN '{}' ELSE '{}' END"
    verdict = "CASE WHEN {0} % 3 THEN CASE WHEN {0} % 2 THEN 'false alarm' ELSE 'expected' END END"
    copied = {
        "cases": "cause, about, lead_column, follows, amount",
        "alerts": "risk_level, decision, reason, contributions, record, sent_id, lead_column, cause, about, amount",
        "records": "body, state, model_id, is_alert, score, decision, p_value, severity, risk_level, confidence",
    }
    for statement in ("PRAGMA synchronous=OFF", "PRAGMA foreign_keys=OFF", "PRAGMA cache_size=-500000", "BEGIN"):
        connection.execute(statement)
    for table in copied:
        # Cases are numbered as the alerts that they are made of.
        source = "SELECT a.*, a.id AS place FROM alerts a WHERE hidden_by IS NULL" if table == "cases" else ""
        source = source or f"SELECT *, id AS place FROM {table}"
        connection.execute(f"CREATE TEMP TABLE of_{table} AS {source}")
        connection.execute(f"CREATE INDEX temp.of_{table}_by_place ON of_{table} (place)")
    there = {f"of_{table}": connection.execute(f"SELECT count(*) FROM of_{table}").fetchone()[0] for table in copied}
    for table in ("records", "alerts", "cases"):
        connection.execute(f"DELETE FROM {table}")
    cases = f"""{numbers.format(":alerts / :a_case")}
        INSERT INTO cases (id, stream_id, state, verdict, first_seen, last_seen, alerts, count, severity, risk_level,
            cause, about, lead_column, amount)
        SELECT i + 1, 1, {state.format("i", "resolved", "open")}, {verdict.format("i")},
            {when.format("i * :a_case", ":alerts")}, {when.format("(i * :a_case + 3)", ":alerts")},
            :a_case, :a_case, severity * (1.0 - (i % 997) / 2000.0), risk_level,
            cause || i / 50, about, lead_column, 4 * amount
        FROM n JOIN of_cases ON place = 1 + i % {there["of_cases"]}"""
    alerts = f"""{numbers.format(":alerts")}
        INSERT INTO alerts (id, stream_id, fingerprint, state, verdict, count, first_seen, last_seen, case_id, severity,
            {copied["alerts"]})
        SELECT i + 1, 1, 'made ' || i, {state.format("(i / :a_case)", "resolved", "open")},
            {verdict.format("(i / :a_case)")}, 1, {seen}, {seen}, i / :a_case + 1,
            severity * (1.0 - (i / :a_case % 997 + i % 4) / 2000.0), {copied["alerts"]}
        FROM n JOIN of_alerts ON place = 1 + i / :a_case % {there["of_alerts"]}"""
    records = f"""{numbers.format(":count")}
        INSERT INTO records (id, stream_id, received, sent_id, alert_id, {copied["records"]})
        SELECT i + 1, 1, {when.format("i", ":count")}, printf('SENT-%d', i + 1),
            CASE WHEN i % {AN_ALERT} = 0 THEN i / {AN_ALERT} + 1 END, {copied["records"]}
        FROM n JOIN of_records ON place = 1 + i % {there["of_records"]}"""
    audit = f"""{numbers.format(":alerts")}
        INSERT INTO audit (at, who, what, subject, subject_id, after)
        SELECT {seen}, 'service', 'raise', 'alert', i + 1, '{{"state":"open"}}' FROM n"""
    judged = """INSERT INTO audit (at, who, what, subject, subject_id, before, after)
        SELECT strftime('%Y-%m-%dT%H:%M:%fZ', first_seen, '+2 hours'), 'ann', 'change', 'alert', id,
            '{"state":"open","verdict":null}', '{"state":"resolved","verdict":"' || verdict || '"}'
        FROM alerts WHERE state = 'resolved'"""
    for statement in (cases, alerts, records, audit, judged):
        connection.execute(statement, {name: given[name] for name in given if f":{name}" in statement})
    counted = "UPDATE streams SET judged = :count, alerting = :alerts, waiting = 0, refused = 0 WHERE id = 1"
    connection.execute(counted, {name: given[name] for name in ("count", "alerts")})
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


Took = tuple[float, float]
"""Milliseconds until the last byte, and of the service's processor."""


def timed(run: Callable[[], str], repeats: int, process: psutil.Process) -> Took:
    """In the middle of some runs, after one that is not counted; the processor's on average."""
    run()
    took = []
    before = sum(process.cpu_times()[:2])
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took), 1e3 * (sum(process.cpu_times()[:2]) - before) / repeats


def asked(port: int, repeats: int, process: psutil.Process) -> dict[str, Took]:
    """What each page and action took."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=600)) as connection:

        def get(path: str) -> str:
            connection.request("GET", path, headers={"Accept": "text/html"})
            return read(path)

        def post(do: str, more: dict[str, str], cases: Iterator[str]) -> str:
            sent = {"Content-Type": "application/x-www-form-urlencoded", "HX-Current-URL": f"http://127.0.0.1:{port}/"}
            connection.request("POST", "/cases", urlencode({"ids": next(cases), "do": do, **more}), sent)
            return read(do)

        def read(what: str) -> str:
            answer = connection.getresponse()
            content = answer.read().decode()
            if answer.status != 200:
                raise SystemExit(f"{what}: {answer.status} {content}")
            return content

        first = get("/")
        (case, *others) = re.findall(r'id="case-(\d+)"', first)
        (alert,) = re.findall(r'hx-get="/alerts/(\d+)/context"', get(f"/cases/{case}"))
        places = {
            "next": unescape(re.findall(r'href="([^"]+)" rel="next"', first)[0]),
            "supplier": "Grand",
            "week": (date.today() - timedelta(days=7)).isoformat(),
            "case": case,
            "alert": alert,
            "record": "777",
        }
        found = {what: timed(partial(get, path.format(**places)), repeats, process) for what, path in PAGES.items()}
        for place, (do, more) in enumerate(ACTIONS):
            # Each time another case, for what is done already costs less.
            cases = iter(others[1 : 2 + repeats])
            run = partial(post, do, more, cases)
            found[f"{place + 1}. {do}, and the inbox again"] = timed(run, repeats, process)
    return found


def painted(port: int, repeats: int) -> dict[str, float]:
    """Milliseconds until a browser shows something of a page; nothing where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return {}
    if CHROMIUM is None:
        return {}
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        for what in PAINTED:

            def paint(what: str = what) -> float:
                page.goto(f"http://127.0.0.1:{port}{PAGES[what].format(case=1)}")
                return float(page.evaluate(FIRST_PAINT))

            found[what] = statistics.median([paint() for _ in range(repeats + 1)][1:])
        browser.close()
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("inbox", __doc__)
    parser.add_argument("--records", type=int, default=10_000_000, help="records that are kept")
    parser.add_argument("--folder", type=Path, help="keep what is made here, and take it from here if it is there")
    chosen = parser.parse_args(arguments)
    count, repeats = (80_000, 1) if chosen.quick else (chosen.records, chosen.repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = chosen.folder or Path(name)
        if not (folder / "service.sqlite").exists():
            seed(folder, count)
        with service(folder) as (port, process):
            pages, paints = asked(port, repeats, process), painted(port, repeats)
    rows = [
        [what, *(f"{each:,.0f}" for each in took), f"{paints[what]:,.0f}" if what in paints else ""]
        for what, took in pages.items()
    ]
    title = (
        f"{count:,} records, {count // AN_ALERT:,} alerts, {count // AN_ALERT // A_CASE:,} cases; medians of {repeats}"
    )
    table = Table(title, ["what", "until the last byte, ms", "processor, ms", "first paint, ms"], rows)
    print(table.markdown())
    made = Result(
        "Inbox",
        str(__doc__).strip(),
        "python -m benchmarks.inbox",
        [table],
        {"pages": pages, "paints": paints},
        machine(),
        versions(["sqlalchemy", "starlette", "jinja2"]),
    )
    print(f"written to {save('inbox', made, chosen.output)}")


if __name__ == "__main__":
    main()
