"""Watched folders: each file once, whole or not at all, whatever it is, and whatever ends whoever takes it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest
from service_example import (
    BOTH,
    a_service,
    client_of,
    hot,
    is_problem,
    kill,
    model_file,
    on,
    resting,
    simulated,
    started,
    wait_until,
    work_off,
)
from sqlalchemy import select, update
from starlette.testclient import TestClient

from anomaly_detection.errors import DataError
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.sources import folders, watcher
from anomaly_detection.service.sources.folders import Folder, copy_of, kind_of, put_away
from anomaly_detection.service.sources.source_book import find_source
from anomaly_detection.service.sources.watcher import Watcher
from anomaly_detection.service.storage.tables import jobs as jobs_table
from anomaly_detection.service.storage.tables import seen, streams


class Clock:
    """A clock that is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (folders, watcher):
        monkeypatch.setattr(module, "time", made)
    return made


class Watched:
    """A folder that a service watches for a stream of its own, look by look."""

    def __init__(self, service: Service, clock: Clock, folder: Path, **more: Any) -> None:
        folder.mkdir()
        self.service, self.clock, self.folder, self.stream = service, clock, folder, folder.parent.name[-60:]
        self.client = client_of(service)
        self.watcher = Watcher(service.database, service.uploads_dir)
        answer = self.client.post("/v1/sources", json={"stream": self.stream, "folder": str(folder), **more})
        assert answer.status_code == 201, answer.text
        self.number = answer.json()["id"]

    def write(self, name: str, rows: list[dict[str, Any]] | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(rows if isinstance(rows, bytes) else pd.DataFrame(rows).to_csv(index=False).encode())
        return path

    def look(self, seconds: float = 0.0) -> None:
        self.clock.now += seconds
        with self.service.database.reading() as connection:
            row = find_source(connection, self.number)
        self.watcher.look_at(row)

    def take(self, seconds: float = 5.0) -> None:
        """See what is there, wait until it has settled, take it, and put it away."""
        for pause in (0.0, seconds):
            self.look(pause)
        work_off(self.service)
        self.look()

    @property
    def trouble(self) -> str:
        return self.client.get(f"/v1/sources/{self.number}").json()["trouble"] or ""

    @property
    def kept(self) -> int:
        found = [each for each in self.client.get("/v1/streams").json()["streams"] if each["name"] == self.stream]
        return sum(found[0][state] for state in ("judged", "waiting", "refused"))

    def files(self, state: str) -> list[dict[str, Any]]:
        return list(self.client.get("/v1/files", params={"source": self.number, "state": state}).json()["files"])

    def there(self, room: str = "") -> list[str]:
        at = self.folder / room
        return sorted(each.name for each in at.iterdir() if each.is_file()) if at.exists() else []


service = a_service(model=None)


@pytest.fixture
def watched(service: Service, clock: Clock, tmp_path: Path) -> Watched:
    return Watched(service, clock, tmp_path / "incoming")


def test_a_file_is_taken_when_it_has_settled_and_then_put_away(watched: Watched) -> None:
    path = watched.write("orders.csv", simulated(5))
    watched.write("orders.csv.part", b"not yet")
    watched.write(".hidden.csv", b"a\n1\n")
    watched.look()
    watched.look(4.9)
    assert watched.files("taking") == []
    # It grows: it has not settled.
    path.write_text(path.read_text() + path.read_text().splitlines()[1].replace("TX-0-000000", "TX-9") + "\n")
    watched.look(1.0)
    watched.look(4.9)
    assert watched.files("taking") == []
    watched.look(0.2)
    assert [each["name"] for each in watched.files("taking")] == ["orders.csv"]
    # As long as it is at work it stays, and is not taken again.
    watched.look(10.0)
    assert watched.there() == [".hidden.csv", "orders.csv", "orders.csv.part"]
    work_off(watched.service)
    watched.look()
    assert watched.there() == [".hidden.csv", "orders.csv.part"]
    assert watched.there("done") == ["orders.csv"]
    (taken,) = watched.files("taken")
    assert (taken["result"]["waiting"], taken["result"]["known"], taken["job_id"]) == (6, 0, None)
    assert watched.kept == 6
    assert list(watched.service.uploads_dir.iterdir()) == []


def test_of_a_file_that_comes_again_with_more_only_the_new_rows_are_taken(watched: Watched) -> None:
    rows = [*simulated(4), simulated(4)[0]]
    watched.write("orders.csv", rows)
    watched.take()
    # The same content under another name is no other file.
    watched.write("copy.csv", rows)
    watched.take()
    assert watched.kept == 5
    assert "Taken already as orders.csv" in (watched.folder / "done" / "copy.csv.txt").read_text()
    # The same name with other content: one row more, and one of the old ones once more than it was.
    watched.write("orders.csv", [*rows, rows[1], *simulated(1, seed=7)])
    watched.take()
    assert watched.kept == 7
    assert watched.there("done") == ["copy.csv", "copy.csv.txt", "orders-2.csv", "orders.csv"]
    newest = watched.files("taken")[0]["result"]
    assert (newest["received"], newest["known"]) == (2, 5)


def test_an_upload_can_leave_out_what_is_there(watched: Watched) -> None:
    sent = simulated(3, seed=3)
    path = f"/v1/streams/{watched.stream}/records"
    watched.client.post(path, json=sent)
    answer = watched.client.post(f"{path}?known=skip", json=[*sent, *simulated(2, seed=4)])
    assert answer.status_code == 202
    work_off(watched.service)
    result = watched.client.get(answer.json()["status_url"]).json()["result"]
    assert (result["received"], result["known"]) == (2, 3)
    assert watched.kept == 5
    assert is_problem(watched.client.post(f"{path}?known=maybe", json=sent), 400)


def test_a_new_row_is_judged_beside_the_old_rows_of_its_file(watched: Watched) -> None:
    old = simulated(40, seed=8)
    where = f"/v1/streams/{watched.stream}"
    binary = {"Content-Type": "application/octet-stream"}
    watched.client.post(f"{where}/models?promote=true", content=model_file().read_bytes(), headers=binary)
    watched.client.post(f"{where}/records", json=old)
    sent = [*old, *simulated(2, seed=9), {**old[7], "transaction_id": "TX-COPY", "batch_id": "B-COPY"}]
    answer = watched.client.post(f"{where}/records?known=skip", json=sent)
    work_off(watched.service)
    result = watched.client.get(answer.json()["status_url"]).json()["result"]
    assert (result["received"], result["known"]) == (3, 40)
    judge = watched.service.judge(watched.stream)
    assert judge is not None
    whole = judge.judge([Incoming(each) for each in sent])
    kept = watched.client.get(f"/v1/records/{result['last_record_id']}").json()
    assert kept["score"] == whole.scores[-1]
    # The copy is worse than the same record alone.
    assert kept["score"] < judge.judge([Incoming(sent[-1])]).scores[0]
    assert result["alerting"] == sum(place >= 40 for place in whole.alerting)


def test_a_bad_file_is_rejected_as_a_whole_with_each_row_that_is_wrong(watched: Watched) -> None:
    lines = [orjson.dumps(each) for each in simulated(3)]
    watched.write("rows.ndjson", b"\n".join([lines[0], b"{broken", lines[1], b"7"]))
    watched.write("ragged.csv", b"a,b\n1,2\n3,4,5\n")
    watched.write("table.pdf", b"%PDF")
    watched.write("bom.json", b"\xff\xfe[")
    watched.take()
    assert watched.kept == 0
    assert watched.there() == []
    assert [each for each in watched.there("rejected") if not each.endswith(".txt")] == [
        "bom.json",
        "ragged.csv",
        "rows.ndjson",
        "table.pdf",
    ]
    told = {path.name: path.read_text() for path in (watched.folder / "rejected").glob("*.txt")}
    assert told["rows.ndjson.txt"].splitlines()[0].startswith("2 rows are no records, such as row 2:")
    assert [line[:6] for line in told["rows.ndjson.txt"].splitlines()[1:]] == ["row 2:", "row 4:"]
    assert "Files that end in .pdf are not read" in told["table.pdf.txt"]
    assert "line 3" in told["ragged.csv.txt"].lower()
    assert "The file is no JSON" in told["bom.json.txt"]
    assert {each["name"] for each in watched.files("rejected")} == {"rows.ndjson", "ragged.csv", "bom.json"}
    # Put right it is another file; and what is dropped again as it was is tried again.
    watched.write("rows.ndjson", b"\n".join(lines))
    watched.write("again.json", b"\xff\xfe[")
    watched.take()
    assert watched.kept == 3
    assert "again.json" in watched.there("rejected")


def test_what_cannot_be_judged_is_kept_and_told_beside_the_file(clock: Clock, tmp_path: Path) -> None:
    with resting(tmp_path / "data") as service:
        service.configuration.models_dir.joinpath("m").write_bytes(model_file().read_bytes())
        (tmp_path / "x").mkdir()
        watched = Watched(service, clock, tmp_path / "x" / "incoming")
        client_of(service).post(
            f"/v1/streams/{watched.stream}/models?promote=true",
            content=model_file().read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        lines = [*map(orjson.dumps, [*simulated(3), hot()]), b'{"unknown": 1}']
        watched.write("rows.ndjson", b"\n".join(lines))
        watched.take()
        (taken,) = watched.files("taken")
        assert [taken["result"][name] for name in ("judged", "refused")] == [4, 1]
        assert taken["result"]["alerting"] >= 1
        told = (watched.folder / "done" / "rows.ndjson.txt").read_text().splitlines()
        assert told[0] == "1 of its rows were kept and could not be judged."
        assert told[1].startswith("row 5: The record holds no value")


def test_an_empty_file_is_given_time(watched: Watched) -> None:
    watched.write("later.csv", b"")
    watched.take()
    assert watched.there() == ["later.csv"]
    watched.take(61.0)
    assert watched.there("rejected") == ["later.csv", "later.csv.txt"]
    assert (watched.folder / "rejected" / "later.csv.txt").read_text() == "The file is empty.\n"


def test_what_is_no_file_stays_and_is_told(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (watched.folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    os.mkfifo(watched.folder / "pipe.csv")
    Path(os.fsdecode(os.fsencode(watched.folder) + b"/\xff.csv")).write_text("a\n1\n")
    (watched.folder / "folder.csv").mkdir()
    watched.take()
    assert watched.trouble == (
        "link.csv is a link, and links are not followed: put the file itself here. pipe.csv is no file."
        " The name of '\\udcff.csv' is no UTF-8; call it otherwise."
    )
    assert watched.kept == 0
    (watched.folder / "link.csv").unlink()
    (watched.folder / "pipe.csv").unlink()
    Path(os.fsdecode(os.fsencode(watched.folder) + b"/\xff.csv")).unlink()
    # Root may read everything, so that what the system says is said for it.
    path = watched.write("closed.csv", simulated(2))
    opened = os.open

    def refuse(name: Any, *given: Any) -> int:
        if name == path:
            raise PermissionError(13, "Permission denied")
        return opened(name, *given)

    monkeypatch.setattr(folders.os, "open", refuse)
    watched.take()
    assert watched.trouble == "closed.csv cannot be read: permission denied."
    monkeypatch.undo()
    monkeypatch.setattr(folders, "time", watched.clock)
    watched.take()
    assert (watched.trouble, watched.kept) == ("", 2)


def test_a_folder_that_vanishes_is_told_and_goes_on_when_it_is_back(watched: Watched) -> None:
    path = watched.write("orders.csv", simulated(2))
    watched.look()
    watched.look(5.0)
    elsewhere = watched.folder.with_name("elsewhere")
    watched.folder.rename(elsewhere)
    work_off(watched.service)
    watched.look()
    assert watched.trouble == f"The folder {watched.folder} cannot be read: no such file or directory."
    assert watched.kept == 2
    elsewhere.rename(watched.folder)
    watched.look()
    assert (watched.trouble, path.exists()) == ("", False)
    assert watched.there("done") == ["orders.csv"]


def test_a_file_that_is_replaced_while_it_is_read_is_taken_as_it_is_then(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = watched.write("orders.csv", simulated(2))
    other = watched.folder / ".new"
    read = folders.signature_at

    def replaced(at: Path) -> str:
        if not other.exists() and at == path:
            other.write_bytes(pd.DataFrame(simulated(3, seed=5)).to_csv(index=False).encode())
            other.replace(path)
            other.write_bytes(b"")
        return read(at)

    monkeypatch.setattr(folders, "signature_at", replaced)
    watched.look()
    watched.look(5.0)
    assert watched.files("taking") == []
    watched.take()
    assert watched.kept == 3
    # One that is replaced while its job runs stays, and has its own turn.
    path = watched.write("more.csv", simulated(2, seed=6))
    watched.look()
    watched.look(5.0)
    watched.write("more.csv", simulated(4, seed=8))
    work_off(watched.service)
    watched.look()
    assert watched.there() == [".new", "more.csv"]
    watched.take()
    assert watched.kept == 3 + 2 + 4


def test_a_copy_of_what_changes_meanwhile_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    folder = Folder(tmp_path, 0.0)
    ((found,), hindrances) = folder.look()
    assert hindrances == []
    copy = tmp_path / "copy"
    assert copy_of(found, copy) is not None
    assert copy.read_text() == "a\n1\n"
    copy.unlink()
    path.write_text("a\n2\n3\n")
    assert copy_of(found, copy) is None
    path.unlink()
    assert copy_of(found, copy) is None
    path.symlink_to(copy)
    assert copy_of(found, copy) is None
    assert not copy.exists()


def test_files_can_stay_where_they_are(service: Service, clock: Clock, tmp_path: Path) -> None:
    watched = Watched(service, clock, tmp_path / "left", after="leave", known="take")
    watched.write("orders.csv", simulated(3))
    watched.write("bad.csv", b"")
    watched.take(61.0)
    assert (watched.kept, watched.there()) == (3, ["orders.csv"])
    # Another process looks at it for the first time.
    watched.watcher = Watcher(service.database, service.uploads_dir)
    watched.take()
    assert watched.kept == 3
    # All rows of other content, where that is wanted.
    watched.write("orders.csv", simulated(4))
    watched.take()
    assert watched.kept == 7
    assert watched.there() == ["orders.csv"]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    for room in (tmp_path / "done", tmp_path):
        room.mkdir(exist_ok=True)
        (room / "a.csv").write_text(room.name)
    (tmp_path / "done" / "a-2.csv.txt").write_text("somebody's")
    assert put_away(tmp_path / "a.csv", "done", "told\n").name == "a-3.csv"
    assert (tmp_path / "done" / "a.csv").read_text() == "done"
    assert (tmp_path / "done" / "a-3.csv.txt").read_text() == "told\n"
    (tmp_path / "rejected").symlink_to(tmp_path / "done")
    (tmp_path / "b.csv").write_text("b")
    with pytest.raises(DataError, match="rejected is a link"):
        put_away(tmp_path / "b.csv", "rejected", "")
    with pytest.raises(DataError, match=r"gone.csv cannot be moved to done/"):
        put_away(tmp_path / "gone.csv", "done", "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.CSV", ("csv", "csv")),
        ("a.b.tsv.gz", ("csv", "tsv.gz")),
        ("a.zip", ("csv", "zip")),
        ("a.json", ("json", "json")),
        ("a.jsonl", ("ndjson", "jsonl")),
        ("a.json.gz", ("csv", "json.gz")),
        ("a.parquet", ("csv", "parquet")),
        ("a.feather", ("arrow", "feather")),
    ],
)
def test_kinds_go_by_names(name: str, kind: tuple[str, str]) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["a", "a.exe", "a.gz", "a.arrow.gz"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="read"):
        kind_of(name)


def test_a_job_that_was_cancelled_leaves_a_text_and_a_second_try_goes_on(watched: Watched) -> None:
    watched.write("orders.csv", simulated(2))
    watched.look()
    watched.look(5.0)
    job = watched.files("taking")[0]["job_id"]
    watched.client.delete(f"/v1/jobs/{job}")
    watched.look()
    assert (watched.folder / "rejected" / "orders.csv.txt").read_text() == "The job was cancelled.\n"
    (watched.folder / "rejected" / "orders.csv").rename(watched.folder / "orders.csv")
    watched.take()
    assert watched.kept == 2


def test_a_source_that_is_removed_and_made_again_takes_nothing_twice(watched: Watched) -> None:
    watched.write("orders.csv", simulated(2))
    watched.take()
    watched.write("more.csv", simulated(2, seed=5))
    watched.look()
    watched.look(5.0)
    assert watched.client.delete(f"/v1/sources/{watched.number}").status_code == 200
    assert is_problem(watched.client.get(f"/v1/sources/{watched.number}"), 404)
    work_off(watched.service)
    again = watched.client.post("/v1/sources", json={"stream": watched.stream, "folder": str(watched.folder)})
    watched.number = again.json()["id"]
    watched.write("orders.csv", simulated(2))
    watched.take()
    assert (watched.kept, watched.there()) == (4, [])
    lines = watched.client.get("/v1/audit", params={"subject": "source"}).json()["audit"]
    assert [line["what"] for line in lines[:3]] == ["make", "remove", "make"]
    assert lines[0]["after"]["target"] == str(watched.folder)


def test_what_is_said_of_sources_is_checked(watched: Watched, tmp_path: Path) -> None:
    client, folder = watched.client, str(watched.folder)
    make = lambda **said: client.post("/v1/sources", json={"stream": "a", **said})  # noqa: E731
    assert is_problem(make(folder=folder), 409)
    assert is_problem(make(folder=str(tmp_path / "none")), 422)
    assert is_problem(make(folder="incoming"), 400)
    assert is_problem(make(), 400)
    for own in (watched.service.configuration.data_dir, watched.service.configuration.models_dir, Path("/")):
        assert "the service's own files" in make(folder=str(own)).json()["detail"]
    changed = client.patch(f"/v1/sources/{watched.number}", json={"paused": True, "every": 60})
    assert (changed.json()["paused"], changed.json()["settings"]["every"]) == (True, 60)
    undone = client.post(f"/v1/audit/{changed.json()['history'][-1]['id']}/undo")
    assert undone.status_code == 200, undone.text
    assert client.get(f"/v1/sources/{watched.number}").json()["paused"] is False
    assert client.get("/v1/sources").json()["sources"][-1]["id"] == watched.number
    assert client.delete(f"/v1/streams/{watched.stream}?confirm={watched.stream}").status_code == 202
    work_off(watched.service)
    assert is_problem(client.get(f"/v1/sources/{watched.number}"), 404)
    watched.watcher.look()


@pytest.mark.parametrize("kind", BOTH)
def test_the_counts_of_records_are_right_after_any_end(
    kind: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker ends in the middle of a file; the next one goes on there, and nothing is twice."""
    from anomaly_detection.service.http import bodies
    from anomaly_detection.service.jobs import taking

    monkeypatch.setattr(bodies, "_PART", 2)
    with on(kind, resting, tmp_path / "data", model=None) as service:
        watched = Watched(service, clock, tmp_path / "incoming")
        rows = simulated(7)
        watched.client.post(f"/v1/streams/{watched.stream}/records", json=rows[:1])
        watched.write("orders.csv", [*rows, rows[6]])
        watched.look()
        watched.look(5.0)
        kept, calls = taking.keep, [0]

        def killed(*given: Any) -> Any:
            calls[0] += 1
            if calls[0] == 3:
                raise KeyboardInterrupt
            return kept(*given)

        monkeypatch.setattr(taking, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            work_off(service)
        with service.database.writing() as connection:
            connection.execute(update(jobs_table).values(lease_until=0.0))
        work_off(service)
        watched.look()
        # CSV and JSON write the same numbers otherwise: only what is the same to the letter is known.
        assert watched.kept == 9 - watched.files("taken")[0]["result"]["known"]
        with service.database.reading() as connection:
            assert connection.execute(select(streams.c.seen_to)).scalars().all()[-1] > 0
            assert sum(connection.execute(select(seen.c.count)).scalars()) >= 7


@pytest.mark.slow
def test_a_killed_service_takes_each_row_of_a_folder_once(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    options = ("--watch", f"{incoming}=orders")
    pd.DataFrame(simulated(3000, seed=1)).to_csv(incoming / "a.csv", index=False)
    database = tmp_path / "data" / "service.sqlite"

    def count() -> int:
        with closing(sqlite3.connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def done() -> bool:
        with closing(sqlite3.connect(database)) as connection:
            found = connection.execute("SELECT count(*) FROM files WHERE is_put_away").fetchone()
        return bool(found[0])

    with started(tmp_path / "data", *options) as (process, _):
        wait_until(lambda: count() >= 1000, 120)
        kill(process, tmp_path / "data")
    assert not done()
    with started(tmp_path / "data", *options):
        wait_until(done, 120)
    assert count() == 3000
    assert [each.name for each in (incoming / "done").iterdir()] == ["a.csv"]


def test_folders_given_by_option_are_sources_until_they_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    watch = ((str(tmp_path / "in"), "orders"),)
    for given, count in ((watch, 1), (watch, 1), ((), 0)):
        with resting(tmp_path / "data", watch=given, model=None) as service:
            client: TestClient = client_of(service)
            found = client.get("/v1/sources").json()["sources"]
            assert len(found) == count
            if found:
                assert (found[0]["by_option"], found[0]["stream"]) == (True, "orders")
                assert is_problem(client.delete(f"/v1/sources/{found[0]['id']}"), 409)
    with pytest.raises(DataError, match="no folder"), resting(tmp_path / "data", watch=((str(tmp_path / "n"), "a"),)):
        pass
    with pytest.raises(DataError, match="letters, digits"), resting(tmp_path / "data", watch=((str(tmp_path), "a b"),)):
        pass


def test_a_folder_that_is_named_at_the_start_is_looked_at_before_it_learns(
    service: Service, clock: Clock, tmp_path: Path
) -> None:
    folder = tmp_path / "My orders"
    folder.mkdir()
    client = client_of(service)
    page = {"HX-Request": "true", "Accept": "text/html"}
    assert client.post("/start", data={"folder": "/nowhere"}, headers=page).status_code == 422
    went = client.post("/start", data={"folder": str(folder)}, headers=page)
    assert went.headers["HX-Redirect"] == "/start/My-orders"
    assert "Waiting for a file" in client.get("/start/My-orders").text
    (source,) = [each for each in client.get("/v1/sources").json()["sources"] if each["stream"] == "My-orders"]
    looker = Watcher(service.database, service.uploads_dir)

    def take() -> None:
        for pause in (0.0, 5.0):
            clock.now += pause
            with service.database.reading() as connection:
                looker.look_at(find_source(connection, source["id"]))
        work_off(service)
        with service.database.reading() as connection:
            looker.look_at(find_source(connection, source["id"]))

    (folder / "bad.json").write_bytes(b"\xff")
    take()
    assert "The file is no JSON" in client.get("/start/My-orders").text
    (folder / "orders.csv").write_text(pd.DataFrame(simulated(60)).to_csv(index=False))
    take()
    text = client.get("/start/My-orders").text
    assert "60 records are kept" in text
    assert "Learn from them" in text
    assert client.get("/v1/streams/My-orders").json()["model"] is None
    assert str(folder) in client.get("/streams/My-orders").text
