"""The review of what guards held back: look, release, drop.

Who decides
    The owner of the collection; where there is none, an administrator among the partners may stand in. In a vendor's
    drop box the vendor decides about its own, and nobody at the hub does it over its head. Whoever posted an object
    sees its own entries and may drop them. For everybody else there is no quarantine: NotFound. An operator on the
    command line decides everywhere.

A guard opens nothing: whoever decides gets the content of what others posted only if the policy would let it read the
object, and all about the entry otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from taxii_server import audit
from taxii_server.catalog import Catalog, Collection
from taxii_server.errors import Conflict, Forbidden, NotFound
from taxii_server.model import Actor
from taxii_server.service.posting import Writer
from taxii_server.service.visit import Visit
from taxii_server.stix.traits import read_traits
from taxii_server.storage.base import Store
from taxii_server.storage.quarantine import Entry, EntryQuery, State

_HELD: tuple[State, ...] = ("held",)
#: Not decided: a release that did not come to its end may be tried again.
WAITING: tuple[State, ...] = ("held", "releasing")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One entry as the one who asks may see it. `content` is empty where it may not, or where there is none."""

    entry: Entry
    can_release: bool
    shows_decider: bool
    content: bytes = b""


class Review:
    """The quarantine of one collection, for one actor."""

    def __init__(self, visit: Visit, api_root: str, name: str) -> None:
        """Raises NotFound for whoever has no business with it."""
        collection = visit.catalog.collection_at(api_root, name)
        if collection is None:
            raise NotFound
        self.collection: Collection = collection
        self._visit, self._partner = visit, visit.actor.partner
        self.decides = _decides(visit.catalog, collection, self._partner)
        rights = visit.catalog.rights(collection, self._partner)
        if not self.decides and not (rights.visible and (rights.write or self._has_posted())):
            raise NotFound

    def entries(self, states: tuple[State, ...], limit: int, after: tuple[int, str] | None) -> list[Reviewed]:
        """The entries that the actor may see, oldest first."""
        own = None if self.decides else self._partner
        query = EntryQuery(limit, self.collection.id, own, states, after)
        return [self._seen(entry) for entry in self._visit.store.quarantine.page(query)]

    def entry(self, entry_id: str) -> Reviewed:
        """One entry, with the content where the actor may see it. Raises NotFound."""
        entry = self._find(entry_id)
        seen = self._seen(entry)
        content = entry.content if self._may_read(entry) else b""
        return Reviewed(seen.entry, seen.can_release, seen.shows_decider, content)

    def release(self, entry_id: str) -> Reviewed:
        """The entry, after its object was stored. Raises NotFound, Forbidden, Conflict."""
        entry = self._find(entry_id)
        if not self.decides:
            raise Forbidden
        visit = self._visit
        return self._seen(release(visit.store, visit.writer, visit.catalog, entry, self._partner, visit.actor))

    def drop(self, entry_id: str) -> None:
        """Erase what is held. Raises NotFound, Conflict."""
        drop(self._visit.store, self._visit.catalog, self._find(entry_id), self._partner, self._visit.actor)

    # ---- inside

    def _find(self, entry_id: str) -> Entry:
        entry = self._visit.store.quarantine.entry(entry_id)
        if entry is None or entry.collection != self.collection.id:
            raise NotFound
        if not self.decides and entry.submitter != self._partner:
            raise NotFound
        return entry

    def _has_posted(self) -> bool:
        query = EntryQuery(1, self.collection.id, self._partner)
        return bool(self._visit.store.quarantine.page(query))

    def _seen(self, entry: Entry) -> Reviewed:
        return Reviewed(
            entry, self.decides and entry.state in WAITING, self.decides or entry.decided_by == self._partner
        )

    def _may_read(self, entry: Entry) -> bool:
        if entry.submitter == self._partner or not entry.content:
            return entry.submitter == self._partner
        policy = self._visit.catalog.policy
        traits = read_traits(
            orjson.loads(entry.content),
            collection=self.collection.name,
            submitter=entry.submitter,
            spec_version=entry.spec_version,
        )
        facets = policy.vocabulary.project(traits)
        # Judged for now: a release that has not begun opens nothing, a marking that has not begun hides.
        moment = self._visit.snapshot.sights.moment
        decision = policy.decide(self._partner, facets, self._visit.book.meanings, moment=moment)
        return decision.verdict == "read" and not decision.delay_us


def _decides(catalog: Catalog, collection: Collection, partner: str) -> bool:
    audience = catalog.policy.audiences.get(partner)
    if audience is None or audience.suspended:
        return False
    return partner == collection.owner or (collection.owner is None and audience.admin)


# ---- what is done, for whoever may


def release(store: Store, writer: Writer, catalog: Catalog, entry: Entry, by: str, actor: Actor | None = None) -> Entry:
    """The entry after its object was stored as its submitter's post. Again is the same; a crash is made good by it.

    Raises Conflict when it was dropped, or when the object cannot be stored: it is then held as before.
    """
    collection = collection_of(catalog, entry)
    if collection is None:
        raise Conflict("its collection is not declared any more; it can only be dropped")
    if not catalog.rights(collection, entry.submitter).write:
        raise Conflict(f"{entry.submitter} may not post to this collection any more; it can only be dropped")
    # From here on nobody can drop it: what is dropped must not be among the records.
    store.quarantine.move(entry.id, WAITING, "releasing", by)
    found = store.quarantine.entry(entry.id) or entry
    if found.state == "released":
        return found
    if found.state == "dropped" or not found.content:
        raise Conflict("it was dropped, its content is gone")
    added = writer.restore(collection, found)
    if not added.ok:
        store.quarantine.move(entry.id, WAITING, "held", by)
        raise Conflict(f"the object cannot be stored: {added.message}")
    done = store.quarantine.move(entry.id, WAITING, "released", by, erase=True)
    _record("quarantine-released", collection, entry, by, actor)
    return done or store.quarantine.entry(entry.id) or found


def drop(store: Store, catalog: Catalog, entry: Entry, by: str, actor: Actor | None = None) -> None:
    """Erase what is held; that it was there stays on record. Again is the same. Raises Conflict after a release."""
    if store.quarantine.move(entry.id, _HELD, "dropped", by, erase=True) is None:
        found = store.quarantine.entry(entry.id)
        if found is None or found.state != "dropped":
            raise Conflict("it was released, or is just being released; delete the object from the collection instead")
        return
    _record("quarantine-dropped", collection_of(catalog, entry), entry, by, actor)


def collection_of(catalog: Catalog, entry: Entry) -> Collection | None:
    """The collection that the entry belongs to, if it is still declared."""
    return next((each for each in catalog.collections.values() if each.id == entry.collection), None)


def _record(event: str, collection: Collection | None, entry: Entry, by: str, actor: Actor | None) -> None:
    audit.record(
        event,
        partner=by,
        credential=actor and actor.credential,
        collection=collection and collection.name,
        entry=entry.id,
        object=entry.object_id,
        version=entry.version,
        digest=entry.digest.hex(),
        submitter=entry.submitter,
        guard=entry.guard,
    )
