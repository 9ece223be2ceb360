"""Walking all pages as each audience gives what the policy decides, object by object (against reference.py)."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from taxii_server.errors import NotFound
from taxii_server.model import Record
from taxii_server.service.query import Filters, VersionChoice
from taxii_server.tlp import TLP_IDS
from tests.service.reference import Ledger, Reference, Value, spec_of
from tests.service.site import ALICE_ID, ALL_V, BOB_ID, FIRST_V, LAST_V, Site, at
from tests.world import OPEN_POLICY, audiences, collection

CAROL_ID = "identity--ca401000-0000-4000-8000-000000000003"
EXTENSION = "extension-definition--0e000000-0000-4000-8000-000000000001"

PARTNERS = audiences(
    {
        "alice": f'kind = "vendor"\nclearance = "green"\ncountry = "FR"\nidentities = ["{ALICE_ID}"]\n',
        "bob": f'kind = "cert"\nclearance = "amber+strict"\ncountry = "DE"\nidentities = ["{BOB_ID}"]\n',
        "carol": f'kind = "cert"\nclearance = "amber"\ncountries = ["FR", "PL"]\nidentities = ["{CAROL_ID}"]\n',
        "police": 'kind = "le"\nclearance = "red"\ncountry = "FR"\n',
        "left": 'kind = "cert"\nclearance = "red"\nsuspended = true\n',
    }
)
AUDIENCES = ("alice", "bob", "carol", "police", "left")

CLOSED_POLICY = """
schema = 1
name = "closed"

[defaults]
unmarked = "deny"
{defaults}

[collections.bob-box]
unmarked = "tlp:green"

[facets.countries]
label_prefix = "country:"

[markings."{house}"]
name = "house rule"
tlp = "green"
rel_to = ["FR", "PL"]

