"""What the metrics cost a request, counted and not timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taxii_server.app import create_app
from taxii_server.metering import NO_METER, Meter
from taxii_server.storage import open_store
from taxii_server.telemetry.prometheus import PrometheusMeter, open_meter
from tests.web.counting import calls
from tests.world import MT, RW, World, indicator

NOTHING_NEW = f"/api1/collections/{RW}/objects/?added_after=2100-01-01T00:00:00Z"
#: Of about 1,800 calls of a poll that finds nothing.
CALLS_OF_A_POLL = 36
#: Of writing what ten polls counted, which is done behind them, for each of them.
CALLS_OF_WRITING = 26


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusMeter]:
    # The meter sets it: servers that later tests start would share its folder.
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    made = open_meter(tmp_path)
    yield made
    made.remove()


def poller(world: World, meter: Meter) -> Callable[[], None]:
    client = create_app(world.settings, open_store(world.settings.store), background=False, meter=meter).test_client()

    def poll() -> None:
        answer = client.get(NOTHING_NEW, headers={"Accept": MT, "Authorization": world.basic("rw")})
        assert answer.status_code == 200, answer.text

    return poll


def test_a_poll_makes_hardly_more_calls_with_metrics(tmp_path: Path, meter: PrometheusMeter) -> None:
    world = World(tmp_path)
    world.post([indicator()])
    without, counted = poller(world, NO_METER), poller(world, meter)
    assert calls(counted, warm=2) - calls(without, warm=2) <= CALLS_OF_A_POLL

    def ten() -> None:
        for _ in range(10):
            counted()

    def ten_and_write() -> None:
        ten()
        meter.flush()

    assert (calls(ten_and_write, warm=2) - calls(ten, warm=2)) / 10 <= CALLS_OF_WRITING
    world.close()
