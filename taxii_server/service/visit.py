"""One request: the TAXII operations for one actor, under the catalog that was in force when it came.

A visit is made for each request and finishes on the snapshot it was made with, whatever is applied meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from taxii_server import audit
from taxii_server.catalog import Catalog, Collection, Rights
from taxii_server.errors import ContentTooLarge, Forbidden, NotFound, StorageUnavailable
from taxii_server.metering import DELETED, DELIVERED, LAST_READ, NO_METER, RECEIVED, Meter
from taxii_server.model import Actor, Record
from taxii_server.service.book import Book
from taxii_server.service.copies import Served
from taxii_server.service.ledger import Ledger
from taxii_server.service.post import Added, Post
from taxii_server.service.posting import Writer
from taxii_server.service.query import EVERY, Filters, ReadRequest, VersionChoice
from taxii_server.service.reading import Found, Reader, Superseded
from taxii_server.service.sight import Sights
from taxii_server.service.statuses import Statuses
from taxii_server.settings import ApiRoot, Settings
from taxii_server.storage.base import Store
from taxii_server.times import now_position

T = TypeVar("T")
#: How often a catalog is asked for that the log tells of, and how long it is waited for each time.
_RENEWALS, PAUSE_S = 20, 0.05


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One catalog in force and what follows from it."""

    epoch: int
    catalog: Catalog
    sights: Sights
    reader: Reader


