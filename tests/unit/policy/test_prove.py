"""Claims are proved, not sampled: compared with trying every object, on many small policies."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from taxii_server.model import Traits
from taxii_server.policy import OTHER, Meanings, Policy, Rule, check, parse, prove
from taxii_server.policy.prove import Witness, disprove
from taxii_server.policy.vocabulary import vocabulary_of
from taxii_server.tlp import TLP_2_IDS, TLP_IDS

LISTED = "marking-definition--00000000-0000-4000-8000-00000000000a"
ME = "identity--00000000-0000-4000-8000-000000000001"
EXT = "extension-definition--00000000-0000-4000-8000-000000000001"
HEAD = f"""
schema = 1
[groups]
g = {{}}
[collections]
vendor = {{ unmarked = "tlp:green" }}
[facets.c]
label_prefix = "c:"
[facets.k]
labels = {{ "l1" = "one" }}
extension = {{ id = "{EXT}", property = "p", values = {{ "x" = "one", "y" = "two" }} }}
[markings]
"{LISTED}" = {{ tlp = "green", rel_to = ["DE"] }}
[audience.a]
kind = "le"
country = "DE"
clearance = "red"
groups = ["g"]
identities = ["{ME}"]
[audience.b]
kind = "cert"
countries = ["DE", "FR"]
clearance = "amber"
client_of = ["a"]
[audience.z]
kind = "cert"
clearance = "green"
"""

TO = [
    "",
    'to = { kind = "cert" }\n',
    'to = { not_kind = "cert" }\n',
    'to = { country = "DE" }\n',
    'to = { not_country = ["DE"] }\n',
    'to = { group = "g" }\n',
]
WHAT = [
    'type = "t"',
    'not_type = "t"',
    'type = ["t", "marking-definition"]',
    'label = "l1"',
    'not_label = "l1"',
    'tlp = ["amber", "red"]',
    'tlp = ["clear"]',
    'not_tlp = ["green", "clear"]',
    f'marking = "{LISTED}"',
    f'not_marking = "{LISTED}"',
    f'marking = "{TLP_2_IDS["green"]}"',
    'facet = { c = "de" }',
    'facet = { c = "@country" }',
    'not_facet = { c = "@country" }',
    'not_facet = { c = ["@country", "zz"] }',
    'has_facet = "c"',
    'facet = { k = "one" }',
    'not_facet = { k = "two" }',
    'not_has_facet = "k"',
    f'extension = "{EXT}"',
    f'not_extension = "{EXT}"',
    'by = "a"',
    'not_by = "a"',
    'creator = "a"',
    'not_creator = "a"',
    'collection = "vendor"',
    'not_collection = "vendor"',
    "confidence_below = 50",
    "confidence_at_least = 50",
    "revoked = true",
    "revoked = false",
]
UNLESS = [
    'group = "g"',
    'facet = { c = "@country" }',
    'attribute_in_facet = { country = "c" }',
    'or_audience = "b"',
    'label = "l1", or_kind = "le"',
    'by = "@client_of"',
]
IDS = {type_: f"{type_}--00000000-0000-4000-8000-000000000000" for type_ in ("t", "u", "marking-definition")}
RELEASES = [
    (by, str(list(objects)).replace("'", '"'), to)
    for by in ("a", "b")
    for objects in ([IDS["t"]], [IDS["u"], IDS["marking-definition"]])
    for to in ('audience = "a"', 'group = "g"', 'audience = ["b", "a"]')
]


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    def what(most: int) -> str:
        chosen = draw(st.lists(st.sampled_from(WHAT), max_size=most, unique_by=lambda text: text.split(" =")[0]))
        return f"{{ {', '.join(chosen)} }}" if chosen else ""

    text, number = HEAD, itertools.count()
    for section, most in (("permit", 2), ("forbid", 2), ("select", 1), ("embargo", 1), ("strip", 1), ("never", 2)):
        lowest = 1 if section in ("permit", "never") else 0
        for _ in range(draw(st.integers(lowest, most))):
            text += f'[[{section}]]\nid = "{section}{next(number)}"\n{draw(st.sampled_from(TO))}'
            body = what(2)
            if section == "select":
                text += f"drop = {body or '{ confidence_below = 50 }'}\n"
            elif body or section == "never":
                text += "what = " + (body or '{ tlp = ["amber", "red"] }') + "\n"
            if section == "embargo":
                text += draw(st.sampled_from(['delay = "1h"\n', "until = 2026-06-01T00:00:00Z\n"]))
            if section == "strip":
                text += draw(st.sampled_from(['properties = ["x_p"]\n', "creator = true\n"]))
            if section == "forbid" and draw(st.booleans()):
                text += f"unless = {{ {draw(st.sampled_from(UNLESS))} }}\n"
    for by, objects, to in draw(st.lists(st.sampled_from(RELEASES), max_size=2, unique=True)):
        text += f'[[release]]\nid = "release{next(number)}"\nby = "{by}"\nobjects = {objects}\nto = {{ {to} }}\n'
    return parse({"p": text})


LABELS = ("c:de", "c:fr", "c:zz", "l1", "plain")
MARKS = ((), *((id_,) for id_ in TLP_2_IDS.values()), (LISTED,), (LISTED, TLP_2_IDS["amber"]))
NOTHING_POSTED = Meanings.empty()
LATE = 10**16


def some_object(random: Random) -> Traits:
    """An object with values that the rules above can tell apart, and some that they cannot."""
    defines = random.random() < 0.2
    type_ = "marking-definition" if defines else random.choice(["t", "u"])
    extension = random.choice([(), (), ((EXT, "p", "x"),), ((EXT, "p", "y"),), ((EXT, "q", "x"),)])
    return Traits(
        collection=random.choice(["vendor", "shared"]),
        submitter=random.choice(["a", "b", "stranger"]),
        id=random.choice(["i", IDS[type_]]),
        type=type_,
        spec_version="2.1",
        revoked=random.random() < 0.2,
        markings=tuple(sorted(random.choice(MARKS))),
        creator=random.choice([None, ME, "identity--x"]),
        labels=tuple(sorted(random.sample(LABELS, random.choice([0, 0, 1, 2, 3])))),
        confidence=random.choice([None, 40, 60]),
        extensions=tuple({name for name, _, _ in extension}),
        extension_values=extension,
        properties=random.choice([(), ("x_p",)]),
        defines="m" if defines else None,
    )


def breaks(policy: Policy, claim: Rule, name: str, traits: Traits) -> bool:
    """Whether this very object breaks the claim for this audience, by `decide`."""
    wide = vocabulary_of(policy.rules, policy.releases, policy.facets, policy.audiences, claims=True)
    case = policy.case(wide.project(traits), NOTHING_POSTED)
    tests = policy.compiler.clause(claim, policy.audiences[name])
    if traits.submitter == name or not all(test.holds(case) for test in tests):
        return False
    # At a moment when every embargo is over; a copy that lacks something counts, too.
    decision = policy.decide(name, policy.vocabulary.project(traits), NOTHING_POSTED, moment=LATE)
    return decision.verdict != "hide"


def real(policy: Policy, witness: Witness) -> Traits:
    """An object as the witness describes it."""
    data = witness.case.chosen
    labels, markings, properties, extensions, values = [], [], [], [], []
    ids: list[str] = []
    for choice, value in data.items():
        if value is not True:
            continue
        if choice[0] == "label":
            labels.append(choice[1])
        elif choice[0] == "prefix":
            labels.append(f"{choice[1]}~other")
        elif choice[0] == "marking":
            levels = {f"TLP:{level.upper()}": id_ for id_, level in reversed(TLP_IDS.items())}
            markings.append(levels.get(choice[1], choice[1]))
        elif choice[0] == "property":
            properties.append(choice[1])
        elif choice[0] == "extension":
            extensions.append(choice[1])
        elif choice[0] == "release":
            released = next(release for release in policy.releases if release.facet == choice[1])
            seen = (data[("type",)][0], *(() if data[("type",)][0] != OTHER else ("u", "marking-definition", "t")))
            ids.extend(id_ for id_ in sorted(released.objects) if id_.partition("--")[0] in seen)
        else:
            values.append((choice[1], choice[2], "~other" if choice[3] == OTHER else choice[3]))
            extensions.append(choice[1])
    type_, definition = data[("type",)]
    band = data.get(("confidence",))
    return Traits(
        collection=str(data.get(("collection",), OTHER)),
        submitter=str(data.get(("submitter",), OTHER)),
        id=ids[0] if ids else "i",
        type=type_,
        spec_version=str(data.get(("spec_version",), OTHER)),
        revoked=data.get(("revoked",)) == "true",
        markings=tuple(sorted(markings)),
        creator=data.get(("creator",)),
        labels=tuple(sorted(labels)),
        confidence=None if band is None else band[0],
        extensions=tuple(sorted(set(extensions))),
        extension_values=tuple(values),
        properties=tuple(properties),
        defines="m" if definition else None,
    )


SEARCH = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


@SEARCH
@given(policies(), st.integers(0, 2**32))
def test_a_claim_is_broken_exactly_when_some_object_breaks_it(policy, seed):
    random = Random(seed)
    objects = [some_object(random) for _ in range(300)]
    for claim in (rule for rule in policy.rules if rule.kind == "never"):
        witness = disprove(policy, claim)
        if witness is not None:
            assert breaks(policy, claim, witness.audience, real(policy, witness)), str(witness)
            continue
        for name in policy.audiences:
            if policy.concerns(claim, name):
                assert not [traits for traits in objects if breaks(policy, claim, name, traits)]


@SEARCH
@given(policies())
def test_a_short_search_and_one_that_learns_from_dead_ends_agree(policy):
    for claim in (rule for rule in policy.rules if rule.kind == "never"):
        plain = disprove(policy, claim, plain_steps=10**9)
        learning = disprove(policy, claim, plain_steps=0)
        assert (plain is None) == (learning is None)


MINI = """
schema = 1
[audience.cert]
kind = "cert"
clearance = "red"
[audience.poster]
kind = "le"
clearance = "red"
[[permit]]
id = "certs-read"
to = { kind = "cert" }
"""


def claims(rules: str, *whats: str) -> list[str]:
    text = MINI + rules
    for number, what in enumerate(whats):
        text += f'[[never]]\nid = "claim {number}"\nto = {{ kind = "cert" }}\nwhat = {what}\n'
    return [str(problem) for problem in check(parse({"p.toml": text}))]


def test_a_broken_claim_names_the_reader_the_object_and_the_rule():
    assert claims("", '{ type = "indicator", tlp = "amber" }') == [
        "p.toml: never 'claim 0' does not hold: cert reads indicator, amber (rule 'certs-read')"
    ]


@pytest.mark.parametrize(
    ("rules", "what", "holds"),
    [
        ("", '{ tlp = "red" }', True),
        ("", '{ label = "secret" }', False),
        ('[[forbid]]\nid = "f"\nwhat = { label = "secret" }\n', '{ label = "secret" }', True),
        ('[[forbid]]\nid = "f"\nwhat = { label = "secret", revoked = false }\n', '{ label = "secret" }', False),
        ('[[forbid]]\nid = "f"\nwhat = { by = "poster" }\n', '{ label = "secret" }', False),
        ('[[forbid]]\nid = "f"\nwhat = { by = "poster" }\n', '{ by = "poster" }', True),
        ('[[forbid]]\nid = "f"\nwhat = { confidence_below = 30 }\n', "{ confidence_below = 20 }", True),
        ('[[forbid]]\nid = "f"\nwhat = { confidence_below = 30 }\n', "{ confidence_below = 40 }", False),
        ('[[select]]\nid = "s"\ndrop = { label = "old" }\n', '{ label = "old" }', False),
        ('[[select]]\nid = "s"\ndrop = { label = "old" }\n', '{ label = "old", revoked = false }', True),
        # What is only delayed will be read, and what is cut down is read.
        ('[[embargo]]\nid = "e"\nwhat = { type = "t" }\ndelay = "1h"\n', '{ type = "t" }', False),
        ('[[embargo]]\nid = "e"\nwhat = { type = "t" }\nuntil = 2999-01-01T00:00:00Z\n', '{ type = "t" }', False),
        ('[[strip]]\nid = "s"\nwhat = { type = "t" }\ncreator = true\n', '{ type = "t" }', False),
        ('[[strip]]\nid = "s"\nwhat = { type = "t" }\nproperties = ["x"]\n', '{ type = "t" }', False),
    ],
)
def test_claims_hold_or_not(rules, what, holds):
    assert (claims(rules, what) == []) == holds


RELEASE = """
[[release]]
id = "case-7"
by = "poster"
objects = ["t--00000000-0000-4000-8000-000000000000"]
to = { audience = "cert" }
until = 2020-01-01T00:00:00Z
"""


def test_a_release_that_shows_what_a_claim_denies_is_found_and_named():
    assert claims(RELEASE, '{ type = "t", tlp = "red" }') == [
        "p.toml: never 'claim 0' does not hold: cert reads t, red, submitter poster, released by 'case-7' "
        "(rule 'certs-read')"
    ]


@pytest.mark.parametrize(
    ("rules", "what", "holds"),
    [
        # of another type, by another submitter, forbidden, above the clearance: not readable by a release either
        ("", '{ type = "u", tlp = "red" }', True),
        ("", '{ tlp = "red", not_by = "poster" }', True),
        ('[[forbid]]\nid = "f"\nwhat = { type = "t" }\n', '{ tlp = "red" }', True),
        ('[[forbid]]\nid = "f"\nwhat = { by = "poster", label = "x" }\n', '{ tlp = "red", label = "x" }', True),
        ('[[forbid]]\nid = "f"\nwhat = { by = "poster", label = "x" }\n', '{ tlp = "red" }', False),
        (f'[markings]\n"{LISTED}" = {{ orcon = true }}\n', f'{{ marking = "{LISTED}", not_by = "poster" }}', True),
        (f'[markings]\n"{LISTED}" = {{ orcon = true }}\n', f'{{ marking = "{LISTED}" }}', False),
        (f'[markings]\n"{LISTED}" = {{ rel_to = ["FR"] }}\n', f'{{ marking = "{LISTED}" }}', True),
    ],
)
def test_a_release_counts_in_claims_for_what_it_names_and_lifts_nothing_else(rules, what, holds):
    assert (claims(RELEASE + rules, what) == []) == holds


@pytest.fixture
def judged(monkeypatch):
    """One entry for each time that a proof judges an object: its work, whatever else the machine does."""
    found: list[None] = []
    real = prove.judge

    def counted(*arguments):
        found.append(None)
        return real(*arguments)

    monkeypatch.setattr(prove, "judge", counted)
    return found


def test_many_releases_do_not_slow_a_proof(judged):
    rules = ""
    for number in range(500):
        rules += f'[audience.p{number % 25}]\nkind = "le"\nclearance = "red"\n' if number < 25 else ""
        rules += f'[[release]]\nid = "r{number}"\nby = "p{number % 25}"\nto = {{ audience = "cert" }}\n'
        rules += f'objects = ["t--00000000-0000-4000-8000-{number:012}"]\n'
    rules += '[[forbid]]\nid = "f"\nwhat = { tlp = "red", label = "z" }\n'
    assert claims(rules, '{ tlp = "red", label = "z" }', '{ type = "u", tlp = "red" }') == []
    assert 0 < len(judged) < 100


@pytest.mark.parametrize(("forbidden", "holds"), [('label = "f:x"', False), ('has_facet = "f"', True)])
def test_a_value_under_a_prefix_that_nobody_names_is_tried_too(forbidden, holds):
    rules = f'[facets.f]\nlabel_prefix = "f:"\n[[forbid]]\nid = "x"\nwhat = {{ {forbidden} }}\n'
    assert (claims(rules, '{ has_facet = "f" }') == []) == holds


def test_a_claim_proved_for_one_audience_is_not_taken_as_proved_for_another_with_other_rules():
    rules = '[audience.cert-2]\nkind = "cert"\nclearance = "red"\n[[forbid]]\nid = "f"\nto = { audience = "cert" }\n'
    assert claims(rules, '{ type = "t" }') == [
        "p.toml: never 'claim 0' does not hold: cert-2 reads t, clear (rule 'certs-read')"
    ]


def test_rules_that_have_nothing_to_do_with_a_claim_do_not_slow_its_proof(judged):
    rules = '[facets.f]\nlabel_prefix = "f:"\n'
    for number in range(40):
        rules += f'[[forbid]]\nid = "f{number}"\nwhat = {{ label = "a{number}", facet = {{ f = "x{number}" }} }}\n'
    rules += '[[forbid]]\nid = "q"\nwhat = { label = "z", not_label = "q" }\n'
    rules += f'[[forbid]]\nid = "qx"\nwhat = {{ label = "q", extension = "{EXT}" }}\n'
    rules += f'[[forbid]]\nid = "qy"\nwhat = {{ label = "q", not_extension = "{EXT}" }}\n'
    assert claims(rules, '{ label = "z" }') == []
    assert 0 < len(judged) < 2_000


def test_two_hundred_audiences_twenty_rules_and_ten_claims_are_proved_in_few_steps(judged):
    text = 'schema = 1\n[facets.c]\nlabel_prefix = "c:"\n'
    countries = ["DE", "FR", "PL", "NL", "BE", "SE", "FI", "NO", "DK", "ES"]
    for number in range(200):
        text += f'[audience.a{number}]\nkind = "k{number % 4}"\ncountry = "{countries[number % 10]}"\n'
        text += f'clearance = "{("green", "amber", "amber+strict")[number % 3]}"\n'
    for number in range(10):
        text += f'[[permit]]\nid = "p{number}"\nto = {{ kind = "k{number % 4}" }}\n'
        text += f'what = {{ type = ["t{number}", "u"], facet = {{ c = "@country" }} }}\n'
        text += f'[[forbid]]\nid = "f{number}"\nwhat = {{ label = "l{number}", not_facet = {{ c = "xx" }} }}\n'
        text += f'[[never]]\nid = "n{number}"\nwhat = {{ label = "l{number}", not_has_facet = "c" }}\n'
    policy = parse({"p": text})
    problems = [problem for problem in check(policy) if "marking-definition" not in problem.message]
    assert problems == []
    assert 0 < len(judged) < 60_000
