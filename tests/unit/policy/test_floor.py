"""What markings demand: no rule lifts it. Every case here has a permit for everybody."""

from __future__ import annotations

import json

import pytest

from taxii_server.policy import Meanings

READ = "read"


@pytest.mark.parametrize(
    ("audience", "marks", "expected"),
    [
        ("pl", ["clear"], "permit"),
        ("pl", ["green"], "permit"),
        ("pl", ["amber"], "tlp"),
        ("de", ["amber"], "permit"),
        ("de", ["amber+strict"], "tlp"),
        ("fr", ["amber+strict"], "permit"),
        ("fr", ["red"], "tlp"),
        ("world", ["red"], "tlp-red-not-named"),
        ("de", ["green", "amber+strict"], "tlp"),
        ("de", ["amber+strict", "clear"], "tlp"),
        ("fr", ["REL_FR_DE"], "unmarked"),
        ("fr", ["green", "REL_FR_DE"], "permit"),
        ("pl", ["green", "REL_FR_DE"], "rel-to"),
        ("world", ["green", "REL_FR_DE"], "rel-to"),
        ("jit", ["green", "REL_FR_DE"], "rel-to"),
        ("jit", ["green", "REL_FR_PL"], "permit"),
        ("de", ["green", "REL_FR_DE", "REL_FR_PL"], "rel-to"),
        ("fr", ["green", "REL_FR_DE", "REL_FR_PL"], "permit"),
        ("pl", ["green", "REL_FR_DE", "REL_FR_PL"], "rel-to"),
        ("world", ["green", "REL_FR_HERON"], "permit"),
        ("de", ["green", "REL_FR_HERON"], "rel-to"),
        ("world", ["green", "REL_FR_HERON", "REL_FR_DE"], "rel-to"),
        ("pl", ["green", "NOT_RU_PL"], "not-rel-to"),
        ("jit", ["green", "NOT_RU_PL"], "not-rel-to"),
        ("world", ["green", "NOT_RU_PL"], "permit"),
        ("fr", ["green", "ORCON"], "orcon"),
        ("origin", ["red", "ORCON"], "submitter"),
        ("fr", ["NEUTRAL"], "unmarked"),
        ("fr", ["NEUTRAL", "green"], "permit"),
        ("fr", ["UNKNOWN"], "unknown-marking"),
        ("fr", ["UNKNOWN", "clear"], "unknown-marking"),
        ("pl", ["UNKNOWN", "red"], "unknown-marking"),
        ("fr", [], "unmarked"),
        ("origin", [], "submitter"),
        ("off", ["clear"], "suspended"),
        ("nobody", ["clear"], "unmapped"),
    ],
)
def test_markings_decide_before_any_rule(ask, audience, marks, expected):
    decision = ask(audience, marks=marks)
    assert decision.reason == expected
    assert (decision.verdict == READ) == (expected in ("permit", "submitter"))
    assert decision.text


