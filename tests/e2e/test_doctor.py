"""doctor: each thing that can be wrong is named, with what to do; and what is right is not complained about."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

import taxii_server.settings as settings_module
from taxii_server.auth.secrets import new_token
from taxii_server.catalog import check_catalog, read_files
from taxii_server.cli import main
from taxii_server.cli.doctor import of_machine, of_settings, of_store
from taxii_server.cli.doctor.finding import Finding
from taxii_server.settings import Settings, load
from taxii_server.storage import open_store
from taxii_server.storage.condition import Condition, mongo_condition, sqlite_condition
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.times import now_position
from tests.certificates import DAY, server_certificate
from tests.patching import but_for
from tests.ports import free_port

_HOUR_US = 3_600_000_000


class Hub:
    """A hub that init wrote, with a store of its own."""

    def __init__(self, folder: Path, store: str | None) -> None:
        self.folder = folder
        self.config = folder / "config/server.toml"
        self.store = store or str(folder / "hub.db")
        self.run("init", str(folder), "--contact", "soc@example.org", "--port", str(free_port()), bare=True)

    def run(self, *words: str, status: int = 0, bare: bool = False) -> Any:
        place = () if bare else ("--config", str(self.config), "--store", self.store)
        done = CliRunner().invoke(main, [*place, *words])
        assert done.exit_code == status, done.output
        return done

    def findings(self, *words: str, status: int = 0) -> list[dict[str, str]]:
        found = json.loads(self.run("doctor", "--json", *words, status=status).stdout)["findings"]
        assert all(each["do"] for each in found if each["level"] != "ok"), found
        assert isinstance(found, list)
        return found

    def wrong(self, *words: str, status: int = 0) -> str:
        """Everything that is not ok, but what is so on the machine that runs the tests."""
        machine = ("this is root", "nothing keeps the clock")
        found = [each for each in self.findings(*words, status=status) if not each["what"].startswith(machine)]
        return "\n".join(f"{each['level']} {each['area']}: {each['what']}" for each in found if each["level"] != "ok")

    def settings(self, **flags: Any) -> Settings:
        return load(self.config, {}, {"store": self.store, **flags})


@pytest.fixture(autouse=True)
def the_disk_is_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine that runs the tests takes for a durable write: others write to its disk, too."""
    monkeypatch.setattr(of_store, "_SLOW_S", 60.0)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "hub", None)


@pytest.fixture
def running(hub: Hub) -> Hub:
    """With a database, and a credential for everybody."""
    for partner in ("hub", "example"):
        hub.run("token", "new", partner)
    return hub


def said(found: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(each.level, each.what) for each in found]


# ---- a healthy hub


