"""TOML texts -> one validated Policy, or every problem in them at once.

Sections may be spread over files; the same key or table given in two of them is an error, because
nobody should have to know which file is read last.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from taxii_server.certificates import normal_name
from taxii_server.errors import ConfigError, Problem
from taxii_server.model import POSITION_UNIT
from taxii_server.policy import schema
from taxii_server.policy.decisions import Policy
from taxii_server.policy.facets import TLP_LABEL, FacetSource
from taxii_server.policy.guard import Guard, GuardTest
from taxii_server.policy.markings import LEVELS, RANKS, Meaning
from taxii_server.policy.parse_admission import (
    doubly_claimed,
    read_addresses,
    read_claims,
    read_requests_per_minute,
)
from taxii_server.policy.parse_guards import read_guards
from taxii_server.policy.parse_rules import RuleReader, check_country
from taxii_server.policy.prove import satisfiable
from taxii_server.policy.reader import Names, Table, kind_of, known
from taxii_server.policy.rules import Audience, Condition, Defaults, Rule
from taxii_server.policy.space import Space
from taxii_server.policy.vocabulary import vocabulary_of
from taxii_server.policy.whole import STANDARD_TYPES
from taxii_server.tlp import TLP_IDS

#: Attributes that `@name` knows without anybody defining them.
BUILT_IN_ATTRIBUTES = ("country", "sector", "audience")
#: Between two positions of records there is room for so many delays (model.POSITION_UNIT).
MAX_DELAYS = POSITION_UNIT // 2 - 1
UNMARKED = ("deny", *(f"tlp:{level}" for level in LEVELS))
_IDENTITY = re.compile(r"identity--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MARKING = re.compile(r"marking-definition--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def parse(texts: Mapping[str, str], collections: Collection[str] | None = None) -> Policy:
    """One policy from one or several TOML texts (file name -> text).

    `collections` are the known collection names; None leaves those names unchecked. What is odd but harmless is in
    `policy.warnings`.

    Raises ConfigError with every problem found.
    """
    problems: list[Problem] = []
    documents: dict[str, dict[str, Any]] = {}
    for file, text in texts.items():
        try:
            documents[file] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            problems.append(Problem(file, "", f"not TOML: {error}"))
    if problems:
        raise ConfigError(problems)
    policy = _Parser(documents, collections, problems).policy()
    if problems or policy is None:
        raise ConfigError(problems)
    return policy


class _Parser:
    """Holds what is gathered while one policy is read."""

    def __init__(
        self, documents: Mapping[str, dict[str, Any]], collections: Collection[str] | None, problems: list[Problem]
    ) -> None:
        self.documents, self.collections, self.problems = documents, collections, problems
        self.head: dict[str, object] = {}
        self.tables: dict[str, dict[str, tuple[str, Any]]] = {name: {} for name in schema.TABLES}
        self.named: dict[str, dict[str, tuple[str, Any]]] = {name: {} for name in schema.NAMED}
        self.lists: dict[str, list[tuple[str, str, Any]]] = {name: [] for name in schema.LISTS}

    def wrong(self, file: str, key: str, message: str) -> None:
        self.problems.append(Problem(file, key, message))

    def policy(self) -> Policy | None:
        """The whole policy; None or incomplete when problems were noted."""
        if not self.documents:
            self.wrong("", "", "no policy file given")
            return None
        for file, document in self.documents.items():
            self.gather(file, document)
        self.read_head()
        groups = self.read_groups()
        facets = {name: source for name in self.named["facets"] if (source := self.read_facet(name)) is not None}
        attributes = {
            key
            for _, data in self.named["audience"].values()
            if isinstance(data, dict) and isinstance(data.get("attributes"), dict)
            for key in data["attributes"]
        }
        names = Names(
            audiences=frozenset(self.named["audience"]),
            groups=frozenset(self.named["groups"]),
            facets=facets,
            declared_facets=frozenset(self.named["facets"]),
            markings=frozenset({*self.named["markings"], *TLP_IDS}),
            attributes=frozenset({*BUILT_IN_ATTRIBUTES, *attributes}),
            collections=None if self.collections is None else frozenset(self.collections),
            identities={},
        )
        audiences = {name: self.read_audience(name, groups) for name in self.named["audience"]}
        self.check_belongings(audiences)
        names.identities.update({name: audience.identities for name, audience in audiences.items()})
        markings = {id_: self.read_marking(id_) for id_ in self.named["markings"]}
        defaults, collections = self.read_defaults(names), self.read_collections()
        reader = RuleReader(names, self.problems, defaults)
        rules, releases, examples = reader.read(self.lists)
        guards = read_guards(reader, self.lists)
        rules = (*guards.rules, *rules)
        if self.problems:
            return None
        policy = Policy(
            name=str(self.head.get("name", "policy")),
            digest=self.digest(),
            audiences=audiences,
            groups=groups,
            vocabulary=vocabulary_of(rules, releases, facets, audiences),
            defaults=defaults,
            collections=collections,
            markings=markings,
            facets=facets,
            rules=rules,
            releases=releases,
            examples=examples,
            guards=guards.guards,
            posts=guards.examples,
        )
        self.check_delays(policy)
        return policy.with_warnings((*reader.warnings, *dead_rules(policy), *misspelt_types(policy)))

    def gather(self, file: str, document: dict[str, Any]) -> None:
        """Sorts one file's sections into the common heap, refusing what another file already gave."""
        for section, data in document.items():
            if section in schema.HEAD:
                if section in self.head and (section != "schema" or self.head[section] != data):
                    self.wrong(file, section, "given in two files")
                self.head[section] = data
                if section == "schema":
                    if data != 1 or isinstance(data, bool):
                        self.wrong(file, section, f"{kind_of(data)} found (this release reads schema 1)")
                elif not isinstance(data, str):
                    self.wrong(file, section, f"{kind_of(data)} found where a text is wanted")
            elif section in schema.TABLES or section in schema.NAMED:
                heap = self.tables[section] if section in schema.TABLES else self.named[section]
                if not isinstance(data, dict):
                    self.wrong(file, section, f"{kind_of(data)} found where a table is wanted")
                    continue
                for key, value in data.items():
                    if key in heap:
                        self.wrong(file, f"{section}.{key}", f"given in two files, here and in {heap[key][0]}")
                    else:
                        heap[key] = (file, value)
            elif section in schema.LISTS:
                if not isinstance(data, list):
                    self.wrong(file, section, f"write [[{section}]], a list of tables")
                    continue
                for index, value in enumerate(data, 1):
                    self.lists[section].append((file, f"{section}[{index}]", value))
            else:
                sections = (*schema.HEAD, *schema.TABLES, *schema.NAMED, *schema.LISTS)
                self.wrong(file, "", f"unknown key {section!r} {known(sections)}")

    def read_head(self) -> None:
        if "schema" not in self.head:
            # Any of the files may have it. The one with the rules does as a rule; one with filed releases never alone.
            file = max(self.documents, key=lambda file: len(self.documents[file].keys() - {"release"}))
            self.wrong(file, "schema", "missing (this release reads schema 1)")

    def section(self, section: str, name: str) -> Table:
        file, data = self.named[section][name]
        table = Table(data, file, f"{section}.{name}", self.problems, schema.NAMED[section])
        if not name.strip() or name == "*" or name.startswith("@"):
            table.wrong("", "not usable as a name")
        return table

    def read_groups(self) -> dict[str, frozenset[str]]:
        """Group -> every group it lies within, directly or not."""
        direct = {
            name: self.section("groups", name).names("within", self.named["groups"], "group", empty=True)
            for name in self.named["groups"]
        }
        closed: dict[str, frozenset[str]] = {}
        for name in direct:
            above, todo = set[str](), list(direct[name])
            while todo:
                group = todo.pop()
                if group not in above:
                    above.add(group)
                    todo.extend(direct[group])
            if name in above:
                self.wrong(self.named["groups"][name][0], f"groups.{name}.within", "the group lies within itself")
            closed[name] = frozenset(above)
        return closed

    def read_facet(self, name: str) -> FacetSource | None:
        table = self.section("facets", name)
        before = len(self.problems)
        labels = self.pairs(table.table("labels"))
        prefix = (table.text("label_prefix") or "").lower()
        if any(text.startswith(TLP_LABEL) for text, _ in (*labels, (prefix, ""))):
            table.wrong("", "labels that begin with 'tlp:' are levels; use the key tlp in rules")
        extension, property_, values = "", "", None
        inner = table.table("extension", schema.FACET_EXTENSION)
        if inner is not None:
            extension, property_ = inner.text("id", required=True) or "", inner.text("property", required=True) or ""
            mapping = inner.table("values")
            values = None if mapping is None else self.pairs(mapping)
        if not (labels or prefix or extension) and len(self.problems) == before:
            table.wrong("", f"says nothing about where its values come from {known(schema.NAMED['facets'])}")
        return FacetSource(name, labels, prefix, extension, property_, values)

    def pairs(self, table: Table | None) -> tuple[tuple[str, str], ...]:
        if table is None:
            return ()
        return tuple(sorted((key.lower(), (table.text(key) or "").lower()) for key in table.data))

    def countries(self, table: Table, key: str, empty: bool = False) -> tuple[str, ...]:
        codes = table.texts(key, empty)
        for code in codes:
            check_country(table, key, code)
        return codes

    def read_audience(self, name: str, groups: Mapping[str, frozenset[str]]) -> Audience:
        table = self.section("audience", name)
        level = table.text("clearance", required=True)
        if level is not None and level not in RANKS:
            table.wrong("clearance", f"unknown level {level!r} {known(LEVELS)}")
        if "country" in table and "countries" in table:
            table.wrong("countries", "give country or countries, not both")
        if "country" in table and not isinstance(table.data["country"], str):
            table.wrong("country", f"{kind_of(table.data['country'])} found where a text is wanted")
        own = table.names("groups", groups, "group", empty=True)
        identities = table.texts("identities", empty=True)
        for id_ in identities:
            if not _IDENTITY.fullmatch(id_):
                table.wrong("identities", f"{id_!r} is not an identity id")
        attributes: dict[str, tuple[str, ...]] = {}
        inner = table.table("attributes")
        for key in inner.data if inner is not None else ():
            assert inner is not None
            if key in BUILT_IN_ATTRIBUTES:
                inner.wrong(key, f"this name is taken {known(BUILT_IN_ATTRIBUTES)}")
            attributes[key] = tuple(value.lower() for value in inner.texts(key))
        clients = table.names("client_of", self.named["audience"], "audience", empty=True)
        if name in clients:
            table.wrong("client_of", "an audience is not its own client")
        return Audience(
            name=name,
            kind=table.text("kind", required=True) or "",
            clearance=level if level is not None and level in RANKS else "clear",
            countries=(*self.countries(table, "country"), *self.countries(table, "countries")),
            sector=table.text("sector"),
            groups=frozenset(own).union(*(groups[group] for group in own)),
            client_of=clients,
            identities=identities,
            attributes=attributes,
            suspended=table.flag("suspended"),
            admin=table.flag("admin"),
            title=table.text("title") or "",
            addresses=read_addresses(table),
            claims=read_claims(table),
            requests_per_minute=read_requests_per_minute(table),
            certificates=self.certificates(table),
        )

    def certificates(self, table: Table) -> tuple[str, ...]:
        names = []
        for text in table.texts("certificates", empty=True):
            try:
                names.append(normal_name(text))
            except ValueError as error:
                table.wrong("certificates", str(error))
        return tuple(names)

    def check_belongings(self, audiences: Mapping[str, Audience]) -> None:
        """No identity, no certificate and no OIDC token belongs to two audiences."""
        for key in ("identities", "certificates"):
            owner: dict[str, str] = {}
            for name, audience in audiences.items():
                for id_ in getattr(audience, key):
                    if id_ in owner:
                        file = self.named["audience"][name][0]
                        self.wrong(file, f"audience.{name}.{key}", f"{id_!r} belongs to {owner[id_]!r} already")
                    owner.setdefault(id_, name)
        for name, other in doubly_claimed(audiences):
            self.wrong(self.named["audience"][name][0], f"audience.{name}.claims", f"{other!r} has the same claims")

    def read_marking(self, id_: str) -> Meaning:
        table = self.section("markings", id_)
        if id_ in TLP_IDS:
            table.wrong("", f"this is TLP:{TLP_IDS[id_].upper()}; its meaning is built in")
        elif not _MARKING.fullmatch(id_):
            table.wrong("", "not a marking-definition id")
        level = table.text("tlp")
        if level is not None and level not in RANKS:
            table.wrong("tlp", f"unknown level {level!r} {known(LEVELS)}")
        rel_to, groups = self.countries(table, "rel_to"), table.names("rel_to_groups", self.named["groups"], "group")
        return Meaning(
            name=table.text("name") or id_,
            level=None if level is None else RANKS.get(level),
            rel_to=frozenset(rel_to) if "rel_to" in table or "rel_to_groups" in table else None,
            rel_to_groups=frozenset(groups),
            not_rel_to=frozenset(self.countries(table, "not_rel_to")),
            orcon=table.flag("orcon"),
        )

    def read_defaults(self, names: Names) -> Defaults:
        files = {file for file, _ in self.tables["defaults"].values()}
        data = {key: value for key, (_, value) in self.tables["defaults"].items()}
        keys = schema.TABLES["defaults"]
        table = Table(data, ", ".join(sorted(files)), "defaults", self.problems, keys)
        return Defaults(
            unmarked=table.choice("unmarked", UNMARKED, "deny"),
            granular=table.choice("granular", ("hide", "derive"), "hide"),
            versions=table.choice("versions", ("newest-governs", "independent"), "newest-governs"),
            refs_required=table.choice("refs_required", ("hide",), "hide"),
            refs_lists=table.choice("refs_lists", ("hide", "derive", "keep"), "hide"),
            label_tlp=table.flag("label_tlp", True),
            statements=table.choice("statements", ("neutral",), "neutral"),
            marking_sources=table.names("marking_sources", names.audiences, "audience", empty=True),
        )

    def read_collections(self) -> dict[str, str]:
        """Collection -> its own unmarked rule."""
        found: dict[str, str] = {}
        for name, (file, _) in self.named["collections"].items():
            table = self.section("collections", name)
            if self.collections is not None and name not in self.collections:
                self.wrong(file, f"collections.{name}", f"unknown collection {known(self.collections)}")
            if "unmarked" in table:
                found[name] = table.choice("unmarked", UNMARKED, "deny")
        return found

    def check_delays(self, policy: Policy) -> None:
        """What is held back for some time has a place of its own in the order of each reader; there are few of them."""
        if len(policy.delays()) > MAX_DELAYS:
            last = next(rule for rule in reversed(policy.rules) if rule.delay_us)
            message = f"{len(policy.delays())} different delays; a policy may have {MAX_DELAYS}"
            self.wrong(last.file, f"{last.key}.delay", f"{message} (rule {last.id!r})")

    def digest(self) -> str:
        """SHA-256 of what the files say: comments, spacing, file names and table order do not count."""
        content = {
            **self.head,
            **{name: {key: value for key, (_, value) in heap.items()} for name, heap in self.tables.items()},
            **{name: {key: value for key, (_, value) in heap.items()} for name, heap in self.named.items()},
            **{name: [value for _, _, value in items] for name, items in self.lists.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def dead_rules(policy: Policy) -> list[Problem]:
    """A warning for every rule that matches no audience, or that no object can ever match."""
    found = []
    space = Space(policy)
    for rule in policy.rules:
        readers = [name for name in policy.audiences if policy.concerns(rule, name)]
        reason = ""
        if not readers:
            kinds = {value for c in rule.to if c.key == "kind" for value in c.values}
            strange = sorted(kinds - {audience.kind for audience in policy.audiences.values()})
            reason = f"no audience of kind {', '.join(map(repr, strange))}; " if strange else ""
            reason += "the rule matches nobody"
        elif not any(satisfiable(policy, rule, name, space) for name in readers):
            reason = "no object can match this"
        if reason:
            found.append(Problem(rule.file, rule.key, f"{reason} (rule {rule.id!r})"))
    return found


def misspelt_types(policy: Policy) -> list[Problem]:
    """A warning for every type in a rule or example that is none of STIX and nearly one.

    Such a forbid or claim never fits, and such an example shows nothing about the objects that were meant.
    A type of somebody's own is nothing to warn about, least of all one that begins with x-, as custom ones do.
    """
    found = []
    rules: list[Rule | Guard] = [*policy.rules, *policy.guards]
    for rule in rules:
        conditions: list[Condition | GuardTest] = [*rule.what]
        if isinstance(rule, Rule) and rule.unless:
            conditions += [*rule.unless.conditions, *rule.unless.alternatives]
        values = {value for each in conditions if each.key == "type" for value in each.values}
        for value in sorted(values):
            if message := _misspelt(value):
                found.append(Problem(rule.file, rule.key, f"{message} (rule {rule.id!r})"))
    for example in policy.examples:
        if message := _misspelt(example.traits.type):
            found.append(Problem(example.file, f"{example.key}.object.type", message))
    return found


def _misspelt(value: str) -> str | None:
    if value in STANDARD_TYPES or value.startswith("x-"):
        return None
    near = difflib.get_close_matches(value, sorted(STANDARD_TYPES), 1, 0.8)
    return f"{value!r} is no type of STIX; did you mean {near[0]!r}?" if near else None
