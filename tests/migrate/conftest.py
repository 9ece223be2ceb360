"""Real old servers, filled over HTTP by taxii2-client, and what they served before they were left."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from pymongo import MongoClient
from taxii2client.v21 import Collection, as_pages

from tests.e2e.server import START_S, STOP_S
from tests.migrate.peers import python_with_opentaxii
from tests.migrate.stix import POSTS
from tests.ports import free_port
from tests.world import MT

HERE = Path(__file__).parent
RW, RO, NN = (
    "91a7b528-80eb-42ed-a74d-c6fbd5a26116",
    "52892447-4d7e-4f70-b94d-d7f22742ff63",
    "64993447-4d7e-4f70-b94d-d7f33742ee63",
)
RIGHTS = {
    RW: ("High value indicators", True, True),
    RO: ("Read only", True, False),
    NN: ("Neither", False, False),
}
USERS = {"alice": "looking glass 4711", "Bob Smith": "Password1"}
LAST = "X-TAXII-Date-Added-Last"


@dataclass
class Old:
    """An old server that was filled and then stopped. `source`: what is given to `migrate`.

    `pages`: all versions as a client got them in pages of ten, which is one POST each, with the
    X-TAXII-Date-Added-Last that came with it. `rests`: the latest versions that it gave to who asked for what is later
    than that date.
    """

    source: str
    root: str
    collection: str
    user: str
    password: str
    pages: list[tuple[list[dict[str, Any]], str]]
    rests: list[list[dict[str, Any]]]
    more: tuple[str, ...] = ()

    @property
    def every_version(self) -> list[dict[str, Any]]:
        return self.after(-1)

    def after(self, page: int) -> list[dict[str, Any]]:
        """What a client that got the pages up to this one did not have yet."""
        return [stix for objects, _ in self.pages[page + 1 :] for stix in objects]


def walk(url: str, user: str, password: str, **more: Any) -> list[tuple[list[dict[str, Any]], str]]:
    """The pages of a collection as taxii2-client gets them, with the date that a client remembers."""
    with Collection(url, user=user, password=password) as collection:
        dates: list[str] = []
        # The client hands on bodies only; its users remember this header.
        collection._conn.session.hooks["response"].append(
            lambda answer, **_: dates.append(answer.headers[LAST]) if LAST in answer.headers else None
        )
        pages = [page.get("objects", []) for page in as_pages(collection.get_objects, per_request=10, **more)]
        return list(zip(pages, dates[-len(pages) :], strict=True))


def look(url: str, user: str, password: str) -> tuple[list[Any], list[Any]]:
    """The pages and the rests of Old."""
    pages = walk(url, user, password, version="all")
    rests = [walk(url, user, password, added_after=date) for _, date in pages[:-1]]
    return pages, [[stix for objects, _ in rest for stix in objects] for rest in rests]


@contextmanager
def process(command: Sequence[str | Path], log: Path, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server of somebody else, from when it answers at this URL; ended by its process id."""
    with log.open("wb") as stream:
        started = subprocess.Popen([str(each) for each in command], stdout=stream, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_S
            while not _answers(ready):
                if started.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command} does not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield started
        finally:
            started.terminate()
            started.wait(STOP_S)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, headers={"Accept": MT}, timeout=5).status_code < 500
    except requests.RequestException:
        return False


def fill(url: str, user: str, password: str) -> None:
    """Post everything, one POST after the other."""
    with Collection(url, user=user, password=password) as collection:
        for objects in POSTS:
            status = collection.add_objects({"objects": objects})
            assert status.status == "complete", status


def _medallion(folder: Path, backend: dict[str, Any], source: str, save: str = "") -> Old:
    config = folder / "medallion.json"
    module = "memory_backend" if "filename" in backend else "mongodb_backend"
    name = "MemoryBackend" if "filename" in backend else "MongoBackend"
    backend |= {"module": f"medallion.backends.{module}", "module_class": name, "check_interval": 3600}
    config.write_text(json.dumps({"backend": backend, "users": USERS, "taxii": {"max_page_size": 100}}))
    port = free_port()
    url = f"http://127.0.0.1:{port}/trustgroup1/collections/{RW}/"
    command = [sys.executable, HERE / "medallion_server.py", config, str(port), *([save] if save else [])]
    with process(command, folder / "medallion.log", f"http://127.0.0.1:{port}/taxii2/"):
        user, password = next(iter(USERS.items()))
        fill(url, user, password)
        pages, rests = look(url, user, password)
    return Old(source, "trustgroup1", RW, user, password, pages, rests)


