"""What refers to something hidden is hidden, through any number of steps that anybody needs (C11)."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from taxii_server.errors import NotFound
from taxii_server.model import POSITION_MAX, PageQuery, Record
from taxii_server.service.query import Filters
from taxii_server.service.references import MAX_DEPTH
from taxii_server.service.resolver import Resolver
from taxii_server.service.stream import Row
from tests.service.site import Site, marked, report, statement, url
from tests.world import OPEN_POLICY, malware, new_id, relationship


def _note(refs: list[str]) -> dict[str, Any]:
    return {
        "type": "note",
        "spec_version": "2.1",
        "id": new_id("note"),
        "created": "2018-01-01T00:00:00.000Z",
        "modified": "2018-01-01T00:00:00.000Z",
        "content": "n",
        "object_refs": refs,
    }


@pytest.fixture
def ends(site: Site) -> tuple[str, str]:
    """An object that carol reads, and one that is hidden from her."""
    shown, hidden = malware(**marked("green")), malware(**marked("red"))
    site.store("alice", "alice-box", shown, hidden)
    return shown["id"], hidden["id"]


def test_single_references_and_lists_hide_and_unknown_targets_do_not(site: Site, ends: tuple[str, str]) -> None:
    shown, hidden = ends
    unknown = new_id("tool")
    good = [relationship(shown, unknown), report([shown, unknown], new_id("report")), _note([shown])]
    bad = [relationship(shown, hidden), relationship(hidden, shown), report([shown, hidden], new_id("report"))]
    site.store("alice", "alice-box", *bad, *good, _note([hidden]), _note([shown, hidden]))
    assert site.ids("carol") == [shown, *(each["id"] for each in good)]
    assert len(site.ids("alice")) == 10


def test_hiding_goes_through_several_steps(site: Site, ends: tuple[str, str]) -> None:
    shown, hidden = ends
    for target in (shown, hidden):
        link = relationship(shown, target)
        listing = report([link["id"]], new_id("report"))
        note = _note([listing["id"]])
        # What is pointed at may come later than what points at it.
        site.store("alice", "alice-box", note, listing, link)
        expected = [note["id"], listing["id"], link["id"]] if target == shown else []
        for id_, filters in ((each["id"], Filters(ids=(each["id"],))) for each in (note, listing, link)):
            assert (id_ in site.ids("carol", filters=filters)) == (id_ in expected)
    assert len(site.ids("carol", limit=2)) == 4


def test_a_cycle_of_readable_objects_stays_and_one_with_a_hidden_member_goes(site: Site, ends: tuple[str, str]) -> None:
    shown, hidden = ends
    for extra in (shown, hidden):
        a, b, c = (new_id("report") for _ in range(3))
        site.store("alice", "alice-box", report([b], a), report([c], b), report([a, extra], c))
        assert [id_ in site.ids("carol") for id_ in (a, b, c)] == [extra == shown] * 3
        assert [bool(site.ids("carol", filters=Filters(ids=(id_,)))) for id_ in (a, b, c)] == [extra == shown] * 3


def test_a_longer_chain_than_is_followed_is_hidden_and_costs_so_many_look_ups(site: Site) -> None:
    ids = [new_id("report") for _ in range(MAX_DEPTH + 3)]
    site.store("alice", "alice-box", *(report([after], id_) for id_, after in pairwise(ids)))
    site.store("alice", "alice-box", malware(ids[-1].replace("report", "malware")))
    with pytest.raises(NotFound):
        site.page("carol", resource="object", object_id=ids[0])
    assert site.page("carol", resource="object", object_id=ids[5]).records


def test_references_to_an_object_with_one_readable_copy_are_fine(site: Site, ends: tuple[str, str]) -> None:
    _, hidden = ends
    link = relationship(hidden, hidden)
    site.store("alice", "alice-box", link)
    assert link["id"] not in site.ids("carol")
    site.store("bob", "bob-box", malware(hidden, **marked("green")))
    assert link["id"] in site.ids("carol")


def test_lists_may_keep_hidden_ids_where_the_policy_says_so(site: Site, ends: tuple[str, str]) -> None:
    shown, hidden = ends
    listing, note = report([shown, hidden], new_id("report")), _note([shown, hidden])
    site.store("alice", "alice-box", listing, note, relationship(shown, hidden))
    site.apply(policy=OPEN_POLICY.replace("[defaults]", '[defaults]\nrefs_lists = "keep"'))
    assert site.ids("carol") == [shown, listing["id"]]


def test_markings_and_creators_are_no_references(site: Site, ends: tuple[str, str]) -> None:
    shown, hidden = ends
    mark = new_id("marking-definition")
    creator = hidden.replace("malware", "identity")
    identity = {"type": "identity", "id": creator, "name": "x", "identity_class": "group", "spec_version": "2.1"}
    times = {"created": "2018-01-01T00:00:00.000Z", "modified": "2018-01-01T00:00:00.000Z"}
    site.store("alice", "alice-box", identity | times | marked("red"), statement(mark))
    made = malware(created_by_ref=creator, object_marking_refs=[mark])
    site.store("alice", "alice-box", made, url("http://a", new_id("url")))
    assert made["id"] in site.ids("carol")
    assert creator not in site.ids("carol")
    assert shown in site.ids("carol")


# ---- very many


class _Crowd:
    """Counts look-ups and answers each with plain readable records, except for the hidden ids."""

    def __init__(self, template: Record, hidden_label: int, hidden: Collection[str]) -> None:
        self.template, self.hidden_label, self.hidden = template, hidden_label, frozenset(hidden)
        self.asked: list[int] = []

    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        self.asked.append(len(ids))
        label = self.template.label
        return {
            id_: [self.template._replace(id=id_, position=n, label=self.hidden_label if id_ in self.hidden else label)]
            for n, id_ in enumerate(ids, start=1)
        }


def test_tens_of_thousands_of_references_are_looked_up_in_portions(tmp_path: Path) -> None:
    site = Site(str(tmp_path / "hub.db"))
    site.store("alice", "alice-box", malware(**marked("green")), malware(**marked("red")))
    shown, hidden = site.hub.store.page(PageQuery((1, 2, 3, 4), (), 0, 2)).records
    many = tuple(new_id("tool") for _ in range(50_000))
    listing = shown._replace(id=new_id("report"), position=10**6, soft_refs=many)
    snapshot = site.hub.snapshot
    for hidden_ids in ((), many[-1:], many):
        crowd = _Crowd(shown, hidden.label, hidden_ids)
        sight = snapshot.sights.of("carol")
        feeds = snapshot.catalog.feeds(snapshot.catalog.collections["all"])
        resolver = Resolver(crowd, site.hub.book, snapshot.catalog, sight, feeds)  # type: ignore[arg-type]
        stream = snapshot.reader.stream(sight, snapshot.catalog.collections["all"], Filters())
        standing, _ = resolver.standing([Row(listing.position, listing)], Filters(), stream, POSITION_MAX)
        assert [row.record for row in standing] == ([] if hidden_ids else [listing])
        assert crowd.asked == [20_000, 20_000, 10_000]
    site.close()
