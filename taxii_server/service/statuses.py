"""Status resources (TAXII 2.1, 4.3): what became of a POST, kept for its submitter.

Everything is decided within the request, so a status is complete when it is first seen and never changes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from taxii_server.errors import NotFound
from taxii_server.model import StoredStatus
from taxii_server.service.post import Added
from taxii_server.storage.base import Store
from taxii_server.times import format_position

#: A list that would make the resource larger than this is left out whole: a list that is there is complete.
_MAX_BODY_BYTES = 8_000_000
_HOUR_US = 3_600_000_000


class Statuses:
    """Makes and finds status resources."""

    def __init__(self, store: Store, keep_hours: int) -> None:
        self._store = store
        self._keep_us = keep_hours * _HOUR_US

    def receipt(self, api_root: str, submitter: str, requested: int) -> Receipt:
        """What makes the status resource of a POST that came at this time (µs)."""
        return Receipt(api_root, submitter, requested, requested + self._keep_us)

    def find(self, api_root: str, status_id: str, audience: str, is_admin: bool, now: int) -> bytes:
        """The resource. Raises NotFound unless it is of this API root and the audience's own (or an admin asks)."""
        status = self._store.status(status_id, now)
        if status is None or status.api_root != api_root or not (is_admin or status.submitter == audience):
            raise NotFound
        return status.body


class Receipt:
    """Makes the status resource of one POST from what became of its objects, as often as its end is tried.

    The last one that it made is the one that was kept.
    """

    def __init__(self, api_root: str, submitter: str, requested: int, expires: int) -> None:
        self._id = str(uuid.uuid4())
        self._api_root, self._submitter = api_root, submitter
        self._requested, self._expires = requested, expires
        self.body = b""

    def __call__(self, results: Sequence[Added]) -> StoredStatus:
        self.body = _render(self._id, self._requested, results)
        return StoredStatus(self._id, self._api_root, self._submitter, self.body, self._expires)


def _render(status_id: str, requested: int, results: Sequence[Added]) -> bytes:
    came = format_position(requested)
    successes = [_details(added, came) for added in results if added.ok]
    failures = [_details(added, came) for added in results if not added.ok]
    resource: dict[str, Any] = {
        "id": status_id,
        "status": "complete",
        "request_timestamp": came,
        "total_count": len(results),
        "success_count": len(successes),
        "failure_count": len(failures),
        "pending_count": 0,
    }
    room = _MAX_BODY_BYTES
    for name, details in (("failures", failures), ("successes", successes)):
        room -= len(orjson.dumps(details))
        if details and room > 0:
            resource[name] = details
    return orjson.dumps(resource)


def _details(added: Added, came: str) -> dict[str, str]:
    # What was not stored and has no `modified` or `created` has no date_added that could be its version either.
    details = {"id": added.id, "version": added.version or came}
    if added.message:
        details["message"] = added.message
    return details
