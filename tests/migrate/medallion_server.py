"""The real medallion over HTTP: `python medallion_server.py CONFIG PORT [SAVE]`, until SIGTERM.

With SAVE, the memory backend writes what it holds there at the end, as its own `save_data_to_file` does.
"""

from __future__ import annotations

import signal
import sys

import medallion


def main(config: str, port: str, save: str = "") -> None:
    app = medallion.load_app(config)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        app.run(host="127.0.0.1", port=int(port), threaded=True)
    finally:
        if save:
            app.medallion_backend.save_data_to_file(save)


if __name__ == "__main__":
    main(*sys.argv[1:])
