"""Requests a minute, counted in a table that all workers share."""

from __future__ import annotations

import os

import pytest

from taxii_server.auth.networks import client_of, is_within
from taxii_server.auth.rates import RateLimits, take
from taxii_server.auth.shared import Entry, Table
from taxii_server.errors import TooManyRequests
from taxii_server.policy import Audience
from taxii_server.settings import ROWS
from tests.unit.auth.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> Table:
    return Table(rows=64, clock=clock)


def partner(name: str = "cert", per_minute: int | None = None) -> Audience:
    return Audience(name, "cert", "amber", requests_per_minute=per_minute)


def limits(table: Table, address: int = 0, of_partner: int = 0) -> RateLimits:
    return RateLimits(table, address_per_minute=address, partner_per_minute=of_partner)


def test_so_many_at_once_and_not_one_more(table: Table) -> None:
    made = limits(table, of_partner=60)
    for _ in range(60):
        made.require_partner(partner())
    with pytest.raises(
        TooManyRequests, match=r"more than 60 requests a minute \(partner_requests_per_minute\)"
    ) as over:
        made.require_partner(partner())
    assert over.value.retry_after_s == 1
    made.require_partner(partner("another"))


def test_who_waits_as_long_as_told_comes_in_and_asking_too_early_costs_nothing(table: Table, clock: Clock) -> None:
    made = limits(table, of_partner=6)
    for _ in range(6):
        made.require_partner(partner())
    for _ in range(20):
        with pytest.raises(TooManyRequests) as over:
            made.require_partner(partner())
        assert over.value.retry_after_s == 10
    clock.now += 10
    made.require_partner(partner())
    with pytest.raises(TooManyRequests):
        made.require_partner(partner())


def test_the_defaults_let_a_full_copy_and_steady_polls_pass(table: Table, clock: Clock) -> None:
    made = limits(table, ROWS["address_requests_per_minute"].default, ROWS["partner_requests_per_minute"].default)
    for _ in range(1_000_000 // 1000 + 1):  # as if all pages came in one moment
        made.require_address("192.0.2.7")
        made.require_partner(partner())
    for _ in range(600):
        clock.now += 1
        made.require_address("192.0.2.7")
        made.require_partner(partner())


def test_a_partner_has_a_limit_of_its_own_or_none(table: Table) -> None:
    made = limits(table, of_partner=2)
    made.require_partner(partner("slow", 1))
    with pytest.raises(TooManyRequests, match="the partner's requests_per_minute"):
        made.require_partner(partner("slow", 1))
    for _ in range(50):
        made.require_partner(partner("free", 0))


def test_all_addresses_of_one_subscriber_count_as_one(table: Table) -> None:
    made = limits(table, address=2)
    made.require_address("2001:db8:1:2::1")
    made.require_address("2001:db8:1:2:ffff::")
    with pytest.raises(TooManyRequests):
        made.require_address("2001:db8:1:2::9")
    made.require_address("2001:db8:1:3::1")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_what_counts_as_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


@pytest.mark.parametrize(
    ("address", "within"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("::ffff:192.0.2.9", True),
        ("2001:db8:ffff::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("localhost", False),
        ("192.0.2.7, 198.51.100.1", False),
    ],
)
def test_which_addresses_are_within_a_list(address: str, within: bool) -> None:
    assert is_within(address, ("192.0.2.0/24", "2001:db8::/32")) is within


def test_whatever_strangers_send_the_table_stays_as_large_as_it_is_and_keeps_what_lasts(
    table: Table, clock: Clock
) -> None:
    table.write(Entry(1, clock.now, clock.now + 1e6), "right", "192.0.2.7", "cert")
    for number in range(5000):
        take(table, 60, 60, "address", str(number))
    assert table.read("right", "192.0.2.7", "cert") is not None
    assert sum(table.read("address", str(number)) is not None for number in range(5000)) <= 64 * 4


def test_an_entry_is_gone_when_it_has_expired_or_was_removed(table: Table, clock: Clock) -> None:
    table.write(Entry(1, 2, clock.now + 5), "a")
    table.write(Entry(3, 4, clock.now + 5), "b")
    assert table.read("a") == Entry(1, 2, clock.now + 5)
    table.remove("b")
    assert table.read("b") is None
    clock.now += 5
    assert table.read("a") is None


def test_a_forked_process_counts_in_the_same_table(table: Table) -> None:
    made = limits(table, of_partner=2)
    made.require_partner(partner())
    child = os.fork()
    if not child:
        try:
            made.require_partner(partner())
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(TooManyRequests):
        made.require_partner(partner())
