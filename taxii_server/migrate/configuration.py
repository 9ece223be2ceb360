"""The configuration that gives everybody the access that they had: partners, collections, rules, as files to review.

What one could read, one reads, as far as the floor under all rules allows (docs/policy.md): TLP:RED is for those it
names, a marking that nobody understands is for nobody. An object without a marking is read by whom the collection was
open to, and by nobody with a lower clearance who comes later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from taxii_server.catalog.schema import ALIAS
from taxii_server.migrate.names import Names
from taxii_server.migrate.old import OldCollection, OldRoot, OldServer
from taxii_server.policy import OTHER
from taxii_server.settings import RESERVED
from taxii_server.settings.rows import is_name, toml_value, wrapped
from taxii_server.tlp import TLP_2_IDS

#: TLP levels, the least secret first.
LEVELS = tuple(TLP_2_IDS)
#: In whose name the objects of the old server are stored, which did not keep who posted them.
SUBMITTER = "moved-in"
#: The least clearance: whoever has no credentials.
_OPEN = "clear"
_SCHEMA = 'schema = 1\nname = {name}\napproved_by = "nobody yet: written by taxii-server migrate, to be reviewed"\n'


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator decides. `fragments`: files for a hub that exists, in place of those of a new one;
    `has_submitter`: it knows the submitter already."""

    submitter: str = SUBMITTER
    clearance: str = "amber+strict"
    strictness: str = "schema"
    fragments: bool = False
    has_submitter: bool = False
    store: str = "../var/taxii.db"


@dataclass(frozen=True, slots=True)
class Written:
    """The files (path below the folder -> text), and what in them is not as it was."""

    files: Mapping[str, str]
    notes: Sequence[str]


def write_configuration(server: OldServer, names: Names, wishes: Wishes) -> Written:
    """The files of a new hub, or those that go beside the files of one that exists."""
    writer = _Writer(server, names, wishes)
    kind = f"-{names.group}" if wishes.fragments else ""
    files = {
        f"config/partners{kind}.toml": writer.partners(),
        f"config/policy{kind}.toml": writer.policy(),
        **{f"collections/{names.collections[each.root, each.id]}.toml": writer.collection(each) for each in
           server.collections},
    }  # fmt: skip
    files[f"config/server{kind}.toml"] = writer.settings()
    return Written(files, writer.notes())


