"""The pages for operators: what they tell, that they do not exist for partners, and that looking leaves a trace."""

from __future__ import annotations

import io
import logging
import re
from typing import Any

import pytest

from taxii_server.service.comparing import compare
from tests.console.people import Person, operator, person
from tests.console.test_pages import text_of
from tests.world import FT6, HIDDEN, RW, A, World, indicator, malware, new_id

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
PAGES = [
    f"/console/operator/{name}"
    for name in (
        "partners/", "policy/", "explain/", f"explain/?object={A}", f"explain/?object={A}&partner=rw", "what-if/",
        "held/", "ledger/", f"ledger/?what=received&object={A}", f"ledger/?what=recall&object={A}",
        "ledger/?what=did&partner=rw", "health/",
    )
]  # fmt: skip
POLICY = """
schema = 1
name = "guarded"
[defaults]
unmarked = "tlp:clear"
[[permit]]
id = "everybody"
[[guard]]
id = "no-persons"
why = "names of persons stay where they are"
collection = ["rw"]
what = { type = "identity" }
act = "quarantine"
"""


def identity() -> dict[str, Any]:
    made = {"type": "identity", "spec_version": "2.1", "id": new_id("identity"), "created": "2020-01-01T00:00:00.000Z"}
    return made | {"modified": "2020-01-01T00:00:00.000Z", "name": "Jo <b>Doe</b>", "identity_class": "individual"}


@pytest.mark.parametrize("path", PAGES)
def test_for_partners_they_do_not_exist(hub: World, path: str) -> None:
    for partner in ("rw", "admin", "partner_b"):
        someone = person(hub, partner)
        answer, unknown = someone.get(path), someone.get("/console/operator/nothing-like-it/")
        assert answer.status_code == unknown.status_code == 404
        assert answer.data == unknown.data
        assert "operator" not in someone.get("/console/").text
    assert Person(hub).get(path).status_code == 303


def test_a_partner_cannot_send_their_forms_either(hub: World) -> None:
    someone = person(hub, "admin")
    fields = {"name": "config/policy.toml", "text": POLICY}
    answer = someone.post("/console/operator/what-if/", fields)
    assert (answer.status_code, answer.data) == (404, someone.get("/console/nope").data)


@pytest.mark.parametrize("path", PAGES)
def test_each_look_leaves_a_line_in_the_audit(hub: World, path: str, caplog: pytest.LogCaptureFixture) -> None:
    boss = operator(hub)
    with caplog.at_level(logging.INFO, "taxii_server.audit"):
        assert boss.get(path).status_code == 200
    lines = [each.message for each in caplog.records if each.message.startswith("console-looked")]
    assert len(lines) == 1
    assert "partner=admin" in lines[0]
    assert ("about=" in lines[0]) == ("=" in path)


