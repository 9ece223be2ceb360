"""Configurations that must be refused, as data: tests/cases/bad-config/*.toml.

A case changes the small configuration of texts.py: `[[replace]]` replaces a text that occurs exactly once in a file,
`[files]` adds whole files, `[environment]` sets variables. `says` lists what the error has to contain; `problems`,
where given, how many problems there are. The path is the one an operator takes: settings, files, catalog.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from taxii_server.catalog import check_catalog, read_files
from taxii_server.errors import ConfigError
from taxii_server.settings import load

from . import texts
from .test_load import write

CASES = sorted((Path(__file__).parents[2] / "cases/bad-config").glob("*.toml"))
KEYS = {"about", "says", "problems", "replace", "files", "environment"}


def test_there_are_cases() -> None:
    assert len(CASES) >= 25


def _files(case: dict[str, Any]) -> dict[str, str]:
    files = texts.small()
    for each in case.get("replace", ()):
        count = files[each["file"]].count(each["old"])
        assert count == 1, f"{each['old']!r} stands {count} times in {each['file']}"
        files[each["file"]] = files[each["file"]].replace(each["old"], each["new"])
    return {**files, **case.get("files", {})}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_bad_configuration_is_refused_with_the_message_we_want_to_see(path: Path, tmp_path: Path) -> None:
    case = tomllib.loads(path.read_text(encoding="utf-8"))
    assert case.keys() <= KEYS
    assert case["says"]
    write(tmp_path, _files(case))
    with pytest.raises(ConfigError) as caught:
        check_catalog(read_files(load(tmp_path / "config/server.toml", case.get("environment", {}))))
    message = str(caught.value)
    assert [part for part in case["says"] if part not in message] == [], message
    assert len(caught.value.problems) == case.get("problems", 1), message
