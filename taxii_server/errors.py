"""What can go wrong, in our own words.

No HTTP here: status codes live in web/errors.py. Every error says what, where and what to do next,
and carries the facts as attributes so that callers never parse a message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


class TaxiiServerError(Exception):
    """Base of every error that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file: where, what was found, what is known."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.message) if part)


class ConfigError(TaxiiServerError):
    """The configuration does not hold. `problems` lists everything found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NotFound(TaxiiServerError):
    """Unknown, hidden or not this actor's: the three are one answer, so that nothing leaks."""


class Forbidden(TaxiiServerError):
    """The actor sees the thing but may not do this with it."""


class Conflict(TaxiiServerError):
    """What is asked for contradicts something that the actor sees. The message says what."""


class BadQuery(TaxiiServerError):
    """A query parameter is malformed. `parameter` names it."""

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter}: {message}")


class BadContent(TaxiiServerError):
    """The body as a whole cannot be processed; nothing of it was stored."""


class ContentTooLarge(TaxiiServerError):
    """The body is larger than `limit_bytes`; nothing of it was stored. `limit` says whose limit that is."""

    def __init__(self, limit_bytes: int, limit: str = "max_content_length of this API root") -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"the body is larger than {limit_bytes} bytes ({limit})")


class TooManyRequests(TaxiiServerError):
    """Asked too much; nothing was done. The same may be asked again after `retry_after_s` whole seconds."""

    def __init__(self, wait_s: float, message: str) -> None:
        self.retry_after_s = max(1, math.ceil(wait_s))
        super().__init__(message)


class NoRoom(TooManyRequests):
    """What others sent takes all the room that there is."""


class LockedOut(TooManyRequests):
    """Too many wrong credentials; this one was not looked at."""


class InvalidObject(TaxiiServerError):
    """One object of a body is refused. `property_path` names the place in it."""

    def __init__(self, property_path: str, message: str) -> None:
        self.property_path = property_path
        super().__init__(f"{property_path}: {message}" if property_path else message)


class StorageError(TaxiiServerError):
    """Base of what a store raises; the driver's own error is its cause."""


class StorageUnavailable(StorageError):
    """The database cannot answer now. Nothing was half done; the same call may be made again."""


class CatalogMoved(StorageError):
    """Another configuration is in force than the caller started from; read it again and start over."""


class SchemaTooNew(StorageError):
    """The database was written by a newer release than this one."""
