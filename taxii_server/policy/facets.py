"""Facets: the values of one object version that rules can tell apart, and the vocabulary they come from.

Why project at all: raw values would make hundreds of thousands of labels; the values that some rule
names make a few thousand (policy design, B.2). What nobody names becomes OTHER. A vocabulary may
therefore grow after objects were labelled; `still_exact` says whether a label is still precise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

from taxii_server.model import Traits
from taxii_server.policy.markings import RANKS, level_named

#: Stands for every value that no rule names. Refused as a name in policy files.
OTHER = "*"
#: A `tlp:` label whose level nobody knows. It hides.
UNCLEAR = "?"
TLP_LABEL = "tlp:"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FacetSource:
    """Where one configured facet takes its values from: labels, a label prefix, an extension property.

    Everything is lower case except the extension id and property. `values` None: the property's own
    texts are the values. `key` names the definition, not just the facet: a facet that is defined anew
    under its old name is another dimension, and old labels do not pretend to know it.
    """

    name: str
    labels: Pairs = ()
    prefix: str = ""
    extension: str = ""
    property: str = ""
    values: Pairs | None = None
    key: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        text = json.dumps([self.labels, self.prefix, self.extension, self.property, self.values])
        digest = hashlib.sha256(text.encode()).hexdigest()
        object.__setattr__(self, "key", f"{self.name}#{digest[:8]}")

    def of_label(self, label: str) -> tuple[str, ...]:
        """The values that this label gives the facet: none, one, or two when map and prefix both fit."""
        found = [value for text, value in self.labels if text == label]
        if self.prefix and label.startswith(self.prefix):
            found.append(label[len(self.prefix) :])
        return tuple(found)

    def of_extension(self, extension: str, property_: str, text: str) -> str | None:
        """The value that this extension text gives; OTHER when it is not in the map, None when not ours."""
        if not self.extension or (extension, property_) != (self.extension, self.property):
            return None
        if self.values is None:
            return text.lower()
        return dict(self.values).get(text.lower(), OTHER)

    def known_values(self) -> frozenset[str] | None:
        """Every value the facet can have, or None when that is open (a prefix, or raw texts)."""
        if self.prefix or (self.extension and self.values is None):
            return None
        return frozenset(value for _, value in (*self.labels, *(self.values or ())))

    def to_list(self) -> list[Any]:
        """The definition as plain JSON values."""
        return [self.name, self.labels, self.prefix, self.extension, self.property, self.values]

    @classmethod
    def from_list(cls, data: list[Any]) -> FacetSource:
        """The definition that `to_list` gave."""
        name, labels, prefix, extension, property_, values = data
        mapped = None if values is None else tuple((text, value) for text, value in values)
        return cls(name, tuple((text, value) for text, value in labels), prefix, extension, property_, mapped)


@dataclass(frozen=True, slots=True)
class Facets:
    """One combination of values that rules can tell apart. Hashable; equal when no rule sees a difference.

    All tuples are sorted; OTHER in `labels`, `extensions` or a facet means there was a value nobody
    names. `markings` and `granular` are raw ids. `confidence` is the band (lowest, highest) between
    two thresholds, None when missing. `label_tlp` is the highest level among `tlp:` labels, or UNCLEAR.
    """

    collection: str
    submitter: str
    type: str
    spec_version: str
    revoked: bool = False
    markings: tuple[str, ...] = ()
    granular: tuple[str, ...] = ()
    creator: str | None = None
    labels: tuple[str, ...] = ()
    label_tlp: str | None = None
    facets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    confidence: tuple[int, int] | None = None
    extensions: tuple[str, ...] = ()
    identity_class: str | None = None
    properties: tuple[str, ...] = ()
    defines: str | None = None
    #: keys of the releases that name the object
    releases: tuple[str, ...] = ()
    #: those of `granular` whose parts, and of `properties`, that cannot be taken out
    firm: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    #: those of `granular` that a copy without the parts of the others may lack
    covered: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no blanks, values equal to the default left out."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        if self.facets:
            data["facets"] = dict(self.facets)
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Facets:
        """The facets that `to_json` wrote. Raises ValueError or TypeError for anything else."""
        data: dict[str, Any] = json.loads(text)
        facets = data.pop("facets", {})
        data.pop("object_id", None)  # as in Vocabulary.from_json
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return cls(**plain, facets=tuple((key, tuple(values)) for key, values in sorted(facets.items())))


def _named(value: str | None, names: frozenset[str]) -> str | None:
    return value if value is None or value in names else OTHER


def _named_set(values: Iterable[str], names: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted({value if value in names else OTHER for value in values}))


#: All traits but those of which less can matter.
_AS_THEY_ARE = attrgetter(
    *({each.name for each in fields(Traits)} - {"id", "confidence", "properties", "fixed_properties"})
)

_SETS = ("types", "labels", "identity_classes", "creators", "extensions", "properties")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What rules name, per dimension. Objects are projected onto it; it only ever grows by `union`."""

    types: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    identity_classes: frozenset[str] = frozenset()
    creators: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    properties: frozenset[str] = frozenset()
    confidences: frozenset[int] = frozenset()
    facets: Mapping[FacetSource, frozenset[str]] = field(default_factory=dict)
    #: key of a release -> who releases, which objects
    releases: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    _released: Mapping[tuple[str, str], tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        released: dict[tuple[str, str], list[str]] = {}
        for key, (by, objects) in sorted(self.releases.items()):
            for id_ in objects:
                released.setdefault((by, id_), []).append(key)
        object.__setattr__(self, "_released", {place: tuple(keys) for place, keys in released.items()})

    def project(self, traits: Traits) -> Facets:
        """The facets of one object version under this vocabulary."""
        labels = [label for label in traits.labels if not label.startswith(TLP_LABEL)]
        return Facets(
            collection=traits.collection,
            submitter=traits.submitter,
            type=traits.type if traits.type in self.types else OTHER,
            spec_version=traits.spec_version,
            revoked=traits.revoked,
            markings=traits.markings,
            granular=traits.granular,
            creator=_named(traits.creator, self.creators),
            labels=_named_set(labels, self.labels),
            label_tlp=_label_level(traits.labels),
            facets=self._facet_values(labels, traits.extension_values),
            confidence=self._band(traits.confidence),
            extensions=_named_set(traits.extensions, self.extensions),
            identity_class=_named(traits.identity_class, self.identity_classes),
            properties=self._present(traits.properties),
            defines=traits.defines,
            releases=self._released.get((traits.submitter, traits.id), ()),
            firm=tuple(sorted({*traits.firm_granular})),
            fixed=self._present(traits.fixed_properties),
            covered=traits.covered_granular,
        )

    def project_all(self, traits: Sequence[Traits]) -> list[Facets]:
        """`project` for each of these. Those that are alike get one and the same object: 5 us less for each."""
        bands = {confidence: self._band(confidence) for confidence in {each.confidence for each in traits}}
        known: dict[object, Facets] = {}
        found: list[Facets] = []
        for each in traits:
            names = (each.properties, each.fixed_properties) if self.properties else ()
            key = (_AS_THEY_ARE(each), bands[each.confidence], names, self.released_to(each.submitter, each.id))
            facets = known.get(key)
            if facets is None:
                facets = known[key] = self.project(each)
            found.append(facets)
        return found

    def coarsen(self, facets: Facets) -> Facets:
        """Facets of a wider vocabulary as this smaller one would have given them."""
        given = dict(facets.facets)
        return replace(
            facets,
            type=facets.type if facets.type in self.types else OTHER,
            creator=_named(facets.creator, self.creators),
            labels=_named_set(facets.labels, self.labels),
            facets=tuple(
                sorted(
                    (source.key, _named_set(given[source.key], names))
                    for source, names in self.facets.items()
                    if source.key in given
                )
            ),
            confidence=None if facets.confidence is None else self._band(facets.confidence[0]),
            extensions=_named_set(facets.extensions, self.extensions),
            identity_class=_named(facets.identity_class, self.identity_classes),
            properties=self._present(facets.properties),
            releases=tuple(key for key in facets.releases if key in self.releases),
            fixed=self._present(facets.fixed),
        )

    def released_to(self, submitter: str, id_: str) -> tuple[str, ...]:
        """The keys of the releases by this submitter that name this object."""
        return self._released.get((submitter, id_), ())

    def _present(self, properties: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(self.properties.intersection(properties))) if self.properties else ()

    def _facet_values(
        self, labels: list[str], extension_values: tuple[tuple[str, str, str], ...]
    ) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found = []
        for source, names in self.facets.items():
            values = [value for label in labels for value in source.of_label(label)]
            for extension, property_, text in extension_values:
                value = source.of_extension(extension, property_, text)
                if value is not None:
                    values.append(value)
            if values:
                found.append((source.key, _named_set(values, names)))
        return tuple(sorted(found))

    def _band(self, confidence: int | None) -> tuple[int, int] | None:
        if confidence is None:
            return None
        value = min(max(confidence, 0), 100)
        lowest = max((t for t in self.confidences if t <= value), default=0)
        highest = min((t - 1 for t in self.confidences if t > value), default=100)
        return lowest, highest

    def union(self, other: Vocabulary) -> Vocabulary:
        """A vocabulary that names everything either of the two names."""
        sets = {name: getattr(self, name) | getattr(other, name) for name in (*_SETS, "confidences")}
        sources = sorted({*self.facets, *other.facets}, key=lambda source: source.key)
        none: frozenset[str] = frozenset()
        merged = {source: self.facets.get(source, none) | other.facets.get(source, none) for source in sources}
        return Vocabulary(**sets, facets=merged, releases={**self.releases, **other.releases})

    def covers(self, other: Vocabulary) -> bool:
        """True when this one names at least everything that `other` names."""
        return (
            all(getattr(self, name) >= getattr(other, name) for name in (*_SETS, "confidences"))
            and self.releases.keys() >= other.releases.keys()
            and all(source in self.facets and self.facets[source] >= values for source, values in other.facets.items())
        )

    def still_exact(self, facets: Facets, since: Vocabulary) -> bool:
        """True when this vocabulary would give the object the same facets as the smaller `since` did.

        False as soon as it might not: some value became OTHER under `since`, and that dimension has
        grown. The caller then hides what carries the label, and labels it anew. Releases do not count: a label that
        does not know of one only hides more, and the objects that it names are known.
        """
        grown = {name for name in _SETS if getattr(self, name) - getattr(since, name)}
        if "properties" in grown:
            return False
        collapsed = {
            "types": facets.type == OTHER,
            "labels": OTHER in facets.labels,
            "identity_classes": facets.identity_class == OTHER,
            "creators": facets.creator == OTHER,
            "extensions": OTHER in facets.extensions,
        }
        if any(collapsed.get(name, False) for name in grown):
            return False
        if facets.confidence is not None:
            lowest, highest = facets.confidence
            if any(lowest < threshold <= highest for threshold in self.confidences - since.confidences):
                return False
        return self._facets_still_exact(facets, since)

    def _facets_still_exact(self, facets: Facets, since: Vocabulary) -> bool:
        given = dict(facets.facets)
        for source, names in self.facets.items():
            if source in since.facets:
                if OTHER in given.get(source.key, ()) and names - since.facets[source]:
                    return False
                continue
            if (source.labels or source.prefix) and any(
                label == OTHER or source.of_label(label) for label in facets.labels
            ):
                return False
            if source.extension and any(name in (OTHER, source.extension) for name in facets.extensions):
                return False
        return True

    def to_json(self) -> str:
        """Canonical JSON, empty dimensions left out."""
        data: dict[str, Any] = {
            name: sorted(getattr(self, name)) for name in (*_SETS, "confidences") if getattr(self, name)
        }
        if self.facets:
            data["facets"] = [
                [source.to_list(), sorted(values)]
                for source, values in sorted(self.facets.items(), key=lambda item: item[0].key)
            ]
        if self.releases:
            data["releases"] = {key: [by, sorted(objects)] for key, (by, objects) in self.releases.items()}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The vocabulary that `to_json` wrote. Raises ValueError or TypeError for anything else."""
        data: dict[str, Any] = json.loads(text)
        facets = {FacetSource.from_list(source): frozenset(values) for source, values in data.pop("facets", [])}
        releases = {key: (by, frozenset(objects)) for key, (by, objects) in data.pop("releases", {}).items()}
        # Written by a release that named objects one by one; nothing was released then.
        data.pop("objects", None)
        return cls(**{name: frozenset(values) for name, values in data.items()}, facets=facets, releases=releases)


def _label_level(labels: Iterable[str]) -> str | None:
    """The highest level among the `tlp:` labels, UNCLEAR as soon as one names no level, None without any."""
    highest: str | None = None
    for label in labels:
        if label.startswith(TLP_LABEL):
            level = level_named(label[len(TLP_LABEL) :])
            if level is None:
                return UNCLEAR
            if highest is None or RANKS[level] > RANKS[highest]:
                highest = level
    return highest
