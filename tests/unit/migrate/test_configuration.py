"""The configuration of a new hub: it always holds, and gives the access that there was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxii_server.catalog import Catalog, check_catalog, read_files
from taxii_server.migrate.configuration import Wishes, Written, write_configuration
from taxii_server.migrate.names import Names, choose_names
from taxii_server.migrate.old import OldCollection, OldRoot, OldServer, OldUser
from taxii_server.policy import Facets, Meanings
from taxii_server.settings import load

UUIDS = [f"{number}a7b528-80eb-42ed-a74d-c6fbd5a26116" for number in range(10, 20)]
TEXTS = st.text(max_size=30) | st.sampled_from(["", "metrics", "taxii2", "moved-in", "Ünïted", 'a"b', "a\nb", "X", "x"])
NAMES = st.sets(st.text(min_size=1, max_size=12), max_size=4)


def written(folder: Path, server: OldServer, wishes: Wishes) -> tuple[Catalog, Names, Written]:
    """The catalog of the files, checked as a start would."""
    names = choose_names(server, submitter=wishes.submitter)
    found = write_configuration(server, names, wishes)
    (folder / "collections").mkdir()
    for name, text in found.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    read = load(folder / "config/server.toml", environment={})
    return check_catalog(read_files(read), read), names, found


@st.composite
def servers(draw: st.DrawFn) -> OldServer:
    users = sorted(draw(NAMES))
    roots = [
        OldRoot(path, draw(TEXTS), draw(TEXTS), draw(st.sampled_from([0, 5, 10**9])), draw(st.booleans()))
        for path in draw(st.lists(st.sampled_from(
            ["api1", "API1", "Trust_Group", "metrics", "taxii2/" + UUIDS[0], "taxii2/" + UUIDS[1], "moved-in"]
        ), unique=True, min_size=1, max_size=4))
    ]  # fmt: skip
    some = st.sets(st.sampled_from([*users, ""])).map(frozenset)
    paths = st.sampled_from([root.path for root in roots])
    ids = st.sampled_from([*UUIDS[:3], "not-a-uuid", UUIDS[0].upper()])
    keys = draw(st.sets(st.tuples(paths, ids), max_size=6))
    collections = [
        OldCollection(root, id_, draw(TEXTS), draw(TEXTS), draw(st.sampled_from(["", "al", "AL", "a/b"])),
                      draw(some), draw(some), draw(some), ("2.1", "2.0"))
        for root, id_ in sorted(keys)
    ]  # fmt: skip
    return OldServer(
        "medallion", draw(TEXTS), draw(TEXTS), draw(TEXTS), roots, collections, [OldUser(u) for u in users]
    )


@settings(max_examples=25, deadline=None)
@given(server=servers(), clearance=st.sampled_from(["clear", "green", "amber+strict", "red"]))
def test_whatever_an_old_server_declares_the_configuration_holds(
    tmp_path_factory: pytest.TempPathFactory, server: OldServer, clearance: str
) -> None:
    catalog, names, _ = written(tmp_path_factory.mktemp("hub"), server, Wishes(clearance=clearance))
    for old in server.collections:
        collection = catalog.collections[names.collections[old.root, old.id]]
        for user in [*(user.name for user in server.users), *([""] if names.anonymous else [])]:
            partner = names.users.get(user, names.anonymous)
            rights = catalog.rights(collection, partner)
            assert (rights.read, rights.write) == (user in old.readers, user in old.writers)
            assert rights.visible == (user in old.readers | old.writers | old.viewers)
            assert rights.delete_any is False


def test_what_cannot_stay_as_it_was_is_said(tmp_path: Path) -> None:
    collections = [
        OldCollection("api1", UUIDS[0], "Same", alias="one"),
        OldCollection("api1", "old-id", "same", alias="one"),
        OldCollection("metrics", UUIDS[0], "Other"),
    ]
    roots = [OldRoot("api1", "One"), OldRoot("metrics", "Numbers")]
    server = OldServer("medallion", "t", "", "", roots, collections, [OldUser("Bob Smith")])
    _, names, found = written(tmp_path, server, Wishes())
    told = "\n".join(found.notes)
    for words in (
        "'old-id' is no UUID",
        "is called 'same (2)' here",
        "alias 'one' is taken",
        "'/metrics/' is a path of this",
    ):
        assert words in told
    assert "user 'Bob Smith' is partner 'bob-smith' here" in told
    assert len(set(names.ids.values())) == 3
    assert choose_names(server).ids == names.ids


def test_a_user_called_everybody_has_a_title_that_the_policy_takes(tmp_path: Path) -> None:
    collections = [OldCollection("api1", UUIDS[0], "One", readers=frozenset({"*"}))]
    server = OldServer("opentaxii", "t", "", "", [OldRoot("api1", "One")], collections, [OldUser("*")])
    catalog, names, _ = written(tmp_path, server, Wishes())
    assert catalog.policy.audiences[names.users["*"]].title == names.users["*"]


def test_an_unmarked_object_is_for_whom_the_collection_was_open_to(tmp_path: Path) -> None:
    everybody = frozenset({"a", "b"})
    collections = [
        OldCollection("api1", UUIDS[0], "All", readers=everybody),
        OldCollection("api1", UUIDS[1], "Some", readers=frozenset({"a"})),
        OldCollection("api1", UUIDS[2], "Public", readers=everybody | {""}),
        OldCollection("api1", UUIDS[3], "Nobody"),
    ]
    server = OldServer("opentaxii", "t", "", "", [OldRoot("api1", "One")], collections, [OldUser("a"), OldUser("b")])
    catalog, _, _ = written(tmp_path, server, Wishes())
    readers = {}
    for name in ("all", "some", "public", "nobody"):
        facets = Facets(name, "moved-in", "indicator", "2.1")
        decisions = {each: catalog.policy.decide(each, facets, Meanings()) for each in ("a", "b", "anonymous")}
        readers[name] = {each for each, decision in decisions.items() if decision.verdict == "read"}
    assert readers == {"all": {"a", "b"}, "some": {"a"}, "public": {"a", "b", "anonymous"}, "nobody": set()}
