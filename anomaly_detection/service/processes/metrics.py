"""`Metrics`: what is counted, as Prometheus reads it."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil

__all__ = ["Metrics", "Sample"]

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_WHAT = {
    "anomalies_detected_total": ("counter", "Records that were alerts, those that came before included."),
    "records_total": ("counter", "Records by what became of them: judged, waiting for a model, or refused."),
    "requests_total": ("counter", "Requests by what was asked for, and the status of the answer."),
    "request_duration_seconds": ("histogram", "Time until the answer, by what was asked for."),
    "write_queue_length": ("gauge", "Requests that wait for the writer."),
    "jobs_open": ("gauge", "Jobs that wait or run."),
    "model_version": ("gauge", "Version of the model that judges."),
    "model_age_seconds": ("gauge", "Time since the model came into effect."),
    "columns_changed": ("gauge", "Columns that are no longer what they were when the model learned."),
    "score_drift_distance": ("gauge", "Kolmogorov-Smirnov distance of the last scores from those of the calibration."),
    "process_resident_memory_bytes": ("gauge", "Memory of the process."),
    "process_start_time_seconds": ("gauge", "When the process began, in seconds since 1970."),
}

Sample = tuple[str, Mapping[str, str], float]


class Metrics:
    """Counters and a histogram since the start of the process; any thread may add to them.

    Parameters
    ----------
    folder : Path, optional
        Where each of several processes leaves what it has counted, for the others to add: whoever is asked answers for
        all. Of a process that is gone what it counted stays.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._folder = folder
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))
        self._seconds: Counter[str] = Counter()

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name, tuple(labels.items())] += by  # type: ignore[assignment]

    def time(self, handler: str, seconds: float, status: int) -> None:
        """Add a request."""
        place = bisect_left(_BUCKETS, seconds)
        with self._lock:
            self._counts["requests_total", (("handler", handler), ("status", str(status)))] += 1
            self._buckets[handler][place] += 1
            self._seconds[handler] += seconds  # type: ignore[assignment]

    def leave(self) -> None:
        """Leave what was counted for others, if there are any."""
        if self._folder is None:
            return
        path = self._folder / f"{os.getpid()}.json"
        temporary = path.with_suffix(".new")
        temporary.write_bytes(orjson.dumps(self._state()))
        os.replace(temporary, path)

    def _state(self) -> dict[str, Any]:
        process = psutil.Process()
        with self._lock:
            return {
                "counts": [[name, labels, value] for (name, labels), value in self._counts.items()],
                "buckets": dict(self._buckets),
                "seconds": dict(self._seconds),
                "memory": process.memory_info().rss,
                "start": process.create_time(),
            }

    def _states(self) -> dict[str, dict[str, Any]]:
        """Of all processes, by their numbers; of this one alone, under no number, where there are no others."""
        if self._folder is None:
            return {"": self._state()}
        self.leave()
        return {path.stem: orjson.loads(path.read_bytes()) for path in sorted(self._folder.glob("*.json"))}

    def text(self, gauges: Iterable[Sample]) -> str:
        """All, with some that are known only now, in Prometheus' text format."""
        counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))
        seconds: Counter[str] = Counter()
        samples: list[Sample] = []
        for number, state in self._states().items():
            for name, labels, value in state["counts"]:
                counts[name, tuple((label, each) for label, each in labels)] += value
            for handler, found in state["buckets"].items():
                buckets[handler] = [a + b for a, b in zip(buckets[handler], found, strict=True)]
            seconds.update(state["seconds"])
            whose = {"process": number} if number else {}
            if not number or psutil.pid_exists(int(number)):
                samples.append(("process_resident_memory_bytes", whose, state["memory"]))
                samples.append(("process_start_time_seconds", whose, state["start"]))
        samples += [(name, dict(labels), value) for (name, labels), value in counts.items()]
        for handler, found in buckets.items():
            samples += _histogram(handler, found, seconds[handler])
        samples += gauges
        lines = []
        for name, (kind, what) in _WHAT.items():
            lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
            lines += [_line(*sample) for sample in samples if _family(sample[0]) == name]
        return "\n".join(lines) + "\n"


def _histogram(handler: str, counts: list[int], seconds: float) -> Iterable[Sample]:
    name, so_far = "request_duration_seconds", 0
    for most, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
        so_far += count
        yield f"{name}_bucket", {"handler": handler, "le": most}, so_far
    yield f"{name}_sum", {"handler": handler}, seconds
    yield f"{name}_count", {"handler": handler}, so_far


def _family(name: str) -> str:
    for end in ("_bucket", "_sum", "_count"):
        if name.removesuffix(end) in _WHAT:
            return name.removesuffix(end)
    return name


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    # Labels are names of handlers and streams, which hold nothing that would need an escape.
    inside = ",".join(f'{label}="{each}"' for label, each in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"
