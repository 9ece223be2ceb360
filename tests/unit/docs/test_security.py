"""What docs/security.md names as shown by a test is shown by one that exists."""

import re

from tests.unit.docs.test_docs import ROOT

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.M)
    }
    assert len(named) > 30
    assert named <= written, named - written


def test_every_file_that_it_names_exists() -> None:
    named = re.findall(r"\btests/[\w/]+(?:\.py)?", PAGE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
