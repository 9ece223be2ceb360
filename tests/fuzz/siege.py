"""The corpus of hostile bodies against a real server: what is answered, what is left of what was there, and memory."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import re
import socket
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.server import Server
from tests.fuzz.corpus import Hostile, corpus, envelope, mutated
from tests.web.data import MIX
from tests.world import FT6, MT, RW, World, indicator, new_id

#: Nobody waits longer for an answer; a machine that is shared is slow, a hang is for ever.
HANG_S = 100
_PATH = f"/api1/collections/{RW}"


@dataclass
class Siege:
    """One server under fire. `require_unharmed` says that everything from before is served byte for byte."""

    server: Server
    answers: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        answer = self.server.post(RW, [*FT6, *MIX], root="api1")
        assert answer.json()["failure_count"] == 0
        self._status = answer.json()["id"]
        self._before = self._all()

    def send(self, hostile: Hostile) -> None:
        """POST one body and hold the answer to what the corpus says of it."""
        body = hostile.made()
        answer = self.server.request(
            "POST", f"{_PATH}/objects/", data=body, headers={"Content-Type": MT} | hostile.headers
        )
        self.answers[answer.status_code] += 1
        said = answer.text[:500]
        assert answer.status_code == hostile.status, said
        assert answer.headers["Content-Type"] == MT
        if answer.status_code != 202:
            resource = answer.json()
            assert re.search(hostile.says, resource["description"]), said
            assert len(said) < 500, "short, whatever was sent"
            return
        status = answer.json()
        assert status["success_count"] + status["failure_count"] == status["total_count"]
        for failure in status.get("failures", [])[:100]:
            assert 0 < len(failure["message"]) < 1000
        if hostile.says:
            assert status["failure_count"]
            assert re.search(hostile.says, status["failures"][0]["message"]), said
        elif hostile.stored is not None:
            assert status["success_count"] == hostile.stored, said
        self._require_served(status.get("successes", [])[:3], body)

    def _require_served(self, stored: Iterable[dict[str, str]], body: bytes) -> None:
        """What was stored is served as it came."""
        sent = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        for each in stored:
            served = self._get(f"objects/{each['id']}/?match[version]=all")
            first = served.removeprefix(b'{"objects":[').removesuffix(b"]}")
            assert first in sent or b'},{"' in first, (served[:300], sent[:300])

    def require_unharmed(self) -> None:
        """What was there before is there, and nothing but what was answered as stored has come."""
        after = self._all()
        assert {path: after[path] for path in self._before} == self._before

    def _all(self) -> dict[str, bytes]:
        ids = sorted({each["id"] for each in [*FT6, *MIX]})
        paths = [f"objects/{id_}/?match[version]=all&match[spec_version]=2.0,2.1" for id_ in ids]
        paths += [f"objects/{id_}/versions/" for id_ in ids]
        paths += [f"manifest/?match[version]=all&match[id]={id_}" for id_ in ids]
        found = {path: self._get(path) for path in paths}
        found["first page"] = self._get(f"objects/?limit={len(FT6)}&match[version]=all")[:2000]
        found["status"] = self.server.get(f"/api1/status/{self._status}/").content
        return found

    def _get(self, tail: str) -> bytes:
        answer = self.server.get(f"{_PATH}/{tail}")
        assert answer.status_code == 200, answer.text
        return answer.content

    # ---- memory

    def memory_kb(self) -> int:
        """What the workers hold now, together."""
        return sum(_status_kb(pid, "VmRSS") for pid in self.server.workers())

    def peak_kb(self) -> int:
        """The most that one worker ever held."""
        return max(_status_kb(pid, "VmHWM") for pid in self.server.workers())

    # ---- framing

    def send_frames(self) -> None:
        """Every odd framing is refused and leaves nothing; every good one is taken."""
        for name, (head, body) in FRAMES.items():
            status = self.send_raw(head, body)
            assert status in (None, 400, 413, 415, 422, 431, 501), f"{name}: {status}"
        assert self.server.get(f"{_PATH}/objects/{_FRAMED_ID}/").status_code == 404
        for name, (head, body) in FRAMED.items():
            assert self.send_raw(head, body) == 202, name
        assert self.server.get(f"{_PATH}/objects/{_FRAMED_ID}/").status_code == 200

    def send_raw(self, head: bytes, body: bytes) -> int | None:
        """POST with headers and a body as they are, then hang up; the status, None when there was no answer."""
        whole = b"\r\n".join(
            [
                f"POST {_PATH}/objects/ HTTP/1.1".encode(),
                b"Host: hub",
                f"Accept: {MT}".encode(),
                f"Content-Type: {MT}".encode(),
                f"Authorization: Bearer {self.server.token('rw')}".encode(),
                head,
            ]
        )
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=HANG_S) as connection:
            with suppress(ConnectionError):
                connection.sendall(whole + b"\r\n\r\n" + body)
                connection.shutdown(socket.SHUT_WR)
            got = b""
            with suppress(ConnectionError):
                while data := connection.recv(65536):
                    got += data
        if not got:
            return None
        status = int(got.split(maxsplit=2)[1])
        self.answers[status] += 1
        return status


def _status_kb(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"{name}:\s+(\d+) kB", text)[0])


_FRAMED_ID = new_id()
_ONE = envelope(indicator(_FRAMED_ID, name="framed"))
_CHUNKED = b"Transfer-Encoding: chunked"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


#: name -> headers and body. None of them may be stored, but the last.
FRAMES: dict[str, tuple[bytes, bytes]] = {
    "a chunk size of letters": (_CHUNKED, b"zz\r\n" + _ONE),
    "a negative chunk size": (_CHUNKED, b"-5\r\n" + _ONE),
    "a signed chunk size": (_CHUNKED, b"+5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with 0x": (_CHUNKED, b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size of 2^64": (_CHUNKED, b"FFFFFFFFFFFFFFFF\r\n" + _ONE),
    "a chunk size of a million digits": (_CHUNKED, b"1" * 1_000_000 + b"\r\n" + _ONE),
    "a chunk longer than it says": (_CHUNKED, b"5\r\n" + _ONE + b"\r\n0\r\n\r\n"),
    "a chunk shorter than it says": (_CHUNKED, b"%x\r\n" % (len(_ONE) + 50) + _ONE + b"\r\n0\r\n\r\n"),
    "chunks without an end": (_CHUNKED, _chunk(_ONE)),
    "half a chunk": (_CHUNKED, _chunk(_ONE)[: len(_ONE) // 2]),
    "no chunk at all": (_CHUNKED, b""),
    "an extension of a megabyte": (_CHUNKED, b"5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n"),
    "chunks with bare line feeds": (_CHUNKED, _chunk(_ONE).replace(b"\r\n", b"\n") + b"0\n\n"),
    "both framings": (_CHUNKED + b"\r\nContent-Length: 5", _chunk(_ONE) + b"0\r\n\r\n"),
    "two lengths": (b"Content-Length: 5\r\nContent-Length: %d" % len(_ONE), _ONE),
    "a list of lengths": (b"Content-Length: 5, %d" % len(_ONE), _ONE),
    "a signed length": (b"Content-Length: +%d" % len(_ONE), _ONE),
    "a negative length": (b"Content-Length: -1", _ONE),
    "a length of letters": (b"Content-Length: many", _ONE),
    "a length of 2^70": (b"Content-Length: %d" % 2**70, _ONE),
    "a length of ten thousand digits": (b"Content-Length: " + b"9" * 10_000, _ONE),
    "a length in Arabic digits": ("Content-Length: \u0661\u0662".encode(), _ONE),
    "a length too long": (b"Content-Length: %d" % (len(_ONE) + 10), _ONE),
    "a length too short": (b"Content-Length: %d" % (len(_ONE) - 10), _ONE),
    "no length": (b"X-None: 1", _ONE),
    "a coding that is none": (b"Transfer-Encoding: xchunked", _ONE),
    "two codings": (b"Transfer-Encoding: gzip, chunked", _chunk(_ONE) + b"0\r\n\r\n"),
    "chunked twice": (_CHUNKED + b"\r\n" + _CHUNKED, _chunk(_ONE) + b"0\r\n\r\n"),
    "a header of a megabyte": (b"X-Long: " + b"x" * 1_000_000, _ONE),
    "ten thousand headers": (b"\r\n".join(b"X-%d: 1" % n for n in range(10_000)), _ONE),
    "a header without a colon": (b"X-None", _ONE),
    "a folded header": (b"X-Fold: a\r\n b", _ONE),
    "a space before the colon": (b"Content-Length : %d" % len(_ONE), _ONE),
    "NUL in a header": (b"X-Nul: a\x00b\r\nContent-Length: %d" % len(_ONE), _ONE),
}
#: What is as it should be, to know that the others are refused for their framing.
FRAMED = {
    "a length": (b"Content-Length: %d" % len(_ONE), _ONE),
    "chunks": (_CHUNKED, _chunk(_ONE[:10]) + _chunk(_ONE[10:]) + b"0\r\n\r\n"),
    "chunks with an extension and a trailer": (_CHUNKED, b"%x;a=b\r\n%s\r\n0\r\nX-T: 1\r\n\r\n" % (len(_ONE), _ONE)),
}


def mutations(world: World, numbers: Iterable[int], progress: Callable[[], None] = lambda: None) -> Counter[int]:
    """Send envelopes with changed bytes; what a strict reader of JSON refuses must not be taken."""
    answers: Counter[int] = Counter()
    for number in numbers:
        body = mutated(number)
        answer = world.post(body)
        answers[answer.status_code] += 1
        assert answer.status_code in (202, 422), f"mutation {number}: {answer.text}"
        if answer.status_code == 422:
            assert answer.json["description"], f"mutation {number}"
        else:
            assert _reads(body), f"mutation {number}: taken, and no JSON"
        progress()
    return answers


def growth(world: World, rounds: int) -> int:
    """Bytes of Python objects that are left of so many rounds of all smaller bodies, after one round to warm up."""
    small = [hostile for hostile in corpus() if not hostile.heavy and "bomb" not in hostile.name]
    small = [hostile for hostile in small if len(hostile.made()) < 50_000]

    def round_() -> None:
        for hostile in small:
            world.post(hostile.made(), headers=hostile.headers)

    # pytest keeps the lines of the log, at whatever level a test before this one has left: they are not the server's.
    logging.disable(logging.CRITICAL)
    round_()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(rounds):
            round_()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)


def _reads(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body.decode("utf-8")), dict)
    except ValueError:
        return False
