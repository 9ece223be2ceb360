"""release list, file, withdraw as an operator runs them, and the way out when a release is in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from taxii_server.cli import main
from tests.e2e.server import Server
from tests.world import COLLECTIONS, indicator, new_id

HEAD = "id\tby\tto\tobjects\tnot before\tuntil\twhy\twhere"


class Lines(Server):
    """A server that never runs; its commands run in this process."""

    posted: str

    def run(self, *arguments: str, status: int = 0) -> Any:
        done = CliRunner().invoke(main, self.command(*arguments)[1:])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, f"{arguments}: status {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        return list(json.loads(self.run("release", "list", "--json", *arguments).stdout)["releases"])


@pytest.fixture
def hub(tmp_path: Path) -> Lines:
    """The partners and collections of the web tests; rw posted one object."""
    made = Lines(tmp_path, collections=COLLECTIONS)
    value = indicator()
    stored = tmp_path / "objects.json"
    stored.write_text(json.dumps({"objects": [value]}))
    made.run("import", str(stored), "--into", "rw", "--as", "rw")
    made.posted = value["id"]
    return made


def file(hub: Lines, *more: str, status: int = 0) -> Any:
    return hub.run("release", "file", "--as", "rw", "--object", hub.posted, *more, status=status)


def test_a_release_is_filed_listed_and_withdrawn(hub: Lines) -> None:
    # An operator addresses anybody: rw and stranger have nothing in common.
    times = ("--not-before", "2026-01-01T00:00:00Z", "--until", "2999-01-01T00:00:00+01:00")
    done = file(hub, "--to-audience", "stranger", "--to-audience", "ro", *times, "--why", "a case", "--id", "c1")
    assert "release rw/c1 is in force" in done.stdout
    expected = {
        "id": "rw/c1",
        "by": "rw",
        "objects": [hub.posted],
        "to": {"audience": ["stranger", "ro"], "group": []},
        "not_before": "2026-01-01T00:00:00.000000Z",
        "until": "2998-12-31T23:00:00.000000Z",
        "why": "a case",
        "file": "releases/rw.toml",
    }
    assert hub.listed() == hub.listed("--by", "rw") == [expected]
    assert hub.listed("--by", "ro") == []
    head, row = hub.run("release", "list").stdout.splitlines()
    assert head == HEAD
    assert row.split("\t")[:4] == ["rw/c1", "rw", "stranger, ro", hub.posted]
    assert "withdrawn" in hub.run("release", "withdraw", "rw/c1").stdout
    assert hub.listed() == []


def test_who_is_named_and_still_does_not_get_it_is_told(hub: Lines) -> None:
    stored = hub.folder / "red.json"
    red = indicator(object_marking_refs=["marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"])
    stored.write_text(json.dumps({"objects": [red]}))
    hub.run("import", str(stored), "--into", "rw", "--as", "rw")
    config = hub.folder / "config/partners.toml"
    whole = '[audience.partner_b]\nkind = "cert"\nclearance = "red"'
    assert whole in config.read_text()
    hub.posted = red["id"]
    assert file(hub, "--to-audience", "partner_b", "--id", "a").stderr == ""
    config.write_text(config.read_text().replace(whole, whole.replace('"red"', '"green"')))
    hub.run("reload")
    told = file(hub, "--to-audience", "partner_b", "--id", "b").stderr
    assert told == f"warning partner_b still does not get {red['id']}: TLP:RED is above the clearance GREEN\n"


def test_the_partner_sees_what_was_filed_in_its_name(hub: Lines) -> None:
    file(hub, "--to-audience", "stranger", "--id", "c1")
    answer = json.loads(hub.run("get", "/api1/releases/", "--as", "rw").stdout)
    assert answer["releases"][0]["to"] == {"audience": ["stranger"]}
    assert json.loads(hub.run("get", "/api1/releases/", "--as", "ro").stdout) == {}
    assert json.loads(hub.run("get", "/taxii2/rights/", "--as", "rw").stdout)["name"] == "rw"


@pytest.mark.parametrize(("id_", "more"), [("c1", ("--as", "rw")), ("rw/c1", ()), ("rw/c1", ("--as", "rw"))])
def test_an_id_is_taken_with_or_without_its_partner(hub: Lines, id_: str, more: tuple[str, ...]) -> None:
    file(hub, "--to-audience", "ro", "--id", "c1")
    hub.run("release", "withdraw", id_, *more)
    assert hub.listed() == []


def test_faults_are_told(hub: Lines) -> None:
    for arguments, status, message in (
        (("--to-audience", "nobody"), 1, "'nobody' is no audience that it can release to (known: admin"),
        (("--to-group", "nobody"), 1, "'nobody' is no group"),
        ((), 1, "nobody is named"),
        (("--to-audience", "ro", "--object", new_id()), 1, "was not posted by rw"),
        (("--to-audience", "ro", "--until", "tomorrow"), 2, "'tomorrow' is not a time"),
        (("--to-audience", "ro", "--until", "2020-01-01T00:00:00Z"), 1, "is over already"),
    ):
        assert message in file(hub, *arguments, status=status).stderr
    assert "unknown partner 'x'" in hub.run(
        "release", "file", "--as", "x", "--object", hub.posted, "--to-audience", "ro", status=2
    ).stderr  # fmt: skip
    assert "no release 'rw/x'" in hub.run("release", "withdraw", "rw/x", status=1).stderr
    assert "whose release" in hub.run("release", "withdraw", "x", status=2).stderr
    assert "of 'rw', not of 'ro'" in hub.run("release", "withdraw", "rw/x", "--as", "ro", status=2).stderr
    assert hub.listed() == []


def test_an_operator_is_told_why_the_policy_refuses_a_release(hub: Lines) -> None:
    policy = hub.folder / "config/policy.toml"
    claim = '\n[[never]]\nid = "ro-sees-red"\nto = { audience = "ro" }\nwhat = { tlp = "red" }\n'
    policy.write_text(policy.read_text() + claim)
    hub.run("reload")
    done = file(hub, "--to-audience", "ro", "--id", "c1", status=2)
    assert "never 'ro-sees-red' does not hold: ro reads" in done.stderr
    assert "released by 'rw/c1'" in done.stderr
    assert hub.listed() == []


def test_a_partner_that_a_release_names_leaves_when_the_release_is_withdrawn(hub: Lines) -> None:
    file(hub, "--to-audience", "stranger", "--id", "c1")
    partners = hub.folder / "config/partners.toml"
    partners.write_text(partners.read_text().replace("[audience.stranger]", "[audience.newcomer]"))
    done = hub.run("reload", status=2)
    assert "releases/rw.toml: release[1].to.audience: unknown audience 'stranger'" in done.stderr
    assert "'taxii-server release withdraw rw/c1' takes it back" in done.stderr
    hub.run("release", "withdraw", "rw/c1")
    hub.run("reload")
    assert hub.listed() == []


def test_a_reload_keeps_what_is_filed(hub: Lines) -> None:
    file(hub, "--to-audience", "ro", "--id", "c1")
    policy = hub.folder / "config/policy.toml"
    policy.write_text(policy.read_text() + '\n[[forbid]]\nid = "x"\nto = { audience = "nn" }\n')
    assert "is in force (epoch" in hub.run("reload").stdout
    assert [each["id"] for each in hub.listed()] == ["rw/c1"]
