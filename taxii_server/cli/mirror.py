"""mirror: copies of what other hubs share, and copies for them."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from taxii_server.cli.context import Command, Session, err, out, pass_session, progress_bar
from taxii_server.cli.mirror_flags import flags_of, flags_of_a_run, given, mirror_of
from taxii_server.cli.tables import json_option, on_one_line, print_found, print_json
from taxii_server.errors import ConfigError
from taxii_server.logs import set_up_logs
from taxii_server.mirror import state as states
from taxii_server.mirror.papers import Papers
from taxii_server.mirror.run import Report, Surroundings
from taxii_server.mirror.running import Service, job_of
from taxii_server.mirror.schema import Mirror, read_mirrors
from taxii_server.service.hub import Hub
from taxii_server.times import format_position

_SHOWN = 20


@click.group()
def mirror() -> None:
    """Mirror collections: pull what other hubs share, push what a partner may read here. See docs/mirroring.md."""


@mirror.command(cls=Command)
@click.argument("source", metavar="URL|NAME")
@click.option("--into", "collection", metavar="COLLECTION", help="The collection of this hub, by name.")
@click.option("--as", "partner", metavar="PARTNER", help="The partner who posts. Default: the owner of the collection.")
@click.option("--reconcile", is_flag=True, help="Look for deletions now, whenever that was done last.")
@click.option("--yes", "sure", is_flag=True, help="The same, and delete however many the peer does not have any more.")
@flags_of("pull")
@flags_of_a_run
@pass_session
def pull(
    session: Session,
    /,
    source: str,
    collection: str | None,
    partner: str | None,
    reconcile: bool,
    sure: bool,
    from_start: bool,
    as_json: bool,
    name: str | None,
    **flags: Any,
) -> None:
    """Fetch what the collection at URL has into COLLECTION, from where the last run of the same mirror ended.

    NAME is a mirror of mirrors.toml. The objects are posted as PARTNER: same checks, guards and policy as a POST.
    Secrets come from --token-file, or --user with --password-file, or the variables TAXII_MIRROR_TOKEN and
    TAXII_MIRROR_PASSWORD. Exit status 1 when it did not come to its end; what is refused is told, and no failure.

    \b
    Examples:
      taxii-server mirror pull https://hub.example/api/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/ \\
          --into from-cert-eu --as cert-eu --token-file /etc/taxii-server/cert-eu.token
      taxii-server mirror pull cert-eu --reconcile --yes
    """
    values = (
        given(flags) | ({"collection": collection} if collection else {}) | ({"partner": partner} if partner else {})
    )
    settings = session.settings()
    made = mirror_of("pull", source, values, name, Path(settings.mirrors_file))
    with session.hub(settings, new=True) as hub:
        made = made if name or "://" not in source else _alone(hub, made)
        _run(hub, made, as_json=as_json, from_start=from_start, follow=reconcile, sure=sure)


@mirror.command(cls=Command)
@click.argument("collection", metavar="COLLECTION|NAME")
@click.argument("target", metavar="[URL]", required=False)
@click.option("--as", "partner", metavar="PARTNER", help="The partner who is the peer: it gets what it may read here.")
@flags_of("push")
@flags_of_a_run
@pass_session
def push(
    session: Session,
    /,
    collection: str,
    target: str | None,
    partner: str | None,
    from_start: bool,
    as_json: bool,
    name: str | None,
    **flags: Any,
) -> None:
    """Post what PARTNER may read of COLLECTION to the collection at URL, from where the last run ended.

    NAME is a mirror of mirrors.toml. What leaves is in the ledger as given to PARTNER. Secrets as for `mirror pull`.

    \b
    Examples:
      taxii-server mirror push interpol https://soc.example/api/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/ \\
          --as soc --token-file /etc/taxii-server/soc.token
      taxii-server mirror push to-the-soc
    """
    values = given({**flags, "partner": partner})
    settings = session.settings()
    if target:
        values["collection"] = collection
    made = mirror_of("push", target or collection, values, name, Path(settings.mirrors_file))
    with session.hub(settings) as hub:
        made = made if name or not target else _alone(hub, made)
        _run(hub, made, as_json=as_json, from_start=from_start)


@mirror.command("list", cls=Command)
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """Every mirror of mirrors.toml, and every one that was ever run: how far it is and how it goes.

    \b
    Example:
      taxii-server mirror list --json
    """
    settings = session.settings()
    file = Path(settings.mirrors_file)
    with session.hub(settings) as hub:
        known = states.every(hub.store)
        names = {each.name for each in known}
        for made in _declared(file):
            if made.name not in names:
                known.append(states.State("", made.name, made.kind, made.url, made.collection, made.partner))
    known.sort(key=lambda each: (each.name, each.last_run))
    shown = [_shown(each) for each in known]
    titles = (
        "name",
        "way",
        "collection",
        "partner",
        "peer",
        "last success",
        "seen up to",
        "stored",
        "refused",
        "trouble",
    )
    keys = ("name", "way", "collection", "partner", "url")
    rows = [
        (
            *(each[key] for key in keys),
            each["last_success"] or "never",
            each["seen_up_to"] or "",
            str(each["stored"]),
            str(each["refused"]),
            each["last_error"],
        )
        for each in shown
    ]
    print_found(as_json, "mirrors", titles, rows, shown, numbers=(7, 8))


@mirror.command(cls=Command)
@click.argument("name")
@pass_session
def forget(session: Session, name: str) -> None:
    """Forget how far the mirror NAME came, so that it is not listed and watched any more. What it brought stays.

    Should it run again, it reads everything again. Of several mirrors with this name, name one by its key.

    \b
    Example:
      taxii-server mirror forget cert-eu
    """
    with session.hub() as hub:
        keys = _keys(hub, name)
        if len(keys) > 1:
            known = {each.key: each for each in states.every(hub.store)}
            listed = "".join(f"\n  {key}  {known[key].url} ({known[key].collection})" for key in keys)
            raise click.BadParameter(f"{len(keys)} mirrors are called '{name}'; give the key of one of them:{listed}")
        with states.turn(hub.store, keys[0]):
            states.forget(hub.store, keys[0])
    out.print(f"forgotten: {name}", markup=False)


def _keys(hub: Hub, name: str) -> list[str]:
    """The mirrors of this name, or with this key, that were ever run."""
    keys = [each.key for each in states.every(hub.store) if name in (each.name, each.key)]
    if not keys:
        raise click.BadParameter(f"no mirror '{name}' was ever run (see taxii-server mirror list)")
    return keys


def _alone(hub: Hub, made: Mirror) -> Mirror:
    """The mirror, whose name was made up, under the name that it had in its last run, or under one that is free."""
    key = job_of(hub, made, Surroundings()).key
    known = {each.key: each.name for each in states.every(hub.store)}
    if key in known:
        return replace(made, name=known[key])
    taken = set(known.values())
    with suppress(ConfigError):  # who runs the file is told what is wrong with it
        taken |= {each.name for each in read_mirrors(Path(hub.settings.mirrors_file))}
    names = chain([made.name], (f"{made.name}-{number}" for number in count(2)))
    return replace(made, name=next(name for name in names if name not in taken))


def _declared(file: Path) -> list[Mirror]:
    """The mirrors of the file if there is one; what is wrong with it is told."""
    try:
        return read_mirrors(file) if file.exists() else []
    except ConfigError as error:
        _tell_problems(error)
        return []


def _tell_problems(error: ConfigError) -> None:
    for problem in error.problems:
        err.print(f"[red]error[/red] {escape(str(problem))}")


@mirror.command(cls=Command)
@click.argument("name")
@json_option
@pass_session
def refused(session: Session, name: str, as_json: bool) -> None:
    """What the mirror NAME could not store, or its peer did not take, and why; newest first, without contents.

    \b
    Example:
      taxii-server mirror refused cert-eu
    """
    settings = session.settings()
    with session.hub(settings) as hub:
        keys = _keys(hub, name)
    found = []
    for key in keys:
        with Papers(Path(settings.mirrors_dir), key, check_modes=settings.check_file_modes) as papers:
            found += papers.refused()
    titles = ("object", "version", "reason", "last", "times")
    rows = [(each.id, each.version, each.reason, each.last, str(each.times)) for each in found]
    print_found(as_json, "refused", titles, rows, map(asdict, found), numbers=(4,))


@mirror.command(cls=Command)
@click.option("--once", is_flag=True, help="Run each mirror once, one after the other, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print what was done as JSON.")
@pass_session
def run(session: Session, once: bool, as_json: bool) -> None:
    """Run every mirror of mirrors.toml at its interval, until SIGTERM or Ctrl-C. SIGHUP reads the file again.

    A mirror that fails waits longer and longer and does not stop the others. Two services may run: of one mirror only
    one of them works. With --once exit status 1 when one did not come to its end.

    \b
    Examples:
      taxii-server mirror run
      taxii-server mirror run --once --json
    """
    settings = session.settings()
    set_up_logs(settings.log_format, settings.log_level)
    file = Path(settings.mirrors_file)
    mirrors = read_mirrors(file)
    with session.hub(settings, new=True) as hub, _signals() as (stop, again):
        service = Service(hub)
        if once:
            reports = service.once(mirrors, stop)
            if as_json:
                print_json([each.to_json() for each in reports])
            sys.exit(1 if any(not each.complete for each in reports) else 0)
        err.print(f"taxii-server: {len(mirrors)} mirror(s) of {file}", markup=False)
        service.set(mirrors)
        while not stop.wait(0.2):
            if again.is_set():
                again.clear()
                _reload(service, file)
        service.end()


def _reload(service: Service, file: Path) -> None:
    try:
        mirrors = read_mirrors(file)
    except ConfigError as error:
        _tell_problems(error)
        err.print("the mirrors go on as they were")
        return
    service.set(mirrors)
    err.print(f"taxii-server: {len(mirrors)} mirror(s) of {file}", markup=False)


@contextmanager
def _signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Events that are set when the process is told to end, and to read its file again."""
    stop, again = threading.Event(), threading.Event()
    before = {}
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, again)):
        before[number] = signal.signal(number, lambda _number, _frame, event=event: event.set())  # type: ignore[misc]
    try:
        yield stop, again
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(hub: Hub, made: Mirror, *, as_json: bool, from_start: bool, follow: bool = False, sure: bool = False) -> None:
    """One run in the foreground; ends the process with its status."""
    with _signals() as (stop, _), progress_bar(f"mirror {made.name}", rate=True) as advance:
        around = Surroundings(stop, advance, lambda message: err.print(message, markup=False))
        report = job_of(hub, made, around, follow=follow, sure=sure).run(from_start=from_start)
    if as_json:
        print_json(report.to_json())
    else:
        _tell(report)
    sys.exit(1 if report.error or report.deletions_held else 0)


