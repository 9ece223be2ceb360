"""The command line as an operator runs it: what it prints, and its exit status."""

from __future__ import annotations

import errno
import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from taxii_server.cli import main
from tests.e2e.server import Server, environment, lane
from tests.world import OPEN_POLICY, RW, indicator, malware, new_id, relationship

RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
UNKNOWN_PARTNER = "unknown partner 'nobody' (known: admin, nn, partner_b, ro, rw, stranger, wo)"


class Lines(Server):
    """A server that never runs. Its commands run in this process, which is faster; `real` ones in one of their own."""

    def cli(self, *arguments: str, status: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
        done = CliRunner().invoke(main, self.command(*arguments)[1:], **more)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, f"{arguments}: status {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def real(self, *arguments: str, status: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
        return super().cli(*arguments, status=status, **more)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """Files and an SQLite store."""
    made = Lines(tmp_path_factory.mktemp("cli"))
    made.cli("reload")
    return made


@pytest.fixture(scope="module")
def filled(hub: Lines) -> dict[str, dict[str, Any]]:
    """One object that rw reads, one that is hidden, one that refers to it; all posted by admin."""
    shown, hidden = indicator(), malware(object_marking_refs=[RED])
    between = relationship(shown["id"], hidden["id"])
    stored = write(hub.folder / "filled.json", {"objects": [shown, hidden, between]})
    hub.cli("import", stored, "--into", "rw", "--as", "admin")
    return {"shown": shown, "hidden": hidden, "between": between}


def _theirs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")


def write(path: Path, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def commands(group: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, with the group it is in."""
    if not isinstance(group, click.Group):
        yield path
        return
    for name, command in group.commands.items():
        yield from commands(command, (*path, name))


# ---- help


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*path, "--help"])
    assert done.exit_code == 0
    text = done.output
    example = text.partition("Example")[2]
    assert "taxii-server " in example, text
    assert f" {' '.join(path)}" in example
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path}: {parameter.name} has no help"


def test_every_group_has_help_and_the_program_names_its_version() -> None:
    for arguments in (["--help"], ["token", "--help"], ["password", "--help"], ["--version"]):
        done = CliRunner().invoke(main, arguments)
        assert (done.exit_code, bool(done.output.strip())) == (0, True)


def test_the_module_runs_as_a_program(hub: Lines) -> None:
    command = [sys.executable, "-m", "taxii_server", *hub.command("check")[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok" in done.stdout


# ---- check


def test_check_says_what_holds(hub: Lines) -> None:
    text = hub.cli("check").stdout
    assert "2 API root(s)" in text
    assert "7 partners" in text
    assert "policy 'open'" in text


def test_check_show_tells_value_and_source_and_masks_secrets(hub: Lines) -> None:
    command = hub.command("check", "--show")
    command[command.index("--store") + 1] = "mongodb://hub:hunter2@db1,db2/taxii?replicaSet=rs0"
    env = environment() | {"TAXII_SERVER_PORT": "6200"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = {line.split("\t")[0]: line for line in done.stdout.splitlines() if "\t" in line}
    assert "hunter2" not in done.stdout
    assert "db1,db2/taxii" in rows["store"]
    assert "--store" in rows["store"]
    assert "6200" in rows["port"]
    assert "TAXII_SERVER_PORT" in rows["port"] or "environment" in rows["port"]
    assert "default" in rows["threads"]
    assert "server.toml" in rows["title"]


def test_check_does_not_make_a_store(hub: Lines, tmp_path: Path) -> None:
    command = hub.command("check")
    command[command.index("--store") + 1] = str(tmp_path / "never.db")
    assert subprocess.run(command, capture_output=True, env=environment(), timeout=60).returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["serve"], ["check"], ["reload"], ["token", "list"]], ids=" ".join)
def test_a_broken_configuration_is_status_2_and_names_file_key_found_and_known(
    tmp_path: Path, command: list[str]
) -> None:
    broken = Lines(tmp_path)
    run = broken.cli
    if command == ["serve"]:
        run, command = broken.real, [*command, "--port", str(broken.port)]
    for name, text in {
        "config/policy.toml": OPEN_POLICY + '\n[[forbid]]\nid = "x"\nwat = 1\n',
        "collections/rw.toml": (tmp_path / "collections/rw.toml").read_text().replace('title = "', 'titel = "'),
    }.items():
        (tmp_path / name).write_text(text)
    text = run(*command, status=2).stderr
    assert "config/policy.toml" in text
    assert "'wat'" in text
    assert "collections/rw.toml" in text
    assert "unknown key 'titel'" in text
    assert "title" in text
    assert "known: " in text
    assert "Traceback" not in text
    assert "problem(s); nothing was changed" in text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("prot = 1", ["server.toml", "unknown key 'prot'", "port"]),
        ("port = '1'", ["server.toml", "port", "whole number", "1"]),
        ("workers = 0", ["server.toml", "workers", "0"]),
        ("log_level = 'loud'", ["server.toml", "log_level", "loud", "debug, info, warning, error"]),
        ("title = 'a'\ntitle = 'b'", ["server.toml", "not valid TOML"]),
    ],
)
def test_a_broken_server_toml_is_status_2(tmp_path: Path, setting: str, words: list[str]) -> None:
    broken = Lines(tmp_path, settings=setting)
    text = broken.cli("serve", "--port", str(broken.port), status=2).stderr
    assert all(word in text for word in words), text
    assert "Traceback" not in text


def test_a_missing_configuration_says_how_to_name_one(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("taxii-server"))
    done = subprocess.run(
        [program, "check"], capture_output=True, text=True, env=environment(), cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert "config/server.toml" in done.stderr
    assert "--config" in done.stderr


# ---- credentials


def test_a_token_is_shown_once_listed_without_its_secret_and_revoked(hub: Lines) -> None:
    shown = hub.cli("token", "new", "rw", "--comment", "MISP [Paris]").stdout
    secret = next(word for word in shown.split() if word.startswith("txs_"))
    credential = secret.split("_")[1]
    listed = hub.real("token", "list").stdout
    row = next(line for line in listed.splitlines() if credential in line)
    assert "MISP [Paris]" in row
    assert secret not in listed
    assert secret.split("_", 2)[2] not in listed
    assert "is revoked" in hub.cli("token", "revoke", credential).stdout
    assert credential not in hub.real("token", "list").stdout
    assert credential in hub.real("token", "list", "--all").stdout
    raw = Path(hub.store).read_bytes() + b"".join(
        path.read_bytes() for path in (Path(hub.store + "-wal"),) if path.exists()
    )
    assert secret.split("_", 2)[2].encode() not in raw


def test_quiet_prints_the_secret_and_nothing_else(hub: Lines) -> None:
    done = hub.real("token", "new", "rw", "--quiet")
    assert done.stdout.startswith("txs_")
    assert len(done.stdout.split()) == 1
    assert done.stderr == ""


def test_a_password_is_asked_for_and_its_hash_stored(hub: Lines) -> None:
    hub.real("password", "set", "rw", "--user", "analyst", input="correct horse\ncorrect horse\n")
    assert "analyst" in hub.real("token", "list").stdout
    assert hub.real("password", "set", "rw", "--user", "analyst", input="correct horse\n").stderr == ""
    told = hub.real("password", "set", "rw", "--user", "analyst", status=2, input="").stderr
    assert "there is no terminal to ask for the password at: pipe it in, or give --password" in told
    assert "is revoked" in hub.cli("token", "revoke", "analyst").stdout


def test_a_user_name_of_one_partner_does_not_become_that_of_another(hub: Lines) -> None:
    assert "warning 5 characters" in hub.cli("password", "set", "rw", "--user", "bob", "--password", "short").stderr
    assert hub.cli("password", "set", "rw", "--user", "bob", "--password", "long enough by far").stderr == ""
    for name, owner in (("bob", "rw"), ("rw", "rw"), ("admin", "admin")):
        refused = hub.cli("password", "set", "ro", "--user", name, "--password", "long enough by far", status=2)
        assert f"the user name '{name}' is one of {owner}" in refused.stderr
    listed = json.loads(hub.cli("token", "list", "--json").stdout)["credentials"]
    assert [each["partner"] for each in listed if each["id"] in ("bob", "rw", "admin")] == ["rw"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["token", "new", "nobody"], 2, UNKNOWN_PARTNER),
        (["password", "set", "nobody", "--password", "x"], 2, UNKNOWN_PARTNER),
        (["explain", "nobody", "indicator--x"], 2, UNKNOWN_PARTNER),
        (["export", "rw", "--as", "nobody"], 2, UNKNOWN_PARTNER),
        (["import", "FILE", "--into", "rw", "--as", "nobody"], 2, UNKNOWN_PARTNER),
        (["export", "nowhere", "--as", "rw"], 2, "unknown collection 'nowhere' (known: alias, empty, hidden"),
        (["import", "FILE", "--into", "nowhere", "--as", "rw"], 2, "unknown collection 'nowhere'"),
        (["import", "FILE", "--into", "rw", "--as", "ro"], 1, "ro may not write to rw"),
        (["export", "rw", "--as", "ro"], 1, "ro may not read rw"),
        (["import", "no-such-file", "--into", "rw", "--as", "rw"], 2, "no-such-file"),
        (["token", "revoke", "[x]"], 1, "no credential '[x]'"),
        (["explain", "rw", "indicator--[x]"], 1, "no object indicator--[x]"),
        (["export", "rw", "--as", "rw", "-o", "/nonexistent/x.json"], 1, "/nonexistent/x.json"),
        (["frobnicate"], 2, "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_told_in_a_sentence(hub: Lines, arguments: list[str], status: int, words: str) -> None:
    file = write(hub.folder / "any.json", {"objects": [indicator()]})
    done = hub.cli(*(file if word == "FILE" else word for word in arguments), status=status)
    assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_cannot_be_reached_is_status_1(hub: Lines) -> None:
    for store in ("/nonexistent/folder/hub.db", "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=300"):
        command = hub.command("token", "list")
        command[command.index("--store") + 1] = store
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "error" in done.stderr


# ---- explain


def test_explain_names_the_rule_that_lets_an_object_through(hub: Lines, filled: dict[str, dict[str, Any]]) -> None:
    text = hub.cli("explain", "rw", filled["shown"]["id"]).stdout
    assert "posted by admin to rw" in text
    assert "rule 'everybody'" in text
    assert "shown in rw" in text
    assert "=> rw reads it" in text


def test_explain_names_what_hides_an_object(hub: Lines, filled: dict[str, dict[str, Any]]) -> None:
    text = hub.cli("explain", "rw", filled["hidden"]["id"]).stdout
    assert "TLP:RED" in text
    assert RED in text
    assert "=> rw does not get it" in text
    assert "=> admin reads it" in hub.cli("explain", "admin", filled["hidden"]["id"]).stdout


def test_explain_names_the_hidden_reference(hub: Lines, filled: dict[str, dict[str, Any]]) -> None:
    text = hub.cli("explain", "rw", filled["between"]["id"]).stdout
    assert f"refers to {filled['hidden']['id']}, which rw may not read" in text
    assert "=> rw does not get it: the policy alone would allow it, but it refers to something hidden" in text


def test_explain_says_when_no_door_leads_to_an_object(hub: Lines, filled: dict[str, dict[str, Any]]) -> None:
    text = hub.cli("explain", "stranger", filled["shown"]["id"]).stdout
    assert "no collection that stranger may read shows what is stored in rw" in text
    assert "=> stranger does not get it: the policy alone would allow it, but no door leads to it" in text


def test_explain_shows_every_version_and_agrees_with_what_is_read(hub: Lines) -> None:
    id_ = new_id()
    body = [indicator(id_, f"2020-01-0{day}T00:00:00.000Z") for day in (1, 2, 3)]
    body[2]["object_marking_refs"] = [RED]
    hub.cli("import", write(hub.folder / "versions.json", body), "--into", "rw", "--as", "admin")
    text = hub.cli("explain", "rw", id_).stdout
    assert text.count(f"{id_} version") == 3
    assert text.count("=> rw does not get it") == 3, "the newest version governs the older ones"
    assert "newest" in text
    assert id_ not in hub.cli("export", "rw", "--as", "rw", "--versions", "all").stdout


def test_explain_tells_of_two_copies_which_one_stands(hub: Lines) -> None:
    one = indicator()
    file = write(hub.folder / "copies.json", one)
    hub.cli("import", file, "--into", "rw", "--as", "admin")
    hub.cli("import", file, "--into", "rw", "--as", "partner_b")
    text = hub.cli("explain", "rw", one["id"]).stdout
    assert text.count("=> rw reads it") == 1
    assert "not shown in rw: another copy of this version stands there" in text
    assert hub.cli("export", "rw", "--as", "rw", "--versions", "all").stdout.count(one["id"]) == 1


# ---- import and export


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
@pytest.mark.parametrize("form", ["bundle", "envelope", "list", "one object"])
def test_import_takes_bundles_envelopes_lists_and_single_objects(hub: Lines, name: str, form: str) -> None:
    made = indicator(x_text="[not markup]")
    value: object = {
        "bundle": {"type": "bundle", "id": new_id("bundle"), "objects": [made]},
        "envelope": {"objects": [made]},
        "list": [made],
        "one object": made,
    }[form]
    file = write(hub.folder / name, value)
    assert (
        f"{file}: 1 stored, 0 already present, 0 refused"
        in hub.cli("import", file, "--into", "rw", "--as", "rw").stdout
    )
    again = hub.cli("import", file, "--into", "rw", "--as", "rw").stdout
    assert f"{file}: 0 stored, 1 already present, 0 refused" in again


def test_import_names_what_it_refuses_and_stores_the_rest(hub: Lines) -> None:
    body = [indicator(), {"type": "indicator", "id": "[bad]"}, malware(is_family="yes", created="yesterday")]
    done = hub.real("import", write(hub.folder / "some.json", body), "--into", "rw", "--as", "rw", status=1)
    assert "1 stored, 0 already present, 2 refused" in done.stdout
    assert "[bad]: id: " in done.stderr
    assert f"{body[2]['id']}: created: " in done.stderr


def test_a_bad_file_among_several_is_named_and_the_others_are_stored(hub: Lines) -> None:
    files = {
        "good1.json": json.dumps([indicator()]),
        "cut.json": '{"objects": [',
        "empty.json": "",
        "number.json": "42",
        "nothing.json": '{"objects": []}',
        "good2.json": json.dumps([indicator()]),
    }
    paths = [write(hub.folder / name, text) for name, text in files.items()]
    (hub.folder / "bad.json.gz").write_bytes(b"not gzip")
    (hub.folder / "cut.json.gz").write_bytes(gzip.compress(b'{"objects": []}' * 100)[:-20])
    paths += [str(hub.folder / "bad.json.gz"), str(hub.folder / "cut.json.gz")]
    done = hub.cli("import", *paths, "--into", "rw", "--as", "rw", status=1)
    assert done.stdout.count("1 stored") == 2
    for bad in paths[1:5] + paths[6:]:
        assert f"{bad}: nothing of it is stored: " in done.stderr
    assert "Traceback" not in done.stderr


def test_export_is_a_bundle_of_what_the_partner_may_read(hub: Lines, filled: dict[str, dict[str, Any]]) -> None:
    output = hub.folder / "out.json"
    done = hub.real("export", "rw", "--as", "rw", "-o", str(output))
    bundle = json.loads(output.read_bytes())
    assert bundle["type"] == "bundle"
    assert bundle["id"].startswith("bundle--")
    objects = {each["id"]: each for each in bundle["objects"]}
    assert f"{len(objects)} objects" in done.stderr
    assert objects[filled["shown"]["id"]] == filled["shown"]
    assert filled["hidden"]["id"] not in objects
    assert filled["between"]["id"] not in objects
    everything = json.loads(hub.cli("export", "rw", "--as", "admin").stdout)["objects"]
    assert {each["id"] for each in everything} >= {each["id"] for each in filled.values()}


def test_export_with_all_versions_holds_both_forms_of_an_id(hub: Lines) -> None:
    id_ = new_id("tool")
    both = [
        {"type": "tool", "id": id_, "created": "2020-01-01T00:00:00.000Z", "modified": "2020-01-01T00:00:00.000Z",
         "name": "old", "labels": ["remote-access"]},
        {"type": "tool", "spec_version": "2.1", "id": id_, "created": "2020-01-01T00:00:00.000Z",
         "modified": "2021-01-01T00:00:00.000Z", "name": "new"},
    ]  # fmt: skip
    hub.cli("import", write(hub.folder / "both.json", both), "--into", "lane-0", "--as", "rw")
    assert json.loads(hub.cli("export", "lane-0", "--as", "rw", "--versions", "all").stdout)["objects"] == both
    assert json.loads(hub.cli("export", "lane-0", "--as", "rw").stdout)["objects"] == both[1:]


def test_export_of_an_empty_collection_is_an_empty_bundle(hub: Lines) -> None:
    bundle = json.loads(hub.cli("export", "empty", "--as", "rw").stdout)
    assert bundle == {"type": "bundle", "id": "bundle--64993447-4d7e-4f70-b94d-d7f33742ee63", "objects": []}


@pytest.mark.usefixtures("filled")
def test_a_backup_for_which_there_is_no_room_names_its_file(hub: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys.modules["taxii_server.cli.backup"], "make_backup", full)
    file = hub.folder / "hub.zip"
    assert hub.cli("backup", str(file), status=1).stderr == f"error {file}: no space left on device\n"


@pytest.mark.parametrize("text", ["", "hello", "3", '"x"', "PK\x03\x04"])
def test_an_import_of_something_else_says_what_is_expected(hub: Lines, tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "other.txt", text)
    told = hub.cli("import", file, "--into", "rw", "--as", "admin", status=1).stderr
    assert told == (
        f"{file}: nothing of it is stored: this is no file with STIX: JSON with a bundle, an envelope, a list or an "
        "object is expected\n"
    )


def test_an_import_says_what_nobody_else_can_read(tmp_path: Path) -> None:
    """It counts by labels; who-can, which looks at each object, says the same."""
    hub = Lines(tmp_path, policy=OPEN_POLICY.replace('unmarked = "tlp:clear"', 'unmarked = "deny"'))
    green = {"object_marking_refs": ["marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"]}
    plain, secret, free = [malware(), malware()], malware(object_marking_refs=[RED]), malware(**green)
    file = write(tmp_path / "all.json", {"objects": [*plain, secret, free]})
    done = hub.cli("import", file, "--into", "rw", "--as", "admin")
    assert done.stdout == f"{file}: 4 stored, 0 already present, 0 refused\n"
    assert done.stderr.startswith(
        "  3 of them nobody else can read; the most frequent reason: has no TLP level. 'taxii-"
    )
    example = done.stderr.split("who-can ")[1].split("'")[0]
    assert example in {each["id"] for each in plain}
    for each in (*plain, secret, free):
        told = json.loads(hub.cli("who-can", each["id"], "--json").stdout)["partners"]
        assert (len([1 for one in told if one["versions"]]) == 1) is (each is not free)
    assert hub.cli("import", file, "--into", "rw", "--as", "admin").stderr == ""
    seen = write(tmp_path / "seen.json", {"objects": [malware(**green)]})
    assert hub.cli("import", seen, "--into", "rw", "--as", "admin").stderr == ""
    (told,) = json.loads(hub.cli("import", seen, "--into", "nn", "--as", "admin", "--json").stdout)["files"]
    assert (told["stored"], told["unread"]) == (1, 1)
    assert told["unread_reason"] == "no collection that it reads shows it"


def test_what_reads_only_says_that_there_is_no_database(hub: Lines) -> None:
    told = hub.cli("--store", str(hub.folder / "none.db"), "verify", status=1).stderr
    assert "none.db: unable to open database file (there is no such file)" in told


@pytest.mark.parametrize("where", ["nowhere", "a new folder", "an empty file", "mongodb"])
def test_what_needs_a_database_makes_none(
    hub: Lines, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    """A misspelt path was answered with an empty table, and an empty database was there from then on."""
    if where == "mongodb":
        store = request.getfixturevalue("mongo_database_url")
    else:
        store = str(tmp_path / ("new/hub.db" if where == "a new folder" else "hub.db"))
    if where == "an empty file":
        Path(store).touch(mode=0o600)
    for command in (
        "token list", "token revoke x", "explain rw x", "who-can x", "export rw --as rw", "get /taxii2/ --as rw",
        "quarantine list", "release list", "mirror list", "retention run", "verify", "ledger heads", "backup x.zip",
    ):  # fmt: skip
        told = hub.cli("--store", store, *command.split(), status=1).stderr
        why = "there is no such file" if where in ("nowhere", "a new folder") else "there is no database yet"
        assert why in told
        assert "; --store, TAXII_SERVER_STORE or `store` in server.toml name another one. On a new hub" in told
        assert "'taxii-server serve' makes the database" in told
    assert [each.stat().st_size for each in tmp_path.iterdir()] == ([0] if where == "an empty file" else [])


@pytest.mark.parametrize(
    "command",
    [
        ("token", "new", "rw"),
        ("password", "set", "rw", "--password", "long enough for it"),
        ("reload",),
        ("policy", "apply"),
    ],
)
def test_what_may_come_first_on_a_new_hub_makes_the_database(
    hub: Lines, tmp_path: Path, command: tuple[str, ...]
) -> None:
    store = ("--store", str(tmp_path / "var/hub.db"))
    hub.cli(*store, *command)
    assert hub.cli(*store, "token", "list").returncode == 0


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda path: path.write_text("root:x:0:0:root:/root:/bin/bash\n" * 9), "this is no database"),
        (lambda path: path.mkdir(), "this is no file"),
        (_theirs, "this is the SQLite database of another application"),
    ],
    ids=["text", "folder", "application"],
)
def test_nothing_is_advised_to_be_done_to_a_file_that_is_no_database_of_ours(
    hub: Lines, tmp_path: Path, made: Any, why: str
) -> None:
    path = tmp_path / "passwd"
    made(path)
    path.chmod(0o755)
    before = path.read_bytes() if path.is_file() else b""
    serve = ("serve", "--port", str(hub.port))
    for command in (("token", "list"), ("check",), serve, ("import", __file__, "--into", "rw", "--as", "rw")):
        told = hub.cli("--store", str(path), *command, status=2).stderr
        assert told.startswith(
            f"error {path}: store: {why}; --store, TAXII_SERVER_STORE or `store` in server.toml name"
        )
        assert "chmod" not in told
    assert "chmod" not in hub.cli("--store", str(path), "doctor", status=1).stdout
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert [each.name for each in tmp_path.iterdir()] == ["passwd"]


def test_check_names_the_configuration_as_reload_does(hub: Lines) -> None:
    digest = hub.cli("reload").stdout.split()[2]
    assert hub.cli("check").stdout.endswith(f"all never-claims are proved; configuration {digest}\n")


def test_an_export_that_nobody_reads_to_the_end_is_no_traceback(hub: Lines) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = hub.command("export", "rw", "--as", "admin")
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)
    os.close(writer)
    assert "Traceback" not in done.stderr


def test_get_prints_what_a_client_would_get(hub: Lines, filled: dict[str, dict[str, Any]]) -> None:
    done = hub.cli("get", f"/api1/collections/{RW}/objects/{filled['shown']['id']}/", "--as", "rw")
    assert json.loads(done.stdout)["objects"] == [filled["shown"]]
    hidden = hub.cli("get", f"/api1/collections/{RW}/objects/{filled['hidden']['id']}/", "--as", "rw", status=1)
    assert "404" in hidden.stderr
    hub.cli("get", f"/api2/collections/{lane(1)}/objects/", "--as", "rw")
