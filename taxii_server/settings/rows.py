"""Declared tables: a frozen dataclass whose fields say how each key of a TOML table is read.

A field made with `row()` carries its kind, default and help. The same declaration reads a file, reads the
environment, writes the commented example and the table in the README, so none of them can tell another story.

Why not one reader per file: a misspelt key that is silently ignored has opened servers to everybody. Here every
key that no row declares is a problem, whatever the table.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import textwrap
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, Generic, TypeVar

from taxii_server.errors import Problem

T = TypeVar("T")
D = TypeVar("D")

#: One plain segment of a URL path or stem of a file name. No `__`, which separates names in the environment.
_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
#: How many known names an error lists before it stops.
_MAX_KNOWN = 40


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How a value is read. `read` takes what TOML gives, `parse` makes that from one line of text.

    Both raise ValueError with a message for the operator, without file and key.
    """

    name: str
    read: Callable[[object], T]
    parse: Callable[[str], object] = str


@dataclass(frozen=True, slots=True)
class Row:
    """One key of a table. `active` rows stand in the example as they are, the others commented out."""

    name: str
    kind: Kind[Any]
    default: Any
    help: str
    group: str
    required: bool
    secret: bool
    active: bool


def row(kind: Kind[T], default: D, help: str, *, secret: bool = False, active: bool = False) -> T | D:
    """A dataclass field for a key that may be left out. A secret one does not appear in the repr."""
    about = {"kind": kind, "help": help, "secret": secret, "active": active}
    value: T | D = field(default=default, repr=not secret, metadata={"row": about})
    return value


def required_row(kind: Kind[T], help: str) -> T:
    """A dataclass field for a key that must be given."""
    about = {"kind": kind, "help": help, "secret": False, "active": True}
    value: T = field(metadata={"row": about})
    return value


@cache
def rows_of(table: type) -> Mapping[str, Row]:
    """The rows that a dataclass and its bases declare, by name, in their order.

    Each belongs to the group that the class which declares it names in GROUP, if any.
    """
    groups = {
        name: vars(each).get("GROUP", "") for each in table.__mro__ for name in vars(each).get("__annotations__", ())
    }
    return {
        each.name: Row(
            name=each.name,
            group=groups[each.name],
            default=None if each.default is MISSING else each.default,
            required=each.default is MISSING,
            **each.metadata["row"],
        )
        for each in fields(table)
        if "row" in each.metadata
    }


# ---- reading


def parse_toml(text: str, file: str) -> tuple[dict[str, Any], list[Problem]]:
    """The top table of a TOML text; empty, with the problem, when it is none."""
    try:
        return tomllib.loads(text), []
    except tomllib.TOMLDecodeError as error:
        return {}, [Problem(file, "", f"not valid TOML: {error}")]


