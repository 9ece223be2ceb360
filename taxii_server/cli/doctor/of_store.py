"""The store: reachable, whole enough, writable, with a clock that agrees; and what stands in it that needs somebody."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from taxii_server.auth.secrets import expiry_of
from taxii_server.catalog import FILED, Catalog, read_files
from taxii_server.cli.doctor.finding import Finding, failure, ok, warning
from taxii_server.cli.doctor.of_machine import room
from taxii_server.errors import ConfigError, TaxiiServerError
from taxii_server.service.review import WAITING
from taxii_server.settings import Settings, masked
from taxii_server.storage import store_of
from taxii_server.storage.base import Store
from taxii_server.storage.condition import Condition, mongo_condition, sqlite_condition
from taxii_server.storage.quarantine import EntryQuery
from taxii_server.times import format_position, now_position

_OLDEST_MONGODB = 6
#: Between the clock of this machine and that of the database (µs): more is odd, much more is wrong.
_ODD_US, _WRONG_US = 2_000_000, 60_000_000
#: A commit that takes longer than this is felt by whoever posts.
_SLOW_S = 0.5
_SOON = timedelta(days=14)
_MANY = 5


def look_at_store(settings: Settings, catalog: Catalog | None) -> Iterator[Finding]:
    """The database of the settings. What it holds is looked at when it is there and of this release."""
    where = masked(settings.store)
    try:
        found = mongo_condition(settings.store) if settings.uses_mongodb else sqlite_condition(_path(settings))
    except PermissionError as error:
        yield failure("store", f"{error.filename or where}: permission denied", "run this as the user of the server")
        return
    except (TaxiiServerError, OSError) as error:
        do = "start the database, or correct `store` (server.toml, TAXII_SERVER_STORE or --store)"
        yield failure("store", f"{where} does not answer: {error}", do)
        return
    yield ok("store", f"{where} answers ({found.product})")
    yield from _nodes(found)
    yield from _clock(found)
    if found.free_bytes is not None and found.total_bytes:
        yield room("disk", "the disk of the database", found.free_bytes, found.total_bytes)
    schema = list(_schema(found, settings))
    yield from schema
    if found.schema == found.known and all(each.level != "failure" for each in schema):
        yield from _inside(settings, catalog)


def _path(settings: Settings) -> Path:
    return Path(settings.store.removeprefix("sqlite:///"))


def _nodes(found: Condition) -> Iterator[Finding]:
    """The replica set, and what it can lose."""
    if not found.product.startswith("MongoDB"):
        return
    if int(found.product.split()[1].partition(".")[0]) < _OLDEST_MONGODB:
        yield failure("store", f"{found.product} is too old", f"update it to {_OLDEST_MONGODB}.0 or newer")
        return
    if not found.members:
        do = "start mongod with --replSet NAME, and run rs.initiate() once in mongosh"
        yield failure("store", "the server is not in a replica set, which transactions need", do)
        return
    up = [name for name, answers in found.members if answers]
    down = [name for name, answers in found.members if not answers]
    majority = len(found.members) // 2 + 1
    told = f"{len(up)} of {len(found.members)} nodes answer"
    if len(up) < majority:
        yield failure("store", f"{told}, a majority is {majority}: nothing can be written", f"start {', '.join(down)}")
    elif down:
        yield warning("store", f"{told}; {', '.join(down)} does not", f"start it; {len(up) - majority} more may fail")
    elif len(found.members) < 3:
        do = "run three nodes on three machines"
        yield warning("store", f"{told}: there is no other to take over, and no second copy", do)
    else:
        yield ok("store", f"{told}, a majority is {majority}")


def _clock(found: Condition) -> Iterator[Finding]:
    if found.clock_us is None:
        return
    apart = abs(now_position() - found.clock_us)
    told = f"the clock of this machine and that of the database are {apart / 1e6:.1f} s apart"
    do = "run chrony or systemd-timesyncd on both machines"
    if apart > _WRONG_US:
        yield failure("clock", told, do)
    elif apart > _ODD_US:
        yield warning("clock", told, do)
    else:
        yield ok("clock", "the clock of this machine agrees with that of the database")


def _schema(found: Condition, settings: Settings) -> Iterator[Finding]:
    if found.is_foreign:
        yield failure("store", "this is the database of another application", "give `store` a path of its own")
    elif found.schema is None:
        yield ok("store", "there is no database yet; 'taxii-server serve' makes it")
        if not settings.uses_mongodb:
            yield from _place(_path(settings))
    elif found.schema > found.known:
        do = "start the newer release, or restore a backup"
        yield failure("store", f"schema {found.schema} is of a newer release; this one knows {found.known}", do)
    elif found.schema < found.known:
        do = "make a backup with the old release; the next start brings it up to date"
        yield warning("store", f"schema {found.schema} is of an older release; this one has {found.known}", do)
    else:
        yield ok("store", f"schema {found.schema}, that of this release")


def _place(path: Path) -> Iterator[Finding]:
    """Whether a database can be made there."""
    folder = path.parent if path.parent.exists() else path.parent.parent
    if not folder.exists():
        yield failure("store", f"there is no folder {path.parent}", f"run: mkdir -p {path.parent}")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield failure("store", f"{folder} cannot be written by this user", f"run: chown $(id -un) {folder}")


# ---- what is in it


def _inside(settings: Settings, catalog: Catalog | None) -> Iterator[Finding]:
    store = store_of(settings)
    try:
        ahead = store.clock() - now_position()
        if ahead > _ODD_US:
            yield warning(
                "clock",
                f"the newest object was added at {format_position(store.clock())}, {ahead / 1e6:.0f} s from now",
                "set the clock of this machine right; new objects get times after that one, so nothing is lost",
            )
        yield from _writable(store)
        yield from _in_force(settings, store)
        if catalog is not None:
            yield from _credentials(store, catalog)
        yield from _waiting(store)
    except (TaxiiServerError, OSError) as error:
        yield failure("store", f"it cannot be read: {error}", "see the log of the database, then `taxii-server verify`")
    finally:
        store.close()


def _writable(store: Store) -> Iterator[Finding]:
    began = time.perf_counter()
    try:
        store.tick()
    except TaxiiServerError as error:
        do = "rights of the file and its folder, room on the disk, roles of the user of the database"
        yield failure("store", f"nothing can be written: {error}", f"look at: {do}")
        return
    took = time.perf_counter() - began
    if took > _SLOW_S:
        do = "look at its disk and its load: every POST waits as long, and every commit"
        yield warning("store", f"a durable write takes {took:.1f} s", do)
    else:
        yield ok("store", f"a durable write takes {took * 1000:.0f} ms")


def _in_force(settings: Settings, store: Store) -> Iterator[Finding]:
    """Whether what is on disk is what servers go by."""
    applied = store.catalog()
    if applied is None:
        yield ok("policy", "no configuration was put in force yet; the first start does it")
        return
    try:
        on_disk = read_files(settings)
    except ConfigError:
        return  # told already
    in_force = {name: text for name, text in applied.files.items() if not name.startswith(FILED)}
    if in_force == on_disk:
        yield ok("policy", f"the files on disk are in force: {applied.digest[:12]}, applied by {applied.applied_by}")
        return
    names = sorted(name for name in in_force.keys() | on_disk.keys() if in_force.get(name) != on_disk.get(name))
    do = "see what it would change with `taxii-server policy what-if FILE...`, then run `taxii-server reload`"
    yield warning("policy", f"not in force as it stands on disk: {_listed(names)}", do)


def _credentials(store: Store, catalog: Catalog) -> Iterator[Finding]:
    """Partners that cannot come in, credentials that lead nowhere, tokens that end soon."""
    credentials = [each for each in store.credentials() if not each.revoked]
    now = datetime.now(UTC)
    ends = {each.id: expiry_of(each) for each in credentials}
    good = [each for each in credentials if (end := ends[each.id]) is None or end > now]
    soon = [each for each in good if (end := ends[each.id]) is not None and end < now + _SOON]
    audiences = catalog.policy.audiences
    lost = sorted({each.partner for each in good} - audiences.keys())
    without = sorted(
        name
        for name, each in audiences.items()
        if not (each.certificates or each.claims or each.suspended) and all(one.partner != name for one in good)
    )
    if without and good:
        told = f"{len(without)} partner(s) have no credential: {_listed(without)}"
        yield warning("credentials", told, "`taxii-server token new PARTNER` makes one")
    if lost:
        do = "revoke them: `taxii-server token list`, `taxii-server token revoke ID`"
        yield warning(
            "credentials", f"credentials of partners that the configuration does not know: {_listed(lost)}", do
        )
    for each in soon:
        told = f"token {each.id} of {each.partner} ends at {ends[each.id]:%Y-%m-%d %H:%M} UTC"
        yield warning(
            "credentials", told, f"`taxii-server token new {each.partner} --expires 90d`, and tell the partner"
        )
    if not good:
        yield ok("credentials", "nobody has any yet; `taxii-server token new PARTNER` makes one")
    elif not (without or lost or soon):
        yield ok("credentials", f"{len(good)} in use, one for every partner at least")


def _waiting(store: Store) -> Iterator[Finding]:
    held = store.quarantine.page(EntryQuery(1000, None, None, WAITING))
    if held:
        count = f"{len(held)}" if len(held) < 1000 else "1000 or more"
        told = f"{count} object(s) wait for a decision, the oldest since {format_position(held[0].held)}"
        yield warning("quarantine", told, "`taxii-server quarantine list`; the owner of the collection decides")
    else:
        yield ok("quarantine", "nothing waits for a decision")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more
