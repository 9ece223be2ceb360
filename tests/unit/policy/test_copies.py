"""When an audience reads a copy without some parts: granular markings, strip rules, hidden creators; and when not."""

from __future__ import annotations

import json

import pytest

from taxii_server.errors import ConfigError
from taxii_server.model import Removal
from taxii_server.policy import Decision, Meanings, check, parse

OPEN = '[[permit]]\nid = "open"\n'
DERIVE = '[defaults]\ngranular = "derive"'
GREEN = {"marks": ["green"]}
ME = "identity--00000000-0000-4000-8000-000000000001"
TICKET = '[[strip]]\nid = "tickets"\nto = { kind = "cert" }\nproperties = ["x_ticket", "x_customer"]\n'
AUTHOR = '[[strip]]\nid = "author"\nto = { kind = "cert" }\nwhat = { label = "anon" }\ncreator = true\n'
WITH_TICKET = {**GREEN, "properties": ("name", "x_ticket")}
RELEASE = """
[[release]]
id = "out"
by = "origin"
objects = ["indicator--00000000-0000-4000-8000-000000000000"]
to = { audience = ["fr", "world"] }
"""


def taken(decision: Decision) -> Removal:
    assert decision.verdict == "derive"
    assert decision.removal is not None
    return decision.removal


# ---- granular markings


@pytest.mark.parametrize(
    ("audience", "parts", "without"),
    [
        ("fr", ["amber"], ()),
        ("fr", ["red"], ("red",)),
        ("pl", ["amber", "clear"], ("amber",)),
        ("pl", ["amber", "UNKNOWN"], ("UNKNOWN", "amber")),
        ("de", ["REL_FR_PL"], ("REL_FR_PL",)),
        ("fr", ["ORCON", "clear"], ("ORCON",)),
        ("world", ["red"], ("red",)),
        ("origin", ["red", "UNKNOWN"], ()),
    ],
)
def test_parts_that_are_not_readable_are_taken_out(ask, names, audience, parts, without):
    decision = ask(audience, OPEN, DERIVE, parts=parts, **GREEN)
    if without:
        assert taken(decision) == Removal(markings=frozenset(names[name] for name in without))
        assert (decision.reason, decision.rule) == ("permit", "open")
    else:
        assert (decision.verdict, decision.removal) == ("read", None)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"parts": ["red"], "firm": ["red"]}, "granular"),
        ({"parts": ["red", "UNKNOWN"], "firm": ["UNKNOWN"]}, "granular"),
        ({"parts": ["red", "clear"], "firm": ["clear"]}, "permit"),
        ({"marks": ["green", "ORCON"], "parts": ["amber+strict", "red"]}, "granular"),
        ({"marks": ["red"], "parts": ["clear"]}, "tlp"),
        ({"marks": [], "parts": ["clear"]}, "unmarked"),
    ],
)
def test_an_object_is_hidden_whole_when_a_part_cannot_be_taken_out(ask, names, values, reason):
    firm = tuple(names[name] for name in values.pop("firm", ()))
    rules = OPEN + RELEASE  # so that ORCON itself does not hide
    decision = ask("fr", rules, DERIVE, firm_granular=firm, **{**GREEN, **values})
    assert decision.reason == reason
    assert (decision.verdict == "derive") == (reason == "permit")


def test_a_part_that_is_not_readable_hides_the_whole_where_nothing_is_derived(ask):
    assert ask("fr", OPEN, '[defaults]\ngranular = "hide"', parts=["red"], **GREEN).reason == "granular"


