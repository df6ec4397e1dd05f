"""How fast does a GPU score? Layouts of the kernel, the floor, input from NumPy, and other libraries on the same GPU.

    python -m benchmarks.gpu --json results.json [--seconds 300] [--cases 8 64 ...] [--scale 1.0]
    python -m benchmarks.gpu --publish results.json grow.json

The second puts the figures of the first, and of `benchmarks.gpu_grow`, on the page of results.

Each case runs in a process of its own, so that a failed launch ends one case only. Every layout's sums are compared
with Numba's, bit for bit, before it is timed. Seconds are medians of at least ten runs over inputs that take turns;
each run ends when the device has its result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from benchmarks import gpu_page, gpu_peers
from benchmarks.harness import FOLDER
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.mlx import scoring as mlx_kernels
from mlx_iforest.backends.mlx.device_forest import REGISTER_FEATURES, DeviceForest, Layout
from mlx_iforest.backends.scored_trees import Trees
from mlx_iforest.compress.quantization import quantize_forest
from mlx_iforest.forest import LEAF, Forest
from mlx_iforest.growth import GrowthPlan

TRAINING_ROWS = 20_000
CHECKED_ROWS = 20_000
REPEATS = 11

DEVICE_BYTES, DEVICE_CYCLES = 3.35e12, 132 * 1.755e9
"""Of an H100: bytes a second of its memory, and cycles a second of all its cores. A cycle reads 128 bytes of shared
memory, one word of each of 32 banks."""


@dataclass(frozen=True)
class Case:
    """A forest and the rows that it scores."""

    name: str
    n_rows: int
    n_features: int
    n_trees: int = 100
    subsample: int = 256
    quantized: bool = False
    peers: bool = False


CASES = (
    Case("8", 4_000_000, 8, peers=True),
    Case("8 quantised", 4_000_000, 8, quantized=True),
    Case("64", 1_000_000, 64, peers=True),
    Case("deep", 1_000_000, 8, n_trees=300, subsample=4096),
    Case("64 quantised", 1_000_000, 64, quantized=True),
    Case("500", 1_000_000, 500),
)

AXES: tuple[tuple[dict[str, Any], ...], ...] = (
    tuple({"threads": n} for n in (512, 1024)),
    tuple({"splits": n} for n in (1, 2)),
    tuple({"trees_side_by_side": n} for n in (1, 2, 4)),
    tuple({"n_groups": n} for n in (132, 264, 528, 1056)),
)
"""What is tried, one after the other, each with the best of those before."""


class Data:
    """A case's forest, rows on the device, and what Numba makes of some of them."""

    def __init__(self, case: Case, scale: float) -> None:
        n_rows = max(1, int(case.n_rows * scale))
        n_inputs = 3 if n_rows * case.n_features < 1 << 28 else 2
        keys = mx.random.split(mx.random.key(7), n_inputs)
        self.inputs = [mx.random.normal((n_rows, case.n_features), key=keys[i]) for i in range(n_inputs)]
        mx.eval(*self.inputs)
        self.training = np.array(self.inputs[0][:TRAINING_ROWS])
        n_samples = len(self.training)
        plan = GrowthPlan(
            7, 0, case.n_trees, n_samples, case.n_features, min(case.subsample, n_samples), case.n_features
        )
        numba = get_backend("numba")
        self.forest: Forest = numba.grow(self.training, plan, n_threads=1)
        if case.quantized:
            self.forest = quantize_forest(self.forest, 8)
        self.values = self.forest.path_length[:, None]
        self.trees = Trees.of(self.forest, whole_numbers(self.values)[1])
        self.checked = np.array(self.inputs[1][-CHECKED_ROWS:])
        self.checked[1::7, 0] = np.nan
        self.checked = np.concatenate([self.checked, self.training[:1000]])
        self.expected = numba.leaf_means(self.forest, self.values, self.checked)

    def scorer(self, settings: dict[str, Any]) -> mlx_kernels.KernelScorer:
        settings = dict(settings)
        n_groups = settings.pop("n_groups", mlx_kernels.GROUPS)
        limits = dict(zip(("shared", "threads"), mlx_kernels.group_limits(), strict=True))
        layout = Layout.of(self.trees, **{**limits, **settings})
        return mlx_kernels.KernelScorer(self.forest, self.values, layout, n_groups)

    def check(self, scorer: mlx_kernels.KernelScorer) -> None:
        """The sums of rows, the first thousand without missing values too, are Numba's."""
        for part in (slice(0, None), slice(-1000, None)):
            totals = np.asarray(scorer.totals(mx.array(self.checked[part])))
            means = totals * (scorer.unit / self.forest.n_trees)
            if not np.array_equal(means, self.expected[part]):
                wrong = int((means != self.expected[part]).sum())
                raise AssertionError(f"{wrong} of {len(means)} rows are not what Numba says")


