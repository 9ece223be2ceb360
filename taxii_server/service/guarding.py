"""What guards make of a body before anything of it is stored, and the words in which its submitter hears of it.

The whole body is judged first, then stored in portions: an object in the last portion may be what one in the first
refers to. What is in quarantine already counts as if it were in the body: what refers to it is held as well.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from taxii_server.model import Draft
from taxii_server.policy.guard import Stop, Watch, spread
from taxii_server.stix.canonical import digest
from taxii_server.stix.parse import Item
from taxii_server.stix.references import read_references
from taxii_server.storage.base import Store
from taxii_server.storage.quarantine import Entry
from taxii_server.times import format_position

Stopped = Literal["refused", "quarantined"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a stopped object: in words for the status, and for the count. None: it was released meanwhile."""

    message: str
    stopped: Stopped | None


class Gate:
    """The guards of one body by one partner. `stops`: place in the body -> why it is not stored."""

    def __init__(self, watch: Watch, store: Store, submitter: str, collection_id: str, items: Sequence[Item]) -> None:
        self._store, self._submitter, self._collection_id = store, submitter, collection_id
        values = [item.value if isinstance(item.value, dict) else {} for item in items]
        # What has no proper id is refused for that, and nothing can refer to it.
        ids = [_id_of(value) for value in values]
        references = [_references(value) for value in values]
        stops = {place: stop for place, value in enumerate(values) if (stop := watch.judge(value)) is not None}
        entries = self._entries(ids, references)
        blocked = self._blocked(watch, entries, {ref for refs in references for ref in refs})
        released = {(each.object_id, each.digest) for each in entries if each.state == "released"}
        released_ids = {id_ for id_, _ in released}
        passing = frozenset(
            place for place, id_ in enumerate(ids) if id_ in released_ids and (id_, digest(values[place])) in released
        )
        direct = {place: stop for place, stop in stops.items() if stop.act == "refuse" or place not in passing}
        self.stops = spread(direct, ids, references, passing, blocked)

    def hold(self, drafts: Sequence[tuple[Draft, Stop]]) -> list[Verdict]:
        """Put these objects into quarantine, unless they are or were there; what became of each."""
        entries = [self._entry(draft, stop) for draft, stop in drafts]
        kept = self._store.quarantine.hold(entries) if entries else []
        return [_verdict(stop, entry) for (_, stop), entry in zip(drafts, kept, strict=True)]

    def _entries(self, ids: Iterable[str | None], references: Iterable[Iterable[str]]) -> list[Entry]:
        wanted = {id_ for id_ in ids if id_ is not None}.union(*references)
        return self._store.quarantine.find(self._collection_id, self._submitter, sorted(wanted)) if wanted else []

    def _blocked(self, watch: Watch, entries: Sequence[Entry], referred: set[str]) -> dict[str, Stop]:
        """The ids that may not be referred to: held or dropped at last, and no newer version of it was let in."""
        last = {each.object_id: each for each in entries if each.object_id in referred}
        closed = {id_: each for id_, each in last.items() if each.state != "released"}
        if not closed:
            return {}
        for id_, records in self._store.lookup(closed).items():
            since = closed[id_].version_key
            own = [r for r in records if r.submitter == self._submitter and r.collection == self._collection_id]
            if since is not None and any(record.version_key > since for record in own):
                del closed[id_]
        return {id_: watch.stop_of(each.guard, id_) for id_, each in closed.items()}

    def _entry(self, draft: Draft, stop: Stop) -> Entry:
        return Entry(
            id=str(uuid.uuid4()),
            collection=draft.collection,
            submitter=draft.submitter,
            object_id=draft.id,
            type=draft.type,
            spec_version=draft.spec_version,
            version=draft.version,
            version_key=draft.version_key,
            digest=draft.digest,
            guard=stop.guard,
            content=draft.content,
        )


def refusal(stop: Stop) -> str:
    """What the submitter of an object hears that a guard refused."""
    return f"refused by guard '{stop.guard}'{_because(stop)}. Nothing of it is stored; post it without what it names"


def _verdict(stop: Stop, entry: Entry) -> Verdict:
    if entry.state == "released":
        return Verdict("already present", None)
    if entry.state == "dropped":
        when = format_position(entry.decided)
        return Verdict(f"refused by guard '{stop.guard}'{_because(stop)}. The same was dropped on {when}", "refused")
    message = (
        f"held in quarantine by guard '{stop.guard}'{_because(stop)}. Nobody reads it there;"
        f" the owner of the collection can release it or drop it (quarantine id {entry.id})"
    )
    return Verdict(message, "quarantined")


def _because(stop: Stop) -> str:
    why = f": {stop.why}" if stop.why else ""
    return f", as it refers to {stop.via}, which that guard stopped{why}" if stop.via else why


def _id_of(value: dict[str, Any]) -> str | None:
    found = value.get("id")
    return found.strip().lower() if isinstance(found, str) else None


def _references(value: dict[str, Any]) -> tuple[str, ...]:
    if not isinstance(value.get("id"), str) or not isinstance(value.get("type"), str):
        return ()
    hard, soft = read_references(value)
    return (*hard, *soft)
