"""The pages in the viewer's language: every text is in each catalogue, numbers and moments are the viewer's."""

from __future__ import annotations

import html
import re
import runpy
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from babel.messages import Catalog, Message
from service_example import client_of, hot, resting, work_off
from sqlalchemy import Connection, select, update
from starlette.testclient import TestClient

from anomaly_detection.calibration.p_values import risk_level
from anomaly_detection.data.columns.declarations import KINDS
from anomaly_detection.service.access.rights import ROLES
from anomaly_detection.service.alerts.alert_book import STATES, VERDICTS
from anomaly_detection.service.pages.preferences import viewer_of
from anomaly_detection.service.pages.rendering import decimals, figure, lasting, number, percent
from anomaly_detection.service.pages.words import WORDS
from anomaly_detection.service.records.record_book import FATES
from anomaly_detection.service.storage.tables import alerts, cases
from anomaly_detection.texts.catalogue import Catalogue, read_catalogue
from anomaly_detection.texts.viewer import (
    LANGUAGES,
    VIEWER,
    Viewer,
    gettext,
    localised_day,
    moment_of,
    ngettext,
    plain_number,
)

GERMAN = {"Accept": "text/html", "Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
ROOT = Path(__file__).parent.parent
OTHERS = [language for language in LANGUAGES if language != "en"]
_MAKING = runpy.run_path(str(ROOT / "docs" / "make_texts.py"))


@pytest.fixture(scope="module")
def extracted() -> Catalog:
    found: Catalog = _MAKING["extracted"]()
    return found


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with resting(tmp_path_factory.mktemp("service")) as service:
        made = client_of(service)
        made.post("/v1/streams/default/records", json=[{**hot(1), "product": "Fish", "productId": "P3"}])
        yield made


@pytest.fixture
def german() -> Iterator[None]:
    token = VIEWER.set(Viewer("de", ZoneInfo("Europe/Berlin")))
    yield
    VIEWER.reset(token)


def ids(message: Message) -> tuple[str, ...]:
    return message.id if isinstance(message.id, tuple) else (message.id,)


def parts(text: str) -> list[str]:
    """What a translation must keep: placeholders, signs of per cent, and tags."""
    return sorted(re.findall(r"%\(\w+\)s|%%|<[^>]*>", text))


def test_each_language_but_english_has_a_catalogue() -> None:
    assert sorted(OTHERS) == sorted(path.stem for path in _MAKING["TEXTS"].glob("*.po"))


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_has_every_text_and_no_other(language: str, extracted: Catalog) -> None:
    kept = _MAKING["catalogue"](language)
    texts = {ids(message) for message in extracted if message.id}
    assert len(texts) > 300
    assert {ids(message) for message in kept if message.id} == texts
    assert _MAKING["updated"](language) == (_MAKING["TEXTS"] / f"{language}.po").read_text("utf-8")
    assert not [message.id for message in kept if message.fuzzy]


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_keeps_what_is_put_in(language: str) -> None:
    for message in _MAKING["catalogue"](language):
        if not message.id:
            continue
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        assert len(said) == len(ids(message)), message.id
        for text in said:
            assert text.strip(), message.id
            assert parts(text) == parts(ids(message)[0]) == parts(ids(message)[-1]), message.id


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_is_read_as_babel_reads_it(language: str) -> None:
    ours = read_catalogue(language)
    for message in _MAKING["catalogue"](language):
        if len(ids(message)) == 2:
            assert (ours.ngettext(*ids(message), 1), ours.ngettext(*ids(message), 2)) == message.string
            assert ours.ngettext(*ids(message), 0) == message.string[1]
        elif message.id:
            assert ours.gettext(message.id) == message.string


def test_a_catalogue_tells_quotes_lines_and_what_is_none() -> None:
    made = Catalogue(['msgid ""', r'"a \"b\" "', r'"c\n"', 'msgstr "d"', 'msgid "empty"', 'msgstr ""'])
    assert made.gettext('a "b" c\n') == "d"
    assert made.gettext("empty") == "empty"
    assert made.ngettext("one", "many", 3) == "many"
    with pytest.raises(ValueError, match="Line 2 is not of a"):
        Catalogue(['msgid "a"', "msgstr b"])


def test_every_word_of_the_api_that_pages_show_is_marked() -> None:
    levels = {risk_level(value) for value in (0.0, 30.0, 60.0, 90.0)}
    assert {*STATES, *VERDICTS, *FATES, *KINDS, *ROLES, *levels} <= set(WORDS)


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"accept-language": "de"}, "de"),
        ({"accept-language": "fr-FR, de;q=0.8, en;q=0.4"}, "de"),
        ({"accept-language": "de;q=0.3, en-GB;q=0.7"}, "en"),
        ({"accept-language": "de;q=0"}, "en"),
        ({"accept-language": ";;,q=,de;q=1.1.1, *"}, "en"),
        ({"accept-language": "de", "cookie": "lang=en"}, "en"),
        ({"accept-language": "de", "cookie": "lang=xx"}, "de"),
    ],
)
def test_the_language_is_that_of_the_cookie_else_of_the_browser(headers: dict[str, str], language: str) -> None:
    assert viewer_of(headers).language == language
    assert viewer_of(headers, "de").language == "de"


