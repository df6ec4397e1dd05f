"""Fuzz the reader of ``.joblib`` model files with atheris; README.md says how to run it."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["anomaly_detection.safe_pickle", "anomaly_detection.pickled_parts", "pickle"]):
    import anomaly_detection.safe_pickle

import joblib
import numpy as np
from sklearn.preprocessing import StandardScaler

from anomaly_detection.detector import Detector
from anomaly_detection.errors import ModelFileError
from anomaly_detection.persistence import load_detector, save_detector
from anomaly_detection.safe_pickle import CLASSES
from anomaly_detection.synthetic import generate
from anomaly_detection.thresholds import Contamination
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz_joblib."))
FILE = FOLDER / "model.joblib"
NAMES = [
    *((module, name) for module, names in CLASSES.items() for name in names),
    *anomaly_detection.safe_pickle.MAKERS,
    *(("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("subprocess", "Popen")),
]
OPCODES = bytes(pickle._Unpickler.dispatch)


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """End the run where a file has something looked up or run; Numba's cache may, when rows are scored."""
    if READING and event in (
        "pickle.find_class",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "subprocess.Popen",
        "socket.connect",
    ):
        raise SystemExit(f"a model file caused {event}{arguments!r}")


def seeds(corpus: Path) -> list[bytes]:
    """Small models, whole and in parts."""
    frame = generate("classic", 60, seed=3).frame[["lead_time", "supplier", "timestamp"]]
    rows = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    forest = MLXIsolationForest(2, max_samples=4, random_state=0)
    detector = Detector(model=forest, threshold_rule=Contamination(0.1)).fit(frame)
    save_detector(detector, corpus / "model", corpus / "preprocessor")
    parts: list[Any] = [
        forest,
        MLXIsolationForest(2, max_samples=4, scoring="blend", random_state=np.random.RandomState(1)).fit(rows),
        MLXIsolationForest(2, max_samples=4, extension_level=1).fit(rows),
        MLXIsolationForest(2, max_samples=4).fit(rows).quantize(8),
        BlendedIsolationForest(8, random_state=0).fit(rows),
        StandardScaler().fit(rows),
        detector.preprocessor.schema_,
        detector.threshold_rule,
        [np.array(["a", "b"], dtype=object), np.array(["a"]), np.float64(1), slice(1, None), {("a", 1): b"x"}],
    ]
    found = [(corpus / name).read_bytes() for name in ("model", "preprocessor")]
    for part in parts:
        for protocol in (3, 4, 5):
            file = io.BytesIO()
            joblib.dump({"model": part}, file, protocol=protocol)
            found.append(file.getvalue())
    for number, content in enumerate(found):
        (corpus / str(number)).write_bytes(content)
    return found


def test_one_input(content: bytes) -> None:
    """Read it; what can be read must not bring down what scores with it."""
    FILE.write_bytes(b"\x80" + content[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            READING.append(True)
            try:
                found = anomaly_detection.safe_pickle.read_joblib(FILE)
            finally:
                READING.clear()
            if isinstance(found, dict):
                score(found.get("model"))
            load_detector(FILE)
        except ModelFileError as error:
            if not str(error).isprintable():
                raise RuntimeError("an error that is not one printable line") from error


def score(model: Any) -> None:
    """Score by compiled code, where an index that is wrong would be no exception; what is one does not matter."""
    if isinstance(model, BaseIsolationForest):
        with contextlib.suppress(Exception):
            rows = np.zeros((20, min(model.n_features_in_, 100)), np.float32)
            rows[::2] = np.nan
            model.set_params(n_jobs=1, backend="numba").score_samples(rows)


def mutate(content: bytes, most: int, seed: int) -> bytes:
    """Change bytes, or put names, instructions, lengths or a piece of a good file where they do not belong."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content) + 1)
        kind = chance.randrange(7)
        if kind == 0:
            module, name = chance.choice(NAMES)
            new = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name)) + b"\x93"
        elif kind == 1:
            new = bytes([chance.choice(OPCODES)])
        elif kind == 2:
            new = chance.choice([b"\xff" * 4, b"\xff" * 8, b"\0" * 7 + b"\x10", b"\0\0\0\x80"])
        elif kind == 3:
            donor = chance.choice(GOOD)
            start = chance.randrange(len(donor))
            new = donor[start : start + chance.choice([4, 20, 100, 1000])]
        elif kind == 4:
            new = b""
        elif kind == 5:
            new = content[place : place + chance.randint(2, 12)] * chance.choice([2, 20, 2000])
        else:
            content = bytes(atheris.Mutate(content, most))
            continue
        content = content[:place] + new + content[place + chance.choice([0, len(new), chance.randrange(16)]) :]
    return content[:most]


def main() -> None:
    """Run libFuzzer on small models."""
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    GOOD.extend(seeds(corpus))
    sys.addaudithook(audit)
    atheris.Setup([*sys.argv, str(corpus), "-max_len=100000"], test_one_input, custom_mutator=mutate)
    atheris.Fuzz()


GOOD: list[bytes] = []
READING: list[bool] = []

if __name__ == "__main__":
    main()
