"""What compiled code makes of records equals what the plain way makes of them, bit for bit."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.errors import DataError
from anomaly_detection.features.compiled import choice
from anomaly_detection.features.compiled.choice import by_compiled_code, only
from anomaly_detection.features.evidence.evidence import Evidence, FeatureScale, Tails, learn_tails
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.synthetic import generate
from tests.test_records import history, records

pytest.importorskip("numba")

SIZES = (1, 2, 7, 127, 128, 129, 300)


@cache
def fitted(name: str) -> AnomalyDetectionAPI:
    """Fitted on a table of this name; not to be changed."""
    return AnomalyDetectionAPI(seed=0).fit(tables(name)[0])


@cache
def tables(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records to learn from, and others to judge, some of them odd."""
    if name == "history":
        # What is infinite is refused.
        rows = [one for seed in range(3) for one in records(100, seed) if "inf" not in map(str, one.values())]
        return history(), pd.concat([history().head(20), history().tail(20), pd.DataFrame(rows)], ignore_index=True)
    return generate(name, 500, seed=1).frame, generate(name, 400, seed=2).frame


def same(first: npt.ArrayLike, second: npt.ArrayLike) -> bool:
    """Whether all numbers are the same, and of one type."""
    one, other = np.asarray(first), np.asarray(second)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history", "classic", "realistic"])
@pytest.mark.filterwarnings("ignore::anomaly_detection.data.columns.cleaning.FormWarning")
def test_any_number_of_records_has_the_features_of_the_plain_way(name: str) -> None:
    features = fitted(name).preprocessor
    known, new = tables(name)
    for frame in (new, known):
        for size in SIZES:
            some = frame.iloc[:size]
            with only(False):
                plain = features.transform(some)
            with only(True):
                assert same(plain, features.transform(some)), size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history", "classic", "realistic"])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.filterwarnings("ignore::anomaly_detection.data.columns.cleaning.FormWarning")
def test_records_that_do_not_belong_together_have_the_features_of_each_by_itself(name: str, compiled: bool) -> None:
    features = fitted(name).preprocessor
    known, new = tables(name)
    rows = pd.concat([new.head(60), known.head(20), new.head(3)], ignore_index=True)
    given = [row for row in rows.to_dict("records") if is_read(features, row)]
    with only(compiled):
        one = [features.prepare(row)[0] for row in given]
        alone = np.vstack([features.transform(row) for row in given])
        for size in SIZES:
            assert same(features.features_of_each(one[:size]), alone[:size]), size
        # Those that come together are judged by each other too.
        assert not same(features.transform(pd.DataFrame(given)), alone)


def is_read(features: Any, record: dict[str, Any]) -> bool:
    """Whether a record can be read by itself."""
    try:
        features.prepare(record)
    except DataError:
        return False
    return True


@pytest.mark.slow
def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly_detection.features.trained_features._FEW", 100)
    monkeypatch.setattr("anomaly_detection.features.compiled.features._ROWS_OF_A_TASK", 70)
    one, new = fitted("classic").preprocessor, tables("classic")[1]
    two = copy.copy(one)
    two.n_jobs = 2
    with only(True):
        assert same(one.transform(new), two.transform(new))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history", "classic"])
@pytest.mark.filterwarnings("ignore::anomaly_detection.data.columns.cleaning.FormWarning")
def test_a_record_by_itself_has_the_verdict_of_the_plain_way(name: str) -> None:
    api = fitted(name)
    given = records(60, 5) if name == "history" else tables(name)[1].head(60).to_dict("records")
    for record in given:
        with only(False):
            plain = verdict(api, record)
        with only(True):
            assert verdict(api, record) == plain


def verdict(api: AnomalyDetectionAPI, record: dict[str, Any]) -> Any:
    """What is said of a record, or why nothing is."""
    try:
        return api.detect_anomaly(record)
    except DataError as error:
        return str(error)


