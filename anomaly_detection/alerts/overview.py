"""`Overview`: what a model finds in a whole table: its worst records, what they have in common, and totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.batch import Batch
from anomaly_detection.alerts.causes import Cause, find_causes
from anomaly_detection.alerts.headline import Headline
from anomaly_detection.alerts.spread import Spread, spread_of
from anomaly_detection.alerts.totals import (
    CategoryTotals,
    MoneyTotal,
    PeriodTotals,
    by_category,
    by_money,
    by_period,
)
from anomaly_detection.features.group import FeatureSource

__all__ = ["MOST_LISTED", "Finding", "Overview"]

MOST_LISTED = 200
"""The most records that are listed, and the most causes."""

_MOST_EXPLAINED = 1_000
_LEAST_LISTED = 10


@dataclass(frozen=True)
class Finding:
    """One of the worst records.

    `date` is ISO text and `amount` a number, of the columns that the headline names, None where missing; `spread` is
    where its first reason's value lies in its own group, None where that cannot be drawn.
    """

    alert: Alert
    date: str | None
    amount: float | None
    spread: Spread | None


@dataclass(frozen=True)
class Overview:
    """What a model finds in the records of a table.

    Attributes
    ----------
    records, alerts : int
        How many there are.
    headline : Headline
    findings : tuple of Finding
        The most abnormal records with reasons, worst first, in the order of ``score --top``: the alerts, 200 at most;
        where there are fewer than ten, the ten most abnormal records.
    causes : tuple of Cause
        Of the `explained` most abnormal alerts, those of most records first.
    explained : int
        At most 1,000, for reasons cost time.
    by_time : PeriodTotals or None
        Of all alerts by the main date, as the following are of all alerts.
    by_category : tuple of CategoryTotals
    by_money : tuple of MoneyTotal
    """

    records: int
    alerts: int
    headline: Headline
    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    explained: int
    by_time: PeriodTotals | None
    by_category: tuple[CategoryTotals, ...]
    by_money: tuple[MoneyTotal, ...]

    @property
    def worst(self) -> list[Alert]:
        """The records of `findings`."""
        return [finding.alert for finding in self.findings]

    @classmethod
    def of(cls, batch: Batch) -> Overview:
        """Look through a judged table."""
        headline = Headline.of(batch.detector)
        extended, flags = batch.extended, batch.is_alert
        count = int(flags.sum())
        explained = min(count, _MOST_EXPLAINED)
        # The alerts come first in this order, for they have the lowest decisions.
        places = batch.most_abnormal(max(explained, min(_LEAST_LISTED, len(batch))))
        worst = batch.at(places)
        clean = extended.iloc[places]
        sources: dict[str, FeatureSource] = {one.name: one for one in batch.detector.preprocessor.feature_sources_}
        amounts = None if headline.amount is None else extended[headline.amount].to_numpy(dtype=np.float64)
        listed = worst[:MOST_LISTED]
        causes = find_causes(worst[:explained], clean[:explained], sources, headline.money, headline.amount)
        schema = batch.detector.preprocessor.schema_
        return cls(
            records=len(batch),
            alerts=count,
            headline=headline,
            findings=tuple(_findings(listed, batch, places.tolist(), headline, sources)),
            causes=tuple(causes),
            explained=explained,
            by_time=None if headline.date is None else by_period(extended, headline.date, flags, amounts),
            by_category=tuple(by_category(extended, schema, flags, amounts)),
            by_money=tuple(by_money(extended, headline.money, flags)),
        )


def _findings(
    alerts: Sequence[Alert],
    batch: Batch,
    places: Sequence[int],
    headline: Headline,
    sources: dict[str, FeatureSource],
) -> list[Finding]:
    found = []
    for alert, place in zip(alerts, places, strict=False):
        record = batch.extended.iloc[place]
        when = None if headline.date is None else record[headline.date]
        much = None if headline.amount is None else float(record[headline.amount])
        source = sources.get(alert.reasons[0].feature) if alert.reasons else None
        found.append(
            Finding(
                alert,
                None if when is None or when != when else _moment(when.isoformat()),
                None if much is None or not np.isfinite(much) else much,
                None if source is None else spread_of(alert.reasons[0], record, source, batch.extended),
            )
        )
    return found


def _moment(text: str) -> str:
    """ISO text without a time of day that says nothing, nor parts of a second."""
    return text[:10] if text[10:] in ("", "T00:00:00") else text[:16].replace("T", " ")
