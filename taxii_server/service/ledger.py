"""The disclosure ledger: who was given what, when and under which policy; written before the answer leaves.

Each process writes a *strand* of its own: entries numbered without gaps, each with a keyed hash over itself and the
hash of the one before. So no process waits for another one, and a changed, missing or added entry breaks its strand.
A strand begins by naming the last entries of the strands that it finds (those that no other entry has named yet) and
names them again every `NAMING_EVERY` entries: a strand that vanishes, or its end, is missed by a later one.

What was delivered is kept as positions and labels, not as copies of objects: what a position is says the store, and
for what is deleted the entry of the deletion.
"""

from __future__ import annotations

import contextvars
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.metering import LEDGER_BATCH, LEDGER_FAILED, LEDGER_WAIT, NO_METER, Meter
from taxii_server.model import Actor, Record
from taxii_server.service.copies import Served
from taxii_server.service.cursor import derived_key
from taxii_server.service.ledger_items import NOTHING, Items, of_page, of_records
from taxii_server.storage.base import Store
from taxii_server.storage.ledger import NAMING, Entry, Head, LedgerQuery
from taxii_server.storage.together import Together

#: Kind of the entry that names the last entries of strands whose beginnings were removed (service/pruning.py).
PRUNED = "pruned"
#: As `previous` of the first entry of a strand.
NO_HASH = b"\0" * 32
NAMING_EVERY = 1000
_MAX_CHARS = 500
#: Notes of one write, when so many wait, and how long one waits for its turn.
_MOST_AT_ONCE = 500
_WAIT_S = 30.0
# What a stranger wrote may hold half a character: only ASCII is the same everywhere.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Note:
    """What an entry is to say. A firm one survives the power failing."""

    kind: str
    facts: Mapping[str, object]
    partner: str = ""
    object: str = ""
    items: Items = NOTHING
    firm: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """Notes that go in one write, and since when they wait."""

    notes: tuple[Note, ...]
    since: float = field(default_factory=time.perf_counter)


class Ledger:
    """Writes the ledger of one store. Safe for several threads and across a fork; does nothing when not `enabled`."""

    def __init__(self, store: Store, *, enabled: bool = True, meter: Meter = NO_METER) -> None:
        self._store = store
        self._meter = meter
        self._enabled = enabled
        self._key: bytes | None = None
        #: the last entry of the strand of each process; after a failure there is none
        self._heads: dict[int, Head] = {}
        self._jobs = Together(self._write_apart, wait_s=_WAIT_S, most=_MOST_AT_ONCE)

    # ---- what is recorded

    def delivered(
        self, actor: Actor, facts: Mapping[str, object], items: Sequence[Served], *, object_id: str, content: bool
    ) -> None:
        """Record a read that gives something away: nothing may be, before this has returned.

        Raises StorageUnavailable.
        """
        if self._enabled and items:
            self._add(Note("delivered", _facts(actor, facts), actor.partner, object_id, of_page(items, content)))

    def refused(self, actor: Actor, facts: Mapping[str, object], object_id: str) -> None:
        """Record a look-up that was refused. Raises StorageUnavailable."""
        if self._enabled:
            self._add(Note("refused", _facts(actor, facts), actor.partner, object_id))

    def deleted(self, actor: Actor, facts: Mapping[str, object], records: Sequence[Record]) -> None:
        """Record that these records of one object are about to be deleted. Raises StorageUnavailable."""
        if self._enabled and records:
            self._add(_deletion(actor, facts, records))

    def removed(self, actor: Actor, facts: Mapping[str, object], records: Sequence[Record]) -> None:
        """Record that these records, of any objects, are about to be removed. Raises StorageUnavailable."""
        groups: dict[str, list[Record]] = {}
        for record in records:
            groups.setdefault(record.id, []).append(record)
        if self._enabled and groups:
            self._add(*(_deletion(actor, facts, some) for some in groups.values()))

    def pruned(self, facts: Mapping[str, object]) -> None:
        """Record which entries are about to be removed, also when nothing else is recorded any more.

        Raises StorageUnavailable.
        """
        self._add(Note(PRUNED, facts, firm=True))

    # ---- writing

    def _add(self, *notes: Note) -> None:
        """Return when the notes are in the ledger; those of several threads that wait go in one write."""
        self._jobs.do(_Job(notes))

    def _write_apart(self, jobs: Sequence[_Job], limit_s: float) -> list[None]:
        # Who writes may be inside a transaction whose time is nearly over (the driver keeps it in the context).
        return contextvars.Context().run(self._write, jobs, limit_s)

    def _write(self, jobs: Sequence[_Job], limit_s: float) -> list[None]:
        # After a failure nobody knows which of the entries are there: the next write begins another strand.
        head = self._heads.pop(os.getpid(), None)
        notes = [note for job in jobs for note in job.notes]
        try:
            entries = self._entries(head, notes, limit_s)
            self._store.ledger.append(entries, firm=any(note.firm for note in notes))
        except StorageError as failure:
            self._meter.count(LEDGER_FAILED)
            raise StorageUnavailable(f"the ledger cannot be written: {failure}") from failure
        finally:
            self._meter.observe(LEDGER_BATCH, len(notes))
            self._meter.observe(LEDGER_WAIT, time.perf_counter() - jobs[0].since)
        last = entries[-1]
        self._heads[os.getpid()] = Head(last.strand, last.number, last.hash)
        return [None] * len(jobs)

    def _entries(self, head: Head | None, notes: Sequence[Note], limit_s: float) -> list[Entry]:
        if self._key is None:
            self._key = ledger_key(self._store)
        all_notes = list(notes)
        if head is None:
            head = Head(secrets.token_hex(16), 0, NO_HASH)
            all_notes.insert(0, self._naming("opened", head.strand, limit_s))
        elif head.number // NAMING_EVERY < (head.number + len(notes)) // NAMING_EVERY:
            all_notes.insert(0, self._naming("heads", head.strand, limit_s))
        present = self._store.present()
        entries: list[Entry] = []
        for note in all_notes:
            entry = _entry(head, note, present, self._key)
            entries.append(entry)
            head = Head(entry.strand, entry.number, entry.hash)
        return entries

    def _naming(self, kind: str, strand: str, limit_s: float) -> Note:
        """Names the last entries of all other strands, except those that some entry has named already."""
        ledger, until = self._store.ledger, time.monotonic() + limit_s
        named: set[Head] = set()
        # With a limit: whoever asked for a page waits for it.
        for entry in ledger.find(LedgerQuery(kinds=NAMING), limit_s=limit_s):
            with suppress(ValueError):  # damaged: a check tells, and the heads are named once more
                named.update(named_heads(entry))
        heads = ledger.heads(limit_s=max(until - time.monotonic(), 0.001))
        loose = [head for head in heads if head.strand != strand and head not in named]
        return Note(kind, {"heads": [[head.strand, head.number, head.hash.hex()] for head in loose]})


