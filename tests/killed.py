"""Runs a write once for each step that it takes at the system's door, and ends it there; see `test_files.py`.

`python killed.py FOLDER kill|interrupt`: the write is `write`, into FOLDER; prints a line of JSON a step.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

# By its path: the package would take seconds to load.
_SPEC = importlib.util.spec_from_file_location("files", Path(__file__).parent.parent / "mlx_iforest" / "files.py")
assert _SPEC is not None
assert _SPEC.loader is not None
files = importlib.util.module_from_spec(_SPEC)
sys.modules["files"] = files
_SPEC.loader.exec_module(files)

LAST = ("picture", "report")
_STEPS = ("open", "os.", "shutil.", "fcntl.")


def write(folder: Path, text: str, names: tuple[str, ...]) -> None:
    with files.replacing_all(folder, LAST) as new:
        for name in names:
            (new / name).write_text(text)


def found(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def end_at(step: int, how: str) -> None:
    """Have this process end, or be interrupted, when it asks something of the system for the `step`-th time."""
    left = step

    def count(event: str, _: object) -> None:
        nonlocal left
        if event.startswith(_STEPS):
            left -= 1
            if left == 0:
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGTERM)

    sys.addaudithook(count)


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def child(folder: Path, step: int, how: str) -> int:
    signal.signal(signal.SIGTERM, interrupt)
    try:
        end_at(step, how)
        write(folder, "new", ("a", "b", "report"))
    except KeyboardInterrupt:
        files.settle_open()
        return 1
    return 0


def main(root: Path, how: str) -> None:
    step, status = 0, -1
    while status != 0:
        step += 1
        folder = root / str(step)
        write(folder, "old", ("a", "b", "picture", "report"))
        forked = os.fork()
        if forked == 0:
            os._exit(child(folder, step, how))
        status = os.waitpid(forked, 0)[1]
        at_once = found(folder)
        files.settle_left(folder)
        told = {"at_once": at_once, "settled": found(folder), "left": [path.name for path in folder.iterdir()]}
        sys.stdout.write(json.dumps(told) + "\n")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
