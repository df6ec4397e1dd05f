"""The page's script in a browser: it sorts, filters, shows and writes CSV. Skipped where there is no Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from report_example import alert, example, overview

from anomaly_detection.reports.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed, so no script can run")

PROBE = """
<script>
const found = {};
const table = document.querySelector("#alerts");
const shown = () => [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
const buttons = [...table.parentElement.querySelectorAll("button")];
const press = (text) => buttons.find((one) => one.textContent.startsWith(text)).click();
let written;
URL.createObjectURL = (blob) => { written = blob; return "#csv"; };
URL.revokeObjectURL = () => {};
HTMLAnchorElement.prototype.click = () => {};
found.first = shown();
press("Show all");
found.all = shown().length;
press("Severity");
press("Row");
press("Row");
found.descending = shown().slice(0, 3);
const search = table.parentElement.querySelector("input");
search.value = "po-7";
search.dispatchEvent(new Event("input"));
found.filtered = shown();
press("Save as CSV");
written.text().then((text) => {
  found.csv = text;
  const told = { id: "found", textContent: JSON.stringify(found) };
  document.body.append(Object.assign(document.createElement("pre"), told));
});
</script>
"""


def test_the_table_sorts_filters_and_writes_csv(tmp_path: Path) -> None:
    alerts = [
        alert(row, -0.5 + 0.01 * row, {f'cost "of", {row}': 0.6}, {"order": f"PO-{row}" if row != 7 else "=PO-7"})
        for row in range(1, 15)
    ]
    page = write_report(tmp_path, *example(), overview(alerts))[-1]
    # The page lets no script run but its own.
    html = page.read_text("utf-8").replace("Content-Security-Policy", "none").replace("</body>", f"{PROBE}</body>")
    (tmp_path / "probed.html").write_text(html, "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [str(CHROMIUM), *options, "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "probed.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(unescape(done.stdout.partition('<pre id="found">')[2].partition("</pre>")[0]))
    assert found["first"] == [str(row) for row in range(1, 11)]
    assert found["all"] == 14
    assert found["descending"] == ["14", "13", "12"]
    assert found["filtered"] == ["7"]
    head, line, end = found["csv"].split("\r\n")
    assert head.removeprefix("\ufeff") == "Row,order,when,cost Air,Severity,Score,Why it stands out"
    assert line.startswith("7,'=PO-7,2024-05-01,912.5,50.0,-0.43,")
    assert line.endswith('"Cost ""of"", 7; it accounts for 60 % of the alert."')
    assert end == ""


def test_the_script_runs_under_the_pages_own_policy(tmp_path: Path) -> None:
    alerts = [alert(row, -0.5, {"cost": 0.6}, {"order": "PO"}) for row in range(1, 15)]
    page = write_report(tmp_path, *example(), overview(alerts))[-1]
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.count("Save as CSV</button>") == 2
    assert "Show all 14</button>" in done.stdout
