"""What every store does with events, references and aliases of copies. Part of the contract suite."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import pytest

from taxii_server.model import POSITION_UNIT, EventPlan
from taxii_server.storage.bands import CHUNK
from taxii_server.storage.base import Inside, Plan, Store
from taxii_server.times import now_position
from tests.storage.samples import Clock, draft, insert, insert_each, new_labels, object_id, positions, query, read

Entries = Sequence[tuple[int, int]]


class StoreFactory(Protocol):
    """As in contract.py."""

    def __call__(self, now: Callable[[], int] = now_position) -> Store: ...


def event_of(entries: Entries, word: str = "it happened") -> EventPlan:
    """An event whose payload tells base, end and the positions of the insertions."""

    def payload(base: int, end: int, inserted: Sequence[int]) -> str:
        return json.dumps([word, base, end, list(inserted)])

    return EventPlan(entries, payload)


def happen(store: Store, entries: Entries, word: str = "it happened", inserts: int = 0) -> tuple[int, int, int]:
    """Write such an event; its log number, base and end."""
    (label,) = new_labels(store, 1)
    drafts = [(draft(), label) for _ in range(inserts)]
    store.write([], lambda present, length: Plan(inserts=drafts, event=lambda inside: event_of(entries, word)))
    entry = store.log_after(0)[-1]
    assert entry.kind == "event"
    _, base, end, _ = json.loads(entry.payload)
    return entry.number, base, end


class EventsContract:
    """Inherited by StoreContract."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Store:
        return store_factory()

    @pytest.fixture
    def label(self, store: Store) -> int:
        return new_labels(store, 1)[0]

    # ---- the place of an event

    def test_an_event_lies_behind_what_was_there_and_what_comes_with_it(self, store: Store, label: int) -> None:
        before = insert(store, label, draft(), draft())
        number, base, end = happen(store, [(0, before[1]), (0, before[0])], inserts=2)
        (entry,) = store.log_after(number - 1)
        inserted = json.loads(entry.payload)[3]
        assert before[-1] < inserted[0] < inserted[1] < base
        assert store.clock() == end
        assert end - base in (POSITION_UNIT, 2 * POSITION_UNIT, 3 * POSITION_UNIT)
        assert store.state().log_length == number

    def test_an_event_without_entries_takes_one_place(self, store: Store, label: int) -> None:
        (before,) = insert(store, label, draft())
        _, base, end = happen(store, [])
        assert before < base == end == store.clock()

    def test_places_are_multiples_of_the_unit(self, store_factory: StoreFactory) -> None:
        clock = Clock(1_000_000_000_000_001)
        store = store_factory(now=clock)
        (label,) = new_labels(store, 1)
        given = insert(store, label, *(draft() for _ in range(20)))
        _, base, end = happen(store, [(0, position) for position in given])
        assert not [place for place in (*given, base, end, store.clock(), store.tick()) if place % POSITION_UNIT]

    def test_every_page_tells_of_an_event(self, store: Store, label: int) -> None:
        insert(store, label, draft())
        number, _, _ = happen(store, [])
        assert store.page(query(label)).horizon == number

    def test_whatever_the_event_raises_leaves_nothing(self, store: Store, label: int) -> None:
        (kept,) = insert(store, label, draft("indicator--00000000-0000-4000-8000-000000000001"))
        before = store.state(), store.clock()

        def fail(inside: Inside) -> EventPlan:
            raise KeyError("no")

        with pytest.raises(KeyError):
            store.write([], lambda present, length: Plan([(draft(), label)], {kept: label}, [kept], fail))
        assert (store.state(), store.clock()) == before
        assert read(store, query(label)) == (kept,)

    def test_an_event_that_does_not_happen_changes_nothing_else(self, store: Store, label: int) -> None:
        before = store.state()
        given = store.write([], lambda present, length: Plan([(draft(), label)], event=lambda inside: None))
        assert read(store, query(label)) == given
        assert store.state() == replace(before, clock=given[0])

    def test_a_catalog_and_its_event_come_together(self, store: Store, label: int) -> None:
        seen: list[tuple[int, int]] = []

        def plan(inside: Inside) -> EventPlan:
            seen.append((inside.epoch, inside.log_length))
            return event_of([])

        store.apply_catalog({"a": "1"}, "1", "root", event=plan)
        store.apply_catalog({"a": "1"}, "1", "root", event=plan)
        store.apply_catalog({"a": "2"}, "2", "root", event=plan)
        assert seen == [(0, 1), (1, 2)]
        assert [entry.kind for entry in store.log_after(1)] == ["event", "event"]

    def test_a_later_moment_is_another_epoch_and_never_goes_back(self, store: Store) -> None:
        assert store.apply_catalog({"a": "1"}, "1", "root", moment=5).moment == 5
        assert store.apply_catalog({"a": "1"}, "1", "root", moment=5).epoch == 1
        assert store.apply_catalog({"a": "1"}, "1", "root", moment=9).epoch == 2
        applied = store.apply_catalog({"a": "2"}, "2", "root", moment=7)
        assert (applied.epoch, applied.moment) == (3, 9)
        assert store.catalog() == applied

    # ---- what an event sees

    def test_an_event_sees_the_records_as_the_write_leaves_them(self, store: Store) -> None:
        old, new = new_labels(store, 2)
        gone, moved, kept = insert(store, old, draft(), draft(), draft())
        seen: list[tuple[int, ...]] = []

        def look(inside: Inside) -> None:
            seen.extend(positions(inside.records(query(label))) for label in (old, new))
            seen.append(positions(inside.records(query(old, new, limit=1))))

        store.write([], lambda present, length: Plan(relabels={moved: new}, deletes=[gone], event=look))
        assert seen[-3:] == [(kept,), (moved,), (moved,)]

    def test_an_event_looks_up_ids_as_the_write_leaves_them(self, store: Store) -> None:
        old, new = new_labels(store, 2)
        one, other = object_id(), object_id()
        gone, moved = insert(store, old, draft(one), draft(one))
        seen: dict[str, list[tuple[int, int]]] = {}

        def look(inside: Inside) -> None:
            found = inside.lookup([one, other, object_id()])
            seen.update((id_, [(each.position, each.label) for each in records]) for id_, records in found.items())

        (added,) = store.write(
            [], lambda present, length: Plan([(draft(other), new)], relabels={moved: new}, deletes=[gone], event=look)
        )
        assert seen == {one: [(moved, new)], other: [(added, new)]}

    # ---- bands

    def test_a_band_gives_the_entries_of_some_classes_in_order(self, store: Store) -> None:
        number, base, end = happen(store, [(0, 70), (1, 50), (0, 60), (2, 10)])
        places = [place for place, _ in store.band(number, [0, 1, 2], 0, 10)]
        assert (places[0], places[-1]) == (base, end)
        assert places == sorted(set(places))
        assert store.band(number, [0], 0, 10) == [(places[0], 70), (places[2], 60)]
        assert store.band(number, [0, 1, 2], 0, 3) == list(zip(places, (70, 50, 60), strict=False))
        assert store.band(number, [0, 1], places[0], 10) == [(places[1], 50), (places[2], 60)]
        assert store.band(number, [0], places[2], 10) == store.band(number, [], 0, 10) == []
        assert store.band(number + 1, [0], 0, 10) == []

    def test_a_long_band_is_read_page_by_page(self, store: Store) -> None:
        entries = [(n % 3, 1000 + n) for n in range(3 * CHUNK + 100)]
        number, base, end = happen(store, entries)
        expected = [position for kind, position in entries if kind != 1]
        found: list[tuple[int, int]] = []
        while some := store.band(number, [0, 2], found[-1][0] if found else 0, 700):
            found += some
        assert [position for _, position in found] == expected
        places = [place for place, _ in found]
        assert base <= places[0] < places[-1] <= end
        assert places == sorted(set(places))
        assert {later - earlier for earlier, later in pairwise(places)} > {POSITION_UNIT, 3 * POSITION_UNIT}

    def test_the_place_of_a_record_in_an_event(self, store: Store) -> None:
        entries = [(n % 2, 5000 - n) for n in range(2 * CHUNK + 10)]
        number, base, _ = happen(store, entries)
        (_, second) = (place for place, _ in store.band(number, [0, 1], 0, 2))
        assert store.places(number, [0, 1], [5000, 4999, 1]) == {5000: base, 4999: second}
        assert store.places(number, [0], [5000, 4999]) == {5000: base}
        assert store.places(number, [0], []) == store.places(number + 1, [0], [5000]) == {}

    # ---- records by position

    def test_records_at_positions_come_in_the_order_asked(self, store: Store, label: int) -> None:
        given = insert(store, label, *(draft(content=b"x" * 10) for _ in range(4)))
        wanted = [given[2], given[0], given[0] + 1, given[3]]
        records, cut = store.records_at(wanted)
        assert positions(records) == (given[2], given[0], given[3])
        assert not cut
        assert all(record.content == b"x" * 10 for record in records)
        assert [record.content for record in store.records_at(wanted, content=False)[0]] == [b""] * 3
        assert store.records_at([]) == ([], False)

    @pytest.mark.parametrize("backwards", [False, True])
    def test_a_limit_of_bytes_cuts_records_short_and_never_to_nothing(
        self, store: Store, label: int, backwards: bool
    ) -> None:
        given = insert(store, label, *(draft(content=b"x" * 100) for _ in range(6)))
        todo = list(reversed(given)) if backwards else list(given)
        found: list[int] = []
        while todo:
            records, cut = store.records_at(todo, limit_bytes=150)
            assert records
            found += positions(records)
            rest = todo[todo.index(records[-1].position) + 1 :]
            assert cut or not rest
            todo = rest
        assert found == (list(reversed(given)) if backwards else list(given))

    # ---- references

    def test_records_are_found_by_what_they_refer_to(self, store: Store, label: int) -> None:
        a, b, c = (object_id(f"target {n}") for n in "abc")
        drafts = [draft(hard_refs=(a,)), draft(soft_refs=(a, b)), draft(hard_refs=(b,), soft_refs=(a,)), draft()]
        given = insert(store, label, *drafts)
        assert positions(store.referrers([a])) == given[:3]
        assert positions(store.referrers([b, c])) == given[1:3]
        assert store.referrers([c]) == store.referrers([]) == []
        (first, *_) = store.referrers([a])
        assert (first.hard_refs, first.content, first.label) == ((a,), b"", label)
        store.write([], lambda present, length: Plan(deletes=[given[1]]))
        assert positions(store.referrers([a])) == (given[0], given[2])

    def test_long_lists_of_references_are_found_as_well(self, store: Store, label: int) -> None:
        many = tuple(object_id(f"many {n}") for n in range(300))
        given = insert(store, label, draft(soft_refs=many), draft(hard_refs=many), draft(hard_refs=many[:1]))
        assert positions(store.referrers(many[-1:])) == given[:2]
        assert positions(store.referrers(many[:1])) == given
        assert store.lookup([store.referrers(many[-1:])[0].id])[store.referrers(many[-1:])[0].id][0].soft_refs == many

    # ---- the clock

    def test_the_clock_is_the_last_place_and_a_tick_moves_it_to_the_present(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        store = store_factory(now=clock)
        (label,) = new_labels(store, 1)
        (position,) = insert(store, label, draft())
        assert store.clock() == position
        assert store.present() == clock.us
        clock.us += 5_000_000
        assert store.clock() == position
        assert store.tick() == store.clock() >= clock.us
        (later,) = insert(store, label, draft())
        assert later > store.clock() - 1
        clock.us -= 60_000_000
        assert store.tick() == store.clock() == later

    def test_nothing_is_added_at_or_below_a_tick_while_another_writes(self, store_factory: StoreFactory) -> None:
        writer, reader = store_factory(), store_factory()
        (label,) = new_labels(writer, 1)
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                insert_each(writer, [(draft(), label)])

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(20):
                place = reader.tick()
                seen = read(reader, query(label, after=0))
                below = [position for position in seen if position <= place]
                again = [position for position in read(reader, query(label, after=0)) if position <= place]
                assert below == again
        finally:
            stop.set()
            thread.join(30)

    def test_a_page_ends_before_a_place(self, store: Store, label: int) -> None:
        given = insert(store, label, *(draft() for _ in range(4)))
        assert read(store, query(label, before=given[2])) == given[:2]
        assert read(store, query(label, after=given[0], before=given[3])) == given[1:3]
        assert read(store, query(label, after=given[0], before=given[0])) == ()

    # ---- aliases

    def test_the_id_of_a_copy_leads_to_its_original(self, store_factory: StoreFactory) -> None:
        store, other = store_factory(), store_factory()
        store.save_aliases({"copy--1": "original--1", "copy--2": "original--2"})
        store.save_aliases({"copy--1": "another"})
        store.save_aliases({})
        assert other.aliases(["copy--1", "copy--3", "original--1"]) == {"copy--1": "original--1"}
        assert other.aliases([]) == {}
