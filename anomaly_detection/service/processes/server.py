"""The server: listens, answers until it is told to end, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
import uvloop

from anomaly_detection.errors import DataError
from anomaly_detection.service.http.app import make_app
from anomaly_detection.service.http.connections import connection_class
from anomaly_detection.service.processes.configuration import Configuration
from anomaly_detection.service.processes.fleet import Fleet
from anomaly_detection.service.processes.service import Part, Service

__all__ = ["answer", "listen", "prepare_logging", "serve"]

_GRACE = 5
"""Seconds that requests may go on after the word to end; whoever gave it waits for 10, and jobs end after them."""

_LOOKS = 0.5
"""Seconds between looks at other processes."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class _Server(uvicorn.Server):
    """Leaves signals to `serve`: uvicorn would raise them again at its end, as if nobody had heard them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(configuration: Configuration, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP.

    Parameters
    ----------
    configuration : Configuration
    say : callable
        Is told in a line where the service listens, once it does.

    Raises
    ------
    DataError
        As `Service`; also if the address cannot be listened on.
    """
    prepare_logging()
    with listen(configuration) as listener:
        service = Service(configuration, Part.ALL if configuration.workers == 1 else Part.LEADS)
        try:
            uvloop.run(_until_told(service, listener, say))
        finally:
            service.close()


def prepare_logging() -> None:
    """Errors and warnings go to standard error, with when they came and where from."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


async def _until_told(service: Service, listener: socket.socket, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # One that is ignored stays ignored (nohup).
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    service.start()
    host, port = listener.getsockname()[:2]
    where = f"[{host}]" if ":" in host else host
    told = f"listening on http://{where}:{port}; records and models are in {service.configuration.data_dir}"
    do = answer if service.part is Part.ALL else _lead
    await do(service, listener, lambda: say(told), stop)


async def _lead(service: Service, listener: socket.socket, begun: Callable[[], object], stop: asyncio.Event) -> None:
    """As `answer`, by other processes."""
    fleet = Fleet(service.configuration, listener)
    try:
        await asyncio.to_thread(fleet.start)
        begun()
        while not stop.is_set():
            await asyncio.to_thread(fleet.look)
            await asyncio.wait([asyncio.create_task(stop.wait())], timeout=_LOOKS)
    finally:
        await asyncio.to_thread(fleet.close)


async def answer(service: Service, listener: socket.socket, begun: Callable[[], object], stop: asyncio.Event) -> None:
    """Answer requests until `stop` is set; those that came before are answered, within `_GRACE`."""
    server = _Server(
        uvicorn.Config(
            make_app(service),
            http=connection_class(service.limits),
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            limit_concurrency=service.limits.requests,
            timeout_graceful_shutdown=_GRACE,
            server_header=False,
            # The ends of connections behind no proxy are what they say.
            proxy_headers=False,
        )
    )

    async def end() -> None:
        await stop.wait()
        service.ending.set()
        server.should_exit = True

    ending = asyncio.create_task(end())
    begun()
    await server.serve(sockets=[listener])
    ending.cancel()


def listen(configuration: Configuration) -> socket.socket:
    """A socket that listens where it is said; `DataError` where that cannot be."""
    host, port = configuration.host, configuration.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DataError(f"{host} is no address of this machine: {error.strerror}.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise DataError(f"Cannot listen on {host}, port {port}: {error.strerror}; give another --port.") from error
    return listener
