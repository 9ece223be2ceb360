"""Whether an address can be listened on, and what is said when it cannot."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from taxii_server.cli import listening
from taxii_server.errors import TaxiiServerError


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_free_port_is_left_free() -> None:
    listening.require_address("127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    listening.require_address("127.0.0.1", port)
    listening.require_address("localhost", port)


def test_a_port_that_another_program_has_is_told_with_how_to_find_it(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with pytest.raises(TaxiiServerError, match=f"port {port}: another program has it .*sport = :{port}.*--port"):
        listening.require_address("127.0.0.1", port, 0)


def test_a_server_that_is_ending_is_waited_for(taken: socket.socket) -> None:
    threading.Timer(0.3, taken.close).start()
    listening.require_address("127.0.0.1", taken.getsockname()[1], 60)


def test_an_address_of_another_machine_and_one_that_is_none() -> None:
    with pytest.raises(TaxiiServerError, match="this machine does not have that address"):
        listening.require_address("192.0.2.1", 0, 0)
    with pytest.raises(TaxiiServerError, match="there is no such address"):
        listening.require_address("no.such.host.invalid", 1, 0)
    assert "CAP_NET_BIND_SERVICE" in listening._reason(OSError(errno.EACCES, "no"), 80)
