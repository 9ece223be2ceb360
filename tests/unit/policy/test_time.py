"""What is readable later, or for some time: embargoes, and markings with dates (FIRST IEP 2.0)."""

from __future__ import annotations

import json

import pytest

from taxii_server.errors import ConfigError
from taxii_server.policy import Access, Meanings, allowed, check, parse

OPEN = '[[permit]]\nid = "open"\n'
GREEN = {"marks": ["green"]}
JUNE = 1_780_272_000_000_000
HOUR = 3_600_000_000
UNTIL = '[[embargo]]\nid = "until-june"\nto = { kind = "cert" }\nuntil = 2026-06-01T00:00:00Z\n'
DELAY = '[[embargo]]\nid = "48h"\nto = { kind = "cert" }\nwhat = { label = "hot" }\ndelay = "48h"\n'
LONGER = '[[embargo]]\nid = "3d"\nwhat = { label = "hotter" }\ndelay = "3d"\n'


@pytest.mark.parametrize(
    ("audience", "moment", "verdict"),
    [
        ("fr", JUNE - 1, "hide"),
        ("fr", JUNE, "read"),
        ("fr", 0, "hide"),
        ("fr", None, "hide"),
        ("jit", 0, "read"),
        ("origin", 0, "read"),
        ("origin", None, "read"),
    ],
)
def test_an_embargo_with_an_end_hides_before_it(ask, audience, moment, verdict):
    decision = ask(audience, OPEN + UNTIL, moment=moment, **GREEN)
    assert decision.verdict == verdict
    assert (decision.reason, decision.rule) == ("embargo", "until-june") or verdict == "read"
    assert decision.delay_us == 0


@pytest.mark.parametrize(
    ("labels", "audience", "hours"),
    [
        ((), "fr", 0),
        (("hot",), "fr", 48),
        (("hot",), "jit", 0),
        (("hot", "hotter"), "fr", 72),
        (("hotter",), "jit", 72),
        (("hot", "hotter"), "origin", 0),
    ],
)
def test_an_embargo_with_a_delay_says_how_long_and_the_longest_counts(ask, labels, audience, hours):
    decision = ask(audience, OPEN + DELAY + LONGER, labels=labels, moment=JUNE, **GREEN)
    assert (decision.verdict, decision.delay_us) == ("read", hours * HOUR)


def test_without_a_moment_a_delay_hides_as_the_age_of_the_object_is_not_known(ask, make, build):
    assert ask("fr", OPEN + DELAY, labels=("hot",), **GREEN).reason == "embargo"
    policy = make(OPEN + DELAY)
    facets = policy.vocabulary.project(build(labels=("hot",), **GREEN))
    for age_us, verdict in ((48 * HOUR - 1, "hide"), (48 * HOUR, "read")):
        assert policy.decide("fr", facets, Meanings.empty(), age_us=age_us).verdict == verdict


def test_both_kinds_at_once_hide_until_the_end_and_delay_afterwards(ask):
    rules = OPEN + UNTIL + DELAY
    assert ask("fr", rules, labels=("hot",), moment=JUNE - 1, **GREEN).rule == "until-june"
    assert ask("fr", rules, labels=("hot",), moment=JUNE, **GREEN).delay_us == 48 * HOUR


def test_an_embargo_grants_nothing(ask):
    assert ask("fr", DELAY, labels=("hot",), moment=JUNE, **GREEN).reason == "no-permit"
    assert ask("fr", OPEN + DELAY, labels=("hot",), moment=JUNE, marks=["red"]).reason == "tlp"


@pytest.mark.parametrize("moment", [JUNE, None])
def test_a_newest_version_that_is_only_delayed_hides_no_older_one(ask, moment):
    newest = {**GREEN, "labels": ("hot",)}
    assert ask("fr", OPEN + DELAY, newest=newest, moment=moment, **GREEN).verdict == "read"


def test_a_newest_version_under_an_embargo_with_an_end_hides_the_older_ones(ask):
    rules = OPEN + UNTIL.replace("until =", 'what = { label = "hot" }\nuntil =')
    newest = {**GREEN, "labels": ("hot",)}
    assert ask("fr", rules, newest=newest, moment=JUNE - 1, **GREEN).reason == "newer-version-hidden"
    assert ask("fr", rules, newest=newest, moment=JUNE, **GREEN).verdict == "read"


