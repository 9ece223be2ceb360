"""The body of a POST: read once, never beyond the limit of its API root (TAXII 2.1, 4.2.1 and 5.5)."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from flask import Request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from taxii_server.errors import BadContent, ContentTooLarge

_CHUNK = 65536
_DECODED_CHUNK = 1024 * 1024
#: Set in the WSGI environment before a body is read: how much of it may come.
BODY_LIMIT = "taxii_server.body_limit"
#: Set there when a request is carried out for the second time, because its body had not arrived the first time.
RESUMED = "taxii_server.resumed"


class UnsupportedEncoding(BadContent):
    """A Content-Encoding other than gzip."""


class IncompleteBody(Exception):
    """The body ended before its announced end, or its transfer coding is broken; nothing of it was stored."""


def check_encoding(request: Request) -> None:
    """Raise UnsupportedEncoding unless the body is plain or gzip, and chunked at most on its way."""
    if (request.headers.get("Transfer-Encoding") or "chunked").strip().lower() not in ("chunked", "identity"):
        # The server takes the chunks apart and leaves the coding inside them; what it hides must not be guessed.
        raise UnsupportedEncoding("Transfer-Encoding other than chunked is not supported; use Content-Encoding: gzip")
    if _encoding(request) not in ("", "identity", "gzip", "x-gzip"):
        raise UnsupportedEncoding("the body is compressed in a way that is not supported; use gzip or none")


def says_its_size(request: Request) -> bool:
    """Whether the size of the body is known before it is read."""
    return request.content_length is not None and _encoding(request) in ("", "identity")


def check_size(request: Request, limit_bytes: int) -> None:
    """Raise ContentTooLarge when the body is announced as larger."""
    if request.content_length is not None and request.content_length > limit_bytes:
        raise ContentTooLarge(limit_bytes)


def read_body(request: Request, limit_bytes: int, grow: Callable[[int], None] = lambda size: None) -> bytes:
    """The whole body, decoded. `limit_bytes` holds for what is sent and for what it decodes to.

    `grow` is told how many bytes more are held, before they are; what it raises reaches the caller.

    Raises ContentTooLarge as soon as the limit is passed, whatever Content-Length says, IncompleteBody when less
    than Content-Length arrives, BadContent when a gzip body is damaged or ends early.
    """
    check_size(request, limit_bytes)
    request.environ[BODY_LIMIT] = limit_bytes
    raw = _read_up_to(request, limit_bytes, grow)
    # A client that hung up may leave a prefix that happens to parse: it is not what the client meant to send.
    if request.content_length is not None and len(raw) < request.content_length:
        raise IncompleteBody
    return _gunzip(raw, limit_bytes, grow) if _encoding(request) in ("gzip", "x-gzip") else raw


def _encoding(request: Request) -> str:
    return (request.headers.get("Content-Encoding") or "").strip().lower()


def _read_up_to(request: Request, limit_bytes: int, grow: Callable[[int], None]) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := _read_chunk(request, limit_bytes):
        size += len(chunk)
        if size > limit_bytes:
            raise ContentTooLarge(limit_bytes)
        grow(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _read_chunk(request: Request, limit_bytes: int) -> bytes:
    try:
        return request.stream.read(_CHUNK)
    except RequestEntityTooLarge:
        raise ContentTooLarge(limit_bytes) from None
    except HTTPException:
        raise
    except Exception as error:
        # Every WSGI server has errors of its own for a broken chunk or a lost connection; the fault is the client's.
        raise IncompleteBody from error


def _gunzip(raw: bytes, limit_bytes: int, grow: Callable[[int], None]) -> bytes:
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    chunks: list[bytes] = []
    size, rest = 0, raw
    try:
        # Piece by piece: what there is no room for is not decoded.
        while not decoder.eof and (chunk := decoder.decompress(rest, _DECODED_CHUNK)):
            size, rest = size + len(chunk), decoder.unconsumed_tail
            if size > limit_bytes:
                raise ContentTooLarge(limit_bytes)
            grow(len(chunk))
            chunks.append(chunk)
    except zlib.error:
        raise BadContent("the gzip body is damaged") from None
    body = b"".join(chunks)
    if not decoder.eof or decoder.unused_data:
        raise BadContent("the gzip body is incomplete or has something behind it")
    return body