@dataclass(frozen=True, slots=True)
class Visit:
    """What one actor may do and see. Made by Hub.visit."""

    actor: Actor
    snapshot: Snapshot
    settings: Settings
    store: Store
    book: Book
    writer: Writer
    statuses: Statuses
    ledger: Ledger
    #: the snapshot in force now
    renew: Callable[[], Snapshot]
    #: asks the store for the epoch of the catalog in force now
    in_force: Callable[[], int]
    meter: Meter = NO_METER

    @property
    def catalog(self) -> Catalog:
        """The catalog of this request."""
        return self.snapshot.catalog

    # ---- what an actor may see

    def api_roots(self) -> list[ApiRoot]:
        """The API roots with at least one collection that the actor may know of, in the order of the settings."""
        return [root for root in self.catalog.api_roots.values() if self._visible(root.name)]

    def api_root(self, name: str) -> ApiRoot:
        """The API root. Raises NotFound when there is none that the actor may know of."""
        for root in self.api_roots():
            if root.name == name:
                return root
        raise NotFound

    def collections(self, api_root: str) -> list[tuple[Collection, Rights]]:
        """The collections of the root that the actor may know of, ascending by id, with its rights."""
        self.api_root(api_root)
        return self._visible(api_root)

    def collection(self, api_root: str, id_or_alias: str) -> tuple[Collection, Rights]:
        """The collection with the actor's rights. Raises NotFound when there is none that it may know of."""
        collection = self.catalog.collection_at(api_root, id_or_alias)
        if collection is None:
            raise NotFound
        rights = self.catalog.rights(collection, self.actor.partner)
        if not rights.visible:
            raise NotFound
        return collection, rights

    def _visible(self, api_root: str) -> list[tuple[Collection, Rights]]:
        declared = self.catalog.collections_in(api_root)
        found = [(each, self.catalog.rights(each, self.actor.partner)) for each in declared]
        return [(collection, rights) for collection, rights in found if rights.visible]

    # ---- objects

    def read(self, collection: Collection, request: ReadRequest) -> Found:
        """One page for this actor (see Reader.read), after the ledger tells of it. Raises StorageUnavailable, too."""
        return self.answer(collection, request, lambda found: found)

    def answer(self, collection: Collection, request: ReadRequest, build: Callable[[Found], T]) -> T:
        """What `build` makes of a page, as `read`."""
        try:
            found = self.look(collection, request)
        except Superseded:
            return self._again(collection, request, build)
        # Before the ledger tells of it: what cannot be built is not delivered.
        answer = build(found)
        self.ledger.delivered(
            self.actor,
            self._facts(200, collection.name, resource=request.resource),
            found.items,
            object_id=request.object_id or "",
            content=request.content and self.actor.origin.method != "HEAD",
        )
        self._record(
            "read",
            collection,
            resource=request.resource,
            object=request.object_id,
            count=len(found.items),
            first=found.items[0].at if found.items else None,
            last=found.items[-1].at if found.items else None,
            catalog=self.snapshot.epoch,
        )
        if self.meter.counts:
            self._count_read(collection, len(found.items))
        return answer

    def tag(self, body: bytes) -> str:
        """What an ETag says of this body: the same for the same partner, and for nobody else."""
        return self.snapshot.reader.tag(self.actor.partner, body)

    def look(self, collection: Collection, request: ReadRequest) -> Found:
        """One page as `read`, of which nothing is given away: whatever is, has to go through `show`.

        Raises Superseded when another catalog came into force than the one of this visit.
        """
        own = collection.limits.max_page
        max_page = min(self.settings.max_page, own) if own else self.settings.max_page
        limit = min(request.limit or self.settings.default_page, max_page)
        return self.snapshot.reader.read(self.actor.partner, collection, request, limit)

    def show(
        self, collection: Collection, items: Sequence[Served], object_id: str = "", *, content: bool = True
    ) -> None:
        """Tell the ledger that these items are given away, as `read` does; they may be when this has returned.

        Raises StorageUnavailable.
        """
        if not items:
            return
        facts = self._facts(200, collection.name, resource="console")
        content = content and self.actor.origin.method != "HEAD"
        self.ledger.delivered(self.actor, facts, items, object_id=object_id, content=content)
        self._record("read", collection, resource="console", object=object_id or None, count=len(items))
        if self.meter.counts:
            self._count_read(collection, len(items))

    def _count_read(self, collection: Collection, count: int) -> None:
        labels = self.actor.partner, collection.name
        self.meter.set(LAST_READ, time.time(), *labels)
        if count:
            self.meter.count(DELIVERED, count, *labels)

    def _again(self, collection: Collection, request: ReadRequest, build: Callable[[Found], T]) -> T:
        """The page under the catalog that came into force while it was read; rights are looked at again."""
        visit, same, rights = self._renewed(collection)
        if not rights.read:
            raise Forbidden
        return visit.answer(same, request, build)

    def _renewed(self, collection: Collection) -> tuple[Visit, Collection, Rights]:
        """The same visit under the catalog that came into force, its collection and rights. Raises NotFound."""
        for _ in range(_RENEWALS):
            snapshot = self.renew()
            if snapshot.epoch > self.snapshot.epoch:
                visit = replace(self, snapshot=snapshot)
                return visit, *visit.collection(collection.api_root, collection.id)
            # Where another server has become the primary, a majority has the log, and a moment later the rest.
            time.sleep(PAUSE_S)
        raise StorageUnavailable("the configuration that came into force is not to be had; try again")

    def add(self, collection: Collection, body: bytes) -> bytes:
        """Store the objects of the body; the status resource.

        Raises BadContent when the whole body is unusable. When another catalog came into force than that of this visit,
        it judges all of it, the right to post as well: raises NotFound and Forbidden, and ContentTooLarge.
        """
        receipt = self.statuses.receipt(collection.api_root, self.actor.partner, now_position())
        post = Post(self.snapshot.epoch, self.catalog.policy.guards, self.in_force, receipt)
        try:
            results = self.writer.add(self.actor.partner, collection, body, post=post)
        except Superseded:
            visit, same, rights = self._renewed(collection)
            if not rights.write:
                raise Forbidden from None
            most = visit.api_root(same.api_root).max_content_length
            if len(body) > most:
                raise ContentTooLarge(most) from None
            return visit.add(same, body)
        counts = _counts(results)
        self._record("add", collection, **counts)
        self._count_added(collection, counts)
        return receipt.body

    def _count_added(self, collection: Collection, counts: Mapping[str, int | None]) -> None:
        refused, held = (counts[name] or 0 for name in ("refused_by_guard", "quarantined"))
        failed = (counts["failure"] or 0) - refused - held
        found = {"stored": counts["success"] or 0, "failed": failed, "refused": refused, "quarantined": held}
        for result, count in found.items():
            if count:
                self.meter.count(RECEIVED, count, self.actor.partner, collection.name, result)

    def delete(self, collection: Collection, rights: Rights, object_id: str, filters: Filters | None) -> int:
        """Delete the actor's own versions of the object that this collection shows; how many went.

        An owner of the collection may delete there what others posted, if it can read it. Raises NotFound for
        what the actor cannot see, Forbidden for what it sees but may not delete.
        """
        feeds = self.catalog.feeds(collection)
        wanted = filters or Filters()
        versions = wanted.versions or EVERY

        def look() -> set[int]:
            shown = [r for r in self.store.lookup([object_id]).get(object_id, ()) if r.collection in feeds]
            return self.snapshot.reader.served_whole(self.actor.partner, collection, shown)

        readable = self.book.settled(look)
        if not readable and self._is_copy(collection, object_id):
            # What the actor sees is a copy of what another partner posted.
            raise Forbidden

        def is_mine(record: Record) -> bool:
            owned = rights.delete_any and record.collection == collection.id and record.position in readable
            return owned or record.submitter == self.actor.partner

        def pick(records: Sequence[Record]) -> Sequence[Record]:
            # `last` is the one that a read shows as last, also when another partner posted it.
            seen = [r for r in records if r.collection in feeds and (is_mine(r) or r.position in readable)]
            chosen = _chosen(seen, wanted, versions)
            doomed = [record for record in chosen if is_mine(record)]
            if not doomed:
                # What was readable a moment ago may be gone by now.
                raise Forbidden if chosen else NotFound
            note(doomed)
            return doomed

        noted: set[int] = set()

        def note(doomed: Sequence[Record]) -> None:
            # Before they are gone: afterwards nobody could say any more what their positions were.
            fresh = [record for record in doomed if record.position not in noted]
            self.ledger.deleted(self.actor, self._facts(200, collection.name), fresh)
            noted.update(record.position for record in fresh)

        gone = self.writer.delete(object_id, pick)
        self._record(
            "delete",
            collection,
            object=object_id,
            versions=",".join(record.version for record in gone),
        )
        self.meter.count(DELETED, float(len(gone)), self.actor.partner, collection.name)
        return len(gone)

    def _is_copy(self, collection: Collection, object_id: str) -> bool:
        """Whether the actor gets a copy of an object under this id."""
        every = Filters(spec_versions=("2.0", "2.1"), versions=EVERY)
        try:
            found = self.snapshot.reader.read(
                self.actor.partner, collection, ReadRequest("object", object_id, filters=every, content=False), 1
            )
        except NotFound:
            return False
        return any(item.form != "whole" for item in found.items)

    def status(self, api_root: str, status_id: str) -> bytes:
        """The status resource of an earlier POST of this actor. Raises NotFound."""
        audience = self.catalog.policy.audiences.get(self.actor.partner)
        is_admin = audience is not None and audience.admin
        return self.statuses.find(api_root, status_id, self.actor.partner, is_admin, now_position())

    def refused(self, status: int, api_root: str, id_or_alias: str, object_id: str) -> None:
        """Tell the ledger that a look-up was answered with this status; an empty object id is none.

        Nothing is looked up for it: whether an object is hidden or unknown must not show in the work of a request.
        That is told apart when the ledger is read (Disclosures.what_did). Raises StorageUnavailable.
        """
        collection = self.catalog.collection_at(api_root, id_or_alias)
        if collection is None:
            reason = "no-collection"
        elif not self.catalog.rights(collection, self.actor.partner).visible:
            reason = "not-visible"
        else:
            reason = "forbidden" if status == 403 else ""
        facts = self._facts(status, collection.name if collection else "", reason=reason)
        self.ledger.refused(self.actor, facts, object_id)

    def _facts(self, status: int, collection: str, **more: object) -> dict[str, object]:
        digest, epoch = self.catalog.digest, self.snapshot.epoch
        return {"status": status, "collection": collection, "policy": digest, "epoch": epoch, **more}

    def _record(self, event: str, collection: Collection, **facts: object) -> None:
        actor = self.actor
        audit.record(event, partner=actor.partner, credential=actor.credential, collection=collection.name, **facts)


def _counts(results: Sequence[Added]) -> dict[str, int | None]:
    ok = sum(added.ok for added in results)
    stopped = [added.stopped for added in results]
    return {
        "total": len(results),
        "success": ok,
        "failure": len(results) - ok,
        "refused_by_guard": stopped.count("refused") or None,
        "quarantined": stopped.count("quarantined") or None,
    }


def _chosen(records: Sequence[Record], filters: Filters, versions: VersionChoice) -> list[Record]:
    """The records of one object that a DELETE with these filters means.

    First and last are those that a read shows: of each STIX version that is asked for, else of the highest. A single
    version, and all of them, are meant in every STIX version: none may be read afterwards (TAXII 2.1, 5.7).
    """
    forms: dict[str, list[Record]] = {}
    for record in records:
        if filters.spec_versions is None or record.spec_version in filters.spec_versions:
            forms.setdefault(record.spec_version, []).append(record)
    chosen: list[Record] = []
    for form, members in forms.items():
        is_shown = filters.spec_versions is not None or form == max(forms)
        choice = versions if is_shown else replace(versions, first=False, last=False)
        keys = [record.version_key for record in members]
        chosen += [record for record in members if choice.picks(record.version_key, min(keys), max(keys))]
    return chosen
