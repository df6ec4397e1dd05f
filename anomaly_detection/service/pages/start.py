"""The start: a table comes in, its columns are shown as they are read, a model learns, and the inbox has the worst."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from anomaly_detection.data.columns.declarations import KINDS
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.pages.done import went_to
from anomaly_detection.service.pages.rendering import html, number
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.records.plain_records import records_of_frame
from anomaly_detection.service.routes.jobs import list_jobs
from anomaly_detection.service.routes.models import queue_training
from anomaly_detection.service.routes.sources import list_files, list_sources, make_a_source
from anomaly_detection.service.routes.streams import (
    change_stream,
    get_columns,
    get_stream,
    list_streams,
    make_stream,
)
from anomaly_detection.synthetic import generate
from anomaly_detection.texts.viewer import gettext, retold

__all__ = ["learn", "start_page", "stream_start_page", "take_sample", "watch_folder"]

SAMPLE = "sample"
_SAMPLES = 5000
LATEST = 50_000
"""With so many records a stream learns by itself, whether somebody has looked at its columns or not."""

_OPEN = ("queued", "running")


def start_page(visit: Visit) -> Response:
    """``GET /start``: drop a file, or try the sample."""
    return html(
        "start",
        visit=visit,
        said=None,
        here="start",
        latest=LATEST,
        sample=_SAMPLES,
        first=visit.service.configuration.learn_from,
    )


def take_sample(visit: Visit) -> Response:
    """``POST /sample``: made orders, some of them odd, as a stream of their own."""
    if all(each["name"] != SAMPLE for each in visit.get(list_streams)["streams"]):
        visit.change(make_stream, {"name": SAMPLE, "learn_from": LATEST})
        visit.service.intake.take(SAMPLE, records_of_frame(generate("realistic", _SAMPLES).frame))
    return went_to(visit, f"/start/{SAMPLE}")


def watch_folder(visit: Visit) -> Response:
    """``POST /start``: watch a folder for a stream of its name."""
    folder = visit.said("folder").strip()
    name = re.sub("[^A-Za-z0-9_-]+", "-", folder.rstrip("/").rpartition("/")[2]).strip("-")[:64] or "folder"
    is_new = all(each["name"] != name for each in visit.get(list_streams)["streams"])
    visit.change(make_a_source, {"stream": name, "folder": folder})
    if is_new:
        # Somebody is to look at its columns first.
        visit.change(change_stream, {"learn_from": LATEST}, name=name)
    return went_to(visit, f"/start/{name}")


def stream_start_page(visit: Visit) -> Response:
    """``GET /start/{name}``: how the columns are read, or how far the learning is; from there the inbox.

    ``columns=change`` shows the columns of a stream that has a model, for it to learn them otherwise.
    """
    name = visit.path["name"]
    stream = visit.get(get_stream, name=name)
    newest = visit.get(list_jobs, [("stream", name), ("limit", "10")])["jobs"]
    working = [job for job in newest if job["state"] in _OPEN]
    failed = next((job for job in newest[:1] if job["state"] == "failed"), None)
    # Of one that has a model they are changed only by who asks for that.
    again = ("columns", "change") in visit.query and not working
    # Somebody sent a file again, and wants to know how much of it was new.
    repeated = None if again else _repeated(newest)
    is_done = stream["model"] and not stream["waiting"] and not working
    if is_done and not repeated and not again:
        return went_to(visit, "/?stream=" + name)
    columns: list[dict[str, Any]] = []
    hindrance = ""
    step = None if is_done or again else _step(stream, working, newest)
    if step is None and not stream["judged"] + stream["waiting"] + stream["refused"]:
        step, hindrance = _awaited(visit, name)
    if step is None and not hindrance:
        try:
            columns = visit.get(get_columns, name=name)["columns"]
        except Problem as problem:
            hindrance = retold(problem.detail)
    return html(
        "stream_start",
        visit=visit,
        said=None,
        here="start",
        stream=stream,
        step=step,
        failed=failed,
        repeated=repeated,
        columns=columns,
        hindrance=hindrance,
        kinds=list(KINDS),
    )


def _awaited(visit: Visit, name: str) -> tuple[dict[str, Any] | None, str]:
    """What a stream without records waits for, where a folder is watched for it, and why its last file was not"
    " taken."""
    mine = [each for each in visit.get(list_sources)["sources"] if each["stream"] == name]
    trouble = next((each["trouble"] for each in mine if each["trouble"]), "")
    if trouble or not mine:
        return None, trouble
    last = visit.get(list_files, [("stream", name), ("limit", "1")])["files"]
    if last and last[0]["state"] == "rejected":
        return None, last[0]["error"]
    return {"told": gettext("Waiting for a file that no longer changes"), "done": 0, "total": None}, ""


def _repeated(newest: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What became of the file that came last, where the stream had some of its records."""
    for last in newest[:1]:
        if last["kind"] == "take" and (last["result"] or {}).get("known"):
            return dict(last["result"])
    return None


def learn(visit: Visit) -> Response:
    """``POST /start/{name}``: keep what was said of columns, and have a model learn."""
    name = visit.path["name"]
    said = dict(visit.get(get_stream, name=name)["settings"]["columns"])
    fields = [visit.form.get(field, ()) for field in ("column", "was", "kind", "had", "missing")]
    if len({len(each) for each in fields}) > 1:
        raise Problem(400, "Each column comes with its kind and codes as they were, and as they are to be.")
    for column, was, kind, had, missing in zip(*fields, strict=True):
        changed: dict[str, Any] = {} if kind == was else {"kind": kind}
        if missing.strip() != had.strip():
            changed["missing"] = [code for each in missing.split(",") if (code := each.strip())]
        if changed:
            said[column] = {**said.get(column, {}), **changed}
    visit.change(change_stream, {"columns": said}, name=name)
    queue_training(visit.service, name, {"who": visit.caller.name, "promote": True})
    return went_to(visit, f"/start/{name}")


def _step(stream: dict[str, Any], working: list[dict[str, Any]], newest: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What goes on, and how far it is; None where it waits for somebody."""
    kinds = {job["kind"]: job for job in working}
    if "take" in kinds:
        job = kinds["take"]
        return {"told": gettext("Reading the file"), "done": job["done"], "total": job["total"]}
    if "train" in kinds:
        count = number(stream["judged"] + stream["waiting"])
        return {"told": gettext("Learning from %(count)s records", count=count), "done": 0, "total": None}
    # A model that was just made is in effect a moment later.
    if stream["model"] or any((job["kind"], job["state"]) == ("train", "done") for job in newest):
        everything = stream["judged"] + stream["waiting"]
        return {"told": gettext("Judging the records"), "done": stream["judged"], "total": everything}
    return None
