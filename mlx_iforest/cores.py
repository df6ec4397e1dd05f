"""How many cores there are for this process, found out as joblib does, which takes a tenth of a second to load."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

__all__ = ["cores", "effective_n_jobs"]


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: of the machine, by its affinity, its container and ``LOKY_MAX_CPU_COUNT``.

    Parameters
    ----------
    root : Path
        Of the file system, where a container's limits are looked up.
    """
    if sys.platform != "linux":
        from joblib import cpu_count

        return int(cpu_count())
    there = os.cpu_count() or 1
    asked = int(os.environ.get("LOKY_MAX_CPU_COUNT", there))
    return max(min(there, len(os.sched_getaffinity(0)), _of_container(root, there), asked), 1)


def _of_container(root: Path, there: int) -> int:
    """The quota of a control group, of either version, in whole cores; `there` where it has none."""
    second, first = root / "sys/fs/cgroup/cpu.max", root / "sys/fs/cgroup/cpu"
    parts = second.read_text("ascii").split() if second.exists() else []
    files = [first / "cpu.cfs_quota_us", first / "cpu.cfs_period_us"]
    if len(parts) != 2:
        parts = [file.read_text("ascii").strip() for file in files] if all(file.exists() for file in files) else ["max"]
    if parts[0] == "max":
        return there
    quota, period = map(int, parts)
    return math.ceil(quota / period) if quota > 0 and period > 0 else there


def effective_n_jobs(n_jobs: int | None) -> int:
    """`joblib.effective_n_jobs`. Where nobody has loaded joblib, nobody has told it of other backends or numbers.

    Raises
    ------
    ValueError
        For 0 threads.
    """
    if "joblib" in sys.modules or n_jobs == 0 or _is_daemon():
        from joblib import effective_n_jobs as theirs

        return int(theirs(n_jobs))
    if n_jobs is None:
        return 1
    return int(n_jobs) if n_jobs > 0 else max(cores() + 1 + int(n_jobs), 1)


def _is_daemon() -> bool:
    """Whether this is a child of `multiprocessing` that ends with its parent; joblib gives it one thread."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and bool(process.current_process().daemon)
