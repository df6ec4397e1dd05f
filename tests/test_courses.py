"""A series beside its own past: the same in any batches, true to a pivot, alerted where it is wrong, kept in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.columns.table import as_table
from anomaly_detection.errors import DataError
from anomaly_detection.features.series.course import (
    NAMES,
    OF_DAYS,
    OF_HOURS,
    WAYS,
    Course,
    Judged,
    alert_level,
    sentence,
)
from anomaly_detection.features.series.courses import Courses
from benchmarks import nab
from benchmarks.planted_series import ERRORS, Readings, planted, synthetic

HOUR = 1.0 / 24.0


def hourly(days: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    times = 20_000.0 + np.arange(24 * days) / 24.0
    values = 80.0 + 6.0 * np.sin(2.0 * np.pi * times) + random.normal(0.0, 0.5, len(times))
    return times, values.round(2)


def frame_of(times: np.ndarray, values: np.ndarray, sensor: str) -> pd.DataFrame:
    moments = pd.Timestamp("1970-01-01") + pd.to_timedelta((times * 24).round().astype(int), unit="h")
    return pd.DataFrame({"at": moments, "sensor": sensor, "temperature": values})


@pytest.mark.parametrize("series", synthetic(1), ids=lambda series: series.name)
def test_any_batches_give_what_all_at_once_gives(series: Readings) -> None:
    times, values = series.times[:3000], series.values[:3000].copy()
    values[::97] = np.nan
    at_once = Course.of(times).follow(times, values)
    course, parts = Course.of(times), []
    for start, stop in [(0, 1), (1, 2), (2, 700), (700, 701), (701, 701), (701, 3000)]:
        parts.append(course.follow(times[start:stop], values[start:stop]))
    assert np.array_equal(np.vstack([part.nats for part in parts]), at_once.nats)
    assert np.array_equal(np.vstack([part.told for part in parts]), at_once.told, equal_nan=True)
    assert (at_once.nats[::97] == 0.0).all()
    # What comes later changes nothing.
    other = values.copy()
    other[2000:] += 50.0
    assert np.array_equal(Course.of(times).follow(times, other).nats[:2000], at_once.nats[:2000])


def test_the_plain_way_says_what_compiled_code_does() -> None:
    times, values = hourly(20)
    compiled, plain = (Course.of(times).follow(times, values, compiled=way) for way in (True, False))
    np.testing.assert_allclose(plain.nats, compiled.nats, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(plain.told, compiled.told, rtol=1e-12)


def test_readings_at_another_pace_are_no_steps_and_do_not_stand_still() -> None:
    times, values = hourly(30)
    course = Course.of(times)
    course.follow(times, values)
    close = times[-1] + np.arange(1, 121) / (24.0 * 12.0)
    found = course.follow(close, np.repeat(values[-10:], 12))
    assert not found.nats[:, [NAMES.index("step"), NAMES.index("stuck")]].any()


@pytest.mark.parametrize("per_hour", [1, 12])
def test_what_is_told_is_true_to_a_pivot(per_hour: int) -> None:
    random = np.random.default_rng(per_hour)
    n = 24 * 20 * per_hour
    moments = pd.date_range("2024-03-01", periods=n, freq=f"{60 // per_hour}min")
    values = 80.0 + 6.0 * np.sin(2.0 * np.pi * np.arange(n) / (24.0 * per_hour)) + random.normal(0.0, 0.5, n)
    kept = random.random(n) > 0.02
    frame = pd.DataFrame({"at": moments, "value": values})[kept].reset_index(drop=True)
    days = (frame["at"] - pd.Timestamp("1970-01-01")).dt.total_seconds().to_numpy() / 86_400.0
    judged = Course.of(days).follow(days, frame["value"])
    for row in random.integers(24 * 12 * per_hour, len(frame), 40).tolist():
        here = frame.iloc[: row + 1]
        cells = here.groupby(here["at"].dt.floor("h"))["value"].mean()
        hour = here["at"].iloc[-1].floor("h")
        week = [cells.get(hour - pd.Timedelta(days=day)) for day in range(1, 8)]
        usual = np.median([each for each in week if each is not None])
        told = dict(zip(NAMES, judged.told[row].tolist(), strict=True))
        assert told["course"] == pytest.approx([cells[hour], usual])
        if judged.told[row, 0, 0] == judged.told[row, 0, 0]:
            value, *two = here["value"].iloc[[-1, -2, -3]]
            assert told["step"] == [value, min(two, key=lambda each: abs(value - each))]
        means = []
        for day in range(8):
            last = hour - pd.Timedelta(days=day)
            some = cells[(cells.index > last - pd.Timedelta(days=1)) & (cells.index <= last)]
            means.append(some.mean())
        assert told["level"] == pytest.approx([means[0], np.median(means[1:])])
        assert np.isnan(told["slope"][0]) or told["slope"][0] == pytest.approx(cells[hour] - usual)


def test_sentences() -> None:
    course = sentence("course", "temperature", 93.0, 87.0)
    assert course == "temperature 93: 6 above the last week's course (87 at this hour)"
    assert sentence(OF_HOURS, "{x}", 93.0, 87.0).startswith("{x} 93 on the mean of this hour: 6 above")
    assert sentence(OF_DAYS, "units", 3.0, 8.0) == "units 3: 5 below the median of the last week (8)"
    assert sentence("gap", "flow", 2.0, HOUR) == "flow was not measured for 48 hours; usual are 60 minutes"
    assert sentence("stuck", "flow", 9.0, 1.0) == "flow has not moved in 9 readings"
    for way in WAYS:
        assert "flow" in sentence(way, "flow", 2.5, 1.0)
    for between, way in ((HOUR / 12, OF_HOURS), (HOUR, "course"), (1.0, OF_DAYS)):
        judged = Judged(np.eye(6)[[1]], np.full((1, 6, 2), 2.0), between)
        assert judged.way(0) == way
    assert Courses.direction(("stuck", 3.0), 1.0) == "repeated"
    assert Courses.direction(("gap", 3.0), 1.0) == "rare"
    assert [Courses.direction(("step", value), 1.0) for value in (3.0, 0.5)] == ["high", "low"]


@pytest.mark.parametrize("error", ERRORS)
def test_each_kind_of_error_is_alerted(error: str) -> None:
    times, values = hourly(60)
    wrong = planted(Readings("hourly", times, values), error, 3)
    scores = nab.course(wrong)
    assert nab.outcome(wrong, scores, 1.0)["found"] == 1
    before = wrong.times < wrong.wrong[0][0]
    assert (scores[before] >= 1.0).sum() <= 3


def test_times_are_checked() -> None:
    times, values = hourly(3)
    course = Course.of(times)
    course.follow(times, values)
    with pytest.raises(DataError, match="in the order of their times"):
        course.follow(times, values)
    with pytest.raises(DataError, match="nobody can tell how far apart"):
        Course.of([1.0, 1.0])
    with pytest.raises(DataError, match="give one for each"):
        Course.of(times).follow(times, values[:-1])
    with pytest.raises(DataError, match="above 0 days"):
        Course(0.0)
    copy = course.copy()
    copy.follow(times[-1:] + HOUR, [70.0])
    assert copy.counts[0] == course.counts[0] + 1
    assert alert_level(HOUR) == pytest.approx(np.log(336))


def test_records_of_sensors_are_judged_by_their_own_past(tmp_path: Path) -> None:
    parts = [frame_of(*hourly(40, seed), f"S{seed}") for seed in range(3)]
    parts[1]["temperature"] += 40.0
    frame = pd.concat(parts).sort_values(["at", "sensor"], kind="stable").reset_index(drop=True)
    learned, new = frame[:2400], frame[2400:].reset_index(drop=True)
    # What is usual at noon, by night.
    place = int(np.flatnonzero((new["sensor"] == "S1") & (new["at"].dt.hour == 18))[1])
    before = new["temperature"].copy()
    new.loc[place, "temperature"] += 9.0
    api = AnomalyDetectionAPI(seed=0).fit(learned)
    (followed,) = api.detector.preprocessor.named_transformers_["courses"].followed_
    assert (followed.column, followed.time, followed.by) == ("temperature", "at", "sensor")
    assert followed.between == pytest.approx(HOUR)
    names = [source.name for source in api.detector.preprocessor.feature_sources_]
    feature = names.index("temperature beside its own past")
    batch = score_table(api.detector, new)
    assert batch.is_alert[place]
    assert batch.features[:, feature].argmax() == place
    branch = api.detector.preprocessor.named_transformers_["courses"]
    table = api.detector.preprocessor.prepare(new)[0].only([*branch.feature_names_in_])
    told, usual = branch.in_units(table, np.array([place]))
    source = api.detector.preprocessor.feature_sources_[feature]
    said = branch.phrase(source, told[0, 0], usual[0, 0], {}, 2400, None)
    assert said.startswith("temperature ")
    assert said.endswith(", of this sensor")
    # The last week of this sensor, the training records before it included.
    mine = pd.concat([learned, new.assign(temperature=before)])
    mine = mine[(mine["sensor"] == "S1") & (mine["at"] < new["at"][place])].set_index("at")["temperature"]
    week = [mine[new["at"][place] - pd.Timedelta(days=day)] for day in range(1, 8)]
    if told[0, 0][0] == "course":
        assert usual[0, 0] == pytest.approx(np.median(week))
    else:
        assert told[0, 0][0] in ("step", "slope")
    api.save_model(tmp_path / "model.safetensors")
    again = AnomalyDetectionAPI.load_model(tmp_path / "model.safetensors").detector
    assert np.array_equal(again.score_samples(new), batch.scores)
    # In another order it is the same series.
    mixed = np.random.default_rng(0).permutation(len(new))
    found = branch.features_of(as_table(table.frame().iloc[mixed].reset_index(drop=True)))
    assert np.array_equal(found, branch.features_of(table)[mixed])


def test_what_has_no_regular_time_is_not_followed() -> None:
    times, values = hourly(20)
    frame = frame_of(times, values, "S")
    fitted = Courses(["temperature"], ["at"], []).fit(frame[["at", "temperature"]])
    assert [one.column for one in fitted.followed_] == ["temperature"]
    named = frame.assign(**{"per hour": values, "local hour": values})[["at", "per hour", "local hour"]]
    followed = Courses(["per hour", "local hour"], ["at"], []).fit(named).followed_
    assert [one.column for one in followed] == ["per hour"]
    by_day = frame.assign(at=frame["at"].dt.floor("D"))[["at", "temperature"]]
    assert not Courses(["temperature"], ["at"], []).fit(by_day).followed_
    assert not Courses(["temperature"], [], []).fit(frame[["temperature"]]).followed_


def test_the_benchmark_compares_with_both_baselines(tmp_path: Path) -> None:
    (tmp_path / "nab").mkdir()
    windows = {}
    for seed, name in enumerate(nab.NAB):
        times, values = hourly(30, seed)
        values[500:520] += 12.0
        frame = frame_of(times, values, "")[["at", "temperature"]].set_axis(["timestamp", "value"], axis=1)
        frame.to_csv(tmp_path / "nab" / f"{name}.csv", index=False)
        windows[f"{name}.csv"] = [[str(frame["timestamp"][495]), str(frame["timestamp"][525])]]
    (tmp_path / "nab" / "windows.json").write_text(json.dumps(windows), "utf-8")
    nab.main(["--data", str(tmp_path), "--synthetic", "1", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "nab.json").read_text("utf-8"))
    chosen, found = saved["tables"]
    assert [row[0] for row in chosen["rows"]] == [*nab.WAYS]
    assert [row[:2] for row in found["rows"]] == [[name, way] for name in nab.NAB for way in nab.WAYS]
    for name in nab.NAB:
        ours = saved["measurements"]["nab"][f"{name}, {nab.OURS}"]
        assert (ours["found"], ours["windows"]) == (1, 1)
        told = saved["measurements"]["nab"][f"{name}, sentences"]
        assert sum("in a window" in each for each in told) >= 1
        assert sum("false" in each for each in told) == ours["false"]


def test_alerts_are_counted_as_the_protocol_says() -> None:
    series = Readings("", np.arange(40) / 4.0, np.zeros(40), ((2.0, 3.0), (7.0, 8.0)))
    scores = np.zeros(40)
    # In the first window, again within a day, a day later outside, and before the second window and in it.
    scores[[9, 11, 20, 26, 29]] = 1.0
    assert nab.starts(series, scores, 1.0).tolist() == [2.25, 5.0, 6.5]
    told = nab.outcome(series, scores, 1.0)
    assert (told["found"], told["windows"], told["false"]) == (2, 2, 2)
    assert told["weeks"] == pytest.approx((9.75 - 2.0) / 7.0)
    scores[29] = 0.5
    assert nab.outcome(series, scores, 1.0)["found"] == 1
    assert nab.highest_finding_all(series, scores) == 0.5
    # Nobody looks ahead.
    times, values = hourly(20)
    for score in nab.WAYS.values():
        later = values.copy()
        later[300:] = 0.0
        one, other = (score(Readings("", times, each)) for each in (values, later))
        assert np.array_equal(one[:300], other[:300])


def test_series_are_carried_on_where_recent_records_are_kept() -> None:
    parts = [frame_of(*hourly(40, seed), f"S{seed}") for seed in range(3)]
    parts[1]["temperature"] += 40.0
    frame = pd.concat(parts)
    frame = frame.sort_values(["at", "sensor"], kind="stable").reset_index(drop=True)
    learned, later = frame[:2400], frame[2400:].reset_index(drop=True)
    preprocessor = AnomalyDetectionAPI(seed=0).fit(learned).detector.preprocessor
    courses = preprocessor.named_transformers_["courses"]
    columns = [*courses.feature_names_in_]
    tables = [preprocessor.prepare(later[row : row + 1])[0].only(columns) for row in range(len(later))]
    expected = courses.features_of(preprocessor.prepare(later)[0].only(columns))
    courses.keep_recent()
    # What is older than the training's end takes nothing of it away.
    courses.remember(preprocessor.prepare(learned[:9])[0].only(columns), lambda at: str)
    one_by_one = []
    for table in tables:
        one_by_one.append(courses.features_of(table))
        courses.remember(table, lambda at: str)
        # What comes again, or too late, changes nothing.
        courses.remember(table, lambda at: str)
        courses.remember(tables[0], lambda at: str)
    assert expected.any()
    # By the first reading of each series, a batch does not know whether some were left out.
    assert np.array_equal(np.vstack(one_by_one)[3:], expected[3:])
