"""An identity provider for tests: keys, a key set, and tokens; also behind HTTP on 127.0.0.1."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

ISSUER = "https://idp.example.com/realms/cti"
AUDIENCE = "taxii-hub"


@cache
def private_key(algorithm: str, which: int = 0, bits: int = 2048) -> Any:
    """A key for this algorithm; the same one for the same arguments."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        return ec.generate_private_key(curves[algorithm])
    return rsa.generate_private_key(65537, bits)


def jwk(kid: str | None = "k0", algorithm: str = "RS256", key: Any = None, **more: Any) -> dict[str, Any]:
    """The public half as a JSON Web Key."""
    public = (key or private_key(algorithm)).public_key()
    values = dict(get_default_algorithms()[algorithm].to_jwk(public, as_dict=True))
    values.pop("key_ops", None)
    return values | ({} if kid is None else {"kid": kid}) | {"use": "sig", "alg": algorithm} | more


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a token that holds now; None leaves one out."""
    now = int(time.time())
    values = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "f:1:misp",
        "iat": now,
        "exp": now + 300,
        "azp": "cert-misp",
    } | more
    return {name: value for name, value in values.items() if value is not None}


def token(
    said: dict[str, Any] | None = None,
    *,
    algorithm: str = "RS256",
    kid: str | None = "k0",
    key: Any = None,
    header: dict[str, Any] | None = None,
) -> str:
    """A signed token."""
    headers = (header or {}) | ({} if kid is None else {"kid": kid})
    return jwt.encode(said or claims(), key or private_key(algorithm), algorithm=algorithm, headers=headers)


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The URL of a web server on 127.0.0.1 that answers every GET so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