def read_table(
    table: type, values: object, file: str, key: str = "", also: Collection[str] = (), above: Collection[str] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """The values given for the rows of `table`, and everything that is wrong with them.

    Keys in `also` are known but left to the caller, those in `above` stand above the first table of the file: in TOML,
    what is appended to a file belongs to its last table. Values left out are not filled in.
    """
    rows = rows_of(table)
    if not isinstance(values, Mapping):
        return {}, [Problem(file, key, f"expected a table of {', '.join(rows)}, found {_found(values)}")]
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        if name in rows:
            problems += read_value(rows[name], value, found, file, join_key(key, name))
        elif name in above:
            message = f"'{name}' is no key of this table: move the line up, before the first table ([...]) of the file"
            problems.append(Problem(file, key, message))
        elif name not in also:
            problems.append(Problem(file, key, unknown("key", name, [*rows, *also])))
    for name, each in rows.items():
        if each.required and name not in values:
            problems.append(Problem(file, join_key(key, name), f"missing: {first_sentence(each.help)}"))
    return found, problems


def read_value(row: Row, value: object, into: dict[str, Any], file: str, key: str) -> list[Problem]:
    """Read one value into the mapping; the problem if it is not of its kind."""
    try:
        into[row.name] = row.kind.read(value)
    except ValueError as error:
        return [Problem(file, key, str(error))]
    return []


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence about a name that nobody declared: what is known, and what was probably meant."""
    names = sorted(set(known))
    listed = ", ".join(names[:_MAX_KNOWN]) + (f" and {len(names) - _MAX_KNOWN} more" if len(names) > _MAX_KNOWN else "")
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{name}' (known: {listed or 'none'}{hint})"


def is_name(text: str) -> bool:
    """Whether the text can name an API root or a collection: lower case, digits, single - or _ between them."""
    return _NAME.fullmatch(text) is not None


def join_key(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")


def _found(value: object) -> str:
    """What stands there, in the words of TOML."""
    if isinstance(value, Mapping):
        return "a table"
    return toml_value(value) if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"


def _as_bool(text: str) -> object:
    return {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }.get(text.strip().lower(), text)


def _as_number(text: str) -> object:
    """A number if the text is one, else the text: `read` then says what was expected."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _as_list(text: str) -> object:
    return [part.strip() for part in text.split(",") if part.strip()]


# ---- kinds


def text(may_be_empty: bool = True) -> Kind[str]:
    """One line of text, without control characters."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected text, found {_found(value)}")
        if not may_be_empty and not value.strip():
            raise ValueError("must not be empty")
        if any(ord(char) < 32 or ord(char) == 127 for char in value.rstrip("\n")):
            raise ValueError("must be one line without control characters")
        return value.strip()

    return Kind("text", read)


def matching(name: str, check: Callable[[str], bool], expected: str) -> Kind[str]:
    """Text that satisfies `check`; `expected` ends the sentence "is not ..."."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not check(value):
            raise ValueError(f"{_found(value)} is not {expected}")
        return value

    return Kind(name, read)


def whole(low: int, high: int | None = None) -> Kind[int]:
    """A whole number within bounds."""
    bounds = f"at least {low}" if high is None else f"from {low} to {high}"

    def read(value: object) -> int:
        # TOML's true is a Python int.
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"expected a whole number {bounds}, found {_found(value)}")
        if value < low or (high is not None and value > high):
            raise ValueError(f"{value} is out of range: a whole number {bounds}")
        return value

    return Kind("whole number", read, _as_number)


def seconds(low: float) -> Kind[float]:
    """A finite number of seconds."""

    def read(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"expected a number of seconds, at least {low:g}, found {_found(value)}")
        if value < low:
            raise ValueError(f"{value:g} is out of range: seconds, at least {low:g}")
        return float(value)

    return Kind("seconds", read, _as_number)


def yes_no() -> Kind[bool]:
    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, found {_found(value)}")
        return value

    return Kind("true or false", read, _as_bool)


def one_of(*choices: str) -> Kind[str]:
    def read(value: object) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(f"{_found(value)} is not one of {', '.join(choices)}")
        return value

    return Kind(" or ".join(choices), read)


def texts(
    item: Kind[str] | None = None, name: str = "list of text", may_be_empty: bool = True
) -> Kind[tuple[str, ...]]:
    """A list of texts without repeats, each read by `item`; in the environment separated by commas."""
    one = item or text(may_be_empty=False)

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected a list of texts, found {_found(value)}")
        if not value and not may_be_empty:
            raise ValueError("must not be empty")
        read_items = tuple(one.read(each) for each in value)
        for each in read_items:
            if read_items.count(each) > 1:
                raise ValueError(f"'{each}' is listed twice")
        return read_items

    return Kind(name, read, _as_list)


# ---- writing


def toml_value(value: object) -> str:
    """A value as TOML writes it. Knows the types that rows have."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    # A JSON string is a TOML basic string; control characters do not get past the kinds.
    return json.dumps(str(value), ensure_ascii=False)


def wrapped(text: str, width: int = 112) -> str:
    """The text as comment lines."""
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, width, break_on_hyphens=False))


def example_of(table: type, **values: object) -> str:
    """Every key of the table with its help and a value: `values`, else the default, else an empty text."""
    parts = []
    group = ""
    for name, each in rows_of(table).items():
        if each.group != group:
            group = each.group
            parts.append(f"\n# ---- {group}\n")
        value = values.get(name, "" if each.default is None else each.default)
        is_set = name in values or each.required or (each.active and each.default is not None)
        mark = "" if is_set else "# "
        parts.append(f"\n{wrapped(each.help)}{mark}{name} = {toml_value(value)}\n")
    return "".join(parts)


def markdown_of(table: type) -> str:
    """The table for a README: key, what it takes, default, what it is for."""
    lines = ["| key | takes | default | what it is for |", "|---|---|---|---|"]
    for name, each in rows_of(table).items():
        default = "required" if each.required else "" if each.default is None else f"`{toml_value(each.default)}`"
        lines.append(f"| `{name}` | {each.kind.name} | {default} | {each.help} |")
    return "\n".join(lines) + "\n"