class _Writer:
    def __init__(self, server: OldServer, names: Names, wishes: Wishes) -> None:
        self._server, self._names, self._wishes = server, names, wishes
        self._group = names.group
        self._partners = sorted(names.users.values()) + ([names.anonymous] if names.anonymous else [])
        self._titles = _unique_titles(server.collections)

    # ---- partners.toml

    def partners(self) -> str:
        wishes = self._wishes
        parts = [
            wrapped(
                f"Who had credentials on the old server ({self._server.kind}). Kind and clearance are guesses, the "
                "same for everybody, that keep the access of before: set them to what is right, one by one, then run "
                "`taxii-server check`. All keys: docs/policy.md."
            )
        ]
        if not wishes.fragments:
            parts.append("\n" + _SCHEMA.format(name=toml_value(f"moved in from {self._server.kind}")))
        parts.append(f"\n[groups]\n{self._group} = {{}}\n")
        for user in self._server.users:
            note = wrapped(f"{user.name}: {user.note}") if user.note else ""
            parts.append(f"\n{note}" + self._audience(self._names.users[user.name], user.name, "partner"))
        if self._names.anonymous:
            parts.append(
                "\n"
                + wrapped("Whoever has no credentials, since the old server let them in (anonymous_partner).")
                + _table(
                    f"audience.{_key(self._names.anonymous)}",
                    title="Anybody, without credentials",
                    kind="public",
                    clearance=_OPEN,
                )
            )
        if not wishes.has_submitter:
            parts.append(
                "\n"
                + wrapped(
                    "In whose name the objects of the old server are stored: it did not keep who posted which. It "
                    "needs no credentials, and reads what it stored."
                )
                + _table(
                    f"audience.{_key(wishes.submitter)}",
                    title=f"What was on the old server ({self._server.kind})",
                    kind="archive",
                    clearance=_OPEN,
                )
            )
        return "".join(parts)

    def _audience(self, name: str, user: str, kind: str) -> str:
        said = _line(user)
        return _table(
            f"audience.{_key(name)}",
            # The policy reads "*" as everybody, nowhere as a text.
            title=name if said in ("", OTHER) else said,
            kind=kind,
            clearance=self._wishes.clearance,
            groups=[self._group],
        )

    # ---- policy.toml

    def policy(self) -> str:
        parts = [
            wrapped(
                "Who reads what that came from the old server: whoever could read a collection there reads it here. "
                "Under these rules lies the floor that no rule can lift: TLP:RED is read by those it names only, and "
                "what carries a marking that is not understood by nobody. Posts of partners follow the same rules."
            )
        ]
        if not self._wishes.fragments:
            parts.append(
                "\n"
                + _table(
                    "defaults",
                    unmarked="deny",
                    granular="hide",
                    refs_lists="hide",
                    refs_required="hide",
                    versions="newest-governs",
                    label_tlp=True,
                    marking_sources=[self._wishes.submitter],
                )
            )
        for each in self._server.collections:
            parts.append(self._rules(each))
        return "".join(parts)

    def _rules(self, collection: OldCollection) -> str:
        name = self._names.collections[collection.root, collection.id]
        readers = self._names.partners(collection.readers)
        parts = [f"\n\n# ---- {_line(collection.title)}\n"]
        if not readers:
            return "".join([*parts, wrapped("Nobody could read it."), self._examples(name, readers, "deny")])
        level = _OPEN if self._names.anonymous in readers else self._wishes.clearance
        # RED needs a name: nothing is readable by being red and unnamed.
        unmarked = f"tlp:{LEVELS[min(LEVELS.index(level), LEVELS.index('amber+strict'))]}"
        parts.append(f"\n[collections.{_key(name)}]\nunmarked = {toml_value(unmarked)}\n")
        to = {"group": self._group} if self._is_everybody(readers) else {"audience": readers}
        parts.append(
            "\n"
            + _table(
                "[permit]",
                id=f"as-before-{name}",
                why=f"could read it on the old server ({self._server.kind})",
                to=to,
                what={"collection": name},
            )
        )
        parts.append(self._examples(name, readers, unmarked))
        return "".join(parts)

    def _is_everybody(self, readers: Sequence[str]) -> bool:
        return list(readers) == sorted(self._names.users.values())

    def _examples(self, name: str, readers: Sequence[str], unmarked: str) -> str:
        submitter = self._wishes.submitter
        others = [each for each in self._partners if each not in {*readers, submitter}]
        every = [each for each in self._partners if each != submitter]
        what = {"type": "indicator", "by": submitter, "collection": name}
        examples = [("what is not marked is read by whom it was open to", what, [*readers, submitter], others)]
        if readers and unmarked != "deny":
            red = {**what, "tlp": "red"}
            examples.append(("TLP:RED is for those it names, and names nobody", red, [submitter], every))
        return "".join(
            "\n"
            + _table(
                "[test]",
                why=why,
                object=given,
                **{key: sorted(set(names)) for key, names in (("read", read), ("hide", hide)) if names},
            )
            for why, given, read, hide in examples
        )

    # ---- collections

    def collection(self, collection: OldCollection) -> str:
        names, wishes = self._names, self._wishes
        key = collection.root, collection.id
        readers, writers = names.partners(collection.readers), names.partners(collection.writers)
        rest = set(names.partners(collection.viewers)) - {*readers, *writers}
        values: dict[str, object] = {"id": names.ids[key], "api_root": names.roots[collection.root]}
        if self._keeps_alias(collection):
            values["alias"] = collection.alias
        values["title"] = self._titles[key]
        values["description"] = _line(collection.description)
        values["owner"] = wishes.submitter
        values["readers"] = [*self._selectors(readers), wishes.submitter]
        values["writers"] = [*self._selectors(writers), wishes.submitter]
        if rest:
            values["visible_to"] = self._selectors(sorted(rest))
        values["accepts"] = list(collection.spec_versions)
        if wishes.strictness != "schema":
            values["strictness"] = wishes.strictness
        intro = wrapped(
            f"From the old server ({self._server.kind}). '{wishes.submitter}' may post here so that what was there can "
            "be moved in: take it out of `writers` when that is done."
        )
        return intro + "\n" + _keys(values)

    def _keeps_alias(self, collection: OldCollection) -> bool:
        """Whether its alias can stand in a URL, and no collection before it has it."""
        same = (
            each
            for each in self._server.collections
            if (each.root, each.alias.casefold()) == (collection.root, collection.alias.casefold())
        )
        return _is_alias(collection.alias) and next(same) is collection

    def _keeps_path(self, root: OldRoot) -> bool:
        """Whether the root can be served where it was."""
        first, _, rest = root.path.partition("/")
        return first not in RESERVED or (first == "taxii2" and bool(rest))

    def _selectors(self, partners: Sequence[str]) -> list[str]:
        return [f"group:{self._group}"] if partners and self._is_everybody(partners) else list(partners)

    # ---- server.toml

    def settings(self) -> str:
        roots = sorted(self._server.roots, key=lambda root: not root.is_default)
        parts: list[str] = []
        if self._wishes.fragments:
            kind = self._group
            parts.append(
                wrapped(
                    "For the server.toml that you have: copy the tables below into it, and name the two files beside "
                    f'this one in its config_files: "partners-{kind}.toml", "policy-{kind}.toml". Then copy those and '
                    "the files of collections/ into its folders, and run `taxii-server check`."
                )
            )
            if self._names.anonymous:
                parts.append(f"\n# anonymous_partner = {toml_value(self._names.anonymous)}\n")
        else:
            parts.append(
                wrapped(
                    "The settings of this server. What is not here has its default: `taxii-server check --show` lists "
                    "everything, config/README.md explains it."
                )
            )
            values: dict[str, object] = {
                "store": self._wishes.store,
                "config_files": ["partners.toml", "policy.toml"],
                "collections_dir": "../collections",
                "title": _line(self._server.title) or "TAXII server",
                "description": _line(self._server.description),
                "contact": _line(self._server.contact),
            }
            if self._names.anonymous:
                values["anonymous_partner"] = self._names.anonymous
            parts.append("\n" + _keys(values))
        for root in roots:
            name = self._names.roots[root.path]
            values = {"title": _line(root.title) or name, "description": _line(root.description)}
            if root.path != name and self._keeps_path(root):
                values["path"] = root.path
            if root.max_content_length >= 1024:
                values["max_content_length"] = root.max_content_length
            parts.append(f"\n[api_roots.{name}]\n" + _keys(values))
        return "".join(parts)

    # ---- what is not as it was

    def notes(self) -> list[str]:
        notes: list[str] = []
        for each in self._server.collections:
            key = each.root, each.id
            if self._names.ids[key] != each.id:
                notes.append(
                    f"collection '{each.title}': its id {each.id!r} is no UUID version 4 in lower case, as TAXII 2.1 "
                    f"wants it, or is that of two collections; here it is {self._names.ids[key]}. Its clients have to "
                    "change their settings"
                )
            if self._titles[key] != each.title:
                notes.append(
                    f"collection '{each.title}' ({each.id}) is called '{self._titles[key]}' here: titles are unique "
                    "under their API root. Clients that look for the title have to change it"
                )
            if each.alias and not self._keeps_alias(each):
                notes.append(f"collection '{each.title}': its alias {each.alias!r} is taken, or cannot stand in a URL")
        notes += [
            f"API root '/{root.path}/' is a path of this server itself: it is '/{self._names.roots[root.path]}/' here. "
            "Its clients have to change their settings"
            for root in self._server.roots
            if not self._keeps_path(root)
        ]
        notes += [f"user '{old}' is partner '{name}' here" for old, name in self._names.users.items() if old != name]
        return notes


def _unique_titles(collections: Iterable[OldCollection]) -> dict[tuple[str, str], str]:
    """Titles under each root, the first one of several equal ones as it is."""
    used: set[tuple[str, str]] = set()
    titles: dict[tuple[str, str], str] = {}
    for each in collections:
        title, number = _line(each.title) or each.id, 1
        found = title
        while (each.root, found.casefold()) in used:
            number += 1
            found = f"{title} ({number})"
        used.add((each.root, found.casefold()))
        titles[each.root, each.id] = found
    return titles


def _is_alias(alias: str) -> bool:
    try:
        return bool(alias) and ALIAS.read(alias) == alias
    except ValueError:
        return False


def _line(text: str) -> str:
    """The text in one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _key(name: str) -> str:
    return name if is_name(name) else toml_value(name)


def _table(header: str, **values: object) -> str:
    return f"[{header}]\n{_keys(values)}"


def _keys(values: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return toml_value(value)
