"""The catalog: who comes through which door, what a view shows, and what makes two catalogs the same."""

from __future__ import annotations

import dataclasses

import pytest

from taxii_server.catalog import (
    Catalog,
    Collection,
    Limits,
    Rights,
    check_catalog,
    check_settings,
    digest_of,
    parse_catalog,
)
from taxii_server.errors import ConfigError
from taxii_server.settings import Settings

from . import texts

NOTHING = Rights()
SEES = Rights(visible=True)
READS = Rights(visible=True, read=True)
POSTS = Rights(visible=True, write=True)
BOTH = Rights(visible=True, read=True, write=True)
OWNS = Rights(visible=True, read=True, write=True, delete_any=True)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return parse_catalog(texts.small())


def refused(files: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_catalog(files)
    return [str(problem) for problem in caught.value.problems]


# ---- what a file says


def test_a_collection_is_what_its_file_says_and_defaults(catalog: Catalog) -> None:
    assert catalog.collections["cert-de"] == Collection(
        name="cert-de",
        id=texts.CERT_DE,
        alias="german",
        api_root="hub",
        title="CERT DE",
        description="",
        owner="cert-de",
        readers=("cert-de",),
        writers=("cert-de",),
        visible_to=(),
        sources=("drop", "cert-us"),
        accepts=("2.1",),
        strictness="schema",
        retention_days=0,
        retention_versions=0,
        limits=Limits(max_page=0, max_objects=0),
    )


def test_limits_are_read() -> None:
    files = texts.changed("collections/lab.toml", 'writers = ["*"]', 'writers = ["*"]\n[limits]\nmax_page = 5')
    assert parse_catalog(files).collections["lab"].limits == Limits(max_page=5)


def test_api_roots_keep_the_order_of_the_file(catalog: Catalog) -> None:
    assert [(root.name, root.title) for root in catalog.api_roots.values()] == [("hub", "Hub"), ("lab", "Lab")]


# ---- rights


@pytest.mark.parametrize(
    ("collection", "partner", "expected"),
    [
        ("cert-de", "cert-de", OWNS),
        ("cert-de", "cert-us", NOTHING),
        ("cert-de", "talos", NOTHING),
        ("cert-de", "desk", NOTHING),
        ("cert-us", "cert-us", READS),
        ("cert-us", "cert-de", NOTHING),
        ("drop", "talos", POSTS),
        ("drop", "cert-de", SEES),
        ("drop", "cert-us", SEES),
        ("drop", "desk", SEES),
        ("lab", "talos", BOTH),
        ("lab", "desk", BOTH),
        ("lab", "gone", NOTHING),
        ("lab", "nobody", NOTHING),
    ],
)
def test_rights_follow_from_the_lists(catalog: Catalog, collection: str, partner: str, expected: Rights) -> None:
    assert catalog.rights(catalog.collections[collection], partner) == expected


def test_every_partner_has_no_rights_where_no_list_names_it(catalog: Catalog) -> None:
    bare = 'id = "55555555-5555-4555-8555-555555555555"\napi_root = "hub"\ntitle = "Bare"\n'
    found = parse_catalog({**texts.small(), "collections/bare.toml": bare})
    assert {found.rights(found.collections["bare"], partner) for partner in found.policy.audiences} == {NOTHING}


def test_an_owner_that_may_not_read_may_not_delete_either() -> None:
    files = texts.changed("collections/drop.toml", 'visible_to = ["group:csirts"]', 'readers = ["kind:operator"]')
    catalog = parse_catalog(files)
    assert catalog.rights(catalog.collections["drop"], "desk") == Rights(visible=True, read=True, delete_any=True)


def test_the_list_of_an_api_root_is_sorted_by_id_and_cut_to_the_partner(catalog: Catalog) -> None:
    assert [each.name for each in catalog.collections_in("hub")] == ["cert-de", "cert-us", "drop"]
    assert [each.name for each in catalog.visible("hub", "cert-us")] == ["cert-us", "drop"]
    assert catalog.visible("hub", "gone") == ()
    assert catalog.collections_in("nowhere") == ()


# ---- places


def test_a_collection_is_found_by_id_and_by_alias_under_its_own_api_root_only(catalog: Catalog) -> None:
    german = catalog.collections["cert-de"]
    assert catalog.collection_at("hub", texts.CERT_DE) is german
    assert catalog.collection_at("hub", "german") is german
    assert catalog.collection_at("lab", texts.CERT_DE) is None
    assert catalog.collection_at("lab", "german") is catalog.collections["lab"]
    assert catalog.collection_at("hub", "cert-de") is None
    assert catalog.collection_at("hub", "unknown") is None


# ---- views


def test_a_view_shows_its_own_records_and_those_of_its_sources_but_no_further(catalog: Catalog) -> None:
    feeds = {name: catalog.feeds(each) for name, each in catalog.collections.items()}
    assert feeds["cert-de"] == (texts.CERT_DE, texts.DROP, texts.CERT_US)
    assert feeds["cert-us"] == (texts.CERT_US, texts.CERT_DE)
    assert feeds["drop"] == (texts.DROP,)


def test_a_partner_reaches_the_feeds_of_every_collection_that_it_may_read(catalog: Catalog) -> None:
    assert catalog.reachable("cert-de") == {texts.CERT_DE, texts.DROP, texts.CERT_US, texts.LAB}
    assert catalog.reachable("cert-us") == {texts.CERT_US, texts.CERT_DE, texts.LAB}
    assert catalog.reachable("talos") == {texts.LAB}
    assert catalog.reachable("gone") == frozenset()
    assert catalog.reachable("nobody") == frozenset()


def test_media_types_name_every_stix_version_that_a_reader_may_meet(catalog: Catalog) -> None:
    of = {name: catalog.media_types(each) for name, each in catalog.collections.items()}
    latest, older = "application/stix+json;version=2.1", "application/stix+json;version=2.0"
    assert of == {"cert-de": (latest, older), "cert-us": (latest,), "drop": (older,), "lab": (latest,)}


# ---- one catalog, whole or not at all


def test_a_catalog_cannot_be_changed(catalog: Catalog) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        catalog.digest = ""  # type: ignore[misc]
    with pytest.raises(TypeError):
        catalog.collections["new"] = catalog.collections["lab"]  # type: ignore[index]


def test_the_digest_depends_on_every_name_and_text_and_not_on_their_order(catalog: Catalog) -> None:
    files = texts.small()
    assert catalog.digest == digest_of(dict(reversed(files.items())))
    assert catalog.digest != parse_catalog({**files, "config/policy.toml": files["config/policy.toml"] + "#"}).digest
    assert digest_of({"a": "bc"}) != digest_of({"ab": "c"})


def test_problems_of_several_files_come_together_in_the_order_of_the_files() -> None:
    files = texts.small()
    files["config/partners.toml"] += '[audience.new]\nkind = "cert"\n'
    files["collections/cert-de.toml"] += 'titel = "x"\n'
    files["collections/lab.toml"] += "retention_days = -1\n"
    found = refused(files)
    assert [line.split(":")[0] for line in found] == [
        "config/partners.toml",
        "collections/cert-de.toml",
        "collections/lab.toml",
    ]


def test_an_unreadable_policy_does_not_make_its_partners_unknown() -> None:
    files = texts.small()
    files["config/policy.toml"] = "[[permit"
    assert [line.split(":")[0] for line in refused(files)] == ["config/policy.toml"]


def test_an_unreadable_collection_does_not_make_its_name_unknown() -> None:
    files = texts.small()
    files["collections/drop.toml"] = "id ="
    assert [line.split(":")[0] for line in refused(files)] == ["collections/drop.toml"]


# ---- warnings


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("collections/lab.toml", '"Lab"', '"Lab v1.2"', "collections/lab.toml: title: has a dot"),
        ("collections/lab.toml", 'writers = ["*"]', "", "collections/lab.toml: writers: nobody posts here"),
        ("collections/lab.toml", 'readers = ["*"]', "", "collections/lab.toml: readers: nobody reads"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(file: str, old: str, new: str, expected: str) -> None:
    warnings = [str(each) for each in parse_catalog(texts.changed(file, old, new)).warnings]
    assert any(line.startswith(expected) for line in warnings)


def test_a_configuration_in_order_has_no_warnings(catalog: Catalog) -> None:
    assert catalog.warnings == ()


# ---- what may be put in force


def test_embargoes_are_put_in_force() -> None:
    rule = '[[embargo]]\nid = "later"\nto = { kind = "vendor" }\ndelay = "48h"\n'
    files = {**texts.small(), "config/later.toml": rule}
    assert check_catalog(files).policy.delays() == (48 * 3_600_000_000,)


def test_a_policy_that_fails_its_own_example_is_not_put_in_force() -> None:
    example = '[[test]]\nobject = { type = "indicator", tlp = "green", by = "talos" }\nhide = ["cert-de"]\n'
    files = {**texts.small(), "config/examples.toml": example}
    with pytest.raises(ConfigError, match=r"config/examples\.toml: test\[1\]\.hide: cert-de reads indicator"):
        check_catalog(files)


def test_a_configuration_in_order_is_put_in_force() -> None:
    assert check_catalog(texts.small()).collections.keys() == {"cert-de", "cert-us", "drop", "lab"}


@pytest.mark.parametrize(
    ("partner", "expected"),
    [("", None), ("cert-us", None), ("cert-uk", "did you mean 'cert-us'?"), ("desk", "is an administrator")],
)
def test_the_anonymous_partner_is_a_partner_and_no_administrator(
    catalog: Catalog, partner: str, expected: str | None
) -> None:
    problems = [str(each) for each in check_settings(Settings(anonymous_partner=partner), catalog)]
    assert len(problems) == (expected is not None)
    assert expected is None or expected in problems[0]


GUARD = '\n[[guard]]\nid = "g"\ncollection = ["drop", "lab"]\nwhat = { label = "customer" }\nact = "quarantine"\n'


def test_a_guard_that_holds_what_nobody_could_release_is_a_warning() -> None:
    files = texts.small()
    files["config/policy.toml"] += GUARD
    assert parse_catalog(files).warnings == ()  # the partner `desk` is an administrator
    files["config/partners.toml"] = files["config/partners.toml"].replace("admin = true\n", "")
    (warning,) = parse_catalog(files).warnings
    assert str(warning) == (
        "config/policy.toml: guard[1]: nobody owns lab: only an operator can release what is held (rule 'g')"
    )
    files["config/policy.toml"] = files["config/policy.toml"].replace('"quarantine"', '"refuse"')
    assert parse_catalog(files).warnings == ()


def test_a_guard_over_an_unknown_collection_is_an_error() -> None:
    files = texts.small()
    files["config/policy.toml"] += GUARD.replace('"lab"', '"labs"')
    with pytest.raises(ConfigError, match=r"guard\[1\]\.collection: unknown collection 'labs'"):
        parse_catalog(files)
