"""Interpreters that have the real OpenTAXII: its pins and ours cannot live in one environment.

`python -m tests.migrate.peers` makes them beforehand (the Makefile does); otherwise the first test that needs one does.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import venv
from pathlib import Path

#: The release, whose HTTP interface answers 500 to half of the requests, and the one that works.
RELEASES = {
    "0.9.3": ["opentaxii==0.9.3", "sqlalchemy>=2,<2.2"],
    "0.10.0b1": ["opentaxii==0.10.0b1", "sqlalchemy<2"],
}
_FOLDER = Path(sys.prefix) / "old-servers"


def python_with_opentaxii(release: str) -> Path:
    """The Python of an environment with this release; made when it is not there yet."""
    folder = _FOLDER / f"opentaxii-{release}"
    done = folder / "installed"
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = "\n".join(RELEASES[release])
        if not done.exists() or done.read_text() != wanted:
            venv.create(folder, with_pip=True, clear=True)
            command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*command, *RELEASES[release]], check=True)
            done.write_text(wanted)
    return folder / "bin" / "python"


if __name__ == "__main__":
    for each in RELEASES:
        print(python_with_opentaxii(each))
