"""What each key of `to`, `what` and `unless` means, and the order in which rules decide."""

from __future__ import annotations

import pytest

from taxii_server.policy import Meanings

ID = "identity--00000000-0000-4000-8000-000000000001"
EXT = "extension-definition--51001c85-0000-4000-8000-000000001c85"
GREEN = {"marks": ["green"]}
ALL = {"fr", "de", "pl", "jit", "world"}


def readers(make, build, rules: str, head: str = "", **values: object) -> set[str]:
    """Everybody who reads a green thing (or as said) under these rules, its submitter left out."""
    policy = make(rules, head)
    facets = policy.vocabulary.project(build(**{**GREEN, **values}))
    return {
        name
        for name in policy.audiences
        if name != facets.submitter and policy.decide(name, facets, Meanings.empty()).verdict == "read"
    }


def test_without_a_permit_nobody_reads(make, build):
    assert readers(make, build, "") == set()


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ('audience = "fr"', {"fr"}),
        ('not_audience = ["fr", "de"]', {"pl", "jit", "world"}),
        ('group = "le"', {"de"}),
        ('group = ["heron", "eu"]', {"de", "world"}),
        ('not_group = "le"', ALL - {"de"}),
        ('kind = ["cert", "le"]', {"fr", "de", "pl", "jit"}),
        ('not_kind = "cert"', {"jit", "world"}),
        ('country = "FR"', {"fr"}),
        ('country = ["FR", "PL"]', {"fr", "pl", "jit"}),
        ('not_country = "PL"', {"fr", "de", "world"}),
        ('client_of = "origin"', {"pl"}),
        ('not_client_of = "origin"', ALL - {"pl"}),
        ('attribute = { tenant = "ACME" }', {"pl"}),
        ('attribute = { tenant = ["acme", "globex"] }', {"pl", "jit"}),
        ('not_attribute = { tenant = "globex" }', ALL - {"jit"}),
        ('kind = "cert", country = "FR"', {"fr"}),
        ('kind = "le", country = "DE"', set()),
    ],
)
def test_a_permit_reaches_those_whom_to_names(make, build, to, expected):
    assert readers(make, build, f'[[permit]]\nid = "p"\nto = {{ {to} }}\n') == expected


@pytest.mark.parametrize(
    ("to", "hidden"),
    [
        ('country = "PL"', {"pl", "jit"}),
        ('not_country = ["FR"]', {"de", "pl", "jit", "world"}),
        ('attribute = { tenant = "globex" }', {"jit"}),
        ('group = "le"', {"de"}),
        ('not_kind = "cert"', {"jit", "world"}),
    ],
)
def test_a_forbid_reaches_a_joint_team_through_any_of_its_countries(make, build, to, hidden):
    rules = f'[[permit]]\nid = "p"\n[[forbid]]\nid = "f"\nto = {{ {to} }}\n'
    assert readers(make, build, rules) == ALL - hidden


