"""Every object that rules can tell apart, as a space of yes/no and one-of choices for the prover.

A `PartialCase` is an object of which some choices are made. It answers like any case, says None or
UNKNOWN where a choice is open, and remembers the first open choice it was asked about.

What is left out can only hide more, so no claim depends on it: markings that no rule names (their
level is there as a choice of its own), granular markings, newer versions, definitions not carried. So are
embargoes, which end, and what is taken out of copies: whoever reads a copy reads the object. Releases are
there, whatever their time.
The built-in TLP definitions are left out as well: they are public texts, and claims are not about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from taxii_server.policy.conditions import ANY, UNKNOWN, Blank, Single, answer, dimension_of, some
from taxii_server.policy.decisions import Policy
from taxii_server.policy.facets import OTHER
from taxii_server.policy.floor import View
from taxii_server.policy.markings import BUILT_IN, LEVELS, Meaning
from taxii_server.policy.rules import Condition, Release
from taxii_server.policy.vocabulary import conditions_of, vocabulary_of

#: A choice: ("type",), ("collection",), ("label", "victim"), ("extval", id, property, text) ...
Choice = tuple[str, ...]
Value = Single | bool | tuple[str, str | None]
DEFINITION = "marking-definition"


class Space:
    """The choices that one policy with its claims can tell apart."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        vocabulary = vocabulary_of(policy.rules, policy.releases, policy.facets, policy.audiences, claims=True)
        conditions = [condition for rule in policy.rules for condition in conditions_of(rule)]
        self.single: dict[str, tuple[Single, ...]] = {
            "collection": _values(conditions, "collection", {*policy.collections}),
            "spec_version": _values(conditions, "spec_version"),
            "revoked": ("false", "true"),
            "identity_class": (None, *sorted(vocabulary.identity_classes), OTHER),
            "creator": (None, *sorted(vocabulary.creators), OTHER),
            "submitter": self._submitters(conditions, vocabulary.creators),
            "confidence": (None, *_bands(vocabulary.confidences)),
        }
        name = DEFINITION if DEFINITION in vocabulary.types else OTHER
        self.types: tuple[tuple[str, str | None], ...] = (
            *((type_, None) for type_ in (*sorted(vocabulary.types), OTHER)),
            (name, "other"),
        )
        named = {value for c in conditions if c.key == "marking" for value in c.values}
        explained = [(id_, BUILT_IN.get(id_) or policy.markings[id_]) for id_ in sorted(named)]
        # Any further marking that sets a level, posted or built in, and any `tlp:` label.
        further = [(f"TLP:{text.upper()}", Meaning(text, rank)) for rank, text in enumerate(LEVELS)]
        self.markings: tuple[tuple[str, Meaning], ...] = tuple(
            sorted(
                [*further, *explained], key=lambda item: -1 if item[1].level is None else item[1].level, reverse=True
            )
        )
        #: release -> who released, and which types of objects as rules see them
        self.released_by: dict[str, tuple[str, frozenset[str]]] = {
            release.facet: (release.by, frozenset(t if t in vocabulary.types else OTHER for t in release.types()))
            for release in policy.releases
        }
        self._released: dict[str, Mapping[tuple[str, frozenset[str]], Release]] = {}
        self.members: dict[tuple[str, str], list[Choice]] = {}
        self._read_labels(vocabulary.labels, {s: frozenset(v) for s, v in vocabulary.facets.items()})
        self._read_extensions(vocabulary.extensions, {s: frozenset(v) for s, v in vocabulary.facets.items()})

    def _submitters(self, conditions: list[Condition], creators: frozenset[str]) -> tuple[Single, ...]:
        named = {value for c in conditions if c.key == "by" for value in c.values}
        if any(value.startswith("@") for value in named):
            named = {value for value in named if not value.startswith("@")}
            named.update(host for audience in self.policy.audiences.values() for host in audience.client_of)
        named.update(a.name for a in self.policy.audiences.values() if creators.intersection(a.identities))
        named.update(release.by for release in self.policy.releases)
        return (OTHER, *sorted(named))

    def _add(self, dimension: str, value: str, choice: Choice) -> None:
        for member in ((dimension, value), (dimension, ANY)):
            choices = self.members.setdefault(member, [])
            if choice not in choices:
                choices.append(choice)

    def _read_labels(self, labels: frozenset[str], facets: Mapping[object, frozenset[str]]) -> None:
        sources = self.policy.facets.values()
        texts = set(labels)
        for source in sources:
            texts.update(text for text, _ in source.labels)
            if source.prefix:
                texts.update(source.prefix + value for value in facets[source])
        for text in sorted(texts):
            self._add("label", text, ("label", text))
            for source in sources:
                for value in source.of_label(text):
                    value = value if value in facets[source] else OTHER
                    self._add(dimension_of(source), value, ("label", text))
        # One more label under each prefix, that nobody names and that no longer prefix covers.
        for prefix in sorted({source.prefix for source in sources if source.prefix}):
            for source in sources:
                if source.prefix and prefix.startswith(source.prefix):
                    self._add(dimension_of(source), OTHER, ("prefix", prefix))

    def _read_extensions(self, extensions: frozenset[str], facets: Mapping[object, frozenset[str]]) -> None:
        sources = [source for source in self.policy.facets.values() if source.extension]
        for id_ in sorted(extensions):
            self._add("extension", id_, ("extension", id_))
        for id_, property_ in sorted({(source.extension, source.property) for source in sources}):
            ours = [source for source in sources if (source.extension, source.property) == (id_, property_)]
            texts = {OTHER}
            for source in ours:
                texts.update(facets[source] if source.values is None else (text for text, _ in source.values))
            for text in sorted(texts):
                choice = ("extval", id_, property_, text)
                self._add("extension", id_, choice)
                for source in ours:
                    value = OTHER if text == OTHER else source.of_extension(id_, property_, text)
                    value = value if value in facets[source] else OTHER
                    self._add(dimension_of(source), str(value), choice)

    def released(self, view: View) -> frozenset[tuple[str, frozenset[str]]]:
        """By whom, and of which types, there is something that is released to the audience of this view."""
        return frozenset(self.releases(view))

    def releases(self, view: View) -> Mapping[tuple[str, frozenset[str]], Release]:
        """One release for each of `released`: others like it show nothing else, so they need not be tried."""
        name = view.audience.name
        if name not in self._released:
            found: dict[tuple[str, frozenset[str]], Release] = {}
            for facet, release in view.releases.items():
                found.setdefault(self.released_by[facet], release)
            self._released[name] = found
        return self._released[name]

    def options(self, choice: Choice, audience: str) -> Sequence[Value]:
        """What may be chosen; the plainest first, so that a witness names little beyond what matters."""
        if choice[0] == "type":
            return self.types
        if choice[0] in self.single:
            return [value for value in self.single[choice[0]] if choice[0] != "submitter" or value != audience]
        # An object marked CLEAR says less than one that has its level from a collection default.
        return (True, False) if choice == ("marking", "TLP:CLEAR") else (False, True)


