"""The parts of a store that are not records, checked each by itself and against the log."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from taxii_server.catalog import digest_of, parse_catalog
from taxii_server.errors import ConfigError
from taxii_server.model import POSITION_UNIT
from taxii_server.policy import Facets, Vocabulary
from taxii_server.service.book import LABEL, MARKING, VOCABULARY, Flags
from taxii_server.service.events import EVENT, Event, read_event
from taxii_server.stix.kinds import is_id
from taxii_server.storage.bands import unpack
from taxii_server.storage.quarantine import STATES
from taxii_server.storage.whole import PARTS, Row, Snapshot

Progress = Callable[[str, int, int], None]
_TOLD_EVERY = 500
_KEPT = ("held", "releasing")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it has to be: in which part, where in it, what, and whether a repair sets it right."""

    part: str
    where: str
    what: str
    repairable: bool = False


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a check of the log found. `events` by number; `ranges` are their bands, ascending.

    `is_readable`: whether labels can be judged by this log.
    """

    length: int
    faults: tuple[Fault, ...]
    events: Mapping[int, Event]
    is_readable: bool

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The bands of the events, (first place, last place)."""
        return sorted((event.base, event.end) for event in self.events.values())


def check_log(rows: Iterable[Row]) -> LogReport:
    """Numbers without a gap, entries that can be read, events one behind the other."""
    faults: list[Fault] = []
    events: dict[int, Event] = {}
    vocabularies: set[int] = set()
    length, last, readable = 0, 0, True
    for raw_number, raw_kind, raw_payload in rows:
        number, kind, payload = int(str(raw_number)), str(raw_kind), str(raw_payload)
        if number != length + 1:
            faults.append(Fault("log", str(number), f"follows entry {length}: {number - length - 1} are missing"))
        length = number
        try:
            what = _read_entry(number, kind, payload, vocabularies, events)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what, readable = f"cannot be read ({kind}): {type(error).__name__}", False
        if what:
            faults.append(Fault("log", str(number), what))
        if number in events:
            event = events[number]
            if event.base <= last:
                faults.append(Fault("events", str(number), "its band does not lie behind the event before it"))
            last = max(last, event.end)
    return LogReport(length, tuple(faults), events, readable and bool(vocabularies or not length))


def _read_entry(number: int, kind: str, payload: str, vocabularies: set[int], events: dict[int, Event]) -> str:
    """What is wrong with an entry that can be read. Notes vocabularies and events."""
    if kind == LABEL:
        parts = orjson.loads(payload)
        for name in ("facets", "governor"):
            if parts.get(name) is not None:
                Facets.from_json(orjson.dumps(parts[name]).decode())
        Flags(parts["flags"])
        if parts["vocabulary"] not in vocabularies:
            raise ValueError("no such vocabulary")
    elif kind == VOCABULARY:
        Vocabulary.from_json(payload)
        vocabularies.add(number)
    elif kind == MARKING:
        orjson.loads(payload)
    elif kind == EVENT:
        event = events[number] = read_event(number, payload)
        if event.base % POSITION_UNIT or event.end < event.base:
            return "its band lies at no place that a position can have"
    else:
        return f"is of the kind {kind!r}, which this release does not know"
    return ""


def check_parts(snapshot: Snapshot, log: LogReport, progress: Progress, counts: dict[str, int]) -> list[Fault]:
    """Everything beside log, records and ledger, at one point in time that is not before that of the log."""
    faults: list[Fault] = []
    # Events that came since: read again, so that their bands are known.
    events = check_log(snapshot.rows("log")).events if snapshot.count("bands") else log.events
    checks: Mapping[str, Callable[[Iterator[Row]], Iterator[Fault]]] = {
        "bands": lambda rows: _bands(rows, events),
        "aliases": _aliases,
        "statuses": _statuses,
        "credentials": _credentials,
        "catalogs": _catalogs,
        "quarantine": _quarantine,
    }
    for part, check in checks.items():
        of = snapshot.count(part)
        faults += check(_counted(part, snapshot.rows(part), of, progress, counts))
    faults += _taken_twice(snapshot, events)
    return faults


def _counted(part: str, rows: Iterator[Row], of: int, progress: Progress, counts: dict[str, int]) -> Iterator[Row]:
    done = 0
    for row in rows:
        yield row
        done += 1
        if done % _TOLD_EVERY == 0:
            progress(part, done, max(of, done))
    counts[part] = done
    progress(part, done, done)