WHAT = [
    ('type = "indicator"', {}, True),
    ('type = ["malware", "tool"]', {}, False),
    ('not_type = "malware"', {}, True),
    ('spec_version = "2.0"', {}, False),
    ('tlp = ["green"]', {}, True),
    ('tlp = ["amber"]', {"labels": ("tlp:amber",)}, True),
    ('not_tlp = "green"', {}, False),
    ('marking = "marking-definition--00000000-0000-4000-8000-00000000000f"', {"marks": ["green", "NEUTRAL"]}, True),
    ('marking = "marking-definition--00000000-0000-4000-8000-00000000000f"', {}, False),
    ('label = "Secret"', {"labels": ("a", "secret")}, True),
    ('not_label = "secret"', {"labels": ("a",)}, True),
    ('facet = { crime = "pure" }', {"labels": ("crime:pure",)}, True),
    ('facet = { crime = "pure" }', {"labels": ("crime:enabled", "crime:pure")}, True),
    ('not_facet = { crime = "enabled" }', {}, True),
    ('not_facet = { crime = "enabled" }', {"labels": ("crime:enabled", "crime:pure")}, False),
    ('facet = { countries = "FR" }', {"labels": ("country:fr",)}, True),
    ('facet = { crime = "pure", countries = "FR" }', {"labels": ("country:fr",)}, False),
    ('facet = { crime = "pure" }', {"extensions": (EXT,), "extension_values": ((EXT, "category", "Pure"),)}, True),
    ('has_facet = "crime"', {"extensions": (EXT,), "extension_values": ((EXT, "category", "new"),)}, True),
    ('has_facet = "crime"', {"extensions": (EXT,), "extension_values": ((EXT, "other", "Pure"),)}, False),
    ('has_facet = "countries"', {"labels": ("country:zz",)}, True),
    ('not_has_facet = "countries"', {"labels": ("country",)}, True),
    ('identity_class = "individual"', {"identity_class": "individual"}, True),
    ('not_identity_class = "individual"', {}, True),
    ('by = "origin"', {}, True),
    ('not_by = "origin"', {}, False),
    ('collection = "shared"', {}, True),
    ('not_collection = ["shared", "vendor"]', {"collection": "third"}, True),
    ("confidence_below = 50", {"confidence": 49}, True),
    ("confidence_below = 50", {"confidence": 50}, False),
    ("confidence_below = 1", {}, True),
    ("confidence_at_least = 50", {"confidence": 50}, True),
    ("confidence_at_least = 0", {}, False),
    (f'extension = "{EXT}"', {"extensions": (EXT,)}, True),
    (f'not_extension = "{EXT}"', {}, True),
    ("revoked = true", {"revoked": True}, True),
    ("revoked = false", {"revoked": True}, False),
    ('creator = "origin"', {"creator": ID}, True),
    ('type = "indicator", label = "x"', {}, False),
]


@pytest.mark.parametrize(("what", "values", "fits"), WHAT)
def test_what_picks_the_same_objects_in_a_permit_and_in_a_forbid(make, build, what, values, fits):
    permit = f'[[permit]]\nid = "p"\nto = {{ audience = "fr" }}\nwhat = {{ {what} }}\n'
    forbid = f'[[permit]]\nid = "p"\nto = {{ audience = "fr" }}\n[[forbid]]\nid = "f"\nwhat = {{ {what} }}\n'
    assert readers(make, build, permit, **values) == ({"fr"} if fits else set())
    assert readers(make, build, forbid, **values) == (set() if fits else {"fr"})


@pytest.mark.parametrize(
    ("labels", "permitted", "hidden"),
    [
        ((), set(), set()),
        (("country:fr",), {"fr"}, {"fr", "jit", "world"}),
        (("country:fr", "country:pl"), {"fr", "pl", "jit"}, {"fr", "pl", "jit", "world"}),
        (("country:xx",), set(), {"world"}),
    ],
)
def test_an_own_value_permits_by_all_and_forbids_by_any(make, build, labels, permitted, hidden):
    own = 'what = { facet = { countries = "@country" } }\n'
    assert readers(make, build, f'[[permit]]\nid = "p"\n{own}', labels=labels) == permitted
    forbid = f'[[permit]]\nid = "p"\n[[forbid]]\nid = "f"\n{own}'
    assert readers(make, build, forbid, labels=labels) == ALL - hidden


@pytest.mark.parametrize(
    ("labels", "permitted", "hidden"),
    [
        ((), ALL, ALL),
        (("country:fr",), {"de", "pl"}, {"de", "pl", "jit", "world"}),
        (("country:fr", "country:pl"), {"de"}, {"de", "world"}),
    ],
)
def test_a_negated_own_value_swaps_all_and_any(make, build, labels, permitted, hidden):
    own = 'what = { not_facet = { countries = "@country" } }\n'
    assert readers(make, build, f'[[permit]]\nid = "p"\n{own}', labels=labels) == permitted
    forbid = f'[[permit]]\nid = "p"\n[[forbid]]\nid = "f"\n{own}'
    assert readers(make, build, forbid, labels=labels) == ALL - hidden


