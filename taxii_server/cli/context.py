"""What every command needs: the settings, the store, the hub, and errors told as sentences.

Exit status: 0 done, 1 it could not be done, 2 the configuration or the command line is wrong.
"""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from taxii_server import settings as settings_module
from taxii_server.catalog import Catalog, Collection, check_catalog, parse_catalog, read_files
from taxii_server.cli.naming import require_known
from taxii_server.errors import ConfigError, NotFound, Problem, StorageError, StorageUnavailable, TaxiiServerError
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings, masked, why_unreadable
from taxii_server.storage import Store, store_of
from taxii_server.storage.condition import is_made, why_not_ours

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_OTHER_STORE = "--store, TAXII_SERVER_STORE or `store` in server.toml name another one"


@dataclass(slots=True)
class Session:
    """One run of the command line."""

    config: Path | None
    flags: dict[str, Any]

    def settings(self, **flags: Any) -> Settings:
        """The settings, with flags of the command on top of those of the program."""
        file = self.config or settings_module.default_file()
        if self.config is None and _is_missing(file):
            how = "name it with --config or TAXII_SERVER_CONFIG, or make one with 'taxii-server init'"
            raise ConfigError([Problem(str(file), "", f"no such file; {how}")])
        return settings_module.load(file, flags={**self.flags, **flags})

    @contextmanager
    def hub(self, settings: Settings | None = None, *, apply: bool = False, new: bool = False) -> Iterator[Hub]:
        """The hub over the store of the settings.

        With `apply`, or when the store never had a configuration, the files are checked and put in force first.
        With `apply` or `new` the database is made when there is none; else that is an error: the path may be wrong.
        """
        settings = settings or self.settings()
        require_private(settings)
        store = store_of(settings)
        try:
            if not (apply or new):
                try:
                    require_database(settings, store)
                except StorageError:
                    self.catalog(settings)  # what is wrong with the files comes first
                    raise
            store.prepare()
            hub = Hub(settings, store)
            if apply or store.catalog() is None:
                with progress_bar("labelling records for the new policy") as advance:
                    hub.apply(read_files(settings), "taxii-server", advance)
            hub.book.sync()
            yield hub
        finally:
            store.close()

    def suggest(self, *steps: tuple[str, str]) -> None:
        """Print commands that may come next, each with what it does."""
        words = ["taxii-server"]
        words += ["--config", str(self.config)] if self.config is not None else []
        words += ["--store", masked(self.flags["store"])] if "store" in self.flags else []
        program = shlex.join(words)
        print_steps(*((f"{program} {command}", what) for command, what in steps))

    def catalog(self, settings: Settings) -> Catalog:
        """The configuration on disk, checked as a start would check it."""
        return check_catalog(read_files(settings), settings)


def print_steps(*steps: tuple[str, str]) -> None:
    """Print commands that may come next, each with what it does."""
    out.print("Next:")
    width = max(len(command) for command, _ in steps)
    for command, what in steps:
        click.echo(f"  {command.ljust(width)}  # {what}")


def require_private(settings: Settings) -> None:
    """Raise ConfigError when the store is no database of ours, or everybody on this machine can read it."""
    if settings.uses_mongodb:
        return
    path = _path(settings)
    why = why_not_ours(path)
    if why:
        # Before anything is said of its mode: what is advised there would be done to the file of somebody else.
        raise ConfigError([Problem(str(path), "store", f"{why}; {_OTHER_STORE}")])
    problems = settings_module.world_readable_database(path) if settings.check_file_modes else []
    if problems:
        raise ConfigError(problems)


def require_database(settings: Settings, store: Store) -> None:
    """Raise StorageError where there is no database yet: what only looks into one makes none, the path may be wrong."""
    if _is_there(settings, store):
        return
    is_file = settings.uses_mongodb or _path(settings).exists()
    why = "there is no database yet" if is_file else "unable to open database file (there is no such file)"
    raise StorageError(
        f"{masked(settings.store)}: {why}; {_OTHER_STORE}. On a new hub 'taxii-server serve' makes the database, "
        "and so do 'import' and 'token new'"
    )