def _bands(rows: Iterator[Row], events: Mapping[int, Event]) -> Iterator[Fault]:
    places: dict[int, set[int]] = {}
    for row in rows:
        values: dict[str, Any] = dict(zip(PARTS["bands"], row, strict=True))
        number = int(str(values["event"]))
        where = f"{number} at {values['first']}"
        event = events.get(number)
        if event is None:
            yield Fault("events", where, "entries of an event that the log does not know")
            continue
        try:
            entries = unpack(values["entries"])
        except (zlib.error, ValueError) as error:
            yield Fault("events", where, f"its entries cannot be read: {error}")
            continue
        taken = places.setdefault(number, set())
        for what in _band_faults(values, entries, event, taken):
            yield Fault("events", where, what)
        taken.update(place for place, _ in entries)
    for number, event in events.items():
        if event.classes and event.end not in places.get(number, ()):
            yield Fault("events", str(number), "entries are missing: none stands at the end of its band")


def _band_faults(
    values: Mapping[str, Any], entries: list[tuple[int, int]], event: Event, taken: set[int]
) -> Iterator[str]:
    at = [place for place, _ in entries]
    positions = [position for _, position in entries]
    bounds = (values["first"], values["last"], values["low"], values["high"])
    if not entries or (at[0], at[-1], min(positions), max(positions)) != bounds:
        yield "its bounds are not those of its entries"
        return
    if at != sorted(set(at)) or not taken.isdisjoint(at):
        yield "its places are not one behind the other"
    if at[0] < event.base or at[-1] > event.end or any(place % POSITION_UNIT for place in at):
        yield "its places lie outside of its band"
    if any(not 0 < position < event.base for position in positions):
        yield "an entry leads to a record that does not lie before it"
    if not 0 <= int(values["class"]) < len(event.classes):
        yield "its class is none of the event's"


def _taken_twice(snapshot: Snapshot, events: Mapping[int, Event]) -> Iterator[Fault]:
    """Records at places that belong to an event."""
    ranges = sorted((event.base, event.end) for event in events.values())
    if not ranges:
        return
    starts = [base for base, _ in ranges]
    for position in snapshot.positions():
        place = bisect_right(starts, position) - 1
        if place >= 0 and position <= ranges[place][1]:
            yield Fault("records", str(position), "its position lies in the band of an event")


def _aliases(rows: Iterator[Row]) -> Iterator[Fault]:
    for id_, original in cast(Iterator[tuple[str, str]], rows):
        if not is_id(id_) or not is_id(original) or id_ == original:
            yield Fault("aliases", str(id_), f"is not the id of a copy of {original}")


def _statuses(rows: Iterator[Row]) -> Iterator[Fault]:
    for id_, _, _, body, _ in rows:
        try:
            fits = orjson.loads(bytes(body))["id"] == id_  # type: ignore[arg-type]
        except (ValueError, TypeError, KeyError):
            fits = False
        if not fits:
            yield Fault("statuses", str(id_), "its resource cannot be read, or is that of another one")


def _credentials(rows: Iterator[Row]) -> Iterator[Fault]:
    for id_, partner, kind, secret_hash, *_ in rows:
        if not (partner and kind and secret_hash):
            yield Fault("credentials", str(id_), "it has no partner, no kind or no secret")


def _catalogs(rows: Iterator[Row]) -> Iterator[Fault]:
    before: tuple[int, int] | None = None
    newest: Mapping[str, str] | None = None
    for row in rows:
        epoch, moment = int(str(row[0])), int(str(row[5]))
        if before is not None and epoch != before[0] + 1:
            yield Fault("catalogs", str(epoch), f"follows epoch {before[0]}")
        if before is not None and moment < before[1]:
            yield Fault("catalogs", str(epoch), "is judged for a moment before that of the epoch before it")
        before = epoch, moment
        try:
            newest = {str(name): str(text) for name, text in orjson.loads(str(row[4])).items()}
        except (ValueError, AttributeError):
            newest = None
            yield Fault("catalogs", str(epoch), "its files cannot be read")
            continue
        if digest_of(newest) != row[1]:
            yield Fault("catalogs", str(epoch), "its files are not those that were applied: they have another digest")
    if newest is not None and before is not None:
        try:
            parse_catalog(newest)
        except ConfigError as error:
            yield Fault("catalogs", str(before[0]), f"the configuration in force cannot be read: {error}")


def _quarantine(rows: Iterator[Row]) -> Iterator[Fault]:
    for row in rows:
        values: dict[str, Any] = dict(zip(PARTS["quarantine"], row, strict=True))
        where, state, content = str(values["id"]), values["state"], bytes(values["content"])
        if state not in STATES:
            yield Fault("quarantine", where, f"is in the state {state!r}, which is none")
        elif (state in _KEPT) != bool(content):
            yield Fault("quarantine", where, f"is {state}, and {'has' if content else 'has no'} content")
        elif content:
            try:
                fits = orjson.loads(content)["id"] == values["object_id"]
            except (ValueError, TypeError, KeyError):
                fits = False
            if not fits:
                yield Fault("quarantine", where, "its content is not the object that was held")