@pytest.mark.parametrize(
    ("unless", "labels", "readable"),
    [
        ('group = "le"', (), {"de"}),
        ('kind = "cert", country = "FR"', (), {"fr"}),
        ('kind = "le", or_audience = "fr"', (), {"fr", "jit"}),
        ('or_kind = "cert", or_group = "heron"', (), {"fr", "de", "pl", "world"}),
        ('attribute_in_facet = { tenant = "tenant" }', ("tenant:acme",), {"pl"}),
        ('attribute_in_facet = { tenant = "tenant" }', ("tenant:acme", "tenant:globex"), {"pl", "jit"}),
        ('attribute_in_facet = { tenant = "tenant" }, or_audience = "fr"', ("tenant:x",), {"fr"}),
        ('facet = { countries = "@country" }', ("country:de",), {"de"}),
        ('label = "free"', ("free",), ALL),
        ('label = "free", kind = "le"', ("free",), {"jit"}),
        ('by = "@client_of"', (), {"pl"}),
        ('creator = "origin"', (), set()),
    ],
)
def test_unless_excuses_those_who_meet_all_of_it_or_one_alternative(make, build, unless, labels, readable):
    rules = f'[[permit]]\nid = "p"\n[[forbid]]\nid = "f"\nunless = {{ {unless} }}\n'
    assert readers(make, build, rules, labels=labels) == readable


def test_clients_of_the_submitter_read_only_when_a_rule_says_so(make, build):
    rules = '[[permit]]\nid = "p"\nwhat = { by = "@client_of" }\n'
    assert readers(make, build, rules) == {"pl"}
    assert readers(make, build, rules, submitter="fr") == set()


@pytest.mark.parametrize(
    ("submitter", "creator", "permitted", "forbidden"),
    [
        ("origin", ID, True, True),
        ("de", ID, False, True),
        ("origin", None, False, True),
        ("origin", "identity--00000000-0000-4000-8000-000000000002", False, True),
        ("de", None, False, False),
        ("de", "identity--00000000-0000-4000-8000-000000000002", False, False),
    ],
)
def test_a_permit_wants_a_verified_creator_and_a_forbid_the_claimed_or_the_real_one(
    make, build, submitter, creator, permitted, forbidden
):
    values = {"submitter": submitter, "creator": creator}
    permit = '[[permit]]\nid = "p"\nto = { audience = "fr" }\nwhat = { creator = "origin" }\n'
    assert readers(make, build, permit, **values) == ({"fr"} if permitted else set())
    forbid = '[[permit]]\nid = "p"\nto = { audience = "fr" }\n[[forbid]]\nid = "f"\nwhat = { creator = "origin" }\n'
    assert readers(make, build, forbid, **values) == (set() if forbidden else {"fr"})


@pytest.mark.parametrize(("submitter", "permitted", "forbidden"), [("origin", False, False), ("de", False, True)])
def test_a_forged_creator_neither_opens_a_permit_nor_escapes_a_forbid_by_others(
    make, build, submitter, permitted, forbidden
):
    values = {"submitter": submitter, "creator": ID}
    permit = '[[permit]]\nid = "p"\nto = { audience = "fr" }\nwhat = { not_creator = "origin" }\n'
    assert readers(make, build, permit, **values) == ({"fr"} if permitted else set())
    forbid = '[[permit]]\nid = "p"\nto = { audience = "fr" }\n[[forbid]]\nid = "f"\nwhat = { not_creator = "origin" }\n'
    assert readers(make, build, forbid, **values) == (set() if forbidden else {"fr"})


# ---- order and reasons


FULL = """
[[permit]]
id = "open"
[[forbid]]
id = "no"
why = "the law"
what = { label = "no" }
[[select]]
id = "dull"
drop = { confidence_below = 50 }
[[embargo]]
id = "later"
what = { label = "later" }
delay = "48h"
[[strip]]
id = "cut"
what = { label = "cut" }
properties = ["x_secret"]
[[strip]]
id = "anonymous"
what = { label = "anonymous" }
creator = true
"""
FIRMLY = {"properties": ("x_other", "x_secret"), "fixed_properties": ("x_secret",)}