def test_a_healthy_hub_on_either_store(own_store_url: str | None, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub", own_store_url)
    before = hub.findings()
    assert any("there is no database yet" in each["what"] for each in before)
    assert not [each for each in before if each["level"] == "failure"], before
    for partner in ("hub", "example"):
        hub.run("token", "new", partner)
    found = hub.findings()
    assert {each["area"] for each in found} >= {
        "settings", "policy", "TLS", "files", "limits", "disk", "store", "credentials", "quarantine", "server",
    }  # fmt: skip
    told = "\n".join(each["what"] for each in found)
    assert "that of this release" in told
    assert "a durable write takes" in told
    assert "are in force" in told
    # One node is what the tests have; everything else is as it should be.
    wrong = hub.wrong().splitlines()
    assert [line for line in wrong if "no other to take over" not in line and "of the database has" not in line] == []
    if own_store_url is not None:
        assert "1 of 1 nodes answer" in told
        assert "the disk of the database has" in told
        assert "agrees with that of the database" in told


def test_what_it_prints_on_a_terminal_and_into_a_pipe(running: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = running.run("doctor").stdout.splitlines()
    assert piped[0] == "area\tresult\twhat\tdo"
    assert all(line.count("\t") == 3 for line in piped)
    monkeypatch.setattr(sys.modules["taxii_server.cli.doctor"], "out", Console(force_terminal=True, color_system=None))
    (running.folder / "collections/odd.toml").write_text("")
    shown = running.run("doctor", status=1).stdout
    assert "failure  policy: collections/odd.toml: id: missing" in shown
    assert "         do: correct it" in shown
    assert " failure(s)" in shown.splitlines()[-1]


def test_strict_counts_warnings(running: Hub) -> None:
    running.config.write_text(running.config.read_text().replace("soc@example.org", ""))
    assert "warning settings: partners are told no contact" in running.wrong()
    running.wrong("--strict", status=1)


# ---- configuration


def test_a_folder_of_settings_that_this_user_may_not_enter_is_an_error_of_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings_module, "default_file", lambda *_: _Closed("config/server.toml"))
    done = CliRunner().invoke(main, ["check"])
    assert done.exit_code == 2
    assert "config/server.toml: cannot be read: permission denied" in done.output


class _Closed(type(Path())):  # type: ignore[misc]
    """A file in a folder that may not be entered. root may enter every one."""

    def exists(self, **_: Any) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    def read_text(self, *_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied", str(self))


def test_settings_that_cannot_be_read_are_the_one_finding(hub: Hub) -> None:
    hub.config.write_text(hub.config.read_text().replace("\nport = ", "\nprot = "))
    (finding,) = hub.findings(status=1)
    assert "unknown key 'prot'" in finding["what"]


def test_a_policy_that_fails_its_examples_is_a_failure(hub: Hub) -> None:
    policy = hub.folder / "config/policy.toml"
    policy.write_text(policy.read_text().replace('unmarked = "deny"', 'unmarked = "tlp:clear"'))
    assert "failure policy: config/policy.toml" in hub.wrong(status=1)


def test_files_that_are_not_in_force_are_named(running: Hub) -> None:
    running.run("collection", "add", "new", "--reader", "hub", "--writer", "hub")
    assert "warning policy: not in force as it stands on disk: collections/new.toml" in running.wrong()
    running.run("reload")
    assert running.wrong() == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"host": "0.0.0.0", "plain_http": True}, "failure 0.0.0.0 speaks plain HTTP: HTTP Basic and tokens travel"),
        ({"host": "0.0.0.0", "plain_http": True, "auth_basic": False}, "failure 0.0.0.0 speaks plain HTTP: tokens"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, "failure trusted_proxies has 0.0.0.0/0"),
        ({"anonymous_partner": "example"}, "failure without credentials one is 'example', which reads up to TLP:AMBER"),
        ({"ledger": False}, "warning ledger = false"),
        ({"check_file_modes": False}, "warning check_file_modes = false"),
        ({"lockout_after": 0}, "warning lockout_after = 0"),
        ({"address_requests_per_minute": 0}, "warning address_requests_per_minute = 0"),
        ({"upkeep_minutes": 0}, "warning upkeep_minutes = 0"),
        ({"log_level": "debug"}, "warning log_level is debug"),
    ],
)
def test_settings_that_are_unsafe_in_production(hub: Hub, changed: dict[str, Any], words: str) -> None:
    settings = hub.settings(**changed)
    catalog = check_catalog(read_files(settings))
    (found,) = said(of_settings.look_at_settings(settings, catalog))
    assert " ".join(found).startswith(words), found


def test_settings_that_are_safe_are_not_complained_about(hub: Hub) -> None:
    settings = hub.settings(host="0.0.0.0", trusted_proxies=["10.0.0.0/8", "::1"])
    assert [level for level, _ in said(of_settings.look_at_settings(settings, None))] == ["ok"]


# ---- TLS and files


def test_certificates_that_age_do_not_fit_or_are_for_another_name(tmp_path: Path) -> None:
    good = server_certificate(until=300 * DAY).write(tmp_path, "good")
    soon = server_certificate(until=3 * DAY).write(tmp_path, "soon")

    def look(pair: tuple[str, str], **more: Any) -> list[tuple[str, str]]:
        return said(of_settings.look_at_tls(Settings(tls_certificate=pair[0], tls_key=pair[1], **more)))

    assert [level for level, _ in look(good)] == ["ok"]
    assert [level for level, _ in look(good, public_url="https://localhost/x")] == ["ok"]
    ((level, what),) = look(soon)
    assert (level, "expires on" in what) == ("warning", True)
    assert "and partners are sent to taxii.example.org" in look(good, public_url="https://taxii.example.org")[-1][1]
    ((level, what),) = look((good[0], soon[1]))
    assert (level, "does not fit" in what) == ("failure", True)
    Path(good[1]).chmod(0o644)
    assert "everybody on this machine can read the private key" in look(good)[0][1]
    old = server_certificate(since=-9 * DAY, until=-DAY).write(tmp_path, "old")
    assert look(good, tls_chain=old[0])[0][0] == "failure"
    assert "cannot be read" in look(("/nonexistent.pem", good[1]))[0][1]


@pytest.mark.parametrize(
    ("name", "host", "covers"),
    [
        ("hub.example", "HUB.example", True),
        ("*.hub.example", "a.hub.example", True),
        ("*.hub.example", "hub.example", False),
        ("*.hub.example", "a.b.hub.example", False),
    ],
)
def test_a_star_stands_for_one_label(name: str, host: str, covers: bool) -> None:
    assert of_settings._covers(name, host) is covers


