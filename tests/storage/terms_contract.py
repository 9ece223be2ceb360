"""What every store does with terms: pages of what has one of them, and records whose terms are not known yet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import pytest

from taxii_server.model import Draft, PageQuery
from taxii_server.storage.base import Plan, Store
from tests.storage.samples import draft, insert, new_labels, object_id, planning, positions, query, read


class StoreFactory(Protocol):
    """As in contract.py."""

    def __call__(self, now: Callable[[], int] = ...) -> Store: ...


def having(*terms: int, number: int | str = "", type_: str = "indicator", **more: object) -> Draft:
    """A draft that is found by these terms."""
    return replace(draft(object_id(number, type_), **more), terms=terms)  # type: ignore[arg-type]


def asking(asked: PageQuery, terms: Mapping[int, tuple[int, ...]]) -> PageQuery:
    """The query, for records with these terms."""
    return replace(asked, terms=terms)


class TermsContract:
    """What the suites of both stores inherit."""

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Store:
        return store_factory()

    def test_a_page_has_what_has_one_of_the_terms_once_and_in_order(self, store: Store) -> None:
        (label,) = new_labels(store)
        places = insert(store, label, having(100), having(100, 200), having(300), having(200), having())
        assert read(store, asking(query(label), {label: (100,)})) == places[:2]
        assert read(store, asking(query(label), {label: (100, 200)})) == (places[0], places[1], places[3])
        assert read(store, asking(query(label), {label: (200, 300)})) == places[1:4]
        assert read(store, asking(query(label), {label: (400,)})) == ()
        assert read(store, asking(query(label), {label: ()})) == ()

    def test_terms_are_asked_of_each_label_by_itself(self, store: Store) -> None:
        first, second, third, fourth = new_labels(store, 4)
        places = {label: insert(store, label, having(100), having(200)) for label in (first, second, third, fourth)}
        asked = asking(query(first, second, third), {first: (100,), second: (200,)})
        # The third has no condition, the fourth is not asked for.
        assert read(store, asked) == (places[first][0], places[second][1], *places[third])
        assert read(store, asking(query(first, second, third), {first: (), second: (100,)})) == (
            places[second][0],
            *places[third],
        )

    def test_terms_page_by_page_between_two_places(self, store: Store) -> None:
        labels = new_labels(store, 3)
        places = [insert(store, labels[n % 3], having(100 + n % 2))[0] for n in range(30)]
        terms = dict.fromkeys(labels, (101,))
        expected = places[1::2]
        page = store.page(asking(query(*labels, limit=4, after=places[3]), terms))
        assert positions(page.records) == tuple(expected[2:6])
        bounded = asking(query(*labels, after=places[3], before=places[9]), terms)
        assert read(store, bounded) == tuple(expected[2:4])
        assert page.horizon == 3

    def test_terms_and_the_other_filters(self, store: Store) -> None:
        (label,) = new_labels(store)
        old = "2010-01-01T00:00:00.000Z"
        drafts = [
            having(100, number=1),
            having(100, number=2, type_="malware"),
            having(100, number=3, spec_version="2.0"),
            having(100, number=4, version=old),
        ]
        places = insert(store, label, *drafts)
        terms = {label: (100,)}
        assert read(store, asking(query(label, types=("malware",)), terms)) == places[1:2]
        assert read(store, asking(query(label, types=("malware",), limit=1), terms)) == places[1:2]
        assert read(store, asking(query(label, spec_versions=("2.0",)), terms)) == places[2:3]
        # Where ids or versions lead to few records, their terms may be passed over: the reader looks at them anyway.
        assert set(places[3:]) <= set(read(store, asking(query(label, ids=(drafts[3].id,)), terms)))
        keys = (drafts[3].version_key or "",)
        assert set(places[3:]) <= set(read(store, asking(query(label, version_keys=keys), terms)))

    def test_many_terms_and_labels_give_the_same_as_few(self, store: Store) -> None:
        labels = new_labels(store, 30)
        random_ = random.Random(1)
        drafts = [having(*random_.sample(range(100, 160), 3)) for _ in range(120)]
        placed = [
            (insert(store, label, each)[0], label, each.terms or ())
            for each in drafts
            for label in random_.sample(labels, 1)
        ]
        for count in (1, 5, 12, 20, 60):
            wanted = tuple(range(100, 100 + count))
            for limit in (7, 1000):
                asked = asking(query(*labels, limit=limit), dict.fromkeys(labels, wanted))
                expected = [place for place, _, terms in placed if set(wanted).intersection(terms)]
                assert read(store, asked) == tuple(expected[:limit]), (count, limit)
            walked = asking(query(*labels), dict.fromkeys(labels[:-2], wanted))
            some = [place for place, label, terms in placed if label in labels[-2:] or set(wanted).intersection(terms)]
            assert read(store, walked) == tuple(some), count

    def test_terms_follow_the_label_and_go_with_the_record(self, store: Store) -> None:
        first, second = new_labels(store, 2)
        drafts = having(100, number=1), having(100, number=2)
        places = insert(store, first, *drafts)
        store.write([drafts[0].id], planning(Plan(relabels={places[0]: second})))
        assert read(store, asking(query(first), {first: (100,)})) == places[1:]
        assert read(store, asking(query(second), {second: (100,)})) == places[:1]
        store.write([drafts[0].id], planning(Plan(deletes=[places[0]])))
        assert read(store, asking(query(first, second), {first: (100,), second: (100,)})) == places[1:]

    def test_a_record_whose_terms_are_not_known_is_found_whatever_is_asked_for(self, store: Store) -> None:
        first, second = new_labels(store, 2)
        (known,) = insert(store, first, having(100))
        (unknown,) = insert(store, first, draft())
        asked = asking(query(first), {first: (200,)})
        assert read(store, asked) == (unknown,)
        assert read(store, asking(query(first), {first: (100,)})) == (known, unknown)
        assert read(store, asking(query(first), {first: ()})) == ()
        store.write([], planning(Plan(relabels={unknown: second})))
        assert read(store, asked) == ()
        assert read(store, asking(query(second), {second: (200,)})) == (unknown,)

    def test_records_are_filled_once(self, store: Store) -> None:
        (label,) = new_labels(store)
        drafts = [draft() for _ in range(3)]
        places = insert(store, label, *drafts)
        insert(store, label, having(500))
        found = store.unfilled(2)
        assert len(found) == 2
        assert {record.content for record in found} <= {each.content for each in drafts}
        assert {record.position for record in store.unfilled(9)} == set(places)
        store.fill({places[0]: (100,), places[1]: (), 17: (100,)})
        assert [record.position for record in store.unfilled(9)] == [places[2]]
        assert read(store, asking(query(label), {label: (100,)})) == (places[0], places[2])
        store.fill({places[0]: (200,), places[2]: (200,)})
        assert store.unfilled(9) == []
        assert read(store, asking(query(label), {label: (100,)})) == places[:1]
        assert read(store, asking(query(label), {label: (200,)})) == places[2:]
        store.write([], planning(Plan(deletes=list(places))))
        assert read(store, asking(query(label), {label: (100, 200)})) == ()
