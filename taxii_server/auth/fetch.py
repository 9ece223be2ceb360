"""Where a key set is read from: a file, or a URL that is fetched with the patience and the trust that it deserves."""

from __future__ import annotations

import os
import stat
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from taxii_server.settings import is_safe_url, is_url

MAX_BYTES = 1024 * 1024
TIMEOUT_S = 5.0


def reader_of(source: str) -> Callable[[], bytes]:
    """What reads a key set from this file or URL. It raises OSError, or ValueError, which say what is wrong."""
    return (lambda: fetch(source)) if is_url(source) else (lambda: read_file(Path(source)))


def read_file(path: Path) -> bytes:
    """The file, unless others than its owner may write it: whoever writes keys can be anybody."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError(f"{path}: others than its owner may write it; run: chmod go-w {path}")
        raw = file.read(MAX_BYTES + 1)
    return _limited(raw, str(path))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


def fetch(url: str) -> bytes:
    """What this URL answers, within TIMEOUT_S for each step and twice that in all.

    Follows no redirect, and takes no more than MAX_BYTES.
    """
    if not is_safe_url(url):
        raise ValueError(f"{url} is not fetched: https is needed")
    until = time.monotonic() + 2 * TIMEOUT_S
    opener = urllib.request.build_opener(_NoRedirects)
    raw = bytearray()
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            # read1 returns what is there: a server that sends a byte a second does not hold us for ever.
            while (chunk := answer.read1(65536)) and len(raw) <= MAX_BYTES:
                raw += chunk
                if time.monotonic() > until:
                    raise TimeoutError(f"not all of it came within {2 * TIMEOUT_S:g} s")
    except (OSError, HTTPException) as error:
        raise OSError(f"{url}: {error}") from error
    return _limited(bytes(raw), url)


def _limited(raw: bytes, source: str) -> bytes:
    if len(raw) > MAX_BYTES:
        raise ValueError(f"{source}: larger than {MAX_BYTES} bytes")
    return raw
