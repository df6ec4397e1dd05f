"""A ``.joblib`` file that would run code, or that asks for more than it holds, is refused before anything runs."""

from __future__ import annotations

import bz2
import collections
import copyreg
import functools
import gzip
import importlib
import lzma
import operator
import os
import pickle
import re
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from anomaly_detection.detector import Detector
from anomaly_detection.errors import ModelFileError
from anomaly_detection.persistence import load_detector, save_detector
from anomaly_detection.safe_pickle import read_joblib
from anomaly_detection.synthetic import generate
from mlx_iforest import MLXIsolationForest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.joblib"
    frame = generate("classic", 100, seed=3).frame[["lead_time", "supplier"]]
    save_detector(Detector(model=MLXIsolationForest(n_estimators=3, random_state=0)).fit(frame), path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_detector(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < len(str(path)) + 400
    return message


# Each payload is first shown to work: it makes the file `canary` when joblib loads it.


class Call:
    """Pickled as a call."""

    def __init__(self, what: Callable[..., Any], *arguments: Any) -> None:
        self.call = what, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def evil(canary: str) -> Call:
    return Call(os.system, f"touch {canary}")


def chain(canary: str) -> Call:
    # The callable is itself the result of calls: methodcaller("system", ...)(import_module("os")).
    return Call(operator.methodcaller("system", f"touch {canary}"), Call(importlib.import_module, "os"))


def in_state(canary: str) -> StandardScaler:
    scaler = StandardScaler()
    scaler.mean_ = evil(canary)
    return scaler


def pickled(canary: str) -> str:
    path = Path(f"{canary}.pickle")
    path.write_bytes(pickle.dumps(evil(canary)))
    return str(path)


def saved_array(canary: str) -> str:
    np.save(f"{canary}.npy", np.array([evil(canary)], dtype=object), allow_pickle=True)
    return f"{canary}.npy"


def objects(*items: Any) -> np.ndarray[Any, Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


Make = Callable[[dict[str, Any], str], Any]
PAYLOADS: dict[str, tuple[str, Make]] = {
    "os.system": (r"wants to call \w+\.system, which no model needs", lambda model, canary: evil(canary)),
    "subprocess": ("subprocess.call", lambda model, canary: Call(subprocess.call, ["touch", canary])),
    "eval": ("builtins.eval", lambda model, canary: Call(eval, f"open({canary!r}, 'w').close()")),
    "exec": ("builtins.exec", lambda model, canary: Call(exec, f"open({canary!r}, 'w').close()")),
    "getattr": ("builtins.getattr", lambda model, canary: Call(Path(canary).touch)),
    "a chain of calls": ("operator.methodcaller", lambda model, canary: chain(canary)),
    "partial": (
        "functools.partial",
        lambda model, canary: Call(functools.partial(os.system, f"touch {canary}")),
    ),
    "in a list of a real model": ("system", lambda model, canary: {**model, "training": {"a": [1, [evil(canary)]]}}),
    "behind a real model": ("system", lambda model, canary: [model, evil(canary)]),
    "in place of the preprocessor": ("system", lambda model, canary: {**model, "preprocessor": evil(canary)}),
    "in an array of objects": ("system", lambda model, canary: {**model, "feature_names": objects("a", evil(canary))}),
    "in an array in an array": ("system", lambda model, canary: objects(objects("a", evil(canary)), "b")),
    "in a state": ("system", lambda model, canary: {**model, "scaler": in_state(canary)}),
    "as a key": ("system", lambda model, canary: {evil(canary): 1}),
    "as an argument": ("system", lambda model, canary: Call(slice, evil(canary), 1, 2)),
    "in an ordered dict": ("OrderedDict", lambda model, canary: collections.OrderedDict(a=evil(canary))),
    "in a pipeline": (
        "sklearn.pipeline.Pipeline",
        lambda model, canary: make_pipeline(StandardScaler(), FunctionTransformer(evil(canary))),
    ),
    "a pickle in a pickle": ("loads", lambda model, canary: Call(pickle.loads, pickle.dumps(evil(canary)))),
    "numpy.load": ("numpy", lambda model, canary: Call(np.load, saved_array(canary), None, True)),
    "joblib.load": ("joblib.numpy_pickle.load", lambda model, canary: Call(joblib.load, pickled(canary))),
    "pandas.read_pickle": ("pandas", lambda model, canary: Call(pd.read_pickle, pickled(canary))),
}


def assert_refused_unrun(path: Path, canary: Path, load: Callable[[Path], object] = joblib.load) -> str:
    """The file at `path` does its work when `load` reads it, and none when we do."""
    with suppress(Exception):
        load(path)
    assert canary.exists(), "this payload does nothing, so it proves nothing"
    canary.unlink()
    message = refused(path)
    assert not canary.exists()
    return message


@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_runs(name: str, model: Path, tmp_path: Path) -> None:
    wanted, make = PAYLOADS[name]
    joblib.dump(make(joblib.load(model), str(tmp_path / "canary")), tmp_path / "model.joblib")
    message = assert_refused_unrun(tmp_path / "model.joblib", tmp_path / "canary")
    assert re.search(wanted, message)
    assert "nothing was run" in message


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_runs_in_any_protocol(protocol: int, model: Path, tmp_path: Path) -> None:
    content = {**joblib.load(model), "scaler": evil(str(tmp_path / "canary"))}
    joblib.dump(content, tmp_path / "model.joblib", protocol=protocol)
    message = assert_refused_unrun(tmp_path / "model.joblib", tmp_path / "canary")
    assert ("system" if protocol >= 2 else "not a model file") in message


@pytest.mark.parametrize(
    "compress",
    [zlib.compress, gzip.compress, bz2.compress, lzma.compress, lambda data: lzma.compress(data, lzma.FORMAT_ALONE)],
    ids=["zlib", "gzip", "bz2", "xz", "lzma"],
)
def test_nothing_runs_when_compressed(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(compress(pickle.dumps(evil(str(tmp_path / "canary")))))
    message = assert_refused_unrun(tmp_path / "model.joblib", tmp_path / "canary")
    assert "not a model file" in message


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


INSTRUCTIONS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "INST": ("INST", lambda command: b"\x80\x02(" + command + b"ios\nsystem\n."),
    "OBJ": ("system", lambda command: b"\x80\x02(cos\nsystem\n" + command + b"o."),
    "EXT1": ("EXT1", lambda command: b"\x80\x02\x82\x7e" + command + b"\x85R."),
    "EXT2": ("EXT2", lambda command: b"\x80\x02\x83\x7e\0" + command + b"\x85R."),
    "EXT4": ("EXT4", lambda command: b"\x80\x02\x84\x7e\0\0\0" + command + b"\x85R."),
    "a name in two lines": ("system", lambda command: b"\x80\x02cos\nsystem\n" + command + b"\x85R."),
    "a name from the stack": (
        "system",
        lambda command: b"\x80\x04" + text("os") + text("system") + b"\x93" + command + b"\x85R.",
    ),
    "a dotted name": (
        "os.path",
        lambda command: b"\x80\x04" + text("os.path") + text("os.system") + b"\x93" + command + b"\x85R.",
    ),
    "an attribute of an allowed module": (
        "anomaly_detection.files.os.system",
        lambda command: (
            b"\x80\x04" + text("anomaly_detection.files") + text("os.system") + b"\x93" + command + b"\x85R."
        ),
    ),
}


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_nothing_runs_by_any_instruction(name: str, tmp_path: Path) -> None:
    wanted, make = INSTRUCTIONS[name]
    canary = tmp_path / "canary"
    (tmp_path / "model.joblib").write_bytes(make(text(f"touch {canary}")))
    copyreg.add_extension("os", "system", 0x7E)
    try:
        message = assert_refused_unrun(tmp_path / "model.joblib", canary)
    finally:
        copyreg.remove_extension("os", "system", 0x7E)
    assert wanted in message


@pytest.mark.parametrize("pid", [b"Pname\n", text("name") + b"Q"], ids=["PERSID", "BINPERSID"])
def test_persistent_ids(pid: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"\x80\x04" + pid + b".")
    assert "PERSID" in refused(tmp_path / "model.joblib")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "__import__"),
        ("builtins", "compile"),
        ("builtins", "type"),
        ("codecs", "decode"),
        ("copyreg", "_reconstructor"),
        ("joblib.numpy_pickle_compat", "ZNDArrayWrapper"),
        ("numpy", "load"),
        ("numpy", "memmap"),
        ("numpy", "vectorize"),
        ("numpy.testing._private.utils", "runstring"),
        ("pandas.core.computation.eval", "eval"),
        ("runpy", "run_path"),
        ("sklearn.preprocessing._function_transformer", "FunctionTransformer"),
        ("subprocess", "Popen"),
        ("types", "FunctionType"),
        ("anomaly_detection.persistence", "save_detector"),
        ("mlx_iforest.forest", "np"),
        ("numpy", "dtype.type"),
        ("evil\x1b[31m\n" + "x" * 1000, "\u202ename"),
    ],
)
def test_no_other_name_means_anything(module: str, name: str, tmp_path: Path) -> None:
    named = text(module) + text(name) + b"\x93"
    for made in (b")R", b")\x81", b""):
        (tmp_path / "model.joblib").write_bytes(b"\x80\x04" + named + made + b".")
        message = refused(tmp_path / "model.joblib")
        assert module[:4] in message
        assert "nothing was run" in message


