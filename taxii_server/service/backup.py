"""A whole database in one file, and back again, on the same kind of store or on the other one.

The file is a zip archive that any tool can open: `manifest.json`, `secret`, and for each part of the database (see
storage/whole.py) `<part>.jsonl`, one JSON list for each row. Bytes stand there as base64, JSON texts as they are. The
manifest comes last and says how many rows and bytes each part has, and its SHA-256; nothing is restored before all of
that has been checked.

Why positions go on: whoever polls remembers a position (`added_after`, `next`). What a restored hub adds must lie
behind every position that it ever gave away, also after the backup was made. So its clock begins at the latest of
the present, the clock of the backup, that of the database that is replaced, and every place that the ledger recorded.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import orjson

from taxii_server import __version__
from taxii_server.errors import StorageError, TaxiiServerError
from taxii_server.model import POSITION_UNIT
from taxii_server.service.filling import terms_of_text
from taxii_server.storage.base import Store
from taxii_server.storage.disk import sync
from taxii_server.storage.whole import PARTS, Facts, Row, Value
from taxii_server.times import format_position

FORMAT = "taxii-server backup"
VERSION = 1
MANIFEST, SECRET = "manifest.json", "secret"
#: Rows of one transaction of a restore, and bytes after which it ends in any case.
PORTION, _PORTION_BYTES = 2000, 16_000_000
_LEVEL = 3
_TOLD_EVERY = 200
_CHUNK = 1 << 20

#: Told the part, how many of its rows are done, and how many there are (0: not known).
Progress = Callable[[str, int, int], None]


def _silent(part: str, done: int, total: int) -> None:
    pass


class BackupError(TaxiiServerError):
    """A backup cannot be made, or a file is not one, or not the one that was made."""


@dataclass(frozen=True, slots=True)
class PartSum:
    """What the manifest says of one part."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. `made` and `clock` are µs since 1970."""

    made: int
    source: str
    release: str
    clock: int
    credentials_epoch: int
    parts: Mapping[str, PartSum]
    version: int = VERSION

    def to_json(self) -> bytes:
        """The text of `manifest.json`."""
        values = {
            "format": FORMAT,
            "version": self.version,
            "release": self.release,
            "made": format_position(self.made),
            "made_us": self.made,
            "source": self.source,
            "clock_us": self.clock,
            "credentials_epoch": self.credentials_epoch,
            "parts": self.parts,
        }
        return orjson.dumps(values, option=orjson.OPT_INDENT_2)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the clock that it set (µs), and a sentence about what was there before."""

    manifest: Manifest
    clock: int
    before: str = ""


@dataclass(slots=True)
class _Sum:
    rows: int = 0
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        self.rows += 1
        self.size += len(line)
        self.hash.update(line)

    def total(self) -> PartSum:
        return PartSum(self.rows, self.size, self.hash.hexdigest())


# ---- making one


def make_backup(
    store: Store, source: str, path: Path, *, force: bool = False, progress: Progress = _silent
) -> tuple[Manifest, str]:
    """Write a backup of the store to `path` (mode 0600) while writers go on; the manifest and its SHA-256.

    The file appears when it is complete and on the disk. `source` says what kind of store it is. Raises BackupError
    when there is a file already and not `force`, StorageError, OSError.
    """
    if path.exists() and not force:
        raise BackupError(f"{path} is there already; give another name, or --force to replace it")
    if not path.parent.is_dir():
        raise BackupError(f"{path.parent} is not a folder; make it first")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b") as file:
            manifest = _write(store, source, file, progress)
            file.flush()
            os.fsync(file.fileno())
        if force:
            beside.replace(path)
        else:
            _rename_to_new(beside, path)
        sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    return manifest, hashlib.sha256(manifest.to_json()).hexdigest()


def _write(store: Store, source: str, file: IO[bytes], progress: Progress) -> Manifest:
    parts: dict[str, PartSum] = {}
    store.ledger.settle()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=_LEVEL) as archive,
        store.whole.snapshot() as snapshot,
    ):
        made = store.present()
        facts = snapshot.facts()
        for part in PARTS:
            of = snapshot.count(part)
            kinds = tuple(PARTS[part].values())
            found = _Sum()
            with archive.open(f"{part}.jsonl", "w", force_zip64=True) as stream:
                for row in snapshot.rows(part):
                    line = orjson.dumps([_packed(k, v) for k, v in zip(kinds, row, strict=True)]) + b"\n"
                    found.add(line)
                    stream.write(line)
                    if found.rows % _TOLD_EVERY == 0:
                        progress(part, found.rows, of)
            progress(part, found.rows, found.rows)
            parts[part] = found.total()
        archive.writestr(SECRET, facts.secret)
        parts[SECRET] = PartSum(1, len(facts.secret), hashlib.sha256(facts.secret).hexdigest())
        manifest = Manifest(made, source, __version__, facts.clock, facts.credentials_epoch, parts)
        archive.writestr(MANIFEST, manifest.to_json())
    return manifest


def _rename_to_new(beside: Path, path: Path) -> None:
    try:
        os.link(beside, path)
    except FileExistsError:
        raise BackupError(f"{path} has appeared meanwhile; give another name, or --force to replace it") from None
    except OSError:  # a file system without links
        beside.replace(path)


# ---- reading one


class Backup:
    """A backup in a file. Raises BackupError for everything that is not one. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self.manifest = _read_manifest(self._archive.read(MANIFEST))
        except (zipfile.BadZipFile, KeyError, EOFError, ValueError, TypeError) as error:
            raise BackupError(f"{path}: not a backup of taxii-server, or cut off: {error}") from error
        if self.manifest.version > VERSION:
            raise BackupError(
                f"{path}: made by release {self.manifest.release} in a form that this release does not know"
                f" (version {self.manifest.version}, known: {VERSION}); restore it with that release"
            )

    def __enter__(self) -> Backup:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def check(self, progress: Progress = _silent) -> None:
        """Read all of it and compare it with the manifest. Raises BackupError."""
        expected = {*PARTS, SECRET}
        if set(self.manifest.parts) != expected:
            raise BackupError(f"{self.path}: its parts are not those of a database; expected {sorted(expected)}")
        for part in PARTS:
            found = _Sum()
            of = self.manifest.parts[part].rows
            for line in self._lines(part):
                found.add(line)
                if found.rows % _TOLD_EVERY == 0:
                    progress(part, found.rows, of)
            progress(part, found.rows, of)
            self._compare(part, found.total())
        secret = self.secret()
        self._compare(SECRET, PartSum(1, len(secret), hashlib.sha256(secret).hexdigest()))

    def _compare(self, part: str, found: PartSum) -> None:
        said = self.manifest.parts[part]
        if said != found:
            raise BackupError(
                f"{self.path}: {part} is not what was backed up ({found.rows} rows, {found.bytes} bytes, SHA-256"
                f" {found.sha256[:12]}; the manifest says {said.rows}, {said.bytes}, {said.sha256[:12]}). Nothing was"
                " changed; take another backup"
            )

    def secret(self) -> bytes:
        """The secret of the database."""
        try:
            return self._archive.read(SECRET)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise BackupError(f"{self.path}: it holds no secret: {error}") from error

    def rows(self, part: str) -> Iterator[Row]:
        """The rows of a part."""
        kinds = tuple(PARTS[part].values())
        for line in self._lines(part):
            try:
                yield tuple(_unpacked(k, v) for k, v in zip(kinds, orjson.loads(line), strict=True))
            except (ValueError, TypeError) as error:
                raise BackupError(f"{self.path}: a row of {part} cannot be read: {error}") from error

    def _lines(self, part: str) -> Iterator[bytes]:
        try:
            with self._archive.open(f"{part}.jsonl") as stream:
                yield from stream
        except (zipfile.BadZipFile, KeyError, EOFError, OSError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
            raise BackupError(f"{self.path}: {part} is damaged or missing: {error}") from error


def _read_manifest(text: bytes) -> Manifest:
    values = orjson.loads(text)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError("its manifest is another one's")
    return Manifest(
        made=int(values["made_us"]),
        source=str(values["source"]),
        release=str(values["release"]),
        clock=int(values["clock_us"]),
        credentials_epoch=int(values["credentials_epoch"]),
        parts={name: PartSum(**each) for name, each in values["parts"].items()},
        version=int(values["version"]),
    )


# ---- restoring


def restore(
    backup: Backup, store: Store, *, force: bool = False, clock: int = 0, progress: Progress = _silent
) -> Restored:
    """Make the store what the backup holds; it need not be prepared.

    Raises BackupError, with nothing changed, when the store is not empty and not `force`, when the backup is damaged,
    and when the clock of this machine is behind the backup and `clock` (µs) does not say from where on to count.
    """
    whole = store.whole
    if not force and not whole.is_empty():
        raise BackupError(
            "there is a database already, and something is in it; nothing was changed. Name an empty one with --store,"
            " or give --force to replace it"
        )
    manifest = backup.manifest
    present = store.present()
    if max(present, clock) < manifest.made:
        raise BackupError(
            f"the clock of this machine ({format_position(present)}) is behind the backup"
            f" ({format_position(manifest.made)}): clients could miss what is added from now on. Set the clock, or give"
            " --clock-at-least with a time that no client can have seen yet"
        )
    backup.check(lambda part, done, of: progress(f"checking {part}", done, of))
    highest = max(present, clock, manifest.clock, whole.last_position())
    with suppress(StorageError):
        # What this machine still had for the ledger that is replaced belongs to that one.
        store.ledger.settle()
    with whole.replace() as loading:
        for part in PARTS:
            of = manifest.parts[part].rows
            done = 0
            for rows in _portions(backup.rows(part)):
                loading.put(part, rows, _terms(rows) if part == "records" else None)
                highest = max([highest, *_places(part, rows)])
                done += len(rows)
                progress(f"restoring {part}", done, of)
        facts = Facts(backup.secret(), highest // -POSITION_UNIT * -POSITION_UNIT, manifest.credentials_epoch)
        # A credential that was known under a lower epoch must be read again by whoever knew it.
        before = loading.finish(replace(facts, credentials_epoch=facts.credentials_epoch + 1))
    return Restored(manifest, facts.clock, before)


def _portions(rows: Iterator[Row]) -> Iterator[list[Row]]:
    portion: list[Row] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes))
        if len(portion) == PORTION or size > _PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _terms(records: Sequence[Row]) -> list[tuple[int, ...]]:
    """What these records are found by: a backup does not hold it."""
    column = list(PARTS["records"]).index("content")
    return [terms_of_text(bytes(row[column])) for row in records]  # type: ignore[arg-type]


_PLACES = {"records": "position", "bands": "last", "ledger": "last"}


def _places(part: str, rows: Sequence[Row]) -> Iterator[int]:
    """The places of the order that rows of a part tell of."""
    if part in _PLACES:
        column = list(PARTS[part]).index(_PLACES[part])
        yield from (value for row in rows if isinstance(value := row[column], int))


# ---- values


def _packed(kind: str, value: Value) -> Any:
    if kind == "bytes":
        return base64.b64encode(bytes(value)).decode()  # type: ignore[arg-type]
    if kind == "content":
        raw = bytes(value)  # type: ignore[arg-type]
        try:
            return raw.decode()
        except UnicodeDecodeError:  # damaged, and still part of what is there
            return [base64.b64encode(raw).decode()]
    return value


def _unpacked(kind: str, value: Any) -> Value:
    if kind == "bytes":
        return base64.b64decode(value, validate=True)
    if kind == "content":
        return base64.b64decode(value[0], validate=True) if isinstance(value, list) else value.encode()
    if kind == "refs" and isinstance(value, list):
        return tuple(value)
    if kind in ("int", "flag") and not isinstance(value, int):
        raise TypeError(f"a whole number is expected, found {type(value).__name__}")
    return value  # type: ignore[no-any-return]
