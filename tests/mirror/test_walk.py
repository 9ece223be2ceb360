"""A walk over a peer gets every object, whatever the peer makes of paging, and comes to an end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxii_server.mirror.connection import PeerRefused, PeerTooLarge, PeerUnavailable
from taxii_server.mirror.walk import Asked, Cursor, Page, Step, Walk, WalkBroken

NOW = 2_000_000_000_000_000
DATE = 1_000_000_000_000_000


@dataclass
class Peer:
    """A peer that holds (date, number) in order of date, with habits."""

    dates: list[int]
    gives_next: bool = True
    heeds_next: bool = True
    gives_dates: bool = True
    lists_dates: bool = True
    heeds_after: bool = True
    inclusive: bool = False
    says_more: bool = True
    digits: int = 1
    most: int = 5
    heeds_types: bool = True
    forgets: bool = False
    #: as medallion: one token, which moves on when it answers, whether the answer arrives or not
    moves_on: bool = False
    #: the numbers of requests by `next` whose answers are lost
    lost: frozenset[int] = frozenset()
    _place: int = 0
    requests: list[Asked] = field(default_factory=list)

    def objects(self) -> list[tuple[int, dict[str, str]]]:
        kinds = ("indicator", "malware", "tool")
        return [
            (date, {"id": f"{kinds[n % 3]}--{n}", "type": kinds[n % 3], "modified": "m"})
            for n, date in enumerate(sorted(self.dates))
        ]

    def fetch(self, asked: Asked) -> Page:
        self.requests.append(asked)
        assert len(self.requests) < 2000, "it goes round in circles"
        found = self.objects()
        if asked.types and self.heeds_types:
            found = [each for each in found if each[1]["type"] in asked.types]
        if asked.after and self.heeds_after:
            shown = [(date // self.digits * self.digits if self.inclusive else date) for date, _ in found]
            found = [
                each
                for each, date in zip(found, shown, strict=True)
                if date > asked.after or (self.inclusive and date == asked.after)
            ]
        start = 0
        if asked.next and self.heeds_next:
            if self.forgets:
                self.forgets = False
                raise PeerRefused("unknown next", 400)
            start = self._place if self.moves_on else int(asked.next)
        size = min(asked.limit, self.most)
        page = found[start : start + size]
        more = start + size < len(found)
        last = page[-1][0] // self.digits * self.digits if page and self.gives_dates else None
        self._place = start + size
        token = str(1 if self.moves_on else start + size) if more and self.gives_next else ""
        if asked.next and len(self.requests) in self.lost:
            lost = PeerUnavailable("half a body")
            lost.waited = True
            raise lost
        return Page([each for _, each in page], b"", more if self.says_more else None, token, last)

    def date_of(self, asked: Asked, page: Page) -> int | None:
        ids = {each["id"] for each in page.objects}
        return (
            max((date for date, each in self.objects() if each["id"] in ids), default=None)
            if self.lists_dates
            else None
        )

    def ids(self) -> set[str]:
        return {each["id"] for _, each in self.objects()}


START = Cursor()


def walk(peer: Peer, cursor: Cursor = START, limit: int = 3, now: int = NOW, **more: object) -> Walk:
    return Walk(cursor, peer.fetch, peer.date_of, lambda: now, limit=limit, **more)  # type: ignore[arg-type]


def steps(one: Walk) -> Iterator[Step]:
    while True:
        step = one.step()
        yield step
        if step.done:
            return


def ids_of(found: list[Step]) -> list[str]:
    return [each["id"] for step in found for each in step.page.objects]


HABITS = {
    "it is as the standard says": {},
    "it gives no next": {"gives_next": False},
    "it gives a next and does not heed it": {"heeds_next": False},
    "it gives no next, and takes added_after inclusively": {"gives_next": False, "inclusive": True},
    "its dates have milliseconds only": {"gives_next": False, "digits": 1000},
    "it gives a next and no dates": {"gives_dates": False, "lists_dates": False},
    "it gives neither, but lists dates": {"gives_next": False, "gives_dates": False},
    "it says nothing about more": {"says_more": False},
    "it does not know its next any more": {"forgets": True},
    "its next moves on when it answers": {"moves_on": True},
    "its next moves on, and answers are lost": {"moves_on": True, "lost": frozenset(range(2, 100, 3))},
    "its next never works": {"lost": frozenset(range(1000))},
    "it does not heed match[type]": {"gives_next": False, "heeds_types": False},
}


#: Where a page may end in the middle of a date, and nothing has to be told.
SURE = {
    "it is as the standard says", "it gives a next and no dates", "it says nothing about more",
    "its next moves on when it answers", "it does not know its next any more",
}  # fmt: skip


@pytest.mark.parametrize("name", HABITS)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=25), st.integers(1, 6), st.integers(1, 7))
def test_everything_is_had_or_told_of(name: str, offsets: list[int], limit: int, most: int) -> None:
    peer = Peer([DATE + 400 * each for each in offsets], most=most, **HABITS[name])  # type: ignore[arg-type]
    found = list(steps(walk(peer, limit=limit)))
    missing = peer.ids() - set(ids_of(found))
    assert not missing or any(step.gap for step in found), f"{len(missing)} missing"
    assert not missing or name not in SURE


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(HABITS)), st.lists(st.integers(0, 6), max_size=20), st.integers(1, 6), st.integers(1, 7),
    st.integers(0, 12), st.lists(st.integers(0, 9), max_size=6),
)  # fmt: skip
def test_a_walk_that_is_cut_off_anywhere_goes_on_and_finds_what_came_meanwhile(
    name: str, offsets: list[int], limit: int, most: int, cut: int, later: list[int]
) -> None:
    peer = Peer([DATE + 400 * each for each in offsets], most=most, **HABITS[name])  # type: ignore[arg-type]
    found: list[Step] = []
    cursor = Cursor()
    for number, step in enumerate(steps(walk(peer, limit=limit))):
        found.append(step)
        cursor = step.cursor.by_date()
        if number == cut:
            break
    # Behind everything that is there, as the standard has it.
    peer.dates += [DATE + 400 * (10 + each) for each in later]
    again = list(steps(walk(peer, Cursor.from_json(cursor.to_json()), limit=limit)))
    again += list(steps(walk(peer, again[-1].cursor, limit=limit)))
    missing = peer.ids() - set(ids_of([*found, *again]))
    assert not missing or any(step.gap for step in [*found, *again])


def test_objects_that_share_a_date_across_the_end_of_a_page_are_not_lost() -> None:
    peer = Peer([DATE] * 2 + [DATE + 5] * 3 + [DATE + 9], gives_next=False, most=3)
    found = list(steps(walk(peer, limit=3)))
    assert set(ids_of(found)) == peer.ids()
    assert not any(step.gap for step in found)


def test_a_date_that_fills_every_page_is_asked_for_type_by_type() -> None:
    peer = Peer([DATE] * 8 + [DATE + 5], gives_next=False, most=3)
    found = list(steps(walk(peer, limit=3)))
    assert set(ids_of(found)) == peer.ids()
    assert not any(step.gap for step in found)


def test_what_cannot_be_had_is_told_and_the_walk_goes_on() -> None:
    peer = Peer([DATE] * 12 + [DATE + 5], gives_next=False, most=3)
    warnings: list[str] = []
    found = list(steps(walk(peer, limit=3, warn=warnings.append)))
    gaps = [step.gap for step in found if step.gap]
    assert len(gaps) == 1
    assert "indicator, malware, tool may be missing" in gaps[0]
    assert warnings == gaps
    assert "indicator--12" in ids_of(found)


def test_the_page_is_made_larger_first() -> None:
    peer = Peer([DATE] * 9 + [DATE + 5], gives_next=False, most=100)
    assert set(ids_of(list(steps(walk(peer, limit=3))))) == peer.ids()
    assert not any(asked.types for asked in peer.requests)


def test_a_page_that_is_too_large_is_asked_for_in_halves() -> None:
    peer = Peer([DATE + n for n in range(10)], most=100)
    fetch = peer.fetch

    def narrow(asked: Asked) -> Page:
        if asked.limit > 2:
            raise PeerTooLarge("too large")
        return fetch(asked)

    peer.fetch = narrow  # type: ignore[method-assign]
    assert set(ids_of(list(steps(walk(peer, limit=16))))) == peer.ids()


@pytest.mark.parametrize(
    ("habits", "words"),
    [
        ({"heeds_after": False, "gives_next": False}, "heeds neither"),
        ({"gives_next": False, "gives_dates": False, "lists_dates": False}, "neither gives a `next`"),
    ],
)
def test_a_peer_that_gives_no_way_on_ends_the_walk(habits: dict[str, bool], words: str) -> None:
    peer = Peer([DATE + n for n in range(10)], **habits)  # type: ignore[arg-type]
    with pytest.raises(WalkBroken, match=words):
        list(steps(walk(peer)))


def test_new_tokens_for_old_pages_for_ever_do_not_keep_a_walk() -> None:
    pages = [[{"id": f"a--{n}"} for n in range(3)], [{"id": f"b--{n}"} for n in range(3)]]
    count = 0

    def fetch(asked: Asked) -> Page:
        nonlocal count
        count += 1
        assert count < 100
        return Page(pages[count % 2], b"", True, f"token {count}", DATE)

    one = Walk(Cursor(), fetch, lambda asked, page: None, lambda: NOW)
    with pytest.raises(WalkBroken):
        list(steps(one))


def test_more_without_objects_ends_the_walk() -> None:
    warnings: list[str] = []
    answers = iter(range(10_000))
    empty = Walk(
        Cursor(), lambda asked: Page([], b"", True, str(next(answers))), lambda asked, page: None, lambda: NOW,
        warn=warnings.append,
    )  # fmt: skip
    assert list(steps(empty))[-1].done
    assert warnings == ["the peer says that there is more and gives nothing"]
    assert next(answers) < 200


def test_a_date_that_lies_ahead_is_not_believed() -> None:
    peer = Peer([DATE, DATE + 1])
    warnings: list[str] = []

    def fetch(asked: Asked) -> Page:
        found = peer.fetch(asked)
        return Page(found.objects, b"", found.more, found.next, NOW + 10**12)

    one = Walk(Cursor(), fetch, peer.date_of, lambda: NOW, warn=warnings.append)
    (step,) = steps(one)
    assert step.cursor.last == DATE + 1, "its manifest knows better"
    assert "lies ahead" in warnings[0]
    peer = Peer([DATE + n for n in range(9)], gives_next=False)
    found = list(steps(Walk(Cursor(), fetch, peer.date_of, lambda: NOW, limit=3)))
    assert set(ids_of(found)) == peer.ids()
    assert found[-1].cursor.last == DATE + 8


def test_the_end_is_read_once_more_until_nothing_comes_late() -> None:
    peer = Peer([DATE, DATE + 50], most=100)
    overlap = 100
    (first,) = steps(walk(peer, overlap=overlap))
    assert first.cursor == Cursor(after=DATE + 50 - 1 - overlap, last=DATE + 50, moved=NOW)
    peer.dates.append(DATE + 10)  # it got its date before, and appears only now
    (second,) = steps(walk(peer, first.cursor, now=NOW + overlap - 1, overlap=overlap))
    assert len(second.page.objects) == 3
    assert second.cursor.after < DATE
    (third,) = steps(walk(peer, second.cursor, now=NOW + overlap, overlap=overlap))
    assert third.cursor.after == DATE + 50
    (fourth,) = steps(walk(peer, third.cursor, now=NOW + overlap, overlap=overlap))
    assert fourth.page.objects == []


def test_nothing_older_than_the_start_is_asked_for() -> None:
    peer = Peer([DATE + n for n in range(5)], most=100)
    (step,) = steps(walk(peer, start=DATE + 2, overlap=10**6))
    assert len(step.page.objects) == 2
    assert step.cursor.after == DATE + 2
