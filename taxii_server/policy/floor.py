"""What markings demand of an audience: the floor that no rule lifts (policy design, A and C2 to C6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from taxii_server.policy.markings import LEVELS, RANKS, RED, Meaning
from taxii_server.policy.rules import Audience, Release, Rule, RuleKind

#: Ranks above every level: a `tlp:` label that names no level.
UNCLEAR_RANK = len(LEVELS)

#: Why something stays hidden: rank (the lowest is told first), reason, text.
Obstacle = tuple[int, str, str]


class Ask(NamedTuple):
    """What a decision is asked for besides the object and the audience.

    `carried`: ids of the markings on what the audience reads; None: not known.
    `moment` (µs): None is timeless, releases hold and embargoes hold; one that lasts some time is over for an object
    that was posted `age_us` ago. `suspended_too`: as if the audience were not suspended.
    `proof`: what comes with time, and what is only taken out, counts as readable.
    """

    carried: frozenset[str] | None = None
    moment: int | None = None
    suspended_too: bool = False
    proof: bool = False
    age_us: int = 0


class Entry(NamedTuple):
    """One rule that concerns an audience: the numbers of its clauses, and what it says when it fits."""

    clause: int
    unless: int | None
    reason: str
    text: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is fixed about one audience: its clearance, its releases and the rules that concern it."""

    audience: Audience
    clearance: int
    default_rank: int | None
    collection_ranks: Mapping[str, int | None]
    entries: Mapping[RuleKind, tuple[Entry, ...]]
    releases: tuple[Release, ...]
    #: whether an object with an unreadable part is read without it, and not hidden
    derives: bool

    def level_obstacle(self, level: int, released: bool) -> Obstacle | None:
        """Why an object of this level stays hidden, or None."""
        if level > self.clearance:
            name = LEVELS[level].upper() if level < UNCLEAR_RANK else "unclear"
            return 1, "tlp", f"TLP:{name} is above the clearance {self.audience.clearance.upper()}"
        if level >= RED and not released:
            return 2, "tlp-red-not-named", "TLP:RED is for those whom a release names"
        return None

    def obstacle(self, meaning: Meaning, released: bool) -> Obstacle | None:
        """Why something with this marking stays hidden, or None."""
        if not meaning.understood:
            return 0, "unknown-marking", f"a marking is not understood ({meaning.name})"
        if meaning.pending:
            return 0, "not-in-force", f"a marking is not in force yet ({meaning.name})"
        if meaning.level is not None:
            obstacle = self.level_obstacle(meaning.level, released)
            if obstacle is not None:
                return obstacle
        own = self.audience.countries
        if meaning.rel_to is not None:
            # Everybody in a joint team reads, so every one of its countries has to be on the list.
            listed = bool(own) and meaning.rel_to.issuperset(own)
            if not listed and meaning.rel_to_groups.isdisjoint(self.audience.groups):
                return 3, "rel-to", f"not on the release list of {meaning.name!r}"
        if not meaning.not_rel_to.isdisjoint(own):
            return 4, "not-rel-to", f"on the exclusion list of {meaning.name!r}"
        if meaning.orcon and not released:
            return 5, "orcon", f"{meaning.name!r}: only its originator hands it on"
        return None

    def unmarked_rank(self, collection: str) -> int | None:
        """The level that an unmarked object of this collection counts as; None: deny."""
        return self.collection_ranks.get(collection, self.default_rank)


def unmarked_rank(text: str) -> int | None:
    """The rank that an `unmarked` setting stands for; None for "deny"."""
    return None if text == "deny" else RANKS[text.removeprefix("tlp:")]


def is_released_to(release: Release, audience: Audience) -> bool:
    """Whether the release names this audience, or a group of it."""
    return audience.name in release.audiences or not release.groups.isdisjoint(audience.groups)