def test_partners_are_listed_with_what_they_did(own_hub: World) -> None:
    own_hub.post(FT6)
    own_hub.post([indicator(), {"type": "nonsense"}])
    own_hub.get(f"/api1/collections/{RW}/objects/")
    own_hub.get("/taxii2/", "ro")
    boss = operator(own_hub)
    rows = {}
    for row in re.findall(r"<tr>\n<th.*?</tr>", boss.get("/console/operator/partners/").text, re.S):
        cells = [" ".join(re.sub("<[^>]+>", " ", each).split()) for each in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        rows[cells[0]] = cells[1:]
    assert rows.keys() == own_hub.tokens.keys()
    kind, clearance, asked, received, *numbers = rows["rw"]
    assert (kind, clearance) == ("cert", "TLP:RED")
    assert asked.startswith("20")
    assert received.startswith("20")
    assert numbers == ["2", "8", "1", "1"]
    assert rows["ro"][2].startswith("20")
    assert rows["ro"][3:] == [DASH, "0", "0", "0", "1"]
    assert rows["nn"][2] == DASH


def test_the_policy_page_says_what_is_in_force_and_by_whom(hub: World) -> None:
    page = operator(hub).get("/console/operator/policy/")
    said = text_of(page)
    applied = hub.store.catalog()
    assert applied is not None
    assert applied.digest in said
    assert "Applied by test" in said
    assert "collections/hidden.toml" in said
    assert "id = &#34;everybody&#34;" in page.text
    tried = re.findall(r"what-if/\?file=([^\"]*)", page.text)
    assert "config/policy.toml" in tried
    assert "config/server.toml" not in tried, "its page could not be sent"


def test_explain_says_why_and_why_not(make_hub: Any) -> None:
    text = 'kind = "cert"\nclearance = "{}"\n'
    partners = "\n".join(f"[audience.{name}]\n{text.format(level)}" for name, level in
                         {"rw": "red", "ro": "green", "partner_b": "red", "admin": "red"}.items())  # fmt: skip
    from tests.world import collection

    hub = make_hub(
        partners=partners,
        collections={"rw": collection(RW, "Shared", readers=["rw", "ro", "admin"], writers=["rw"])},
    )
    secret = malware(object_marking_refs=[RED], name="not for ro")
    plain = malware(name="for everybody", created_by_ref=new_id("identity"))
    assert hub.post([secret, plain]).json["failure_count"] == 0
    boss = operator(hub)
    said = text_of(boss.get(f"/console/operator/explain/?object={secret['id']}&partner=ro"))
    assert "ro does not get it: TLP:RED is above the clearance GREEN" in said
    said = text_of(boss.get(f"/console/operator/explain/?object={plain['id']}&partner=ro"))
    assert "ro reads it: permitted by rule &#39;everybody&#39;" in said
    said = text_of(boss.get(f"/console/operator/explain/?object={plain['id']}"))
    assert "ro yes 1 of 1" in said
    assert "partner_b no 0 of 1" in said
    assert "This hub holds no object" in boss.get(f"/console/operator/explain/?object={new_id()}").text
    # The object itself is shown by the partner's pages only, under the policy.
    assert "not for ro" not in boss.get(f"/console/operator/explain/?object={secret['id']}").text


def test_what_if_compares_and_changes_nothing(own_hub: World) -> None:
    own_hub.post(FT6)
    boss = operator(own_hub)
    url = "/console/operator/what-if/"
    before = own_hub.store.catalog()
    forbid = POLICY + '[[forbid]]\nid = "nothing-for-partner-b"\nto = { audience = "partner_b" }\n'
    page = boss.post(url, {"name": "config/policy.toml", "text": forbid.replace("\n", "\r\n")})
    said = text_of(page)
    assert "1 partner would gain or lose" in said
    assert f"partner_b 6 0 {MINUS}6 forbidden: nothing-for-partner-b" in said
    assert "nothing-for-partner-b" in page.text.partition("<textarea")[2]
    upload = {"name": "config/policy.toml", "upload": (io.BytesIO(POLICY.encode()), "policy.toml")}
    assert "Nobody would gain or lose" in text_of(boss.post(url, upload))
    broken = text_of(boss.post(url, {"name": "config/policy.toml", "text": POLICY + "[[permit]]\nidd = 1\n"}))
    assert "It does not hold" in broken
    assert "unknown key &#39;idd&#39;" in broken
    new = {"name": "new", "new_name": "fresh", "text": "id = 7"}
    assert "collections/fresh.toml" in text_of(boss.post(url, new))
    assert boss.post(url, {"name": "new", "new_name": "../evil", "text": ""}).status_code == 400
    assert boss.post(url, {"name": "config/server.toml", "text": ""}).status_code == 400
    assert boss.post(url, {"name": "config/policy.toml", "text": forbid, "form_token": "x"}).status_code == 403
    too_large = boss.post(url, {"name": "config/policy.toml", "text": "#" * 2_100_000})
    assert too_large.status_code == 413
    assert "larger than 2000000 bytes (of this form)" in too_large.text
    assert own_hub.store.catalog() == before
    assert own_hub.get(f"/api1/collections/{RW}/objects/", "partner_b").json["objects"]


def test_a_comparison_that_takes_too_long_for_a_page_is_refused(make_hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make_hub()
    boss = operator(hub)
    monkeypatch.setattr(
        "taxii_server.web.console.operator.compare", lambda *given: given[3](0, 100_001) or compare(*given)
    )
    answer = boss.post("/console/operator/what-if/", {"name": "config/policy.toml", "text": POLICY})
    assert answer.status_code == 409
    assert "taxii-server policy what-if" in answer.text


# ---- quarantine


def test_what_is_held_is_listed_for_operators_and_decided_by_who_may(own_hub: World) -> None:
    own_hub.apply(POLICY)
    for collection in ("rw", "hidden"):
        path = own_hub.folder / f"collections/{collection}.toml"
        path.write_text(path.read_text() + 'owner = "partner_b"\n')
    own_hub.apply()
    jo, joe = identity(), identity()
    own_hub.post([jo, joe])
    boss, owner, poster = operator(own_hub), person(own_hub, "partner_b"), person(own_hub)
    listed = boss.get("/console/operator/held/")
    assert boss.get("/console/operator/held/?next=nonsense").status_code == 400
    assert jo["id"] not in boss.get(f"/console/operator/held/?next={10**17}-{jo['id'][10:]}").text
    assert jo["id"] in listed.text
    assert "Jo" not in text_of(listed).replace("Jo Doe", "")
    # The operator's partner owns nothing there: it sees that something is held, and decides nothing.
    url = re.findall(
        r'href="(/console/api1/collections/[^"]+/quarantine/[^"]+/)"', owner.get("/console/quarantine/").text
    )
    assert len(url) == 2
    for each in url:
        assert boss.get(each).status_code == 404
        assert boss.post(f"{each}release").status_code == boss.post(f"{each}drop").status_code == 404
        assert person(own_hub, "ro").get(each).status_code == 404
    assert poster.get(url[0]).status_code == 200
    assert poster.post(f"{url[0]}release", via=url[0]).status_code == 403
    assert owner.post(f"{url[0]}release", {"form_token": "0"}, via=url[0]).status_code == 403
    assert "Jo &lt;b&gt;Doe&lt;/b&gt;" in poster.get(url[0]).text
    assert owner.post(f"{url[0]}release", via=url[0]).headers["Location"] == url[0]
    assert "released" in text_of(owner.get(url[0]))
    assert owner.post(f"{url[0]}drop", via="/console/").status_code == 409
    assert poster.post(f"{url[1]}drop", via=url[1]).headers["Location"] == url[1]
    stored = {each["id"] for each in own_hub.objects(of=RW)}
    assert len(stored & {jo["id"], joe["id"]}) == 1
    assert "Nothing is held" in text_of(owner.get("/console/quarantine/"))
    decided = text_of(owner.get("/console/quarantine/?show=all"))
    assert "released" in decided
    assert "dropped" in decided


# ---- ledger and health


def test_the_ledger_answers_who_received_who_has_to_be_told_and_who_did_what(own_hub: World) -> None:
    own_hub.post([indicator(A)])
    own_hub.get(f"/api1/collections/{RW}/objects/", "partner_b")
    own_hub.get(f"/api1/collections/{HIDDEN}/objects/{A}/", "ro")
    own_hub.post([indicator(A, "2021-01-01T00:00:00.000Z", revoked=True)])
    boss = operator(own_hub)
    said = text_of(boss.get(f"/console/operator/ledger/?what=received&object={A}"))
    assert re.search(r"1 found\. .*partner_b 2020-01-01 00:00:00 whole rw", said)
    said = text_of(boss.get(f"/console/operator/ledger/?what=recall&object={A}"))
    assert re.search(r"partner_b .* has not heard of the newer one", said)
    said = text_of(boss.get("/console/operator/ledger/?what=did&partner=ro"))
    assert re.search(rf"refused 404 GET /api1/collections/{HIDDEN}/objects/.* not-visible", said)
    assert "Nothing is recorded" in boss.get(f"/console/operator/ledger/?what=received&object={new_id()}").text


def test_health_says_how_the_store_is(own_hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from taxii_server.errors import StorageUnavailable

    boss = operator(own_hub)
    assert "its schema is the one of this release" in text_of(boss.get("/console/operator/health/"))

    def broken(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(type(own_hub.store.health), "check", broken)
    assert "Store the disk is full" in text_of(boss.get("/console/operator/health/"))


def test_an_operator_whose_token_is_revoked_is_out(own_hub: World) -> None:
    boss = operator(own_hub)
    assert boss.get("/console/operator/health/").status_code == 200
    for each in own_hub.store.credentials():
        if each.kind == "operator":
            own_hub.store.revoke_credential(each.id)
    assert boss.get("/console/operator/health/").status_code == 303


def test_an_operator_sees_as_much_of_the_objects_as_its_partner(hub: World) -> None:
    boss = operator(hub, "ro")
    assert boss.get(f"/console/api1/collections/{RW}/").status_code == 404
    assert boss.get(f"/console/api1/collections/{HIDDEN}/objects/{A}/").status_code == 404
