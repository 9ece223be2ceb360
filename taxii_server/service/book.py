"""The label book: what this process knows of the store's log, and the numbers that records carry.

A label stands for one combination of facets (policy design, B.2) together with the version flags of a
record. The book is a copy of the store's append-only log: labels, meanings of posted marking-definitions,
and vocabularies. It only ever grows, so that readers need no lock.

Why the vocabulary is in the log: facets hold only the values that rules name, the rest is "other". A policy
that names a new value makes the vocabulary grow, never shrink; a label that was written under a smaller one
and holds an "other" which may now have a name is *coarse*: nobody but the relabelling may rely on it. The
vocabulary in force is the union of all entries of the log, so processes that grow it at once lose nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import TypeVar

import orjson

from taxii_server.errors import StorageUnavailable
from taxii_server.model import LogEntry, Record
from taxii_server.policy import Facets, Meanings, Vocabulary
from taxii_server.service.events import EVENT, Event, read_event
from taxii_server.storage.base import Store

LABEL = "label"
MARKING = "marking"
VOCABULARY = "vocabulary"

#: How often a read starts again because labels appeared under its hands.
_MAX_RESTARTS = 20
#: How long a thread waits for another one that reads the log: while a store hangs, each reading takes its full time.
_PATIENCE_S = 10.0

T = TypeVar("T")
#: What a label stands for, wherever its record stands: facets, and those of the version that governs.
Combination = tuple[Facets, Facets | None]


class Flags(IntFlag):
    """Where a record stands among the records of its id.

    A lineage is what one submitter posted of one id to one collection.
    """

    NONE = 0
    #: newest, oldest of its lineage in its STIX version
    LAST = 1
    FIRST = 2
    #: the lineage has records in more than one STIX version
    MIXED = 4
    #: another lineage holds the same id
    TWIN = 8


#: A record that is the only one of its id.
ONLY = Flags.LAST | Flags.FIRST
#: An older version that stands alone is never the latest readable one: what hides the newest hides it too. Where
#: there are copies, the version that governs may be another one than the newest of this lineage.
_TELLING = Flags.LAST | Flags.TWIN | Flags.MIXED


@dataclass(frozen=True, slots=True)
class LabelKey:
    """What a label stands for. `governor` holds the facets of the newest version where they differ."""

    facets: Facets
    governor: Facets | None
    flags: Flags


@dataclass(frozen=True, slots=True)
class Label:
    """A label of the log: its number, its key, and whether the present vocabulary would give the same key."""

    number: int
    key: LabelKey
    exact: bool


class LabelsMissing(Exception):
    """These keys have no number yet; intern them and plan again. `drafts`: key -> the drafts that make it needed."""

    def __init__(self, drafts: Mapping[LabelKey, Sequence[int]]) -> None:
        self.drafts = drafts
        self.keys = tuple(drafts)
        super().__init__(f"{len(self.keys)} labels have no number yet")


class Coarse(Exception):
    """These ids have records with coarse labels; label them anew before anything is derived from their facets."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = tuple(ids)
        super().__init__(f"{len(self.ids)} ids have coarse labels")


class Behind(Exception):
    """The log holds entries that this process has not read yet, or the vocabulary moved; sync and start again."""


