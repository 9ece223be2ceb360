"""My rights: a partner sees itself, whole, and nothing that depends on others."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from taxii_server.auth.secrets import new_password, new_token
from taxii_server.policy import Facets, Meanings, parse
from taxii_server.service.standing import markings_of
from taxii_server.tlp import TLP_2_IDS, TLP_IDS
from tests.web.rooms import InspectedWorld, MakeHub
from tests.world import ALIAS, EMPTY, NN, OPEN_POLICY, OTHER_ROOT, RO, RW, WO, audiences, collection
from tests.world import indicator as indicator_of

URL = "/taxii2/rights/"


def marking(number: int) -> str:
    return f"marking-definition--00000000-0000-4000-8000-{number:012}"


PARTNERS = f"""
[groups]
europe = {{}}
france = {{ within = ["europe"] }}
asia = {{}}

[markings."{marking(1)}"]
name = "FR and DE"
rel_to = ["FR", "DE"]
[markings."{marking(2)}"]
name = "Operation Hidden"
rel_to = ["PL"]
[markings."{marking(3)}"]
name = "Europe, or the US"
rel_to = ["US"]
rel_to_groups = ["europe"]
[markings."{marking(4)}"]
name = "Not France"
not_rel_to = ["FR"]
[markings."{marking(5)}"]
name = "Originator only"
orcon = true
[markings."{marking(6)}"]
name = "PAP:AMBER"
[markings."{marking(7)}"]
name = "Amber, France"
tlp = "amber"
rel_to = ["FR"]
[markings."{marking(8)}"]
name = "Red, France"
tlp = "red"
rel_to = ["FR"]

