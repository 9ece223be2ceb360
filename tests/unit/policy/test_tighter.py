"""What more of a rule, a release or a clearance can do, for any policy and any object: it goes one way only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taxii_server.model import Removal, Traits
from taxii_server.policy import Decision, Meanings, Policy, allowed, parse
from tests.unit.policy.conftest import HEAD, thing

IDS = tuple(f"indicator--00000000-0000-4000-8000-{number:012}" for number in range(2))
NOTHING = Meanings.empty()
JUNE = 1_780_272_000_000_000
MOMENTS = (None, JUNE - 1, JUNE)

TO = st.sampled_from(['to = { kind = "cert" }\n', 'to = { group = "le" }\n', 'to = { not_country = "FR" }\n', ""])
WHAT = st.sampled_from(['label = "a"', 'not_label = "a"', 'tlp = ["amber", "red"]', 'tlp = "green"', 'by = "origin"'])
SECTIONS = {
    "permit": [""],
    "forbid": ["", 'unless = { kind = "le" }\n', 'unless = { label = "b" }\n'],
    "embargo": ['delay = "1h"\n', 'delay = "2h"\n', "until = 2026-06-01T00:00:00Z\n"],
    "strip": ['properties = ["x_a"]\n', 'properties = ["x_b"]\ncreator = true\n', "creator = true\n"],
}


def rules_of(section: str, first: int, most: int, least: int = 0) -> st.SearchStrategy[str]:
    body = st.builds(
        lambda to, what, rest: f"{to}what = {{ {what} }}\n{rest}", TO, WHAT, st.sampled_from(SECTIONS[section])
    )
    return st.lists(body, min_size=least, max_size=most).map(
        lambda bodies: "".join(f'[[{section}]]\nid = "{section}{first + n}"\n{body}' for n, body in enumerate(bodies))
    )


def releases(first: int, most: int, least: int = 0) -> st.SearchStrategy[str]:
    body = st.builds(
        lambda by, id_, to, end: f'by = "{by}"\nobjects = ["{id_}"]\nto = {{ {to} }}\n{end}',
        st.sampled_from(["origin", "origin", "origin", "de"]),
        st.sampled_from(['", "'.join(IDS), IDS[0]]),
        st.sampled_from(['audience = ["fr", "world", "jit", "de", "pl"]', 'group = ["le", "heron"]']),
        st.sampled_from(["", "until = 2026-06-01T00:00:00Z\n", "not_before = 2026-06-01T00:00:00Z\n"]),
    )
    return st.lists(body, min_size=least, max_size=most).map(
        lambda bodies: "".join(f'[[release]]\nid = "release{first + n}"\n{body}' for n, body in enumerate(bodies))
    )


#: Mostly with a permit for all, so that something else decides.
PERMITS = st.one_of(st.just('[[permit]]\nid = "open"\n'), rules_of("permit", 0, 2, 1))
RULES = st.tuples(PERMITS, rules_of("forbid", 0, 1), rules_of("embargo", 0, 1), rules_of("strip", 0, 2)).map("".join)
GRANULAR = st.sampled_from(["hide", "derive", "derive"])
SEEDS = st.integers(0, 2**32)
OBJECTS = 40


def some_object(random: Random) -> Traits:
    """An object with a level and, often, something that keeps it, or a part of it, from somebody."""
    properties = tuple(name for name in ("x_a", "x_b", "x_c") if random.random() < 0.4)
    parts = random.choice([[], [], ["red"], ["ORCON"], ["amber"], ["ORCON", "red"], ["UNKNOWN", "ORCON"], ["clear"]])
    one = thing(
        id=random.choice(IDS),
        submitter=random.choice(["origin", "origin", "origin", "de", "fr"]),
        marks=[random.choice(["clear", "clear", "green", "amber", "red"]),
               *random.choice([[], [], [], ["ORCON"], ["ORCON"], ["REL_FR_DE"], ["UNKNOWN"]])],
        parts=parts,
        labels=tuple(label for label in ("a", "b", "tlp:red") if random.random() < 0.2),
        creator=random.choice([None, "identity--x"]),
        properties=properties,
        fixed_properties=tuple(name for name in properties if random.random() < 0.2),
    )  # fmt: skip
    return replace(one, firm_granular=tuple(id_ for id_ in one.granular if random.random() < 0.2))


def made(rules: str, granular: str = "derive", head: str = HEAD) -> Policy:
    return parse({"p": head.replace("schema = 1", f'schema = 1\n[defaults]\ngranular = "{granular}"') + rules})


def questions(seed: int) -> Iterator[tuple[Traits, Traits | None, int | None]]:
    """Objects, now and then with a newer version, and moments."""
    random = Random(seed)
    for _ in range(OBJECTS):
        one = some_object(random)
        newest = replace(some_object(random), submitter=one.submitter) if random.random() < 0.2 else None
        yield one, newest, random.choice(MOMENTS)


def decided(policy: Policy, name: str, one: Traits, newest: Traits | None, moment: int | None) -> Decision:
    governor = None if newest is None else policy.vocabulary.project(newest)
    return policy.decide(name, policy.vocabulary.project(one), NOTHING, governor, None, moment)


def pairs(old: Policy, new: Policy, seed: int) -> Iterator[tuple[Decision, Decision]]:
    """What each audience gets under either policy."""
    for one, newest, moment in questions(seed):
        for name in READERS:
            yield decided(old, name, one, newest, moment), decided(new, name, one, newest, moment)


def shows_no_more(less: Decision, more: Decision) -> bool:
    """Whether whoever gets the first gets nothing that the second keeps back."""
    if less.verdict == "hide":
        return True
    if more.verdict == "hide":
        return False
    cut, left = less.removal or Removal(), more.removal or Removal()
    return (
        cut.markings >= left.markings
        and cut.properties >= left.properties
        and cut.creator >= left.creator
        and less.delay_us >= more.delay_us
    )


READERS = ("fr", "de", "pl", "jit", "world", "origin")
CHECKED = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@CHECKED
@given(RULES, rules_of("forbid", 10, 1, 1), releases(0, 1), GRANULAR, SEEDS)
def test_another_forbid_never_shows_more(rules, forbid, released, granular, seed):
    old, new = (made(text + released, granular) for text in (rules, rules + forbid))
    for before, after in pairs(old, new, seed):
        assert shows_no_more(after, before)


@CHECKED
@given(RULES, st.one_of(rules_of("strip", 10, 1, 1), rules_of("embargo", 10, 1, 1)), GRANULAR, SEEDS)
def test_another_strip_or_embargo_never_shows_more(rules, further, granular, seed):
    for before, after in pairs(made(rules, granular), made(rules + further, granular), seed):
        assert shows_no_more(after, before)


@CHECKED
@given(RULES, releases(0, 1), releases(10, 1, 1), GRANULAR, SEEDS)
def test_another_release_never_shows_less(rules, released, further, granular, seed):
    old, new = (made(rules + text, granular) for text in (released, released + further))
    for before, after in pairs(old, new, seed):
        assert shows_no_more(before, after)


@CHECKED
@given(RULES, rules_of("permit", 10, 1, 1), releases(0, 1), GRANULAR, SEEDS)
def test_another_permit_never_shows_less(rules, permit, released, granular, seed):
    old, new = (made(text + released, granular) for text in (rules, rules + permit))
    for before, after in pairs(old, new, seed):
        assert shows_no_more(before, after)


@CHECKED
@given(RULES, releases(0, 1), GRANULAR, SEEDS)
def test_a_higher_clearance_never_shows_less(rules, released, granular, seed):
    higher = HEAD.replace('"amber+strict"', '"red"').replace('clearance = "amber"', 'clearance = "amber+strict"')
    higher = higher.replace('clearance = "green"', 'clearance = "amber"')
    old, new = (made(rules + released, granular, head) for head in (HEAD, higher))
    for before, after in pairs(old, new, seed):
        assert shows_no_more(before, after)


@CHECKED
@given(RULES, releases(0, 1), SEEDS)
def test_deriving_shows_no_less_than_hiding_and_nothing_more_in_whole(rules, released, seed):
    old, new = (made(rules + released, granular) for granular in ("hide", "derive"))
    for one, newest, moment in questions(seed):
        for name in READERS:
            before, after = (decided(policy, name, one, newest, moment) for policy in (old, new))
            assert shows_no_more(before, after)
            # An older version may be whole while the newest, of which a part is taken out now, governs it.
            assert newest or before.verdict == "read" or after.verdict != "read"


@CHECKED
@given(RULES, SEEDS)
def test_where_nothing_is_released_time_shows_no_less(rules, seed):
    policy = made(rules)
    for one, newest, _ in questions(seed):
        for name in READERS:
            never, before, after = (decided(policy, name, one, newest, moment) for moment in MOMENTS)
            assert shows_no_more(never, before)
            assert shows_no_more(before, after)


@CHECKED
@given(RULES, releases(0, 2), GRANULAR, SEEDS)
def test_in_bulk_it_is_decided_as_one_by_one(rules, released, granular, seed):
    policy = made(rules + released, granular)
    for one, newest, moment in questions(seed):
        facets = policy.vocabulary.project(one)
        governor = None if newest is None else policy.vocabulary.project(newest)
        for name in READERS:
            decision = policy.decide(name, facets, NOTHING, governor, None, moment)
            found = allowed(policy, name, [(7, facets, governor)], NOTHING, None, moment)
            assert found == ({} if decision.verdict == "hide" else {7: (decision.delay_us, decision.removal)})


@CHECKED
@given(RULES, GRANULAR, SEEDS)
def test_a_submitter_reads_all_of_its_own_at_once(rules, granular, seed):
    policy = made(rules, granular)
    for one, newest, moment in questions(seed):
        decision = decided(policy, one.submitter, one, newest, moment)
        assert decision == Decision("read", "submitter", None, f"{one.submitter} posted it")