def test_no_copy_holds_a_part_that_is_orcon_even_where_that_is_released(ask, names):
    # The ORCON part is readable here, the other one is not: a copy may not hand on ORCON material.
    decision = ask("fr", OPEN + RELEASE, DERIVE, parts=["ORCON", "UNKNOWN"], **GREEN)
    assert taken(decision).markings == {names["ORCON"], names["UNKNOWN"]}
    assert ask("fr", OPEN, DERIVE, parts=["ORCON", "UNKNOWN"], **GREEN).removal == decision.removal
    assert ask("fr", OPEN + RELEASE, DERIVE, parts=["ORCON", "clear"], **GREEN).verdict == "read"
    firm = (names["ORCON"],)
    assert ask("fr", OPEN + RELEASE, DERIVE, parts=["ORCON", "clear"], firm_granular=firm, **GREEN).verdict == "read"
    assert ask("fr", OPEN + RELEASE, DERIVE, parts=["ORCON", "red"], firm_granular=firm, **GREEN).reason == "granular"


def test_a_strip_takes_out_orcon_parts_too_or_hides(ask, names):
    values = {**WITH_TICKET, "parts": ["ORCON"]}
    decision = ask("fr", OPEN + RELEASE + TICKET, DERIVE, **values)
    assert taken(decision) == Removal(markings=frozenset({names["ORCON"]}), properties=frozenset({"x_ticket"}))
    assert ask("fr", OPEN + RELEASE + TICKET, "", **values).reason == "strip"
    assert ask("fr", OPEN + RELEASE + TICKET, DERIVE, firm_granular=(names["ORCON"],), **values).reason == "strip"


# ---- strip


@pytest.mark.parametrize(
    ("audience", "properties", "taken_out"),
    [
        ("fr", ("name", "x_ticket"), {"x_ticket"}),
        ("fr", ("x_customer", "x_other", "x_ticket"), {"x_ticket", "x_customer"}),
        ("fr", ("name",), None),
        ("jit", ("x_ticket",), None),
        ("origin", ("x_ticket",), None),
    ],
)
def test_a_strip_takes_out_those_properties_that_are_there(ask, audience, properties, taken_out):
    decision = ask(audience, OPEN + TICKET, properties=properties, **GREEN)
    if taken_out is None:
        assert (decision.verdict, decision.removal) == ("read", None)
    else:
        assert taken(decision) == Removal(properties=frozenset(taken_out))


def test_a_submitter_reads_all_of_what_it_posted(ask):
    assert ask("fr", OPEN + TICKET, submitter="fr", **WITH_TICKET).removal is None


@pytest.mark.parametrize(
    ("values", "creator"),
    [
        ({"labels": ("anon",), "creator": ME}, True),
        ({"labels": ("anon",), "creator": "identity--somebody"}, True),
        ({"labels": ("anon",)}, False),
        ({"creator": ME}, False),
    ],
)
def test_a_creator_is_taken_out_of_what_has_one(ask, values, creator):
    decision = ask("fr", OPEN + AUTHOR, **GREEN, **values)
    assert decision.removal == (Removal(creator=True) if creator else None)
    assert decision.verdict == ("derive" if creator else "read")


def test_the_removals_of_all_rules_and_markings_add_up(ask, names):
    rules = OPEN + TICKET + AUTHOR + '[[strip]]\nid = "more"\nproperties = ["x_more"]\n'
    values = {"labels": ("anon",), "creator": ME, "properties": ("x_more", "x_ticket"), "parts": ["red"]}
    decision = ask("fr", rules, DERIVE, **GREEN, **values)
    assert taken(decision) == Removal(
        markings=frozenset({names["red"]}), properties=frozenset({"x_ticket", "x_more"}), creator=True
    )
    assert decision.text == (
        "permitted by rule 'open'; a part of it is taken out: TLP:RED is above the clearance AMBER+STRICT; "
        "x_more, x_ticket, its creator are taken out (rules 'tickets', 'author', 'more')"
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"fixed_properties": ("x_ticket",)}, "strip"),
        ({"fixed_properties": ("name",)}, "permit"),
        ({"fixed_properties": ("x_ticket",), "properties": ()}, "permit"),
        ({"marks": ["green", "ORCON"]}, "strip"),
    ],
)
def test_what_cannot_be_taken_out_hides_the_whole(ask, values, reason):
    decision = ask("fr", OPEN + TICKET + RELEASE, DERIVE, **{**WITH_TICKET, **values})
    assert decision.reason == reason
    assert decision.verdict == ("hide" if reason == "strip" else "read" if values.get("properties") == () else "derive")
    assert decision.removal is None or decision.verdict == "derive"


