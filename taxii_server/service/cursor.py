"""The `next` token: sealed, stateless, bound to who asked, where and for what (TAXII 2.1, 3.4 and 3.5).

It carries the position behind which the next page starts and the query it belongs to, so that a follow-up
request needs nothing else (several clients send `next` alone), any worker can serve it and a restart does not
matter. It is encrypted because a readable position would show how many records lie between two pages.
It gives no right: every page is judged by the policy in force when it is asked for.

Why AES-SIV (RFC 5297): it needs no nonce, so the same page always has the same token and an answer depends on
nothing but what is asked, who asks and what they may read.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taxii_server.errors import BadQuery

_MAX_CHARS = 8192


def derived_key(secret: bytes, purpose: bytes, length: int = 32) -> bytes:
    """A key for one purpose, derived from the server's secret."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(secret)


class CursorSeal:
    """Seals and opens `next` tokens with a key derived from the server's secret."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(derived_key(secret, b"taxii next v1", 64))
        self._tag_key = derived_key(secret, b"taxii etag v1")

    def seal(self, scope: str, payload: object) -> str:
        """A URL-safe token that only `open` with the same scope can read."""
        sealed = self._cipher.encrypt(orjson.dumps(payload), [scope.encode()])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def tag(self, scope: str, body: bytes) -> str:
        """A tag of the body: who lacks the key can neither make it nor compare that of another scope with it."""
        made = blake2b(scope.encode() + b"\0", key=self._tag_key, digest_size=16)
        made.update(body)
        return made.hexdigest()

    def open(self, scope: str, token: str) -> object:
        """What was sealed. Raises BadQuery for anything that this server did not seal for this scope."""
        if len(token) > _MAX_CHARS:
            raise _not_ours()
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            return orjson.loads(self._cipher.decrypt(raw, [scope.encode()]))
        except (InvalidTag, binascii.Error, ValueError):
            raise _not_ours() from None


def _not_ours() -> BadQuery:
    return BadQuery("next", "not a value that this server gave you for this resource; start again without it")