class Book:
    """The log in memory. Safe for several threads: one grows it at a time, readers see whole entries only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._numbers: dict[LabelKey, int] = {}
        self._combinations: dict[str, set[Combination]] = {}
        self._since: dict[int, int] = {}
        #: number of its log entry -> the vocabulary from there on: all that any process ever asked for
        self.vocabularies: dict[int, Vocabulary] = {}
        #: the number of the newest vocabulary: facets projected under another edition are out of date
        self.edition = 0
        self.labels: dict[int, Label] = {}
        #: the labels of records that may be the latest readable version of their id
        self.latest: set[int] = set()
        #: the labels of records that are not the only ones of their id
        self.crowded: set[int] = set()
        #: the labels of marking-definitions, ascending: who reads them depends on other labels (policy design, C12)
        self.definitions: list[int] = []
        self.meanings = Meanings.empty()
        #: what became readable later than it was added, ascending
        self.events: tuple[Event, ...] = ()
        #: position of a record that a write brought back into sight -> the place from which on it stands
        self.opened: dict[int, int] = {}
        #: position of a record whose arrival brought back what refers to it -> the place where that stands
        self.arrived: dict[int, int] = {}
        #: id of which nothing is left, for some at least -> the places where what refers to it stands since then
        self.gone: dict[str, tuple[int, ...]] = {}
        #: epoch of the newest catalog that the log tells of
        self.epoch = 0
        #: how many entries of the log are known; readers compare it with a page's horizon
        self.length = 0
        #: grows when a known label may be judged differently: a new meaning, a new vocabulary
        self.generation = 0

    @property
    def vocabulary(self) -> Vocabulary:
        """The newest vocabulary: every new label is projected with it."""
        return self.vocabularies[self.edition]

    def vocabulary_at(self, number: int) -> Vocabulary:
        """The vocabulary that was in force when this entry was written; an empty one before the first."""
        # A copy: another thread may be reading the log.
        edition = max((each for each in list(self.vocabularies) if each < number), default=0)
        return self.vocabularies.get(edition, Vocabulary())

    def has_vocabulary(self) -> bool:
        """False only in a database that never had a policy."""
        return self.edition > 0

    def sync(self) -> None:
        """Read what other processes appended since."""
        if not self._lock.acquire(timeout=_PATIENCE_S):
            raise StorageUnavailable(f"another thread has been reading the log for more than {_PATIENCE_S:g} s")
        try:
            entries = self._store.log_after(self.length)
            if entries:
                self._read(entries)
        finally:
            self._lock.release()

    def settled(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns once it does not meet labels that this process does not know."""
        for _ in range(_MAX_RESTARTS):
            try:
                return attempt()
            except Behind:
                self.sync()
        raise StorageUnavailable("new labels kept appearing under this read; try again")

    def lookup(self, ids: Sequence[str]) -> dict[str, list[Record]]:
        """The records of these ids, all of whose labels this process knows."""

        def attempt() -> dict[str, list[Record]]:
            found = self._store.lookup(ids)
            for records in found.values():
                for record in records:
                    self.label(record.label)
            return found

        return self.settled(attempt)

    def intern(self, keys: Iterable[LabelKey], edition: int) -> None:
        """Give each of these keys, projected under `edition`, a number for ever and for every process."""
        self._append([(LABEL, self._payload(key, edition)) for key in keys])

    def learn_markings(self, payloads: Sequence[str]) -> None:
        """Record what posted marking-definitions mean; the first meaning per submitter and id stays."""
        if payloads:
            self._append([(MARKING, payload) for payload in payloads])

    def grow_vocabulary(self, wanted: Vocabulary) -> bool:
        """Make the vocabulary name at least what `wanted` names. True when it grew."""
        self.sync()
        if self.has_vocabulary() and self.vocabulary.covers(wanted):
            return False
        self._append([(VOCABULARY, wanted.to_json())])
        return True

    def number(self, key: LabelKey) -> int | None:
        """The label of this key, or None when it has to be interned first."""
        return self._numbers.get(key)

    def combinations(self, submitter: str) -> Set[Combination]:
        """What the labels of this submitter stand for, under the present vocabulary."""
        return self._combinations.get(submitter, frozenset())

    def label(self, number: int) -> Label:
        """The label with this number. Raises Behind when the log must be read first."""
        try:
            return self.labels[number]
        except KeyError:
            raise Behind(number) from None

    def fits(self, label: Label, vocabulary: Vocabulary) -> bool:
        """Whether the label tells apart all that a policy with this vocabulary can ask about its records."""
        since = self.vocabularies[self._since[label.number]]
        return since.covers(vocabulary) or _still_exact(label.key, since, since.union(vocabulary))

    def edition_of(self, label: Label) -> int:
        """The number of the vocabulary that the label was written under."""
        return self._since[label.number]

    def coarse(self) -> list[int]:
        """The labels whose records must be labelled anew, ascending."""
        return sorted(label.number for label in list(self.labels.values()) if not label.exact)

    # ---- inside

    def _append(self, entries: list[tuple[str, str]]) -> None:
        self._store.append_log(entries)
        self.sync()

    @staticmethod
    def _payload(key: LabelKey, edition: int) -> str:
        parts: dict[str, object] = {
            "vocabulary": edition,
            "flags": int(key.flags),
            "facets": orjson.Fragment(key.facets.to_json()),
        }
        if key.governor is not None:
            parts["governor"] = orjson.Fragment(key.governor.to_json())
        return orjson.dumps(parts, option=orjson.OPT_SORT_KEYS).decode()

    def _read(self, entries: Sequence[LogEntry]) -> None:
        # The length goes last: who sees it may rely on everything up to there.
        markings = [entry.payload for entry in entries if entry.kind == MARKING]
        if markings:
            self.meanings = self.meanings.with_posted(*markings)
        grown = False
        for entry in entries:
            if entry.kind == VOCABULARY:
                wanted = Vocabulary.from_json(entry.payload)
                self.vocabularies[entry.number] = self.vocabulary.union(wanted) if self.has_vocabulary() else wanted
                self.edition = entry.number
                grown = True
        for entry in entries:
            if entry.kind == LABEL:
                self._read_label(entry.number, entry.payload)
        if grown:
            self._judge_again()
        events = [read_event(entry.number, entry.payload) for entry in entries if entry.kind == EVENT]
        for event in events:
            self.opened.update(event.opened)
            self.arrived.update(event.arrived)
            for id_, place in event.gone.items():
                self.gone[id_] = (*self.gone.get(id_, ()), place)
            self.epoch = event.epoch or self.epoch
        self.events += tuple(event for event in events if not event.is_silent())
        if grown or markings or any(event.changes_sight() for event in events):
            self.generation += 1
        self.length = entries[-1].number

    def _read_label(self, number: int, payload: str) -> None:
        parts = orjson.loads(payload)
        governor = parts.get("governor")
        key = LabelKey(
            facets=Facets.from_json(orjson.dumps(parts["facets"]).decode()),
            governor=None if governor is None else Facets.from_json(orjson.dumps(governor).decode()),
            flags=Flags(parts["flags"]),
        )
        self._since[number] = parts["vocabulary"]
        exact = self._is_exact(key, number)
        if key.facets.defines is not None and number not in self.labels:
            self.definitions.append(number)
        if _TELLING & key.flags:
            self.latest.add(number)
        if key.flags != ONLY:
            self.crowded.add(number)
        self.labels[number] = Label(number, key, exact)
        if exact:
            self._numbers.setdefault(key, number)
            self._combinations.setdefault(key.facets.submitter, set()).add((key.facets, key.governor))

    def _is_exact(self, key: LabelKey, number: int) -> bool:
        since = self._since[number]
        return since == self.edition or _still_exact(key, self.vocabularies[since], self.vocabulary)

    def _judge_again(self) -> None:
        numbers: dict[LabelKey, int] = {}
        for number, label in sorted(self.labels.items()):
            exact = self._is_exact(label.key, number)
            if exact != label.exact:
                self.labels[number] = replace(label, exact=exact)
            if exact:
                numbers.setdefault(label.key, number)
        self._numbers = numbers
        combinations: dict[str, set[Combination]] = {}
        for key in numbers:
            combinations.setdefault(key.facets.submitter, set()).add((key.facets, key.governor))
        self._combinations = combinations


def _still_exact(key: LabelKey, since: Vocabulary, wider: Vocabulary) -> bool:
    return all(each is None or wider.still_exact(each, since) for each in (key.facets, key.governor))
