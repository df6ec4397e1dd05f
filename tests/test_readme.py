"""The README and the pages of docs/: every command and Python block works, and every link leads somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from anomaly_detection.cli import main
from anomaly_detection.features import cross_fitting
from anomaly_detection.synthetic import generate

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "docs" / "README.md"
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")
NOT_RUN = "no test runs this"

SERVICE_PAGES = {"docs/service.md", "docs/sources.md", "docs/notifications.md"}

# A full training takes longer than a test may; here the same way with less of everything. Of an option that is there
# twice the last counts. The README's own model is not shortened: its alerts are compared with those that the README
# shows, and the other pages use it.
MODEL = "models/optimized_anomaly_detection_model.safetensors"
PARSED = "--help"
FEW = "few.csv"  # records like those of shipments.csv, fewer than features are learned from five times
SHORTENED = {
    "python train_model_mlx.py": "--samples 99 --time-budget 0",
    "python -m mlx_iforest.selftest": PARSED,  # test_selftest.py reads its report
    "anomaly-detection generate --profile realistic --samples 2000 --labels known.csv": "--samples 99",
    f"anomaly-detection train --data new.csv --like {MODEL} --output next_month": f"--data {FEW}",
    f"anomaly-detection judge {MODEL} new.csv --share 0.02 --draws 3": "--draws 1",
    f"anomaly-detection judge {MODEL} new.csv --kinds dates_swapped number_times_10": "--draws 2",
    # test_columns.py trains with a file of columns, test_cli.py by these rules, test_cli_inspect.py and
    # test_compression.py for these forests.
    "anomaly-detection train --data shipments.csv --columns models/columns.toml --output again": PARSED,
    **{
        f"anomaly-detection train --data known.csv --label label {way}": PARSED
        for way in (
            "--timestamp order_date --alerts-per-day 0.2 --output by_day",
            "--false-alarm-cost 1 --miss-cost 20 --output by_cost",
            "--false-discovery-rate 0.2 --output by_rate",
            "--quantize --output small",
            "--prune 0.01 --quantize --output smaller",
        )
    },
}


def blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def commands(text: str) -> list[str]:
    """The lines of a page's shell blocks, without comments and without those marked as not run."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines() if NOT_RUN not in line]
    return [command for line in lines if (command := line.partition(" #")[0].strip())]


