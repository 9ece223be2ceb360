"""The disclosure ledger: who was given what, when and under which policy; written before the answer leaves.

Each process writes a *strand* of its own: entries numbered without gaps, each with a keyed hash over itself and the
hash of the one before. So no process waits for another one, and a changed, missing or added entry breaks its strand.
A strand begins by naming the last entries of the strands that it finds (those that no other entry has named yet) and
names them again every `NAMING_EVERY` entries: a strand that vanishes, or its end, is missed by a later one.

What was delivered is kept as positions and labels, not as copies of objects: what a position is says the store, and
for what is deleted the entry of the deletion.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

#: Kind of the entry that names the last entries of strands whose beginnings were removed (service/pruning.py).
PRUNED = "pruned"
#: As `previous` of the first entry of a strand.
NO_HASH = b"\0" * 32
NAMING_EVERY = 1000
_MAX_CHARS = 500
#: What the thread that writes needs to send an entry to the database: for so long a reader lets it run before it
#: builds the answer.
_HEAD_START_S = 0.0005
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


@dataclass(slots=True)
class _Ticket:
    """A note that waits for being written. `ended` is set when it is, or cannot be."""

    note: Note
    ended: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    since: float = field(default_factory=time.perf_counter)

    def wait(self) -> None:
        """Return when the note is in the ledger. Raises StorageUnavailable when it is not."""
        self.ended.wait()
        if self.error is not None:
            raise StorageUnavailable(f"the ledger cannot be written: {self.error}") from self.error


@dataclass(slots=True)
class _Strand:
    """The strand of one process, and the one thread that writes it."""

    scribe: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "ledger"))
    lock: threading.Lock = field(default_factory=threading.Lock)
    queue: list[_Ticket] = field(default_factory=list)
    #: the last entry; None before the first one, and after a failure
    head: Head | None = None


class Ledger:
    """Writes the ledger of one store. Safe for several threads and across a fork; does nothing when not `enabled`."""

    def __init__(self, store: Store, *, enabled: bool = True, meter: Meter = NO_METER) -> None:
        self._store = store
        self._meter = meter
        self._enabled = enabled
        self._key: bytes | None = None
        self._strands: dict[int, _Strand] = {}

    # ---- what is recorded

    def delivered(
        self, actor: Actor, facts: Mapping[str, object], items: Sequence[Served], *, object_id: str, content: bool
    ) -> Callable[[], None]:
        """Begin to record a read that gives something away.

        Nothing may be given away before the function that is returned has returned: it waits for the entry, and
        raises StorageUnavailable when there is none. Until then the answer can be built.
        """
        if not self._enabled or not items:
            return _nothing
        note = Note("delivered", _facts(actor, facts), actor.partner, object_id, of_page(items, content))
        return self._begin(note).wait

    def refused(self, actor: Actor, facts: Mapping[str, object], object_id: str) -> None:
        """Record a look-up that was refused. Raises StorageUnavailable."""
        if self._enabled:
            self._begin(Note("refused", _facts(actor, facts), actor.partner, object_id)).wait()

    def deleted(self, actor: Actor, facts: Mapping[str, object], records: Sequence[Record]) -> None:
        """Record that these records of one object are about to be deleted. Raises StorageUnavailable."""
        if self._enabled and records:
            self._begin(_deletion(actor, facts, records)).wait()

    def removed(self, actor: Actor, facts: Mapping[str, object], records: Sequence[Record]) -> None:
        """Record that these records, of any objects, are about to be removed. Raises StorageUnavailable."""
        groups: dict[str, list[Record]] = {}
        for record in records:
            groups.setdefault(record.id, []).append(record)
        if self._enabled and groups:
            self._begin(*(_deletion(actor, facts, some) for some in groups.values())).wait()

    def pruned(self, facts: Mapping[str, object]) -> None:
        """Record which entries are about to be removed, also when nothing else is recorded any more.

        Raises StorageUnavailable.
        """
        self._begin(Note(PRUNED, facts, firm=True)).wait()

    # ---- writing

    def _begin(self, *notes: Note) -> _Ticket:
        """Hand the notes to the thread that writes; who waits for the ticket waits for all of them.

        Those that wait at the same time go in one write.
        """
        pid = os.getpid()
        strand = self._strands.get(pid) or self._strands.setdefault(pid, _Strand())
        tickets = [_Ticket(note) for note in notes]
        ticket = tickets[0]
        with strand.lock:
            # The queue is taken whole: all of these are in one write.
            strand.queue += tickets
        strand.scribe.submit(self._write_waiting, strand)
        # Whoever computes on without a pause would keep the other thread from even sending the entry to the database.
        ticket.ended.wait(_HEAD_START_S)
        return ticket

    def _write_waiting(self, strand: _Strand) -> None:
        with strand.lock:
            batch, strand.queue = strand.queue, []
        if batch:
            self._write(strand, batch)

    def _write(self, strand: _Strand, batch: Sequence[_Ticket]) -> None:
        head, strand.head = strand.head, None
        error: Exception | None = StorageUnavailable("the write was interrupted")
        try:
            notes = [ticket.note for ticket in batch]
            entries = self._entries(head, notes)
            self._store.ledger.append(entries, firm=any(note.firm for note in notes))
            last = entries[-1]
            # After a failure nobody knows which of the entries are there: the next write begins another strand.
            strand.head = Head(last.strand, last.number, last.hash)
            error = None
        except StorageError as failure:
            error = failure
        finally:
            for ticket in batch:
                ticket.error = error
                ticket.ended.set()
            self._meter.observe(LEDGER_BATCH, len(batch))
            self._meter.observe(LEDGER_WAIT, time.perf_counter() - batch[0].since)
            if error is not None:
                self._meter.count(LEDGER_FAILED)

    def _entries(self, head: Head | None, notes: Sequence[Note]) -> list[Entry]:
        if self._key is None:
            self._key = ledger_key(self._store)
        all_notes = list(notes)
        if head is None:
            head = Head(secrets.token_hex(16), 0, NO_HASH)
            all_notes.insert(0, self._naming("opened", head.strand))
        elif head.number // NAMING_EVERY < (head.number + len(notes)) // NAMING_EVERY:
            all_notes.insert(0, self._naming("heads", head.strand))
        present = self._store.present()
        entries: list[Entry] = []
        for note in all_notes:
            entry = _entry(head, note, present, self._key)
            entries.append(entry)
            head = Head(entry.strand, entry.number, entry.hash)
        return entries

    def _naming(self, kind: str, strand: str) -> Note:
        """Names the last entries of all other strands, except those that some entry has named already."""
        named: set[Head] = set()
        for entry in self._store.ledger.find(LedgerQuery(kinds=NAMING)):
            with suppress(ValueError):  # damaged: a check tells, and the heads are named once more
                named.update(named_heads(entry))
        loose = [head for head in self._store.ledger.heads() if head.strand != strand and head not in named]
        return Note(kind, {"heads": [[head.strand, head.number, head.hash.hex()] for head in loose]})


def _deletion(actor: Actor, facts: Mapping[str, object], records: Sequence[Record]) -> Note:
    """That these records of one object are about to go."""
    versions = [[r.position, r.version, r.version_key, r.collection, r.submitter] for r in records]
    about = _facts(actor, {**facts, "versions": versions})
    return Note("deleted", about, actor.partner, records[0].id, of_records(records), firm=True)


def _nothing() -> None:
    """Nothing to wait for."""


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
