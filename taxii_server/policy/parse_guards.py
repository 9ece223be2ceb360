"""`[[guard]]` and the `post` of `[[test]]` read into frozen data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from taxii_server.policy import schema
from taxii_server.policy.guard import Act, Guard, GuardTest, Outcome, PostExample
from taxii_server.policy.parse_rules import RuleReader, to_take_out
from taxii_server.policy.reader import Table
from taxii_server.policy.rules import Condition, Rule
from taxii_server.policy.words import PHRASE_MAX_WORDS, Phrases, folded, plain, words

#: Keys of a guard's `what` that a [[strip]] rule knows, too.
STRIPPABLE = ("type", "label", "identity_class", "extension")
#: Keys of a [[test]]'s object that are no properties of it.
_NOT_PROPERTIES = ("by", "tlp", "marking", "granular", "creator", "collection")


@dataclass(frozen=True, slots=True)
class Guards:
    """The guards of a policy, what those with act "strip" are as rules, and the examples of posts."""

    guards: tuple[Guard, ...]
    rules: tuple[Rule, ...]
    examples: tuple[PostExample, ...]


def read_guards(reader: RuleReader, lists: Mapping[str, Sequence[tuple[str, str, Any]]]) -> Guards:
    """All guards, in file order. Problems go to the reader's."""
    read = [_guard(reader, *item) for item in lists["guard"]]
    examples = [_post(reader, *item) for item in lists["test"]]
    return Guards(
        guards=tuple(guard for guard, _ in read),
        rules=tuple(_strip_rule(guard, conditions) for guard, conditions in read if guard.act == "strip"),
        examples=tuple(example for example in examples if example is not None),
    )


def _guard(reader: RuleReader, file: str, key: str, data: object) -> tuple[Guard, tuple[Condition, ...]]:
    table, id_ = reader.open("guard", file, key, data)
    names = reader.names
    act = cast(Act, table.choice("act", get_args(Act), "refuse"))
    if "act" not in table:
        table.wrong("act", f"missing (known: {', '.join(get_args(Act))})")
    if "what" not in table:
        table.wrong("what", "missing: a guard without it would stop everything")
    if (act == "strip") != ("properties" in table):
        table.wrong("properties", "an act 'strip' needs the properties to take out" if act == "strip" else
                    f"only an act 'strip' takes properties out, this one is {act!r}")  # fmt: skip
    collections = (
        table.texts("collection")
        if names.collections is None
        else table.names("collection", names.collections, "collection")
    )
    by = table.names("by", names.audiences, "audience")
    what = table.table("what", schema.spelled(schema.GUARD_WHAT))
    tests: list[GuardTest] = []
    conditions = [
        Condition(name, False, values) for name, values in (("collection", collections), ("by", by)) if values
    ]
    for written in what.data if what is not None else ():
        assert what is not None
        negated = written.startswith(schema.NOT)
        base = written.removeprefix(schema.NOT) if negated else written
        if written not in schema.spelled(schema.GUARD_WHAT):
            continue
        tests += _tests(what, written, base, negated)
        if act != "strip":
            continue
        if base in STRIPPABLE:
            # Rules know labels and identity classes in lower case, and extension ids as they are.
            texts = what.texts(written)
            lower = base in ("label", "identity_class")
            conditions.append(Condition(base, negated, tuple(text.lower() if lower else text for text in texts)))
        else:
            known = ", ".join(key for key in schema.spelled(schema.GUARD_WHAT) if _base(key) in STRIPPABLE)
            what.wrong(written, f"an act 'strip' decides at every read, where this is not known (known there: {known})")
    guard = Guard(
        id=id_,
        file=file,
        key=key,
        act=act,
        why=table.text("why") or "",
        collections=frozenset(collections),
        by=frozenset(by),
        what=tuple(tests),
        properties=to_take_out(table),
    )
    return guard, tuple(conditions)


def _base(key: str) -> str:
    return key.removeprefix(schema.NOT)


def _tests(table: Table, written: str, base: str, negated: bool) -> list[GuardTest]:
    if base == "text":
        inner = table.table(written)
        return [
            GuardTest(base, negated, paths=(_path(inner, path, path),), phrases=_phrases(inner, path))
            for path in (inner.data if inner is not None else ())
            if inner is not None
        ]
    values = table.texts(written)
    if base == "names_customer":
        return [GuardTest(base, negated, phrases=_phrases(table, written))]
    if base == "property":
        return [GuardTest(base, negated, paths=tuple(_path(table, written, value) for value in values))]
    for value in values:
        if not plain(value):
            table.wrong(written, f"{value!r} has nothing in it that can be seen")
        elif base == "extension" and not value.startswith("extension-definition--") and not value.endswith("-ext"):
            table.wrong(written, f"{value!r} is not an extension id")
    return [GuardTest(base, negated, values=frozenset(map(plain, values)))]


def _path(table: Table, key: str, text: str) -> tuple[str, ...]:
    parts = tuple(folded(part) for part in text.split("."))
    if not all(part.strip() == part and part for part in parts):
        table.wrong(key, f"{text!r} is not a property; write its name, or names with a dot between them")
    return parts


def _phrases(table: Table, key: str) -> Phrases:
    values = table.texts(key)
    for value in values:
        count = len(words(value))
        if not count:
            table.wrong(key, f"{value!r} has no word in it")
        elif count > PHRASE_MAX_WORDS:
            table.wrong(key, f"{value!r} has {count} words, at most {PHRASE_MAX_WORDS} can be looked for")
    return Phrases(value for value in values if words(value))


def _strip_rule(guard: Guard, conditions: tuple[Condition, ...]) -> Rule:
    """The guard as a rule of reading: everybody but the submitter gets a copy without the properties."""
    return Rule("strip", guard.id, guard.file, guard.key, guard.why, what=conditions, properties=guard.properties)


def _post(reader: RuleReader, file: str, key: str, data: object) -> PostExample | None:
    """The example of a post in a [[test]]. What else is wrong with the table is told by the rules' reader."""
    found = data.get("object") if isinstance(data, dict) else None
    if not isinstance(data, dict) or "post" not in data or not isinstance(found, dict):
        return None
    table = Table(data, file, key, reader.problems)
    expected = cast(Outcome, table.choice("post", get_args(Outcome), "accepted"))
    if "collection" not in found:
        table.wrong("post", "the object needs a collection that it is posted to")
    value = {name: each for name, each in found.items() if name not in _NOT_PROPERTIES}
    return PostExample(file, key, value, str(found.get("by", "")), str(found.get("collection", "")), expected)
