"""What a test changes, no other thread of the process meets."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tests.patching import NoThread, but_for


@pytest.mark.parametrize("whose", [time, threading.Thread, "time.sleep"])
def test_the_standard_library_is_not_changed_for_everybody(whose: object, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.sleep
    for patch in (monkeypatch, pytest.MonkeyPatch()):
        with pytest.raises(AssertionError, match="everybody's: use but_for"):
            patch.setattr(whose, "sleep", None)
    assert time.sleep is real


def test_what_is_changed_is_changed_in_the_stand_in_alone() -> None:
    other = but_for(os, getpid=lambda: -1)
    assert (other.getpid(), os.getpid() > 0, other.getpgrp()) == (-1, True, os.getpgrp())
    with pytest.raises(AssertionError, match="os has no getpdi"):
        but_for(os, getpdi=None)
    with pytest.raises(RuntimeError):
        but_for(threading, Thread=NoThread).Thread().start()
