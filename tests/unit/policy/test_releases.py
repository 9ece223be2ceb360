"""What an originator releases, to whom and when: it lifts TLP:RED and ORCON, and nothing else."""

from __future__ import annotations

import json

import pytest

from taxii_server.policy import Meanings, parse
from taxii_server.policy.rules import in_us

ID = "indicator--00000000-0000-4000-8000-000000000000"
OPEN = '[[permit]]\nid = "open"\n'
MAY, JUNE, JULY = 1_777_593_600_000_000, 1_780_272_000_000_000, 1_782_864_000_000_000


def release(to: str = 'audience = ["world", "fr", "pl"]', more: str = "", by: str = "origin", objects: str = ID) -> str:
    return f'[[release]]\nid = "out"\nby = "{by}"\nobjects = ["{objects}"]\nto = {{ {to} }}\n{more}\n'


JUNE_ONLY = release(more="not_before = 2026-06-01T00:00:00Z\nuntil = 2026-07-01T02:00:00+02:00")


@pytest.mark.parametrize(
    ("audience", "marks", "expected"),
    [
        ("world", ["red"], "permit"),
        ("world", ["red", "ORCON"], "permit"),
        ("fr", ["green", "ORCON"], "permit"),
        ("pl", ["green", "ORCON"], "permit"),
        # not named
        ("jit", ["green", "ORCON"], "orcon"),
        ("de", ["green", "ORCON"], "orcon"),
        # clearance, lists, unknown and missing markings stay
        ("fr", ["red"], "tlp"),
        ("pl", ["amber", "ORCON"], "tlp"),
        ("pl", ["green", "ORCON", "REL_FR_DE"], "rel-to"),
        ("world", ["red", "REL_FR_DE"], "rel-to"),
        ("pl", ["green", "ORCON", "NOT_RU_PL"], "not-rel-to"),
        ("world", ["red", "UNKNOWN"], "unknown-marking"),
        ("fr", ["ORCON"], "unmarked"),
        ("off", ["green", "ORCON"], "suspended"),
    ],
)
def test_a_release_lifts_red_and_orcon_for_those_whom_it_names(ask, audience, marks, expected):
    assert ask(audience, OPEN + release(), marks=marks).reason == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (release(), "no-permit"),
        (OPEN + '[[forbid]]\nid = "f"\n' + release(), "forbid"),
        (OPEN + '[[select]]\nid = "s"\ndrop = { confidence_below = 10 }\n' + release(), "select"),
        (OPEN + '[[embargo]]\nid = "e"\nuntil = 2026-06-01T00:00:00Z\n' + release(), "embargo"),
    ],
)
def test_a_release_is_no_permit_and_lifts_no_rule(ask, rules, expected):
    assert ask("world", rules, marks=["red"]).reason == expected


@pytest.mark.parametrize(
    ("to", "readers"),
    [
        ('audience = "fr"', {"fr"}),
        ('group = "heron"', {"world"}),
        ('group = "le"', {"de"}),
        ('audience = "jit", group = ["heron", "eu"]', {"jit", "world", "de"}),
        ('audience = "origin"', set()),
    ],
)
def test_a_release_names_audiences_and_groups(make, build, to, readers):
    policy = make(OPEN + release(to))
    facets = policy.vocabulary.project(build(marks=["green", "ORCON"]))
    found = {name for name in policy.audiences if policy.decide(name, facets, Meanings.empty()).verdict == "read"}
    assert found == readers | {"origin"}


@pytest.mark.parametrize(
    "values",
    [
        {"id": "indicator--00000000-0000-4000-8000-000000000001"},
        {"submitter": "fr"},
    ],
)
def test_a_release_holds_for_the_objects_that_it_names_as_its_originator_posted_them(ask, values):
    assert ask("world", OPEN + release(), marks=["red"]).verdict == "read"
    assert ask("world", OPEN + release(), marks=["red"], **values).reason == "tlp-red-not-named"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (MAY, "hide"),
        (JUNE - 1, "hide"),
        (JUNE, "read"),
        (JULY - 1, "read"),
        (JULY, "hide"),
        (None, "read"),
    ],
)
def test_a_release_holds_from_its_first_moment_on_and_before_its_end(ask, moment, expected):
    assert ask("world", OPEN + JUNE_ONLY, marks=["red"], moment=moment).verdict == expected


def test_a_collection_whose_unmarked_objects_are_red_and_red_labels_are_lifted_too(ask):
    head = '[collections]\nsecret = { unmarked = "tlp:red" }'
    for rules, expected in ((OPEN, "tlp-red-not-named"), (OPEN + release(), "permit")):
        assert ask("world", rules, head, collection="secret").reason == expected
        assert ask("world", rules, labels=("tlp:red",), marks=["green"]).reason == expected
    # A label that names no level is above every clearance, released or not.
    assert ask("world", OPEN + release(), labels=("tlp:purple",), marks=["green"]).reason == "tlp"


@pytest.mark.parametrize("parts", [["red"], ["ORCON"], ["red", "ORCON"]])
def test_parts_marked_red_or_orcon_are_lifted_too(ask, parts):
    assert ask("world", OPEN, marks=["green"], parts=parts).reason == "granular"
    assert ask("world", OPEN + release(), marks=["green"], parts=parts).verdict == "read"
    assert ask("fr", OPEN + release(), marks=["green"], parts=["red"]).reason == "granular"


