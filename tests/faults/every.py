"""All faults, in the order of the table."""

from __future__ import annotations

from tests.faults import databases, hosts, networks, power, processes, sharing
from tests.faults.fault import Fault

FAULTS: list[Fault] = [
    *processes.FAULTS,
    *power.FAULTS,
    *sharing.FAULTS,
    *networks.FAULTS,
    *databases.FAULTS,
    *hosts.FAULTS,
]
