"""The examples in a policy file: each names an object in short and who is expected to read it.

An example says what the rules are, not what the day is: unless it names a moment itself, releases hold in it, and
embargoes do. So a file that is right stays right when a release ends.
"""

from __future__ import annotations

from taxii_server.errors import Problem
from taxii_server.policy.decisions import Decision, Policy
from taxii_server.policy.markings import Meanings
from taxii_server.policy.rules import Example
from taxii_server.tlp import TLP_IDS

_EXPECTED = {"read": "read", "hide": "hide", "redact": "derive"}
_OUTCOMES = {"read": "reads", "hide": "does not read", "derive": "reads in part"}


def run(policy: Policy) -> tuple[Problem, ...]:
    """Every example that does not hold, decided by the policy itself."""
    failures: list[Problem] = []
    for example in policy.examples:
        for key, verdict in _EXPECTED.items():
            for name in getattr(example, key):
                decision = decide(policy, example, name)
                if decision.verdict != verdict:
                    failures.append(_failure(example, key, name, decision))
    return tuple(failures)


def decide(policy: Policy, example: Example, audience: str) -> Decision:
    """What the policy says about the object of an example, as old as the example says."""
    facets = policy.vocabulary.project(example.traits)
    decision = policy.decide(audience, facets, Meanings.empty(), moment=example.at, age_us=example.age_us)
    if decision.verdict != "hide" and decision.delay_us > example.age_us:
        return Decision("hide", "embargo", None, f"it is readable {_hours(decision.delay_us)} after it was added")
    return decision


def _hours(us: int) -> str:
    return f"{us // 3_600_000_000}h" if us % 3_600_000_000 == 0 else f"{us // 60_000_000}m"


def _failure(example: Example, key: str, name: str, decision: Decision) -> Problem:
    because = f"{decision.text or decision.reason}" + (f" (rule {decision.rule!r})" if decision.rule else "")
    return Problem(
        example.file, f"{example.key}.{key}", f"{name} {_OUTCOMES[decision.verdict]} {describe(example)}: {because}"
    )


def describe(example: Example) -> str:
    """The object of an example in a few words."""
    traits = example.traits
    markings = (TLP_IDS.get(id_, id_) for id_ in traits.markings)
    return f"{', '.join((traits.type, *markings, *traits.labels))} by {traits.submitter}"
