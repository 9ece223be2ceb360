"""TAXII in memory, as simple as it can be said: who posted which version of what, and who may read it.

Two partners share one collection. `alice` is cleared for amber, `bob` for green; what carries the label `secret` is
forbidden to bob. Whoever posted something reads it. A version is read by others only when the newest version that its
submitter posted is readable as well. Of equal versions a reader gets its own, else the oldest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from taxii_server.tlp import TLP_2_IDS
from tests.world import OPEN_POLICY, audiences, indicator, malware

PARTNERS = ("alice", "bob")
LEVELS = ("clear", "green", "amber", "red")
_CLEARANCE = {"alice": 2, "bob": 1}
AUDIENCES = audiences(
    {name: f'kind = "cert"\nclearance = "{LEVELS[_CLEARANCE[name]]}"\n' for name in PARTNERS}
)  # fmt: skip
POLICY = (
    OPEN_POLICY
    + """
[[forbid]]
id = "no-secrets-for-bob"
to = { audience = "bob" }
what = { label = "secret" }
"""
)
#: Ids of which only one partner posts, and ids that both use.
OWN = {
    "alice": ("indicator--a11ce000-0000-4000-8000-0000000000a1", "malware--a11ce000-0000-4000-8000-0000000000a2"),
    "bob": ("indicator--b0b00000-0000-4000-8000-0000000000b1", "malware--b0b00000-0000-4000-8000-0000000000b2"),
}
SHARED = ("indicator--5ba3ed00-0000-4000-8000-0000000000c1", "malware--5ba3ed00-0000-4000-8000-0000000000c2")
VERSIONS = tuple(f"202{number}-01-01T00:00:00.000Z" for number in range(4))


@dataclass(frozen=True)
class Post:
    """One object version, as somebody might post it."""

    id: str
    version: str
    level: str
    secret: bool
    name: str

    @property
    def type(self) -> str:
        return self.id.partition("--")[0]

    def text(self) -> dict[str, Any]:
        """The STIX object."""
        make = {"indicator": indicator, "malware": malware}[self.type]
        more = {"labels": ["secret"]} if self.secret else {}
        return make(self.id, self.version, name=self.name, object_marking_refs=[TLP_2_IDS[self.level]], **more)


@dataclass(frozen=True)
class Query:
    """The filters of a read; None is not asked for."""

    ids: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    versions: tuple[str, ...] | None = None
    specs: tuple[str, ...] | None = None

    def text(self) -> str:
        """The query string."""
        fields = {"id": self.ids, "type": self.types, "version": self.versions, "spec_version": self.specs}
        return "&".join(f"match[{name}]={','.join(values)}" for name, values in fields.items() if values is not None)


def picked(versions: Sequence[str], choice: tuple[str, ...] | None) -> set[str]:
    """What `match[version]` chooses among the versions of one object."""
    wanted = set(choice or ("last",))
    return {
        version
        for version in versions
        if wanted & {version, "all"}
        or ("first" in wanted and version == min(versions))
        or ("last" in wanted and version == max(versions))
    }


@dataclass
class Model:
    """The collection: what was posted by whom, in the order of arrival."""

    records: list[tuple[str, Post]] = field(default_factory=list)

    def post(self, partner: str, posts: Iterable[Post]) -> list[str]:
        """What becomes of each: stored, already present, or failure."""
        return [self._post(partner, each) for each in posts]

    def _post(self, partner: str, new: Post) -> str:
        for submitter, old in self.records:
            if (submitter, old.id, old.version) == (partner, new.id, new.version):
                return "already present" if old == new else "failure"
        self.records.append((partner, new))
        return "stored"

    def delete(self, partner: str, id_: str, query: Query) -> int:
        """The status of the answer."""
        seen = [
            (submitter, each)
            for submitter, each in self.records
            if each.id == id_ and (submitter == partner or self._may_read(partner, submitter, each))
        ]
        if query.specs is not None and "2.1" not in query.specs:
            seen = []
        chosen = picked([each.version for _, each in seen], query.versions or ("all",))
        doomed = [record for record in seen if record[1].version in chosen and record[0] == partner]
        if not doomed:
            return 403 if chosen else 404
        self.records = [record for record in self.records if record not in doomed]
        return 200

    def _may_read(self, reader: str, submitter: str, post: Post) -> bool:
        newest = max(
            (each for by, each in self.records if by == submitter and each.id == post.id), key=lambda each: each.version
        )
        return all(_cleared(reader, each) for each in (post, newest))

    def readable(self, reader: str) -> list[Post]:
        """One copy of each version that a reader gets, in the order of arrival."""
        copies: dict[tuple[str, str], int] = {}
        for place, (submitter, post) in enumerate(self.records):
            key = (post.id, post.version)
            if submitter != reader and not self._may_read(reader, submitter, post):
                continue
            if key not in copies or submitter == reader:
                copies[key] = place
        return [self.records[place][1] for place in sorted(copies.values())]

    def found(self, reader: str, query: Query) -> set[tuple[str, str]]:
        """The ids and versions that a query finds."""
        if query.specs is not None and "2.1" not in query.specs:
            return set()
        by_id: dict[str, list[str]] = {}
        for post in self.readable(reader):
            if (query.ids is None or post.id in query.ids) and (query.types is None or post.type in query.types):
                by_id.setdefault(post.id, []).append(post.version)
        return {(id_, version) for id_, versions in by_id.items() for version in picked(versions, query.versions)}

    def object_status(self, reader: str, id_: str, choice: tuple[str, ...] | None) -> int:
        """Whether GET of one object is answered at all: not when it, or each single version asked for, is not there."""
        versions = [post.version for post in self.readable(reader) if post.id == id_]
        only_single = choice is not None and not {"first", "last", "all"} & set(choice)
        there = picked(versions, choice) if only_single else set(versions)
        return 200 if there else 404


def _cleared(reader: str, post: Post) -> bool:
    if post.level == "red" or LEVELS.index(post.level) > _CLEARANCE[reader]:
        return False
    return not (post.secret and reader == "bob")
