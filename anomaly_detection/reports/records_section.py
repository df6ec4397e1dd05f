"""The page's part about the records: an `Overview` as texts and numbers for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from anomaly_detection.alerts.causes import Cause, leading_column
from anomaly_detection.alerts.overview import MOST_LISTED, Finding, Overview
from anomaly_detection.alerts.renderings import shown
from anomaly_detection.alerts.totals import Total
from anomaly_detection.explain.wording import number, percent
from anomaly_detection.reports.drawings import draw_periods, draw_spread
from anomaly_detection.reports.figures import count

__all__ = ["Bar", "Bars", "CauseRow", "RecordRow", "RecordsSection", "records_section"]

_ROWS_NAMED = 12


@dataclass(frozen=True)
class RecordRow:
    """One of the worst records, as texts; `sorted_by` are its amount, severity and score as numbers or empty."""

    row: int
    identifiers: tuple[str, ...]
    date: str
    amount: str
    severity: str
    score: str
    sorted_by: tuple[str, str, str]
    is_alert: bool
    column: str
    sentence: str
    reasons: tuple[tuple[str, str], ...]
    picture: Markup | None
    caption: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CauseRow:
    """One cause: how many records it has, what they share, their sum, and some of their rows, and all for a file."""

    records: int
    text: str
    column: str
    amount: float | None
    told: str
    severity: str
    example: str
    rows: tuple[int, ...]
    more: int
    all_rows: str


@dataclass(frozen=True)
class Bar:
    """A line of totals; `share` of the longest is from 0 to 1."""

    name: str
    alerts: int
    of: str
    amount: str
    share: float


@dataclass(frozen=True)
class Bars:
    """Totals under a head; `amount_of` heads the sums, empty where there are none; `of_records` says whether
    records are counted beside the alerts.
    """

    head: str
    note: str
    amount_of: str
    of_records: bool
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class RecordsSection:
    """All that the template needs of an overview."""

    figures: tuple[tuple[str, str, str], ...]
    identifiers: tuple[str, ...]
    date: str | None
    amount: str | None
    records: tuple[RecordRow, ...]
    alerts: int
    causes: tuple[CauseRow, ...]
    more_causes: int
    explained: int
    totals: tuple[Bars, ...]
    money: tuple[tuple[str, str, str], ...]
    periods: Bars | None
    picture: Markup | None


def records_section(overview: Overview) -> RecordsSection:
    """Put an overview into words."""
    headline = overview.headline
    causes = overview.causes[:MOST_LISTED]
    by_time = overview.by_time
    periods = None
    if by_time is not None:
        periods = _bars(f"By {by_time.unit} of {by_time.column}", "", headline.amount, by_time.totals)
    return RecordsSection(
        figures=tuple(_figures(overview)),
        identifiers=headline.told_by,
        date=headline.date,
        amount=headline.amount,
        records=tuple(_record(finding, overview) for finding in overview.findings),
        alerts=overview.alerts,
        causes=tuple(map(_cause, causes)),
        more_causes=len(overview.causes) - len(causes),
        explained=overview.explained,
        totals=tuple(_totals(overview)),
        money=tuple((one.column, number(one.alerts), number(one.records)) for one in overview.by_money),
        periods=periods,
        picture=None if by_time is None or not overview.alerts else draw_periods(by_time),
    )


def _figures(overview: Overview) -> list[tuple[str, str, str]]:
    """The key figures: value, what it is, and what it is of."""
    share = percent(overview.alerts / overview.records)
    figures = [
        (
            count(overview.alerts),
            "record looks wrong" if overview.alerts == 1 else "records look wrong",
            f"{share} of all",
        ),
        (count(overview.records), "records read", "all of them judged by the saved model"),
    ]
    if overview.causes:
        repeated = sum(len(cause.alerts) for cause in overview.causes if len(cause.alerts) > 1)
        figures.append((count(len(overview.causes)), "causes", f"{count(repeated)} alerts share theirs with others"))
    money = next((one for one in overview.by_money if one.column == overview.headline.amount), None)
    if money is not None and overview.alerts:
        part = f"{percent(money.alerts / money.records)} of " if 0 < money.alerts <= money.records else "of "
        figures.append((number(money.alerts), f"{money.column} in alerts", f"{part}{number(money.records)}"))
    return figures


def _record(finding: Finding, overview: Overview) -> RecordRow:
    alert, spread = finding.alert, finding.spread
    caption = ""
    if spread is not None:
        scale = "" if spread.even else ", logarithmic scale"
        span = f"{spread.ends[0]} to {spread.ends[1]}{scale}"
        if spread.levels:
            most, least = (count(bar) for bar in (spread.counts[0], spread.counts[-1]))
            span = f"a bar for each, by records, from {spread.ends[0]} ({most}) to {spread.ends[1]} ({least})"
        caption = f"{spread.what}: {span}; the mark is this record, {spread.value}"
    return RecordRow(
        row=alert.row,
        identifiers=tuple(shown(alert.record.get(name)) for name in overview.headline.told_by),
        date=finding.date or "-",
        amount="-" if finding.amount is None else number(finding.amount),
        severity="-" if alert.severity is None else f"{alert.severity:.0f}",
        score=f"{alert.decision:.4g}",
        sorted_by=(
            "" if finding.amount is None else repr(finding.amount),
            "" if alert.severity is None else repr(alert.severity),
            repr(alert.decision),
        ),
        is_alert=alert.is_alert,
        column=leading_column(alert),
        sentence=alert.sentence,
        reasons=tuple((reason.text, percent(reason.share)) for reason in alert.reasons),
        picture=None if spread is None else draw_spread(spread),
        caption=caption,
        values=tuple((name, shown(value)) for name, value in alert.record.items()),
    )


def _cause(cause: Cause) -> CauseRow:
    worst = cause.alerts[0]
    lines = "1 record" if len(cause.alerts) == 1 else f"{count(len(cause.alerts))} records"
    told = f"{lines}: {cause.text}"
    if cause.amount:
        what = "" if cause.amount_of == cause.column else f"{cause.amount_of} "
        told += f", {what}{number(cause.amount)}{' in all' if len(cause.alerts) > 1 else ''}"
    return CauseRow(
        records=len(cause.alerts),
        text=cause.text,
        column=cause.column,
        amount=cause.amount,
        told=told,
        severity="-" if worst.severity is None else f"{worst.severity:.0f}",
        example=worst.reasons[0].text if worst.reasons else "",
        rows=tuple(alert.row for alert in cause.alerts[:_ROWS_NAMED]),
        more=max(0, len(cause.alerts) - _ROWS_NAMED),
        all_rows=", ".join(str(alert.row) for alert in cause.alerts),
    )


def _totals(overview: Overview) -> list[Bars]:
    """By reason, and by the categories in which alerts concentrate."""
    found = []
    leading: dict[str, list[Cause]] = {}
    for cause in overview.causes:
        leading.setdefault(cause.column or "nothing by itself", []).append(cause)
    if leading:
        sums = {name: sum(len(cause.alerts) for cause in causes) for name, causes in leading.items()}
        ordered = sorted(sums, key=lambda name: -sums[name])
        of = "" if overview.explained == overview.alerts else f"of the {count(overview.explained)} most abnormal alerts"
        found.append(_bars("By leading column", of, None, [Total(name, sums[name], 0, None) for name in ordered]))
    for one in overview.by_category:
        more = one.levels - len(one.totals)
        note = f"and {count(more)} others" if more > 0 else ""
        found.append(_bars(f"By {' and '.join(one.columns)}", note, overview.headline.amount, one.totals))
    return found


def _bars(head: str, note: str, amount_of: str | None, totals: Sequence[Total]) -> Bars:
    most = max((total.alerts for total in totals), default=1) or 1
    return Bars(
        head,
        note,
        amount_of or "",
        any(total.records for total in totals),
        tuple(
            Bar(
                total.name,
                total.alerts,
                f"of {count(total.records)}" if total.records else "",
                "" if total.amount is None else number(total.amount),
                total.alerts / most,
            )
            for total in totals
        ),
    )
