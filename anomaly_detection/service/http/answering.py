"""`python -m anomaly_detection.service.http.answering SOCKET`: one of several processes that answer requests.

Its configuration comes by its input, pickled, from the process that started it; when that one is gone, this one ends.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import sys
import threading

import uvloop

from anomaly_detection.service.processes.configuration import Configuration
from anomaly_detection.service.processes.server import answer, prepare_logging
from anomaly_detection.service.processes.service import Part, Service

__all__ = ["READY"]

READY = "ready"
"""What it prints when it answers."""


def _main() -> None:
    prepare_logging()
    configuration: Configuration = pickle.load(sys.stdin.buffer)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        listener.setblocking(False)
        service = Service(configuration, Part.ANSWERS)
        try:
            uvloop.run(_until_told(service, listener))
        finally:
            service.close()


async def _until_told(service: Service, listener: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    service.start()
    await answer(service, listener, lambda: print(READY, flush=True), stop)  # noqa: T201


if __name__ == "__main__":
    _main()
