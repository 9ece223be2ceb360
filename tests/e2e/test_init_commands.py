"""init, partner and collection: the files that they write and change, and what they refuse."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taxii_server.catalog import check_catalog, read_files
from taxii_server.cli import editing, main
from taxii_server.settings import load
from tests.e2e.server import Server, environment

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sys.executable).with_name("taxii-server"))


def run(*words: str | Path, status: int | None = 0, **more: Any) -> Result:
    done = CliRunner().invoke(main, [str(word) for word in words], **more)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert status in (None, done.exit_code), f"{words}: status {done.exit_code}\n{done.output}"
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A new hub, as init writes it for two partners."""
    run("init", tmp_path / "hub", "--partner", "acme", "--partner", "cert-x")
    return tmp_path / "hub"


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of the configuration in this repository."""
    for name in ("config", "collections"):
        shutil.copytree(ROOT / name, tmp_path / "shipped" / name)
    return tmp_path / "shipped"


def at(folder: Path) -> tuple[str, str]:
    return "--config", str(folder / "config/server.toml")


# ---- init


def test_the_demo_says_where_it_can_be_played(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = "run it in the folder of the checkout"
    told = run(*at(hub), "demo", "--once", status=1).stderr
    assert "lacks bt, " in told
    assert where in told
    monkeypatch.chdir(tmp_path)
    assert where in run("demo", "--once", status=1).stderr


def test_what_init_writes_holds_without_a_warning_and_says_why(hub: Path) -> None:
    catalog = check_catalog(read_files(load(hub / "config/server.toml", {})))
    assert catalog.warnings == ()
    assert set(catalog.policy.audiences) == {"hub", "acme", "cert-x"}
    assert set(catalog.collections) == {"shared", "drop-acme", "drop-cert-x"}
    assert catalog.feeds(catalog.collections["shared"])[1:] == tuple(
        catalog.collections[name].id for name in ("drop-acme", "drop-cert-x")
    )
    policy = tomllib.loads((hub / "config/policy.toml").read_text())
    assert {guard.id for guard in catalog.policy.guards} == {"customers-and-victims", "customers-by-name"}
    assert all(each["why"] for section in ("permit", "forbid", "guard", "never", "test") for each in policy[section])
    assert "ok" in run(*at(hub), "check").output


@pytest.mark.parametrize("clearance", ["clear", "green", "amber", "amber+strict", "red"])
def test_its_examples_hold_for_every_clearance(tmp_path: Path, clearance: str) -> None:
    run("init", tmp_path / "x", "--yes", "--partner", "p", "--clearance", clearance, "--title", 'A "title" \\ [x]')
    assert "all examples hold" in run(*at(tmp_path / "x"), "check").output
    assert load(tmp_path / "x/config/server.toml", {}).title == 'A "title" \\ [x]'


def test_init_overwrites_nothing(hub: Path, tmp_path: Path) -> None:
    before = contents(hub)
    done = run("init", hub, status=2)
    assert "config: is there already, and init overwrites nothing" in done.stderr
    assert contents(hub) == before
    (tmp_path / "other/collections").mkdir(parents=True)
    (tmp_path / "other/collections/mine.toml").write_text("mine")
    run("init", tmp_path / "other", status=2)
    assert contents(tmp_path / "other") == {"collections/mine.toml": b"mine"}


def test_init_says_where_the_hub_will_answer_and_each_partner_has_its_kind(tmp_path: Path) -> None:
    done = run(
        "init", tmp_path, "--partner", "acme:vendor", "--partner", "cert-x", "--port", "7000",
        env={"TAXII_SERVER_PORT": "7001"},
    )  # fmt: skip
    assert "answers at http://127.0.0.1:7001/taxii2/" in done.stdout
    audience = tomllib.loads((tmp_path / "config/partners.toml").read_text())["audience"]
    assert {name: audience[name]["kind"] for name in ("acme", "cert-x")} == {"acme": "vendor", "cert-x": "cert"}
    assert "http://127.0.0.1:7000/taxii2/" in run("init", tmp_path / "other", "--port", "7000").stdout


def test_init_takes_a_folder_that_holds_other_things(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("mine")
    (tmp_path / "config").mkdir()
    run("init", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"README", "config", "collections"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--partner", "hub"], "the team that runs the hub has this name"),
        (["--partner", "a", "--partner", "a"], "it is named twice"),
        (["--partner", "CERT FR"], "did you mean 'cert-fr'?"),
        (["--partner", "acme:Big Vendor"], "'Big Vendor' is no kind of partner: one word such as cert, vendor"),
        (["--store", "mongodb://me:secret@db/x"], "set TAXII_SERVER_STORE"),
        (["--store", "postgres://db/x"], "unknown kind of store"),
        (["--clearance", "purple"], "'amber+strict'"),
        (["--titel", "x"], "Did you mean one of: '--help', '--title'?"),
        (["--title", "a\x07b"], "control characters"),
    ],
)
def test_what_init_cannot_write_is_refused_and_leaves_nothing(tmp_path: Path, words: list[str], said: str) -> None:
    done = run("init", tmp_path / "new", *words, status=2)
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_what_init_wrote_is_served_at_once(own_store_url: str | None, tmp_path: Path) -> None:
    server = Server(tmp_path / "server", own_store_url)
    partners = ("rw", "admin", "partner_b")  # those that a server of the tests has tokens for
    chosen = [word for name in partners for word in ("--partner", name)]
    run("init", tmp_path / "hub", *chosen, "--store", server.store, "--contact", "soc@example.org")
    server.config = tmp_path / "hub/config/server.toml"
    program = server.command()[1:]
    server.tokens = {name: run(*program, "token", "new", name, "--quiet").stdout.strip() for name in partners}
    try:
        server.start(workers=1)
        posted = tmp_path / "posted.json"
        posted.write_text(json.dumps([marked("green"), marked("red")]))
        run(*program, "import", posted, "--into", "shared", "--as", "hub")
        found = server.get("/taxii2/", "rw").json()
        assert (found["contact"], found["api_roots"]) == ("soc@example.org", ["/hub/"])
        objects = server.get("/hub/collections/shared/objects/", "rw").json()["objects"]
        assert [each["object_marking_refs"] for each in objects] == [marked("green")["object_marking_refs"]]
        # A running server takes over what `partner add` writes; nobody tells it.
        run(*program, "partner", "add", "late", "--kind", "cert", "--clearance", "green")
        deadline = time.monotonic() + 60
        while run(*program, "token", "new", "late", "--quiet", status=None).exit_code != 0:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        server.kill()


def marked(level: str) -> dict[str, Any]:
    from taxii_server.tlp import TLP_2_IDS
    from tests.world import indicator

    return indicator(object_marking_refs=[TLP_2_IDS[level]])


# ---- on a terminal


class Terminal:
    """A program on a terminal of 80 columns; ended with the test."""

    def __init__(self, *words: str | Path, cwd: Path) -> None:
        main_end, program_end = pty.openpty()
        self._fd = main_end
        self.process = subprocess.Popen(
            [PROGRAM, *map(str, words)], stdin=program_end, stdout=program_end, stderr=program_end, cwd=cwd,
            env=environment() | {"COLUMNS": "80", "TERM": "xterm"}, start_new_session=True,
            preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(program_end)
        self.shown = ""

    def until(self, words: str, limit_s: float = 60) -> str:
        """What was shown up to these words."""
        deadline = time.monotonic() + limit_s
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._fd], [], [], 1)[0]:
                self.shown += os.read(self._fd, 65536).decode()
        before, _, self.shown = self.shown.partition(words)
        return before

    def answer(self, question: str, text: str) -> None:
        self.until(question)
        self.until("]: " if "[" in self.shown else ": ")
        os.write(self._fd, f"{text}\n".encode())

    def end(self) -> int:
        try:
            while True:
                self.shown += os.read(self._fd, 65536).decode()
        except OSError:  # what a terminal says when nobody is at its other end any more
            pass
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)


def _own_terminal() -> None:
    """Ctrl-C comes from the terminal, and counts also when the tests run in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for each in made:
        each.close()


