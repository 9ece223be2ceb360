"""The page about the example policies: who reads what is asked of the policies themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taxii_server.policy import Meanings, parse

ROOT = Path(__file__).parents[3]
POLICIES = sorted((ROOT / "tests/cases/policies").glob("*.toml"))
PAGE = (ROOT / "docs/policy-examples.md").read_text(encoding="utf-8")
#: 2026-11-18: the release of the third policy holds.
MOMENT_US = 1_795_000_000_000_000
_ROW = re.compile(r"^\| `(type = .+?)` \|(.*?)\|(.*?)\|(.*?)\|$", re.MULTILINE)
CASES = [
    (path, row)
    for path, chapter in zip(POLICIES, PAGE.split("\n## ")[1:], strict=True)
    for row in _ROW.findall(chapter)
]


def test_every_policy_has_a_chapter_with_rows() -> None:
    assert {path for path, _ in CASES} == set(POLICIES)
    assert len(CASES) == PAGE.count("\n| `type")


@pytest.mark.parametrize(("path", "row"), CASES, ids=lambda value: value.stem if isinstance(value, Path) else value[0])
def test_the_readers_on_the_page_are_those_of_the_policy(path: Path, row: tuple[str, str, str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    policy = parse({path.name: f"{text}\n[[test]]\nobject = {{ {row[0]} }}\nread = []\n"})
    facets = policy.vocabulary.project(policy.examples[-1].traits)
    found: dict[str, list[str]] = {"whole": [], "copy": [], "later": []}
    for name in policy.audiences:
        decision = policy.decide(name, facets, Meanings.empty(), moment=MOMENT_US)
        if decision.verdict != "hide":
            found["later" if decision.delay_us else "whole" if decision.verdict == "read" else "copy"].append(name)
    said = [[name.strip() for name in cell.split(",") if name.strip()] for cell in row[1:]]
    assert list(found.values()) == said
