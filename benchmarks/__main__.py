"""`python -m benchmarks`: every script about speed and size, then what is found; each in a process of its own.

    python -m benchmarks [SCRIPT ...] [--quick] [options that the scripts take]

A process of its own, because the memory and the compiled code of one would show in the figures of the next.
"""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import takewhile

SCRIPTS = (
    "score",
    "fit",
    "shapes",
    "latency",
    "records",
    "training",
    "startup",
    "cluster",
    "scheduling",
    "memory",
    "quantization",
    "pruning",
    "interop",
    "explain",
    "wide",
    "real_tables",
    "service",
    "lists",
)
QUALITY = (
    "accuracy",
    "adbench",
    "oddbench",
    "asked",
    "batches",
    "drift",
    "pivots",
    "feedback",
    "verdicts",
    "nab",
    "supply_chain",
    "explanations",
    "service_hour",
    "streaming",
    "weeks",
)
"""Other scripts about what is found, not how fast: run by hand, since they take data or long."""

LONG = ("service_soak", "inbox")
"""Scripts that take minutes to hours by themselves: run by hand."""

ON_A_GPU = ("gpu", "gpu_arrays", "gpu_grow")
"""Scripts for machines that have one."""


def main(arguments: list[str]) -> int:
    """Run the scripts named first, or all, with the other arguments; the exit code says whether all ended well."""
    names = list(takewhile(lambda word: not word.startswith("-"), arguments))
    unknown = sorted(set(names) - set(SCRIPTS))
    if unknown:
        print(f"no script is called {', '.join(unknown)}; there are {', '.join(SCRIPTS)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or SCRIPTS:
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments[len(names) :]], check=False)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
