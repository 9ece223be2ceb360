"""`taxii-server` for many short commands: one process imports it once and forks for each.

Starting Python and importing everything takes longer than most commands of the documentation. What runs is the same
`main` with the caller's arguments, folder, environment and standard streams. `python -m tests.docs.commands SOCKET`
serves; `shim` writes the program that asks it.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.e2e.server import _end_with_parent, environment

#: `taxii-server PYTHON FILE` runs a script in such a process: the clients of the scripts are imported, too.
PYTHON = "--run-python"
#: In the words of a shell: `serve` and `demo` start processes of their own, so they are started as a person does.
_SHIM = """#!{python} -IS
import json, os, socket, sys
if any(word in sys.argv for word in ("serve", "demo")):
    os.execv({python!r}, [{python!r}, "-m", "taxii_server", *sys.argv[1:]])
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as line:
    line.connect({path!r})
    socket.send_fds(line, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    line.sendall(asked)
    status = line.recv(1)
sys.exit(status[0] if status else 70)
"""


@contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """A folder for PATH whose `taxii-server` is answered by one process, which ends at the end."""
    path, programs = folder / "commands.socket", folder / "bin"
    programs.mkdir()
    shim = programs / "taxii-server"
    shim.write_text(_SHIM.format(python=sys.executable, path=str(path)))
    shim.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.docs.commands", str(path)], stdout=subprocess.PIPE, env=environment(),
        preexec_fn=partial(_end_with_parent, os.getpid()),
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        try:
            yield programs
        finally:
            server.terminate()
            server.wait()


def serve(path: str) -> None:
    """Answer until SIGTERM; each command in a process of its own."""
    from taxii_server.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        print("ready", flush=True)
        while True:
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(line, main)
            line.close()


def _run(line: socket.socket, main: Callable[..., object]) -> None:
    """In the child: be the command, tell its status, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 70
    try:
        size, descriptors, _, _ = socket.recv_fds(line, 4, 3)
        asked = b""
        while len(asked) < int.from_bytes(size, "big"):
            asked += line.recv(1 << 20)
        arguments, folder, variables = json.loads(asked)
        for number, (name, descriptor) in enumerate(zip(("stdin", "stdout", "stderr"), descriptors, strict=True)):
            os.dup2(descriptor, number)
            os.close(descriptor)
            # Anew, as each remembers whether the file that was there could be sought in.
            before = getattr(sys, name)
            made = open(number, before.mode, encoding=before.encoding, errors=before.errors, closefd=False)  # noqa: SIM115
            setattr(sys, name, made)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        try:
            if arguments[0] == PYTHON:
                runpy.run_path(arguments[1], run_name="__main__")
            else:
                main(arguments, prog_name="taxii-server")
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:  # noqa: BLE001  # told to whoever typed it
            traceback.print_exc()
            status = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        line.sendall(bytes([status & 255]))
        os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
