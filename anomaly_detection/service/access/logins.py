"""`Logins`: how often somebody may try to log in, so that guesses are slow and nobody is locked out by them."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

from anomaly_detection.service.http.rates import Rates

__all__ = ["Logins"]

_ADDRESSES = 10
"""As many addresses as this may try one name as fast as one may: more share their tries."""


class Logins:
    """Tries by a name, from an address, or by a device that its owner has logged in from before.

    A device has tries of its own (OWASP's device cookies): whoever knows a name uses up those of strangers alone.

    Parameters
    ----------
    tries : float
        A minute, of a name from one address, and of a device.
    clock : callable
        Gives seconds.
    """

    def __init__(self, tries: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._near = Rates(tries / 60, tries, clock)
        self._all = Rates(_ADDRESSES * tries / 60, _ADDRESSES * tries, clock)

    def take(self, name: str, address: str, device: str | None) -> None:
        """Take a try; raises `Problem` (429) where there is none, with how long to wait."""
        if device is not None:
            self._near.take(f"device {device}")
            return
        self._near.take(f"{_neighbourhood(address)} {name}")
        self._all.take(name)


def _neighbourhood(address: str) -> str:
    """An address; of IPv6 the network of one place, which has many."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
