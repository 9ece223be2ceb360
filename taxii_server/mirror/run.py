"""What pull and push share: the mirror made whole by the catalog, one run of it, and what that reports."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from taxii_server.catalog import Catalog, Collection
from taxii_server.errors import ConfigError, Forbidden, Problem, StorageError
from taxii_server.mirror import state as states
from taxii_server.mirror.connection import PeerError, Stopped
from taxii_server.mirror.intake import Counts
from taxii_server.mirror.papers import Papers
from taxii_server.mirror.peer import Peer
from taxii_server.mirror.schema import Mirror, identity
from taxii_server.mirror.state import State, Turn
from taxii_server.mirror.walk import WalkBroken
from taxii_server.model import Actor, Origin
from taxii_server.service.hub import Hub
from taxii_server.settings.rows import unknown

_MAX_WARNINGS = 50


@dataclass(slots=True)
class Report:
    """What one run did. `error` is empty when it came to the end; `complete`: nothing more was to be had."""

    name: str
    kind: str
    key: str
    counts: Counts = field(default_factory=Counts)
    pages: int = 0
    complete: bool = False
    #: objects that were deleted because the peer does not have them any more
    deleted: int = 0
    #: objects that would have been, had they not been too many
    deletions_held: int = 0
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    #: the peer asked not to be asked before so many seconds
    retry_after_s: float = 0.0

    def warn(self, message: str) -> None:
        """Keep a sentence for the operator, once."""
        if message not in self.warnings and len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(message)

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        parts = asdict(self)
        names = ("id", "version", "reason")
        parts["counts"]["refusals"] = [dict(zip(names, each, strict=True)) for each in self.counts.refusals]
        return parts


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run is told and tells: when to stop, how far it is, what it waits for."""

    stop: threading.Event = field(default_factory=threading.Event)
    #: told how many objects are done
    progress: Callable[[int], None] = lambda done: None
    #: told what is waited for
    told: Callable[[str], None] = lambda message: None
    #: how long one pause may be; a peer that asks for a longer one is left alone until the next run
    longest_pause_s: float = 120.0
    #: how often a service does this; 0: it is done by hand
    interval_s: float = 0.0


class Job(ABC):
    """One mirror, for one run."""

    def __init__(self, hub: Hub, mirror: Mirror, around: Surroundings) -> None:
        """Raises ConfigError when the mirror does not fit the catalog in force."""
        self.hub = hub
        self.around = around
        hub.follow()
        self.mirror, self.collection = fitted(hub.snapshot.catalog, mirror)
        self.key = identity(self.mirror, self.collection.id)
        self.report = Report(mirror.name, mirror.kind, self.key)
        self.state = State(self.key, mirror.name, mirror.kind, mirror.url, mirror.collection, self.mirror.partner)

    def run(self, *, from_start: bool = False) -> Report:
        """Go on where the last run ended, or from the start; what was done, and what went wrong at the peer.

        Raises Busy while another process works on this mirror, Stopped, ConfigError, StorageError.
        """
        store, settings = self.hub.store, self.hub.settings
        with states.turn(store, self.key) as turn:
            known = states.load(store, self.key)
            if known is not None:
                self.state = replace(known, name=self.mirror.name, last_error="", not_before=0)
            if from_start:
                self.state.cursor = {}
            if self.around.interval_s:
                self.state.interval_s = self.around.interval_s
            self.state.last_run = store.present()
            check_modes = settings.check_file_modes
            with (
                Papers(Path(settings.mirrors_dir), self.key, check_modes=check_modes) as papers,
                closing(self._peer(check_modes=check_modes)) as peer,
            ):
                try:
                    self.work(peer, papers, turn)
                    self.state.last_success = store.present()
                except (PeerError, WalkBroken, Forbidden) as error:
                    self.report.error = self.state.last_error = str(error)
                    self.report.retry_after_s = getattr(error, "retry_after_s", None) or 0.0
                    self.state.not_before = store.present() + int(self.report.retry_after_s * 1e6)
            self.save()
        return self.report

    @abstractmethod
    def work(self, peer: Peer, papers: Papers, turn: Turn) -> None:
        """Do it. What is raised of PeerError, WalkBroken and Forbidden goes into the report."""

    def save(self) -> None:
        """Write down how far it is."""
        states.save(self.hub.store, self.state)

    def require_turn(self, turn: Turn) -> None:
        """Raises Stopped when the mirror was told to end, StorageError when another process may have taken over."""
        if self.around.stop.is_set():
            raise Stopped("told to end; the next run goes on where this one was")
        if turn.lost.is_set():
            raise StorageError("another process has taken this mirror over; the store did not answer for too long")

    def is_enough(self) -> bool:
        """Whether so much was done that the rest is left to the next run."""
        received = self.report.counts.received
        if received < self.mirror.max_objects:
            return False
        self.report.warn(f"{received} objects in one run (max_objects); the next run goes on there")
        return True

    def _peer(self, *, check_modes: bool) -> Peer:
        around = self.around
        return Peer(
            self.mirror,
            self.mirror.spec_versions,
            check_modes=check_modes,
            stop=around.stop,
            told=around.told,
            longest_pause_s=around.longest_pause_s,
        )


def fitted(catalog: Catalog, mirror: Mirror) -> tuple[Mirror, Collection]:
    """The mirror with what it leaves to the catalog filled in, and its collection here.

    Raises ConfigError when the collection or the partner is not known, or the partner may not do what it has to.
    """
    collection = catalog.collections.get(mirror.collection)
    if collection is None:
        raise _wrong(mirror, "collection", unknown("collection", mirror.collection, catalog.collections))
    partner = mirror.partner or collection.owner or ""
    if partner not in catalog.policy.audiences:
        nobody = f"'{mirror.collection}' has no owner: say as which partner objects are posted"
        raise _wrong(mirror, "partner", unknown("partner", partner, catalog.policy.audiences) if partner else nobody)
    rights = catalog.rights(collection, partner)
    if mirror.kind == "pull" and not rights.write:
        raise _wrong(mirror, "partner", f"{partner} may not write to {collection.name} (see writers in its file)")
    if mirror.kind == "push" and not rights.read:
        raise _wrong(mirror, "partner", f"{partner} may not read {collection.name} (see readers in its file)")
    spec_versions = mirror.spec_versions or (
        collection.accepts if mirror.kind == "pull" else catalog.accepted(collection)
    )
    return replace(mirror, partner=partner, spec_versions=spec_versions), collection


def actor_of(mirror: Mirror) -> Actor:
    """Who acts, as the ledger names it."""
    origin = Origin(method=f"mirror {mirror.kind}", path=mirror.url)
    return Actor(mirror.partner, f"mirror {mirror.name}", "mirror", origin)


def require_fitting(catalog: Catalog, mirrors: Iterable[Mirror]) -> None:
    """Raise ConfigError with everything in which these mirrors do not fit the catalog."""
    problems: list[Problem] = []
    for mirror in mirrors:
        try:
            fitted(catalog, mirror)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _wrong(mirror: Mirror, key: str, message: str) -> ConfigError:
    return ConfigError([Problem(f"mirror {mirror.name}", key, message)])
