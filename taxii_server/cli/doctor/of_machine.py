"""The machine: open files, disk, and whether a server listens."""

from __future__ import annotations

import ctypes
import http.client
import os
import resource
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from taxii_server.cli.doctor.finding import Finding, failure, ok, warning
from taxii_server.settings import Settings

_MB, _GB = 1_000_000, 1_000_000_000
#: Files that a worker has open besides its connections.
_OTHER_FILES = 256
_WAIT_S = 3.0
#: What adjtimex(2) answers for a clock that nobody corrects, and more room than its answer takes.
_UNSYNCHRONISED, _TIMEX_BYTES = 5, 512
#: File systems whose files are gone after a restart of the machine, or of the container.
_PASSING = frozenset({"tmpfs", "ramfs", "overlay"})


def look_at_limits(settings: Settings) -> Iterator[Finding]:
    """Whether a worker may open as many connections as the settings allow. Of this shell; a service has its own."""
    needed = settings.max_connections + _OTHER_FILES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        yield warning(
            "limits",
            f"a process started here may open {hard:,} files, a worker needs {needed:,} (max_connections)",
            f"LimitNOFILE={needed} in the unit of systemd, `ulimit -Hn {needed}` in a shell, or fewer max_connections",
        )
    else:
        yield ok("limits", f"a worker may open the {needed:,} files that max_connections needs")
    cores = os.cpu_count() or 1
    if settings.workers > 4 * cores:
        do = f"about one for each core: workers = {cores}"
        yield warning("limits", f"{settings.workers} workers on {cores} core(s) wait for each other", do)


def look_at_clock() -> Iterator[Finding]:
    """Whether something keeps the clock of this machine right, as the kernel sees it; nothing where it does not say."""
    state = _kernel_clock()
    if state == _UNSYNCHRONISED:
        do = "run chrony or systemd-timesyncd; in a container, on the machine that it runs on"
        yield warning("clock", "nothing keeps the clock of this machine right", do)
    elif state is not None:
        yield ok("clock", "the clock of this machine is kept right")


def _kernel_clock() -> int | None:
    """adjtimex(2), which only asks here."""
    call = getattr(ctypes.CDLL(None), "adjtimex", None)
    state = -1 if call is None else call(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else int(state)


def room(area: str, where: str, free: int, total: int) -> Finding:
    """Whether there is room where a database lies."""
    told = f"{where} has {_size(free)} of {_size(total)} free"
    if free < 200 * _MB:
        return failure(area, told, "make room now: a full disk refuses every POST, and with the ledger every poll")
    if free < 2 * _GB or free < total / 20:
        return warning(area, told, "make room, or let objects go in time (retention_days, docs/upkeep.md)")
    return ok(area, told)


def look_at_disk(settings: Settings) -> Iterator[Finding]:
    """Room beside an SQLite file; a MongoDB says it itself."""
    if settings.uses_mongodb:
        return
    folder = Path(settings.store.removeprefix("sqlite:///")).parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    yield room("disk", str(folder), usage.free, usage.total)


def look_at_spool(settings: Settings) -> Iterator[Finding]:
    """Whether the folder of ledger_spool can be written to and outlives a restart of this machine."""
    if not (settings.uses_mongodb and settings.ledger_spool):
        return
    folder = Path(settings.ledger_spool)
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        do = "let the user of the server write there, or leave ledger_spool empty; pages are slower meanwhile"
        yield warning("ledger", f"{place} cannot be written by this user (ledger_spool)", do)
        return
    kind = _file_system(place)
    if kind in _PASSING:
        do = "name a folder on a disk, or leave ledger_spool empty: what is there is lost with a restart"
        yield failure("ledger", f"{folder} is in a file system of kind {kind} (ledger_spool)", do)
        return
    damaged = [each.name for each in sorted(folder.glob("*.damaged"))] if folder.exists() else []
    if damaged:
        do = "keep the files: not all of their entries are in the ledger; the log has the reason, see docs/ledger.md"
        yield warning("ledger", f"{folder} holds {', '.join(damaged)}", do)
    else:
        yield ok("ledger", f"{folder} can be written to, on a file system of kind {kind or 'unknown'}")


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder is in, as the kernel names it; empty where it does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        head, _, tail = line.partition(" - ")
        if head.split()[2] == number:
            return tail.split()[0]
    return ""


def look_at_server(settings: Settings) -> Iterator[Finding]:
    """Whether a server answers where the settings say. None needs to run: then that is said."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - asked, not bound
    where = f"{settings.host}:{settings.port}"
    try:
        status = _ready(host, settings)
    except ConnectionRefusedError:
        yield ok("server", f"none runs at {where}; `taxii-server serve` starts it")
    except (OSError, http.client.HTTPException) as error:
        do = "see its log; is it another program that has this port?"
        yield warning("server", f"something at {where} does not answer as a server does: {error}", do)
    else:
        if status == 200:
            yield ok("server", f"a server at {where} is ready")
        else:
            yield failure("server", f"the server at {where} is not ready ({status})", "see its log, and `/readyz`")


def _ready(host: str, settings: Settings) -> int:
    if settings.tls_certificate:
        # It is asked whether it is there, and told nothing: its certificate was looked at on disk.
        context = ssl._create_unverified_context()  # noqa: S323
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, settings.port, timeout=_WAIT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, settings.port, timeout=_WAIT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except socket.gaierror as error:
        raise OSError(f"no address for {host}: {error.strerror}") from error
    finally:
        connection.close()


def _size(count: int) -> str:
    return f"{count / _GB:,.1f} GB" if count >= _GB else f"{count / _MB:,.0f} MB"
