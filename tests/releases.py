"""What the tests of filed releases share."""

from __future__ import annotations

import pytest

from taxii_server.catalog import parse


@pytest.fixture
def releases_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog with releases may be put in force, also while the policy does not carry them out yet."""
    whole = parse._not_enforced
    monkeypatch.setattr(
        parse, "_not_enforced", lambda catalog: [each for each in whole(catalog) if "[[release]]" not in each.message]
    )
