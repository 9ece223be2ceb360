"""Connections that break: between client and server, and between server and MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.server import wait_until
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
    wanted = scene.either(30, 400)
    wait_until(lambda: scene.load.tally.cut >= wanted, 120, "connections break")
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
        for mean_bytes, breaks in ((60_000, scene.either(10, 40)), (2_000, scene.either(10, 40))):
            proxy.mean_bytes = mean_bytes
            wanted = proxy.broken + breaks
            wait_until(lambda w=wanted: proxy.broken >= w, 60, "connections break")
        proxy.mean_bytes = 0
        scene.load.wait_for(50)
    scene.notes.append(f"{proxy.broken} connections broke")


FAULTS = [
    Fault("resets between client and server", (SQLITE, SINGLE), stay, route=broken_lines, quick=(SQLITE,)),
    Fault("resets between server and MongoDB", (SINGLE,), break_database_lines, site=behind_a_proxy),
]
