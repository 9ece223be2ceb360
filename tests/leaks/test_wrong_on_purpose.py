"""The checks hold for the server, and each fault that is made on purpose breaks the check that names it."""

from __future__ import annotations

import pytest

from taxii_server.policy import decisions
from tests.leaks import checks_of_time, wrong_copies, wrong_service, wrong_times  # noqa: F401 - they add themselves
from tests.leaks.checks import CHECKS, PlannedError
from tests.leaks.hub import LeakHub
from tests.leaks.scene import TEXTS
from tests.leaks.wrong import WRONG


def _run(folder, name):
    hub = LeakHub(folder, TEXTS)
    try:
        CHECKS[name](hub)
    finally:
        hub.close()


@pytest.fixture
def crashes(monkeypatch):
    """What decisions fail with. A failed decision hides: a server could pass for wrong that is only broken."""
    found = []
    was = decisions.judge

    def judge(*arguments, **more):
        try:
            return was(*arguments, **more)
        except PlannedError:
            raise
        except Exception as error:
            found.append(error)
            raise

    monkeypatch.setattr(decisions, "judge", judge)
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_the_server_keeps_its_promise(tmp_path, check, crashes):
    _run(tmp_path, check)
    assert crashes == []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name.replace(" ", "-"))
def test_a_server_that_is_wrong_is_noticed(tmp_path, monkeypatch, wrong, crashes):
    wrong.make(monkeypatch)
    with pytest.raises(AssertionError):
        _run(tmp_path, wrong.noticed_by)
    assert crashes == [], "this server is broken, which is not what the fault says"


def test_every_promise_is_broken_by_some_wrong_server():
    assert CHECKS.keys() == {wrong.noticed_by for wrong in WRONG}
    assert len(WRONG) >= 80
    assert len({wrong.name for wrong in WRONG}) == len(WRONG)
