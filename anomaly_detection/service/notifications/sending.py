"""Notifications on their way, by apprise, which is imported where something is sent."""

from __future__ import annotations

import logging
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from anomaly_detection.errors import DataError, first_line

__all__ = ["masked_channel", "refusal_of", "send", "without_secrets"]

_LOCAL = frozenset({"dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""What would show or write something on the service's own machine."""

_WITH_HOST = frozenset({"form", "forms", "http", "https", "json", "jsons", "mailto", "mailtos", "xml", "xmls"})
"""Kinds whose URLs have a host where one is expected; in others a token may stand there."""

_SHORTEST = 4
_ONE_AT_A_TIME = threading.Lock()


def refusal_of(url: str) -> str:
    """Why nothing can be sent to an URL, in a sentence; empty where it can. Raises as `_channel`."""
    if url.partition("://")[0].lower() in _LOCAL:
        return "Notifications on the service's own machine reach nobody; give an address of another."
    return "" if len(_channel(url)) == 1 else "apprise knows no such URL; see https://github.com/caronc/apprise/wiki."


def send(url: str, title: str, body: str) -> str:
    """Send a text; why it could not be sent, without secrets, or nothing where it was."""
    try:
        channel = _channel(url)
    except DataError as error:
        return str(error)
    from apprise import LogCapture

    # What is logged does not say for whom.
    with _ONE_AT_A_TIME, LogCapture(level=logging.WARNING, fmt="%(message)s") as log:
        is_sent = channel.notify(title=title, body=body, body_format="text")
        told = log.getvalue()
    return "" if is_sent else without_secrets(first_line(told) if told.strip() else "apprise does not say why", url)


def _channel(url: str) -> Any:
    """What apprise makes of an URL; raises `DataError` where apprise is not installed."""
    try:
        from apprise import Apprise, AppriseAsset
    except ModuleNotFoundError as error:
        raise DataError(
            f"Notifications need {error.name}, which is not installed; run pip install 'mlx-iforest[notifications]'."
        ) from error
    # Nothing on this machine adds kinds of its own.
    made = Apprise(asset=AppriseAsset(plugin_paths=[], app_id="anomaly-detection", app_desc="anomaly detection"))
    made.add(url)
    return made


def without_secrets(told: str, url: str) -> str:
    """A text without the parts of an URL, which may be tokens."""
    parts = urlsplit(url)
    written = [url, parts.netloc, parts.path, parts.query, parts.username, parts.password]
    written += [*parts.path.split("/"), *(each.partition("=")[2] for each in parts.query.split("&"))]
    if parts.scheme not in _WITH_HOST:
        written += [parts.hostname, *(parts.hostname or "").split(".")]
    secrets = {form for each in written if each for form in (each, unquote(each)) if len(form) >= _SHORTEST}
    for secret in sorted(secrets - {parts.hostname if parts.scheme in _WITH_HOST else None}, key=len, reverse=True):
        told = told.replace(secret, "***")
    return told


def masked_channel(url: str) -> str:
    """An URL as it is shown: what kind it is, and its host where that is no token."""
    scheme, _, rest = url.partition("://")
    host = urlsplit(f"//{rest}").hostname if scheme.lower() in _WITH_HOST else None
    return f"{scheme}://{host}/***" if host else f"{scheme}://***"
