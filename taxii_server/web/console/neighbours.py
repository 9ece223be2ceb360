"""What stands around an object: what it refers to, what refers to it, and what relationships tie to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taxii_server.catalog import Collection
from taxii_server.service.browsing import Browser
from taxii_server.service.copies import Served
from taxii_server.web.console import shown
from taxii_server.web.console.drawing import Near
from taxii_server.web.console.fields import is_id, title_of

WANTED = 24
#: What stands on the page as badges.
_NOT_HERE = frozenset({"object_marking_refs", "granular_markings"})
_MAX_DEPTH = 6
#: How a reader would say it.
_WORDS = {
    "object_refs": "contains",
    "sighting_of_ref": "sighting of",
    "where_sighted_refs": "seen at",
    "observed_data_refs": "seen in",
    "sample_refs": "sample",
    "resolves_to_refs": "resolves to",
    "belongs_to_refs": "belongs to",
}


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The neighbours, the items whose contents tell of them (they are given away), and whether there are more."""

    near: tuple[Near, ...]
    items: tuple[Served, ...]
    is_more: bool


def neighbours(browser: Browser, collection: Collection, value: Mapping[str, Any]) -> Neighbours:
    """The neighbours of this object, as far as whoever asks gets them in this collection."""
    object_id = str(value.get("id"))
    own = [(other, label, True, "") for other, label in _references(value) if other != object_id]
    referring = browser.referrers(collection, object_id, WANTED)
    ties: list[tuple[str, str, bool, str]] = []
    used: list[Served] = []
    for item in referring.items:
        found = list(_ties(item, object_id))
        used += [item] if found else []
        ties += found
    wanted = list(dict.fromkeys([*own[: WANTED // 2], *ties, *own[WANTED // 2 :]]))
    chosen = wanted[:WANTED]
    named = {item.id: item for item in browser.of_ids(collection, list({other for other, *_ in chosen}))}
    near = tuple(_near(named.get(each[0]), *each) for each in chosen)
    items = {item.at: item for item in (*used, *named.values())}
    return Neighbours(near, tuple(items[at] for at in sorted(items)), referring.is_more or len(wanted) > WANTED)


def _near(item: Served | None, other: str, label: str, out: bool, via: str) -> Near:
    title = "" if item is None else title_of(shown.read_json(item.content))
    return Near(other, other.partition("--")[0], title or other, label, out, item is not None, via)


def _ties(item: Served, object_id: str) -> Iterator[tuple[str, str, bool, str]]:
    """How this item, which names the object, ties something to it: other id, words, direction, relationship."""
    value = shown.read_json(item.content)
    if item.type == "relationship":
        word = shown.short(value.get("relationship_type", ""), 40)
        source, target = value.get("source_ref"), value.get("target_ref")
        if source == object_id and is_id(target):
            yield str(target), word, True, item.id
        elif target == object_id and is_id(source):
            yield str(source), word, False, item.id
        return
    for other, label in _references(value):
        if other == object_id:
            yield item.id, label, False, ""
            return


def _references(value: object, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The ids that an object refers to, with the property in words; at any depth that a reader would look at."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name, member in value.items():
            if name in _NOT_HERE:
                continue
            if name.endswith(("_ref", "_refs")):
                plain = name.removesuffix("s").removesuffix("_ref").replace("_", " ")
                label = _WORDS.get(name) or shown.short(plain, 40)
                for each in member if isinstance(member, list) else [member]:
                    if is_id(each):
                        yield each, label
            elif isinstance(member, (dict, list)):
                yield from _references(member, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each, depth + 1)
