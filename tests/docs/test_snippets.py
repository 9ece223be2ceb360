"""What the documentation says to type is typed, and what it says to write into files is read.

Python, shell: run in the order of the page, in the folder of a hub with the shipped configuration and the demo's data
(tests/docs/hub.py). `console` shows commands behind `$` and what they say. TOML: read where it belongs
(tests/docs/configured.py). JSON: a resource of the interface. What cannot be run stands in NOT_RUN with its reason.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from taxii_server.catalog import check_catalog
from taxii_server.errors import ConfigError
from taxii_server.web.openapi import describe
from tests.docs import configured
from tests.docs.fences import Fence, fences, pages
from tests.docs.hub import DocumentedHub, documented_hub

RUN = ("python", "sh", "console")
LANGUAGES = {
    **dict.fromkeys(RUN, "is run"),
    "toml": "is read by the loader",
    "json": "is held to the description of the interface",
    "": "is looked at, not typed: output, a table, a tree of files",
    "text": "is the same; also what a command takes, with placeholders",
    "yaml": "is parsed",
    "nginx": "is for nginx, which is not there",
    "haproxy": "is for HAProxy, which is not there",
    "caddy": "is for Caddy, which is not there",
}
#: (page, words of the fence) -> why it is not run. An entry that fits no fence, or several, fails.
NOT_RUN = {
    ("README.md", "make test "): "sets up a virtual environment, and runs this very test",
    ("README.md", "make demo-mongodb"): "sets up a virtual environment; tests/e2e/test_cli.py runs the demo",
    ("docs/authentication.md", "TOKEN="): "needs a Keycloak; tests/idp.py stands in for one in other tests",
    ("docs/backup.md", "mongodump"): "needs MongoDB's own tools",
    ("docs/backup.md", "mongodb://db1,db2,db3/taxii"): "needs a replica set; tests/e2e/test_operations.py moves a hub",
    ("docs/faults.md", "make torture "): "takes half an hour",
    ("docs/migrating.md", "config.json --new-hub /srv/hub --dry-run"): "needs a medallion; tests/migrate moves from it",
    ("docs/migrating.md", "migrate opentaxii sqlite"): "needs an OpenTAXII; tests/migrate moves from it",
    ("docs/migrating.md", "config.json --fragments"): "needs a medallion; tests/migrate moves from it",
    ("docs/mirroring.md", "install -m 600"): "waits for a secret to be typed",
    ("docs/mirroring.md", "mirror pull https://hub.example"): "needs the other hub; tests/e2e/test_mirror.py has two",
    ("docs/mirroring.md", "mirror run --once"): "needs the other hub; tests/e2e/test_mirror.py has two",
    ("docs/operators.md", "pip install ."): "installs into /opt and /etc",
    ("docs/operators.md", "systemctl enable"): "needs systemd",
    ("docs/operators.md", "TAXII_SERVER_STORE=/var/lib"): "needs what was installed above",
    ("docs/operators.md", "kubectl apply"): "needs a cluster",
    ("docs/operators.md", "docker compose up"): "needs a Docker daemon",
    ("docs/operators.md", "taxii-server doctor"): "judges the machine that it runs on; it has tests of its own",
    ("docs/operators.md", "git -C"): "needs a repository with a history",
    ("docs/operators.md", "mongosh"): "needs MongoDB's own tools",
    ("docs/testing.md", "python -m tests.fuzz "): "takes minutes; tests/fuzz runs a short form",
    ("docs/ledger.md", "ssh auditor@elsewhere"): "needs another machine",
}
FENCES = [fence for page in pages() for fence in fences(page)]


def skipped(fence: Fence) -> bool:
    return any(page == fence.page and words in fence.text for page, words in NOT_RUN)


TYPED = [page for page in pages() if any(each.language in RUN and not skipped(each) for each in fences(page))]


def of(*languages: str) -> list[Fence]:
    return [fence for fence in FENCES if fence.language in languages and not skipped(fence)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedHub]:
    """One hub for all pages."""
    with documented_hub(tmp_path_factory.mktemp("documented")) as started:
        yield started


def test_every_fence_says_what_it_is() -> None:
    assert [fence.place for fence in FENCES if fence.language not in LANGUAGES] == []


def test_every_reason_for_not_running_something_is_needed() -> None:
    for page, words in NOT_RUN:
        found = [fence for fence in fences(page) if fence.language in (*RUN, "toml", "json") and words in fence.text]
        assert len(found) == 1, f"{len(found)} fences of {page} have {words!r}"


@pytest.mark.parametrize("page", TYPED)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl, which is not here")
def test_what_a_page_says_to_type_works(page: str, hub: DocumentedHub) -> None:
    with hub.reader() as reader:
        for fence in fences(page):
            if fence.language in RUN and not skipped(fence):
                try:
                    reader.follow(fence)
                except AssertionError as wrong:
                    pytest.fail(f"{fence.place}: {wrong}", pytrace=False)


@pytest.mark.parametrize("fence", of("toml", "yaml"), ids=lambda fence: fence.place)
def test_what_a_page_says_to_write_is_right(fence: Fence, tmp_path: Path) -> None:
    if fence.language == "yaml":
        assert all(yaml.safe_load_all(fence.text))
        return
    try:
        configured.check(fence, tmp_path)
    except ConfigError as error:
        pytest.fail("\n".join(map(str, error.problems)), pytrace=False)


@pytest.mark.parametrize("fence", configured.recipes(), ids=lambda fence: fence.place)
def test_the_examples_of_a_recipe_fail_without_its_rules(fence: Fence) -> None:
    with pytest.raises(ConfigError) as found:
        check_catalog(configured.catalog_with(fence, without_rules=True))
    for problem in found.value.problems:
        assert problem.key.startswith("test[") or problem.message.startswith("never "), problem


@pytest.mark.parametrize("fence", of("json"), ids=lambda fence: fence.place)
def test_what_a_page_says_is_answered_is_a_resource(fence: Fence) -> None:
    document = describe()
    value = json.loads(fence.text)
    fitting = [
        name
        for name in document["components"]["schemas"]
        if jsonschema_rs.is_valid({"$ref": f"#/components/schemas/{name}", "components": document["components"]}, value)
    ]
    assert fitting, f"{fence.place} is none of {', '.join(document['components']['schemas'])}"
