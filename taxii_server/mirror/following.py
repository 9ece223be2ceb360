"""Following deletions: TAXII has no word for them, so what the peer does not list any more is looked for.

Only what this mirror brought goes, only after the peer, asked for it by name, does not have it either, and only when
it is not too much at once: a peer that was set up anew, or that changed what it lets us see, must not empty this hub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taxii_server import audit
from taxii_server.mirror.connection import Stopped
from taxii_server.mirror.intake import key_of, writable
from taxii_server.mirror.papers import Papers
from taxii_server.mirror.peer import Peer
from taxii_server.mirror.run import Report, Surroundings, actor_of
from taxii_server.mirror.schema import Mirror
from taxii_server.mirror.walk import Asked, Cursor, Page, Walk
from taxii_server.model import Record
from taxii_server.service.hub import Hub

#: Objects of one transaction.
_PORTION = 100


class Following:
    """Deletes here what one mirror brought and its peer does not have any more."""

    def __init__(
        self, hub: Hub, mirror: Mirror, papers: Papers, peer: Peer, report: Report, around: Surroundings
    ) -> None:
        self._hub = hub
        self._mirror = mirror
        self._papers = papers
        self._peer = peer
        self._report = report
        self._around = around

    def run(self, *, sure: bool = False) -> None:
        """Look, ask, delete. Raises PeerError, WalkBroken, Stopped, Forbidden; nothing goes before all is looked at."""
        total = self._papers.count()
        if not total:
            return
        look = self._papers.begin_looking()
        self._look(look)
        missing = [id_ for id_ in self._papers.unseen(look) if self._is_asked_for(id_)]
        if not missing:
            return
        most = total * self._mirror.max_deletions_percent // 100
        if len(missing) > most and not sure:
            self._report.deletions_held = len(missing)
            self._report.warn(
                f"{len(missing)} of the {total} objects that this mirror brought are not with the peer any more, more"
                f" than {self._mirror.max_deletions_percent} %: nothing is deleted. Look at it, then give --yes to"
                " `taxii-server mirror pull`"
            )
            return
        gone: list[str] = []
        for object_id in missing:
            if self._around.stop.is_set():
                raise Stopped("told to end")
            if self._peer.versions_of(object_id):
                continue  # it is there; the list was not complete
            gone.append(object_id)
            if len(gone) == _PORTION:
                self._delete(gone)
                gone = []
        if gone:
            self._delete(gone)

    def _look(self, look: int) -> None:
        """Mark what the peer lists."""

        def fetch(asked: Asked) -> Page:
            return self._peer.manifest(asked, latest=True)

        walk = Walk(
            cursor=Cursor(),
            fetch=fetch,
            date_of=lambda asked, page: page.last,
            now=self._hub.store.present,
            limit=self._mirror.page,
            types=self._mirror.types,
            warn=self._report.warn,
        )
        while True:
            if self._around.stop.is_set():
                raise Stopped("told to end")
            step = walk.step()
            entries = step.page.objects
            ids = [each["id"] for each in entries if isinstance(each, dict) and isinstance(each.get("id"), str)]
            self._papers.seen(ids, look)
            if step.done:
                return

    def _is_asked_for(self, object_id: str) -> bool:
        """Whether the list would have shown it: what the filters leave out says nothing about whether it is there."""
        types, ids = self._mirror.types, self._mirror.ids
        return (not types or object_id.partition("--")[0] in types) and (not ids or object_id in ids)

    def _delete(self, ids: Sequence[str]) -> None:
        """Delete what the mirror brought of these objects, as its partner; the ledger tells of it first."""
        hub, mirror = self._hub, self._mirror
        collection = writable(hub, mirror)
        snapshot = hub.snapshot
        brought = {id_: {key_of(version) for version in self._papers.versions(id_)} for id_ in ids}
        facts = {"collection": collection.name, "policy": snapshot.catalog.digest, "epoch": snapshot.epoch}
        noted: set[int] = set()

        def pick(present: Mapping[str, Sequence[Record]]) -> list[Record]:
            going = [
                record
                for id_ in ids
                for record in present.get(id_, ())
                if (record.collection, record.submitter) == (collection.id, mirror.partner)
                and brought[id_] & {"", record.version_key}
            ]
            fresh = [record for record in going if record.position not in noted]
            hub.ledger.removed(actor_of(mirror), facts, fresh)
            noted.update(record.position for record in fresh)
            return going

        gone = hub.writer.remove(list(ids), pick)
        self._papers.take_back([(id_, version) for id_ in ids for version in self._papers.versions(id_)])
        self._report.deleted += len({record.id for record in gone})
        audit.record("mirrored-deletions", mirror=mirror.name, partner=mirror.partner, collection=collection.name,
                     count=len(gone))  # fmt: skip
