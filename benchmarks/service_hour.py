"""What does the service alert in an hour of a simulator's records, and why?

Records of the shape that CryptaNet's simulator sends: shipments of eight products by six suppliers, one every five
seconds, among which every twentieth has an error of a known kind. The service is started without a model, learns from
the first records, errors and all, and then judges an hour of others, one a request. Printed is how many errors of each
kind it alerted, in what words, and what it alerted besides. The fields that tell the answer are in the records, as the
simulator has them; the service must not look at them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Table
from benchmarks.service import service

Record = dict[str, Any]
Error = Callable[[Record, np.random.Generator], Record]

START = datetime(2026, 3, 2, 8, 0)
SECONDS = 5.0
EVERY = 20
"""One record in so many has an error."""

# Name, storage temperature and cost of one, usual quantity.
PRODUCTS = (
    ("Vaccine", 4.0, 20.0, 400),
    ("Insulin", 5.0, 32.0, 250),
    ("Fish", 1.0, 8.0, 600),
    ("Ice cream", -18.0, 3.5, 900),
    ("Chips", 21.0, 5.0, 1500),
    ("Laptop", 21.0, 640.0, 40),
    ("Coffee", 18.0, 11.0, 700),
    ("Paint", 15.0, 14.0, 300),
)
SUPPLIERS = (("Acme", 3), ("Borealis", 6), ("Cargo Nord", 4), ("Delta", 9), ("Eastern", 12), ("Fjord", 5))
"""Name, and usual days of delivery."""

PLACES = ("Hamburg", "Rotterdam", "Oslo", "Lyon", "Porto")


def usual(number: int, random: np.random.Generator) -> Record:
    """A record without an error."""
    kind = int(random.integers(len(PRODUCTS)))
    name, temperature, cost, quantity = PRODUCTS[kind]
    supplier, days = SUPPLIERS[int(random.integers(len(SUPPLIERS)))]
    many, each = int(random.normal(quantity, 0.12 * quantity)), round(cost * float(random.normal(1, 0.04)), 2)
    moment = START + timedelta(seconds=SECONDS * number + float(random.uniform(0, SECONDS / 2)))
    return {
        "transaction_id": f"TXN-{number:06d}",
        "timestamp": moment.isoformat(timespec="seconds"),
        "supplier": supplier,
        "product": name,
        "productId": f"P{kind + 1:03d}",
        "quantity": many,
        "cost_per_unit": each,
        "total_cost": round(many * each, 2),
        "delivery_time_days": max(1, round(float(random.normal(days, 0.15 * days)))),
        "quality_score": round(min(1.0, float(random.normal(0.93, 0.02))), 3),
        "temperature": round(temperature + float(random.normal(0, 0.6)), 2),
        "humidity": round(float(random.normal(50, 4)), 1),
        "location": PLACES[int(random.integers(len(PLACES)))],
        "batch_id": f"BATCH-{random.integers(1000, 10_000)}",
        "injected_anomaly": False,
        "anomaly_severity": "none",
    }


ERRORS: dict[str, Error] = {
    "too warm by 8 to 30 degrees": lambda r, u: {**r, "temperature": round(r["temperature"] + u.uniform(8, 30), 2)},
    "temperature in Fahrenheit": lambda r, u: {**r, "temperature": round(32 + 1.8 * r["temperature"], 2)},
    "quantity with a digit too many": lambda r, u: {
        **r,
        "quantity": 10 * r["quantity"],
        "total_cost": round(10 * r["total_cost"], 2),
    },
    "negative quantity": lambda r, u: {**r, "quantity": -r["quantity"], "total_cost": -r["total_cost"]},
    "total that is not the product": lambda r, u: {**r, "total_cost": round(r["total_cost"] * u.uniform(1.3, 3), 2)},
    "cost of another product": lambda r, u: {**r, "cost_per_unit": round(7 * r["cost_per_unit"], 2)},
    "delivery of 40 to 90 days": lambda r, u: {**r, "delivery_time_days": int(u.integers(40, 90))},
    "quality in per cent": lambda r, u: {**r, "quality_score": round(100 * r["quality_score"], 1)},
    "humidity sensor at 0": lambda r, u: {**r, "humidity": 0.0},
    "supplier misspelt": lambda r, u: {**r, "supplier": r["supplier"][:-2] + r["supplier"][-1] + r["supplier"][-2]},
    "year 2062": lambda r, u: {**r, "timestamp": "2062" + r["timestamp"][4:]},
    "product that its number does not have": lambda r, u: {**r, "productId": f"P{u.integers(900, 999)}"},
}


def records(count: int, seed: int) -> list[tuple[str, Record]]:
    """Records in the order of time, each with the kind of its error; empty where it has none."""
    random = np.random.default_rng(seed)
    made: list[tuple[str, Record]] = []
    kinds = list(ERRORS)
    for number in range(count):
        record = usual(number, random)
        kind = ""
        if number % EVERY == EVERY - 1:
            kind = kinds[(number // EVERY) % len(kinds)]
            record = {**ERRORS[kind](record, random), "injected_anomaly": True, "anomaly_severity": "high"}
        made.append((kind, record))
    return made


def ask(port: int, path: str, content: Any = None) -> Any:
    """An answer of the service."""
    data = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)) as answer:
        return json.loads(answer.read())


def main(arguments: list[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learn-from", type=int, default=1440, help="records before the hour (default: two hours)")
    parser.add_argument("--records", type=int, default=720, help="of the hour (default: 720)")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args(arguments)
    sent = records(chosen.learn_from + chosen.records, chosen.seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        service(Path(folder), "--learn-from", str(chosen.learn_from)) as (port, _),
    ):
        before = [record for _, record in sent[: chosen.learn_from]]
        ask(port, "/v1/streams/default/records", before)
        while not ask(port, "/health")["api_ready"]:
            time.sleep(0.2)
        found = [(kind, ask(port, "/detect", {"data": record})) for kind, record in sent[chosen.learn_from :]]
    print(report(found).markdown())
    print(others(found).markdown())


def report(found: list[tuple[str, Any]]) -> Table:
    """Errors of each kind: how many there were, how many were alerts, how severe, and the words of one."""
    rows = []
    for kind in ERRORS:
        mine = [answer for name, answer in found if name == kind]
        alerted = [answer for answer in mine if answer["is_anomaly"]]
        severity = f"{np.median([answer['severity'] for answer in alerted]):.0f}" if alerted else "-"
        words = alerted[0]["reasons"][0]["text"] if alerted and alerted[0]["reasons"] else "-"
        rows.append([kind, str(len(mine)), str(len(alerted)), severity, words])
    errors = [answer for kind, answer in found if kind]
    rows.append(["all", str(len(errors)), str(sum(answer["is_anomaly"] for answer in errors)), "", ""])
    return Table("Errors", ["error", "records", "alerts", "median severity", "why, of the first"], rows)


def others(found: list[tuple[str, Any]]) -> Table:
    """Alerts of records without an error."""
    mine = [answer for kind, answer in found if not kind]
    rows = [
        [f"{answer['severity']:.0f}", answer["reasons"][0]["text"] if answer["reasons"] else "-"]
        for answer in mine
        if answer["is_anomaly"]
    ]
    title = f"Alerts of the {len(mine)} records without an error: {len(rows)}"
    return Table(title, ["severity", "why"], rows)


if __name__ == "__main__":
    main()
