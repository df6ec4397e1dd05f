"""Threshold rules, with numbers computed by hand."""

import io
import math

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.calibration.thresholds import (
    AlertBudget,
    BestAccuracy,
    BestF1,
    Conformal,
    Contamination,
    LowestCost,
)
from anomaly_detection.errors import DataError, NotFittedError

SCORES = np.array([-0.9, -0.8, -0.7, -0.6, -0.5, -0.4])
LABELS = np.array([-1, 1, -1, 1, 1, 1])


def test_contamination_calls_as_many_anomalies_as_scikit_learn():
    # Its percentile is -0.95, a score; half way to the next below, no rounding decides over the row that has it.
    scores = -np.arange(101) / 100.0
    assert Contamination(0.05).fit(scores).offset_ == pytest.approx(-0.955)
    assert (scores < Contamination(0.05).fit(scores).offset_).sum() == 5


@pytest.mark.parametrize(("alike", "alerts"), [(22, 52), (30, 30), (10, 50)])
def test_equal_rows_at_the_share_are_let_in_where_that_is_nearer(alike: int, alerts: int) -> None:
    # 5 % of 1,000 are 50. Equal rows follow the worst 30: with 22 of them it is 52; 30 would be a fifth too many.
    scores = np.concatenate([np.linspace(-0.9, -0.8, 30), np.full(alike, -0.7), np.linspace(-0.6, -0.4, 970 - alike)])
    assert (scores < Contamination(0.05).fit(scores).offset_).sum() == alerts


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


def test_lowest_cost_by_hand():
    # Cost of 0 to 6 alerts, a false alarm 1 and a miss 3: 6, 3, 4, 1, 2, 3, 4.
    assert LowestCost(1, 3).fit(SCORES, LABELS).offset_ == pytest.approx(-0.65)
    # A miss as cheap as a false alarm is accuracy; a cheaper one leaves one alert: 2, 1, 3, ... by tenths.
    assert LowestCost(5, 5).fit(SCORES, LABELS).offset_ == BestAccuracy().fit(SCORES, LABELS).offset_
    assert LowestCost(10, 1).fit(SCORES, LABELS).offset_ == pytest.approx(-0.85)


