"""What a policy file says, as frozen data: audiences, rules, claims and examples. No behaviour."""

from __future__ import annotations

import hashlib
import json
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

    @property
    def delay_us(self) -> int:
        """How long an embargo lasts from date_added, in µs; 0 without one."""
        return delay_in_us(self.delay) if self.delay else 0


_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def delay_in_us(text: str) -> int:
    """The microseconds of a delay such as '48h'."""
    return int(text[:-1]) * _UNITS_S[text[-1]] * 1_000_000


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

    @property
    def facet(self) -> str:
        """The key by which facets name it: of what is released by whom; changed, it is another release."""
        text = json.dumps([self.by, sorted(self.objects)])
        return f"{self.id}#{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def holds_at(self, moment: int | None) -> bool:
        """Whether the moment (µs; None: any) lies in its time."""
        if moment is None:
            return True
        begins = self.not_before is None or in_us(self.not_before) <= moment
        return begins and (self.until is None or moment < in_us(self.until))


def in_us(moment: datetime) -> int:
    """Microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)


@dataclass(frozen=True, slots=True)
class Example:
    """One `[[test]]`: an object, as its raw values, and who reads it, does not, or reads it redacted.

    `at` (µs) is the moment for which it is decided, None for any; the object was posted `age_us` before.
    """

    file: str
    key: str
    traits: Traits
    read: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    at: int | None = None
    age_us: int = 0


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
