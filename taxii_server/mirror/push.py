"""Push: what a partner may read of a collection here is posted to a collection of its own elsewhere.

It is read as the partner would read it, under the policy in force, and the ledger records it as given to the partner
before it leaves. An envelope is posted, its status waited for, and then where it ended is written down: after a crash
the same envelope is posted again, which changes nothing there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from taxii_server.errors import Forbidden
from taxii_server.mirror.connection import PeerBroken, PeerRefused, PeerUnavailable, Stopped
from taxii_server.mirror.papers import Papers
from taxii_server.mirror.peer import Peer, Posted
from taxii_server.mirror.run import Job, actor_of
from taxii_server.mirror.state import Turn
from taxii_server.service.copies import Served
from taxii_server.service.query import EVERY, Filters, ReadRequest
from taxii_server.times import parse_instant

#: Statuses that an envelope as a whole gets: it is tried again in halves.
_UNUSABLE = frozenset({400, 413, 422})
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_ENVELOPE = len(b'{"objects":[]}')


class Push(Job):
    """One mirror that pushes. Made for one run."""

    def work(self, peer: Peer, papers: Papers, turn: Turn) -> None:
        """Post everything that was not posted yet."""
        self._finish_pending(peer, papers)
        says = peer.max_content_length()
        most = min(self.mirror.max_page_bytes, says or self.mirror.max_page_bytes)
        report = self.report
        while True:
            self.require_turn(turn)
            items = self._read()
            report.counts.received += len(items)
            for some in _envelopes(items, most):
                self._post(peer, papers, some)
                self._keep(some[-1].at)
            report.pages += 1
            report.complete = not items
            if report.complete or self.is_enough():
                return

    def _read(self) -> tuple[Served, ...]:
        """The next page for the partner, under the policy in force now."""
        mirror = self.mirror
        self.hub.follow()
        visit = self.hub.visit(actor_of(mirror))
        collection = visit.catalog.collections.get(mirror.collection)
        if collection is None or not visit.catalog.rights(collection, mirror.partner).read:
            raise Forbidden(f"{mirror.partner} may not read {mirror.collection} (see readers in its file)")
        filters = Filters(
            ids=mirror.ids or None,
            types=mirror.types or None,
            spec_versions=mirror.spec_versions,
            versions=EVERY if mirror.all_versions else None,
        )
        start = parse_instant(mirror.added_after) if mirror.added_after else 0
        after = max(int(self.state.cursor.get("at", 0)), start)
        request = ReadRequest("objects", filters=filters, added_after=after or None, limit=mirror.page)
        return visit.read(collection, request).items

    def _keep(self, at: int, *, pending: str = "", count: int = 0) -> None:
        """Write down that everything up to this place is there, or on its way (`pending`: the id of its status)."""
        if pending:
            self.state.cursor["pending"] = {"id": pending, "at": at, "count": count}
        else:
            self.state.cursor = {"at": at}
        self.save()
        self.around.progress(self.report.counts.received)

    # ---- one envelope

    def _post(self, peer: Peer, papers: Papers, items: Sequence[Served]) -> None:
        """Post these and wait until the peer has finished with them; in halves where it takes them for unusable."""
        if not items:
            return
        body = b'{"objects":[' + b",".join(item.content for item in items) + b"]}"
        try:
            status = peer.add(body)
        except PeerRefused as error:
            if error.status not in _UNUSABLE:
                raise
            if len(items) == 1:
                self._refuse(papers, [(items[0].id, items[0].version, str(error))])
                return
            half = len(items) // 2
            self._post(peer, papers, items[:half])
            self._post(peer, papers, items[half:])
            return
        if not status.is_complete:
            self._keep(items[-1].at, pending=status.id, count=len(items))
            status = self._wait(peer, status)
        self._count(papers, status, len(items))

    def _wait(self, peer: Peer, status: Posted) -> Posted:
        """The status when it is complete. Raises PeerUnavailable when it is not in time."""
        until = time.monotonic() + self.mirror.status_wait_s
        pause_s = _FIRST_PAUSE_S
        while not status.is_complete:
            if time.monotonic() > until:
                raise PeerUnavailable(
                    f"the peer has not finished with an envelope (status {status.id}); asked again later"
                )
            if self.around.stop.wait(pause_s):
                raise Stopped("told to end; the next run asks for the status again")
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            status = peer.status(status.id)
        return status

    def _finish_pending(self, peer: Peer, papers: Papers) -> None:
        """What an earlier run left on its way; it is posted again when the peer does not know of it any more."""
        pending = self.state.cursor.get("pending")
        if not isinstance(pending, dict):
            return
        try:
            status = self._wait(peer, peer.status(str(pending["id"])))
        except (PeerRefused, PeerBroken):
            self._keep(at=int(self.state.cursor.get("at", 0)))
            return
        self._count(papers, status, int(pending["count"]))
        self._keep(at=int(pending["at"]))

    def _count(self, papers: Papers, status: Posted, count: int) -> None:
        self._refuse(papers, status.failures)
        refused = min(status.failure_count, count)
        unnamed = max(0, refused - len(status.failures))
        self.report.counts.refused += unnamed
        self.report.counts.stored += count - refused
        self.state.refused += unnamed
        self.state.stored += count - refused

    def _refuse(self, papers: Papers, refused: Sequence[tuple[str, str, str]]) -> None:
        papers.refuse(refused, self.hub.store.present())
        for each in refused:
            self.report.counts.refuse(*each)
        self.state.refused += len(refused)


def _envelopes(items: Sequence[Served], most: int) -> Iterator[list[Served]]:
    """The items in envelopes of at most so many bytes; one that is larger by itself goes alone."""
    some: list[Served] = []
    size = _ENVELOPE
    for item in items:
        if some and size + len(item.content) + 1 > most:
            yield some
            some, size = [], _ENVELOPE
        some.append(item)
        size += len(item.content) + 1
    if some:
        yield some
