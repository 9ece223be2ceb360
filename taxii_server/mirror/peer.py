"""The collection of a peer, through the resource classes of taxii2-client on our connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from taxii2client.exceptions import AccessError, TAXIIServiceException
from taxii2client.v21 import ApiRoot, Collection

from taxii_server.mirror.connection import Answer, Bounds, Connection, PeerBroken, PeerRefused
from taxii_server.mirror.login import read_certificate, read_login
from taxii_server.mirror.schema import Mirror
from taxii_server.mirror.walk import Asked, Page
from taxii_server.times import format_position, parse_instant

FIRST, LAST = "X-TAXII-Date-Added-First", "X-TAXII-Date-Added-Last"
#: Ids of one request: a URL has its bounds.
IDS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Posted:
    """What a peer says about an envelope. `failures` are (id, version, message) of what it did not take."""

    id: str
    is_complete: bool
    failure_count: int
    failures: tuple[tuple[str, str, str], ...]


class Peer:
    """What a mirror asks of its peer. Raises PeerError in every method, ConfigError when the login cannot be read."""

    def __init__(
        self,
        mirror: Mirror,
        spec_versions: Sequence[str],
        *,
        check_modes: bool = True,
        stop: threading.Event | None = None,
        told: Callable[[str], None] = lambda message: None,
        longest_pause_s: float = 120.0,
    ) -> None:
        bounds = Bounds(mirror.timeout_s, mirror.attempts, mirror.max_page_bytes, longest_pause_s)
        self._connection = Connection(
            read_login(mirror, check_modes=check_modes),
            read_certificate(mirror, check_modes=check_modes),
            mirror.ca_file,
            mirror.proxy,
            bounds,
            stop,
            told,
        )
        self._collection = Collection(mirror.url, conn=self._connection)
        self._filters: dict[str, Any] = {"spec_version": list(spec_versions)}
        if mirror.all_versions:
            self._filters["version"] = "all"
        self._types, self._ids = list(mirror.types), list(mirror.ids)

    def close(self) -> None:
        """End the connections."""
        self._connection.close()

    # ---- reading

    def objects(self, asked: Asked) -> Page:
        """One page of objects."""
        with _ours():
            return _page(self._collection.get_objects(**self._query(asked)))

    def manifest(self, asked: Asked, *, latest: bool = False) -> Page:
        """The same page of the manifest: `objects` are its entries, and their dates are looked at.

        `latest`: only the latest version of each object.
        """
        query = self._query(asked)
        if latest:
            query.pop("version", None)
        with _ours():
            answer = self._collection.get_manifest(**query)
        page = _page(answer)
        dates = [each.get("date_added") for each in page.objects if isinstance(each, dict)]
        known = [date for text in dates if (date := _instant(text)) is not None]
        last = max(known, default=page.last)
        return Page(page.objects, page.text, page.more, page.next, last)

    def date_of(self, asked: Asked, page: Page) -> int | None:
        """The date of the last object of the page, from the manifest, for a peer without date headers."""
        try:
            found = self.manifest(asked)
        except (PeerRefused, PeerBroken):
            return None
        return found.last if len(found.objects) == len(page.objects) else None

    def named(self, ids: Sequence[str]) -> Page:
        """The objects with these ids, as many as there are on one page."""
        with _ours():
            return _page(self._collection.get_objects(id=list(ids), limit=len(ids) * 2, **self._filters))

    def versions_of(self, object_id: str) -> set[str]:
        """The versions that the peer has of this object; empty when it has none that it shows."""
        found: set[str] = set()
        asked = Asked()
        for _ in range(1000):
            try:
                with _ours():
                    query: dict[str, Any] = {"spec_version": ["2.0", "2.1"]}
                    if asked.next:
                        query["next"] = asked.next
                    answer = self._collection.object_versions(object_id, **query)
            except PeerRefused as error:
                if error.status == 404:
                    return found
                raise
            versions = answer.get("versions", [])
            if not isinstance(versions, list):
                raise PeerBroken("the versions of an object are not a list")
            known = len(found)
            found.update(map(str, versions))
            token = answer.get("next")
            if not answer.get("more") or not isinstance(token, str) or len(found) == known:
                return found
            asked = Asked(next=token)
        raise PeerBroken("an object has more versions than anybody would make")

    def _query(self, asked: Asked) -> dict[str, Any]:
        query = dict(self._filters)
        types = list(asked.types) or self._types
        if types:
            query["type"] = types
        if self._ids:
            query["id"] = self._ids
        if asked.after > 0:
            query["added_after"] = format_position(asked.after)
        if asked.next:
            query["next"] = asked.next
        if asked.limit:
            query["limit"] = asked.limit
        return query

    # ---- writing

    def max_content_length(self) -> int:
        """How large a body the peer takes, as its API root says; 0 when it does not say."""
        try:
            with _ours():
                length = ApiRoot(self._root(), conn=self._connection).max_content_length
        except (PeerRefused, PeerBroken):
            return 0
        return length if isinstance(length, int) and length > 0 else 0

    def add(self, envelope: bytes) -> Posted:
        """Post an envelope; what the peer says about it, which may be that it is not finished."""
        self._connection.posted = None
        try:
            with _ours():
                self._collection.add_objects(envelope, wait_for_completion=False)
        except PeerBroken:
            # taxii2-client takes no status whose counts do not add up. The envelope was taken all the same.
            if self._connection.posted is None:
                raise
        return _posted(self._connection.posted or {})

    def status(self, status_id: str) -> Posted:
        """What the peer says now about an earlier envelope."""
        return _posted(self._connection.get(f"{self._root()}status/{quote(status_id, safe='')}/"))

    def _root(self) -> str:
        return str(self._collection.url).rpartition("/collections/")[0] + "/"


@contextmanager
def _ours() -> Iterator[None]:
    """What taxii2-client complains of, in our words."""
    try:
        yield
    except AccessError as error:
        raise PeerRefused(f"{error} The login may not do that there", 403) from error
    except (TAXIIServiceException, KeyError, TypeError, AttributeError, ValueError) as error:
        # Its classes take the resources of a peer apart without looking: a list where it expects a table, and so on.
        raise PeerBroken(
            f"what the peer answers is not TAXII 2.1: {type(error).__name__} {str(error)[:300]}"
        ) from error


def _page(answer: Answer) -> Page:
    objects = answer.get("objects", [])
    if not isinstance(objects, list):
        raise PeerBroken("`objects` is not a list")
    token = answer.get("next")
    # medallion gives a page of one object the first date only.
    last = _instant(answer.headers.get(LAST) or (answer.headers.get(FIRST) if len(objects) == 1 else None))
    return Page(objects, answer.text, _truth(answer.get("more")), token if isinstance(token, str) else "", last)


def _posted(status: Mapping[str, Any]) -> Posted:
    """The status, read generously: some peers leave out what is 0, or do not count right."""
    listed = status.get("failures")
    failures = tuple(
        (str(each.get("id", "?")), str(each.get("version", "")), str(each.get("message", "refused by the peer")))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    )
    count = status.get("failure_count")
    own_id = str(status.get("id", ""))
    is_complete = status.get("status") != "pending" or not own_id
    return Posted(own_id, is_complete, max(len(failures), count if isinstance(count, int) else 0), failures)


def _truth(value: object) -> bool | None:
    """What `more` says; some write it as text."""
    if value is None:
        return None
    return value.strip().lower() == "true" if isinstance(value, str) else bool(value)


def _instant(text: object) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        found = parse_instant(text.strip())
    except ValueError:
        return None
    return found if found > 0 else None