@pytest.mark.parametrize("name", ["config/policy.toml", "config", "collections", "collections/shared.toml"])
def test_whoever_could_change_the_rules_is_a_failure(running: Hub, name: str) -> None:
    path = running.folder / name
    path.chmod(path.stat().st_mode | 0o002)
    assert f"failure files: {path}: every user of this machine can change who reads what" in running.wrong(status=1)


def test_a_database_that_everybody_can_read_is_a_failure(running: Hub) -> None:
    Path(running.store).chmod(0o644)
    assert f"failure files: {running.store}: every user" in running.wrong(status=1)


# ---- the store


def test_a_store_that_does_not_answer_is_a_failure_and_its_password_stays_secret(hub: Hub) -> None:
    hub.store = "mongodb://hub:hunter2@127.0.0.1:1/x?serverSelectionTimeoutMS=200"
    done = hub.run("doctor", status=1)
    assert "hunter2" not in done.output
    assert "failure\tmongodb://hub:***@127.0.0.1:1/x" in done.stdout


def test_a_database_that_this_user_may_not_read_is_told_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Condition:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(of_store, "sqlite_condition", refuse)
    (found,) = (each for each in hub.findings(status=1) if each["level"] == "failure")
    assert (found["what"], found["do"]) == (f"{hub.store}: permission denied", "run this as the user of the server")


def test_a_database_of_a_newer_release_an_older_one_and_another_application(running: Hub) -> None:
    def set_version(version: int) -> None:
        with sqlite3.connect(running.store) as db:
            db.execute(f"PRAGMA user_version = {version}")

    known = sqlite_condition(Path(running.store)).known
    set_version(99)
    assert f"failure store: schema 99 is of a newer release; this one knows {known}" in running.wrong(status=1)
    set_version(known - 1)
    assert f"warning store: schema {known - 1} is of an older release" in running.wrong()
    running.store = str(running.folder / "other.db")
    with sqlite3.connect(running.store) as db:
        db.execute("CREATE TABLE theirs (x)")
    Path(running.store).chmod(0o600)
    assert "failure store: this is the database of another application" in running.wrong(status=1)
    Path(running.store).write_bytes(b"not a database" * 100)
    assert "does not answer: " in running.wrong(status=1)


def test_a_folder_that_does_not_exist_is_said_to_be_missing(hub: Hub) -> None:
    hub.store = str(hub.folder / "no/such/hub.db")
    assert f"failure store: there is no folder {hub.folder}/no/such" in hub.wrong(status=1)


def test_a_clock_that_was_ahead_is_told(running: Hub) -> None:
    ahead = SQLiteStore(running.store, now=lambda: now_position() + _HOUR_US)
    ahead.tick()
    ahead.close()
    assert "warning clock: the newest object was added at " in running.wrong()


def test_a_disk_that_is_slow_is_told(running: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_store, "_SLOW_S", 0.0)
    assert "warning store: a durable write takes 0." in running.wrong()


def test_what_cannot_be_written_is_a_failure(running: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = sqlite3.connect(running.store, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(of_store, "store_of", lambda settings: SQLiteStore(settings.store, timeout_s=0.1))
    try:
        assert "failure store: nothing can be written: " in running.wrong(status=1)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("product", "members", "words"),
    [
        ("MongoDB 5.0.1", "+++", "failure MongoDB 5.0.1 is too old"),
        ("MongoDB 7.0.1", "", "failure the server is not in a replica set"),
        ("MongoDB 7.0.1", "+--", "failure 1 of 3 nodes answer, a majority is 2"),
        ("MongoDB 7.0.1", "++-", "warning 2 of 3 nodes answer; node2 does not"),
        ("MongoDB 7.0.1", "+", "warning 1 of 1 nodes answer"),
        ("MongoDB 7.0.1", "+++", "ok 3 of 3 nodes answer, a majority is 2"),
        ("SQLite 3.40.1", "", None),
    ],
)
def test_nodes_of_a_replica_set(product: str, members: str, words: str | None) -> None:
    nodes = [(f"node{number}", sign == "+") for number, sign in enumerate(members)]
    found = [" ".join(each) for each in said(of_store._nodes(Condition(product, 1, 1, members=nodes)))]
    assert [each.startswith(words or "-") for each in found] == ([True] if words else [])


@pytest.mark.parametrize(("apart_s", "level"), [(0, "ok"), (-5, "warning"), (3600, "failure")])
def test_clocks_that_are_apart(apart_s: int, level: str) -> None:
    found = said(of_store._clock(Condition("MongoDB 7", 1, 1, clock_us=now_position() + apart_s * 1_000_000)))
    assert [each for each, _ in found] == [level]


def test_a_mongodb_says_its_nodes_its_clock_and_its_room(mongo_database_url: str) -> None:
    found = mongo_condition(mongo_database_url)
    assert [answers for _, answers in found.members] == [True]
    assert found.schema is None
    assert found.total_bytes is None
    assert found.clock_us is not None


# ---- what is in the store


def test_credentials_that_need_somebody(running: Hub) -> None:
    assert running.wrong() == ""
    store = open_store(running.store)
    store.save_credential(new_token("gone")[0])
    store.close()
    soon = running.run("token", "new", "example", "--expires", "3d", "--quiet").stdout.split("_")[1]
    running.run("partner", "add", "silent", "--kind", "cert", "--clearance", "green")
    running.run("reload")
    text = running.wrong()
    assert "credentials of partners that the configuration does not know: gone" in text
    assert f"token {soon} of example ends at " in text
    assert "1 partner(s) have no credential: silent" in text


# ---- the machine


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [(50e9, 100e9, "ok"), (4e9, 100e9, "warning"), (1e9, 5e9, "warning"), (1e8, 100e9, "failure")],
)
def test_room_on_the_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch, free: float, total: float, level: str) -> None:
    usage = SimpleNamespace(free=int(free), total=int(total))
    monkeypatch.setattr(of_machine, "shutil", but_for(shutil, disk_usage=lambda path: usage))
    assert [each for each, _ in said(of_machine.look_at_disk(hub.settings()))] == [level]


