"""What a policy file says, as frozen data: audiences, rules, claims and examples. No behaviour."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from taxii_server.model import Traits

RuleKind = Literal["permit", "forbid", "select", "embargo", "strip", "never"]


@dataclass(frozen=True, slots=True)
class Audience:
    """One partner organisation, as rules see it. `clearance` is a TLP level name.

    `groups` holds every group it is in, also through `within`. `countries` has one entry per member
    of a joint team, none for an international organisation. `attributes` are lower case.
    How it may come in: only from `addresses` (networks; none: from anywhere), with an OIDC token that has one of the
    values of every claim in `claims` (none: with no OIDC token), so many requests a minute (None: as the settings say).
    `certificates` are names of client certificates, as certificates.normal_name writes them; no rule looks at them.
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
    addresses: tuple[str, ...] = ()
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    requests_per_minute: int | None = None
    certificates: tuple[str, ...] = ()

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
    #: How long an embargo lasts from date_added, in µs; 0 without a delay.
    delay_us: int = field(init=False, compare=False, default=0)
    #: The end of an embargo in µs; None without one.
    ends: int | None = field(init=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "delay_us", delay_in_us(self.delay) if self.delay else 0)
        object.__setattr__(self, "ends", None if self.until is None else in_us(self.until))


_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def delay_in_us(text: str) -> int:
    """The microseconds of a delay such as '48h'."""
    return int(text[:-1]) * _UNITS_S[text[-1]] * 1_000_000


@dataclass(frozen=True, slots=True)
class Release:
    """One `[[release]]`: what an originator hands on, to whom, and when.

    `facet` is the key by which facets name it: it stands for what is released by whom. A release that is changed
    under its old id is another one. `begins` and `ends` are its time in µs, None: open.
    """

    id: str
    file: str
    key: str
    by: str
    objects: frozenset[str]
    audiences: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    not_before: datetime | None = None
    until: datetime | None = None
    facet: str = field(init=False, compare=False, default="")
    begins: int | None = field(init=False, compare=False, default=None)
    ends: int | None = field(init=False, compare=False, default=None)

    def __post_init__(self) -> None:
        # Worked out once: a decision compares these for every label.
        text = json.dumps([self.by, sorted(self.objects)])
        object.__setattr__(self, "facet", f"{self.id}#{hashlib.sha256(text.encode()).hexdigest()[:8]}")
        object.__setattr__(self, "begins", None if self.not_before is None else in_us(self.not_before))
        object.__setattr__(self, "ends", None if self.until is None else in_us(self.until))

    def holds_at(self, moment: int | None) -> bool:
        """Whether the moment (µs; None: any) lies in its time: from `begins` on, before `ends`."""
        if moment is None:
            return True
        return (self.begins is None or self.begins <= moment) and (self.ends is None or moment < self.ends)

    def types(self) -> frozenset[str]:
        """The types of the objects that it names; an id begins with the type."""
        return frozenset(id_.rpartition("--")[0] for id_ in self.objects)


def shown(moment: datetime) -> str:
    """A moment as policy files write it, UTC as Z."""
    return moment.isoformat().replace("+00:00", "Z")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def in_us(moment: datetime) -> int:
    """Microseconds since 1970 of a moment with an offset."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


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

    @property
    def newest_governs(self) -> bool:
        """Whether a version is readable only if the newest one of its submitter is."""
        return self.versions != "independent"
