"""A TCP proxy that breaks connections at random places, as a bad network does: with a reset, in the middle of bytes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.faults.client import Address

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes on to `target`. While `mean_bytes` is set, a connection breaks after about so many bytes."""

    def __init__(self, target: Address, seed: int) -> None:
        self.target = target
        self.mean_bytes = 0
        self.broken = 0
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.address: Address = ("127.0.0.1", self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(_ended(tasks))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        left = [self._random.expovariate(1.0 / self.mean_bytes) if self.mean_bytes else float("inf")]
        ways = [
            asyncio.ensure_future(self._pass(reader, back, left)),
            asyncio.ensure_future(self._pass(there, writer, left)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            broken = left[0] <= 0
            self.broken += broken
            for each in (writer, back):
                if broken:
                    _reset(each)
                else:
                    each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[float]) -> None:
        with suppress(OSError):
            while data := await reader.read(16384):
                if self.mean_bytes:  # also for connections that were made before it was set
                    left[0] = min(left[0], self._random.expovariate(1.0 / self.mean_bytes) * 10)
                writer.write(data[: max(0, int(left[0]))] if left[0] < len(data) else data)
                left[0] -= len(data)
                await writer.drain()
                if left[0] <= 0:
                    return


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    plain = writer.get_extra_info("socket")
    if plain is not None:
        with suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def proxy_to(target: Address, seed: int = 1) -> Iterator[Proxy]:
    proxy = Proxy(target, seed)
    try:
        yield proxy
    finally:
        proxy.close()
