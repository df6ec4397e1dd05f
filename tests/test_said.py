"""Texts that keep what they were made of, and are said in another language by that."""

from __future__ import annotations

import copy
import pickle

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_detection.explain.wording import sentence
from anomaly_detection.features.clauses import as_years, listed, number, series, usually
from anomaly_detection.texts.said import Day, Figure, Said, kept, remade, replaced, say, spoken, written
from anomaly_detection.texts.viewer import VIEWER, Viewer, worded


def usual() -> Said:
    return say(
        "%(subject)s is above %(what)s (%(usual)s)",
        subject=say("%(name)s %(value)s", name="100 % cotton", value=number(1234.5)),
        what=say("what is usual%(among)s", among=""),
        usual=number(0.5),
    )


def test_a_text_is_what_its_template_and_values_make() -> None:
    assert usual() == "100 % cotton 1,234 is above what is usual (0.5)"
    assert spoken(orjson.loads(orjson.dumps(kept(usual())))) == usual()
    # What was kept before texts had templates is a text.
    assert spoken("as it was") == "as it was"


def test_it_goes_from_process_to_process() -> None:
    for other in (pickle.loads(pickle.dumps(usual())), copy.deepcopy(usual())):
        assert (other, kept(other)) == (usual(), kept(usual()))


def test_a_column_of_texts_and_a_model_file_keep_it_too() -> None:
    again = remade(written(usual()))
    assert (again, kept(again)) == (usual(), kept(usual()))
    assert remade(written("plain")) == "plain"
    told = replaced(say("%(label)s is empty", label="/tmp/x"), "/tmp/x", say("The body"))
    assert (told, kept(told)["of"]["label"]) == ("The body is empty", {"say": "The body", "of": {}})


@pytest.mark.parametrize(
    "text",
    [
        '{"say":',
        '{"say":1,"of":{}}',
        '{"say":"%(a)s","of":{}}',
        '{"say":"%(a)999999999s","of":{"a":"b"}}',
        '{"say":"%","of":{}}',
        '{"say":"a","of":{"a":1}}',
        '{"say":"a","of":{"a":' * 40 + '"b"' + "}}" * 40,
    ],
)
def test_what_nobody_kept_is_a_text(text: str) -> None:
    assert remade(text) == text


def test_another_language_has_its_words_numbers_and_days() -> None:
    token = VIEWER.set(Viewer("de"))
    lies = say("%(what)s lies within %(usually)s", what=Day("2026-03-01"), usually=Figure("1,234.5"))
    assert worded(kept(lies)) == "01.03.2026 liegt in 1.234,5"
    assert worded(kept(usual())) == "100 % cotton 1.234 liegt oberhalb des Üblichen (0,5)"
    # What comes from data stays as it is, whatever it looks like.
    assert worded(kept(say("%(column)s is missing", column="%(column)s 1,234.5"))) == "%(column)s 1,234.5 fehlt"
    # A date far beyond the calendar is no day of ours.
    assert worded(kept(Day("12026-03-01"))) == "12026-03-01"
    VIEWER.reset(token)


def test_a_sentence_is_said_of_clauses_in_its_language() -> None:
    token = VIEWER.set(Viewer("de"))
    told = sentence([("der Wert fehlt", 0.996), ("b", 0.004)], alert=True)
    assert worded(kept(told)) == "Der Wert fehlt; das sind über 99 % der Meldung. Weitere unter 1 %: b."
    told = sentence((), alert=True, columns=[("a", 0.5), ("b", 0.25)])
    assert worded(kept(told)) == (
        "Kein Wert sticht für sich heraus; die Bewertung kommt von a (50 %) und b (25 %) zusammen."
    )
    VIEWER.reset(token)


def test_years_are_no_thousands_in_any_language() -> None:
    said = as_years(say("%(name)s %(value)s", name="1,999 things", value=number(2019)))
    assert said == "1,999 things 2019"
    assert kept(said)["of"]["value"] == {"number": "2019"}


def test_lists_keep_their_parts() -> None:
    assert listed(["a"]) == "a"
    assert (listed(["a", "b", "c"]), series(["a", "b"])) == ("a, b and c", "a, b")
    assert listed([say("missing"), number(1000), "c"]) == "missing, 1,000 and c"
    assert usually(1.0, 4.0, (2.0, 6.0), " kg") == ", usually 2 to 6 kg"


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_the_data_hold_english_is_the_same(name: str, value: float) -> None:
    said = say(
        "%(of)s is in %(both)s of the %(records)s with %(given)s", of=name, both=number(value), records=name, given=name
    )
    assert spoken(kept(said)) == said
