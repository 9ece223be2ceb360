"""The `next` token: ours, for this partner, this resource, this query; good on any worker and after a restart."""

from __future__ import annotations

import base64

import pytest

from taxii_server.errors import BadQuery
from taxii_server.service.cursor import CursorSeal
from taxii_server.service.query import Filters
from tests.service.site import ALL_V, Site, versions
from tests.world import indicator, malware, new_id

LONG = Filters(ids=tuple(new_id("malware") for _ in range(40)))


@pytest.fixture
def stocked(site: Site) -> Site:
    site.store("alice", "alice-box", *(malware(name=str(number)) for number in range(7)))
    return site


def _next(site: Site, **request: object) -> str:
    token = site.page("carol", limit=2, **request).next
    assert token is not None
    return token


def test_every_changed_character_is_noticed(stocked: Site) -> None:
    token = _next(stocked)
    for place in range(len(token) - 1):  # the last one carries bits that mean nothing
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(BadQuery):
            stocked.page("carol", next=changed)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "A",
        "AAAA",
        "x" * 9000,
        "é" * 20,
        "\x00",
        "-_" * 30,
        "=" * 30,
        "../../etc/passwd",
        "A" * 4001,
        "null",
        "\ud800",
    ],
)
def test_what_was_never_a_token_is_a_bad_query(stocked: Site, token: str) -> None:
    with pytest.raises(BadQuery):
        stocked.page("carol", next=token)


def test_a_token_of_another_server_is_a_bad_query(stocked: Site) -> None:
    scope = "|".join(("carol", stocked.hub.snapshot.catalog.collections["all"].id, "objects", ""))
    foreign = CursorSeal(b"x" * 32).seal(scope, {"a": 0})
    with pytest.raises(BadQuery):
        stocked.page("carol", next=foreign)
    own = CursorSeal(stocked.hub.store.secret()).seal(scope, {"a": 0})
    assert len(stocked.page("carol", next=own).records) == 7


def test_a_token_is_for_one_partner_collection_resource_and_object(stocked: Site) -> None:
    id_ = new_id("malware")
    for time in ("2020-01-01", "2020-01-02", "2020-01-03"):
        stocked.store("alice", "alice-box", malware(id_, f"{time}T00:00:00Z"))
    token = _next(stocked)
    of_versions = _next(stocked, resource="versions", object_id=id_)
    for partner, of, request in (
        ("alice", "all", {}),
        ("carol", "carol-box", {}),
        ("carol", "all", {"resource": "manifest"}),
        ("carol", "all", {"resource": "versions", "object_id": id_}),
    ):
        with pytest.raises(BadQuery):
            stocked.page(partner, of, next=token, **request)
    for request in ({"object_id": new_id("malware")}, {"object_id": id_, "resource": "object"}):
        with pytest.raises(BadQuery):
            stocked.page("carol", next=of_versions, **{"resource": "versions", **request})
    assert len(stocked.page("carol", resource="versions", object_id=id_, next=of_versions).records) == 1


def test_a_token_is_good_on_another_worker_and_after_a_restart(stocked: Site) -> None:
    token = _next(stocked)
    expected = [record.id for record in stocked.page("carol", next=token).records]
    assert len(expected) == 5
    assert [record.id for record in stocked.page("carol", hub=stocked.worker(), next=token).records] == expected


def test_a_token_brings_its_query_along_and_may_be_sent_alone(stocked: Site) -> None:
    stocked.store("alice", "alice-box", indicator(), *(malware() for _ in range(3)))
    filters = Filters(types=("malware",), versions=versions(ALL_V).versions)
    token = _next(stocked, filters=filters)
    rest = stocked.page("carol", next=token).records
    assert len(rest) == 8
    assert {record.type for record in rest} == {"malware"}
    assert stocked.page("carol", next=token, filters=filters).records == rest
    assert stocked.page("carol", next=token, added_after=2**60).records == rest
    with pytest.raises(BadQuery):
        stocked.page("carol", next=token, filters=Filters(types=("indicator",)))


def test_a_long_query_leaves_only_its_fingerprint_in_the_token_and_must_be_repeated(stocked: Site) -> None:
    stocked.store("alice", "alice-box", *(malware(id_) for id_ in LONG.ids or ()))
    token = _next(stocked, filters=LONG)
    assert len(token) < 200
    assert len(stocked.page("carol", next=token, filters=LONG).records) == 38
    for other in (None, Filters(ids=(LONG.ids or ())[:-1]), Filters(ids=LONG.ids, types=("malware",))):
        with pytest.raises(BadQuery, match="match parameters"):
            stocked.page("carol", next=token, filters=other)


def test_a_token_gives_no_right(stocked: Site) -> None:
    token = _next(stocked)
    partners = stocked.files["config/partners.toml"]
    stocked.apply(partners=partners.replace("[audience.carol]", "[audience.carol]\nsuspended = true"))
    assert stocked.page("carol", next=token).records == ()


def test_a_token_does_not_show_its_position_and_equal_pages_have_equal_tokens(stocked: Site) -> None:
    token = _next(stocked)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    position = stocked.page("carol", limit=2).records[-1].position
    assert str(position).encode() not in raw
    assert _next(stocked) == token
