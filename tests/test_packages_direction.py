"""The algorithm stands alone: it needs neither the supply-chain system nor what only that one uses, nor MLX."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = ("anomaly_detection", "pandas", "polars", "pyarrow", "narwhals", "matplotlib", "optuna", "jinja2", "rich")

FIT_AND_SCORE = """
import numpy as np
import mlx_iforest

X = np.random.default_rng(0).normal(size=(300, 3))
model = mlx_iforest.MLXIsolationForest(n_estimators=5, random_state=0).fit(X)
assert model.score_samples(X).shape == (300,)
"""

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Absent())
"""
WITHOUT_MLX = WITHOUT.format(absent=["mlx"])


def run(code: str) -> str:
    """What a fresh Python in the project's folder prints when it runs `code`."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(source: str) -> set[str]:
    """The top-level packages that a module's source imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_imported_sees_every_form_of_import() -> None:
    source = "import pandas as pd, rich.table\ndef f():\n    from optuna.trial import Trial\nfrom . import forest"
    assert imported(source) == {"pandas", "rich", "optuna"}


@pytest.mark.parametrize("file", sorted((ROOT / "mlx_iforest").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_of_the_algorithm_names_the_system(file: Path) -> None:
    assert imported(file.read_text("utf-8")).isdisjoint(FORBIDDEN)


def test_fitting_and_scoring_need_nothing_of_the_system() -> None:
    # Absent, not looked for in sys.modules: scikit-learn 1.9 imports pandas where it finds it, and requires narwhals.
    absent = [name for name in FORBIDDEN if name != "narwhals"]
    run(WITHOUT.format(absent=absent) + FIT_AND_SCORE)


def test_fitting_and_scoring_never_load_the_system() -> None:
    loaded = run(FIT_AND_SCORE + "import sys; print(*sys.modules)").split()
    assert set(loaded).isdisjoint({"anomaly_detection", "matplotlib", "optuna", "jinja2"})


def test_everything_but_mlx_works_without_mlx() -> None:
    report = "from mlx_iforest.backends import available_backends as a; print(a()['mlx']); print(model.backend_.name)"
    reason, chosen = run(WITHOUT_MLX + FIT_AND_SCORE + report).splitlines()
    assert "mlx" in reason.lower()
    assert chosen == "numba"


def test_mlx_asked_for_by_name_says_how_to_get_it() -> None:
    code = """
from mlx_iforest import MLXIsolationForest
try:
    MLXIsolationForest(backend="mlx").fit([[0.0], [1.0], [2.0]])
except Exception as error:
    print(str(error).replace("\\n", " / "))
"""
    assert "pip install" in run(WITHOUT_MLX + code)
