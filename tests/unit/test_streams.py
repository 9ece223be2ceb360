"""Bytes on their way in and out: what gunicorn's readers see, where a chunked body ends, what a full network leaves."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxii_server.serving.chunks import ChunkScan
from taxii_server.serving.streams import Incoming, Outgoing


def test_what_arrived_is_read_once_and_then_looks_like_the_end() -> None:
    incoming = Incoming()
    incoming.add(b"abcdef")
    assert incoming.read(2) == b"ab"
    incoming.unread(b"AB")
    assert incoming.read(None) == b"ABcdef"
    assert incoming.read() == incoming.read(5) == incoming.chunk() == b""


def test_without_a_size_a_piece_is_given_and_not_everything() -> None:
    incoming = Incoming()
    incoming.add(b"x" * 10_000_000)
    assert len(incoming.read()) < 100_000
    assert len(incoming.read(None, read_ahead=1_000_000)) == 1_000_000
    assert len(incoming.take_buffered()) + len(incoming) > 8_000_000


def chunked(parts: list[bytes], extension: bytes, trailer: bytes) -> bytes:
    lines = [b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts if part]
    return b"".join(lines) + b"0\r\n" + trailer + b"\r\n"


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.sampled_from([b"", b";a=b", b' ;x="\\"y"']),
    st.sampled_from([b"", b"X-A: b\r\n"]),
    st.integers(1, 50),
    st.binary(max_size=20),
)
def test_the_end_of_a_chunked_body_is_found_when_it_has_come_and_not_before(
    parts: list[bytes], extension: bytes, trailer: bytes, step: int, behind: bytes
) -> None:
    whole = chunked(parts, extension, trailer)
    scan, data = ChunkScan(), bytearray()
    for start in range(0, len(whole), step):
        assert not scan.feed(data)
        data += whole[start : start + step]
        if start + step >= len(whole):
            data += behind
    assert scan.feed(data)
    assert scan.size == sum(len(part) for part in parts)


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"-5\r\n", b"\r\n", b"3\r\nabcdef", b"3\nabc", b"+3\r\nabc\r\n", b"f" * 20_000, b"1_0\r\n"]
)
def test_what_is_damaged_is_not_waited_for(body: bytes) -> None:
    assert ChunkScan().feed(bytearray(body))


def test_a_chunk_counts_before_it_is_complete() -> None:
    scan = ChunkScan()
    assert not scan.feed(bytearray(b"5\r\nabcde\r\nffffff\r\n" + b"x" * 1000))
    assert scan.size == 1005


def test_what_the_network_does_not_take_is_kept_and_sent_later_in_order() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        outgoing = Outgoing(ours)
        sent = [bytes([index]) * 700_000 for index in range(5)]
        for part in sent:
            outgoing.sendall(part)
        assert outgoing.pending > 0
        assert outgoing.total == 3_500_000
        theirs.settimeout(5)
        got = bytearray()
        while not outgoing.flush(1_000_000):
            got += theirs.recv(1_000_000)
        while len(got) < outgoing.total:
            got += theirs.recv(1_000_000)
        assert got == b"".join(sent)
        assert (outgoing.pending, outgoing.sent) == (0, 3_500_000)


def test_a_client_that_is_gone_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(OSError, match="pipe"):
            Outgoing(ours).sendall(b"x" * 100)
