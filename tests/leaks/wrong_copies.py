"""More servers that are wrong on purpose: copies without what is not readable. See wrong.py."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from taxii_server.policy import compile, steps
from taxii_server.service import copies, reading, references
from taxii_server.stix import derive
from tests.leaks.wrong import WRONG, Patch, Wrong, _without_step, wrong


def _remade(patch: Patch, change: Any) -> None:
    """Copies after `change(copy, original, its parts)`, a function that may return another copy."""
    was = copies.derive

    def made(value: Any, *arguments: Any) -> Any:
        found = was(value, *arguments)
        if found is None:
            return None
        copy = json.loads(found.content)
        change(copy, value)
        return replace(found, id=copy["id"], content=json.dumps(copy).encode())

    patch.setattr(copies, "derive", made)


@wrong("the id of a copy is computed from the removed text", "a_copy_is_not_computed_from_what_was_taken_out")
def _(patch: Patch) -> None:
    def change(copy: Any, value: Any) -> None:
        copy["id"] = f"{copy['type']}--{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(value))}"

    _remade(patch, change)


@wrong("a copy tells how long the removed text is", "a_copy_is_not_computed_from_what_was_taken_out")
def _(patch: Patch) -> None:
    _remade(patch, lambda copy, value: copy.update(x_size=len(json.dumps(value))))


@wrong("a copy keeps the id", "a_copy_has_an_id_and_a_creator_of_its_own")
def _(patch: Patch) -> None:
    _remade(patch, lambda copy, value: copy.update(id=value["id"]))


@wrong("a copy keeps its creator", "a_copy_has_an_id_and_a_creator_of_its_own")
def _(patch: Patch) -> None:
    _remade(patch, lambda copy, value: copy.update(created_by_ref=value["created_by_ref"]))


@wrong("a copy keeps a removed property as a label", "a_copy_has_an_id_and_a_creator_of_its_own")
def _(patch: Patch) -> None:
    _remade(patch, lambda copy, value: copy.update(labels=[value["name"]]))


@wrong("a copy for each reader", "two_readers_of_the_same_parts_get_the_same_copy")
def _(patch: Patch) -> None:
    was = copies.Copies._copies

    def made(self: Any, row: Any, text: bytes, page: Any) -> Any:
        maker = self._maker
        self._maker = replace(maker, secret=maker.secret + page._sight.audience.encode())
        try:
            return was(self, row, text, page)
        finally:
            self._maker = maker

    patch.setattr(copies.Copies, "_copies", made)


@wrong("copies of ORCON parts", "of_orcon_no_copy_is_made")
def _(patch: Patch) -> None:
    patch.setattr(steps, "_without", lambda view, case, parts, reason, why: frozenset(parts))


@wrong("lists of ORCON objects are shortened", "of_orcon_no_copy_is_made")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "_is_kept_whole", lambda self, record: False)


@wrong("a part by an unknown marking stays", "a_part_with_a_marking_that_nobody_knows_is_taken_out")
def _(patch: Patch) -> None:
    was = steps._weigh

    def weigh(find: Any, view: Any, case: Any, ask: Any) -> Any:
        unknown = [meaning for _, meaning in case.granular if not meaning.understood]
        asked = getattr(find, "args", ())
        return (None, False) if asked and asked[0] in unknown else was(find, view, case, ask)

    patch.setattr(steps, "_weigh", weigh)


WRONG.append(Wrong("strip rules are ignored", _without_step("strip"), "a_rule_strips_for_those_whom_it_names"))


@wrong("strip rules for the others", "a_rule_strips_for_those_whom_it_names")
def _(patch: Patch) -> None:
    was = compile.concerns
    patch.setattr(compile, "concerns", lambda rule, audience: was(rule, audience) != (rule.kind == "strip"))


@wrong("hidden ids stay in lists", "hidden_ids_do_not_stay_in_lists")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "taken_out", lambda self, record: frozenset())


@wrong("lists of which nothing is left are left out", "of_a_list_of_which_nothing_is_left_nothing_is_served")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "_lists", lambda self, record: ())


@wrong("translations of what is cut are served", "what_translates_something_cut_is_hidden")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "_is_redacted", lambda self, id_: False)


@wrong("a copy is found by the id of the original", "a_copy_is_found_by_what_it_is_and_not_by_what_it_was")
def _(patch: Patch) -> None:
    was = reading._Walk._serve

    def serve(self: Any, rows: Any) -> Any:
        ids = self._filters.ids
        if ids is None:
            return was(self, rows)
        self._filters = replace(self._filters, ids=None)
        try:
            return [item for item in was(self, rows) if item.id in ids or item.record.id in ids]
        finally:
            self._filters = replace(self._filters, ids=ids)

    patch.setattr(reading._Walk, "_serve", serve)


@wrong("a copy is found by the version of the original", "a_copy_is_found_by_what_it_is_and_not_by_what_it_was")
def _(patch: Patch) -> None:
    was = copies._served

    def served(row: Any, made: Any, modified: str) -> Any:
        return [item._replace(version_key=row.record.version_key) for item in was(row, made, modified)]

    patch.setattr(copies, "_served", served)


@wrong("403 for the deletion of what is cut", "an_id_that_was_cut_out_of_sight_cannot_be_deleted")
def _(patch: Patch) -> None:
    def served_whole(self: Any, audience: str, collection: Any, records: Any) -> set[int]:
        found = self.resolver(self._sights.of(audience), collection).readable(records, self._store.clock())
        return {record.position for record in found}

    patch.setattr(reading.Reader, "served_whole", served_whole)


@wrong("a copy is as old as the hidden version", "the_dates_of_a_copy_do_not_tell_of_hidden_versions")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "is_readable", lambda self, record: True)


@wrong("the markings of the rest are lost", "what_is_left_stays_marked")
def _(patch: Patch) -> None:
    def renumber(value: Any, copy: Any, gone: Any) -> bool:
        del copy["granular_markings"]
        return True

    patch.setattr(derive, "_renumber", renumber)
