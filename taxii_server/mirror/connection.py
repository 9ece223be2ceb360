"""The connection of taxii2-client, with what a mirror that runs for years needs besides.

taxii2-client waits for ever for a peer that says nothing, follows redirects with the credentials wherever they lead,
reads answers of any size, tries nothing twice, and gives away the date headers by which the next walk begins. All of
that is decided in its connection class, so that is what is replaced here: `get` gives its resource classes the dict
that they expect, which also knows the text and the headers that it came with.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from taxii2client.common import _HTTPConnection
from urllib3.exceptions import HTTPError as Urllib3Error

from taxii_server import __version__
from taxii_server.errors import TaxiiServerError
from taxii_server.mirror.patience import asked_s, pause_s

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/taxii+json;version=2.1"
#: Values of one answer, counted by commas and brackets: each takes up to 250 bytes once it is read.
MAX_VALUES = 1_000_000
_MAX_REDIRECTS = 5
#: How much longer than `timeout_s` a whole answer may take.
_WHOLE = 10
_CHUNK = 65_536
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_SHOWN = 300


class PeerError(TaxiiServerError):
    """The peer did not give what was asked for.

    `retry_after_s`: when it may be asked again, if it said so; `waited`: a pause was made already.
    """

    retry_after_s: float | None = None
    waited = False


class PeerUnavailable(PeerError):
    """It did not answer, or not now. The same may be asked again later."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class PeerRefused(PeerError):
    """It answered with an error that does not pass by itself. `status` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class PeerBroken(PeerError):
    """What it answered is not TAXII."""


class PeerTooLarge(PeerError):
    """What it answered is more than is taken."""


class Stopped(TaxiiServerError):
    """The mirror was told to end."""


class Answer(dict[str, Any]):
    """A resource as taxii2-client expects it, with the text and the headers that it came with."""

    def __init__(self, value: Mapping[str, Any], text: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(value)
        self.text = text
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how much."""

    timeout_s: float = 30.0
    attempts: int = 5
    max_bytes: int = 33_554_432
    #: a peer that asks for a longer pause is left alone until then, and the run ends
    longest_pause_s: float = 120.0


