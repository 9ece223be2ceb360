"""Nothing in this folder may hang, and the suite explains its assertions like a test file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

pytest.register_assert_rewrite("tests.storage.contract", "tests.storage.samples")

TEST_TIMEOUT_S = 180


@pytest.fixture(autouse=True)
def no_test_hangs() -> Iterator[None]:
    """Ends a test that waits for ever. Generous: nothing here measures time."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took more than {TEST_TIMEOUT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TEST_TIMEOUT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
