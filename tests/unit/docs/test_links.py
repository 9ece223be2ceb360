"""Every link of the documentation leads somewhere, and what the code knows and the pages say is the same, both ways."""

from __future__ import annotations

import re

import pytest

from taxii_server.catalog import Collection
from taxii_server.policy.reference import reference_text
from taxii_server.settings.rows import rows_of
from taxii_server.settings.table import ROWS
from taxii_server.web import errors
from taxii_server.web.openapi import describe
from tests.docs.fences import ROOT, anchors, fences, links, pages, prose, text_of
from tests.unit.docs.test_docs import commands


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page: str) -> None:
    dead = []
    for line, target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        if not found.exists():
            dead.append(f"{page}:{line}: no file {path}")
        elif anchor and anchor not in anchors(found.resolve().relative_to(ROOT).as_posix()):
            dead.append(f"{page}:{line}: no heading #{anchor} in {path or page}")
    assert dead == []


@pytest.mark.parametrize("page", pages())
def test_every_command_that_a_page_names_exists(page: str) -> None:
    """In a fence for the shell, or as `taxii-server ...` in the text."""
    known = {tuple(name.split()) for name in commands()}
    first = {name[0] for name in known}
    said = [text for fence in fences(page) if fence.language in ("sh", "console") for text in fence.text.splitlines()]
    said += [code for _, line in prose(page) for code in re.findall(r"`([^`]+)`", line)]
    wrong = []
    for text in said:
        for words in re.findall(
            r"(?:^|(?<=[ |;&(])|(?<=bin/))taxii-server((?: --(?:config|store) \S+)*(?: [a-z][a-z-]*){1,2})",
            text.split("#")[0],
        ):
            named = re.sub(r" --\w+ \S+", "", words).split()
            grouped = any(len(name) == 2 and name[0] == named[0] for name in known)
            if named[0] not in first or (grouped and len(named) == 2 and tuple(named) not in known):
                wrong.append(text)
    assert wrong == []


@pytest.mark.parametrize("page", pages())
def test_every_setting_that_a_page_sets_exists(page: str) -> None:
    """As `NAME = value` in the text, or as TAXII_SERVER_NAME; keys of rules, partners and collections count, too."""
    keys = set(re.findall(r"\bTAXII_SERVER_([A-Z_]+?)(?:_FILE)?\b", text_of(page))) - {"CONFIG"}
    assert {key for key in keys if key.lower() not in ROWS and not key.startswith("API_ROOTS__")} == set()
    said = {name for _, line in prose(page) for name in re.findall(r"`(\w+) = [^`]+`", line)}
    assert said - {*ROWS, *rows_of(Collection), *_keys(reference_text()), *_keys(text_of(page))} == set()


def _keys(text: str) -> list[str]:
    """What stands first in the rows of its tables: the reference of rules is the parser's own (test_docs.py)."""
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_every_error_code_and_title_is_on_the_page_for_partners_and_no_other() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \| ([^|]+?) \|", text_of("docs/partners.md"), re.MULTILINE)
    told = {(int(status), code, title) for status, code, title in rows}
    known = {(status, code, title) for status, (code, title) in errors._TITLES.items()}
    assert told == known | {(400, "bad-query", "Bad request")}


def test_the_error_codes_of_the_description_are_those_of_the_code() -> None:
    described = {
        answer["x-error-code"] for answer in describe()["components"]["responses"].values() if "x-error-code" in answer
    }
    assert described == {code for code, _ in errors._TITLES.values()} | {"bad-query"}


def test_every_reader_has_five_tasks_at_least_and_each_leads_to_its_place() -> None:
    chapters = text_of("docs/README.md").split("\n## ")[1:]
    for chapter in chapters:
        tasks = re.findall(r"^\| (?!task |---)(.+) \| (.+) \|$", chapter, re.MULTILINE)
        assert len(tasks) >= 5, chapter
        assert all("](" in place for _, place in tasks), chapter
    assert len(chapters) == 6
