"""`Judge`: a stream's model, and its verdicts on records, each with what hindered one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.alerts.causes import cause_of_each
from anomaly_detection.alerts.headline import Headline
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.calibration.p_values import risk_level
from anomaly_detection.calibration.thresholds import Contamination
from anomaly_detection.data.columns.schema import Role
from anomaly_detection.data.columns.table import Table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.explain.wording import number, short
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.service.records.incoming import LEAKS, Incoming
from anomaly_detection.service.records.recent import Recent
from anomaly_detection.service.records.verdicts import VERDICT, Judged, Verdict, Verdicts
from anomaly_detection.texts.said import say

__all__ = ["Extracted", "Judge", "with_ratio"]

_Made = TypeVar("_Made")
_BATCH = 64
"""Records that are judged as many are."""

_NESTED = frozenset({dict, list})
_JUDGED = (Role.NUMERIC, Role.CATEGORICAL, Role.TIMESTAMP)


@dataclass(frozen=True)
class Extracted:
    """The features of a record, shape (n_features,), by a model that nobody taught, and what it would be known by."""

    features: npt.NDArray[np.float32]
    key: np.uint64 | None


class Judge:
    """Judges the records of one stream.

    Parameters
    ----------
    detector : Detector
    model_id, version : int
        Its row in the table of models, and which of its stream's it is.
    ratio : float, optional
        The share of records that are to be alerts; what the model was trained for if not given.

    Raises
    ------
    DataError
        If the model came without its calibration: it could not say how severe anything is.
    """

    def __init__(self, detector: Detector, model_id: int, version: int, ratio: float | None = None) -> None:
        self.model_id, self.version = model_id, version
        self._base = detector
        self.recent = Recent()
        self.led: dict[str, str] = {}
        """The feature that led to each alert whose verdict has taught, by the alert's number, a text."""
        detector.preprocessor.keep_recent()
        self._judge_by(Lessons(), 0, ratio)
        self.headline = Headline.of(detector)
        self._sources: dict[str, FeatureSource] = {each.name: each for each in detector.preprocessor.feature_sources_}
        schema = detector.preprocessor.schema_
        self._columns: list[str] = schema.names()
        self._judged: tuple[str, ...] = tuple(name for name in schema.names(*_JUDGED) if name not in LEAKS)
        self.compared = tuple(schema.names(Role.NUMERIC, Role.CATEGORICAL))
        """The columns that records can be compared by."""

    @classmethod
    def load(cls, path: Path, model_id: int, version: int, ratio: float | None = None) -> Judge:
        """Of a model file; raises `ModelFileError` too."""
        return cls(load_detector(path), model_id, version, ratio)

    def _judge_by(self, lessons: Lessons, taught: int, ratio: float | None) -> None:
        base = self._base
        if lessons:
            base = copy.copy(base)
            base.learn(base.lessons_.with_more(lessons.features, lessons.verdicts))
        self.calibration = base.calibration
        self.detector = base if ratio is None else with_ratio(base, ratio)
        self.lessons, self.taught, self.ratio = lessons, taught, ratio

    def again(self, lessons: Lessons, taught: int, ratio: float | None) -> Judge:
        """The same model by what verdicts have taught so far, for which `taught` stands, and another ratio."""
        made = copy.copy(self)
        made._judge_by(lessons, taught, ratio)
        return made

    def decisions(self, records: Sequence[Incoming]) -> list[float | None]:
        """The decision on each of some records, None where one cannot be judged."""
        found: list[float | None] = [None] * len(records)
        for some, batch in self._parts(records, lambda table: score_table(self.detector, table))[0]:
            for place, decision in zip(some, batch.decisions.tolist(), strict=True):
                found[place] = decision
        return found

    def read_off(self, records: Sequence[Incoming]) -> list[Extracted | None]:
        """What is judged of each of some records, whatever `again` taught; None where one cannot be judged."""
        found: list[Extracted | None] = [None] * len(records)
        for some, (features, table, _) in self._parts(records, self._base.extract)[0]:
            keys = self._base.preprocessor.keys_of(table)
            for at, place in enumerate(some):
                found[place] = Extracted(features[at], None if keys is None else keys[at])
        return found

    def decisions_by(self, found: Sequence[Extracted]) -> npt.NDArray[np.float64]:
        """The decisions on some records, at least one, by what was `read_off`; shape (n,)."""
        detector, features = self.detector, np.vstack([each.features for each in found])
        if self.lessons:
            keys = None if found[0].key is None else np.array([each.key for each in found], dtype=np.uint64)
            evidence = detector.preprocessor.evidence(features)
            features = detector.preprocessor.weighed(features, evidence, keys)
        scores = detector.score_features(features)
        return scores - detector.cut(scores)

    def leading(self, records: Sequence[Incoming]) -> list[str | None]:
        """The feature with most evidence against each of some records, None where one cannot be judged."""
        found: list[str | None] = [None] * len(records)
        if self.detector.preprocessor.evidence_ is None:
            return found
        for some, features in self._parts(records, lambda table: self.detector.extract(table)[0])[0]:
            for place, name in zip(some, self.detector.preprocessor.leading(features), strict=True):
                found[place] = name
        return found

    def prepare(self) -> None:
        """Compile and load what the first record, batch and alert of a process need, before a client waits for it."""
        empty = Incoming({})
        for count in (1, _BATCH):
            found = score_table(self.detector, self.table([empty] * count))
        self._alerts([empty] * _BATCH, list(range(_BATCH)), replace(found, is_alert=np.arange(_BATCH) < 1))

    def judge(self, records: Sequence[Incoming]) -> Verdicts:
        """Judge records that came together; one that cannot be judged does not hinder the others."""
        if len(records) == 1:
            return self.judge_each(records)
        parts, errors = self._parts(records, lambda table: score_table(self.detector, table))
        alerting = dict(sorted(each for part in parts for each in self._alerts(records, *part)))
        for places, batch in parts:
            self._remember([records[place] for place in places], batch.table)
        said = [(places, self._said(batch.scores, batch.threshold)) for places, batch in parts]
        return Verdicts(records, errors, alerting, _columns(said, len(records)))

    def judge_each(self, records: Sequence[Incoming]) -> Verdicts:
        """Judge records that came at the same time and not together: as `judge` does each of them alone, at once."""
        detector, rule = self.detector, self.detector.threshold_rule
        if len(records) > 1 and rule is not None and rule.needs_batch:
            return self._judge_alone(records)
        errors = {place: error for place, record in enumerate(records) if (error := self._hindrance(record))}
        places = [place for place in range(len(records)) if place not in errors]
        try:
            tables = [detector.preprocessor.prepare(self.table([records[place]]))[0] for place in places]
            features = detector.preprocessor.features_of_each(tables) if tables else np.empty((0, 0), dtype=np.float32)
            if len(tables) > 1 and detector.preprocessor.some_alike(tables):
                # Of those that say the same the later ones are copies.
                return self._judge_alone(records)
            scores = detector.score_features(features) if tables else np.empty(0)
        except DataError as error:
            if len(records) > 1:
                return self._judge_alone(records)
            return Verdicts(records, {0: self._reason(self.table(records), 0) or error.args[0]}, {}, {})
        said = self._said(scores, detector.cut(scores))
        alerting = {}
        for at in np.flatnonzero(said[0]).tolist():
            record = [records[places[at]]]
            batch = score_table(detector, self.table(record), features[at : at + 1])
            alerting[places[at]] = self._alerts(record, [0], batch)[0][1]
        for place, table in zip(places, tables, strict=True):
            self._remember([records[place]], table)
        return Verdicts(records, errors, alerting, _columns([(places, said)] if places else [], len(records)))

    def remember(self, records: Sequence[Incoming]) -> None:
        """Compare what comes with these too, which were judged before."""
        parts, _ = self._parts(records, lambda table: self.detector.preprocessor.prepare(table)[0])
        for places, table in parts:
            self._remember([records[place] for place in places], table)

    def _remember(self, records: Sequence[Incoming], table: Table) -> None:
        self._base.preprocessor.remember(table, lambda at: self._label(records[at].fields, at))

    def _judge_alone(self, records: Sequence[Incoming]) -> Verdicts:
        return Verdicts.joined([self.judge_each([each]) for each in records])

    def _said(self, scores: npt.NDArray[np.float64], threshold: float | None) -> tuple[list[Any], ...]:
        """`VERDICT` of records with these scores, shape (n,)."""
        assert threshold is not None
        calibration, decisions = self.detector.calibration, scores - threshold
        severities = calibration.severities(scores).tolist()
        return (
            (decisions < 0).tolist(),
            scores.tolist(),
            decisions.tolist(),
            self.detector.p_values(scores).tolist(),
            severities,
            list(map(risk_level, severities)),
            calibration.confidences(decisions, threshold).tolist(),
        )

    @property
    def asked(self) -> float | None:
        """The share of records that was to be alerts; None where the threshold is set in another way."""
        rule = self.detector.threshold_rule
        return rule.ratio if self.ratio is None and isinstance(rule, Contamination) else self.ratio

    @property
    def categories(self) -> list[str]:
        """The columns that hold levels."""
        names: list[str] = self.detector.preprocessor.schema_.names(Role.CATEGORICAL)
        return names

    def source_of(self, feature: str) -> FeatureSource | None:
        """Where a feature of the model comes from; None for one that it does not have."""
        return self._sources.get(feature)

    def group_of(self, feature: str) -> tuple[str, ...]:
        """The columns whose levels make the groups within which a feature judges."""
        source = self._sources.get(feature)
        return () if source is None else tuple(source.group_by)

    def read(self, records: Sequence[Incoming]) -> tuple[list[int], pd.DataFrame]:
        """Clean records with the columns that follow from others, of those that can be read; and their places."""
        parts, _ = self._parts(records, lambda table: self.detector.preprocessor.extend(table)[0])
        if not parts:
            return [], pd.DataFrame()
        frames = [frame for _, frame in parts]
        clean = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        return [place for some, _ in parts for place in some], clean

    def _hindrance(self, record: Incoming) -> str:
        if record.fault:
            return record.fault
        for name in self._judged:
            value = record.fields.get(name)
            if value is not None and not isinstance(value, (dict, list)) and str(value).strip():
                return ""
        some = ", ".join(sorted(self._judged)[:3])
        return say("The record holds no value in any column that the model knows, such as %(some)s.", some=some)

    def _parts(
        self, records: Sequence[Incoming], use: Callable[[Any], _Made]
    ) -> tuple[list[tuple[list[int], _Made]], dict[int, str]]:
        """What is made of the records that can be judged, with their places; and what hinders each of the others."""
        errors = {place: error for place, record in enumerate(records) if (error := self._hindrance(record))}
        parts: list[tuple[list[int], _Made]] = []
        places = [place for place in range(len(records)) if place not in errors]
        self._in_parts(records, places, use, parts, errors)
        return parts, errors

    def _in_parts(
        self,
        records: Sequence[Incoming],
        places: list[int],
        use: Callable[[Any], _Made],
        parts: list[tuple[list[int], _Made]],
        errors: dict[int, str],
    ) -> None:
        """Use those at some places together or, where that is refused, in halves, down to the one that hinders."""
        if not places:
            return
        table = self.table([records[place] for place in places])
        try:
            parts.append((places, use(table)))
        except DataError as error:
            if len(places) == 1:
                errors[places[0]] = self._reason(table, places[0]) or error.args[0]
                return
            middle = len(places) // 2
            self._in_parts(records, places[:middle], use, parts, errors)
            self._in_parts(records, places[middle:], use, parts, errors)

    def _alerts(self, records: Sequence[Incoming], places: list[int], batch: Batch) -> list[tuple[int, Judged]]:
        """Those of a batch that are alerts, with their places, causes and amounts of money."""
        alerting = np.flatnonzero(batch.is_alert)
        if not alerting.size:
            return []

        def labels() -> list[str]:
            return [self._label(records[place].fields, at)() for at, place in enumerate(places)]

        alerts = replace(batch, labels=labels).at(alerting)
        clean = batch.table if len(alerting) == len(batch) else batch.table.take(alerting)
        headline = self.headline
        amount = headline.amount if headline.amount in headline.money else None
        causes = cause_of_each(alerts, clean, self._sources, headline.money, amount)
        values = [None] * len(alerts) if amount is None else clean.numbers(amount).tolist()
        found = []
        for at, alert, cause, value in zip(alerting.tolist(), alerts, causes, values, strict=True):
            known = value if value is not None and np.isfinite(value) else None
            found.append((places[at], Judged(records[places[at]], Verdict.of(alert), alert, "", cause, known)))
        return found

    def explain(self, record: Incoming) -> Judged:
        """A record's verdict with its reasons, whether it is an alert or not, judged by itself."""
        error = self._hindrance(record)
        if error:
            return Judged(record, error=error)
        try:
            batch = score_table(self.detector, self.table([record]))
        except DataError as failure:
            return Judged(record, error=failure.args[0])
        (alert,) = batch.at(np.arange(1))
        return Judged(record, Verdict.of(alert), alert)

    def table(self, records: Sequence[Incoming]) -> Any:
        """Every column of the model, whatever the records have: one record as a dict, which is judged the fastest."""
        if len(records) == 1:
            return {name: _judgeable(name, records[0].fields.get(name)) for name in self._columns}
        fields = [record.fields for record in records]
        return to_frame({name: _judgeable_column(name, [each.get(name) for each in fields]) for name in self._columns})

    def _label(self, fields: Mapping[str, Any], place: int) -> Callable[[], str]:
        """What says how reasons call a row, when one does: a number among those judged with it says little."""
        for name in self.headline.identifiers:
            value = fields.get(name)
            if isinstance(value, (str, int)) and str(value).strip():
                return partial(_with, name, value)
        return partial(_judged_with, place)

    def _reason(self, table: Any, place: int) -> str:
        """Why one record cannot be judged, with its place in the request."""
        try:
            report = self.detector.extract(table, place)[2]
        except DataError as error:
            told: str = error.args[0]
            return told
        return next(iter(report.unreadable.values()), "")


