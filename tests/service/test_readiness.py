"""Readiness: an answer in time, whatever the database does, and few looks however many ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taxii_server.auth.directory import Directory
from taxii_server.errors import StorageUnavailable
from taxii_server.service import readiness
from taxii_server.service import refresh as refresh_module
from taxii_server.service.readiness import Readiness
from taxii_server.service.refresh import Refresher
from taxii_server.storage.sqlite_health import SQLiteHealth
from tests.patching import NoThread, but_for
from tests.service.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(str(tmp_path / "hub.db"))
    yield made
    made.close()


def ready(site: Site, kept_s: float = 0.0) -> Readiness:
    refresher = Refresher(site.hub, Directory(), 0)
    refresher.tick()
    return Readiness(site.hub, refresher, kept_s)


def test_a_hub_that_can_serve_is_ready(site: Site) -> None:
    assert ready(site).problem() == ""


def test_the_reason_is_the_store_s_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: SQLiteHealth, timeout_s: float) -> None:
        raise StorageUnavailable("it went for a walk")

    checked = ready(site)
    with monkeypatch.context() as patch:
        patch.setattr(SQLiteHealth, "check", away)
        assert checked.problem() == "it went for a walk"
    assert checked.problem() == "", "as soon as it can be used again"


def test_what_nobody_foresaw_is_not_ready_and_tells_no_more_than_its_kind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: SQLiteHealth, timeout_s: float) -> None:
        raise RuntimeError("with a secret in it")

    monkeypatch.setattr(SQLiteHealth, "check", broken)
    assert ready(site).problem() == "unexpected RuntimeError"


def test_a_store_that_hangs_holds_nobody_up_and_is_looked_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, hanging, looks = threading.Event(), threading.Event(), []

    def hang(self: SQLiteHealth, timeout_s: float) -> None:
        looks.append(1)
        hanging.set()
        go_on.wait(60)

    monkeypatch.setattr(SQLiteHealth, "check", hang)
    monkeypatch.setattr(readiness, "LIMIT_S", 0.05)
    checked = ready(site)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: checked.problem(), range(16)))
    assert hanging.wait(60)
    assert set(answers) == {"the store does not answer within 0.05 s"}
    assert len(looks) == 1
    go_on.set()
    monkeypatch.setattr(readiness, "LIMIT_S", 60.0)
    assert checked.problem() == ""


def test_who_asks_soon_after_another_one_gets_the_same_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(SQLiteHealth, "check", lambda self, timeout_s: looks.append(1))
    checked = ready(site, kept_s=3600)
    assert [checked.problem() for _ in range(5)] == [""] * 5
    assert len(looks) == 1


def test_a_hub_that_cannot_follow_the_store_is_not_ready(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database answers, but what it says cannot be put in force: the policy would be an old one."""

    def refresh(*_: object) -> None:
        raise StorageUnavailable("spoilt")

    refresher = Refresher(site.hub, Directory(), 3600)
    refresher.tick()
    checked = Readiness(site.hub, refresher, 0)
    assert checked.problem() == ""
    with monkeypatch.context() as patch:
        patch.setattr(site.hub, "refresh", refresh)
        refresher._try()
    assert checked.problem() == "cannot follow the store: spoilt"
    refresher._try()
    assert checked.problem() == ""


def test_credentials_are_as_old_as_the_look_at_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is revoked while a new configuration is read, which takes its time, was not seen."""
    clock = [1000.0]
    monkeypatch.setattr(refresh_module, "time", but_for(time, monotonic=lambda: clock[0]))
    refresher = Refresher(site.hub, Directory(), 0.5)
    refresh = site.hub.refresh

    def slow(*state: int) -> None:
        refresh(*state)
        clock[0] += 60

    monkeypatch.setattr(site.hub, "refresh", slow)
    refresher.tick()
    with pytest.raises(StorageUnavailable, match="out of date"):
        refresher.require_fresh()
    monkeypatch.setattr(site.hub, "refresh", refresh)
    refresher.tick()
    refresher.require_fresh()


def test_a_look_for_which_there_was_no_thread_is_not_the_last_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = ready(site, kept_s=3600)
    with monkeypatch.context() as patch:
        patch.setattr(readiness, "threading", but_for(threading, Thread=NoThread))
        assert checked.problem() == "can't start new thread"
    assert checked.problem() == ""