def test_init_asks_on_a_terminal_and_asks_again_after_a_slip(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminals.append(asked := Terminal("init", "new", cwd=tmp_path))
    asked.answer("Title", "My hub")
    asked.answer("Contact", "")
    asked.answer("First partner", "CERT X")
    asked.until("did you mean 'cert-x'?")
    asked.answer("First partner", "cert-x")
    asked.answer("full name", "CERT of X")
    asked.answer("What it is", "")
    asked.answer("country", "fr")
    asked.answer("TLP level", "green")
    asked.answer("Store", "")
    assert asked.end() == 0, asked.shown
    assert "taxii-server token new cert-x" in asked.shown
    partners = tomllib.loads((tmp_path / "new/config/partners.toml").read_text())
    assert partners["audience"]["cert-x"] == {
        "title": "CERT of X", "kind": "cert", "country": "FR", "clearance": "green",
    }  # fmt: skip


def test_ctrl_c_at_a_question_writes_nothing(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminals.append(asked := Terminal("init", "new", cwd=tmp_path))
    asked.answer("Title", "My hub")
    asked.until("Contact")
    # Pressed in the instant before Python waits for the key, it is not heard: a person presses it again.
    while asked.process.poll() is None:
        os.write(asked._fd, b"\x03")
        with suppress(subprocess.TimeoutExpired):
            asked.process.wait(10)
    assert asked.end() in (1, -signal.SIGINT), asked.shown  # the second: pressed again while it was ending already
    assert "Traceback" not in asked.shown
    assert list(tmp_path.iterdir()) == []


# ---- partner add


def test_a_partner_is_added_and_every_other_byte_stays(hub: Path) -> None:
    before = contents(hub)
    words = ("--kind", "cert", "--country", "it", "--clearance", "amber", "--title", 'CSIRT "Italia"')
    done = run(*at(hub), "partner", "add", "cert-it", *words, "--drop-box", "--shown-in", "shared")
    after = contents(hub)
    new = b'\n[audience.cert-it]\ntitle = "CSIRT \\"Italia\\""\nkind = "cert"\ncountry = "IT"\nclearance = "amber"\n'
    assert after.pop("config/partners.toml") == before.pop("config/partners.toml") + new
    old_list, new_list = b'"drop-acme", "drop-cert-x"]', b'"drop-acme", "drop-cert-x", "drop-cert-it"]'
    assert after.pop("collections/shared.toml") == before.pop("collections/shared.toml").replace(old_list, new_list)
    assert b'owner = "cert-it"' in after.pop("collections/drop-cert-it.toml")
    assert after == before
    assert "token new cert-it" in done.stdout
    assert "cert-it\tcert\tIT\tamber\t\tdrop-cert-it, shared\tdrop-cert-it" in run(*at(hub), "partner", "list").stdout


def test_comments_between_tables_and_in_lists_stay_where_they_were(shipped: Path) -> None:
    partners = shipped / "config/partners.toml"
    text, late = partners.read_text(), '[groups.late]  # late\nwithin = ["le"]\n'
    partners.write_bytes(f"\ufeff{text}\n{late}".replace("\n", "\r\n").encode())
    feed = shipped / "collections/soc-feed.toml"
    feed.write_text(feed.read_text().replace("readers = [", "readers = [  # by hand\n    # who they are\n    "))
    run(*at(shipped), "partner", "add", "soc-x", "--kind", "soc", "--clearance", "green", "--reads", "soc-feed")
    new = '[audience.soc-x]\nkind = "soc"\nclearance = "green"\n'
    assert partners.read_bytes() == f"\ufeff{text}\n{new}\n{late}".replace("\n", "\r\n").encode()
    assert "# by hand\n    # who they are" in feed.read_text()
    assert "soc-x" in tomllib.loads(feed.read_text())["readers"]


def test_a_list_that_was_left_out_comes_after_the_keys_and_before_what_is_said_of_a_table(shipped: Path) -> None:
    box = shipped / "collections/drop-bt.toml"
    text, limits = box.read_text(), "\n# Limits stricter than those of the server.\n[limits]\n# few\nmax_page = 3\n"
    box.write_text(text + limits)
    run(*at(shipped), "collection", "add", "x", "--reader", "bt", "--source", "interpol", "--shown-in", "drop-bt")
    assert box.read_text() == f'{text}sources = ["x"]\n{limits}'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["partner", "add", "bka", "--kind", "le", "--clearance", "red"], "audience.bka: is there already"),
        (
            ["partner", "add", "x", "--clearance", "red"],
            "'--kind'. Its kind (in use: cert, le, le-inter",
        ),
        (["partner", "add", "x", "--kind", "le"], "one of clear, green, amber, amber+strict, red"),
        (["partner", "add", "x", "--kind", "soc", "--clearance", "amber"], "'a-soc-reads-what-is-not-for-the-communi"),
        (["partner", "add", "x", "--kind", "le", "--clearance", "red", "--country", "XYZ"], "XYZ"),
        (["partner", "add", "x", "--kind", "le", "--clearance", "red", "--group", "csirt"], "did you mean 'csirts'?"),
        (
            ["partner", "add", "x", "--kind", "le", "--clearance", "red", "--reads", "interpl"],
            "did you mean 'interpol'?",
        ),
        (["partner", "add", "x", "--kind", "le", "--clearance", "red", "--shown-in", "interpol"], "give --drop-box"),
        (["partner", "add", "bt", "--kind", "le", "--clearance", "red"], "edit it there"),
        (["partner", "ad", "x"], "Did you mean 'add'?"),
        (["collection", "add", "drop-bt"], "drop-bt.toml: is there already"),
        (["collection", "add", "Drop BT"], "did you mean 'drop-bt'?"),
        (["collection", "add", "x", "--owner", "btt"], "did you mean 'bt'?"),
        (["collection", "add", "x", "--source", "drop-b"], "did you mean 'drop-bt'?"),
        (["collection", "add", "x", "--reader", "kind:cret"], "did you mean 'cert'?"),
        (["collection", "add", "x", "--api-root", "hubb"], "did you mean 'hub'?"),
        (["collection", "add", "x", "--title", "CERT-FR"], "title: 'CERT-FR' is taken by collections/cert-fr.toml"),
        (["collection", "add", "x", "--uuid", "c5e1f702-790d-40de-a40a-c8f79c01ee0e"], "is taken by"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_would_not_hold_is_refused_and_changes_nothing(shipped: Path, words: list[str], said: str) -> None:
    before = contents(shipped)
    done = run(*at(shipped), *words, status=2)
    assert said in done.stderr, done.stderr
    assert contents(shipped) == before


def test_a_dry_run_checks_and_writes_nothing(hub: Path) -> None:
    before = contents(hub)
    words = ("partner", "add", "x", "--kind", "cert", "--clearance", "red", "--drop-box", "--dry-run")
    assert "nothing was written" in run(*at(hub), *words).stdout
    assert "nothing was written" in run(*at(hub), "collection", "add", "x", "--dry-run").stdout
    assert contents(hub) == before


def test_files_that_did_not_hold_before_are_said_to_be_the_reason(hub: Path) -> None:
    policy = hub / "config/policy.toml"
    policy.write_text(policy.read_text().replace('"red", by = "hub" }\nhide', '"red", by = "hub" }\nread'))
    before = contents(hub)
    done = run(*at(hub), "partner", "add", "x", "--kind", "cert", "--clearance", "red", status=2)
    assert "did not hold before the change either" in done.stderr
    assert contents(hub) == before


def test_a_file_that_cannot_be_written_takes_the_others_back(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(hub)
    replace = editing._replace

    def fails(path: Path, content: bytes) -> None:
        if path.name == "shared.toml" and b"drop-x" in content:
            raise OSError(28, "No space left on device")
        replace(path, content)

    monkeypatch.setattr(editing, "_replace", fails)
    words = ("partner", "add", "x", "--kind", "cert", "--clearance", "red", "--drop-box", "--shown-in", "shared")
    assert "shared.toml: cannot be written: no space left on device" in run(*at(hub), *words, status=2).stderr
    assert contents(hub) == before


def test_two_at_once_lose_nothing(hub: Path) -> None:
    words = ("--kind", "cert", "--clearance", "amber", "--drop-box", "--shown-in", "shared")
    names = ["p0", "p1", "p2"]
    running = [
        subprocess.Popen(
            [PROGRAM, *at(hub), "partner", "add", name, *words], env=environment(), stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        for name in names
    ]  # fmt: skip
    assert [(each.communicate(timeout=120)[1], each.returncode) for each in running] == [("", 0)] * 3
    catalog = check_catalog(read_files(load(hub / "config/server.toml", {})))
    assert set(catalog.policy.audiences) == {"hub", "acme", "cert-x", *names}
    assert {name.removeprefix("drop-") for name in catalog.collections["shared"].sources} == {"acme", "cert-x", *names}


def test_a_linked_file_stays_a_link_and_keeps_its_mode(hub: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.toml"
    (hub / "config/partners.toml").rename(elsewhere)
    elsewhere.chmod(0o640)
    (hub / "config/partners.toml").symlink_to(elsewhere)
    run(*at(hub), "partner", "add", "x", "--kind", "cert", "--clearance", "green")
    assert (hub / "config/partners.toml").is_symlink()
    assert "[audience.x]" in elsewhere.read_text()
    assert elsewhere.stat().st_mode & 0o777 == 0o640


# ---- collection add, and the lists


def test_a_collection_is_a_commented_file_with_an_id_of_its_own(hub: Path) -> None:
    words = ("--reader", "acme", "--reader", "kind:cert", "--source", "drop-acme", "--shown-in", "shared")
    done = run(*at(hub), "collection", "add", "energy-feed", *words)
    text = (hub / "collections/energy-feed.toml").read_text()
    assert text.count("\n# ") > 10
    (listed,) = [
        each
        for each in json.loads(run(*at(hub), "collection", "list", "--json").stdout)["collections"]
        if each["name"] == "energy-feed"
    ]
    assert (listed["title"], listed["readers"], listed["sources"]) == (
        "Energy feed", ["acme", "kind:cert"], ["drop-acme"],
    )  # fmt: skip
    assert listed["path"] == f"/hub/collections/{listed['id']}/"
    assert "get /hub/collections/ --as acme" in done.stdout
    assert "energy-feed" in tomllib.loads((hub / "collections/shared.toml").read_text())["sources"]


def test_a_partner_whom_no_rule_permits_anything_is_told(shipped: Path) -> None:
    done = run(*at(shipped), "partner", "add", "x", "--kind", "press", "--clearance", "clear", "--reads", "soc-feed")
    assert "no [[permit]] of the policy concerns x (kind 'press')" in done.stdout
    done = run(*at(shipped), "partner", "add", "y", "--kind", "soc", "--clearance", "clear", "--reads", "soc-feed")
    assert "[[permit]]" not in done.stdout


def test_a_warning_that_the_change_brings_is_told(hub: Path) -> None:
    assert "nobody posts here and there are no sources" in run(*at(hub), "collection", "add", "x").stdout


def test_partners_as_json_have_every_fact(shipped: Path) -> None:
    found = json.loads(run(*at(shipped), "partner", "list", "--json").stdout)["partners"]
    (one,) = [each for each in found if each["name"] == "cert-fr"]
    assert one["groups"] == ["csirts", "csirts-eu"]
    assert (one["clearance"], one["countries"], one["reads"], one["posts_to"]) == (
        "amber+strict", ["FR"], ["cert-fr"], ["cert-fr"],
    )  # fmt: skip
