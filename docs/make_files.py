"""Print ``docs/files.md``: every module in a line, by the first sentence of its docstring."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("mlx_iforest", "anomaly_detection", "benchmarks", "examples")


def folders() -> list[Path]:
    """The folders that hold modules: each package's own first, then those inside it."""
    return [folder for name in PACKAGES for folder in sorted({module.parent for module in (ROOT / name).rglob("*.py")})]


def modules(folder: Path) -> list[Path]:
    """The modules of a folder, in order; those that only make it a package have nothing to say."""
    return sorted(module for module in folder.glob("*.py") if module.name != "__init__.py")


def summary(module: Path) -> str:
    """What a module's docstring says first, in Markdown on one line.

    Raises
    ------
    SystemExit
        If the module has no docstring.
    """
    text = ast.get_docstring(ast.parse(module.read_text("utf-8")))
    if not text:
        raise SystemExit(f"{module.relative_to(ROOT)} has no docstring; give it one that says what the module does.")
    return re.sub(r"\s+", " ", text.split("\n\n")[0]).replace("``", "`").strip()


def page() -> str:
    """The page, which ends in a newline."""
    lines = ["# Files", "", "Written by `make docs` from the modules' docstrings; do not edit."]
    for folder in folders():
        path = folder.relative_to(ROOT).as_posix()
        names = [f"- [{module.name}](../{path}/{module.name}): {summary(module)}" for module in modules(folder)]
        lines += ["", f"## {path}", "", *names]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