[audience.rw]
title = "The reader"
kind = "cert"
country = "FR"
sector = "finance"
clearance = "amber"
groups = ["france"]
client_of = ["admin"]
identities = ["identity--51000411-0000-4000-8000-000000000411"]
attributes = {{ tenant = ["B", "a"] }}
""" + audiences(
    {
        "ro": 'kind = "soc"\nclearance = "red"\n',
        "wo": 'kind = "vendor"\nclearance = "clear"\nsuspended = true\n',
        "nn": 'kind = "team"\nclearance = "amber+strict"\ncountries = ["FR", "PL"]\n',
        "partner_b": "",
        "admin": 'kind = "desk"\nclearance = "red"\nadmin = true\n',
        "stranger": "",
    }
)


@pytest.fixture
def world(make_hub: MakeHub) -> InspectedWorld:
    return make_hub(partners=PARTNERS)


def rights(world: InspectedWorld, partner: str | None = "rw", **more: Any) -> dict[str, Any]:
    answer = world.get(URL, partner, **more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def test_a_partner_sees_itself(world: InspectedWorld) -> None:
    body = rights(world)
    assert {key: value for key, value in body.items() if key not in ("credential", "api_roots", "markings")} == {
        "name": "rw",
        "title": "The reader",
        "kind": "cert",
        "clearance": "amber",
        "countries": ["FR"],
        "sector": "finance",
        "groups": ["europe", "france"],
        "attributes": {"tenant": ["a", "b"]},
        "identities": ["identity--51000411-0000-4000-8000-000000000411"],
        "suspended": False,
    }
    assert rights(world, "admin")["admin"] is True
    assert rights(world, "nn")["countries"] == ["FR", "PL"]
    assert not {"title", "sector", "groups", "attributes", "identities", "admin"} & set(rights(world, "ro"))


def test_a_partner_sees_its_collections_and_what_it_may_do_there(world: InspectedWorld) -> None:
    first, second = rights(world)["api_roots"]
    assert (first["url"], first["title"], first["releases"]) == ("/api1/", "First root", "/api1/releases/")
    found = {each["id"]: (each["can_read"], each["can_write"], each.get("alias")) for each in first["collections"]}
    assert found == {
        RW: (True, True, None),
        RO: (True, False, None),
        WO: (False, True, None),
        NN: (False, False, None),
        EMPTY: (True, True, None),
        ALIAS: (True, True, "critical-high-value-indicators"),
    }
    assert [each["id"] for each in first["collections"]] == sorted(found)
    assert [each["id"] for each in second["collections"]] == [OTHER_ROOT]
    assert "api_roots" not in rights(world, "stranger")


def test_its_collections_are_those_of_the_collections_resource(world: InspectedWorld) -> None:
    for partner in ("rw", "ro", "nn", "partner_b", "admin"):
        for root in rights(world, partner)["api_roots"]:
            listed = world.get(f"{root['url']}collections/", partner).json["collections"]
            known = [{key: each[key] for key in each if key not in ("description", "media_types")} for each in listed]
            assert root["collections"] == known
            assert world.get(root["releases"], partner).status_code == 200


def test_urls_are_those_of_the_discovery(make_hub: MakeHub) -> None:
    world = make_hub(settings='public_url = "https://taxii.example.com/"')
    discovered = world.get("/taxii2/").json["api_roots"]
    assert [each["url"] for each in rights(world)["api_roots"]] == discovered


def test_it_says_how_one_is_logged_in_and_no_secret(world: InspectedWorld) -> None:
    credential, secret = new_token("rw", "MISP in Paris")
    world.store.save_credential(credential)
    seen = rights(world, headers={"Authorization": f"Bearer {secret}"})["credential"]
    expected = {"id": credential.id, "kind": "token", "created": credential.created, "comment": "MISP in Paris"}
    assert seen == {**expected, "scheme": "bearer"}
    world.store.save_credential(new_password("rw", "analyst", "correct horse"))
    answer = world.client.get(URL, auth=("analyst", "correct horse"), headers={"Accept": "*/*"})
    assert (answer.json["credential"]["id"], answer.json["credential"]["scheme"]) == ("analyst", "basic")
    assert answer.json["credential"]["kind"] == "password"
    for text in (answer.text, world.get(URL, headers={"Authorization": f"Bearer {secret}"}).text):
        assert "argon2" not in text
        assert secret not in text
        assert credential.secret_hash not in text


def test_who_did_not_log_in_sees_the_rights_of_everybody(make_hub: MakeHub) -> None:
    world = make_hub(settings='anonymous_partner = "rw"')
    assert rights(world, None)["credential"] == {"id": "anonymous", "scheme": "none"}


def test_a_suspended_partner_sees_that_it_is_suspended(world: InspectedWorld) -> None:
    assert rights(world, "wo") == {"name": "wo", "suspended": True}


def test_a_credential_of_a_partner_that_is_gone_sees_nothing(world: InspectedWorld) -> None:
    credential, secret = new_token("gone")
    world.store.save_credential(credential)
    answer = world.get(URL, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 404


def test_it_is_answered_like_every_resource(world: InspectedWorld) -> None:
    assert world.get(URL, None).status_code == 401
    assert world.get(URL, headers={"Accept": "text/html"}).status_code == 406
    assert world.request("POST", URL).status_code == 405
    assert world.get("/taxii2/rights").status_code == 404
    assert world.request("HEAD", URL).status_code == 200


# ---- markings


def seen(world: InspectedWorld, partner: str = "rw") -> dict[str, tuple[bool, str | None]]:
    return {each["id"]: (each["readable"], each.get("reason")) for each in rights(world, partner)["markings"]}


def test_every_tlp_marking_is_told_and_why_not(world: InspectedWorld) -> None:
    found = {level: seen(world)[id_] for level, id_ in TLP_2_IDS.items()}
    above = (False, "above your clearance")
    assert found == {
        "clear": (True, None),
        "green": (True, None),
        "amber": (True, None),
        "amber+strict": above,
        "red": above,
    }
    assert set(TLP_IDS) <= set(seen(world))
    assert seen(world, "ro")[TLP_2_IDS["red"]] == (False, "only objects whose originator released them to you")


def test_of_other_markings_only_those_are_told_that_let_one_read(world: InspectedWorld) -> None:
    def others(partner: str) -> set[str]:
        return {id_ for id_, (readable, _) in seen(world, partner).items() if id_ not in TLP_IDS and readable}

    assert others("rw") == {marking(n) for n in (1, 3, 6, 7)}
    assert others("ro") == {marking(n) for n in (4, 6)}
    assert others("nn") == {marking(6)}
    for partner in ("rw", "ro", "nn"):
        assert all(readable for id_, (readable, _) in seen(world, partner).items() if id_ not in TLP_IDS)
    assert "Operation Hidden" not in world.get(URL).text


def test_nothing_of_a_list_but_being_on_it(world: InspectedWorld) -> None:
    (mine,) = [each for each in rights(world)["markings"] if each["id"] == marking(1)]
    assert mine == {"id": marking(1), "name": "FR and DE", "readable": True}


@pytest.mark.parametrize("name", ["rw", "ro", "nn", "partner_b", "admin"])
def test_a_marking_is_readable_exactly_if_it_does_not_stand_in_the_way(name: str) -> None:
    """Held against decisions on marked objects under a policy that permits everything."""
    policy = parse({"policy": OPEN_POLICY + PARTNERS})
    for right in markings_of(policy, name):
        facets = Facets("c", "somebody", "malware", "2.1", markings=(right.id,))
        assert (policy.decide(name, facets, Meanings.empty()).verdict == "read") == right.readable, right


def test_rules_do_not_change_what_is_told_of_markings(make_hub: MakeHub, world: InspectedWorld) -> None:
    rules = """
