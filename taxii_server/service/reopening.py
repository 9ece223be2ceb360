"""Writes that bring something into sight: an older version whose newest one goes or is marked down, and what
refers to an object of which nothing could be read so far (policy design, C9, C11 and C20).

Whoever polls has passed the place of what comes back. So the write makes an event of it: an older version that comes
back stands at the event for everybody, and so does what refers to an object that comes into sight, as far as that
depends on it: whoever had the object before may lose the version that he had it by, now or later, and what refers to it
stands at the event for him as well then. With it come the older versions that it governs.
Most writes bring nothing back: new objects, and new versions that are read by whoever read the old ones. Only what
the same submitter posted before is compared, so that the work of a post does not tell what others have hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from taxii_server.model import EventPlan, Record
from taxii_server.policy import Facets
from taxii_server.service.book import LabelKey
from taxii_server.service.events import EVERYBODY, EventClass, EventFacts
from taxii_server.service.newcomers import NOBODY, Newcomers
from taxii_server.service.versions import age
from taxii_server.storage.base import Inside, Plan

#: The audiences that read a record with these facets, the second those of the newest version where they differ,
#: and how much later than it comes, in µs.
Readers = Callable[[Facets, Facets | None], Mapping[str, int]]
#: Whom an event behind this place let read what has these facets.
Granted = Callable[[Facets, int], Collection[str]]
_EVERYBODY = EventClass(frozenset({EVERYBODY}))


@dataclass(slots=True)
class _Reopened:
    """What one write brings back."""

    #: positions of stored records, and for whom those come that do not come for everybody
    records: list[int] = field(default_factory=list)
    for_some: dict[int, EventClass] = field(default_factory=dict)
    #: ids that come into sight, and for whom what refers to them stands at the event
    ids: dict[str, EventClass] = field(default_factory=dict)
    #: numbers of the insertions that bring these ids into sight
    arrivals: list[int] = field(default_factory=list)
    #: ids of which nothing is left, or nothing but what one submitter posted
    gone: list[str] = field(default_factory=list)

    def show(self, id_: str, readers: EventClass = _EVERYBODY) -> None:
        """Let the id come into sight for these as well."""
        self.ids[id_] = readers.united(self.ids.get(id_, NOBODY))


def with_reopening(
    plan: Plan,
    present: Mapping[str, Sequence[Record]],
    key_of: Callable[[int], LabelKey | None],
    readers: Readers,
    shown: Collection[int] = (),
    quiet: Callable[[Inside], Collection[str]] = lambda inside: (),
    granted: Granted | None = None,
) -> Plan:
    """The plan, with the event that tells of what it brings back, if anything.

    `key_of` gives the key of a label; None for one that nobody reads. `shown`: positions of records that come back in
    any case. `quiet` gives the ids that may go without a word: nobody's sight or order depends on them.
    `granted` is None where no version governs another one.
    """

    def read_by(label: int) -> Mapping[str, int]:
        key = key_of(label)
        if key is None:
            return {}
        # The submitter reads its own in any case, and its own copy does not bring what others posted into its sight.
        return {
            audience: delay
            for audience, delay in readers(key.facets, key.governor).items()
            if audience != key.facets.submitter
        }

    found = _Reopened()
    groups: dict[tuple[str, str], list[Record]] = {}
    for id_, records in present.items():
        for record in records:
            groups.setdefault((id_, record.submitter), []).append(record)
    arrivals: dict[tuple[str, str], list[int]] = {}
    for number, (draft, _) in enumerate(plan.inserts):
        arrivals.setdefault((draft.id, draft.submitter), []).append(number)
    for key, records in groups.items():
        _look(key[0], records, arrivals.get(key, ()), plan, read_by, found)
        if granted is not None:
            _look_at_governor(key[0], records, plan, key_of, readers, granted, found)
    for id_, records in present.items():
        left = {record.submitter for record in records if record.position not in plan.deletes}
        if left == {record.submitter for record in records} or len(left) > 1:
            continue
        # Something unknown hides nothing (STIX 3.3), nor does what nobody else holds from whoever posted it.
        found.gone.append(id_)
        found.show(id_, EventClass(frozenset(left)) if left else _EVERYBODY)
    for id_, records in present.items():
        back = [record.position for record in records if record.position in shown]
        if back:
            found.records += [position for position in back if position not in found.records]
            found.show(id_)
    if not (found.records or found.for_some or found.ids):
        return plan
    return replace(plan, event=lambda inside: _event(inside, found, quiet(inside), key_of))


def _look(
    id_: str,
    records: Sequence[Record],
    inserted: Sequence[int],
    plan: Plan,
    read_by: Callable[[int], Mapping[str, int]],
    found: _Reopened,
) -> None:
    """Compare who reads something of these records of one submitter before and after the write."""
    moved = [record for record in records if record.position in plan.relabels]
    gone = [record for record in records if record.position in plan.deletes]
    if not (moved or gone or inserted):
        return
    before: dict[str, int] = {}
    for record in records:
        for audience, delay in read_by(record.label).items():
            before[audience] = min(delay, before.get(audience, delay))
    for record in moved:
        now = read_by(plan.relabels[record.position])
        if _is_more(now, read_by(record.label)):
            found.records.append(record.position)
            found.show(id_)
        elif _is_more(now, before):
            found.show(id_)
    for number in inserted:
        if _is_more(read_by(plan.inserts[number][1]), before):
            found.arrivals.append(number)
            found.show(id_)


def _look_at_governor(
    id_: str,
    records: Sequence[Record],
    plan: Plan,
    key_of: Callable[[int], LabelKey | None],
    readers: Readers,
    granted: Granted,
    found: _Reopened,
) -> None:
    """Bring back those of these records of one submitter that lose the newest version by the write, for those who could
    read that: it may have stood in their place, or brought them to the event since which it can be read, and who has
    passed where they stand without it would never get them."""
    versions = {age(record)[:2] for record in records}
    left = [record for record in records if record.position not in plan.deletes]
    if left and max(age(record)[:2] for record in left) < max(versions):
        key = key_of(max(records, key=age).label)
        # Who does not have it yet, or cannot have it, must not see that there was one.
        had = [] if key is None else [who for who, delay in readers(key.facets, key.governor).items() if not delay]
        for record in left:
            _bring(found, record, had)
        return
    for record in left:
        old = key_of(record.label) if record.position in plan.relabels else None
        if old is None or old.governor is None:
            continue
        new = key_of(plan.relabels[record.position])
        if new is None or new.governor != old.governor:
            _bring(found, record, granted(old.governor, record.position))


def _bring(found: _Reopened, record: Record, audiences: Collection[str]) -> None:
    """Let a stored record, and what refers to it, come for these."""
    if audiences:
        readers = EventClass(frozenset(audiences))
        found.for_some[record.position] = readers.united(found.for_some.get(record.position, NOBODY))
        found.show(record.id, readers)


def _is_more(now: Mapping[str, int], before: Mapping[str, int]) -> bool:
    """Whether somebody reads now what it did not, or not so early: it may have passed the place that was to come."""
    return any(delay < before.get(audience, delay + 1) for audience, delay in now.items())


def _event(
    inside: Inside, found: _Reopened, quiet: Collection[str], key_of: Callable[[int], LabelKey | None]
) -> EventPlan | None:
    gone = [id_ for id_ in found.gone if id_ not in quiet]
    come = Newcomers(key_of)
    for position in found.records:
        come.add(position, _EVERYBODY)
    for position, readers in found.for_some.items():
        come.add(position, readers)
    for id_, readers in found.ids.items():
        if id_ not in quiet:
            come.gain(id_, readers)

    def tell(facts: EventFacts, base: int, end: int, positions: Sequence[int]) -> str:
        opened = {*found.records, *found.for_some}
        return facts.payload(base, end, opened, [positions[number] for number in found.arrivals], gone)

    return come.event(inside, tell)
