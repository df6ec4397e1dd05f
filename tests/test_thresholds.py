"""Threshold rules, with numbers computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.errors import DataError
from anomaly_detection.thresholds import AlertBudget, BestAccuracy, BestF1, Contamination

SCORES = np.array([-0.9, -0.8, -0.7, -0.6, -0.5, -0.4])
LABELS = np.array([-1, 1, -1, 1, 1, 1])


def test_contamination_is_the_percentile_that_scikit_learn_takes():
    scores = -np.arange(101) / 100.0
    assert Contamination(0.05).fit(scores).offset_ == pytest.approx(-0.95)
    assert (scores < Contamination(0.05).fit(scores).offset_).sum() == 5


def test_best_accuracy_by_hand():
    # Correct with 0, 1, 2, 3 ... alerts: 4, 5, 4, 5, 4, 3, 2 of 6. One alert and three are best; the fewer is taken.
    assert BestAccuracy().fit(SCORES, LABELS).offset_ == pytest.approx(-0.85)


def test_best_f1_by_hand():
    # F1 with 1, 2, 3 alerts: 2/3, 2/4, 4/5.
    assert BestF1().fit(SCORES, LABELS).offset_ == pytest.approx(-0.65)


def test_best_cut_never_splits_a_tie():
    # The one score below is split off; the tied pair goes together.
    rule = BestAccuracy().fit([-0.9, -0.5, -0.5, -0.1], [-1, -1, 1, 1])
    assert ((np.array([-0.9, -0.5, -0.5, -0.1]) < rule.offset_) == [True, False, False, False]).all()


def test_best_accuracy_may_alert_on_nothing_or_on_everything():
    assert (BestAccuracy().fit(SCORES, [1, 1, 1, 1, 1, -1]).offset_ > SCORES).sum() == 0
    assert (BestAccuracy().fit(SCORES, [-1, -1, -1, -1, -1, 1]).offset_ > SCORES).sum() == 5
    assert (BestF1().fit(SCORES, [1, -1, -1, -1, -1, -1]).offset_ > SCORES).sum() == 6


def test_neighbouring_floats_are_still_told_apart():
    scores = np.array([-0.5, np.nextafter(-0.5, 0.0)])
    rule = BestAccuracy().fit(scores, [-1, 1])
    assert (scores < rule.offset_).tolist() == [True, False]
    assert (scores - rule.offset_ < 0).tolist() == [True, False]


def test_budget_counts():
    scores = -np.arange(10) / 10.0
    assert (scores < AlertBudget.count(3, 10).fit(scores).offset_).sum() == 3
    assert (scores < AlertBudget.count(0.5, 10).fit(scores).offset_).sum() == 0
    assert (scores < AlertBudget.count(50, 10).fit(scores).offset_).sum() == 10
    assert (scores < AlertBudget(0.3).fit(scores).offset_).sum() == 3
    tied = np.array([-0.9, -0.5, -0.5, -0.5, -0.1])
    assert (tied < AlertBudget.count(2, 5).fit(tied).offset_).sum() == 1


def test_budget_a_day_spreads_over_the_span_of_the_rows():
    # 100 rows over 10 days, 2 alerts a day: 20 of 100 rows.
    times = np.datetime64("2024-01-01") + np.linspace(0, 10 * 86_400, 100).astype("timedelta64[s]")
    assert AlertBudget.per_day(2, times).rate == pytest.approx(0.2)
    # A span below a day counts as one.
    assert (
        AlertBudget.per_day(2, np.array(["2024-01-01T10", "2024-01-01T11", "NaT", "NaT"], "datetime64[h]")).rate == 0.5
    )


@given(
    scores=st.lists(st.floats(-1.0, -0.01), min_size=2, max_size=40),
    rate=st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_no_rule_breaks_its_promise(scores, rate, seed):
    values = np.array(scores)
    assert (values < AlertBudget(rate).fit(values).offset_).sum() <= rate * len(values) + 1e-6
    labels = np.where(np.random.default_rng(seed).random(len(values)) < 0.4, -1, 1)
    labels[0], labels[1] = -1, 1
    for rule, measure in ((BestAccuracy(), _accuracy), (BestF1(), _f1)):
        chosen = measure(values < rule.fit(values, labels).offset_, labels == -1)
        candidates = [*values, values.max() + 1.0]
        best = max(measure(values < cut, labels == -1) for cut in candidates)
        assert chosen == pytest.approx(best)


def _accuracy(alert, anomaly):
    return (alert == anomaly).mean()


def _f1(alert, anomaly):
    return 2 * (alert & anomaly).sum() / (alert.sum() + anomaly.sum())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Contamination(0.0), "above 0 and at most 0.5"),
        (lambda: Contamination(math.nan), "above 0 and at most 0.5"),
        (lambda: AlertBudget(1.5), "at most 1"),
        (lambda: AlertBudget.count(0, 10), "above 0"),
        (lambda: AlertBudget.per_day(3, np.array(["NaT"], "datetime64[s]")), "no row has one"),
        (lambda: BestAccuracy().fit(SCORES), "BestAccuracy needs labels"),
        (lambda: BestF1().fit(SCORES, np.ones(6)), "only one kind"),
        (lambda: BestF1().fit(SCORES, [-1, 1]), "6 scores but 2 labels"),
        (lambda: Contamination(0.1).fit([]), "needs scores"),
        (lambda: Contamination(0.1).fit([-0.5, math.nan]), "finite"),
    ],
)
def test_what_no_threshold_can_be_made_of_is_said(make, message):
    with pytest.raises(DataError, match=message):
        make()
