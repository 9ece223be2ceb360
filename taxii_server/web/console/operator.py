"""The pages for operators: partners, policy, explain, what if, what is held back, the ledger, health.

They tell what is hidden, so for everybody else they do not exist: each view begins with `_open`.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, request

from taxii_server import __version__
from taxii_server.catalog import Catalog, check_catalog, check_settings, parse_catalog
from taxii_server.catalog.parse import API_ROOTS_FILE
from taxii_server.errors import BadContent, ConfigError, Conflict, NotFound, Problem, StorageError
from taxii_server.policy import Audience
from taxii_server.service.activity import STATUSES, Activity, activities
from taxii_server.service.comparing import Difference, compare
from taxii_server.service.disclosures import Disclosures
from taxii_server.service.explaining import explain, phrase, who_can
from taxii_server.service.review import WAITING, collection_of
from taxii_server.storage.quarantine import STATES, EntryQuery
from taxii_server.web.console.forms import Form, read_form
from taxii_server.web.console.mount import PREFIX
from taxii_server.web.console.pages import render
from taxii_server.web.console.review import reviewable
from taxii_server.web.console.site import looked, page, parts, path_of, require_operator, visit
from taxii_server.web.quarantine import entry_after

blueprint = Blueprint("operator", __name__)

_OPERATOR = f"{PREFIX}/operator"
_ROWS, _A_PAGE = 200, 100
_MAX_FORM_BYTES = 2_000_000
#: With more records than this behind coarse labels, a comparison takes too long for a page.
_MAX_RELABELLED = 100_000
_SHOWN_FILES = ("config/", "collections/")
#: One comparison at a time: each holds a copy of the labels in memory.
_comparing = threading.Lock()


@dataclass(frozen=True, slots=True)
class PartnerRow:
    """One partner in the list."""

    audience: Audience
    seen: int | None
    activity: Activity
    credentials: int
    collections: int


def _open(about: str = "") -> None:
    """404 for partners; a line in the audit for operators."""
    require_operator()
    looked((request.endpoint or "").partition(".")[2], about)


@page(blueprint, f"{_OPERATOR}/partners/")
def partners() -> Any:
    """Who takes part, and what they did lately."""
    _open()
    catalog = visit().catalog
    audiences = catalog.policy.audiences
    found, is_more = activities(visit().store, audiences)
    valid = [each.partner for each in visit().store.credentials() if not each.revoked]
    rows = [
        PartnerRow(
            audiences[name],
            parts().seen.last(name),
            found[name],
            valid.count(name),
            sum(catalog.rights(each, name).read for each in catalog.collections.values()),
        )
        for name in sorted(audiences)
    ]
    hours = parts().settings.status_hours
    return render("partners.html", rows=rows, is_more=is_more, statuses=STATUSES, hours=hours)


@page(blueprint, f"{_OPERATOR}/policy/")
def policy() -> Any:
    """What is in force, since when, and by whom."""
    _open()
    applied = visit().store.catalog()
    if applied is None:
        raise NotFound
    files = applied.files
    return render(
        "policy.html",
        applied=applied,
        catalog=visit().catalog,
        files=_files(files),
        changeable=_changeable(files),
    )


@page(blueprint, f"{_OPERATOR}/explain/")
def explain_page() -> Any:
    """Why a partner reads an object or not; or who does."""
    asked, name = request.args.get("object", "").strip(), request.args.get("partner", "").strip()
    _open(asked)
    audiences = visit().catalog.policy.audiences
    versions, accesses, missing = [], [], False
    if asked:
        try:
            if name in audiences:
                versions = explain(parts().hub, name, asked)
            else:
                accesses = who_can(parts().hub, asked)
        except NotFound:
            missing = True
    return render(
        "explain.html",
        asked=asked,
        name=name,
        audiences=audiences,
        versions=versions,
        accesses=accesses,
        missing=missing,
        phrase=phrase,
    )


@page(blueprint, f"{_OPERATOR}/what-if/")
def what_if() -> Any:
    """The form for a file that is not in force yet."""
    _open()
    return _what_if()


@page(blueprint, f"{_OPERATOR}/what-if/", "POST")
def try_file() -> Any:
    """What each partner would gain and lose by it. Changes nothing."""
    require_operator()
    form = read_form(_MAX_FORM_BYTES)
    _open(form.text("name"))
    applied = visit().store.catalog()
    if applied is None:
        raise NotFound
    files = dict(applied.files)
    name, text = _given(form, files)
    files[name] = text
    try:
        new = _checked(files)
    except ConfigError as error:
        return _what_if(name, text, problems=error.problems)
    if not _comparing.acquire(blocking=False):
        raise Conflict("another comparison is under way; try again in a moment")
    try:
        differences = compare(visit().store, parse_catalog(applied.files), new, _bounded)
    finally:
        _comparing.release()
    warnings = [each for each in new.warnings if each not in visit().catalog.warnings]
    return _what_if(name, text, differences=differences, warnings=warnings)


def _what_if(
    name: str = "",
    text: str = "",
    *,
    differences: tuple[Difference, ...] | None = None,
    problems: tuple[Problem, ...] = (),
    warnings: list[Problem] | None = None,
) -> Any:
    applied = visit().store.catalog()
    files = {} if applied is None else _changeable(applied.files)
    wanted = name or request.args.get("file", "")
    if not text and wanted in files:
        text = files[wanted]
    changed = [each for each in differences or () if not each.is_none()]
    return render(
        "what_if.html",
        here="operator.what_if",
        files=files,
        name=wanted,
        text=text,
        differences=differences,
        changed=changed,
        problems=problems,
        warnings=warnings or (),
    )


def _given(form: Form, in_force: Mapping[str, str]) -> tuple[str, str]:
    """The name and the text of the file to try: what is uploaded goes before what is pasted."""
    name = form.text("name")
    if "upload" in form.files:
        _, text = form.files["upload"]
    else:
        # A browser ends lines of a text with CR and LF.
        text = form.text("text").replace("\r\n", "\n")
    if name == "new":
        name = f"collections/{form.text('new_name').strip()}.toml"
        if not form.text("new_name").strip().replace("-", "").isalnum():
            raise BadContent("the name of a new collection is made of letters, digits and -")
    if name not in _changeable(in_force) and not name.startswith("collections/"):
        raise BadContent("choose which file this is")
    return name, text


def _checked(files: Mapping[str, str]) -> Catalog:
    catalog = check_catalog(files)
    problems = check_settings(parts().settings, catalog)
    if problems:
        raise ConfigError(problems)
    return catalog


def _bounded(done: int, total: int) -> None:
    if total > _MAX_RELABELLED:
        raise Conflict(
            f"{total:,} records would have to be labelled anew to compare: use 'taxii-server policy what-if' for that"
        )


def _changeable(files: Mapping[str, str]) -> dict[str, str]:
    """Those of them that can be tried; API roots are settings of the server."""
    return {name: text for name, text in _files(files).items() if name != API_ROOTS_FILE}


def _files(files: Mapping[str, str]) -> dict[str, str]:
    """The files of the configuration that an operator wrote."""
    return {name: text for name, text in sorted(files.items()) if name.startswith(_SHOWN_FILES)}


@page(blueprint, f"{_OPERATOR}/held/")
def held() -> Any:
    """What guards hold, everywhere; never the content."""
    _open()
    catalog = visit().catalog
    states = STATES if request.args.get("show") == "all" else WAITING
    found = visit().store.quarantine.page(
        EntryQuery(_A_PAGE + 1, None, None, states, entry_after(request.args.get("next")))
    )
    last = found[_A_PAGE - 1] if len(found) > _A_PAGE else None
    mine = {collection.id: root for root, collection in reviewable()}
    rows = [
        (
            each,
            collection_of(catalog, each),
            path_of(f"{PREFIX}/{mine[each.collection]}/collections/{each.collection}/quarantine/{each.id}/")
            if each.collection in mine
            else "",
        )
        for each in found[:_A_PAGE]
    ]
    following = "" if last is None else f"{last.held}-{last.id}"
    return render("held.html", rows=rows, next=following, show=request.args.get("show", ""))


@page(blueprint, f"{_OPERATOR}/ledger/")
def ledger() -> Any:
    """Who received an object, who has to be told of a recall, what a partner did."""
    what = request.args.get("what", "received")
    asked, name = request.args.get("object", "").strip(), request.args.get("partner", "").strip()
    _open(asked or name)
    told = Disclosures(visit().store, visit().book)
    deliveries, holders, events, total = [], [], [], 0
    if what == "received" and asked:
        found = told.who_received(asked)
        total, deliveries = len(found), found[::-1][:_ROWS]
    elif what == "recall" and asked:
        holders = told.recall(asked)
        total = len(holders)
    elif what == "did" and name in visit().catalog.policy.audiences:
        events = told.latest(name, _ROWS)
        total = len(events)
    return render(
        "ledger.html",
        what=what,
        asked=asked,
        name=name,
        audiences=visit().catalog.policy.audiences,
        deliveries=deliveries,
        holders=holders,
        events=events,
        total=total,
        rows=_ROWS,
        done=bool(asked if what != "did" else name),
        enabled=parts().settings.ledger,
    )


@page(blueprint, f"{_OPERATOR}/health/")
def health() -> Any:
    """How the hub is."""
    _open()
    store, settings = visit().store, parts().settings
    problem, vitals = "", None
    try:
        store.health.check(2.0)
        vitals = store.health.vitals(2.0)
    except StorageError as error:
        problem = str(error)
    waiting = store.quarantine.page(EntryQuery(1_001, None, None, WAITING))
    return render(
        "health.html",
        problem=problem,
        vitals=vitals,
        state=store.state(),
        applied=store.catalog(),
        epoch=visit().snapshot.epoch,
        waiting=len(waiting),
        entries=store.ledger.count() if settings.ledger else None,
        version=__version__,
        python=platform.python_version(),
        uses_mongodb=settings.uses_mongodb,
    )
