"""Keys of an identity provider: which are usable, when they are read again, and how they are fetched."""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from taxii_server.auth import fetch as fetching
from taxii_server.auth import keys
from taxii_server.auth.fetch import MAX_BYTES, fetch, reader_of
from taxii_server.auth.keys import BadKeySet, KeyCache, parse_keys
from taxii_server.settings import is_safe_url
from tests.idp import jwk, key_set, private_key, send, serving
from tests.patching import NoThread, but_for
from tests.unit.auth.clock import Clock

ALL = ("RS256", "ES256", "EdDSA")


class Source:
    """What a key set is read from, and how often it was."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.reads = raw, 0
        self.fails = False

    def __call__(self) -> bytes:
        self.reads += 1
        if self.fails:
            raise OSError("down")
        return self.raw


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cache(source: Source, clock: Clock) -> KeyCache:
    return KeyCache(source, ALL, min_interval_s=60, max_age_s=3600, clock=clock)


def test_keys_are_read_once_however_many_tokens_come(clock: Clock) -> None:
    source = Source(key_set(jwk("a")))
    made = cache(source, clock)
    assert source.reads == 0
    for _ in range(100):
        assert made.find("a", "RS256") is not None
    assert source.reads == 1


def test_an_unknown_kid_makes_it_look_again_but_not_too_often(clock: Clock) -> None:
    source = Source(key_set(jwk("a")))
    made = cache(source, clock)
    for number in range(50):
        assert made.find(f"unknown-{number}", "RS256") is None
    assert source.reads == 1
    source.raw = key_set(jwk("b"))
    clock.now += 61
    assert made.find("b", "RS256") is not None
    assert made.find("a", "RS256") is None
    assert source.reads == 2


def test_what_cannot_be_read_leaves_the_known_keys_in_force(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    source = Source(key_set(jwk("a")))
    made = cache(source, clock)
    assert made.find("a", "RS256") is not None
    for broken in ("fails", b"<html>", key_set()):
        clock.now += 61
        source.fails, source.raw = broken == "fails", b"" if broken == "fails" else bytes(broken)
        assert made.find("b", "RS256") is None
        assert made.find("a", "RS256") is not None
    assert source.reads == 4
    assert "1 known ones stay: down" in caplog.text


class Slow(Source):
    """One that answers when it may."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.reading, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> bytes:
        self.reading.set()
        assert self.go_on.wait(20)
        return super().__call__()


def test_old_keys_are_read_again_without_a_request_waiting_for_it(clock: Clock) -> None:
    source = Slow(key_set(jwk("a")))
    made = cache(source, clock)
    source.go_on.set()
    made.find("a", "RS256")
    source.raw = key_set(jwk("b"))
    source.go_on.clear()
    source.reading.clear()
    clock.now += 3601
    assert made.find("a", "RS256") is not None
    assert source.reading.wait(20)  # else a second thread may begin, and two at once leave no room for a request
    source.go_on.set()
    assert made.find("b", "RS256") is not None
    assert made.find("a", "RS256") is None
    assert source.reads == 2


