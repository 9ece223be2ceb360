"""Releases that partners file themselves: one text of the catalog per partner, `releases/PARTNER.toml`. Pure.

Why texts of the catalog and not records of their own: whatever a change of the policy goes through - the check, the
proof of every claim, one epoch, the swap in all workers - then holds for a release as well, and there is one place
that says who may read what.

Why the id of a filed release begins with its partner: ids are unique over all rules and releases. Were they chosen
freely, an id that is refused would tell a partner what others filed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from taxii_server.errors import Problem
from taxii_server.settings.rows import parse_toml
from taxii_server.times import format_position

#: Where the releases of partners stand among the files of the catalog.
FILED = "releases/"
#: The part of an id that a partner chooses.
LOCAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TABLE = re.compile(r"release\[([0-9]+)\]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEADER = "# Filed over the API or with 'taxii-server release file'; the server writes this text.\n"


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """One [[release]] as its text says it. Times are in µs since 1970, None: no limit.

    The `id` of a filed one is `PARTNER/LOCAL`; `file` says where it stands.
    """

    id: str
    by: str
    objects: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    not_before: int | None = None
    until: int | None = None
    why: str = ""
    file: str = ""

    @property
    def is_filed(self) -> bool:
        """Whether it was filed, and not written into a file of the configuration by an operator."""
        return self.file.startswith(FILED)

    @property
    def local_id(self) -> str:
        """The id by which its partner knows it."""
        return self.id.removeprefix(f"{self.by}/") if self.is_filed else self.id


def filed_file(partner: str) -> str:
    """The name of the text that holds this partner's releases."""
    return f"{FILED}{partner}.toml"


def filer_of(file: str) -> str:
    """The partner whose releases a text of this name holds."""
    return file.removeprefix(FILED).removesuffix(".toml")


def read_releases(files: Mapping[str, str]) -> tuple[ReleaseEntry, ...]:
    """The releases in these texts, which the catalog accepted, by file and in the order of the file."""
    return tuple(
        _release(table, file)
        for file, text in sorted(files.items())
        if file.startswith(("config/", FILED))
        for table in parse_toml(text, file)[0].get("release", ())
    )


def with_releases(files: Mapping[str, str], partner: str, releases: Iterable[ReleaseEntry]) -> dict[str, str]:
    """The files with these as the releases that the partner has filed: the same ones give the same text."""
    others = {name: text for name, text in files.items() if name != filed_file(partner)}
    tables = "".join(_table(release) for release in releases)
    return {**others, filed_file(partner): _HEADER + tables} if tables else others


def with_filed(files: Mapping[str, str], in_force: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The files with the filed releases of those in force, and the partners whose releases are left out.

    Those are partners that the files do not declare any more. What is filed comes from nowhere else.
    """
    kept = {name: text for name, text in files.items() if not name.startswith(FILED)}
    filed = {name: text for name, text in in_force.items() if name.startswith(FILED)}
    declared: set[str] = set()
    for name, text in kept.items():
        if name.startswith("config/"):
            values, unreadable = parse_toml(text, name)
            audiences = values.get("audience", {})
            if unreadable or not isinstance(audiences, dict):
                return {**kept, **filed}, ()  # the check of the files says what is wrong with them
            declared.update(audiences)
    gone = tuple(filer_of(name) for name in sorted(filed) if filer_of(name) not in declared)
    return {**kept, **{name: text for name, text in filed.items() if filer_of(name) not in gone}}, gone


def wrong_in_filed(files: Mapping[str, str]) -> list[Problem]:
    """What a text of filed releases may not hold: anything but releases of its own partner.

    What a release itself may say, and whether a text is TOML at all, the policy's parser judges.
    """
    problems = []
    for file, text in sorted(files.items()):
        if not file.startswith(FILED):
            continue
        if not file.endswith(".toml") or not filer_of(file):
            problems.append(Problem(file, "", f"is not named {FILED}PARTNER.toml"))
            continue
        document = parse_toml(text, file)[0]
        problems += [
            Problem(file, key, "only [[release]] can stand in a file of filed releases")
            for key in document
            if key != "release"
        ]
        tables = document.get("release", [])
        for number, table in enumerate(tables if isinstance(tables, list) else [], 1):
            problems += _wrong_in_release(file, f"release[{number}]", table)
    return problems


def with_way_out(problem: Problem, files: Mapping[str, str]) -> Problem:
    """The problem, and if it is one of a filed release: how an operator takes that release back."""
    place = _TABLE.match(problem.key)
    if not problem.file.startswith(FILED) or place is None:
        return problem
    tables = parse_toml(files.get(problem.file, ""), problem.file)[0].get("release", [])
    table = tables[int(place[1]) - 1] if isinstance(tables, list) and int(place[1]) <= len(tables) else None
    id_ = table.get("id") if isinstance(table, dict) else None
    message = f"{problem.message}; filed by a partner, 'taxii-server release withdraw {id_}' takes it back"
    return Problem(problem.file, problem.key, message)


def _wrong_in_release(file: str, key: str, table: object) -> list[Problem]:
    if not isinstance(table, dict):
        return []
    partner, problems = filer_of(file), []
    if table.get("by") != partner:
        problems.append(Problem(file, f"{key}.by", f"has to be '{partner}': nobody releases what others posted"))
    owner, slash, local = str(table.get("id", "")).rpartition("/")
    if owner != partner or not slash or not LOCAL_ID.fullmatch(local):
        message = f"has to be '{partner}/' and up to 64 letters, digits, dots, - and _"
        problems.append(Problem(file, f"{key}.id", message))
    return problems


def _release(table: Mapping[str, Any], file: str) -> ReleaseEntry:
    to = table["to"]
    return ReleaseEntry(
        id=table["id"],
        by=table["by"],
        objects=_texts(table["objects"]),
        audiences=_texts(to.get("audience", ())),
        groups=_texts(to.get("group", ())),
        not_before=microseconds(table.get("not_before")),
        until=microseconds(table.get("until")),
        why=table.get("why", ""),
        file=file,
    )


def _texts(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def microseconds(moment: datetime | None) -> int | None:
    """A time with offset as µs since 1970."""
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def _table(release: ReleaseEntry) -> str:
    to = [
        f"{key} = {_list(names)}"
        for key, names in (("audience", release.audiences), ("group", release.groups))
        if names
    ]
    lines = [
        "",
        "[[release]]",
        f"id = {_quoted(release.id)}",
        f"by = {_quoted(release.by)}",
        f"objects = {_list(release.objects)}",
        f"to = {{ {', '.join(to)} }}",
    ]
    for key, us in (("not_before", release.not_before), ("until", release.until)):
        if us is not None:
            lines.append(f"{key} = {format_position(us)}")
    if release.why:
        lines.append(f"why = {_quoted(release.why)}")
    return "\n".join(lines) + "\n"


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _quoted(text: str) -> str:
    """A TOML string: JSON's, with the one control character that JSON lets through."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