def seconds(run: Callable[[int], Any], repeats: int = REPEATS) -> float:
    """Median seconds of a run, whose argument counts up; each ends with its result."""
    run(0)
    taken = []
    for i in range(repeats):
        began = time.perf_counter()
        run(i + 1)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def scoring_seconds(scorer: mlx_kernels.KernelScorer, inputs: list[mx.array]) -> tuple[float, float]:
    """Of one input, awaited; and of one of ten that are awaited together."""
    mx.synchronize()
    alone = seconds(lambda i: mx.eval(scorer.totals(inputs[i % len(inputs)])))
    together = seconds(lambda i: mx.eval([scorer.totals(inputs[k % len(inputs)]) for k in range(10)]), 3) / 10
    return alone, together


def search(data: Data, deadline: float, **fixed: Any) -> Iterator[dict[str, Any]]:
    """Time layouts, axis after axis; yields what each took, or its error."""
    best: dict[str, Any] = dict(fixed)
    fastest = float("inf")
    seen: set[str] = set()
    for axis in ((({}),), *AXES):
        for change in axis:
            settings = {**best, **change}
            if time.monotonic() > deadline:
                yield {"settings": settings, "error": "skipped: no time left"}
                return
            try:
                scorer = data.scorer(settings)
                key = json.dumps([asdict(scorer.packed.layout), scorer.n_groups])
                if key in seen:
                    continue
                seen.add(key)
                data.check(scorer)
                alone, together = scoring_seconds(scorer, data.inputs)
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
                if message not in seen:
                    traceback.print_exc()
                seen.add(message)
                yield {"settings": settings, "error": message}
                continue
            n_rows = data.inputs[0].shape[0]
            template = scorer.packed.template
            yield {
                "settings": settings,
                "layout": asdict(scorer.packed.layout) | {"n_groups": scorer.n_groups},
                "shared_bytes": scorer.packed.kernel.shared_bytes(**template),
                "chunks": scorer.packed.n_chunks,
                "staged": [template[name] for name in ("STAGED", "TILED")],
                "rate": n_rows / alone / 1e6,
                "rate_of_ten": n_rows / together / 1e6,
            }
            if alone < fastest:
                fastest, best = alone, settings


