"""The documents say what is true: every command, error code, route, policy key is in them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from taxii_server.cli import main
from taxii_server.policy.reference import reference_text
from taxii_server.web import errors
from tests.unit.docs import api_page, commands_page

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    names: list[str] = []
    for name, command in main.commands.items():
        names += [f"{name} {sub}" for sub in command.commands] if isinstance(command, click.Group) else [name]
    return names


@pytest.mark.parametrize("name", commands())
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`{name}" in README


@pytest.mark.parametrize("name", commands())
def test_every_command_explains_itself(name: str) -> None:
    command: click.Command = main
    for part in name.split():
        assert isinstance(command, click.Group)
        command = command.commands[part]
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_error_codes_of_the_readme_are_those_of_the_code() -> None:
    documented = set(re.findall(r"^\| `([a-z-]+)` \| \d{3} \|", README, re.MULTILINE))
    raised = {code for code, _ in errors._TITLES.values()} | {"bad-query"}
    assert documented == raised


def test_the_policy_reference_is_the_parsers_own() -> None:
    assert (ROOT / "docs/policy.md").read_text(encoding="utf-8").endswith(reference_text())


def test_the_page_of_the_interface_is_written_from_its_description() -> None:
    """`python -m tests.unit.docs.api_page > docs/api.md` writes it anew."""
    assert (ROOT / "docs/api.md").read_text(encoding="utf-8") == api_page.page()


def test_the_page_of_the_commands_is_written_from_their_help() -> None:
    """`python -m tests.unit.docs.commands_page > docs/commands.md` writes it anew."""
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == commands_page.page()


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert set(named) <= {*commands(), *(name.partition(" ")[0] for name in commands())}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_reachable_and_its_links_lead_somewhere(page: Path) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(page.name in other.read_text(encoding="utf-8") for other in pages if other != page)
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("http") or (page.parent / link).exists(), link


def test_the_folders_of_data_hold_no_python() -> None:
    assert not list((ROOT / "config").glob("**/*.py"))
    assert not list((ROOT / "collections").glob("**/*.py"))


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    import sys

    own = {path.stem for path in (ROOT / "taxii_server").glob("*.py")} - {"__init__", "__main__"}
    assert not own & sys.stdlib_module_names
