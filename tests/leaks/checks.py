"""A compact suite of promises: each check brings its story to a fresh hub and raises AssertionError when it leaks.

Small on purpose. It exists to be run against servers that are wrong on purpose (wrong.py): a promise that no wrong
server breaks is not being checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from taxii_server.policy import conditions
from tests.leaks import scene
from tests.leaks.hub import LeakHub
from tests.leaks.scene import (
    ALICE_BOX,
    AMBER,
    CLEAR,
    EVE_ID,
    GREEN,
    NOBODY_KNOWS,
    ORCON,
    POOL,
    RED,
    REL_FR,
    REL_FR_PL,
    SECRET,
    STRICT,
    VIEW,
    id_of,
    indicator,
    malware,
    note,
    relationship,
    report,
    statement,
    thing,
)  # fmt: skip
from tests.world import FIRST, LAST


class PlannedError(Exception):
    """A fault of a rule that a check brings about."""


Check = Callable[[LeakHub], None]
CHECKS: dict[str, Check] = {}
X = id_of("indicator", "x")
M = "marking-definition--22222222-0000-4000-8000-000000000001"


def _check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def _post(hub: LeakHub, partner: str, *objects: Any, into: str = POOL) -> None:
    answer = hub.post(list(objects), partner, into)
    assert answer.status_code == 202, answer.text
    assert not answer.json.get("failures"), answer.text


def _status(hub: LeakHub, partner: str, id_: str = X, of: str = POOL, method: str = "GET") -> int:
    return hub.request(method, f"/api1/collections/{of}/objects/{id_}/", partner).status_code


def _sees(hub: LeakHub, partner: str, id_: str = X, of: str = POOL, query: str = "") -> bool:
    listed = id_ in {entry["id"] for entry in hub.walk(partner, of, "manifest", query)}
    if not query:
        assert listed == (_status(hub, partner, id_, of) == 200)
    return listed


def _only(hub: LeakHub, value: Any, *readers: str, into: str = POOL, of: str = POOL) -> None:
    """Alice posts this: of bob, carol, dave and eve these read it, and nobody else does."""
    _post(hub, "alice", value, into=into)
    everybody = ("bob", "carol", "dave", "eve") if of == POOL else ("bob", "carol")
    assert tuple(name for name in everybody if _sees(hub, name, value["id"], of)) == readers


@_check
def amber_does_not_give_amber_strict(hub: LeakHub) -> None:
    _only(hub, indicator("x", STRICT), "eve")
    _only(hub, indicator("y", AMBER), "bob", "eve")


@_check
def red_is_for_those_who_are_named(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED))
    assert not _sees(hub, "fred", of=VIEW)


@_check
def a_rule_that_fails_hides(hub: LeakHub) -> None:
    holds = conditions.Test.holds

    def failing(self: conditions.Test, case: Any) -> bool | None:
        if any(member[0] == "label" for group in self.groups for member in group):
            raise PlannedError
        return holds(self, case)

    with patch.object(conditions.Test, "holds", failing):
        _post(hub, "alice", indicator("x", CLEAR))
        assert not _sees(hub, "dave")
        assert _sees(hub, "bob")


@_check
def every_marking_has_to_be_understood(hub: LeakHub) -> None:
    _only(hub, indicator("x", CLEAR, NOBODY_KNOWS))


@_check
def the_strictest_marking_counts(hub: LeakHub) -> None:
    _only(hub, indicator("x", CLEAR, AMBER), "bob", "eve")
    _only(hub, indicator("y", STRICT, CLEAR), "eve")


@_check
def release_lists_intersect(hub: LeakHub) -> None:
    _only(hub, indicator("x", GREEN, REL_FR, REL_FR_PL), "bob")


@_check
def a_joint_team_needs_all_its_countries(hub: LeakHub) -> None:
    _only(hub, indicator("x", GREEN, REL_FR), "bob")
    _only(hub, indicator("y", GREEN, REL_FR_PL), "bob", "carol", "eve")


@_check
def orcon_stays_with_its_originator(hub: LeakHub) -> None:
    _only(hub, indicator("x", CLEAR, ORCON))
    assert _sees(hub, "alice")


@_check
def unmarked_is_hidden(hub: LeakHub) -> None:
    _only(hub, indicator("x"), into=ALICE_BOX, of=VIEW)
    _only(hub, indicator("y"), "bob", "carol", "eve")


@_check
def labels_only_tighten(hub: LeakHub) -> None:
    _only(hub, indicator("x", AMBER, labels=["tlp:clear"]), "bob", "eve")
    _only(hub, indicator("y", CLEAR, labels=["TLP:Amber"]), "bob", "eve")


@_check
def markings_of_parts_hide_the_whole(hub: LeakHub) -> None:
    _only(hub, indicator("x", CLEAR, granular_markings=[{"marking_ref": RED, "selectors": ["name"]}]))


@_check
def a_claimed_creator_owns_nothing(hub: LeakHub) -> None:
    _only(hub, indicator("x", RED, created_by_ref=EVE_ID))
    assert _status(hub, "eve", method="DELETE") == 404


@_check
def only_versions_of_the_submitter_govern(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR))
    _post(hub, "eve", indicator("x", RED, version=3))
    assert _sees(hub, "bob")


@_check
def the_newest_version_governs(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR))
    _post(hub, "alice", indicator("x", RED, version=1))
    assert not _sees(hub, "bob")
    assert not _sees(hub, "bob", query="match[version]=all")


@_check
def the_newest_version_governs_by_what_it_refers_to(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED), indicator("y", CLEAR))
    _post(hub, "alice", report(1, [id_of("indicator", "y")], CLEAR))
    _post(hub, "alice", report(1, [X], CLEAR, version=1))
    assert not _sees(hub, "bob", id_of("report", 1), query="match[version]=all")


@_check
def what_refers_to_something_hidden_is_hidden(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED), relationship(1, X, X, CLEAR))
    assert not _sees(hub, "bob", id_of("relationship", 1))


@_check
def references_in_lists_count(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED), report(1, [X], CLEAR))
    assert not _sees(hub, "bob", id_of("report", 1))


@_check
def references_are_followed_to_the_end(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED), relationship(1, X, X, CLEAR))
    _post(hub, "alice", report(1, [id_of("relationship", 1)], CLEAR), note(1, [id_of("report", 1)], CLEAR))
    assert not _sees(hub, "bob", id_of("report", 1))
    assert not _sees(hub, "bob", id_of("note", 1))


@_check
def a_copy_of_ones_own_opens_nothing(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED), relationship(1, X, X, CLEAR))
    _post(hub, "bob", indicator("x"))
    assert not _sees(hub, "bob", id_of("relationship", 1))


@_check
def closed_collections_do_not_exist(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR), into=SECRET)
    for place in (SECRET, scene.SECRET_ALIAS):
        for end in ("", "objects/", "manifest/"):
            assert hub.get(f"/api1/collections/{place}/{end}", "bob").status_code == 404
    assert SECRET not in hub.get("/api1/collections/", "bob").text


@_check
def a_suspended_partner_reads_nothing(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR))
    assert hub.get(f"/api1/collections/{POOL}/objects/", "sam").status_code == 404
    assert "api_roots" not in hub.get("/taxii2/", "sam").json


@_check
def relevance_never_stops_a_revocation(hub: LeakHub) -> None:
    _post(hub, "alice", malware(1, CLEAR, confidence=10), malware(2, CLEAR, confidence=10, revoked=True))
    assert not _sees(hub, "carol", id_of("malware", 1))
    assert _sees(hub, "carol", id_of("malware", 2))


@_check
def no_confidence_is_no_certainty(hub: LeakHub) -> None:
    _post(hub, "alice", malware(1, CLEAR))
    assert not _sees(hub, "carol", id_of("malware", 1))


@_check
def forbidden_beats_permitted(hub: LeakHub) -> None:
    _only(hub, indicator("x", CLEAR, labels=["Victim"]), "bob", "carol")
    _only(hub, thing("identity", "p", CLEAR, identity_class="individual"), "bob", "carol")


@_check
def a_stored_copy_does_not_change_what_tlp_means(hub: LeakHub) -> None:
    _post(hub, "alice", statement(RED, "harmless"))
    _only(hub, indicator("x", RED))


@_check
def a_strangers_definition_explains_nothing(hub: LeakHub) -> None:
    _post(hub, "eve", statement(NOBODY_KNOWS, "harmless", CLEAR))
    _only(hub, indicator("x", CLEAR, NOBODY_KNOWS))


@_check
def a_definition_is_read_with_what_carries_it(hub: LeakHub) -> None:
    _post(hub, "alice", statement(M, "Operation Nightfall", CLEAR), indicator("x", RED, M))
    assert not _sees(hub, "bob", M)
    _post(hub, "bob", indicator("mine", CLEAR, M))
    assert not _sees(hub, "bob", M)
    _post(hub, "alice", indicator("y", CLEAR, M))
    assert _sees(hub, "bob", M)


@_check
def a_post_that_meets_something_hidden_is_as_new(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED))
    for value in (indicator("x", RED), indicator("x", CLEAR, name="other", version=0)):
        answer = hub.post([value], "eve" if value["name"] == "other" else "bob", POOL)
        assert answer.json["success_count"] == 1, answer.text
        assert all("message" not in each for each in answer.json["successes"])


@_check
def the_latest_is_chosen_among_what_is_readable(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR, version=1))
    _post(hub, "eve", indicator("x", RED, version=3))
    assert _sees(hub, "bob", query="match[version]=last")


@_check
def the_first_is_chosen_among_what_is_readable(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED))
    _post(hub, "alice", indicator("x", CLEAR, version=1))
    assert _sees(hub, "bob", query="match[version]=first")


@_check
def pages_are_full_and_more_is_true(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED), *(note(n, [X], CLEAR) for n in range(9)), indicator("y", CLEAR))
    page = hub.get(f"/api1/collections/{POOL}/objects/?limit=2", "bob").json
    assert [value["id"] for value in page.get("objects", [])] == [id_of("indicator", "y")]
    assert "more" not in page


@_check
def headers_speak_of_what_is_delivered(hub: LeakHub) -> None:
    hub.clock.at(1)
    _post(hub, "alice", indicator("y", CLEAR))
    hub.clock.at(2)
    _post(hub, "alice", indicator("x", RED))
    answer = hub.get(f"/api1/collections/{POOL}/manifest/", "bob")
    (entry,) = answer.json["objects"]
    assert answer.headers[FIRST] == answer.headers[LAST] == entry["date_added"]
    behind = hub.get(f"/api1/collections/{POOL}/manifest/?added_after={entry['date_added']}", "bob")
    assert behind.json == {}
    assert behind.headers[LAST] == entry["date_added"]


@_check
def hidden_and_unknown_are_one_answer(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", RED))
    bodies = set()
    for id_ in (X, id_of("indicator", "unknown")):
        for end in ("", "versions/"):
            answer = hub.get(f"/api1/collections/{POOL}/objects/{id_}/{end}", "bob")
            bodies.add((answer.status_code, tuple(sorted((answer.json | {"error_id": ""}).items()))))
        answer = hub.delete(f"/api1/collections/{POOL}/objects/{id_}/", "bob")
        bodies.add((answer.status_code, tuple(sorted((answer.json | {"error_id": ""}).items()))))
    assert len(bodies) == 1
    assert next(iter(bodies))[0] == 404


@_check
def nobody_deletes_what_others_posted(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR))
    assert _status(hub, "bob", method="DELETE") == 403
    assert _sees(hub, "bob")


@_check
def a_status_is_for_its_poster(hub: LeakHub) -> None:
    answer = hub.post([indicator("x", RED)], "alice", POOL)
    path = f"/api1/status/{answer.json['id']}/"
    assert hub.get(path, "alice").status_code == 200
    assert hub.get(path, "bob").status_code == 404


@_check
def a_next_is_for_whom_and_where_it_was_given(hub: LeakHub) -> None:
    _post(hub, "alice", *(indicator(n, CLEAR) for n in range(4)))
    token = hub.get(f"/api1/collections/{POOL}/objects/?limit=1", "bob").json["next"]
    for partner, place, resource in (("carol", POOL, "objects"), ("bob", VIEW, "objects"), ("bob", POOL, "manifest")):
        answer = hub.get(f"/api1/collections/{place}/{resource}/?next={token}", partner)
        assert answer.status_code == 400, (partner, place, resource)
    assert hub.get(f"/api1/collections/{POOL}/objects/?next={token}", "bob").status_code == 200


@_check
def a_coarse_label_is_hidden(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR, labels=["heron"]), indicator("y", CLEAR))
    with patch.object(hub.hub.writer.labelling, "relabel", lambda progress: 0):  # as long as it is not finished
        hub.apply(scene.POLICY + '\n[[forbid]]\nid = "heron"\nwhat = { label = "heron" }\n')
    assert not _sees(hub, "bob")
    assert _sees(hub, "bob", id_of("indicator", "y"))


@_check
def a_new_policy_holds_for_the_next_request(hub: LeakHub) -> None:
    _post(hub, "alice", indicator("x", CLEAR, labels=["victim"]))
    assert _sees(hub, "bob")
    hub.apply(scene.POLICY + '\n[[forbid]]\nid = "victims"\nwhat = { label = "victim" }\n')
    assert not _sees(hub, "bob")