def test_a_strip_is_no_permit_and_comes_after_what_hides(ask):
    assert ask("fr", TICKET, **WITH_TICKET).reason == "no-permit"
    assert ask("fr", OPEN + TICKET + '[[forbid]]\nid = "f"\n', **WITH_TICKET).reason == "forbid"
    assert ask("fr", OPEN + TICKET, **{**WITH_TICKET, "marks": ["red"]}).reason == "tlp"


def test_a_newest_version_that_is_read_in_part_governs_as_readable(ask):
    assert ask("fr", OPEN + TICKET, newest=WITH_TICKET, **GREEN).verdict == "read"
    firmly = {**WITH_TICKET, "fixed_properties": ("x_ticket",)}
    assert ask("fr", OPEN + TICKET, newest=firmly, **GREEN).reason == "newer-version-hidden"
    # What is taken out is up to the version itself.
    assert taken(ask("fr", OPEN + TICKET, newest=GREEN, **WITH_TICKET)).properties == {"x_ticket"}


@pytest.mark.parametrize("name", ["object_marking_refs", "granular_markings", "id", "modified", "revoked"])
def test_markings_and_versions_stand_in_every_copy(make, name):
    with pytest.raises(ConfigError, match="stands in every copy"):
        make(f'[[strip]]\nid = "s"\nproperties = ["x", "{name}"]\n')


# ---- markings that hide who made it


def must_not(kind: str = "iep", **more: object) -> Meanings:
    payload = {"submitter": "origin", "kind": kind, "tlp": "green", "attribution": "must-not", **more}
    id_ = "marking-definition--00000000-0000-4000-8000-999999999999"
    return Meanings.empty().with_posted(json.dumps({**payload, "id": id_}))


@pytest.mark.parametrize(
    ("audience", "values", "creator"),
    [
        ("fr", {"marks": ["UNKNOWN"], "creator": ME}, True),
        ("world", {"marks": ["UNKNOWN"], "creator": "identity--somebody"}, True),
        ("origin", {"marks": ["UNKNOWN"], "creator": ME}, False),
        ("fr", {"marks": ["UNKNOWN"]}, False),
        ("fr", {"marks": ["green"], "parts": ["UNKNOWN"], "creator": ME}, True),
    ],
)
def test_a_marking_that_forbids_attribution_takes_out_the_creator_for_all_but_the_submitter(
    ask, audience, values, creator
):
    decision = ask(audience, OPEN, DERIVE, must_not(), **values)
    assert decision.removal == (Removal(creator=True) if creator else None)
    assert not creator or decision.text.endswith("its creator is taken out (a marking hides who made it)")


@pytest.mark.parametrize("attribution", ["may", "must", None])
def test_other_markings_leave_the_creator(ask, attribution):
    meanings = must_not(attribution=attribution)
    assert ask("fr", OPEN, DERIVE, meanings, marks=["UNKNOWN"], creator=ME).verdict == "read"


def test_a_creator_stays_hidden_after_the_end_of_the_marking(ask):
    meanings = must_not(start_date="1970-01-01T00:00:00Z", end_date="1970-01-01T00:00:01Z")
    values = {"marks": ["UNKNOWN", "clear"], "creator": ME}
    assert taken(ask("fr", OPEN, "", meanings, moment=2_000_000, **values)).creator


def test_orcon_material_whose_creator_has_to_be_hidden_is_hidden(ask):
    values = {"marks": ["UNKNOWN", "ORCON"], "creator": ME}
    assert ask("fr", OPEN + RELEASE, "", must_not(), **values).reason == "strip"


# ---- explained