def _resource(id_: str) -> dict[str, Any]:
    title, can_read, can_write = RIGHTS[id_]
    about = {"id": id_, "title": title, "description": f"about {title}", "can_read": can_read, "can_write": can_write}
    return about | {"media_types": ["application/stix+json;version=2.1", "application/stix+json;version=2.0"]}


_INFORMATION = {
    "title": "Trust group",
    "description": "of malware researchers",
    "versions": ["application/taxii+json;version=2.1"],
    "max_content_length": 9765625,
}
_DISCOVERY = {"title": "Some TAXII Server", "description": "a listing", "contact": "soc@example.com"}


@pytest.fixture(scope="session")
def medallion_file(tmp_path_factory: pytest.TempPathFactory) -> Old:
    """medallion with its memory backend, and the file that it saved at the end."""
    folder = tmp_path_factory.mktemp("medallion-file")
    empty: dict[str, list[Any]] = {"objects": [], "manifest": []}
    url = "http://localhost:5000/trustgroup1/"
    data = {
        "/discovery": {**_DISCOVERY, "default": url, "api_roots": [url]},
        "trustgroup1": {
            "information": _INFORMATION,
            "status": [],
            "collections": [_resource(id_) | empty for id_ in RIGHTS],
        },
    }
    file = folder / "data.json"
    file.write_text(json.dumps(data))
    return _medallion(folder, {"filename": str(file)}, str(folder / "medallion.json"), save=str(file))


@pytest.fixture(scope="session")
def medallion_mongo(tmp_path_factory: pytest.TempPathFactory, mongo_uri: str) -> Iterator[Old]:
    """medallion with its MongoDB backend; its databases are dropped at the end."""
    folder = tmp_path_factory.mktemp("medallion-mongo")
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database("discovery_database")
        client.drop_database("trustgroup1")
        url = "http://localhost:5000/trustgroup1/"
        discovery = {**_DISCOVERY, "default": url, "api_roots": ["trustgroup1"]}
        client["discovery_database"]["discovery_information"].insert_one(discovery)
        about = {"_url": url, "_name": "trustgroup1", **_INFORMATION}
        client["discovery_database"]["api_root_info"].insert_one(about)
        client["trustgroup1"]["collections"].insert_many([_resource(id_) for id_ in RIGHTS])
        old = _medallion(folder, {"uri": mongo_uri}, mongo_uri)
        old.more = ("--users", str(folder / "medallion.json"))
        yield old
        client.drop_database("discovery_database")
        client.drop_database("trustgroup1")


@pytest.fixture(scope="session")
def opentaxii(tmp_path_factory: pytest.TempPathFactory) -> Old:
    """OpenTAXII 0.10.0b1 on SQLite, filled over HTTP."""
    folder = tmp_path_factory.mktemp("opentaxii")
    port = free_port()
    command = [python_with_opentaxii("0.10.0b1"), HERE / "opentaxii_server.py", folder, str(port)]
    with process(command, folder / "log", f"http://127.0.0.1:{port}/taxii2/"):
        made = json.loads((folder / "made.json").read_text())
        url = f"http://127.0.0.1:{port}/taxii2/{made['root']}/collections/{made['collections'][0]}/"
        fill(url, "alice", "a secret of alice")
        pages, rests = look(url, "alice", "a secret of alice")
    source = f"sqlite:///{folder}/data.db"
    more = ("--accounts", f"sqlite:///{folder}/auth.db")
    root, collection = f"taxii2/{made['root']}", made["collections"][0]
    return Old(source, root, collection, "alice", "", pages, rests, more)


@pytest.fixture(scope="session")
def opentaxii_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of OpenTAXII 0.9.3, filled by its own persistence API: its HTTP interface does not get so far."""
    folder = tmp_path_factory.mktemp("opentaxii-release")
    lines = "".join(json.dumps([o for o in objects if "modified" in o]) + "\n" for objects in POSTS)
    command = [python_with_opentaxii("0.9.3"), HERE / "opentaxii_server.py", folder, "0"]
    subprocess.run([str(each) for each in command], input=lines.encode(), check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture
def new_name() -> str:
    return f"taxii_migrate_{uuid.uuid4().hex[:12]}"