schema = 1
[[forbid]]
id = "no"
what = { type = "malware" }
[[select]]
id = "s"
drop = { tlp = "green" }
"""
    assert seen(make_hub(partners=PARTNERS, policy=rules)) == seen(world)


# ---- two worlds


def _audience(world: InspectedWorld, files: dict[str, str]) -> None:
    files["config/partners.toml"] += '[audience.more]\nkind = "cert"\nclearance = "red"\ngroups = ["europe", "asia"]\n'


def _group(world: InspectedWorld, files: dict[str, str]) -> None:
    files["config/partners.toml"] += "[groups.more]\nwithin = ['europe']\n"


def _marking(world: InspectedWorld, files: dict[str, str]) -> None:
    for number, lines in enumerate(('rel_to = ["JP"]', 'not_rel_to = ["FR"]', "orcon = true", 'tlp = "red"'), 90):
        files["config/partners.toml"] += f'[markings."{marking(number)}"]\nname = "Operation {number}"\n{lines}\n'


def _rule(world: InspectedWorld, files: dict[str, str]) -> None:
    files["config/policy.toml"] += '[[forbid]]\nid = "x"\nto = { audience = "rw" }\nwhat = { label = "victim" }\n'


def _longer_list(world: InspectedWorld, files: dict[str, str]) -> None:
    files["config/partners.toml"] = files["config/partners.toml"].replace(
        'rel_to = ["FR", "DE"]', 'rel_to = ["FR", "JP"]'
    )


def _collection(world: InspectedWorld, files: dict[str, str]) -> None:
    more = collection("0f2a1a5c-9e83-4f0c-8c1c-0c5ff0f4d3a1", "More", readers=["ro"], writers=["ro"], sources=["rw"])
    files["collections/more.toml"] = more


def _reader(world: InspectedWorld, files: dict[str, str]) -> None:
    files["collections/rw.toml"] = files["collections/rw.toml"].replace('"partner_b"]', '"partner_b", "ro"]')


def _api_root(world: InspectedWorld, files: dict[str, str]) -> None:
    files["config/server.toml"] += '[api_roots.api3]\ntitle = "Third"\n'
    more = collection("0f2a1a5c-9e83-4f0c-8c1c-0c5ff0f4d3a2", "More", root="api3", readers=["ro"])
    files["collections/more.toml"] = more


def _release(world: InspectedWorld, files: dict[str, str]) -> None:
    object_id = indicator_of()["id"]
    files["config/policy.toml"] += (
        f'[[release]]\nid = "r"\nby = "partner_b"\nobjects = "{object_id}"\nto = {{ audience = "ro" }}\n'
    )


def _other_suspended(world: InspectedWorld, files: dict[str, str]) -> None:
    files["config/partners.toml"] = files["config/partners.toml"].replace(
        "[audience.ro]", "[audience.ro]\nsuspended = true"
    )


def _objects(world: InspectedWorld, files: dict[str, str]) -> None:
    world.post([indicator_of(labels=["x"])], "partner_b")


def _own_objects_and_credentials_of_others(world: InspectedWorld, files: dict[str, str]) -> None:
    world.post([indicator_of()], "rw")
    world.store.save_credential(new_token("ro")[0])


CHANGES = [
    _audience, _group, _marking, _rule, _longer_list, _collection, _reader, _api_root, _release, _other_suspended,
    _objects, _own_objects_and_credentials_of_others,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__[1:])
def test_nothing_about_others_changes_a_byte(world: InspectedWorld, change: Any) -> None:
    before = [(answer := world.get(URL)).data, sorted(answer.headers.items())]
    applied = world.store.catalog()
    assert applied is not None
    files = dict(applied.files)
    change(world, files)
    changed = world.hub.apply(files, "test")
    after = [(answer := world.get(URL)).data, sorted(answer.headers.items())]
    assert after == before
    if files != applied.files:
        assert changed.epoch > applied.epoch


def test_what_is_its_own_does_change_it(world: InspectedWorld) -> None:
    """The comparison above would notice."""
    applied = world.store.catalog()
    assert applied is not None
    texts = [world.get(URL).data]
    for old, new in (('"amber"', '"amber+strict"'), ('sector = "finance"', ""), ('rel_to = ["PL"]', 'rel_to = ["FR"]')):
        files = dict(applied.files)
        files["config/partners.toml"] = files["config/partners.toml"].replace(old, new)
        world.hub.apply(files, "test")
        texts.append(world.get(URL).data)
    assert all(one != other for one, other in itertools.combinations(texts, 2))
