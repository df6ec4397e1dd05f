"""Changes of what a native model file means: each declared value set to each odd one, with the right checksum.

``python -m tests.fuzz.by_meaning`` makes them all and says what came of each; README.md says what may.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import safetensors.numpy

from anomaly_detection.calibration.thresholds import Conformal, Contamination
from anomaly_detection.cli import inspect as cli_inspect
from anomaly_detection.detector import Detector
from anomaly_detection.errors import ModelFileError
from anomaly_detection.features.kinds import GROUPS
from anomaly_detection.model_files.inspection import inspect_model
from anomaly_detection.model_files.native_file import to_bytes
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.settings import FeatureSet, Settings, make_detector, make_forest
from anomaly_detection.synthetic import generate
from mlx_iforest import BlendedIsolationForest
from tests.fuzz.native_edits import Header, sealed, taken_apart

COLUMNS = [
    *("order_id", "order_date", "supplier", "shipping_method", "order_quantity", "unit_price"),
    *("order_value", "weight_kg", "transportation_cost", "ship_date"),
]
Array = np.ndarray[Any, Any]

ODD: dict[str, Any] = {
    **{
        repr(value): value
        for value in (None, True, False, 0, -1, 1, 2, 10**9, 2**63, -(2**63), 10**30, 10**308, 0.5, -0.5)
    },
    **{
        repr(value): value for value in (1e308, -1e308, 5e-324, "", "nan", "inf", "-inf", [], {}, [None], [1, 0], ["x"])
    },
    "control characters": "\x1b]0;x\x07\u202e",
    "half a character": "\ud800",
    "a long text": "1" * 100_000,
    "a template": "{0.__class__}",
    "a hollow array": {"$": "array", "dtype": "|O", "scalar": False, "shape": [5 * 10**7, 0], "values": []},
    "a timestamp": {"$": "timestamp", "value": "1" * 1_000_000},
    "a set of one hash": {"$": "set", "items": [i * (2**61 - 1) for i in range(1, 20_000)]},
}


def _longer(value: Any) -> Any:
    return [*value, copy.deepcopy(value[-1])] if isinstance(value, list) and value else value


def _times(factor: float) -> Callable[[Any], Any]:
    return lambda value: value * factor if type(value) in (int, float) else value


TURNED: dict[str, Callable[[Any], Any]] = {
    "its last item twice": _longer,
    "without its last item": lambda value: value[:-1] if isinstance(value, list) else value,
    "turned round": lambda value: value[::-1] if isinstance(value, list) else value,
    "negative": _times(-1),
    "a thousand times as much": _times(1000),
}


def _entry(value: float, at: int) -> Callable[[Array], Array]:
    def change(array: Array) -> Array:
        array = array.copy()
        with np.errstate(all="ignore"):
            array.ravel()[at:][:1] = np.array(value).astype(array.dtype)
        return array

    return change


def _limit(array: Array) -> Any:
    return np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1


BENT: dict[str, Callable[[Array], Array]] = {
    **{
        f"{value} as entry {at}": _entry(value, at)
        for value in (0.0, -1.0, np.nan, np.inf, -np.inf, 1e30, 1e-30)
        for at in (0, -1)
    },
    "all 0": np.zeros_like,
    "all as large as can be": lambda array: np.full_like(array, _limit(array)),
    "all alike": lambda array: np.full_like(array, array.ravel()[0] if array.size else 0),
    "empty": lambda array: array[:0] if array.ndim else array,
    "without its last entry": lambda array: array[:-1] if array.ndim else array,
    "twice": lambda array: np.concatenate([array, array]) if array.ndim else array,
    "turned round": lambda array: array[::-1] if array.ndim else array,
    "with one more dimension": lambda array: array[None],
    "hollow": lambda array: np.empty((5 * 10**7, 0), array.dtype),
    "of wider numbers": lambda array: array.astype({"f": "f8", "i": "i8", "u": "u8", "b": "u1"}[array.dtype.kind]),
    "of other numbers": lambda array: array.astype("i4" if array.dtype.kind == "f" else "f4"),
}


class Change(NamedTuple):
    """A change of one value: of the file `of`, at `path` (a tuple in the JSON, a text for an array), by name."""

    of: str
    path: tuple[Any, ...] | str
    how: str

    def __str__(self) -> str:
        at = self.path if isinstance(self.path, str) else "/".join(map(str, self.path))
        return f"{self.of}: {at}: {self.how}"


@cache
def records() -> pd.DataFrame:
    """What the models learn from, with words in place of some numbers and a record that occurs again."""
    frame = generate("realistic", 160, seed=11).frame[COLUMNS].copy()
    frame["weight_kg"] = frame["weight_kg"].astype(object)
    frame.loc[::9, "weight_kg"] = "not weighed"
    frame.iloc[21:24] = frame.iloc[20]  # so that there are repeats to count
    return frame


@cache
def models() -> dict[str, bytes]:
    """The files that are changed: together they have each kind of scaler, forest, parameter and summary."""
    settings = Settings(FeatureSet(GROUPS, 5), n_estimators=3, max_samples=16, forest="density")
    recipe = make_detector(settings, None, make_forest(settings, seed=1))
    recipe.threshold_rule = Contamination(0.1)
    forest = BlendedIsolationForest(6, random_state=np.random.RandomState(1))
    plain = Detector(model=forest, threshold_rule=Conformal(0.2))
    for detector in (recipe, plain):
        detector.fit(records())
    plain.training_ = {
        "created": "2026-11-23T17:36:09+00:00",
        "data": {"rows": 160, "source": "records", "when": pd.Timestamp("2026-01-01"), "sizes": {1, 2}},
        "split": {"train": 96, "validation": 32, "test": 32},
        "alerts": 3,
        "figures": np.arange(4.0),
    }
    return {"recipe": to_bytes(recipe), "plain": to_bytes(plain)}


@cache
def _apart(of: str) -> tuple[Header, dict[str, Array]]:
    content = models()[of]
    return taken_apart(content)[0], safetensors.numpy.load(content)


def changes() -> list[Change]:
    """All changes, in one order. Of places that are alike, such as the items of a list, the first is taken."""
    found: list[Change] = []
    seen: set[Any] = set()
    names = {*records().columns, *_apart("recipe")[0]["__metadata__"]["preprocessor"]["feature_names_in_"]}
    for of in models():
        header, arrays = _apart(of)
        parts = {name: part for name, part in header["__metadata__"].items() if not isinstance(part, str)}
        for path in _paths(parts):
            alike = tuple("*" if isinstance(key, int) or key in names else key for key in path)
            if alike not in seen:
                seen.add(alike)
                value = _at(parts, path)
                found += [Change(of, path, how) for how, odd in ODD.items() if not _same(odd, value)]
                found += [Change(of, path, how) for how, turn in TURNED.items() if not _same(turn(value), value)]
                found.append(Change(of, path, "left out"))
        for name in sorted(arrays):
            like = "/".join("*" if key.isdigit() or key in names else key for key in name.split("/"))
            if like not in seen:
                seen.add(like)
                found += [Change(of, name, how) for how in BENT]
    return found


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        yield (*at, key)
        yield from _paths(one, (*at, key))


def changed(change: Change) -> bytes:
    """The file with its change, and the checksum that it then needs."""
    header, arrays = _apart(change.of)
    parts = {name: part for name, part in header["__metadata__"].items() if not isinstance(part, str)}
    if isinstance(change.path, str):
        arrays = {**arrays, change.path: BENT[change.how](arrays[change.path])}
    else:
        parts = copy.deepcopy(parts)
        key, container = change.path[-1], _at(parts, change.path[:-1])
        if change.how == "left out":
            del container[key]
        elif change.how in TURNED:
            container[key] = TURNED[change.how](container[key])
        else:
            container[key] = copy.deepcopy(ODD[change.how])
    entries, payload = taken_apart(
        safetensors.numpy.save({k: np.array(a, order="C") for k, a in arrays.items()}, {"": ""})
    )
    return sealed({**entries, "__metadata__": {**header["__metadata__"], **parts}}, payload)


def _refused(error: ModelFileError, path: Path) -> str:
    if "\n" in str(error) or len(str(error)) > len(str(path)) + 600:
        raise AssertionError("an error that is not one line") from error
    return "refused"


def outcome(content: bytes, expected: Array, path: Path) -> str:
    """``refused``, ``same`` or ``other`` scores; what must not be raises.

    Raises
    ------
    AssertionError
        The error is not one line, or what was loaded is no valid model.
    """
    path.write_bytes(content)
    try:
        detector = load_detector(path)
    except ModelFileError as error:
        return _refused(error, path)
    frame = records()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = detector.transform(frame)
        scores = detector.model.score_samples(features)
        assert np.isfinite(scores).all()
        assert scores.min() >= -1.0
        assert scores.max() <= 0.0
        assert np.isfinite(detector.cut(scores))
        p_values = detector.p_values(scores) if detector.calibration_ is not None else np.ones(1)
        assert p_values.min() > 0.0
        assert p_values.max() <= 1.0
        detector.model._validate_params()
        for batch_size in (1, 7):
            again = copy.copy(detector.model).set_params(batch_size=batch_size).score_samples(features[:15])
            np.testing.assert_array_equal(again, scores[:15])
        np.testing.assert_array_equal(detector.score_samples(frame), scores)
    try:
        found = inspect_model(path)
    except ModelFileError as error:
        # Judging needs nothing of what a file says of itself.
        return _refused(error, path)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    try:
        told = cli_inspect._aligned(cli_inspect._told(found))
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # told by `inspect` in one line, of a training summary
        return "same" if np.array_equal(scores, expected) else "other"
    assert all(line.isprintable() for line in told.split("\n"))
    return "same" if np.array_equal(scores, expected) else "other"


@cache
def scores_of(of: str) -> Array:
    """What the unchanged file says of `records`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(models()[of])
        return load_detector(path).score_samples(records())


