"""The walk over a collection of a peer: every object once at least, whatever the peer makes of TAXII 2.1, 3.4 and 3.5.

A peer should give `more` with a `next`, and a date (X-TAXII-Date-Added-Last) with every page. Some give only the one
or the other, some the same page again and again, and some give many objects one date, at which a page may end. So:

* `next` is followed with the filters of the first page, until the peer repeats itself or does not know it any more. It
  is used once: where an answer did not arrive, the same `next` can bring the page behind the lost one (medallion);
* then by date, **inclusive**: from one microsecond before the last date, so that no object with that date is missed.
  What comes twice is left alone by whoever stores it;
* when one date fills a page, the page is made larger, then its types are asked for one by one; what cannot be had even
  so is told (`gap`), and the walk goes on behind that date;
* the next walk begins a little before the end of the last one, until that has shown that nothing comes late.

Every step moves on or ends the walk: no peer can keep it in a circle. Pure, but for what `fetch` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from taxii_server.errors import TaxiiServerError
from taxii_server.mirror.connection import PeerError, PeerRefused, PeerTooLarge
from taxii_server.stix.kinds import OBSERVABLE_TYPES, TYPE_MAX_CHARS, TYPE_PATTERN

#: The largest page that is asked for when one date fills smaller ones.
LARGEST_PAGE = 20_000
_MAX_NEXT_CHARS = 8192
#: Pages without an object in a row, of a peer that says that there is more.
_MAX_EMPTY = 100
_MAX_OWN_TYPES = 50
#: A date that lies further ahead is not believed: what comes later would never be seen.
_AHEAD_US = 86_400_000_000
#: Statuses of a peer that does not know a `next` any more.
_UNKNOWN_NEXT = frozenset({400, 404, 410, 416, 422})
#: The types that are asked for one by one. Others on the page in question are asked for as well.
TYPES = OBSERVABLE_TYPES | {
    "attack-pattern", "campaign", "course-of-action", "extension-definition", "grouping", "identity", "incident",
    "indicator", "infrastructure", "intrusion-set", "language-content", "location", "malware", "malware-analysis",
    "marking-definition", "note", "observed-data", "opinion", "relationship", "report", "sighting", "threat-actor",
    "tool", "vulnerability",
}  # fmt: skip


class WalkBroken(TaxiiServerError):
    """The peer gives no way on: without it objects would be missed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a page. `after` (µs, exclusive) and `types` are 0 and empty where nothing is asked for."""

    after: int = 0
    next: str = ""
    limit: int = 0
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a peer. `last` is the date of its last object (µs), None when the peer does not tell.

    `more` is None when the page does not say.
    """

    objects: Sequence[Any]
    text: bytes = b""
    more: bool | None = None
    next: str = ""
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the walks of a mirror came; what is kept between two pages, and between two walks.

    `after` is the lower bound (µs, exclusive) of the walk under way, or of the next one; `next` the token of its next
    page. `last` is the largest date that was seen, `moved` when that grew for the last time (µs, our clock). `began`
    is what `last` was when the walk under way began, -1 when none is.
    """

    after: int = 0
    next: str = ""
    last: int = 0
    moved: int = 0
    began: int = -1

    def to_json(self) -> dict[str, Any]:
        """The shape in which it is kept."""
        return asdict(self)

    def by_date(self) -> Cursor:
        """Where to go on without the token, which is good for one use: at the last date, or where the walk began."""
        return replace(self, next="", after=max(self.after, self.last - 1))

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Cursor:
        """The inverse of to_json; what is not known is left out."""
        known = {name: parts[name] for name in cls.__dataclass_fields__ if name in parts}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Step:
    """A page, and where the walk goes on once what is on it is stored. `gap` says what may be missing there."""

    page: Page
    cursor: Cursor
    done: bool = False
    gap: str = ""


@dataclass(slots=True)
class Walk:
    """One walk from a cursor on. Take a step, store its page, keep its cursor, and so on until one is `done`."""

    cursor: Cursor
    fetch: Callable[[Asked], Page]
    #: the date of the last object of a page, asked for in another way; None when there is none
    date_of: Callable[[Asked, Page], int | None]
    now: Callable[[], int]
    limit: int = 1000
    start: int = 0
    overlap: int = 0
    types: tuple[str, ...] = ()
    warn: Callable[[str], None] = lambda message: None
    #: digests of the pages that a `next` led to: who repeats one goes round in circles
    _pages: set[bytes] = field(default_factory=set)
    #: what `last` was when a `next` failed
    _failed: int = -1
    _empty: int = 0
    _ceiling: int = LARGEST_PAGE
    #: the date that filled a page, and how often the walk could not get behind it
    _stuck: tuple[int, int] = (-1, 0)
    _left: list[Step] = field(default_factory=list)
    _by_date: bool = False

    def step(self) -> Step:
        """The next page. Raises what `fetch` raises, WalkBroken."""
        step = self._left.pop(0) if self._left else self._step()
        self.cursor = step.cursor
        return step

    def _step(self) -> Step:
        cursor = self.cursor
        if cursor.began < 0:
            cursor = replace(cursor, began=cursor.last, after=max(cursor.after, self.start, 0))
        asked = Asked(cursor.after, cursor.next, self.limit)
        try:
            page = self._fetched(asked)
        except PeerTooLarge:
            if self.limit <= 1:
                raise
            self.limit = self._ceiling = self.limit // 2
            self.cursor = cursor.by_date()
            return self._step()
        except PeerError as error:
            if not cursor.next or not self._is_worth_it(error):
                raise
            self._lose_next(cursor, error)
            return self._step()
        return self._judge(cursor, asked, page)

    def _is_worth_it(self, error: PeerError) -> bool:
        """Whether the page can be had without its `next`, after this error."""
        return error.status in _UNKNOWN_NEXT if isinstance(error, PeerRefused) else error.waited

    def _lose_next(self, cursor: Cursor, error: PeerError) -> None:
        """Go on by date where a `next` failed, and by nothing else when that happens again at the same place."""
        if self._failed == cursor.last:
            self._by_date = True
        self._failed = cursor.last
        self._pages.clear()
        if isinstance(error, PeerRefused):
            self.warn("the peer does not know the place in its pages any more; going on by date")
        self.cursor = cursor.by_date()

    def _judge(self, cursor: Cursor, asked: Asked, page: Page) -> Step:
        """What the page says about where to go on."""
        count = len(page.objects)
        if count:
            cursor = self._seen(cursor, page.last)
        # A `next` without a word about more is followed as well, where there was something.
        if not (page.more if page.more is not None else page.next and count):
            return Step(page, self._ended(cursor, asked, page), done=True)
        leads_on = self._leads_on(page)
        if not count:
            self._empty += 1
            if not leads_on or self._empty > _MAX_EMPTY:
                self.warn("the peer says that there is more and gives nothing")
                return Step(page, self._ended(cursor, asked, page), done=True)
            return Step(page, replace(cursor, next=page.next))
        self._empty = 0
        if leads_on and not self._by_date:
            return Step(page, replace(cursor, next=page.next))
        if page.next and not self._by_date:
            self.warn("the peer repeats itself when its `next` is followed; going on by date")
            self._by_date = True
        return self._by_date_step(cursor, asked, page)

    def _leads_on(self, page: Page) -> bool:
        """Whether there is a `next`, and the page is not one that was had before."""
        print_of = _fingerprint(page)
        is_new = not page.objects or print_of not in self._pages
        self._pages.add(print_of)
        return bool(page.next) and len(page.next) <= _MAX_NEXT_CHARS and is_new

    # ---- by date

    def _by_date_step(self, cursor: Cursor, asked: Asked, page: Page) -> Step:
        """Go on inclusively from the last date, larger when that date fills the page."""
        last = page.last if page.last is not None else self._asked_date(asked, page)
        if last is None:
            raise WalkBroken(
                "the peer says that there is more, but neither gives a `next` that leads on nor dates (no header"
                " X-TAXII-Date-Added-Last, and none in its manifest): the rest cannot be had from it"
            )
        cursor = replace(self._seen(cursor, last), next="")
        if last - 1 > asked.after:
            return Step(page, replace(cursor, after=last - 1))
        # The whole page has this date, or the peer does not care for added_after.
        date, times = self._stuck
        times = times + 1 if date == last else 0
        if len(page.objects) >= self.limit and self.limit < self._ceiling and not times:
            self.limit = min(2 * self.limit, self._ceiling)
            return Step(page, cursor)
        self._stuck = (last, times)
        if times == 0:
            return self._by_type(replace(cursor, after=last), asked, page)
        # A peer that takes added_after inclusively, or whose dates have fewer digits than it compares.
        steps = [1, *(unit - 1 for unit in (1_000, 1_000_000) if last % unit == 0)]
        if times <= len(steps):
            return Step(page, replace(cursor, after=last + steps[times - 1]))
        raise WalkBroken("the peer gives the same page whatever is asked for: it heeds neither `next` nor added_after")

    def _by_type(self, cursor: Cursor, asked: Asked, page: Page) -> Step:
        """Every type by itself from the date that fills the page; then go on behind it."""
        found = sorted({str(each.get("type")) for each in page.objects if isinstance(each, dict)})
        own = [each for each in found if len(each) < TYPE_MAX_CHARS and TYPE_PATTERN.fullmatch(each)][:_MAX_OWN_TYPES]
        full: list[str] = []
        steps = [Step(page, replace(cursor, after=asked.after))]
        for type_ in sorted(self.types or TYPES.union(own)):
            some = self._fetched(Asked(asked.after, "", self.limit, (type_,)))
            if some.objects:
                steps.append(Step(some, replace(cursor, after=asked.after)))
            if some.more and (some.last is None or some.last <= cursor.after):
                full.append(type_)
        gap = ""
        if full:
            gap = (
                f"more objects than the peer puts on a page have one date and the peer gives no `next`: some of type"
                f" {', '.join(full)} may be missing"
            )
            self.warn(gap)
        steps[-1] = replace(steps[-1], cursor=cursor, gap=gap)
        self._left = steps[1:]
        return steps[0]

    def _asked_date(self, asked: Asked, page: Page) -> int | None:
        return self._believed(self.date_of(asked, page)) if page.objects else None

    # ---- where it stands

    def _seen(self, cursor: Cursor, last: int | None) -> Cursor:
        if last is None or last <= cursor.last:
            return cursor
        return replace(cursor, last=last, moved=self.now())

    def _fetched(self, asked: Asked) -> Page:
        page = self.fetch(asked)
        return replace(page, last=self._believed(page.last))

    def _believed(self, last: int | None) -> int | None:
        if last is not None and last > self.now() + _AHEAD_US:
            self.warn("the peer gives a date that lies ahead; it is not believed")
            return None
        return last

    def _ended(self, cursor: Cursor, asked: Asked, page: Page) -> Cursor:
        """Where the next walk begins."""
        if page.last is None and page.objects:
            last = self._asked_date(asked, page)
            if last is None:
                self.warn("the peer gives no dates: every walk begins where this one did")
            cursor = self._seen(cursor, last)
        after = cursor.after
        if cursor.last:
            settled = cursor.last == cursor.began and self.now() - cursor.moved >= self.overlap
            after = cursor.last if settled else cursor.last - 1 - self.overlap
        return replace(cursor, after=max(after, self.start), next="", began=-1)


def _fingerprint(page: Page) -> bytes:
    return _digest((each.get("id"), each.get("modified")) if isinstance(each, dict) else each for each in page.objects)


def _digest(parts: Iterable[object]) -> bytes:
    return hashlib.sha256(repr(list(parts)).encode(errors="replace")).digest()
