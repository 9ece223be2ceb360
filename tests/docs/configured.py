"""What a fragment of TOML on a page is a part of, and whether the whole of it is right.

A fragment is read by the server's own loader, put where its reader would put it: into the shipped server.toml, or
into the shipped configuration of partners and rules. A table that is there already gets its keys, and a rule with an
id that is there already takes the place of that one.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from taxii_server import settings
from taxii_server.catalog import check_catalog, read_files
from taxii_server.mirror.schema import read_mirrors
from taxii_server.settings.table import ROWS
from tests.docs.fences import ROOT, Fence, fences, text_of

#: A page whose first fragment is a whole policy, with the files of its collections; the others are added to it.
OWN_POLICY = "docs/policy-authors.md"
#: Names that pages use for "you".
STAND_INS = ("cert-xx", "our-soc")
PARTNERS = "config/partners.toml"
_SHIPPED = ROOT / "config/server.toml"
_POLICY = "config/policy.toml"
_TABLE = re.compile(r"^(?=\[)", re.MULTILINE)
_HEAD = re.compile(r"\[[^\[\]]+\]|\[\[[^\[\]]+\]\]")
_ID = re.compile(r'^id = "([^"]+)"', re.MULTILINE)


def check(fence: Fence, folder: Path) -> None:
    """Raises ConfigError, or AssertionError, when the fragment is not right where it belongs."""
    raw = tomllib.loads(fence.text)
    assert raw, "nothing in it"
    if set(raw) <= {*ROWS, "api_roots"}:
        _check_settings(fence.text, folder)
    elif set(raw) <= {"pull", "push"}:
        file = folder / "mirrors.toml"
        file.write_text(fence.text)
        assert read_mirrors(file)
    elif _is_collection(fence) and fence.page != OWN_POLICY:
        check_catalog(_with_partners_of(fence) | {"collections/snippet.toml": fence.text})
    else:
        check_catalog(catalog_with(fence))


def catalog_with(fence: Fence, *, without_rules: bool = False) -> dict[str, str]:
    """The files of a configuration with this fragment in it; or with its examples only."""
    text = fence.text
    if without_rules:
        text = "".join(part for part in _parts(text) if _head(part) in ("[[test]]", "[[never]]"))
    if fence.page == OWN_POLICY:
        files = own_policy()
        if fence.text not in files.values():
            files[_POLICY] = merged(files[_POLICY], text)
        return files
    files = shipped()
    for part in _parts(text):
        home = next((name for name in files if _head(part) in _heads(files[name])), _POLICY)
        files[home] = merged(files[home], part)
    return files


def merged(text: str, addition: str) -> str:
    """The text with the tables of the addition; see above."""
    parts = _parts(text)
    for new in _parts(addition):
        head, id_ = _head(new), _ID.search(new)
        if head.startswith("[["):
            parts = [old for old in parts if not (id_ and _head(old) == head and f'id = "{id_[1]}"' in old)]
            parts.append(new + "\n")
            continue
        there = [index for index, old in enumerate(parts) if _head(old) == head]
        if not there:
            parts.append(new + "\n")
            continue
        keys = set(re.findall(r"^([\w-]+|\"[^\"]+\") *=", new, re.MULTILINE))
        kept = [line for line in parts[there[0]].splitlines() if line.split("=")[0].strip() not in keys]
        parts[there[0]] = "\n".join([kept[0], *new.splitlines()[1:], *kept[1:]]) + "\n"
    return "".join(parts)


def _with_partners_of(fence: Fence) -> dict[str, str]:
    """The shipped configuration with the partners that the page declares, and its stand-ins."""
    parts = [f'[audience.{name}]\nkind = "cert"\nclearance = "amber"\n' for name in STAND_INS if name in fence.text]
    for each in fences(fence.page):
        if each.language == "toml":
            parts += [part for part in _parts(each.text) if _head(part).startswith("[audience.")]
    files = shipped()
    return files | {PARTNERS: merged(files[PARTNERS], "\n".join(parts))}


@cache
def _read() -> dict[str, str]:
    return read_files(settings.load(_SHIPPED, environment={}))


def shipped() -> dict[str, str]:
    return dict(_read())


def own_policy() -> dict[str, str]:
    """The policy that the page for authors begins with, and its collections."""
    first, *others = [fence for fence in fences(OWN_POLICY) if fence.language == "toml"]
    files = {"config/server.toml": shipped()["config/server.toml"], _POLICY: first.text}
    names = re.findall(r"`(collections/[\w-]+\.toml)`:$", text_of(OWN_POLICY), re.MULTILINE)
    return files | dict(zip(names, (fence.text for fence in others if _is_collection(fence)), strict=True))


def recipes() -> list[Fence]:
    """What the page for authors adds to that policy."""
    fragments = [fence for fence in fences(OWN_POLICY) if fence.language == "toml"]
    return [fence for fence in fragments if fence.text not in own_policy().values()]


def _is_collection(fence: Fence) -> bool:
    return {"id", "api_root", "title"} <= set(tomllib.loads(fence.text))


def _parts(text: str) -> list[str]:
    """The text cut before each table; what stands before the first one is a part, too."""
    return [part for part in _TABLE.split(text) if part.strip()]


def _head(part: str) -> str:
    found = _HEAD.match(part)
    return found[0] if found else ""


def _heads(text: str) -> set[str]:
    return {_head(part) for part in _parts(text)} - {""}


def _check_settings(text: str, folder: Path) -> None:
    roots = "" if "[api_roots" in text else '\n[api_roots.hub]\ntitle = "Hub"\n'
    more = "" if "auth_oidc" in text or "oidc_" not in text else "auth_oidc = true\n"
    file = folder / "server.toml"
    file.write_text(more + text + roots)
    settings.load(file, environment={})
