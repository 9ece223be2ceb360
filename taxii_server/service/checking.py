"""Whether the disclosure ledger is what was written: every entry, every number, every strand that another one names."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from taxii_server.service.ledger import NO_HASH, PRUNED, hash_of, ledger_key, named_heads
from taxii_server.service.ledger_items import unpack
from taxii_server.service.pruning import pruned_heads
from taxii_server.storage.base import Store
from taxii_server.storage.ledger import NAMING, Entry, Head, LedgerQuery


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it was written: in which strand, at which number, and what."""

    strand: str
    number: int
    what: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; the faults by strand and number, the first of each strand first."""

    entries: int
    strands: int
    faults: tuple[Fault, ...]


def check(store: Store, anchors: Sequence[Head] = (), progress: Callable[[int], None] = lambda done: None) -> Finding:
    """Check the whole ledger, and that it still has the heads that were written down elsewhere.

    May run beside a server that writes. `progress` is told how many entries are done.
    """
    key = ledger_key(store)
    # First who is named, then all entries: what was named by then must be there, unless it was removed on purpose.
    pruned = pruned_heads(store.ledger.find(LedgerQuery(kinds=(PRUNED,))), key)
    named = _named(store.ledger.find(LedgerQuery(kinds=NAMING)))
    for anchor in anchors:
        named.setdefault((anchor.strand, anchor.number), {})[anchor.hash] = "the anchor"
    faults: list[Fault] = []
    ends: dict[str, int] = {}
    before: Entry | None = None
    done = 0
    for entry in store.ledger.walk():
        if before is not None and before.strand != entry.strand:
            before = None
        whose = named.pop((entry.strand, entry.number), {})
        faults += _faults(entry, before, key, whose, pruned.get(entry.strand))
        ends[entry.strand] = entry.number
        before = entry
        done += 1
        progress(done)
    pruned |= pruned_heads(store.ledger.find(LedgerQuery(kinds=(PRUNED,))), key)
    faults += _missing(named, ends, pruned)
    return Finding(done, len(ends), tuple(sorted(faults, key=lambda fault: (fault.strand, fault.number))))


#: (strand, number) -> hash that it must have -> who says so
_Named = dict[tuple[str, int], dict[bytes, str]]


def _named(entries: Iterable[Entry]) -> _Named:
    found: _Named = {}
    for entry in entries:
        try:
            heads = named_heads(entry)
        except ValueError:  # its own hash tells
            continue
        for head in heads:
            found.setdefault((head.strand, head.number), {})[head.hash] = f"entry {entry.number} of {entry.strand}"
    return found


def _faults(
    entry: Entry, before: Entry | None, key: bytes, named: dict[bytes, str], pruned: Head | None
) -> list[Fault]:
    """What is wrong with an entry that follows another one of its strand, or begins it, or what is left of it."""
    whats: list[str] = []
    expected = before.number + 1 if before else 1
    previous = before.hash if before else NO_HASH
    if pruned is not None and before is None and entry.number > 1:
        # All up to the pruned one may be gone; while it is removed, some of it is still there.
        expected = min(entry.number, pruned.number + 1)
        previous = pruned.hash if entry.number == pruned.number + 1 else entry.previous
    if entry.number != expected:
        last = entry.number - 1
        missing = f"entry {expected} is missing" if last == expected else f"entries {expected} to {last} are missing"
        return [Fault(entry.strand, expected, missing), *_faults_alone(entry, key, named)]
    if entry.previous != previous:
        whats.append("does not follow the entry before it")
    if expected == 1 and entry.kind != "opened":
        whats.append("is not the beginning of a strand")
    return [*(Fault(entry.strand, entry.number, what) for what in whats), *_faults_alone(entry, key, named)]


def _faults_alone(entry: Entry, key: bytes, named: dict[bytes, str]) -> list[Fault]:
    whats: list[str] = []
    if not hmac.compare_digest(entry.hash, hash_of(entry, key)):
        whats.append("was changed")
    else:
        try:
            unpack(entry.items)
        except ValueError:
            whats.append("holds items that cannot be read")
    whats += [f"is another one than {who} names" for hash_, who in named.items() if hash_ != entry.hash]
    return [Fault(entry.strand, entry.number, what) for what in whats]


def _missing(named: _Named, ends: dict[str, int], pruned: Mapping[str, Head]) -> list[Fault]:
    """What is named and not there: whole strands, and the ends of strands. Once for each strand."""
    furthest: dict[str, tuple[int, str]] = {}
    for (strand, number), whos in named.items():
        if strand in pruned and number <= pruned[strand].number:
            continue
        # One that is missing in the middle shows by the numbers.
        if number > ends.get(strand, 0) and number > furthest.get(strand, (0, ""))[0]:
            furthest[strand] = (number, next(iter(whos.values())))
    faults: list[Fault] = []
    for strand, (number, who) in furthest.items():
        if strand in ends:
            what = f"the end is missing, at least up to entry {number}, which {who} names"
            faults.append(Fault(strand, ends[strand] + 1, what))
        else:
            faults.append(Fault(strand, 1, f"the strand is missing; {who} names its entry {number}"))
    return faults
