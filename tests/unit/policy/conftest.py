"""A small policy to bend, and short ways to ask it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from taxii_server.model import Traits
from taxii_server.policy import Decision, Meanings, Policy, parse
from taxii_server.tlp import TLP_2_IDS

EXAMPLES = Path("/work/shared/examples/policies")

HEAD = """
schema = 1
[groups]
le = {}
eu = { within = ["le"] }
heron = {}
[facets.countries]
label_prefix = "country:"
[facets.tenant]
label_prefix = "tenant:"
[facets.crime]
labels = { "crime:pure" = "pure", "crime:enabled" = "enabled" }
extension = { id = "extension-definition--51001c85-0000-4000-8000-000000001c85", property = "category", \
values = { "Pure" = "pure", "Enabled" = "enabled" } }
[markings]
"marking-definition--00000000-0000-4000-8000-00000000000a" = { rel_to = ["FR", "DE"] }
"marking-definition--00000000-0000-4000-8000-00000000000b" = { rel_to = ["FR", "PL"] }
"marking-definition--00000000-0000-4000-8000-00000000000c" = { not_rel_to = ["RU", "PL"] }
"marking-definition--00000000-0000-4000-8000-00000000000d" = { orcon = true }
"marking-definition--00000000-0000-4000-8000-00000000000e" = { rel_to = ["FR"], rel_to_groups = ["heron"] }
"marking-definition--00000000-0000-4000-8000-00000000000f" = { name = "neutral" }
[audience.origin]
kind = "le"
country = "DE"
clearance = "red"
groups = ["le"]
identities = ["identity--00000000-0000-4000-8000-000000000001"]
[audience.fr]
kind = "cert"
country = "FR"
clearance = "amber+strict"
[audience.de]
kind = "cert"
country = "DE"
clearance = "amber"
groups = ["eu"]
[audience.pl]
kind = "cert"
country = "PL"
clearance = "green"
client_of = ["origin"]
attributes = { tenant = "Acme" }
[audience.jit]
kind = "le"
countries = ["FR", "PL"]
clearance = "amber+strict"
attributes = { tenant = ["acme", "globex"] }
[audience.world]
kind = "le-international"
clearance = "red"
groups = ["heron"]
[audience.off]
kind = "cert"
country = "FR"
clearance = "red"
suspended = true
"""
OPEN = '[[permit]]\nid = "open"\n'
REL_FR_DE, REL_FR_PL, NOT_RU_PL, ORCON, REL_FR_HERON, NEUTRAL = (
    f"marking-definition--00000000-0000-4000-8000-00000000000{digit}" for digit in "abcdef"
)
NAMES = {
    "REL_FR_DE": REL_FR_DE,
    "REL_FR_PL": REL_FR_PL,
    "NOT_RU_PL": NOT_RU_PL,
    "ORCON": ORCON,
    "REL_FR_HERON": REL_FR_HERON,
    "NEUTRAL": NEUTRAL,
    "UNKNOWN": "marking-definition--00000000-0000-4000-8000-999999999999",
    **TLP_2_IDS,
}


def thing(**values: object) -> Traits:
    """An indicator by origin, with `marks` given by short name and other traits as they are."""
    marks = values.pop("marks", ())
    granular = values.pop("parts", ())
    data: dict[str, object] = {
        "collection": "shared",
        "submitter": "origin",
        "id": "indicator--00000000-0000-4000-8000-000000000000",
        "type": "indicator",
        "spec_version": "2.1",
        "markings": tuple(sorted(NAMES.get(mark, mark) for mark in marks)),  # type: ignore[attr-defined]
        "granular": tuple(sorted(NAMES.get(mark, mark) for mark in granular)),  # type: ignore[attr-defined]
        **values,
    }
    return Traits(**data)  # type: ignore[arg-type]


Ask = Callable[..., Decision]


@pytest.fixture
def names() -> dict[str, str]:
    return NAMES


@pytest.fixture
def make() -> Callable[..., Policy]:
    """The small policy with these rules (a permit for all unless told otherwise)."""

    def made(rules: str = OPEN, head: str = "") -> Policy:
        return parse({"policy.toml": HEAD.replace("schema = 1", f"schema = 1\n{head}") + rules})

    return made


@pytest.fixture
def build() -> Callable[..., Traits]:
    return thing


@pytest.fixture
def ask(make: Callable[..., Policy]) -> Ask:
    """The decision for one audience about one thing, under these rules."""

    def asked(audience: str, rules: str = OPEN, head: str = "", meanings: Meanings | None = None, **values: object):
        policy = make(rules, head)
        carried = values.pop("carried", None)
        newest = values.pop("newest", None)
        moment = values.pop("moment", None)
        facets = policy.vocabulary.project(thing(**values))
        governor = None if newest is None else policy.vocabulary.project(thing(**newest))  # type: ignore[arg-type]
        question = (audience, facets, meanings or Meanings.empty(), governor, carried, moment)
        decision = policy.decide(*question)  # type: ignore[arg-type]
        assert policy.explain(*question).decision == decision  # type: ignore[arg-type]
        return decision

    return asked


@pytest.fixture
def examples() -> Path:
    """The folder with the reference policies; tests that need it are skipped where it is not there."""
    if not EXAMPLES.is_dir():
        pytest.skip("the reference policies are not on this machine")
    return EXAMPLES
