"""Limits on the head of a request: its URL and its header fields, before anything is made of them (RFC 9110, 6585)."""

from __future__ import annotations

from flask import Request

from taxii_server.settings import Settings


class HeadTooLarge(Exception):
    """Part of the head is larger than the settings allow; `status` is 414 or 431, the message names the limit."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def check_head(request: Request, settings: Settings) -> None:
    """Raise HeadTooLarge for a URL or header fields beyond the limits."""
    url = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path
    if len(url) > settings.max_url_bytes:
        raise HeadTooLarge(414, f"the URL is longer than {settings.max_url_bytes} bytes (max_url_bytes)")
    fields = [(name, value) for name, value in request.headers.items() if value]
    if len(fields) > settings.max_headers:
        raise HeadTooLarge(431, f"more than {settings.max_headers} header fields (max_headers)")
    if sum(len(name) + len(value) for name, value in fields) > settings.max_header_bytes:
        most = settings.max_header_bytes
        raise HeadTooLarge(431, f"the header fields have more than {most} bytes (max_header_bytes)")
