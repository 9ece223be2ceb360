"""The keys of an identity provider: a JSON Web Key Set (RFC 7517) from a file or a URL, kept in memory.

Looked at again when a token names a key that is not in it, and when it is old; never more often than the settings
say, and never by more than one thread. What cannot be read leaves the keys that were known in force.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

_log = logging.getLogger(__name__)

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_MIN_RSA_BITS = 2048
_MAX_KEYS = 100
#: How many threads may wait for a thread that is reading the keys.
_MAX_WAITING = 2
_WAIT_S = 6.0


class BadKeySet(ValueError):
    """A text that is no usable key set; the message says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key of the set, as JSON; `id` is None when it has none."""

    id: str | None
    jwk: dict[str, Any]

    def for_algorithm(self, algorithm: str) -> Any:
        """The key as the library takes it, or None when it is not one for this algorithm."""
        if self.jwk.get("kty") != _kty(algorithm) or self.jwk.get("alg", algorithm) != algorithm:
            return None
        if algorithm in _CURVES and self.jwk.get("crv") != _CURVES[algorithm]:
            return None
        try:
            key: Any = get_default_algorithms()[algorithm].from_jwk(self.jwk)
        except (PyJWTError, ValueError, TypeError, KeyError):
            return None
        if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
            return None
        return key if _kty(algorithm) == "OKP" or isinstance(key, RSAPublicKey | EllipticCurvePublicKey) else None


def _kty(algorithm: str) -> str:
    return "OKP" if algorithm == "EdDSA" else "EC" if algorithm.startswith("ES") else "RSA"


def parse_keys(raw: bytes, algorithms: Sequence[str]) -> tuple[Key, ...]:
    """The keys of a set that are for signatures with one of these algorithms.

    Others are left out, among them private and shared ones, which have no place there. Raises BadKeySet for what is
    no key set, and for one without any usable key.
    """
    try:
        keys = json.loads(raw)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadKeySet("not a JSON Web Key Set: an object with a list 'keys' is expected") from None
    if not isinstance(keys, list) or len(keys) > _MAX_KEYS:
        raise BadKeySet(f"not a JSON Web Key Set: 'keys' has to be a list of at most {_MAX_KEYS}")
    found = tuple(key for key in map(_key, keys) if key is not None and any(map(key.for_algorithm, algorithms)))
    if not found:
        raise BadKeySet(f"no usable key in it: a public key for {', '.join(algorithms)} is expected")
    return found


def _key(jwk: object) -> Key | None:
    if not isinstance(jwk, dict) or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    operations, id_ = jwk.get("key_ops", ["verify"]), jwk.get("kid")
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    return Key(id_ if isinstance(id_, str) else None, jwk)


class KeyCache:
    """The key set that `read` gives, for these algorithms. Safe for several threads."""

    def __init__(
        self,
        read: Callable[[], bytes],
        algorithms: Sequence[str],
        *,
        min_interval_s: float,
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._algorithms = tuple(algorithms)
        self._min_interval_s = min_interval_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._tried = self._got = float("-inf")
        self._turn = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)

    def find(self, kid: str | None, algorithm: str) -> Any:
        """The key for a token's `kid` and `alg`, or None.

        A token without `kid` is taken when there is one key only that could be meant. An unknown one makes us look
        at the source, unless we just did.
        """
        self._look_again_when_old()
        seen = self._tried  # before the keys: those of a look that ends between the two lines count as new
        key = self._among(kid, algorithm)
        if key is None and self._look(seen):
            key = self._among(kid, algorithm)
        return key

    def knows(self, kid: str | None) -> bool:
        """Whether there is a key that a token with this `kid` could mean."""
        return any(kid is None or each.id == kid for each in self._keys)

    def _among(self, kid: str | None, algorithm: str) -> Any:
        fitting = [each for each in self._keys if kid is None or each.id == kid]
        usable = [key for each in fitting if (key := each.for_algorithm(algorithm)) is not None]
        # Two that fit are not tried one after the other: the token has to say which it means.
        return usable[0] if len(usable) == 1 else None

    def _look_again_when_old(self) -> None:
        now = self._clock()
        is_due = now - self._got > self._max_age_s and now - self._tried > self._min_interval_s
        if self._keys and is_due and not self._turn.locked():
            # No request waits for it: until then, or while there is no thread for it, the keys that are there will do.
            with suppress(RuntimeError):
                threading.Thread(target=self._look, args=(self._tried,), name="oidc-keys", daemon=True).start()

    def _look(self, seen: float) -> bool:
        """Read the source, unless that was done since `seen` or too short a time ago; whether anybody read it."""
        if self._clock() - self._tried <= self._min_interval_s or not self._waiting.acquire(blocking=False):
            return self._tried != seen
        try:
            if not self._turn.acquire(timeout=_WAIT_S):
                return False
            try:
                if self._tried == seen:
                    self._load()
                return True
            finally:
                self._turn.release()
        finally:
            self._waiting.release()

    def _load(self) -> None:
        try:
            self._keys = parse_keys(self._read(), self._algorithms)
            self._got = self._clock()
        except (OSError, ValueError) as error:
            _log.error("the keys for OIDC cannot be read, %d known ones stay: %s", len(self._keys), error)
        finally:
            self._tried = self._clock()