def test_old_keys_do_while_there_is_no_thread_to_read_them(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cache(Source(key_set(jwk("a"))), clock)
    made.find("a", "RS256")
    clock.now += 3601
    monkeypatch.setattr(keys, "threading", but_for(threading, Thread=NoThread))
    assert made.find("a", "RS256") is not None


def test_while_one_thread_reads_a_few_wait_for_it_and_the_others_are_refused_at_once(clock: Clock) -> None:
    source = Slow(key_set(jwk("a")))
    made = cache(source, clock)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(made.find("a", "RS256"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert source.reading.wait(20)
    while made._waiting._value:  # both are in: one reads, one waits
        time.sleep(0.01)
    assert made.find("a", "RS256") is None
    source.go_on.set()
    for thread in threads:
        thread.join()
    assert all(key is not None for key in found)
    assert source.reads == 1


UNUSABLE = {
    "a shared secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"},
    "a private key": jwk() | {"d": "AQAB"},
    "for encryption": jwk(use="enc"),
    "for signing only": jwk(key_ops=["sign"]),
    "of an algorithm that is off": jwk(algorithm="ES384"),
    "too short": jwk(key=private_key("RS256", 0, 1024)),
    "broken": jwk() | {"n": "!"},
    "half": {"kty": "RSA", "n": "AQAB"},
    "not a key": {"kid": "a"},
    "of another curve": jwk(algorithm="ES384") | {"alg": "ES256"},
}


@pytest.mark.parametrize("bad", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_is_not_for_this_is_left_out(bad: dict[str, Any]) -> None:
    with pytest.raises(BadKeySet, match="no usable key"):
        parse_keys(key_set(bad), ALL)
    assert [key.id for key in parse_keys(key_set(bad, jwk("good")), ALL)] == ["good"]


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"keys": {}}', b"[" * 100_000, json.dumps({"keys": [1] * 101}).encode()]
)
def test_what_is_no_key_set_says_so(raw: bytes) -> None:
    with pytest.raises(BadKeySet):
        parse_keys(raw, ALL)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://idp.example.com/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://localhost/keys", True),
        ("http://[::1]/keys", True),
        ("http://idp.example.com/keys", False),
        ("http://127.0.0.1.example.com/keys", False),
        ("https://user:secret@idp.example.com/keys", False),
        ("file:///etc/passwd", False),
        ("ftp://idp.example.com/keys", False),
        ("https://", False),
        ("https://[", False),
    ],
)
def test_only_https_or_this_machine_is_asked(url: str, safe: bool) -> None:
    assert is_safe_url(url) is safe
    if not safe:
        with pytest.raises(ValueError, match="https is needed"):
            fetch(url)


def test_a_url_is_fetched_and_no_redirect_followed() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/keys":
            send(handler, key_set(jwk("a")))
        else:
            send(handler, b"", 302, Location="/keys")

    with serving(answer) as url:
        assert parse_keys(reader_of(url)(), ALL)[0].id == "a"
        with pytest.raises(OSError, match="302"):
            fetch(url.replace("/keys", "/moved"))


@pytest.mark.parametrize("size", [MAX_BYTES, MAX_BYTES + 1])
def test_no_more_is_taken_than_the_limit(size: int) -> None:
    with serving(lambda handler: send(handler, b"x" * size)) as url:
        if size == MAX_BYTES:
            assert len(fetch(url)) == size
        else:
            with pytest.raises(ValueError, match=f"larger than {MAX_BYTES}"):
                fetch(url)


def test_one_that_trickles_or_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = count()  # one more each time that somebody looks: between two bytes a loaded machine takes what it takes
    monkeypatch.setattr(fetching, "time", but_for(time, monotonic=lambda: float(next(seconds))))
    monkeypatch.setattr(fetching, "TIMEOUT_S", 20.0)
    over = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/keys":
            handler.send_response(200)
            handler.end_headers()
            while not over.wait(0.002):
                try:
                    handler.wfile.write(b" ")
                except OSError:
                    return
        over.wait(20)

    with serving(trickle) as url:
        try:
            with pytest.raises(OSError, match="not all of it came"):
                fetch(url)
            monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
            with pytest.raises(OSError, match="timed out"):
                fetch(url.replace("/keys", "/silent"))
        finally:
            over.set()


def test_a_file_of_keys_is_read_unless_others_may_write_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(jwk("a")))
    file.chmod(0o644)
    assert parse_keys(reader_of(str(file))(), ALL)
    for mode in (0o664, 0o646):
        file.chmod(mode)
        with pytest.raises(ValueError, match=f"chmod go-w {file}"):
            reader_of(str(file))()
    os.truncate(file, MAX_BYTES + 1)
    file.chmod(0o600)
    with pytest.raises(ValueError, match="larger"):
        reader_of(str(file))()
