"""policy diff, policy what-if, who-can: what a change would give and take, and who reads an object. Read-only."""

from __future__ import annotations

import getpass
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from taxii_server import settings as settings_module
from taxii_server.catalog import Catalog, check_catalog, check_settings, parse_catalog, read_files
from taxii_server.cli.context import Command, Session, err, out, pass_session, progress_bar, require_database
from taxii_server.cli.explain import explain
from taxii_server.cli.tables import print_found, print_json, print_rows
from taxii_server.errors import ConfigError, NotFound, Problem
from taxii_server.policy import POLICY_SECTIONS
from taxii_server.service.comparing import Change, Difference, compare
from taxii_server.service.explaining import Access, phrase
from taxii_server.service.explaining import who_can as who_can_read
from taxii_server.service.guard_audit import Found, guard_audit
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings, why_unreadable
from taxii_server.storage import store_of
from taxii_server.storage.base import Store

_CONFIG, _COLLECTIONS, _SERVER = "config/", "collections/", "server.toml"
_CHANGES = ("partner", "status", "before", "after", "change", "labels", "objects", "decided by")
_AUDIT = ("object", "version", "collection", "submitter", "guard", "would")
_AUDIT_KEYS = ("object", "version", "collection", "submitter", "guard", "act")
_ACCESS = ("partner", "reads it", "versions", "why", "rule", "collections")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, with every partner, for scripts.")


