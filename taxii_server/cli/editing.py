"""Changing the files of the configuration as an operator would, with every comment and the order kept.

A change of several files is one: it is made in memory, checked as `taxii-server check` does it, and written only then,
each file by a rename, so that nobody ever reads half of one. What cannot be written to its end is taken back.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomlkit
from rich.markup import escape
from tomlkit.exceptions import TOMLKitError

from taxii_server.catalog import Catalog, check_catalog, read_files
from taxii_server.catalog.parse import COLLECTIONS, CONFIG
from taxii_server.catalog.schema import EVERY_PARTNER
from taxii_server.cli.context import out
from taxii_server.errors import ConfigError, Problem
from taxii_server.settings import Settings, why_unreadable

_BOM, _CRLF = "\ufeff", "\r\n"


@contextmanager
def changing(settings: Settings) -> Iterator[Change]:
    """A change of the files as they are now, once other commands have finished theirs."""
    descriptor = os.open(settings.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Change(settings)
    finally:
        os.close(descriptor)


class Change:
    """What the files of one configuration shall say. Nothing is written before `write`.

    One command at a time has a change of the same folder: `changing` waits for its turn.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = read_files(settings)
        #: path -> what is in it now; None: there is no such file
        self._before: dict[Path, bytes | None] = {}
        self._after: dict[Path, str] = {}

    @property
    def files(self) -> Mapping[str, str]:
        """The texts of the configuration with the change in them, by the names of `read_files`."""
        return self._files

    def collection_path(self, name: str) -> Path:
        """Where the file of this collection is, or would be."""
        return Path(self._settings.collections_dir) / f"{name}.toml"

    def add_file(self, path: Path, text: str) -> None:
        """A new file. Raises ConfigError when there is one already."""
        if path.exists() or path.is_symlink():
            raise _refused(path, "", "is there already; it is left as it is. Choose another name, or edit the file")
        self._before[path] = None
        self._set(path, text)

    def add_table(self, path: Path, section: str, name: str, text: str) -> None:
        """The table `[section.name]`, whose text is given, after the other tables of its section."""

        def edit(document: tomlkit.TOMLDocument) -> None:
            table = tomlkit.parse(text)[section][name]
            table.add(tomlkit.nl())
            if section not in document:
                document.add(tomlkit.nl())
                document.append(section, tomlkit.table(is_super_table=True))
            document[section].append(name, table)

        wanted = tomllib.loads(text)[section][name]
        self._edit(path, [section, name], wanted, edit, f"add this to it:\n\n{text}")

    def add_to_list(self, path: Path, key: str, item: str) -> None:
        """One more text in the list `key`; nothing when it, or "*" for all of them, is there already."""
        known = self._document(path).get(key, [])
        if not isinstance(known, list) or item in known or EVERY_PARTNER in known:
            return

        def edit(document: tomlkit.TOMLDocument) -> None:
            if key in document:
                document[key].append(item)
            else:
                _insert_before_tables(document, key, [item])

        self._edit(path, [key], [*known, item], edit, f"add '{item}' to its {key}")

    def check(self) -> Catalog:
        """The configuration with the change, which may be put in force. Raises ConfigError with all that is wrong."""
        try:
            return check_catalog(self._files, self._settings)
        except ConfigError as error:
            before = _problems(self._settings)
            if before:
                note = "these files did not hold before the change either; mend them first, then run this again"
                raise ConfigError([*before, Problem("", "", note)]) from None
            raise error from None

    def write(self) -> list[Path]:
        """Write every changed file, or none; the paths. Raises ConfigError when one was edited by others meanwhile."""
        for path, before in self._before.items():
            if _bytes(path) != before:
                raise _refused(path, "", "was edited by somebody else at this moment; run the command again")
        done: list[Path] = []
        try:
            for path, text in self._after.items():
                _replace(path, text.encode())
                done.append(path)
        except OSError as error:
            for each in done:
                _put_back(each, self._before[each])
            raise _refused(path, "", f"cannot be written: {why_unreadable(error)}") from error
        return done

    # ---- editing

    def _edit(self, path: Path, keys: Sequence[str], wanted: object, edit: Any, by_hand: str) -> None:
        """Let `edit` change the document; the result must say the same as before, and `wanted` at `keys`."""
        text = self._text(path)
        has_bom, has_crlf = text.startswith(_BOM), text.count("\n") == text.count(_CRLF) > 0
        expected = self._document(path)
        inner = expected
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = wanted
        try:
            document = tomlkit.parse(text.removeprefix(_BOM).replace(_CRLF, "\n" if has_crlf else _CRLF))
            edit(document)
            result = tomlkit.dumps(document).rstrip("\r\n") + "\n"
            whole = tomllib.loads(result) == expected
        except (TOMLKitError, tomllib.TOMLDecodeError, AttributeError, IndexError, TypeError):
            whole = False
        if not whole:
            raise _refused(path, ".".join(keys), f"cannot be changed by a command; {by_hand}")
        self._set(path, (_BOM if has_bom else "") + (result.replace("\n", _CRLF) if has_crlf else result))

    def _text(self, path: Path) -> str:
        """The text of the file, with what was changed in it so far."""
        if path in self._after:
            return self._after[path]
        if path not in self._before:
            self._before[path] = _bytes(path)
        raw = self._before[path]
        if raw is None:
            raise _refused(path, "", "no such file")
        return raw.decode()  # it was read as UTF-8 already

    def _document(self, path: Path) -> dict[str, Any]:
        text = self._text(path).removeprefix(_BOM)
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _refused(path, "", f"not valid TOML: {error}") from error

    def _set(self, path: Path, text: str) -> None:
        self._after[path] = text
        self._files[self._name(path)] = text.removeprefix(_BOM).replace(_CRLF, "\n")

    def _name(self, path: Path) -> str:
        """The name of the file in a catalog."""
        if path.parent == Path(self._settings.collections_dir):
            return COLLECTIONS + path.name
        return CONFIG + path.relative_to(self._settings.folder).as_posix()


