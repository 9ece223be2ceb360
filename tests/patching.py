"""Another standard library for one module of the server, and for no other thread of the process."""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any

import pytest


def but_for(module: ModuleType, **changed: object) -> ModuleType:
    """The module, with these names in it changed: what a test puts in the place of `module` in whoever imports it.

    The threads of the drivers sleep, wait and read the clock all the while. A test that changes `time.sleep` for the
    whole process has them run into it, and fails or not as they happen to come by.
    """
    for name in changed:
        assert hasattr(module, name), f"{module.__name__} has no {name}"
    made = ModuleType(module.__name__)
    made.__dict__.update(vars(module), **changed)
    return made


class NoThread(threading.Thread):
    """A thread that cannot be started, as where a process may have no more of them."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def refuse_what_is_everybodys() -> None:
    """Let `monkeypatch.setattr` refuse what belongs to the standard library."""
    replace = pytest.MonkeyPatch.setattr

    def setattr_(patch: pytest.MonkeyPatch, target: Any, *arguments: Any, **options: Any) -> None:
        whose = target if isinstance(target, str) else getattr(target, "__module__", None) or target.__name__
        assert whose.partition(".")[0] not in sys.stdlib_module_names, f"{whose} is everybody's: use but_for"
        replace(patch, target, *arguments, **options)

    pytest.MonkeyPatch.setattr = setattr_  # type: ignore[assignment, method-assign]
