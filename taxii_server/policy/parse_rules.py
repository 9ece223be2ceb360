"""The lists of a policy file - rules, releases, claims - read into frozen data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from taxii_server.errors import Problem
from taxii_server.model import NEVER_CUT
from taxii_server.policy import schema
from taxii_server.policy.facets import TLP_LABEL
from taxii_server.policy.markings import LEVELS
from taxii_server.policy.parse_examples import ExampleReader
from taxii_server.policy.reader import DELAY, Names, Table, known
from taxii_server.policy.rules import (
    Condition,
    Defaults,
    Example,
    Release,
    Rule,
    RuleKind,
    Unless,
)

_OBJECT_ID = re.compile(r"[a-z0-9-]+--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXTENSION = re.compile(r"extension-definition--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[a-z0-9-]+-ext")
_KINDS: tuple[RuleKind, ...] = ("permit", "forbid", "select", "embargo", "strip", "never")
CLIENT_OF = "@client_of"


class RuleReader:
    """Reads the lists of one policy. Problems go to the list given; oddities to `warnings`."""

    def __init__(self, names: Names, problems: list[Problem], defaults: Defaults) -> None:
        self.names, self.problems, self.defaults = names, problems, defaults
        self.warnings: list[Problem] = []
        self.ids: dict[str, str] = {}

    def read(
        self, lists: Mapping[str, list[tuple[str, str, Any]]]
    ) -> tuple[tuple[Rule, ...], tuple[Release, ...], tuple[Example, ...]]:
        """All rules (permits first, claims last), releases and examples."""
        rules = [self.rule(kind, *item) for kind in _KINDS for item in lists[kind]]
        releases = [self.release(*item) for item in lists["release"]]
        reader = ExampleReader(self.names, self.problems)
        examples = [reader.read(*item) for item in lists["test"]]
        return tuple(rules), tuple(releases), tuple(examples)

    def open(self, section: str, file: str, key: str, data: object) -> tuple[Table, str]:
        name = data.get("id") if isinstance(data, dict) else None
        suffix = f" ({'release' if section == 'release' else 'rule'} {name!r})" if isinstance(name, str) else ""
        table = Table(data, file, key, self.problems, schema.LISTS[section], suffix)
        id_ = table.text("id", required=True) or ""
        if id_ in self.ids:
            table.wrong("id", f"{id_!r} is the id of {self.ids[id_]} already")
        elif id_:
            self.ids[id_] = f"{key} in {file}"
        return table, id_

    def rule(self, kind: RuleKind, file: str, key: str, data: object) -> Rule:
        table, id_ = self.open(kind, file, key, data)
        grant = kind == "permit"
        what_key = "drop" if kind == "select" else "what"
        if kind == "select" and "drop" not in table:
            table.wrong("drop", "missing")
        if kind == "never" and not ("to" in table or "what" in table):
            table.wrong("", "claims nothing: give to, what, or both")
        if kind == "embargo" and ("delay" in table) == ("until" in table):
            table.wrong("", "an embargo needs either delay or until")
        if kind == "strip" and not ("properties" in table or table.data.get("creator") is True):
            table.wrong("", "strips nothing: give properties, or creator = true")
        delay = table.text("delay") if kind == "embargo" else None
        if delay is not None and not DELAY.fullmatch(delay):
            table.wrong("delay", f"{delay!r} is not a delay; write a number and m, h, d or w, such as '48h'")
            delay = None
        return Rule(
            kind=kind,
            id=id_,
            file=file,
            key=key,
            why=table.text("why") or "",
            to=self.conditions(table.table("to", schema.spelled(schema.TO)), grant),
            what=self.conditions(table.table(what_key, schema.spelled(schema.WHAT)), grant),
            unless=self.unless(table.table("unless", schema.unless_keys())) if kind == "forbid" else None,
            properties=to_take_out(table) if kind == "strip" else (),
            creator=table.flag("creator") if kind == "strip" else False,
            delay=delay,
            until=table.moment("until") if kind == "embargo" else None,
        )

    def unless(self, table: Table | None) -> Unless | None:
        if table is None:
            return None
        alternatives = []
        for key, base in schema.ALTERNATIVES.items():
            if key in table:
                alternatives.append(Condition(base, False, self.named(table, key, base, grant=True)))
        return Unless(self.conditions(table, grant=True), tuple(alternatives))

    def conditions(self, table: Table | None, grant: bool) -> tuple[Condition, ...]:
        """The conditions of a table whose keys are already checked."""
        if table is None:
            return ()
        found: list[Condition] = []
        for written in table.data:
            if written == "attribute_in_facet":
                found.extend(self.attribute_in_facet(table))
                continue
            negated = written.startswith(schema.NOT) and written.removeprefix(schema.NOT) in {
                **schema.TO,
                **schema.WHAT,
            }
            base = written.removeprefix(schema.NOT) if negated else written
            key = schema.TO.get(base) or schema.WHAT.get(base)
            if key is None:
                continue
            if key.shape == "number":
                number = table.number(written, 0, 100)
                found.append(Condition(base, False, (str(number),)))
            elif key.shape == "flag":
                found.append(Condition(base, False, ("true" if table.flag(written) else "false",)))
            elif key.shape == "table":
                found.extend(self.tabled(table, written, base, key, negated, grant))
            else:
                values = self.named(table, written, key.names, grant != negated)
                if key.names == "creator":
                    values = self.creators(table, written, values)
                found.append(Condition(base, negated, values))
        return tuple(found)

    def tabled(
        self, table: Table, written: str, base: str, key: schema.Key, negated: bool, grant: bool
    ) -> list[Condition]:
        inner = table.table(written)
        if inner is None:
            return []
        if negated and not grant and len(inner.data) > 1:
            # "not a and not b" would forbid less than "not both"; nobody should have to guess which is meant.
            inner.wrong("", f"give one {base} per {written} here")
        known_names = self.names.declared_facets if key.names == "facet" else self.names.attributes
        found = []
        for name in inner.data:
            if name not in known_names:
                inner.wrong("", f"unknown {key.names} {name!r} {known(known_names)}")
            values = tuple(value if value.startswith("@") else value.lower() for value in inner.texts(name))
            for value in values:
                if value.startswith("@"):
                    self.own_value(inner, name, value, allowed=key.names == "facet")
                elif key.names == "facet" and name in self.names.facets:
                    possible = self.names.facets[name].known_values()
                    if possible is not None and value not in possible:
                        inner.wrong(name, f"unknown value {value!r} {known(possible)}")
            found.append(Condition(base, negated, values, name))
        return found

    def own_value(self, table: Table, name: str, value: str, allowed: bool) -> None:
        if not allowed:
            table.wrong(name, f"{value!r}: the audience's own value cannot stand here")
        elif value[1:] not in self.names.attributes:
            table.wrong(name, f"unknown attribute {value!r} {known('@' + text for text in self.names.attributes)}")

    def attribute_in_facet(self, table: Table) -> list[Condition]:
        inner = table.table("attribute_in_facet")
        found = []
        for attribute in inner.data if inner is not None else ():
            assert inner is not None
            if attribute not in self.names.attributes:
                inner.wrong("", f"unknown attribute {attribute!r} {known(self.names.attributes)}")
            for facet in inner.names(attribute, self.names.declared_facets, "facet"):
                found.append(Condition("facet", False, (f"@{attribute}",), facet))
        return found

    def named(self, table: Table, key: str, names: str, grant: bool) -> tuple[str, ...]:
        """The values of a key, each checked against what it names."""
        if names == "audience":
            return table.names(key, self.names.audiences, "audience")
        if names == "group":
            return table.names(key, self.names.groups, "group")
        if names == "facet":
            return table.names(key, self.names.declared_facets, "facet")
        if names == "marking":
            return table.names(key, self.names.markings, "marking")
        if names == "level":
            return table.names(key, LEVELS, "level")
        if names == "collection" and self.names.collections is not None:
            return table.names(key, self.names.collections, "collection")
        values = table.texts(key)
        for value in values:
            self.plain(table, key, names, value, grant)
        in_lower_case = names == "label" or key.removeprefix("not_") == "identity_class"
        return tuple(value.lower() for value in values) if in_lower_case else values

    def plain(self, table: Table, key: str, names: str, value: str, grant: bool) -> None:
        if names == "submitter":
            if value == CLIENT_OF and not grant:
                table.wrong(key, f"{value!r} can only stand where it grants something")
            elif value != CLIENT_OF and value not in self.names.audiences:
                table.wrong(key, f"unknown audience {value!r} {known({CLIENT_OF, *self.names.audiences})}")
        elif value.startswith("@"):
            table.wrong(key, f"{value!r}: the audience's own value cannot stand here, only in facet")
        elif names == "country" and value not in schema.COUNTRIES:
            check_country(table, key, value)
        elif names == "label" and value.lower().startswith(TLP_LABEL):
            table.wrong(key, f"{value!r} is a level; write tlp = {value[len(TLP_LABEL) :]!r}")
        elif names == "extension" and not _EXTENSION.fullmatch(value):
            table.wrong(key, f"{value!r} is not an extension id")

    def creators(self, table: Table, key: str, values: tuple[str, ...]) -> tuple[str, ...]:
        """Identity ids; an audience's name stands for all of its identities."""
        found: list[str] = []
        for value in values:
            if value in self.names.identities:
                found.extend(self.names.identities[value])
                if not self.names.identities[value]:
                    table.wrong(key, f"audience {value!r} has no identities")
            elif _OBJECT_ID.fullmatch(value) and value.startswith("identity--"):
                found.append(value)
            else:
                table.wrong(key, f"{value!r} is neither an identity id nor an audience {known(self.names.identities)}")
        return tuple(dict.fromkeys(found))

    def release(self, file: str, key: str, data: object) -> Release:
        table, id_ = self.open("release", file, key, data)
        for wanted in ("by", "objects", "to"):
            if wanted not in table:
                table.wrong(wanted, "missing")
        table.note("why")
        by = table.text("by") or ""
        if by and by not in self.names.audiences:
            table.wrong("by", f"unknown audience {by!r} {known(self.names.audiences)}")
        objects = table.texts("objects")
        for object_id in objects:
            if not _OBJECT_ID.fullmatch(object_id):
                table.wrong("objects", f"{object_id!r} is not an object id")
        to = table.table("to", schema.RELEASE_TO)
        not_before, until = table.moment("not_before"), table.moment("until")
        if not_before and until and until <= not_before:
            table.wrong("until", "ends before it begins")
        return Release(
            id=id_,
            file=file,
            key=key,
            by=by,
            objects=frozenset(objects),
            audiences=frozenset(to.names("audience", self.names.audiences, "audience") if to else ()),
            groups=frozenset(to.names("group", self.names.groups, "group") if to else ()),
            not_before=not_before,
            until=until,
        )


def to_take_out(table: Table) -> tuple[str, ...]:
    """The `properties` of a table, with a problem for each that no copy can be without."""
    names = table.texts("properties")
    for name in names:
        if name == "created_by_ref":
            table.wrong("properties", f"{name!r}: write creator = true, in a [[strip]]")
        elif name in NEVER_CUT:
            table.wrong("properties", f"{name!r} stands in every copy, it cannot be taken out")
    return names


_COUNTRY_HINTS = {"UK": "GB", "EL": "GR"}


def check_country(table: Table, key: str, code: str) -> None:
    """Notes a problem unless the code is one of ISO 3166-1, upper case."""
    if code in schema.COUNTRIES:
        return
    meant = _COUNTRY_HINTS.get(code.upper(), code.upper())
    hint = f"; did you mean {meant!r}?" if meant in schema.COUNTRIES else ""
    table.wrong(key, f"{code!r} is not an ISO 3166-1 country code{hint}")
