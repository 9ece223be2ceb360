"""Promises about copies without what an audience may not read. See checks.py."""

from __future__ import annotations

import json
from typing import Any

from tests.leaks import scene
from tests.leaks.checks import X, _check, _post, _sees, _status
from tests.leaks.hub import LeakHub
from tests.leaks.scene import (
    ALICE_ID,
    CLEAR,
    GREEN,
    NOBODY_KNOWS,
    ORCON,
    POOL,
    RED,
    STRICT,
    id_of,
    indicator,
    part,
    report,
    sighting,
    thing,
    translation,
)

Y = id_of("indicator", "y")
HALF = {**part(RED, "name"), "name": "SECRET", "created_by_ref": ALICE_ID}


def _derive(hub: LeakHub, more: str = "") -> None:
    hub.apply(scene.DERIVING + more)


def _objects(hub: LeakHub, partner: str, query: str = "") -> list[dict[str, Any]]:
    return list(hub.walk(partner, POOL, "objects", query))


def _copy(hub: LeakHub, partner: str, type_: str = "indicator") -> dict[str, Any]:
    """The only object of the type that the partner gets."""
    (found,) = [value for value in _objects(hub, partner) if value["type"] == type_]
    return found


def _release(id_: str, to: str, by: str = "alice", more: str = "") -> str:
    return f'\n[[release]]\nid = "{id_}"\nby = "{by}"\nobjects = ["{id_}"]\nto = {{ {to} }}\n{more}\n'


@_check
def a_copy_has_an_id_and_a_creator_of_its_own(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", GREEN, **HALF))
    copy = _copy(hub, "bob")
    assert "SECRET" not in json.dumps(_objects(hub, "bob"))
    assert copy["id"] != X
    assert copy["created_by_ref"] != ALICE_ID
    assert _status(hub, "alice") == 200


@_check
def a_copy_is_not_computed_from_what_was_taken_out(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", GREEN, **HALF))
    first = _copy(hub, "bob")
    assert _status(hub, "alice", method="DELETE") == 200
    _post(hub, "alice", indicator("x", GREEN, **HALF | {"name": "another, and a longer one"}))
    second = _copy(hub, "bob")
    times = {"created": "", "modified": ""}
    assert first | times == second | times


@_check
def two_readers_of_the_same_parts_get_the_same_copy(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", GREEN, **HALF))
    assert _objects(hub, "bob") == _objects(hub, "carol")


@_check
def of_orcon_no_copy_is_made(hub: LeakHub) -> None:
    _derive(
        hub, _release(X, 'audience = ["bob"]') + _release(id_of("report", 1), 'audience = ["bob"]').replace("case", "2")
    )
    _post(hub, "alice", indicator("x", CLEAR, ORCON, **part(STRICT, "name")), indicator("y", RED))
    _post(hub, "alice", report(1, [Y, id_of("indicator", "nobody's")], CLEAR, ORCON))
    assert _objects(hub, "bob") == []
    _post(hub, "alice", indicator("x", CLEAR, ORCON, version=1))
    assert _sees(hub, "bob")


@_check
def a_part_with_a_marking_that_nobody_knows_is_taken_out(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", CLEAR, name="SECRET", **part(NOBODY_KNOWS, "name")))
    assert "name" not in _copy(hub, "bob")


@_check
def a_rule_strips_for_those_whom_it_names(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", GREEN, x_ticket="4711"))
    assert "x_ticket" not in _copy(hub, "carol")
    assert _copy(hub, "bob")["id"] == X


@_check
def hidden_ids_do_not_stay_in_lists(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", RED), indicator("y", CLEAR), report(1, [X, Y], CLEAR))
    assert _copy(hub, "bob", "report")["object_refs"] == [Y]
    assert X not in json.dumps(_objects(hub, "bob"))


@_check
def of_a_list_of_which_nothing_is_left_nothing_is_served(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", thing("identity", "victim", RED), indicator("y", CLEAR))
    _post(hub, "alice", sighting(1, Y, CLEAR, where=[id_of("identity", "victim")]))
    assert {value["type"] for value in _objects(hub, "bob")} == {"indicator"}


@_check
def what_translates_something_cut_is_hidden(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", GREEN, **HALF), translation(1, X, CLEAR))
    assert not _sees(hub, "bob", id_of("language-content", 1))
    assert _sees(hub, "alice", id_of("language-content", 1))


@_check
def a_copy_is_found_by_what_it_is_and_not_by_what_it_was(hub: LeakHub) -> None:
    _derive(hub)
    value = indicator("x", GREEN, **HALF)
    _post(hub, "alice", value)
    copy = _copy(hub, "bob")
    assert not _sees(hub, "bob")
    assert _objects(hub, "bob", f"match[id]={X}") == []
    assert _sees(hub, "bob", copy["id"])
    assert _objects(hub, "bob", f"match[version]={value['modified']}") == []
    assert _objects(hub, "bob", f"match[id]={copy['id']}&match[version]={copy['modified']}") == [copy]


@_check
def an_id_that_was_cut_out_of_sight_cannot_be_deleted(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", GREEN, **HALF))
    copy = _copy(hub, "bob")
    assert _status(hub, "bob", method="DELETE") == 404
    assert _status(hub, "bob", copy["id"], method="DELETE") == 403


@_check
def the_dates_of_a_copy_do_not_tell_of_hidden_versions(hub: LeakHub) -> None:
    _derive(hub)
    _post(hub, "alice", indicator("x", RED))
    hub.clock.at(100)
    _post(hub, "alice", indicator("x", GREEN, version=1, **HALF))
    copy = _copy(hub, "bob")
    assert copy["created"] == copy["modified"]


@_check
def what_is_left_stays_marked(hub: LeakHub) -> None:
    _derive(hub)
    marks = [{"marking_ref": RED, "selectors": ["labels.[0]"]}, {"marking_ref": GREEN, "selectors": ["labels.[1]"]}]
    _post(hub, "alice", indicator("x", CLEAR, labels=["SECRET", "green"], granular_markings=marks))
    copy = _copy(hub, "bob")
    assert copy["labels"] == ["green"]
    assert copy.get("granular_markings") == [{"marking_ref": GREEN, "selectors": ["labels.[0]"]}]
