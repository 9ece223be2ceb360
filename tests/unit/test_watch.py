"""Edited files are seen once they have stopped changing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taxii_server.cli.watch import Watcher
from taxii_server.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for folder in ("config", "collections"):
        (tmp_path / folder).mkdir()
    for name in ("partners.toml", "policy.toml", "server.toml"):
        (tmp_path / "config" / name).write_text('[api_roots.a]\ntitle = "A"\n' if name == "server.toml" else "")
    return load(tmp_path / "config/server.toml", environment={})


def touch(path: Path, text: str, at: int) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


def test_a_change_is_taken_over_once_it_has_settled(settings: Settings, tmp_path: Path) -> None:
    calls: list[str] = []
    watcher = Watcher(settings, lambda: calls.append("changed"))
    assert not watcher.tick()
    policy = tmp_path / "config/policy.toml"
    touch(policy, "a", 1)
    assert not watcher.tick()
    touch(policy, "ab", 2)
    assert not watcher.tick()
    assert calls == []
    assert watcher.tick()
    assert not watcher.tick()
    assert calls == ["changed"]


@pytest.mark.parametrize("name", ["collections/new.toml", "config/partners.toml"])
def test_files_that_come_and_go_count(settings: Settings, tmp_path: Path, name: str) -> None:
    watcher = Watcher(settings, lambda: None)
    touch(tmp_path / name, "x = 1", 5)
    assert [watcher.tick(), watcher.tick()] == [False, True]
    (tmp_path / name).unlink()
    assert [watcher.tick(), watcher.tick()] == [False, True]


def test_what_is_not_of_the_catalog_does_not_count(settings: Settings, tmp_path: Path) -> None:
    watcher = Watcher(settings, lambda: None)
    touch(tmp_path / "config/notes.txt", "x", 5)
    assert [watcher.tick(), watcher.tick()] == [False, False]
