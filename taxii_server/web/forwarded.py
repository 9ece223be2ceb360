"""What proxies say about the client: believed from those that are trusted, taken out of every other request.

And the id of the request, which every line that the log has of it shows: that of a trusted proxy, or one of our own.

A WSGI middleware in front of the application: behind it `request.remote_addr`, `request.scheme` and `request.host` are
those of the client, and nothing that a stranger wrote into a header of this kind is left.

Why one of X-Forwarded-* and Forwarded and not both: a proxy that sets the one passes the other on as it came.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from taxii_server.auth.certificate import Shown, read_header
from taxii_server.logs import request_id
from taxii_server.settings import Settings
from taxii_server.web.places import FROM_PROXY, REQUEST_ID

Address = IPv4Address | IPv6Address

#: Set by the server's own TLS, where no client can: the certificate (DER) that the client showed.
PEER_CERTIFICATE = "taxii_server.peer_certificate"
#: The certificate that counts for this request, a `Shown`; not there when the client has none.
CERTIFICATE = "taxii_server.certificate"
#: The address of whoever connected: the client or the last proxy.
PEER = "taxii_server.peer"

#: True when somebody who is no proxy came in plain HTTP from another machine, though proxies are to do the TLS.
IN_THE_CLEAR = "taxii_server.in_the_clear"

#: When the application got the request (time.perf_counter).
BEGAN = "taxii_server.began"
#: True when somebody who is no trusted proxy says that it asks for another one.
HANDED_ON = "taxii_server.handed_on"

_FORWARDING = (
    "HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_FORWARDED_SSL", "HTTP_X_FORWARDED_PROTOCOL",
    "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_CLIENT_CERT", "HTTP_X_SSL_CLIENT_CERT",
)  # fmt: skip
#: Ids that proxies make: UUIDs, hexadecimal, base64, with a name in front.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{8,128}")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PAIR = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^";,\s]*)\s*')


class Forwarded:
    """The WSGI application behind trusted proxies; without any it only takes their headers out."""

    def __init__(self, app: Callable[..., Iterable[bytes]], settings: Settings) -> None:
        self._app = app
        self._trusted = tuple(ip_network(each) for each in settings.trusted_proxies)
        self._only_proxies = not (settings.tls_certificate or settings.plain_http or settings.is_local)
        self._is_rfc7239 = settings.forwarded_header == "forwarded"
        self._header = _variable(settings.certificate_header) if settings.certificate_header else ""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        said = {name: environ.pop(name) for name in {*_FORWARDING, self._header} if name in environ}
        environ[BEGAN] = time.perf_counter()
        peer = environ.get("REMOTE_ADDR", "")
        environ[PEER] = peer
        address, text = _peer(peer)
        if address is not None:
            environ["REMOTE_ADDR"] = text
        environ.pop(CERTIFICATE, None)
        is_trusted = self._trusts(address)
        environ[HANDED_ON], environ[FROM_PROXY] = bool(said) and not is_trusted, is_trusted
        if is_trusted:
            self._take_over(environ, said)
        environ[IN_THE_CLEAR] = (
            self._only_proxies and not is_trusted and address is not None and not address.is_loopback
        )
        if self._header and is_trusted:
            shown = read_header(said.get(self._header, ""))
        else:
            der = environ.get(PEER_CERTIFICATE)
            shown = None if der is None else Shown(der, is_verified=True)
        if shown is not None:
            environ[CERTIFICATE] = shown
        given = environ.get("HTTP_X_REQUEST_ID", "") if is_trusted else ""
        if _REQUEST_ID.fullmatch(given):
            start_response = partial(_with_id, start_response, given)
        else:
            given = os.urandom(16).hex()
        environ[REQUEST_ID] = given
        known = request_id.set(given)
        try:
            return self._app(environ, start_response)
        finally:
            request_id.reset(known)

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _take_over(self, environ: dict[str, Any], said: dict[str, str]) -> None:
        """The client's address, scheme and host, as far as they are said."""
        if self._is_rfc7239:
            elements = _elements(said.get("HTTP_FORWARDED", ""))
            addresses = [each.get("for", "") for each in elements]
            last = elements[-1] if elements else {}
            scheme, host = last.get("proto", ""), last.get("host", "")
        else:
            addresses = _listed(said.get("HTTP_X_FORWARDED_FOR", ""))
            scheme = (_listed(said.get("HTTP_X_FORWARDED_PROTO", "")) or [""])[-1]
            host = (_listed(said.get("HTTP_X_FORWARDED_HOST", "")) or [""])[-1]
        client = self._client(addresses)
        if client is not None:
            environ["REMOTE_ADDR"] = str(client)
            environ.pop("REMOTE_PORT", None)
        if scheme.lower() in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme.lower()
        if _HOST.fullmatch(host):
            environ["HTTP_HOST"] = host

    def _client(self, addresses: list[str]) -> Address | None:
        """From the right, the first address that is no trusted proxy: a stranger may have written what is left of it.

        An entry that is no address ends the search; the client is then the proxy that wrote it.
        """
        found = None
        for text in reversed(addresses):
            address = _address(text)
            if address is None:
                break
            found = address
            if not self._trusts(address):
                break
        return found


def _with_id(start_response: Any, id_: str, status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
    """Give the proxy its id back."""
    return start_response(status, [*headers, ("X-Request-ID", id_)], *more)


def _variable(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def _listed(value: str) -> list[str]:
    return [each.strip() for each in value.split(",")] if value.strip() else []


def _elements(value: str) -> list[dict[str, str]]:
    """The elements of a Forwarded header (RFC 7239, 4). What is malformed becomes an element without an address."""
    found = []
    for element in _split(value, ",") if value.strip() else []:
        pairs: dict[str, str] = {}
        for part in _split(element, ";"):
            match = _PAIR.fullmatch(part)
            if match is None:
                pairs = {}
                break
            pairs[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2].strip('"'))
        found.append(pairs)
    return found


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that do not stand in quotes."""
    parts = [""]
    is_quoted = is_escaped = False
    for piece in re.split(r'([\\",;])', text):
        if piece == separator and not is_quoted:
            parts.append("")
            continue
        if piece == '"' and not is_escaped:
            is_quoted = not is_quoted
        if piece:
            is_escaped = piece == "\\" and not is_escaped
        parts[-1] += piece
    return parts


@lru_cache(maxsize=4096)
def _peer(text: str) -> tuple[Address | None, str]:
    """The address of whoever connected, and its text; remembered, as partners keep asking."""
    address = _address(text)
    return address, str(address)


def _address(text: str) -> Address | None:
    """The address, without a port; an IPv4 address that is wrapped in IPv6 as what it is."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
