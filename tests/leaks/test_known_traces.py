"""What hidden objects may leave behind: the exceptions from "no answer depends on what is hidden", one test each.

Each is a decision of the policy design (the letters below) or a limit that is stated openly. A test that fails here
means that a trace is gone or has grown: either way its paragraph in the documentation has to change.

Not measured here, because they are times: a write waits for the writes of others, so how long a POST takes, and how
far its `request_timestamp` lies before the `date_added` of what it stores, tells how busy the hub is (C15). What work
depends on is counted in test_work.py.
"""

from __future__ import annotations

import pytest

from taxii_server.model import POSITION_UNIT
from taxii_server.times import parse_position
from tests.leaks import scene
from tests.leaks.hub import LeakHub
from tests.leaks.scene import CLEAR, POOL, RED, STRICT, email, id_of, indicator, note, relationship, thing

X, Y = id_of("indicator", "x"), id_of("indicator", "y")
OBJECTS = f"/api1/collections/{POOL}/objects/"


@pytest.fixture
def hubs(tmp_path):
    """A hub with, and a hub without."""
    made = [LeakHub(tmp_path / name, scene.TEXTS) for name in ("full", "bare")]
    yield made
    for hub in made:
        hub.close()


def _post(hub, partner, *objects, act=1):
    hub.clock.at(act)
    answer = hub.post(list(objects), partner, POOL)
    assert answer.json["failure_count"] == 0, answer.text


def _positions(hub, partner="bob"):
    return {entry["id"]: parse_position(entry["date_added"]) for entry in hub.walk(partner, POOL, "manifest")}


def _sees(hub, id_, partner="bob"):
    return hub.get(f"{OBJECTS}{id_}/", partner).status_code == 200


def test_c9_who_had_a_version_sees_that_it_is_gone(hubs):
    """Strict non-interference would keep it; `versions = "independent"` does."""
    full, bare = hubs
    for hub in hubs:
        _post(hub, "alice", indicator("x", CLEAR))
    _post(full, "alice", indicator("x", RED, version=1), act=2)
    assert [_sees(full, X), _sees(bare, X)] == [False, True]
    gone = full.get(f"{OBJECTS}{X}/", "bob").json
    never = full.get(f"{OBJECTS}{Y}/", "bob").json
    assert gone | {"error_id": ""} == never | {"error_id": ""}


def test_c9_independent_versions_leave_no_such_trace(hubs):
    full, _ = hubs
    for hub in hubs:
        hub.apply(scene.POLICY.replace('unmarked = "deny"', 'unmarked = "deny"\nversions = "independent"', 1))
        _post(hub, "alice", indicator("x", CLEAR))
    _post(full, "alice", indicator("x", RED, version=1), act=2)
    pages = [hub.get(OBJECTS, "bob").get_data() for hub in hubs]
    assert pages[0] == pages[1]
    assert X.encode() in pages[0]


def test_c15_hidden_objects_of_the_same_post_move_the_position_by_a_few_microseconds(hubs):
    """Steps of 1, 2 or 3 µs: one gap tells nothing, the mean of many does."""
    full, bare = hubs
    _post(full, "alice", indicator("x", RED), indicator("y", CLEAR))
    _post(bare, "alice", indicator("y", CLEAR))
    assert -2 * POSITION_UNIT <= _positions(full)[Y] - _positions(bare)[Y] <= 5 * POSITION_UNIT


def test_c15_a_hidden_burst_within_the_same_instant_moves_the_next_position(hubs):
    """Only while the clock has not passed the last position: real writes take longer than their steps."""
    full, bare = hubs
    _post(full, "alice", *(indicator(n, RED) for n in range(50)))
    for hub in hubs:
        _post(hub, "eve", indicator("y", CLEAR))
    assert 50 * POSITION_UNIT <= _positions(full)[Y] - _positions(bare)[Y] <= 150 * POSITION_UNIT
    for hub in hubs:
        _post(hub, "eve", indicator("z", CLEAR), act=2)
    assert _positions(full)[id_of("indicator", "z")] == _positions(bare)[id_of("indicator", "z")]


def test_c11_what_refers_to_something_unknown_shows_until_that_is_posted_in_secret(hubs):
    """STIX 3.3 allows references to what is elsewhere. So a reader sees a relationship go when its target arrives,
    and whoever may post can make objects of others that refer to a target nobody has posted go for all readers."""
    full, _ = hubs
    for hub in hubs:
        _post(hub, "alice", relationship(1, X, X, CLEAR))
    _post(full, "eve", indicator("x", RED), act=2)
    assert [_sees(hub, id_of("relationship", 1)) for hub in hubs] == [False, True]
    _post(full, "alice", indicator("x", CLEAR), act=3)
    assert _sees(full, id_of("relationship", 1))