@pytest.mark.parametrize(
    ("values", "reason", "rule"),
    [
        ({"confidence": 90}, "permit", "open"),
        ({"confidence": 10}, "select", "dull"),
        ({}, "select", "dull"),
        ({"revoked": True}, "permit", "open"),
        ({"confidence": 10, "labels": ("no",)}, "forbid", "no"),
        ({"revoked": True, "labels": ("no",)}, "forbid", "no"),
        ({"confidence": 10, "labels": ("later",)}, "select", "dull"),
        ({"confidence": 90, "labels": ("later",)}, "embargo", "later"),
        ({"confidence": 90, "labels": ("cut",)}, "permit", "open"),
        ({"confidence": 90, "labels": ("cut",), "fixed_properties": ("x_secret",)}, "permit", "open"),
        ({"confidence": 90, "labels": ("cut",), **FIRMLY}, "strip", "cut"),
        ({"confidence": 90, "labels": ("cut",), **FIRMLY, "parts": ["red"]}, "granular", None),
        ({"confidence": 90, "labels": ("anonymous",)}, "permit", "open"),
        ({"confidence": 10, "labels": ("no",), "marks": ["red"]}, "tlp", None),
        ({"labels": ("no",), "marks": ["UNKNOWN"]}, "unknown-marking", None),
        ({"labels": ("no",), "submitter": "fr", "marks": ["red"]}, "submitter", None),
    ],
)
def test_the_first_step_that_objects_gives_the_reason(ask, values, reason, rule):
    decision = ask("fr", FULL, **{**GREEN, **values})
    assert (decision.reason, decision.rule) == (reason, rule)
    assert decision.verdict == ("read" if reason in ("permit", "submitter") else "hide")


def test_no_permit_is_told_after_the_rules_that_forbid(ask):
    rules = '[[forbid]]\nid = "f"\nwhat = { label = "x" }\n'
    assert ask("fr", rules, **GREEN).reason == "no-permit"
    assert ask("fr", rules, labels=("x",), **GREEN).reason == "forbid"


def test_the_text_of_a_forbid_carries_its_why(ask):
    assert ask("fr", FULL, labels=("no",), **GREEN).text == "forbidden by rule 'no': the law"


def test_a_failure_inside_hides_and_never_raises(make, build):
    policy = make()
    broken = policy.vocabulary.project(build(**GREEN, labels=("tlp:amber",)))
    object.__setattr__(broken, "label_tlp", "no such level")
    decision = policy.decide("fr", broken, Meanings.empty())
    assert (decision.verdict, decision.reason) == ("hide", "error")
    assert policy.explain("fr", broken, Meanings.empty()).decision == decision


def test_explain_lists_every_rule_that_concerns_the_audience_and_those_that_lost(make, build):
    policy = make(FULL)
    facets = policy.vocabulary.project(build(**GREEN, labels=("later", "no"), confidence=10))
    explanation = policy.explain("fr", facets, Meanings.empty())
    assert explanation.decision.rule == "no"
    assert explanation.lost == ("dull", "later", "open")
    outcomes = {check.rule: check.outcome for check in explanation.steps if check.rule}
    assert outcomes == {
        "no": "failed",
        "dull": "failed",
        "later": "failed",
        "open": "passed",
        "cut": "neutral",
        "anonymous": "neutral",
    }
    steps = list(dict.fromkeys(check.name for check in explanation.steps))
    assert steps[:5] == ["audience", "submitter", "built-in", "release", "markings"]


def test_explain_judges_every_marking_by_itself(make, build):
    policy = make()
    facets = policy.vocabulary.project(build(marks=["green", "REL_FR_DE", "ORCON"], parts=["red"]))
    steps = policy.explain("pl", facets, Meanings.empty()).steps
    # The first check of a step is the step as a whole, each further one is about one marking.
    assert [check.outcome for check in steps if check.name == "markings"] == ["failed", "failed", "failed", "passed"]
    assert [check.outcome for check in steps if check.name == "granular"] == ["failed", "failed"]
    assert "in effect: green" in [check.detail for check in steps if check.name == "level"]


def test_explain_tells_that_a_rule_was_excused(make, build):
    rules = '[[permit]]\nid = "p"\n[[forbid]]\nid = "f"\nwhat = { label = "x" }\nunless = { label = "y" }\n'
    policy = make(rules)
    facets = policy.vocabulary.project(build(**GREEN, labels=("x", "y")))
    details = {check.rule: check.detail for check in policy.explain("fr", facets, Meanings.empty()).steps}
    assert details["f"] == "excused by its unless"


def test_explain_of_an_unmapped_audience_says_so(make, build):
    policy = make()
    explanation = policy.explain("nobody", policy.vocabulary.project(build(**GREEN)), Meanings.empty())
    assert (explanation.decision.verdict, explanation.decision.reason) == ("hide", "unmapped")
