"""`Judge`: a stream's model, and its verdicts on records, each with what hindered one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.schema import Role
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.service.incoming import Incoming

__all__ = ["Judge", "Judged"]

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
    """

    incoming: Incoming
    alert: Alert | None = None
    error: str = ""

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

    Raises
    ------
    DataError
        If the model came without its calibration: it could not say how severe anything is.
    """

    def __init__(self, detector: Detector, model_id: int, version: int) -> None:
        self.calibration = detector.calibration
        self.detector, self.model_id, self.version = detector, model_id, version
        schema = detector.preprocessor.schema_
        self._columns: list[str] = schema.names()
        self._judged = frozenset(schema.names(*_JUDGED))
        # The first record of a process compiles and loads what the others use.
        score_table(detector, self._table([Incoming({})]))

    @classmethod
    def load(cls, path: Path, model_id: int, version: int) -> Judge:
        """Of a model file; raises `ModelFileError` too."""
        return cls(load_detector(path), model_id, version)

    def judge(self, records: Sequence[Incoming]) -> list[Judged]:
        """Judge records that came together; one that cannot be judged does not hinder the others."""
        found = [Judged(record, error=self._hindrance(record)) for record in records]
        places = [place for place, each in enumerate(found) if not each.error]
        self._judge(records, places, found)
        return found

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
        for alert in batch.at(np.flatnonzero(~batch.is_alert), reasons=0) + batch.at(np.flatnonzero(batch.is_alert)):
            place = places[alert.row - 1]
            found[place] = Judged(records[place], alert)

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
