"""One hub on SQLite for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """The fixtures of the checklist behind a Flask client."""
    with world(tmp_path) as made:
        yield made