def test_too_few_files_and_too_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_machine, "resource", but_for(resource, getrlimit=lambda what: (256, 1000)))
    monkeypatch.setattr(of_machine, "os", but_for(os, cpu_count=lambda: 2))
    found = said(of_machine.look_at_limits(Settings(max_connections=1000, workers=9)))
    assert found[0] == (
        "warning", "a process started here may open 1,000 files, a worker needs 1,256 (max_connections)"
    )  # fmt: skip
    assert found[1] == ("warning", "9 workers on 2 core(s) wait for each other")


@pytest.mark.parametrize(("state", "levels"), [(0, ["ok"]), (5, ["warning"]), (None, [])])
def test_a_clock_that_nothing_keeps_right(
    monkeypatch: pytest.MonkeyPatch, state: int | None, levels: list[str]
) -> None:
    assert of_machine._kernel_clock() in (None, *range(6))
    monkeypatch.setattr(of_machine, "_kernel_clock", lambda: state)
    assert [level for level, _ in said(of_machine.look_at_clock())] == levels


def test_a_server_that_is_ready_one_that_is_not_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(port=free_port())
    assert said(of_machine.look_at_server(settings))[0][1].startswith("none runs at 127.0.0.1:")
    monkeypatch.setattr(of_machine, "_ready", lambda host, settings: 503)
    assert said(of_machine.look_at_server(settings))[0][0] == "failure"
    monkeypatch.setattr(of_machine, "_ready", lambda host, settings: 200)
    assert said(of_machine.look_at_server(settings))[0][0] == "ok"


@pytest.mark.parametrize(("kind", "level"), [("ext4", "ok"), ("", "ok"), ("tmpfs", "failure"), ("overlay", "failure")])
def test_the_folder_of_the_ledger_outlives_a_restart(
    hub: Hub, tmp_path: Path, kind: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "var/spool"
    settings = hub.settings(store="mongodb://127.0.0.1/hub", ledger_spool=str(folder))
    monkeypatch.setattr(of_machine, "_file_system", lambda place: kind)
    assert [each[0] for each in said(of_machine.look_at_spool(settings))] == [level]
    assert not folder.exists(), "doctor changes nothing"
    assert list(of_machine.look_at_spool(hub.settings(ledger_spool=str(folder)))) == [], "SQLite has no use for it"
    assert list(of_machine.look_at_spool(hub.settings(store="mongodb://127.0.0.1/hub"))) == []


def test_what_is_wrong_with_the_folder_of_the_ledger(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_machine, "_file_system", lambda place: "ext4")
    settings = hub.settings(store="mongodb://127.0.0.1/hub", ledger_spool=str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "x-1-y.damaged").touch()
    assert said(of_machine.look_at_spool(settings)) == [("warning", f"{tmp_path}/spool holds x-1-y.damaged")]
    (tmp_path / "file").touch()
    blocked = hub.settings(store="mongodb://127.0.0.1/hub", ledger_spool=str(tmp_path / "file/spool"))
    assert [each[0] for each in said(of_machine.look_at_spool(blocked))] == ["warning"]


def test_the_kernel_tells_the_kind_of_a_file_system() -> None:
    assert of_machine._file_system(Path("/proc")) == "proc"
    assert of_machine._file_system(Path("/")) != ""
