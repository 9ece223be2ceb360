"""How a mirror logs in at a peer: secrets come from files or from the environment, never from a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from taxii_server.errors import ConfigError, Problem
from taxii_server.mirror.schema import Mirror
from taxii_server.settings import why_unreadable, world_readable

PASSWORD, TOKEN = "TAXII_MIRROR_PASSWORD", "TAXII_MIRROR_TOKEN"
_MAX_CHARS = 16_384


class TokenAuth(AuthBase):
    """`Authorization: <scheme> <token>`."""

    def __init__(self, scheme: str, token: str) -> None:
        self._value = f"{scheme} {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


def read_login(mirror: Mirror, *, check_modes: bool, environment: Mapping[str, str] = os.environ) -> AuthBase | None:
    """What the mirror sends to say who it is; None when only a certificate does, or nothing.

    Files are read anew each time, so that a secret can be changed while a service runs. Raises ConfigError.
    """
    token = _secret(mirror, "token_file", TOKEN, check_modes, environment)
    if token:
        return TokenAuth(mirror.token_scheme, token)
    password = _secret(mirror, "password_file", PASSWORD, check_modes, environment)
    if password and not mirror.user:
        raise ConfigError([Problem(mirror.name, "user", "missing: there is a password; whose is it?")])
    if mirror.user and not password:
        raise ConfigError(
            [Problem(mirror.name, "password_file", f"missing: the password of '{mirror.user}'; or set {PASSWORD}")]
        )
    return HTTPBasicAuth(mirror.user.encode(), password.encode()) if password else None


def read_certificate(mirror: Mirror, *, check_modes: bool) -> str | tuple[str, str] | None:
    """The files of the client certificate and its key. Raises ConfigError when everybody can read the key."""
    for name in ("ca_file", "client_certificate", "client_key"):
        path = getattr(mirror, name)
        if path and not os.access(path, os.R_OK):
            raise ConfigError([Problem(path, name, "there is no such file, or it cannot be read")])
    key = mirror.client_key or mirror.client_certificate
    problems = world_readable(Path(key), "it holds a private key,", "client_key") if key and check_modes else []
    if problems:
        raise ConfigError(problems)
    return (mirror.client_certificate, mirror.client_key) if mirror.client_key else mirror.client_certificate or None


def _secret(mirror: Mirror, name: str, variable: str, check_modes: bool, environment: Mapping[str, str]) -> str:
    path = getattr(mirror, name)
    if not path:
        own = f"{variable}_{mirror.name.upper().replace('-', '_')}"
        found = environment.get(own) or environment.get(variable) or ""
        return _line(found, own if own in environment else variable)
    problems = world_readable(Path(path), "there is a secret in it", name) if check_modes else []
    if problems:
        raise ConfigError(problems)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(path, name, f"cannot be read: {why_unreadable(error)}")]) from error
    if not text.strip():
        raise ConfigError([Problem(path, name, "it is empty; write the secret into it")])
    return _line(text, path)


def _line(text: str, where: str) -> str:
    secret = text.strip()
    if len(secret) > _MAX_CHARS or any(ord(char) < 32 or ord(char) == 127 for char in secret):
        raise ConfigError([Problem(where, "", "the secret has to be one line without control characters")])
    return secret
