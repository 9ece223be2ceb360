"""Runs tests/cases/taxii/*.toml: one request each, and what of the answer matters.

A case says `name`, `rows` (of the TAXII checklist) and `path`; and, where they differ from the defaults, `method`
("GET"), `as` ("rw", or "" for nobody), `headers` (a value of "" sends the header empty; "none" leaves it out) and
`send` (an object that is posted in an envelope). `paths` in place of `path` asks the same of several URLs.

It expects `status` (200), and any of: `gives` (header -> value), `body` (parts of the body), `lacks` (keys that the
body does not have), `names` (of the objects, in order), `ids` and `types` (of the objects, in any order).

In paths {LIBRARY}, {RW}, {EMPTY}, ... stand for the URLs of these collections, {A} and {B} for the ids of FT6. Every
answer has to be of the shape of its resource besides; shapes.py sees to that.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import world
from tests.web.rooms import LIBRARY
from tests.world import World, indicator

FOLDER = Path(__file__).parent.parent / "cases/taxii"
_KEYS = {"name", "rows", "path", "paths", "method", "as", "headers", "send", "status"} | {
    "gives",
    "body",
    "lacks",
    "names",
    "ids",
    "types",
}
_URLS = {
    name: f"/api1/collections/{id_}"
    for name, id_ in {
        "LIBRARY": LIBRARY,
        **{name: getattr(world, name) for name in ("RW", "RO", "WO", "NN", "EMPTY", "HIDDEN", "UNKNOWN")},
    }.items()
}
_WORDS = {**_URLS, "A": world.A, "B": world.B}


def load_cases() -> Iterator[Any]:
    """Every case of every file, as pytest parameters."""
    files = sorted(FOLDER.glob("*.toml"))
    assert files, f"no cases in {FOLDER}"
    for file in files:
        cases = tomllib.loads(file.read_text())["case"]
        assert cases, f"{file.name} is empty"
        for case in cases:
            assert not case.keys() - _KEYS, f"{file.name}: {case['name']}: unknown {case.keys() - _KEYS}"
            for path in case.get("paths", [case.get("path")]):
                yield pytest.param(case | {"path": path}, id=f"{file.stem}: {case['name']}")


@pytest.mark.parametrize("case", list(load_cases()))
def test_case(hub: World, case: dict[str, Any]) -> None:
    headers: dict[str, str | None] = {
        name: None if value == "none" else value for name, value in case.get("headers", {}).items()
    }
    more: dict[str, Any] = {}
    method = case.get("method", "GET")
    if "send" in case:
        headers = {"Content-Type": world.MT} | headers
        more["json"] = {"objects": [indicator(**case["send"])]}
    answer = hub.request(method, _filled(case["path"]), case.get("as", "rw") or None, headers=headers, **more)
    assert answer.status_code == case.get("status", 200), answer.text
    for name, value in case.get("gives", {}).items():
        assert answer.headers.get(name) == value
    body = answer.json if answer.data else {}
    assert {key: body.get(key) for key in case.get("body", {})} == case.get("body", {})
    assert not set(case.get("lacks", [])) & body.keys()
    found = body.get("objects", [])
    if "names" in case:
        assert [each.get("name") for each in found] == case["names"]
    if "ids" in case:
        assert sorted(each["id"] for each in found) == sorted(_filled(id_) for id_ in case["ids"])
    if "types" in case:
        assert {each["type"] for each in found} == set(case["types"])


def _filled(text: str) -> str:
    for name, value in _WORDS.items():
        text = text.replace(f"{{{name}}}", value)
    return text
