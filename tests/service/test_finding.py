"""Optional filters: what a page gives is what its reader gets and what fits, and nothing else was looked at."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taxii_server.model import Actor
from taxii_server.service.copies import Served
from taxii_server.service.query import EVERY, LATEST, Filters, ReadRequest, VersionChoice
from taxii_server.stix.filters import KINDS, Condition, read_condition
from tests.filters import EVERY_NAME, Asked, Making, fits
from tests.mongo import with_database
from tests.service.site import ALICE_ID, BOB_ID, Site
from tests.world import OPEN_POLICY

DERIVING = OPEN_POLICY.replace("[defaults]", '[defaults]\ngranular = "derive"\nrefs_lists = "derive"')
STRIP = """
[[strip]]
id = "tickets"
to = { not_audience = "alice" }
what = { label = "a" }
properties = ["name", "external_references", "x_ticket"]

[[strip]]
id = "creators"
to = { audience = "carol" }
what = { label = "b" }
creator = true
"""
HIDING = """
[[forbid]]
id = "words"
to = { audience = "carol" }
what = { label = "c" }
"""
POLICIES = {
    "open": OPEN_POLICY,
    "hiding": OPEN_POLICY + HIDING,
    "keeping": OPEN_POLICY.replace("[defaults]", '[defaults]\nrefs_lists = "keep"') + HIDING,
    "deriving": DERIVING + STRIP + HIDING,
}


class Full:
    """A hub full of objects made at random."""

    def __init__(self, url: str, policy: str) -> None:
        self.site = Site(url, policy)
        self._known: dict[tuple[str, VersionChoice], list[Served]] = {}
        self.making = Making(7, [ALICE_ID, BOB_ID])
        for number, value in enumerate(self.making.objects(150)):
            partner = ("alice", "alice", "bob", "carol")[number % 4]
            self.site.post(partner, f"{partner}-box", value)
        self.copies = [item.id for item in self.served("carol", Filters(versions=EVERY)) if item.form == "copy"]
        self.making.ids += self.copies[:10]

    def everything(self, partner: str, choice: VersionChoice) -> list[Served]:
        """What the partner gets without optional filters."""
        known = self._known.get((partner, choice))
        if known is None:
            known = self._known[partner, choice] = self.served(partner, Filters(versions=choice))
        return known

    def served(self, partner: str, filters: Filters, limit: int = 50, *, only_texts: bool = False) -> list[Served]:
        hub = self.site.hub
        place = hub.snapshot.catalog.collections["all"]
        found: list[Served] = []
        token = None
        while True:
            request = ReadRequest("objects", filters=filters, limit=limit, next=token, only_texts=only_texts)
            page = hub.visit(Actor(partner, "c", "test")).read(place, request)
            assert len(page.items) == limit or page.next is None, "a page with a next is full"
            found += page.items
            token = page.next
            if token is None:
                return found


@pytest.fixture(scope="module", params=[(kind, policy) for policy in POLICIES for kind in ("sqlite", "mongodb")])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    kind, policy = request.param
    name = f"taxii_test_{uuid.uuid4().hex[:16]}"
    if kind == "sqlite":
        url = str(tmp_path_factory.mktemp(policy) / "hub.db")
    else:
        url = with_database(request.getfixturevalue("mongo_uri"), name)
        client = request.getfixturevalue("mongo_client")
    made = Full(url, POLICIES[policy])
    yield made
    made.site.close()
    if kind == "mongodb":
        client.drop_database(name)


def conditions(asked: Asked) -> tuple[Condition, ...]:
    return tuple(read_condition(name, texts) for name, texts in sorted(asked.items()))


def test_every_filter_of_the_document_is_there() -> None:
    assert sorted(KINDS) == sorted(EVERY_NAME)


@pytest.mark.parametrize("types", [None, ("relationship", "malware"), ("note", "language-content", "report")])
@pytest.mark.parametrize("choice", [LATEST, EVERY, VersionChoice(first=True)], ids=["latest", "every", "first"])
def test_a_page_of_which_only_texts_are_wanted_has_the_same_ones(
    full: Full, choice: VersionChoice, types: tuple[str, ...] | None
) -> None:
    for partner in ("alice", "bob", "carol"):
        filters = Filters(versions=choice, types=types)
        whole, texts = (full.served(partner, filters, limit=7, only_texts=flag) for flag in (False, True))
        assert [(each.at, each.content) for each in whole] == [(each.at, each.content) for each in texts]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), partner=st.sampled_from(["alice", "bob", "carol"]), every=st.booleans())
def test_the_answer_is_what_fits_of_what_the_audience_reads(full: Full, seed: int, partner: str, every: bool) -> None:
    asked = full.making.asked(Random(seed))
    choice = EVERY if every else LATEST
    expected = [each for each in full.everything(partner, choice) if fits(json.loads(each.content), asked)]
    found = full.served(partner, Filters(versions=choice, conditions=conditions(asked)), limit=3)
    texts = full.served(partner, Filters(versions=choice, conditions=conditions(asked)), limit=3, only_texts=True)
    assert [each.content for each in texts] == [each.content for each in found]
    assert [(each.at, each.id, each.content) for each in found] == [(e.at, e.id, e.content) for e in expected], asked
