"""The inbox in a browser: by keys alone, for everybody, on paper. Skipped where there is no Chromium."""

from __future__ import annotations

import csv
import importlib.util
import re
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from service_example import client_of, hot, resting, served, simulated, wait_until

from anomaly_detection.service.access import users

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow
HOSTILE = "<script>document.title = 'hit'</script>"
PASSWORD = "correct horse battery"
SCMS = Path(__file__).parents[2] / "shared/data/scms/SCMS_Delivery_History_Dataset_20150929.csv"
_TRIES = 3_000


def table(path: Path) -> Path:
    """Usual records, and odd ones of three products, whose supplier is a script."""
    rows = simulated(400)
    for place, product in enumerate(("Vaccine", "Chips", "Fish")):
        rows += [{**hot(place), "product": product, "supplier": HOSTILE, "cost_per_unit": 900 + place}]
    rows = [{**each, HOSTILE: "a"} for each in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def current(page: Page) -> str:
    return str(page.locator(".case.current").get_attribute("id"))


def press(page: Page, key: str, said: str) -> None:
    """Press a key that does something, and wait until the page says so."""
    page.keyboard.press(key)
    page.locator(".said[role=status]", has_text=said).wait_for()
    if page.locator(".case").count():
        page.locator(".case.current").wait_for()


def test_from_an_empty_folder_to_verdicts_by_keys_alone(page: Page, tmp_path: Path) -> None:
    with resting(tmp_path / "data", model=None, port=0) as service, served(service) as url:
        page.goto(url)
        page.get_by_role("heading", name="Start with a table").wait_for()
        page.set_input_files("#file", table(tmp_path / "orders <1>.csv"))
        page.wait_for_url("**/start/orders-1")
        assert page.get_by_label("Kind of temperature", exact=True).input_value() == "number"
        page.focus("#learn")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?stream=orders-1")
        page.locator(".case").first.wait_for()
        count = page.locator(".case").count()
        assert count > 2
        triage(page, count)
        hide_snooze_and_export(page)
        # It is kept, and a verdict is taken back after a reload too.
        page.goto(f"{url}/?state=resolved&stream=orders-1")
        assert page.locator(".case").count() == 2
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Why").wait_for()
        press(page, "u", "undone")
        page.goto(f"{url}/?state=resolved&stream=orders-1")
        assert page.locator(".case").count() == 1
        assert page.title() == "Inbox · anomaly detection"


def triage(page: Page, count: int) -> None:
    first = current(page)
    page.keyboard.press("j")
    second = current(page)
    assert second != first
    page.keyboard.press("k")
    assert current(page) == first
    press(page, "e", ": expected.")
    assert current(page) == second
    press(page, "u", "undone")
    assert page.locator(".case").count() == count
    # Two at once.
    for key in "xjx":
        page.keyboard.press(key)
    assert page.locator("#chosen").inner_text() == "2 chosen"
    press(page, "f", "2 cases")
    assert page.locator(".case").count() == count - 2
    page.keyboard.press("c")
    page.keyboard.type(HOSTILE)
    page.keyboard.press("Tab")
    press(page, "Enter", "comment added")
    # What is typed is no key.
    page.keyboard.press("/")
    page.keyboard.type("efrdjk")
    page.keyboard.press("Enter")
    page.get_by_text("No case is like this").wait_for()
    assert re.search("text=efrdjk", page.url)
    page.go_back()
    page.locator(".case").first.wait_for()
    assert page.locator(".case").count() == count - 2
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keys").wait_for()
    page.get_by_label("Use single keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.reload()
    assert page.locator(".case").count() == count - 2
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Use single keys").check()
    page.keyboard.press("Escape")


@pytest.mark.skipif(not SCMS.exists(), reason="the SCMS delivery history is not here")
def test_a_morning_with_real_shipments(page: Page, tmp_path: Path) -> None:
    table = tmp_path / "scms.csv"
    with SCMS.open("rb") as file:
        table.write_bytes(b"".join(islice(file, 2001)))
    with resting(tmp_path / "data", model=None) as service:
        service.writer.run(lambda connection: users.add_user(connection, "ann", "admin", PASSWORD))
    with resting(tmp_path / "data", model=None, host="0.0.0.0", port=0) as service, served(service) as url:
        log_in(page, url, "ann")
        page.set_input_files("#file", table)
        page.wait_for_url("**/start/scms")
        page.focus("#learn")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?stream=scms")
        page.locator(".case.current").wait_for()
        count = page.locator(".case").count()
        judged = {"e": ": expected.", "f": ": false alarm.", "r": ": real, fixed.", "d": ": duplicate."}
        for key, told in islice(cycle(judged.items()), 10):
            page.locator(".said[role=status]").evaluate_all("all => all.forEach(one => one.remove())")
            press(page, key, told)
        press(page, "u", "undone")
        resolved = page.request.get(f"{url}/v1/cases?state=resolved&total=true").json()["total"]
        assert resolved == 9
        page.keyboard.press("h")
        page.locator("#reason:focus").wait_for()
        press(page, "Enter", "A rule hides")
        page.keyboard.press("s")
        press(page, "Enter", "snoozed")
        assert 0 < page.locator(".case").count() <= count
        with page.expect_download() as download:
            page.get_by_role("link", name="Excel").click()
        assert download.value.path().read_bytes().startswith(b"PK")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")


def held(page: Page, address: str | re.Pattern[str]) -> list[Route]:
    """The requests of an address from now on, which wait until somebody lets them go on."""
    found: list[Route] = []
    page.route(address, lambda route: found.append(route))
    return found


def asked(page: Page, requests: list[Route], count: int) -> None:
    """Wait until so many are held."""
    for _ in range(_TRIES):
        if len(requests) >= count:
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"{len(requests)} requests came, and no {count}")


def keys_while_an_answer_is_awaited(page: Page) -> None:
    count = page.locator(".case").count()
    verdicts = held(page, "**/cases")
    # A verdict, taken back; the next one is for the second case, and is taken back too.
    for key in "eujeu":
        page.keyboard.press(key)
    for i in range(4):
        asked(page, verdicts, i + 1)
        assert len(verdicts) == i + 1
        verdicts[i].continue_()
    page.locator(".said[role=status]", has_text="undone").wait_for()
    told = [parse_qs(each.request.post_data or "") for each in verdicts]
    assert [each["do"][0] for each in told] == ["expected", "undo", "expected", "undo"]
    assert told[0]["ids"] == told[1]["ids"] != told[2]["ids"] == told[3]["ids"]
    page.unroute("**/cases")
    page.locator(".case.current").wait_for()
    assert page.locator(".case").count() == count


def keys_while_a_case_is_opened(page: Page) -> None:
    first = current(page).removeprefix("case-")
    pages, verdicts = held(page, re.compile(r"/cases/\d+(\?|$)")), held(page, "**/cases")
    # Opened, judged before it is there, and taken back.
    for key in ("Enter", "f"):
        page.keyboard.press(key)
    asked(page, pages, 1)
    page.keyboard.press("u")
    page.unroute(re.compile(r"/cases/\d+(\?|$)"))
    pages[0].continue_()
    for i, do in enumerate(("false alarm", "undo")):
        asked(page, verdicts, i + 1)
        told = parse_qs(verdicts[i].request.post_data or "")
        assert (told["do"], told["ids"]) == ([do], [first])
        verdicts[i].continue_()
    page.unroute("**/cases")
    page.locator(".said[role=status]", has_text="undone").wait_for()
    page.goto(page.url.rpartition("/cases")[0] + "/?stream=default")
    page.locator(".case.current").wait_for()
    # A file that is saved is no page: nothing waits for it.
    with page.expect_download():
        page.get_by_role("link", name="CSV").click()
    before = current(page)
    page.keyboard.press("j")
    assert current(page) != before


def a_rule_that_is_made_and_revoked_in_one_breath(page: Page) -> None:
    sent = held(page, re.compile("/(cases|rules)$"))
    for key in ("h", "Enter", "u"):
        page.keyboard.press(key)
    for i, told in enumerate(("do=hide", "do=make", "do=revoke")):
        asked(page, sent, i + 1)
        assert told in (sent[i].request.post_data or "")
        sent[i].continue_()
    page.unroute(re.compile("/(cases|rules)$"))
    page.locator(".said[role=status]", has_text="revoked").wait_for()


def a_slider_that_is_moved_quickly(page: Page) -> None:
    page.locator("#severity-told", has_text="any: ").wait_for()
    lists, counts = held(page, re.compile(r"/\?.*min_severity")), held(page, "**/facets*")
    page.focus("#min_severity")
    for steps in (1, 2):
        page.keyboard.press("ArrowRight")
        asked(page, lists, steps)
    lists[1].continue_()
    page.wait_for_url("**min_severity=10**")
    # The page is there, and what there is to choose from is not; that comes when the slider has gone on.
    asked(page, counts, 1)
    page.keyboard.press("ArrowRight")
    asked(page, lists, 3)
    page.keyboard.press("ArrowRight")
    asked(page, lists, 4)
    page.unroute("**/facets*")
    lists[3].continue_()
    page.wait_for_url("**min_severity=20**")
    page.locator("#severity-told", has_text="20 up: ").wait_for()
    page.unroute(re.compile(r"/\?.*min_severity"))


def test_a_quick_hand_loses_nothing(page: Page, tmp_path: Path) -> None:
    odd = [{**hot(i), "product": name, "cost_per_unit": 900 + i} for i, name in enumerate(("Vaccine", "Chips", "Fish"))]
    # A route that stays, of no request: one is not held if a page has not heard yet that routes are there again.
    held(page, "**/nothing")
    with resting(tmp_path / "data") as service, served(service) as url:
        assert page.request.post(f"{url}/v1/streams/default/records", data=[*simulated(40), *odd]).ok
        page.goto(f"{url}/?stream=default")
        page.locator(".case.current").wait_for()
        keys_while_an_answer_is_awaited(page)
        keys_while_a_case_is_opened(page)
        a_rule_that_is_made_and_revoked_in_one_breath(page)
        a_slider_that_is_moved_quickly(page)


def hide_snooze_and_export(page: Page) -> None:
    before, hidden = page.locator(".case").count(), page.locator(".case", has_text="HOT-0")
    assert hidden.count() == 1
    # A rule in two keys, and one that takes it back.
    page.keyboard.press("h")
    page.get_by_role("heading", name="Hide alerts like this one").wait_for()
    page.get_by_text("In the last 90 days it would have hidden").wait_for()
    page.locator("#reason:focus").wait_for()
    press(page, "Enter", "A rule hides")
    assert hidden.count() == 0
    assert "stream=orders-1" in page.url
    press(page, "u", "revoked")
    assert (hidden.count(), page.locator(".case").count()) == (1, before)
    page.keyboard.press("s")
    press(page, "Enter", "snoozed")
    assert page.locator(".case").count() == before - 1
    press(page, "u", "undone")
    # The slider says what it means before it is let go.
    page.focus("#min_severity")
    page.locator("#severity-told", has_text="any: ").wait_for()
    page.keyboard.press("End")
    page.locator("#severity-told", has_text="95 up: ").wait_for()
    page.wait_for_url("**min_severity=95**")
    page.go_back()
    page.locator(".case").first.wait_for()
    page.get_by_text("More filters").click()
    page.locator("select:has(option[value='product=Fish'])").select_option("product=Fish")
    page.wait_for_url("**has=product%3DFish**")
    assert 0 < page.locator(".case").count() < before
    page.get_by_role("button", name="Save this view").click()
    page.keyboard.type(HOSTILE)
    press(page, "Enter", "Saved as")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = download.value.path().read_text("utf-8").splitlines()
    assert len(list(csv.DictReader(lines))) == page.locator(".case").count()
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name=HOSTILE).click()
    page.wait_for_url("**has=product%3DFish**")
    page.get_by_role("button", name="Remove the view").click()
    page.get_by_text("is removed").wait_for()


