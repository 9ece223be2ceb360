"""Where the keys of an identity provider may come from, and which signatures they may be for."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

#: Signature algorithms that can be switched on (RFC 7518, 3.1; RFC 8037). With a secret shared by both sides, or none
#: at all, whoever can check a token could make one: those are not here.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def is_url(source: str) -> bool:
    """Whether it is a URL, not the path of a file."""
    return "://" in source


def is_safe_url(source: str) -> bool:
    """https, or http to this machine itself; without a login or a fragment."""
    try:
        parts = urlsplit(source)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def is_key_source(source: str) -> bool:
    """A safe URL, the path of a file, or nothing."""
    return is_safe_url(source) if is_url(source) else "\0" not in source


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
