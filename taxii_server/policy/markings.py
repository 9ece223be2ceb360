"""What marking ids mean: the TLP levels, the built-in ids, and the meanings that submitters posted.

Why a registry per submitter: a stranger who posts a harmless definition under an id that somebody
else uses must not open the objects of that somebody (C2). So a posted meaning counts only for the
objects of whoever posted it, or of those who name the poster as a trusted source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from taxii_server.times import parse_instant
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

    `rel_to` None means no list; an empty list releases to no country. `starts` and `ends` (µs) bound its time: before,
    what it marks is hidden; after, it sets no level any more. `hide_creator`: nobody is told who made it.
    """

    name: str
    level: int | None = None
    rel_to: frozenset[str] | None = None
    rel_to_groups: frozenset[str] = frozenset()
    not_rel_to: frozenset[str] = frozenset()
    orcon: bool = False
    understood: bool = True
    starts: int | None = None
    ends: int | None = None
    hide_creator: bool = False
    pending: bool = False

    def at(self, moment: int | None) -> Meaning:
        """What it demands at this moment (None: while it is in force)."""
        if moment is None or (self.starts is None and self.ends is None):
            return self
        if self.starts is not None and moment < self.starts:
            return replace(self, pending=True)
        return self if self.ends is None or moment < self.ends else replace(self, level=None)


BUILT_IN: Mapping[str, Meaning] = {id_: Meaning(f"TLP:{lvl.upper()}", RANKS[lvl]) for id_, lvl in TLP_IDS.items()}
UNKNOWN_MARKING = Meaning("a marking nobody explained", understood=False)

_PAYLOAD_KEYS = frozenset(
    {"submitter", "id", "kind", "tlp", "rel_to", "reason", "start_date", "end_date", "attribution"}
)
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
    try:
        starts, ends = (_instant(payload.get(key)) for key in ("start_date", "end_date"))
    except ValueError:
        return unclear
    attribution = payload.get("attribution")
    if attribution not in (None, "may", "must", "must-not"):
        return unclear
    plain = Meaning(name, level, starts=starts, ends=ends, hide_creator=attribution == "must-not")
    if rel_to is None:
        return plain
    if not isinstance(rel_to, list) or not all(isinstance(code, str) for code in rel_to):
        return unclear
    return replace(plain, rel_to=frozenset(code.upper() for code in rel_to))


def _instant(found: object) -> int | None:
    if found is None:
        return None
    if not isinstance(found, str):
        raise ValueError("not a text")
    return parse_instant(found)


@dataclass(frozen=True, slots=True, eq=False)
class Meanings:
    """What submitters said their own marking ids mean. Immutable; the first word on an id stands."""

    _posted: Mapping[tuple[str, str], Meaning] = field(default_factory=dict)
    _instants: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found = (instant for meaning in self._posted.values() for instant in (meaning.starts, meaning.ends))
        object.__setattr__(self, "_instants", frozenset(instant for instant in found if instant is not None))

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

    def instants(self) -> frozenset[int]:
        """When some posted meaning begins or ends (µs)."""
        return self._instants

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
