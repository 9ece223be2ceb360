"""Whether the address of the settings can be listened on, said before anything else happens."""

from __future__ import annotations

import errno
import socket
import time

from taxii_server.errors import TaxiiServerError

#: How long a server that is ending may still have the port: a restart is not an error.
PATIENCE_S = 5.0
_LOOK_S = 0.25


def require_address(host: str, port: int, patience_s: float = PATIENCE_S) -> None:
    """Raise TaxiiServerError, with what to do, when this machine cannot listen there."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            _try(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(_LOOK_S)
                continue
            raise TaxiiServerError(f"cannot listen on {host}, port {port}: {_reason(error, port)}") from error
        return


def _try(host: str, port: int) -> None:
    family, _, _, _, place = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)  # and no more: nobody shall reach a port that is not served


def _reason(error: OSError, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return "there is no such address; set host to one of this machine (`ip address` lists them)"
    if error.errno == errno.EADDRINUSE:
        return f"another program has it (`ss -ltnp 'sport = :{port}'` says which); end that, or choose another --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 are for root; choose another --port, or give the service CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; set host to one that it has (`ip address` lists them)"
    return (error.strerror or str(error)).lower()
