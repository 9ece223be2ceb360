"""The markings of an object as badges: TLP in the colours of FIRST, others by the names that the partner may know.

With them the level that the object counts as here where no marking says so: a reader who saw nothing would hand it on
as free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taxii_server.service.copies import Served
from taxii_server.service.standing import markings_of
from taxii_server.service.visit import Visit
from taxii_server.tlp import TLP_IDS


@dataclass(frozen=True, slots=True)
class Badge:
    """One marking. `level` names the TLP colour, empty for any other marking."""

    id: str
    text: str
    level: str = ""
    #: no marking on the object says so: why it counts as this level here
    why: str = ""


class Badges:
    """Badges for whoever makes the visit: names of markings are told as far as `GET /taxii2/rights/` tells them."""

    def __init__(self, visit: Visit) -> None:
        policy, partner = visit.catalog.policy, visit.actor.partner
        self._visit = visit
        self._names: Mapping[str, str] = {right.id: right.name for right in markings_of(policy, partner)}

    def of(self, item: Served, value: Mapping[str, Any]) -> list[Badge]:
        """What an object counts as, if its markings do not say so; its markings, in its order, those of its parts
        last. `value` is the content of the item."""
        refs, granular = _list(value.get("object_marking_refs")), _list(value.get("granular_markings"))
        parts = [each.get("marking_ref") for each in granular if isinstance(each, dict)]
        found = dict.fromkeys(each for each in [*refs, *parts] if isinstance(each, str))
        return [*self._counted(item), *(self.badge(each) for each in list(found)[:12])]

    def _counted(self, item: Served) -> list[Badge]:
        visit, sights = self._visit, self._visit.snapshot.sights
        named = sights.named(visit.book.label(item.record.label))
        if named is None:
            return []
        counted = visit.catalog.policy.counts_as(named[1], visit.book.meanings, sights.moment)
        return [] if counted is None else [_tlp("", counted.level, counted.why)]

    def badge(self, marking_id: str) -> Badge:
        """The badge of one marking."""
        level = TLP_IDS.get(marking_id)
        if level is not None:
            return _tlp(marking_id, level)
        return Badge(marking_id, self._names.get(marking_id, "marking"))


def _tlp(marking_id: str, level: str, why: str = "") -> Badge:
    return Badge(marking_id, f"TLP:{level.upper()}", level.replace("+", "-"), why)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
