"""quarantine and policy guard-audit as an operator runs them: what they print, change, and leave alone."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from taxii_server.cli import main
from tests.e2e.server import Server
from tests.web.data import identity
from tests.world import COLLECTIONS, OPEN_POLICY, malware, new_id

GUARDED = """
[[guard]]
id = "no-customers"
why = "customer data never leaves"
collection = "rw"
what = { label = "customer" }
act = "quarantine"
[[guard]]
id = "no-persons"
collection = "rw"
what = { identity_class = "individual" }
act = "refuse"
"""


class Lines(Server):
    """A server that never runs; its commands run in this process."""

    def run(self, *arguments: str, status: int = 0) -> Any:
        done = CliRunner().invoke(main, self.command(*arguments)[1:])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, f"{arguments}: status {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done

    def post(self, *objects: dict[str, Any], status: int = 0, into: str = "rw", by: str = "admin") -> Any:
        path = self.folder / "posted.json"
        path.write_text(json.dumps({"objects": objects}))
        return self.run("import", str(path), "--into", into, "--as", by, status=status)

    def held(self, *arguments: str) -> list[dict[str, Any]]:
        found = json.loads(self.run("quarantine", "list", "--json", *arguments).stdout)["quarantine"]
        assert isinstance(found, list)
        return found

    def exported(self) -> list[str]:
        return [each["id"] for each in json.loads(self.run("export", "rw", "--as", "partner_b").stdout)["objects"]]


@pytest.fixture
def hub(tmp_path: Path) -> Lines:
    """Collections and partners of the other tests; rw is guarded."""
    return Lines(tmp_path, collections=COLLECTIONS, policy=OPEN_POLICY + GUARDED)


def customer(**more: Any) -> dict[str, Any]:
    return identity(new_id("identity"), labels=["customer"], **more)


def test_an_import_goes_through_the_guards_and_counts_what_they_stop(hub: Lines) -> None:
    held, person, fine = customer(), identity(new_id("identity"), identity_class="individual"), malware()
    done = hub.post(held, person, fine, status=1)
    assert "1 stored, 0 already present, 1 refused, 1 held in quarantine" in done.stdout
    assert f"{held['id']}: held in quarantine by guard 'no-customers': customer data never leaves." in done.stderr
    assert f"{person['id']}: refused by guard 'no-persons'." in done.stderr
    assert hub.exported() == [fine["id"]]


def test_list_and_show_tell_what_is_held(hub: Lines) -> None:
    held = customer()
    hub.post(held, status=1)
    (entry,) = hub.held()
    assert (
        entry
        | {
            "collection": "rw",
            "submitter": "admin",
            "object_id": held["id"],
            "version": held["modified"],
            "guard": "no-customers",
            "state": "held",
        }
        == entry
    )
    text = hub.run("quarantine", "list", "--collection", "rw").stdout.splitlines()
    assert text[0].split("\t") == [
        "id", "collection", "submitter", "object", "version", "guard", "held", "state", "decided", "by"
    ]  # fmt: skip
    assert text[1].split("\t")[:4] == [entry["id"], "rw", "admin", held["id"]]
    assert hub.held("--collection", "ro") == []
    assert json.loads(hub.run("quarantine", "show", entry["id"]).stdout) == entry | {"object": held}


def test_release_and_drop_do_what_they_say_and_stay_known(hub: Lines) -> None:
    first, second = customer(), customer()
    hub.post(first, status=1)
    hub.post(second, status=1)
    released, dropped = (entry["id"] for entry in hub.held())
    for _ in range(2):
        assert f"{first['id']} is stored" in hub.run("quarantine", "release", released).stdout
        assert f"{second['id']} is dropped" in hub.run("quarantine", "drop", dropped).stdout
    assert hub.exported() == [first["id"]]
    assert hub.held() == []
    assert [(each["id"], each["state"], each["decided_by"]) for each in hub.held("--all")] == [
        (released, "released", "the operator"),
        (dropped, "dropped", "the operator"),
    ]
    assert "object" not in json.loads(hub.run("quarantine", "show", dropped).stdout)
    assert "its content is gone" in hub.run("quarantine", "release", dropped, status=1).stderr
    assert "delete the object" in hub.run("quarantine", "drop", released, status=1).stderr


@pytest.mark.parametrize("command", ["show", "release", "drop"])
def test_an_unknown_entry_is_an_error(hub: Lines, command: str) -> None:
    hub.run("reload")  # makes the database
    assert "no entry x in quarantine" in hub.run("quarantine", command, "x", status=1).stderr


def test_what_is_stored_is_not_judged_again_but_listed(hub: Lines) -> None:
    policy = hub.config.with_name("policy.toml")
    policy.write_text(OPEN_POLICY)
    hub.run("reload")
    held, person, fine = customer(), identity(new_id("identity"), identity_class="individual"), malware()
    hub.post(held, person, fine)
    hub.post(customer(), into="ro")
    assert hub.run("policy", "guard-audit").stdout == ""
    policy.write_text(OPEN_POLICY + GUARDED)
    hub.run("reload")
    assert held["id"] in hub.exported()
    done = hub.run("policy", "guard-audit")
    assert [line.split("\t") for line in done.stdout.splitlines()[1:]] == [
        [held["id"], held["modified"], "rw", "admin", "no-customers", "quarantine"],
        [person["id"], person["modified"], "rw", "admin", "no-persons", "refuse"],
    ]
    assert "2 stored version(s) would be stopped today" in done.stderr
    assert [each["object"] for each in json.loads(hub.run("policy", "guard-audit", "--json").stdout)["objects"]] == [
        held["id"],
        person["id"],
    ]


def test_a_table_on_a_terminal(hub: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.post(customer(), status=1)
    module = importlib.import_module("taxii_server.cli.tables")
    monkeypatch.setattr(module, "out", Console(force_terminal=True, width=250, color_system=None))
    done = hub.run("quarantine", "list")
    assert "┃ collection" in done.stdout
    assert "no-customers" in done.stdout
