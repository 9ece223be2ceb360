"""What marking ids mean: the TLP levels, the built-in ids, and the meanings that submitters posted.

Why a registry per submitter: a stranger who posts a harmless definition under an id that somebody
else uses must not open the objects of that somebody (C2). So a posted meaning counts only for the
objects of whoever posted it, or of those who name the poster as a trusted source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from taxii_server.tlp import TLP_IDS

#: TLP levels, weakest first. A clearance gives itself and everything before it.
LEVELS = ("clear", "green", "amber", "amber+strict", "red")
RANKS: Mapping[str, int] = {name: rank for rank, name in enumerate(LEVELS)}
RED = RANKS["red"]

#: Other ways in which a `tlp:` label or an older policy writes a level.
_SPELLINGS: Mapping[str, str] = {
    **{name: name for name in LEVELS},
    "white": "clear",
    "amber-strict": "amber+strict",
    "amber_strict": "amber+strict",
}


def level_named(text: str) -> str | None:
    """The TLP level that this text names, in any usual spelling; None when it names none."""
    return _SPELLINGS.get(text.strip().lower())


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one marking demands of a reader. `level` is a rank in LEVELS, None when it sets none.

    `rel_to` None means no list; an empty list releases to no country.
    """

    name: str
    level: int | None = None
    rel_to: frozenset[str] | None = None
    rel_to_groups: frozenset[str] = frozenset()
    not_rel_to: frozenset[str] = frozenset()
    orcon: bool = False
    understood: bool = True


BUILT_IN: Mapping[str, Meaning] = {id_: Meaning(f"TLP:{lvl.upper()}", RANKS[lvl]) for id_, lvl in TLP_IDS.items()}
UNKNOWN_MARKING = Meaning("a marking nobody explained", understood=False)

_PAYLOAD_KEYS = frozenset({"submitter", "id", "kind", "tlp", "rel_to", "reason"})
_UNDERSTOOD_KINDS = frozenset({"statement", "iep", "acs", "neutral"})


def _posted(payload: Mapping[str, object]) -> Meaning:
    """The meaning of one posted payload; whatever is not exactly understood hides."""
    kind, tlp, rel_to, reason = (payload.get(key) for key in ("kind", "tlp", "rel_to", "reason"))
    name = f"posted {kind}" if isinstance(kind, str) else "posted marking"
    unclear = Meaning(f"{name}: {reason}" if isinstance(reason, str) else name, understood=False)
    if kind not in _UNDERSTOOD_KINDS or not _PAYLOAD_KEYS.issuperset(payload):
        return unclear
    level: int | None = None
    if tlp is not None:
        named = level_named(tlp) if isinstance(tlp, str) else None
        if named is None:
            return unclear
        level = RANKS[named]
    if rel_to is None:
        return Meaning(name, level)
    if not isinstance(rel_to, list) or not all(isinstance(code, str) for code in rel_to):
        return unclear
    return Meaning(name, level, rel_to=frozenset(code.upper() for code in rel_to))


@dataclass(frozen=True, slots=True, eq=False)
class Meanings:
    """What submitters said their own marking ids mean. Immutable; the first word on an id stands."""

    _posted: Mapping[tuple[str, str], Meaning] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Meanings:
        """A registry in which nobody has posted anything; built-in ids are known all the same."""
        return cls()

    def with_posted(self, *payloads_json: str) -> Meanings:
        """A registry that also knows these payloads, in this order; self is unchanged.

        A later payload for the same submitter and id is ignored, as is one for a built-in id and
        one that names no submitter or id (its marking then stays unknown, which hides). Give many
        payloads at once when there are many: every call copies the registry once.
        """
        posted = dict(self._posted)
        for text in payloads_json:
            try:
                payload = json.loads(text)
            except ValueError:
                continue
            if not isinstance(payload, dict):
                continue
            submitter, id_ = payload.get("submitter"), payload.get("id")
            if isinstance(submitter, str) and isinstance(id_, str) and id_ not in BUILT_IN:
                posted.setdefault((submitter, id_), _posted(payload))
        return Meanings(posted)

    def of(self, id_: str, submitter: str, configured: Mapping[str, Meaning], sources: Iterable[str] = ()) -> Meaning:
        """The meaning of a marking on an object of this submitter; UNKNOWN_MARKING when there is none.

        Built in comes before configured, configured before posted by the submitter, and that before
        posted by one of the trusted `sources`, in their order.
        """
        fixed = BUILT_IN.get(id_) or configured.get(id_)
        if fixed is not None:
            return fixed
        for poster in (submitter, *sources):
            meaning = self._posted.get((poster, id_))
            if meaning is not None:
                return meaning
        return UNKNOWN_MARKING
