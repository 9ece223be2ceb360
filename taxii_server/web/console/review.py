"""The quarantine, for those who may decide about it: the same rights as in the API (service/review.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, request

from taxii_server.catalog import Collection
from taxii_server.errors import NotFound
from taxii_server.service.review import WAITING, Review, Reviewed
from taxii_server.storage.quarantine import STATES
from taxii_server.web.console import shown
from taxii_server.web.console.forms import read_form
from taxii_server.web.console.mount import PREFIX
from taxii_server.web.console.pages import render
from taxii_server.web.console.site import page, path_of, visit
from taxii_server.web.quarantine import entry_after

blueprint = Blueprint("review", __name__)

_ENTRY = f"{PREFIX}/<api_root>/collections/<name>/quarantine/<entry_id>/"
_A_PAGE = 50


@dataclass(frozen=True, slots=True)
class Box:
    """What is held in one collection, as far as one page shows it."""

    collection: Collection
    entries: list[Reviewed]
    url: str
    next: str


def reviewable() -> list[tuple[str, Collection]]:
    """The collections whose quarantine concerns whoever is logged in, with their API root."""
    found = []
    for root in visit().api_roots():
        for collection, rights in visit().collections(root.name):
            if rights.write or rights.delete_any or collection.owner == visit().actor.partner:
                found.append((root.name, collection))
    return found


@page(blueprint, f"{PREFIX}/quarantine/")
def entries() -> Any:
    """What is held, collection by collection, oldest first; with `all`, what was decided as well."""
    states = STATES if request.args.get("show") == "all" else WAITING
    only = request.args.get("in", "")
    place = entry_after(request.args.get("next")) if only else None
    boxes = []
    for root, collection in reviewable():
        if only not in ("", collection.id):
            continue
        try:
            review = Review(visit(), root, collection.id)
        except NotFound:
            continue
        found = review.entries(states, _A_PAGE + 1, place)
        last = found[_A_PAGE - 1].entry if len(found) > _A_PAGE else None
        url = path_of(f"{PREFIX}/{root}/collections/{collection.id}/quarantine/")
        boxes.append(Box(collection, found[:_A_PAGE], url, "" if last is None else f"{last.held}-{last.id}"))
    return render("quarantine.html", boxes=boxes, show=request.args.get("show", ""))


@page(blueprint, _ENTRY)
def entry(api_root: str, name: str, entry_id: str) -> Any:
    """One entry, with the object where the policy lets one read it."""
    review = Review(visit(), api_root, name)
    seen = review.entry(entry_id)
    raw = shown.as_json(shown.read_json(seen.content)) if seen.content else ""
    why = next((each.why for each in visit().catalog.policy.guards if each.id == seen.entry.guard), "")
    return render("entry.html", collection=review.collection, seen=seen, entry=seen.entry, why=why, raw=raw)


@page(blueprint, f"{_ENTRY}release", "POST")
def release(api_root: str, name: str, entry_id: str) -> Any:
    """Store the object as the post of whoever posted it."""
    read_form()
    Review(visit(), api_root, name).release(entry_id)
    return redirect(path_of(f"{PREFIX}/{api_root}/collections/{name}/quarantine/{entry_id}/"), 303)


@page(blueprint, f"{_ENTRY}drop", "POST")
def drop(api_root: str, name: str, entry_id: str) -> Any:
    """Erase what is held."""
    read_form()
    Review(visit(), api_root, name).drop(entry_id)
    return redirect(path_of(f"{PREFIX}/{api_root}/collections/{name}/quarantine/{entry_id}/"), 303)
