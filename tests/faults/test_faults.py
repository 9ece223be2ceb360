"""The short form of every fault: nothing lost, nothing invented, all in order, nothing unavailable without saying when.

`make torture` runs the long form; docs/faults.md says what is done and what the figures mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.every import FAULTS
from tests.faults.fault import Fault, run
from tests.faults.servers import SINGLE, SQLITE, THREE, Site, open_site

#: Any number does; one that is always the same makes a failure easier to look into.
SEED = 20_111

QUICK = [
    pytest.param(fault, kind, id=f"{fault.name}, {kind}")
    for kind in (SQLITE, SINGLE, THREE)
    for fault in FAULTS
    if kind in fault.kinds_of(long=False)
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Site]]:
    """The site of this kind that most faults share. One at a time: another kind ends the one before."""
    open_now: dict[str, Site] = {}
    with ExitStack() as stack:

        def site(kind: str) -> Site:
            if kind not in open_now:
                stack.pop_all().close()
                open_now.clear()
                folder = tmp_path_factory.mktemp("faults")
                open_now[kind] = stack.enter_context(open_site(kind, folder, long=False))
            return open_now[kind]

        yield site


@pytest.mark.parametrize(("fault", "kind"), QUICK)
def test_nothing_is_lost(fault: Fault, kind: str, shared: Callable[[str], Site], tmp_path: Path) -> None:
    if fault.site is None:
        outcome = run(fault, shared(kind), SEED)
    else:
        with fault.open(kind, tmp_path, long=False) as site:
            outcome = run(fault, site, SEED)
    assert outcome.clean, outcome
