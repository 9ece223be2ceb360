"""The right to work on a mirror, when its end meets its renewal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taxii_server.mirror import state
from taxii_server.storage import open_store
from taxii_server.storage.base import Store

WAIT_S = 30


@pytest.fixture(params=["sqlite", "mongodb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = str(tmp_path / "hub.db") if request.param == "sqlite" else request.getfixturevalue("mongo_database_url")
    made = open_store(url)
    made.prepare()
    yield made
    made.close()


def test_a_renewal_that_comes_late_takes_no_turn_that_was_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    renews, go_on, renewed = threading.Event(), threading.Event(), threading.Event()
    take = state.Turn._take

    def slow(turn: state.Turn, *, renew: bool = False) -> bool:
        if not renew:
            return take(turn)
        renews.set()
        assert go_on.wait(WAIT_S)
        try:
            return take(turn, renew=True)
        finally:
            renewed.set()

    monkeypatch.setattr(state, "_RENEW_S", 0.001)
    monkeypatch.setattr(state.Turn, "_take", slow)
    first = state.Turn(store, "key")
    first.take()
    assert renews.wait(WAIT_S)
    given: Any = threading.Thread(target=first.give_back)
    given.start()
    # It waits for the renewal, or has ended without: either way the renewal comes last.
    given.join(0.2)
    go_on.set()
    given.join(WAIT_S)
    assert renewed.wait(WAIT_S)
    with state.turn(store, "key") as second:
        assert not second.lost.is_set()


def test_a_renewal_that_breaks_down_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the thread the lease would run out, and somebody else take over unnoticed."""
    renewed = threading.Event()
    take, broken = state.Turn._take, [True]

    def breaks(turn: state.Turn, *, renew: bool = False) -> bool:
        if renew and broken:
            broken.clear()
            raise RuntimeError("nobody foresaw this")
        if renew:
            renewed.set()
        return take(turn, renew=renew)

    monkeypatch.setattr(state, "_RENEW_S", 0.001)
    monkeypatch.setattr(state.Turn, "_take", breaks)
    with closing(open_store(str(tmp_path / "hub.db"))) as made:
        made.prepare()
        with state.turn(made, "key") as held:
            assert renewed.wait(WAIT_S)
            assert not held.lost.is_set()
    assert "nobody foresaw this" in caplog.text
