"""The markings of an object as badges: TLP in the colours of FIRST, others by the names that the partner may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taxii_server.service.standing import markings_of
from taxii_server.service.visit import Visit
from taxii_server.tlp import TLP_IDS


@dataclass(frozen=True, slots=True)
class Badge:
    """One marking. `level` names the TLP colour, empty for any other marking."""

    id: str
    text: str
    level: str = ""


class Badges:
    """Badges for whoever makes the visit: names of markings are told as far as `GET /taxii2/rights/` tells them."""

    def __init__(self, visit: Visit) -> None:
        policy, partner = visit.catalog.policy, visit.actor.partner
        self._names: Mapping[str, str] = {right.id: right.name for right in markings_of(policy, partner)}

    def of(self, value: Mapping[str, Any]) -> list[Badge]:
        """The markings of an object, in its order, those of its parts last."""
        refs, granular = _list(value.get("object_marking_refs")), _list(value.get("granular_markings"))
        parts = [each.get("marking_ref") for each in granular if isinstance(each, dict)]
        found = dict.fromkeys(each for each in [*refs, *parts] if isinstance(each, str))
        return [self.badge(each) for each in list(found)[:12]]

    def badge(self, marking_id: str) -> Badge:
        """The badge of one marking."""
        level = TLP_IDS.get(marking_id)
        if level is not None:
            return Badge(marking_id, f"TLP:{level.upper()}", level.replace("+", "-"))
        return Badge(marking_id, self._names.get(marking_id, "marking"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