# What is allowed, misused. Pickles by hand, since nobody's pickler writes these.


def plain(value: object) -> bytes:
    return pickle.dumps(value, protocol=3)[2:-1]


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def row(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def call(what: bytes, *arguments: bytes) -> bytes:
    return what + row(*arguments) + b"R"


def made(what: bytes, state: bytes | None = None) -> bytes:
    return what + b")\x81" + (b"" if state is None else state + b"b")


def attributes(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in values.items()) + b"u"


def dtype(code: object) -> bytes:
    return call(named("numpy", "dtype"), plain(code), plain(False), plain(True))


NDARRAY = named("numpy", "ndarray")
RECONSTRUCT = call(named("numpy._core.multiarray", "_reconstruct"), NDARRAY, plain((0,)), plain(b"b"))
FOREST = named("mlx_iforest.forest", "Forest")
RULE = named("anomaly_detection.thresholds", "Contamination")


def array(**changes: bytes) -> bytes:
    """Four bytes, as joblib writes an array, with changes to what it says of them."""
    told = {"subclass": NDARRAY, "shape": plain((4,)), "order": plain("C"), "dtype": dtype("u1")}
    return made(named("joblib.numpy_pickle", "NumpyArrayWrapper"), attributes(**told | changes)) + b"\0\1\2\3"


def index(data: bytes) -> bytes:
    state = attributes(data=data, name=plain(None))
    return call(named("pandas.core.indexes.base", "_new_Index"), named("pandas", "Index"), state)


def random_state(**changes: object) -> bytes:
    key = array(shape=plain((1,)), dtype=dtype("u4"))
    inner = attributes(**{"key": key, "pos": plain(0)} | {name: plain(value) for name, value in changes.items()})
    state = attributes(bit_generator=plain("MT19937"), state=inner, has_gauss=plain(0), gauss=plain(0.0))
    return call(named("numpy.random._pickle", "__randomstate_ctor"), plain("MT19937")) + state + b"b"


MISUSED: dict[str, tuple[str, bytes]] = {
    "more elements than memory": ("bytes", array(shape=plain((2**60,)))),
    "a product beyond 64 bits": ("bytes", array(shape=plain((2**40, 2**40)))),
    "one byte too many": ("5 of its 6 bytes", array(shape=plain((6,)))),
    "a negative length": ("shape", array(shape=plain((-1,)))),
    "a truth value for a length": ("shape", array(shape=plain((True,)))),
    "a mapped file": ("numpy.memmap", array(subclass=named("numpy", "memmap"))),
    "another class for an array": ("joblib did not write", array(subclass=FOREST)),
    "a function for a dtype": ("without a type", array(dtype=named("numpy", "dtype"))),
    "a record": ("type V8", array(dtype=dtype("V8"))),
    "long texts": ("type U99999", array(dtype=dtype("U99999"))),
    "a list of fields": ("of list", array(dtype=dtype([("a", "O")]))),
    "objects of four bytes": (
        "as it is not",
        array(dtype=dtype("O8") + plain((3, "|", None, None, None, 4, 4, 63)) + b"b"),
    ),
    "a number without bytes": (
        "as it is not",
        array(dtype=dtype("u1") + plain((3, "|", None, None, None, 0, 1, 0)) + b"b"),
    ),
    "truth values of two and three": ("truth value", array(dtype=dtype("b1"))),
    "an array in an array of objects": (
        "another way|did not write",
        array(dtype=dtype("O8"))[:-4] + b"\x80\x04" + array() + b".",
    ),
    "objects that are no texts": (
        "no texts",
        array(dtype=dtype("O8"), shape=plain((1,)))[:-4]
        + b"\x80\x04"
        + RECONSTRUCT
        + row(plain(1), plain((1,)), dtype("O8"), plain(False), plain([{}]))
        + b"b.",
    ),
    "fewer objects than told": (
        "no texts",
        array(dtype=dtype("O8"), shape=plain((9,)))[:-4]
        + b"\x80\x04"
        + RECONSTRUCT
        + row(plain(1), plain((9,)), dtype("O8"), plain(False), plain(["a"]))
        + b"b.",
    ),
    "another array than one": (
        "another way",
        call(named("numpy._core.multiarray", "_reconstruct"), FOREST, plain((0,)), plain(b"b")),
    ),
    "an object as a number": (
        "another way",
        call(named("numpy._core.multiarray", "scalar"), dtype("O8"), plain([1])),
    ),
    "a number of three bytes": (
        "another way",
        call(named("numpy._core.multiarray", "scalar"), dtype("f8"), plain(b"abc")),
    ),
    "a slice of lists": ("slice", call(named("builtins", "slice"), plain([1]), plain(2), plain(3))),
    "another codec": ("another way", call(named("_codecs", "encode"), plain("abc"), plain("rot13"))),
    "a role that there is not": ("damaged", call(named("anomaly_detection.schema", "Role"), plain("root"))),
    "an index of a list": ("index", index(plain([1, 2]))),
    "an index of numbers": ("index", index(array())),
    "a random generator beyond its key": ("generator", random_state(pos=10**6)),
    "a random generator with a short key": ("generator", random_state()),
    "arguments for a class": ("arguments", RULE + plain((1,)) + b"\x81"),
    "a class as data": ("holds mlx_iforest.forest.Forest where", made(RULE, attributes(ratio=FOREST))),
    "a function as data": ("holds numpy.dtype where", row(named("numpy", "dtype"))),
    "an array's type as data": ("where a model holds data", row(dtype("u1"))),
    "a class as a function": ("wants to call mlx_iforest.forest.Forest", call(FOREST, plain(1))),
    "a number as a function": ("wants to call a int", call(plain(1))),
    "data for a method": ("sets fit of a Contamination", made(RULE, attributes(fit=plain(1)))),
    "another class for an instance": ("sets __class__", made(RULE, attributes(__class__=plain(1)))),
    "attributes without names": ("sets of int", made(RULE, plain({1: 1}))),
    "attributes in slots": ("other things than attributes", made(RULE, plain((None, {"ratio": 1})))),
    "a state of a list": ("sets the state of a list", plain([]) + plain({}) + b"b"),
    "items of a list": ("sets items of a list", plain([]) + plain(1) + plain(1) + b"s"),
    "appending to an instance": ("appends to a Contamination", made(RULE) + plain(1) + b"a"),
    "lists in keys": ("for a key", plain({}) + row(plain([])) + plain(1) + b"s"),
    "an instruction that there is not": ("no instruction", b"\xff"),
    "nothing on the stack": ("damaged", b""),
}


@pytest.mark.parametrize("name", MISUSED)
def test_misuse_of_what_is_allowed(name: str, tmp_path: Path) -> None:
    wanted, content = MISUSED[name]
    (tmp_path / "model.joblib").write_bytes(b"\x80\x04" + content + b".")
    assert re.search(wanted, refused(tmp_path / "model.joblib"))


def test_a_pickle_by_hand_is_read_when_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"\x80\x04" + row(array(), made(RULE, attributes(ratio=plain(0.5)))) + b".")
    assert "holds a tuple, not a model" in refused(tmp_path / "model.joblib")


