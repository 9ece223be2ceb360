"""Other people's STIX, whole: through the command line on SQLite, through HTTP on MongoDB, and out again unchanged.

The data lies beside the repository and is not part of it (TAXII_TEST_DATA names another folder).
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from taxii2client import v21

from taxii_server.cli import main
from tests.e2e.server import Server, lanes
from tests.world import COLLECTIONS, MT

DATA = Path(os.environ.get("TAXII_TEST_DATA", "/work/shared/data"))
FILES = sorted(path for path in DATA.glob("*/*") if path.suffix in (".json", ".gz"))
#: How many objects are refused: an id in upper case; second contents under one id and version.
REFUSED = {"infrastructure.json": 1, "atlas-stix.json.gz": 80}
ENTERPRISE = DATA / "attack/enterprise-attack-18.1.reassembled.json.gz"

pytestmark = pytest.mark.skipif(not FILES, reason=f"no data in {DATA}")


def text_of(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def exact(text: bytes | str) -> Any:
    """JSON with the order of keys and the digits of numbers kept, so that == is strict."""
    return json.loads(text, object_pairs_hook=Pairs, parse_float=lambda digits: ("number", digits),
                      parse_int=lambda digits: ("number", digits))  # fmt: skip


class Pairs(list[tuple[str, Any]]):
    """The members of a JSON object in their order."""

    def get(self, name: str) -> Any:
        return next((value for key, value in self if key == name), None)


def objects_in(value: Any) -> list[Pairs]:
    if not isinstance(value, Pairs):
        return list(value)
    found = value.get("objects")
    return [value] if found is None else list(found)


def what_is_kept(objects: list[Pairs], refused: set[str]) -> list[Pairs]:
    """The first of each id and version; of objects without a version, each different content."""
    seen: dict[tuple[Any, Any], list[Pairs]] = {}
    kept = []
    for each in objects:
        if each.get("id") in refused:
            continue
        version = each.get("modified") or each.get("created")
        earlier = seen.setdefault((each.get("id"), version), [])
        if not earlier or (version is None and each not in earlier):
            kept.append(each)
            earlier.append(each)
    return kept


# ---- through the command line, on SQLite


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A drop box for each file, in one SQLite store. What the schema refuses besides: tests/unit/stix."""
    boxes = lanes(len(FILES), strictness="structure")
    return Server(tmp_path_factory.mktemp("data"), collections=COLLECTIONS | boxes)


def run(hub: Server, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, hub.command(*arguments)[1:])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_comes_out_as_it_went_in(hub: Server, path: Path) -> None:
    name = f"lane-{FILES.index(path)}"
    status, told, refused = run(hub, "import", str(path), "--into", name, "--as", "rw")
    numbers = dict(zip(("stored", "present", "refused"), map(int, _numbers(told)), strict=True))
    objects = objects_in(exact(text_of(path)))
    assert sum(numbers.values()) == len(objects)
    assert numbers["refused"] == REFUSED.get(path.name, 0)
    failing = [line.strip() for line in refused.splitlines()]
    bad = {line.partition(": ")[0] for line in failing if "other content" not in line}
    assert status == (1 if numbers["refused"] else 0)
    output = hub.folder / "out.json"
    assert run(hub, "export", name, "--as", "rw", "--versions", "all", "-o", str(output))[0] == 0
    kept = what_is_kept(objects, bad)
    assert exact(output.read_bytes()).get("objects") == kept
    assert numbers["stored"] == len(kept)
    again = run(hub, "import", str(path), "--into", name, "--as", "rw")[1]
    assert next(_numbers(again)) == "0"


def _numbers(told: str) -> Iterator[str]:
    return (part.split()[0] for part in told.rpartition(": ")[2].split(","))


# ---- over HTTP, on MongoDB: a release of ATT&CK as one request of 34 MB


@pytest.mark.parametrize("store_url", ["mongodb"], indirect=True)
def test_the_whole_of_attack_in_one_post_and_out_again_page_by_page(server: Server, lane_id: str) -> None:
    body = text_of(ENTERPRISE)
    objects = objects_in(exact(body))
    began = time.monotonic()
    headers = {"Accept": MT, "Content-Type": MT, "Authorization": f"Bearer {server.token('rw')}"}
    answer = requests.post(server.objects_url(lane_id), data=body, headers=headers, timeout=120)
    posted = time.monotonic()
    assert answer.status_code == 202, answer.text[:1000]
    status = answer.json()
    assert (status["status"], status["success_count"], status["failure_count"]) == ("complete", len(objects), 0)
    assert len(status["successes"]) == len(objects)

    url = f"{server.url}/api2/collections/{lane_id}/"
    with v21.Collection(url, user="rw", password=server.token("rw")) as collection:
        pages = list(v21.as_pages(collection.get_objects, per_request=1000))
        walked = time.monotonic()
        assert len(pages) == -(-len(objects) // 1000)
        got = [each for page in pages for each in page["objects"]]
        assert got == json.loads(body)["objects"]
        entries = [each for page in v21.as_pages(collection.get_manifest, per_request=1000) for each in page["objects"]]
        assert [entry["id"] for entry in entries] == [each["id"] for each in got]
        dates = [entry["date_added"] for entry in entries]
        assert dates == sorted(set(dates))
        techniques = collection.get_objects(type="attack-pattern", limit=1000)["objects"]
        assert {each["type"] for each in techniques} == {"attack-pattern"}

    page = server.get(server.objects_url(lane_id), params={"limit": 1000})
    assert exact(page.content).get("objects") == objects[:1000], "not only equal: the text is the one that was posted"
    # Generous: the point is that neither grows with the square of the number of objects.
    assert posted - began < 60, f"the POST took {posted - began:.1f} s"
    assert walked - posted < 30, f"the walk took {walked - posted:.1f} s"
