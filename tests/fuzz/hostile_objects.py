"""Hostile bodies that are JSON: ids, operators, times and references of objects that STIX does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fuzz.hostile import Hostile, envelope, failed, taken, within
from tests.web.data import identity, observable, old_form, statement
from tests.world import indicator, new_id, relationship


def objects() -> Iterator[Hostile]:
    """All of them, in a fixed order."""
    yield from _identifiers()
    yield from _operators()
    yield from _times()
    yield from _references()


def _identifiers() -> Iterator[Hostile]:
    for id_ in (
        "indicator--../../etc/passwd",
        "../../../etc/passwd",
        "indicator--1efc6673-9d95-46c3-a09c-c29f926da9af/../x",
        "indicator--1efc6673-9d95-46c3-a09c-c29f926da9af\n",
        "indicator--1efc6673-9d95-46c3-a09c-c29f926da9af\x00",
        "indicator--1EFC6673-9D95-46C3-A09C-C29F926DA9AF",
        "INDICATOR--1efc6673-9d95-46c3-a09c-c29f926da9af",
        "indicator--00000000-0000-0000-0000-00000000000",
        "indicator--' OR 1=1 --",
        "indicator--%00",
        "indicator--\u0661efc6673-9d95-46c3-a09c-c29f926da9af",
        "malware--1efc6673-9d95-46c3-a09c-c29f926da9af",
        "file:///etc/passwd",
        "C:\\windows\\win.ini",
        "",
        " ",
        "--",
        "x" * 1_000_000,
        "indicator--" + "0" * 1_000_000,
    ):
        yield failed(f"the id {id_[:60]!r} of {len(id_)}", lambda id_=id_: envelope({**indicator(), "id": id_}), "id")
    for id_ in (None, 5, True, [], {}, {"$gt": ""}, {"$where": "sleep(1000)"}, ["indicator--x"], 1e308):
        yield failed(f"the id {id_!r}", lambda id_=id_: envelope({**indicator(), "id": id_}), "id")
    for type_ in (
        None,
        5,
        [],
        {"$ne": None},
        "",
        "x",
        "a" * 1_000_000,
        "-" * 250,
        "Indicator",
        "bundle",
        "$where",
        "constructor",
        "__proto__",
        "../x",
        "x-\u0430",
    ):
        yield failed(
            f"the type {str(type_)[:30]!r}", lambda type_=type_: envelope({**indicator(), "type": type_}), "type|id"
        )
    for spec in (2.1, 3, "3.0", "2.1.0", "", None, {}, ["2.1"], "2" * 100_000):
        yield failed(
            f"the version {str(spec)[:20]!r} of STIX",
            lambda spec=spec: envelope(indicator(spec_version=spec)),
            "spec_v",
        )
    yield failed("a bundle in an envelope", lambda: envelope({"type": "bundle", "id": new_id("bundle")}), "bundle")


def _operators() -> Iterator[Hostile]:
    for value in ({"$gt": ""}, {"$where": "while(1){}"}, {"$regex": "(a+)+$"}, {"$ne": 1}, [{"$gt": 0}], "$where"):
        for name in ("name", "modified", "created", "pattern", "labels", "created_by_ref", "object_marking_refs"):
            if isinstance(value, dict) or name in ("modified", "created", "created_by_ref"):
                yield failed(
                    f"{name} is {value}", lambda name=name, value=value: envelope(indicator(**{name: value})), name
                )
    for key in (
        "$where",
        "$set",
        "a.b",
        "a.$.b",
        ".",
        "$",
        "",
        "_id",
        "__proto__",
        "constructor",
        "prototype",
        "id",
        "a\x00b",
        "'; DROP TABLE records; --",
        "{{7*7}}",
        "hasOwnProperty",
        "toString",
        "k" * 10_000,
    ):
        yield taken(
            f"the name {key[:30]!r} below a property", lambda key=key: within(json.dumps({key: {key: 1}}).encode())
        )
        if key != "id":
            yield taken(f"the property {key[:30]!r}", lambda key=key: envelope({**indicator(), key: 1}), None)
    for text in (
        "' OR '1'='1",
        "1; DROP TABLE records",
        "\\'; --",
        "$(reboot)",
        "`id`",
        "| cat /etc/passwd",
        "%27%20OR",
        '{"$gt": ""}',
        "a' UNION SELECT text FROM records --",
        "../../../../etc/passwd",
    ):
        yield taken(f"the text {text}", lambda text=text: envelope(indicator(name=text, description=text)))


def _times() -> Iterator[Hostile]:
    for time in (
        "10000-01-01T00:00:00Z",
        "99999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "2016-12-31T23:59:61Z",
        "2020-02-30T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:60:00Z",
        "2020-01-01T00:00:00",
        "2020-01-01T00:00:00+00:00",
        "2020-01-01 00:00:00Z",
        "2020-W01-1T00:00:00Z",
        "20200101T000000Z",
        "2020-01-01T00:00:00.Z",
        "\u0662\u0660\u0662\u0660-01-01T00:00:00Z",
        "2020-01-01T00:00:00." + "1" * 100_000 + "Z",
        "now",
        "1577836800",
        "",
    ):
        yield failed(f"modified {time[:32]!r}", lambda time=time: envelope(indicator(modified=time)), "modified")
    yield taken("a leap second", lambda: envelope(indicator(modified="2016-12-31T23:59:60Z")), None)
    for time in ("9999-12-31T23:59:59.999999Z", "2020-01-01T00:00:00.123456789Z"):
        yield taken(f"the lawful modified {time}", lambda time=time: envelope(indicator(modified=time)), None)
    yield taken(
        "modified before created",
        lambda: envelope(indicator(created="2020-01-02T00:00:00Z", modified="2020-01-01T00:00:00Z")),
        None,
    )
    yield failed("created a number", lambda: envelope(indicator(created=1577836800)), "created")


def _references() -> Iterator[Hostile]:
    yield failed("relationships of relationships", _ring_of_relationships, "source_ref")
    yield failed("a relationship of itself", lambda: envelope(relationship(*[_SELF] * 2, _SELF)), "source_ref")
    yield taken("two reports of each other", lambda: _ring_of_reports(2), 2)
    yield taken("a ring of 300 reports", lambda: _ring_of_reports(300), 300)
    yield taken("2,000 reports, each of the next", lambda: _chain(2_000), 2_000)
    yield taken("a report of itself", lambda: _ring_of_reports(1), 1)
    yield taken("an identity made by itself", _own_maker, None)
    yield taken("markings that mark each other", _ring_of_markings, None)
    yield taken("a marking that marks itself", _own_marking, None)
    yield taken("a report of 20,000", lambda: envelope(_report([new_id() for _ in range(20_000)])), 1)
    yield failed(
        "10,000 markings",
        lambda: envelope(indicator(object_marking_refs=[f"x{n}" for n in range(10_000)])),
        "object_marking_refs",
    )
    yield failed(
        "selectors of nothing",
        lambda: envelope(indicator(granular_markings=[{"marking_ref": _TLP, "selectors": ["a.[9999999999]"]}])),
        "granular_markings",
    )
    yield failed(
        "5,000 selectors",
        lambda: envelope(
            indicator(
                granular_markings=[
                    {"marking_ref": _TLP, "selectors": ["nope." + "[0]." * 50 + str(n)]} for n in range(5_000)
                ]
            )
        ),
        "granular",
    )
    yield taken(
        "an observable without a version, twice",
        lambda: envelope(observable(new_id("ipv4-addr")), observable(new_id("ipv4-addr"))),
        2,
    )
    yield taken("STIX 2.0", lambda: envelope(old_form(new_id())), 1)
    yield taken("a statement", lambda: envelope(statement(new_id("marking-definition"))), 1)


_TLP = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
_SELF = "relationship--5e1f0000-0000-4000-8000-000000000001"


def _ring_of_relationships() -> bytes:
    one, two = new_id("relationship"), new_id("relationship")
    return envelope(relationship(one, two, two), relationship(two, one, one))


def _ring_of_reports(count: int) -> bytes:
    ids = [new_id("report") for _ in range(count)]
    return envelope(*(_report([ids[n - 1]], ids[n]) for n in range(count)))


def _chain(count: int) -> bytes:
    ids = [new_id("report") for _ in range(count + 1)]
    return envelope(*(_report([ids[n + 1]], ids[n]) for n in range(count)))


def _own_maker() -> bytes:
    id_ = new_id("identity")
    return envelope(identity(id_, created_by_ref=id_))


def _ring_of_markings() -> bytes:
    one, two = new_id("marking-definition"), new_id("marking-definition")
    return envelope(
        statement(one, object_marking_refs=[two]),
        statement(two, object_marking_refs=[one]),
        indicator(object_marking_refs=[one]),
    )


def _own_marking() -> bytes:
    id_ = new_id("marking-definition")
    return envelope(statement(id_, object_marking_refs=[id_]), indicator(object_marking_refs=[id_]))


def _report(refs: list[str], id_: str | None = None) -> dict[str, Any]:
    times = {"created": "2020-01-01T00:00:00.000Z", "modified": "2020-01-01T00:00:00.000Z"}
    return {
        "type": "report",
        "spec_version": "2.1",
        "id": id_ or new_id("report"),
        **times,
        "name": "r",
        "published": "2020-01-01T00:00:00Z",
        "object_refs": refs,
    }