def _is_missing(file: Path) -> bool:
    """Whether there is no such file; False also where that cannot be told: whoever reads it says why."""
    try:
        return not file.exists()
    except OSError:
        return False


def _is_there(settings: Settings, store: Store) -> bool:
    """Whether there is a database; True also where that cannot be told: whoever opens it says why."""
    try:
        if not settings.uses_mongodb:
            return is_made(_path(settings))
        store.secret()
    except (StorageUnavailable, OSError):
        return True
    except StorageError:
        return False
    return True


def _path(settings: Settings) -> Path:
    return Path(settings.store.removeprefix("sqlite:///"))


@contextmanager
def progress_bar(what: str, total: int | None = None, *, rate: bool = True) -> Iterator[Any]:
    """A callable that takes how many are done, of how many if that is not known before, and of what: each has a bar.

    A bar on a terminal with how many there are, how many in a second (unless `rate` is False) and the time left;
    nothing elsewhere or when nothing happens.
    """
    if not err.is_terminal:
        yield lambda done, of=None, of_what=what: None
        return
    speed = (_Rate(),) if rate else ()
    name = TextColumn("{task.description}", table_column=Column(overflow="ellipsis", no_wrap=True, ratio=1))
    columns = (name, BarColumn(bar_width=20), _Count(), *speed, TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=err, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def advance(done: int, of: int | None = total, of_what: str = what) -> None:
            if of_what not in tasks:
                tasks[of_what] = progress.add_task(of_what, total=of)
            progress.update(tasks[of_what], completed=done, total=of)

        yield advance


class _Count(ProgressColumn):
    """How many are done, and of how many, if that is known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}" + ("" if task.total is None else f" of {task.total:,.0f}"))


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def told() -> Iterator[None]:
    """Errors of ours end the command with a sentence on stderr, not with a traceback."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            err.print(f"[red]error[/red] {escape(str(problem))}")
        err.print(f"{len(error.problems)} problem(s); nothing was changed.")
        sys.exit(2)
    except NotFound as error:
        err.print(f"[red]error[/red] {escape(str(error)) or 'not found'}")
        sys.exit(1)
    except TaxiiServerError as error:
        err.print(f"[red]error[/red] {escape(str(error))}")
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        words = f"{error.filename}: {why_unreadable(error)}" if error.filename and error.strerror else str(error)
        err.print(f"[red]error[/red] {escape(words)}")
        sys.exit(1)


def require_partner(hub: Hub, name: str) -> str:
    """The name of a partner, or an error that lists the known ones and says what to do."""
    known = hub.snapshot.catalog.policy.audiences
    return require_known("partner", name, known, lambda: _next_step(hub, name, "partner", "partner add"))


def require_collection(hub: Hub, name: str) -> Collection:
    """The collection of this name, or an error that lists the known ones and says what to do."""
    known = hub.snapshot.catalog.collections
    require_known("collection", name, known, lambda: _next_step(hub, name, "collection", "collection add"))
    return known[name]


def _next_step(hub: Hub, name: str, what: str, command: str) -> str:
    """What to do about a name that is not in force: it may stand in the files already."""
    try:
        on_disk = parse_catalog(read_files(hub.settings))
    except ConfigError:
        return "the files on disk do not hold: run 'taxii-server check'"
    if name in (on_disk.policy.audiences if what == "partner" else on_disk.collections):
        return "it stands in the files, but is not in force yet: run 'taxii-server reload'"
    return f"'taxii-server {command} NAME' makes a new one"


class Command(click.Command):
    """A command whose errors are told."""

    def invoke(self, ctx: click.Context) -> Any:
        with told():
            return super().invoke(ctx)


pass_session = click.make_pass_decorator(Session)
