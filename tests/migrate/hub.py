"""A hub that was moved into, as an operator and a client see it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from taxii_server.cli import main
from tests.migrate.conftest import process, walk
from tests.ports import free_port


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "taxii_server", *map(str, arguments)]


def run(*arguments: str | Path, status: int = 0) -> Result:
    """Run `taxii-server` to its end, in this process; it must end with this status."""
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == status, f"{arguments}: {done!r}\n{done.output}"
    return done


class Hub:
    """A new hub in a folder, on the store that it chooses or on another one."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self.folder = folder
        self.store = store
        self.url = ""

    def migrate(self, kind: str, source: str, *more: str | Path, status: int = 0) -> dict[str, Any]:
        """Move in; the report."""
        flags = ("--store", self.store) if self.store else ()
        done = run(*flags, "migrate", kind, source, "--new-hub", self.folder, "--json", *more, status=status)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def run(self, *arguments: str | Path, status: int = 0) -> Result:
        flags = ("--store", self.store) if self.store else ()
        return run("--config", self.folder / "config/server.toml", *flags, *arguments, status=status)

    def read(self, path: str, partner: str) -> dict[str, Any]:
        """What a partner's client would get."""
        found: dict[str, Any] = json.loads(self.run("get", path, "--as", partner).stdout)
        return found

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While this lasts, it answers at `url`."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        flags: Sequence[str] = ("--store", self.store) if self.store else ()
        words = command(
            "--config", self.folder / "config/server.toml", *flags, "serve", "--port", str(port), "--workers", "1"
        )
        with process(words, self.folder / "log", f"{self.url}/readyz"):
            yield

    def objects(self, root: str, collection: str, user: str, password: str, **more: Any) -> list[dict[str, Any]]:
        """What taxii2-client gets."""
        pages = walk(f"{self.url}/{root}/collections/{collection}/", user, password, **more)
        return [stix for objects, _ in pages for stix in objects]
