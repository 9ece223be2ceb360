"""Whether a store holds what it was given: every record against its own text, and every part against the others.

Runs beside a live server: reads portions, each at one point in time, and takes no lock. What can be derived from the
stored text (labels, version flags, references, types and versions) can be repaired, by the same transactions that a
POST makes: running servers follow, and who polls gets what comes into sight by it. What cannot be derived is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from taxii_server.errors import BadContent, InvalidObject, StorageError
from taxii_server.model import POSITION_UNIT, Record, Traits
from taxii_server.policy import Facets
from taxii_server.service.book import Book, Label, LabelKey
from taxii_server.service.checking import check
from taxii_server.service.filling import fill_terms
from taxii_server.service.posting import Writer
from taxii_server.service.verify_parts import Fault, LogReport, check_log, check_parts
from taxii_server.service.versions import keys_of
from taxii_server.stix.canonical import digest
from taxii_server.stix.parse import read_object
from taxii_server.stix.references import read_references
from taxii_server.stix.structure import read_id, read_type, read_version
from taxii_server.stix.traits import read_traits
from taxii_server.stix.validate import read_spec_version
from taxii_server.storage.base import Store
from taxii_server.storage.inspection import Found
from taxii_server.times import format_position, instant_key

#: Ids of one portion.
PORTION = 200
Progress = Callable[[str, int, int], None]


def _silent(part: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. `counts`: how many of each part were looked at.

    `pending`: records whose labels wait for being made finer, which a change of the policy that broke off leaves
    behind: the policy in force does not need it. `unfilled`: filters look at some records one by one, those of an older
    database; a running server, or `repair`, reads once what they are found by.
    """

    counts: Mapping[str, int]
    faults: tuple[Fault, ...]
    pending: int = 0
    unfilled: bool = False

    @property
    def repairable(self) -> tuple[Fault, ...]:
        """Those that `repair` sets right."""
        return tuple(fault for fault in self.faults if fault.repairable)


@dataclass(slots=True)
class _Todo:
    """What a repair has to do."""

    #: records whose columns or references are to be written anew
    mend: list[Record] = field(default_factory=list)
    #: ids whose records need other labels
    relabel: set[str] = field(default_factory=set)
    #: positions of records that others may come to see because their references were wrong
    shown: set[int] = field(default_factory=set)
    #: whether something is to be mended that is no record
    oddities: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """A record, as it should be by its text (as it is, where that cannot be said), and the traits of the text."""

    record: Record
    traits: Traits | None