def test_allowed_tells_the_delay_and_leaves_out_what_waits_for_a_moment(make, build):
    policy = make(OPEN + UNTIL.replace("until =", 'what = { label = "x" }\nuntil =') + DELAY)
    labels = [
        (n, policy.vocabulary.project(build(labels=tags, **GREEN)), None)
        for n, tags in enumerate([(), ("hot",), ("x",), ("hot", "x")])
    ]
    nothing = Meanings.empty()
    assert allowed(policy, "fr", labels, nothing, moment=JUNE - 1) == {0: Access(), 1: Access(48 * HOUR)}
    delayed = Access(48 * HOUR)
    assert allowed(policy, "fr", labels, nothing, moment=JUNE) == {0: Access(), 1: delayed, 2: Access(), 3: delayed}
    assert allowed(policy, "fr", labels, nothing) == {0: Access()}


def test_the_delays_of_a_policy_are_told_once_each(make):
    more = DELAY.replace('"48h"', '"2d"') + LONGER + '[[embargo]]\nid = "m"\ndelay = "90m"\n'
    assert make(OPEN + DELAY + more).delays() == (90 * 60_000_000, 48 * HOUR, 72 * HOUR)
    assert make(OPEN + UNTIL).delays() == ()


def delays(number: int) -> str:
    return "".join(f'[[embargo]]\nid = "e{n}"\ndelay = "{n}h"\n' for n in range(1, number + 1))


def test_seven_different_delays_are_enough(make):
    assert len(make(OPEN + delays(7) + '[[embargo]]\nid = "again"\ndelay = "420m"\n').delays()) == 7
    with pytest.raises(ConfigError) as caught:
        make(OPEN + delays(8))
    (problem,) = caught.value.problems
    assert (problem.key, problem.message) == (
        "embargo[8].delay",
        "8 different delays; a policy may have 7 (rule 'e8')",
    )


@pytest.mark.parametrize(
    ("moment", "outcomes"),
    [
        (
            JUNE - 1,
            {
                "until-june": ("failed", "held back until 2026-06-01T00:00:00Z by rule 'until-june'"),
                "48h": ("neutral", "held back until 48h after date_added by rule '48h'"),
            },
        ),
        (
            JUNE,
            {
                "until-june": ("neutral", "over since 2026-06-01T00:00:00Z"),
                "48h": ("neutral", "held back until 48h after date_added by rule '48h'"),
            },
        ),
        (
            None,
            {
                "until-june": ("failed", "held back until 2026-06-01T00:00:00Z by rule 'until-june'"),
                "48h": ("failed", "held back until 48h after date_added by rule '48h'"),
            },
        ),
    ],
)
def test_explain_tells_until_when_an_embargo_holds(make, build, moment, outcomes):
    policy = make(OPEN + UNTIL + DELAY)
    facets = policy.vocabulary.project(build(labels=("hot",), **GREEN))
    explanation = policy.explain("fr", facets, Meanings.empty(), moment=moment)
    assert {c.rule: (c.outcome, c.detail) for c in explanation.steps if c.name == "embargo" and c.rule} == outcomes


def test_the_text_of_a_delayed_object_says_so(ask):
    decision = ask("fr", OPEN + DELAY, labels=("hot",), moment=JUNE, **GREEN)
    assert decision.text == "permitted by rule 'open'; held back until 48h after date_added by rule '48h'"


# ---- markings with dates

UNKNOWN = "marking-definition--00000000-0000-4000-8000-999999999999"
STARTS, ENDS = 1_767_225_600_000_000, JUNE


def iep(tlp: str = "green", **more: object) -> Meanings:
    dates = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-06-01T00:00:00.000Z"}
    payload = {"submitter": "origin", "id": UNKNOWN, "kind": "iep", "tlp": tlp, **dates, **more}
    return Meanings.empty().with_posted(json.dumps(payload))


@pytest.mark.parametrize(
    ("audience", "moment", "reason"),
    [
        ("pl", STARTS - 1, "not-in-force"),
        ("pl", STARTS, "permit"),
        ("pl", ENDS - 1, "permit"),
        ("pl", ENDS, "unmarked"),
        ("pl", None, "permit"),
        ("origin", STARTS - 1, "submitter"),
    ],
)
def test_a_marking_with_dates_hides_before_them_and_sets_no_level_afterwards(ask, audience, moment, reason):
    assert ask(audience, OPEN, meanings=iep(), marks=["UNKNOWN"], moment=moment).reason == reason


