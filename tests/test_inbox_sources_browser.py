"""Sources and notifications in a browser, and a file that is dropped again. Skipped where there is no Chromium."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from service_example import resting, served, simulated

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_folder_is_watched_and_a_file_dropped_again(page: Page, tmp_path: Path) -> None:
    rows = simulated(60)
    folder = tmp_path / "<img src=x onerror=document.title='hit'>"
    folder.mkdir()
    page.set_viewport_size({"width": 360, "height": 740})
    with resting(tmp_path / "data", port=0) as service, served(service) as url:
        page.goto(f"{url}/sources")
        page.locator("input[name=folder]").fill(str(folder))
        page.locator("input[name=stream]").first.fill("watched")
        page.locator("button[value=watch]").click()
        page.get_by_text("is watched for the stream watched.").wait_for()
        page.goto(f"{url}/notifications")
        page.get_by_text("Nobody is told.").wait_for()
        for where in ("streams/watched", "sources", "notifications"):
            page.goto(f"{url}/{where}")
            page.get_by_role("heading", level=1).wait_for()
            assert page.title() != "hit"
            assert page.evaluate("document.documentElement.scrollWidth") == 360
        # The default stream has a model; a file of its name is one for it.
        page.goto(f"{url}/start")
        page.set_input_files("#file", write(tmp_path / "default.csv", rows))
        page.wait_for_url("**/?stream=default")
        page.goto(f"{url}/start")
        page.set_input_files("#file", write(tmp_path / "default.csv", [*rows, *simulated(2, seed=3)]))
        page.get_by_text("This stream already has 60 records of this file: 2 new.").wait_for()
        page.get_by_role("link", name="To its cases").click()
        page.wait_for_url("**/?stream=default")