def execute(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command in the current folder and this process, and return what it printed."""
    words = shlex.split(f"{command} {SHORTENED.get(command, '')}")
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    capsys.readouterr()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch:
        try:
            if program == "anomaly-detection":
                code = main(arguments)
            elif program == "python" and arguments[0] == "-m":
                patch.setattr(sys, "argv", arguments[1:])
                # Another test may have imported it.
                patch.delitem(sys.modules, arguments[1], raising=False)
                runpy.run_module(arguments[1], run_name="__main__")
            elif program == "python":
                patch.setattr(sys, "argv", arguments)
                runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
            elif program == "make":
                subprocess.run(["make", "-n", *arguments], cwd=ROOT, check=True, capture_output=True)
            elif words[:3] == ["pip", "install", "-r"]:
                assert (ROOT / words[3]).is_file()
            else:
                pytest.fail(f"no test knows how to run this: {command}")
        except SystemExit as end:
            code = end.code
    printed = capsys.readouterr()
    assert not code, f"{command}\n{printed.out}\n{printed.err}"
    return printed.out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    generate("realistic", 99, seed=7).frame.to_csv(folder / FEW, index=False)
    return folder


@pytest.fixture
def work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this file's tests, where commands may leave what they like, as the current one."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def outputs(work: Path, capsys: pytest.CaptureFixture[str], ran: dict[str, str]) -> dict[str, str]:
    """What each of the README's commands prints; they run once, in its order, before whoever needs their files."""
    for command in commands(README):
        if command not in ran:
            ran[command] = execute(command, capsys)
    return ran


@pytest.fixture(scope="module")
def ran() -> dict[str, str]:
    return {}


@pytest.mark.slow
def test_the_readme_shows_what_its_commands_print(outputs: dict[str, str]) -> None:
    """Where alerts have changed for a good reason, run the README's commands and copy what they print."""
    (scored,) = (text for command, text in outputs.items() if " score " in command)
    shown = re.findall(r"^\| (\d+) \| ([\w-]+) \| (\d+) \| (.+) \|$", README, re.MULTILINE)
    assert len(shown) == len(scored.splitlines()) - 1 == 5
    for (row, order, severity, reason), line in zip(shown, scored.splitlines()[1:], strict=True):
        found_row, found_order, _date, _amount, found_severity, found_reason = re.split(r"  +", line.strip())
        assert [row, order, severity] == [found_row, found_order, found_severity]
        assert found_reason.startswith(f"{reason};")

    (judged,) = (text for command, text in outputs.items() if " judge " in command)
    (block,) = (block for block in blocks(README, "") if block.startswith("changed"))
    assert all(line == "..." or line in judged.splitlines() for line in block.splitlines())


@pytest.mark.slow
def test_reasons_show_what_explain_prints(outputs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGES["docs/reasons.md"]
    (command,) = commands(page)
    shown, printed = (
        " ".join(text.removesuffix("...\n").split()) for text in (blocks(page, "")[0], execute(command, capsys))
    )
    assert printed.startswith(shown)


@pytest.mark.slow
# test_service_page.py runs the others, beside a service.
@pytest.mark.parametrize("page", sorted({name for name, text in PAGES.items() if commands(text)} - SERVICE_PAGES))
def test_the_commands(page: str, outputs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(PAGES[page]):
        execute(command, capsys)


@pytest.mark.parametrize("page", ["README.md", *sorted(name for name, text in PAGES.items() if blocks(text, "python"))])
@pytest.mark.usefixtures("work")
def test_the_python_blocks(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_fitting, "_FOLDS", 2)  # as `few_folds`
    for block in blocks(PAGES.get(page, README), "python"):
        exec(compile(block, page, "exec"), {"__name__": "__main__"})


def test_every_example_and_every_shortened_command_is_on_a_page() -> None:
    on_pages = {command for text in (README, *PAGES.values()) for command in commands(text)}
    assert set(SHORTENED) <= on_pages
    assert {f"python examples/{path.name}" for path in (ROOT / "examples").glob("*.py")} <= on_pages


def test_what_is_not_run_installs_something_or_takes_minutes() -> None:
    lines = [line for text in (README, *PAGES.values()) for block in blocks(text, "sh") for line in block.splitlines()]
    marked = [line for line in lines if NOT_RUN in line]
    assert marked
    for line in marked:
        assert " install " in line or "takes minutes" in line, line
        for extra in re.findall(r"\[(\w+)\]", line):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE), line


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    slugs = Counter[str]()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{slugs[slug]}" if slugs[slug] else slug)
        slugs[slug] += 1
    return found


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *sorted(PAGES)])
def test_the_links_lead_somewhere(page: str) -> None:
    for link in LINK.findall(BLOCK.sub("", (ROOT / page).read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert ROOT in target.parents, link
        if anchor:
            assert anchor in anchors(target), link


def test_the_sections_that_the_code_names_exist() -> None:
    headings = {name: {h.lower() for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)} for name, text in PAGES.items()}
    named = [
        (source.name, page, section.lower())
        for package in ("mlx_iforest", "anomaly_detection", "benchmarks")
        for source in (ROOT / package).rglob("*.py")
        for page, section in re.findall(r"(docs/\w+\.md)[^\".]{0,20}\"([^\"]+)\"", source.read_text("utf-8"))
    ]
    assert named
    for source, page, section in named:
        assert section in headings[page], (source, section)


def test_the_readme_is_short() -> None:
    assert len(README.encode("utf-8")) < 8192


def test_the_index_has_every_page() -> None:
    linked = {(INDEX.parent / link).resolve() for link in LINK.findall(INDEX.read_text("utf-8"))}
    assert {ROOT / name for name in PAGES} - {INDEX} <= linked


def test_the_page_of_files_is_what_its_script_prints() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_files.py"))["page"]()
    assert (ROOT / "docs" / "files.md").read_text("utf-8") == page, "run make docs"
