"""The pages in German in a browser: nothing is wider than a telephone. Skipped where there is no Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from service_example import hot, resting, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
PAGES = (
    "",
    "overview",
    "records",
    "start",
    "streams/default?percent=2.5",
    "sources",
    "notifications",
    "users",
    "audit",
)


def test_german_fits_and_follows_the_browser(browser: Browser, tmp_path: Path) -> None:
    with resting(tmp_path, port=0) as service, served(service) as url:
        requests.post(f"{url}/v1/streams/default/records", json=[hot(0)], timeout=60).raise_for_status()
        page = browser.new_page(locale="de-DE", timezone_id="Europe/Berlin")
        page.goto(url)
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            for where in PAGES:
                page.goto(f"{url}/{where}")
                assert page.locator("html").get_attribute("lang") == "de"
                assert page.evaluate("document.documentElement.scrollWidth") == width, where
        page.goto(url)
        page.locator(".case a.open").click()
        page.get_by_role("heading", name="Verlauf").wait_for()
        assert page.locator(".meta").first.inner_text().split()[-1] in ("MEZ", "MESZ")
        page.keyboard.press("e")
        page.get_by_text("1 Fall mit 1 Meldung: erwartet.").wait_for()
        page.get_by_role("link", name="English").click()
        page.get_by_text("Nothing needs a look").wait_for()
        page.close()
