"""What a `DriftTest` sees of judged records, and the drift of a whole table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.calibration.column_drift import Drift, find_drifts, starting_test
from anomaly_detection.calibration.drift_test import BLOCK, DriftTest, Observed
from anomaly_detection.data.cells.missing import text_pattern
from anomaly_detection.data.columns.schema import Role
from anomaly_detection.features.column_reference import NEW, SKIPPED, UNREADABLE, ColumnReference
from anomaly_detection.trained_detector import TrainedDetector

__all__ = ["TableDrift", "Watch", "can_watch"]

_KEPT = 20_000
_MOST_EXAMPLES = 20
_MOST_CALIBRATION = 5_000


def can_watch(detector: TrainedDetector) -> bool:
    """Whether its model knows how columns were; those of older files do not."""
    return bool(detector.preprocessor.references_)


class Watch:
    """Looks at judged records, column by column.

    Parameters
    ----------
    detector : TrainedDetector
        One that `can_watch`.

    Attributes
    ----------
    examples : dict
        By column, how often each level or text came that is new: of the first twenty.
    """

    def __init__(self, detector: TrainedDetector) -> None:
        self.references: list[ColumnReference] = detector.preprocessor.references_
        self._contexts = {each.column: each for each in self.references}
        self._words = detector.preprocessor.schema_.known_words()
        self._dates = detector.preprocessor.schema_.names(Role.TIMESTAMP)
        self._more = {each.column: set(each.more.tolist()) for each in self.references}
        self._counts_alerts = detector.calibration_ is not None and detector.calibration_.unseen
        self._alerts = (0, 0)
        rule = detector.threshold_rule
        if self._counts_alerts and (rule is None or not rule.needs_batch):
            calibration = detector.calibration
            count = min(calibration.scores.size, _MOST_CALIBRATION)
            alerts = round(count * calibration.share_below(float(detector.model.offset_)))
            self._alerts = (alerts, count - alerts)
        else:
            self._counts_alerts = False
        self.examples: dict[str, dict[str, int]] = {}

    def start(self) -> DriftTest:
        """A test of which nothing has come yet."""
        return starting_test(self.references, self._alerts)

    def observe(self, batch: Batch, moments: npt.NDArray[np.float64] | None = None) -> Observed:
        """What there is to see of records, at `moments` (rows,) in seconds since 1970, else by their main date."""
        codes = np.full((len(batch), len(self.references) + 1), SKIPPED, dtype=np.int8)
        residuals = np.full(codes.shape, np.nan)
        for place, reference in enumerate(self.references):
            unreadable = self._unreadable(batch, reference)
            found, residuals[:, place] = reference.codes(batch.table, unreadable, self._contexts)
            codes[:, place] = found
            if reference.role == "categorical":
                self._tell(reference, batch, found)
        if self._counts_alerts:
            codes[:, -1] = np.where(batch.is_alert, NEW + 1, NEW + 2)
        return Observed(codes, residuals, self._moments(batch) if moments is None else moments)

    def _unreadable(self, batch: Batch, reference: ColumnReference) -> npt.NDArray[np.bool_] | None:
        """Cells of no number or date, in other words than training had; None where there are none."""
        name = reference.column
        done = batch.cleaning.columns.get(name)
        if reference.role == "categorical" or done is None or not done.unreadable:
            return None
        patterns = done.unread.keys() - set(self._words.get(name, ()))
        if not patterns and not done.undecided:
            return None
        found = batch.table.isna(name)
        rows = np.flatnonzero(found)
        texts = ["" if pd.isna(cell) else str(cell).strip() for cell in batch.frame[name].iloc[rows].tolist()]
        # What may mean two things has digits and no pattern in the report.
        told = [
            text_pattern(text) in patterns or bool(done.undecided and any(map(str.isdigit, text))) for text in texts
        ]
        found = np.zeros(len(batch), dtype=bool)
        found[rows] = told
        self._count(name, [text for text, is_told in zip(texts, told, strict=True) if is_told])
        return found

    def _tell(self, reference: ColumnReference, batch: Batch, codes: npt.NDArray[np.int64]) -> None:
        rows = np.flatnonzero((codes == NEW) | (codes == UNREADABLE))
        if rows.size:
            names = batch.table.coded(reference.column).take(rows).objects().tolist()
            self._count(reference.column, [name for name in names if name not in self._more[reference.column]])

    def _count(self, column: str, texts: Iterable[str]) -> None:
        known = self.examples.setdefault(column, {})
        for text in texts:
            if text in known or len(known) < _MOST_EXAMPLES:
                known[text] = known.get(text, 0) + 1

    def _moments(self, batch: Batch) -> npt.NDArray[np.float64]:
        """By the date that is missing least."""
        if not self._dates:
            return np.full(len(batch), np.nan)
        present = {each.column: int(each.counts[NEW + 1 :].sum()) for each in self.references}
        dates = batch.table.dates(max(self._dates, key=lambda name: present[name]))
        return np.where(np.isnat(dates), np.nan, dates.astype("datetime64[ms]").astype(np.int64) / 1000.0)


class TableDrift:
    """The drift of a table that comes in parts, of which a random part of 20,000 records is kept.

    Whether columns have changed is asked of the records in random order, since a file may be in any: sorted by product,
    say. Since when is read from them by their date.
    """

    def __init__(self, detector: TrainedDetector) -> None:
        self._watch = Watch(detector)
        self._random = np.random.default_rng(0)
        self._lots = np.empty(0)
        self._found = Observed.nothing(len(self._watch.references) + 1)
        self._records = 0

    def add(self, batch: Batch) -> None:
        """Look at a part. What is found does not depend on how the table is parted."""
        self._records += len(batch)
        lots = np.concatenate([self._lots, self._random.random(len(batch))])
        found = self._found.followed_by(self._watch.observe(batch))
        kept = np.sort(np.argpartition(lots, _KEPT)[:_KEPT]) if len(lots) > _KEPT else np.arange(len(lots))
        self._lots, self._found = lots[kept], found.take(kept)

    def drifts(self) -> list[Drift]:
        """What has changed, the largest first."""
        test = self._watch.start()
        test.update(self._found.take(np.argsort(self._lots)))
        if not test.alarms().any():
            return []
        in_time = self._watch.start()
        in_time.update(self._found.take(np.argsort(self._found.moments, kind="stable")))
        # The test looks at whole blocks.
        scale = self._records / (len(self._found) // BLOCK * BLOCK)
        return find_drifts(
            in_time,
            self._watch.references,
            self._watch.examples,
            alarms=test.alarms(),
            evidence=test.peaks,
            scale=scale,
        )
