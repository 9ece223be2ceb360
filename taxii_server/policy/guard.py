"""Publish guards: what may not be posted to a collection, or not without a second look.

A guard looks at the posted object itself, at POST, and not at its label: it needs no vocabulary, can look at any
property, and is done before anything is stored. Rules of reading decide who gets an object; a guard decides whether
there is one.

What refers to an object that a guard stopped is stopped with it: a relationship to a customer says as much as the
customer's identity. Who made an object (`created_by_ref`) is no reference in this sense.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from taxii_server.errors import Problem
from taxii_server.policy.words import Phrases, folded, plain, texts_in, words_of

Act = Literal["refuse", "quarantine", "strip"]
#: What becomes of an object at POST, as a [[test]] expects it.
Outcome = Literal["accepted", "refused", "quarantined"]

OUTCOMES: Mapping[Act, Outcome] = {"refuse": "refused", "quarantine": "quarantined", "strip": "accepted"}


class Posted:
    """One posted object, as guards ask about it. What is costly is worked out once, when first asked for."""

    __slots__ = ("_words", "value")

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.value = value
        self._words: list[str] | None = None

    def plain_texts(self, name: str) -> set[str]:
        """The texts of one property, a text or a list of them, as plain words."""
        found = self.value.get(name)
        members = found if isinstance(found, list) else [found]
        return {plain(member) for member in members if isinstance(member, str)}

    def extensions(self) -> set[str]:
        found = self.value.get("extensions")
        return {plain(name) for name in found} if isinstance(found, dict) else set()

    def at(self, path: Sequence[str]) -> list[Any]:
        """The values at a path of property names; a list on the way stands for each of its members."""
        nodes: list[Any] = [self.value]
        for wanted in path:
            inner: list[Any] = []
            while nodes:
                node = nodes.pop()
                if isinstance(node, list):
                    nodes += node
                elif isinstance(node, dict):
                    inner += [
                        member
                        for name, member in node.items()
                        if name == wanted or (not _is_usual(name) and folded(name) == wanted)
                    ]
            nodes = inner
        return nodes

    def words(self) -> list[str]:
        """The words of every text of the object."""
        if self._words is None:
            self._words = words_of(texts_in(self.value))
        return self._words


def _is_usual(name: str) -> bool:
    """Whether folding the name of a property would change nothing, as for nearly all of them."""
    return name.isascii() and name.islower() and name.isidentifier()


@dataclass(frozen=True, slots=True)
class GuardTest:
    """One key of a guard's `what`, without its `not_`: any of `values`, `paths` or `phrases` fits.

    `values` are plain. A path is the folded names of properties from the top.
    """

    key: str
    negated: bool = False
    values: frozenset[str] = frozenset()
    paths: tuple[tuple[str, ...], ...] = ()
    phrases: Phrases | None = None

    def holds(self, posted: Posted) -> bool:
        """Whether the object passes this test."""
        return self._plain(posted) != self.negated

    def _plain(self, posted: Posted) -> bool:
        if self.key == "label_prefix":
            return any(label.startswith(tuple(self.values)) for label in posted.plain_texts("labels"))
        if self.key == "extension":
            return not self.values.isdisjoint(posted.extensions())
        if self.key == "property":
            return any(posted.at(path) for path in self.paths)
        if self.phrases is not None:
            if self.key == "names_customer":
                return self.phrases.first_in(posted.words()) is not None
            texts = (text for path in self.paths for found in posted.at(path) for text in texts_in(found))
            return self.phrases.first_in(words_of(texts)) is not None
        return not self.values.isdisjoint(posted.plain_texts(_PROPERTIES[self.key]))


#: Where the values of a key stand in an object.
_PROPERTIES: Mapping[str, str] = {
    "type": "type",
    "label": "labels",
    "identity_class": "identity_class",
    "sector": "sectors",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """One `[[guard]]`. `collections` and `by`: names; empty means all. `properties`: only of act "strip"."""

    id: str
    file: str
    key: str
    act: Act
    why: str = ""
    collections: frozenset[str] = frozenset()
    by: frozenset[str] = frozenset()
    what: tuple[GuardTest, ...] = ()
    properties: tuple[str, ...] = ()

    def watches(self, collection: str, submitter: str) -> bool:
        """Whether it looks at what this partner posts to this collection, by their names."""
        return (not self.collections or collection in self.collections) and (not self.by or submitter in self.by)

    def fits(self, posted: Posted) -> bool:
        """Whether the object is what it is about."""
        return all(test.holds(posted) for test in self.what)


@dataclass(frozen=True, slots=True)
class PostExample:
    """What a [[test]] with `post` says: this object by this partner, posted to this collection, becomes that."""

    file: str
    key: str
    value: Mapping[str, Any]
    by: str
    collection: str
    expected: Outcome


@dataclass(frozen=True, slots=True)
class Stop:
    """Why an object is not stored: the guard, what it does, and the id that the object refers to if that is why."""

    guard: str
    act: Act
    why: str = ""
    via: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """The guards over one partner's posts to one collection, those that refuse first."""

    guards: tuple[Guard, ...]

    def judge(self, value: Mapping[str, Any]) -> Stop | None:
        """What becomes of an object by itself: the first guard that stops it. None: it may pass."""
        posted = Posted(value)
        for guard in self.guards:
            if guard.fits(posted):
                return Stop(guard.id, guard.act, guard.why)
        return None

    def stop_of(self, guard_id: str, via: str) -> Stop:
        """The stop for what refers to `via`, which this guard stopped before; it may be gone from the policy by now."""
        for guard in self.guards:
            if guard.id == guard_id:
                return Stop(guard.id, guard.act, guard.why, via)
        return Stop(guard_id, "quarantine", "", via)


