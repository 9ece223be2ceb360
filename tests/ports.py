"""Ports of 127.0.0.1 for the servers of the tests: each is given once, and the system gives it to nobody else.

A port that the system chooses (port 0) is closed again before the server binds it, some seconds later: meanwhile the
tests of the other process get it for a server of theirs, or a client for its end of a connection.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Below those that the system chooses from (/proc/sys/net/ipv4/ip_local_port_range, from 32768 by default).
_FIRST, _LAST, _BLOCK = 10_000, 32_700, 100


def free_port() -> int:
    """A port that nobody listens on, for a server that is about to start. Raises RuntimeError when there is none."""
    for port in _ports:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"there is no port left between {_FIRST} and {_LAST}")


def _of_this_process() -> Iterator[int]:
    """Block after block, each locked as long as this process lives: no two of them are given the same port."""
    folder = Path(tempfile.gettempdir()) / f"taxii-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for first in range(_FIRST, _LAST, _BLOCK):
        lock = os.open(folder / str(first), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        yield from range(first, first + _BLOCK)


_ports = _of_this_process()