[[permit]]
id = "police"
to = {{ kind = "le" }}
[[permit]]
id = "certs"
to = {{ kind = "cert" }}
what = {{ not_label = ["victim"] }}
[[permit]]
id = "own-country"
to = {{ kind = ["cert", "vendor"] }}
what = {{ facet = {{ countries = "@country" }} }}
[[permit]]
id = "vendors"
to = {{ kind = "vendor" }}
what = {{ type = ["indicator", "relationship", "report", "url", "sighting", "note"], creator = ["alice", "bob"] }}
[[forbid]]
id = "persons"
what = {{ type = "identity", identity_class = "individual" }}
unless = {{ kind = "le" }}
[[forbid]]
id = "vendors-not-this"
to = {{ kind = "vendor" }}
what = {{ extension = "{extension}" }}
[[select]]
id = "confident"
to = {{ audience = "carol" }}
drop = {{ confidence_below = 30 }}
"""


def _places() -> dict[str, str]:
    ids = iter(f"{number:08x}-0000-4000-8000-000000000001" for number in range(1, 99))
    everybody = ["alice", "bob", "carol", "police", "left"]
    posters = ["alice", "bob", "carol"]
    both: dict[str, Any] = {"accepts": ["2.0", "2.1"], "strictness": "structure"}
    boxes = {
        f"{name}-box": collection(next(ids), f"Box {name}", readers=[name], writers=[name], **both) for name in posters
    }
    return boxes | {
        "open": collection(next(ids), "Open", readers=everybody, writers=posters, **both),
        "view": collection(
            next(ids), "View", readers=everybody, writers=posters, sources=["alice-box", "bob-box", "open"], **both
        ),
        "narrow": collection(
            next(ids), "Narrow", readers=["bob", "police"], sources=["alice-box", "carol-box"], **both
        ),
        # Nobody may read it: what lies there is hidden, and so is what refers to it.
        "dark": collection(next(ids), "Dark", writers=posters, **both),
    }


POSTED_INTO = {
    "alice": ("alice-box", "open", "view", "dark"),
    "bob": ("bob-box", "open", "view"),
    "carol": ("carol-box", "open", "dark"),
}


class Maker:
    """Random objects over a small pool of ids, so that versions, twins and references meet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.house = self._id("marking-definition")
        self.statements = [self._id("marking-definition") for _ in range(3)]
        self.unknown = self._id("marking-definition")
        plain = [self._id(type_) for type_ in ("indicator", "malware", "identity", "url") for _ in range(4)]
        linking = [self._id(type_) for type_ in ("relationship", "report", "sighting", "note") for _ in range(4)]
        self.pool = plain + linking
        self.times = [f"2020-01-01T00:00:0{n}{fraction}Z" for n in range(4) for fraction in ("", ".000", ".5", ".50")]

    def _id(self, type_: str) -> str:
        return f"{type_}--{uuid.UUID(int=self.random.getrandbits(128), version=4)}"

    def body(self) -> list[Value]:
        """The objects of one POST."""
        return [self._object() for _ in range(self.random.randint(1, 12))]

    def _object(self) -> Value:
        if self.random.random() < 0.1:
            return self._statement(self.random.choice(self.statements))
        id_ = self.random.choice(self.pool)
        value = getattr(self, "_" + id_.partition("--")[0])(id_)
        self._decorate(value)
        return dict(value)

    def _statement(self, id_: str) -> Value:
        value = {
            "type": "marking-definition",
            "spec_version": "2.1",
            "id": id_,
            "created": "2018-01-01T00:00:00Z",
            "definition_type": "statement",
            "definition": {"statement": self.random.choice(["a", "b"])},
        }
        if self.random.random() < 0.2:
            value["object_marking_refs"] = [self.random.choice(list(TLP_IDS))]
        return value

    def _common(self, id_: str, **more: Any) -> Value:
        value: Value = {
            "type": id_.partition("--")[0],
            "id": id_,
            "created": "2018-01-01T00:00:00Z",
            "modified": self.random.choice(self.times),
        }
        if self.random.random() < 0.8:
            value["spec_version"] = "2.1"
        return value | more

    def _indicator(self, id_: str) -> Value:
        return self._common(
            id_, pattern="[url:value = 'a']", pattern_type="stix", valid_from="2018-01-01T00:00:00Z", labels=["x"]
        )

    def _malware(self, id_: str) -> Value:
        return self._common(id_, name="m", is_family=True, labels=["x"])

    def _identity(self, id_: str) -> Value:
        return self._common(id_, name="i", identity_class=self.random.choice(["individual", "organization"]))

    def _url(self, id_: str) -> Value:
        return {"type": "url", "spec_version": "2.1", "id": id_, "value": self.random.choice("ab")}

    def _relationship(self, id_: str) -> Value:
        return self._common(id_, relationship_type="x", source_ref=self._any(), target_ref=self._any())

    def _report(self, id_: str) -> Value:
        refs = sorted({self._any() for _ in range(self.random.randint(1, 4))})
        return self._common(id_, name="r", published="2018-01-01T00:00:00Z", object_refs=refs, labels=["x"])

    def _sighting(self, id_: str) -> Value:
        return self._common(id_, sighting_of_ref=self._any(), where_sighted_refs=[self._any()])

    def _note(self, id_: str) -> Value:
        return self._common(id_, content="n", object_refs=[self._any()]) | {"spec_version": "2.1"}

    def _any(self) -> str:
        return self._id("tool") if self.random.random() < 0.1 else self.random.choice(self.pool)

    def _decorate(self, value: Value) -> None:
        some = self.random.random
        marks = set()
        if some() < 0.75:
            clear_first = sorted(TLP_IDS, key=lambda id_: TLP_IDS[id_] not in ("clear", "green", "amber"))
            marks.add(self.random.choice(clear_first[: 6 if some() < 0.8 else None]))
        if some() < 0.15:
            marks.add(self.random.choice(self.statements))
        if some() < 0.05:
            marks.add(self.unknown)
        if some() < 0.1:
            marks.add(self.house)
        if marks:
            value["object_marking_refs"] = sorted(marks)
        if some() < 0.1:
            refs = [*self.statements, *TLP_IDS]
            value["granular_markings"] = [{"marking_ref": self.random.choice(refs), "selectors": ["type"]}]
        if some() < 0.2:
            value["labels"] = self.random.sample(["victim", "country:FR", "country:DE", "tlp:amber", "y"], 2)
        if value["type"] == "url":
            return
        if some() < 0.4:
            value["created_by_ref"] = self.random.choice([ALICE_ID, BOB_ID, CAROL_ID])
        if some() < 0.2:
            value["confidence"] = self.random.choice([0, 29, 30, 100])
        if some() < 0.1:
            value["revoked"] = True
        if some() < 0.1 and spec_of(value) == "2.1":
            value["extensions"] = {EXTENSION: {"extension_type": "property-extension", "a": "b"}}


def _policy(name: str, house: str) -> str:
    if name == "open":
        return OPEN_POLICY
    defaults = {"closed": "", "independent": 'versions = "independent"', "keep": 'refs_lists = "keep"'}[name]
    return CLOSED_POLICY.format(defaults=defaults, house=house, extension=EXTENSION)


