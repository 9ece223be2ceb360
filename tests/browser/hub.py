"""A hub with a month of demo data, served by a real process."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taxii_server.app import create_app
from taxii_server.auth.secrets import OPERATOR, new_token
from taxii_server.catalog import read_files
from taxii_server.demo.scene import POSTS, bundle
from taxii_server.service.hub import Hub
from taxii_server.settings import load
from taxii_server.storage.base import Store
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.times import now_position
from tests.e2e.server import START_S, Server
from tests.ports import free_port
from tests.world import MT

ROOT = Path(__file__).parents[2]
_DAY_US = 86_400_000_000
#: On so many days something was posted, of the last ones.
_DAYS = 28


class DemoHub(Server):
    """The repository's own configuration with the demo's objects, posted day by day."""

    def __init__(self, folder: Path) -> None:
        for name in ("config", "collections"):
            shutil.copytree(ROOT / name, folder / name)
        self.folder = folder
        self.config = folder / "config/server.toml"
        self.store = str(folder / "hub.db")
        self.log = folder / "stderr.log"
        self.port = free_port()
        self.process = None
        self.tokens: dict[str, str] = {}
        self.ca = self.cert = None
        self._fill()

    def _fill(self) -> None:
        settings = load(self.config, environment={}, flags={"store": self.store})
        now = [now_position() - _DAYS * _DAY_US]
        store = SQLiteStore(self.store, now=lambda: now[0])
        store.prepare()
        hub = Hub(settings, store)
        hub.apply(read_files(settings), "the board of the hub")
        for partner in hub.snapshot.catalog.policy.audiences:
            self.tokens[partner] = self._token(store, partner)
        self.tokens["operator"] = self._token(store, "interpol", OPERATOR)
        client = create_app(settings, store, background=False).test_client()
        portions = []
        for partner, collection in POSTS:
            objects = bundle(partner)
            size = max(1, len(objects) // 6)
            portions += [(partner, collection, objects[at : at + size]) for at in range(0, len(objects), size)]
        # Day after day, a little of everybody's, unevenly.
        portions.sort(key=lambda each: hash_of(each[2][0]["id"]))
        for number, (partner, collection, objects) in enumerate(portions):
            place = _DAYS * ((number + 1) / len(portions)) ** 0.8
            now[0] = max(now[0], now_position() - int((_DAYS - place) * _DAY_US))
            headers = {"Authorization": f"Bearer {self.tokens[partner]}", "Accept": MT, "Content-Type": MT}
            url = f"/hub/collections/{collection}/objects/"
            assert client.post(url, json={"objects": objects}, headers=headers).status_code == 202
        store.close()

    @staticmethod
    def _token(store: Store, partner: str, kind: str = "token") -> str:
        credential, secret = new_token(partner, "for a test", kind=kind)
        store.save_credential(credential)
        return secret

    def start(self, workers: int = 1) -> None:
        self.begin("--workers", str(workers))
        deadline = time.monotonic() + START_S
        while not self._ready():
            assert self.process is not None
            assert self.process.poll() is None, self.stderr()
            assert time.monotonic() < deadline, self.stderr()
            time.sleep(0.05)


def hash_of(text: object) -> str:
    """Shuffles, the same way each time."""
    return re.sub(r"^.*--", "", str(text))[::-1]


@contextmanager
def demo_hub(folder: Path) -> Iterator[DemoHub]:
    """A hub that answers; ended at the end."""
    hub = DemoHub(folder)
    try:
        hub.start()
        yield hub
    finally:
        hub.kill()