def _work(first: int, step: int) -> None:
    """Try every `step`-th change from `first` on, and write a line before and after each."""
    import resource  # which Windows has not

    resource.setrlimit(resource.RLIMIT_AS, (6 * 10**9, 6 * 10**9))
    every = changes()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, len(every), step):
            sys.stdout.write(f"{number}\t")
            sys.stdout.flush()
            change = every[number]
            try:
                told = outcome(changed(change), scores_of(change.of), Path(folder) / "model.safetensors")
            except Exception as error:  # whatever it is, it is a finding
                told = f"FAULT {type(error).__name__}: {str(error).strip().splitlines()[:1]}"
            sys.stdout.write(f"{told}\n")
            sys.stdout.flush()


def main() -> None:
    """Try all changes in other processes, which may take too long or too much memory, and say what came of them."""
    parser = argparse.ArgumentParser(description="Change what a model file means, value by value.")
    parser.add_argument("--step", type=int, default=1, help="try every so manieth change")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one change")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        _work(arguments.first, arguments.step)
        return
    every = changes()
    counts: collections.Counter[str] = collections.Counter()
    first = arguments.first
    while first < len(every):
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.by_meaning",
            "--work",
            f"--first={first}",
            f"--step={arguments.step}",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            done = _watched(worker, arguments.timeout)
            for number, told in done:
                counts[told.split(" ")[0]] += 1
                first = number + arguments.step
                if told not in ("refused", "same"):
                    sys.stdout.write(f"{told}\t{every[number]}\n")
                    sys.stdout.flush()
        if worker.returncode == 0:
            break
    sys.stdout.write(f"{sum(counts.values())} of {len(every)} changes: {dict(counts)}\n")


def _watched(worker: subprocess.Popen[str], timeout: float) -> Iterator[tuple[int, str]]:
    """What the worker says of each change; ``HANG`` or ``DEATH`` of the one that it did not come back from."""
    assert worker.stdout is not None
    while True:
        late = threading.Timer(timeout, worker.kill)
        late.start()
        line = worker.stdout.readline()
        late.cancel()
        if not line:
            return
        number, _, told = line.rstrip("\n").partition("\t")
        if told:
            yield int(number), told
        else:
            worker.wait()
            yield int(number), "HANG" if worker.returncode == -9 else f"DEATH {worker.returncode}"
            return


def sample(count: int, seed: int) -> list[Change]:
    """Some of the changes, the same for one seed."""
    return random.Random(seed).sample(changes(), count)


if __name__ == "__main__":
    main()
