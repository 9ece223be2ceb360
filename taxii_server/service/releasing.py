"""Releases that a partner files and withdraws itself: which may be filed, and putting them in force.

A partner that files over the API must not learn who else takes part. So it can address its own groups, and the
partners that it may know: those in one of its groups, and those who read, write or own a collection that it sees.
Every other name is answered like one that does not exist. Whether an object that it did not post exists is not told
either, nor what in the policy stands against a release.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from taxii_server import audit
from taxii_server.catalog import (
    LOCAL_ID,
    Catalog,
    ReleaseEntry,
    check_catalog,
    digest_of,
    parse_catalog,
    read_releases,
    with_releases,
)
from taxii_server.catalog.filed import filed_file
from taxii_server.errors import BadContent, ConfigError, Conflict, Forbidden, NotFound, Problem
from taxii_server.service.hub import Hub
from taxii_server.times import format_position, now_position

_log = logging.getLogger(__name__)

#: Limits of one release, and of all that one partner has filed: the catalog is kept and checked whole at each change.
MAX_OBJECTS = 1_000
MAX_NAMES = 100
MAX_WHY_CHARS = 500
MAX_FILED_CHARS = 500_000

_OBJECT_ID = re.compile(r"[a-z0-9-]{1,250}--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ReleaseRefused(BadContent):
    """The policy as a whole does not allow the release. `problems` say why, for the operator alone."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("the policy of this hub does not allow this release")


@dataclass(frozen=True, slots=True)
class Request:
    """A release that somebody asks for. `id` is the local one, None: one is made. Times in µs since 1970."""

    objects: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    not_before: int | None = None
    until: int | None = None
    why: str = ""
    id: str | None = None


def releases_of(catalog: Catalog, partner: str) -> tuple[ReleaseEntry, ...]:
    """The releases in this partner's name, those of the operator too, by the id that the partner knows."""
    return tuple(sorted((each for each in catalog.releases if each.by == partner), key=lambda each: each.local_id))


def release_of(catalog: Catalog, partner: str, local_id: str) -> ReleaseEntry:
    """The release in this partner's name. Raises NotFound."""
    for each in releases_of(catalog, partner):
        if each.local_id == local_id:
            return each
    raise NotFound


def addressable(catalog: Catalog, partner: str) -> tuple[frozenset[str], frozenset[str]]:
    """The audiences and the groups that this partner may name; says nothing about those that are suspended."""
    policy = catalog.policy
    own = policy.audiences[partner].groups
    known = {name for name, audience in policy.audiences.items() if audience.groups & own}
    for collection in catalog.collections.values():
        if catalog.rights(collection, partner).visible:
            door = catalog.doors[collection.name]
            known |= door.readers | door.writers | ({collection.owner} if collection.owner else set())
    return frozenset(known - {partner}), own


def file_release(hub: Hub, partner: str, request: Request, filed_by: str, *, anybody: bool = False) -> ReleaseEntry:
    """Put a release of this partner in force; the release. The same one again changes nothing.

    With `anybody`, names need not be known to the partner: for operators. Other processes follow as with every change
    of the catalog.
    Raises BadContent for a request that is wrong in itself, Conflict for an id that the partner used for something
    else, ReleaseRefused when the policy does not hold with it.
    """
    _check(hub, partner, request)
    made: ReleaseEntry | None = None

    def add(in_force: Mapping[str, str]) -> Mapping[str, str]:
        nonlocal made
        catalog = hub.snapshot.catalog
        if catalog.digest != digest_of(in_force):
            catalog = parse_catalog(in_force)
        if partner not in catalog.policy.audiences:
            raise NotFound  # removed a moment ago
        _check_names(catalog, partner, request, anybody)
        own = releases_of(catalog, partner)
        wanted = _entry(partner, request, made.local_id if made else request.id or _next_id(own))
        same = [each for each in own if each.local_id == wanted.local_id]
        if same and request.id is None and same != [wanted]:
            # Somebody took the number that was free a moment ago.
            wanted, same = _entry(partner, request, _next_id(own)), []
        made = wanted
        if same == [wanted]:
            return in_force
        if same:
            raise Conflict(f"there is a release '{wanted.local_id}' already, and it says something else")
        files = with_releases(in_force, partner, [*(each for each in own if each.is_filed), wanted])
        if len(files[filed_file(partner)]) > MAX_FILED_CHARS:
            raise BadContent("too much is released already; withdraw releases that have ended")
        return files

    try:
        applied = hub.change(add, filed_by)
    except ConfigError as error:
        # When what is in force does not hold either, the fault is not in the release.
        in_force = hub.store.catalog()
        if in_force is not None:
            check_catalog(in_force.files, hub.settings)
        _log.warning("a release of '%s' is refused: %s", partner, error)
        audit.record("release-refused", partner=partner, by=filed_by, objects=len(request.objects))
        raise ReleaseRefused(error.problems) from error
    if made is None:
        raise AssertionError("a change that was applied was made")
    audit.record(
        "release-filed",
        partner=partner,
        by=filed_by,
        release=made.id,
        objects=len(made.objects),
        to=",".join((*made.audiences, *(f"group:{name}" for name in made.groups))),
        epoch=applied.epoch,
    )
    return made