def _values(conditions: list[Condition], key: str, more: set[str] | None = None) -> tuple[Single, ...]:
    named = {value for c in conditions if c.key == key for value in c.values}
    return (OTHER, *sorted(named | (more or set())))


def _bands(thresholds: frozenset[int]) -> list[tuple[int, int]]:
    starts = sorted({0, *thresholds})
    return list(zip(starts, [*(start - 1 for start in starts[1:]), 100], strict=True))


class _Answers(dict[int, bool | None]):
    """Answers to clauses; one that is decided stays decided whatever else is chosen."""

    __slots__ = ("case",)

    def __init__(self, case: PartialCase, decided: Mapping[int, bool | None]) -> None:
        super().__init__((number, result) for number, result in decided.items() if result is not None)
        self.case = case

    def __missing__(self, number: int) -> bool | None:
        asked = self.case.asked
        result = self[number] = answer(self.case.space.policy.clauses, number, self.case)
        if result is not None:
            # Decided without it: the open choice that was met on the way does not matter here.
            self.case.asked = asked
        return result


class PartialCase:
    """An object of which some choices are made. `asked` is the first open choice that came up."""

    __slots__ = ("asked", "chosen", "clauses", "firm", "fixed", "granular", "label_rank", "markings", "space")

    def __init__(
        self, space: Space, chosen: Mapping[Choice, Value], decided: Mapping[int, bool | None] | None = None
    ) -> None:
        self.space, self.chosen = space, chosen
        self.asked: Choice | None = None
        self.markings: Sequence[tuple[str, Meaning]] = space.markings
        self.granular: Sequence[tuple[str, Meaning]] = ()
        self.firm: Sequence[str] = ()
        self.fixed: Sequence[str] = ()
        self.label_rank: int | None = None
        self.clauses: Mapping[int, bool | None] = _Answers(self, decided or {})

    def choose(self, choice: Choice, value: Value) -> PartialCase:
        """The same case with one choice more."""
        return PartialCase(self.space, {**self.chosen, choice: value}, self.clauses)

    def _open(self, choice: Choice) -> None:
        if self.asked is None:
            self.asked = choice

    def posted_by(self, audience: str) -> bool:
        """Never: claims are about what others posted."""
        return False

    def _type(self) -> tuple[str, str | None] | None:
        value = self.chosen.get(("type",))
        return value if isinstance(value, tuple) else None  # type: ignore[return-value]

    def definition(self) -> str | Blank | None:
        type_ = self._type()
        if type_ is None:
            self._open(("type",))
            return UNKNOWN
        return type_[1]

    def one(self, dimension: str) -> Single | Blank:
        type_ = self._type()
        if type_ is None:
            self._open(("type",))
            return UNKNOWN
        if dimension == "type":
            return type_[0]
        if type_[1] is not None and dimension in ("confidence", "revoked"):
            return None if dimension == "confidence" else "false"
        value = self.chosen.get((dimension,), UNKNOWN)
        if value is UNKNOWN:
            options = self.space.single[dimension]
            if len(options) == 1:
                return options[0]
            self._open((dimension,))
        return value  # type: ignore[return-value]

    def _choice(self, choice: Choice) -> bool | None:
        definition = self.definition()
        if definition is UNKNOWN:
            return None
        # As in FacetsCase: a definition that is treated as one has no labels.
        if definition is not None and choice[0] in ("label", "prefix"):
            return False
        value = self.chosen.get(choice)
        if value is None:
            self._open(choice)
        return value  # type: ignore[return-value]

    def has(self, dimension: str, value: str) -> bool | None:
        if dimension in ("marking", "property"):
            return self._choice((dimension, value))
        if dimension == "release":
            # Only its originator releases an object.
            by, types = self.space.released_by[value]
            given = (self.one("type"), types), (self.one("submitter"), {by})
            if any(found is not UNKNOWN and found not in wanted for found, wanted in given):
                return False
            return None if UNKNOWN in (found for found, _ in given) else self._choice((dimension, value))
        return some([self._choice(choice) for choice in self.space.members.get((dimension, value), ())])

    def levels(self) -> tuple[int | None, ...]:
        found: dict[int | None, None] = {}
        for id_, meaning in self.markings:
            if meaning.level is not None:
                present = self.has("marking", id_)
                if present is not False:
                    found[meaning.level] = None
                if present:
                    return tuple(found)
        if self.definition() is not None:
            found[None] = None
            return tuple(found)
        collection = self.one("collection")
        names = self.space.single["collection"] if collection is UNKNOWN else (collection,)
        found.update((self.space.policy.unmarked_rank(str(name)), None) for name in names)
        return tuple(found)

    def releases(self, view: View) -> Iterable[Release]:
        return self.space.releases(view).values()

    def __str__(self) -> str:
        type_ = self._type()
        name = "an object" if type_ is None else "an object of another type" if type_[0] == OTHER else type_[0]
        if type_ is not None and type_[1] is not None:
            name = DEFINITION
        levels = self.levels()
        parts = [name]
        if len(levels) == 1 and levels[0] is not None:
            parts.append(LEVELS[levels[0]])
        for choice, value in self.chosen.items():
            if choice[0] == "type" or (choice[0] == "marking" and choice[1].startswith("TLP:")):
                continue
            if value is True:
                parts.append(_words(choice))
            elif value is not False and value not in (None, OTHER, "false"):
                text = f"{value[0]}-{value[1]}" if isinstance(value, tuple) else str(value)
                parts.append(f"{choice[0]} {text}" if choice[0] != "revoked" else "revoked")
        return ", ".join(parts)


def _words(choice: Choice) -> str:
    if choice[0] == "release":
        return f"released by {choice[1].partition('#')[0]!r}"
    if choice[0] == "prefix":
        return f"another label {choice[1]}..."
    if choice[0] == "extval":
        return f"{choice[2]} {'of another value' if choice[3] == OTHER else choice[3]}"
    return " ".join(choice)
