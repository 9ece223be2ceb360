"""What the policy costs: a page for audiences that see 100 %, 30 % and 0.5 % against the same page without policy,
inserts with and without labels, and the judgement of 2,000 labels for 200 audiences.

    python -m bench.policy [--objects 300000] [--mongo mongodb://...]

Every figure is a ratio against an anchor of the same run: medians of several runs, least and greatest beside them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.common import mongo, timed
from taxii_server.model import Actor, Draft, PageQuery
from taxii_server.policy import Facets, Meanings, Policy, allowed, parse
from taxii_server.service.hub import Hub
from taxii_server.service.query import ReadRequest
from taxii_server.settings import Settings
from taxii_server.storage import open_store
from taxii_server.storage.base import Plan

LABELS = 200
PAGE = 1000
RUNS = 15
BOX = "aaaaaaaa-0000-4000-8000-000000000001"
SHARES = {"sees-100": LABELS, "sees-30": 60, "sees-0.5": 1}


def head(title: str, what: str) -> None:
    """The beginning of a table."""
    print(f"\n### {title}\n" if title else "")
    print(f"| {what} | ms | ratio | least to greatest |\n|---|---|---|---|")


def row(name: str, ms: list[float], anchor: list[float]) -> None:
    """One line of the table."""
    base = statistics.median(anchor)
    ratio, least, most = statistics.median(ms) / base, min(ms) / base, max(ms) / base
    print(f"| {name} | {statistics.median(ms):.1f} | {ratio:.2f} | {least:.2f} to {most:.2f} |")


def files() -> dict[str, str]:
    """A hub with one collection, and an audience for each share."""
    policy = ['schema = 1\nname = "bench"\n[defaults]\nunmarked = "tlp:clear"\n']
    for name, count in SHARES.items():
        labels = json.dumps([f"l{number}" for number in range(count)])
        policy.append(f'[[permit]]\nid = "{name}"\nto = {{ audience = "{name}" }}\nwhat = {{ label = {labels} }}\n')
    names = ["vendor", *SHARES]
    partners = "".join(f'[audience."{name}"]\nkind = "cert"\nclearance = "red"\n' for name in names)
    box = f'id = "{BOX}"\napi_root = "hub"\ntitle = "Box"\nreaders = ["*"]\nwriters = ["vendor"]\n'
    return {
        "config/server.toml": '[api_roots.hub]\ntitle = "Hub"\n',
        "config/policy.toml": "\n".join(policy),
        "config/partners.toml": partners,
        "collections/box.toml": box + 'strictness = "structure"\n',
    }


def stix(number: int) -> dict[str, object]:
    """An indicator of about a kilobyte."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid.uuid5(uuid.NAMESPACE_OID, str(number))}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "name": f"bench {number}",
        "description": "x" * 600,
        "labels": [f"l{number * 7919 % LABELS}"],
        "pattern": f"[url:value = 'http://bench{number}.example/']",
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
    }


def pages_and_inserts(url: str, store_name: str, objects: int) -> None:
    """The two tables of one store."""
    hub = Hub(Settings(store=url), open_store(url))
    hub.store.prepare()
    hub.apply(files(), "bench")
    box = hub.snapshot.catalog.collections["box"]
    bodies = (
        json.dumps({"objects": [stix(n) for n in range(start, min(start + PAGE, objects))]}).encode()
        for start in range(0, objects, PAGE)
    )
    with_policy = []
    for body in bodies:
        with_policy += timed(lambda body=body: hub.writer.add("vendor", box, body), 1)
    head(f"{store_name}, {objects:,} objects", f"page of {PAGE:,}")
    every = tuple(sorted(hub.book.labels))
    middle = hub.store.page(PageQuery(every, (BOX,), 0, objects // 2, content=False)).records[-1].position
    raw = timed(lambda: hub.store.page(PageQuery(every, (BOX,), middle, PAGE)), RUNS)
    row("storage alone, every label", raw, raw)
    for name in SHARES:
        visit = hub.visit(Actor(name, "bench", "bench"))
        row(name, timed(partial(visit.read, box, ReadRequest("objects", added_after=middle, limit=PAGE)), RUNS), raw)
    head("", f"insert of {PAGE:,}")
    counter = iter(range(10**9))

    def drafts() -> list[tuple[Draft, int]]:
        label = every[-1]
        made = []
        for _ in range(PAGE):
            value = stix(10**9 + next(counter))
            text = json.dumps(value).encode()
            made.append(
                (Draft(BOX, "vendor", str(value["id"]), "indicator", "2.1", "2026-01-01T00:00:00.000Z",
                       "2026-01-01T00:00:00", text, b"0" * 32), label)
            )  # fmt: skip
        return made

    anchor = []
    for _ in range(RUNS):
        plan = Plan(inserts=drafts())
        anchor += timed(partial(hub.store.write, [], lambda present, length, plan=plan: plan), 1)
    row("storage alone, one label", anchor, anchor)
    row("post: parsed, checked, judged, labelled, stored", with_policy[-min(50, len(with_policy)) :], anchor)
    hub.store.close()


def judgement(labels: int = 2000, audiences: int = 200) -> None:
    """Everything that a change of policy asks again."""
    names = "".join(
        f'[audience.a{n}]\nkind = "k{n % 9}"\ncountry = "FR"\nclearance = "amber"\n' for n in range(audiences)
    )
    rules = "".join(
        f'[[permit]]\nid = "p{n}"\nto = {{ kind = "k{n}" }}\nwhat = {{ label = ["l{n}", "l{n + 1}"] }}\n'
        f'[[forbid]]\nid = "f{n}"\nto = {{ kind = "k{n}" }}\nwhat = {{ type = "identity", label = "l{n + 2}" }}\n'
        for n in range(9)
    )
    policy = parse({"p": f'schema = 1\nname = "b"\n[defaults]\nunmarked = "tlp:green"\n{names}{rules}'})
    facets = [
        (n, Facets(f"c{n}", "a0", "*", "2.1", labels=(f"l{n % 11}",), confidence=(0, 100)), None) for n in range(labels)
    ]
    calls = labels * audiences

    def anchor() -> None:
        table = {n: n for n in range(labels)}
        for _ in range(audiences):
            for n in range(labels):
                table[n]

    looked = timed(anchor, 5)
    judged: list[float] = []
    for _ in range(5):
        meanings = Meanings.empty()  # as after a change: nothing of it is worked out yet
        judged += timed(partial(_judge_all, policy, facets, meanings, audiences), 1)
    head(f"{labels:,} labels x {audiences} audiences", "")
    row(f"{calls:,} look-ups in a dict", looked, looked)
    row(f"{calls:,} judgements", judged, looked)


def _judge_all(policy: Policy, facets: Sequence[tuple[int, Facets, None]], meanings: Meanings, audiences: int) -> None:
    for number in range(audiences):
        allowed(policy, f"a{number}", facets, meanings, moment=0)


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--objects", type=int, default=300_000)
    arguments.add_argument("--mongo")
    given = arguments.parse_args()
    judgement()
    with tempfile.TemporaryDirectory() as folder:
        pages_and_inserts(str(Path(folder) / "bench.db"), "SQLite", given.objects)
    with mongo(given.mongo) as url:
        pages_and_inserts(url, "MongoDB", given.objects)


if __name__ == "__main__":
    main()