def _with(column: str, value: str | int) -> str:
    # The column is told for masks.
    return say("with %(column)s %(value)s", column=column, value=short(value))


def _judged_with(place: int) -> str:
    return say("%(place)s of those judged with it", place=number(place + 1))


def _judgeable(name: str, value: Any) -> Any:
    """As `Incoming.judgeable` has it, without a dict for each record."""
    return None if isinstance(value, (dict, list)) or name in LEAKS else value


def _judgeable_column(name: str, values: list[Any]) -> list[Any]:
    """The same of many values."""
    if name in LEAKS:
        return [None] * len(values)
    if _NESTED.isdisjoint(map(type, values)):
        return values
    return [_judgeable(name, value) for value in values]


def _columns(parts: Sequence[tuple[list[int], Sequence[list[Any]]]], count: int) -> dict[str, list[Any]]:
    """`VERDICT` of all records, of what is said of those at some places; nothing where none was judged."""
    if not parts:
        return {}
    if len(parts[0][0]) == count:
        return dict(zip(VERDICT, parts[0][1], strict=True))
    columns: dict[str, list[Any]] = {name: [None] * count for name in VERDICT}
    for places, said in parts:
        for column, values in zip(columns.values(), said, strict=True):
            for place, value in zip(places, values, strict=True):
                column[place] = value
    return columns


def with_ratio(detector: Detector, ratio: float) -> Detector:
    """The same with the threshold below which that share of its calibration records lies; itself if it has it."""
    rule = detector.threshold_rule
    if isinstance(rule, Contamination) and rule.ratio == ratio:
        return detector
    made = copy.copy(detector)
    made.model = copy.copy(detector.model)
    made.model.offset_ = detector.calibration.cut(ratio)
    made.threshold_rule = None
    return made
