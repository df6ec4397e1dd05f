"""`Address`: the broker of a topic, out of a URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import say

__all__ = ["KINDS", "Address", "is_broker", "masked_broker"]

KINDS = {"kafka": ("kafka", False), "kafkas": ("kafka", True), "mqtt": ("mqtt", False), "mqtts": ("mqtt", True)}
"""By the scheme of a URL: the kind of broker, and whether its connections are encrypted."""

_PORTS = {"kafka": 9092, "kafkas": 9093, "mqtt": 1883, "mqtts": 8883}
_OPTIONS = {"kafka": ("ca", "group", "mechanism"), "mqtt": ("ca",)}
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_FORM = "KIND://USER:PASSWORD@HOST:PORT, where KIND is kafka, kafkas, mqtt or mqtts"


@dataclass(frozen=True)
class Address:
    """Where a broker is, and how to get in.

    Attributes
    ----------
    kind : str
        ``kafka`` or ``mqtt``.
    hosts : tuple of (str, int)
        Name and port; of Kafka several may be given, of which one has to answer.
    encrypted : bool
    user, password : str
        Empty where nobody logs in.
    options : mapping of str to str
        ``ca``: the file with the certificates that are trusted; of Kafka also ``group``, under whose name offsets are
        committed, and ``mechanism``, by which a user logs in.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    encrypted: bool
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> Address:
        """Out of a URL; `DataError` for one that is none, or has an option that is not known."""
        scheme, _, _ = url.partition("://")
        if not is_broker(url):
            raise DataError(say("This is no URL of a broker; give %(form)s.", form=_FORM))
        kind, encrypted = KINDS[scheme]
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        except ValueError as error:
            raise DataError(say("This URL of a broker cannot be read; give %(form)s.", form=_FORM)) from error
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        unknown = next((name for name in options if name not in _OPTIONS[kind]), None)
        if unknown is not None:
            raise DataError(
                say(
                    "A broker of %(kind)s has no option %(unknown)s; there are %(known)s.",
                    kind=kind,
                    unknown=repr(unknown),
                    known=", ".join(_OPTIONS[kind]),
                )
            )
        if options.get("mechanism", _MECHANISMS[0]) not in _MECHANISMS:
            raise DataError(
                say(
                    "The mechanism is %(mechanism)s; it is one of %(mechanisms)s.",
                    mechanism=repr(options["mechanism"]),
                    mechanisms=", ".join(_MECHANISMS),
                )
            )
        if parts.path.strip("/") or parts.fragment:  # what a password's "#" would begin
            raise DataError(say("The URL of a broker ends with its port; give the topic by itself."))
        found = tuple(_host(each, _PORTS[scheme]) for each in hosts.split(","))
        if kind == "mqtt" and len(found) > 1:
            raise DataError(say("A broker of MQTT is one host; Kafka may have several."))
        return cls(kind, found, encrypted, unquote(user), unquote(password), options)

    @property
    def servers(self) -> str:
        """Hosts with their ports, with commas between them."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)

    def without_secrets(self, told: str) -> str:
        """What is told of an error, without the password."""
        return (told.replace(self.password, "***") if self.password else told).strip().rstrip(".")


def is_broker(url: str) -> bool:
    """Whether a URL names a broker, and no database."""
    scheme, mark, _ = url.partition("://")
    return bool(mark) and scheme in KINDS


def masked_broker(url: str) -> str:
    """A URL of a broker without its password."""
    address = Address.of(url)
    login = f"{address.user}{':***' if address.password else ''}@" if address.user else ""
    options = "&".join(f"{name}={value}" for name, value in address.options.items())
    return f"{url.partition('://')[0]}://{login}{address.servers}{f'?{options}' if options else ''}"


def _host(written: str, usual: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{written}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise DataError(
            say("%(written)s is no HOST:PORT of a broker; a port is a number below 65,536.", written=repr(written))
        ) from error
    if not host:
        raise DataError(say("The URL of the broker names no host; give %(form)s.", form=_FORM))
    return host, usual if port is None else port
