"""`Batch`: records that were scored together, column by column, of which alerts are made on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.alert import IN_WORDS, Alert
from anomaly_detection.data.cells.well_formed_text import well_formed_cells
from anomaly_detection.data.columns.cleaning import CleaningReport
from anomaly_detection.data.columns.column import Role
from anomaly_detection.data.columns.records import is_record
from anomaly_detection.data.columns.table import Table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.explain.explanations import Explanation, explain_features
from anomaly_detection.trained_detector import TrainedDetector

__all__ = ["Batch"]

FloatArray = npt.NDArray[np.float64]

_EXPLAINED = 5_000
"""Records whose reasons are made at once: what is said of all their features takes 50 kB each."""

_PLAIN = (str, int, float, bool, type(None), pd.Timestamp)


@dataclass(frozen=True, eq=False)
class Batch:
    """Judged records, and what explaining them takes; `alerts` and `at` make an `Alert` of those that are asked for.

    Attributes
    ----------
    detector : TrainedDetector
        What judged them.
    rows : ndarray (n,) int64
        Each record's number in the whole input, from 1.
    records : pandas.DataFrame or dict
        The records, with the index that they came with, or the one there is.
    table : Table
        What ``preprocessor.prepare`` made of them.
    features : ndarray of float32, shape (n, n_features)
    scores : ndarray (n,) float64
        Of ``Detector.score_samples``.
    threshold : float or None
        The score below which these are alerts (`Detector.cut`); None where a caller judged them.
    decisions : ndarray (n,) float64
        ``scores - threshold``, or what the caller gave; lower for the more abnormal.
    is_alert : ndarray (n,) bool
        Whether the decision is negative, or what the caller said.
    cleaning : CleaningReport
        What reading the records did to their cells.
    labels : callable, optional
        Gives how reasons call each record, where any does so; by its number in `rows` if not given.
    """

    detector: TrainedDetector
    rows: npt.NDArray[np.int64]
    records: Any
    table: Table
    features: npt.NDArray[np.float32]
    scores: FloatArray
    threshold: float | None
    decisions: FloatArray
    is_alert: npt.NDArray[np.bool_]
    cleaning: CleaningReport
    labels: Callable[[], Sequence[str]] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def p_values(self) -> FloatArray:
        """Of all records, see `Detector.p_values`, which raises `DataError` for a model without calibration."""
        return self.detector.p_values(self.scores)

    @cached_property
    def severities(self) -> FloatArray:
        """Of all records, see `Calibration.severities`; raises as `p_values`."""
        return self.detector.calibration.severities(self.scores)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The records as they came, with their index."""
        return to_frame(self.records)

    @cached_property
    def extended(self) -> pd.DataFrame:
        """The clean records with the columns that follow from others, what ``preprocessor.extend`` gives."""
        return self.table.frame()

    @property
    def model_id(self) -> str:
        """16 hexadecimal digits, equal where threshold and calibration are: those of one model, saved or loaded.

        Of a SHA-256 of the threshold, its rule and the quantiles of the scores that the model was calibrated on and of
        those that it learned from. Empty for a model without calibration.
        """
        calibration = self.detector.calibration_
        if calibration is None:
            return ""
        digest = hashlib.sha256(f"{float(self.detector.model.offset_).hex()} {self.detector.threshold_rule!r}".encode())
        for quantiles in (calibration.quantiles, calibration.learned):
            digest.update(b"" if quantiles is None else np.asarray(quantiles, dtype="<f8").tobytes())
        return digest.hexdigest()[:16]

    def judged_by(self, is_alert: npt.NDArray[np.bool_], decisions: FloatArray) -> Batch:
        """The same records with the verdicts and decision scores of a caller, each of shape (n,)."""
        return replace(self, threshold=None, decisions=decisions, is_alert=is_alert)

    def most_abnormal(self, count: int | None = None) -> npt.NDArray[np.int64]:
        """The positions of the `count` records with the lowest decisions, lowest first, of equal ones the earlier."""
        return np.argsort(self.decisions, kind="stable")[:count]

    def alerts(self, top: int | None = None) -> list[Alert]:
        """The alerts with reasons, the most abnormal first: all, or the `top` first of them."""
        order = self.most_abnormal()
        return self.at(order[self.is_alert[order]][:top])

    def at(self, positions: npt.NDArray[np.int64], reasons: int = IN_WORDS) -> list[Alert]:
        """The records at some positions, from 0, in the order given; with at most so many `reasons`, 0 for none."""
        calibration, rule = self.detector.calibration_, self.threshold
        scores, decisions = self.scores[positions], self.decisions[positions]
        known: list[float | None] = [None] * len(positions)
        p_values = known if calibration is None else calibration.p_values(scores).tolist()
        severities = known if calibration is None else calibration.severities(scores).tolist()
        sure = known
        if calibration is not None and rule is not None:
            sure = [calibration.confidence(decision, rule) for decision in decisions.tolist()]
        found: Sequence[Explanation | None] = self._explained(positions, reasons) if reasons else [None] * len(known)
        records = self._as_dicts(positions)
        names = [name for name in self.detector.preprocessor.schema_.names(Role.IDENTIFIER) if name in self.records]
        model = self.model_id
        return [
            Alert(
                row=int(self.rows[place]),
                identifiers={name: records[i][name] for name in names},
                record={str(name): value for name, value in records[i].items()},
                score=float(scores[i]),
                threshold=rule,
                decision=float(decisions[i]),
                is_alert=bool(self.is_alert[place]),
                p_value=p_values[i],
                severity=severities[i],
                confidence=sure[i],
                explanation=found[i],
                model_id=model,
            )
            for i, place in enumerate(positions.tolist())
        ]

    def sentences(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """Why the records at some positions are what they are: `Alert.sentence` of each, without an alert of each."""
        return [found.sentence for found in self._explained(positions, IN_WORDS)]

    def _as_dicts(self, positions: npt.NDArray[np.int64]) -> list[dict[Any, Any]]:
        if is_record(self.records) and all(type(cell) in _PLAIN for cell in self.records.values()):
            # A frame would give the same.
            return [well_formed_cells(self.records)] * len(positions)
        return _dicts(self.frame.iloc[positions])

    def _explained(self, positions: npt.NDArray[np.int64], reasons: int) -> list[Explanation]:
        table, found = self.table.labelled(self.rows if self.labels is None else self.labels), list[Explanation]()
        for start in range(0, len(positions), _EXPLAINED):
            some = positions[start : start + _EXPLAINED]
            alerts = self.is_alert[some] if self.threshold is None else None
            found += explain_features(self.detector, table, self.features, some, reasons, self.threshold, alerts=alerts)
        return found


def _dicts(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """``frame.to_dict("records")``, column by column: pandas asks of each cell of a text what it is."""
    texts = [isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes]
    plain = all(text or getattr(dtype, "kind", "O") in "biufM" for text, dtype in zip(texts, frame.dtypes, strict=True))
    if not plain or not frame.columns.is_unique or not len(texts):
        return frame.to_dict("records")
    columns = [frame.iloc[:, place] for place in range(len(texts))]
    cells = [(one.to_numpy(dtype=object) if text else one).tolist() for one, text in zip(columns, texts, strict=True)]
    names = frame.columns.tolist()
    return [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]
