"""One process that writes: `python -m tests.storage.mongo_writer URL NAME WRITES` prints the positions it was given.

A new label every third write, so that readers have something to notice. After the first write it prints a line and
waits for one: however long each takes to start, several of them write at the same time.
"""

from __future__ import annotations

import json
import sys

from taxii_server.storage.mongo import MongoStore
from tests.storage.samples import draft, insert, new_labels


def main(url: str, name: str, writes: int) -> None:
    store = MongoStore(url)
    store.prepare()
    given: list[int] = []
    for n in range(writes):
        (label,) = new_labels(store, 1, prefix=f"{name}, {n // 3}")
        given += insert(store, label, *(draft(submitter=name) for _ in range(1 + n % 4)))
        if not n:
            print("begun", flush=True)
            sys.stdin.readline()
    store.close()
    json.dump(given, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
