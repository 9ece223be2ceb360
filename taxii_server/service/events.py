"""Events: moments at which an audience can read what it could not read before (policy design, C20).

A client polls with `added_after`; what becomes readable behind its back would never reach it. So for that audience
such a record stands at the moment of the event: the event takes a band of positions from the store's clock, and its
entries say which record stands at which of them. Everybody else keeps the order that they had.

An event says about itself, in the log:

* `grants`: which facets which audience can read from then on, by the labels that hold them as their own;
* `views`: the feeds that a view shows from then on; `reach`: the feeds that an audience reaches from then on;
* `classes`: for whom the entries of each class are (audiences, and views for whose readers they are);
* `opened`: records that a write of their submitter brought back;
* `arrived`: records that came with the event, and brought back what refers to them;
* `gone`: ids of which the last record was deleted, or the last one but for those of one submitter: what refers to
  something unknown is not hidden, nor from somebody what refers to something that nobody else holds. And ids under an
  embargo that are hidden instead: nobody waits for them any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

#: kind of the log entry
EVENT = "event"
#: In place of an audience: everybody.
EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class EventClass:
    """For whom the entries of a class are: these audiences, and whoever reads one of these views (ids)."""

    audiences: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()

    def is_for(self, audience: str, view: str | None) -> bool:
        """Whether this audience may find an entry of the class in this view."""
        return audience in self.audiences or EVERYBODY in self.audiences or view in self.views

    def united(self, other: EventClass) -> EventClass:
        """The class of what is for both."""
        return EventClass(self.audiences | other.audiences, self.views | other.views)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log. Its band reaches from `base` to `end`, both are places."""

    number: int
    base: int
    end: int
    epoch: int = 0
    grants: Mapping[str, frozenset[int]] = field(default_factory=dict)
    views: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reach: Mapping[str, frozenset[str]] = field(default_factory=dict)
    classes: tuple[EventClass, ...] = ()
    opened: Mapping[int, int] = field(default_factory=dict)
    arrived: Mapping[int, int] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)

    def classes_for(self, audience: str, view: str | None) -> tuple[int, ...]:
        """The classes whose entries may be for this audience in this view."""
        return tuple(number for number, each in enumerate(self.classes) if each.is_for(audience, view))

    def changes_sight(self) -> bool:
        """Whether it moves what carries some label."""
        return bool(self.grants or self.views or self.reach)

    def is_silent(self) -> bool:
        """True when nobody's order depends on it."""
        return not (self.changes_sight() or self.classes)


@dataclass(frozen=True, slots=True)
class EventFacts:
    """What an event will say, before its place is known."""

    epoch: int = 0
    grants: Mapping[str, Collection[int]] = field(default_factory=dict)
    views: Mapping[str, Collection[str]] = field(default_factory=dict)
    reach: Mapping[str, Collection[str]] = field(default_factory=dict)
    classes: Sequence[EventClass] = ()

    def payload(
        self, base: int, end: int, opened: Iterable[int] = (), arrived: Iterable[int] = (), gone: Iterable[str] = ()
    ) -> str:
        """The entry of the log; audiences that gain the same stand together."""
        grants: dict[tuple[int, ...], list[str]] = {}
        for audience, labels in sorted(self.grants.items()):
            grants.setdefault(tuple(sorted(labels)), []).append(audience)
        parts: dict[str, Any] = {
            "base": base,
            "end": end,
            "epoch": self.epoch,
            "grants": [[audiences, labels] for labels, audiences in grants.items()],
            "views": {view: sorted(feeds) for view, feeds in self.views.items()},
            "reach": {audience: sorted(feeds) for audience, feeds in self.reach.items()},
            "classes": [[sorted(each.audiences), sorted(each.views)] for each in self.classes],
            "opened": sorted(opened),
            "arrived": sorted(arrived),
            "gone": sorted(gone),
        }
        kept = {name: value for name, value in parts.items() if value or name in ("base", "end")}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def read_event(number: int, payload: str) -> Event:
    """The event that `payload` wrote."""
    parts = orjson.loads(payload)
    base = parts["base"]
    return Event(
        number=number,
        base=base,
        end=parts["end"],
        epoch=parts.get("epoch", 0),
        grants={audience: frozenset(labels) for audiences, labels in parts.get("grants", ()) for audience in audiences},
        views={view: frozenset(feeds) for view, feeds in parts.get("views", {}).items()},
        reach={audience: frozenset(feeds) for audience, feeds in parts.get("reach", {}).items()},
        classes=tuple(EventClass(frozenset(a), frozenset(v)) for a, v in parts.get("classes", ())),
        opened=dict.fromkeys(parts.get("opened", ()), base),
        arrived=dict.fromkeys(parts.get("arrived", ()), base),
        gone=dict.fromkeys(parts.get("gone", ()), base),
    )
