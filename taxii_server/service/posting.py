"""Writes: add objects, delete an object (TAXII 2.1, 5.5 and 5.7).

A body is read whole, then stored in portions of one transaction each. A 4xx is decided before the first
portion, so it means that nothing was stored; a crash in the middle gives no answer, and the same body may be
posted again: what is already there is a success and makes no new record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from taxii_server.catalog import Collection
from taxii_server.errors import BadContent, InvalidObject
from taxii_server.model import Draft, Record, Traits
from taxii_server.policy.guard import Guard, Stop, watch_over
from taxii_server.service.book import Book, Flags, LabelKey
from taxii_server.service.guarding import Gate, Stopped, refusal
from taxii_server.service.labelling import PORTION, Labelling
from taxii_server.service.post import Added, Post, Tell, then
from taxii_server.service.quota import Quota, QuotaReached
from taxii_server.service.versions import Outcome, plan_deletion, plan_posts
from taxii_server.stix.parse import DEFAULT_LIMITS, Item, JsonLimits, read_envelope
from taxii_server.stix.terms import read_terms
from taxii_server.stix.traits import read_traits
from taxii_server.stix.validate import Strictness, read_object
from taxii_server.storage.base import Inside, Plan, Store
from taxii_server.storage.quarantine import Entry
from taxii_server.times import format_position


@dataclass(frozen=True, slots=True)
class Incoming:
    """One member of a body on its way into a collection. `at`: where it wants to stand (see Draft)."""

    collection: Collection
    item: Item
    at: int = 0


class Writer:
    """The writes of one server. `guards` gives those of the policy in force."""

    def __init__(
        self,
        store: Store,
        book: Book,
        guards: Callable[[], Sequence[Guard]],
        limits: JsonLimits = DEFAULT_LIMITS,
        max_labels: int = 0,
    ) -> None:
        """`max_labels`: of one submitter; 0: as many as it likes."""
        self._store = store
        self._book = book
        self._guards = guards
        self._limits = limits
        self._quota = Quota(book, max_labels)
        self.labelling = Labelling(store, book, self._quota)

    def add(
        self,
        submitter: str,
        collection: Collection,
        body: bytes,
        progress: Callable[[int, int], None] = lambda done, of: None,
        post: Post | None = None,
    ) -> list[Added]:
        """Store the objects of a TAXII envelope or STIX bundle for this submitter.

        Raises BadContent when the body as a whole cannot be processed. A bad object becomes a failure,
        and so does one that a guard stops; the others go on. `progress` is told how many objects of the body are
        done, and of how many. Without a `post`, the guards in force judge it and there is no status.

        The status of a post is kept when this returns: with its last objects, where any are stored, or else by itself.
        For a post, also raises Superseded, with nothing written, when another catalog is in force than the one that
        judges it: before any of its objects is stored, whatever else there is to be said about it.
        """
        post = post or self._unasked()
        try:
            items = self._read(collection, body)
        except BadContent:
            post.require_certain()
            raise
        return self.add_items(submitter, [Incoming(collection, item) for item in items], progress, post)

    def _read(self, collection: Collection, body: bytes) -> list[Item]:
        items = read_envelope(body, self._limits)
        most = collection.limits.max_objects
        if most and len(items) > most:
            raise BadContent(f"{len(items)} objects in one request, this collection takes {most}; send several")
        return items

    def add_items(
        self,
        submitter: str,
        incoming: Sequence[Incoming],
        progress: Callable[[int, int], None] = lambda done, of: None,
        post: Post | None = None,
    ) -> list[Added]:
        """Store these members, which may be for several collections, in their order; otherwise as `add`."""
        post = post or self._unasked()
        gates = self._gates(submitter, incoming, post)
        results: list[Added] = []
        for start in range(0, len(incoming), PORTION):
            is_last = start + PORTION >= len(incoming)
            portion = incoming[start : start + PORTION]
            tell = then(post.tell if is_last else None, lambda last: [*results, *last])
            results.extend(self._add_portion(submitter, portion, start, gates, post, tell))
            progress(len(results), len(incoming))
        post.require_certain()
        if post.tell is not None and not post.is_told:
            self._store.save_status(post.tell(results))
        return results

    def _unasked(self) -> Post:
        """For what is no request: the guards in force judge it, whatever comes into force meanwhile."""
        return Post(0, self._guards(), lambda: 0, None, is_certain=True)

    def _gates(self, submitter: str, incoming: Sequence[Incoming], post: Post) -> list[_Gated]:
        """The gates of the collections that guards watch, and which of the members each of them judges."""
        gates: list[_Gated] = []
        for collection in {each.collection.id: each.collection for each in incoming}.values():
            watch = watch_over(post.guards, collection.name, submitter)
            if watch is not None:
                # What is held is written before there is a transaction.
                post.require_certain()
                places = [place for place, each in enumerate(incoming) if each.collection.id == collection.id]
                items = [incoming[place].item for place in places]
                gate = Gate(watch, self._store, submitter, collection.id, items)
                gates.append(_Gated(gate, {places[own]: stop for own, stop in gate.stops.items()}))
        return gates

    def restore(self, collection: Collection, entry: Entry) -> Added:
        """Store what was held in quarantine (an entry with its content) as the post of its submitter.

        Like any other post, but that no guard can hold it any more; one that refuses it still does.
        """
        (item,) = read_envelope(b'{"objects":[' + entry.content + b"]}")
        watch = watch_over(self._guards(), collection.name, entry.submitter)
        stop = watch.judge(item.value) if watch is not None else None
        if stop is not None and stop.act == "refuse":
            return _refused(item, 0, refusal(stop), "refused")
        item = replace(item, bundle_spec=entry.spec_version)
        (added,) = self._add_portion(entry.submitter, [Incoming(collection, item)], 0, (), self._unasked(), None)
        return added

    def delete(self, object_id: str, pick: Callable[[Sequence[Record]], Sequence[Record]]) -> list[Record]:
        """Delete those records of this id that `pick` chooses among all of the store; which went.

        What `pick` raises reaches the caller, with nothing deleted.
        """
        return self.remove([object_id], lambda present: pick(present.get(object_id, ())))

    def remove(
        self,
        ids: Sequence[str],
        pick: Callable[[Mapping[str, Sequence[Record]]], Sequence[Record]],
        quiet: Callable[[Inside], Sequence[str]] = lambda inside: (),
    ) -> list[Record]:
        """Delete, in one transaction, those records of these ids that `pick` chooses; which went. As `delete`.

        `quiet`: see with_reopening.
        """
        gone: list[Record] = []

        def attempt(edition: int) -> tuple[int, ...]:
            def plan(present: Mapping[str, Sequence[Record]], log_length: int) -> Plan:
                self.labelling.require_current(log_length, edition)
                self.labelling.require_exact(present)
                gone[:] = pick(present)
                planned = plan_deletion(gone, present, self.labelling.facets_of, self._book.number)
                return self.labelling.with_reopening(planned, present, quiet)

            return self._store.write(ids, plan)

        self.labelling.settle(attempt)
        return gone

    # ---- add

    def _add_portion(
        self,
        submitter: str,
        incoming: Sequence[Incoming],
        first: int,
        gates: Sequence[_Gated],
        post: Post,
        tell: Tell | None,
    ) -> list[Added]:
        """Store one portion; `tell` makes the status by what became of it, when it is the last one of its body."""
        results: list[Added | None] = [None] * len(incoming)
        drafts: list[Draft] = []
        traits: list[Traits] = []
        places: list[int] = []
        definitions: dict[int, str] = {}
        held: dict[int, Draft] = {}
        stops = {place: stop for gated in gates for place, stop in gated.stops.items()}
        for place, each in enumerate(incoming):
            collection, item = each.collection, each.item
            strictness, accepts = cast(Strictness, collection.strictness), frozenset(collection.accepts)
            try:
                checked = read_object(item, strictness, accepts, submitter)
            except InvalidObject as error:
                results[place] = _refused(item, first + place, str(error))
                continue
            stop = stops.get(first + place)
            if stop is not None and stop.act == "refuse":
                results[place] = _refused(item, first + place, refusal(stop), "refused")
                continue
            draft = Draft(
                collection=collection.id,
                submitter=submitter,
                id=checked.id,
                type=checked.type,
                spec_version=checked.spec_version,
                version=checked.version,
                version_key=checked.version_key,
                content=checked.raw,
                digest=checked.digest,
                hard_refs=checked.hard_refs,
                soft_refs=checked.soft_refs,
                terms=read_terms(checked.value),
                at=each.at,
            )
            if stop is not None:
                held[first + place] = draft
                continue
            if checked.marking_definition is not None:
                definitions[len(drafts)] = checked.marking_definition
            drafts.append(draft)
            traits.append(
                read_traits(
                    checked.value, collection=collection.id, submitter=submitter, spec_version=checked.spec_version
                )
            )
            places.append(place)
        # Before the records: what refers to something held must not be there without it being held.
        for place, added in _hold(held, gates):
            results[place - first] = added

        def whole(stored: Sequence[Added]) -> list[Added]:
            """What became of the portion when this did of its drafts."""
            drafted = dict(zip(places, stored, strict=True))
            found = (drafted.get(place, added) for place, added in enumerate(results))
            return [added for added in found if added is not None]

        if definitions:
            # What they mean is written before there is a transaction.
            post.require_certain()
        return whole(self._store_within_quota(drafts, traits, definitions, post, then(tell, whole)))

    def _store_within_quota(
        self,
        drafts: Sequence[Draft],
        traits: Sequence[Traits],
        definitions: Mapping[int, str],
        post: Post,
        tell: Tell | None,
    ) -> list[Added]:
        """Store these drafts and learn what the definitions among them (by place) mean, as far as the quota goes."""
        refused = self._beyond_quota(drafts, traits, definitions)
        self._book.learn_markings([text for place, text in definitions.items() if place not in refused])
        failure = self._quota.message()

        def whole(left: Sequence[int], stored: Sequence[Added]) -> list[Added]:
            found = dict(zip(left, stored, strict=True))
            return [
                found.get(place) or Added(draft.id, draft.version or "", failure, ok=False)
                for place, draft in enumerate(drafts)
            ]

        left = [place for place in range(len(drafts)) if place not in refused]
        while True:
            some = [drafts[place] for place in left]
            tell_some = then(tell, partial(whole, left))
            try:
                stored = self._store_drafts(some, [traits[place] for place in left], post, tell_some)
            except QuotaReached as reached:
                left = [place for index, place in enumerate(left) if index not in reached.places]
            else:
                return whole(left, stored)

    def _beyond_quota(self, drafts: Sequence[Draft], traits: Sequence[Traits], places: Iterable[int]) -> set[int]:
        """The marking-definitions that need a label of their own when there is none left: before they are learnt."""
        vocabulary = self._book.vocabulary
        keys = {LabelKey(vocabulary.project(traits[place]), None, Flags.NONE): place for place in places}
        return {keys[key] for submitter in {d.submitter for d in drafts} for key in self._quota.beyond(submitter, keys)}

    def _store_drafts(
        self, drafts: Sequence[Draft], traits: Sequence[Traits], post: Post, tell: Tell | None
    ) -> list[Added]:
        """Store these drafts in a transaction, and with them the status that `tell` makes, as far as there are any."""
        post.is_told = False
        if not drafts:
            return []
        outcomes: list[Outcome] = []
        ids = sorted({draft.id for draft in drafts})

        def attempt(edition: int) -> tuple[int, ...]:
            facets = self._book.vocabularies[edition].project_all(traits)

            def plan(present: Mapping[str, Sequence[Record]], log_length: int) -> Plan:
                self.labelling.require_current(log_length, edition)
                # All of the log is known, and it tells of every change of the catalog.
                post.require(self._book.epoch)
                self.labelling.require_exact(present)
                planned, outcomes[:] = plan_posts(drafts, facets, present, self.labelling.facets_of, self._book.number)
                planned = self.labelling.with_reopening(planned, present)
                if tell is None:
                    return planned
                post.is_told = not planned.is_empty()
                return replace(planned, status=lambda positions: tell(_added(drafts, outcomes, positions)))

            return self._store.write(ids, plan)

        positions = self.labelling.settle(attempt, drafts[0].submitter)
        post.is_certain = True
        return _added(drafts, outcomes, positions)


@dataclass(frozen=True, slots=True)
class _Gated:
    """The gate of one collection, and what it stops: place among all members of the body -> why."""

    gate: Gate
    stops: Mapping[int, Stop]


def _hold(held: Mapping[int, Draft], gates: Sequence[_Gated]) -> Iterator[tuple[int, Added]]:
    """Put the drafts at these places into the quarantines of their collections; what became of each."""
    for gated in gates:
        own = [place for place in held if place in gated.stops]
        verdicts = gated.gate.hold([(held[place], gated.stops[place]) for place in own])
        for place, verdict in zip(own, verdicts, strict=True):
            draft, ok = held[place], verdict.stopped is None
            yield place, Added(draft.id, draft.version or "", verdict.message, ok, verdict.stopped)


def _refused(item: Item, place: int, message: str, stopped: Stopped | None = None) -> Added:
    value = item.value if isinstance(item.value, dict) else {}
    id_ = value.get("id")
    versions = [each for each in (value.get("modified"), value.get("created")) if each and isinstance(each, str)]
    return Added(
        id=id_ if isinstance(id_, str) and id_ else f"objects[{place}]",
        version=versions[0] if versions else "",
        message=message,
        ok=False,
        stopped=stopped,
    )


def _added(drafts: Sequence[Draft], outcomes: Sequence[Outcome], positions: Sequence[int]) -> list[Added]:
    versions: list[str] = []
    stored = iter(positions)
    results: list[Added] = []
    for draft, outcome in zip(drafts, outcomes, strict=True):
        position = next(stored) if outcome.stored else 0
        if outcome.version is not None:
            version = outcome.version
        elif outcome.same_as is not None:
            version = versions[outcome.same_as]
        else:
            version = format_position(position)
        versions.append(version)
        message = outcome.conflict or (None if outcome.stored else "already present")
        results.append(Added(draft.id, version, message, ok=outcome.conflict is None))
    return results
