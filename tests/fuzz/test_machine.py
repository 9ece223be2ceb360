"""The short form of `python -m tests.fuzz --only machine`: a few stories on each store, beside the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxii_server.service.query import VersionChoice
from taxii_server.service.resolver import Resolver
from taxii_server.service.statuses import Statuses
from tests.fuzz.machine import run


def test_the_hub_does_what_the_model_does_on_sqlite(tmp_path: Path) -> None:
    run(tmp_path, None, examples=12, steps=20, seed_=2026)


def test_the_hub_does_what_the_model_does_on_mongodb(tmp_path: Path, mongo_database_url: str) -> None:
    run(tmp_path, mongo_database_url, examples=6, steps=20, seed_=2027)


def _never_first(self: VersionChoice, key: str, oldest: str, newest: str) -> bool:
    return self.every or (self.last and key == newest) or key in self.keys


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (VersionChoice, "picks", _never_first),
        (Resolver, "_choose", lambda self, id_, filters, passed: frozenset()),
        (Statuses, "find", lambda self, api_root, id_, audience, is_admin, now: b"{}"),
    ],
    ids=["first is never chosen", "what two post is lost", "every status is served"],
)
def test_a_hub_that_does_otherwise_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: type, name: str, wrong: object
) -> None:
    monkeypatch.setattr(where, name, wrong)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run(tmp_path, None, examples=30, steps=20, seed_=1, shrink=False)
