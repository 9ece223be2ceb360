"""Making and checking secrets. Tokens are random and stored as SHA-256; passwords are hashed with argon2."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from datetime import UTC, datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from taxii_server.model import Credential

TOKEN = "token"  # noqa: S105 - the name of a kind
PASSWORD = "password"  # noqa: S105 - the name of a kind
_PREFIX = "txs"
_hasher = PasswordHasher()
#: One argon2 check takes 64 MB and tens of milliseconds: a crowd of them waits here, not in memory.
_at_once = threading.BoundedSemaphore(2)


def new_token(partner: str, comment: str = "") -> tuple[Credential, str]:
    """A credential for this partner and its secret, which is stored nowhere: show it once."""
    id_ = secrets.token_hex(6)
    secret = f"{_PREFIX}_{id_}_{secrets.token_urlsafe(32)}"
    return Credential(id_, partner, TOKEN, _fingerprint(secret), _today(), comment), secret


def new_password(partner: str, name: str, password: str, comment: str = "") -> Credential:
    """A credential with a password of the partner's choice; `name` is the user name of the Basic scheme."""
    return Credential(name, partner, PASSWORD, _hasher.hash(password), _today(), comment)


def token_id(secret: str) -> str | None:
    """The id inside a token, or None when the text is no token of ours."""
    parts = secret.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == _PREFIX and parts[2] else None


def token_matches(credential: Credential, secret: str) -> bool:
    """Whether the secret is this token's, in constant time."""
    return credential.kind == TOKEN and hmac.compare_digest(credential.secret_hash, _fingerprint(secret))


class PasswordChecker:
    """Checks passwords, and remembers one that was right for a while: polling must not pay for argon2 each time."""

    _MAX_REMEMBERED = 10_000

    def __init__(self, remember_s: float) -> None:
        self._remember_s = remember_s
        self._key = secrets.token_bytes(32)
        self._nobody = _nobody()
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def matches(self, credential: Credential | None, password: str) -> bool:
        """Whether the password is right. An unknown name (None) costs as much as a wrong password."""
        stored = self._nobody if credential is None else credential.secret_hash
        mark = hmac.digest(self._key, f"{stored}\0{password}".encode(errors="surrogatepass"), "sha256")
        if credential is not None and self._remembers(mark):
            return True
        with _at_once:
            right = _verify(stored, password)
        if right and credential is not None:
            self._remember(mark)
        return right and credential is not None

    def _remembers(self, mark: bytes) -> bool:
        with self._lock:
            until = self._known.get(mark)
            return until is not None and until > time.monotonic()

    def _remember(self, mark: bytes) -> None:
        with self._lock:
            self._known[mark] = time.monotonic() + self._remember_s
            while len(self._known) > self._MAX_REMEMBERED:
                self._known.popitem(last=False)


@cache
def _nobody() -> str:
    """Checked against when the name is unknown, so that both answers take the same work. Costs as much as a check."""
    return _hasher.hash(secrets.token_urlsafe(16))


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password.encode(errors="surrogatepass"))
    except (Argon2Error, InvalidHashError):
        return False


def _fingerprint(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _today() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
