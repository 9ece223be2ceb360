"""Settings: HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import row, seconds, text, whole


@dataclass(frozen=True, kw_only=True)
class Http:
    GROUP: ClassVar = "HTTP"

    host: str = row(text(may_be_empty=False), "127.0.0.1", "The address to listen on.", active=True)
    port: int = row(whole(1, 65535), 6100, "The port to listen on.", active=True)
    workers: int = row(whole(1, 256), 2, "Processes. SQLite and MongoDB both serve several; about one for each core.")
    threads: int = row(whole(1, 256), 8, "Requests that each worker answers at the same time.")
    shutdown_grace_s: float = row(seconds(0), 25.0, "How long requests in flight may go on after the order to stop.")
    max_waiting: int = row(
        whole(0, 100_000),
        64,
        "Requests of each worker that may wait for a thread. One more is answered 503 with Retry-After at once.",
    )
    max_wait_s: float = row(seconds(0.1), 10.0, "How long a request may wait for a thread before it is answered 503.")
    max_connections: int = row(
        whole(8, 100_000),
        1000,
        "Connections of each worker. One more takes the place of an idle one, of the address that has the most.",
    )
    buffer_mb: int = row(
        whole(1, 1_000_000),
        256,
        "Memory of each worker for bodies that are arriving and answers that are leaving slowly. When it is full, the "
        "slowest connection is ended.",
    )
