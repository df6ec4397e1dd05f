"""`Judge`: a stream's model, and its verdicts on records, each with what hindered one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.causes import Cause, find_causes
from anomaly_detection.alerts.headline import Headline
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.calibration.thresholds import Contamination
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.schema import Role
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.service.incoming import Incoming

__all__ = ["Judge", "Judged", "with_ratio"]

_JUDGED = (Role.NUMERIC, Role.CATEGORICAL, Role.TIMESTAMP)


@dataclass(frozen=True)
class Judged:
    """What became of one record.

    Attributes
    ----------
    incoming : Incoming
    alert : Alert or None
        The verdict, with reasons where it is an alert; None where there is none.
    error : str
        Why the record could not be judged; empty where it was, and where no model was there.
    cause : Cause or None
        Of an alert, what it shares with others.
    amount : float or None
        Of an alert, the money that is in the record.
    """

    incoming: Incoming
    alert: Alert | None = None
    error: str = ""
    cause: Cause | None = None
    amount: float | None = None

    @property
    def state(self) -> str:
        """``judged``, ``refused`` or ``waiting``."""
        return "judged" if self.alert is not None else "refused" if self.error else "waiting"


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
        self.calibration = detector.calibration
        self.detector = detector if ratio is None else with_ratio(detector, ratio)
        self.model_id, self.version, self.ratio = model_id, version, ratio
        self.headline = Headline.of(detector)
        self._sources: dict[str, FeatureSource] = {each.name: each for each in detector.preprocessor.feature_sources_}
        schema = detector.preprocessor.schema_
        self._columns: list[str] = schema.names()
        self._judged = frozenset(schema.names(*_JUDGED))
        # The first record of a process compiles and loads what the others use.
        score_table(self.detector, self._table([Incoming({})]))

    @classmethod
    def load(cls, path: Path, model_id: int, version: int, ratio: float | None = None) -> Judge:
        """Of a model file; raises `ModelFileError` too."""
        return cls(load_detector(path), model_id, version, ratio)

    def judge(self, records: Sequence[Incoming]) -> list[Judged]:
        """Judge records that came together; one that cannot be judged does not hinder the others."""
        found = [Judged(record, error=self._hindrance(record)) for record in records]
        places = [place for place, each in enumerate(found) if not each.error]
        self._judge(records, places, found)
        return found

    def group_of(self, feature: str) -> tuple[str, ...]:
        """The columns whose levels make the groups within which a feature judges."""
        source = self._sources.get(feature)
        return () if source is None else tuple(source.group_by)

    def _hindrance(self, record: Incoming) -> str:
        if record.fault:
            return record.fault
        values = (record.judgeable.get(name) for name in self._judged)
        if any(value is not None and str(value).strip() for value in values):
            return ""
        some = ", ".join(sorted(self._judged)[:3])
        return f"The record holds no value in any column that the model knows, such as {some}."

    def _judge(self, records: Sequence[Incoming], places: list[int], found: list[Judged]) -> None:
        """Judge those at some places together or, where that is refused, in halves, down to the one that hinders."""
        if not places:
            return
        table = self._table([records[place] for place in places])
        try:
            batch = score_table(self.detector, table)
        except DataError as error:
            if len(places) == 1:
                found[places[0]] = Judged(records[places[0]], error=self._reason(table, places[0]) or str(error))
                return
            middle = len(places) // 2
            self._judge(records, places[:middle], found)
            self._judge(records, places[middle:], found)
            return
        for alert in batch.at(np.flatnonzero(~batch.is_alert), reasons=0):
            place = places[alert.row - 1]
            found[place] = Judged(records[place], alert)
        alerting = np.flatnonzero(batch.is_alert)
        if not alerting.size:
            return
        clean = batch.table.take(alerting).frame()
        for i, alert in enumerate(batch.at(alerting)):
            place = places[alert.row - 1]
            found[place] = Judged(records[place], alert, "", *self._context(alert, clean.iloc[i : i + 1]))

    def _context(self, alert: Alert, clean: pd.DataFrame) -> tuple[Cause, float | None]:
        """The cause of an alert, and its amount of money."""
        headline = self.headline
        amount = headline.amount if headline.amount in headline.money else None
        (cause,) = find_causes([alert], clean, self._sources, headline.money, amount)
        value = None if amount is None else float(clean[amount].iloc[0])
        return cause, value if value is not None and np.isfinite(value) else None

    def explain(self, record: Incoming) -> Judged:
        """A record's verdict with its reasons, whether it is an alert or not, judged by itself."""
        error = self._hindrance(record)
        if error:
            return Judged(record, error=error)
        try:
            batch = score_table(self.detector, self._table([record]))
        except DataError as failure:
            return Judged(record, error=str(failure))
        (alert,) = batch.at(np.arange(1))
        return Judged(record, alert)

    def _table(self, records: Sequence[Incoming]) -> Any:
        """Every column of the model, whatever the records have: one record as a dict, which is judged the fastest."""
        rows = [{name: record.judgeable.get(name) for name in self._columns} for record in records]
        return rows[0] if len(rows) == 1 else to_frame(rows)

    def _reason(self, table: Any, place: int) -> str:
        """Why one record cannot be judged, with its place in the request."""
        try:
            report = self.detector.extract(table, place)[2]
        except DataError as error:
            return str(error)
        return next(iter(report.unreadable.values()), "")


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
