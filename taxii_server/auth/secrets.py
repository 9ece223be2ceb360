"""Making and checking secrets. Tokens are random and stored as SHA-256; passwords are hashed with argon2.

Why the end of a token stands in its id: the id is part of the secret, so nobody can move it, and whoever sees the id in
a log, in the ledger or in a backup of an older release sees how long it was good for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from datetime import UTC, datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from taxii_server.errors import TooManyRequests
from taxii_server.model import Credential

TOKEN = "token"  # noqa: S105 - the name of a kind
PASSWORD = "password"  # noqa: S105 - the name of a kind
#: A token for the console's pages for operators, and for nothing else: the API takes it for an unknown one.
OPERATOR = "operator"
_PREFIX = "txs"
#: How the end of a token is written into its id.
_ENDS, _END = "%Y%m%dT%H%M%SZ", re.compile(r"\d{8}T\d{6}Z")
_NO_TOKEN = "0" * 64
_hasher = PasswordHasher()
#: One argon2 check takes 64 MB and tens of milliseconds: a crowd of them waits here, not in memory.
_at_once = threading.BoundedSemaphore(2)
#: When so many wait already that a thread had to wait longer than this, it has better things to do.
_CROWD_WAIT_S = 1.0


def new_token(
    partner: str, comment: str = "", expires: datetime | None = None, kind: str = TOKEN
) -> tuple[Credential, str]:
    """A credential for this partner and its secret, which is stored nowhere: show it once.

    From `expires` on, to the second, it is not taken any more.
    """
    id_ = secrets.token_hex(6)
    if expires is not None:
        id_ += f"-{expires.astimezone(UTC):{_ENDS}}"
    secret = f"{_PREFIX}_{id_}_{secrets.token_urlsafe(32)}"
    return Credential(id_, partner, kind, _fingerprint(secret), _today(), comment), secret


def new_password(partner: str, name: str, password: str, comment: str = "") -> Credential:
    """A credential with a password of the partner's choice; `name` is the user name of the Basic scheme."""
    return Credential(name, partner, PASSWORD, _hasher.hash(password), _today(), comment)


def expiry_of(credential: Credential) -> datetime | None:
    """The first moment at which a token is not taken any more; None for one without an end, and for passwords."""
    _, _, text = credential.id.partition("-")
    if credential.kind != TOKEN or not _END.fullmatch(text):
        return None
    return datetime.strptime(text, _ENDS).replace(tzinfo=UTC)


def token_id(secret: str) -> str | None:
    """The id inside a token, or None when the text is no token of ours."""
    parts = secret.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == _PREFIX and parts[2] else None


def token_matches(credential: Credential | None, secret: str, kinds: tuple[str, ...] = (TOKEN,)) -> bool:
    """Whether the secret is this token's, in constant time. An unknown one (None) costs as much as a wrong one.

    A credential of none of the `kinds` is an unknown one.
    """
    known = credential is not None and credential.kind in kinds
    stored = credential.secret_hash if credential is not None and known else _NO_TOKEN
    return hmac.compare_digest(stored, _fingerprint(secret)) and known


class PasswordChecker:
    """Checks passwords, and remembers one that was right for a while: polling must not pay for argon2 each time."""

    _MAX_REMEMBERED = 10_000

    def __init__(self, remember_s: float, at_most: int = 6) -> None:
        """`at_most` checks run or wait at a time, so that other threads of the worker stay free for other requests."""
        self._remember_s = remember_s
        self._crowd = threading.BoundedSemaphore(at_most)
        self._key = secrets.token_bytes(32)
        self._nobody = _nobody()
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def matches(self, credential: Credential | None, password: str, *, anew: bool = False) -> bool:
        """Whether the password is right. An unknown name (None) costs as much as a wrong password.

        `anew`: check it even if it is remembered, so that a right one costs as much, too. Raises TooManyRequests
        when a crowd of checks is waiting.
        """
        stored = self._nobody if credential is None else credential.secret_hash
        mark = hmac.digest(self._key, f"{stored}\0{password}".encode(errors="surrogatepass"), "sha256")
        if credential is not None and not anew and self._remembers(mark):
            return True
        if not self._crowd.acquire(timeout=_CROWD_WAIT_S):
            raise TooManyRequests(1, "too many passwords have to be checked at the moment")
        try:
            with _at_once:
                right = _verify(stored, password)
        finally:
            self._crowd.release()
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
