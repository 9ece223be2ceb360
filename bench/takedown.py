"""A takedown: the addresses of 770,000 infected machines come in and go out to the countries that they are in.

    python -m bench.takedown [--records 770000] [--countries 190] [--store mongodb|sqlite] [--workers 2]

One partner posts all of them in envelopes of 1,000 on four connections, marked with their countries; a rule gives each
country its own. Then the teams of all countries synchronise at once, and each must get exactly its own: counted. How
many machines a country has falls off as in real takedowns: few countries have most of them.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from bench import common, site
from bench.client import drive, get, post
from bench.site import BOX
from taxii_server.auth.secrets import new_token
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings
from taxii_server.storage import open_store

_PAGE = 1000
_OBJECTS = f"/hub/collections/{BOX}/objects/"
_ISO = (  # noqa: SIM905 - as a list they would take 200 lines
    "AD AE AF AG AL AM AO AR AT AU AZ BA BB BD BE BF BG BH BI BJ BN BO BR BS BT BW BY BZ CA CD CF CG CH CI CL CM "
    "CN CO CR CU CV CY CZ DE DJ DK DM DO DZ EC EE EG ER ES ET FI FJ FM FR GA GB GD GE GH GM GN GQ GR GT GW GY HN "
    "HR HT HU ID IE IL IN IQ IR IS IT JM JO JP KE KG KH KI KM KN KR KW KZ LA LB LC LI LK LR LS LT LU LV LY MA MC "
    "MD ME MG MH MK ML MM MN MR MT MU MV MW MX MY MZ NA NE NG NI NL NO NP NR NZ OM PA PE PG PH PK PL PS PT PW PY "
    "QA RO RS RU RW SA SB SC SD SE SG SI SK SL SM SN SO SR SS ST SV SY SZ TD TG TH TJ TL TM TN TO TR TT TV TZ UA "
    "UG US UY UZ VA VC VE VN VU WS YE ZA ZM ZW"
).split()


def files(countries: Sequence[str]) -> dict[str, str]:
    """A hub where each country reads what is labelled with it."""
    teams = "".join(
        f'[audience."cert-{code.lower()}"]\nkind = "cert"\ncountry = "{code}"\nclearance = "amber"\n'
        for code in countries
    )
    policy = (
        'schema = 1\nname = "takedown"\n[defaults]\nunmarked = "tlp:amber"\n'
        '[facets.countries]\nlabel_prefix = "country:"\n'
    )
    rule = '[[permit]]\nid = "own-country"\nto = { kind = "cert" }\nwhat = { facet = { countries = "@country" } }\n'
    return {
        "config/server.toml": '[api_roots.hub]\ntitle = "Hub"\n',
        "config/policy.toml": policy + rule,
        "config/partners.toml": teams + '[audience.hub]\nkind = "le"\nclearance = "red"\n',
        "collections/box.toml": f'id = "{BOX}"\napi_root = "hub"\ntitle = "Takedown"\nreaders = ["*"]\n'
        'writers = ["hub"]\nstrictness = "structure"\n',
    }


def machines(records: int, countries: Sequence[str]) -> list[str]:
    """The country of each machine: the one in place n has a share of 1/n."""
    draw = random.Random(770_000)
    weights = [1 / place for place in range(1, len(countries) + 1)]
    return draw.choices(countries, weights, k=records)


def envelope(numbers: range, places: Sequence[str]) -> bytes:
    """Observed addresses, one object each."""
    found = []
    for number in numbers:
        address = f"{10 + number // 16_777_216}.{number // 65_536 % 256}.{number // 256 % 256}.{number % 256}"
        found.append(
            {
                "type": "ipv4-addr",
                "spec_version": "2.1",
                "id": f"ipv4-addr--{uuid.uuid5(uuid.NAMESPACE_OID, address)}",
                "value": address,
                "labels": [f"country:{places[number].lower()}"],
            }
        )
    return json.dumps({"objects": found}, separators=(",", ":")).encode()


def database_cpu_s(url: str) -> float:
    """CPU time of mongod so far; SQLite works inside the server."""
    if not url.startswith("mongodb"):
        return 0.0
    with MongoClient[dict[str, Any]](url) as client:
        used = client.admin.command("serverStatus")["extra_info"]
    return (used["user_time_us"] + used["system_time_us"]) / 1e6


def storage(url: str, folder: Path) -> float:
    """Bytes on disk: compressed data and indexes of MongoDB after a checkpoint, or the files of SQLite."""
    if not url.startswith("mongodb"):
        return sum(path.stat().st_size for path in folder.glob("hub.db*"))
    with MongoClient[dict[str, Any]](url) as client:
        client.admin.command("fsync")
        found = client.get_default_database().command("collStats", "records")
    return float(found["storageSize"] + found["totalIndexSize"])


def run(url: str, folder: Path, records: int, countries: Sequence[str], workers: int) -> None:
    texts = files(countries)
    places = machines(records, countries)
    store = open_store(url)
    store.prepare()
    Hub(Settings(store=url), store).apply(texts, "takedown")
    tokens = {}
    for partner in ("hub", *(f"cert-{code.lower()}" for code in countries)):
        credential, tokens[partner] = new_token(partner)
        store.save_credential(credential)
    store.close()
    with site.serving(folder, url, workers=workers, texts=texts) as server:
        seconds = 0.0
        cpu, database = server.cpu_s(), database_cpu_s(url)
        for start in range(0, records, 50 * _PAGE):
            numbers = [range(n, min(n + _PAGE, records)) for n in range(start, min(start + 50 * _PAGE, records), _PAGE)]
            bodies = [post(_OBJECTS, tokens["hub"], envelope(some, places)) for some in numbers]
            load = drive(server.port, 4, requests=bodies).require(202)
            seconds += load.seconds
        posted_cpu = server.cpu_s() - cpu
        print(f"in: {records:,} records in {seconds:.0f} s, {records / seconds:,.0f}/s; "
              f"CPU a record: server {1e6 * posted_cpu / records:.0f} us, database "
              f"{1e6 * (database_cpu_s(url) - database) / records:.0f} us")  # fmt: skip
        print(f"stored: {storage(url, folder) / records:,.0f} bytes a record, indexes included")
        expected = Counter(places)
        requests = [get(_OBJECTS, tokens[f"cert-{code.lower()}"]) for code in countries]
        cpu, database = server.cpu_s(), database_cpu_s(url)
        load = drive(server.port, len(requests), sync=requests, pages=10**6, marker='"id":"').require(200)
        read_cpu = server.cpu_s() - cpu
        got = load.objects or []
        wrong = [code for code, count in zip(countries, got, strict=True) if count != expected[code]]
        if wrong:
            raise RuntimeError(f"not exactly its own: {wrong}")
        print(f"out: {len(countries)} countries at once, {load.answers:,} pages, {load.bytes / 1e6:,.0f} MB in "
              f"{load.seconds:.0f} s; each got exactly its own, {sum(got):,} records; CPU a "
              f"record: server {1e6 * read_cpu / records:.0f} us, database "
              f"{1e6 * (database_cpu_s(url) - database) / records:.0f} us; slowest page {load.latency(1.0):,.0f} ms, "
              f"median {load.latency(0.5):,.0f} ms; connections opened again: {load.reopened}")  # fmt: skip
        nothing = [get(f"{_OBJECTS}?added_after=2100-01-01T00:00:00Z", token) for token in tokens.values()]
        cpu = server.cpu_s()
        load = drive(server.port, 16, requests=nothing, count=20 * len(nothing)).require(200)
        print(f"polls: {load.rate:,.0f}/s with {len(nothing)} partners in turn; CPU of the server "
              f"{1000 * (server.cpu_s() - cpu) / load.answers:.2f} ms each")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=770_000)
    parser.add_argument("--countries", type=int, default=190)
    parser.add_argument("--store", default="mongodb")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    print(f"machine: {'; '.join(common.machine())}; load before {common.load():.1f}")
    with tempfile.TemporaryDirectory(prefix="taxii-bench-") as name:
        folder = Path(name)
        chosen = _ISO[: given.countries]
        if given.store == "sqlite":
            run(str(folder / "hub.db"), folder, given.records, chosen, given.workers)
        else:
            with common.mongo() as url:
                run(url, folder, given.records, chosen, given.workers)


if __name__ == "__main__":
    main()
