"""Connections that break: between client and server, and between server and MongoDB."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.client import Address
from tests.faults.fault import Fault, Scene
from tests.faults.proxy import proxy_to
from tests.faults.servers import SINGLE, SQLITE, Site, open_site
from tests.mongo import Node, make_primary


@contextmanager
def broken_lines(site: Site) -> Iterator[Callable[[], Address]]:
    """Clients reach the server through a proxy that breaks connections in requests and in answers."""
    with proxy_to(site.where()) as proxy:
        proxy.mean_bytes = 30_000
        yield lambda: proxy.address


def stay(scene: Scene) -> None:
    """It breaks all the time."""
    time.sleep(scene.either(2, 15))
    if scene.load.tally.cut < 20:
        raise RuntimeError(f"only {scene.load.tally.cut} connections broke")
    scene.notes.append(f"{scene.load.tally.cut} connections broke")


@contextmanager
def behind_a_proxy(kind: str, folder: Path, *, long: bool) -> Iterator[Site]:
    """A site that reaches its mongod through a proxy; breaks are switched on by the fault."""
    node = Node(folder / "mongod")
    try:
        make_primary(node.address, node.replica_set)
        host, _, port = node.address.partition(":")
        with proxy_to((host, int(port))) as proxy:
            store = f"mongodb://{proxy.address[0]}:{proxy.address[1]}/?directConnection=true"
            with open_site(kind, folder, long=long, store=store) as site:
                site.proxy = proxy
                yield site
    finally:
        node.kill()


def break_database_lines(scene: Scene) -> None:
    """Connections to MongoDB break in the middle of commands, transactions and commits; then nearly all."""
    proxy = scene.site.proxy
    assert proxy is not None
    for _ in range(scene.either(1, 4)):
        proxy.mean_bytes = 60_000
        time.sleep(scene.either(2, 8))
        proxy.mean_bytes = 2_000
        time.sleep(scene.either(1, 3))
        proxy.mean_bytes = 0
        scene.load.wait_for(50)
    if proxy.broken < 20:
        raise RuntimeError(f"only {proxy.broken} connections broke")
    scene.notes.append(f"{proxy.broken} connections broke")


FAULTS = [
    Fault("resets between client and server", (SQLITE, SINGLE), stay, route=broken_lines, quick=(SQLITE,)),
    Fault("resets between server and MongoDB", (SINGLE,), break_database_lines, site=behind_a_proxy),
]