def lines(policy, facets, audience: str, step: str, meanings: Meanings | None = None) -> list[tuple[str, str]]:
    explanation = policy.explain(audience, facets, meanings or Meanings.empty())
    return [(each.outcome, each.detail) for each in explanation.steps if each.name == step]


def test_explain_tells_what_every_rule_takes_out(make, build):
    policy = make(OPEN + TICKET + AUTHOR)
    facets = policy.vocabulary.project(build(creator=ME, **WITH_TICKET))
    assert lines(policy, facets, "fr", "strip") == [
        ("passed", "x_ticket is taken out"),
        ("neutral", "does not fit: wants label = anon"),
    ]
    facets = policy.vocabulary.project(build(labels=("anon",), **GREEN))
    assert lines(policy, facets, "fr", "strip") == [
        ("neutral", ""),
        ("neutral", "finds nothing to take out: it has none of x_ticket, x_customer"),
        ("neutral", "finds nothing to take out: it has none of a creator"),
    ]
    firmly = policy.vocabulary.project(build(fixed_properties=("x_ticket",), **WITH_TICKET))
    assert lines(policy, firmly, "fr", "strip")[0] == ("failed", "x_ticket is taken out")


def test_explain_tells_which_parts_are_taken_out(make, build, names):
    policy = make(OPEN, DERIVE)
    facets = policy.vocabulary.project(build(parts=["red", "clear"], **GREEN))
    why = "TLP:RED is above the clearance AMBER+STRICT"
    assert lines(policy, facets, "fr", "granular") == [
        ("passed", f"a part of it is taken out: {why}"),
        ("passed", f"{names['clear']} (TLP:CLEAR): allows it"),
        ("neutral", f"the part marked {names['red']}: {why}; it is taken out"),
    ]


# ---- in examples

MINI = """
schema = 1
[defaults]
granular = "derive"
[audience.cert]
kind = "cert"
clearance = "green"
[audience.le]
kind = "le"
clearance = "red"
identities = ["identity--00000000-0000-4000-8000-000000000001"]
[[permit]]
id = "open"
[[strip]]
id = "notes"
to = { kind = "cert" }
properties = ["description", "pattern", "value", "x_ticket"]
[[strip]]
id = "author"
to = { kind = "cert" }
what = { label = "anon" }
creator = true
"""


@pytest.mark.parametrize(
    ("thing", "verdict"),
    [
        ('type = "indicator"', "read"),
        ('type = "indicator", description = "d"', "redact"),
        ('type = "indicator", x_ticket = { a = 1 }', "redact"),
        ('type = "indicator", pattern = "p"', "hide"),
        ('type = "ipv4-addr", value = "v"', "hide"),
        ('type = "ipv4-addr", x_ticket = 1', "hide"),
        ('type = "indicator", granular = "amber"', "redact"),
        ('type = "indicator", granular = ["clear", "green"]', "read"),
        ('type = "ipv4-addr", granular = "amber"', "hide"),
        ('type = "report", labels = ["anon"], creator = "le"', "redact"),
        ('type = "report", labels = ["anon"]', "read"),
        ('type = "report", creator = "le"', "read"),
    ],
)
def test_an_example_tells_reading_reading_in_part_and_not_reading_apart(thing, verdict):
    for expected in ("read", "redact", "hide"):
        example = f'[[test]]\nobject = {{ {thing}, tlp = "green", by = "le" }}\n{expected} = "cert"\n'
        problems = [str(problem) for problem in check(parse({"p": MINI + example}))]
        assert (problems == []) == (expected == verdict), problems


def test_a_wrong_example_says_what_happens_instead():
    example = '[[test]]\nobject = { type = "indicator", description = "d", tlp = "green", by = "le" }\nread = "cert"\n'
    assert [str(problem) for problem in check(parse({"p": MINI + example}))] == [
        "p: test[1].read: cert reads in part indicator, green by le: permitted by rule 'open'; "
        "description is taken out (rule 'notes') (rule 'open')"
    ]
