"""A kill -9 at any moment: every record that was answered is there, none twice, and the database is whole."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from service_example import RECORDS, client_of, hot, model_file, resting, simulated, started

CLIENTS = 6


def load(url: str, records: list[dict[str, Any]], answered: dict[str, dict[str, Any]], begun: threading.Event) -> None:
    """Send until nobody answers: single records, and every tenth time a batch with a key."""
    session = requests.Session()
    try:
        for place in range(0, len(records), 5):
            for record in records[place : place + 4]:
                answer = session.post(f"{url}/detect", json={"data": record}, timeout=30)
                answered[record["transaction_id"]] = answer.json()
                begun.set()
            last = records[place + 4]
            headers = {"Idempotency-Key": last["transaction_id"]}
            answer = session.post(f"{url}/v1/streams/default/records", json=[last], headers=headers, timeout=30)
            answered[last["transaction_id"]] = {"record_id": answer.json()["first_record_id"]}
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        # The second, where the kill came between the head of an answer and its body.
        pass
    finally:
        session.close()


def clients(url: str, answered: dict[str, dict[str, Any]], seed: int, number: int) -> list[threading.Thread]:
    """Threads that send, once the first has its answer."""
    begun, threads = threading.Event(), []
    for client in range(CLIENTS):
        records = simulated(500, 1000 * seed + 10 * number + client)
        # Some are alerts.
        records[3] = {**hot(number), "transaction_id": f"HOT-{seed}-{number}-{client}"}
        threads.append(threading.Thread(target=load, args=(url, records, answered, begun)))
        threads[-1].start()
    assert begun.wait(30)
    return threads


def check(folder: Path, answered: dict[str, dict[str, Any]], others: int | None = None) -> None:
    """That all answered records are kept, and as many others, where that is known."""
    with closing(sqlite3.connect(folder / "service.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = {
            number: (sent, body) for number, sent, body in database.execute("SELECT id, sent_id, body FROM records")
        }
        times = Counter(sent for sent, _ in rows.values())
        for sent, answer in answered.items():
            assert rows[answer["record_id"]][0] == sent
            assert orjson.loads(rows[answer["record_id"]][1])["transaction_id"] == sent
            assert times[sent] == 1
        counted = "SELECT judged, waiting, refused, alerting FROM streams"
        judged, waiting, refused, alerting = database.execute(counted).fetchone()
        assert judged + waiting + refused == len(rows)
        assert others is None or len(rows) == len(answered) + others
        assert database.execute("SELECT count(*) FROM records WHERE is_alert").fetchone() == (alerting,)
        assert database.execute("SELECT coalesce(sum(count), 0) FROM alerts").fetchone() == (alerting,)
        unknown = "SELECT count(*) FROM records WHERE is_alert AND alert_id IS NULL"
        assert database.execute(unknown).fetchone() == (0,)


@pytest.mark.slow
def test_a_killed_service_lost_nothing_that_it_answered(tmp_path: Path) -> None:
    """``KILLS=100`` kills so often; each run has its own moments."""
    answered: dict[str, dict[str, Any]] = {}
    # The first half of the kills hits a service without a model, whose worker begins to learn.
    kills = max(2, int(os.environ.get("KILLS", "2")))
    moments = [random.uniform(0, 0.7) for _ in range(kills)]
    sys.stdout.write(f"killed after {moments} seconds\n")
    for number, moment in enumerate(moments):
        options = ("--learn-from", "60") if number < kills // 2 else ("--model", str(model_file()))
        with started(tmp_path, *options) as (process, url):
            threads = clients(url, answered, 1, number)
            time.sleep(moment)
            process.kill()
            for thread in threads:
                thread.join()
        check(tmp_path, answered)
    assert len(answered) >= kills
    # It starts again, and a request with a key that was answered has no further effect.
    with resting(tmp_path, model=None) as service:
        client = client_of(service)
        sent = next((name for name, answer in answered.items() if len(answer) == 1), None)
        if sent is not None:
            headers = {"Idempotency-Key": sent, "Content-Type": "application/json"}
            assert client.post(RECORDS, content="[{}]", headers=headers).status_code == 422
        assert client.get("/status").status_code == 200
    check(tmp_path, answered)


def test_a_service_that_is_told_to_end_answers_what_it_took(tmp_path: Path) -> None:
    """One of several processes is told so in `test_service_workers.py`."""
    answered: dict[str, dict[str, Any]] = {}
    with started(tmp_path, "--model", str(model_file())) as (process, url):
        threads = clients(url, answered, 9, 0)
        time.sleep(0.3)
        process.terminate()
        assert process.wait(30) == 0
        for thread in threads:
            thread.join()
    check(tmp_path, answered, 0)
