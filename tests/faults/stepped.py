"""`taxii-server` with a clock that the tests step: python stepped.py FILE ARGUMENTS...

FILE holds the seconds by which the clock is wrong, as text. Why not libfaketime: this needs nothing but Python, and
leaves the monotonic clock alone, as a real step does.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import time
from pathlib import Path


def step(file: Path) -> None:
    """From now on this process, and its children, see a clock that is wrong by what the file says."""
    seconds, nanoseconds = time.time, time.time_ns

    def wrong_by() -> float:
        try:
            return float(file.read_text() or 0)
        except (OSError, ValueError):
            return 0.0

    time.time = lambda: seconds() + wrong_by()
    time.time_ns = lambda: nanoseconds() + int(wrong_by() * 1e9)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its modules are no business of the server
    step(Path(sys.argv[1]))
    # kill -RTMIN+5 PID: what every thread is doing, in the log.
    faulthandler.register(signal.SIGRTMIN + 5, all_threads=True)
    from taxii_server.cli import main

    sys.exit(main(sys.argv[2:], prog_name="taxii-server"))
