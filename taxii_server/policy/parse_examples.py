"""The examples of a policy file, [[test]], read into frozen data."""

from __future__ import annotations

import difflib

from taxii_server.errors import Problem
from taxii_server.model import Traits
from taxii_server.policy import schema
from taxii_server.policy.markings import LEVELS, RANKS
from taxii_server.policy.reader import DELAY, Names, Table, kind_of, known
from taxii_server.policy.rules import Example, delay_in_us, in_us
from taxii_server.policy.whole import WHOLE_TYPES, is_required
from taxii_server.tlp import TLP_2_IDS

#: Properties that [[test]] writes in its own words.
_OWN_WORDS = {
    "object_marking_refs": "marking",
    "granular_markings": "granular",
    "created_by_ref": "creator",
    "submitter": "by",
}


class ExampleReader:
    """Reads examples. Problems go to the list given."""

    def __init__(self, names: Names, problems: list[Problem]) -> None:
        self._names, self._problems = names, problems

    def read(self, file: str, key: str, data: object) -> Example:
        """The example of one [[test]]."""
        table = Table(data, file, key, self._problems, schema.LISTS["test"])
        table.note("id")
        table.note("why")
        who = {
            outcome: table.names(outcome, self._names.audiences, "audience", empty=True)
            for outcome in ("read", "hide", "redact")
        }
        listed = [name for names in who.values() for name in names]
        for name in sorted({name for name in listed if listed.count(name) > 1}):
            table.wrong("", f"audience {name!r} is expected to do two things")
        if not listed and not ({"read", "hide", "redact", "post"} & set(table.data)):
            table.wrong("", "expects nothing: give read, hide, redact or post")
        if "object" not in table:
            table.wrong("object", "missing")
        inner = table.table("object") or Table({}, file, f"{key}.object", [], ())
        at = table.moment("at")
        return Example(
            file=file,
            key=key,
            traits=self._traits(inner),
            read=who["read"],
            hide=who["hide"],
            redact=who["redact"],
            at=None if at is None else in_us(at),
            age_us=self._age(inner),
        )

    def _age(self, table: Table) -> int:
        text = table.text("age")
        if text is None:
            return 0
        if not DELAY.fullmatch(text):
            table.wrong("age", f"{text!r} is not an age; write a number and m, h, d or w, such as '72h'")
            return 0
        return delay_in_us(text)

    def _traits(self, table: Table) -> Traits:
        """The raw values of an example's object."""
        for name in table.data:
            near = difflib.get_close_matches(name, schema.OBJECT, 1, 0.8)
            if name in _OWN_WORDS:
                table.wrong("", f"write {_OWN_WORDS[name]!r} instead of {name!r}")
            elif name not in schema.OBJECT and near:
                table.wrong("", f"unknown key {name!r}; did you mean {near[0]!r}?")
        submitter = table.text("by", required=True) or ""
        if submitter and submitter not in self._names.audiences:
            table.wrong("by", f"unknown audience {submitter!r} {known(self._names.audiences)}")
        type_ = table.text("type", required=True) or ""
        level = table.text("tlp")
        if level is not None and level not in RANKS:
            table.wrong("tlp", f"unknown level {level!r} {known(LEVELS)}")
        markings = [
            *table.texts("marking", empty=True),
            *([TLP_2_IDS[level]] if level is not None and level in TLP_2_IDS else []),
        ]
        granular = [TLP_2_IDS.get(item, item) for item in table.texts("granular", empty=True)]
        collection = table.text("collection") or ""
        if collection and self._names.collections is not None and collection not in self._names.collections:
            table.wrong("collection", f"unknown collection {collection!r} {known(self._names.collections)}")
        creator = self._creator(table)
        extensions = table.data.get("extensions", {})
        if not isinstance(extensions, dict) or not all(isinstance(inner, dict) for inner in extensions.values()):
            table.wrong("extensions", f"{kind_of(extensions)} found where a table of tables is wanted")
            extensions = {}
        id_ = table.text("id") or f"{type_}--00000000-0000-4000-8000-000000000000"
        present = set(table.data) - {"by", "tlp", "marking", "granular", "creator", "collection", "age"}
        present.update(
            name
            for name, there in (
                ("object_marking_refs", markings),
                ("granular_markings", granular),
                ("created_by_ref", creator),
            )
            if there
        )
        return Traits(
            collection=collection,
            submitter=submitter,
            id=id_,
            type=type_,
            spec_version=table.text("spec_version") or "2.1",
            revoked=table.flag("revoked"),
            markings=tuple(sorted(set(markings))),
            granular=tuple(sorted(set(granular))),
            creator=creator,
            labels=tuple(sorted({label.lower() for label in table.texts("labels", empty=True)})),
            confidence=table.number("confidence", 0, 100),
            extensions=tuple(sorted(extensions)),
            extension_values=tuple(
                sorted(
                    (extension, name, text)
                    for extension, inner in extensions.items()
                    for name, text in inner.items()
                    if isinstance(text, str)
                )
            ),
            identity_class=(table.text("identity_class") or "").lower() or None,
            properties=tuple(sorted(present)),
            defines=id_ if type_ == "marking-definition" else None,
            firm_granular=tuple(sorted(set(granular))) if type_ in WHOLE_TYPES else (),
            fixed_properties=tuple(
                sorted(name for name in present if type_ in WHOLE_TYPES or is_required(type_, name))
            ),
        )

    def _creator(self, table: Table) -> str | None:
        value = table.text("creator")
        if value is None or value not in self._names.identities:
            if value is not None and not value.startswith("identity--"):
                table.wrong("creator", f"{value!r} is neither an identity id nor an audience")
            return value
        own = self._names.identities[value]
        if len(own) != 1:
            table.wrong("creator", f"audience {value!r} has {len(own)} identities; write the id")
        return own[0] if own else None
