"""Other TAXII servers as real processes, as the peers that hubs meet: medallion, the reference server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.ports import free_port
from tests.world import MT

MEDALLION_USER = ("mirror", "secret")
#: The collection that everybody may read and write.
MEDALLION_COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
_START_S = 30.0


@dataclass
class Medallion:
    """medallion 3.0.0 with its memory backend, which begins with these objects and forgets its pages at its end."""

    folder: Path
    #: (date_added, object) in this order
    objects: Sequence[tuple[str, Mapping[str, Any]]] = ()
    max_page: int = 20
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the collection."""
        return f"http://127.0.0.1:{self.port}/api/collections/{MEDALLION_COLLECTION}/"

    def start(self) -> None:
        """Start it, with the objects that it was made with, and wait until it answers."""
        data = self.folder / "medallion-data.json"
        data.write_text(json.dumps(self._data()))
        backend = {
            "module": "medallion.backends.memory_backend",
            "module_class": "MemoryBackend",
            "filename": str(data),
        }
        config = {
            "backend": backend,
            "users": dict([MEDALLION_USER]),
            "taxii": {"max_page_size": self.max_page},
        }
        file = self.folder / "medallion.json"
        file.write_text(json.dumps(config))
        command = [sys.executable, "-m", "medallion.scripts.run", "--port", str(self.port), str(file)]
        with (self.folder / "medallion.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ}
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                if self.request("GET", self.url).status_code == 200:
                    return
            except requests.RequestException:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise RuntimeError(f"medallion does not start:\n{(self.folder / 'medallion.log').read_text()}")
            time.sleep(0.03)

    def end(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def request(self, method: str, url: str, **more: Any) -> requests.Response:
        """A request as its one user."""
        headers = {"Accept": MT, "Content-Type": MT, "Connection": "close"}
        return requests.request(method, url, headers=headers, auth=MEDALLION_USER, timeout=30, **more)

    def post(self, objects: Sequence[Mapping[str, Any]]) -> requests.Response:
        """Add these in one request: they get one date."""
        return self.request("POST", f"{self.url}objects/", json={"objects": list(objects)})

    def ids(self) -> set[str]:
        """The ids of everything that it holds."""
        found: set[str] = set()
        query = {"limit": "1000"}
        while True:
            page = self.request("GET", f"{self.url}objects/", params=query).json()
            found.update(each["id"] for each in page.get("objects", []))
            if not page.get("more"):
                return found
            query["next"] = page["next"]

    def _data(self) -> dict[str, Any]:
        manifest = [
            {"id": each["id"], "date_added": date, "version": each.get("modified", each.get("created", date)),
             "media_type": "application/stix+json;version=2.1"}
            for date, each in self.objects
        ]  # fmt: skip
        collection = {
            "id": MEDALLION_COLLECTION, "title": "Everything", "can_read": True, "can_write": True,
            "media_types": ["application/stix+json;version=2.1"], "manifest": manifest,
            "objects": [dict(each) for _, each in self.objects],
        }  # fmt: skip
        root = {"title": "Root", "versions": [MT], "max_content_length": 100_000}
        return {
            "/discovery": {"title": "medallion", "default": "/api/", "api_roots": ["/api/"]},
            "api": {"information": root, "status": [], "collections": [collection]},
        }


@contextmanager
def medallion(folder: Path, objects: Sequence[tuple[str, Mapping[str, Any]]] = (), **more: Any) -> Iterator[Medallion]:
    """A medallion that answers; ended at the end."""
    made = Medallion(folder, objects, **more)
    try:
        made.start()
        yield made
    finally:
        made.end()