def test_the_list_of_columns_that_older_scikit_learns_write(tmp_path: Path) -> None:
    columns = made(named("sklearn.compose._column_transformer", "_RemainderColsList"), attributes(data=plain([0, 2])))
    (tmp_path / "columns.joblib").write_bytes(b"\x80\x04" + columns + b".")
    assert read_joblib(tmp_path / "columns.joblib") == [0, 2]


# Files that ask for more memory or time than goes with their size.


def laughs(levels: int) -> object:
    laugh: object = "ha" * 10
    for _ in range(levels):
        laugh = (laugh, laugh)
    return laugh


def in_circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


BOMBS: dict[str, tuple[str, bytes]] = {
    "a billion laughs": ("over and over", pickle.dumps({"training": laughs(50)})),
    "a billion laughs in lists": (
        "over and over",
        b"\x80\x04" + b"]\x94" + b"".join(b"](h%ch%ce\x94" % (i, i) for i in range(50)) + b".",
    ),
    "a billion laughs in a model that is dropped": (
        "over and over",
        b"\x80\x04"
        + made(named("mlx_iforest.estimator", "MLXIsolationForest"), attributes(scoring=plain(laughs(50))))
        + b"N.",
    ),
    "a billion laughs for a key": ("for a key", pickle.dumps({laughs(3): 1})),
    "one text encoded over and over": (
        "over and over",
        b"\x80\x04"
        + text("x" * 20_000)
        + b"\x94"
        + named("_codecs", "encode")
        + b"\x94"
        + text("latin1")
        + b"\x94"
        + b"h\1(h\0h\2tR" * 5000
        + b".",
    ),
    "the same attributes over and over": (
        "over and over",
        b"\x80\x04"
        + attributes(**{f"a{i}": plain(None) for i in range(1000)})
        + b"\x94"
        + RULE
        + b"\x94"
        + b"h\1)\x81h\0b" * 5000
        + b".",
    ),
    "random generators over and over": (
        "over and over",
        b"\x80\x04" + named("numpy.random._pickle", "__randomstate_ctor") + b"\x94" + b"h\0)R" * 20_000 + b".",
    ),
    "the same texts over and over": (
        "over and over",
        b"\x80\x04"
        + array(dtype=dtype("O8"))[:-4]
        + b"\x80\x04"
        + row(plain(1), plain((2000,)), dtype("O8"), plain(False), b"](" + text("a") * 2000 + b"e")
        + b"qA"
        + named("numpy._core.multiarray", "_reconstruct")
        + b"qB"
        + row(NDARRAY, plain((0,)), plain(b"b"))
        + b"qC"
        + b"hBhCRhAb" * 5000
        + b".",
    ),
    "an array of many dimensions": ("shape", b"\x80\x04" + array(shape=plain((1,) * 10_000)) + b"."),
    "lists in lists": ("in containers", b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "tuples in tuples": ("in containers", b"\x80\x04)" + b"\x85" * 100_000 + b"."),
    "a circle": ("circle", pickle.dumps(in_circle())),
    "4 GB of text": ("damaged", b"\x80\x04X\xff\xff\xff\xffabc."),
    "4 GB of bytes": ("damaged", b"\x80\x04B\xff\xff\xff\xffabc."),
    "an exabyte of text": ("BINUNICODE8", b"\x80\x04\x8d" + b"\0" * 7 + b"\x0fabc."),
    "an exabyte of bytes": ("BINBYTES8", b"\x80\x04\x8e" + b"\0" * 7 + b"\x0fabc."),
    "an exabyte to be written to": ("BYTEARRAY8", b"\x80\x05\x96" + b"\0" * 7 + b"\x0fabc."),
    "a frame of an exabyte": ("not a model", b"\x80\x04\x95" + b"\0" * 7 + b"\x0fN."),
    "2 GB of digits": ("LONG4", b"\x80\x04\x8b\xff\xff\xff\x7fabc."),
    "an array of 2**60": ("bytes", b"\x80\x04" + array(shape=plain((2**60,))) + b"."),
    "buffers that are elsewhere": ("NEXT_BUFFER", b"\x80\x05\x97."),
    "a decompression bomb": ("not a model file", gzip.compress(gzip.compress(b"\0" * 10_000_000))),
    "an old format with files beside it": ("not a model file", b"ZF0x10" + b" " * 20 + zlib.compress(b"x")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, tmp_path: Path) -> None:
    wanted, content = BOMBS[name]
    (tmp_path / "model.joblib").write_bytes(content)
    refused(tmp_path / "model.joblib")  # what is loaded once is not to be counted
    tracemalloc.start()
    try:
        message = refused(tmp_path / "model.joblib")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(wanted, message)
    assert peak < 1_000_000 + 200 * len(content)


def test_several_forests(model: Path, tmp_path: Path) -> None:
    """What is named twice would be unpacked twice."""
    first, second = joblib.load(model), joblib.load(model)
    joblib.dump({**first, "training": [second["model"]]}, tmp_path / "model.joblib")
    assert "several forests" in refused(tmp_path / "model.joblib")


def test_nothing_else_in_the_packages_reads_pickles() -> None:
    danger = re.compile(
        r"\b(pickle\.(load|loads|_?Unpickler)|joblib\.load|read_pickle|allow_pickle=True|np\.load|marshal|shelve|dill)\b"
    )
    found = {
        (file.name, match[0])
        for package in ("mlx_iforest", "anomaly_detection")
        for file in (ROOT / package).rglob("*.py")
        for match in danger.finditer(file.read_text("utf-8"))
    }
    assert found == {("safe_pickle.py", "pickle._Unpickler")}