@pytest.mark.parametrize(
    ("accepted", "told"),
    [
        ("en-GB,en;q=0.9", ("1,234.50", "03/04/2026", "en-GB")),
        ("fr, en;q=0.8, en-US;q=0.9", ("1,234.50", "04/03/2026", "en-US")),
        ("en-DK", ("1,234.50", "2026-04-03", "en")),
        ("de-CH-1996", ("1\N{RIGHT SINGLE QUOTATION MARK}234.50", "03.04.2026", "de-CH")),
        ("de-AT, en-US", ("1.234,50", "03.04.2026", "de")),
    ],
)
def test_numbers_and_days_are_written_as_in_the_region(accepted: str, told: tuple[str, ...]) -> None:
    viewer = viewer_of({"accept-language": accepted})
    token = VIEWER.set(viewer)
    assert (number(1234.5), localised_day("2026-04-03"), viewer.locale.tag) == told
    assert plain_number(told[0]) == plain_number(told[0].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")) == "1234.50"
    VIEWER.reset(token)
    # Who chose the other language has its own ways, unless the browser knows that one too.
    assert viewer_of({"accept-language": accepted, "cookie": "lang=de"}).region in ("", "CH", "AT")


@pytest.mark.parametrize("zone", ["", "Nowhere/At_All", "../../etc/passwd", "Europe", "/etc/localtime", "a" * 100])
def test_a_zone_that_is_none_is_the_servers(zone: str) -> None:
    assert viewer_of({"cookie": f"zone={zone}"}).zone is None


def test_moments_are_told_in_the_viewers_zone() -> None:
    token = VIEWER.set(viewer_of({"cookie": "zone=America/New_York"}))
    there, name = moment_of("2026-07-01T02:30:00.000Z")
    VIEWER.reset(token)
    assert (there.isoformat(), name) == ("2026-06-30T22:30:00-04:00", "EDT")


@pytest.mark.usefixtures("german")
def test_numbers_and_moments_in_german() -> None:
    assert (number(1234.5), number(1234567), number(None)) == ("1.234,50", "1.234.567", "")
    assert (figure(0.12345), figure(12345.6), figure("1.5"), figure(True)) == ("0,1235", "12.346", "1.5", "True")
    assert (decimals(-0.5, 3), percent(0.0525)) == ("-0,500", "5,2 %")
    assert lasting(7200) == "2 Std."
    assert ngettext("%(num)s case", "%(num)s cases", 1) == "1 Fall"
    assert ngettext("%(num)s case", "%(num)s cases", 1500) == "1.500 Fälle"
    there, name = moment_of("2026-07-01T22:30:00Z")
    assert (there.isoformat(), name) == ("2026-07-02T00:30:00+02:00", "MESZ")
    assert gettext("case %(number)s", number=5) == "Fall 5"
    assert gettext("no text of ours") == "no text of ours"


def test_a_number_is_read_as_its_viewer_writes_it() -> None:
    read = {"1,234.5": "1234.5", "900.5": "900.5", "12": "12", "-1,000": "-1000", "900,5": "900,5", "x": "x"}
    assert {text: plain_number(text) for text in read} == read
    token = VIEWER.set(Viewer("de"))
    read = {
        "1.234,5": "1234.5",
        "900,5": "900.5",
        "900.5": "900.5",
        "1.234": "1234",
        "1,234": "1.234",
        "-2.000": "-2000",
    }
    assert {text: plain_number(text) for text in read} == read
    VIEWER.reset(token)


def page(client: TestClient, path: str, **headers: str) -> str:
    answer = client.get(path, headers={**GERMAN, **headers})
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def test_the_pages_are_german_for_who_asks_for_german(client: TestClient) -> None:
    text = page(client, "/?state=unresolved")
    assert '<html lang="de">' in text
    assert ">Eingang</a>" in text
    assert " offen</p>" in text
    # The values of forms are what they are in the API.
    assert '<option value="unresolved" selected>unerledigt</option>' in text
    answer = client.get("/records/99999", headers=GERMAN)
    assert (answer.status_code, "Das hat nicht funktioniert" in answer.text) == (404, True)
    assert ">Anmelden</button>" in page(client, "/login")
    assert '<html lang="en">' in page(client, "/", Cookie="lang=en")


def test_reasons_are_said_in_german_of_the_values_that_were_kept(client: TestClient) -> None:
    alert = client.get("/v1/alerts").json()["alerts"][0]
    assert alert["reason"].startswith("cost_per_unit 900 is 113 times what is usual")
    told = "cost_per_unit 900 ist das 113-Fache des Üblichen"
    for path in ("/?state=unresolved", f"/cases/{alert['case_id']}", f"/alerts/{alert['id']}/rule", "/records/1"):
        text = page(client, path)
        assert told in text, path
        for english in ("what is usual", "accounts for", "is high for"):
            assert english not in text, path
    assert "cost_per_unit ist hoch" in page(client, "/?state=unresolved")
    # A search finds what the record has and the English words; the audit and what is kept have these too.
    assert client.get("/v1/alerts?text=what is usual").json()["alerts"]


def test_an_alert_of_before_the_values_were_kept_stays_english(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        made = client_of(service)
        made.post("/v1/streams/default/records", json=[hot(1)])
        reason = made.get("/v1/alerts").json()["alerts"][0]["reason"]
        text = {"text": "temperature 45 is as it was"}

        def age(connection: Connection) -> None:
            found = orjson.loads(connection.execute(select(alerts.c.contributions)).scalar_one())
            old = orjson.dumps([{**each, **text} for each in found]).decode()
            connection.execute(update(alerts).values(said=None, contributions=old))
            connection.execute(update(cases).values(said=None))

        service.writer.run(age)
        shown = html.unescape(page(made, "/?state=unresolved").replace("\N{NO-BREAK SPACE}", " "))
        assert reason in shown
        assert text["text"] in page(made, "/cases/1")


def test_days_are_the_viewers(client: TestClient) -> None:
    """Of a browser in Kiritimati it is tomorrow in the evening; a list until that day has what came now."""
    zone = {"Cookie": "zone=Pacific/Kiritimati"}
    today = datetime.now(ZoneInfo("Pacific/Kiritimati")).date()
    for query, count in ((f"since={today}&until={today}", 1), (f"until={today - timedelta(days=2)}", 0)):
        assert page(client, f"/?state=all&{query}", **zone).count('<li class="case"') == count, query
    overview = page(client, "/overview", **zone)
    assert f'<th scope="row">{today:%d.%m.%Y}</th><td class="value">1</td><td class="value">1</td>' in overview


def test_the_chooser_keeps_the_page_and_the_language(client: TestClient) -> None:
    link = re.search(r'<a href="([^"]*)" lang="en"', page(client, "/records?id=5"))
    assert link is not None
    assert link.group(1).replace("&amp;", "&") == "?id=5&lang=en"
    for path, where in (("/records?id=5&lang=de", "/records?id=5"), ("/login?lang=de", "/login")):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, where)
    assert "lang=de" in client.get("/?lang=de", follow_redirects=False).headers["Set-Cookie"]
    refused = client.get("/?lang=xx", headers=GERMAN, follow_redirects=False)
    assert refused.status_code == 400


def test_the_api_and_exports_have_no_language(client: TestClient) -> None:
    for path in ("/v1/cases", "/v1/alerts", "/v1/cases?format=csv", "/v1/records?format=csv"):
        plain = client.get(path)
        assert plain.status_code == 200
        assert (
            client.get(path, headers={"Accept-Language": "de", "Cookie": "lang=de; zone=Asia/Tokyo"}).text == plain.text
        )


def test_a_rule_takes_numbers_as_they_are_written(client: TestClient) -> None:
    alert = client.get("/v1/alerts").json()["alerts"][0]["id"]
    query: dict[str, Any] = {"asked": "1", "name": "temperature", "how": "max", "value": "1.094,5"}
    answer = client.get(f"/alerts/{alert}/rule", params=query, headers=GERMAN)
    assert answer.status_code == 200
    assert "In den letzten 90 Tagen hätte sie <strong>1</strong> von 1 Meldungen" in answer.text
    query["value"] = "12,3,4"
    answer = client.get(f"/alerts/{alert}/rule", params=query, headers=GERMAN)
    assert answer.status_code == 400
    assert "temperature wird mit einer Zahl verglichen, nicht mit „12,3,4“." in answer.text


def test_what_is_wrong_and_how_columns_are_read_is_said_in_the_pages_language(client: TestClient) -> None:
    assert "Fall 999 gibt es nicht." in client.get("/cases/999", headers=GERMAN).text
    by_script = {"HX-Request": "true", "Accept-Language": "de"}
    assert (
        client.post("/cases", data={"ids": "999", "do": "real"}, headers=by_script).json()["error"].startswith("Fall")
    )
    told = client.get("/v1/cases/999", headers=by_script).json()["detail"]
    assert told == "Fall 999 gibt es nicht."
    # Programs read English.
    assert client.get("/v1/cases/999", headers=GERMAN).json()["detail"] == "There is no case 999."
    assert "Werte, die sich wiederholen" in client.get("/streams/default", headers=GERMAN).text
    assert "values that repeat" in str(client.get("/v1/streams/default/columns", headers=GERMAN).json())


def test_why_a_file_was_not_taken_is_kept_for_each_language(tmp_path: Path) -> None:
    with resting(tmp_path, model=None) as service:
        client = client_of(service)
        body = b"a,b\n" + b"1,2\n1,2,3\n" * 2
        client.post("/v1/streams/broken/records?known=skip", content=body, headers={"Content-Type": "text/csv"})
        work_off(service)
        (job,) = client.get("/v1/jobs?stream=broken").json()["jobs"]
        assert job["error"].startswith("The body is not a table: Expected 2 fields in line 3, saw 3; ")
        text = client.get("/start/broken", headers=GERMAN).text
        assert "Die Sendung ist keine Tabelle: In Zeile 3 werden 2 Felder erwartet, es sind 3; " in text
        assert "Auch Zeile 5 passt nicht." in text


def test_why_a_record_was_refused_is_said_in_the_pages_language(client: TestClient) -> None:
    sent = client.post("/v1/streams/default/records", json=[{"transaction_id": "EMPTY"}, 7]).json()
    assert sent["refusals"][1]["reason"] == "A record must be an object of names and values."
    text = client.get("/records", headers=GERMAN).text
    assert "Der Datensatz hat keinen Wert in einer Spalte, die das Modell kennt" in text
    assert "Ein Datensatz muss ein Objekt aus Namen und Werten sein." in text
    number = sent["first_record_id"]
    assert "Der Datensatz hat keinen Wert" in client.get(f"/records/{number}", headers=GERMAN).text
    assert client.get(f"/v1/records/{number}", headers=GERMAN).json()["error"].startswith("The record holds no value")
    body, kind = b"PAR1 and no more", {"Content-Type": "application/vnd.apache.parquet", **GERMAN}
    answer = client.post("/v1/streams/default/records", content=body, headers={**kind, "HX-Request": "true"})
    assert answer.json()["detail"].startswith("Die Sendung ist keine Parquet-Tabelle")
