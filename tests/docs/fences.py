"""The pages of the documentation as tests see them: fences with their language, headings with their anchors, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^ *```(.*)$")
#: What a fence without a language holds that is to be typed.
_TYPED = re.compile(r"^(taxii-server|curl|pip|make|docker) ", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_CODE = re.compile(r"`[^`]*`")
_NOT_IN_AN_ANCHOR = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block: its page (a path in the repository), the line that opens it, its language, its text.

    The language is `sh` where none is said and a line begins with a command.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> tuple[str, ...]:
    """Every page that people read, as a path in the repository."""
    found = [ROOT / "README.md", ROOT / "config/README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return tuple(path.relative_to(ROOT).as_posix() for path in found)


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def fences(page: str) -> tuple[Fence, ...]:
    """The fences of a page in their order."""
    found: list[Fence] = []
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif opened is None:
            opened, lines = (number, fence[1].strip()), []
        else:
            text = "\n".join(lines) + "\n"
            found.append(Fence(page, opened[0], opened[1] or ("sh" if _TYPED.search(text) else ""), text))
            opened = None
    assert opened is None, f"{page}:{opened and opened[0]}: this fence is never closed"
    return tuple(found)


def prose(page: str) -> Iterator[tuple[int, str]]:
    """(number, line) of every line outside of fences."""
    inside = False
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            yield number, line


@cache
def anchors(page: str) -> frozenset[str]:
    """What `#...` can name on a page, as GitHub makes it of the headings."""
    found: set[str] = set()
    for _, line in prose(page):
        heading = _HEADING.match(line)
        if heading is None:
            continue
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
        base = _NOT_IN_AN_ANCHOR.sub("", plain).strip().replace(" ", "-")
        name, count = base, 0
        while name in found:
            count += 1
            name = f"{base}-{count}"
        found.add(name)
    return frozenset(found)


def links(page: str) -> Iterator[tuple[int, str]]:
    """(line, target) of every link outside of fences and code."""
    for number, line in prose(page):
        for target in _LINK.findall(_CODE.sub("", line)):
            yield number, target
