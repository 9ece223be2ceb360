"""One SQLite file: connections, transactions, errors in our words.

Any number of readers work beside one writer (WAL). Writers of all processes queue at BEGIN IMMEDIATE; those of
this process queue at a lock first, because SQLite's own waiting is polling. A connection serves one call at
a time; idle ones are kept for the next call of any thread, so a thread that ends leaves nothing open.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.storage.sqlite_fork import ForkGate

#: How long a writer waits before it asks again whether another process has finished.
_NAP_S = (0.0002, 0.003)
#: With fewer bytes than this on the disk, an I/O error is most likely the lack of them.
_LITTLE_ROOM = 1 << 20


class Connection:
    """One connection, and the labels that its temporary table `wanted` holds."""

    def __init__(self, path: Path, timeout_s: float, synchronous: str) -> None:
        # mode=rw: a file that is not there is an error and not a new, empty database.
        self.db = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        self._wanted: tuple[int, ...] = ()
        try:
            self.db.execute(f"PRAGMA synchronous = {synchronous}")
            self.db.execute("PRAGMA foreign_keys = ON")
            self.db.execute("PRAGMA temp_store = MEMORY")
            self.db.execute("PRAGMA journal_size_limit = 67108864")
            self.db.execute("CREATE TEMP TABLE wanted (label INTEGER PRIMARY KEY)")
        except BaseException:
            self.db.close()
            raise

    def want(self, labels: tuple[int, ...]) -> None:
        """Fill the table `wanted`; nothing to do when it holds these labels already, as between two polls."""
        if labels == self._wanted:
            return
        self._wanted = ()
        self.db.execute("DELETE FROM temp.wanted")
        self.db.execute("INSERT INTO temp.wanted SELECT value FROM json_each(?)", (json.dumps(labels),))
        self._wanted = labels

    def forget(self) -> None:
        """Trust the table no more: a transaction that filled it was rolled back."""
        self._wanted = ()


class Database:
    """The connections of one process to one file.

    With `synchronous` NORMAL a power failure may cost the last commits, the death of a process none.
    """

    def __init__(self, path: Path, timeout_s: float, synchronous: str = "FULL") -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._synchronous = synchronous
        self._closed = False
        #: device and inode of the file; None before the first connection
        self._file: tuple[int, int] | None = None
        self._idle: list[Connection] = []
        self._writer = threading.Lock()
        _databases.add(self)

    def after_fork(self) -> None:
        """Start afresh in a forked process: connections and locks belong to the parent."""
        _of_a_parent.extend(self._idle)
        self._idle = []
        self._writer = threading.Lock()

    def close_idle(self) -> None:
        """Close what is idle now; the next call opens a connection again."""
        while self._idle:
            # Another thread may be closing, too.
            with suppress(IndexError):
                self._idle.pop().db.close()

    def create(self) -> None:
        """Make the file when there is none, readable by its owner only, and switch it to write-ahead logging."""
        try:
            folder = self.path.parent
            if folder.parent.exists():  # One missing folder is a new installation, two are a misspelt path
                folder.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StorageUnavailable(f"{self.path}: {error.strerror}{_why_not_written(self.path)}") from error
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                with self.connection() as connection:
                    (mode,) = connection.db.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except StorageUnavailable as error:
                # This pragma does not always wait by itself when several processes start at once.
                if not _is_busy(error.__cause__) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)
        if mode != "wal":
            raise StorageError(f"{self.path}: no write-ahead log on this file system; put the database on a local disk")

    def close(self) -> None:
        """Close what is idle now; what is in use closes when it comes back."""
        self._closed = True
        self.close_idle()

    def rest(self) -> None:
        """Close what is idle now; the next call opens the file that is there then."""
        self.close()
        self._closed = False
        self._file = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for this call alone. One that has failed is not used again."""
        FORKS.enter()
        try:
            if self._closed:
                raise sqlite3.ProgrammingError("the store is closed")
            connection = self._take()
            try:
                yield connection
            except sqlite3.Error:
                connection.db.close()
                raise
            except BaseException:
                self._keep(connection)
                raise
            self._keep(connection)
        except sqlite3.Error as error:
            raise StorageUnavailable(f"{self.path}: {error}{_why(self.path, error)}") from error
        finally:
            FORKS.leave()

    def _take(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            connection = Connection(self.path, self._timeout_s, self._synchronous)
        self._file = self._file or self._identity()
        return connection

    def _keep(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[sqlite3.Connection]:
        """All that is read inside is one point in time."""
        with self._transaction(connection, _begin_reading) as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The one write transaction of all processes. Rolled back when the block raises."""
        with self.writing_connection() as connection:
            yield connection.db

    @contextmanager
    def writing_connection(self, *, firm: bool = False, limit_s: float | None = None) -> Iterator[Connection]:
        """The same, with the connection and its table `wanted`. A firm one survives a power failure in any case.

        `limit_s`: how long to wait for other threads, if not `timeout_s`.
        """
        writer = self._writer
        wait_s = self._timeout_s if limit_s is None else limit_s
        if not writer.acquire(timeout=wait_s):
            raise StorageUnavailable(f"{self.path}: another write takes more than {wait_s:g} s")
        try:
            with (
                self.connection() as connection,
                self._firmly(connection, firm),
                self._transaction(connection, self._begin_writing),
            ):
                yield connection
                if self._identity() != self._file:
                    # A removed file can still be written to, and nobody would ever read what is in it.
                    raise StorageUnavailable(
                        f"{self.path}: the file was removed or replaced while the server runs; nothing was written. "
                        "Put the original file back, or restart the server to work with the one that is there now."
                    )
        finally:
            writer.release()

    def is_replaced(self) -> bool:
        """Whether another file stands there than the one that this process opened."""
        return self._file is not None and self._identity() != self._file

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def _firmly(self, connection: Connection, firm: bool) -> Iterator[None]:
        if not firm or self._synchronous == "FULL":
            yield
            return
        connection.db.execute("PRAGMA synchronous = FULL")
        yield
        # After an error the connection is closed, or it stays firm: slower, not wrong.
        connection.db.execute(f"PRAGMA synchronous = {self._synchronous}")

    @contextmanager
    def _transaction(
        self, connection: Connection, begin: Callable[[sqlite3.Connection], None]
    ) -> Iterator[sqlite3.Connection]:
        begin(connection.db)
        try:
            yield connection.db
            connection.db.execute("COMMIT")
        except BaseException:
            # A disk that is full may have ended the transaction already.
            with suppress(sqlite3.Error):
                connection.db.execute("ROLLBACK")
            connection.forget()
            raise

    def _begin_writing(self, db: sqlite3.Connection) -> None:
        """Wait for our turn in short naps: SQLite's own grow to 100 ms, and a busy writer is back long before."""
        deadline = time.monotonic() + self._timeout_s
        db.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    db.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if not _is_busy(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(random.uniform(*_NAP_S))  # noqa: S311 - no secret
                else:
                    return
        finally:
            db.execute(f"PRAGMA busy_timeout = {round(self._timeout_s * 1000)}")


def _begin_reading(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")


def _is_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _why(path: Path, error: sqlite3.Error) -> str:
    """What SQLite does not say: that there is no file, no room, or no right to write, and what to do about that.

    It calls a full disk an I/O error in most places.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    try:
        if code == sqlite3.SQLITE_CANTOPEN and not path.exists():
            return " (there is no such file)"
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return _why_not_written(path)
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return ""
    is_full = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL) and free < _LITTLE_ROOM
    return f" ({free} bytes are left on the disk)" if is_full else ""


def _why_not_written(path: Path) -> str:
    """What this process may not write, of the file and its folder: SQLite needs both. A folder is made in another."""
    needed = [path, path.parent]
    if not os.access(path.parent, os.F_OK):
        needed.append(path.parent.parent)
    found = [str(each) for each in needed if os.access(each, os.F_OK) and not os.access(each, os.W_OK)]
    if not found:
        return ""
    do = "mount it writable, or run this as the user of the server"
    return f" ({' and '.join(found)} cannot be written: {do})"


_databases: weakref.WeakSet[Database] = weakref.WeakSet()

#: Connections of a parent process, should it have had any. Kept, because closing one here could remove the write-ahead
#: log under its hands.
_of_a_parent: list[Connection] = []


def _close_idle() -> None:
    while True:
        try:
            every = list(_databases)
            break
        except RuntimeError:  # another thread opened one just then
            continue
    for database in every:
        database.close_idle()


def _start_afresh() -> None:
    for database in list(_databases):
        database.after_fork()


FORKS = ForkGate(_close_idle)
FORKS.register()
os.register_at_fork(after_in_child=_start_afresh)
