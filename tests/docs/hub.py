"""The hub that the documentation talks about, and a reader who types what a page says.

The shipped configuration with the demo's data, really served. Its folder looks like a checkout with a store in var/, so
that what a page says to type can be typed there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import requests

from taxii_server.demo.scene import POSTS
from tests.docs.commands import PYTHON, forking
from tests.docs.fences import ROOT, Fence
from tests.e2e.server import START_S, Server, environment, wait_until
from tests.ports import free_port
from tests.world import indicator

#: Ids that pages and help texts use in their examples.
EXAMPLE_OBJECT = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"
EXAMPLE_TOKEN = "3f1c0a9b7d52"  # its id, not its secret
_GREEN = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
_TYPED_S = 60
#: How a page says that a server runs from now on.
_STARTS = re.compile(r"^taxii-server (?:.* )?serve\b.*&", re.MULTILINE)


class DocumentedHub:
    """The folder, the server, and tokens for everybody who posts or polls in the documentation."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self.server = Server(folder, str(folder / "var/taxii.db"), collections={})
        self.tokens: dict[str, str] = {}
        (folder / "var").mkdir()
        (folder / "elsewhere").mkdir()
        (folder / ".venv/bin").mkdir(parents=True)
        (folder / ".venv/bin/activate").touch()
        for name in ("taxii_server", "deploy", "compose.yaml", "Makefile"):
            (folder / name).symlink_to(ROOT / name)
        self.ship()

    def ship(self) -> bool:
        """The configuration of the repository; whether it was another one."""
        changed = False
        for name in ("config", "collections"):
            there, shipped = self.folder / name, ROOT / name
            if _texts(there) != _texts(shipped):
                shutil.rmtree(there, ignore_errors=True)
                shutil.copytree(shipped, there)
                changed = True
        return changed

    def start(self) -> None:
        """Fill it and serve it."""
        example = indicator(
            EXAMPLE_OBJECT, object_marking_refs=[_GREEN], labels=["crime:pure-cybercrime"], confidence=80
        )
        (self.folder / "example.json").write_text(json.dumps({"objects": [example]}))
        with self.reader() as operator:
            for partner, collection in (*POSTS, ("soc-bank", "")):
                self.tokens[partner] = operator.type(f"taxii-server token new {partner} --quiet").strip()
                if collection:
                    data = f"taxii_server/demo/data/{partner}.json"
                    operator.type(f"taxii-server import {data} --into {collection} --as {partner}", 0, 1)  # 1: guards
        self.server.begin("--workers", "1")
        wait_until(lambda: _is_ready(self.server.url), START_S, "the server of the documentation")

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Somebody who follows one page; what they left running is ended, and the configuration is the shipped one."""
        reader = Reader(self)
        reader.type("taxii-server import example.json --into drop-cisco-talos --as cisco-talos")  # a page may delete it
        try:
            yield reader
        finally:
            reader.leave()
            if self.ship():
                reader.folder = self.folder
                reader.type("taxii-server reload")


class Reader:
    """Types into a shell of its own: it stays in its folder, and its servers run on."""

    def __init__(self, hub: DocumentedHub) -> None:
        self.hub, self.folder = hub, hub.folder
        self.port = free_port()
        self.url = hub.server.url
        #: the secret that a command printed last
        self.secret = ""
        self._shells: list[int] = []

    def follow(self, fence: Fence) -> None:
        """Do what the fence says; raises AssertionError with what went wrong."""
        text = self._meant(fence.text)
        if fence.language == "python":
            script = self.hub.folder / "var/snippet.py"
            printed = script.with_suffix(".printed")  # by itself: a server in the background may speak meanwhile
            script.write_text(text)
            self.type(f"taxii-server {PYTHON} {script} > {printed}")
            assert printed.stat().st_size or "print(" not in text, f"nothing is printed by\n{text}"
        elif fence.language == "console":
            self._compare(text)
        else:
            self.type(text)
            if _STARTS.search(text):
                self.url = f"http://127.0.0.1:{self.port}"
                wait_until(lambda: _is_ready(self.url), START_S, "the server that the page starts")

    def type(self, script: str, *statuses: int) -> str:
        """What bash says of this script, both streams; it must end with 0, or with one of these."""
        output, place = self.hub.folder / "var/typed.log", self.hub.folder / "var/place"
        command = ["bash", "-euo", "pipefail", "-c", f"trap 'pwd > {place}' EXIT\n{script}"]
        with output.open("wb") as stream, subprocess.Popen(
            command, cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            start_new_session=True,
        ) as shell:  # fmt: skip
            self._shells.append(shell.pid)
            status = shell.wait(_TYPED_S)
        said = output.read_text(errors="replace")
        assert status in (statuses or (0,)), f"status {status} of\n{script}\n{said}"
        self.folder = Path(place.read_text().strip())
        self.secret = (re.findall(r"\btxs_\S+", said) or [self.secret])[-1]
        return said

    def leave(self) -> None:
        """End what was left in the background, by the process groups of the shells."""
        for pid in self._shells:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)

    def _environment(self) -> dict[str, str]:
        """`taxii-server` is ours, and a server that is started has a free port."""
        variables = environment()
        return variables | {
            "PATH": f"{self.hub.programs}:{variables['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TAXII_SERVER_PORT": str(self.port),
            "HOME": str(self.hub.folder),
        }

    def _meant(self, text: str) -> str:
        """The text of a page with this server, real secrets and existing folders in the place of the examples."""
        text = re.sub(r"https://taxii\.example\.com|http://127\.0\.0\.1:6100", self.url, text)
        if self.url == self.hub.server.url:
            text = re.sub(r"([\w-]+):txs_\.\.\.", lambda found: f"{found[1]}:{self._token(found[1])}", text)
            user = re.compile(r'(user="([\w-]+)",\s*password="|auth = \("([\w-]+)", ")txs_\.\.\."')
            text = user.sub(lambda found: f'{found[1]}{self._token(found[2] or found[3])}"', text)
            text = text.replace("txs_...", self._token("cert-fr"))
        else:
            text = text.replace("txs_...", self.secret)
        is_new = "init /etc/taxii-server" in text
        for written, real in {
            "/etc/taxii-server": self.hub.folder / "new" if is_new else self.hub.folder,
            "/mnt/elsewhere": self.hub.folder / "elsewhere",
            "2027-": f"{datetime.now(UTC).year + 1}-",
        }.items():
            text = text.replace(written, str(real))
        if EXAMPLE_TOKEN in text:
            text = text.replace(EXAMPLE_TOKEN, self.type("taxii-server token new cert-de").split()[1])
        return text

    def _token(self, partner: str) -> str:
        assert partner in self.hub.tokens, f"the hub of the documentation has no token of '{partner}'"
        return self.hub.tokens[partner]

    def _compare(self, text: str) -> None:
        """Type what stands behind `$`; what stands below has to be said, in this order; `...` is anything."""
        commands: list[str] = []
        said: list[list[str]] = []
        for line in text.splitlines():
            if line.startswith("$ "):
                commands.append(line[2:])
                said.append([])
            elif commands[-1].endswith("\\"):
                commands[-1] += "\n" + line
            else:
                said[-1].append(line)
        mark = "-- the next command --"
        output = self.type("set +e\n" + "\n".join(f"{command}\necho '{mark}'" for command in commands) + "\ntrue")
        for command, expected, got in zip(commands, said, output.split(mark), strict=False):
            lines = iter([" ".join(line.split()) for line in got.splitlines()])
            for line in expected:
                pattern = re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*")
                assert any(re.fullmatch(pattern, each) for each in lines), (
                    f"$ {command}\ndoes not say\n{line}\nbut\n{got}"
                )


@contextmanager
def documented_hub(folder: Path) -> Iterator[DocumentedHub]:
    """A started hub; ended at the end."""
    (folder / "hub").mkdir()
    with forking(folder) as programs:
        hub = DocumentedHub(folder / "hub", programs)
        try:
            hub.start()
            yield hub
        finally:
            hub.server.kill()


def _texts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False