def _tell(report: Report) -> None:
    counts = report.counts
    words = [f"{counts.received} received", f"{counts.stored} stored"]
    if report.kind == "pull":
        words.append(f"{counts.present} here already")
    words.append(f"{counts.refused} refused")
    words += [f"{counts.quarantined} held in quarantine"] * bool(counts.quarantined)
    words += [f"{report.deleted} deleted"] * bool(report.deleted)
    out.print(f"{report.name}: {', '.join(words)}", markup=False)
    for id_, _, reason in counts.refusals[:_SHOWN]:
        err.print(f"  {on_one_line(f'{id_}: {reason}')}", markup=False)
    if len(counts.refusals) > _SHOWN:
        err.print(f"  ... and more: taxii-server mirror refused {report.name}", markup=False)
    for warning in report.warnings:
        err.print(f"[yellow]warning[/yellow] {escape(warning)}")
    if report.error:
        err.print(f"[red]error[/red] {escape(report.error)}")


def _shown(state: states.State) -> dict[str, Any]:
    """What is told of a mirror; its times as TAXII timestamps, None for never."""
    cursor = state.cursor
    place = max(int(cursor.get("last", 0)), int(cursor.get("at", 0)))
    return {
        "name": state.name,
        "key": state.key,
        "way": state.kind,
        "url": state.url,
        "collection": state.collection,
        "partner": state.partner,
        "last_run": _time(state.last_run),
        "last_success": _time(state.last_success),
        "seen_up_to": _time(place),
        "in_a_walk": bool(cursor.get("next") or cursor.get("pending") or cursor.get("began", -1) >= 0),
        "not_before": _time(state.not_before),
        "last_error": state.last_error,
        "stored": state.stored,
        "refused": state.refused,
        "deleted": state.deleted,
    }


def _time(us: int) -> str | None:
    return format_position(us) if us else None
