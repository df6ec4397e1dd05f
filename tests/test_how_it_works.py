"""The page names files, functions and attributes that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mlx_iforest import MLXIsolationForest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how_it_works.md"
PACKAGES = [ROOT / "mlx_iforest", ROOT / "anomaly_detection"]
SOURCES = [file for package in PACKAGES for file in package.rglob("*.py")]
NAMED = sorted(
    {*re.findall(r"`([^`\n]+)`", PAGE.read_text("utf-8")), *re.findall(r"\b[\w/]+\.py\b", PAGE.read_text("utf-8"))}
)


def names_in(source: str) -> Iterator[str]:
    """What a source defines, imports, takes, sets or writes as a text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.alias)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def names() -> set[str]:
    return {name for file in SOURCES for name in names_in(file.read_text("utf-8"))}


def exists(text: str) -> bool:
    """Whether there is what a text in backticks names: a file, ``argument="value"``, ``model.attribute`` or a name."""
    if text.endswith("/"):
        return any((folder / text).is_dir() for folder in (ROOT, *PACKAGES))
    if text.endswith(".py"):
        return any(file.match(text) for file in [*SOURCES, *ROOT.glob("*.py")])
    if text.startswith(".") or text.endswith((".json", ".html")):
        return any(name.endswith(text) for name in names())
    if "=" in text:
        return set(text.replace('"', "").split("=")) <= names()
    name = text.partition("(")[0]
    if name.startswith("model."):
        return hasattr(MLXIsolationForest, name[6:]) or (name.endswith("_") and name[6:] in names())
    return name in names()


def test_what_the_page_names_exists() -> None:
    assert [text for text in NAMED if not exists(text)] == []


ABSENT = ["nothing.py", "nowhere/", ".odd", 'scoring="vastness"', "model.leaf_mean", "path_lengths", "absent(x)"]


def test_what_does_not_exist_is_seen() -> None:
    assert not any(map(exists, ABSENT))
