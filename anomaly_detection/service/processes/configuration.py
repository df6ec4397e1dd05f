"""`Configuration`: what a service was started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.records.retention import Retention

__all__ = ["Configuration", "database_url", "is_loopback"]

_FILE = "service.sqlite"


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, which no other can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def database_url(data_dir: Path) -> str:
    """Where the database is if nobody says so: a file in the data directory."""
    return f"sqlite:///{data_dir.resolve() / _FILE}"


@dataclass(frozen=True)
class Configuration:
    """What a service was started with.

    Attributes
    ----------
    data_dir : Path
        The folder of the database and of the models.
    host : str
    port : int
        0 for any that is free.
    database : str
        An URL of SQLAlchemy; `database_url` of the folder if empty.
    model : Path, optional
        A model file for the stream `default`.
    learn_from : int
        A stream without a model learns from its first so many records.
    origins : tuple of str
        Origins of pages that may call the service (CORS), such as ``https://shop.example``.
    open_to : tuple of str
        Networks that need no key for `/detect` and `/health`, such as ``10.0.0.0/8``.
    behind_proxy : bool
        A proxy with TLS passes requests on: each needs a key or a session, on loopback too; cookies go by https alone;
        the last address of ``X-Forwarded-For`` is who asks.
    workers : int
        Processes that answer requests; one does so itself, more are started beside it.
    retention : Retention
    watch : tuple of (str, str)
        Folders that are watched, and the name of the stream of each.
    personal : tuple of str
        Columns of which only callers with the right see the values.
    limits : Limits
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 5002
    database: str = ""
    model: Path | None = None
    learn_from: int = 1000
    origins: tuple[str, ...] = ()
    open_to: tuple[str, ...] = ()
    behind_proxy: bool = False
    workers: int = 1
    retention: Retention = field(default_factory=Retention)
    watch: tuple[tuple[str, str], ...] = ()
    personal: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def url(self) -> str:
        """Of the database."""
        return self.database or database_url(self.data_dir)

    @property
    def models_dir(self) -> Path:
        """Where the model files are."""
        return self.data_dir / "models"

    @property
    def is_trusted(self) -> bool:
        """Whether only programs on this machine can reach it, so that nobody logs in."""
        return is_loopback(self.host) and not self.behind_proxy
