"""Settings of the service, which its owner changes while it runs: their shapes, defaults and values."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from anomaly_detection.service.alerts.changes import SETTING
from anomaly_detection.service.http.shapes import Shape, text

__all__ = ["DEFAULTS", "SHAPES", "read_settings"]

SHAPES: dict[str, Shape] = {
    "case_days": {"type": "integer", "minimum": 1, "maximum": 365},
    "address": {**text(255, 0), "pattern": r"^(https?://[^\s/?#]+)?$", "description": "as https://anomalies.example"},
}
"""What each value must look like. A new setting is a line here and one in `DEFAULTS`."""

DEFAULTS: dict[str, Any] = {
    # Alerts of one cause are one case as long as the next comes within so many days.
    "case_days": 7,
    # Where people find the pages, for links in notifications: the service does not know.
    "address": "",
}


def read_settings(connection: Connection) -> dict[str, Any]:
    """All settings."""
    found = SETTING.now(connection, 0, DEFAULTS)
    return {name: default if found[name] is None else found[name] for name, default in DEFAULTS.items()}
