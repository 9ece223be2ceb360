"""What an object is found by: a few numbers, its terms, each of which stands for one value that a filter may ask for.

Stores index them beside the label of the record, so that a page reads what has a value and is readable, nothing else.
A term is a hash: who gets a record by one still looks whether the text fits (filters.fits), so that two values with
one hash, or the steps of a range, do no harm. Whatever fits has one of the terms that `ask` gives; tests prove it.

Ranges
    A number or an instant has a term for itself cut off at each of a few steps. What is at least 80 is then the union
    of some terms: those of the least steps up to the next larger one, and so on. The least step of an instant is 6.4
    days, that of a confidence 4: each term is an entry of an index, which costs more than looking at a few texts more.

Parts
    What granular markings take out of an object must not be found. A property that such a marking touches is written
    under terms of its own kind (MARKED), for readers who get it whole; for others it only says that it is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from taxii_server.stix.filters import (
    KINDS,
    LEVELS,
    Condition,
    all_nested,
    markings_of,
    number_of,
    references_of,
    texts_of,
)
from taxii_server.times import parse_instant

#: Terms below this are free for stores.
RESERVED = 16
#: So many values of one property have terms of their own; an object with more is looked at whenever it is asked for.
VALUES_MAX = 64
_Steps = tuple[int, Sequence[int]]
#: Highest value (inclusive, higher ones count as this one) and by how many bits the values are cut off at each step.
_NUMBERS: Mapping[str, _Steps] = {
    "confidence": (0x7F, (2,)),
    "src_port": (0xFFFF, range(0, 16, 4)),
    "dst_port": (0xFFFF, range(0, 16, 4)),
    "number": (0xFFFFFFFF, range(0, 32, 4)),
}
#: µs since 1970; from 2041 on all instants share their terms.
_INSTANTS: _Steps = (2**51 - 1, (39, 45))
_TIMES = ("modified", "valid_from", "valid_until")
#: Characters of a timestamp up to its minute.
_MINUTE = 16
_NESTED_IN = frozenset({"hashes", "extensions", "external_references", "kill_chain_phases", "objects"})
_LEVEL_OF = {id_: level for level, id_ in LEVELS.items()}
_NOTHING: frozenset[str] = frozenset()
OPEN, MARKED = "", "m"
_NAMED, _INSIDE = "named", "inside"
#: What a property is to its terms; two of them are kinds of filters.
_TEXT, _NUMBER, _TIME, _CREATOR, _REFERENCE, _GRANULAR = "text", "number", "time", "creator", "reference", "granular"
_SHORT = 100


def term(*parts: str) -> int:
    """The term of these parts: 63 bits, never one of the reserved ones."""
    text = "\0".join(parts)
    return _term(text) if len(text) <= _SHORT else _hash(text)


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return max(int.from_bytes(digest, "big") >> 1, RESERVED)


#: Types, markings, creators, spans of time: most terms are those of the object before.
_term = lru_cache(maxsize=20_000)(_hash)


def read_terms(value: Mapping[str, Any]) -> tuple[int, ...]:
    """The terms of a checked object, ascending."""
    touched = _touched(value) if "granular_markings" in value else _NOTHING
    terms = {_hash(f"self\0{value['id']}")}
    named: dict[str, Any] = {}
    inside: dict[str, Any] = {}
    # One pass, and of most properties only the role is looked at: this runs for every object that is posted.
    for name, member in value.items():
        role = _role_of(name)
        if isinstance(member, str):
            if role == _TEXT:
                terms.add(term(MARKED if name in touched else OPEN, name, name, "=", member))
            elif role == _TIME:
                terms.update(_time_terms(MARKED if name in touched else OPEN, name, member[:_MINUTE]))
            elif role == _CREATOR:
                terms.add(term(MARKED if name in touched else OPEN, "creator", "", "=", member))
            elif role == _REFERENCE:
                named[name] = member
            continue
        if role == _TEXT:
            terms.update(_terms_of(MARKED if name in touched else OPEN, name, name, texts_of(value, name)))
        elif role == _NUMBER:
            if (number := number_of(value, name)) is not None:
                most, shifts = _NUMBERS[name]
                steps = [_at(number, most, shift) for shift in shifts]
                terms.update(_terms_of(MARKED if name in touched else OPEN, name, name, steps))
        elif role == _REFERENCE:
            named[name] = member
            continue
        elif name in _NESTED_IN:
            found: dict[str, set[str]] = {}
            for inner, text in all_nested(value, name):
                found.setdefault(inner, set()).add(text)
            for inner, texts in found.items():
                terms.update(_terms_of(MARKED if name in touched else OPEN, inner, name, texts))
        if isinstance(member, (dict, list)) and role not in (_CREATOR, _GRANULAR) and _may_refer(member):
            inside[name] = member
    if touched or "object_marking_refs" in named:
        terms.update(_level_terms(value, touched))
    for place, part in ((_NAMED, named), (_INSIDE, inside)):
        if part:
            terms.update(_reference_terms(place, part, touched))
    if touched:
        granular = {id_ for source, id_ in markings_of(value) if source == "granular_markings"}
        terms.update(_terms_of(MARKED, "kept", "granular_markings", granular))
        terms.update(term("touched", source) for source in touched)
    return tuple(sorted(terms))


@lru_cache(maxsize=4096)
def _role_of(name: str) -> str:
    """What a property of this name is here."""
    if name == "created_by_ref":
        return _CREATOR
    if name == "granular_markings":
        return _GRANULAR
    if name.endswith(("_ref", "_refs")):
        return _REFERENCE
    return _TIME if name in _TIMES else KINDS.get(name, "")


def _level_terms(value: Mapping[str, Any], touched: frozenset[str]) -> Iterator[int]:
    """The terms of the TLP levels that its markings name."""
    levels: dict[str, set[str]] = {}
    for source, id_ in markings_of(value):
        if id_ in _LEVEL_OF:
            levels.setdefault(source, set()).add(_LEVEL_OF[id_])
    for source, found in levels.items():
        yield from _terms_of(MARKED if source in touched else OPEN, "tlp", source, found)


@lru_cache(maxsize=20_000)
def _time_terms(kind: str, name: str, minute: str) -> tuple[int, ...]:
    """The terms of the instants of one minute: spans are longer, and most objects come with many of their time."""
    try:
        us = parse_instant(f"{minute}:00Z")
    except ValueError:
        return ()
    most, shifts = _INSTANTS
    return tuple(_terms_of(kind, name, name, [_at(us, most, shift) for shift in shifts]))


def _reference_terms(place: str, part: Mapping[str, Any], touched: frozenset[str]) -> Iterator[int]:
    """The terms of the ids in these properties: those that are references, or those with something inside."""
    followed, kept, _ = references_of(part)
    if not (followed or kept):
        return
    marked = any(any(references_of({name: part[name]})) for name in touched.intersection(part))
    kind = MARKED if marked else OPEN
    yield from _terms_of(kind, "followed", place, followed)
    yield from _terms_of(kind, "kept", place, kept)
    if followed:
        yield term("refers")
    if marked:
        yield term("touched", "references")
    if place == _INSIDE:
        yield term("refers inside")


def _may_refer(member: Mapping[str, Any] | list[Any]) -> bool:
    """Whether there may be anything inside that has a name."""
    return isinstance(member, dict) or not all(isinstance(each, str) for each in member)


def _is_named(name: str) -> bool:
    return name.endswith(("_ref", "_refs"))


def _terms_of(kind: str, name: str, source: str, values: Iterable[str]) -> list[int]:
    known = tuple(values)
    if len(known) > VALUES_MAX:
        return [term(kind, name, source, "*")]
    return [term(kind, name, source, "=", value) for value in known]


def _touched(value: Mapping[str, Any]) -> frozenset[str]:
    """The properties that markings of parts speak of, the property that holds the markings itself among them."""
    if not any(source == "granular_markings" for source, _ in markings_of(value)):
        return frozenset()
    touched = {"granular_markings"}
    for marking in value["granular_markings"]:
        if isinstance(marking, dict) and "marking_ref" in marking:
            for selector in marking.get("selectors", ()):
                touched.add(str(selector).partition(".")[0])
    return frozenset(touched)


def _us(key: str) -> int:
    """The beginning of the minute of an instant."""
    return parse_instant(f"{key[:_MINUTE]}:00Z")


def _at(number: int, most: int, shift: int) -> str:
    return f"{shift}:{min(max(number, 0), most) >> shift}"


# ---- asking


@dataclass(frozen=True, slots=True)
class Part:
    """How much of some objects a reader gets.

    `is_marked`: parts of them carry markings. `loses_parts`: for this reader some of those are taken out.
    `stripped`: properties that are taken out. `is_copied`, `may_be_copied`: it gets copies of them instead, each with
    dates and a creator of its own and a relationship beside it: of all of them, of those that refer to something
    hidden. `hidden`: ids that their references do not lead this reader to.
    """

    is_marked: bool = False
    loses_parts: bool = False
    stripped: frozenset[str] = frozenset()
    is_copied: bool = False
    may_be_copied: bool = False
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hub:
    """What the asker should know of copies: who makes them, and of which objects some ids are copies."""

    identity: str = ""
    originals: Mapping[str, str] = field(default_factory=dict)


#: The most telling filters first: the first one that has terms says what is looked at.
_TELLING = [
    "relationships-all",
    "value",
    "MD5",
    "SHA-1",
    "SHA-256",
    "SHA-512",
    "SHA3-256",
    "SHA3-512",
    "SSDEEP",
    "TLSH",
    "external_id",
    "pattern",
    "subject",
    "name",
    "number",
    "src_port",
    "dst_port",
    "aliases",
]
_BROAD = ["confidence", "number-gte", "number-lte", "src_port-gte", "src_port-lte", "dst_port-gte", "dst_port-lte"]
_BROADEST = [
    "valid_until-gte",
    "modified-gte",
    "modified-lte",
    "valid_from-lte",
    "confidence-gte",
    "confidence-lte",
    "tlp",
    "pattern_type",
    "relationship_type",
    "revoked",
]
_RANKS = {
    **dict.fromkeys(KINDS, len(_TELLING)),
    **{name: rank for rank, name in enumerate(_TELLING)},
    **{name: 100 + rank for rank, name in enumerate(_BROAD)},
    **{name: 200 + rank for rank, name in enumerate(_BROADEST)},
}


def ask(conditions: Sequence[Condition], part: Part, hub: Hub, *, revoked: bool) -> tuple[int, ...] | None:
    """Terms one of which every record has that fits the conditions, as far as the reader gets it; None: any record.

    `revoked`: whether the objects are. No terms at all: none of them fits. Says nothing of what is taken out: the
    terms of a value are asked for only where the reader gets that value if it is there.
    """
    found: set[int] = set()
    for asked in (_of_objects(conditions, part, hub, revoked), _of_relations(conditions, part, hub)):
        if asked is None:
            return None
        found.update(asked)
    return tuple(sorted(found))


def _of_objects(conditions: Sequence[Condition], part: Part, hub: Hub, revoked: bool) -> tuple[int, ...] | None:
    """For the objects themselves, or their copies."""
    lead: tuple[int, ...] | None = None
    for condition in sorted(conditions, key=lambda each: _RANKS[each.name], reverse=True):
        asked = _of_condition(condition, part, hub, revoked)
        if asked == ():
            return ()
        lead = asked if asked is not None else lead
    return lead


def _of_condition(condition: Condition, part: Part, hub: Hub, revoked: bool) -> tuple[int, ...] | None:
    if condition.kind == "flag":
        return None if revoked in condition.values or condition.name in part.stripped else ()
    if condition.kind == "references":
        return _of_references(condition, part, hub)
    if condition.subject == "modified" and part.is_copied:
        return None
    sources = [source for source in condition.sources if source not in part.stripped]
    if not sources:
        return ()
    kinds = (OPEN, MARKED) if part.is_marked and not part.loses_parts else (OPEN,)
    found = {
        each
        for kind in kinds
        for source in sources
        for each in _values_terms(kind, condition.subject, source, _steps(condition))
    }
    if part.loses_parts:
        found.update(term("touched", source) for source in sources)
    if condition.subject == "modified" and part.may_be_copied:
        found.add(term("refers"))
    return tuple(found)


def _of_references(condition: Condition, part: Part, hub: Hub) -> tuple[int, ...] | None:
    ids = set(map(str, condition.values))
    if part.is_copied and hub.identity in ids:
        return None
    stripped = part.stripped - {"created_by_ref"}
    if any(map(_is_named, stripped)):
        # Which of their references stand in what is taken out is not known: all are looked at.
        return None
    is_whole = part.is_marked and not part.loses_parts
    found: set[int] = set()
    for kind in (OPEN, MARKED) if is_whole else (OPEN,):
        for place in (_NAMED,) if stripped else (_NAMED, _INSIDE):
            found.update(_values_terms(kind, "followed", place, ids - part.hidden))
            found.update(_values_terms(kind, "kept", place, ids))
        if "created_by_ref" not in part.stripped:
            found.update(term(kind, "creator", "", "=", id_) for id_ in ids)
    if stripped:
        found.add(term("refers inside"))
    markings = [id_ for id_ in ids if id_.startswith("marking-definition--")]
    if is_whole:
        found.update(_values_terms(MARKED, "kept", "granular_markings", markings))
    if part.loses_parts:
        found.update(term("touched", each) for each in ("references", *(["granular_markings"] if markings else [])))
    if part.may_be_copied and hub.identity in ids:
        found.add(term("refers"))
    return tuple(found)


def _of_relations(conditions: Sequence[Condition], part: Part, hub: Hub) -> tuple[int, ...] | None:
    """For the relationships beside copies: of which objects they are those that may fit.

    Such a relationship is derived-from, has the dates of the copy, the markings of the object, and refers to both.
    """
    if not (part.is_copied or part.may_be_copied):
        return ()
    kinds = (OPEN, MARKED) if part.is_marked else (OPEN,)
    lead: tuple[int, ...] | None = None if part.is_copied else (term("refers"),)
    for condition in sorted(conditions, key=lambda each: _RANKS[each.name], reverse=True):
        if condition.kind == "references":
            if hub.identity not in condition.values:
                ids = list(map(str, condition.values))
                own = [term("self", hub.originals.get(id_, id_)) for id_ in ids]
                lead = (*own, *(each for kind in kinds for each in _values_terms(kind, "kept", _NAMED, ids)))
        elif condition.kind == "tlp":
            levels = list(map(str, condition.values))
            lead = tuple(t for kind in kinds for t in _values_terms(kind, "tlp", "object_marking_refs", levels))
        elif condition.kind == "flag":
            if False not in condition.values:
                return ()
        elif condition.name == "relationship_type":
            if "derived-from" not in condition.values:
                return ()
        elif condition.subject != "modified":
            return ()
    return lead


def _values_terms(kind: str, name: str, source: str, values: Iterable[str]) -> list[int]:
    found = [term(kind, name, source, "=", value) for value in values]
    return [*found, term(kind, name, source, "*")] if found else []


def _steps(condition: Condition) -> Iterable[str]:
    """The values of a condition as the objects have them."""
    if condition.kind == "number":
        most, shifts = _NUMBERS[condition.name]
        return [_at(int(value), most, shifts[0]) for value in condition.values]
    if condition.kind == "number-range":
        return _range(int(condition.bound), condition.is_least, _NUMBERS[condition.subject])
    if condition.kind == "time-range":
        return _range(_us(str(condition.bound)), condition.is_least, _INSTANTS)
    return map(str, condition.values)


def _range(bound: int, is_least: bool, steps: _Steps) -> list[str]:
    """What is at least, or at most, the bound: at each step those beyond it up to the next larger step, and its own."""
    most, shifts = steps
    bound = min(max(bound, 0), most)
    found = [f"{shifts[0]}:{bound >> shifts[0]}"]
    for shift, larger in zip(shifts, (*shifts[1:], most.bit_length()), strict=True):
        own = bound >> shift
        first = own >> (larger - shift) << (larger - shift)
        beyond = range(own + 1, first + (1 << (larger - shift))) if is_least else range(first, own)
        found += [f"{shift}:{each}" for each in beyond if each << shift <= most]
    return found