def test_a_long_cell_and_many_columns_stay_within_a_small_window(page: Page, tmp_path: Path) -> None:
    with resting(tmp_path, port=0) as service, served(service) as url:
        page.set_viewport_size({"width": 360, "height": 740})
        wide = {f"column {i}": "W" * 10_000 if i == 7 else f"{i} ספק 訂單" for i in range(200)}
        record = {**simulated(1)[0], **wide}
        sent = page.request.post(f"{url}/v1/streams/wide/records", data=record)
        number = sent.json()["first_record_id"]
        hot_one = {**hot(1), **wide}
        page.request.post(f"{url}/v1/streams/default/records", data=hot_one)
        paths = ("/", "/records", f"/records/{number}", "/start", "/start/wide", "/users", "/audit", "/streams/default")
        for path in paths:
            page.goto(url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def log_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.wait_for_url("**/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.locator(".case.current, #drop").wait_for()


def test_two_people_on_one_case_while_the_service_goes_and_comes(
    browser: Browser, page: Page, errors: list[str], tmp_path: Path
) -> None:
    with resting(tmp_path) as service:
        service.writer.run(lambda connection: users.add_user(connection, "ann", "admin", PASSWORD))
        service.writer.run(lambda connection: users.add_user(connection, "ben", "analyst", PASSWORD))
        client_of(service).post("/detect", json={"data": hot()})
    other = browser.new_page()
    other.set_default_timeout(60_000)
    with resting(tmp_path, host="0.0.0.0", port=0) as service, served(service) as here:
        log_in(page, here, "ann")
        press(page, "a", "yours")
        log_in(other, here, "ben")
        # The second sees what the first did, and the first what the second did.
        assert other.locator(".assignee").inner_text() == "ann"
        press(other, "e", "expected")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Why").wait_for()
        assert "resolved as expected" in page.locator(".meta").first.inner_text()
        assert "ben" in page.locator(".history").inner_text()
    assert errors == []
    page.keyboard.press("u")
    page.get_by_text("The service cannot be reached").wait_for()
    with resting(tmp_path, host="0.0.0.0", port=int(here.rpartition(":")[2])) as service, served(service):
        # The page goes on where it was: the session is kept.
        press(page, "u", "undone")
        other.reload()
        assert other.locator(".case").count() == 1
        other.get_by_role("button", name="Log out").click()
        other.wait_for_url("**/login")
        other.goto(f"{here}/cases/1")
        other.wait_for_url("**/login")
        other.close()
        service.writer.run(lambda connection: users.end_sessions(connection, "ann"))
        page.keyboard.press("r")
        page.wait_for_url("**/login")
    # The browser tells of both too.
    told = ("Failed to load resource", "htmx:", "Response Status Error Code 401")
    assert all(each.startswith(told) for each in errors)
    errors.clear()


def axe() -> str:
    """The checks of axe-core, as a package brings them."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not installed (pip install axe-playwright-python)")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


CHECKED = {
    ("light", 1280): ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # What a theme and a width change.
    ("dark", 360): ["color-contrast", "scrollable-region-focusable", "target-size"],
}
"""Tags of checks, or checks, by the theme and the width."""


def test_pages_are_for_everybody_and_a_case_is_one_page_on_paper(page: Page, tmp_path: Path) -> None:
    """No violation of WCAG 2.2 AA that can be found by a program, on any page, in either theme, at either width."""
    script = axe()
    with resting(tmp_path, port=0) as service, served(service) as url:
        client = client_of(service)
        wide = {f"column {i}": "W" * 10_000 if i == 7 else f"{i}" for i in range(200)}
        client.post("/v1/streams/default/records", json=[*simulated(60), hot(1), {**hot(2), **wide}])
        client.patch("/v1/cases/1", json={"state": "resolved", "verdict": "false alarm", "comment": "a sensor"})
        rule = {"stream": "default", "where": {"product": "nothing"}, "reason": "r"}
        assert client.post("/v1/rules", json=rule).status_code == 201
        watch(page)
        for path in ("/", *(f"/{each}" for each in PAGES)):
            page.goto(url + path)
            wait_until(lambda: page.evaluate("window.asked") == 0)
            page.evaluate(script)
            for (scheme, width), checks in CHECKED.items():
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.set_viewport_size({"width": width, "height": 800})
                checked = page.evaluate("runOnly => axe.run(document, {runOnly})", checks)
                told = [(each["id"], each["nodes"][0]["failureSummary"]) for each in checked["violations"]]
                assert told == [], (path, scheme, width)
                assert checked["passes"], path
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(f"{url}/cases/1")
        page.locator("#usual").wait_for()
        page.locator(".picture canvas").first.wait_for()
        assert page.locator("table.beside .differs").count()
        # What came after the first paint moved nothing.
        assert page.evaluate("window.shifts") == []
        for alert in (1, 2):
            page.goto(f"{url}/cases/1?alert={alert}")
            page.locator("#usual").wait_for()
            assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(format="A4"))) == 1


PAGES = (
    "?state=all&text=hot",
    "cases/1",
    "overview",
    "records",
    "records/1",
    "start",
    "start/default",
    "streams",
    "streams/default?percent=3",
    "users",
    "cases/1/split",
    "alerts/1/rule",
    "audit",
    "login",
)


def watch(page: Page) -> None:
    """Have a page note what moves by itself, and how many answers it waits for."""
    page.add_init_script(
        """window.asked = 0;
        document.addEventListener("htmx:beforeRequest", () => window.asked++);
        document.addEventListener("htmx:afterRequest", () => window.asked--);
        window.shifts = [];
        new PerformanceObserver((list) => list.getEntries().forEach((one) => {
          if (!one.hadRecentInput) window.shifts.push(one.value);
        })).observe({ type: "layout-shift", buffered: true });"""
    )