def random_features(rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Features near and far, some missing, some that repeat."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 9)) * np.where(rng.random((rows, 9)) < 0.1, 1e4, 1.0)
    X[:, 3] = np.round(X[:, 3])
    X[:, 4] = np.where(rng.random(rows) < 0.98, 0.0, X[:, 4])
    X[:, 5] = 0.0
    X[rng.random(X.shape) < 0.1] = np.nan
    return X.astype(np.float32)


SCALES = [
    FeatureScale(
        weighed=i != 7, nats=i in (2, 6), logarithmic=i % 2 == 0, one_sided=i in (1, 4), discrete=i == 3, judged=i // 2
    )
    for i in range(9)
]


@pytest.mark.parametrize("rows", [0, *SIZES])
def test_evidence_is_that_of_the_plain_way(rows: int) -> None:
    far = [i in (0, 3, 5) for i in range(9)]
    evidence = Evidence(SCALES, learn_tails(random_features(500, 0), SCALES, [0.1] * 9, far))
    X = random_features(rows, 1)
    with only(False):
        plain = evidence.of(X)
        total = evidence.total(plain)
        again, evidence.agreeing = evidence.agreeing, 0.0
        of_one_each = evidence.total(plain)
    with only(True):
        assert same(evidence.total(plain), of_one_each)
        evidence.agreeing = again
        assert same(evidence.of(X), plain)
        assert same(evidence.total(plain), total)
        assert same(evidence.of(np.asfortranarray(X)), plain)
    if rows > 100:
        assert (plain > 5.0).any()


def test_of_what_others_judge_better_only_what_lies_far_out_is_evidence() -> None:
    scales = [
        FeatureScale(True, False, logarithmic, False, discrete, 0) for logarithmic in (0, 1) for discrete in (0, 1)
    ]
    X = np.repeat(np.random.default_rng(0).normal(size=(2_000, 1)), 4, axis=1).astype(np.float32)
    whole, far = (Evidence(scales, learn_tails(X, scales, [0.1] * 4, flags)) for flags in (None, [True] * 4))
    found = far.of(X)
    assert ((found > 0).sum(axis=0) <= 0.004 * len(X) + 2).all()
    assert (found[found > 0] > 4.0).all()
    beyond = np.array([[30.0] * 4, [-30.0] * 4], dtype=np.float32)
    assert np.allclose(far.of(beyond), whole.of(beyond), rtol=0.15)


def test_tails_with_another_number_of_places_are_weighed_too() -> None:
    tails = learn_tails(random_features(500, 0), SCALES, [0.1] * 9)
    few = Tails(tails.median, tails.width, tails.knots[:, :, :4], tails.worth[:, :, :4], tails.slope)
    with only(True):
        assert (Evidence(SCALES, few).of(random_features(200, 1)) > 0).any()


def test_features_that_judge_one_column_are_weighed_up_alike() -> None:
    scales = [FeatureScale(True, True, False, True, False, 0) for _ in range(3)]
    evidence = Evidence(scales, learn_tails(np.zeros((30, 3), dtype=np.float32), scales, [0.1] * 3))
    X = np.abs(random_features(50, 2)[:, :3])
    with only(False):
        plain = evidence.total(evidence.of(X))
    with only(True):
        assert same(evidence.total(evidence.of(X)), plain)


@pytest.mark.parametrize("rows", [0, *SIZES])
@pytest.mark.parametrize("width", [1, 3, 9])
def test_deviations_and_their_summary_are_those_of_the_plain_way(rows: int, width: int) -> None:
    summary = DeviationSummary(least=[0.1] * width, most=[0.5] * width).fit(random_features(500, 0)[:, :width])
    X = random_features(rows, 1)[:, :width]
    with only(False):
        plain = summary.deviations(X)
        told = summary.summary(plain)
    with only(True):
        assert same(summary.deviations(X), plain)
        assert same(summary.summary(plain), told)


def test_compiled_code_is_taken_when_it_is_there_or_has_become_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh: Any = choice._Choice()
    monkeypatch.setattr(choice, "_choice", fresh)
    monkeypatch.setattr(choice, "import_module", lambda name: type("Kernels", (), {"are_compiled": lambda: False}))
    assert not by_compiled_code(1_000)
    assert not by_compiled_code(0)
    assert not by_compiled_code(90_000)
    assert by_compiled_code(10_000)
    assert by_compiled_code(1)
    monkeypatch.setattr(choice, "_choice", choice._Choice())
    monkeypatch.setattr(choice, "import_module", lambda name: type("Kernels", (), {"are_compiled": lambda: True}))
    assert by_compiled_code(1)


def test_without_numba_the_plain_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    monkeypatch.setattr(choice, "_choice", choice._Choice())
    assert not by_compiled_code(10_000_000)
    with only(True):
        assert not by_compiled_code(1)