def test_what_was_marked_for_a_time_counts_as_unmarked_afterwards(ask):
    head = '[defaults]\nunmarked = "tlp:amber"'
    assert ask("pl", OPEN, head, iep(), marks=["UNKNOWN"], moment=ENDS - 1).reason == "permit"
    assert ask("pl", OPEN, head, iep(), marks=["UNKNOWN"], moment=ENDS).reason == "tlp"
    assert ask("de", OPEN, head, iep(), marks=["UNKNOWN"], moment=ENDS).reason == "permit"
    # Rules that look at the level see what it is now.
    rules = OPEN + '[[forbid]]\nid = "f"\nwhat = { tlp = "amber" }\n'
    assert ask("de", rules, head, iep(), marks=["UNKNOWN"], moment=ENDS - 1).reason == "permit"
    assert ask("de", rules, head, iep(), marks=["UNKNOWN"], moment=ENDS).reason == "forbid"
    # Another marking sets the level on: an ended one does not count any more, it hides nothing.
    assert ask("pl", OPEN, head, iep("amber"), marks=["UNKNOWN", "green"], moment=ENDS).reason == "permit"


@pytest.mark.parametrize(
    ("moment", "verdict"), [(STARTS - 1, "hide"), (STARTS, "hide"), (ENDS, "read"), (None, "hide")]
)
def test_a_part_that_was_marked_for_a_time_is_marked_as_the_whole_afterwards(ask, moment, verdict):
    decision = ask("pl", OPEN, meanings=iep("amber"), marks=["green"], parts=["UNKNOWN"], moment=moment)
    assert decision.verdict == verdict


def test_one_policy_answers_for_several_moments_in_any_order(make, build):
    policy, meanings = make(), iep()
    facets = policy.vocabulary.project(build(marks=["UNKNOWN"]))
    reasons = {STARTS - 1: "not-in-force", STARTS: "permit", ENDS: "unmarked", None: "permit"}
    for moment in (ENDS, STARTS, STARTS - 1, None, STARTS, ENDS, STARTS - 1):
        assert policy.decide("pl", facets, meanings, moment=moment).reason == reasons[moment]


@pytest.mark.parametrize(
    "more",
    [
        {"start_date": "soon"},
        {"end_date": 1},
        {"start_date": "2026-01-01"},
        {"attribution": "never"},
        {"attribution": ["must"]},
        {"embargo": "x"},
    ],
)
def test_a_date_or_an_attribution_that_is_not_understood_hides(ask, more):
    assert ask("fr", OPEN, meanings=iep(**more), marks=["UNKNOWN", "green"]).reason == "unknown-marking"


# ---- the same in examples

MINI = """
schema = 1
[audience.cert]
kind = "cert"
clearance = "green"
[audience.le]
kind = "le"
clearance = "red"
[[permit]]
id = "open"
[[embargo]]
id = "later"
to = { kind = "cert" }
what = { label = "hot" }
delay = "48h"
[[embargo]]
id = "june"
to = { kind = "cert" }
what = { type = "tool" }
until = 2026-06-01T00:00:00Z
[[release]]
id = "out"
by = "le"
objects = ["malware--00000000-0000-4000-8000-000000000000"]
to = { audience = "cert" }
not_before = 2026-06-01T00:00:00Z
[markings]
"marking-definition--00000000-0000-4000-8000-00000000000d" = { orcon = true }
"""
HOT = 'type = "indicator", tlp = "green", labels = ["hot"], by = "le"'
TOOL = 'type = "tool", tlp = "green", by = "le"'
ORCON = 'type = "malware", tlp = "green", marking = "marking-definition--00000000-0000-4000-8000-00000000000d"'
ORCON += ', id = "malware--00000000-0000-4000-8000-000000000000", by = "le"'


@pytest.mark.parametrize(
    ("thing", "at", "reads"),
    [
        (HOT, None, False),
        (f'{HOT}, age = "47h"', None, False),
        (f'{HOT}, age = "48h"', None, True),
        (f'{HOT}, age = "2d"', "2026-06-01T00:00:00Z", True),
        (f'{HOT}, age = "1d"', "2026-06-01T00:00:00Z", False),
        (HOT, "2026-06-01T00:00:00Z", False),
        (TOOL, None, False),
        (f'{TOOL}, age = "100w"', None, False),
        (TOOL, "2026-05-31T23:59:59Z", False),
        (TOOL, "2026-06-01T00:00:00Z", True),
        (ORCON, None, True),
        (ORCON, "2026-05-31T23:59:59Z", False),
        (ORCON, "2026-06-01T02:00:00+02:00", True),
    ],
)
def test_an_example_is_for_any_time_and_just_posted_unless_it_says_otherwise(thing, at, reads):
    example = f"[[test]]\nobject = {{ {thing} }}\n" + (f"at = {at}\n" if at else "")
    for key in ("read", "hide"):
        problems = check(parse({"p": MINI + example + f'{key} = "cert"\n'}))
        assert (problems == []) == ((key == "read") == reads), [str(problem) for problem in problems]
