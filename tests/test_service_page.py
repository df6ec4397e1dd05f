"""The page of the service: its commands work, in its order, and what it says of files is so."""

from __future__ import annotations

import configparser
import io
import json
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mqtt_broker import broker
from service_example import started
from test_readme import PAGES, ROOT, SERVICE_PAGES, commands
from topics_example import kafka_broker, rows

from anomaly_detection.cli import _parser, main
from anomaly_detection.synthetic import generate

PAGE = PAGES["docs/service.md"]
EXAMPLES = ROOT / "examples" / "service"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", sorted(SERVICE_PAGES))
def test_the_commands(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    generate("realistic", 50).frame.to_csv("new.csv", index=False)
    answers = {}
    with ExitStack() as stack:
        url = ""
        brokers = _brokers(stack) if page == "docs/sources.md" else {}
        for command in commands(PAGES[page]):
            program, *words = shlex.split(command)
            if program == "curl":
                there = {**brokers, "http://localhost:5002": url.replace("127.0.0.1", "localhost")}
                for shown, real in there.items():
                    words = [word.replace(shown, real) for word in words]
                done = subprocess.run(
                    ["curl", "--silent", "--show-error", *(() if "--fail" in words else ("--fail-with-body",)), *words],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{command}\n{done.stderr}{done.stdout}"
                lines = done.stdout.strip().splitlines()
                if "/events" in command:
                    assert "event: done" in lines, done.stdout
                elif "-o" in words:
                    assert Path(words[words.index("-o") + 1]).stat().st_size > 100
                else:
                    answers[command] = json.loads(lines[-1])
            elif words[-1] == "&":
                _, url = stack.enter_context(started(tmp_path / "service_data", *words[1:-1]))
            elif program == "make":
                subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True)
            elif program in ("mkdir", "python"):
                subprocess.run([{"python": sys.executable}.get(program, program), *words], check=True)
            elif "--help" in words:
                with pytest.raises(SystemExit, match="0"):
                    main(words)
            else:
                # What asks for a password.
                monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
                assert main(words) == 0, command
            capsys.readouterr()
    good = [answer for answer in answers.values() if answer.get("status", "running") in ("healthy", "running")]
    assert len(good) == len(answers) > 3, answers
    if page != "docs/service.md":
        return
    (detected,) = (answer for command, answer in answers.items() if command.endswith("/detect"))
    assert detected["is_anomaly"] is True
    assert "lead_time 95" in detected["explanation"].lower()
    (taken,) = (answer for command, answer in answers.items() if "Idempotency-Key" in command)
    assert (taken["judged"], taken["received"]) == (2, 2)


def _brokers(stack: ExitStack) -> dict[str, str]:
    """Those of Kafka, with a topic, and of MQTT that the page names, and where they are here."""
    pytest.importorskip("confluent_kafka")
    pytest.importorskip("paho.mqtt")
    kafka = stack.enter_context(kafka_broker())
    kafka.send("orders", rows(3))
    return {"kafka://localhost:9092": kafka.url, "mqtt://localhost:1883": stack.enter_context(broker()).url}


def parsed(command: list[str]) -> Any:
    program, *words = command
    assert program.endswith("anomaly-detection")
    return _parser().parse_args(words)


def test_the_unit_for_systemd() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(EXAMPLES / "anomaly-detection.service", "utf-8")
    service = unit["Service"]
    arguments = parsed(shlex.split(service["ExecStart"]))
    assert arguments.run == "serve"
    assert arguments.data_dir == Path("/var/lib") / service["StateDirectory"]
    assert int(service["TimeoutStopSec"]) > 10


def test_the_agent_for_launchd() -> None:
    agent = plistlib.loads((EXAMPLES / "anomaly-detection.plist").read_bytes())
    assert parsed(agent["ProgramArguments"]).run == "serve"
    assert agent["ExitTimeOut"] > 10


def test_the_dockerfile() -> None:
    text = (EXAMPLES / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert {instruction for instruction, _ in lines} <= known
    last = dict(lines)
    assert int(last["USER"]) > 0
    assert parsed(json.loads(last["CMD"])).data_dir == Path(last["VOLUME"])
    check = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    compile(check[2], "check", "exec")
    order = [instruction for instruction, _ in lines]
    assert order.index("USER") > max(place for place, each in enumerate(order) if each == "RUN")
    # Of a base that stays what it is: a version, and of a system.
    bases = [rest.split()[0] for instruction, rest in lines if instruction == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base) for base in bases)
    assert len(set(bases)) == 1


def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, EXAMPLES / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_page_says_of_limits_is_so() -> None:
    from anomaly_detection.service.http.bodies import MOST_JSON
    from anomaly_detection.service.http.limits import Limits
    from anomaly_detection.service.jobs.taking import MOST_RECORDS
    from anomaly_detection.service.jobs.uploads import MOST_BYTES
    from anomaly_detection.service.learning.training import MOST_LEARNED

    limits = Limits()
    said = re.sub(r"\s+", " ", PAGE)
    assert f"head of a request has {limits.head_seconds:g} seconds to arrive, a body {limits.body_seconds:g}" in said
    assert f"and at most {limits.body // 2**20} MB" in said
    assert f"nothing of its answer for {limits.answer_seconds:g} seconds" in said
    assert f"has {limits.rate:g} requests a second (`--rate`), a name {limits.logins} tries a minute" in said
    assert f"a record {limits.fields:,} fields and {limits.depth} levels" in said
    assert f"More than {limits.records:,} records, a body of more than {limits.body // 2**20} MB" in said
    assert f"may have {MOST_RECORDS:,} records and {MOST_BYTES // 2**30} GB (JSON {MOST_JSON // 2**20} MB" in said
    assert f"the newest {MOST_LEARNED:,} kept records" in said
