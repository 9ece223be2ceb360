"""Pull: everything that a collection of a peer has comes here, and goes on coming from where the last run ended.

A page is stored first, and then where it ended is written down. Whatever happens in between, the page is read again,
and what is here already changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taxii_server.mirror.connection import PeerRefused
from taxii_server.mirror.following import Following
from taxii_server.mirror.intake import Intake, named
from taxii_server.mirror.papers import Papers
from taxii_server.mirror.peer import IDS_AT_ONCE, Peer
from taxii_server.mirror.run import Job, Surroundings
from taxii_server.mirror.schema import Mirror
from taxii_server.mirror.state import Turn
from taxii_server.mirror.walk import Cursor, Walk
from taxii_server.service.hub import Hub
from taxii_server.stix.kinds import MARKING_DEFINITION
from taxii_server.stix.parse import Item
from taxii_server.times import parse_instant
from taxii_server.tlp import TLP_IDS

_COMPANIONS = (MARKING_DEFINITION, "identity")
#: How far companions of companions are fetched: the marking of the identity that made an object.
_STEPS = 3
_MAX_ASKED = 50_000


class Pull(Job):
    """One mirror that pulls. Made for one run."""

    def __init__(
        self, hub: Hub, mirror: Mirror, around: Surroundings, *, follow: bool = False, sure: bool = False
    ) -> None:
        """`follow`: look for deletions in this run, whenever that was done last. `sure`: delete however many they are.

        Raises ConfigError when the mirror does not fit the catalog in force.
        """
        super().__init__(hub, mirror, around)
        self._follow, self._sure = follow or sure, sure
        self._asked_ids: set[str] = set()

    def work(self, peer: Peer, papers: Papers, turn: Turn) -> None:
        """Walk to the end, then follow deletions when it is time."""
        self._walk(peer, Intake(self.hub, self.mirror, papers, self.report.counts), papers, turn)
        if self.report.complete and self._is_time():
            Following(self.hub, self.mirror, papers, peer, self.report, self.around).run(sure=self._sure)
            self.state.followed = self.hub.store.present()
            self.state.deleted += self.report.deleted

    def _is_time(self) -> bool:
        due = self.state.followed + int(self.mirror.follow_every_s * 1e6) <= self.hub.store.present()
        return self._follow or (self.mirror.follow_deletions and due)

    def _walk(self, peer: Peer, intake: Intake, papers: Papers, turn: Turn) -> None:
        mirror, report, state = self.mirror, self.report, self.state
        walk = Walk(
            cursor=Cursor.from_json(state.cursor),
            fetch=peer.objects,
            date_of=peer.date_of,
            now=self.hub.store.present,
            limit=mirror.page,
            start=parse_instant(mirror.added_after) if mirror.added_after else 0,
            overlap=int(mirror.overlap_s * 1e6),
            types=mirror.types,
            warn=report.warn,
        )
        counts = report.counts
        while not report.complete:
            self.require_turn(turn)
            step = walk.step()
            items = intake.take(step.page)
            before = counts.stored, counts.refused
            intake.store([*self._companions(peer, intake, items), *items])
            if step.gap:
                papers.refuse([("*", "", step.gap)], self.hub.store.present())
            enough = not step.done and self.is_enough()
            # Should this process be killed before the next page is stored, nobody knows whether its `next` was used.
            state.cursor = (step.cursor if enough else step.cursor.by_date()).to_json()
            state.stored += counts.stored - before[0]
            state.refused += counts.refused - before[1]
            report.pages += 1
            self.require_turn(turn)
            self.save()
            self.around.progress(counts.received)
            report.complete = step.done
            if enough:
                return

    # ---- what comes along

    def _companions(self, peer: Peer, intake: Intake, items: Sequence[Item]) -> list[Item]:
        """Where filters leave them out: the markings and the creators that these objects name, once in a run."""
        if not (self.mirror.types or self.mirror.ids):
            return []
        found: list[Item] = []
        newest = list(items)
        for _ in range(_STEPS):
            wanted = self._unknown(newest)
            newest = []
            for start in range(0, len(wanted), IDS_AT_ONCE):
                some = wanted[start : start + IDS_AT_ONCE]
                try:
                    page = peer.named(some)
                except PeerRefused as error:
                    self.report.warn(f"markings and identities cannot be fetched: {error}")
                    return found
                newest += [item for item in intake.take(page) if named(item.value)[0] in some]
            found = [*newest, *found]
            if not newest:
                break
        return found

    def _unknown(self, items: Sequence[Item]) -> list[str]:
        if len(self._asked_ids) > _MAX_ASKED:
            self._asked_ids.clear()
        self._asked_ids.update(named(item.value)[0] for item in items)
        wanted = {id_ for item in items for id_ in _named_by(item.value)} - self._asked_ids - TLP_IDS.keys()
        self._asked_ids |= wanted
        return sorted(wanted)


def _named_by(value: Any) -> Iterator[str]:
    """The ids of the markings and of the creator that an object names."""
    if not isinstance(value, dict):
        return
    refs: list[Any] = [value.get("created_by_ref")]
    markings = value.get("object_marking_refs")
    refs += markings if isinstance(markings, list) else []
    granular = value.get("granular_markings")
    refs += (
        [each.get("marking_ref") for each in granular if isinstance(each, dict)] if isinstance(granular, list) else []
    )
    for ref in refs:
        if isinstance(ref, str) and ref.partition("--")[0] in _COMPANIONS and "," not in ref and len(ref) < 100:
            yield ref
