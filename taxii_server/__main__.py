"""The program: `taxii-server`, or `python -m taxii_server`."""

import signal
import sys


def run() -> None:
    """The command line. Until it is there, which takes a moment, Ctrl-C ends the process without a traceback.

    A SIGHUP that meets a server while it starts waits until the server can obey it (server.py); unhandled it would end
    it, and systemd takes that for an orderly end, after which it starts nothing again.
    """
    if "serve" in sys.argv:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from taxii_server.cli import main

    signal.signal(signal.SIGINT, handler)
    main(prog_name="taxii-server")


if __name__ == "__main__":
    run()
