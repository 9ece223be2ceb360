"""The connection of taxii2-client, with what a mirror that runs for years needs besides.

taxii2-client waits for ever for a peer that says nothing, follows redirects with the credentials wherever they lead,
reads answers of any size, tries nothing twice, and gives away the date headers by which the next walk begins. All of
that is decided in its connection class, so that is what is replaced here: `get` gives its resource classes the dict
that they expect, which also knows the text and the headers that it came with.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
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
_MAX_SHOWN = 500


class PeerError(TaxiiServerError):
    """The peer did not give what was asked for.

    `retry_after_s`: when it may be asked again, if it said so; `waited`: a pause was made already.
    """

    retry_after_s: float | None = None
    waited = False

    def __init__(self, message: str) -> None:
        # Parts of it come from the peer.
        super().__init__(_printable(message))


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


class _Wire(HTTPAdapter):
    """Knows the connections that it made, so that one can be cut off.

    A time-out of requests begins anew with every byte: a peer that sends one now and then would hold us for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._live: WeakSet[Any] = WeakSet()

    def get_connection_with_tls_context(self, *arguments: Any, **more: Any) -> Any:
        """The pool for a request, whose connections are known from here on."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **more)
        live, kind = self._live, type(pool).ConnectionCls

        class Known(kind):  # type: ignore[misc, valid-type]
            def connect(self) -> None:
                super().connect()
                live.add(self)

        pool.ConnectionCls = Known
        return pool

    @contextmanager
    def within(self, seconds: float) -> Iterator[threading.Event]:
        """Cut what is still open after so long; the event says that this has happened."""
        cut = threading.Event()
        timer = threading.Timer(seconds, self._cut, (cut,))
        timer.daemon = True
        timer.start()
        try:
            yield cut
        finally:
            timer.cancel()

    def _cut(self, cut: threading.Event) -> None:
        cut.set()
        for connection in list(self._live):
            wire = connection.sock  # whoever reads from it may close it in this moment
            if wire is not None:
                with suppress(OSError):
                    wire.shutdown(socket.SHUT_RDWR)


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
        self._wire = _Wire()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, self._wire)
        self.session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._bounds = bounds
        self._stop = stop or threading.Event()
        self._told = told
        #: the last answer to a POST
        self.posted: Answer | None = None

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
        merged = self._merge_headers(headers)
        self.posted = self._patiently("POST", url, self._bounds.attempts, headers=merged, params=params, **kwargs)
        return self.posted

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
        longest_s = _WHOLE * self._bounds.timeout_s
        with self._wire.within(longest_s) as cut:
            try:
                return self._follow(method, url, **request)
            except (requests.RequestException, Urllib3Error, OSError, PeerError) as error:
                if cut.is_set():  # half a head, too, can look like an answer
                    why = f"{_host(url)} does not answer: it takes longer than {longest_s:g} s"
                elif isinstance(error, PeerError):
                    raise
                elif isinstance(error, requests.exceptions.SSLError):
                    why = f"TLS to {_host(url)} fails: {_reason(error)} (see ca_file)"
                else:
                    why = f"{_host(url)} does not answer: {_reason(error)}"
                raise PeerUnavailable(why) from error

    def _follow(self, method: str, url: str, **request: Any) -> Answer:
        for _ in range(_MAX_REDIRECTS + 1):
            response = self.session.request(
                method, url, stream=True, allow_redirects=False, timeout=self._bounds.timeout_s, **request
            )
            with response:
                if response.status_code not in (301, 302, 303, 307, 308):
                    return self._read(response, request["headers"]["Accept"] if method == "GET" else "")
                url = _same_place(url, response.headers.get("Location", ""))
                if method != "GET":
                    raise PeerRefused(f"it redirects a POST to {url}; use that URL", 300)
                request["params"] = None  # they are part of the URL by now
        raise PeerBroken(f"{_host(url)} redirects in a circle")

    # ---- one answer

    def _read(self, response: requests.Response, accept: str) -> Answer:
        """What it says; `accept` is what its type has to be, if that matters."""
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
        if accept and not self.valid_content_type(kind, accept):
            raise PeerBroken(f"{_host(response.url)} answers with '{kind[:80]}', not with {MEDIA_TYPE}")
        if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
            raise PeerTooLarge(
                f"an answer of {_host(response.url)} has more than {MAX_VALUES} values; ask for less (page)"
            )
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PeerBroken(f"what {_host(response.url)} answers is not JSON: {_reason(error)}") from error
        if not isinstance(value, dict):
            raise PeerBroken(f"what {_host(response.url)} answers is not a JSON object")
        return Answer(value, text, headers)

    def _text(self, response: requests.Response) -> bytes:
        """The whole body, decoded, within the bounds."""
        most = self._bounds.max_bytes
        length = response.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length[:18]) > most:
            raise PeerTooLarge(f"an answer of {_host(response.url)} has {length[:18]} bytes, at most {most} are taken")
        raw = bytearray()
        # read1 gives what is there: whoever stops the mirror does not wait for a slow peer.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            raw += chunk
            if len(raw) > most:
                raise PeerTooLarge(f"an answer of {_host(response.url)} is larger than {most} bytes (max_page_bytes)")
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


def _reason(error: BaseException) -> str:
    """Why there was no answer, without the layers of libraries around it."""
    if isinstance(error, requests.exceptions.ReadTimeout):
        return "it says nothing"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection in time"
    inner: object = error
    while isinstance(inner, BaseException) and (below := getattr(inner, "reason", None) or (inner.args or ("",))[0]):
        if not isinstance(below, BaseException):
            break
        inner = below
    return _printable(str(inner).rpartition("Failed to establish a new connection: ")[2] or type(error).__name__)


def _printable(text: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
