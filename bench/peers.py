"""The peers from PyPI, each in an environment of its own: how long a full synchronisation with them takes.

They are installed into a folder below the temporary one, once. What takes longer than the time limit is told as it was
when the time was over.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import requests

from bench import objects, site
from bench.client import drive
from bench.common import Figure, Pair
from bench.place import Place
from tests.migrate.peers import RELEASES

ROOT = Path(__file__).resolve().parent.parent
#: What is installed: the newest release of the one, and of the other the one whose HTTP interface works.
PACKAGES = {"medallion": ["medallion==3.0.0"], "opentaxii": RELEASES["0.10.0b1"]}
ENVIRONMENTS = Path(tempfile.gettempdir()) / "taxii-bench-peers"
LIMIT_S = 60.0
#: Who reads from them; in OpenTAXII it is made by tests/migrate/opentaxii_server.py.
_USER, _SECRET = "admin", "a secret of admin"


def peers(place: Place) -> Iterator[Figure]:
    """A client that follows `next` through all objects, in pages of 1,000: ours against each of them."""
    if place.store != "sqlite" or place.size > 10_000:
        return
    for size in (1000, place.size):
        with place.hub() as server:
            load = drive(server.port, 1, sync=[place.ask("?limit=1000")], pages=size // 1000).require(200)
        rate = load.answers * 1000 / load.seconds
        for name, serve in (("medallion", _medallion), ("opentaxii", _opentaxii)):
            try:
                with serve(place.folder / f"peers-{size}", size) as url:
                    found, seconds, reason = _sync(url)
            except Exception as error:  # noqa: BLE001 - a peer that cannot be had must not end the run
                print(f"{name} could not be measured: {error}", file=sys.stderr)
                continue
            is_done = found >= size
            note = "" if is_done else f"**did not finish**: {found:,} objects in {seconds:.0f} s, {reason}"
            pair = Pair([rate], [found / seconds if is_done else math.nan])
            yield place.figure(pair, f"full sync of {size:,} objects, pages of 1,000, one client", "objects/s",
                               " ".join(PACKAGES[name][0].split("==")), note=note)  # fmt: skip


def _sync(url: str) -> tuple[int, float, str]:
    """How many objects came in how many seconds, and why not more."""
    begin, found, query = time.perf_counter(), 0, {"limit": "1000"}
    headers = {"Accept": site.MEDIA}
    reason = "the time was over"
    with requests.Session() as session:
        while (left := LIMIT_S - (time.perf_counter() - begin)) > 0:
            try:
                answer = session.get(url, params=query, headers=headers, auth=(_USER, _SECRET), timeout=left)
            except requests.RequestException:
                break
            if answer.status_code != 200:
                reason = f"status {answer.status_code}"
                break
            page = answer.json()
            found += len(page.get("objects", []))
            if not page.get("more"):
                reason = "it says that there are no more"
                break
            query["next"] = page["next"]
    return found, time.perf_counter() - begin, reason


def _python(name: str) -> str:
    """The interpreter of the environment that has this peer."""
    folder = ENVIRONMENTS / name
    python = str(folder / "bin/python")
    if not (folder / "is-ready").exists():
        run = partial(subprocess.run, check=True, capture_output=True, timeout=300)
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]])
        (folder / "is-ready").touch()
    return python


def _mix(size: int) -> list[dict[str, object]]:
    return [objects.stix(number) for number in range(size)]


@contextmanager
def _medallion(folder: Path, size: int) -> Iterator[str]:
    """medallion with its memory backend, which begins with these objects."""
    folder.mkdir(exist_ok=True)
    id_, date = str(uuid.uuid4()), "2024-01-01T00:00:{:02}.{:06}Z"
    mix = _mix(size)
    dates = [date.format(number // 1_000_000 % 60, number % 1_000_000) for number in range(size)]
    manifest = [
        {"id": each["id"], "date_added": day, "version": each.get("modified", day),
         "media_type": "application/stix+json;version=2.1"}
        for each, day in zip(mix, dates, strict=True)
    ]  # fmt: skip
    collection = {
        "id": id_, "title": "All", "can_read": True, "can_write": True,
        "media_types": ["application/stix+json;version=2.1"], "manifest": manifest,
        # Its own files have the date in the objects as well; without it a page of observables is a KeyError.
        "objects": [{**each, "_date_added": day} for each, day in zip(mix, dates, strict=True)],
    }  # fmt: skip
    root = {"title": "Root", "versions": [site.MEDIA], "max_content_length": 10**8}
    data = folder / "medallion-data.json"
    data.write_text(json.dumps({
        "/discovery": {"title": "medallion", "default": "/api/", "api_roots": ["/api/"]},
        "api": {"information": root, "status": [], "collections": [collection]},
    }))  # fmt: skip
    config = folder / "medallion.json"
    config.write_text(json.dumps({
        "backend": {"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend",
                    "filename": str(data)},
        "users": {_USER: _SECRET},
        "taxii": {"max_page_size": 1000},
    }))  # fmt: skip
    port = site.free_port()
    command = [_python("medallion"), "-m", "medallion.scripts.run", "--port", str(port), str(config)]
    with _answering(command, port, folder / "medallion.log"):
        yield f"http://127.0.0.1:{port}/api/collections/{id_}/objects/"


@contextmanager
def _opentaxii(folder: Path, size: int) -> Iterator[str]:
    """OpenTAXII on SQLite, filled by its own interface."""
    where, port = folder / "opentaxii", site.free_port()
    where.mkdir(parents=True)
    script = [_python("opentaxii"), str(ROOT / "tests/migrate/opentaxii_server.py"), str(where)]
    mix = _mix(size)
    lines = "".join(json.dumps(mix[start : start + 1000]) + "\n" for start in range(0, size, 1000))
    subprocess.run([*script, "0"], input=lines, text=True, check=True, capture_output=True, timeout=300)
    made = json.loads((where / "made.json").read_text())
    with _answering([*script, str(port)], port, folder / "opentaxii.log"):
        yield f"http://127.0.0.1:{port}/taxii2/{made['root']}/collections/{made['collections'][0]}/objects/"


@contextmanager
def _answering(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    with site.running(command, port, "/taxii2/", log, is_up=lambda status: status < 500):
        yield
