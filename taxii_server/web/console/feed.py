"""The partner's pages: its collections, what is new, search, one object, and how to fetch it with a client."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, request

from taxii_server.catalog import Collection, Rights
from taxii_server.errors import NotFound
from taxii_server.service.browsing import SEARCHED, Browser, Count
from taxii_server.service.copies import Served
from taxii_server.service.query import EVERY, Filters, ReadRequest
from taxii_server.settings import ApiRoot
from taxii_server.web.console import shown
from taxii_server.web.console.drawing import chart, graph
from taxii_server.web.console.fields import fields_of, is_id, title_of
from taxii_server.web.console.finding import MAX_CHARS, holds, likely_ids, refanged
from taxii_server.web.console.markings import Badge, Badges
from taxii_server.web.console.mount import PREFIX
from taxii_server.web.console.neighbours import neighbours
from taxii_server.web.console.pages import render
from taxii_server.web.console.site import base_url, page, partner, path_of, visit
from taxii_server.web.console.snippets import Place, snippets

blueprint = Blueprint("feed", __name__)

_COLLECTION = f"{PREFIX}/<api_root>/collections/<name>"
_DAYS, _NEWEST, _A_PAGE, _VERSIONS, _FOUND = 30, 25, 50, 50, 50
_TYPE = re.compile(r"[a-z0-9-]{1,250}")


@dataclass(frozen=True, slots=True)
class Line:
    """One object in a list."""

    id: str
    type: str
    title: str
    modified: str
    added: int
    badges: list[Badge]
    url: str
    revoked: bool
    is_copy: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """A collection on the first page."""

    root: ApiRoot
    collection: Collection
    rights: Rights
    url: str
    count: Count | None = None
    days: Any = None


def url_of(collection: Collection, object_id: str = "") -> str:
    """The page of a collection, or of an object in it."""
    tail = f"objects/{object_id}/" if object_id else ""
    return path_of(f"{PREFIX}/{collection.api_root}/collections/{collection.id}/{tail}")


def lines_of(collection: Collection, items: tuple[Served, ...] | list[Served]) -> list[Line]:
    """The items as lines of a list; from here on they are given away."""
    visit().show(collection, items)
    badges = Badges(visit())
    lines = []
    for item in items:
        value = shown.read_json(item.content)
        lines.append(
            Line(
                item.id,
                item.type,
                title_of(value) or item.id,
                item.version,
                item.at,
                badges.of(item, value),
                url_of(collection, item.id),
                value.get("revoked") is True,
                item.form == "copy",
            )
        )
    return lines


@page(blueprint, f"{PREFIX}/")
def overview() -> Any:
    """My collections."""
    browser = Browser(visit())
    seen = []
    for root in visit().api_roots():
        for collection, rights in visit().collections(root.name):
            each = Seen(root, collection, rights, url_of(collection))
            if rights.read:
                each = replace(each, count=browser.count(collection), days=chart(browser.days(collection, 14)))
            seen.append(each)
    return render("overview.html", seen=seen)


@page(blueprint, f"{_COLLECTION}/")
def collection(api_root: str, name: str) -> Any:
    """One collection: how much, how much a day, the newest objects."""
    found, rights = visit().collection(api_root, name)
    if not rights.read:
        return render("collection.html", collection=found, rights=rights, url=url_of(found))
    browser = Browser(visit())
    recent = browser.newest(found, _NEWEST)
    return render(
        "collection.html",
        collection=found,
        rights=rights,
        url=url_of(found),
        count=browser.count(found),
        chart=chart(browser.days(found, _DAYS)),
        lines=lines_of(found, recent.items),
        is_more=recent.is_more,
        days=_DAYS,
    )


@page(blueprint, f"{_COLLECTION}/objects/")
def objects(api_root: str, name: str) -> Any:
    """All objects in the order in which a client gets them, page by page."""
    found = _readable(api_root, name)
    type_ = request.args.get("type", "").strip().lower()
    if type_ and _TYPE.fullmatch(type_) is None:
        raise NotFound
    asked = ReadRequest("objects", filters=Filters(types=(type_,) if type_ else None), limit=_A_PAGE)
    if request.args.get("next"):
        asked = replace(asked, next=request.args["next"])
    got = visit().look(found, asked)
    return render(
        "objects.html", collection=found, url=url_of(found), type=type_, lines=lines_of(found, got.items), next=got.next
    )


@page(blueprint, f"{_COLLECTION}/objects/<object_id>/")
def one_object(api_root: str, name: str, object_id: str) -> Any:
    """One object: fields, markings, versions, neighbours."""
    found = _readable(api_root, name)
    every = Filters(spec_versions=("2.0", "2.1"), versions=EVERY)
    versions = visit().look(found, ReadRequest("versions", object_id, filters=every, content=False, limit=1000))
    if not versions.items:
        raise NotFound
    listed = list(reversed(versions.items))
    wanted = request.args.get("version", "")
    chosen = next((item for item in listed if item.version == wanted), None if wanted else listed[0])
    if chosen is None:
        raise NotFound
    item = _with_content(found, object_id, chosen)
    value = shown.read_json(item.content)
    around = neighbours(Browser(visit()), found, value)
    visit().show(found, [item], object_id)
    visit().show(found, around.items)
    visit().show(found, [each for each in listed[:_VERSIONS] if each.at != item.at], object_id, content=False)
    title = title_of(value)
    return render(
        "object.html",
        collection=found,
        url=url_of(found),
        item=item,
        title=title or item.id,
        value=value,
        fields=fields_of(value),
        badges=Badges(visit()).of(item, value),
        raw=shown.as_json(value),
        versions=listed[:_VERSIONS],
        more_versions=len(listed) > _VERSIONS or versions.next is not None,
        is_newest=item.version == listed[0].version,
        graph=graph(item.type, title or item.id, around.near),
        near=around.near,
        is_more=around.is_more,
        url_of=url_of,
    )


@page(blueprint, f"{_COLLECTION}/connect/")
def connect(api_root: str, name: str) -> Any:
    """How to fetch the collection with the usual clients."""
    found = _readable(api_root, name)
    place = Place(base_url(), found.api_root, found.id, found.title, partner().name)
    return render("connect.html", collection=found, url=url_of(found), place=place, snippets=snippets(place))


@page(blueprint, f"{PREFIX}/search/")
def search() -> Any:
    """Find by id, by type, by value or by a word, in one collection or in all."""
    text, type_ = request.args.get("q", "").strip()[:MAX_CHARS], request.args.get("type", "").strip().lower()
    where = request.args.get("in", "")
    readable = [
        (root, found) for root in visit().api_roots() for found, rights in visit().collections(root.name) if rights.read
    ]
    chosen = [found for _, found in readable if where in ("", found.id)]
    results = []
    if text or _TYPE.fullmatch(type_):
        results = [(found, *_find(found, text, type_)) for found in chosen]
    return render(
        "search.html",
        text=text,
        type=type_,
        where=where,
        readable=readable,
        results=results,
        total=sum(len(lines) for _, lines, _ in results),
        searched=SEARCHED,
        asked=bool(text or type_),
    )


def _find(found: Collection, text: str, type_: str) -> tuple[list[Line], Any]:
    """What fits in one collection, and how it was looked for."""
    browser = Browser(visit())
    if is_id(text):
        items = [item for item in browser.of_ids(found, [text]) if type_ in ("", item.type)]
        return lines_of(found, items), None
    if not text:
        recent = browser.newest(found, _FOUND, Filters(types=(type_,)))
        return lines_of(found, recent.items), None
    plain = refanged(text)
    exact = [item for item in browser.of_ids(found, likely_ids(plain)) if type_ in ("", item.type)]
    match = browser.search(found, holds(plain), (type_,) if type_ else (), _FOUND)
    items = list({item.at: item for item in (*exact, *match.items)}.values())
    return lines_of(found, items[:_FOUND]), match


def _readable(api_root: str, name: str) -> Collection:
    found, rights = visit().collection(api_root, name)
    if not rights.read:
        raise NotFound
    return found


def _with_content(found: Collection, object_id: str, chosen: Served) -> Served:
    """The item with its text. NotFound when it was deleted meanwhile."""
    every = Filters(spec_versions=(chosen.spec_version,), versions=EVERY)
    asked = ReadRequest("object", object_id, filters=every, added_after=chosen.at - 1, limit=1)
    items = visit().look(found, asked).items
    if not items or items[0].version != chosen.version:
        raise NotFound
    return items[0]