def shared_reads(trees: Trees, X: NDArray[np.float32], *, words: int) -> float:
    """Cycles of shared memory that 32 rows take in all trees, a node being `words` words: reads of different words of
    one bank take turns. Two words are read by half of the threads at a time."""
    rows = X[: len(X) // 32 * 32]
    where = np.arange(len(rows))
    cycles = 0.0
    for tree in range(trees.n_trees):
        at = np.full(len(rows), trees.tree_start[tree])
        for _ in range(trees.depths[tree]):
            cycles += _turns(at, words) + 1
            feature = trees.feature[at]
            right = ~(rows[where, np.maximum(feature, 0)] <= trees.threshold[at])
            children = trees.tree_start[tree] + trees.left[at] + right
            at = np.where(feature == LEAF, at, children)
        cycles += _turns(at * words, 1)
    return cycles


def _turns(at: NDArray[np.int64], words: int) -> float:
    """Mean over the groups of 32 threads of the turns that reading places of `words` words takes."""
    lanes, banks = 32 // words, 32 // words
    groups = at.reshape(-1, lanes)
    turns = np.zeros(len(groups))
    for i, group in enumerate(groups):
        turns[i] = np.bincount(np.unique(group) % banks).max()
    return float(turns.mean()) * words


def from_numpy(data: Data, settings: dict[str, Any]) -> dict[str, float]:
    """Million rows a second from rows in host memory: the transfer alone, and scoring with chunks of several sizes."""
    host = np.array(data.inputs[0][: (1 << 29) // (4 * data.forest.n_features)])
    scorer = data.scorer(settings)
    rates = {"transfer": seconds(lambda i: mx.eval(mx.array(host)), 5)}
    rates["transfer, touched"] = seconds(lambda i: mx.eval(mx.max(mx.array(host))), 5)
    kept = mlx_kernels.CHUNK_BYTES
    for megabytes in (4, 16, 32, 128):
        mlx_kernels.CHUNK_BYTES = megabytes << 20
        rates[f"chunks of {megabytes} MB"] = seconds(lambda i: scorer.means(host), 5)
    mlx_kernels.CHUNK_BYTES = kept
    return {name: len(host) / taken / 1e6 for name, taken in rates.items()}


def run_case(case: Case, deadline: float, scale: float) -> dict[str, Any]:
    """Everything about one case, printed as it comes."""
    began = time.monotonic()
    data = Data(case, scale)
    result: dict[str, Any] = {"case": asdict(case), "nodes": int(data.trees.tree_start[-1])}
    print(f"\n== {case.name}: {data.inputs[0].shape}, {case.n_trees} trees, {result['nodes']} nodes", flush=True)
    sample = data.training[:256]
    cycles = {words: shared_reads(data.trees, sample, words=words) for words in (2, 1)}
    result["floor"] = {
        "memory": DEVICE_BYTES / (4 * case.n_features + 4) / 1e6,
        "float32 nodes": 32 * DEVICE_CYCLES / cycles[2] / 1e6,
        "coded nodes": 32 * DEVICE_CYCLES / cycles[1] / 1e6,
    }
    print("at most, million rows/s:", {name: round(rate) for name, rate in result["floor"].items()}, flush=True)
    result["layouts"] = []
    result["default"] = _attempt("the default", lambda: default_layout(data))
    ways = [False, True] if case.n_features <= REGISTER_FEATURES else [False]
    for k, ranks in enumerate(ways):
        until = began + (deadline - began) * (0.45 * (k + 1) if len(ways) == 2 else 0.8)
        for row in search(data, until, ranks=ranks):
            result["layouts"].append(row)
            text = f"{row['rate']:8.0f} ({row['rate_of_ten']:.0f} of ten)" if "rate" in row else row["error"]
            staged = row.get("staged", ""), row.get("chunks", "")
            print(f"{text:40} {row['settings']} {row.get('shared_bytes', '')} {staged}", flush=True)
    timed = [row for row in result["layouts"] if "rate" in row]
    if timed:
        best = max(timed, key=lambda row: row["rate"])
        result["best"] = best
        print(f"best: {best['rate']:.0f} million rows/s with {best['settings']}", flush=True)
        coded = [row for row in timed if row["settings"]["ranks"]]
        if coded:
            result["codes given"] = _attempt("codes given", lambda: _codes_given(data, coded))
        result["from NumPy"] = _attempt("from NumPy", lambda: from_numpy(data, best["settings"]))
    if case.peers:
        for name, peer in gpu_peers.PEERS.items():
            result[name] = _attempt(name, partial(peer, data.training, data.inputs, data.forest, REPEATS))
    print("final:", final_line(result), flush=True)
    return result


def default_layout(data: Data) -> dict[str, Any]:
    """The layout that is taken without measuring, checked and timed."""
    chosen = DeviceForest.best(data.trees, *mlx_kernels.group_limits()).layout
    scorer = mlx_kernels.KernelScorer(data.forest, data.values, chosen)
    data.check(scorer)
    alone, together = scoring_seconds(scorer, data.inputs)
    rows = data.inputs[0].shape[0] / 1e6
    return {"layout": asdict(chosen), "rate": rows / alone, "rate_of_ten": rows / together, "runs": REPEATS}


def final_line(result: dict[str, Any]) -> str:
    """The default layout's rate, and how it compares."""
    default = result["default"]
    if not isinstance(default, dict):
        return f"{result['case']['name']}: {default}"
    layout, rate = default["layout"], default["rate"]
    parts = [f"{result['case']['name']}: {rate:.0f} million rows/s, median of {default['runs']}"]
    parts.append(f"{layout['threads']} threads, {'codes' if layout['ranks'] else 'float32'}")
    if isinstance(result.get("nvForest"), float):
        parts.append(f"{rate / result['nvForest']:.2f} times nvForest")
    parts.append(f"{100 * rate / gpu_page.bound(result):.0f} % of the computed bound")
    if "best" in result:
        parts.append(f"best found {result['best']['rate']:.0f}")
    return ", ".join(parts)


def _codes_given(data: Data, coded: list[dict[str, Any]]) -> float:
    scorer = data.scorer(max(coded, key=lambda row: row["rate"])["settings"])
    codes = [scorer.codes(rows) for rows in data.inputs]
    mx.eval(*codes)
    return data.inputs[0].shape[0] / scoring_seconds(scorer, codes)[0] / 1e6


def _attempt(name: str, work: Callable[[], Any]) -> Any:
    try:
        found = work()
    except ImportError as error:
        found = f"skipped: {error}"
    except Exception as error:
        traceback.print_exc()
        found = f"failed: {type(error).__name__}: {error}"
    shown = f"{found:.1f} million rows/s" if isinstance(found, float) else found
    print(f"{name}: {shown}", flush=True)
    return found


def print_summary(result: dict[str, Any]) -> None:
    """The fastest layouts of a case, and all that it was compared with, in million rows a second."""
    print(f"\n== {result['case']['name']}")
    if "default" in result:
        print("final:", final_line(result))
    for ranks in (False, True):
        rows = [row for row in result.get("layouts", ()) if "rate" in row and row["settings"]["ranks"] == ranks]
        for row in sorted(rows, key=lambda row: -row["rate"])[:3]:
            print(f"{row['rate']:8.0f} ({row['rate_of_ten']:.0f} of ten) {row['layout']}")
    others = {name: found for name, found in result.items() if name not in ("case", "layouts", "best")}
    print(json.dumps(others))


def compile_numba() -> None:
    """So that the first case's time does not go into it: what is compiled is kept for other processes."""
    X = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    backend = get_backend("numba")
    forest = backend.grow(X, GrowthPlan(7, 0, 2, 500, 3, 64, 3), n_threads=1)
    backend.leaf_means(forest, forest.path_length[:, None], X)


def main(arguments: list[str] | None = None) -> int:
    """Run the cases, each in a process of its own; the exit code says whether any wrote a result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0])
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--json", type=Path, help="where the results go")
    task.add_argument("--publish", type=Path, nargs=2, metavar=("SCORE", "GROW"), help="results to put on the page")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for RESULTS.md and results/ (%(default)s)")
    parser.add_argument("--seconds", type=float, default=300, help="for all cases together (%(default)s)")
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES], metavar="NAME")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the rows of each case")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.publish:
        score, grow = (json.loads(file.read_text("utf-8")) for file in options.publish)
        print(gpu_page.publish(score, grow, options.output))
        return 0
    cases = {case.name: case for case in CASES}
    if options.one:
        result = run_case(cases[options.cases[0]], time.monotonic() + options.seconds, options.scale)
        options.json.write_text(json.dumps(result, indent=1))
        return 0
    device = {str(key): value for key, value in mx.device_info().items()}
    print("device:", device, mlx_kernels.group_limits())
    compile_numba()
    results: list[Any] = []
    end = time.monotonic() + options.seconds
    for k, name in enumerate(options.cases):
        share = (end - time.monotonic()) / (len(options.cases) - k)
        part = options.json.with_suffix(f".{k}.json")
        command = [sys.executable, "-m", "benchmarks.gpu", "--one", "--cases", name, "--json", str(part)]
        command += ["--seconds", str(share), "--scale", str(options.scale)]
        try:
            code: int | str = subprocess.run(command, check=False, timeout=max(share, 1) * 2 + 30).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
        results.append(json.loads(part.read_text()) if part.exists() else {"case": {"name": name}, "failed": code})
        part.unlink(missing_ok=True)
        options.json.write_text(json.dumps({"device": device, "cases": results}, indent=1))
    for result in results:
        print_summary(result)
    return int(not any("best" in result for result in results))


if __name__ == "__main__":
    sys.exit(main())
