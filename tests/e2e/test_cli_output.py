"""What every command has in common: help, lists, names that are wrong, terminals of every kind, and pipes."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import expiry_of, new_password, new_token, token_id, token_matches
from taxii_server.cli import context, main, tables
from taxii_server.cli.overview import SECTIONS
from taxii_server.model import Credential
from tests.e2e.server import Server, environment
from tests.e2e.test_cli import commands
from tests.world import indicator

#: Commands that list nothing: they do something, or print what somebody else defined.
LISTLESS = {
    "init", "serve", "demo", "reload", "completion", "partner add", "collection add", "token revoke", "password set",
    "policy apply", "quarantine show", "quarantine release", "quarantine drop", "release file", "release withdraw",
    "get", "export", "mirror forget",
}  # fmt: skip


class Hub(Server):
    """A server that never runs."""

    def run(self, *words: str, status: int = 0, **more: Any) -> Result:
        done = CliRunner().invoke(main, self.command(*words)[1:], **more)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, f"{words}: status {done.exit_code}\n{done.output}"
        return done


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    made = Hub(tmp_path_factory.mktemp("output"))
    with pytest.MonkeyPatch.context() as patch:
        # Another hub may run on this machine, on the port of the example: it is none of the doctor's business here.
        patch.setenv("TAXII_SERVER_PORT", str(made.port))
        _fill(made)
        yield made


def _fill(made: Hub) -> None:
    posted = made.folder / "posted.json"
    posted.write_text(json.dumps([indicator() for _ in range(300)]))
    made.run("import", str(posted), "--into", "rw", "--as", "rw")
    made.run("token", "new", "rw", "--comment", "first")


# ---- help


def command_of(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_the_options_of_every_example_exist(path: tuple[str, ...]) -> None:
    text = CliRunner().invoke(main, [*path, "--help"]).output
    lines = re.sub(r"\\\n\s*", "", text.partition("Example")[2]).splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("taxii-server ")]
    assert examples
    for example in examples:
        words = shlex.split(re.sub(r"\s[>|&].*", "", example))[1:]
        parser = main.make_parser(click.Context(main))
        _, words, _ = parser.parse_args(words)
        command: click.Command = main
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_parser(click.Context(command)).parse_args(words)


@pytest.mark.parametrize("path", [(), *commands()], ids=lambda path: " ".join(path) or "taxii-server")
def test_help_fits_a_terminal_of_80_columns(path: tuple[str, ...]) -> None:
    text = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output
    said = text.partition("Example")[0] + text.partition("\nOptions:")[2]
    assert [line for line in said.splitlines() if len(line) > 80] == []


def test_the_program_shows_each_command_once_in_a_few_words() -> None:
    named = [name for section in SECTIONS.values() for name in section]
    assert sorted(named) == sorted(main.commands)
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert "..." not in text.partition("\nBegin:")[2]
    assert "More:" not in text


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_whatever_lists_can_print_json(path: tuple[str, ...]) -> None:
    has_json = any("--json" in each.opts for each in command_of(path).params)
    assert has_json != (" ".join(path) in LISTLESS)


# ---- lists


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["token", "list"], "credentials"),
        (["partner", "list"], "partners"),
        (["collection", "list"], "collections"),
        (["release", "list"], "releases"),
        (["quarantine", "list"], "quarantine"),
        (["ledger", "heads"], "heads"),
        (["ledger", "verify"], "faults"),
        (["ledger", "what-did", "rw"], "events"),
        (["check", "--show"], "settings"),
        (["doctor"], "findings"),
        (["verify"], "faults"),
        (["policy", "guard-audit"], "objects"),
        (["retention", "run", "--dry-run"], "records"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_lists_are_json_or_lines_of_as_many_cells(hub: Hub, words: list[str], key: str) -> None:
    found = json.loads(hub.run(*words, "--json").stdout)
    assert isinstance(found[key], list | dict)
    lines = [line for line in hub.run(*words).stdout.splitlines() if "\t" in line]
    assert len({line.count("\t") for line in lines}) <= 1


def on(width: int, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    """A terminal of this width."""
    screen = Console(force_terminal=True, width=width, color_system=None, highlight=False, soft_wrap=True, **more)
    monkeypatch.setattr(tables, "out", screen)


def test_a_table_that_fits_a_block_where_it_does_not(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    on(200, monkeypatch)
    wide = hub.run("collection", "list").stdout
    assert "┃ name" in wide
    assert all(len(line) <= 200 for line in wide.splitlines())
    on(80, monkeypatch)
    narrow = hub.run("collection", "list").stdout
    assert "┃" not in narrow
    assert "\nid        378e5de7-84a4-45e4-8a34-c02a43d0b657\n" in narrow
    assert all(len(line) <= 80 for line in narrow.splitlines())


def test_a_cell_wraps_between_words_and_empty_columns_go_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    on(40, monkeypatch)
    done = CliRunner().invoke(_print_one)
    assert "nothing" not in done.output
    assert "│ one two three four five" in done.output
    assert "│ six seven" in done.output


@click.command()
def _print_one() -> None:
    tables.print_rows(("id", "nothing", "words"), [("1234567890", "", "one two three four five six seven")])


def test_one_of_something_is_not_many() -> None:
    said = [
        tables.number_of(count, *words) for count, *words in ((1, "strand"), (0, "strand"), (1, "entry", "entries"))
    ]
    assert said == ["1 strand", "0 strands", "1 entry"]
    assert tables.number_of(1200, "entry", "entries") == "1,200 entries"


def test_what_partners_write_moves_no_cursor(hub: Hub) -> None:
    hub.run("token", "new", "rw", "--comment", "\x1b[2J\x1b[Hgone\tor\nnot \x9b1m")
    (line,) = [line for line in hub.run("token", "list").stdout.splitlines() if "gone" in line]
    assert line.split("\t")[-1] == "[2J [Hgone or not 1m"
    bad = hub.folder / "bad.json"
    bad.write_text(json.dumps([{"type": "indicator", "id": "\x1b[31mred"}]))
    done = hub.run("import", str(bad), "--into", "rw", "--as", "rw", status=1)
    assert "\x1b" not in done.output


# ---- tokens that end


def test_a_token_ends_by_itself_to_the_second() -> None:
    now = [1_800_000_000.0]
    directory = Directory(lambda: now[0])
    end = datetime.fromtimestamp(1_800_000_100, UTC)
    credential, secret = new_token("rw", expires=end)
    forever, _ = new_token("rw")
    password = new_password("rw", "a-20200101T000000Z", "x")
    directory.replace([credential, forever, password])
    assert (expiry_of(credential), expiry_of(forever), expiry_of(password)) == (end, None, None)
    assert token_id(secret) == credential.id
    assert directory.find(credential.id) is credential
    now[0] += 99.9
    assert directory.find(credential.id) is credential
    now[0] += 0.1
    assert directory.find(credential.id) is None
    assert [directory.find(each.id) for each in (forever, password)] == [forever, password]
    assert directory.find("unknown") is None


def test_the_end_of_a_token_is_part_of_its_secret() -> None:
    credential, secret = new_token("rw", expires=datetime.now(UTC) + timedelta(days=1))
    later = secret.replace(credential.id[-16:], "99990101T000000Z")
    assert later != secret
    assert token_matches(credential, secret)
    assert not token_matches(credential, later)
    assert expiry_of(Credential("x-99999999T999999Z"[:12], "p", "token", "", "")) is None


def test_a_token_that_ends_is_listed_with_its_end_and_state(hub: Hub) -> None:
    made = json.loads(hub.run("token", "new", "ro", "--expires", "90d", "--json").stdout)
    end = datetime.fromisoformat(made["expires"])
    assert timedelta(days=89, hours=23) < end - datetime.now(UTC) < timedelta(days=90, seconds=1)
    assert made["secret"].startswith(f"txs_{made['id']}_")
    assert f"good until {made['expires']}" in hub.run("token", "new", "ro", "--expires", made["expires"]).stdout
    listed = json.loads(hub.run("token", "list", "--partner", "ro", "--json").stdout)["credentials"]
    assert {each["expires"] for each in listed} == {made["expires"]}
    assert {each["state"] for each in listed} == {"good"}
    assert all("secret" not in each for each in listed)


@pytest.mark.parametrize("when", ["yesterday", "90", "0d", "2020-01-01T00:00:00Z", "-1d"])
def test_an_end_that_is_none_is_refused(hub: Hub, when: str) -> None:
    assert "Invalid value" in hub.run("token", "new", "ro", "--expires", when, status=2).stderr


def test_the_last_use_comes_from_the_ledger(hub: Hub) -> None:
    hub.run("export", "rw", "--as", "rw")
    found = json.loads(hub.run("token", "list", "--last-used", "--json").stdout)["credentials"]
    assert {each["last_used"] for each in found} == {None}, "an export is no use of a token"


def test_an_expired_token_is_refused_by_a_server_and_its_use_is_listed(tmp_path: Path) -> None:
    server = Hub(tmp_path)
    names = ("rw", "admin", "partner_b")
    server.tokens = {name: server.run("token", "new", name, "--quiet").stdout.strip() for name in names}
    posted = server.folder / "posted.json"
    posted.write_text(json.dumps(indicator()))
    server.run("import", str(posted), "--into", "ro", "--as", "admin")
    short = server.run("token", "new", "ro", "--expires", "1h", "--quiet").stdout.strip()
    try:
        server.start(workers=1)
        asked = {"headers": {"Authorization": f"Bearer {short}"}}
        assert server.get("/taxii2/", "ro", **asked).status_code == 200
        forged = short.replace(token_id(short) or "", "000000000000-20200101T000000Z")
        assert server.get("/taxii2/", "ro", headers={"Authorization": f"Bearer {forged}"}).status_code == 401
        objects = f"{server.url}/api1/collections/253900d3-b9dd-46df-8184-469380fae6d2/objects/"
        assert server.get(objects, "ro", **asked).status_code == 200
    finally:
        server.stop()
        server.kill()
    listed = json.loads(server.run("token", "list", "--last-used", "--json").stdout)["credentials"]
    used = {each["partner"]: each["last_used"] for each in listed}
    assert used["ro"] is not None
    assert used["partner_b"] is None


# ---- completion


def completed(hub: Hub, words: str) -> list[str]:
    """What bash would be offered after these words."""
    line = f"taxii-server --config {hub.config} {words}"
    env = {
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(f"{line}x".split()) - 1),
        "_TAXII_SERVER_COMPLETE": "bash_complete",
    }
    done = CliRunner().invoke(main, prog_name="taxii-server", env=env)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("par", ["partner"]),
        ("token new r", ["ro", "rw"]),
        ("export --as partner", ["partner_b"]),
        ("export ot", ["other"]),
        ("import --into w", ["wo"]),
        ("collection add x --source al", ["alias"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("partner add x --clearance amber", ["amber", "amber+strict"]),
    ],
)
def test_shells_complete_commands_partners_and_collections(hub: Hub, words: str, offered: list[str]) -> None:
    assert completed(hub, words) == offered


def test_a_configuration_that_cannot_be_read_completes_nothing_and_says_nothing(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text("prot = 1")
    line = f"taxii-server --config {tmp_path / 'server.toml'} token new "
    env = {"COMP_WORDS": line, "COMP_CWORD": "5", "_TAXII_SERVER_COMPLETE": "bash_complete"}
    assert CliRunner().invoke(main, prog_name="taxii-server", env=env).output.strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_this_program(shell: str) -> None:
    text = CliRunner().invoke(main, ["completion", shell]).stdout
    assert "_TAXII_SERVER_COMPLETE" in text
    assert "taxii-server" in text
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).stderr == ""


# ---- names that are wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chek"], "Did you mean 'check'?"),
        (["token", "nwe", "rw"], "Did you mean 'new'?"),
        (["token", "new", "partner-b"], "did you mean 'partner_b'?"),
        (["token", "list", "--partner", "partnerb"], "did you mean 'partner_b'?"),
        (["export", "othre", "--as", "rw"], "did you mean 'other'?"),
        (["release", "list", "--by", "admn"], "did you mean 'admin'?"),
        (["verify", "--repare"], "Did you mean '--repair'?"),
        (["token", "new", "nobody"], "'taxii-server partner add NAME' makes a new one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_slip_is_answered_with_what_was_meant(hub: Hub, words: list[str], said: str) -> None:
    assert said in hub.run(*words, status=2).stderr


def test_a_partner_that_is_on_disk_only_is_said_to_wait_for_reload(hub: Hub) -> None:
    hub.run("partner", "add", "late", "--kind", "cert", "--clearance", "green")
    assert "not in force yet: run 'taxii-server reload'" in hub.run("token", "new", "late", status=2).stderr


def test_an_id_that_is_nearly_one_is_recognised(hub: Hub) -> None:
    id_ = json.loads(hub.run("token", "list", "--json").stdout)["credentials"][0]["id"]
    assert f"did you mean '{id_}'?" in hub.run("token", "revoke", id_[:-1], status=1).stderr


def test_a_partner_that_the_ledger_never_met_is_no_empty_list(hub: Hub) -> None:
    assert (
        "did you mean 'admin'?), and the ledger has nothing of it"
        in hub.run("ledger", "what-did", "adminn", status=1).stderr
    )
    assert hub.run("ledger", "what-did", "nn").stdout.startswith("time\t")


def test_check_refuses_a_store_that_is_none(hub: Hub) -> None:
    command = hub.command("check")[1:]
    command[command.index("--store") + 1] = "postgres://x"
    assert "store: unknown kind of store 'postgres:'" in CliRunner().invoke(main, command).stderr
    command[command.index("--store") + 1] = f"sqlite:///{hub.store}"
    assert CliRunner().invoke(main, command).exit_code == 0
    command[-1:] = ["token", "list"]
    assert "first" in CliRunner().invoke(main, command).stdout


# ---- progress


def test_a_bar_has_counts_a_rate_and_the_time_left(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(context, "err", Console(file=screen, force_terminal=True, width=80, color_system=None))
    with context.progress_bar("importing") as advance:
        advance(1_000, 4_000)
        advance(2_000, 4_000)
    text = screen.getvalue()
    assert "2,000 of 4,000" in text
    assert "/s" in text
    assert re.search(r"\d:\d\d:\d\d|-:--:--", text)


@pytest.mark.parametrize("words", [["import", "FILE", "--into", "rw", "--as", "rw"], ["export", "rw", "--as", "rw"]])
def test_import_and_export_say_how_many_there_are(hub: Hub, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    screen = io.StringIO()
    for module in (context, sys.modules["taxii_server.cli.data"]):
        monkeypatch.setattr(module, "err", Console(file=screen, force_terminal=True, width=80, color_system=None))
    hub.run(*(str(hub.folder / "posted.json") if word == "FILE" else word for word in words))
    assert re.search(r"300 of 300", screen.getvalue()), screen.getvalue()


# ---- terminals and pipes


def test_a_terminal_without_utf_8_and_one_without_colours(hub: Hub) -> None:
    env = environment() | {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "FORCE_COLOR": "1", "COLUMNS": "200"}
    hub.run("token", "new", "rw", "--comment", "Zürich · Köln")
    done = subprocess.run(hub.command("token", "list"), capture_output=True, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Z\\xfcrich \\xb7 K\\xf6ln" in done.stdout
    assert b"\x1b[3" not in done.stdout
    assert b"+--" in done.stdout or b"|" in done.stdout


@pytest.mark.parametrize("words", [["partner", "list"], ["check", "--show"]])
def test_a_reader_that_goes_away_is_no_error(hub: Hub, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(hub.command(*words), stdout=writer, stderr=subprocess.PIPE, env=environment(), timeout=60)
    os.close(writer)
    assert done.stderr == b""