def test_a_newest_version_that_is_released_governs_as_readable(ask):
    newest = {"marks": ["red"]}
    assert ask("world", OPEN, marks=["green"], newest=newest).reason == "newer-version-hidden"
    assert ask("world", OPEN + release(), marks=["green"], newest=newest).verdict == "read"
    assert ask("world", OPEN + JUNE_ONLY, marks=["green"], newest=newest, moment=JULY).reason == "newer-version-hidden"


def test_a_release_that_is_changed_under_its_id_is_another_one(make, build):
    other = "indicator--00000000-0000-4000-8000-000000000001"
    before, after = make(OPEN + release()), make(OPEN + release(objects=f'{ID}", "{other}'))
    facets = before.vocabulary.project(build(marks=["red"]))
    assert before.decide("world", facets, Meanings.empty()).verdict == "read"
    # Labelled under the old one, so not known to be in the new one: the caller labels what it names anew.
    assert after.decide("world", facets, Meanings.empty()).reason == "tlp-red-not-named"
    assert after.decide("world", after.vocabulary.project(build(marks=["red"])), Meanings.empty()).verdict == "read"


def test_whom_and_when_a_release_reaches_is_read_off_the_policy_in_force(make, build):
    one, two = make(OPEN + release()), make(OPEN + release('audience = "jit"', "until = 2026-06-01T00:00:00Z"))
    facets = one.vocabulary.project(build(marks=["green", "ORCON"]))
    assert facets == two.vocabulary.project(build(marks=["green", "ORCON"]))
    assert two.decide("fr", facets, Meanings.empty()).reason == "orcon"
    assert two.decide("jit", facets, Meanings.empty()).verdict == "read"
    assert two.decide("jit", facets, Meanings.empty(), moment=JUNE).reason == "orcon"


def test_releases_may_stand_in_files_of_their_own(make):
    filed = release().replace('"out"', '"out-2"')
    text = 'schema = 1\n[audience.origin]\nkind = "le"\nclearance = "red"\n[audience.world]\nkind = "le"\n'
    text += 'clearance = "red"\n' + OPEN
    policy = parse(
        {"policy.toml": text, "releases/origin.toml": filed.replace('["world", "fr", "pl"]', '"world"')},
    )
    assert [(each.id, each.file) for each in policy.releases] == [("out-2", "releases/origin.toml")]


@pytest.mark.parametrize(
    ("audience", "moment", "outcome", "says"),
    [
        ("world", JUNE, "passed", "origin has released it to world until 2026-07-01T02:00:00+02:00"),
        ("world", MAY, "neutral", "origin releases it to world from 2026-06-01T00:00:00Z on"),
        ("world", JULY, "neutral", "released to world until 2026-07-01T02:00:00+02:00, which is over"),
        ("de", JUNE, "neutral", "origin has released it, but not to de"),
    ],
)
def test_explain_tells_of_every_release_of_the_object(make, build, audience, moment, outcome, says):
    policy = make(OPEN + JUNE_ONLY)
    facets = policy.vocabulary.project(build(marks=["red"]))
    explanation = policy.explain(audience, facets, Meanings.empty(), moment=moment)
    assert [(c.outcome, c.detail) for c in explanation.steps if c.name == "release" and c.rule == "out"] == [
        (outcome, says)
    ]
    assert "out" not in explanation.lost
    assert not [c for c in policy.explain("world", policy.vocabulary.project(build(id="x")), Meanings.empty()).steps
                if c.rule == "out"]  # fmt: skip


def test_explain_of_a_release_says_nothing_that_another_step_denies(make, build):
    """de is named, and not cleared for RED: the line of the release must not say that RED does not matter."""
    policy = make(OPEN + release(to='audience = ["de", "world"]'))
    facets = policy.vocabulary.project(build(marks=["red"]))
    for audience, outcome, said in (
        ("de", "failed", "TLP:RED is above the clearance AMBER"),
        ("world", "passed", ""),
    ):
        steps = policy.explain(audience, facets, Meanings.empty()).steps
        (line,) = [each.detail for each in steps if each.name == "release" and each.outcome == "neutral"]
        assert line == (
            f"released by origin: it names {audience}, as TLP:RED and ORCON ask; it lifts no clearance and no rule"
        )
        assert next((each.outcome, each.detail) for each in steps if each.name == "markings") == (outcome, said)


def test_moments_of_a_policy_are_the_instants_at_which_something_changes_by_itself(make):
    posted = {"submitter": "origin", "id": "m", "kind": "iep", "tlp": "green", "start_date": "1970-01-01T00:00:01Z"}
    meanings = Meanings.empty().with_posted(json.dumps({**posted, "end_date": "1970-01-01T00:00:02.5Z"}))
    embargo = '[[embargo]]\nid = "e"\nuntil = 2026-05-01T00:00:00Z\n[[embargo]]\nid = "d"\ndelay = "1h"\n'
    assert make(OPEN + JUNE_ONLY + embargo).moments(meanings) == (1_000_000, 2_500_000, MAY, JUNE, JULY)
    assert make(OPEN).moments(Meanings.empty()) == ()


def test_moments_are_exact_to_the_microsecond_in_any_year(make):
    text = release(more="not_before = 2026-06-01T00:00:00.000001Z\nuntil = 9999-12-31T23:59:59.999999Z")
    (found,) = make(OPEN + text).releases
    assert (found.begins, found.ends) == (JUNE + 1, 253_402_300_799_999_999)
    assert found.not_before is not None
    assert in_us(found.not_before) == JUNE + 1