@pytest.mark.parametrize(
    "tlp_1",
    [
        ("613f2e26-407d-48c7-9eca-b8e91df99dc9", "clear"),
        ("34098fce-860f-48ae-8e50-ebd3cc5e41da", "green"),
        ("f88d31f6-486f-44da-b317-01333bde0b82", "amber"),
        ("5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "red"),
    ],
)
def test_tlp_1_and_tlp_2_mean_the_same(ask, tlp_1):
    id_, level = tlp_1
    for audience in ("pl", "de", "fr", "world"):
        assert ask(audience, marks=[f"marking-definition--{id_}"]) == ask(audience, marks=[level])


def test_the_order_of_markings_does_not_matter(make, build):
    policy = make()
    for marks in (["green", "amber"], ["amber", "green"]):
        facets = policy.vocabulary.project(build(marks=marks))
        assert policy.decide("pl", facets, Meanings.empty()).reason == "tlp"


def test_a_suspended_submitter_does_not_even_read_its_own(ask):
    assert ask("off", submitter="off", marks=["clear"]).reason == "suspended"


@pytest.mark.parametrize(
    ("audience", "labels", "marks", "expected"),
    [
        ("pl", ["tlp:amber"], ["green"], "tlp"),
        ("pl", ["tlp:white"], ["amber"], "tlp"),
        ("de", ["tlp:amber"], ["green"], "permit"),
        ("de", ["tlp:amber"], [], "unmarked"),
        ("fr", ["tlp:clear"], [], "unmarked"),
        ("fr", ["tlp:xyz"], ["clear"], "tlp"),
        ("world", ["tlp:red"], ["clear"], "tlp-red-not-named"),
        ("de", ["tlp:amber-strict"], ["clear"], "tlp"),
        ("pl", ["tlp:clear", "tlp:amber"], ["clear"], "tlp"),
    ],
)
def test_tlp_labels_only_tighten_and_never_mark(ask, audience, labels, marks, expected):
    assert ask(audience, labels=tuple(sorted(labels)), marks=marks).reason == expected


def test_tlp_labels_do_nothing_when_switched_off(ask):
    head = "[defaults]\nlabel_tlp = false"
    assert ask("pl", head=head, labels=("tlp:red",), marks=["green"]).verdict == READ


@pytest.mark.parametrize(
    ("collection", "audience", "expected"),
    [
        ("shared", "fr", "unmarked"),
        ("vendor", "de", "permit"),
        ("vendor", "pl", "tlp"),
        ("secret", "world", "tlp-red-not-named"),
        ("closed", "fr", "unmarked"),
    ],
)
def test_an_unmarked_object_gets_the_default_of_its_collection(ask, collection, audience, expected):
    head = (
        '[collections]\nvendor = { unmarked = "tlp:amber" }\n'
        'secret = { unmarked = "tlp:red" }\nclosed = { unmarked = "deny" }'
    )
    assert ask(audience, head=head, collection=collection).reason == expected


def test_the_collection_default_goes_before_the_general_one_and_never_over_a_marking(ask):
    head = '[defaults]\nunmarked = "tlp:clear"\n[collections]\nvendor = { unmarked = "tlp:amber" }'
    assert ask("pl", head=head).verdict == READ
    assert ask("pl", head=head, collection="vendor").reason == "tlp"
    assert ask("pl", head=head, collection="vendor", marks=["green"]).verdict == READ
    assert ask("pl", head=head, marks=["amber"]).reason == "tlp"


@pytest.mark.parametrize(
    ("audience", "parts", "expected"),
    [
        ("fr", ["amber"], "permit"),
        ("pl", ["amber"], "granular"),
        ("pl", ["REL_FR_DE"], "granular"),
        ("fr", ["UNKNOWN"], "granular"),
        ("fr", ["ORCON"], "granular"),
        ("world", ["red"], "granular"),
        ("pl", ["clear"], "permit"),
    ],
)
def test_a_part_that_is_not_readable_hides_the_whole_object(ask, audience, parts, expected):
    assert ask(audience, marks=["green"], parts=parts).reason == expected


def test_markings_of_parts_never_relax_and_never_mark(ask):
    assert ask("pl", marks=["amber"], parts=["clear"]).reason == "tlp"
    assert ask("fr", marks=[], parts=["clear"]).reason == "unmarked"


def test_every_object_hides_from_all_but_its_submitter_when_it_is_red(make, build):
    policy = make()
    facets = policy.vocabulary.project(build(marks=["red"]))
    readers = [name for name in policy.audiences if policy.decide(name, facets, Meanings.empty()).verdict == READ]
    assert readers == ["origin"]


# ---- posted meanings


def posted(kind: str, submitter: str = "origin", id_: str = "UNKNOWN", **more: object) -> str:
    return json.dumps({"submitter": submitter, "id": id_, "kind": kind, **more})


@pytest.mark.parametrize(
    ("payload", "audience", "marks", "expected"),
    [
        ({"kind": "statement"}, "pl", ["green"], "permit"),
        ({"kind": "statement"}, "pl", [], "unmarked"),
        ({"kind": "neutral"}, "pl", ["green"], "permit"),
        ({"kind": "iep", "tlp": "amber"}, "de", [], "permit"),
        ({"kind": "iep", "tlp": "amber"}, "pl", [], "tlp"),
        ({"kind": "iep", "tlp": "amber"}, "pl", ["clear"], "tlp"),
        ({"kind": "iep", "tlp": "AMBER-STRICT"}, "de", [], "tlp"),
        ({"kind": "iep", "tlp": "purple"}, "fr", ["clear"], "unknown-marking"),
        ({"kind": "iep", "tlp": "green", "end_date": "2020-01-01"}, "fr", ["clear"], "unknown-marking"),
        ({"kind": "acs", "rel_to": ["fr"]}, "fr", ["clear"], "permit"),
        ({"kind": "acs", "rel_to": ["FR"]}, "de", ["clear"], "rel-to"),
        ({"kind": "acs", "rel_to": []}, "fr", ["clear"], "rel-to"),
        ({"kind": "acs", "rel_to": "FR"}, "fr", ["clear"], "unknown-marking"),
        ({"kind": "unknown", "reason": "classified"}, "fr", ["clear"], "unknown-marking"),
        ({"kind": "something"}, "fr", ["clear"], "unknown-marking"),
        ({"kind": "statement", "submitter": "fr"}, "de", ["clear"], "unknown-marking"),
    ],
)
def test_a_posted_meaning_counts_for_the_objects_of_its_poster(ask, names, payload, audience, marks, expected):
    text = json.dumps({"submitter": "origin", "id": names["UNKNOWN"], **payload})
    meanings = Meanings.empty().with_posted(text)
    assert ask(audience, marks=["UNKNOWN", *marks], meanings=meanings).reason == expected


def test_a_strangers_definition_counts_when_the_stranger_is_a_trusted_source(ask, names):
    meanings = Meanings.empty().with_posted(posted("statement", "fr", names["UNKNOWN"]))
    trusted = '[defaults]\nmarking_sources = ["fr"]'
    assert ask("de", marks=["UNKNOWN", "clear"], meanings=meanings).reason == "unknown-marking"
    assert ask("de", head=trusted, marks=["UNKNOWN", "clear"], meanings=meanings).verdict == READ


def test_the_submitters_own_word_goes_before_a_trusted_source(ask, names):
    meanings = Meanings.empty().with_posted(
        posted("statement", "fr", names["UNKNOWN"]), posted("unknown", "origin", names["UNKNOWN"])
    )
    head = '[defaults]\nmarking_sources = ["fr"]'
    assert ask("de", head=head, marks=["UNKNOWN", "clear"], meanings=meanings).reason == "unknown-marking"


def test_the_first_meaning_of_an_id_stands(ask, names):
    meanings = Meanings.empty().with_posted(posted("iep", id_=names["UNKNOWN"], tlp="amber"))
    later = meanings.with_posted(posted("iep", id_=names["UNKNOWN"], tlp="clear"))
    assert ask("pl", marks=["UNKNOWN"], meanings=later).reason == "tlp"
    assert ask("pl", marks=["UNKNOWN"], meanings=Meanings.empty()).reason == "unknown-marking"


def test_nothing_posted_changes_a_built_in_or_a_configured_meaning(ask, names):
    meanings = Meanings.empty().with_posted(
        posted("iep", id_=names["red"], tlp="clear"), posted("statement", id_=names["ORCON"])
    )
    assert ask("world", marks=["red"], meanings=meanings).reason == "tlp-red-not-named"
    assert ask("fr", marks=["clear", "ORCON"], meanings=meanings).reason == "orcon"


@pytest.mark.parametrize("text", ["", "[]", "null", '{"id": "x"}', '{"submitter": 1, "id": "x", "kind": "statement"}'])
def test_a_payload_without_submitter_or_id_explains_nothing(ask, text):
    meanings = Meanings.empty().with_posted(text)
    assert ask("fr", marks=["UNKNOWN", "clear"], meanings=meanings).reason == "unknown-marking"


# ---- marking-definitions


DEFINITION = {"type": "marking-definition", "id": "x"}


def test_built_in_definitions_are_public_to_all_but_the_suspended(make, build, names):
    policy = make('[[forbid]]\nid = "all"\n')
    facets = policy.vocabulary.project(build(type="marking-definition", defines=names["red"]))
    readers = {name for name in policy.audiences if policy.decide(name, facets, Meanings.empty()).verdict == READ}
    assert readers == set(policy.audiences) - {"off"}


@pytest.mark.parametrize(
    ("carried", "more", "expected"),
    [
        (None, {}, "marking-carried"),
        (frozenset({"m"}), {}, "marking-carried"),
        (frozenset(), {}, "marking-not-carried"),
        (frozenset({"other"}), {}, "marking-not-carried"),
        (frozenset({"m"}), {"marks": ["red"]}, "tlp-red-not-named"),
        (frozenset({"m"}), {"marks": ["REL_FR_DE"]}, "rel-to"),
        (frozenset({"m"}), {"parts": ["red"]}, "granular"),
        (frozenset({"m"}), {"labels": ("secret",)}, "unmarked"),
        (frozenset({"m"}), {"revoked": True}, "unmarked"),
        (frozenset({"m"}), {"confidence": 3}, "unmarked"),
    ],
)
def test_another_definition_is_readable_when_it_is_carried_and_its_own_markings_allow(ask, carried, more, expected):
    decision = ask("world", rules="", type="marking-definition", defines="m", carried=carried, **more)
    assert decision.reason == expected


def test_forbid_rules_hold_for_definitions(ask):
    rules = '[[forbid]]\nid = "no-definitions"\nwhat = { type = "marking-definition" }\n'
    decision = ask("fr", rules=rules, type="marking-definition", defines="m")
    assert (decision.reason, decision.rule) == ("forbid", "no-definitions")


def test_a_copy_of_a_tlp_definition_with_markings_of_its_own_is_not_public(ask, names):
    copy = {"type": "marking-definition", "defines": names["green"], "marks": ["red"]}
    assert ask("world", rules="", **copy).reason == "tlp-red-not-named"


# ---- newest version


@pytest.mark.parametrize(
    ("audience", "marks", "newest", "expected"),
    [
        ("pl", ["green"], ["red"], "newer-version-hidden"),
        ("pl", ["red"], ["green"], "tlp"),
        ("pl", ["green"], ["green"], "permit"),
        ("pl", ["green"], ["UNKNOWN"], "newer-version-hidden"),
        ("origin", ["green"], ["red"], "submitter"),
    ],
)
def test_a_version_is_readable_only_when_the_newest_is(ask, audience, marks, newest, expected):
    assert ask(audience, marks=marks, newest={"marks": newest}).reason == expected


def test_versions_can_be_independent(ask):
    head = '[defaults]\nversions = "independent"'
    assert ask("pl", head=head, marks=["green"], newest={"marks": ["red"]}).verdict == READ
