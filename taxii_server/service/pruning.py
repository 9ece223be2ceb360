"""Old entries of the disclosure ledger are removed so that what is left can still be checked.

Only the beginning of a strand goes. Before it does, an entry of the kind "pruned" is written, under the same keyed
hashes as every other one: for each strand the number and the hash of the last entry that goes. What follows in the
strand begins with that hash, so nothing else can be taken away under the name of pruning.
Each such entry repeats what earlier ones say as far as it still matters, so that those can go in their turn.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from contextlib import suppress

from taxii_server.service.ledger import PRUNED, Ledger, hash_of, ledger_key, named_heads
from taxii_server.storage.base import Store
from taxii_server.storage.ledger import NAMING, Entry, Head, LedgerQuery


def pruned_heads(entries: Iterable[Entry], key: bytes) -> dict[str, Head]:
    """Strand -> the last entry of it that was removed, as entries of the kind "pruned" say that are whole."""
    found: dict[str, Head] = {}
    for entry in entries:
        if not hmac.compare_digest(entry.hash, hash_of(entry, key)):
            continue
        with suppress(ValueError):
            for head in named_heads(entry):
                if head.strand not in found or found[head.strand].number < head.number:
                    found[head.strand] = head
    return found


def prune(store: Store, ledger: Ledger, before: int, *, dry: bool = False) -> int:
    """Remove the entries that were written before this time (µs), as far as nothing later stands before them in
    their strand; how many. Raises StorageUnavailable; a removal that broke off is finished by the next one."""
    known = pruned_heads(store.ledger.find(LedgerQuery(kinds=(PRUNED,))), ledger_key(store))
    old: dict[str, dict[int, bytes]] = {}
    for entry in store.ledger.find(LedgerQuery(until=before - 1)):
        old.setdefault(entry.strand, {})[entry.number] = entry.hash
    going: dict[str, Head] = {}
    count = 0
    for strand, entries in old.items():
        number = known[strand].number if strand in known else 0
        while number + 1 in entries:
            number += 1
        if number in entries:
            going[strand] = Head(strand, number, entries[number])
            count += sum(each <= number for each in entries)
    if dry or not going:
        return count
    ledger.pruned({"before": before, "entries": count, "heads": _said(store, {**known, **going})})
    return sum(store.ledger.drop(head.strand, head.number) for head in going.values())


def _said(store: Store, heads: Mapping[str, Head]) -> list[list[object]]:
    """The heads of strands that go on, or that an entry which stays still names."""
    # Strands that end now, too: a process may go on with them.
    wanted = {head.strand for head in store.ledger.heads() if head.strand in heads}
    for entry in store.ledger.find(LedgerQuery(kinds=NAMING)):
        if entry.strand in heads and entry.number <= heads[entry.strand].number:
            continue
        with suppress(ValueError):
            wanted |= {head.strand for head in named_heads(entry) if head.strand in heads}
    return [[heads[s].strand, heads[s].number, heads[s].hash.hex()] for s in sorted(wanted)]
