"""Take the pictures of the pages anew, of a service that has learned the sample: two widths, both themes.

``anomaly-detection serve``, *Try the sample*, *Learn from them*; then ``python docs/make_images.py http://localhost:5002``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).parent / "images"
WIDE, SMALL = (1280, 900), (390, 844)
_TALLEST = 1500
INBOX = "/?stream=sample"
PICTURES = {
    "inbox": (INBOX, WIDE, "light"),
    "inbox_dark": (INBOX, WIDE, "dark"),
    "inbox_small": (INBOX, SMALL, "dark"),
    "inbox_small_light": (INBOX, SMALL, "light"),
    "case": ("case", WIDE, "light"),
    "case_small": ("case", SMALL, "dark"),
    "rule": ("rule", WIDE, "light"),
    "overview": ("/overview?stream=sample&days=7", WIDE, "dark"),
}
"""By its name what is shown (the case and its rule are of the worst alert), the size of the window, and the theme."""


def take(page: Page, url: str, path: Path) -> None:
    """Open what a picture is of, wait for all of it, and take it."""
    what, (width, height), theme = PICTURES[path.stem]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto(url + (INBOX if what in ("case", "rule") else what))
    page.wait_for_load_state("networkidle")
    if what == "case":
        page.keyboard.press("Enter")
        page.locator("#usual").wait_for()
    elif what == "rule":
        page.keyboard.press("h")
        page.get_by_role("heading", name="Hide alerts like this one").wait_for()
    page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)
    tall = page.evaluate("document.documentElement.scrollHeight") if height == WIDE[1] and what != INBOX else height
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": min(tall, _TALLEST)})


def main(url: str) -> None:
    """All of them."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as started:
        page = started.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(locale="en-GB")
        page.set_default_timeout(120_000)
        for name in PICTURES:
            take(page, url, IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