def _deletion(actor: Actor, facts: Mapping[str, object], records: Sequence[Record]) -> Note:
    """That these records of one object are about to go."""
    versions = [[r.position, r.version, r.version_key, r.collection, r.submitter] for r in records]
    about = _facts(actor, {**facts, "versions": versions})
    return Note("deleted", about, actor.partner, records[0].id, of_records(records), firm=True)


def _facts(actor: Actor, more: Mapping[str, object]) -> dict[str, object]:
    origin = actor.origin
    facts = {
        "credential": actor.credential,
        "scheme": actor.scheme,
        "address": origin.address,
        "method": origin.method,
        "path": origin.path[:_MAX_CHARS],
        "query": origin.query[:_MAX_CHARS],
        **more,
    }
    return {name: value for name, value in facts.items() if value not in ("", None)}


# ---- the form of an entry


def ledger_key(store: Store) -> bytes:
    """The key of the hashes."""
    return derived_key(store.secret(), b"taxii ledger v1")


def _entry(head: Head, note: Note, time: int, key: bytes) -> Entry:
    entry = Entry(
        strand=head.strand,
        number=head.number + 1,
        time=time,
        kind=note.kind,
        partner=note.partner,
        object=note.object[:_MAX_CHARS].encode(errors="replace").decode(),
        first=note.items.first,
        last=note.items.last,
        facts=_encode(note.facts),
        items=note.items.packed,
        previous=head.hash,
        hash=b"",
    )
    return replace(entry, hash=hash_of(entry, key))


def hash_of(entry: Entry, key: bytes) -> bytes:
    """The hash that the entry must have: over the one before and everything that the entry says."""
    texts = (entry.strand, entry.kind, entry.partner, entry.object, entry.facts)
    numbers = (entry.number, entry.time, entry.first, entry.last)
    parts = [entry.previous, *(text.encode() for text in texts), *(b"%d" % number for number in numbers), entry.items]
    # Each with its length: nothing can move from one part into the next.
    return hmac.digest(key, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")


def named_heads(entry: Entry) -> list[Head]:
    """The heads that an entry of a kind in NAMING names. Raises ValueError when that cannot be read."""
    try:
        return [
            Head(strand, number, bytes.fromhex(hash_)) for strand, number, hash_ in json.loads(entry.facts)["heads"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError("not a list of heads") from error