def finish(change: Change, before: Catalog, dry_run: bool, what: str) -> Catalog:
    """Check the change, write it unless it was only to be tried, and say so; the configuration with it."""
    after = change.check()
    for warning in after.warnings:
        if warning not in before.warnings:
            out.print(f"[yellow]warning[/yellow] {escape(str(warning))}")
    if dry_run:
        out.print(f"[green]ok[/green] {escape(what)} right; nothing was written (--dry-run)")
    else:
        files = ", ".join(str(path) for path in map(_shown, change.write()))
        out.print(f"[green]ok[/green] {escape(what)} in {escape(files)}")
    return after


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _insert_before_tables(document: tomlkit.TOMLDocument, key: str, value: list[str]) -> None:
    """A key of the top table stands after the others of it: before the first table, and before what is said of that."""
    others = [name for name, item in document.items() if not isinstance(item, dict)]
    document._insert_after(others[-1], key, tomlkit.item(value))


def _problems(settings: Settings) -> tuple[Problem, ...]:
    """What is wrong with the files as they are on disk."""
    try:
        check_catalog(read_files(settings), settings)
    except ConfigError as error:
        return error.problems
    return ()


def _refused(path: Path, key: str, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), key, message)])


# ---- writing


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """The file with this content, by a rename; with the mode and, where that is allowed, the owner of the old one."""
    target = path.resolve()  # a link stays a link
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if target.exists():
                found = target.stat()
                os.fchmod(stream.fileno(), found.st_mode & 0o7777)
                with suppress(PermissionError):
                    os.fchown(stream.fileno(), found.st_uid, found.st_gid)
            else:
                os.fchmod(stream.fileno(), 0o666 & ~_umask())
            os.fsync(stream.fileno())
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _put_back(path: Path, content: bytes | None) -> None:
    with suppress(OSError):
        if content is None:
            path.unlink()
        else:
            _replace(path, content)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