def watch_over(guards: Iterable[Guard], collection: str, submitter: str) -> Watch | None:
    """What watches the posts of this partner to this collection, by their names; None when nothing does."""
    fitting = [guard for guard in guards if guard.act != "strip" and guard.watches(collection, submitter)]
    fitting.sort(key=lambda guard: guard.act != "refuse")
    return Watch(tuple(fitting)) if fitting else None


def spread(
    stops: Mapping[int, Stop],
    ids: Sequence[str | None],
    references: Sequence[Sequence[str]],
    passing: frozenset[int],
    blocked: Mapping[str, Stop],
) -> dict[int, Stop]:
    """The stops of a body by place, with those of everything in it that refers to something stopped.

    `ids` and `references` are those of the objects of the body. `blocked`: ids outside of the body that may not be
    referred to. `passing`: places that quarantine does not concern. Follows references through several steps. What
    is refused goes before what is held.
    """
    referrers: dict[str, list[int]] = {}
    for place, found in enumerate(references):
        for ref in found:
            referrers.setdefault(ref, []).append(place)
    result = dict(stops)
    for act in ("refuse", "quarantine"):
        todo = [(id_, stop) for id_, stop in blocked.items() if stop.act == act]
        todo += [(id_, stop) for place, stop in result.items() if stop.act == act and (id_ := ids[place]) is not None]
        while todo:
            id_, stop = todo.pop()
            for place in referrers.get(id_, ()):
                known = result.get(place)
                if (known is not None and known.act in ("refuse", act)) or (act == "quarantine" and place in passing):
                    continue
                result[place] = Stop(stop.guard, stop.act, stop.why, id_)
                if (own := ids[place]) is not None:
                    todo.append((own, result[place]))
    return result


def outcome_of(guards: Iterable[Guard], example: PostExample) -> tuple[Outcome, str]:
    """What becomes of an example at POST, and the guard that decides; "" for none."""
    watch = watch_over(guards, example.collection, example.by)
    stop = watch.judge(example.value) if watch is not None else None
    return (OUTCOMES[stop.act], stop.guard) if stop is not None else ("accepted", "")


def failing_posts(guards: Sequence[Guard], examples: Sequence[PostExample]) -> list[Problem]:
    """A problem for every example of a post that turns out otherwise."""
    problems = []
    for example in examples:
        found, guard = outcome_of(guards, example)
        if found != example.expected:
            by = f" (guard {guard!r})" if guard else ""
            message = f"posted by {example.by} to {example.collection} it is {found}{by}, not {example.expected}"
            problems.append(Problem(example.file, example.key, message))
    return problems
