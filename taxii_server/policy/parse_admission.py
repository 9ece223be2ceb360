"""How a partner may come in, from its table in the partners file: addresses, OIDC claims, requests a minute.

No rule looks at these: they say who an audience is at the door, before any rule is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

from taxii_server.policy.reader import Table
from taxii_server.policy.rules import Audience

MAX_REQUESTS_PER_MINUTE = 1_000_000


def read_addresses(table: Table) -> tuple[str, ...]:
    """The networks of `addresses`, in canonical form; what is none is noted as a problem."""
    networks = []
    for text in table.texts("addresses"):
        try:
            networks.append(str(ip_network(text)))
        except ValueError:
            table.wrong(
                "addresses", f"{text!r} is no address or network, such as 192.0.2.7 or 2001:db8::/32{_meant(text)}"
            )
    return tuple(networks)


def _meant(text: str) -> str:
    try:
        return f"; did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        return ""


def read_claims(table: Table) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Claim -> values of `claims`, sorted."""
    inner = table.table("claims")
    return () if inner is None else tuple((name, inner.texts(name)) for name in sorted(inner.data))


def read_requests_per_minute(table: Table) -> int | None:
    """`requests_per_minute`; 0 is no limit, None what the settings say."""
    return table.number("requests_per_minute", 0, MAX_REQUESTS_PER_MINUTE)


def doubly_claimed(audiences: Mapping[str, Audience]) -> list[tuple[str, str]]:
    """(audience, earlier one) where every token of one is always one of the other, too: nobody could use it."""
    claiming = [audience for audience in audiences.values() if audience.claims]
    found = []
    for index, late in enumerate(claiming):
        for early in claiming[:index]:
            wanted, taken = dict(late.claims), dict(early.claims)
            if wanted.keys() == taken.keys() and all(set(wanted[name]) & set(taken[name]) for name in wanted):
                found.append((late.name, early.name))
                break
    return found
