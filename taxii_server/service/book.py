"""The label book: what this process knows of the store's log, and the numbers that records carry.

A label stands for one combination of facets (policy design, B.2) together with the version flags of a
record. The book is a copy of the store's append-only log: labels, meanings of posted marking-definitions,
and vocabularies. It only ever grows, so that readers need no lock.

Why the vocabulary is in the log: facets hold only the values that rules name, the rest is "other". A policy
that names a new value makes the vocabulary grow, never shrink; a label that was written under a smaller one
and holds an "other" which may now have a name is *coarse*: nobody but the relabelling may rely on it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag

import orjson

from taxii_server.policy import Facets, Meanings, Vocabulary
from taxii_server.storage.base import Store

LABEL = "label"
MARKING = "marking"
VOCABULARY = "vocabulary"


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


class LabelsMissing(Exception):  # noqa: N818 - a signal to the caller, not an error
    """These keys have no number yet; intern them and plan again."""

    def __init__(self, keys: Collection[LabelKey]) -> None:
        self.keys = tuple(keys)
        super().__init__(f"{len(self.keys)} labels have no number yet")


class Behind(Exception):  # noqa: N818 - a signal to the caller, not an error
    """The log holds entries that this process has not read yet, or the vocabulary moved; sync and start again."""


class Book:
    """The log in memory. Safe for several threads: one grows it at a time, readers see whole entries only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._numbers: dict[LabelKey, int] = {}
        self._vocabularies: dict[int, Vocabulary] = {}
        self._vocabulary_number = 0
        self._since: dict[int, int] = {}
        self.labels: dict[int, Label] = {}
        self.meanings = Meanings.empty()
        #: how many entries of the log are known; readers compare it with a page's horizon
        self.length = 0
        #: grows when a known label may be judged differently: a new meaning, a new vocabulary
        self.generation = 0

    @property
    def vocabulary(self) -> Vocabulary:
        """The newest vocabulary of the log: every new label is projected with it."""
        return self._vocabularies[self._vocabulary_number]

    @property
    def edition(self) -> int:
        """The number of the newest vocabulary: facets projected under another edition are out of date."""
        return self._vocabulary_number

    def has_vocabulary(self) -> bool:
        """False only in a database that never had a policy."""
        return self._vocabulary_number > 0

    def sync(self) -> None:
        """Read what other processes appended since."""
        with self._lock:
            for entry in self._store.log_after(self.length):
                self._read(entry.number, entry.kind, entry.payload)

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
        grown = self.vocabulary.union(wanted) if self.has_vocabulary() else wanted
        self._append([(VOCABULARY, grown.to_json())])
        return True

    def number(self, key: LabelKey) -> int | None:
        """The label of this key, or None when it has to be interned first."""
        return self._numbers.get(key)

    def label(self, number: int) -> Label:
        """The label with this number. Raises Behind when the log must be read first."""
        try:
            return self.labels[number]
        except KeyError:
            raise Behind(number) from None

    def fits(self, label: Label, vocabulary: Vocabulary) -> bool:
        """Whether the label tells apart all that a policy with this vocabulary can ask about its records."""
        since = self._vocabularies[self._since[label.number]]
        if since.covers(vocabulary):
            return True
        wider = since.union(vocabulary)
        facets = (label.key.facets, label.key.governor)
        return all(each is None or wider.still_exact(each, since) for each in facets)

    def coarse(self) -> list[int]:
        """The labels whose records must be labelled anew, ascending."""
        return sorted(label.number for label in self.labels.values() if not label.exact)

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

    def _read(self, number: int, kind: str, payload: str) -> None:
        if kind == LABEL:
            self._read_label(number, payload)
        elif kind == MARKING:
            self.meanings = self.meanings.with_posted(payload)
            self.generation += 1
        elif kind == VOCABULARY:
            self._vocabularies[number] = Vocabulary.from_json(payload)
            self._vocabulary_number = number
            self._judge_again()
            self.generation += 1
        self.length = number

    def _read_label(self, number: int, payload: str) -> None:
        parts = orjson.loads(payload)
        governor = parts.get("governor")
        key = LabelKey(
            facets=Facets.from_json(orjson.dumps(parts["facets"]).decode()),
            governor=None if governor is None else Facets.from_json(orjson.dumps(governor).decode()),
            flags=Flags(parts["flags"]),
        )
        exact = self._is_exact(key, parts["vocabulary"])
        self.labels[number] = Label(number, key, exact)
        self._since[number] = parts["vocabulary"]
        if exact:
            self._numbers.setdefault(key, number)

    def _is_exact(self, key: LabelKey, since: int) -> bool:
        if since == self._vocabulary_number:
            return True
        old = self._vocabularies[since]
        exact = self.vocabulary.still_exact(key.facets, old)
        return exact and (key.governor is None or self.vocabulary.still_exact(key.governor, old))

    def _judge_again(self) -> None:
        self._numbers.clear()
        for number, label in list(self.labels.items()):
            exact = self._is_exact(label.key, self._since[number])
            self.labels[number] = replace(label, exact=exact)
            if exact:
                self._numbers.setdefault(label.key, number)
