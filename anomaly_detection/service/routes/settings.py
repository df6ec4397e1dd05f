"""Settings of the service: read and changed."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.changes import SETTING, change
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.shapes import record
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.processes.service_settings import DEFAULTS, SHAPES, read_settings

__all__ = ["OPERATIONS"]


def get_settings(service: Service, call: Call) -> Response:
    """``GET /v1/settings``."""
    with service.database.reading() as connection:
        return answer(read_settings(connection))


def change_settings(service: Service, call: Call) -> Response:
    """``PATCH /v1/settings``."""
    # A default needs no row.
    after = {name: None if value == DEFAULTS[name] else value for name, value in call.content.items()}

    def work(connection: Connection) -> None:
        change(connection, SETTING, 0, after, call.who)

    service.writer.run(work)
    return get_settings(service, call)


_ALL = record(SHAPES)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/settings",
        get_settings,
        "The settings of the service.",
        _ALL,
        "All settings.",
        needs=Need("manage", "all"),
    ),
    Operation(
        "PATCH",
        "/v1/settings",
        change_settings,
        "Change settings; those that are not named stay.",
        _ALL,
        "All settings as they are now.",
        body=record({}, SHAPES),
        needs=Need("manage", "all"),
    ),
)
