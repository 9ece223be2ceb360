"""Answers: the bytes and headers of TAXII resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from flask import Request, Response
from isal import isal_zlib
from werkzeug.http import parse_accept_header

from taxii_server.service.copies import Served
from taxii_server.service.reading import Found
from taxii_server.times import format_position
from taxii_server.web.media import TAXII

DATE_FIRST = "X-TAXII-Date-Added-First"
DATE_LAST = "X-TAXII-Date-Added-Last"
#: Smaller answers are not worth compressing.
_MIN_GZIP_BYTES = 1024
#: What holds nothing, and larger ones, have no ETag.
_NOTHING = [b"{}"]
_MAX_TAGGED_BYTES = 64 * 1024
#: zlib's way to ask for the gzip format; its header has no time and no name, so equal answers have equal bytes.
_GZIP = 31


def resource(body: dict[str, Any] | bytes, status: int = 200) -> Response:
    """A TAXII resource, from a dict or from bytes that are JSON already."""
    return Response(body if isinstance(body, bytes) else orjson.dumps(body), status, content_type=TAXII)


def envelope(found: Found) -> Response:
    """An envelope with the texts of the objects (TAXII 2.1, 3.7)."""
    more = b"" if found.next is None else b'"more":true,"next":"' + found.next.encode() + b'"'
    parts = [item.content for item in found.items]
    if parts:
        # What stands around the texts goes to the first and the last of them: a page is copied once, not four times.
        parts[0] = b"{" + (more + b"," if more else b"") + b'"objects":[' + parts[0]
        parts[-1] += b"]}"
    return _dated(resource(b",".join(parts) if parts else b"{" + more + b"}"), found)


def manifest(found: Found) -> Response:
    """A manifest resource, one entry per object version (TAXII 2.1, 5.3.1)."""
    return _dated(resource(_paged(found, "objects", [_manifest_entry(item) for item in found.items])), found)


def versions(found: Found) -> Response:
    """A versions resource: the versions as text, ascending date_added (TAXII 2.1, 5.8.1)."""
    return _dated(resource(_paged(found, "versions", [item.version for item in found.items])), found)


def tagged(request: Request, response: Response, tag: Callable[[bytes], str]) -> Response:
    """The response with an ETag, without its body where If-None-Match says that the client has that.

    It was decided and read like any other, so a tag opens nothing and saves the way only. Empty answers have none, as
    most polls get one, and large ones: to hash them costs more than the rare repetition wins. It is weak, as it stands
    for what is in gzip, too.
    """
    if response.response == _NOTHING or (response.content_length or 0) > _MAX_TAGGED_BYTES:
        return response
    etag = tag(response.get_data())
    response.set_etag(etag, weak=True)
    if request.if_none_match.contains_weak(etag):
        response.status_code = 304
        response.set_data(b"")
    return response


def compress(request: Request, response: Response) -> Response:
    """The response in gzip where the client accepts that and it is worth the work."""
    if (
        (response.content_length or 0) < _MIN_GZIP_BYTES
        or response.direct_passthrough
        or "Content-Encoding" in response.headers
        or not parse_accept_header(request.headers.get("Accept-Encoding")).quality("gzip")
    ):
        return response
    # ISA-L takes a fifth of the time of zlib at its fastest, and lets other threads run (bench/RESULTS.md).
    response.set_data(isal_zlib.compress(response.get_data(), 1, wbits=_GZIP))
    response.headers["Content-Encoding"] = "gzip"
    return response


def _paged(found: Found, key: str, items: Sequence[object]) -> dict[str, Any]:
    page: dict[str, Any] = {}
    if found.next is not None:
        page |= {"more": True, "next": found.next}
    if items:
        page[key] = items
    return page


def _manifest_entry(item: Served) -> dict[str, str]:
    return {
        "id": item.id,
        "date_added": format_position(item.at),
        "version": item.version,
        "media_type": f"application/stix+json;version={item.spec_version}",
    }


def _dated(response: Response, found: Found) -> Response:
    """With the date headers. An empty page names its lower bound, never a time that a later object could precede."""
    first = last = format_position(found.items[0].at if found.items else found.after)
    if len(found.items) > 1:
        last = format_position(found.items[-1].at)
    response.headers[DATE_FIRST] = first
    response.headers[DATE_LAST] = last
    return response