def test_c11_two_partners_together_find_out_whether_an_id_is_in_use(hubs):
    """One posts something that refers to the id, the other looks whether it gets that. One partner alone cannot:
    its own objects always show to itself."""
    full, _ = hubs
    _post(full, "alice", email("victim@example.org", RED))
    for hub in hubs:
        _post(hub, "eve", note(1, [email("victim@example.org")["id"]], CLEAR), act=2)
        assert _sees(hub, id_of("note", 1), "eve")
    assert [_sees(hub, id_of("note", 1)) for hub in hubs] == [False, True]


def test_c12_a_readable_copy_of_a_third_partner_opens_what_refers_to_the_id(hubs):
    """The value is known to the reader then. A copy of its own does not count."""
    full, _ = hubs
    address = email("victim@example.org")
    _post(full, "alice", email("victim@example.org", RED), note(1, [address["id"]], CLEAR))
    _post(full, "bob", address, act=2)
    assert not _sees(full, id_of("note", 1))
    _post(full, "eve", email("victim@example.org", CLEAR), act=3)
    assert _sees(full, id_of("note", 1))


def test_c11_the_creator_stays_although_its_identity_is_hidden(hubs):
    """`created_by_ref`, and every other name that ends in `_by_ref`, is no reference that hides."""
    full, _ = hubs
    _post(full, "alice", thing("identity", "v", RED), indicator("x", CLEAR, created_by_ref=id_of("identity", "v")))
    assert id_of("identity", "v") in full.get(f"{OBJECTS}{X}/", "bob").text


def test_an_id_under_a_name_that_is_none_of_a_reference_stays(hubs):
    """References are what STIX 2.7 calls so: names that end in `_ref` or `_refs`. Texts are not searched for ids."""
    full, _ = hubs
    address = email("victim@example.org", RED)
    _post(full, "alice", address, indicator("x", CLEAR, x_victim=address["id"], description=address["id"]))
    assert address["id"] in full.get(f"{OBJECTS}{X}/", "bob").text


def test_look_alike_letters_of_other_scripts_are_other_letters(hubs):
    """Full-width and invisible characters are seen through; a Cyrillic letter is not. It is the vendor's own object."""
    full, _ = hubs
    _post(full, "alice", indicator("x", CLEAR, labels=["v\u0456ctim"]))
    assert _sees(full, X, "dave")


def _granted(hub, hidden):
    """bob's places of two objects that a change of policy grants, with hidden ones that others are granted between."""
    heron = '\n[[forbid]]\nid = "heron"\nto = {{ audience = [{}] }}\nwhat = {{ label = "heron" }}\n'
    hub.apply(scene.POLICY + heron.format('"bob", "eve"'))
    _post(hub, "alice", indicator("x", CLEAR, labels=["heron"]))
    if hidden:
        _post(hub, "alice", *(indicator(n, STRICT, labels=["heron"]) for n in range(5)), act=2)
    _post(hub, "alice", indicator("y", CLEAR, labels=["heron"]), act=3)
    hub.clock.at(4)
    hub.apply(scene.POLICY)
    return _positions(hub)


def test_a_late_grant_does_not_count_what_others_are_granted_beside_it(hubs):
    """Steps inside one post, and inside the band of an event, are uneven, so that a hole tells no number (C15)."""
    full, bare = (_granted(hub, hidden) for hub, hidden in zip(hubs, (True, False), strict=True))
    assert full.keys() == bare.keys() == {X, Y}
    assert (full[Y] - full[X]) // POSITION_UNIT != 6


def test_a_translation_does_not_come_before_what_it_translates(hubs):
    """bob reads x in part; a whole newer version waits for an embargo. The translation must wait with it."""
    full, bare = hubs
    embargo = '\n[[embargo]]\nid = "hot"\nto = { audience = "bob" }\nwhat = { label = "hot" }\ndelay = "1d"\n'
    for hub in hubs:
        hub.apply(scene.DERIVING + embargo)
        cut = scene.part(RED, "name")
        _post(hub, "alice", indicator("x", CLEAR, name="SECRET", **cut), scene.translation(1, X, CLEAR))
    _post(full, "alice", indicator("x", CLEAR, version=1, labels=["hot"]), act=2)
    assert not _sees(bare, id_of("language-content", 1))
    assert not _sees(full, id_of("language-content", 1))
