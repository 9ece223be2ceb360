"""What the quarantine of every store does. Each store's tests inherit `QuarantineContract` and say how to open one.

The sentences are about the contract in taxii_server/storage/quarantine.py. Fixtures as in contract.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taxii_server.errors import StorageUnavailable
from taxii_server.storage.base import Store
from taxii_server.storage.quarantine import Entry, EntryQuery
from tests.storage.contract import StoreFactory
from tests.storage.samples import Clock, at_once, draft, insert, new_labels, object_id, query, read


def entry(number: int | str = "", **more: Any) -> Entry:
    """A new entry for the same object each time the number is the same."""
    one = draft(object_id(number, "identity"), **{k: v for k, v in more.items() if k in ("content", "version")})
    values: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "collection": one.collection,
        "submitter": one.submitter,
        "object_id": one.id,
        "type": one.type,
        "spec_version": one.spec_version,
        "version": one.version,
        "version_key": one.version_key,
        "digest": one.digest,
        "guard": "no-customers",
        "content": one.content,
        **more,
    }
    return Entry(**values)


def ids(found: list[Entry]) -> list[str]:
    return [each.id for each in found]


EVERY_METHOD: dict[str, Callable[[Store], object]] = {
    "hold": lambda store: store.quarantine.hold([entry(1)]),
    "find": lambda store: store.quarantine.find("north", "cert-north", [object_id(1)]),
    "entry": lambda store: store.quarantine.entry("x"),
    "page": lambda store: store.quarantine.page(EntryQuery(10)),
    "move": lambda store: store.quarantine.move("x", ["held"], "dropped", "me"),
}


class QuarantineContract:
    """Inherit, override `store_factory` and `break_driver`."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError

    @pytest.fixture
    def break_driver(self) -> Callable[[Store], None]:
        raise NotImplementedError

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Store:
        return store_factory()

    def test_a_new_database_holds_nothing(self, store: Store) -> None:
        assert store.quarantine.page(EntryQuery(10)) == []
        assert store.quarantine.entry("unknown") is None
        assert store.quarantine.find("north", "cert-north", [object_id(1)]) == []
        assert store.quarantine.find("north", "cert-north", []) == []
        assert store.quarantine.hold([]) == []

    def test_what_is_held_is_there_whole_for_every_store_of_the_database(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        first, second = store_factory(clock), store_factory()
        given = entry(1, content=bytes(range(256)), version=None, spec_version="2.0", guard="é\u200b")
        (kept,) = first.quarantine.hold([given])
        assert kept == replace(given, content=b"", held=clock.us)
        assert second.quarantine.entry(given.id) == replace(given, held=clock.us)
        assert second.quarantine.page(EntryQuery(10)) == [kept]
        assert second.quarantine.find(given.collection, given.submitter, [given.object_id]) == [kept]

    def test_it_survives_preparing_again(self, store: Store) -> None:
        (kept,) = store.quarantine.hold([entry(1)])
        store.prepare()
        assert store.quarantine.page(EntryQuery(10)) == [kept]

    def test_large_contents_are_kept(self, store: Store) -> None:
        large = [entry(number, content=bytes([number]) * 7_000_000) for number in range(4)]
        store.quarantine.hold(large)
        for each in large:
            found = store.quarantine.entry(each.id)
            assert found is not None
            assert found.content == each.content

    def test_it_is_no_record(self, store: Store) -> None:
        (label,) = new_labels(store, 1)
        (position,) = insert(store, label, draft(object_id(1, "identity")))
        store.quarantine.hold([entry(1), entry(2)])
        assert read(store, query(label)) == (position,)
        assert store.count_by_label() == {label: 1}
        assert store.lookup([object_id(2, "identity")]) == {}

    def test_the_same_content_is_held_once_whatever_its_state(self, store: Store) -> None:
        first = entry(1)
        (kept,) = store.quarantine.hold([first])
        again = replace(first, id=str(uuid.uuid4()), guard="another")
        assert store.quarantine.hold([again, again]) == [kept, kept]
        for state in ("releasing", "released"):
            moved = store.quarantine.move(first.id, ["held", "releasing"], state, "me")  # type: ignore[arg-type]
            assert store.quarantine.hold([again]) == [moved]
        assert store.quarantine.entry(again.id) is None

    def test_twice_in_one_call_is_once(self, store: Store) -> None:
        first = entry(1)
        kept = store.quarantine.hold([first, replace(first, id=str(uuid.uuid4()))])
        assert ids(kept) == [first.id, first.id]
        assert len(store.quarantine.page(EntryQuery(10))) == 1

    @pytest.mark.parametrize(
        "other", [{"collection": "south"}, {"submitter": "cert-south"}, {"digest": b"x"}, {"object_id": "identity--x"}]
    )
    def test_another_collection_submitter_content_or_object_is_another_entry(
        self, store: Store, other: dict[str, Any]
    ) -> None:
        first = entry(1)
        second = replace(first, id=str(uuid.uuid4()), **other)
        assert ids(store.quarantine.hold([first, second])) == [first.id, second.id]

    def test_posts_at_once_hold_it_once(self, store_factory: StoreFactory) -> None:
        stores = [store_factory() for _ in range(4)]
        one = entry(1)

        def hold(store: Store) -> Callable[[], list[Entry]]:
            return lambda: store.quarantine.hold([replace(one, id=str(uuid.uuid4()))])

        found = at_once(*(hold(store) for store in stores))
        assert len({each.id for (each,) in found}) == 1
        assert len(stores[0].quarantine.page(EntryQuery(10))) == 1

    def test_it_is_found_by_collection_submitter_and_object_oldest_first(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        store = store_factory(clock)
        newest, oldest = entry(1, content=b"2"), entry(1, content=b"1")
        store.quarantine.hold([entry(2), entry(1, collection="south"), entry(1, submitter="cert-south"), oldest])
        clock.us += 1
        store.quarantine.hold([newest])
        found = store.quarantine.find("north", "cert-north", [object_id(1, "identity"), object_id(3, "identity")])
        assert ids(found) == [oldest.id, newest.id]

    def test_many_ids_are_one_question(self, store: Store) -> None:
        (kept,) = store.quarantine.hold([entry(1)])
        wanted = [object_id() for _ in range(60_000)]
        assert store.quarantine.find("north", "cert-north", [*wanted, kept.object_id]) == [kept]

    def test_a_page_goes_on_after_the_last_one_oldest_first(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        store = store_factory(clock)
        held: list[Entry] = []
        for each in range(4):
            held += store.quarantine.hold([entry(f"{each}{twice}") for twice in range(2)])
            clock.us += 1
        wanted = sorted(held, key=lambda one: (one.held, one.id))
        seen: list[Entry] = []
        after = None
        while page := store.quarantine.page(EntryQuery(3, after=after)):
            seen += page
            after = (page[-1].held, page[-1].id)
        assert seen == wanted

    def test_a_page_holds_what_was_asked_for(self, store: Store) -> None:
        south, alice, both = entry(1, collection="south"), entry(2, submitter="alice"), entry(3, submitter="bob")
        store.quarantine.hold([south, alice, both])
        store.quarantine.move(both.id, ["held"], "dropped", "me")
        page = store.quarantine.page
        assert set(ids(page(EntryQuery(9, collection="north")))) == {alice.id, both.id}
        assert ids(page(EntryQuery(9, collection="north", submitter="alice"))) == [alice.id]
        assert ids(page(EntryQuery(9, submitter="bob"))) == [both.id]
        assert ids(page(EntryQuery(9, collection="north", states=("held",)))) == [alice.id]
        assert set(ids(page(EntryQuery(9, states=("held", "released"))))) == {south.id, alice.id}
        assert page(EntryQuery(9, states=())) == []

    def test_a_move_tells_who_and_when(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        store = store_factory(clock)
        (kept,) = store.quarantine.hold([entry(1)])
        clock.us += 5
        moved = store.quarantine.move(kept.id, ["held"], "releasing", "bt (token 7)")
        assert moved == replace(kept, state="releasing", decided=clock.us, decided_by="bt (token 7)")
        found = store.quarantine.entry(kept.id)
        assert found is not None
        assert found.content
        assert replace(found, content=b"") == moved

    def test_a_move_from_another_state_changes_nothing(self, store: Store) -> None:
        (kept,) = store.quarantine.hold([entry(1)])
        assert store.quarantine.move(kept.id, ["releasing", "dropped"], "released", "me", erase=True) is None
        assert store.quarantine.move("unknown", ["held"], "released", "me") is None
        found = store.quarantine.entry(kept.id)
        assert found is not None
        assert (found.state, found.decided_by, bool(found.content)) == ("held", "", True)

    def test_what_is_erased_is_gone_and_the_rest_stays(self, store: Store) -> None:
        (kept,) = store.quarantine.hold([entry(1)])
        moved = store.quarantine.move(kept.id, ["held"], "dropped", "me", erase=True)
        assert moved is not None
        assert store.quarantine.entry(kept.id) == moved
        assert (moved.content, moved.digest, moved.object_id) == (b"", kept.digest, kept.object_id)

    def test_of_two_moves_at_once_one_happens(self, store_factory: StoreFactory) -> None:
        stores = [store_factory(), store_factory()]
        for number in range(10):
            (kept,) = stores[0].quarantine.hold([entry(number)])
            found = at_once(
                lambda kept=kept: stores[0].quarantine.move(kept.id, ["held"], "dropped", "a", erase=True),
                lambda kept=kept: stores[1].quarantine.move(kept.id, ["held"], "releasing", "b"),
            )
            assert [each is None for each in found].count(True) == 1

    @pytest.mark.parametrize("method", EVERY_METHOD)
    def test_a_driver_error_becomes_one_of_ours(
        self, store: Store, break_driver: Callable[[Store], None], method: str
    ) -> None:
        break_driver(store)
        with pytest.raises(StorageUnavailable) as raised:
            EVERY_METHOD[method](store)
        assert raised.value.__cause__ is not None
