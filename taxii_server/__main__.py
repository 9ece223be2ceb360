"""The program: `taxii-server`, or `python -m taxii_server`."""

import signal


def run() -> None:
    """The command line. Until it is there, which takes a moment, Ctrl-C ends the process without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from taxii_server.cli import main

    signal.signal(signal.SIGINT, handler)
    main(prog_name="taxii-server")


if __name__ == "__main__":
    run()
