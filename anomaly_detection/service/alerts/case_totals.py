"""The totals of a case: those of the alerts that are seen in it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, update

from anomaly_detection.calibration.p_values import risk_level
from anomaly_detection.service.storage.tables import alerts, cases

__all__ = ["recount"]


def recount(connection: Connection, number: int) -> None:
    """Make a case's totals those of its alerts that no rule hides; without any its severity stays."""
    mine = (alerts.c.case_id == number, alerts.c.hidden_by.is_(None))
    row = (
        connection.execute(
            select(
                func.count().label("alerts"),
                func.sum(alerts.c.count).label("count"),
                func.min(alerts.c.first_seen).label("first_seen"),
                func.max(alerts.c.last_seen).label("last_seen"),
                func.max(alerts.c.severity).label("severity"),
                func.sum(alerts.c.amount).label("amount"),
            ).where(*mine)
        )
        .mappings()
        .one()
    )
    values: dict[str, Any] = {"alerts": 0, "count": 0, "amount": None}
    if row["alerts"]:
        values = {**row, "count": int(row["count"]), "risk_level": risk_level(row["severity"])}
    connection.execute(update(cases).where(cases.c.id == number).values(values))
