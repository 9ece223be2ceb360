"""Limits on the head of a request: its URL and its header fields, before anything is made of them (RFC 9110, 6585)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taxii_server.settings import Settings


class UrlTooLong(Exception):
    """The URL is longer than the settings allow; the message names the limit."""


class HeadersTooLarge(Exception):
    """The header fields are more, or larger, than the settings allow; the message names the limit."""


def check_head(environ: Mapping[str, Any], settings: Settings) -> None:
    """Raise UrlTooLong, or HeadersTooLarge, for what is beyond the limits."""
    url = environ.get("RAW_URI") or environ.get("REQUEST_URI") or _url(environ)
    if len(url) > settings.max_url_bytes:
        raise UrlTooLong(f"the URL is longer than {settings.max_url_bytes} bytes (max_url_bytes)")
    # WSGI names the fields HTTP_..., but for these two (PEP 3333).
    fields = [name[5:] + value for name, value in environ.items() if name[:5] == "HTTP_" and value]
    fields += [name + environ[name] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)]
    if len(fields) > settings.max_headers:
        raise HeadersTooLarge(f"more than {settings.max_headers} header fields (max_headers)")
    if sum(map(len, fields)) > settings.max_header_bytes:
        most = settings.max_header_bytes
        raise HeadersTooLarge(f"the header fields have more than {most} bytes (max_header_bytes)")


def _url(environ: Mapping[str, Any]) -> str:
    """The path and the query, from a server that does not keep the URL as it came."""
    query = environ.get("QUERY_STRING")
    return str(environ.get("PATH_INFO", "")) + (f"?{query}" if query else "")
