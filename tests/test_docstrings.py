"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for package in ("mlx_iforest", "anomaly_detection")
    for file in (ROOT / package).rglob("*.py")
    if ">>>" in file.read_text("utf-8")
)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples(module: str) -> None:
    done = doctest.testmod(importlib.import_module(module))
    assert done.attempted > 0
    assert done.failed == 0, "what differs is printed above"