class Verifier:
    """Checks one store. The store need not be prepared; nothing is written before `repair`."""

    def __init__(self, store: Store, progress: Progress = _silent) -> None:
        self._store = store
        self._book = Book(store)
        self._progress = progress
        self._todo = _Todo()
        #: positions off the grid, and how many are on it
        self._odd: list[int] = []
        self._even = 0

    # ---- checking

    def check(self) -> Report:
        """Check everything. Raises StorageError when the store cannot be read."""
        self._todo = todo = _Todo()
        store = self._store
        counts: dict[str, int] = {}
        with store.whole.snapshot() as snapshot:
            log = check_log(snapshot.rows("log"))
            total = snapshot.count("records")
        counts["log"] = log.length
        faults = list(log.faults)
        highest, pending = 0, 0
        if log.is_readable:
            self._book.sync()
            for part, found in self._records(total, counts):
                faults += found
                highest, pending = max(highest, part[0]), pending + part[1]
        clock = store.clock()
        highest = max([highest, *(end for _, end in log.ranges)])
        if highest > clock:
            what = f"says {format_position(clock)}, but a place is taken at {format_position(highest)}"
            faults.append(Fault("clock", "clock", what))
        with store.whole.snapshot() as snapshot:
            faults += check_parts(snapshot, log, self._progress, counts)
        for oddity in store.inspection.oddities():
            faults.append(Fault(oddity.part, oddity.where, oddity.what, oddity.is_mended))
            todo.oddities |= oddity.is_mended
        of = store.ledger.count()
        finding = check(store, (), lambda done: self._progress("ledger", done, of))
        counts["ledger"] = finding.entries
        faults += (Fault("ledger", f"{each.strand} {each.number}", each.what) for each in finding.faults)
        faults += self._odd_positions()
        return Report(counts, tuple(faults), pending, self._lacks_terms())

    def _lacks_terms(self) -> bool:
        try:
            return bool(self._store.unfilled(1))
        except StorageError:
            return False  # a database that this release has not prepared yet

    def _records(self, total: int, counts: dict[str, int]) -> Iterator[tuple[tuple[int, int], list[Fault]]]:
        """For each portion its highest position, how many labels are pending, and its faults."""
        self._odd, self._even = [], 0
        after, done = "", 0
        while ids := self._store.inspection.ids(after, PORTION):
            after = ids[-1]
            found = self._known(ids)
            faults: list[Fault] = []
            pending = 0
            for id_, group in groupby(found, key=lambda each: each.record.id):
                some, waiting = self._group(id_, list(group))
                faults += some
                pending += waiting
            done += len(found)
            counts["records"] = done
            self._progress("records", done, max(total, done))
            yield (max((each.record.position for each in found), default=0), pending), faults
        counts.setdefault("records", 0)

    def _known(self, ids: Sequence[str]) -> list[Found]:
        """The records of these ids, after reading the log that their labels stand in."""
        found = self._store.inspection.records(ids)
        if any(each.record.label not in self._book.labels for each in found):
            self._book.sync()
            found = self._store.inspection.records(ids)
            self._book.sync()
        return found

    def _group(self, id_: str, found: Sequence[Found]) -> tuple[list[Fault], int]:
        """The faults of all records of one id, and how many of them have labels that are pending."""
        faults: list[Fault] = []
        reads: list[_Read] = []
        for each in found:
            position = each.record.position
            if position % POSITION_UNIT:
                self._odd.append(position)
            else:
                self._even += 1
            read, whats = read_record(each)
            reads.append(read)
            mendable = read.traits is not None
            # Once for each record, whatever is wrong with it: the list is read by a person.
            faults += (Fault("records", f"{position} {id_}", what, mendable) for what in whats)
            if mendable and whats:
                self._todo.mend.append(read.record)
                self._todo.relabel |= {id_, read.record.id}
                if read.record.hard_refs != each.record.hard_refs or read.record.soft_refs != each.record.soft_refs:
                    self._todo.shown.add(position)
            if mendable and not each.is_found and not whats:
                self._todo.mend.append(read.record)
                self._todo.shown.add(position)
                what = "is not found by what it refers to"
                faults.append(Fault("references", f"{position} {id_}", what, repairable=True))
        wrong, pending = self._wrong_labels(reads)
        for position, what, repairable in wrong:
            faults.append(Fault("labels", f"{position} {id_}", what, repairable))
            if repairable:
                self._todo.relabel.add(id_)
        return faults, pending

    def _wrong_labels(self, reads: Sequence[_Read]) -> tuple[list[tuple[int, str, bool]], int]:
        wrong: list[tuple[int, str, bool]] = []
        pending = 0
        traits = {read.record.position: read.traits for read in reads}
        by_edition: dict[int, dict[int, LabelKey]] = {}

        def expected(edition: int) -> dict[int, LabelKey]:
            if edition not in by_edition:
                by_edition[edition] = keys_of([read.record for read in reads], self._facets(traits, edition))
            return by_edition[edition]

        unreadable = [p for p, each in traits.items() if each is None]
        if any(read.record.label not in self._book.labels for read in reads if read.traits is None):
            # Without the text and without the label nobody knows what the others are governed by.
            return [(p, "has a label that the log does not know, and no readable text", False) for p in unreadable], 0
        for read in reads:
            position = read.record.position
            label = self._book.labels.get(read.record.label)
            if label is None:
                wrong.append((position, f"has the label {read.record.label}, which the log does not know", True))
            elif label.key != expected(self._book.edition)[position]:
                own = expected(self._book.edition_of(label))[position]
                if label.key != own:
                    wrong.append((position, _difference(label.key, expected(self._book.edition)[position]), True))
                elif not label.exact or _but_for_releases(label, expected(self._book.edition)[position]):
                    pending += 1
                else:
                    wrong.append((position, "has a label that is too coarse for the vocabulary in force", True))
        return wrong, pending

    def _facets(self, traits: Mapping[int, Traits | None], edition: int) -> Callable[[Record], Facets]:
        vocabulary = self._book.vocabularies[edition]

        def facets_of(record: Record) -> Facets:
            own = traits[record.position]
            return self._book.labels[record.label].key.facets if own is None else vocabulary.project(own)

        return facets_of

    def _odd_positions(self) -> Iterable[Fault]:
        """Positions off the grid. Records of a database of the first schema may have them, then nearly all of them."""
        odd = sorted(self._odd)
        if len(odd) <= self._even:
            for position in odd:
                yield Fault("records", str(position), f"its position is not a multiple of {POSITION_UNIT}")

    # ---- repairing

    def repair(self, writer: Writer) -> None:
        """Set right what the last check found and what can be derived. Check again afterwards."""
        todo = self._todo
        fill_terms(self._store)
        for start in range(0, max(len(todo.mend), 1), PORTION):
            some = todo.mend[start : start + PORTION]
            if some or todo.oddities:
                self._store.inspection.mend(some)
        ids = sorted(todo.relabel | {record.id for record in todo.mend})
        for start in range(0, len(ids), PORTION):
            writer.labelling.relabel_by(ids[start : start + PORTION], self._traits, frozenset(todo.shown))
            self._progress("repairing", min(start + PORTION, len(ids)), len(ids))

    def _traits(self, ids: Sequence[str]) -> dict[int, Traits]:
        reads = (read_record(found)[0] for found in self._store.inspection.records(ids))
        return {read.record.position: read.traits for read in reads if read.traits is not None}


