"""The work of optional filters, counted on both stores: nothing in it tells what is hidden or taken out.

Two hubs hold the same for bob: in one of them hundreds of hidden objects have what the filters ask for, and so have
the parts that are taken out of what bob reads. SQLite counts the steps of its virtual machine, MongoDB keys and
documents.
"""

from __future__ import annotations

import pytest

from taxii_server.stix.filters import KINDS
from tests.leaks import scene
from tests.leaks.hub import LeakHub, Texts
from tests.leaks.scene import ALICE_ID, CLEAR, POOL, RED, id_of, indicator, malware, note, part, report
from tests.leaks.test_work import CountedHub

OBJECTS = f"/api1/collections/{POOL}/objects/"
MANIFEST = f"/api1/collections/{POOL}/manifest/"
HIDDEN = 150
READABLE = 30
POLICY = (
    scene.DERIVING
    + """
[[strip]]
id = "no-details-for-bob"
to = { audience = "bob" }
what = { label = "detailed" }
properties = ["confidence", "external_references"]
creator = true
"""
)
TEXTS = Texts(POLICY, scene.PARTNERS, scene.COLLECTIONS)
WANTED = {
    "confidence": 80,
    "labels": ["wanted"],
    "external_references": [{"source_name": "wanted", "external_id": "T1"}],
    "kill_chain_phases": [{"kill_chain_name": "k", "phase_name": "wanted"}],
    "created_by_ref": ALICE_ID,
    "roles": ["wanted"],
}
TARGET = id_of("identity", "target")


def _fill(hub: LeakHub, *, is_full: bool) -> None:
    acts = iter(range(0, 1000, 10))

    def post(partner: str, *objects: object) -> None:
        hub.clock.at(next(acts))
        answer = hub.post(list(objects), partner, POOL)  # type: ignore[arg-type]
        assert answer.json["failure_count"] == 0, answer.text

    other = (
        WANTED
        if is_full
        else {
            "confidence": 20,
            "external_references": [{"source_name": "another", "external_id": "T2"}],
            "created_by_ref": scene.EVE_ID,
        }
    )
    post("alice", *(indicator(n, CLEAR, labels=["plain"], roles=["here"], confidence=30) for n in range(READABLE)))
    post("alice", *(malware(n, CLEAR, **{**WANTED, "name": "found"}) for n in range(5)))
    if is_full:
        hub.clock.at(15)
        hub.post([indicator(f"hidden {n}", RED, **{**WANTED, "name": "found"}) for n in range(HIDDEN)], "alice", POOL)
    # What bob gets without a part: its values differ between the worlds.
    stripped = {name: other[name] for name in ("confidence", "external_references", "created_by_ref")}
    post("alice", *(malware(f"cut {n}", CLEAR, labels=["detailed"], **stripped) for n in range(20)))
    marked = {**part(RED, "roles"), "labels": ["parts"], "roles": ["wanted" if is_full else "another"]}
    post("alice", *(malware(f"marked {n}", CLEAR, **marked) for n in range(20)))
    post("eve", *(note(n, [id_of("indicator", n), TARGET], CLEAR) for n in range(5)))
    post("eve", *(report(n, [id_of("indicator", n), TARGET], CLEAR) for n in range(5)))
    post("eve", *(indicator(n, CLEAR, labels=["late"]) for n in range(READABLE, 2 * READABLE)))


@pytest.fixture(params=["sqlite", "mongodb"])
def hubs(request, tmp_path):
    if request.param == "sqlite":
        made = [LeakHub(tmp_path / str(number), TEXTS) for number in range(2)]
    else:
        urls = request.getfixturevalue("mongo_database_urls")
        made = [CountedHub(tmp_path / str(number), url, TEXTS) for number, url in enumerate(urls)]
    for number, hub in enumerate(made):
        _fill(hub, is_full=number == 0)
    yield made
    for hub in made:
        hub.close()


