"""The hub: the TAXII operations for one actor, under the catalog in force.

The catalog, what it lets each audience see, and the reader over it are one immutable snapshot that is swapped
whole: a request takes it once and finishes on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from taxii_server import audit
from taxii_server.catalog import Catalog, Collection, Rights, check_catalog, parse_catalog, require_enforceable
from taxii_server.errors import ConfigError, Forbidden, NotFound, Problem
from taxii_server.model import Actor, AppliedCatalog, Record
from taxii_server.service.book import Book
from taxii_server.service.cursor import CursorSeal
from taxii_server.service.posting import Added, Writer
from taxii_server.service.query import EVERY, Filters, ReadRequest, VersionChoice
from taxii_server.service.reading import Found, Reader
from taxii_server.service.resolver import Resolver
from taxii_server.service.sight import Sights, wanted_vocabulary
from taxii_server.service.statuses import Statuses
from taxii_server.settings import ApiRoot, Settings
from taxii_server.storage.base import Store
from taxii_server.times import now_position

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One catalog in force and what follows from it."""

    epoch: int
    catalog: Catalog
    sights: Sights
    reader: Reader


class Hub:
    """One server process's view of the hub. Safe for several threads."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.book = Book(store)
        self.writer = Writer(store, self.book)
        self.statuses = Statuses(store, settings.status_hours)
        self._snapshot: Snapshot | None = None
        self._seal: CursorSeal | None = None
        self._lock = threading.Lock()

    # ---- the catalog in force

    @property
    def snapshot(self) -> Snapshot:
        """What is in force now; take it once per request."""
        if self._snapshot is None:
            self.load()
        if self._snapshot is None:
            problem = Problem("", "", "no configuration was ever applied to this store; run 'taxii-server serve'")
            raise ConfigError([problem])
        return self._snapshot

    def load(self) -> None:
        """Read the catalog in force from the store and swap it in, when it is another one than before."""
        applied = self.store.catalog()
        if applied is None or (self._snapshot is not None and self._snapshot.epoch == applied.epoch):
            return
        catalog = parse_catalog(applied.files)
        # A newer release may have applied rules that this one would pass over in silence.
        require_enforceable(catalog)
        self.book.sync()
        self._swap(applied.epoch, catalog)

    def apply(
        self, files: Mapping[str, str], applied_by: str, progress: Callable[[int], None] = lambda done: None
    ) -> AppliedCatalog:
        """Put these files in force for every process of this store.

        Raises ConfigError, and changes nothing, if they do not hold.
        Records whose labels are too coarse for the new policy are labelled anew before it takes effect; the
        vocabulary only grows, so the policy in force stays exact meanwhile. `progress` is told how many are done.
        """
        catalog = check_catalog(files)
        self.book.grow_vocabulary(wanted_vocabulary(catalog))
        self.writer.relabel(progress)
        applied = self.store.apply_catalog(files, catalog.digest, applied_by)
        audit.record("catalog-applied", epoch=applied.epoch, digest=catalog.digest, by=applied_by)
        self.load()
        return applied

    def refresh(self, log_length: int, catalog_epoch: int) -> None:
        """Follow what other processes did: new labels, another catalog."""
        if log_length != self.book.length:
            self.book.sync()
        if self._snapshot is None or catalog_epoch != self._snapshot.epoch:
            self.load()

    def _swap(self, epoch: int, catalog: Catalog) -> None:
        if self._seal is None:
            self._seal = CursorSeal(self.store.secret())
        sights = Sights(catalog, self.book)
        reader = Reader(self.store, self.book, catalog, sights, self._seal)
        with self._lock:
            # Two threads may have read the store at different moments: the newer catalog stays.
            if self._snapshot is not None and self._snapshot.epoch >= epoch:
                return
            self._snapshot = Snapshot(epoch, catalog, sights, reader)
        _log.info("catalog %s is in force (epoch %d)", catalog.digest[:12], epoch)

    # ---- what an actor may see

    def api_roots(self, actor: Actor) -> list[ApiRoot]:
        """The API roots with at least one collection that the actor may know of, in the order of the settings."""
        catalog = self.snapshot.catalog
        return [root for root in catalog.api_roots.values() if self._collections(catalog, actor, root.name)]

    def api_root(self, actor: Actor, name: str) -> ApiRoot:
        """The API root. Raises NotFound when there is none that the actor may know of."""
        for root in self.api_roots(actor):
            if root.name == name:
                return root
        raise NotFound

    def collections(self, actor: Actor, api_root: str) -> list[tuple[Collection, Rights]]:
        """The collections of the root that the actor may know of, ascending by id, with its rights."""
        self.api_root(actor, api_root)
        return self._collections(self.snapshot.catalog, actor, api_root)

    def collection(self, actor: Actor, api_root: str, id_or_alias: str) -> tuple[Collection, Rights]:
        """The collection with the actor's rights. Raises NotFound when there is none that it may know of."""
        catalog = self.snapshot.catalog
        collection = catalog.collection_at(api_root, id_or_alias)
        if collection is None:
            raise NotFound
        rights = catalog.rights(collection, actor.partner)
        if not rights.visible:
            raise NotFound
        return collection, rights

    @staticmethod
    def _collections(catalog: Catalog, actor: Actor, api_root: str) -> list[tuple[Collection, Rights]]:
        found = [(each, catalog.rights(each, actor.partner)) for each in catalog.collections_in(api_root)]
        return [(collection, rights) for collection, rights in found if rights.visible]

    # ---- objects

    def read(self, actor: Actor, collection: Collection, request: ReadRequest) -> Found:
        """One page for this actor (see Reader.read)."""
        settings, own = self.settings, collection.limits.max_page
        max_page = min(settings.max_page, own) if own else settings.max_page
        limit = min(request.limit or settings.default_page, max_page)
        found = self.snapshot.reader.read(actor.partner, collection, request, limit)
        audit.record(
            "read",
            partner=actor.partner,
            credential=actor.credential,
            collection=collection.name,
            resource=request.resource,
            object=request.object_id,
            count=len(found.records),
            first=found.records[0].position if found.records else None,
            last=found.records[-1].position if found.records else None,
            catalog=self.snapshot.epoch,
        )
        return found

    def add(self, actor: Actor, collection: Collection, body: bytes) -> bytes:
        """Store the objects of the body; the status resource. Raises BadContent when the whole body is unusable."""
        requested = now_position()
        results = self.writer.add(actor.partner, collection, body)
        status = self.statuses.save(collection.api_root, actor.partner, requested, results)
        audit.record(
            "add", partner=actor.partner, credential=actor.credential, collection=collection.name, **_counts(results)
        )
        return status

    def delete(
        self, actor: Actor, collection: Collection, rights: Rights, object_id: str, filters: Filters | None
    ) -> int:
        """Delete the actor's own versions of the object that this collection shows; how many went.

        An owner of the collection may delete there what others posted, if it can read it. Raises NotFound for
        what the actor cannot see, Forbidden for what it sees but may not delete.
        """
        snapshot = self.snapshot
        feeds = snapshot.catalog.feeds(collection)
        wanted = filters or Filters()
        versions = wanted.versions or EVERY

        def look() -> set[int]:
            sight = snapshot.sights.of(actor.partner)
            resolver = Resolver(self.store, self.book, snapshot.catalog, sight, feeds)
            shown = [r for r in self.store.lookup([object_id]).get(object_id, ()) if r.collection in feeds]
            return {record.position for record in resolver.readable(shown)}

        readable = self.book.settled(look)

        def is_mine(record: Record) -> bool:
            owned = rights.delete_any and record.collection == collection.id and record.position in readable
            return owned or record.submitter == actor.partner

        def pick(records: Sequence[Record]) -> Sequence[Record]:
            # `last` is the one that a read shows as last, also when another partner posted it.
            seen = [r for r in records if r.collection in feeds and (is_mine(r) or r.position in readable)]
            chosen = _chosen(seen, wanted, versions)
            doomed = [record for record in chosen if is_mine(record)]
            if not doomed:
                # What was readable a moment ago may be gone by now.
                raise Forbidden if chosen else NotFound
            return doomed

        gone = self.writer.delete(object_id, pick)
        audit.record(
            "delete",
            partner=actor.partner,
            credential=actor.credential,
            collection=collection.name,
            object=object_id,
            versions=",".join(record.version for record in gone),
        )
        return len(gone)

    def status(self, actor: Actor, api_root: str, status_id: str) -> bytes:
        """The status resource of an earlier POST of this actor. Raises NotFound."""
        audience = self.snapshot.catalog.policy.audiences.get(actor.partner)
        is_admin = audience is not None and audience.admin
        return self.statuses.find(api_root, status_id, actor.partner, is_admin, now_position())


def _counts(results: Sequence[Added]) -> dict[str, int]:
    ok = sum(added.ok for added in results)
    return {"total": len(results), "success": ok, "failure": len(results) - ok}


def _chosen(records: Sequence[Record], filters: Filters, versions: VersionChoice) -> list[Record]:
    fitting = [r for r in records if filters.spec_versions is None or r.spec_version in filters.spec_versions]
    if not fitting:
        return []
    keys = [record.version_key for record in fitting]
    return [record for record in fitting if versions.picks(record.version_key, min(keys), max(keys))]
