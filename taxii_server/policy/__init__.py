"""Who may read which object: rules in TOML, decided on facets, proved, explained. Pure; no I/O.

`parse` makes a Policy of texts; `Policy.decide`, `allowed` and `Policy.explain` answer; `check` runs
the examples and proves the claims. A Vocabulary projects the raw values of an object onto what rules
can tell apart, and Meanings knows what marking ids demand.
"""

from taxii_server.policy.decisions import Access, Counted, Decision, Explanation, Policy, allowed
from taxii_server.policy.explain import Check
from taxii_server.policy.facets import OTHER, Facets, FacetSource, Vocabulary
from taxii_server.policy.markings import LEVELS, Meaning, Meanings
from taxii_server.policy.parse import parse
from taxii_server.policy.prove import check
from taxii_server.policy.rules import Audience, Defaults, Rule
from taxii_server.policy.schema import POLICY_SECTIONS

__all__ = [
    "LEVELS",
    "OTHER",
    "POLICY_SECTIONS",
    "Access",
    "Audience",
    "Check",
    "Counted",
    "Decision",
    "Defaults",
    "Explanation",
    "FacetSource",
    "Facets",
    "Meaning",
    "Meanings",
    "Policy",
    "Rule",
    "Vocabulary",
    "allowed",
    "check",
    "parse",
]