class Connection(_HTTPConnection):  # type: ignore[misc]
    """The connections to one peer. Not for several threads at a time."""

    def __init__(
        self,
        auth: requests.auth.AuthBase | None,
        certificate: str | tuple[str, str] | None = None,
        ca_file: str = "",
        proxy: str = "",
        bounds: Bounds = Bounds(),
        stop: threading.Event | None = None,
        told: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`stop` ends every pause. `told` gets a sentence whenever there is one to wait for."""
        agent = f"taxii-server/{__version__} mirror (taxii2-client)"
        super().__init__(verify=ca_file or True, auth=auth, cert=certificate, version="2.1", user_agent=agent)
        # Neither ~/.netrc nor variables decide which secret goes where.
        self.session.trust_env = False
        self.session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._bounds = bounds
        self._stop = stop or threading.Event()
        self._told = told

    def get(self, url: str, headers: Mapping[str, str] | None = None, params: Any = None) -> Answer:
        """The resource at this URL. Raises PeerError, Stopped.

        A page that is asked for by `next` is asked for once: medallion and others move on when they answer, whether
        the answer arrives or not, and the same `next` would bring the page after it. When there is something to wait
        for, that is done before the error is raised.
        """
        merged = self._merge_headers(headers)
        merged.setdefault("Accept", MEDIA_TYPE)
        attempts = 1 if params and "next" in params else self._bounds.attempts
        return self._patiently("GET", url, attempts, headers=merged, params=params)

    def post(self, url: str, headers: Mapping[str, str] | None = None, params: Any = None, **kwargs: Any) -> Answer:
        """What the peer answers to this body. Raises PeerError, Stopped."""
        return self._patiently(
            "POST", url, self._bounds.attempts, headers=self._merge_headers(headers), params=params, **kwargs
        )

    # ---- again and again

    def _patiently(self, method: str, url: str, attempts: int, **request: Any) -> Answer:
        for attempt in range(attempts):
            if self._stop.is_set():
                raise Stopped("told to end")
            try:
                return self._once(method, url, **request)
            except (PeerUnavailable, PeerBroken) as error:
                # An error page of a proxy in between comes with 200 and without JSON: that passes as well.
                asked = error.retry_after_s
                wait_s = pause_s(attempt) if asked is None else asked + pause_s(0) / 10
                is_last = attempt + 1 == attempts
                if wait_s > self._bounds.longest_pause_s or (is_last and self._bounds.attempts == attempts):
                    raise
                self._told(f"{error}; again in {wait_s:.0f} s")
                if self._stop.wait(wait_s):
                    raise Stopped("told to end") from error
                if is_last:
                    error.waited = True
                    raise
        raise AssertionError("unreachable")

    def _once(self, method: str, url: str, **request: Any) -> Answer:
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                response = self.session.request(
                    method, url, stream=True, allow_redirects=False, timeout=self._bounds.timeout_s, **request
                )
                with response:
                    if response.status_code not in (301, 302, 303, 307, 308):
                        return self._read(response, request["headers"].get("Accept", ""))
                    url = _same_place(url, response.headers.get("Location", ""))
                    if method != "GET":
                        raise PeerRefused(f"it redirects a POST to {url}; use that URL", 300)
                    request["params"] = None  # they are part of the URL by now
        except requests.exceptions.SSLError as error:
            raise PeerUnavailable(f"TLS to {_host(url)} fails: {_short(error)} (see ca_file)") from error
        except (requests.RequestException, Urllib3Error, OSError) as error:
            raise PeerUnavailable(f"{_host(url)} does not answer: {_short(error)}") from error
        raise PeerBroken(f"{_host(url)} redirects in a circle")

    # ---- one answer

    def _read(self, response: requests.Response, accept: str) -> Answer:
        text = self._text(response)
        status, headers = response.status_code, response.headers
        if status in _AGAIN:
            wait_s = asked_s(headers.get("Retry-After"), headers.get("Date"))
            raise PeerUnavailable(f"{_host(response.url)} answers {status}{_why(text)}", wait_s)
        if status >= 400:
            raise PeerRefused(f"{_host(response.url)} answers {status}{_why(text)}{_hint(status)}", status)
        if not 200 <= status < 300:
            raise PeerBroken(f"{_host(response.url)} answers {status}, which is not TAXII")
        kind = headers.get("Content-Type", "")
        if not self.valid_content_type(kind, accept):
            raise PeerBroken(f"{_host(response.url)} answers with '{kind[:80]}', not with {MEDIA_TYPE}")
        if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
            raise PeerTooLarge(
                f"an answer of {_host(response.url)} has more than {MAX_VALUES} values; ask for less (page)"
            )
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PeerBroken(f"what {_host(response.url)} answers is not JSON: {_short(error)}") from error
        if not isinstance(value, dict):
            raise PeerBroken(f"what {_host(response.url)} answers is not a JSON object")
        return Answer(value, text, headers)

    def _text(self, response: requests.Response) -> bytes:
        """The whole body, decoded, within the bounds of time and size."""
        most, until = self._bounds.max_bytes, time.monotonic() + _WHOLE * self._bounds.timeout_s
        length = response.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length[:18]) > most:
            raise PeerTooLarge(f"an answer of {_host(response.url)} has {length[:18]} bytes, at most {most} are taken")
        raw = bytearray()
        # read1 gives what is there: a peer that sends a byte a second is noticed.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            raw += chunk
            if len(raw) > most:
                raise PeerTooLarge(f"an answer of {_host(response.url)} is larger than {most} bytes (max_page_bytes)")
            if time.monotonic() > until:
                raise PeerUnavailable(f"an answer of {_host(response.url)} takes longer than {until:.0f} s")
            if self._stop.is_set():
                raise Stopped("told to end")
        return bytes(raw)


def _same_place(url: str, location: str) -> str:
    """Where a redirect leads. Raises PeerRefused when that is another server: it is not sent the secret."""
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc) or not location:
        place = f"{there.scheme}://{there.netloc}"
        raise PeerRefused(
            f"{_host(url)} redirects to {place}, which is not asked; if that is right, change the url", 300
        )
    return target


def _why(text: bytes) -> str:
    """What an error resource says, shortened: it comes from a stranger."""
    try:
        value = json.loads(text)
        said = value.get("description") or value.get("title")
    except (ValueError, RecursionError, AttributeError):
        return ""
    return f": {_printable(str(said))}" if said else ""


def _hint(status: int) -> str:
    return {
        401: " (is the token or password right?)",
        403: " (it does not let this login do that)",
        404: " (is the URL right, and may this login see the collection?)",
        406: " (does it speak TAXII 2.1?)",
    }.get(status, "")


def _host(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


def _short(error: BaseException) -> str:
    return _printable(str(error))


def _printable(text: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
