"""More servers that are wrong on purpose: doors, pages, tokens, statuses, snapshots. See wrong.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import current_app

from taxii_server.catalog import Catalog, Rights
from taxii_server.errors import BadQuery, Forbidden, NotFound
from taxii_server.policy import Access
from taxii_server.service import book, cursor, posting, reading, sight, statuses, visit
from taxii_server.service import hub as hubs
from taxii_server.times import format_position
from taxii_server.web import response
from tests.leaks import scene
from tests.leaks.wrong import WRONG, Patch, Wrong, wrong

# ---- doors, pages, tokens, statuses


@wrong("unknown collections readable", "closed_collections_do_not_exist")
def _(patch: Patch) -> None:
    patch.setattr(Catalog, "rights", lambda self, collection, partner: Rights(visible=True, read=True))


@wrong("a suspended partner reads", "a_suspended_partner_reads_nothing")
def _(patch: Patch) -> None:
    was = Catalog.rights
    patch.setattr(
        Catalog,
        "rights",
        lambda self, collection, partner: was(self, collection, "bob" if partner == "sam" else partner),
    )


@wrong("403 for hidden collections", "closed_collections_do_not_exist")
def _(patch: Patch) -> None:
    was = visit.Visit.collection

    def collection(self: Any, root: str, name: str) -> Any:
        try:
            return was(self, root, name)
        except NotFound:
            if self.catalog.collection_at(root, name) is not None:
                raise Forbidden from None
            raise

    patch.setattr(visit.Visit, "collection", collection)


@wrong("403 for the deletion of something hidden", "hidden_and_unknown_are_one_answer")
def _(patch: Patch) -> None:
    def served_whole(self: Any, audience: str, collection: Any, records: Any) -> set[int]:
        return {record.position for record in records}

    patch.setattr(reading.Reader, "served_whole", served_whole)


@wrong("another answer for hidden objects", "hidden_and_unknown_are_one_answer")
def _(patch: Patch) -> None:
    was = reading.Reader._require_object

    def require(self: Any, audience: str, collection: Any, filters: Any) -> None:
        if self._store.lookup(filters.ids):
            raise BadQuery("id", "not for you")
        was(self, audience, collection, filters)

    patch.setattr(reading.Reader, "_require_object", require)


@wrong("DELETE deletes what others posted", "nobody_deletes_what_others_posted")
def _(patch: Patch) -> None:
    was = Catalog.rights
    patch.setattr(
        Catalog, "rights", lambda self, collection, partner: replace(was(self, collection, partner), delete_any=True)
    )


@wrong("pages counted before references", "pages_are_full_and_more_is_true")
def _(patch: Patch) -> None:
    def collect(self: Any, after: int, wanted: int) -> Any:
        batch = self._stream.batch(self._query, after, wanted)
        rows, _ = self._standing(batch.rows, batch.passed)
        return self._serve(rows), False

    patch.setattr(reading._Walk, "collect", collect)


@wrong("date headers from hidden records", "headers_speak_of_what_is_delivered")
def _(patch: Patch) -> None:
    was = response._dated

    def dated(answer: Any, found: Any) -> Any:
        made = was(answer, found)
        store = current_app.extensions["taxii_server"].store
        last = max(
            record.position for records in store.lookup([scene.id_of("indicator", "x")]).values() for record in records
        )
        made.headers[response.DATE_LAST] = format_position(last)
        return made

    patch.setattr(response, "_dated", dated)


@wrong("statuses readable by others", "a_status_is_for_its_poster")
def _(patch: Patch) -> None:
    was = statuses.Statuses.find
    patch.setattr(
        statuses.Statuses,
        "find",
        lambda self, root, status_id, audience, is_admin, now: was(self, root, status_id, audience, True, now),
    )


def _scope_without(part: int) -> Callable[[Patch], None]:
    def make(patch: Patch) -> None:
        def cut(scope: str) -> str:
            parts = scope.split("|")
            del parts[part]
            return "|".join(parts)

        for name in ("seal", "open"):
            was = getattr(cursor.CursorSeal, name)
            patch.setattr(cursor.CursorSeal, name, lambda self, scope, payload, was=was: was(self, cut(scope), payload))

    return make


for _place, _bound in enumerate(("audience", "collection", "resource")):
    WRONG.append(
        Wrong(f"next not bound to the {_bound}", _scope_without(_place), "a_next_is_for_whom_and_where_it_was_given")
    )


# ---- labels and snapshots


@wrong("coarse labels readable", "a_coarse_label_is_hidden")
def _(patch: Patch) -> None:
    patch.setattr(book.Book, "fits", lambda self, label, vocabulary: True)


@wrong("what a sight says outlives its catalog", "a_new_policy_holds_for_the_next_request")
def _(patch: Patch) -> None:
    kept: dict[int, Any] = {}
    was = hubs.Sights
    patch.setattr(hubs, "Sights", lambda catalog, book, now: kept.setdefault(id(book), was(catalog, book, now)))


@wrong("an object that cannot be judged shows", "a_rule_that_fails_hides")
def _(patch: Patch) -> None:
    was = sight.allowed

    def allowed(policy: Any, audience: str, labels: Any, meanings: Any, *more: Any, **rest: Any) -> Any:
        found = was(policy, audience, labels, meanings, *more, **rest)
        for number, own, _ in labels:
            if policy.decide(audience, own, meanings).reason == "error":
                found[number] = Access()
        return found

    patch.setattr(sight, "allowed", allowed)


@wrong("posts of others are deduplicated together", "a_post_that_meets_something_hidden_is_as_new")
def _(patch: Patch) -> None:
    was = posting.plan_posts

    def plan(drafts: Any, facets: Any, present: Any, *more: Any) -> Any:
        planned, outcomes = was(drafts, facets, present, *more)
        known = {record.digest for records in present.values() for record in records}
        told = [
            replace(outcome, stored=False, conflict="already here") if draft.digest in known else outcome
            for draft, outcome in zip(drafts, outcomes, strict=True)
        ]
        inserts = [insert for insert, outcome in zip(planned.inserts, told, strict=False) if outcome.stored]
        return replace(planned, inserts=inserts), told

    patch.setattr(posting, "plan_posts", plan)
