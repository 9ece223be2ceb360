"""The configuration in this repository: it loads, its examples hold, and every partner has a view of its own."""

from __future__ import annotations

import tomllib
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from taxii_server.catalog import Catalog, Collection, Limits, check_catalog, collection_text, parse_catalog, read_files
from taxii_server.policy import Audience, Meanings
from taxii_server.policy.guard import outcome_of, watch_over
from taxii_server.settings import load
from taxii_server.settings.rows import markdown_of, rows_of

ROOT = Path(__file__).parents[3]
PARTNERS = {
    "interpol", "bka", "police-fr",
    "cert-fr", "cert-de", "cert-pl", "cert-gb", "cert-us", "cert-jp", "cert-br",
    "cisco-talos", "kaspersky", "bt", "soc-bank",
}  # fmt: skip
DROP_BOXES = {"drop-cisco-talos": "cisco-talos", "drop-kaspersky": "kaspersky", "drop-bt": "bt"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return check_catalog(read_files(load(ROOT / "config/server.toml", {})))


def test_it_may_be_put_in_force_without_a_warning(catalog: Catalog) -> None:
    assert catalog.warnings == ()


def test_the_partners_are_the_ones_described(catalog: Catalog) -> None:
    assert set(catalog.policy.audiences) == PARTNERS


def test_every_partner_comes_through_a_door_that_lets_it_read(catalog: Catalog) -> None:
    assert [name for name in PARTNERS if not catalog.reachable(name)] == []


def test_every_partner_is_in_an_example_that_it_reads_and_in_one_that_it_does_not(catalog: Catalog) -> None:
    examples = catalog.policy.examples
    assert {name for example in examples for name in example.read} == PARTNERS
    assert {name for example in examples for name in example.hide} == PARTNERS


def test_any_two_partners_read_differently_also_without_what_they_posted_themselves(catalog: Catalog) -> None:
    policy = catalog.policy
    views = {
        name: [
            (policy.decide(name, policy.vocabulary.project(example.traits), Meanings.empty()).verdict, example)
            for example in policy.examples
        ]
        for name in PARTNERS
    }
    alike = [
        (one, other)
        for one, other in combinations(sorted(PARTNERS), 2)
        if all(
            left == right or example.traits.submitter in (one, other)
            for (left, example), (right, _) in zip(views[one], views[other], strict=True)
        )
    ]
    assert alike == []


def test_every_rule_claim_and_example_says_why() -> None:
    policy = tomllib.loads((ROOT / "config/policy.toml").read_text(encoding="utf-8"))
    for section in ("permit", "forbid", "select", "guard", "never", "test"):
        assert [each for each in policy[section] if not each.get("why")] == []
    assert Counter({"never": 3, "test": 8}) <= Counter({name: len(policy[name]) for name in ("never", "test")})


@pytest.mark.parametrize(("drop_box", "vendor"), DROP_BOXES.items())
def test_a_drop_box_is_open_to_its_vendor_only_and_takes_what_vendors_have(
    catalog: Catalog, drop_box: str, vendor: str
) -> None:
    collection = catalog.collections[drop_box]
    assert [name for name in PARTNERS if catalog.rights(collection, name).visible] == [vendor]
    rights = catalog.rights(collection, vendor)
    assert (rights.read, rights.write) == (True, True)
    assert collection.accepts == ("2.1", "2.0")


def test_every_cert_and_interpol_own_a_collection_that_shows_every_drop_box(catalog: Catalog) -> None:
    for name in ("interpol", *(each for each in PARTNERS if each.startswith("cert-"))):
        collection = catalog.collections[name]
        assert collection.owner == name
        assert catalog.rights(collection, name).write
        assert DROP_BOXES.keys() <= set(collection.sources)


def test_no_vendor_is_offered_another_vendors_drop_box(catalog: Catalog) -> None:
    for drop_box, vendor in DROP_BOXES.items():
        for other in DROP_BOXES.values():
            assert (catalog.collections[drop_box].id in catalog.reachable(other)) == (vendor == other)


@pytest.mark.parametrize(("drop_box", "vendor"), DROP_BOXES.items())
def test_a_drop_box_stops_what_names_customers_and_lets_its_vendor_review_it(
    catalog: Catalog, drop_box: str, vendor: str
) -> None:
    watch = watch_over(catalog.policy.guards, drop_box, vendor)
    assert watch is not None
    stopped: list[dict[str, object]] = [
        {"type": "identity", "labels": ["Customer"]},
        {"type": "campaign", "labels": ["x", "victim:acme"]},
        {"type": "identity", "identity_class": "individual"},
        {"type": "sighting", "where_sighted_refs": ["identity--x"]},
        {"type": "indicator", "x_customer_id": 4711},
    ]
    assert [each for each in stopped if watch.judge(each) is None] == []
    passed: list[dict[str, object]] = [
        {"type": "identity", "identity_class": "class", "sectors": ["healthcare"]},
        {"type": "malware", "labels": ["client-side-attack", "customisable"]},
        {"type": "sighting", "sighting_of_ref": "indicator--x"},
    ]
    assert [each for each in passed if watch.judge(each) is not None] == []
    # Nobody at the hub decides over the vendor's head.
    assert catalog.collections[drop_box].owner == vendor


def test_every_guard_is_in_an_example_and_guards_drop_boxes_only(catalog: Catalog) -> None:
    policy = catalog.policy
    stopping = {outcome_of(policy.guards, example)[1] for example in policy.posts}
    assert {guard.id for guard in policy.guards if guard.act != "strip"} <= stopping
    assert {guard.id for guard in policy.guards if guard.act == "strip"} == {"tickets-of-bt"}
    assert all(guard.collections <= set(DROP_BOXES) and guard.collections for guard in policy.guards)


def test_the_folders_hold_data_and_no_python() -> None:
    found = [path for folder in ("config", "collections") for path in (ROOT / folder).rglob("*.py*")]
    assert found == []


# ---- the written copies


def test_the_template_is_what_the_rows_say() -> None:
    assert (ROOT / "collections/_template.toml").read_text(encoding="utf-8") == collection_text()


def test_the_template_mentions_every_key_of_a_collection() -> None:
    lines = collection_text().splitlines()
    for name in (*rows_of(Collection), *rows_of(Limits)):
        assert any(line.removeprefix("# ").startswith(f"{name} = ") for line in lines), name


def test_a_filled_in_template_is_a_collection(catalog: Catalog) -> None:
    text = collection_text(id="55555555-5555-4555-8555-555555555555", api_root="hub", title="New", readers=["bka"])
    files = {**read_files(load(ROOT / "config/server.toml", {})), "collections/new.toml": text}
    found = parse_catalog(files).collections["new"]
    assert (found.title, found.owner, found.readers, found.accepts) == ("New", None, ("bka",), ("2.1",))


def test_the_readme_holds_the_tables_of_collection_keys() -> None:
    readme = (ROOT / "config/README.md").read_text(encoding="utf-8")
    assert markdown_of(Collection) in readme
    assert markdown_of(Limits) in readme


def test_every_attribute_of_a_partner_that_the_files_use_is_known(catalog: Catalog) -> None:
    assert all(isinstance(audience, Audience) and audience.title for audience in catalog.policy.audiences.values())