@given(
    scores=st.lists(st.sampled_from(np.linspace(-0.9, -0.1, 12).tolist()), min_size=2, max_size=40),
    false_alarm=st.floats(1e-3, 1e6),
    miss=st.floats(1e-3, 1e6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_no_other_threshold_costs_less(scores, false_alarm, miss, seed):
    values = np.array(scores)
    anomaly = np.random.default_rng(seed).random(len(values)) < 0.4
    anomaly[0], anomaly[1] = True, False

    def cost(cut):
        alert = values < cut
        return false_alarm * (alert & ~anomaly).sum() + miss * (anomaly & ~alert).sum()

    chosen = LowestCost(false_alarm, miss).fit(values, np.where(anomaly, -1, 1)).offset_
    assert cost(chosen) == pytest.approx(min(cost(cut) for cut in [*values, 0.0]), rel=1e-9)


def test_benjamini_hochberg_by_hand():
    # Nine calibration scores, so tenths. The batch's p-values are 0.1, 0.1, 0.2, 0.5, 1 and the steps 0.06 to 0.3.
    rule = Conformal(0.3).fit(-np.arange(1, 10) / 10.0)
    batch = np.array([-0.95, -0.99, -0.85, -0.55, 0.0])
    # The second p-value is within its step, 0.12; the third, 0.2, is not within 0.18.
    assert (batch < rule.cut(batch)).tolist() == [True, True, False, False, False]
    # At 0.35 the steps are 0.07, 0.14, 0.21: three alerts.
    wider = Conformal(0.35).fit(-np.arange(1, 10) / 10.0)
    assert (batch < wider.cut(batch)).tolist() == [True, True, True, False, False]
    # A row by itself alerts where its p-value is at most the rate: two below 0.3 and the tie at 0.3.
    singles = np.array([-0.95, -0.85, -0.8, -0.75, -0.7, -0.65])
    assert [bool(score < rule.cut([score])) for score in singles] == [True, True, True, True, False, False]
    assert (singles < rule.offset_).tolist() == [True, True, True, True, False, False]
    # In a batch of many unremarkable rows the same row alerts no more.
    crowd = np.r_[-0.95, np.linspace(-0.5, -0.1, 20)]
    assert (crowd < rule.cut(crowd)).sum() == 0


@pytest.mark.parametrize("anomalies", [0, 30])
def test_the_false_discovery_rate_is_held(anomalies):
    """The mean share of normal rows among the alerts, over 200 draws of calibration and batch, of tied scores too."""
    rng = np.random.default_rng(1)
    rate, found, shares = 0.1, [], []
    for draw in range(200):
        decimals = 3 if draw % 2 else 12
        calibration = rng.normal(-0.45, 0.03, 500).round(decimals)
        batch = np.r_[rng.normal(-0.60, 0.04, anomalies), rng.normal(-0.45, 0.03, 300)].round(decimals)
        alert = batch < Conformal(rate).fit(calibration).cut(batch)
        shares.append(alert[anomalies:].sum() / max(1, alert.sum()))
        found.append(alert[:anomalies].mean() if anomalies else 0.0)
    assert np.mean(shares) <= 1.1 * rate
    if anomalies:
        assert np.mean(shares) > 0.5 * rate  # held, and not by saying nothing
        assert np.mean(found) > 0.8


def test_labels_leave_anomalies_out_of_the_calibration():
    rng = np.random.default_rng(2)
    scores = np.r_[rng.normal(-0.7, 0.02, 20), rng.normal(-0.45, 0.03, 380)]
    labels = np.r_[np.full(20, -1), np.full(380, 1)]
    batch = np.r_[rng.normal(-0.7, 0.02, 20), rng.normal(-0.45, 0.03, 380)]
    told, untold = Conformal(0.1).fit(scores, labels), Conformal(0.1).fit(scores)
    assert (batch < told.cut(batch))[:20].all()
    # Nobody said that these are anomalies: the batch is just like the calibration.
    assert (batch < untold.cut(batch)).sum() == 0


@pytest.mark.parametrize(
    "rule", [Contamination(0.2), AlertBudget(0.2), BestF1(), BestAccuracy(), LowestCost(1, 5), Conformal(0.3)]
)
def test_every_rule_comes_back_from_a_file(rule):
    rule.fit(SCORES, LABELS)
    file = io.BytesIO()
    joblib.dump(rule, file)
    file.seek(0)
    again = joblib.load(file)
    assert again == rule
    assert again.offset_ == rule.offset_
    assert again.cut(SCORES) == rule.cut(SCORES)
    assert (again.cut(SCORES) == rule.offset_) == (not rule.needs_batch)
    parts = iter([SCORES[:2], SCORES[2:]])
    assert again.cut_of_parts(parts) == rule.cut(SCORES)
    assert len([*parts]) == (0 if rule.needs_batch else 2)
    assert rule.needs_batch == isinstance(rule, Conformal)


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
        (lambda: LowestCost(0, 1), "cost of a false alarm is 0"),
        (lambda: LowestCost(1, math.inf), "cost of a miss is inf"),
        (lambda: LowestCost(1, 2).fit(SCORES), "LowestCost needs labels"),
        (lambda: Conformal(0.0), "above 0 and below 1"),
        (lambda: Conformal(0.1).fit(SCORES), "at least 9 normal calibration rows, but there are 6"),
        (lambda: Conformal(0.3).fit(SCORES).cut([math.nan]), "finite"),
        (lambda: Contamination(0.1).fit([]), "needs scores"),
        (lambda: Contamination(0.1).fit([-0.5, math.nan]), "finite"),
    ],
)
def test_what_no_threshold_can_be_made_of_is_said(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_an_unfitted_rule_has_no_batch_threshold():
    with pytest.raises(NotFittedError, match="call fit first"):
        Conformal(0.1).cut(SCORES)
