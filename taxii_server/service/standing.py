"""Where a partner stands with the markings: which of them let it read, and why not. For the partner itself."""

from __future__ import annotations

from dataclasses import dataclass

from taxii_server.policy import Facets, Meanings, Policy
from taxii_server.tlp import TLP_IDS

#: What the floor says when a marking is in the way, in words to the partner. They tell nothing of others.
_IN_THE_WAY = {
    "tlp": "above your clearance",
    "tlp-red-not-named": "only objects whose originator released them to you",
    "rel-to": "you are not on its release list",
    "not-rel-to": "you are on its exclusion list",
    "orcon": "only objects whose originator released them to you",
    "unknown-marking": "its meaning is not known here",
    "suspended": "you are suspended",
}


@dataclass(frozen=True, slots=True)
class MarkingRight:
    """One marking: whether it lets the partner read what carries it, and the reason if it does not."""

    id: str
    name: str
    readable: bool
    reason: str | None = None


def markings_of(policy: Policy, partner: str) -> tuple[MarkingRight, ...]:
    """The markings that this partner may know of: every TLP marking, and of the others those that let it read.

    Others are left out, because their names can tell of operations. A marking that lets a partner read is not the
    last word: rules decide as well.
    """
    tlp = [_judged(policy, partner, id_, f"TLP:{level.upper()}") for id_, level in TLP_IDS.items()]
    others = [_judged(policy, partner, id_, meaning.name) for id_, meaning in policy.markings.items()]
    return (*tlp, *sorted((each for each in others if each.readable), key=lambda each: each.id))


def _judged(policy: Policy, partner: str, id_: str, name: str) -> MarkingRight:
    # The decision itself is asked, for an object of nobody that carries this marking and nothing else. What stands
    # in the way of a marking comes before every rule, so the reason tells whether this marking is.
    probe = Facets(collection="", submitter="", type="", spec_version="2.1", markings=(id_,))
    decision = policy.decide(partner, probe, Meanings.empty())
    if decision.reason == "error":
        return MarkingRight(id_, name, False, "the decision failed; ask the operator")
    reason = _IN_THE_WAY.get(decision.reason)
    return MarkingRight(id_, name, reason is None, reason)
