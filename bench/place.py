"""Where a benchmark takes place: one filled store, and the servers that are started on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import site
from bench.client import get
from bench.common import Pair
from bench.site import BOX, READER, Running

OBJECTS = f"/hub/collections/{BOX}/objects/"
THREADS = 8


@dataclass(frozen=True)
class Place:
    """A store with `size` objects in the box, and the token of each partner."""

    store: str
    url: str
    size: int
    runs: int
    folder: Path
    tokens: Mapping[str, str]

    @contextmanager
    def hub(self, workers: int = 1, settings: str = "") -> Iterator[Running]:
        """The hub on this store. Log lines of single requests are off: the anchors write none."""
        with site.serving(self.folder, self.url, workers=workers, settings=f'log_level = "warning"\n{settings}') as it:
            yield it

    @contextmanager
    def flask(self, workers: int = 1) -> Iterator[Running]:
        """The bare application on the same kind of workers."""
        port = site.free_port()
        command = [sys.executable, "-m", "bench.bare", "flask", str(port), str(workers), str(THREADS), self.url]
        with site.running(command, port, "/", self.folder / "bare.log") as server:
            yield server

    def ask(self, query: str = "", *, partner: str = READER, path: str = OBJECTS, **more: object) -> bytes:
        """A GET of this partner."""
        return get(path + query, self.tokens[partner], **more)  # type: ignore[arg-type]

    def figure(self, pair: Pair, work: str, unit: str, anchor: str, **more: object):  # type: ignore[no-untyped-def]
        return pair.figure(work, self.store, self.size, unit, anchor, **more)