@pytest.fixture
def cost(hubs, request):
    """What a request of bob costs a hub."""
    if isinstance(hubs[0], CountedHub):
        client = request.getfixturevalue("mongo_client")

        def on_mongo(hub, path):
            hub.get(path, "bob")
            with hub.profiled(client) as counts:
                answer = hub.get(path, "bob")
            # Look-ups by id may touch a key of whatever id is next (test_work.py); pages may not.
            database = client[hub.settings.store.rsplit("/", 1)[1].split("?")[0]]
            pages = database["system.profile"].find({"planSummary": {"$regex": "x: 1"}})
            return answer, {**counts, "keys": sum(page["keysExamined"] for page in pages)}

        return on_mongo

    def on_sqlite(hub, path):
        hub.get(path, "bob")
        steps = [0]

        def step():
            steps[0] += 1
            return 0

        connections = hub.store._database._idle
        for connection in connections:
            connection.db.set_progress_handler(step, 1)
        answer = hub.get(path, "bob")
        for connection in connections:
            connection.db.set_progress_handler(None, 1)
        return answer, steps[0]

    return on_sqlite


QUERIES = {
    "tier 1": "match[name]=found",
    "tier 1, nothing fits": "match[value]=wanted",
    "a number": "match[confidence]=80",
    "a flag": "match[revoked]=true",
    "tier 2": "match[labels]=wanted",
    "tier 2, in parts": "match[roles]=wanted",
    "tier 3": "match[external_id]=T1",
    "tier 3, nothing fits": "match[SHA-256]=wanted",
    "a phase": "match[phase_name]=wanted",
    "TLP": "match[tlp]=red,white",
    "a creator": f"match[relationships-all]={ALICE_ID}",
    "a marking": f"match[relationships-all]={RED}",
    "references": f"match[relationships-all]={TARGET}",
    "a number, at least": "match[confidence-gte]=70",
    "a number, at most": "match[confidence-lte]=25",
    "a time, at least": "match[modified-gte]=2020-01-01T00:00:00Z",
    "a time, at most": "match[valid_from-lte]=2020-01-01T00:00:00Z",
    "a time, nothing fits": "match[valid_until-gte]=2020-01-01T00:00:00Z",
    "two": "match[confidence-gte]=10&match[labels]=wanted",
    "two, with nothing in both": "match[name]=found&match[roles]=here",
    "with a type": "match[confidence-gte]=70&match[type]=malware",
    "later": "match[labels]=wanted&added_after=2026-01-01T00:00:00.000500Z",
}


def test_filters_cost_the_same_whatever_is_hidden_or_taken_out(hubs, cost):
    for name, query in QUERIES.items():
        for path in (f"{OBJECTS}?{query}", f"{MANIFEST}?{query}&limit=3&match[version]=all"):
            (full, work), (bare, same) = (cost(hub, path) for hub in hubs)
            assert full.data == bare.data, name
            assert work == same, name


SELECTIVE = {
    "match[name]=found": 5,
    "match[labels]=wanted": 5,
    "match[external_id]=T1": 5,
    "match[phase_name]=wanted": 5,
    "match[confidence-gte]=70": 5,
    "match[confidence-gte]=70&match[tlp]=white": 0,
    f"match[relationships-all]={TARGET}": 10,
    "match[labels]=late&limit=7": 7,
    "match[roles]=here&limit=4": 4,
    "match[value]=nobody": 0,
    "match[SHA-256]=nobody,somebody": 0,
    "match[name]=nobody&match[modified-gte]=2000-01-01T00:00:00Z": 0,
    "match[valid_until-gte]=2020-01-01T00:00:00Z": 0,
    "match[revoked]=true": 0,
}


@pytest.mark.parametrize("hubs", ["mongodb"], indirect=True)
def test_documents_that_are_examined_are_those_that_are_given(hubs, cost):
    """And the marker, one more for `more`, and those looked up because a page refers to them."""
    for query, given in SELECTIVE.items():
        answer, counts = cost(hubs[0], f"{OBJECTS}?{query}")
        assert len(answer.json.get("objects", ())) == given, query
        assert counts["documents"] <= 3 * given + 2 + 5 * ("confidence-gte" in query), (query, counts)


def test_every_kind_of_filter_is_asked():
    asked = {name for name in KINDS for query in QUERIES.values() if f"match[{name}]" in query}
    assert {KINDS[name] for name in asked} == set(KINDS.values())