def withdraw_release(hub: Hub, partner: str, local_id: str, withdrawn_by: str) -> None:
    """Take a filed release back. Other processes follow as with every change of the catalog.

    Works on the texts alone, so that an operator can also take back one that this program cannot read any more.
    Raises NotFound, and Conflict for one that stands in a file of the configuration.
    """
    taken: ReleaseEntry | None = None

    def remove(in_force: Mapping[str, str]) -> Mapping[str, str]:
        nonlocal taken
        own = [each for each in read_releases(in_force) if each.by == partner]
        found = [each for each in own if each.local_id == local_id]
        if not found:
            raise NotFound
        taken = found[0]
        if not taken.is_filed:
            raise Conflict(f"'{local_id}' was written by the operator of this hub; ask there to take it back")
        return with_releases(in_force, partner, [each for each in own if each.is_filed and each != taken])

    applied = hub.change(remove, withdrawn_by)
    audit.record("release-withdrawn", partner=partner, by=withdrawn_by, release=taken and taken.id, epoch=applied.epoch)


def require_may_file(scheme: str) -> None:
    """Raise Forbidden for somebody who did not log in: whoever it is, it is not the originator."""
    if scheme == "none":
        raise Forbidden


# ---- checks


def _check(hub: Hub, partner: str, request: Request) -> None:
    """Raise BadContent for what is wrong with the request, whatever the catalog says."""
    if request.id is not None and not LOCAL_ID.fullmatch(request.id):
        raise BadContent("id: up to 64 letters, digits, dots, - and _ are expected, a letter or digit first")
    _check_list("objects", request.objects, MAX_OBJECTS)
    for id_ in request.objects:
        if not _OBJECT_ID.fullmatch(id_):
            raise BadContent(f"objects: {id_[:80]!r} is not the id of an object")
    if not (request.audiences or request.groups):
        raise BadContent("to: nobody is named; give audience, group or both")
    for key, names in (("audience", request.audiences), ("group", request.groups)):
        if names:
            _check_list(f"to.{key}", names, MAX_NAMES)
    if request.until is not None:
        if request.not_before is not None and request.until <= request.not_before:
            raise BadContent("until: ends before it begins")
        if request.until <= now_position():
            raise BadContent("until: is over already")
    if len(request.why) > MAX_WHY_CHARS or not request.why.isprintable():
        raise BadContent(f"why: one line of up to {MAX_WHY_CHARS} characters is expected")
    posted = hub.store.lookup(request.objects)
    for id_ in request.objects:
        if not any(record.submitter == partner for record in posted.get(id_, ())):
            raise BadContent(f"objects: {id_!r} was not posted by {partner}; one releases one's own objects")


def _check_list(key: str, values: Collection[str], most: int) -> None:
    if not 1 <= len(values) <= most:
        raise BadContent(f"{key}: 1 to {most} values are expected")
    if len(set(values)) < len(values):
        raise BadContent(f"{key}: the same value is given twice")


def _check_names(catalog: Catalog, partner: str, request: Request, anybody: bool) -> None:
    """Raise BadContent for the first name that the partner cannot address, the same for all reasons."""
    audiences, groups = addressable(catalog, partner)
    policy = catalog.policy
    if anybody:
        audiences, groups = frozenset(policy.audiences) - {partner}, frozenset(policy.groups)
    for key, names, known in (("audience", request.audiences, audiences), ("group", request.groups, groups)):
        for name in names:
            if name not in known:
                listed = f" (known: {', '.join(sorted(known))})" if anybody else ""
                raise BadContent(
                    f"to.{key}: {name[:80]!r} is no {key} that {'it' if anybody else 'you'} can release to{listed}"
                )


def _entry(partner: str, request: Request, local_id: str) -> ReleaseEntry:
    return ReleaseEntry(
        id=f"{partner}/{local_id}",
        by=partner,
        objects=request.objects,
        audiences=request.audiences,
        groups=request.groups,
        not_before=request.not_before,
        until=request.until,
        why=request.why,
        file=filed_file(partner),
    )


def _next_id(own: Collection[ReleaseEntry]) -> str:
    """`2026-001`: the year, and a number behind those in use."""
    year = format_position(now_position())[:4]
    taken = [each.local_id[5:] for each in own if each.local_id.startswith(f"{year}-")]
    number = max((int(text) for text in taken if re.fullmatch(r"[0-9]{3,9}", text)), default=0) + 1
    return f"{year}-{number:03}"