def _filters(maker: Maker, values: Sequence[Value]) -> Iterator[Filters | None]:
    choose = maker.random.choice
    yield None
    yield Filters(versions=ALL_V)
    yield Filters(versions=FIRST_V)
    yield Filters(versions=VersionChoice(first=True, last=True))
    yield Filters(versions=at(choose(maker.times)))
    yield Filters(versions=at("2020-01-01T00:00:00Z", "2020-01-01T00:00:01.500Z"), spec_versions=("2.0", "2.1"))
    yield Filters(spec_versions=("2.0",))
    yield Filters(spec_versions=("2.0", "2.1"), versions=choose([LAST_V, ALL_V]))
    yield Filters(types=tuple(sorted({choose(values)["type"], "report"})), versions=choose([None, ALL_V]))
    two_ids = tuple(sorted({choose(values)["id"], choose(maker.pool)}))
    yield Filters(ids=two_ids, versions=choose([None, ALL_V, FIRST_V]))


# Seeds of many hubs; hundreds of others passed as well.
@pytest.mark.parametrize(
    ("seed", "policy"), [(0, "closed"), (3, "closed"), (16, "open"), (12, "independent"), (13, "keep")]
)
def test_every_audience_gets_what_the_policy_decides_object_by_object(store_url: str, seed: int, policy: str) -> None:
    maker = Maker(seed)
    site = Site(store_url, _policy(policy, maker.house), PARTNERS, _places())
    try:
        _compare(site, maker)
    finally:
        site.close()


def _compare(site: Site, maker: Maker) -> None:
    catalog = site.hub.snapshot.catalog
    ledger = Ledger(catalog)
    reference = Reference(ledger, site.hub.store)
    # Two workers take turns, so that each meets labels that the other one made.
    hubs = [site.hub, site.worker()]
    for _ in range(14):
        partner = maker.random.choice(list(POSTED_INTO))
        into = maker.random.choice(POSTED_INTO[partner])
        body = maker.body()
        for added in site.post(partner, into, *body, hub=maker.random.choice(hubs)):
            assert added.ok or "with other content" in (added.message or ""), added
        ledger.post(partner, catalog.collections[into], body)
        reference = Reference(ledger, site.hub.store)
    values = list(ledger.values.values())
    for audience in AUDIENCES:
        for place in catalog.collections.values():
            if catalog.rights(place, audience).read:
                _compare_collection(site, maker, reference, audience, place.name, values)


def _compare_collection(
    site: Site, maker: Maker, reference: Reference, audience: str, name: str, values: Sequence[Value]
) -> None:
    place = reference.catalog.collections[name]
    positions = [0, *(item.record.position for item in reference.items)]
    for filters in _filters(maker, values):
        after = maker.random.choice(positions) if maker.random.random() < 0.3 else 0
        limit = maker.random.choice([1, 2, 5, 7, 50])
        expected = reference.shown(audience, place, filters, after)
        for resource in ("objects", "manifest"):
            got = list(
                site.walk(
                    audience, name, filters, resource=resource, limit=limit, added_after=after,
                    content=resource == "objects",
                )
            )  # fmt: skip
            everything = reference.shown(audience, place, filters, 0)
            _assert_same(site, got, expected, everything, (audience, name, filters, resource))
    for id_ in maker.random.sample(maker.pool, 6):
        _compare_object(site, maker, reference, audience, name, id_)


def _assert_same(
    site: Site, got: Sequence[Record], expected: Sequence[Any], everything: Sequence[Any], what: Any
) -> None:
    """What was got is what is expected, in order of position; what a write brought back stands later than that."""
    positions, wanted = [record.position for record in got], [record.position for record in expected]
    if not site.hub.book.events:
        assert positions == wanted, what
    assert len(set(positions)) == len(positions), what
    assert set(wanted) <= set(positions) <= {record.position for record in everything}, what


def _compare_object(site: Site, maker: Maker, reference: Reference, audience: str, name: str, id_: str) -> None:
    place = reference.catalog.collections[name]
    everything = Filters(ids=(id_,), versions=ALL_V, spec_versions=("2.0", "2.1"))
    exists = bool(reference.shown(audience, place, everything))
    for resource, choice in (("object", None), ("object", ALL_V), ("object", FIRST_V), ("versions", ALL_V)):
        asked = None if resource == "versions" else Filters(versions=choice)
        if not exists:
            with pytest.raises(NotFound):
                list(site.walk(audience, name, asked, resource=resource, object_id=id_))
            continue
        expected = reference.shown(audience, place, Filters(ids=(id_,), versions=choice))
        got = list(site.walk(audience, name, asked, resource=resource, object_id=id_, limit=2))
        _assert_same(site, got, expected, expected, (audience, name, id_, resource, choice))
