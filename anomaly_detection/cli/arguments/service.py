"""Of the service: ``serve``, ``keys`` and ``users``."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from pathlib import Path

from anomaly_detection.cli.arguments.help_text import describe
from anomaly_detection.cli.arguments.values import port, whole

__all__ = ["add_keys", "add_serve", "add_users"]

_SERVE_EXAMPLES = """\
examples:
  {prog}                                              on http://127.0.0.1:5002; learns from its first 1,000 records
  {prog} --model saved_models/optimized_anomaly_detection_model.safetensors
  {prog} --host 0.0.0.0 --data-dir /var/lib/anomaly-detection       for others: needs a key, see keys
"""

_KEYS_EXAMPLES = """\
examples:
  {prog} add backend
  {prog} add warehouse --role analyst --stream shipments
  {prog} list
  {prog} remove backend
"""

_USERS_EXAMPLES = """\
examples:
  {prog} add ann --role analyst                  asks for the password
  {prog} add bob --role viewer < password.txt
  {prog} logout ann                              ends all sessions of hers
"""

_ROLES = ("viewer", "analyst", "admin")


def add_serve(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``serve``."""
    describe(
        parser,
        "Take records by HTTP, judge them, and keep records and alerts, until the process is told to end.\n"
        "docs/service.md has the routes.",
        _SERVE_EXAMPLES,
    )
    _add_service_data(parser)
    parser.add_argument(
        "--host",
        default=os.environ.get("HOST") or "127.0.0.1",
        help="the address to listen on; others than this machine's own need a key or a user"
        " (default: $HOST, or 127.0.0.1)",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=port,
        default=os.environ.get("PORT") or "5002",
        help="0 for any that is free (default: $PORT, or 5002)",
    )
    parser.add_argument(
        "--model", metavar="FILE", type=Path, help="a model file that train wrote; later starts need it no more"
    )
    parser.add_argument(
        "--learn-from",
        metavar="N",
        type=whole(2, 1_000_000),
        default=1000,
        help="without a model, learn one from the first N records (default: 1000)",
    )
    parser.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        nargs="+",
        action="extend",
        type=_origin,
        default=[],
        help="origins of pages that may call the service, such as https://shop.example",
    )
    parser.add_argument(
        "--open-to",
        metavar="NETWORK",
        nargs="+",
        action="extend",
        type=_network,
        default=[],
        help="networks from which /detect and /health need no key, such as 10.0.0.0/8",
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="a proxy with TLS passes requests on and sets X-Forwarded-For: all need a key or a login, on loopback too",
    )
    parser.add_argument(
        "--workers", metavar="N", type=whole(1), default=1, help="processes that answer requests (default: 1)"
    )
    parser.add_argument(
        "--keep-days", metavar="N", type=whole(1, 100_000), help="delete records that came longer ago (default: none)"
    )
    parser.add_argument(
        "--keep-records", metavar="N", type=whole(1), help="keep the newest N of each stream (default: all)"
    )
    parser.add_argument(
        "--watch",
        metavar="DIR=STREAM",
        nargs="+",
        action="extend",
        type=_watched,
        default=[],
        help="folders whose files become records of a stream; docs/sources.md says when, and what becomes of them",
    )
    parser.add_argument(
        "--personal",
        metavar="COLUMN",
        nargs="+",
        action="extend",
        default=[],
        help="columns whose values viewers do not see, nor who asks without a key",
    )
    parser.add_argument(
        "--rate",
        metavar="N",
        type=whole(1),
        default=500,
        help="requests a second of one caller, where callers need a key or a login (default: 500)",
    )


def _add_service_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        type=Path,
        default=Path("service_data"),
        help="the folder of records and models (default: service_data)",
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("DATABASE_URL"),
        help="another place for the records: sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME"
        " (default: $DATABASE_URL, or a file in the folder)",
    )


def add_keys(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``keys``."""
    describe(parser, "Add, list or remove the API keys of a service, also while it runs.", _KEYS_EXAMPLES)
    parser.add_argument("do", choices=("add", "list", "remove"))
    parser.add_argument("name", metavar="NAME", nargs="?", help="who uses the key; what it changes is written down so")
    parser.add_argument("--role", choices=_ROLES, help="what it may do (default: analyst)")
    parser.add_argument(
        "--stream", metavar="NAME", nargs="+", action="extend", default=[], help="only for these streams (default: all)"
    )
    _add_service_data(parser)


def add_users(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``users``."""
    describe(
        parser,
        "Add, list or remove the people who may log in to a service, also while it runs. A password is asked for, or\n"
        "read from the input. A viewer reads, an analyst also sends records and changes alerts and sees what is\n"
        "personal, an admin may do all.",
        _USERS_EXAMPLES,
    )
    parser.add_argument("do", choices=("add", "list", "remove", "password", "logout"))
    parser.add_argument("name", metavar="NAME", nargs="?", help="whom")
    parser.add_argument("--role", choices=_ROLES, help="what a new one may do")
    _add_service_data(parser)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no network such as 10.0.0.0/8: {error}") from error


def _watched(text: str) -> tuple[str, str]:
    """A folder and the name of a stream, which has no ``=``."""
    folder, _, name = text.rpartition("=")
    if not (folder and name):
        raise argparse.ArgumentTypeError(f"{text!r} is no folder with its stream, such as incoming=orders")
    return folder, name


def _origin(text: str) -> str:
    """What browsers send: a scheme, a host and perhaps a port. ``*`` is none, since nobody logs in on loopback."""
    if not re.fullmatch(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no origin; give scheme and host in small letters, such as https://shop.example"
        )
    return text
