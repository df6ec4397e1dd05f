"""``anomaly-detection serve``: the service, until it is told to end."""

from __future__ import annotations

import argparse

from anomaly_detection.errors import DataError
from anomaly_detection.reports.console import note

__all__ = ["NEEDED", "run", "service_is_missing"]

NEEDED = ("alembic", "anyio", "orjson", "sqlalchemy", "starlette", "uvicorn")
"""What the extra ``service`` brings."""


def run(arguments: argparse.Namespace) -> int:
    """Serve; raises the library's errors."""
    try:
        from anomaly_detection.service.configuration import Configuration
        from anomaly_detection.service.server import serve
    except ModuleNotFoundError as error:
        raise service_is_missing(error) from error
    configuration = Configuration(
        data_dir=arguments.data_dir,
        host=arguments.host,
        port=arguments.port,
        database=arguments.database or "",
        model=arguments.model,
        learn_from=arguments.learn_from,
        origins=tuple(arguments.allow_origin),
    )
    serve(configuration, note)
    return 0


def service_is_missing(error: ModuleNotFoundError) -> Exception:
    """What to raise where a module is not there: how to get it, if the extra brings it."""
    name = (error.name or "").partition(".")[0]
    if name not in NEEDED:
        return error
    return DataError(f"The service needs {name}, which is not installed; run pip install 'mlx-iforest[service]'.")
