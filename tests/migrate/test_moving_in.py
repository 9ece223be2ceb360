"""A whole move from servers that others wrote: clients go on, everybody reads what it read, nothing is done twice."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taxii_server.auth.secrets import PasswordChecker
from taxii_server.storage import open_store
from tests.migrate.conftest import NN, RO, RW, USERS, Old
from tests.migrate.hub import Hub, run
from tests.migrate.stix import EVERY, HIDDEN, RED_ID

KINDS = {"medallion_file": "medallion", "medallion_mongo": "medallion", "opentaxii": "opentaxii"}


@pytest.fixture(scope="module", params=KINDS)
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Old, Hub, dict[str, Any]]:
    """An old server of each kind, the new hub, and the report of the move."""
    old: Old = request.getfixturevalue(request.param)
    hub = Hub(tmp_path_factory.mktemp("hub") / "new")
    tokens = hub.folder.parent / "tokens"
    report = hub.migrate(KINDS[request.param], old.source, *old.more, "--tokens", tokens)
    if not old.password:
        secrets = dict(line.split("\t")[::2] for line in tokens.read_text().splitlines())
        assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
        old = replace(old, password=secrets[old.user])
    return old, hub, report


def test_a_client_goes_on_where_it_was(moved: tuple[Old, Hub, dict[str, Any]]) -> None:
    """With the URL, collection, credentials and date that it has: it gets what it did not have, in order."""
    old, hub, _ = moved
    with hub.serving():
        ours = (old.root, old.collection, old.user, old.password)
        for page, (_, date) in enumerate(old.pages[:-1]):
            assert hub.objects(*ours, added_after=date, version="all") == _shown(old.after(page))
            assert hub.objects(*ours, added_after=date) == _shown(old.rests[page])
        assert hub.objects(*ours, added_after=old.pages[-1][1]) == []
        assert hub.objects(*ours, version="all") == _shown(old.after(-1))


def _shown(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [stix for stix in objects if stix["id"] not in HIDDEN]


def test_every_version_is_there_in_the_old_order(moved: tuple[Old, Hub, dict[str, Any]]) -> None:
    old, hub, report = moved
    export = hub.run("export", _name(hub, old), "--as", "moved-in", "--versions", "all").stdout
    assert json.loads(export)["objects"] == old.every_version
    assert sorted((o["id"], o["modified"]) for o in old.every_version) == sorted(
        (o["id"], o["modified"]) for o in EVERY
    )
    assert report["total"]["stored"] == len(EVERY)
    assert report["left"] == []


def _name(hub: Hub, old: Old) -> str:
    (file,) = (path for path in hub.folder.glob("collections/*.toml") if f'"{old.collection}"' in path.read_text())
    return file.stem


def test_the_report_tells_who_reads_less_and_why(moved: tuple[Old, Hub, dict[str, Any]]) -> None:
    _, _, report = moved
    readers = {"alice", "bob-smith"} if report["source"] == "medallion" else {"alice", "admin"}
    assert {(each["partner"], each["id"]) for each in report["lost"]} == {
        (partner, id_) for partner in readers for id_ in HIDDEN
    }
    for each in report["lost"]:
        assert each["why"] == ("above its clearance" if each["id"] == RED_ID else "refers to something hidden")


def test_the_store_is_whole_and_the_configuration_holds(moved: tuple[Old, Hub, dict[str, Any]]) -> None:
    _, hub, _ = moved
    hub.run("check")
    hub.run("verify")


def test_moving_in_again_changes_nothing(moved: tuple[Old, Hub, dict[str, Any]]) -> None:
    old, hub, first = moved
    before = _state(hub)
    report = hub.migrate(first["source"], old.source, *old.more)
    assert (report["total"]["stored"], report["total"]["present"]) == (0, len(EVERY))
    assert {each["what"] for each in report["users"]} == {"there"}
    assert report["lost"] == first["lost"]
    assert _state(hub) == before


def _state(hub: Hub) -> tuple[str, str, dict[str, bytes]]:
    credentials = hub.run("token", "list").stdout
    files = {str(path): path.read_bytes() for path in sorted(hub.folder.glob("co*/*.toml"))}
    return credentials, hub.run("verify", "--json").stdout, files


def test_a_dry_run_says_the_same_and_changes_nothing(medallion_file: Old, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    rehearsed = hub.migrate("medallion", medallion_file.source, "--dry-run")
    assert not hub.folder.exists()
    report = hub.migrate("medallion", medallion_file.source)
    for key in ("collections", "total", "left", "lost", "users", "files"):
        assert rehearsed[key] == report[key], key
    before = _state(hub)
    again = hub.migrate("medallion", medallion_file.source, "--dry-run")
    assert (again["total"]["stored"], again["total"]["present"]) == (0, len(EVERY))
    assert _state(hub) == before


def test_medallion_users_keep_their_passwords_as_hashes(medallion_file: Old, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    report = hub.migrate("medallion", medallion_file.source)
    assert {each["user"]: each["what"] for each in report["users"]} == dict.fromkeys(USERS, "kept")
    (warned,) = [each for each in report["users"] if "everybody knows it" in each["words"]]
    assert warned["user"] == "Bob Smith"
    everything = b"".join(path.read_bytes() for path in hub.folder.rglob("*") if path.is_file())
    assert b"$argon2id$" in everything
    for password in USERS.values():
        assert password.encode() not in everything
        assert password not in str(report)
    store = open_store(str(hub.folder / "var/taxii.db"))
    credentials = {each.id: each for each in store.credentials()}
    store.close()
    checker = PasswordChecker(0)
    for user, password in USERS.items():
        assert checker.matches(credentials[user], password)
        assert not checker.matches(credentials[user], f"{password}x")


def test_without_passwords_nobody_gets_in(medallion_file: Old, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    report = hub.migrate("medallion", medallion_file.source, "--no-passwords")
    assert {each["what"] for each in report["users"]} == {"none"}
    assert b"argon2" not in (tmp_path / "new/var/taxii.db").read_bytes()


def test_medallions_collections_keep_ids_titles_and_rights(medallion_file: Old, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    hub.migrate("medallion", medallion_file.source)
    found = {each["id"]: each for each in hub.read("/trustgroup1/collections/", "alice")["collections"]}
    assert {id_: (each["title"], each["can_read"], each["can_write"]) for id_, each in found.items()} == {
        RW: ("High value indicators", True, True),
        RO: ("Read only", True, False),
        NN: ("Neither", False, False),
    }
    assert found[RW]["description"] == "about High value indicators"
    root = hub.read("/trustgroup1/", "alice")
    assert (root["title"], root["max_content_length"]) == ("Trust group", 9765625)
    discovery = hub.read("/taxii2/", "alice")
    assert (discovery["title"], discovery["contact"]) == ("Some TAXII Server", "soc@example.com")
    assert discovery["api_roots"] == ["/trustgroup1/"]


def test_a_source_that_is_none_is_refused_with_what_to_name(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "memory.json").write_text('{"backend": {"module_class": "MemoryBackend"}, "users": {"a": "b"}}')
    (tmp_path / "directory.json").write_text('{"backend": {"module_class": "DirectoryBackend"}}')
    for source, words in (
        ("none.json", "cannot be read"),
        ("other.json", "no '/discovery' in it"),
        ("memory.json", "keeps everything in memory"),
        ("directory.json", "'DirectoryBackend' is not one that can be read"),
        ("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200", "the MongoDB of medallion cannot be read: 127.0.0.1:1"),
    ):
        place = source if "://" in source else tmp_path / source
        done = run("migrate", "medallion", place, "--new-hub", tmp_path / "new", status=1)
        assert words in done.stderr, done.stderr
        assert not (tmp_path / "new").exists()
