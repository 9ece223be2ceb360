"""The vocabulary that a set of rules needs: every value one of them names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taxii_server.policy.facets import FacetSource, Vocabulary
from taxii_server.policy.rules import Audience, Condition, Release, Rule

#: Condition key -> the dimension of the vocabulary that its values belong to.
DIMENSIONS: Mapping[str, str] = {
    "type": "types",
    "label": "labels",
    "identity_class": "identity_classes",
    "creator": "creators",
    "extension": "extensions",
}


def conditions_of(rule: Rule) -> tuple[Condition, ...]:
    """Every condition of a rule, its exceptions included."""
    unless = rule.unless
    return (*rule.to, *rule.what, *((*unless.conditions, *unless.alternatives) if unless else ()))


def vocabulary_of(
    rules: Iterable[Rule],
    releases: Iterable[Release],
    facets: Mapping[str, FacetSource],
    audiences: Mapping[str, Audience],
    claims: bool = False,
) -> Vocabulary:
    """What these rules name. Claims ([[never]]) decide nothing, so they count only when asked for.

    Every declared facet is in it, with the values that rules name and, where a rule writes '@name',
    the values that the audiences have.
    """
    sets: dict[str, set[str]] = {dimension: set() for dimension in DIMENSIONS.values()}
    properties: set[str] = set()
    confidences: set[int] = set()
    values: dict[str, set[str]] = {name: set() for name in facets}
    for rule in rules:
        if rule.kind == "never" and not claims:
            continue
        properties.update(rule.properties)
        for condition in conditions_of(rule):
            if condition.key in DIMENSIONS:
                sets[DIMENSIONS[condition.key]].update(condition.values)
            elif condition.key in ("confidence_below", "confidence_at_least"):
                confidences.update(int(value) for value in condition.values)
            elif condition.key == "facet":
                for value in condition.values:
                    if value.startswith("@"):
                        own = (audience.values_of(value[1:]) for audience in audiences.values())
                        values[condition.name].update(text for texts in own for text in texts)
                    else:
                        values[condition.name].add(value)
    return Vocabulary(
        **{dimension: frozenset(names) for dimension, names in sets.items()},
        properties=frozenset(properties),
        releases={release.facet: (release.by, release.objects) for release in releases},
        confidences=frozenset(confidences),
        facets={facets[name]: frozenset(values[name]) for name in sorted(facets)},
    )