class _Policy(click.Group):
    """The group, which also knows `explain` and `who-can`: they stand beside it, and are looked for in it."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        beside = {"explain": explain, "who-can": who_can}
        return super().get_command(ctx, cmd_name) or beside.get(cmd_name)


@click.group(cls=_Policy)
def policy() -> None:
    """See what a change of the configuration gives and takes, and apply it."""


@policy.command("apply", cls=Command)
@pass_session
def apply(session: Session) -> None:
    """Put the configuration on disk in force, and say what each partner gained and lost by that.

    Everything is checked first; what does not hold changes nothing. No request that begins after this command has
    ended is answered by the old configuration, on any worker. What a partner can read from now on reaches it in
    its next poll. The same as `taxii-server reload`, with the difference.

    \b
    Example:
      taxii-server policy apply
    """
    settings = session.settings()
    with session.hub(settings, new=True) as hub:
        before = hub.snapshot
        with progress_bar("labelling records for the new policy") as advance:
            applied = hub.apply(lambda: read_files(session.settings()), getpass.getuser(), advance)
        if applied.epoch == before.epoch:
            out.print(f"[green]ok[/green] configuration {applied.digest[:12]} was in force already")
            return
        _compare(hub.store, before.catalog, hub.snapshot.catalog, as_json=False)
    out.print(f"[green]ok[/green] configuration {applied.digest[:12]} is in force (epoch {applied.epoch})")


@policy.command("diff", cls=Command)
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
@json_option
@pass_session
def diff(session: Session, old: Path, new: Path, as_json: bool) -> None:
    """What each partner gains and loses between two configurations, OLD and NEW.

    Each is a server.toml, or the folder that holds one (itself or in config/). Both are checked as a start would
    check them, by what their files say: variables of the environment do not count here.

    Or both are policy files: each is then put in the place of those of the settings. One without [audience] leaves
    partners.toml where it is, one that has nothing else leaves the rules.

    The counts are exact. They are taken over the objects in the store of the settings (every stored version of
    every copy counts) that the policy lets the partner read and that lie in a collection it reads, here or through
    a view. References to hidden objects are judged when a page is read, not here. Nothing is changed.

    \b
    Examples:
      taxii-server policy diff /etc/taxii-server ./config
      taxii-server policy diff config/policy.toml draft.toml
    """
    settings = session.settings()
    problems: list[Problem] = []
    own = settings if old.is_file() and new.is_file() and all(map(_policy_sections, (old, new))) else None
    before, after = _configured(old, problems, own), _configured(new, problems, own)
    if before is None or after is None:
        raise ConfigError(problems)
    with _untouched(settings) as store:
        _compare(store, before, after, as_json)


@policy.command("what-if", cls=Command)
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@json_option
@pass_session
def what_if(session: Session, files: tuple[Path, ...], as_json: bool) -> None:
    """What each partner would gain and lose if FILES took the place of those of the same name.

    Compares the configuration in force in the store with the same one in which these files stand instead: policy.toml,
    partners.toml (or whatever config_files names), or a collection's file. A name that is not in force yet is a new
    collection. What does not hold is refused with its problems, as check does.

    The counts are exact. They are taken over the objects in the store (every stored version of every copy counts)
    that the policy lets the partner read and that lie in a collection it reads, here or through a view. References
    to hidden objects are judged when a page is read, not here. Nothing is changed.

    \b
    Example:
      taxii-server policy what-if policy.toml collections/cert-fr.toml
    """
    settings = session.settings()
    with _untouched(settings) as store:
        applied = store.catalog()
        if applied is None:
            raise ConfigError([Problem("", "", "no configuration was ever applied to this store; compare with diff")])
        changed = _replaced(applied.files, files)
        _compare(store, parse_catalog(applied.files), _checked(changed, settings), as_json)


@policy.command("guard-audit", cls=Command)
@json_option
@pass_session
def audit(session: Session, as_json: bool) -> None:
    """List what is stored and would be stopped by a guard if it were posted today.

    Guards look at posts only: a new one leaves alone what is there. This lists every stored version that the guards in
    force would refuse or hold by itself; what merely refers to such an object is not listed. Nothing is changed.

    \b
    Example:
      taxii-server policy guard-audit --json
    """
    settings = session.settings()
    with _untouched(settings) as store, progress_bar("looking at stored objects") as advance:
        hub = Hub(settings, store)
        hub.load()
        found = list(guard_audit(hub, advance))
    if as_json:
        print_json({"objects": [dict(zip(_AUDIT_KEYS, _audit_row(each), strict=True)) for each in found]})
        return
    if found:
        print_rows(_AUDIT, map(_audit_row, found), numbers=())
    err.print(f"{len(found)} stored version(s) would be stopped today")


def _audit_row(found: Found) -> tuple[str, ...]:
    record, stop = found.record, found.stop
    return (record.id, record.version, found.collection, record.submitter, stop.guard, stop.act)


@click.command("who-can", cls=Command)
@click.argument("object_id")
@json_option
@pass_session
def who_can(session: Session, object_id: str, as_json: bool) -> None:
    """Show for every partner whether it gets OBJECT_ID, why, and in which collections.

    Under the configuration in force, references and copies included; the same answer as polls get. `explain` tells
    the details for one partner. For operators: the answer tells what is hidden. Nothing is changed.

    \b
    Example:
      taxii-server who-can indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f
    """
    settings = session.settings()
    with _untouched(settings) as store:
        hub = Hub(settings, store)
        try:
            found = who_can_read(hub, object_id)
        except NotFound:
            raise NotFound(f"no object {object_id} in this store") from None
    rows, described, about = map(_access_row, found), map(_access_json, found), {"object": object_id}
    print_found(as_json, "partners", _ACCESS, rows, described, numbers=(2,), about=about)


# ---- reading configurations


@contextmanager
def _untouched(settings: Settings) -> Iterator[Store]:
    """The store of the settings as it is: neither prepared nor given a configuration."""
    store = store_of(settings)
    try:
        require_database(settings, store)
        store.state()  # says so when it is not whole
        yield store
    finally:
        store.close()


def _configured(path: Path, problems: list[Problem], own: Settings | None) -> Catalog | None:
    """The checked configuration at this path; None with its problems, each with the path, when it does not hold.

    `own`: the settings whose policy the file at this path stands in for.
    """
    try:
        if own is not None:
            return _checked(_with_policy(read_files(own), path), own)
        if path.is_file() and (sections := _policy_sections(path)):
            told = f"holds a policy ({', '.join(sections)}), not a whole configuration; see policy what-if"
            raise ConfigError([Problem("", "", told)])
        settings = settings_module.load(_server_file(path), environment={})
        return _checked(read_files(settings), settings)
    except ConfigError as error:
        problems += [
            Problem(f"{path}: {each.file}" if each.file else str(path), each.key, each.message)
            for each in error.problems
        ]
        return None


def _with_policy(files: Mapping[str, str], path: Path) -> dict[str, str]:
    """The files of a configuration with this one in the place of those that hold no other parts of a policy."""
    text = path.read_text(encoding="utf-8-sig")
    parts = _parts_of(text)
    kept = {
        name: each
        for name, each in files.items()
        if not name.startswith(_CONFIG) or name == _CONFIG + _SERVER or not _parts_of(each) <= parts
    }
    return {**kept, f"{_CONFIG}{path.name}": text}


def _parts_of(text: str) -> set[str]:
    """Whether a policy file holds partners, rules, or both; a text that is not TOML holds what is told elsewhere."""
    try:
        sections = set(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return {"rules"}
    return sections & {"audience"} | ({"rules"} if sections - {"schema", "groups", "audience"} else set())


def _server_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    inside = path / _CONFIG / _SERVER
    return inside if inside.exists() and not (path / _SERVER).exists() else path / _SERVER


def _checked(files: Mapping[str, str], settings: Settings) -> Catalog:
    """The catalog of these files, held to all that a start holds it to."""
    catalog = check_catalog(files)
    problems = check_settings(settings, catalog)
    if problems:
        raise ConfigError(problems)
    return catalog


def _replaced(in_force: Mapping[str, str], paths: Sequence[Path]) -> dict[str, str]:
    """The files in force with these ones in the place of those of the same name."""
    files = dict(in_force)
    taken: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in paths:
        named = [name for name in in_force if name.startswith(_CONFIG) and name.rpartition("/")[2] == path.name]
        name = named[0] if named else f"{_COLLECTIONS}{path.name}"
        if path.name == _SERVER:
            problems.append(
                Problem(str(path), "", "what-if takes policy, partner and collection files; see policy diff")
            )
        elif path.suffix != ".toml":
            problems.append(Problem(str(path), "", "not the name of a configuration file; they end with .toml"))
        elif name in taken:
            problems.append(Problem(str(path), "", f"has the same name as {taken[name]}"))
        elif name not in in_force and (sections := _policy_sections(path)):
            names = [each.removeprefix(_CONFIG) for each in in_force if each.startswith(_CONFIG)]
            places = " or ".join(each for each in names if each != _SERVER)
            told = f"holds a policy ({', '.join(sections)}): give it the name of the file that it replaces, {places}"
            problems.append(Problem(str(path), "", told))
        else:
            try:
                files[name] = path.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(Problem(str(path), "", f"cannot be read: {why_unreadable(error)}"))
        taken[name] = path
    if problems:
        raise ConfigError(problems)
    for name, path in taken.items():
        err.print(f"{escape(str(path))} {'takes the place of' if name in in_force else 'is new:'} {escape(name)}")
    return files


def _policy_sections(path: Path) -> list[str]:
    """Which sections of a policy the file has; none when it cannot be read, which is told elsewhere."""
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return []
    return [key for key in keys if key in POLICY_SECTIONS]


# ---- comparing


def _compare(store: Store, old: Catalog, new: Catalog, as_json: bool) -> None:
    with progress_bar("labelling records in memory") as advance:
        found = compare(store, old, new, advance)
    for warning in new.warnings:
        if warning not in old.warnings:
            err.print(f"[yellow]warning[/yellow] {escape(str(warning))}")
    if as_json:
        digests = {"old": old.digest, "new": new.digest}
        print_json({**digests, "partners": [_change_json(difference) for difference in found]})
        return
    changed = [difference for difference in found if not difference.is_none()]
    if changed:
        print_rows(_CHANGES, (row for each in changed for row in _change_rows(each)), numbers=(2, 3, 5, 6))
    err.print(f"{len(changed)} partner(s) gain or lose, {len(found) - len(changed)} read what they read before")


def _change_rows(difference: Difference) -> list[tuple[str, ...]]:
    """A row for each reason; one without a change for a partner that comes or goes and reads nothing."""
    head: tuple[str, ...] = (difference.audience, difference.status, str(difference.before), str(difference.after))
    changes: tuple[tuple[str, Change], ...] = (("gained", difference.gained), ("lost", difference.lost))
    rows = [
        (*head, word, str(reason.labels), str(reason.objects), reason.words)
        for word, change in changes
        for reason in change.reasons
    ]
    return rows or [(*head, "none", "0", "0", "")]


# ---- printing


def _change_json(difference: Difference) -> dict[str, Any]:
    values = asdict(difference)
    return {"partner": values.pop("audience"), **values}


def _access_row(access: Access) -> tuple[str, ...]:
    decision = access.decision
    return (
        access.audience,
        ("a copy" if access.copy_id else "yes") if access.versions else "no",
        f"{access.versions} of {access.stored}",
        # Why a rule is there can be a long sentence: `explain` tells it.
        phrase(decision) if decision.rule else decision.text,
        decision.rule or "",
        ", ".join(access.collections),
    )


def _access_json(access: Access) -> dict[str, Any]:
    decision = access.decision
    in_place = {} if access.copy_id is None else {"copy": access.copy_id}
    return {
        "partner": access.audience,
        "reads": access.versions > 0,
        "versions": access.versions,
        "stored": access.stored,
        "reason": decision.reason,
        "rule": decision.rule,
        "words": decision.text,
        "collections": access.collections,
        **in_place,
    }