def read_record(found: Found) -> tuple[_Read, list[str]]:
    """The record as it should be by its text, and in which ways it is not. Without traits nothing can be derived."""
    record = found.record
    try:
        value = read_object(record.content)
    except BadContent as error:
        return _Read(record, None), [f"its text cannot be read: {error}"]
    if digest(value) != record.digest:
        return _Read(record, None), ["its text is not the one that was posted: it has another digest"]
    try:
        derived, spec_version = _derived(record, value)
    except (InvalidObject, ValueError, TypeError) as error:
        return _Read(record, None), [f"its text is not the STIX object that was checked: {error}"]
    whats = [
        f"{name} is {_short(getattr(record, name))}, its text says {_short(getattr(derived, name))}"
        for name in ("id", "type", "version", "version_key", "hard_refs", "soft_refs")
        if getattr(record, name) != getattr(derived, name)
    ]
    if spec_version != record.spec_version and "spec_version" in value:
        what = f"spec_version is {_short(record.spec_version)}, its text says {_short(spec_version)}"
        return _Read(record, None), [what]
    if found.unreadable and not whats:
        whats.append(found.unreadable)
    traits = read_traits(
        value, collection=record.collection, submitter=record.submitter, spec_version=record.spec_version
    )
    return _Read(derived, traits), whats


def _derived(record: Record, value: dict[str, Any]) -> tuple[Record, str]:
    of_type = read_type(value)
    version, version_key = read_version(value)
    if version is None or version_key is None:  # an observable: its version is its position
        version = format_position(record.position)
        version_key = instant_key(version)
    hard_refs, soft_refs = read_references(value)
    derived = record._replace(
        id=read_id(value, of_type),
        type=of_type,
        version=version,
        version_key=version_key,
        hard_refs=hard_refs,
        soft_refs=soft_refs,
    )
    return derived, read_spec_version(value, None)


def _difference(found: LabelKey, expected: LabelKey) -> str:
    if found.facets != expected.facets:
        names = [n for n in found.facets.__slots__ if getattr(found.facets, n) != getattr(expected.facets, n)]
        return f"its label does not fit its text ({', '.join(names)})"
    if found.governor != expected.governor:
        return "its label names another newest version"
    return f"its label has the flags {found.flags!r}, it stands at {expected.flags!r}"


def _but_for_releases(label: Label, expected: LabelKey) -> bool:
    """A label that does not know of a release hides more, never less; the next change of the policy makes it anew."""
    bare = [
        (
            replace(key.facets, releases=()),
            key.governor and replace(key.governor, releases=()),
            key.flags,
        )
        for key in (label.key, expected)
    ]
    return bare[0] == bare[1]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


__all__ = ["Fault", "LogReport", "Report", "Verifier", "read_record"]
