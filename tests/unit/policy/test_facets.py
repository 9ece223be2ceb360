"""Facets and vocabularies: projection, growth, and whether an old label is still precise."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxii_server.model import Traits
from taxii_server.policy import OTHER, Access, Facets, FacetSource, Meanings, Vocabulary, allowed

TYPES = ("indicator", "malware", "tool")
LABELS = ("a", "b", "p:x", "p:y", "p:q:z", "tlp:amber", "tlp:wat")
IDS = ("malware--1", "tool--1", "indicator--1")
EXTENSIONS = ("e1", "e2")
SOURCES = (
    FacetSource("f", prefix="p:"),
    FacetSource("f", labels=(("a", "x"), ("b", "y"))),
    FacetSource("g", extension="e1", property="k", values=(("m", "x"), ("n", "y"))),
    FacetSource("h", extension="e2", property="k"),
    FacetSource("i", prefix="p:q:", extension="e1", property="other"),
)

RELEASES = {
    "one#1": ("s", frozenset(IDS[:1])),
    "two#2": ("s", frozenset(IDS[:2])),
    "three#3": ("t", frozenset(IDS[1:])),
}


def some(*values: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(values))


VOCABULARIES = st.builds(
    Vocabulary,
    types=some(*TYPES),
    labels=some("a", "b", "p:x"),
    identity_classes=some("individual", "group"),
    creators=some("i1", "i2"),
    extensions=some(*EXTENSIONS),
    properties=some("x_a", "x_b"),
    confidences=st.frozensets(st.sampled_from([0, 20, 50, 100])),
    facets=st.dictionaries(st.sampled_from(SOURCES), some("x", "y", "m", "q:z", "z")),
    releases=st.sets(st.sampled_from(sorted(RELEASES))).map(lambda keys: {key: RELEASES[key] for key in keys}),
)


@st.composite
def traits(draw: st.DrawFn) -> Traits:
    values = draw(
        st.sets(st.tuples(st.sampled_from(EXTENSIONS), st.sampled_from(["k", "other"]), st.sampled_from("mnx")))
    )
    id_ = draw(st.sampled_from(IDS))
    extensions = {name for name, _, _ in values} | draw(some(*EXTENSIONS, "e3"))
    granular, properties = draw(some("m1", "m3")), draw(some("x_a", "x_b", "x_c"))
    return Traits(
        collection="c",
        submitter=draw(st.sampled_from(["s", "t"])),
        id=id_,
        type=id_.partition("--")[0],
        spec_version="2.1",
        revoked=draw(st.booleans()),
        markings=tuple(sorted(draw(some("m1", "m2")))),
        granular=tuple(sorted(granular)),
        creator=draw(st.sampled_from([None, "i1", "i2", "i3"])),
        labels=tuple(sorted(draw(some(*LABELS)))),
        confidence=draw(st.none() | st.integers(0, 100)),
        extensions=tuple(sorted(extensions)),
        extension_values=tuple(sorted(values)),
        identity_class=draw(st.sampled_from([None, "individual", "system"])),
        properties=tuple(sorted(properties)),
        defines=draw(st.sampled_from([None, "m1"])),
        firm_granular=tuple(sorted(granular & draw(some("m1", "m3")))),
        fixed_properties=tuple(sorted(properties & draw(some("x_a", "x_b", "x_c")))),
    )


@given(VOCABULARIES, traits())
def test_facets_survive_json(vocabulary, thing):
    facets = vocabulary.project(thing)
    again = Facets.from_json(facets.to_json())
    assert again == facets
    assert hash(again) == hash(facets)
    assert again.to_json() == facets.to_json()


@given(VOCABULARIES)
def test_a_vocabulary_survives_json(vocabulary):
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.to_json() == vocabulary.to_json()


@given(VOCABULARIES, st.lists(traits(), max_size=6))
def test_many_are_projected_as_each_alone(vocabulary, things):
    # Twice: the second time each of them has one that is alike.
    found = vocabulary.project_all([*things, *things])
    assert found == [vocabulary.project(each) for each in (*things, *things)]
    assert all(one is other for one, other in zip(found, found[len(things) :], strict=False))


@given(VOCABULARIES, VOCABULARIES)
def test_a_union_covers_both_and_nothing_is_lost(one, two):
    both = one.union(two)
    assert both.covers(one)
    assert both.covers(two)
    assert both == two.union(one)
    assert both.union(one) == both
    assert one.covers(two) == (one.union(two) == one)


@given(VOCABULARIES, VOCABULARIES, traits())
def test_what_is_still_exact_would_be_projected_the_same_but_for_new_releases(old, more, thing):
    new = old.union(more)
    facets = old.project(thing)
    if new.still_exact(facets, old):
        assert replace(new.project(thing), releases=facets.releases) == facets


@given(VOCABULARIES, VOCABULARIES, traits())
def test_facets_of_a_wider_vocabulary_can_be_made_coarser(old, more, thing):
    new = old.union(more)
    assert old.coarsen(new.project(thing)) == old.project(thing)
    assert new.coarsen(new.project(thing)) == new.project(thing)


@pytest.mark.parametrize(
    ("by", "id_", "found"),
    [
        ("s", "malware--1", ("one#1", "two#2")),
        ("s", "tool--1", ("two#2",)),
        ("t", "tool--1", ("three#3",)),
        ("t", "malware--1", ()),
        ("u", "tool--1", ()),
        ("s", "tool--2", ()),
    ],
)
def test_a_release_names_objects_that_its_originator_posted_and_no_copies_by_others(by, id_, found):
    vocabulary = Vocabulary(releases=RELEASES)
    assert facets_of(vocabulary, submitter=by, id=id_).releases == found
    assert vocabulary.released_to(by, id_) == found


def test_parts_and_properties_that_cannot_be_taken_out_are_facets_where_rules_ask():
    values = {"properties": ("x_a", "x_b"), "fixed_properties": ("x_a", "x_b"), "firm_granular": ("m1",)}
    facets = facets_of(Vocabulary(properties=frozenset({"x_b", "x_z"})), **values)
    assert (facets.firm, facets.properties, facets.fixed) == (("m1",), ("x_b",), ("x_b",))


@given(VOCABULARIES, traits())
def test_a_vocabulary_that_has_not_grown_keeps_every_label_exact(vocabulary, thing):
    assert vocabulary.still_exact(vocabulary.project(thing), vocabulary)


@given(VOCABULARIES, VOCABULARIES, traits(), traits())
def test_a_larger_vocabulary_never_sees_less(old, more, one, two):
    new = old.union(more)
    if new.project(one) == new.project(two):
        assert old.project(one) == old.project(two)


def facets_of(vocabulary: Vocabulary, **values: object) -> Facets:
    data = {"collection": "c", "submitter": "s", "id": "tool--1", "type": "tool", "spec_version": "2.1", **values}
    return vocabulary.project(Traits(**data))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "values", "exact"),
    [
        ({}, {"types": frozenset({"malware"})}, {}, False),
        ({"types": frozenset({"tool"})}, {"types": frozenset({"malware"})}, {}, True),
        ({}, {"labels": frozenset({"x"})}, {"labels": ("y",)}, False),
        ({}, {"labels": frozenset({"x"})}, {}, True),
        ({}, {"confidences": frozenset({50})}, {"confidence": 10}, False),
        ({}, {"confidences": frozenset({50})}, {}, True),
        ({"confidences": frozenset({50})}, {"confidences": frozenset({70})}, {"confidence": 10}, True),
        ({"confidences": frozenset({50})}, {"confidences": frozenset({70})}, {"confidence": 60}, False),
        ({"confidences": frozenset({50})}, {"confidences": frozenset({100})}, {"confidence": 60}, False),
        ({}, {"creators": frozenset({"i"})}, {"creator": "j"}, False),
        ({}, {"creators": frozenset({"i"})}, {}, True),
        ({}, {"extensions": frozenset({"e"})}, {"extensions": ("f",)}, False),
        ({}, {"identity_classes": frozenset({"group"})}, {"identity_class": "system"}, False),
        ({}, {"properties": frozenset({"x"})}, {}, False),
        ({}, {"releases": {"r#1": ("s", frozenset({"tool--1"}))}}, {}, True),
        ({}, {"facets": {SOURCES[0]: frozenset()}}, {"labels": ("p:x",)}, False),
        ({}, {"facets": {SOURCES[0]: frozenset()}}, {}, True),
        (
            {"facets": {SOURCES[0]: frozenset({"x"})}},
            {"facets": {SOURCES[0]: frozenset({"y"})}},
            {"labels": ("p:x",)},
            True,
        ),
        (
            {"facets": {SOURCES[0]: frozenset()}},
            {"facets": {SOURCES[0]: frozenset({"y"})}},
            {"labels": ("p:x",)},
            False,
        ),
    ],
)
def test_a_label_stays_exact_unless_a_collapsed_dimension_has_grown(old, new, values, exact):
    before = Vocabulary(**old)
    after = before.union(Vocabulary(**new))
    assert after.still_exact(facets_of(before, **values), before) is exact


def test_json_leaves_out_what_is_plain():
    assert json.loads(facets_of(Vocabulary()).to_json()) == {
        "collection": "c",
        "submitter": "s",
        "type": OTHER,
        "spec_version": "2.1",
    }


def test_a_facet_defined_anew_under_its_name_is_another_dimension():
    assert FacetSource("f", prefix="a:").key != FacetSource("f", prefix="b:").key


@pytest.mark.parametrize(
    ("labels", "level"),
    [
        ((), None),
        (("tlp:white",), "clear"),
        (("tlp:amber+strict", "tlp:green"), "amber+strict"),
        (("tlp:red", "tlp:x"), "?"),
    ],
)
def test_the_level_of_tlp_labels_is_the_highest_or_unclear(labels, level):
    assert facets_of(Vocabulary(), labels=labels).label_tlp == level


def test_an_unnamed_value_cannot_pass_for_a_named_one():
    vocabulary = Vocabulary(types=frozenset({"tool"}), labels=frozenset({"a"}))
    facets = facets_of(vocabulary, type="*", labels=("*",), creator="*", identity_class="*")
    assert (facets.type, facets.labels, facets.creator, facets.identity_class) == (OTHER, (OTHER,), OTHER, OTHER)


RULES = """
[[permit]]
id = "certs"
to = { kind = "cert" }
what = { not_facet = { crime = "enabled" } }
[[permit]]
id = "own"
what = { facet = { countries = "@country" } }
[[permit]]
id = "definitions-of-a"
what = { label = "a" }
[[forbid]]
id = "low"
what = { confidence_below = 20, label = "b" }
unless = { group = "le" }
[[select]]
id = "dull"
to = { kind = "le" }
drop = { confidence_below = 40 }
"""


IEP = "marking-definition--00000000-0000-4000-8000-0000000000ee"
DATED = json.dumps(
    {
        "submitter": "origin",
        "id": IEP,
        "kind": "iep",
        "tlp": "green",
        "start_date": "1970-01-01T00:00:00Z",
        "end_date": "1970-01-01T00:00:01Z",
        "attribution": "must-not",
    }
)
TIMED = """
[[embargo]]
id = "later"
what = { label = "a" }
delay = "48h"
[[embargo]]
id = "not-yet"
what = { label = "b" }
until = 1970-01-01T00:00:00.5Z
[[strip]]
id = "cut"
to = { not_group = "le" }
properties = ["x_a", "x_b"]
[[strip]]
id = "anonymous"
what = { label = "a" }
creator = true
[[release]]
id = "out"
by = "origin"
objects = ["indicator--00000000-0000-4000-8000-000000000000"]
to = { audience = ["world", "fr"], group = ["heron"] }
until = 1970-01-01T00:00:02Z
"""


@pytest.mark.parametrize(
    ("carried", "moment", "granular"),
    [
        (None, None, "derive"),
        (frozenset(), None, "hide"),
        (frozenset(), 0, "derive"),
        (frozenset({"m"}), 700_000, "derive"),
        (frozenset({"m"}), 1_500_000, "derive"),
        (None, 3_000_000, "hide"),
    ],
)
def test_decide_allowed_and_explain_agree(make, build, carried, moment, granular):
    policy = make(RULES + TIMED, f'[defaults]\ngranular = "{granular}"')
    things = [
        build(
            marks=marks,
            parts=parts,
            labels=labels,
            confidence=confidence,
            revoked=revoked,
            submitter=by,
            defines=defines,
            creator="identity--00000000-0000-4000-8000-000000000001" if by == "origin" else None,
            properties=("x_a", "x_b") if confidence == 90 else (),
            fixed_properties=("x_b",) if confidence == 90 and revoked else (),
            firm_granular=("firm",) if revoked else (),
        )
        for marks in (["green"], [], ["UNKNOWN"], ["red"], ["green", "ORCON"], [IEP])
        for parts in ([], ["amber"])
        for labels in ((), ("a",), ("b",), ("country:fr", "country:pl"), ("crime:enabled", "tlp:amber"))
        for confidence in (None, 90)
        for revoked in (False, True)
        for by in ("origin", "fr")
        for defines in (None, "m")
    ]
    facets = sorted({policy.vocabulary.project(thing) for thing in things}, key=Facets.to_json)
    labels = [
        (number, one, facets[(number * 7) % len(facets)] if number % 3 else None) for number, one in enumerate(facets)
    ]
    meanings = Meanings.empty().with_posted(DATED)
    verdicts: Counter[str] = Counter()
    for name in (*policy.audiences, "nobody"):
        found = allowed(policy, name, labels, meanings, carried, moment)
        for number, one, governor in labels:
            decision = policy.decide(name, one, meanings, governor, carried, moment)
            verdicts[decision.verdict] += 1
            assert (number in found) == (decision.verdict != "hide")
            assert found.get(number, Access()) == Access(decision.delay_us, decision.removal)
            assert (decision.verdict == "derive") == (decision.removal is not None)
            assert policy.explain(name, one, meanings, governor, carried, moment).decision == decision
    assert verdicts["read"]
    assert verdicts["derive"]
    assert verdicts["hide"]


def test_what_suspended_ones_would_read_can_be_asked_for(make, build):
    policy = make()
    labels = [(n, policy.vocabulary.project(build(marks=[m])), None) for n, m in enumerate(["green", "UNKNOWN"])]
    assert allowed(policy, "off", labels, Meanings.empty()) == {}
    assert allowed(policy, "off", labels, Meanings.empty(), suspended_too=True) == {0: Access()}
    assert allowed(policy, "nobody", labels, Meanings.empty(), suspended_too=True) == {}


def test_allowed_does_not_mind_the_order_of_labels(make, build):
    policy = make(RULES)
    labels = [(n, policy.vocabulary.project(build(marks=[m])), None) for n, m in enumerate(["green", "red", "clear"])]
    assert allowed(policy, "fr", labels, Meanings.empty()) == allowed(policy, "fr", labels[::-1], Meanings.empty())
