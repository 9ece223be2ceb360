"""The hub that the documentation talks about: the shipped configuration with the demo's data, really served.

Its folder looks like a checkout with a store in var/, so that what a page says to type can be typed there.
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

from taxii_server.demo.scene import POSTS
from tests.docs.commands import PYTHON, forking
from tests.docs.fences import ROOT, Fence
from tests.e2e.server import Server, environment, free_port, wait_until
from tests.world import indicator

#: Ids that pages and help texts use in their examples.
EXAMPLE_OBJECT = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"
EXAMPLE_TOKEN = "3f1c0a9b7d52"
_GREEN = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
_TYPED_S = 60


class DocumentedHub:
    """The folder, the server and the shell."""

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
            if {p.name: p.read_bytes() for p in there.glob("*")} != {p.name: p.read_bytes() for p in shipped.glob("*")}:
                shutil.rmtree(there, ignore_errors=True)
                shutil.copytree(shipped, there)
                changed = True
        return changed

    def start(self) -> None:
        """With data and a token for everybody who posts or polls in the documentation."""
        example = indicator(
            EXAMPLE_OBJECT, object_marking_refs=[_GREEN], labels=["crime:pure-cybercrime"], confidence=80
        )
        (self.folder / "example.json").write_text(json.dumps({"objects": [example]}))
        for partner, collection in (*POSTS, ("soc-bank", "")):
            self.tokens[partner] = self.typed(f"taxii-server token new {partner} --quiet").strip()
            if collection:
                command = (
                    f"taxii-server import taxii_server/demo/data/{partner}.json --into {collection} --as {partner}"
                )
                self.typed(command, 0, 1)  # 1: the guards held some of it
        self.typed("taxii-server import example.json --into drop-cisco-talos --as cisco-talos")
        self.server.begin("--workers", "1")
        wait_until(self.server._ready, what="the server of the documentation")

    def typed(self, script: str, *statuses: int) -> str:
        """What bash says of this script in the folder, both streams; it must end with 0, or with one of these."""
        output = self.folder / "var/typed.log"
        command = ["bash", "-euo", "pipefail", "-c", script]
        with output.open("wb") as stream, subprocess.Popen(
            command, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            start_new_session=True,
        ) as shell:  # fmt: skip
            try:
                status = shell.wait(_TYPED_S)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGTERM)  # what it left in the background
        said = output.read_text(errors="replace")
        assert status in (statuses or (0,)), f"status {status} of\n{script}\n{said}"
        return said

    def environment(self) -> dict[str, str]:
        """Of a person in this folder: `taxii-server` is ours, and a server that is started finds a free port."""
        variables = environment()
        return variables | {
            "PATH": f"{self.programs}:{variables['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TAXII_SERVER_PORT": str(free_port()),
            "HOME": str(self.folder),
        }

    def meant(self, text: str) -> str:
        """The text of a page with this server, real secrets and existing folders in the place of the examples."""
        text = re.sub(r"https://taxii\.example\.com|http://127\.0\.0\.1:6100", self.server.url, text)
        text = re.sub(r"([\w-]+):txs_\.\.\.", lambda found: f"{found[1]}:{self.token(found[1])}", text)
        text = re.sub(
            r'(user="([\w-]+)",\s*password=")txs_\.\.\."', lambda found: f'{found[1]}{self.token(found[2])}"', text
        )
        text = text.replace("txs_...", self.token("cert-fr"))
        for written, real in {
            "/etc/taxii-server": self.folder,
            "/mnt/elsewhere": self.folder / "elsewhere",
            "2027-": f"{datetime.now(UTC).year + 1}-",
        }.items():
            text = text.replace(written, str(real))
        if EXAMPLE_TOKEN in text:
            made = self.typed("taxii-server token new cert-de")
            text = text.replace(EXAMPLE_TOKEN, made.split()[1])
        return text

    def token(self, partner: str) -> str:
        assert partner in self.tokens, f"'{partner}:txs_...': the hub of the documentation has no token of this partner"
        return self.tokens[partner]

    def run(self, fence: Fence) -> None:
        """Do what the fence says; raises AssertionError with what went wrong."""
        text = self.meant(fence.text)
        if fence.language == "python":
            script = self.folder / "var/snippet.py"
            script.write_text(text)
            self.typed(f"taxii-server {PYTHON} {script}")
        elif fence.language == "console":
            self._compare(text)
        else:
            self.typed(text)

    def _compare(self, text: str) -> None:
        """Type what stands behind `$`; what stands below has to be said, in this order; `...` is anything."""
        commands, said = [], []
        for line in text.splitlines():
            if line.startswith("$ "):
                commands.append(line[2:])
                said.append([])
            elif commands[-1].endswith("\\"):
                commands[-1] += "\n" + line
            else:
                said[-1].append(line)
        mark = "-- the next command --"
        output = self.typed("set +e\n" + "\n".join(f"{command}\necho '{mark}'" for command in commands) + "\ntrue")
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
