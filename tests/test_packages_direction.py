"""The algorithm stands alone: it needs neither the supply-chain system nor what only that one uses, nor MLX."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import mlx_iforest

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


def test_fitting_and_scoring_need_and_load_nothing_of_the_system() -> None:
    # Absent, not looked for in sys.modules: scikit-learn 1.9 imports pandas where it finds it, and requires narwhals.
    absent = [name for name in FORBIDDEN if name != "narwhals"]
    run(WITHOUT.format(absent=absent) + FIT_AND_SCORE)
    loaded = run(FIT_AND_SCORE + "import sys; print(*sys.modules)").split()
    assert set(loaded).isdisjoint({"anomaly_detection", "matplotlib", "optuna", "jinja2"})


def test_everything_but_mlx_works_without_mlx_and_who_asks_for_it_is_told_how_to_get_it() -> None:
    report = """
from mlx_iforest.backends import available_backends
print(available_backends()["mlx"])
print(model.backend_.name)
try:
    mlx_iforest.MLXIsolationForest(backend="mlx").fit([[0.0], [1.0], [2.0]])
except Exception as error:
    print(str(error).replace("\\n", " / "))
"""
    reason, chosen, told = run(WITHOUT_MLX + FIT_AND_SCORE + report).splitlines()
    assert "mlx" in reason.lower()
    assert chosen == "numba"
    assert "pip install" in told


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["--version"], {"numpy", "pandas", "scipy", "sklearn", "numba"}),
        (["generate", "--samples", "10"], {"scipy", "sklearn", "numba"}),
    ],
)
def test_a_command_loads_only_what_it_needs(words: list[str], unneeded: set[str], tmp_path: Path) -> None:
    # scikit-learn alone takes a second.
    given = [*words, str(tmp_path / "made.csv")] if "generate" in words else words
    told = run(f"import sys\nfrom anomaly_detection.cli import main\nassert main({given}) == 0\nprint(*sys.modules)")
    assert set(told.split()).isdisjoint(unneeded)


def test_every_name_of_the_engine_is_found_and_no_other() -> None:
    for name in mlx_iforest.__all__:
        assert getattr(mlx_iforest, name) is not None
    assert set(mlx_iforest.__all__) <= set(dir(mlx_iforest))
    with pytest.raises(AttributeError, match="no attribute 'Forrest'"):
        getattr(mlx_iforest, "Forr" + "est")


LAYERS = {
    "anomaly_detection": [
        {"ahead", "errors", "heap", "progress", "texts"},
        {"data"},
        {"features"},
        {"calibration", "explain"},
        {"compression", "feedback", "standardising"},
        {"trained_detector"},
        {"detector"},
        {"settings"},
        {"alerts", "synthetic"},
        {"evaluation"},
        {"training"},
        {"model_files"},
        {"cluster"},
        {"reports"},
        {"api_arguments"},
        {"anomaly_detection_api"},
        {"service"},
        {"cli"},
    ],
    "mlx_iforest": [
        {"batches", "compiled_code", "cores", "files", "offsets", "randomness", "scoring", "version"},
        {"threads"},
        {"forest"},
        {"kernel_input", "score_function", "stream"},
        {"growth"},
        {"backends"},
        {"feedback", "finite", "guards", "members", "performance", "resources"},
        {"parameters"},
        {"model"},
        {"device_scores", "moving"},
        {"device_arrays"},
        {"compress", "convert", "explain", "scorer"},
        {"fitted_forest"},
        {"base"},
        {"blended", "estimator"},
        {"forest_state", "loaded"},
        {"selftest", "state"},
    ],
}
"""What may import what: a room imports from those above it in its list, and from itself."""


def test_no_arrow_of_the_rooms_points_upward() -> None:
    """Everything that is imported when a module is; what a function imports later may look anywhere in the system."""
    for package, layers in LAYERS.items():
        level = {name: number for number, names in enumerate(layers) for name in names}
        for source, target in arrows(package, package == "mlx_iforest"):
            a, b = level.get(source), level.get(target)
            if a is not None and b is not None:
                assert source == target or a > b, f"{package}.{source} imports from {package}.{target}"


def test_of_the_service_only_the_application_knows_its_pages() -> None:
    pages = "anomaly_detection.service.pages"
    found = modules("anomaly_detection", inside=True).items()
    outside = {name for name, targets in found if any(target.startswith(pages) for target in targets)}
    assert {name for name in outside if not name.startswith(pages)} == {"anomaly_detection.service.http.app"}


@pytest.mark.parametrize("package", LAYERS)
def test_every_room_has_its_layer(package: str) -> None:
    here = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith(("_", "py."))}
    assert here == set().union(*LAYERS[package])


@pytest.mark.parametrize(("package", "inside"), [("anomaly_detection", False), ("mlx_iforest", True)])
def test_no_modules_import_each_other_in_a_circle(package: str, inside: bool) -> None:
    """Of the algorithm not even by what functions import."""
    imports = {name: set(targets) for name, targets in modules(package, inside).items()}
    while imports:
        free = [name for name, targets in imports.items() if not targets & imports.keys()]
        assert free, f"these import each other: {', '.join(sorted(imports))}"
        for name in free:
            del imports[name]


def test_targets_sees_imports_inside_functions_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("import p.b\ndef f():\n    from p import c\nif TYPE_CHECKING:\n    from p.d import D\n", "utf-8")
    known = ["p", "p.b", "p.c", "p.d"]
    assert set(targets(file, known, inside=False)) == {"p.b"}
    assert set(targets(file, known, inside=True)) == {"p.b", "p.c", "p.d"}


def arrows(package: str, inside: bool) -> set[tuple[str, str]]:
    """From room to room: a folder of the package, or a module that lies in it by itself."""
    return {
        (name.split(".")[1], target.split(".")[1])
        for name, targets in modules(package, inside).items()
        for target in targets
        if "." in name and "." in target
    }


def modules(package: str, inside: bool) -> dict[str, set[str]]:
    """What each module imports of its package, by what lies inside functions too or not."""
    files = {dotted(file): file for file in (ROOT / package).rglob("*.py")}
    return {name: set(targets(file, files, inside)) - {name} for name, file in files.items()}


def dotted(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def targets(file: Path, known: Iterable[str], inside: bool) -> Iterator[str]:
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree) if inside else tree.body:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in known else str(node.module) for name in names if str(node.module) in known)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
