"""The examples in a policy file: each names an object in short and who is expected to read it."""

from __future__ import annotations

from dataclasses import dataclass

from taxii_server.errors import Problem
from taxii_server.policy.decisions import Decision, Policy
from taxii_server.policy.markings import Meanings
from taxii_server.policy.rules import Example
from taxii_server.tlp import TLP_IDS


@dataclass(frozen=True, slots=True)
class Results:
    """Examples that do not hold, and those that cannot be decided before all sections are supported."""

    failures: tuple[Problem, ...]
    undecided: tuple[Problem, ...]


def run(policy: Policy) -> Results:
    """Every example of the policy, decided by the policy itself."""
    failures: list[Problem] = []
    undecided: list[Problem] = []
    for example in policy.examples:
        facets = policy.vocabulary.project(example.traits)
        for expected in ("read", "hide", "redact"):
            for name in getattr(example, expected):
                decision = policy.decide(name, facets, Meanings.empty())
                problem = _compare(policy, example, expected, name, decision)
                if problem is not None:
                    (undecided if problem[0] else failures).append(problem[1])
    return Results(tuple(failures), tuple(undecided))


def _compare(
    policy: Policy, example: Example, expected: str, name: str, decision: Decision
) -> tuple[bool, Problem] | None:
    """Whether it is undecided only, and what to say; None when the example holds."""
    thing = describe(example)
    if expected == "redact":
        text = f"not supported yet: {name} should read a redacted copy of {thing}"
        return True, Problem(example.file, f"{example.key}.redact", text)
    if decision.verdict == ("read" if expected == "read" else "hide"):
        return None
    because = f"{decision.text or decision.reason}" + (f" (rule {decision.rule!r})" if decision.rule else "")
    if expected == "hide":
        return False, Problem(example.file, f"{example.key}.hide", f"{name} reads {thing}: {because}")
    if _waits(policy, example, name, decision):
        text = f"not supported yet: whether {name} reads {thing} depends on a section that has no effect so far"
        return True, Problem(example.file, f"{example.key}.read", f"{text} ({decision.reason})")
    return False, Problem(example.file, f"{example.key}.read", f"{name} does not read {thing}: {because}")


def _waits(policy: Policy, example: Example, name: str, decision: Decision) -> bool:
    """Whether a section that is parsed but not in effect might still grant this."""
    if decision.reason in ("embargo", "strip"):
        return True
    if decision.reason == "granular":
        return policy.defaults.granular == "derive"
    if decision.reason not in ("orcon", "tlp-red-not-named"):
        return False
    groups = policy.audiences[name].groups
    return any(
        release.by == example.traits.submitter
        and example.traits.id in release.objects
        and (name in release.audiences or not release.groups.isdisjoint(groups))
        for release in policy.releases
    )


def describe(example: Example) -> str:
    """The object of an example in a few words."""
    traits = example.traits
    markings = (TLP_IDS.get(id_, id_) for id_ in traits.markings)
    return f"{', '.join((traits.type, *markings, *traits.labels))} by {traits.submitter}"
