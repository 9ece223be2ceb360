"""Which objects an object speaks about (STIX 2.1, 2.7: properties ending in `_ref` and `_refs`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from taxii_server.stix.kinds import is_id, is_observable
from taxii_server.stix.selectors import Path

#: Who made it and how it is marked are decided elsewhere; external references point outside STIX.
_NOT_FOLLOWED = frozenset({"object_marking_refs", "granular_markings", "external_references"})

#: Their text talks about every object they list, so none of the list can be taken out.
ALL_HARD_TYPES = frozenset({"note", "opinion"})


def read_references(value: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids whose being hidden hides this object (hard), and those that could be taken out of a list (soft).

    Looks at any depth. Hard: single references, and every reference of an observable, a note or an opinion.
    Soft: ids in lists, and single references inside the objects of a list. Inside an object under such a name every
    text counts. Creators (`*_by_ref`) are no references in this sense. An upper-case UUID counts as the same id, and
    local keys of STIX 2.0 observed-data are no ids. Each tuple is sorted and without repeats; an id that is both is
    hard; the own id is left out.
    """
    hard: set[str] = set()
    soft: set[str] = set()
    _collect(value, hard, soft)
    if not (hard or soft):
        return (), ()
    if value.get("type") in ALL_HARD_TYPES or is_observable(value):
        hard |= soft
    hard.discard(value.get("id", ""))
    soft.discard(value.get("id", ""))
    return tuple(sorted(hard)), tuple(sorted(soft - hard))


def mentions(value: Mapping[str, Any], ids: frozenset[str]) -> bool:
    """True when the object refers to one of these ids, hard or soft, as `read_references` finds them; itself counts."""
    return bool(ids) and _mentions(value, ids, within=False)


def reference_lists(value: Mapping[str, Any]) -> Iterator[tuple[Path, list[Any]]]:
    """Every list of references (`*_refs`, creators aside) at any depth, and where it stands."""
    return _lists(value, (), listed=False)


def is_followed(name: str) -> bool:
    """Whether references are looked for inside the property of this name."""
    return name not in _NOT_FOLLOWED


def is_one_of(text: object, ids: frozenset[str]) -> bool:
    """True when the text refers to one of these ids, in whatever case it is written."""
    return isinstance(text, str) and text.strip().lower() in ids


def _mentions(place: Any, ids: frozenset[str], *, within: bool) -> bool:
    if isinstance(place, dict):
        return any(
            _mentions(member, ids, within=within or names_references(name))
            for name, member in place.items()
            if isinstance(member, str) or name not in _NOT_FOLLOWED
        )
    if isinstance(place, list):
        return any(_mentions(member, ids, within=within) for member in place)
    return within and is_one_of(place, ids)


def _lists(place: Any, path: Path, *, listed: bool) -> Iterator[tuple[Path, list[Any]]]:
    """`listed`: the place stands under a name of lists of references."""
    if isinstance(place, dict):
        for name, member in place.items():
            if isinstance(member, (dict, list)) and name not in _NOT_FOLLOWED:
                yield from _lists(member, (*path, name), listed=name.endswith("_refs") and names_references(name))
    elif isinstance(place, list):
        if listed:
            yield path, place
        for index, member in enumerate(place):
            if isinstance(member, (dict, list)):
                yield from _lists(member, (*path, index), listed=listed)


def _collect(value: Mapping[str, Any], single: set[str], listed: set[str], *, within: bool = False) -> None:
    """`within`: the object stands under a name of references, so that every text in it may be one."""
    for name, member in value.items():
        if isinstance(member, str):
            # Asked twice: nearly every name of a text is none, and this way costs no call (0.9 us less an object).
            if within or ("_ref" in name and names_references(name)):
                _add(member, single)
        elif isinstance(member, list):
            if name not in _NOT_FOLLOWED:
                _collect_list(member, within or names_references(name), listed)
        elif isinstance(member, dict) and name not in _NOT_FOLLOWED:
            _collect(member, single, listed, within=within or names_references(name))


def _collect_list(members: list[Any], is_reference: bool, listed: set[str]) -> None:
    for member in members:
        if isinstance(member, str):
            if is_reference:
                _add(member, listed)
        elif isinstance(member, dict):
            _collect(member, listed, listed, within=is_reference)
        elif isinstance(member, list):
            _collect_list(member, is_reference, listed)


def names_references(name: str) -> bool:
    """Whether what stands under this name are references in this sense."""
    return name.endswith(("_ref", "_refs")) and not name.endswith(("_by_ref", "_by_refs"))


def _add(text: str, ids: set[str]) -> None:
    ref = text.strip().lower()
    if is_id(ref):
        ids.add(ref)
