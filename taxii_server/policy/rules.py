"""What a policy file says, as frozen data: audiences, rules, claims and examples. No behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from taxii_server.model import Traits

RuleKind = Literal["permit", "forbid", "select", "embargo", "strip", "never"]


@dataclass(frozen=True, slots=True)
class Audience:
    """One partner organisation, as rules see it. `clearance` is a TLP level name.

    `groups` holds every group it is in, also through `within`. `countries` has one entry per member
    of a joint team, none for an international organisation. `attributes` are lower case.
    """

    name: str
    kind: str
    clearance: str
    countries: tuple[str, ...] = ()
    sector: str | None = None
    groups: frozenset[str] = frozenset()
    client_of: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] | None = None
    suspended: bool = False
    admin: bool = False
    title: str = ""

    def values_of(self, attribute: str) -> tuple[str, ...]:
        """The lower-case values that `@attribute` stands for; empty when the audience has none."""
        if attribute == "country":
            return tuple(code.lower() for code in self.countries)
        if attribute == "sector":
            return (self.sector.lower(),) if self.sector else ()
        if attribute == "audience":
            return (self.name.lower(),)
        return (self.attributes or {}).get(attribute, ())


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of `to`, `what` or `unless`, without its `not_`: any of `values` fits.

    `name` is the facet or the attribute where the key is a table. A value that begins with "@"
    stands for the audience's own value.
    """

    key: str
    negated: bool
    values: tuple[str, ...]
    name: str = ""

    def __str__(self) -> str:
        name = f"{self.key}.{self.name}" if self.name else self.key
        return f"{'not_' if self.negated else ''}{name} = {' or '.join(self.values)}"


@dataclass(frozen=True, slots=True)
class Unless:
    """The exception of a forbid rule: every one of `conditions`, or any one of `alternatives`."""

    conditions: tuple[Condition, ...] = ()
    alternatives: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[permit]]`, `[[forbid]]`, `[[select]]`, `[[embargo]]`, `[[strip]]` or `[[never]]`.

    `what` of a select rule is its `drop`. `file` and `key` say where it stands.
    """

    kind: RuleKind
    id: str
    file: str
    key: str
    why: str = ""
    to: tuple[Condition, ...] = ()
    what: tuple[Condition, ...] = ()
    unless: Unless | None = None
    properties: tuple[str, ...] = ()
    creator: bool = False
    delay: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """One `[[release]]`: what an originator hands on, to whom, and when."""

    id: str
    file: str
    key: str
    by: str
    objects: frozenset[str]
    audiences: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    not_before: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One `[[test]]`: an object, as its raw values, and who reads it, does not, or reads it redacted."""

    file: str
    key: str
    traits: Traits
    read: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Defaults:
    """`[defaults]`. `unmarked` is "deny" or "tlp:<level>"; what a file leaves out hides more."""

    unmarked: str = "deny"
    granular: str = "hide"
    versions: str = "newest-governs"
    refs_required: str = "hide"
    refs_lists: str = "hide"
    label_tlp: bool = True
    statements: str = "neutral"
    marking_sources: tuple[str, ...] = ()
